import { invalid } from '../../base/index.js';
import { type KnCube, type Router, productivePorts } from '../../overlay/index.js';

/** Delays between hosts: a HostNetwork, or a table in a test. Symmetric, and 0 from a host to itself. */
export interface HostDelays {
  readonly hosts: number;
  delayUs(a: number, b: number): number;
}

/** Identifiers between two calls of `onSlice`: a few milliseconds. */
const SLICE = 16_384;

//   identifier        … by increasing distance from the publisher ▶
//   order[]           P │ 1 hop away │ 2 hops away │ …
//
//   ◀ first pass: whoever is wanted takes its next hop, which is wanted then, too
//     second pass: parent's delay + link ▶

/**
 * The delivery tree of one publisher over a cube, at flow level: what the messages of src/overlay would lead to, without messages.
 *
 * Each subscriber's route towards the publisher's identifier is followed hop by hop by the routing function; whoever is on it takes the next
 * hop as its parent, and data flows back down. So a host has one parent, branches are shared, and nothing passes a link twice.
 *
 * A host with several identifiers routes from the one nearest to the publisher (of several the lowest), wherever a route meets the host: its others
 * have that one as their parent, at no hop and no delay.
 *
 * Arrays by identifier, made once and filled by each build(); memory is 23 bytes an identifier and 4 a host.
 */
export class DeliveryTree {
  readonly cube: KnCube;
  /** Who holds each identifier. May change between two builds. */
  readonly hostOf: Int32Array;
  /** Next identifier on the way to the publisher; −1 for the publisher's own, and outside of the tree. */
  readonly parent: Int32Array;
  /** Port to it; −1 also where the parent is another identifier of the same host. */
  readonly parentPort: Int8Array;
  /** From the publisher, in µs; NaN outside of the tree. */
  readonly delayUs: Float32Array;
  /** Links between identifiers on the way from the publisher; 0 outside of the tree. */
  readonly hops: Uint16Array;
  /** By host: the identifier that it routes from; −1 for a host without any. */
  readonly entry: Int32Array;
  /** Identifiers by increasing distance from the publisher, equal ones ascending. */
  readonly order: Int32Array;

  private readonly delays: HostDelays;
  private readonly costs: Float64Array;
  private readonly ports: Int32Array;
  private readonly starts: Int32Array;
  private readonly wanted: Uint8Array;

  /** Throws ERR_INVALID_ARGUMENT unless `hostOf` names one of the network's hosts for each identifier. */
  constructor(cube: KnCube, hostOf: Int32Array, delays: HostDelays) {
    if (hostOf.length !== cube.size) throw invalid('hostOf', `${hostOf.length} entries`, `one for each identifier (${cube.size})`);
    const stranger = hostOf.find((host) => !(host >= 0 && host < delays.hosts));
    if (stranger !== undefined) throw invalid('hostOf', stranger, `a host from 0 to ${delays.hosts - 1}`);
    this.cube = cube;
    this.hostOf = hostOf;
    this.delays = delays;
    this.parent = new Int32Array(cube.size);
    this.parentPort = new Int8Array(cube.size);
    this.delayUs = new Float32Array(cube.size);
    this.hops = new Uint16Array(cube.size);
    this.entry = new Int32Array(delays.hosts);
    this.order = new Int32Array(cube.size);
    this.costs = new Float64Array(cube.degree);
    this.ports = new Int32Array(cube.degree);
    this.starts = new Int32Array(cube.diameter + 1);
    this.wanted = new Uint8Array(cube.size);
  }

  /**
   * Builds the tree of the publisher that holds `publisher`. `subscribers` are hosts, undefined for all; one without identifier, or the publisher's
   * own host, is no branch. `router` is one for this cube.
   *
   * @param onSlice is called between slices of the work with the share that is done, 0 to 1
   */
  build(router: Router, publisher: number, subscribers?: Int32Array, onSlice?: (share: number) => void): void {
    if (!(Number.isInteger(publisher) && publisher >= 0 && publisher < this.cube.size)) {
      throw invalid('publisher', publisher, `an identifier from 0 to ${this.cube.size - 1}`);
    }
    const slices = 3 * Math.ceil(this.cube.size / SLICE);
    let slice = 0;
    const each = (pass: (first: number, end: number) => void): void => {
      for (let first = 0; first < this.cube.size; first += SLICE) {
        pass(first, Math.min(first + SLICE, this.cube.size));
        onSlice?.(++slice / slices);
      }
    };
    this.starts.set(distanceStarts(this.cube));
    each((first, end) => this.sort(publisher, first, end));
    this.want(publisher, subscribers);
    const last = this.cube.size;
    each((first, end) => this.choose(router, publisher, last - end, last - first));
    each((first, end) => this.add(first, end));
  }

  /** Puts identifiers first … end − 1 into their places in `order`. */
  private sort(publisher: number, first: number, end: number): void {
    const { cube, order, starts } = this;
    for (let id = first; id < end; id++) order[starts[cube.distance(id, publisher)]++] = id;
  }

  /** Which identifier each host routes from, and those of the subscribers as wanted. */
  private want(publisher: number, subscribers: Int32Array | undefined): void {
    const { order, hostOf, entry, wanted } = this;
    entry.fill(-1);
    for (let i = 0; i < order.length; i++) {
      const host = hostOf[order[i]];
      if (entry[host] < 0) entry[host] = order[i];
    }
    wanted.fill(0);
    wanted[publisher] = 1;
    const count = subscribers === undefined ? entry.length : subscribers.length;
    for (let i = 0; i < count; i++) {
      const id = entry[subscribers === undefined ? i : subscribers[i]];
      if (id >= 0) wanted[id] = 1;
    }
  }

  /** Next hops of the wanted in places end − 1 … first of `order`; `delayUs` is that of the one link for now. */
  private choose(router: Router, publisher: number, first: number, end: number): void {
    const { cube, hostOf, delays, order, entry, wanted, parent, parentPort, delayUs, costs, ports } = this;
    const greedy = router.routing === 'greedy';
    // Where the costs of links don't decide, all links are alike.
    if (!greedy) costs.fill(0);
    for (let i = end - 1; i >= first; i--) {
      const id = order[i];
      parentPort[id] = -1;
      if (wanted[id] === 0 || id === publisher) {
        parent[id] = -1;
        delayUs[id] = wanted[id] === 0 ? NaN : 0;
        continue;
      }
      const host = hostOf[id];
      if (entry[host] !== id) {
        parent[id] = entry[host];
        wanted[entry[host]] = 1;
        delayUs[id] = 0;
        continue;
      }
      if (greedy) {
        const count = productivePorts(cube, id, publisher, ports);
        for (let j = 0; j < count; j++) costs[ports[j]] = delays.delayUs(host, hostOf[cube.neighbour(id, ports[j])]);
      }
      const port = router.nextPort(id, publisher, costs, 0);
      const next = cube.neighbour(id, port);
      parent[id] = next;
      parentPort[id] = port;
      wanted[next] = 1;
      delayUs[id] = greedy ? costs[port] : delays.delayUs(host, hostOf[next]);
    }
  }

  /** Adds up delays and hops in places first … end − 1 of `order`: parents come before their children. */
  private add(first: number, end: number): void {
    const { order, parent, parentPort, delayUs, hops } = this;
    for (let i = first; i < end; i++) {
      const id = order[i];
      const next = parent[id];
      if (next < 0) {
        hops[id] = 0;
        continue;
      }
      delayUs[id] += delayUs[next];
      hops[id] = hops[next] + (parentPort[id] < 0 ? 0 : 1);
    }
  }
}

/** Where those at each distance begin in an order by distance. */
function distanceStarts(cube: KnCube): Int32Array {
  const counts = cube.distanceCounts();
  const starts = new Int32Array(counts.length);
  for (let distance = 1; distance < counts.length; distance++) starts[distance] = starts[distance - 1] + counts[distance - 1];
  return starts;
}
