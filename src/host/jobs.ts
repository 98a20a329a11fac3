import { type Scheduler } from '../sched/index.js';
import { type Stack } from '../stack/index.js';

/** How long jobs run in one turn of the event loop, before it may do something else. */
const SLICE_US = 1e3;
/** A wait shorter than this is spent in turns of the event loop: its timers are no finer than a millisecond. */
const SHORT_WAIT_US = 1.5e3;

/** The most that Node's timers count; whoever wakes early looks again. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

/** Runs a scheduler's jobs from the event loop, in real time: some in each turn, and looks for interrupts between two. */
export class JobLoop {
  private scheduled = false;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly stack: Stack,
  ) {}

  /** There is something to run, or will be. */
  readonly wake = (): void => {
    if (this.scheduled || this.stopped) return;
    this.scheduled = true;
    setImmediate(this.turn);
  };

  private readonly turn = (): void => {
    this.scheduled = false;
    if (this.stopped) return;
    const { scheduler, stack } = this;
    const endUs = scheduler.nowUs() + SLICE_US;
    let ran = true;
    try {
      while (ran && scheduler.nowUs() < endUs) {
        ran = scheduler.runOne();
        for (const iface of stack.interfaces) iface.driver.pollInterrupts();
      }
      for (const iface of stack.interfaces) iface.publish();
    } finally {
      // Also where a handler of somebody's throws: the other jobs are still there.
      if (ran) this.wake();
      else this.sleep(scheduler.nextUs - scheduler.nowUs());
    }
  };

  private sleep(waitUs: number): void {
    clearTimeout(this.timer);
    if (waitUs === Infinity) return;
    if (waitUs < SHORT_WAIT_US) this.wake();
    else this.timer = setTimeout(this.wake, Math.min(Math.floor(waitUs / 1e3), LONGEST_WAIT_MS));
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}

/**
 * One processor in virtual time: a job that takes 50 µs is over, and what it sent is on its way, 50 µs after it began; no other
 * runs meanwhile.
 */
export class VirtualProcessor {
  private running = false;
  private untilUs = -Infinity;
  private usedUs = 0;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly stack: Stack,
  ) {}

  /** When something happens next; Infinity if nothing does by itself. */
  get nextUs(): number {
    return this.running ? this.untilUs : this.scheduler.nextUs;
  }

  /** Ends the job whose time has come, and begins the next. Returns how many of the two it did. */
  step(nowUs: number): number {
    let did = 0;
    const { scheduler, stack } = this;
    if (this.running) {
      if (nowUs < this.untilUs) return 0;
      this.running = false;
      scheduler.finish(this.usedUs);
      for (const iface of stack.interfaces) iface.hold(false);
      did++;
    }
    const server = scheduler.next();
    if (server === undefined) return did;
    const work = scheduler.start(server);
    for (const iface of stack.interfaces) iface.hold(true);
    try {
      this.usedUs = work.run() ?? 0;
    } catch (error) {
      scheduler.finish(0);
      for (const iface of stack.interfaces) iface.hold(false);
      throw error;
    }
    // Whole nanoseconds, as virtual time has them.
    this.untilUs = Math.ceil((nowUs + this.usedUs) * 1e3) / 1e3;
    this.running = true;
    return did + 1;
  }
}
