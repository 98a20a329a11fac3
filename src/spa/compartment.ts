import { RingcubeError, type WasmMemory, WebAssembly } from '../base/index.js';
import { Region, Sandbox, sandboxTrial, type Watchdog } from '../nic/index.js';
import { Abi } from './abi.js';
import { type Budget, FuelBudget, NO_BUDGET, WatchdogBudget } from './budget.js';
import { type FaultDomain } from './domain.js';
import { type Instance, type InstanceHost, type TrustedAgent, TrustedInstance, WasmInstance } from './instance.js';
import { type LoadedModule } from './load.js';
import { type AgentSettings } from './options.js';
import { Trap } from './trap.js';

/** Where an instance lives: its memory, what is laid into it, and what stops it. It outlives a trap: restart() makes all new in it. */
export interface Compartment {
  readonly window: 'trusted' | 'shared' | 'copy';
  readonly instance: Instance;
  readonly budget: Budget;
  /** Around calls that may see the window. */
  open(): void;
  shut(): void;
  /** Off the data path. @throws ERR_INVALID_ARGUMENT with what it trapped of, and what the callee throws of ours */
  call(callee: () => void): void;
  restart(): void;
  close(): void;
}

export class TrustedCompartment implements Compartment {
  readonly window = 'trusted';
  readonly budget = NO_BUDGET;
  instance: Instance;

  constructor(
    private readonly agent: TrustedAgent,
    private readonly domain: FaultDomain,
    private readonly host: InstanceHost,
  ) {
    this.instance = new TrustedInstance(agent, domain.memory.u8, host);
  }

  open(): void {
    // Nothing is ever shut.
  }

  shut(): void {
    // As above.
  }

  call(callee: () => void): void {
    try {
      callee();
    } catch (error) {
      throw error instanceof RingcubeError ? error : Trap.of(error, false).toError();
    }
  }

  restart(): void {
    this.instance = new TrustedInstance(this.agent, this.domain.memory.u8, this.host);
  }

  close(): void {
    // It has nothing of its own.
  }
}

/**
 * The memory of a WebAssembly agent:
 *
 *     0 ─ control ─ 64 KiB ─ window: the domain's pages, or its own ─ 4 MiB ─ the module's ─ maximum … 0xFFFF0000 guard page
 */
export class WasmCompartment implements Compartment {
  readonly window: 'shared' | 'copy';
  instance!: WasmInstance;
  budget: Budget = NO_BUDGET;
  private readonly memory: WasmMemory;
  private readonly sandbox: Sandbox | undefined;

  constructor(
    private readonly loaded: LoadedModule,
    private readonly domain: FaultDomain,
    private readonly settings: AgentSettings,
    private readonly host: InstanceHost,
    watchdog: () => Watchdog,
  ) {
    const { window } = settings;
    const { memory, offset, bytes } = domain;
    this.memory = new WebAssembly.Memory({ initial: loaded.initialPages, maximum: settings.maxMemoryPages });
    const trial = sandboxTrial();
    const watched = loaded.budget === 'guard' || loaded.budget === 'epoch';
    this.window = window ?? (settings.protect || (trial.window && memory instanceof Region) ? 'shared' : 'copy');
    if (this.window === 'shared' || watched) this.sandbox = new Sandbox(this.memory);
    try {
      if (this.window === 'shared') {
        if (!(memory instanceof Region)) throw new RingcubeError('ERR_UNSUPPORTED', "the card's memory is another process's: use window copy");
        if (!trial.window) throw new RingcubeError('ERR_UNSUPPORTED', `the window can't be shared (${trial.reason}): use window copy`);
        this.sandbox!.map(memory, Abi.windowStart, offset, bytes);
      }
      if (watched) {
        if (!this.sandbox!.guard()) throw new RingcubeError('ERR_UNSUPPORTED', `budget ${loaded.budget} does not work here (${trial.reason}): use fuel`);
        this.budget = new WatchdogBudget(watchdog(), this.sandbox!, loaded.budget, settings.budgetUs);
      }
      this.call(() => {
        this.instantiate();
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  call(callee: () => void): void {
    let error: unknown;
    let threw = false;
    this.open();
    this.budget.enter();
    try {
      callee();
    } catch (caught) {
      threw = true;
      error = caught;
    }
    const stopped = this.budget.leave();
    this.shut();
    if (threw) throw error instanceof RingcubeError ? error : Trap.of(error, stopped).toError();
  }

  private instantiate(): void {
    const { loaded, settings } = this;
    this.instance = new WasmInstance(this.memory, loaded.module, this.host);
    if (loaded.budget === 'fuel') this.budget = new FuelBudget(this.instance, settings.fuel);
  }

  open(): void {
    if (this.settings.protect) this.sandbox!.protect(Abi.windowStart, this.domain.bytes, 'read-write');
  }

  shut(): void {
    if (this.settings.protect) this.sandbox!.protect(Abi.windowStart, this.domain.bytes, 'none');
  }

  /** As it was at first, but for payloads that lie in a shared window. */
  restart(): void {
    const bytes = new Uint8Array(this.memory.buffer);
    bytes.fill(0, 0, Abi.windowStart);
    if (this.window === 'copy') bytes.fill(0, Abi.windowStart, Abi.windowEnd);
    bytes.fill(0, Abi.windowEnd);
    this.call(() => {
      this.instantiate();
    });
  }

  close(): void {
    this.budget.close();
    this.sandbox?.close();
  }
}
