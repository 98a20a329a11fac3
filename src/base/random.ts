import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import { invalid } from './errors.js';

type Key = readonly [number, number, number, number];

/** The finalizer of MurmurHash3, 32 bits (Appleby 2011): every input bit reaches every output bit. */
function avalanche(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return word ^ (word >>> 16);
}

/** 128 bits from a parent's 128 and a text: four lanes that differ in their start, mixed into one another at each step. */
function derive(parent: Key, text: string): Key {
  let [a, b, c, d] = parent;
  for (let i = 0; i <= text.length; i++) {
    const unit = i < text.length ? text.charCodeAt(i) : 0x10000 + i;
    a = avalanche(a ^ unit) + d;
    b = avalanche(b ^ a ^ 0x9e3779b9);
    c = avalanche(c ^ b ^ 0x7f4a7c15);
    d = avalanche(d ^ c ^ 0x6a09e667);
  }
  return [a | 0, b | 0, c | 0, d | 0];
}

/**
 * Seeded random numbers: the same seed gives the same numbers on every machine. Not for secrets. Draws allocate nothing, but for
 * int() over more than 2^32 values.
 * Generator: xoroshiro128+ (Blackman & Vigna 2018), its state spread from the seed so that near seeds are unrelated.
 */
export class Random {
  #key: Key;
  #generator: ReturnType<typeof xoroshiro128plusFromState>;

  /** @param seed an integer from 0 to 2^32 − 1; anything else throws ERR_INVALID_ARGUMENT */
  constructor(seed: number) {
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) throw invalid('seed', seed, 'an integer from 0 to 4294967295');
    this.#key = derive([seed | 0, 1, 2, 3], '');
    this.#generator = xoroshiro128plusFromState(this.#key);
  }

  /** A uniform integer from 0 to 2^32 − 1. */
  uint32(): number {
    return this.#generator.next() >>> 0;
  }

  /** A uniform integer from −2^31 to 2^31 − 1. Unlike half of those of uint32() it is a small integer to V8, and costs no heap wherever it goes. */
  int32(): number {
    return this.#generator.next() | 0;
  }

  /** A uniform integer, both ends included. Throws ERR_INVALID_ARGUMENT unless both are safe integers in order. */
  int(lowInclusive: number, highInclusive: number): number {
    if (!Number.isSafeInteger(lowInclusive)) throw invalid('lowInclusive', lowInclusive, 'a safe integer');
    if (!Number.isSafeInteger(highInclusive) || highInclusive < lowInclusive) {
      throw invalid('highInclusive', highInclusive, `a safe integer, ${lowInclusive} or more`);
    }
    return uniformInt(this.#generator, lowInclusive, highInclusive);
  }

  /** A uniform number from 0 inclusive to 1 exclusive, a multiple of 2^-53. */
  float(): number {
    return uniformFloat64(this.#generator);
  }

  /** True with probability `p`. Draws once whatever `p` is, so that a changed rate shifts no later draw. */
  bool(p: number): boolean {
    if (!(p >= 0 && p <= 1)) throw invalid('p', p, 'a probability from 0 to 1');
    return this.float() < p;
  }

  /**
   * A stream of its own, independent of this one and of every other label's. It depends on the seed and the path of labels alone,
   * not on what has been drawn: a new consumer of randomness changes nobody else's numbers.
   */
  fork(label: string): Random {
    const child = new Random(0);
    child.#key = derive(this.#key, label);
    child.#generator = xoroshiro128plusFromState(child.#key);
    return child;
  }

  /** Puts `array` into a uniformly random order, in place (Fisher & Yates; Knuth, TAOCP 3.4.2 P), and returns it. */
  shuffle<A extends { length: number; [index: number]: unknown }>(array: A): A {
    for (let last = array.length - 1; last > 0; last--) {
      const other = uniformInt(this.#generator, 0, last);
      const kept = array[last];
      array[last] = array[other];
      array[other] = kept;
    }
    return array;
  }
}
