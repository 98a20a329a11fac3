import { RingcubeError, invalid } from '../base/index.js';
import { Cbs } from './cbs.js';
import { type Work } from './job.js';

const MAX_QUEUE_JOBS = 2 ** 20;
const DEFAULT_QUEUE_JOBS = 256;

export interface ServerOptions {
  /** For people: in errors and traces. */
  name: string;
  /** Processor time in each period. */
  budgetUs: number;
  periodUs: number;
  /** By when in each period; from the budget to the period, which is the default. */
  deadlineUs?: number;
  /**
   * Bound of one job's cost, at most the budget, which is the default. A job starts only with so much budget left: whoever is
   * also charged for interrupts needs room for them in the budget.
   */
  jobUs?: number;
  /** Whether its jobs may run uncharged when nothing else is to be done; others then wait for such a job too. Default: no. */
  background?: boolean;
  /** Bound of its queue: a power of two from 1 to 2^20; default 256. */
  queueJobs?: number;
}

/** What happened to a server's jobs. */
export interface ServerCounters {
  released: number;
  completed: number;
  /** Completed after their own deadlines. */
  missed: number;
  /** Not released, for the queue was full. */
  refused: number;
  /** Took longer than `jobUs`. */
  overran: number;
  /** Times that jobs had to wait for the next budget. */
  throttled: number;
  /** All time used: charged, in the background, and by charge(). */
  usedUs: number;
  /** By which the latest job was late; 0 if none was. */
  worstLatenessUs: number;
}

/** Where a server stands with its scheduler. */
export const Standing = {
  /** It has no job. */
  Idle: 0,
  /** Its first job may run. */
  Ready: 1,
  /** Its jobs wait for the next budget. */
  Throttled: 2,
  /** Its job runs now. */
  Running: 3,
  Closed: 4,
} as const;

type Standing = (typeof Standing)[keyof typeof Standing];

/** What a server tells its scheduler. */
export interface ServerOwner {
  nowUs(): number;
  /** A job was queued at this time; of an idle server the first. */
  released(server: Server, nowUs: number): void;
  /** A job is to be released later, at `laterUs` of the server. */
  postponed(server: Server): void;
  closing(server: Server): void;
}

/** A share of the processor, and the jobs that run on it, first in, first out. Made by Scheduler.admit. */
export class Server {
  readonly name: string;
  /** Bound of one job's cost. */
  readonly jobUs: number;
  readonly background: boolean;
  readonly counters: Readonly<ServerCounters>;
  /** @internal */
  readonly cbs: Cbs;
  /** @internal */
  readonly count: ServerCounters;
  /** @internal */
  standing: Standing;
  /** @internal Its entry in the heap of the ready or of the throttled. */
  entry: number;
  /** @internal Its entry among those that may run uncharged; −1 if there is none. */
  spareEntry: number;
  /** @internal Its entry among those with a job to come; −1 if there is none. */
  laterEntry: number;
  /** @internal When that job is released. */
  laterUs: number;
  private laterWork: Work | undefined;
  private readonly works: (Work | undefined)[];
  private readonly deadlines: Float64Array;
  private head: number;
  private queued: number;

  /** @internal */
  constructor(
    /** Unique in its scheduler. */
    readonly id: number,
    options: ServerOptions,
    private readonly owner: ServerOwner,
  ) {
    const { name, budgetUs, periodUs, deadlineUs = periodUs, jobUs = budgetUs, background = false, queueJobs = DEFAULT_QUEUE_JOBS } = options;
    if (typeof name !== 'string' || name === '') throw invalid('name', name, 'a text, not empty');
    if (!(periodUs > 0 && periodUs < Infinity)) throw invalid('periodUs', periodUs, 'a finite number of microseconds above 0');
    if (!(deadlineUs > 0 && deadlineUs <= periodUs)) throw invalid('deadlineUs', deadlineUs, `above 0 and at most the period (${periodUs})`);
    if (!(budgetUs > 0 && budgetUs <= deadlineUs)) throw invalid('budgetUs', budgetUs, `above 0 and at most the deadline (${deadlineUs})`);
    if (!(jobUs > 0 && jobUs <= budgetUs)) throw invalid('jobUs', jobUs, `above 0 and at most the budget (${budgetUs})`);
    if (!Number.isInteger(queueJobs) || queueJobs < 1 || queueJobs > MAX_QUEUE_JOBS || (queueJobs & (queueJobs - 1)) !== 0) {
      throw invalid('queueJobs', queueJobs, `a power of two from 1 to ${MAX_QUEUE_JOBS}`);
    }
    this.name = name;
    this.jobUs = jobUs;
    this.background = background;
    this.cbs = new Cbs(budgetUs, periodUs, deadlineUs);
    this.count = { released: 0, completed: 0, missed: 0, refused: 0, overran: 0, throttled: 0, usedUs: 0, worstLatenessUs: 0 };
    this.counters = this.count;
    this.standing = Standing.Idle;
    this.entry = -1;
    this.spareEntry = -1;
    this.laterEntry = -1;
    this.laterUs = Infinity;
    this.laterWork = undefined;
    this.works = new Array<Work | undefined>(queueJobs).fill(undefined);
    this.deadlines = new Float64Array(queueJobs);
    this.head = 0;
    this.queued = 0;
  }

  /** Jobs queued, without the one that runs. */
  get size(): number {
    return this.queued;
  }

  /**
   * Queues a job, released now.
   *
   * @param deadlineUs absolute, by which it is to be completed: for the count of misses alone, since the order is that of the
   * servers' deadlines. Default: the server's relative deadline from now; Infinity is never missed
   * @returns false, and counts, if the queue is full. Throws ERR_CLOSED after close()
   */
  release(work: Work, deadlineUs?: number): boolean {
    if (this.closed) throw this.closedError();
    const { works, count } = this;
    if (this.queued === works.length) {
      count.refused++;
      return false;
    }
    const nowUs = this.owner.nowUs();
    const slot = (this.head + this.queued) & (works.length - 1);
    works[slot] = work;
    this.deadlines[slot] = deadlineUs ?? nowUs + this.cbs.relativeDeadlineUs;
    this.queued++;
    count.released++;
    this.owner.released(this, nowUs);
    return true;
  }

  get closed(): boolean {
    return this.standing === Standing.Closed;
  }

  /**
   * Queues a job that is released once `atUs` has come, and has no deadline of its own. One such job can wait at a time: a second one takes
   * its place. Throws ERR_CLOSED after close()
   */
  releaseAt(atUs: number, work: Work): void {
    if (this.closed) throw this.closedError();
    // Whole nanoseconds, as virtual time has them: a time between two of them could never be stepped to.
    this.laterUs = Math.ceil(atUs * 1e3) / 1e3;
    this.laterWork = work;
    this.owner.postponed(this);
  }

  /** Drops what is queued; a job that runs is left to end. Its share is given back once its period is over. */
  close(): void {
    if (this.closed) return;
    this.owner.closing(this);
    this.standing = Standing.Closed;
    this.works.fill(undefined);
    this.laterWork = undefined;
    this.queued = 0;
  }

  /** @internal Releases the job that waited for its time. */
  releaseLater(): void {
    const work = this.laterWork!;
    this.laterWork = undefined;
    this.release(work, Infinity);
  }

  private closedError(): RingcubeError {
    return new RingcubeError('ERR_CLOSED', `server ${JSON.stringify(this.name)} is closed`);
  }

  /** @internal The deadline of the first job. */
  get firstDeadlineUs(): number {
    return this.deadlines[this.head];
  }

  /** @internal Takes the first job out. */
  take(): Work {
    const work = this.works[this.head]!;
    this.works[this.head] = undefined;
    this.head = (this.head + 1) & (this.works.length - 1);
    this.queued--;
    return work;
  }
}
