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

/**
 * The round-trip time to a peer, smoothed, and how long to wait for its answer (RFC 6298). Times in µs.
 *
 * What was sent more than once gives no sample, since nobody knows which of them was answered (Karn's rule, §3): that is the caller's to keep,
 * and a sample of an answer that names what it answers is always good.
 */
export class RttEstimator {
  /** SRTT; NaN before the first sample. */
  smoothedUs: number;
  /** RTTVAR; NaN before the first sample. */
  variationUs: number;
  /** RTO. */
  timeoutUs: number;
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
    this.leastUs = leastUs;
    this.mostUs = mostUs;
    this.granularityUs = granularityUs;
    this.smoothedUs = NaN;
    this.variationUs = NaN;
    this.timeoutUs = initialUs;
  }

  /** A round trip was measured; that also ends backing off. Throws ERR_INVALID_ARGUMENT unless finite and not negative. */
  sample(rttUs: number): void {
    if (!(rttUs >= 0 && rttUs < Infinity)) throw invalid('rttUs', rttUs, 'a finite number of microseconds, 0 or more');
    if (Number.isNaN(this.smoothedUs)) {
      this.smoothedUs = rttUs;
      this.variationUs = rttUs / 2;
    } else {
      this.variationUs += VARIATION_SMOOTHING * (Math.abs(this.smoothedUs - rttUs) - this.variationUs);
      this.smoothedUs += SMOOTHING * (rttUs - this.smoothedUs);
    }
    this.timeoutUs = Math.min(this.mostUs, Math.max(this.leastUs, this.smoothedUs + Math.max(this.granularityUs, VARIATIONS * this.variationUs)));
  }

  /** The timeout passed without an answer: twice as long the next time (§5.5), at most mostUs (§2.5). */
  backOff(): void {
    this.timeoutUs = Math.min(this.mostUs, 2 * this.timeoutUs);
  }
}
