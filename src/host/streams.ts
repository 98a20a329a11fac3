import { invalid } from '../base/index.js';
import { type Nic, Watchdog } from '../nic/index.js';
import { type Scheduler, Server, type ServerCounters, type ServerOptions } from '../sched/index.js';
import { Agent, type AgentCounters, type AgentOptions, FaultDomain } from '../spa/index.js';
import { type Stack } from '../stack/index.js';
import { type Binding, type BindOptions, type Costs, Dispatcher, Stream, type StreamCounters, type StreamOptions } from '../upcall/index.js';

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

/** A share for the stack itself, so that a flood of what is for no agent can't take the agents' time. */
const STACK_SERVER: ServerOptions = { name: 'stack', budgetUs: 1000, periodUs: 10_000, jobUs: 500, background: true };

/** The agents of a host: what they share, what they run on, what flows through them. */
export class Streams {
  readonly dispatcher: Dispatcher;
  private readonly agents: Agent[] = [];
  private watchdogThread: Watchdog | undefined;
  private stackServed = false;
  /** Admitted here, for streams. */
  private readonly servers = new Set<Server>();
  private unused: FaultDomain | undefined;

  constructor(
    private readonly stack: Stack,
    nics: readonly Nic[],
    private readonly scheduler: Scheduler,
    private readonly costs: Costs | undefined,
    private readonly stackServer: Omit<ServerOptions, 'name'> | false | undefined,
    onJobs: () => void,
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
    return domain;
  }

  openAgent({ domain: shared, checkpointUs, ...options }: HostAgentOptions): Agent {
    if (checkpointUs !== undefined && !(checkpointUs >= 1000)) throw invalid('checkpointUs', checkpointUs, 'at least 1000');
    const domain = shared ?? this.unused ?? this.openDomain();
    // A card's memory is taken for good: a module that is refused leaves its domain to the next.
    if (shared === undefined) this.unused = domain;
    const agent = new Agent(domain, { nowUs: this.stack.nowUs, stepped: this.costs !== undefined, watchdog: this.watchdog }, options);
    if (shared === undefined) this.unused = undefined;
    this.agents.push(agent);
    if (checkpointUs !== undefined) this.checkpointEach(agent, checkpointUs);
    return agent;
  }

  private checkpointEach(agent: Agent, everyUs: number): void {
    this.stack.timers.after(everyUs, () => {
      if (agent.closed) return;
      agent.checkpoint();
      this.checkpointEach(agent, everyUs);
    });
  }

  private readonly watchdog = (): Watchdog => (this.watchdogThread ??= new Watchdog());

  openStream({ server, mode, budget, ...options }: HostStreamOptions): Binding {
    for (const agent of options.agents) {
      if (!this.agents.includes(agent)) throw invalid('agents', agent.name, 'agents that this host has opened');
    }
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
  get counters(): { agents: Record<string, AgentCounters>; streams: Record<string, StreamCounters & { server?: ServerCounters }> } {
    const streams = this.dispatcher.bindings.map(({ stream, server }) => [stream.name, { ...stream.counters, ...(server === undefined ? {} : { server: { ...server.counters } }) }] as const);
    return { agents: Object.fromEntries(this.agents.map((agent) => [agent.name, agent.counters])), streams: Object.fromEntries(streams) };
  }

  close(): void {
    for (const binding of [...this.dispatcher.bindings]) this.closeStream(binding);
    for (const agent of this.agents) agent.close();
    this.watchdogThread?.close();
  }
}
