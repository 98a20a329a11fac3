import { type Sandbox, type Watchdog } from '../nic/index.js';
import { type WasmInstance } from './instance.js';

/** Around each call into an agent. */
export interface Budget {
  enter(): void;
  /** Whether the agent has been stopped. */
  leave(): boolean;
  /** The agent has started for the first time: from now on each call has its budget. */
  started(): void;
  /** Instructions that the last call used, where they are counted. */
  readonly usedFuel: number;
  close(): void;
}

export const NO_BUDGET: Budget = {
  enter: () => undefined,
  leave: () => false,
  started: () => undefined,
  usedFuel: 0,
  close: () => undefined,
};

/** V8 compiles a module's functions when they are called first: what takes long once is no reason to refuse an agent. */
const START_US = 100_000;

/** Real time: the watchdog's slot of one sandbox. */
export class WatchdogBudget implements Budget {
  readonly usedFuel = 0;
  private readonly slot: number;

  constructor(
    private readonly watchdog: Watchdog,
    sandbox: Sandbox,
    kind: 'guard' | 'epoch',
    private readonly budgetUs: number,
  ) {
    this.slot = watchdog.add(sandbox, kind, Math.max(budgetUs, START_US));
  }

  started(): void {
    this.watchdog.setBudget(this.slot, this.budgetUs);
  }

  enter(): void {
    this.watchdog.enter(this.slot);
  }

  leave(): boolean {
    return this.watchdog.leave(this.slot);
  }

  close(): void {
    this.watchdog.remove(this.slot);
  }
}

/** Counted instructions. */
export class FuelBudget implements Budget {
  usedFuel = 0;

  constructor(
    private readonly instance: WasmInstance,
    private readonly fuel: number,
  ) {}

  enter(): void {
    this.instance.fuel!.value = this.fuel;
  }

  leave(): boolean {
    const left = this.instance.fuel!.value;
    this.usedFuel = this.fuel - Math.max(0, left);
    return left < 0;
  }

  started(): void {
    // Instructions are the same ones each time.
  }

  close(): void {
    // The counter goes with the instance.
  }
}
