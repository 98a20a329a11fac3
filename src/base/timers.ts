import { IndexedHeap } from './heap.js';

/** What is to happen at a time. */
export class Timer {
  atUs: number;
  /** @internal Its entry in the heap; −1 once it has run or was cancelled. */
  entry: number;

  /** @internal */
  constructor(
    /** @internal */
    readonly action: () => void,
    private readonly timers: Timers,
  ) {
    this.atUs = Infinity;
    this.entry = -1;
  }

  cancel(): void {
    if (this.entry >= 0) this.timers.heap.remove(this.entry);
    this.entry = -1;
  }

  /** Lets it happen so much from now on, once more or instead of when it would have: for what happens all the time, since it makes no object. */
  again(delayUs: number): void {
    this.cancel();
    this.timers.arm(this, delayUs);
  }
}

/** Timers, run by whoever has the clock: an event loop, or a simulation in virtual time. Those of one time run in the order in which they were set. */
export class Timers {
  /** Called when the earliest time has moved ahead: whoever sleeps until it must look again. */
  onEarlier: () => void = () => undefined;
  /** @internal */
  readonly heap = new IndexedHeap<Timer>();

  constructor(private readonly nowUs: () => number) {}

  after(delayUs: number, action: () => void): Timer {
    const timer = new Timer(action, this);
    this.arm(timer, delayUs);
    return timer;
  }

  /** @internal */
  arm(timer: Timer, delayUs: number): void {
    const before = this.nextUs;
    // Whole nanoseconds, as virtual time has them: a time between two of them could never be stepped to.
    timer.atUs = Math.ceil((this.nowUs() + delayUs) * 1e3) / 1e3;
    timer.entry = this.heap.push(timer.atUs, timer);
    if (timer.atUs < before) this.onEarlier();
  }

  /** When the earliest is due; Infinity if there is none. */
  get nextUs(): number {
    return this.heap.peekKey;
  }

  /** Runs all that are due. */
  run(): void {
    const now = this.nowUs();
    while (this.nextUs <= now) {
      const timer = this.heap.pop()!;
      timer.entry = -1;
      timer.action();
    }
  }
}

/** A token bucket, for what must be limited in rate (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f). */
export class TokenBucket {
  private tokens: number;
  private filledUs: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private readonly nowUs: () => number,
  ) {
    this.tokens = burst;
    this.filledUs = nowUs();
  }

  take(): boolean {
    const now = this.nowUs();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledUs) * this.perSecond) / 1e6);
    this.filledUs = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
