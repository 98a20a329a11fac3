import { RingcubeError } from '../base/index.js';
import { type Watchdog } from '../nic/index.js';
import { Abi } from './abi.js';
import { type Compartment, TrustedCompartment, WasmCompartment } from './compartment.js';
import { type FaultDomain } from './domain.js';
import { Exchange, type ExchangeCounters } from './exchange.js';
import { type InstanceHost } from './instance.js';
import { loadModule } from './load.js';
import { LogLimit } from './log-limit.js';
import { type AgentOptions, type AgentSettings, settle, type TrapCause } from './options.js';
import { Payloads } from './payloads.js';
import { Backoff, Trap } from './trap.js';

/** What agents of a host share. */
export interface AgentHost {
  nowUs: () => number;
  /** In virtual time, where budgets must be the same in every run. */
  stepped: boolean;
  watchdog: () => Watchdog;
}

export interface AgentCounters extends Readonly<ExchangeCounters> {
  /** Calls of process_batch, or rounds of process. */
  readonly batches: number;
  readonly payloads: number;
  readonly copiedBytes: number;
  /** Instructions, where they are counted. */
  readonly fuel: number;
  readonly traps: Readonly<Record<TrapCause, number>>;
  /** Came in while the agent was left alone. */
  readonly suspended: number;
  readonly logged: number;
  readonly logDropped: number;
}

/** Instead of a count of records: the timer. */
const TICK = -1;

/** A stream-processing agent: code in a compartment, and what it takes to keep it going. Close it when it is done with. */
export class Agent {
  readonly name: string;
  /** What the last run() left to the host's own handler. */
  readonly passed = new Payloads(2 * Abi.maxRecords);
  private settings: AgentSettings;
  private compartment: Compartment;
  private exchange: Exchange;
  private readonly log: LogLimit;
  private readonly instanceHost: InstanceHost;
  /** From which it starts after a trap. */
  private state: Uint8Array | undefined;
  private readonly backoff = new Backoff();
  /** There is no instance that could be called. */
  private broken = false;
  /** Instructions that the last run(), tick() or checkpoint() used, starting anew after a trap included; 0 where they are not counted. */
  usedFuel = 0;
  private batches = 0;
  private payloads = 0;
  private fuel = 0;
  private readonly traps: Record<TrapCause, number> = { budget: 0, stack: 0, fault: 0, abort: 0 };
  private suspended = 0;
  private ended = false;
  /** Within a call, from which its host may be told of something (a log line): what the call needs must stay until it is over. */
  private calling = false;

  /**
   * Loads, checks and starts an agent.
   * @throws ERR_INVALID_ARGUMENT for a module that breaks the contract, ERR_UNSUPPORTED for what can't be had here.
   */
  constructor(
    readonly domain: FaultDomain,
    private readonly host: AgentHost,
    options: AgentOptions,
  ) {
    this.name = options.name;
    this.settings = settle(options);
    this.log = new LogLimit(host.nowUs, (line) => {
      this.settings.onLog(line);
    });
    this.instanceHost = { nowUs: host.nowUs, log: this.log.write };
    [this.compartment, this.exchange] = this.named(() => this.furnish(this.settings));
  }

  /** A compartment with a running instance in it, and records to speak with it by. */
  private furnish(settings: AgentSettings, state?: Uint8Array): [Compartment, Exchange] {
    const { domain, host, instanceHost } = this;
    const { module } = settings;
    const compartment =
      module instanceof Uint8Array
        ? new WasmCompartment(loadModule(module, settings, host.stepped), domain, settings, instanceHost, host.watchdog)
        : new TrustedCompartment(module, domain, instanceHost);
    let exchange: Exchange | undefined;
    try {
      exchange = new Exchange(domain, compartment.window, settings.emitRoom);
      this.begin(compartment, exchange, settings, state);
      compartment.budget.started();
    } catch (error) {
      exchange?.close();
      compartment.close();
      throw error;
    }
    return [compartment, exchange];
  }

  private begin(compartment: Compartment, exchange: Exchange, { configuration }: AgentSettings, state: Uint8Array | undefined): void {
    const { instance } = compartment;
    exchange.prepare(instance);
    this.call(compartment, () => {
      instance.init(configuration);
    });
    if (state === undefined || !instance.hasState) return;
    this.call(compartment, () => {
      instance.restore(state);
    });
  }

  private call(compartment: Compartment, callee: () => void): void {
    try {
      compartment.call(callee);
    } finally {
      this.countFuel(compartment.budget.usedFuel);
    }
  }

  private countFuel(fuel: number): void {
    this.usedFuel += fuel;
    this.fuel += fuel;
  }

  // --- the data path ---

  /**
   * Takes all of `input`, whose buffers are the agent's from now on. What goes on is added to `output`, in order, and what is left
   * to the host to `passed`. Never throws for what an agent does.
   */
  run(input: Payloads, output: Payloads): void {
    this.passed.count = 0;
    this.usedFuel = 0;
    let rest = input.count;
    input.count = 0;
    while (rest > 0) {
      // With what the agent before has emitted, they may be more than there are records.
      const n = rest > Abi.maxRecords ? Abi.maxRecords : rest;
      if (this.closed || (this.backoff.active && !this.awake())) this.discard(input, n);
      else this.serve(input, n, output);
      rest -= n;
      if (rest > 0) input.moveUp(n, rest);
    }
  }

  private serve(input: Payloads, count: number, output: Payloads): void {
    const { compartment, exchange } = this;
    const { instance } = compartment;
    this.calling = true;
    compartment.open();
    const n = exchange.bring(instance, input, count);
    const trap = this.upcall(compartment, n);
    exchange.judge(instance, input, n, output, this.passed, trap !== undefined);
    compartment.shut();
    this.batches++;
    this.payloads += n;
    this.calling = false;
    if (this.ended) this.dismantle();
    if (trap !== undefined) this.recover(trap);
    else if (this.backoff.active) this.backoff.served();
  }

  private upcall({ instance, budget }: Compartment, count: number): Trap | undefined {
    let trap: Trap | undefined;
    let error: unknown;
    let threw = false;
    budget.enter();
    try {
      if (count === TICK) instance.tick();
      else instance.batch(count);
    } catch (caught) {
      threw = true;
      error = caught;
    }
    const stopped = budget.leave();
    if (threw) trap = Trap.of(error, stopped);
    this.countFuel(budget.usedFuel);
    return trap;
  }

  /** Where its payloads lie: in the card's memory (trusted), in pages that it shares with the card, or in its own. */
  get window(): 'trusted' | 'shared' | 'copy' {
    return this.compartment.window;
  }

  get closed(): boolean {
    return this.ended;
  }

  get hasTick(): boolean {
    return this.compartment.instance.hasTick;
  }

  /** Calls the agent's timer; what it emits is added to `output`. */
  tick(output: Payloads): void {
    this.passed.count = 0;
    this.usedFuel = 0;
    if (this.closed || (this.backoff.active && !this.awake())) return;
    const { compartment, exchange } = this;
    const { instance } = compartment;
    this.calling = true;
    compartment.open();
    exchange.clear(instance);
    const trap = this.upcall(compartment, TICK);
    exchange.judge(instance, this.passed, 0, output, this.passed, trap !== undefined);
    compartment.shut();
    this.calling = false;
    if (this.ended) this.dismantle();
    if (trap !== undefined) this.recover(trap);
  }

  private discard(input: Payloads, n: number): void {
    this.suspended += n;
    for (let i = 0; i < n; i++) this.domain.release(input.handle[i]);
  }

  // --- traps ---

  /** Until when the agent is left alone, after traps: −Infinity when it isn't. */
  get pausedUntilUs(): number {
    return this.backoff.untilUs;
  }

  private recover(trap: Trap): void {
    this.traps[trap.cause]++;
    this.backoff.trapped(this.host.nowUs());
    try {
      this.settings.onTrap(trap.cause, `agent ${this.name}: ${trap.message}`);
    } finally {
      if (!this.closed) this.restart();
    }
  }

  private restart(): void {
    const { compartment, exchange, settings } = this;
    try {
      this.within(() => {
        compartment.restart();
        this.countFuel(compartment.budget.usedFuel);
        this.begin(compartment, exchange, settings, this.state);
      });
      this.broken = false;
    } catch (error) {
      // As it did start at first, this is its own doing: it is tried again, later and later.
      this.broken = true;
      this.backoff.trapped(this.host.nowUs());
      this.settings.onTrap('fault', `agent ${this.name}: can't start anew: ${(error as Error).message}`);
    }
  }

  private awake(): boolean {
    if (this.host.nowUs() < this.backoff.untilUs) return false;
    if (this.broken) this.restart();
    return !this.broken;
  }

  // --- state and replacement ---

  /** Saves the state that the agent starts from after a trap. False if it has none to save, or trapped over it: then it starts from the last one. */
  checkpoint(): boolean {
    this.mustBeIdle('be saved');
    this.usedFuel = 0;
    return this.within(() => this.keepState());
  }

  private keepState(): boolean {
    let state: Uint8Array | undefined;
    try {
      state = this.save();
    } catch (error) {
      if (!(error instanceof RingcubeError)) throw error;
      this.recover(new Trap('fault', `can't save its state: ${error.message}`));
    }
    if (state !== undefined) this.state = state;
    return state !== undefined;
  }

  private save(): Uint8Array | undefined {
    const { compartment } = this;
    const { instance } = compartment;
    let state: Uint8Array | undefined;
    if (instance.hasState && !this.broken) {
      this.call(compartment, () => {
        state = instance.save();
      });
    }
    return state;
  }

  private mustBeIdle(what: string): void {
    if (this.closed) throw new RingcubeError('ERR_CLOSED', `agent ${this.name} is closed`);
    if (this.calling) throw new RingcubeError('ERR_INVALID_ARGUMENT', `agent ${this.name} can't ${what} from within a call of its own (a log line's, a trap's): do it after that`);
  }

  /** Off the data path: close() waits until it is over. */
  private within<T>(call: () => T): T {
    const outer = this.calling;
    this.calling = true;
    try {
      return call();
    } finally {
      this.calling = outer;
      if (this.ended && !outer) this.dismantle();
    }
  }

  /**
   * Puts another module, or the same with other options, in this one's place, between two batches: no payload is lost. Its state
   * goes along where both can, or the last one that was saved. If the new one refuses, the old one goes on.
   */
  replace(options: Partial<Omit<AgentOptions, 'name'>>): void {
    this.mustBeIdle('be replaced');
    const settings = settle({ ...this.settings, ...options });
    this.within(() => {
      this.keepState();
      const { state } = this;
      const [compartment, exchange] = this.named(() => this.furnish(settings, state));
      exchange.inherit(this.exchange);
      this.dismantle();
      this.compartment = compartment;
      this.exchange = exchange;
      this.settings = settings;
      this.state = compartment.instance.hasState ? state : undefined;
      this.broken = false;
      this.backoff.served();
    });
  }

  private named<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof RingcubeError)) throw error;
      throw new RingcubeError(error.code, `agent ${this.name}: ${error.message}`, { cause: error.cause });
    }
  }

  get counters(): AgentCounters {
    const { batches, payloads, fuel, traps, suspended, exchange, log } = this;
    return {
      ...exchange.counters, batches, payloads, copiedBytes: exchange.copiedBytes, fuel, traps: { ...traps }, suspended, logged: log.written, logDropped: log.dropped,
    };
  }

  /** At once, or, from within a call of its own, when that is over. */
  close(): void {
    if (this.closed) return;
    this.ended = true;
    if (!this.calling) this.dismantle();
  }

  private dismantle(): void {
    this.exchange.close();
    this.compartment.close();
  }
}
