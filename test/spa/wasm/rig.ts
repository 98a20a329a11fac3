// Runs modules as their host would, at its simplest: a memory, and what can be imported.
import { type WasmExports, type WasmFunction, type WasmGlobal, type WasmMemory, WebAssembly } from '../../../src/base/index.js';
import { FUEL_EXPORT } from '../../../src/spa/wasm/budget.js';

/** What a call came to: its result, or the class of trap. */
export type Outcome = number | undefined | Trap;

export type Trap = 'unreachable' | 'divide' | 'overflow' | 'memory' | 'table' | 'indirect' | 'stack' | 'abort';

const TRAPS: readonly (readonly [RegExp, Trap])[] = [
  [/unreachable/, 'unreachable'], [/divide|remainder/, 'divide'], [/divide result|float unrepresentable/, 'overflow'], [/memory access|data segment/, 'memory'],
  [/table (index|access|element)|element segment/, 'table'], [/null function|signature mismatch|indirect call/, 'indirect'], [/call stack/, 'stack'], [/^abort/, 'abort'],
];

/** By V8's messages; throws what is no trap. */
export function trapOf(error: unknown): Trap {
  const message = error instanceof Error ? error.message : '';
  // "divide result unrepresentable" is an overflow.
  const [, trap] = /unrepresentable/.test(message) ? ([/./, 'overflow'] as const) : TRAPS.find(([pattern]) => pattern.test(message)) ?? [];
  if (trap === undefined) throw error;
  return trap;
}

export class Running {
  readonly memory: WasmMemory;
  readonly #exports: WasmExports;

  /** Throws what the start function throws. */
  constructor(bytes: Uint8Array, memory = new WebAssembly.Memory({ initial: 4, maximum: 16 })) {
    this.memory = memory;
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: {
        memory,
        abort: () => {
          throw new Error('abort');
        },
      },
      ringcube: { now: () => 0, log: () => undefined },
    });
    this.#exports = exports;
  }

  get fuel(): number {
    return (this.#exports[FUEL_EXPORT] as WasmGlobal).value;
  }

  set fuel(fuel: number) {
    (this.#exports[FUEL_EXPORT] as WasmGlobal).value = fuel;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#exports, name);
  }

  value(name: string): number {
    return (this.#exports[name] as WasmGlobal).value;
  }

  call(name: string, ...args: number[]): Outcome {
    try {
      return (this.#exports[name] as WasmFunction)(...args);
    } catch (error) {
      return trapOf(error);
    }
  }
}
