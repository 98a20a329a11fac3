import { invalid, RingcubeError } from '../base/index.js';
import { type FlowRule, FramePool, type QueuePair } from '../nic/index.js';
import { type LossTolerance, type Scheduler, type Server, type Work } from '../sched/index.js';
import { type Interface, type Stack } from '../stack/index.js';
import { type DwcsShare, type Seat, type ShareCounters } from './share.js';
import { type Stream } from './stream.js';

/**
 * When the bottom half of a stream runs: inline, in the interrupt (or poll) that brings its frames; job, when the scheduler comes to it; adaptive, in
 * the interrupt if the stream's server outranks all that is running or queued (Zhang & West 2006), else as a job.
 */
export type UpcallMode = 'inline' | 'job' | 'adaptive';

export interface BindOptions {
  /** Default: adaptive with a server, inline without. */
  mode?: UpcallMode;
  /** Whose time it is; needed for job and adaptive. */
  server?: Server;
  /** In place of a server: one whose time it shares with others that tolerate losses; with what it tolerates itself. */
  share?: DwcsShare;
  tolerates?: LossTolerance;
  /** Frames that one job or interrupt takes; default 64, and 1 in a share. */
  budget?: number;
}

/** What virtual time passes while a stream runs, where there is no real time to measure. */
export interface Costs {
  /** Of the card's and stack's work on a frame. */
  frameUs: number;
  /** Of an instruction of an agent's. */
  instructionNs: number;
}

export interface DispatcherOptions {
  scheduler?: Scheduler;
  /** In virtual time. */
  costs?: Costs;
  /** Has a flow come in on a pair of its own, or no more (−1). */
  steer: (iface: Interface, rule: FlowRule, pair: number) => void;
  /** There are jobs: whoever runs them shall. */
  onJobs: () => void;
}

/** Of a header pool: Ethernet, IPv6 and UDP. */
const HEADER_BYTES = 64;
/** After so long a server whose queue was full is asked again at the latest. */
const FULL_QUEUE_US = 1000;
const SPLIT_V4 = 42;
const SPLIT_V6 = 62;

/** A queue of a card that is one stream's alone. */
interface OwnQueue {
  iface: Interface;
  pair: QueuePair;
  rule: FlowRule;
}

/** A stream in its place: its queue, and the job that serves it. */
export class Binding implements Work {
  /** A job is queued, or will be at a later time. */
  private queued = false;
  /** The agents' timers are to be called, by a job of their own. */
  private tickDue = false;
  private readonly seat: Seat | undefined;

  constructor(
    private readonly dispatcher: Dispatcher,
    readonly stream: Stream,
    readonly server: Server | undefined,
    readonly mode: UpcallMode,
    /** undefined: it shares the first queue with all that is not steered. */
    readonly queue: OwnQueue | undefined,
    private readonly budget: number,
    readonly share: DwcsShare | undefined,
    tolerates: LossTolerance | undefined,
  ) {
    this.seat = share?.join(this, tolerates!);
  }

  /** Frames are there, and their queue is masked. */
  readonly onFrames = (): void => {
    if (!this.release() || this.mode !== 'adaptive') return;
    this.dispatcher.runIfFirst(this.server!);
  };

  /** Queues the job, if it isn't; false if the server won't take it now, or the share has none to do yet. */
  release(): boolean {
    const { server, dispatcher } = this;
    if (this.queued) return true;
    if (this.share !== undefined) return this.share.enter(this.seat!);
    // Whose server has been closed is served no more: its frames wait, and then are dropped at the card.
    if (server!.closed) return false;
    this.queued = true;
    if (!server!.release(this)) {
      dispatcher.turnAway(this);
      return false;
    }
    dispatcher.onJobs();
    return true;
  }

  /** @internal As release(), of one whose time to wait is over. */
  releaseLate(): void {
    this.queued = false;
    if (!this.stream.closed) this.release();
  }

  /** The agents' timers are due. Ticks that nobody had time for become one. */
  tick(): void {
    if (this.server === undefined) {
      this.stream.tick();
      return;
    }
    if (this.share === undefined) {
      this.tickDue = true;
      this.release();
    } else if (!this.tickDue) {
      // On the share's time, but no service: it takes no turn.
      this.tickDue = !this.server.closed && this.server.release(this);
      if (this.tickDue) this.dispatcher.onJobs();
    }
  }

  /** One job: the agents' timers, or the frames that wait, at most the budget, through the stack and the agents. */
  run(): number | undefined {
    const { stream, queue, dispatcher } = this;
    if (this.share !== undefined) return this.runTick();
    this.queued = false;
    dispatcher.letIn(this.server!);
    // Of a server that others share it is queued still.
    if (stream.closed || this.leftAlone()) return dispatcher.costUs(0, 0);
    stream.usedFuel = 0;
    let frames = 0;
    if (this.tickDue) {
      this.tickDue = false;
      stream.tick();
    } else if (this.mode !== 'inline') frames = this.serve();
    if (!stream.closed && (stream.waiting > 0 || queue?.pair.waiting === true)) this.release();
    return dispatcher.costUs(frames, stream.usedFuel);
  }

  /** Whether its agent is to be left alone, after traps. Its queue stays masked, and costs nothing, until the job is queued again. */
  leftAlone(): boolean {
    const { stream, dispatcher } = this;
    const pauseUs = stream.pausedUntilUs - dispatcher.nowUs();
    if (!(pauseUs > 0)) return false;
    this.queued = true;
    dispatcher.after(pauseUs, () => {
      this.releaseLate();
    });
    return true;
  }

  // --- for its share ---

  /** @internal Frames that wait on a masked queue, or behind the stack; a queue without any is not masked any more. */
  look(): number {
    const { stream, queue } = this;
    if (queue?.pair.waiting !== true) return stream.waiting;
    const { iface, pair } = queue;
    // A handler that threw has left it masked.
    if (pair.rx.ring.used() === 0) iface.driver.dropDeferred(pair, 0);
    // It may also wait for what it has sent: then it wants to be served as well.
    return stream.waiting + (pair.waiting ? Math.max(1, pair.rx.ring.used()) : 0);
  }

  /** @internal As run(), and leaves it to the share when the next frames have their turn. */
  serveOnce(): number | undefined {
    const { stream, dispatcher } = this;
    stream.usedFuel = 0;
    const frames = this.serve();
    return dispatcher.costUs(frames, stream.usedFuel);
  }

  /** @internal Drops what serveOnce() would have taken. Returns how many. */
  drop(): number {
    const { stream, queue, budget } = this;
    const dropped = stream.drop(budget);
    return dropped === budget || queue?.pair.waiting !== true ? dropped : dropped + queue.iface.driver.dropDeferred(queue.pair, budget - dropped);
  }

  /** @internal */
  leaveShare(): void {
    this.share?.leave(this.seat!);
  }

  /** What became of its request periods in its share. */
  get shareCounters(): ShareCounters | undefined {
    return this.seat?.counters;
  }

  private runTick(): number | undefined {
    const { stream, dispatcher } = this;
    this.tickDue = false;
    stream.usedFuel = 0;
    if (!stream.closed) stream.tick();
    return dispatcher.costUs(0, stream.usedFuel);
  }

  private serve(): number {
    const { stream, queue } = this;
    const waited = Math.min(stream.waiting, this.budget);
    const rest = this.budget - waited;
    stream.deferred = false;
    try {
      if (waited > 0) stream.runSome(waited);
      // What a handler was told of may have made it close the stream.
      return queue === undefined || rest === 0 || stream.closed ? waited : waited + queue.iface.driver.serveDeferred(queue.pair, rest);
    } finally {
      stream.deferred = true;
    }
  }
}

/** The work of the stack for all that has no queue of its own, as jobs. */
class StackWork implements Work {
  constructor(
    private readonly dispatcher: Dispatcher,
    private readonly iface: Interface,
    private readonly server: Server,
    private readonly budget: number,
  ) {
    iface.pair.ready = () => {
      this.release();
    };
  }

  private release(): void {
    if (this.server.release(this)) this.dispatcher.onJobs();
    else {
      this.dispatcher.after(FULL_QUEUE_US, () => {
        this.release();
      });
    }
  }

  run(): number | undefined {
    const { iface } = this;
    const frames = iface.driver.serveDeferred(iface.pair, this.budget);
    if (iface.pair.waiting) this.release();
    return this.dispatcher.costUs(frames, 0);
  }
}

/** Which queue is whose, and when it is served. */
export class Dispatcher {
  readonly bindings: Binding[] = [];
  private readonly taken = new Set<QueuePair>();
  private readonly headers = new Map<QueuePair, FramePool>();
  /** Whose job did not find a place on a server that others share, in turn. Their queues are masked: nobody else would come for what waits. */
  private readonly turnedAway: Binding[] = [];

  constructor(
    private readonly stack: Stack,
    private readonly options: DispatcherOptions,
  ) {}

  /**
   * Serves a stream from now on: from a queue of its own if one is free, whose payloads then lie in the agents' window, else from the
   * first one.
   * @throws ERR_INVALID_ARGUMENT for a mode that needs a server and has none, for a server of another host's, or a closed one, for a share without a
   * tolerance or a tolerance without a share; ERR_OUT_OF_RANGE if the share can't keep its losses within what is tolerated
   */
  bind(stream: Stream, { share, tolerates, server = share?.server, mode = server === undefined ? 'inline' : 'adaptive', budget = share === undefined ? 64 : 1 }: BindOptions = {}): Binding {
    if ((share === undefined) !== (tolerates === undefined)) throw invalid('tolerates', tolerates, share === undefined ? 'left out without a share' : 'given with a share, as { losses, window, periodUs }');
    if (share !== undefined && server !== share.server) throw invalid('server', server?.name, 'left out with a share, which has its own');
    if (share !== undefined && mode === 'inline') throw invalid('mode', mode, 'job or adaptive with a share, which says whose turn it is');
    if (!['inline', 'job', 'adaptive'].includes(mode)) throw invalid('mode', mode, 'inline, job or adaptive');
    if (!Number.isInteger(budget) || budget < 1) throw invalid('budget', budget, 'frames a job, from 1 on');
    if (mode !== 'inline' && server === undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `mode: ${mode} needs a server`);
    if (server !== undefined && this.options.scheduler?.has(server) !== true) throw invalid('server', server.name, "one that this host's scheduler has admitted, and that is open");
    const binding = new Binding(this, stream, server, mode, this.ownQueue(stream), budget, share, tolerates);
    const { queue } = binding;
    if (mode !== 'inline') {
      stream.deferred = true;
      stream.onWaiting = binding.onFrames;
      if (queue !== undefined) queue.pair.ready = binding.onFrames;
    }
    this.bindings.push(binding);
    try {
      // Last: frames come from here on.
      if (queue !== undefined) this.open(stream, queue);
    } catch (error) {
      this.unbind(binding);
      throw error;
    }
    this.armTick(binding);
    return binding;
  }

  /** From now on the cards' first queues, with all that has none of its own, are served on this server's time. */
  serveStackOn(server: Server, budget = 32): void {
    for (const iface of this.stack.interfaces) new StackWork(this, iface, server, budget);
  }

  private ownQueue(stream: Stream): OwnQueue | undefined {
    const address = stream.localAddress;
    if (address === undefined) return undefined;
    const iface = this.stack.interfaces.find((i) => i.owns(address));
    if (iface === undefined || (stream.window !== 'copy' && stream.memory !== iface.memory)) return undefined;
    const pair = iface.driver.pairs.find((candidate) => candidate.index > 0 && !this.taken.has(candidate));
    if (pair === undefined) return undefined;
    const rule: FlowRule = { protocol: 'udp', destination: address.toString(), destinationPort: stream.socket.port };
    return { iface, pair, rule };
  }

  private open(stream: Stream, { iface, pair, rule }: OwnQueue): void {
    const { driver } = iface;
    this.taken.add(pair);
    if (stream.window === 'copy') driver.openPair(pair);
    else {
      let headers = this.headers.get(pair);
      if (headers === undefined) {
        headers = new FramePool(iface.memory, { count: pair.rx.ring.size, frameBytes: HEADER_BYTES, id: this.stack.poolId(iface) });
        this.headers.set(pair, headers);
      }
      driver.splitPair(pair, rule.destination.includes(':') ? SPLIT_V6 : SPLIT_V4, headers, stream.pool);
    }
    this.options.steer(iface, rule, pair.index);
  }

  unbind(binding: Binding): void {
    const at = this.bindings.indexOf(binding);
    if (at < 0) return;
    this.bindings.splice(at, 1);
    const { queue, stream } = binding;
    binding.leaveShare();
    if (queue !== undefined) {
      this.options.steer(queue.iface, queue.rule, -1);
      const idle = (): void => {
        queue.iface.driver.idlePair(queue.pair);
        this.taken.delete(queue.pair);
      };
      // Closed by a handler of its own, the queue is in use until its batch is done with.
      if (stream.running) this.stack.timers.after(0, idle);
      else idle();
    }
    stream.close();
  }

  private armTick(binding: Binding): void {
    const { stream } = binding;
    const { tickUs } = stream.options;
    if (tickUs === undefined) return;
    const again = (): void => {
      if (stream.closed) return;
      this.stack.timers.after(tickUs, again);
      binding.tick();
    };
    this.stack.timers.after(tickUs, again);
  }

  // --- for bindings ---

  /** @internal */
  nowUs(): number {
    return this.stack.nowUs();
  }

  /** @internal */
  after(delayUs: number, action: () => void): void {
    this.stack.timers.after(delayUs, action);
  }

  /** @internal */
  onJobs(): void {
    this.options.onJobs();
  }

  /** @internal */
  turnAway(binding: Binding): void {
    const { turnedAway } = this;
    turnedAway.push(binding);
    this.after(FULL_QUEUE_US, () => {
      const at = turnedAway.indexOf(binding);
      if (at < 0) return;
      turnedAway.splice(at, 1);
      binding.releaseLate();
    });
  }

  /** @internal There is a place in this server's queue. */
  letIn(server: Server): void {
    const { turnedAway } = this;
    if (turnedAway.length === 0) return;
    const at = turnedAway.findIndex((binding) => binding.server === server);
    if (at >= 0) turnedAway.splice(at, 1)[0].releaseLate();
  }

  /** @internal Runs the job that this server has queued, if it is the first of all. In virtual time jobs take time, and so are never run on the way. */
  runIfFirst(server: Server): void {
    const { scheduler, costs } = this.options;
    // Within a job (what the stack's brings to light, on its way) it has to wait for its end, whatever its rank.
    if (costs === undefined && !scheduler!.busy && scheduler!.outranks(server)) scheduler!.runOne();
  }

  /** @internal What a job took in virtual time; undefined in real time, where it is measured. */
  costUs(frames: number, fuel: number): number | undefined {
    const { costs } = this.options;
    return costs === undefined ? undefined : frames * costs.frameUs + (fuel * costs.instructionNs) / 1e3;
  }
}
