import { type Clock, RingcubeError, invalid } from '../base/index.js';
import { type NativeEngine, addon, native } from './addon.js';

export interface EngineOptions {
  /** No thread: frames move in step(), in virtual time. The same seed then gives the same run. */
  stepped?: boolean;
  /** How long the thread looks for work before it sleeps; default 50. */
  spinUs?: number;
  /** Pins the thread to this CPU. */
  cpu?: number;
}

/** The DMA engine: moves the frames of all NICs, links and backends made on it. Its time is a Clock. */
export class Engine implements Clock {
  readonly stepped: boolean;
  /** @internal */
  readonly native: NativeEngine;

  constructor(options: EngineOptions = {}) {
    const { spinUs = 50, cpu = -1 } = options;
    if (!(spinUs >= 0 && spinUs <= 1e6)) throw invalid('spinUs', spinUs, 'from 0 to 1000000');
    if (!Number.isInteger(cpu) || cpu < -1 || cpu > 1023) throw invalid('cpu', cpu, 'the number of a CPU');
    this.stepped = options.stepped ?? false;
    this.native = native(() => new addon.Engine({ stepped: this.stepped, spinUs, cpu }));
  }

  /** CLOCK_MONOTONIC, or the virtual time in stepped mode. */
  nowUs(): number {
    return this.native.now() / 1e3;
  }

  /**
   * Stepped mode: moves all that can move until virtual time `untilUs`, and sets the clock there.
   * @returns when something is due next, Infinity if nothing is.
   */
  step(untilUs: number = this.nowUs()): number {
    if (!this.stepped) throw new RingcubeError('ERR_UNSUPPORTED', 'step: this engine has a thread of its own');
    if (!(untilUs >= 0 && untilUs < 2 ** 53 / 1e3)) throw invalid('untilUs', untilUs, 'a time in virtual microseconds');
    return this.native.step(Math.round(untilUs * 1e3)) / 1e3;
  }

  /** How often the thread went to sleep. */
  get sleeps(): number {
    return this.native.sleeps;
  }

  /** While a driver waits for an answer: a stepped engine must be moved by whoever waits. */
  relax(): void {
    if (this.stepped) this.step();
  }
}
