import { type Random, invalid } from '../../base/index.js';
import { type KnCube } from './kncube.js';

/** Costs of links, any unit: a host's own at [at + port], for as many ports as the cube's degree. Infinity (or NaN) is a dead link. */
export type LinkCosts = Float32Array | Float64Array;

/**
 * How a hop is chosen among those that bring a message nearer to its destination:
 *
 * - `odr`: ordered dimensional routing, the lowest dimension first (e-cube: Sullivan & Bashkow 1977; Dally & Seitz 1987);
 * - `random`: a dimension at random;
 * - `greedy`: the cheapest link (proximity-based: Fry & West 2004). Of equally cheap ones the lowest dimension.
 */
export type Routing = 'odr' | 'random' | 'greedy';

const ROUTINGS: readonly Routing[] = ['odr', 'random', 'greedy'];

/**
 * Writes to `ports`, lowest dimension first, all ports of `self` whose neighbour is nearer to `destination`, and returns how many there are.
 * A digit that lies k/2 away (k even) may go either way: both ports, + first.
 *
 * @param ports room for cube.degree; behind those that count anything may be written
 */
export function productivePorts(cube: KnCube, self: number, destination: number, ports: Int32Array): number {
  const { k, digitBits, degree } = cube;
  const from = cube.packed(self);
  const to = cube.packed(destination);
  let count = 0;
  if (k === 2) {
    for (let different = from ^ to; different !== 0; different &= different - 1) ports[count++] = 31 - Math.clz32(different & -different);
    return count;
  }
  // Whether a digit differs, and which way, is a matter of chance, which a processor's branch prediction can't know: signs instead of branches take half the time.
  const mask = (1 << digitBits) - 1;
  for (let port = 0, shift = 0; port < degree; port += 2, shift += digitBits) {
    let ahead = ((to >>> shift) & mask) - ((from >>> shift) & mask);
    ahead += k & (ahead >> 31);
    ports[count] = port;
    count += ((2 * ahead - k - 1) & (0 - ahead)) >>> 31; // 0 < 2 · ahead ≤ k
    ports[count] = port + 1;
    count += (k - 2 * ahead - 1) >>> 31; // 2 · ahead ≥ k
  }
  return count;
}

/**
 * The next hop of a message: a pure function of (self, destination, costs), but for the draws of `random`. Each hop brings it one nearer, so
 * that every route is hop-minimal and none loops, whatever the hops on the way choose by.
 *
 * `random` draws one of the dimensions still to go, anew at each hop. For k = 2 that is the published "dimensions in random order": each takes one
 * hop, and drawing without replacement gives every order the same probability. For k > 2 a hop knows not which dimension the message came by, so that
 * those of several dimensions mix where the published order would finish one before the next; either way the first hop is drawn alike, and the route has as many in each dimension.
 *
 * Decisions allocate nothing.
 */
export class Router {
  readonly cube: KnCube;
  readonly routing: Routing;
  private readonly random: Random | undefined;
  private readonly ports: Int32Array;
  /** No digit can be as far one way as the other. */
  private readonly hasOneWay: boolean;

  /** @param random needed by the routing `random` alone; without it that throws ERR_INVALID_ARGUMENT, as does an unknown routing */
  constructor(cube: KnCube, routing: Routing, random?: Random) {
    if (!ROUTINGS.includes(routing)) throw invalid('routing', routing, `one of ${ROUTINGS.join(', ')}`);
    if (routing === 'random' && random === undefined) throw invalid('random', random, 'a Random where the routing is random');
    this.cube = cube;
    this.routing = routing;
    this.random = random;
    this.ports = new Int32Array(cube.degree);
    this.hasOneWay = cube.k === 2 || cube.k % 2 === 1;
  }

  /** The port to take; −1 at the destination, or where every link that leads nearer to it is dead. */
  nextPort(self: number, destination: number, costs: LinkCosts, at: number): number {
    const { ports } = this;
    const count = productivePorts(this.cube, self, destination, ports);
    if (this.routing === 'greedy') {
      let cheapest = -1;
      let least = Infinity;
      for (let i = 0; i < count; i++) {
        const cost = costs[at + ports[i]];
        if (cost < least) {
          least = cost;
          cheapest = ports[i];
        }
      }
      return cheapest;
    }
    if (this.routing === 'random') return this.drawPort(count, costs, at);
    for (let i = 0; i < count; i++) {
      if (costs[at + ports[i]] < Infinity) return ports[i];
    }
    return -1;
  }

  /** Of `ports` a live dimension, each as likely as the others; of its two ports, where both are live, either. */
  private drawPort(count: number, costs: LinkCosts, at: number): number {
    const { ports } = this;
    // For k = 2 and odd k a dimension has one port: any of them, and only if that is dead one of those that live, each still as likely as the others.
    if (this.hasOneWay && count > 0) {
      const port = ports[Math.floor((this.random!.int32() / 2 ** 32 + 0.5) * count)];
      if (costs[at + port] < Infinity) return port;
    }
    // The dimension of a port; two ports of one dimension stand side by side.
    const shift = this.cube.k === 2 ? 0 : 1;
    let live = 0;
    let dimensions = 0;
    for (let i = 0; i < count; i++) {
      const port = ports[i];
      if (!(costs[at + port] < Infinity)) continue;
      if (live === 0 || ports[live - 1] >> shift !== port >> shift) dimensions++;
      ports[live++] = port;
    }
    if (live === 0) return -1;
    // One draw a decision: its whole part is the dimension, its next bit the side.
    const drawn = Math.floor((this.random!.int32() / 2 ** 32 + 0.5) * 2 * dimensions);
    if (live === dimensions) return ports[drawn >> 1];
    let i = 0;
    for (let skip = drawn >> 1; skip > 0; skip--) i += i + 1 < live && ports[i] >> shift === ports[i + 1] >> shift ? 2 : 1;
    return i + 1 < live && ports[i] >> shift === ports[i + 1] >> shift ? ports[i + (drawn & 1)] : ports[i];
  }
}

/**
 * The next hop of a message that found every shorter way dead: depth-first search, the message carrying along the identifiers it has been to
 * (Chen & Shin 1990, "Depth-first search approach for fault-tolerant routing in hypercube multicomputers", IEEE TPDS 1(2); here on any k).
 * Of the live neighbours not visited, one nearest to the destination, of these the cheapest, of these the one of the lowest dimension; −1: none is left, go
 * back by portBack().
 *
 * A hop forward goes to an identifier not visited before, so there are at most (live identifiers − 1) of them; a hop back undoes one, and each is undone at
 * most once: never more than 2 · (live identifiers − 1) hops, and no loop. A message goes back from an identifier only when all its
 * live neighbours are visited, so when it is back at its origin and can go nowhere all that is connected to it was visited: it arrives if a live path
 * exists. Where it meets no fault each hop is productive, hence the route hop-minimal. (All this where links stay as they are during the search.)
 *
 * @param visited what the message has been to, in order of the first visit, `self` included: each hop forward appends where it arrives. May start where
 *   the fault was met, with `self` alone; the bound then holds from there.
 * @param visitedCount how many of these there are
 */
export function nextPortAround(cube: KnCube, self: number, destination: number, costs: LinkCosts, at: number, visited: Int32Array, visitedCount: number): number {
  let best = -1;
  let leastHops = Infinity;
  let leastCost = Infinity;
  for (let port = 0; port < cube.degree; port++) {
    const cost = costs[at + port];
    if (!(cost < Infinity)) continue;
    const neighbour = cube.neighbour(self, port);
    const hops = cube.distance(neighbour, destination);
    if (hops > leastHops || (hops === leastHops && cost >= leastCost)) continue;
    if (lastVisit(neighbour, visited, visitedCount) >= 0) continue;
    best = port;
    leastHops = hops;
    leastCost = cost;
  }
  return best;
}

/**
 * The way back for a message that nextPortAround() leaves nowhere to go: the port by which it first came to `self`; −1 at its origin, when there is no live path.
 *
 * That is the live neighbour visited last before `self`. For whatever was visited between the one it came from and `self` was left for good before
 * `self` was found, so has no live link to it. Where links change meanwhile a hop back still leads to an earlier entry of `visited`, so that the search ends all the same.
 */
export function portBack(cube: KnCube, self: number, costs: LinkCosts, at: number, visited: Int32Array, visitedCount: number): number {
  let back = -1;
  let latest = -1;
  const own = lastVisit(self, visited, visitedCount);
  for (let port = 0; port < cube.degree; port++) {
    if (!(costs[at + port] < Infinity)) continue;
    const place = lastVisit(cube.neighbour(self, port), visited, own);
    if (place > latest) {
      latest = place;
      back = port;
    }
  }
  return back;
}

/** Where `id` stands among the first `count`; −1 if nowhere. */
function lastVisit(id: number, visited: Int32Array, count: number): number {
  for (let i = count - 1; i >= 0; i--) if (visited[i] === id) return i;
  return -1;
}
