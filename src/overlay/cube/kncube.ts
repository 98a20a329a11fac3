import { invalid } from '../../base/index.js';

const MOST_K = 256;
const MOST_N = 24;
const MOST_IDENTIFIERS = 2 ** 24;

//   3-ary 4-cube, identifier 50 = 1·27 + 2·9 + 1·3 + 2·1
//
//   dimension     3    2    1    0
//   digit         1    2    1    2          neighbours differ by ±1 (mod k) in one digit
//   packed       01   10   01   10          digitBits each: the lowest differing dimension of two is found by an exclusive or
//
// Packed, any cube has 30 bits at most (k = 3, n = 15), so that all of it is 32-bit integer arithmetic. For k a power of two an identifier
// is packed already; otherwise its low and its high half are looked up in one table.

/**
 * A k-ary n-cube: kⁿ identifiers of n digits base k, each a neighbour of those that differ from it by ±1 (mod k) in one digit.
 *
 * A neighbour is named by its *port*: for k = 2 the dimension, else 2d for +1 in dimension d and 2d + 1 for −1. Identifiers run from 0 to
 * size − 1, ports from 0 to degree − 1; they are not checked. Nothing here but the constructor and distanceCounts() allocates.
 *
 * Formulas: Dally 1990, "Performance analysis of k-ary n-cube interconnection networks"; Fry & West 2004.
 */
export class KnCube {
  readonly k: number;
  readonly n: number;
  /** Identifiers: kⁿ. */
  readonly size: number;
  /** Neighbours of each: n for k = 2, else 2n. */
  readonly degree: number;
  /** The greatest distance: n⌊k/2⌋ hops. */
  readonly diameter: number;
  /** A(k, n) = n⌊k²/4⌋/k hops: the mean distance from any identifier to all of them, itself among them. Times size/(size − 1) it is that to the others. */
  readonly meanDistance: number;
  /** Of a digit in packed(). */
  readonly digitBits: number;

  private readonly digitMask: number;
  private readonly powers: Int32Array;
  private readonly isPacked: boolean;
  private readonly halfBits: number;
  private readonly halfSize: number;
  private readonly halves: Int32Array;

  /** Throws ERR_INVALID_ARGUMENT unless k is an integer from 2 to 256, n one from 1 to 24, and kⁿ at most 2^24. */
  constructor(k: number, n: number) {
    if (!Number.isInteger(k) || k < 2 || k > MOST_K) throw invalid('k', k, `an integer from 2 to ${MOST_K}`);
    if (!Number.isInteger(n) || n < 1 || n > MOST_N) throw invalid('n', n, `an integer from 1 to ${MOST_N}`);
    if (k ** n > MOST_IDENTIFIERS) {
      const most = Math.floor(Math.log(MOST_IDENTIFIERS + 0.5) / Math.log(k));
      throw invalid('n', n, `${most} or less for k = ${k}: a cube has at most ${MOST_IDENTIFIERS} identifiers`);
    }
    this.k = k;
    this.n = n;
    this.size = k ** n;
    this.degree = k === 2 ? n : 2 * n;
    this.diameter = n * (k >> 1);
    this.meanDistance = (n * ((k * k) >> 2)) / k;
    this.digitBits = 32 - Math.clz32(k - 1);
    this.digitMask = (1 << this.digitBits) - 1;
    this.powers = Int32Array.from({ length: n }, (_, dimension) => k ** dimension);
    this.isPacked = k === 1 << this.digitBits;
    const halfDigits = (n + 1) >> 1;
    this.halfBits = halfDigits * this.digitBits;
    this.halfSize = k ** halfDigits;
    this.halves = new Int32Array(this.isPacked ? 0 : this.halfSize);
    for (let id = 1; id < this.halves.length; id++) {
      this.halves[id] = (this.halves[Math.floor(id / k)] << this.digitBits) | (id % k);
    }
  }

  /** The digits of an identifier, digitBits each, dimension 0 lowest; 30 bits at most. */
  packed(id: number): number {
    if (this.isPacked) return id;
    const high = (id / this.halfSize) | 0;
    return this.halves[id - high * this.halfSize] | (this.halves[high] << this.halfBits);
  }

  /** 0 to k − 1. */
  digit(id: number, dimension: number): number {
    return (this.packed(id) >>> (dimension * this.digitBits)) & this.digitMask;
  }

  /** Hops of a shortest path: over all dimensions the shorter way around. */
  distance(a: number, b: number): number {
    const { k, digitBits, digitMask } = this;
    let from = this.packed(a);
    let to = this.packed(b);
    let hops = 0;
    for (; from !== to; from >>>= digitBits, to >>>= digitBits) {
      const difference = Math.abs((from & digitMask) - (to & digitMask));
      hops += 2 * difference <= k ? difference : k - difference;
    }
    return hops;
  }

  /** How many identifiers lie at each distance, 0 to diameter, from any one: the graph looks the same from each. */
  distanceCounts(): Float64Array {
    const { k, n } = this;
    let counts = Float64Array.of(1);
    for (let dimension = 0; dimension < n; dimension++) {
      const longer = new Float64Array(counts.length + (k >> 1));
      for (let digit = 0; digit < k; digit++) {
        const hops = Math.min(digit, k - digit);
        for (let i = 0; i < counts.length; i++) longer[i + hops] += counts[i];
      }
      counts = longer;
    }
    return counts;
  }

  /** The identifier at the other end of this port. */
  neighbour(id: number, port: number): number {
    if (this.k === 2) return id ^ (1 << port);
    const dimension = port >> 1;
    const digit = this.digit(id, dimension);
    const power = this.powers[dimension];
    if ((port & 1) === 0) return digit === this.k - 1 ? id - digit * power : id + power;
    return digit === 0 ? id + (this.k - 1) * power : id - power;
  }

  /** The port of `id` behind which `neighbour` lies; −1 if they are no neighbours. */
  portTo(id: number, neighbour: number): number {
    const { k, digitBits } = this;
    const from = this.packed(id);
    const to = this.packed(neighbour);
    const different = from ^ to;
    if (different === 0) return -1;
    const dimension = Math.floor((31 - Math.clz32(different & -different)) / digitBits);
    const shift = dimension * digitBits;
    // One digit alone differs if nothing is left of the difference outside of it.
    if ((different & ~(this.digitMask << shift)) !== 0) return -1;
    if (k === 2) return dimension;
    const forward = ((to >>> shift) & this.digitMask) - ((from >>> shift) & this.digitMask);
    if (forward === 1 || forward === 1 - k) return 2 * dimension;
    return forward === -1 || forward === k - 1 ? 2 * dimension + 1 : -1;
  }

  /** The port of the neighbour behind `port` that leads back. */
  oppositePort(port: number): number {
    return this.k === 2 ? port : port ^ 1;
  }
}
