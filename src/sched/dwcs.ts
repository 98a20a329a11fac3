import { invalid } from '../base/index.js';
import { type Job, type JobQueue } from './job.js';

/** What a stream tolerates: `losses` jobs missed in every window of `window` jobs. */
export interface WindowConstraint {
  losses: number;
  window: number;
}

/** By how much a violated stream's window grows with each further miss: the ε of the paper. */
const PENALTY = 1;

/**
 * The rules of dynamic window-constrained scheduling (West & Schwan 1999; West, Zhang, Schwan & Poellabauer 2004) for streams known by
 * their number: what is left of each one's window, x′ losses in y′ jobs, and who can afford a loss least. Allocates nothing but when made.
 */
export class DwcsWindows {
  private readonly losses: Float64Array;
  private readonly window: Float64Array;
  private readonly lossesLeft: Float64Array;
  private readonly windowLeft: Float64Array;
  /** Lost more than it tolerates, and not yet served since. */
  private readonly violated: Uint8Array;

  constructor(streams: number) {
    this.losses = new Float64Array(streams);
    this.window = new Float64Array(streams);
    this.lossesLeft = new Float64Array(streams);
    this.windowLeft = new Float64Array(streams);
    this.violated = new Uint8Array(streams);
  }

  /**
   * Begins a stream's first window.
   *
   * @param what how the caller calls the constraint, for errors
   * @throws ERR_INVALID_ARGUMENT but for whole numbers with 0 ≤ losses ≤ window, window ≥ 1
   */
  set(stream: number, { losses, window }: WindowConstraint, what: string): void {
    if (!Number.isSafeInteger(window) || window < 1) throw invalid(`${what}.window`, window, 'a whole number, 1 or more');
    if (!Number.isInteger(losses) || losses < 0 || losses > window) throw invalid(`${what}.losses`, losses, `a whole number from 0 to ${window}`);
    this.losses[stream] = losses;
    this.window[stream] = window;
    this.startWindow(stream);
  }

  /** A job was done in time. */
  met(stream: number): void {
    const { lossesLeft, windowLeft } = this;
    if (windowLeft[stream] > lossesLeft[stream]) windowLeft[stream]--;
    else if (lossesLeft[stream] > 0) {
      windowLeft[stream]--;
      lossesLeft[stream]--;
    }
    if (this.violated[stream] === 1 || (windowLeft[stream] === 0 && lossesLeft[stream] === 0)) this.startWindow(stream);
  }

  /** A job was not. Returns whether that could be tolerated. */
  missed(stream: number): boolean {
    const { lossesLeft, windowLeft } = this;
    if (lossesLeft[stream] === 0) {
      windowLeft[stream] += PENALTY;
      this.violated[stream] = 1;
      return false;
    }
    lossesLeft[stream]--;
    windowLeft[stream]--;
    if (windowLeft[stream] === 0 && lossesLeft[stream] === 0) this.startWindow(stream);
    return true;
  }

  /** Of two streams whose jobs have one deadline: below 0 if `a` comes first, above 0 if `b` does, 0 if whoever was there first. */
  compare(a: number, b: number): number {
    const { lossesLeft, windowLeft } = this;
    // x′/y′ < u/v as x′v < uy′, for windows are whole numbers.
    const left = lossesLeft[a] * windowLeft[b];
    const right = lossesLeft[b] * windowLeft[a];
    if (left !== right) return left - right;
    if (lossesLeft[a] === 0 && windowLeft[a] !== windowLeft[b]) return windowLeft[b] - windowLeft[a];
    return lossesLeft[a] - lossesLeft[b];
  }

  private startWindow(stream: number): void {
    this.lossesLeft[stream] = this.losses[stream];
    this.windowLeft[stream] = this.window[stream];
    this.violated[stream] = 0;
  }
}

/** A stream's jobs in their order. */
type Waiting = { job: Job; arrival: number }[];

/**
 * Dynamic window-constrained scheduling: the earliest deadline first; of equal ones the stream that can afford a loss least
 * (DwcsWindows). A stream's jobs keep their order.
 *
 * What is kept, where it can be, holds in *tumbling* windows: of a stream's first y jobs at most x are missed, of its next y
 * jobs again at most x. A window that slides over two of these may hold up to 2x misses.
 *
 * With jobs of one cost C that fill their period, Σ (1 − x/y) C/T ≤ 1 suffices. Where periods differ it does not: streams of
 * low utilisation can be violated (Mok & Wang 2001).
 *
 * pop() compares the streams one by one.
 */
export class DwcsQueue implements JobQueue {
  private readonly windows: DwcsWindows;
  private readonly streams: readonly Waiting[];
  private arrivals: number;
  private count: number;

  /** @param constraints by stream: whole numbers with 0 ≤ losses ≤ window, window ≥ 1; else throws ERR_INVALID_ARGUMENT */
  constructor(constraints: readonly WindowConstraint[]) {
    this.windows = new DwcsWindows(constraints.length);
    for (const [stream, constraint] of constraints.entries()) this.windows.set(stream, constraint, `constraints[${stream}]`);
    this.streams = constraints.map(() => []);
    this.arrivals = 0;
    this.count = 0;
  }

  get size(): number {
    return this.count;
  }

  /** Throws ERR_INVALID_ARGUMENT for a job of a stream without a constraint. */
  push(job: Job): void {
    const waiting = this.streams[job.stream];
    if (waiting === undefined) throw invalid('job.stream', job.stream, `a whole number from 0 to ${this.streams.length - 1}`);
    waiting.push({ job, arrival: this.arrivals++ });
    this.count++;
  }

  peek(): Job | undefined {
    return this.first()?.[0].job;
  }

  pop(): Job | undefined {
    const entry = this.first()?.shift();
    if (entry !== undefined) this.count--;
    return entry?.job;
  }

  settle({ stream }: Job, inTime: boolean): void {
    if (inTime) this.windows.met(stream);
    else this.windows.missed(stream);
  }

  private first(): Waiting | undefined {
    let best: Waiting | undefined;
    for (const waiting of this.streams) {
      if (waiting.length > 0 && (best === undefined || this.precedes(waiting, best))) best = waiting;
    }
    return best;
  }

  /** Whether `a`'s first job comes before `b`'s. */
  private precedes([a]: Waiting, [b]: Waiting): boolean {
    if (a.job.deadlineUs !== b.job.deadlineUs) return a.job.deadlineUs < b.job.deadlineUs;
    const order = this.windows.compare(a.job.stream, b.job.stream);
    return order !== 0 ? order < 0 : a.arrival < b.arrival;
  }
}
