import { invalid } from '../../base/index.js';

/** The highest number of routers in a topology: half the range of 32-bit indices into its edges is left for the edges. */
export const MAX_ROUTERS = 65_536;

/** The longest delay of an edge. Paths of such edges below 2^24 µs = 16.8 s are exact in 32-bit floats. */
export const MAX_EDGE_DELAY_US = 10_000_000;

//   edges of router r:   targets[offsets[r]] … targets[offsets[r + 1] − 1], each with its delay in delaysUs at the same place
//   each edge stands twice, once for either end, with the same delay

/** An undirected graph of routers, connected, in compressed sparse rows. Delays are whole µs, 1 or more: sums of them are exact, in either direction. */
export interface Topology {
  readonly name: string;
  readonly routers: number;
  /** routers + 1 of them. */
  readonly offsets: Int32Array;
  readonly targets: Int32Array;
  readonly delaysUs: Float32Array;
  /** The routers that hosts may be attached to, ascending. */
  readonly attachable: Int32Array;
}

/** Disjoint sets of nodes that grow together, by halving paths and joining the smaller to the larger (Tarjan & van Leeuwen 1984). */
export class Components {
  /** How many there are. */
  count: number;
  private readonly parents: Int32Array;
  private readonly sizes: Int32Array;

  constructor(nodes: number) {
    this.count = nodes;
    this.parents = Int32Array.from({ length: nodes }, (_, node) => node);
    this.sizes = new Int32Array(nodes).fill(1);
  }

  /** The node that stands for the component of `node`. */
  of(node: number): number {
    const { parents } = this;
    while (parents[node] !== node) node = parents[node] = parents[parents[node]];
    return node;
  }

  join(a: number, b: number): void {
    let root = this.of(a);
    let other = this.of(b);
    if (root === other) return;
    if (this.sizes[root] < this.sizes[other]) [root, other] = [other, root];
    this.parents[other] = root;
    this.sizes[root] += this.sizes[other];
    this.count--;
  }
}

/** Edges in any order, on their way to a topology. */
export class EdgeList {
  private readonly from: number[] = [];
  private readonly to: number[] = [];
  private readonly delaysUs: number[] = [];
  private readonly present = new Set<number>();

  constructor(private readonly routers: number) {
    if (!Number.isInteger(routers) || routers < 1 || routers > MAX_ROUTERS) throw invalid('routers', routers, `an integer from 1 to ${MAX_ROUTERS}`);
  }

  has(a: number, b: number): boolean {
    return this.present.has(Math.min(a, b) * this.routers + Math.max(a, b));
  }

  /** Adds an edge between two routers that have none yet; its delay is rounded to whole µs, 1 or more. */
  add(a: number, b: number, delayUs: number): void {
    if (!(a >= 0 && a < this.routers && b >= 0 && b < this.routers) || a === b || this.has(a, b)) {
      throw invalid('edge', `${a}–${b}`, `a new one between two of ${this.routers} routers`);
    }
    if (!(delayUs >= 0 && delayUs <= MAX_EDGE_DELAY_US)) throw invalid('delayUs', delayUs, `from 0 to ${MAX_EDGE_DELAY_US}`);
    this.present.add(Math.min(a, b) * this.routers + Math.max(a, b));
    this.from.push(a);
    this.to.push(b);
    this.delaysUs.push(Math.max(1, Math.round(delayUs)));
  }

  /** Throws ERR_INVALID_ARGUMENT unless the graph is connected. */
  build(name: string, attachable: Int32Array): Topology {
    const { from, to, routers } = this;
    const components = new Components(routers);
    const offsets = new Int32Array(routers + 1);
    for (let edge = 0; edge < from.length; edge++) {
      components.join(from[edge], to[edge]);
      offsets[from[edge] + 1]++;
      offsets[to[edge] + 1]++;
    }
    if (components.count > 1) throw invalid(name, `${components.count} parts without an edge between them`, 'connected');
    for (let router = 0; router < routers; router++) offsets[router + 1] += offsets[router];
    const targets = new Int32Array(2 * from.length);
    const delaysUs = new Float32Array(2 * from.length);
    const next = offsets.slice();
    for (let edge = 0; edge < from.length; edge++) {
      const a = from[edge];
      const b = to[edge];
      delaysUs[next[a]] = delaysUs[next[b]] = this.delaysUs[edge];
      targets[next[a]++] = b;
      targets[next[b]++] = a;
    }
    return { name, routers, offsets, targets, delaysUs, attachable };
  }
}
