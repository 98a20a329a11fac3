import { invalid, RingcubeError } from '../base/index.js';
import { type Nic, Watchdog } from '../nic/index.js';
import { type Scheduler, Server, type ServerCounters, type ServerOptions, type Work } from '../sched/index.js';
import { Agent, type AgentCounters, type AgentOptions, FaultDomain } from '../spa/index.js';
import { type Interface, type Stack } from '../stack/index.js';
import { type Binding, type BindOptions, type Costs, Dispatcher, DwcsShare, type ShareCounters, Stream, type StreamCounters, type StreamOptions } from '../upcall/index.js';

export interface HostDomainOptions {
  /** Which card's: the index of the interface; default 0. */
  interface?: number;
  /** A buffer's bytes; default: the largest UDP payload of the interface's MTU over IPv4. */
  bufferBytes?: number;
  /** Buffers; default: as many as the card's queue holds and 512 besides, or what the window has room for. */
  buffers?: number;
}

export interface HostAgentOptions extends AgentOptions {
  /** With whom it shares its payloads; default: a domain of its own. */
  domain?: FaultDomain;
  /** How often its state is saved, from which it starts after a trap; default: never, so that it starts from nothing. */
  checkpointUs?: number;
}

export interface HostStreamOptions extends StreamOptions, Omit<BindOptions, 'server'> {
  /** Its share of the processor, or another stream's that it shares; without one it runs in the interrupt, unscheduled. */
  server?: Omit<ServerOptions, 'name'> | Server;
}

/** As of any server; its queue holds the share's own jobs. */
export type ShareOptions = Omit<ServerOptions, 'queueJobs'>;

/** What is counted of a stream: by itself, by the server that it runs on, and by its share. */
type HostStreamCounters = StreamCounters & { server?: ServerCounters; share?: ShareCounters };

/** A share for the stack itself, so that a flood of what is for no agent can't take the agents' time. */
const STACK_SERVER: ServerOptions = { name: 'stack', budgetUs: 1000, periodUs: 10_000, jobUs: 500, background: true };

/** The agents of a host: what they share, what they run on, what flows through them. */
export class Streams {
  readonly dispatcher: Dispatcher;
  private agents: Agent[] = [];
  private watchdogThread: Watchdog | undefined;
  private stackServed = false;
  /** Admitted here, for streams. */
  private readonly servers = new Set<Server>();
  private readonly domains = new Set<FaultDomain>();
  /** Made for one agent each, by openAgent(). */
  private readonly ofOne = new Map<Agent, FaultDomain>();
  /** Nobody's any more. A card's memory, and a pool's number, are taken for good: whoever needs a domain like one of these gets it. */
  private readonly free: FaultDomain[] = [];
  private readonly shares = new Set<DwcsShare>();

  constructor(
    private readonly stack: Stack,
    nics: readonly Nic[],
    private readonly scheduler: Scheduler,
    private readonly costs: Costs | undefined,
    private readonly stackServer: Omit<ServerOptions, 'name'> | false | undefined,
    private readonly onJobs: () => void,
  ) {
    this.dispatcher = new Dispatcher(stack, {
      scheduler,
      ...(costs === undefined ? {} : { costs }),
      steer: (iface, rule, pair) => {
        const nic = nics[iface.index];
        if (pair < 0) nic.unsteer(rule);
        else nic.steer(rule, pair);
      },
      onJobs,
    });
  }

  openDomain(options: HostDomainOptions = {}): FaultDomain {
    const { interface: index = 0 } = options;
    const iface = this.stack.interfaces[index];
    if (iface === undefined) throw invalid('interface', index, `from 0 to ${this.stack.interfaces.length - 1}, as the host has cards`);
    const { bufferBytes = iface.mtu - 28, buffers = Math.min(iface.pair.rx.ring.size / 2 + 512, FaultDomain.mostBuffers(bufferBytes)) } = options;
    const { driver } = iface;
    const again = this.freeDomain(iface, bufferBytes, buffers);
    if (again !== undefined) return again;
    const domain = new FaultDomain({
      memory: iface.memory,
      poolId: this.stack.poolId(iface),
      bufferBytes,
      buffers,
      release: (handle) => {
        driver.put(handle);
      },
    });
    driver.addPool(domain.pool);
    this.domains.add(domain);
    return domain;
  }

  closeDomain(domain: FaultDomain): void {
    if (this.free.includes(domain)) return;
    if (!this.domains.has(domain)) throw invalid('domain', domain, 'one that this host has opened');
    const user = this.userOf(domain);
    if (user !== undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `domain: agent ${user} is in it, open or of an open stream: close these first`);
    this.free.push(domain);
  }

  /** An agent that has this domain, or had it and is of a stream that still brings payloads there. */
  private userOf(domain: FaultDomain): string | undefined {
    const ofStreams = this.dispatcher.bindings.flatMap(({ stream }) => stream.options.agents);
    return [...this.agents.filter(({ closed }) => !closed), ...ofStreams].find((agent) => agent.domain === domain)?.name;
  }

  /** One of this shape that nobody has any more, and whose frames have all come home; with nothing in it of what it was for. */
  private freeDomain(iface: Interface, bufferBytes: number, buffers: number): FaultDomain | undefined {
    for (const [agent, domain] of this.ofOne) {
      if (!agent.closed || this.userOf(domain) !== undefined) continue;
      this.ofOne.delete(agent);
      this.free.push(domain);
    }
    for (const { tx } of iface.driver.pairs) tx.reclaim();
    const at = this.free.findIndex(({ memory, pool }) => memory === iface.memory && pool.frameBytes === bufferBytes && pool.count === buffers && pool.available === pool.count);
    if (at < 0) return undefined;
    const [domain] = this.free.splice(at, 1);
    domain.memory.u8.fill(0, domain.offset, domain.offset + domain.bytes);
    return domain;
  }

  openAgent({ domain: shared, checkpointUs, ...options }: HostAgentOptions): Agent {
    if (checkpointUs !== undefined && !(checkpointUs >= 1000)) throw invalid('checkpointUs', checkpointUs, 'at least 1000');
    if (this.agents.some(({ name, closed }) => name === options.name && !closed)) throw invalid('name', options.name, "unlike those of this host's other open agents");
    if (shared !== undefined && this.free.includes(shared)) throw new RingcubeError('ERR_CLOSED', 'domain: it is closed');
    const domain = shared ?? this.openDomain();
    let agent: Agent;
    try {
      agent = new Agent(domain, { nowUs: this.stack.nowUs, stepped: this.costs !== undefined, watchdog: this.watchdog }, options);
    } catch (error) {
      if (shared === undefined) this.free.push(domain);
      throw error;
    }
    if (shared === undefined) this.ofOne.set(agent, domain);
    // Those that are closed are counted until another one comes.
    this.agents = [...this.agents.filter(({ closed }) => !closed), agent];
    if (checkpointUs !== undefined) this.checkpointEach(agent, checkpointUs);
    return agent;
  }

  /** On the time of a stream that the agent is of, as its timers; else, as nobody's, at once. */
  private checkpointEach(agent: Agent, everyUs: number): void {
    const { stack, dispatcher } = this;
    let queuedOn: Server | undefined;
    const work: Work = {
      run: () => {
        queuedOn = undefined;
        if (agent.closed) return dispatcher.costUs(0, 0);
        agent.checkpoint();
        return dispatcher.costUs(0, agent.usedFuel);
      },
    };
    const again = (): void => {
      if (agent.closed) return;
      stack.timers.after(everyUs, again);
      const server = dispatcher.bindings.find((binding) => binding.server?.closed === false && binding.stream.options.agents.includes(agent))?.server;
      if (server === undefined) agent.checkpoint();
      // With a full queue, this one is left out; it is nobody's deadline.
      else if (queuedOn !== server && server.release(work, Infinity)) {
        queuedOn = server;
        this.onJobs();
      }
    };
    stack.timers.after(everyUs, again);
  }

  private readonly watchdog = (): Watchdog => (this.watchdogThread ??= new Watchdog());

  openShare(options: ShareOptions): DwcsShare {
    this.serveStack();
    const share = new DwcsShare(this.dispatcher, this.scheduler, this.scheduler.admit(options));
    this.shares.add(share);
    return share;
  }

  closeShare(share: DwcsShare): void {
    if (!this.shares.delete(share)) return;
    for (const binding of share.bindings) this.closeStream(binding);
    share.server.close();
  }

  openStream({ server, mode, budget, share, tolerates, ...options }: HostStreamOptions): Binding {
    for (const agent of options.agents) {
      if (!this.agents.includes(agent) || agent.closed) throw invalid('agents', agent.name, 'open agents of this host');
    }
    if (this.dispatcher.bindings.some(({ stream }) => stream.name === options.name)) throw invalid('name', options.name, "unlike those of this host's other open streams");
    if (share !== undefined && !this.shares.has(share)) throw invalid('share', share.name, 'a share that this host has opened');
    if (server !== undefined) this.serveStack();
    const admitted = server === undefined || server instanceof Server ? server : this.scheduler.admit({ name: options.name, ...server });
    if (admitted !== server) this.servers.add(admitted!);
    let stream: Stream | undefined;
    try {
      stream = new Stream(this.stack, options);
      return this.dispatcher.bind(stream, {
        ...(admitted === undefined ? {} : { server: admitted }),
        ...(mode === undefined ? {} : { mode }),
        ...(budget === undefined ? {} : { budget }),
        ...(share === undefined ? {} : { share }),
        ...(tolerates === undefined ? {} : { tolerates }),
      });
    } catch (error) {
      stream?.close();
      if (admitted !== server) this.closeServer(admitted!);
      throw error;
    }
  }

  /** As soon as somebody has a guarantee. */
  private serveStack(): void {
    if (this.stackServed || this.stackServer === false) return;
    this.stackServed = true;
    this.dispatcher.serveStackOn(this.scheduler.admit({ ...STACK_SERVER, ...this.stackServer }));
  }

  closeStream(binding: Binding): void {
    this.dispatcher.unbind(binding);
    const { server } = binding;
    // The last one closes what was admitted for the first; a server of the caller's is the caller's to close.
    const shared = this.dispatcher.bindings.some((other) => other.server === server);
    if (server !== undefined && this.servers.has(server) && !shared) this.closeServer(server);
  }

  private closeServer(server: Server): void {
    this.servers.delete(server);
    server.close();
  }

  /** By name. */
  get counters(): { agents: Record<string, AgentCounters>; streams: Record<string, HostStreamCounters>; shares: Record<string, ServerCounters> } {
    const streams = this.dispatcher.bindings.map(({ stream, server, shareCounters }): [string, HostStreamCounters] => [
      stream.name,
      { ...stream.counters, ...(server === undefined ? {} : { server: { ...server.counters } }), ...(shareCounters === undefined ? {} : { share: { ...shareCounters } }) },
    ]);
    const shares = [...this.shares].map(({ name, server }): [string, ServerCounters] => [name, { ...server.counters }]);
    return { agents: Object.fromEntries(this.agents.map((agent) => [agent.name, agent.counters])), streams: Object.fromEntries(streams), shares: Object.fromEntries(shares) };
  }

  close(): void {
    for (const binding of [...this.dispatcher.bindings]) this.closeStream(binding);
    for (const share of [...this.shares]) this.closeShare(share);
    for (const agent of this.agents) agent.close();
    this.watchdogThread?.close();
  }
}
