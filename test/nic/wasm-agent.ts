// A WebAssembly module as an instrumented agent is one, assembled by hand: it touches memory in every way, and runs away.
import { type WasmMemory, WebAssembly } from '../../src/base/index.js';
import { Sandbox } from '../../src/nic/index.js';

export const WASM_PAGE_BYTES = 65536;
export const MAX_PAGES = 64;

interface WasmAgent {
  peek(at: number): number;
  poke(at: number, value: number): void;
  fill(at: number, value: number, length: number): void;
  copy(to: number, from: number, length: number): void;
  grow(pages: number): number;
  /** A store to the guard page by a constant address. */
  pokeGuard(): void;
  /** For ever, with a load from the guard page in each round. */
  spin(): void;
  /** The same, and a trap if the word there isn't 0. */
  spinEpoch(): void;
  /** So many rounds. */
  work(rounds: number): void;
}

// WebAssembly 2.0 §5.4: opcodes.
const get = (local: number): number[] => [0x20, local];
const LOOP = [0x03, 0x40];
const END = 0x0b;
const GUARD = [0x41, 0x80, 0x80, 0x7c]; // i32.const 0xffff0000
const LOAD = [...GUARD, 0x28, 2, 0];
const AGAIN = [0x0c, 0];

const FUNCTIONS: Record<keyof WasmAgent, [params: number, results: number, body: number[]]> = {
  peek: [1, 1, [...get(0), 0x2d, 0, 0]],
  poke: [2, 0, [...get(0), ...get(1), 0x3a, 0, 0]],
  fill: [3, 0, [...get(0), ...get(1), ...get(2), 0xfc, 11, 0]],
  copy: [3, 0, [...get(0), ...get(1), ...get(2), 0xfc, 10, 0, 0]],
  grow: [1, 1, [...get(0), 0x40, 0]],
  pokeGuard: [0, 0, [...GUARD, 0x41, 1, 0x36, 2, 0]],
  spin: [0, 0, [...LOOP, ...LOAD, 0x1a, ...AGAIN, END]],
  spinEpoch: [0, 0, [...LOOP, ...LOAD, 0x04, 0x40, 0x00, END, ...AGAIN, END]],
  work: [1, 0, [...LOOP, ...LOAD, 0x1a, ...get(0), 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, END]],
};

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}
const sized = (bytes: number[]): number[] => [...leb(bytes.length), ...bytes];
const vector = (items: number[][]): number[] => [...leb(items.length), ...items.flat()];
const section = (id: number, bytes: number[]): number[] => [id, ...sized(bytes)];
const name = (text: string): number[] => sized([...Buffer.from(text)]);

/** The memory is declared with a minimum of 0, so that V8 takes no constant address for one within it. */
function assemble(): Uint8Array {
  const functions = Object.entries(FUNCTIONS);
  const i32s = (count: number): number[] => vector(Array.from({ length: count }, () => [0x7f]));
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(functions.map(([, [params, results]]) => [0x60, ...i32s(params), ...i32s(results)]))),
    ...section(2, vector([[...name('env'), ...name('memory'), 2, 1, 0, MAX_PAGES]])),
    ...section(3, vector(functions.map((_, index) => [index]))),
    ...section(7, vector(functions.map(([text], index) => [...name(text), 0, index]))),
    ...section(10, vector(functions.map(([, [, , body]]) => sized([0, ...body, END])))),
  ]);
}

const module = new WebAssembly.Module(assemble());

interface Rig {
  memory: WasmMemory;
  sandbox: Sandbox;
  agent: WasmAgent;
}

export function rig(initial = 4): Rig {
  const memory = new WebAssembly.Memory({ initial, maximum: MAX_PAGES });
  const agent = new WebAssembly.Instance(module, { env: { memory } }).exports as object as WasmAgent;
  return { memory, sandbox: new Sandbox(memory), agent };
}
