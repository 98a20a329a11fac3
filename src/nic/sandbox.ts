// An agent's linear memory with a region's pages in it (Sandbox), and what stops an agent that runs too long (Watchdog).
// native/core/sandbox.h draws the one, native/core/watchdog.h says how the other is spoken to.
import { RingcubeError, type WasmMemory, WebAssembly, invalid } from '../base/index.js';
import { type NativeSandbox, type NativeWatchdog, addon, native, systemError } from './addon.js';
import { type Region } from './region.js';

/**
 * A WebAssembly.Memory with pages of a region laid into it: agent, card and host then work on the same bytes. It is kept from
 * the garbage collector until close().
 *
 * V8 promises none of this: ask sandboxTrial() first. Bytes in a window that `protect` made inaccessible are so to this thread's
 * JavaScript too, by way of `memory.buffer`: that would end the process. Use the region's own view.
 */
export class Sandbox {
  /** Of the host: what everything here is whole multiples of. */
  static readonly pageBytes = addon.Sandbox.pageBytes;
  /** Where the guard page lies, in the agent's addresses: behind what any memory with a maximum below 65,535 pages can hold. */
  static readonly guardAt = 0xffff0000;

  readonly memory: WasmMemory;
  /** @internal */
  readonly native: NativeSandbox;

  /** @throws ERR_SYSTEM if V8 laid out the memory otherwise than we know it. */
  constructor(memory: WasmMemory) {
    if (!(memory instanceof WebAssembly.Memory)) {
      throw invalid('memory', memory, 'a WebAssembly.Memory');
    }
    if (!(memory.buffer instanceof ArrayBuffer)) throw invalid('memory', 'a shared one', 'an agent’s alone');
    this.memory = memory;
    this.native = native(() => new addon.Sandbox(memory));
  }

  /**
   * Lays `length` bytes of `region`, from `offset` on, into the memory at `at`, readable and writable. They stay through
   * memory.grow().
   * @throws ERR_INVALID_ARGUMENT if these are not whole pages within both; ERR_SYSTEM if something else than V8's plain memory
   * lies there, as another window.
   */
  map(region: Region, at: number, offset: number, length: number): void {
    pages('at', at, 0, this.memory.buffer.byteLength, 'memory');
    pages('offset', offset, 0, region.buffer.byteLength, 'region');
    pages('length', length, Sandbox.pageBytes, Math.min(this.memory.buffer.byteLength - at, region.buffer.byteLength - offset), 'memory and region');
    native(() => {
      this.native.map(region.native, at, offset, length);
    });
  }

  /** Takes away what one map() laid there: zeros of the memory's own. */
  unmap(at: number, length: number): void {
    native(() => {
      this.native.unmap(at, length);
    });
  }

  /**
   * Whether the agent may access these pages, all within what one map() laid. Where it may not, a load or store traps, if V8 compiled
   * it as a checked one. What V8 does not check ends the process: memory.fill and memory.copy, and an access to a constant address
   * below the module's declared minimum. memory.grow() makes all accessible again.
   */
  protect(at: number, length: number, access: 'none' | 'read-write'): void {
    try {
      this.native.protect(at, length, access === 'read-write');
    } catch (error) {
      throw systemError(error);
    }
  }

  /** Lays the guard page. False if V8 has not reserved its place, as where it checks bounds by itself. */
  guard(): boolean {
    return native(() => this.native.guard()) === '';
  }

  /** Gives the memory back to V8 as it was. */
  close(): void {
    this.native.close();
  }
}

function pages(name: string, value: number, low: number, high: number, of: string): void {
  if (!Number.isInteger(value) || value % Sandbox.pageBytes !== 0) throw invalid(name, value, `whole pages of ${Sandbox.pageBytes} bytes`);
  if (value < low || value > high) throw invalid(name, value, `from ${low} to ${high}, within the ${of}`);
}

const MAX_BUDGET_US = 2 ** 31 - 1;

// The control page in 32-bit words: native/core/watchdog.h.
const SLOT_SHIFT = 4;
const PARKED = 0;
const FIRED = 1;
const TICKS = 2;
const PARKS = 3;
const BUDGET_US = 1;
const STOPPED = 2;
const DUE_NS = 4;
const STOPPED_NS = 6;
const CLAIMED = 2 ** 30;
const COUNT_MASK = CLAIMED - 1;

/** When an agent was stopped last: nanoseconds of CLOCK_MONOTONIC, as process.hrtime() counts. */
export interface LastStop {
  /** How often it was. */
  count: number;
  /** When its budget ended, as the watchdog saw it. */
  dueNs: number;
  /** When the watchdog had done what stops it. */
  stoppedNs: number;
}

/**
 * A thread that stops agents. A budget is CPU time of the thread that called add(), so an agent always has all of it, however busy the
 * machine; it is stopped within 250 µs (a quarter of the least budget, if that is less, but at least 50 µs) and the watchdog's own
 * wake-up after it. The watchdog sleeps while no agent runs. Its priority is a real-time one, above that of the thread that enters,
 * where the system allows that.
 */
export class Watchdog {
  readonly #native: NativeWatchdog;
  readonly #control: Int32Array;
  /** So that a sandbox is not collected, and with it what stops its agent. */
  readonly #sandboxes = new Map<number, Sandbox>();

  constructor() {
    this.#native = native(() => new addon.Watchdog());
    this.#control = new Int32Array(this.#native.control);
  }

  /**
   * @param kind what the agent was instrumented for: a guard page that is made unreadable, or a word in it that is set
   * @returns the agent's slot, until remove()
   * @throws ERR_SYSTEM if the sandbox has no guard page, or after 1,023 slots
   */
  add(sandbox: Sandbox, kind: 'guard' | 'epoch', budgetUs: number): number {
    budget(budgetUs);
    const slot = native(() => this.#native.add(sandbox.native, kind === 'epoch', budgetUs));
    this.#sandboxes.set(slot, sandbox);
    return slot;
  }

  /** Also while the agent runs. */
  setBudget(slot: number, budgetUs: number): void {
    budget(budgetUs);
    if (!this.#sandboxes.has(slot)) throw invalid('slot', slot, 'one that add() returned');
    Atomics.store(this.#control, (slot << SLOT_SHIFT) + BUDGET_US, budgetUs);
  }

  remove(slot: number): void {
    this.#native.remove(slot);
    this.#sandboxes.delete(slot);
  }

  /** The agent runs from now on: just before each call. No native call, unless the thread sleeps. */
  enter(slot: number): void {
    const control = this.#control;
    const at = slot << SLOT_SHIFT;
    Atomics.store(control, at, ((control[at] + 1) | 1) & COUNT_MASK);
    if (Atomics.load(control, PARKED) !== 0) this.#wake();
  }

  /**
   * The agent runs no more: just after each call, however it ended.
   * @returns whether it was stopped, or would have been at its next step
   */
  leave(slot: number): boolean {
    const control = this.#control;
    const at = slot << SLOT_SHIFT;
    const state = control[at];
    if ((state & 1) === 0) return false;
    if ((state & CLAIMED) === 0 && Atomics.compareExchange(control, at, state, (state + 1) & COUNT_MASK) === state) return false;
    this.#native.rearm(slot);
    return true;
  }

  lastStop(slot: number): LastStop {
    const at = slot << SLOT_SHIFT;
    const ns = (word: number): number => this.#control[at + word + 1] * 2 ** 32 + (this.#control[at + word] >>> 0);
    return { count: this.#control[at + STOPPED], dueNs: ns(DUE_NS), stoppedNs: ns(STOPPED_NS) };
  }

  /** Agents stopped; looks at the slots; times that the thread went to sleep. */
  counters(): { fired: number; ticks: number; parks: number } {
    const count = (word: number): number => Atomics.load(this.#control, word) >>> 0;
    return { fired: count(FIRED), ticks: count(TICKS), parks: count(PARKS) };
  }

  /** Ends the thread: agents are stopped no more. */
  close(): void {
    this.#native.close();
    this.#sandboxes.clear();
  }

  #wake(): void {
    try {
      this.#native.wake();
    } catch (error) {
      throw new RingcubeError('ERR_SYSTEM', `${(error as Error).message}: no agent may run unwatched`);
    }
  }
}

function budget(budgetUs: number): void {
  if (!Number.isInteger(budgetUs) || budgetUs < 1 || budgetUs > MAX_BUDGET_US) {
    throw invalid('budgetUs', budgetUs, `whole microseconds from 1 to ${MAX_BUDGET_US}`);
  }
}
