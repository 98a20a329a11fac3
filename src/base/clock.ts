import { performance } from 'node:perf_hooks'; // the global one is a getter, called each time
import { hrtime } from 'node:process';
import { RingcubeError, invalid } from './errors.js';

/** A source of time that never runs backwards. */
export interface Clock {
  /** Now, in microseconds since the clock's own zero; fractions are meant. */
  nowUs(): number;
}

const ALIGNING_TRIES = 8;

/**
 * The machine's CLOCK_MONOTONIC (clock_gettime(2)), in microseconds. Its zero is the same in every thread and process, so that
 * times taken in two of them compare, to about a microsecond.
 */
export class RealClock implements Clock {
  readonly #offsetUs: number;

  constructor() {
    // performance.now() counts from the start of its thread; hrtime() is absolute, but makes an array at each call. Of several
    // pairs the smallest difference is the one that was interrupted least between its two readings.
    let offsetUs = Infinity;
    for (let i = 0; i < ALIGNING_TRIES; i++) {
      const relativeUs = performance.now() * 1e3;
      const [seconds, nanoseconds] = hrtime();
      offsetUs = Math.min(offsetUs, seconds * 1e6 + nanoseconds / 1e3 - relativeUs);
    }
    this.#offsetUs = offsetUs;
  }

  nowUs(): number {
    return performance.now() * 1e3 + this.#offsetUs;
  }
}

/** Time that moves only when told to: for the stepped mode, simulations and tests. */
export class VirtualClock implements Clock {
  #nowUs: number;

  /** @param startUs first reading, in microseconds */
  constructor(startUs = 0) {
    if (!Number.isFinite(startUs)) throw invalid('startUs', startUs, 'a finite number of microseconds');
    this.#nowUs = startUs;
  }

  nowUs(): number {
    return this.#nowUs;
  }

  /** Moves time forward by `byUs` microseconds. Throws ERR_INVALID_ARGUMENT unless finite and not negative. */
  advance(byUs: number): void {
    if (!(byUs >= 0 && byUs < Infinity)) throw invalid('byUs', byUs, 'a finite number of microseconds, 0 or more');
    this.#nowUs += byUs;
  }

  /** Moves time forward to `toUs` microseconds. Throws ERR_OUT_OF_RANGE where that lies in the past. */
  set(toUs: number): void {
    if (!Number.isFinite(toUs)) throw invalid('toUs', toUs, 'a finite number of microseconds');
    if (toUs < this.#nowUs) {
      const line = `toUs: got ${toUs}, must not lie before now (${this.#nowUs}): time never runs backwards`;
      throw new RingcubeError('ERR_OUT_OF_RANGE', line);
    }
    this.#nowUs = toUs;
  }
}
