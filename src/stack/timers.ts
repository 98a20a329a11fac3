/** What is to happen at a time. Cancelling is cheap: the entry stays until its time and then does nothing. */
export class Timer {
  /** @internal */
  action: (() => void) | undefined;

  constructor(
    readonly atUs: number,
    action: () => void,
  ) {
    this.action = action;
  }

  cancel(): void {
    this.action = undefined;
  }
}

/** Timers as a binary heap, run by whoever has the clock: an event loop, or a simulation in virtual time. */
export class Timers {
  /** Called when the earliest time has moved ahead: whoever sleeps until it must look again. */
  onEarlier: () => void = () => undefined;
  private readonly heap: Timer[] = [];

  constructor(private readonly nowUs: () => number) {}

  after(delayUs: number, action: () => void): Timer {
    // Whole nanoseconds, as virtual time has them: a time between two of them could never be stepped to.
    const timer = new Timer(Math.ceil((this.nowUs() + delayUs) * 1e3) / 1e3, action);
    const { heap } = this;
    let at = heap.push(timer) - 1;
    for (let up = (at - 1) >> 1; at > 0 && heap[up].atUs > timer.atUs; at = up, up = (at - 1) >> 1) heap[at] = heap[up];
    heap[at] = timer;
    if (at === 0) this.onEarlier();
    return timer;
  }

  /** When the earliest is due; Infinity if there is none. */
  get nextUs(): number {
    while (this.heap.length > 0 && this.heap[0].action === undefined) this.pop();
    return this.heap.length > 0 ? this.heap[0].atUs : Infinity;
  }

  /** Runs all that are due. */
  run(): void {
    const now = this.nowUs();
    while (this.nextUs <= now) this.pop().action!();
  }

  private pop(): Timer {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop()!;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let down = 2 * at + 1;
        if (down >= heap.length) break;
        if (down + 1 < heap.length && heap[down + 1].atUs < heap[down].atUs) down++;
        if (heap[down].atUs >= last.atUs) break;
        heap[at] = heap[down];
        at = down;
      }
      heap[at] = last;
    }
    return first;
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
