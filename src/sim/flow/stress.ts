import { invalid } from '../../base/index.js';
import { type Topology } from '../topology/topology.js';

/** What a DelayMatrix with predecessors is. */
interface ShortestPaths {
  readonly routers: number;
  /** [a × routers + b]: the router before b on the shortest path from a. */
  readonly predecessors: Uint16Array | undefined;
}

/**
 * Physical link stress: how many copies of one packet each physical link carries, each direction of a link by itself (Chu, Rao & Zhang 2000). A
 * delivery tree's edge takes the shortest path between the routers of its two hosts. Access links are left out: a host's carries what
 * fanOut() says, and one in.
 */
export class LinkStress {
  /** By directed link, in the order of the topology's `targets`. */
  readonly copies: Uint32Array;

  private readonly topology: Topology;
  private readonly predecessors: Uint16Array;
  private readonly reached: Uint8Array;

  /** Throws ERR_INVALID_ARGUMENT for a matrix without predecessors, or of another topology. */
  constructor(topology: Topology, matrix: ShortestPaths) {
    if (matrix.routers !== topology.routers) throw invalid('matrix', `${matrix.routers} routers`, `of this topology (${topology.routers} routers)`);
    if (matrix.predecessors === undefined) throw invalid('matrix', 'no predecessors', 'made with predecessors');
    this.topology = topology;
    this.predecessors = matrix.predecessors;
    this.copies = new Uint32Array(topology.targets.length);
    this.reached = new Uint8Array(topology.routers);
  }

  clear(): void {
    this.copies.fill(0);
  }

  /** Adds a packet that goes down a tree. @param parent from whom each host gets it, −1 for none  @param routerOf the router of each host */
  addTree(parent: Int32Array, routerOf: Int32Array): void {
    for (let host = 0; host < parent.length; host++) {
      if (parent[host] >= 0) this.addPath(routerOf[parent[host]], routerOf[host]);
    }
  }

  /** Adds a packet from one router to another. */
  addPath(from: number, to: number): void {
    const { copies, predecessors } = this;
    const row = from * this.topology.routers;
    for (let router = to; router !== from; router = predecessors[row + router]) copies[this.linkTo(predecessors[row + router], router)]++;
  }

  /** Adds a packet by IP multicast: along the source's shortest-path tree, over each link once. @param receivers hosts; undefined for all */
  addMulticast(source: number, routerOf: Int32Array, receivers?: Int32Array): void {
    const { copies, predecessors, reached } = this;
    const row = routerOf[source] * this.topology.routers;
    const count = receivers?.length ?? routerOf.length;
    reached.fill(0);
    reached[routerOf[source]] = 1;
    for (let i = 0; i < count; i++) {
      for (let router = routerOf[receivers?.[i] ?? i]; reached[router] === 0; router = predecessors[row + router]) {
        reached[router] = 1;
        copies[this.linkTo(predecessors[row + router], router)]++;
      }
    }
  }

  private linkTo(from: number, to: number): number {
    const { offsets, targets } = this.topology;
    let link = offsets[from];
    while (targets[link] !== to) link++;
    return link;
  }
}

/** How many copies each host of a tree sends. */
export function fanOut(parent: Int32Array): Uint32Array {
  const sent = new Uint32Array(parent.length);
  for (let host = 0; host < parent.length; host++) if (parent[host] >= 0) sent[parent[host]]++;
  return sent;
}
