import { invalid } from '../base/index.js';

/** Numbers that a detector keeps of each peer; the first is when it is to be suspected. */
export const DETECTOR_CELLS = 4;
const LAST_US = 1;
const MEAN_US = 2;
const VARIANCE = 3;

export interface DetectorOptions {
  /** The time between two heartbeats as the sender means it, in µs: what is assumed until some have come. */
  expectedUs: number;
  /** φ at which the peer is suspected; default 8. At most 100. */
  threshold?: number;
  /** A silence shorter than this is never suspected, however regular the heartbeats were; default 2.5 × expectedUs: one may get lost, and the next be late. */
  leastUs?: number;
  /** A silence of this long is always suspected: the bound on detection. Default 10 × expectedUs. */
  mostUs?: number;
}

/**
 * The weight of the newest interval. Mean and variance are exponentially weighted rather than taken over a window of the last 1,000
 * arrivals as in the paper: three numbers a peer instead of 8 KB, a few operations a heartbeat, and old habits fade as well. A smaller
 * weight makes better estimates and learns more slowly: 1/64 weighs like a window of 127 (2/w − 1).
 */
const WEIGHT = 1 / 64;

/** Of the mean: how much intervals are assumed to deviate until some have come. */
const FIRST_DEVIATION = 1 / 4;

const LEAST_OF_EXPECTED = 2.5;
const MOST_OF_EXPECTED = 10;
const MAX_THRESHOLD = 100;
const LOG_SQRT_2PI = Math.log(2 * Math.PI) / 2;

/** Below, the series converges soon; above, the continued fraction does. */
const SERIES_BELOW = 3;
const FRACTION_TERMS = 60;

/**
 * −log10 of the probability that a normally distributed number lies more than `z` deviations above its mean; exact to about 1e-12,
 * also where the probability itself is too small for a number. Abramowitz & Stegun 1964, 26.2.11 (series), 26.2.14 (continued fraction).
 */
function tailExponent(z: number): number {
  if (z < 0) return -Math.log1p(-(10 ** -tailExponent(-z))) / Math.LN10;
  if (z < SERIES_BELOW) {
    let term = z;
    let sum = z;
    for (let odd = 3; term > sum * 1e-17; odd += 2) {
      term *= (z * z) / odd;
      sum += term;
    }
    return -Math.log10(0.5 - sum * Math.exp((-z * z) / 2 - LOG_SQRT_2PI));
  }
  let fraction = z;
  for (let i = FRACTION_TERMS; i > 0; i--) fraction = z + i / fraction;
  return ((z * z) / 2 + LOG_SQRT_2PI + Math.log(fraction)) / Math.LN10;
}

/** The z at which tailExponent() passes `exponent`: by bisection, for it grows with z. */
function deviationsAt(exponent: number): number {
  let low = -40;
  let high = 40;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (tailExponent(middle) < exponent) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * Whether a peer that sends heartbeats has failed: φ accrual failure detection (Hayashibara, Défago, Yared & Katayama 2004).
 * φ(t) = −log10 P(the next heartbeat comes later than t after the last), intervals taken for normally distributed; so at threshold Φ
 * one interval in 10^Φ is suspected wrongly, as far as they are. Instead of computing φ again and again until it passes the threshold,
 * each heartbeat computes when it will: what to set a timer by, never less than leastUs or more than mostUs after the last.
 *
 * One detector serves all peers: what it knows of each lies in DETECTOR_CELLS numbers of the caller's, `state[at]` and on. They are to
 * be begun; the first is when the peer is to be suspected unless a heartbeat comes before, in µs.
 *
 * Where heartbeats get lost, intervals are multiples of the expected one and not normal at all: with a share p lost, a silence of
 * m + 1 intervals comes with probability p^m. Choose leastUs by that. The estimates are of some hundred intervals, and rough by as
 * much: of two million normal ones 1.03, 1.13, 1.31 and 1.74 × 10^−Φ were suspected for Φ = 1, 2, 3 and 4.
 *
 * A heartbeat that comes twice is to be counted once: telling it from the next is the caller's, by its sequence numbers.
 */
export class Detector {
  readonly expectedUs: number;
  readonly leastUs: number;
  readonly mostUs: number;
  private readonly deviations: number;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor(options: DetectorOptions) {
    const { expectedUs, threshold = 8, leastUs = LEAST_OF_EXPECTED * expectedUs, mostUs = MOST_OF_EXPECTED * expectedUs } = options;
    if (!(expectedUs > 0 && expectedUs < Infinity)) throw invalid('expectedUs', expectedUs, 'a finite number of microseconds, greater than 0');
    if (!(threshold > 0 && threshold <= MAX_THRESHOLD)) throw invalid('threshold', threshold, `greater than 0, at most ${MAX_THRESHOLD}`);
    if (!(leastUs >= 0 && leastUs < Infinity)) throw invalid('leastUs', leastUs, 'a finite number of microseconds, 0 or more');
    if (!(mostUs >= Math.max(leastUs, expectedUs) && mostUs < Infinity)) throw invalid('mostUs', mostUs, `finite, and neither less than leastUs (${leastUs}) nor than expectedUs (${expectedUs})`);
    this.expectedUs = expectedUs;
    this.leastUs = leastUs;
    this.mostUs = mostUs;
    this.deviations = deviationsAt(threshold);
  }

  /** Begins with a peer: from `nowUs` on, in µs, it is to be heard, as if a heartbeat came then. */
  begin(state: Float64Array, at: number, nowUs: number): void {
    state[at + LAST_US] = nowUs;
    state[at + MEAN_US] = this.expectedUs;
    state[at + VARIANCE] = (this.expectedUs * FIRST_DEVIATION) ** 2;
    state[at] = nowUs + this.patienceUs(state, at);
  }

  /** A heartbeat came. */
  heartbeat(state: Float64Array, at: number, nowUs: number): void {
    // A silence that was suspected anyway counts as one that had just to be: else one outage would make it blind to the next.
    const beyondUs = Math.min(nowUs - state[at + LAST_US], this.mostUs) - state[at + MEAN_US];
    const step = WEIGHT * beyondUs;
    // West 1979, for weights that fall exponentially (Finch 2009, §9).
    state[at + MEAN_US] += step;
    state[at + VARIANCE] = (1 - WEIGHT) * (state[at + VARIANCE] + beyondUs * step);
    state[at + LAST_US] = nowUs;
    state[at] = nowUs + this.patienceUs(state, at);
  }

  /** φ at `nowUs`, by the intervals alone: leastUs and mostUs bound the time of suspicion, not this. Infinity past the mean of intervals that never deviated. */
  phi(state: Float64Array, at: number, nowUs: number): number {
    const beyondUs = nowUs - state[at + LAST_US] - state[at + MEAN_US];
    if (state[at + VARIANCE] === 0) return beyondUs > 0 ? Infinity : 0;
    return tailExponent(beyondUs / Math.sqrt(state[at + VARIANCE]));
  }

  private patienceUs(state: Float64Array, at: number): number {
    return Math.min(this.mostUs, Math.max(this.leastUs, state[at + MEAN_US] + this.deviations * Math.sqrt(state[at + VARIANCE])));
  }
}
