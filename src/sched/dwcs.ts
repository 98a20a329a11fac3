import { invalid } from '../base/index.js';
import { type Job, type JobQueue } from './job.js';

/** What a stream tolerates: `losses` jobs missed in every window of `window` jobs. */
export interface WindowConstraint {
  losses: number;
  window: number;
}

/** By how much a violated stream's window grows with each further miss: the ε of the paper. */
const PENALTY = 1;

/** A stream's jobs in their order, and what is left of its window: x′ losses in y′ jobs. */
class Stream {
  readonly jobs: { job: Job; arrival: number }[];
  losses: number;
  window: number;
  /** Lost more than it tolerates, and not yet served since. */
  private violated: boolean;

  constructor(private readonly constraint: WindowConstraint) {
    this.jobs = [];
    this.violated = false;
    this.losses = constraint.losses;
    this.window = constraint.window;
  }

  met(): void {
    if (this.window > this.losses) this.window--;
    else if (this.losses > 0) {
      this.window--;
      this.losses--;
    }
    if (this.violated || (this.window === 0 && this.losses === 0)) this.startWindow();
  }

  missed(): void {
    if (this.losses > 0) {
      this.losses--;
      this.window--;
      if (this.window === 0 && this.losses === 0) this.startWindow();
    } else {
      this.window += PENALTY;
      this.violated = true;
    }
  }

  private startWindow(): void {
    this.losses = this.constraint.losses;
    this.window = this.constraint.window;
    this.violated = false;
  }
}

/** Whether `a`'s first job comes before `b`'s: the pairwise order of DWCS. */
function precedes(a: Stream, b: Stream): boolean {
  const [first, second] = [a.jobs[0], b.jobs[0]];
  if (first.job.deadlineUs !== second.job.deadlineUs) return first.job.deadlineUs < second.job.deadlineUs;
  // x′/y′ < u/v as x′v < uy′, for windows are whole numbers.
  const [left, right] = [a.losses * b.window, b.losses * a.window];
  if (left !== right) return left < right;
  if (a.losses === 0 && a.window !== b.window) return a.window > b.window;
  if (a.losses !== b.losses) return a.losses < b.losses;
  return first.arrival < second.arrival;
}

/**
 * Dynamic window-constrained scheduling (West & Schwan 1999; West, Zhang, Schwan & Poellabauer 2004): the earliest deadline
 * first; of equal ones the stream that can afford a loss least. A stream's jobs keep their order.
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
  private readonly streams: readonly Stream[];
  private arrivals: number;
  private count: number;

  /** @param constraints by stream: whole numbers with 0 ≤ losses ≤ window, window ≥ 1; else throws ERR_INVALID_ARGUMENT */
  constructor(constraints: readonly WindowConstraint[]) {
    this.streams = constraints.map((constraint, stream) => {
      const { losses, window } = constraint;
      if (!Number.isInteger(window) || window < 1) throw invalid(`constraints[${stream}].window`, window, 'a whole number, 1 or more');
      if (!Number.isInteger(losses) || losses < 0 || losses > window) throw invalid(`constraints[${stream}].losses`, losses, `a whole number from 0 to ${window}`);
      return new Stream(constraint);
    });
    this.arrivals = 0;
    this.count = 0;
  }

  get size(): number {
    return this.count;
  }

  /** Throws ERR_INVALID_ARGUMENT for a job of a stream without a constraint. */
  push(job: Job): void {
    const stream = this.streams[job.stream];
    if (stream === undefined) throw invalid('job.stream', job.stream, `a whole number from 0 to ${this.streams.length - 1}`);
    stream.jobs.push({ job, arrival: this.arrivals++ });
    this.count++;
  }

  peek(): Job | undefined {
    return this.first()?.jobs[0].job;
  }

  pop(): Job | undefined {
    const entry = this.first()?.jobs.shift();
    if (entry !== undefined) this.count--;
    return entry?.job;
  }

  settle(job: Job, inTime: boolean): void {
    const stream = this.streams[job.stream];
    if (inTime) stream.met();
    else stream.missed();
  }

  private first(): Stream | undefined {
    let best: Stream | undefined;
    for (const stream of this.streams) {
      if (stream.jobs.length > 0 && (best === undefined || precedes(stream, best))) best = stream;
    }
    return best;
  }
}
