import { RingcubeError, WebAssembly } from '../base/index.js';
import { type TrapCause } from './options.js';
import { printable } from './printable.js';

/** Why a call into an agent ended early. */
export class Trap {
  constructor(
    readonly cause: TrapCause,
    readonly message: string,
  ) {}

  /** Of what a call threw, and whether its budget had stopped it. */
  static of(error: unknown, stopped: boolean): Trap {
    if (stopped) return new Trap('budget', 'stopped: it ran over its budget');
    if (error instanceof WebAssembly.RuntimeError) return new Trap('fault', error.message);
    // V8 has no class of its own for it.
    if (error instanceof RangeError && error.message.includes('call stack')) return new Trap('stack', `out of stack: ${error.message}`);
    return new Trap('abort', printable(error instanceof Error ? error.message : String(error)));
  }

  toError(): RingcubeError {
    return new RingcubeError('ERR_INVALID_ARGUMENT', this.message);
  }
}

const FIRST_PAUSE_US = 1e3;
const LONGEST_PAUSE_US = 1e6;

/**
 * When an agent that trapped may go on: at once after the first trap, and after one that follows before it has served a batch, in
 * 2 ms, 4 ms, … up to a second.
 */
export class Backoff {
  /** 0: nothing has happened lately. */
  private pauseUs = 0;
  untilUs = -Infinity;

  get active(): boolean {
    return this.pauseUs > 0;
  }

  trapped(nowUs: number): void {
    this.untilUs = this.pauseUs === 0 ? -Infinity : nowUs + Math.min(2 * this.pauseUs, LONGEST_PAUSE_US);
    this.pauseUs = Math.min(this.pauseUs === 0 ? FIRST_PAUSE_US : 2 * this.pauseUs, LONGEST_PAUSE_US);
  }

  served(): void {
    this.pauseUs = 0;
    this.untilUs = -Infinity;
  }
}
