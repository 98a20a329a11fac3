import { type Address, type Clock, invalid, Random, RealClock, RingcubeError } from '../base/index.js';
import { type Engine, Nic, type NicOptions, type ServiceMode, setRealtime } from '../nic/index.js';
import { Scheduler, type SchedulerOptions, type ServerOptions } from '../sched/index.js';
import { type Agent, type FaultDomain } from '../spa/index.js';
import { type Interface, type InterfaceOptions, Stack, type StackOptions, type UdpSocket, type UdpSocketOptions } from '../stack/index.js';
import { type Binding, type Costs, type DwcsShare } from '../upcall/index.js';
import { JobLoop, VirtualProcessor } from './jobs.js';
import { type HostAgentOptions, type HostDomainOptions, type HostStreamOptions, type ShareOptions, Streams } from './streams.js';

export interface HostOptions extends Pick<StackOptions, 'forwarding' | 'icmpLimit' | 'reassembly' | 'onConflict' | 'onAddress'> {
  /** One for each card; default: one card without addresses but IPv6's link-local one. */
  interfaces?: readonly HostInterfaceOptions[];
  /** Routes beyond the interfaces' own links, as { prefix: '0.0.0.0/0', gateway: '198.18.0.1' }. */
  routes?: readonly { prefix: string; gateway: string }[];
  /** Of all that is random here; default 1. Two hosts on a link need two seeds. */
  seed?: number;
  /** How the cards are served; default adaptive. */
  mode?: ServiceMode;
  /** Frames a turn; default 64. */
  budget?: number;
  /** Asks for SCHED_FIFO of this priority, 1 to 99, for the thread that calls start(), until stop(): so that what else runs on the machine does not delay it. */
  realtime?: number;
  /** Queues of each card for streams that shall have one of their own; default 0. */
  agentQueues?: number;
  /** Of the scheduler that streams with a server run on. */
  scheduler?: Omit<SchedulerOptions, 'nowUs'>;
  /** The stack's own share once a stream has one; default 1 of each 10 ms, and more if there is time to spare. false: none. */
  stackServer?: Omit<ServerOptions, 'name'> | false;
  /** What virtual time passes for a frame and an instruction, with a stepped engine; default 1 µs and 1 ns. */
  costs?: Costs;
}

export interface HostInterfaceOptions extends InterfaceOptions {
  /** The card's own options: address, MTU, queues, memory. */
  nic?: NicOptions;
}

/** Room in a card's memory for one agent's window and its frames. */
const AGENT_BYTES = 6 * 2 ** 20;

/**
 * One end-system: cards, a stack, agents and the scheduler that they run on, started and stopped as one. Plug its cards into links
 * (`host.nics[0]`) before start().
 */
export class Host {
  readonly nics: readonly Nic[];
  readonly stack: Stack;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  private readonly streams: Streams;
  private readonly jobs: JobLoop;
  private readonly processor: VirtualProcessor | undefined;
  private timer: NodeJS.Timeout | undefined;
  private timerUs = Infinity;
  private running = false;

  constructor(
    readonly engine: Engine,
    private readonly options: HostOptions = {},
  ) {
    const { interfaces = [{}], seed = 1, routes = [], agentQueues = 0, costs = { frameUs: 1, instructionNs: 1 } } = options;
    if (!Number.isInteger(agentQueues) || agentQueues < 0 || agentQueues > 126) throw invalid('agentQueues', agentQueues, 'a whole number from 0 to 126');
    for (const [name, value] of Object.entries(costs)) if (!(value >= 0 && value < Infinity)) throw invalid(`costs.${name}`, value, 'a finite number, 0 or more');
    // A stepped engine's time is the host's; a real one is read without a native call.
    this.clock = engine.stepped ? engine : new RealClock();
    const { clock } = this;
    this.stack = new Stack({ ...options, nowUs: () => clock.nowUs(), random: new Random(seed) });
    this.nics = interfaces.map(({ nic }, i) => new Nic(engine, { mac: defaultMac(seed, i), queuePairs: 1 + agentQueues, regionBytes: 2 ** 23 + agentQueues * AGENT_BYTES, ...nic }));
    this.scheduler = new Scheduler({ ...options.scheduler, nowUs: () => clock.nowUs() });
    this.jobs = new JobLoop(this.scheduler, this.stack);
    this.processor = engine.stepped ? new VirtualProcessor(this.scheduler, this.stack) : undefined;
    const onJobs = engine.stepped ? (): void => undefined : this.jobs.wake;
    this.streams = new Streams(this.stack, this.nics, this.scheduler, engine.stepped ? costs : undefined, options.stackServer, onJobs);
    const queues = agentQueues === 0 ? {} : { queuePairs: 1 + agentQueues, idleFrom: 1 };
    try {
      for (const [i, own] of interfaces.entries()) this.stack.addInterface(this.nics[i], { ...own, driver: { ...queues, ...own.driver } });
      for (const { prefix, gateway } of routes) this.stack.addRoute(prefix, gateway);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  get interfaces(): readonly Interface[] {
    return this.stack.interfaces;
  }

  /** Serves cards and timers from this thread's event loop. A stepped host is moved by step() instead. */
  start(): this {
    if (this.running || this.engine.stepped) return this;
    this.running = true;
    const { mode = 'adaptive', budget = 64, realtime } = this.options;
    if (realtime !== undefined && !setRealtime(realtime)) throw new RingcubeError('ERR_UNSUPPORTED', `realtime: SCHED_FIFO ${realtime} is refused here: it takes root, or CAP_SYS_NICE`);
    for (const { driver } of this.interfaces) driver.start(mode, budget);
    this.stack.timers.onEarlier = () => {
      this.armTimer();
    };
    this.armTimer();
    return this;
  }

  private armTimer(): void {
    const { nextUs } = this.stack.timers;
    if (!this.running || (this.timer !== undefined && this.timerUs <= nextUs)) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.timerUs = nextUs;
    if (nextUs === Infinity) return;
    const waitMs = Math.min(Math.max(0, Math.ceil((nextUs - this.clock.nowUs()) / 1e3)), 2 ** 31 - 1);
    this.timer = setTimeout(this.onTimer, waitMs);
    // Waiting for a timer alone keeps no process alive: cards and their traffic do.
    this.timer.unref();
  }

  private readonly onTimer = (): void => {
    this.timer = undefined;
    this.timerUs = Infinity;
    this.stack.timers.run();
    this.armTimer();
  };

  openUdp(options: UdpSocketOptions = {}): UdpSocket {
    return this.stack.openUdp(options);
  }

  // --- agents ---

  /** A fault domain: agents in it share their payloads, and pass them on without a copy. */
  openDomain(options: HostDomainOptions = {}): FaultDomain {
    return this.streams.openDomain(options);
  }

  /**
   * Gives up a domain of openDomain()'s: once its frames have come home, the next one like it takes its place in the card's memory.
   * (An agent that was opened without a domain leaves its own so when it is closed.) @throws ERR_INVALID_ARGUMENT while agents are open in it
   */
  closeDomain(domain: FaultDomain): void {
    this.streams.closeDomain(domain);
  }

  /** Loads and starts an agent. @throws as Agent's constructor */
  openAgent(options: HostAgentOptions): Agent {
    return this.streams.openAgent(options);
  }

  /**
   * Has what comes to a port flow through agents and on to the outputs. Once addresses are in use (ready()), it gets a queue of its own, of
   * `agentQueues`, as long as there are some.
   * @throws ERR_OUT_OF_RANGE for a server whose guarantee, or another's, could not be kept, or losses that its share could not keep so few
   */
  openStream(options: HostStreamOptions): Binding {
    return this.streams.openStream(options);
  }

  closeStream(stream: Binding): void {
    this.streams.closeStream(stream);
  }

  /**
   * A bandwidth server, admitted as any, for several streams that tolerate losses (`share` and `tolerates` of openStream): whose turn it is
   * among them is decided by dynamic window-constrained scheduling, and payloads whose deadlines have passed are dropped and counted.
   * @throws ERR_OUT_OF_RANGE if its guarantee, or another's, could not be kept
   */
  openShare(options: ShareOptions): DwcsShare {
    return this.streams.openShare(options);
  }

  /** Closes the streams in it, and gives its time back once its period is over. */
  closeShare(share: DwcsShare): void {
    this.streams.closeShare(share);
  }

  /** One look at cards, timers and jobs, in virtual time. Returns how much there was to do. */
  poll(): number {
    return this.stack.poll() + (this.processor?.step(this.clock.nowUs()) ?? 0);
  }

  /** When something is to be done here next, in virtual time. */
  get nextUs(): number {
    return Math.min(this.stack.timers.nextUs, this.processor?.nextUs ?? Infinity);
  }

  /** Resolves once all addresses are in use, or those that are taken are known to be. */
  async ready(): Promise<readonly Address[]> {
    const waiting = (): boolean => this.interfaces.some((i) => i.addresses.some((a) => a.state === 'tentative'));
    while (waiting() && this.running) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.interfaces.flatMap((i) => i.addresses.filter((a) => a.state === 'preferred').map((a) => a.address));
  }

  /** All that is counted, by layer. */
  get counters() {
    const { ip, icmp, udp, copiedBytes } = this.stack;
    const interfaces = this.interfaces.map(({ name, counters }) => ({ name, ...counters }));
    return { nics: this.nics.map((nic) => nic.counters()), interfaces, ip: ip.counters, icmp: icmp.counters, udp: udp.counters, copiedBytes, ...this.streams.counters };
  }

  /** Stops serving, closes sockets and cards. */
  stop(): void {
    if (this.running && this.options.realtime !== undefined) setRealtime(0);
    this.running = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.jobs.stop();
    this.streams.close();
    this.stack.close();
    for (const nic of this.nics) nic.close();
  }
}

/** Locally administered, different for each seed and card. */
function defaultMac(seed: number, index: number): string {
  const bytes = [0x02, (seed >>> 24) & 255, (seed >>> 16) & 255, (seed >>> 8) & 255, seed & 255, index + 1];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * Moves a stepped engine and its hosts to virtual time `untilUs`: frames, then handlers and timers, event by event, so that no
 * host sees a time that has passed.
 */
export function stepHosts(engine: Engine, hosts: readonly Host[], untilUs: number): void {
  for (;;) {
    const now = engine.nowUs();
    const frameUs = engine.step(now);
    let moved = 0;
    for (const host of hosts) moved += host.poll();
    if (moved > 0) continue;
    // What the hosts have just sent must be seen by the engine before time goes on.
    const nextUs = Math.min(engine.step(now), frameUs === now ? now : Infinity, ...hosts.map((host) => host.nextUs));
    if (hosts.some((host) => host.poll() > 0)) continue;
    if (nextUs > untilUs) {
      engine.step(untilUs);
      return;
    }
    if (nextUs > now) engine.step(nextUs);
  }
}
