import { IndexedHeap, RingcubeError, invalid } from '../base/index.js';
import { type Demand, type AdmissionResult, admission } from './admission.js';
import { type Work } from './job.js';
import { Server, type ServerOptions, type ServerOwner, Standing } from './server.js';
import { type Trace, TraceKind } from './trace.js';

export interface SchedulerOptions {
  /** The clock. */
  nowUs: () => number;
  /**
   * By which any job may be held up besides by other servers' jobs: the latency of stopping one that is over its bound, one
   * interrupt budget, and the longest job of releaseBackground(). Default 0.
   */
  blockingUs?: number;
  /** Takes what happens, if given. */
  trace?: Trace;
}

//   release ─▶ Idle ──wake──▶ Ready ──start──▶ Running ──finish──▶ Ready, Throttled or Idle
//                    │          ▲                 ▲
//                    ▼          │ replenish       │ start, uncharged: nobody is ready
//                  Throttled ───┴─────────────────┘

/**
 * One processor's scheduler: earliest deadline first over bandwidth servers, jobs not preempted. It has no timer and no thread:
 * its host calls runOne() (or next, start and finish, where a job's time passes between the two) while there is something to
 * run, and else sleeps until nextUs.
 *
 * What admit() takes in is guaranteed: a job within its bound that starts within a server's budget ends by the server's deadline.
 */
export class Scheduler implements ServerOwner {
  readonly nowUs: () => number;
  private readonly blockingUs: number;
  private readonly trace: Trace | undefined;
  private readonly servers: Set<Server>;
  /** Closed, but what they used up of their last period still counts. */
  private leaving: Server[];
  /** Servers whose first job may run, by deadline. */
  private readonly ready: IndexedHeap<Server>;
  /** Servers whose jobs wait for a budget, by when it comes. */
  private readonly throttled: IndexedHeap<Server>;
  /** Of these, the ones whose jobs may run uncharged, in turn. */
  private readonly spare: IndexedHeap<Server>;
  /** Servers with a job that is released later, by when. */
  private readonly later: IndexedHeap<Server>;
  /** The background class: a server whose budget never comes. */
  private readonly background: Server;
  /** Of all that are admitted: admission.ts. */
  private guardUs: number;
  private nextId: number;
  private running: Server | undefined;
  private runningCharged: boolean;
  private runningDeadlineUs: number;
  private startedUs: number;

  /** Throws ERR_INVALID_ARGUMENT for a blocking time that is none. */
  constructor({ nowUs, blockingUs = 0, trace }: SchedulerOptions) {
    if (!(blockingUs >= 0 && blockingUs < Infinity)) throw invalid('blockingUs', blockingUs, 'a finite number of microseconds, 0 or more');
    this.nowUs = nowUs;
    this.blockingUs = blockingUs;
    this.trace = trace;
    this.servers = new Set();
    this.leaving = [];
    this.ready = new IndexedHeap();
    this.throttled = new IndexedHeap();
    this.spare = new IndexedHeap();
    this.later = new IndexedHeap();
    this.guardUs = 0;
    this.nextId = 0;
    this.running = undefined;
    this.runningCharged = false;
    this.runningDeadlineUs = 0;
    this.startedUs = 0;
    this.background = this.register(new Server(0, { name: 'background', budgetUs: 1, periodUs: 1, background: true }, this));
    this.background.cbs.throttle();
    this.background.cbs.deadlineUs = Infinity;
  }

  /** Whether a server of these options would be admitted now, and if not, why not and what would be. Throws as admit() does for options outside their ranges. */
  wouldAdmit(options: ServerOptions): AdmissionResult {
    return this.judge(new Server(this.nextId, options, this));
  }

  /**
   * Takes a server in.
   *
   * @throws ERR_INVALID_ARGUMENT for options outside their ranges, ERR_OUT_OF_RANGE where its guarantee, or another's, could not be kept
   */
  admit(options: ServerOptions): Server {
    const server = new Server(this.nextId, options, this);
    const answer = this.judge(server);
    if (!answer.fits) {
      const { atUs, overrunUs, largestCostUs } = answer;
      const why = atUs < Infinity ? `demand within ${atUs} µs would be ${overrunUs} µs too much` : 'total demand would be too much';
      const right = largestCostUs > 0 ? `at most ${largestCostUs} would fit` : 'no budget would fit';
      throw new RingcubeError('ERR_OUT_OF_RANGE', `budgetUs: got ${options.budgetUs} for server ${JSON.stringify(options.name)}: ${why}; ${right}`);
    }
    // Servers that are awake keep what they woke with: the newcomer blocks only those that wake after it.
    this.guardUs = answer.guardUs;
    this.servers.add(this.register(server));
    return server;
  }

  /** Whether this server was admitted here, and is not closed. */
  has(server: Server): boolean {
    return this.servers.has(server);
  }

  /** Queues work that has no guarantee: it runs when no server's job may. Returns false if its queue is full. */
  releaseBackground(work: Work): boolean {
    return this.background.release(work, Infinity);
  }

  /** Whether a job runs: no other can be started. */
  get busy(): boolean {
    return this.running !== undefined;
  }

  /** When the next throttled server's jobs may run again, or the next job is released that was to be later; Infinity if none waits. */
  get nextUs(): number {
    return Math.min(this.throttled.peekKey, this.later.peekKey);
  }

  /** Whose first job is to run now: of those within their budgets the earliest deadline; else of the background in turn. */
  next(): Server | undefined {
    if (this.nextUs < Infinity) this.replenish(this.nowUs());
    return this.ready.peek() ?? this.spare.peek();
  }

  /** Begins the first job of the server that next() gave, and returns it for the caller to run. One job at a time: a second one is a mistake of the caller's. */
  start(server: Server): Work {
    if (this.running !== undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `start: a job of ${JSON.stringify(this.running.name)} still runs`);
    if (server.standing !== Standing.Ready && server.spareEntry < 0) throw new RingcubeError('ERR_INVALID_ARGUMENT', `start: ${JSON.stringify(server.name)} has no job that may run`);
    const nowUs = this.nowUs();
    const charged = server.standing === Standing.Ready;
    this.leave(server);
    server.standing = Standing.Running;
    this.running = server;
    this.runningCharged = charged;
    this.runningDeadlineUs = server.firstDeadlineUs;
    this.startedUs = nowUs;
    this.trace?.add(TraceKind.Start, server.id, nowUs, charged ? 1 : 0);
    return server.take();
  }

  /** Ends the job that was started; it took `usedUs`. */
  finish(usedUs: number): void {
    const server = this.running;
    if (server === undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', 'finish: no job runs');
    // A job that says what it took need not move the clock.
    const nowUs = Math.max(this.nowUs(), this.startedUs + usedUs);
    const { count } = server;
    this.running = undefined;
    if (this.runningCharged) server.cbs.charge(usedUs);
    count.completed++;
    count.usedUs += usedUs;
    if (usedUs > server.jobUs) count.overran++;
    this.trace?.add(TraceKind.End, server.id, nowUs, this.runningCharged ? usedUs : 0);
    const latenessUs = nowUs - this.runningDeadlineUs;
    if (latenessUs > 0) {
      count.missed++;
      if (latenessUs > count.worstLatenessUs) count.worstLatenessUs = latenessUs;
      this.trace?.add(TraceKind.Miss, server.id, nowUs, latenessUs);
    }
    if (server.standing === Standing.Closed) return;
    server.standing = Standing.Idle;
    if (server.size > 0) this.enter(server, nowUs);
  }

  /** Runs the next job, if there is one, and says whether there was. What the job throws comes through, once the job is accounted for. */
  runOne(): boolean {
    const server = this.next();
    if (server === undefined) return false;
    const work = this.start(server);
    let usedUs: number | undefined;
    try {
      usedUs = work.run();
    } finally {
      this.finish(usedUs ?? this.nowUs() - this.startedUs);
    }
    return true;
  }

  /**
   * Whether a job of this server, released now, would be picked before what is running, or else queued: then an interrupt on its
   * behalf is worth handling now (Zhang & West 2006). What was there first wins a tie.
   */
  outranks(server: Server): boolean {
    if (server.standing === Standing.Running || server.standing === Standing.Closed) return false;
    const nowUs = this.nowUs();
    this.replenish(nowUs);
    let deadlineUs = Infinity;
    if (server.standing === Standing.Ready) deadlineUs = server.cbs.deadlineUs;
    else if (server.standing === Standing.Idle) deadlineUs = server.cbs.deadlineIfWoken(nowUs, server.jobUs, this.guardUs);
    if (this.running !== undefined && deadlineUs >= (this.runningCharged ? this.running.cbs.deadlineUs : Infinity)) return false;
    return deadlineUs < this.ready.peekKey || this.ready.peek() === server;
  }

  /** Charges a server for time that was spent for it outside its jobs: interrupts, the stack. */
  charge(server: Server, usedUs: number): void {
    if (server.standing === Standing.Closed) return;
    const nowUs = this.nowUs();
    if (server.standing === Standing.Idle) server.cbs.wake(nowUs, this.guardUs);
    server.cbs.charge(usedUs);
    server.count.usedUs += usedUs;
    const misplaced = server.standing === Standing.Throttled || (server.standing === Standing.Ready && !server.cbs.affords(server.jobUs));
    if (misplaced) {
      this.leave(server);
      this.enter(server, nowUs);
    }
  }

  /** @internal */
  released(server: Server, nowUs: number): void {
    this.trace?.add(TraceKind.Release, server.id, nowUs, server.size);
    if (server.standing !== Standing.Idle) return;
    server.cbs.wake(nowUs, this.guardUs);
    this.enter(server, nowUs);
  }

  /** @internal */
  postponed(server: Server): void {
    if (server.laterEntry >= 0) this.later.remove(server.laterEntry);
    server.laterEntry = this.later.push(server.laterUs, server);
  }

  /** @internal Something about a server for the trace. */
  note(kind: TraceKind, server: Server, value: number): void {
    this.trace?.add(kind, server.id, this.nowUs(), value);
  }

  /** @internal */
  closing(server: Server): void {
    this.leave(server);
    if (server.laterEntry >= 0) this.later.remove(server.laterEntry);
    server.laterEntry = -1;
    this.servers.delete(server);
    // Its budget of this period may be used up already: before the next, nobody else can have it.
    this.leaving.push(server);
  }

  private register(server: Server): Server {
    this.nextId++;
    this.trace?.name(server.id, server.name);
    return server;
  }

  private judge(newcomer: Server): AdmissionResult {
    const nowUs = this.nowUs();
    this.leaving = this.leaving.filter((server) => server === this.running || server.cbs.replenishUs > nowUs);
    return admission([...this.servers, ...this.leaving].map(demandOf), demandOf(newcomer), this.blockingUs);
  }

  /** Puts a server that has jobs, and is in no heap, where it belongs. */
  private enter(server: Server, nowUs: number): void {
    const { cbs } = server;
    if (!cbs.affords(server.jobUs)) {
      cbs.throttle();
      cbs.replenish(nowUs);
    }
    if (cbs.affords(server.jobUs)) {
      server.standing = Standing.Ready;
      server.entry = this.ready.push(cbs.deadlineUs, server);
      return;
    }
    server.standing = Standing.Throttled;
    server.entry = this.throttled.push(cbs.replenishUs, server);
    if (server.background) server.spareEntry = this.spare.push(0, server);
    if (server === this.background) return;
    server.count.throttled++;
    this.trace?.add(TraceKind.Throttle, server.id, nowUs, cbs.replenishUs);
  }

  /** Takes a server out of the heaps that it is in. */
  private leave(server: Server): void {
    if (server.standing === Standing.Ready) this.ready.remove(server.entry);
    else if (server.standing === Standing.Throttled) this.throttled.remove(server.entry);
    if (server.spareEntry >= 0) this.spare.remove(server.spareEntry);
    server.spareEntry = -1;
  }

  private replenish(nowUs: number): void {
    while (this.later.peekKey <= nowUs) {
      const server = this.later.pop()!;
      server.laterEntry = -1;
      server.releaseLater();
    }
    while (this.throttled.peekKey <= nowUs) {
      const server = this.throttled.peek()!;
      this.leave(server);
      this.enter(server, nowUs);
    }
  }
}

function demandOf(server: Server): Demand {
  const { cbs, jobUs, background } = server;
  return { kind: 'server', costUs: cbs.budgetUs, periodUs: cbs.periodUs, deadlineUs: cbs.relativeDeadlineUs, sectionUs: jobUs, background };
}
