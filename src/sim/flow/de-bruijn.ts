import { invalid } from '../../base/index.js';

const MAX_SIZE = 2 ** 24;

/**
 * The directed de Bruijn graph B(k, n) as an overlay (de Bruijn 1946; Koorde: Kaashoek & Karger 2003; D2B: Fraigniaud & Gauron 2006): kⁿ nodes,
 * each a word of n digits base k; a link shifts the word by one digit to the left and appends any of k. Out-degree k, diameter n, close to the
 * least possible for that degree. The k words of n equal digits have themselves as a neighbour, and so one link less.
 *
 * Between two nodes there is exactly one shortest way: a walk of l links is told by the l digits that it appends, which are the
 * destination's last l. So there is no choice among shortest ways as a cube has; choosing means taking a longer walk.
 */
export class DeBruijn {
  readonly k: number;
  readonly n: number;
  readonly size: number;
  /** Links out of a node; as many come in, from other nodes. */
  readonly degree: number;
  readonly diameter: number;
  /** kⁱ at i. */
  private readonly powers: Int32Array;

  /** @param k digits, 2 to 256  @param n their number, 1 or more, kⁿ at most 2^24; else throws ERR_INVALID_ARGUMENT */
  constructor(k: number, n: number) {
    if (!Number.isInteger(k) || k < 2 || k > 256) throw invalid('k', k, 'an integer from 2 to 256');
    if (!Number.isInteger(n) || n < 1 || k ** n > MAX_SIZE) throw invalid('n', n, `an integer of 1 or more, with ${k}^n at most ${MAX_SIZE}`);
    this.k = k;
    this.n = n;
    this.size = k ** n;
    this.degree = k;
    this.diameter = n;
    this.powers = Int32Array.from({ length: n + 1 }, (_, i) => k ** i);
  }

  /** Where the link `port` (0 to k − 1) leads: the digit that it appends. */
  neighbour(id: number, port: number): number {
    return (id % this.powers[this.n - 1]) * this.k + port;
  }

  /** Links on the shortest way: n less the longest end of `from` that `to` begins with. */
  distance(from: number, to: number): number {
    const { powers, n } = this;
    for (let overlap = n; overlap > 0; overlap--) {
      if (from % powers[overlap] === Math.floor(to / powers[n - overlap])) return n - overlap;
    }
    return n;
  }

  /** The first link of the shortest way; −1 when there. */
  nextPort(self: number, destination: number): number {
    const distance = this.distance(self, destination);
    return distance === 0 ? -1 : Math.floor(destination / this.powers[distance - 1]) % this.k;
  }

  /**
   * The link with the least estimate of what is left to go: its own cost, and `typicalCost` for each further one. A link that comes no nearer
   * is a detour, taken only with `detours` left (the caller counts them down: without any, each hop comes nearer). With costs that differ
   * little there is seldom one: the gain is what a random link costs above the cheapest, the price one link more.
   *
   * @param costs of self's links, from `at` on by port; Infinity for a dead one
   * @returns the port; −1 when there, or when no link is usable
   */
  nextPortNear(self: number, destination: number, costs: Float32Array | Float64Array, at: number, typicalCost: number, detours: number): number {
    const distance = this.distance(self, destination);
    let best = -1;
    let least = Infinity;
    if (distance === 0) return best;
    for (let port = 0; port < this.k; port++) {
      const cost = costs[at + port];
      const neighbour = this.neighbour(self, port);
      const left = this.distance(neighbour, destination);
      if ((left >= distance && detours <= 0) || neighbour === self) continue;
      const estimate = cost + left * typicalCost;
      if (estimate < least) {
        least = estimate;
        best = port;
      }
    }
    return best;
  }

  /**
   * Around dead nodes: depth-first search, the nodes visited being carried along (as Chen & Shin 1990 do in hypercubes). Of the live links to nodes
   * not visited yet, the one that comes nearest; of equal ones the cheapest. Shifting goes on from there: another digit appended
   * leads to the destination by n further links that share no node with the way given up unless the words repeat.
   *
   * Each node is entered at most once and left backwards at most once, so a packet makes at most 2·(live nodes − 1) hops; and as all that
   * can be reached is searched, it arrives wherever a live way exists. Going back uses the link it came by, against its direction.
   *
   * @param costs of self's links, from `at` on by port; Infinity for a dead one
   * @param visited nodes entered so far, self among them, in the first `visitedCount` places
   * @returns the port; −1 when there, or to go back where it came from (at the source: there is no way)
   */
  nextPortAround(self: number, destination: number, costs: Float32Array | Float64Array, at: number, visited: Int32Array, visitedCount: number): number {
    let best = -1;
    let nearest = Infinity;
    if (self === destination) return best;
    for (let port = 0; port < this.k; port++) {
      const cost = costs[at + port];
      if (cost === Infinity) continue;
      const neighbour = this.neighbour(self, port);
      const left = this.distance(neighbour, destination);
      if (left > nearest || (left === nearest && cost >= costs[at + best])) continue;
      if (includes(visited, visitedCount, neighbour)) continue;
      nearest = left;
      best = port;
    }
    return best;
  }
}

function includes(visited: Int32Array, count: number, id: number): boolean {
  for (let i = 0; i < count; i++) if (visited[i] === id) return true;
  return false;
}
