import { invalid, RingcubeError } from '../base/index.js';
import { DwcsStreams, type LossTolerance, type Scheduler, type Server, TraceKind, type Work } from '../sched/index.js';
import { type Binding, type Dispatcher } from './dispatcher.js';

/** With a job each for their timers, and the share's own, they fill the queue of a server. */
const MAX_STREAMS = 255;

/** What became of the request periods of a stream in a share. */
export interface ShareCounters {
  /** It was served by the deadline. */
  met: number;
  /** It was not: its payload was dropped, or served late. */
  missed: number;
  /** Of these, begun in time but over after the deadline. */
  late: number;
  /** Of these, more than it tolerates. */
  violated: number;
  /** Payloads dropped since their deadlines had passed. */
  dropped: number;
}

/** A stream's place in a share. */
export interface Seat {
  readonly number: number;
  readonly binding: Binding;
  readonly tolerates: LossTolerance;
  readonly counters: ShareCounters;
}

/**
 * A bandwidth server whose time several loss-tolerant streams share, in the order of dynamic window-constrained scheduling (West & Schwan
 * 1999; West, Zhang, Schwan & Poellabauer 2004):
 *
 *     interrupt ─▶ backlog ─┐                      ┌─▶ the stream of the earliest deadline, of equal ones
 *     interrupt ─▶ backlog ─┼─▶ a job of the share ┤   the one that can afford a loss least: one service
 *     interrupt ─▶ backlog ─┘                      └─▶ drops what is past its deadline
 *
 * To the rest of the host it is a server as any other. Each stream with a backlog is to be served once in each of its periods: one
 * payload, or `budget`. A service that has not begun by the deadline is missed: the payload is dropped, within what the stream tolerates
 * because it may be, and beyond because it is late anyway. A service that begins in time and ends late is missed too, though its payload
 * goes on. The order is decided when the processor comes to the share, so losses are found then as well.
 *
 * A payload counts as released when the interrupt or poll that tells of it is seen. While a stream has a backlog its queue is masked, and
 * those behind the first are seen when the share next runs. They wait on the card's ring; what finds that full is dropped by the card,
 * which counts it, and is no miss.
 *
 * Deadlines are counted in the share's own periods: within one, the windows decide. So a payload is served within its stream's period and
 * one of the share's, or dropped.
 */
export class DwcsShare implements Work {
  private readonly streams: DwcsStreams;
  private readonly seats: (Seat | undefined)[] = [];
  /** Its job is in the server's queue. */
  private queued = false;
  private serving = false;

  /** @internal */
  constructor(
    private readonly dispatcher: Dispatcher,
    private readonly scheduler: Scheduler,
    readonly server: Server,
  ) {
    this.streams = new DwcsStreams(MAX_STREAMS, server.cbs.periodUs);
  }

  get name(): string {
    return this.server.name;
  }

  /**
   * Lets a stream in whose losses can be kept within what it tolerates: Σ (1 − x/y) C/T of the share's streams is at most its part of the processor, C
   * being its bound of a job. No order could do with less. DWCS needs no more where all periods are that of the share and begin with its own; one
   * service more where they don't begin together, as the one under way at a deadline is late. With different periods it promises nothing (Mok & Wang 2001).
   *
   * @throws ERR_OUT_OF_RANGE for one that would be too much, ERR_INVALID_ARGUMENT for a tolerance that is none
   */
  join(binding: Binding, tolerates: LossTolerance): Seat {
    const { streams, server } = this;
    const { jobUs } = server;
    const number = streams.add(tolerates);
    try {
      if (tolerates.periodUs < jobUs) throw invalid('tolerates.periodUs', tolerates.periodUs, `at least ${jobUs}, the share's bound of a job`);
      const others = this.seats.reduce((sum, seat) => sum + (seat === undefined ? 0 : leastUse(seat.tolerates, jobUs)), 0);
      const own = leastUse(tolerates, jobUs);
      const share = server.cbs.budgetUs / server.cbs.periodUs;
      if (others + own > share * (1 + 1e-9)) {
        const { losses, window, periodUs } = tolerates;
        const enough = Math.ceil(window * (1 - Math.max(0, share - others) * (periodUs / jobUs)) - 1e-9);
        const shown = (part: number): string => `${Number((100 * part).toPrecision(4))} %`;
        const message = `tolerates: got ${losses} losses of ${window} for stream ${JSON.stringify(binding.stream.name)}: what must not be lost would take ${shown(own)} of the processor, and share ${JSON.stringify(this.name)} has ${shown(Math.max(0, share - others))} left; ${enough} of ${window} would fit`;
        throw new RingcubeError('ERR_OUT_OF_RANGE', message);
      }
    } catch (error) {
      streams.remove(number);
      throw error;
    }
    return (this.seats[number] = { number, binding, tolerates, counters: { met: 0, missed: 0, late: 0, violated: 0, dropped: 0 } });
  }

  leave({ number }: Seat): void {
    this.streams.remove(number);
    this.seats[number] = undefined;
  }

  get bindings(): Binding[] {
    return this.seats.flatMap((seat) => (seat === undefined ? [] : [seat.binding]));
  }

  /** Something of a stream waits. Returns whether the share has a job queued. */
  enter(seat: Seat): boolean {
    // A queue can tell of frames once more after its stream has left.
    if (this.seats[seat.number] !== seat) return false;
    const nowUs = this.dispatcher.nowUs();
    this.streams.look(seat.number, seat.binding.look(), nowUs);
    this.arm(nowUs);
    return this.queued;
  }

  /** One job: drops what is past its deadline, and serves one stream once. */
  run(): number | undefined {
    const { dispatcher, streams } = this;
    const nowUs = dispatcher.nowUs();
    this.queued = false;
    this.shed(nowUs);
    const number = this.choose(nowUs);
    if (number < 0) {
      this.arm(nowUs);
      return dispatcher.costUs(0, 0);
    }
    const seat = this.seats[number]!;
    this.scheduler.note(TraceKind.Turn, this.server, number);
    this.serving = true;
    let usedUs: number | undefined;
    try {
      return (usedUs = seat.binding.serveOnce());
    } finally {
      // Also where a handler throws: the other streams are still there.
      this.serving = false;
      const endUs = usedUs === undefined ? dispatcher.nowUs() : nowUs + usedUs;
      // A handler of its own may have closed it.
      if (this.seats[number] === seat) {
        const inTime = streams.inTime(number, endUs);
        this.settle(seat, 1, inTime);
        if (!inTime) seat.counters.late++;
        streams.look(number, seat.binding.look(), endUs);
      }
      this.arm(endUs);
    }
  }

  /** Drops payloads that were not served by their deadlines, and looks for what came since. */
  private shed(nowUs: number): void {
    const { streams, seats } = this;
    for (let number = 0; number < seats.length; number++) {
      if (!streams.isBacklogged(number)) continue;
      const seat = seats[number]!;
      while (streams.isOverdue(number, nowUs)) {
        const dropped = seat.binding.drop();
        seat.counters.dropped += dropped;
        this.settle(seat, Math.max(1, dropped), false);
      }
      streams.look(number, seat.binding.look(), nowUs);
    }
  }

  private settle({ number, counters }: Seat, taken: number, inTime: boolean): void {
    const tolerable = this.streams.settle(number, taken, inTime);
    if (inTime) {
      counters.met++;
      return;
    }
    counters.missed++;
    if (!tolerable) counters.violated++;
    this.scheduler.note(tolerable ? TraceKind.Loss : TraceKind.Violation, this.server, number);
  }

  private choose(nowUs: number): number {
    const { streams, seats } = this;
    for (;;) {
      const number = streams.next(nowUs);
      if (number < 0 || !seats[number]!.binding.leftAlone()) return number;
      // After traps. It comes again by itself, as if it had had nothing.
      streams.rest(number);
    }
  }

  /** Sees to a job for when the next period begins of a stream that has something, or for now. */
  private arm(nowUs: number): void {
    if (this.queued || this.serving) return;
    const { server, dispatcher } = this;
    const { nextUs } = this.streams;
    if (nextUs === Infinity || server.closed) return;
    if (nextUs > nowUs) server.releaseAt(nextUs, this);
    // Its misses are counted here, by deadlines of its own.
    else if (server.release(this, Infinity)) this.queued = true;
    // Its agents' checkpoints may have filled the queue.
    else dispatcher.after(server.cbs.periodUs, this.again);
    dispatcher.onJobs();
  }

  private readonly again = (): void => {
    this.arm(this.dispatcher.nowUs());
  };
}

/** Of the processor: what a stream takes that loses all that it may. */
function leastUse({ losses, window, periodUs }: LossTolerance, jobUs: number): number {
  return ((1 - losses / window) * jobUs) / periodUs;
}
