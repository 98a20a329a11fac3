import { type Random, invalid } from '../../base/index.js';
import { type HostDelays } from './tree.js';

/** b = 4: digits of 4 bits (Rowstron & Druschel 2001 §2.1: the typical value). */
const DIGIT_BITS = 4;
const COLUMNS = 1 << DIGIT_BITS;
/** Half of a leaf set of 2^b hosts, on either side. */
const HALF_LEAVES = 8;
const MAX_HOSTS = 2 ** 24;

//   ids, ascending, as a ring:     … 2a77…  2b01… │ 2b3c…  2b3f… │ 2b90…  31d4… …
//   key 2b3d…: those that share 2, 2b, 2b3 with it stand side by side, so that the candidates for a routing-table entry are a range,
//   and a leaf set is the places around one's own.

/**
 * A Pastry-like overlay (Rowstron & Druschel 2001): each host has a random identifier, and a message for a key goes to the host whose identifier shares
 * one more digit with it at each hop, at last to the numerically closest, its root. b = 4, leaf sets of 16; identifiers have 32 bits instead of 128, which at
 * these sizes are all distinct after a few draws and changes no route. No hosts come, go or fail.
 *
 * An entry of a routing table is the physically nearest of `candidates` hosts drawn from those that fit there (of all, where there are no more): proximity neighbour
 * selection, which Pastry approaches by exchanging rows. Entries are a function of seed, host, row and column and are worked out when
 * met, so that the tables of a million hosts take no memory.
 */
export class PastryOverlay {
  readonly hosts: number;
  /** The identifier of each host. */
  readonly idOf: Uint32Array;

  private readonly delays: HostDelays;
  private readonly candidates: number;
  private readonly salt: number;
  /** Identifiers in ascending order, and whose they are; where each host stands. */
  private readonly sorted: Uint32Array;
  private readonly hostAt: Int32Array;
  private readonly placeOf: Int32Array;

  /** @param candidates 1 or more; else, and for more than 2^24 hosts, throws ERR_INVALID_ARGUMENT */
  constructor(delays: HostDelays, random: Random, candidates: number) {
    const { hosts } = delays;
    if (!(hosts >= 1 && hosts <= MAX_HOSTS)) throw invalid('hosts', hosts, `from 1 to ${MAX_HOSTS}`);
    if (!Number.isInteger(candidates) || candidates < 1) throw invalid('candidates', candidates, 'an integer of 1 or more');
    this.delays = delays;
    this.hosts = hosts;
    this.candidates = candidates;
    this.salt = random.uint32();
    const taken = new Set<number>();
    while (taken.size < hosts) taken.add(random.uint32());
    this.idOf = Uint32Array.from(taken);
    this.sorted = this.idOf.slice().sort();
    const hostOfId = new Map<number, number>();
    for (let host = 0; host < hosts; host++) hostOfId.set(this.idOf[host], host);
    this.hostAt = Int32Array.from(this.sorted, (id) => hostOfId.get(id)!);
    this.placeOf = new Int32Array(hosts);
    for (let place = 0; place < hosts; place++) this.placeOf[this.hostAt[place]] = place;
  }

  /** The host numerically closest to `key` on the ring of identifiers; of two equally close ones that below. */
  rootOf(key: number): number {
    return this.hostAt[this.rootPlace(key)];
  }

  /** Where a message for `key` (0 to 2^32 − 1) goes from `host`; −1 at its root. */
  nextHost(host: number, key: number): number {
    const { sorted, hosts, placeOf, hostAt } = this;
    const place = placeOf[host];
    const root = this.rootPlace(key);
    if (root === place) return -1;
    const low = sorted[(place + hosts - HALF_LEAVES) % hosts];
    const high = sorted[(place + HALF_LEAVES) % hosts];
    // Up to 17 hosts, all others are leaves.
    if (hosts <= 2 * HALF_LEAVES + 1 || (key - low) >>> 0 <= (high - low) >>> 0) return hostAt[root];
    const row = sharedDigits(sorted[place], key);
    const entry = this.entry(place, row, (key >>> (32 - DIGIT_BITS * (row + 1))) & (COLUMNS - 1));
    return hostAt[entry >= 0 ? entry : this.closest(place, row, key)];
  }

  /** The nearest host whose identifier shares `row` digits with that of `place`, and has `column` as the next; −1 if nobody's does. */
  private entry(place: number, row: number, column: number): number {
    const { sorted, hostAt, delays, candidates } = this;
    const bits = 32 - DIGIT_BITS * (row + 1);
    // In plain numbers: shifts by 32 would do nothing.
    const prefix = Math.floor(sorted[place] / 2 ** (bits + DIGIT_BITS)) * COLUMNS + column;
    const first = lowerBound(sorted, prefix * 2 ** bits);
    const fitting = lowerBound(sorted, (prefix + 1) * 2 ** bits) - first;
    const host = hostAt[place];
    const all = fitting <= candidates;
    const drawn = all ? fitting : candidates;
    let nearest = -1;
    let leastUs = Infinity;
    // A golden-ratio sequence: spread over the range, whose order says nothing of where hosts are.
    let state = this.salt ^ Math.imul(place, 0x9e3779b1) ^ Math.imul(row * COLUMNS + column + 1, 0x85ebca77);
    for (let i = 0; i < drawn; i++) {
      state = (state + 0x9e3779b9) | 0;
      const candidate = first + (all ? i : Math.floor(((state >>> 0) / 2 ** 32) * fitting));
      const delayUs = delays.delayUs(host, hostAt[candidate]);
      if (delayUs < leastUs) {
        leastUs = delayUs;
        nearest = candidate;
      }
    }
    return nearest;
  }

  /**
   * The rare case (§2.3: no host with the next digit is known): of the leaf set and the row, the one numerically closest to the key that shares as many digits
   * with it. There is one closer than `place`: the leaf next to it on the key's side lies between, else the leaf set would cover the key.
   */
  private closest(place: number, row: number, key: number): number {
    const { sorted, hosts } = this;
    let closest = place;
    for (let column = 0; column < COLUMNS; column++) closest = this.closer(closest, this.entry(place, row, column), row, key);
    for (let step = 1; step <= HALF_LEAVES; step++) {
      closest = this.closer(closest, (place + step) % hosts, row, key);
      closest = this.closer(closest, (place + hosts - step) % hosts, row, key);
    }
    if (closest === place) throw new Error(`no way from ${sorted[place]} to ${key}: a bug`);
    return closest;
  }

  private closer(best: number, other: number, row: number, key: number): number {
    if (other < 0 || sharedDigits(this.sorted[other], key) < row) return best;
    return ringDistance(this.sorted[other], key) < ringDistance(this.sorted[best], key) ? other : best;
  }

  private rootPlace(key: number): number {
    const { sorted, hosts } = this;
    const above = lowerBound(sorted, key) % hosts;
    const below = (above + hosts - 1) % hosts;
    return ringDistance(sorted[above], key) < ringDistance(sorted[below], key) ? above : below;
  }
}

/** A delivery tree, by host. */
export interface HostTree {
  /** Where packets enter the tree, and what that costs from the publisher. */
  readonly root: number;
  /** From whom a host gets its packets; −1 for the root, and outside of the tree. */
  readonly parent: Int32Array;
  /** From the publisher, in µs; NaN outside of the tree. */
  readonly delayUs: Float32Array;
  /** Overlay links from the publisher; 0 outside of the tree. */
  readonly hops: Uint16Array;
}

/**
 * The tree of a Scribe group (Castro, Druschel, Kermarrec & Rowstron 2002): each subscriber's JOIN is routed towards the group's key until it meets the tree,
 * and data flows back from the key's root. The publisher sends to the root directly, whose address it has cached. A group whose key is the publisher's own identifier
 * has the publisher as its root, and no such detour: what the paper recommends for one publisher.
 *
 * Not here: the removal of bottlenecks, which trades delay for load.
 *
 * @param key 0 to 2^32 − 1; `pastry.idOf[publisher]` for a tree rooted at the publisher
 * @param subscribers hosts; undefined for all
 */
export function scribeTree(pastry: PastryOverlay, delays: HostDelays, publisher: number, key: number, subscribers?: Int32Array): HostTree {
  const root = pastry.rootOf(key);
  const parent = new Int32Array(pastry.hosts).fill(-1);
  const delayUs = new Float32Array(pastry.hosts).fill(NaN);
  const hops = new Uint16Array(pastry.hosts);
  delayUs[root] = delays.delayUs(publisher, root);
  hops[root] = root === publisher ? 0 : 1;
  const route: number[] = [];
  const count = subscribers?.length ?? pastry.hosts;
  for (let i = 0; i < count; i++) {
    for (let host = subscribers?.[i] ?? i; Number.isNaN(delayUs[host]); host = parent[host]) {
      route.push(host);
      parent[host] = pastry.nextHost(host, key);
    }
    for (let host = route.pop(); host !== undefined; host = route.pop()) {
      delayUs[host] = delayUs[parent[host]] + delays.delayUs(parent[host], host);
      hops[host] = hops[parent[host]] + 1;
    }
  }
  return { root, parent, delayUs, hops };
}

/** Digits that two identifiers begin with alike, 8 at most. */
function sharedDigits(a: number, b: number): number {
  return Math.clz32(a ^ b) >>> 2;
}

function ringDistance(a: number, b: number): number {
  const around = (a - b) >>> 0;
  return Math.min(around, 2 ** 32 - around);
}

/** The first place whose value is `value` or more. */
function lowerBound(sorted: Uint32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
