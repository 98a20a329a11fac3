// Whether this V8 lays out its memory as native/core/sandbox.h draws it, found by trying.
import { type WasmMemory, WebAssembly } from '../base/index.js';
import { Region } from './region.js';
import { Sandbox, Watchdog } from './sandbox.js';

export interface SandboxTrial {
  /** Pages of a region in an agent's memory: else its payloads must be copied in and out. */
  window: boolean;
  /** A guard page stops an agent, and can hold an epoch: else its instructions must be counted. */
  guard: boolean;
  /** What failed, one line; '' if nothing did. */
  reason: string;
}

// (import "env" "memory" (memory 0 4))
// (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
// (func (export "spin") (param i32) (result i32)
//   (loop (drop (i32.load (i32.const 0xffff0000)))
//         (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
//   (i32.const 0))
// prettier-ignore
const MODULE = Uint8Array.of(
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f,
  2, 16, 1, 3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 1, 0, 4,
  3, 3, 2, 0, 0,
  7, 15, 2, 4, 0x70, 0x65, 0x65, 0x6b, 0, 0, 4, 0x73, 0x70, 0x69, 0x6e, 0, 1,
  10, 34, 2,
  7, 0, 0x20, 0, 0x2d, 0, 0, 0x0b,
  24, 0, 0x03, 0x40, 0x41, 0x80, 0x80, 0x7c, 0x28, 2, 0, 0x1a, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x41, 0, 0x0b,
);

const WASM_PAGE_BYTES = 65536;
const PATTERN = 0xa5;
const BUDGET_US = 500;
/** Some seconds: an agent that nothing stops must end all the same. */
const ROUNDS = 2 ** 31 - 1;

function traps(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}

/** What is found so far is in `found`; throws or returns why it is not all. */
function attempt(found: SandboxTrial, memory: WasmMemory, sandbox: Sandbox, watchdog: Watchdog): string {
  const { peek, spin } = new WebAssembly.Instance(new WebAssembly.Module(MODULE), { env: { memory } }).exports as Record<'peek' | 'spin', (value: number) => number>;
  const region = new Region(WASM_PAGE_BYTES);
  sandbox.map(region, WASM_PAGE_BYTES, 0, WASM_PAGE_BYTES);
  region.u8[1] = PATTERN;
  memory.grow(1);
  if (peek(WASM_PAGE_BYTES + 1) !== PATTERN) return 'an agent does not see the pages that were laid into its memory';
  found.window = true;

  // Safe, though nothing is known yet: the memory may always be smaller than this address, so every access to it is one that V8 must
  // answer by a trap where nothing lies. Only by the MMU can the same access succeed where a page does.
  if (!traps(() => spin(1))) return 'an access outside a memory does not trap';
  const reason = sandbox.native.guard();
  if (reason !== '') return reason;
  if (traps(() => spin(1))) return 'V8 checks bounds by itself, not by the MMU: an agent can not read a guard page';
  const slot = watchdog.add(sandbox, 'guard', BUDGET_US);
  watchdog.enter(slot);
  const ended = traps(() => spin(ROUNDS));
  if (!watchdog.leave(slot) || !ended) return 'a guard page does not stop an agent';
  if (traps(() => spin(1))) return 'an agent that was stopped does not run again';
  found.guard = true;
  return '';
}

let result: SandboxTrial | undefined;

/** What this V8 can do, tried once for each thread of JavaScript: takes some milliseconds. Never throws. */
export function sandboxTrial(): SandboxTrial {
  if (result !== undefined) return result;
  result = { window: false, guard: false, reason: '' };
  let sandbox: Sandbox | undefined;
  let watchdog: Watchdog | undefined;
  try {
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 4 });
    sandbox = new Sandbox(memory);
    watchdog = new Watchdog();
    result.reason = attempt(result, memory, sandbox, watchdog);
  } catch (error) {
    result.reason = (error as Error).message;
  }
  watchdog?.close();
  sandbox?.close();
  return result;
}
