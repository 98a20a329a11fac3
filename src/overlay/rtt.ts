import { invalid } from '../base/index.js';

export interface RttOptions {
  /** The timeout before the first sample. Default 1 s (RFC 6298 §2.1). */
  initialUs?: number;
  /** The least timeout. Default 1 s, which §2.4 asks of TCP: less is for those who know their links and can afford to send twice. */
  leastUs?: number;
  /** The greatest, also of backing off. Default 60 s, the least that §2.5 allows TCP. */
  mostUs?: number;
  /** G, how finely the clock counts. Default 1 µs. */
  granularityUs?: number;
}

const SECOND_US = 1e6;

// §2.3, computed as there: variation first, with the smoothed time of before.
const SMOOTHING = 1 / 8;
const VARIATION_SMOOTHING = 1 / 4;
const VARIATIONS = 4;

/** Numbers that an estimator keeps of each peer: SRTT and RTTVAR in µs, NaN before the first sample. */
export const RTT_CELLS = 2;
const VARIATION_US = 1;

/**
 * The round-trip time to a peer, smoothed, and how long to wait for its answer (RFC 6298). Times in µs.
 *
 * One estimator serves all peers: what it knows of each lies in RTT_CELLS numbers of the caller's, `state[at]` and on. They are to be begun.
 *
 * What was sent more than once gives no sample, since nobody knows which of them was answered (Karn's rule, §3): that is the caller's to keep,
 * and a sample of an answer that names what it answers is always good.
 */
export class RttEstimator {
  private readonly initialUs: number;
  private readonly leastUs: number;
  private readonly mostUs: number;
  private readonly granularityUs: number;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor(options: RttOptions = {}) {
    const { initialUs = SECOND_US, leastUs = SECOND_US, mostUs = 60 * SECOND_US, granularityUs = 1 } = options;
    if (!(leastUs >= 0 && leastUs < Infinity)) throw invalid('leastUs', leastUs, 'a finite number of microseconds, 0 or more');
    if (!(mostUs >= leastUs && mostUs < Infinity)) throw invalid('mostUs', mostUs, `a finite number of microseconds, leastUs (${leastUs}) or more`);
    if (!(initialUs >= leastUs && initialUs <= mostUs)) throw invalid('initialUs', initialUs, `from leastUs (${leastUs}) to mostUs (${mostUs})`);
    if (!(granularityUs >= 0 && granularityUs < Infinity)) throw invalid('granularityUs', granularityUs, 'a finite number of microseconds, 0 or more');
    this.initialUs = initialUs;
    this.leastUs = leastUs;
    this.mostUs = mostUs;
    this.granularityUs = granularityUs;
  }

  /** Begins with a peer, of which nothing is known. */
  begin(state: Float64Array, at: number): void {
    state[at] = NaN;
    state[at + VARIATION_US] = NaN;
  }

  /** A round trip was measured. Throws ERR_INVALID_ARGUMENT unless finite and not negative. */
  sample(state: Float64Array, at: number, rttUs: number): void {
    if (!(rttUs >= 0 && rttUs < Infinity)) throw invalid('rttUs', rttUs, 'a finite number of microseconds, 0 or more');
    const smoothedUs = state[at];
    if (Number.isNaN(smoothedUs)) {
      state[at] = rttUs;
      state[at + VARIATION_US] = rttUs / 2;
    } else {
      state[at + VARIATION_US] += VARIATION_SMOOTHING * (Math.abs(smoothedUs - rttUs) - state[at + VARIATION_US]);
      state[at] = smoothedUs + SMOOTHING * (rttUs - smoothedUs);
    }
  }

  /** RTO: how long to wait for an answer, by the samples there were. */
  timeoutUs(state: Float64Array, at: number): number {
    if (Number.isNaN(state[at])) return this.initialUs;
    return Math.min(this.mostUs, Math.max(this.leastUs, state[at] + Math.max(this.granularityUs, VARIATIONS * state[at + VARIATION_US])));
  }

  /** After `timeoutUs` without an answer: twice as long the next time (§5.5), at most mostUs (§2.5). The next sample ends that. */
  backedOffUs(timeoutUs: number): number {
    return Math.min(this.mostUs, 2 * timeoutUs);
  }
}
