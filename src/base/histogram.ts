import { build } from 'hdr-histogram-js';
import { RingcubeError, invalid } from './errors.js';

// Three significant digits over an hour at first; it resizes itself beyond.
const SIGNIFICANT_DIGITS = 3;
const FIRST_HIGHEST_NS = 3600e9;
const MAX_CORRECTIONS = 1e7;

/** Latencies in nanoseconds, each within 0.1 %. With nothing recorded all figures are 0. */
export interface LatencySummary {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly count: number;
}

/** Latencies in nanoseconds, kept in logarithmic buckets (HdrHistogram, Tene) in constant space to three significant digits. */
export class LatencyHistogram {
  readonly #histogram = build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: FIRST_HIGHEST_NS,
    numberOfSignificantValueDigits: SIGNIFICANT_DIGITS,
    autoResize: true,
    useWebAssembly: false,
  });

  /** Records one latency, rounded down to whole nanoseconds. Throws ERR_INVALID_ARGUMENT unless finite and not negative. */
  record(ns: number): void {
    this.#histogram.recordValue(wholeNs(ns));
  }

  /** Records the first `count` elements of `latenciesNs`. */
  recordAll(latenciesNs: Float64Array, count = latenciesNs.length): void {
    if (!Number.isInteger(count) || count < 0 || count > latenciesNs.length) {
      throw invalid('count', count, `an integer from 0 to ${latenciesNs.length}`);
    }
    for (let i = 0; i < count; i++) this.#histogram.recordValue(wholeNs(latenciesNs[i]));
  }

  /**
   * Records one latency from a sender that waits for its answer before sending again, and would else have sent every
   * `expectedIntervalNs`: adds the latencies that the requests it held back would have met (ns − interval, ns − 2 intervals, …, down
   * to the interval), as a stall otherwise hides itself ("coordinated omission", Tene).
   * Throws ERR_OUT_OF_RANGE where that would add more than 10 million.
   */
  recordCorrected(ns: number, expectedIntervalNs: number): void {
    if (!(expectedIntervalNs >= 1 && expectedIntervalNs < Infinity)) {
      throw invalid('expectedIntervalNs', expectedIntervalNs, 'a finite number of nanoseconds, 1 or more');
    }
    if (ns / expectedIntervalNs > MAX_CORRECTIONS) {
      const line = `ns: got ${ns}, must not exceed ${MAX_CORRECTIONS} times expectedIntervalNs (${expectedIntervalNs})`;
      throw new RingcubeError('ERR_OUT_OF_RANGE', line);
    }
    this.#histogram.recordValueWithExpectedInterval(wholeNs(ns), Math.floor(expectedIntervalNs));
  }

  /** The latency in nanoseconds that `p` per cent of the records do not exceed; `p` from 0 to 100. */
  percentile(p: number): number {
    if (!(p >= 0 && p <= 100)) throw invalid('p', p, 'a percentage from 0 to 100');
    // A bucket answers with its upper edge, which may lie above all that it holds.
    return Math.min(this.#histogram.getValueAtPercentile(p), this.max);
  }

  /** The largest latency recorded, in nanoseconds, exact. */
  get max(): number {
    return this.#histogram.maxValue;
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  summary(): LatencySummary {
    return {
      p50: this.percentile(50),
      p90: this.percentile(90),
      p99: this.percentile(99),
      p999: this.percentile(99.9),
      max: this.max,
      count: this.count,
    };
  }
}

function wholeNs(ns: number): number {
  if (!(ns >= 0 && ns <= Number.MAX_SAFE_INTEGER)) throw invalid('ns', ns, 'a finite number of nanoseconds, 0 or more');
  return Math.floor(ns);
}
