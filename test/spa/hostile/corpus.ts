// Modules that mean ill, or are badly broken: as data, so that reader, check, budgets and host are all held against the same ones.
import { Abi, Control, Verdict } from '../../../src/spa/abi.js';
import { I, ModuleBuilder, T, assemble, functionNames, leb, sleb, text, vector } from '../wasm/builder.js';
import { type Trap } from '../wasm/rig.js';

/** What the host calls; 'start' runs when the module is instantiated. */
export type Callback = 'start' | 'init' | 'process' | 'process_batch' | 'tick' | 'save' | 'restore';

type Expected =
  /** By the reader or the check, with this among its words. */
  | { kind: 'refused'; message: RegExp }
  /** Taken, and traps in this call, each time; 'budget' where only the budget ends it. */
  | { kind: 'trap'; in: Callback; trap: Trap | 'budget' }
  /** Taken, and returns from each call: what it did is for the host to see through. */
  | { kind: 'harmless' };

export interface Hostile {
  readonly name: string;
  readonly does: string;
  readonly bytes: Uint8Array;
  readonly expected: Expected;
}

type Code = readonly number[];

interface Parts {
  start?: Code;
  init?: Code;
  process?: Code;
  process_batch?: Code;
  tick?: Code;
  save?: Code;
  restore?: Code;
  /** Value of ringcube_abi; left out with null. */
  abi?: number | null;
  /** Pages that env.memory must have at least; not imported with null. */
  pages?: number | null;
  locals?: readonly (readonly [number, number])[];
}

const FORWARD_ALL = [...I.get(1), ...I.i32(8), 0x74, ...I.i32(Verdict.forward), 0x72];
/** Type of each callback, and what it does if nothing is said: all well. */
const CALLBACKS = {
  init: { params: [T.i32, T.i32], results: [T.i32], code: I.i32(0) },
  process: { params: [T.i32, T.i32, T.i32], results: [T.i32], code: FORWARD_ALL },
  process_batch: { params: [T.i32], results: [], code: [] as number[] },
  tick: { params: [], results: [], code: [] as number[] },
  save: { params: [T.i32, T.i32], results: [T.i32], code: I.i32(0) },
  restore: { params: [T.i32, T.i32], results: [T.i32], code: I.i32(0) },
} as const;

const NOW = 0;
const LOG = 1;
const ABORT = 2;

/** A good agent but for the parts that are given: imports ringcube.now (0), ringcube.log (1), env.abort (2); functions from 3 on. */
export function agent(parts: Parts = {}, more: (m: ModuleBuilder) => void = () => undefined): Uint8Array {
  const m = new ModuleBuilder();
  m.importFunction('ringcube', 'now', [], [T.f64]);
  m.importFunction('ringcube', 'log', [T.i32, T.i32], []);
  m.importFunction('env', 'abort', [T.i32, T.i32, T.i32, T.i32], []);
  if (parts.pages !== null) m.importMemory(parts.pages ?? 65, Abi.maxMemoryPages);
  more(m);
  const locals = parts.locals ?? [];
  if (parts.start !== undefined) m.start = m.func({ code: parts.start, locals });
  for (const name of Object.keys(CALLBACKS) as (keyof typeof CALLBACKS)[]) {
    // process unless it says process_batch; the others as they are given, but restore with save.
    const wanted = name === 'process' ? parts.process_batch === undefined : parts[name] !== undefined || ((name === 'save' || name === 'restore') && (parts.save ?? parts.restore) !== undefined);
    if (wanted) m.func({ ...CALLBACKS[name], code: parts[name] ?? CALLBACKS[name].code, locals, export: name });
  }
  if (parts.abi !== null) m.export('ringcube_abi', 3, m.global(T.i32, false, I.i32(parts.abi ?? Abi.version)));
  return m.build();
}

const corpus: Hostile[] = [];
const add = (name: string, does: string, bytes: Uint8Array, expected: Expected): void => {
  corpus.push({ name, does, bytes, expected });
};
const refused = (message: RegExp): Expected => ({ kind: 'refused', message });
const traps = (trap: Trap | 'budget', where: Callback = 'process'): Expected => ({ kind: 'trap', in: where, trap });
const harmless: Expected = { kind: 'harmless' };

const then = (...code: Code[]): number[] => [...code.flat(), ...FORWARD_ALL];
const store = (address: number, value: number): number[] => [...I.i32(address), ...I.i32(value), ...I.store()];
const load = (address: number): number[] => [...I.i32(address), ...I.load(), ...I.drop];
const FOREVER = I.loop(I.br(0));
const GUARD_AT = 0xffff0000;
const WINDOW = Abi.windowStart;
const OWN = Abi.windowEnd;

// -- Addresses ----------------------------------------------------------------------------------------------------------------
// A host instance has 65 pages at least: what lies below 4 MiB + 64 KiB is there.
add('load-window-constant', 'reads the window at a constant address below its declared minimum', agent({ process: then(load(WINDOW), load(OWN - 4)) }), harmless);
add('store-window-constant', 'writes both ends of the window at constant addresses', agent({ process: then(store(WINDOW, -1), store(OWN - 4, -1)) }), harmless);
add('store-control', 'writes all words of the control area, at constant addresses', agent({ process: then(...Array.from({ length: 16 }, (_, i) => store(4 * i, -1))) }), harmless);
add('store-guard', 'writes the guard page', agent({ process: then(store(GUARD_AT, 0)) }), traps('memory'));
add('store-guard-byte', 'writes the last byte of the guard page', agent({ process: then([...I.i32(GUARD_AT + 4095), ...I.i32(0), ...I.store8()]) }), traps('memory'));
add('store-guard-offset', 'writes the guard page by its offset alone', agent({ process: then([...I.i32(0), ...I.i32(0), ...I.store(GUARD_AT)]) }), traps('memory'));
add('store-guard-computed', 'writes the guard page at an address that is computed', agent({ process: then([...I.get(0), ...I.get(0), ...I.sub, ...I.i32(GUARD_AT), ...I.add, ...I.i32(1), ...I.store()]) }), traps('memory'));
add('store64-into-guard', 'writes 8 bytes of which 4 lie in the guard page', agent({ process: then([...I.i32(GUARD_AT - 4), ...I.i64(0), ...I.store64()]) }), traps('memory'));
add('store64-out-of-guard', 'writes 8 bytes that begin in the guard page', agent({ process: then([...I.i32(GUARD_AT + 4092), ...I.i64(0), ...I.store64()]) }), traps('memory'));
add('store128-into-guard', 'writes a vector across the edge of the guard page', agent({ process: then([...I.i32(GUARD_AT - 8), ...I.v128(0), ...I.storeV()]) }), traps('memory'));
add('load64-into-guard', 'reads across the edge of the guard page', agent({ process: then([...I.i32(GUARD_AT - 4), ...I.load64(), ...I.drop]) }), traps('memory'));
add('load128-out-of-guard', 'reads a vector across the upper edge of the guard page', agent({ process: then([...I.i32(GUARD_AT + 4088), ...I.loadV(), ...I.drop]) }), traps('memory'));
add('fill-guard', 'memory.fill of the guard page', agent({ process: then([...I.i32(GUARD_AT), ...I.i32(0), ...I.i32(4096), ...I.fill]) }), traps('memory'));
add('fill-to-guard', 'memory.fill from 0 up to the guard page', agent({ process: then([...I.i32(0), ...I.i32(0), ...I.i32(GUARD_AT + 1), ...I.fill]) }), traps('memory'));
add('copy-from-guard', 'memory.copy out of the guard page', agent({ process: then([...I.i32(OWN), ...I.i32(GUARD_AT), ...I.i32(4), ...I.copy]) }), traps('memory'));
add('copy-to-guard', 'memory.copy into the guard page', agent({ process: then([...I.i32(GUARD_AT), ...I.i32(OWN), ...I.i32(4), ...I.copy]) }), traps('memory'));
add('load-beyond-4GiB', 'address and offset that add up to 8 GiB less 2', agent({ process: then([...I.i32(-1), ...I.load(0xffffffff), ...I.drop]) }), traps('memory'));
add('store-end-of-memory', 'writes one word behind the end of its memory', agent({ process: then([...I.size, ...I.i32(16), 0x74, ...I.i32(0), ...I.store()]) }), traps('memory'));
add('store-across-end', 'writes across the end of its memory', agent({ process: then([...I.size, ...I.i32(16), 0x74, ...I.i32(2), ...I.sub, ...I.i32(0), ...I.store()]) }), traps('memory'));
add('store64-window-edges', 'writes 8 bytes across both edges of the window', agent({ process: then(...[WINDOW, OWN].map((edge) => [...I.i32(edge - 4), ...I.i64(-1n), ...I.store64()])) }), harmless);
add('store128-window-edges', 'writes vectors across both edges of the window', agent({ process: then(...[WINDOW, OWN].map((edge) => [...I.i32(edge - 8), ...I.v128(255), ...I.storeV()])) }), harmless);

// -- Bulk memory --------------------------------------------------------------------------------------------------------------
const fill = (from: number, length: number): number[] => [...I.i32(from), ...I.i32(0xa5), ...I.i32(length), ...I.fill];
const copy = (to: number, from: number, length: number): number[] => [...I.i32(to), ...I.i32(from), ...I.i32(length), ...I.copy];
add('fill-window', 'memory.fill of exactly the window', agent({ process: then(fill(WINDOW, OWN - WINDOW)) }), harmless);
add('fill-across-window', 'memory.fill across both edges of the window', agent({ process: then(fill(WINDOW - 1, 2), fill(OWN - 1, 2)) }), harmless);
add('fill-control', 'memory.fill of control area and records', agent({ process: then(fill(0, WINDOW)) }), harmless);
add('fill-everything', 'memory.fill of its whole memory', agent({ process: then([...I.i32(0), ...I.i32(0xff), ...I.size, ...I.i32(16), 0x74, ...I.fill]) }), harmless);
add('fill-end', 'memory.fill that ends one byte behind its memory', agent({ process: then([...I.i32(1), ...I.i32(0xff), ...I.size, ...I.i32(16), 0x74, ...I.fill]) }), traps('memory'));
add('fill-nothing-at-end', 'memory.fill of no byte at the very end', agent({ process: then([...I.size, ...I.i32(16), 0x74, ...I.i32(0), ...I.i32(0), ...I.fill]) }), harmless);
add('fill-nothing-beyond', 'memory.fill of no byte beyond the end', agent({ process: then([...I.size, ...I.i32(16), 0x74, ...I.i32(1), ...I.add, ...I.i32(0), ...I.i32(0), ...I.fill]) }), traps('memory'));
add('copy-window-down', 'memory.copy of the window by one byte downwards, across its edge', agent({ process: then(copy(WINDOW - 1, WINDOW, OWN - WINDOW)) }), harmless);
add('copy-window-up', 'memory.copy of the window by one byte upwards, across its edge', agent({ process: then(copy(WINDOW + 1, WINDOW, OWN - WINDOW)) }), harmless);
add('copy-out-of-window', 'memory.copy of the window into its own pages', agent({ pages: 130, process: then(copy(OWN, WINDOW, OWN - WINDOW)) }), harmless);
add('copy-huge', 'memory.copy of 2^32 − 1 bytes', agent({ process: then(copy(0, 1, -1)) }), traps('memory'));
add('init-window', 'memory.init from a passive segment of 1 MiB into the window', agent({ process: then([...I.i32(WINDOW), ...I.i32(0), ...I.i32(2 ** 20), ...I.init(0)]) }, (m) => m.passiveData(new Array<number>(2 ** 20).fill(0x5a))), harmless);
add('init-beyond', 'memory.init beyond the end of its segment', agent({ process: then([...I.i32(WINDOW), ...I.i32(0), ...I.i32(11), ...I.init(0)]) }, (m) => m.passiveData(new Array<number>(10).fill(1))), traps('memory'));
add('fill-straight', '100 times memory.fill of 4 MiB, with no loop', agent({ tick: new Array<number[]>(100).fill(fill(0, OWN)).flat() }), traps('budget', 'tick'));
add('fill-loop', 'memory.fill of all of its memory without end', agent({ process: [...I.loop(fill(0, OWN), I.br(0)), ...I.unreachable] }), traps('budget'));

// -- Growing ------------------------------------------------------------------------------------------------------------------
add('grow-to-limit', 'memory.grow page by page until it is refused', agent({ process: then(I.block(I.loop(I.i32(1), I.grow, I.i32(-1), [0x46], I.brIf(1), I.br(0)))) }), harmless);
add('grow-at-once', 'memory.grow by 65,535 pages, and by 2^32 − 1', agent({ process: then([...I.i32(65535), ...I.grow, ...I.drop, ...I.i32(-1), ...I.grow, ...I.drop]) }), harmless);
add('grow-forever', 'memory.grow by nothing without end: each gives the host another ArrayBuffer', agent({ process: [...I.loop(I.i32(0), I.grow, I.drop, I.br(0)), ...I.unreachable] }), traps('budget'));
add('grow-straight', '50,000 times memory.grow by nothing, with no loop', agent({ tick: new Array<number[]>(50_000).fill([...I.i32(0), ...I.grow, ...I.drop]).flat() }), traps('budget', 'tick'));
add('grow-and-touch', 'grows to its limit and writes each page', agent({ process: then([...I.i32(959), ...I.grow, ...I.drop], [...I.i32(0), ...I.set(3)], I.block(I.loop(I.get(3), I.i32(-1), I.store(), I.get(3), I.i32(65536), I.add, I.tee(3), I.size, I.i32(16), [0x74], [0x49], I.brIf(0)))), locals: [[1, T.i32]] }), harmless);
add('table-grow', 'table.grow without end', agent({ process: [...I.loop(I.refNull(), I.i32(1000), I.tableGrow(0), I.drop, I.br(0)), ...I.unreachable] }, (m) => m.table(1)), traps('budget'));
add('table-grow-huge', 'table.grow by 10 million, and by 2^32 − 1', agent({ process: then([...I.refNull(), ...I.i32(10_000_000), ...I.tableGrow(0), ...I.drop, ...I.refNull(), ...I.i32(-1), ...I.tableGrow(0), ...I.drop]) }, (m) => m.table(1)), harmless);
add('table-fill-forever', 'table.fill of 10,000 elements without end', agent({ process: [...I.loop(I.i32(0), I.refNull(), I.i32(10_000), I.tableFill(0), I.br(0)), ...I.unreachable] }, (m) => m.table(10_000)), traps('budget'));
add('table-huge', 'a table of 10 million elements', agent({}, (m) => m.table(10_000_000)), refused(/tables of 10000000 elements/));
add('table-many', '1,000 tables of 1,000 elements', agent({}, (m) => {
  for (let i = 0; i < 1000; i++) m.table(1000);
}), refused(/tables of 1000000 elements/));
add('table-just-too-large', 'a table of 10,001 elements', agent({}, (m) => m.table(10_001)), refused(/tables of 10001 elements, 10000 at most/));
add('memory-huge', 'wants 65,535 pages', agent({ pages: 65535 }, (m) => m.imports.splice(3, 1, [...text('env'), ...text('memory'), 2, 0, ...leb(65535)])), refused(/memory of 65535 pages/));
add('memory-just-too-large', 'wants 1,025 pages', agent({}, (m) => m.imports.splice(3, 1, [...text('env'), ...text('memory'), 2, 0, ...leb(1025)])), refused(/memory of 1025 pages, and the host gives 1024/));

// -- Start --------------------------------------------------------------------------------------------------------------------
add('start-loop', 'never gets through its start function', agent({ start: FOREVER }), traps('budget', 'start'));
add('start-trap', 'traps in its start function', agent({ start: I.unreachable }), traps('unreachable', 'start'));
add('start-scribble', 'writes all over its memory when it starts', agent({ start: [...I.i32(0), ...I.i32(0xff), ...I.i32(OWN), ...I.fill] }), harmless);
add('start-recursion', 'its start function calls itself', agent({ start: [...I.call(3), ...I.nop] }), traps('stack', 'start'));
add('start-imported', 'its start function is env.abort, which has parameters', agent({}, (m) => (m.start = ABORT)), refused(/V8 refuses it/));

// -- The module's surface -----------------------------------------------------------------------------------------------------
const withoutProcess = (more: (m: ModuleBuilder) => void): Uint8Array => {
  const m = new ModuleBuilder().importMemory(65);
  m.export('ringcube_abi', 3, m.global(T.i32, false, I.i32(1)));
  more(m);
  return m.build();
};
add('process-global', 'process is a global', withoutProcess((m) => m.export('process', 3, 0)), refused(/exports process as an immutable global i32, must be/));
add('process-memory', 'process is the memory', withoutProcess((m) => m.export('process', 2, 0)), refused(/exports process as a memory/));
add('process-table', 'process is a table', withoutProcess((m) => m.table(1).export('process', 1, 0)), refused(/exports process as a table/));
add('process-arity', 'process has two parameters', withoutProcess((m) => m.func({ params: [T.i32, T.i32], results: [T.i32], code: I.i32(0), export: 'process' })), refused(/process as \(i32, i32\) → \(i32\), must be \(i32, i32, i32\) → \(i32\)/));
add('process-i64', 'process has parameters of 64 bits', withoutProcess((m) => m.func({ params: [T.i64, T.i64, T.i64], results: [T.i64], code: I.i64(0), export: 'process' })), refused(/process as \(i64, i64, i64\)/));
add('process-many-parameters', 'process has 1,000 parameters', withoutProcess((m) => m.func({ params: new Array<number>(1000).fill(T.i32), results: [T.i32], code: I.i32(0), export: 'process' })), refused(/exports process as \(i32, .*…, must be/));
add('process-multi-value', 'process returns two values', withoutProcess((m) => m.func({ params: [T.i32, T.i32, T.i32], results: [T.i32, T.i32], code: [...I.i32(0), ...I.i32(0)], export: 'process' })), refused(/→ \(i32, i32\), must be/));
add('process-missing', 'has nothing to process with', withoutProcess((m) => m.func({ code: [], export: 'tick' })), refused(/neither process nor process_batch/));
add('process-twice', 'exports process twice', agent({}, (m) => m.export('process', 2, 0)), refused(/V8 refuses it: Duplicate export/));
add('batch-result', 'process_batch returns something', withoutProcess((m) => m.func({ params: [T.i32], results: [T.i32], code: I.i32(0), export: 'process_batch' })), refused(/exports process_batch as/));
add('tick-v128', 'tick takes a vector', agent({}, (m) => m.func({ params: [T.v128], code: [], export: 'tick' })), refused(/exports tick as \(v128\)/));
add('init-externref', 'init takes references', agent({}, (m) => m.func({ params: [T.externref], code: [], export: 'init' })), refused(/exports init as \(externref\)/));
add('save-alone', 'save without restore', agent({}, (m) => m.func({ params: [T.i32, T.i32], results: [T.i32], code: I.i32(0), export: 'save' })), refused(/save without restore/));
add('restore-alone', 'restore without save', agent({}, (m) => m.func({ params: [T.i32, T.i32], results: [T.i32], code: I.i32(0), export: 'restore' })), refused(/restore without save/));
add('import-as-process', 'process is env.abort itself', agent({ abi: null }, (m) => m.export('process_batch', 0, ABORT)), refused(/exports process_batch as/));
add('abi-missing', 'no ringcube_abi', agent({ abi: null }), refused(/exports no ringcube_abi/));
add('abi-2', 'of another version', agent({ abi: 2 }), refused(/ringcube_abi is 2, must be 1/));
add('abi-0', 'of version 0', agent({ abi: 0 }), refused(/ringcube_abi is 0, must be 1/));
add('abi-mutable', 'a ringcube_abi that may change', agent({ abi: null }, (m) => m.export('ringcube_abi', 3, m.global(T.i32, true, I.i32(1)))), refused(/mutable global i32, must be an immutable/));
add('abi-f32', 'ringcube_abi of 1.0', agent({ abi: null }, (m) => m.export('ringcube_abi', 3, m.global(T.f32, false, I.f32(1)))), refused(/global f32, must be an immutable/));
add('abi-function', 'ringcube_abi is a function', agent({ abi: null }, (m) => m.func({ results: [T.i32], code: I.i32(1), export: 'ringcube_abi' })), refused(/ringcube_abi as \(\) → \(i32\)/));
add('fuel-exported', 'exports a counter of its own in the place of the fuel', agent({}, (m) => m.export('ringcube:fuel', 3, m.global(T.i32, true, I.i32(-1)))), refused(/ringcube:fuel/));
add('memory-exported', 'brings its own memory', agent({ pages: null }, (m) => {
  m.memories.push([0, 65]);
  m.export('memory', 2, 0);
}), refused(/imports no memory env.memory, but has one of its own: build with --importMemory/));
add('memory-none', 'has no memory at all, and forwards all', agent({ pages: null }), harmless);
add('memory-none-forever', 'has no memory at all, and never ends', agent({ pages: null, process: [...I.loop(I.br(0)), ...I.unreachable] }), { kind: 'trap', in: 'process', trap: 'budget' });
add('memory-as-function', 'imports env.memory as a function', agent({ pages: null }, (m) => m.imports.splice(2, 1, [...text('env'), ...text('memory'), 0, 0])), refused(/imports env.memory as \(\) → \(f64\)/));
add('memory-shared', 'a shared memory', agent({ pages: null }, (m) => m.imports.push([...text('env'), ...text('memory'), 2, 3, 65, ...leb(1024)])), refused(/atomics and shared memory/));
add('memory-64', 'a 64-bit memory', agent({ pages: null }, (m) => m.imports.push([...text('env'), ...text('memory'), 2, 4, 65])), refused(/64-bit memory/));
add('memory-twice', 'two memories', agent({}, (m) => m.imports.push([...text('env'), ...text('memory'), 2, 0, 65])), refused(/several memories/));
add('import-unknown', 'imports fd_write', agent({}, (m) => m.importFunction('wasi_snapshot_preview1', 'fd_write', [T.i32, T.i32, T.i32, T.i32], [T.i32])), refused(/imports "wasi_snapshot_preview1.fd_write"/));
add('import-wrong-type', 'imports now as if it gave an i64', agent({}, (m) => m.imports.splice(0, 1, [...text('ringcube'), ...text('now'), 0, m.type([], [T.i64])])), refused(/imports ringcube.now as \(\) → \(i64\), must be \(\) → \(f64\)/));
add('import-prototype', 'imports names that every object has', agent({}, (m) => {
  for (const name of ['__proto__', 'constructor', 'toString']) m.importFunction('ringcube', name, [], []);
}), refused(/imports "ringcube.constructor"/));
add('import-many', '50,000 imports', agent({}, (m) => {
  for (let i = 0; i < 50_000; i++) m.importFunction('a', `f${i}`, [], []);
}), refused(/and \d+ more/));
add('import-table', 'imports a table', agent({}, (m) => m.imports.push([...text('env'), ...text('table'), 1, T.funcref, 0, 1])), refused(/imports "env.table", a table/));
add('import-global', 'imports a global', agent({}, (m) => m.imports.push([...text('env'), ...text('base'), 3, T.i32, 0])), refused(/imports "env.base", an immutable global i32/));
add('import-terminal', 'an import whose name moves the cursor of a terminal', agent({}, (m) => m.importFunction('env', '\u001b[2J\u202e\u009b1m', [], [])), refused(/imports "env\.\\u001b\[2J\\u202e\\u009b1m"/));
add('data-in-window', 'data that would be written into the window', agent({}, (m) => m.dataAt(WINDOW, [1])), refused(/data segment 0 begins at 65536, below 4194304: build with --memoryBase/));
add('data-in-control', 'data that would be written over the control area', agent({}, (m) => m.dataAt(OWN, [1]).dataAt(0, [1])), refused(/data segment 1 begins at 0/));
add('data-below', 'data that begins one byte too low', agent({}, (m) => m.dataAt(OWN - 1, [1, 2])), refused(/begins at 4194303/));
add('data-in-guard', 'data that would be written into the guard page', agent({}, (m) => m.dataAt(GUARD_AT, [1])), refused(/data segment 0 ends at 4294901761, beyond/));
add('data-global', 'data at the address that an imported global gives', agent({}, (m) => {
  m.imports.push([...text('env'), ...text('base'), 3, T.i32, 0]);
  m.data.push([0, ...I.globalGet(0), 0x0b, 1, 0]);
}), refused(/data segment 0 lies at no constant address/));
add('data-computed', 'data at an address that is a sum', agent({}, (m) => m.data.push([0, ...I.i32(OWN), ...I.i32(OWN), ...I.add, 0x0b, 1, 0])), refused(/data segment 0 lies at no constant address/));
add('data-passive-huge', 'a passive segment of 1 MiB that it never uses', agent({}, (m) => m.passiveData(new Array<number>(2 ** 20).fill(0))), harmless);
add('element-beyond', 'elements behind the end of their table', agent({}, (m) => m.table(1).element(1, [0])), traps('table', 'start'));

// -- Recursion ----------------------------------------------------------------------------------------------------------------
const recursive = (code: Code): Uint8Array => agent({ process: code });
const PROCESS = 3;
add('recursion', 'calls itself without end', recursive([...I.get(0), ...I.get(1), ...I.get(2), ...I.call(PROCESS), ...I.nop]), traps('stack'));
add('recursion-locals', 'calls itself with 1,000 locals', agent({ process: [...I.get(0), ...I.get(1), ...I.get(2), ...I.call(PROCESS), ...I.get(900), 0xa7, ...I.add], locals: [[1000, T.i64]] }), traps('stack'));
add('recursion-indirect', 'calls itself through its table', agent({ process: [...I.get(0), ...I.get(1), ...I.get(2), ...I.i32(0), ...I.callIndirect(3), ...I.nop] }, (m) => {
  // Type 3, behind those of the imports.
  m.type([T.i32, T.i32, T.i32], [T.i32]);
  m.table(1).element(0, [PROCESS]);
}), traps('stack'));
add('recursion-mutual', 'two functions that call one another', agent({ tick: I.call(3) }, (m) => {
  m.func({ code: [...I.call(4), ...I.nop] });
  m.func({ code: [...I.call(3), ...I.nop] });
}), traps('stack', 'tick'));
add('tail-calls', 'calls itself by tail calls, which take no stack', recursive([...I.get(0), ...I.get(1), ...I.get(2), ...I.returnCall(PROCESS)]), traps('budget'));

// -- Traps in each callback ---------------------------------------------------------------------------------------------------
const VALUED = { init: 1, process: 1, save: 1, restore: 1 };
for (const callback of ['init', 'process', 'process_batch', 'tick', 'save', 'restore'] as const) {
  const result = callback in VALUED ? I.i32(0) : [];
  add(`trap-${callback}`, `unreachable in ${callback}`, agent({ [callback]: I.unreachable }), traps('unreachable', callback));
  add(`loop-${callback}`, `an endless loop in ${callback}`, agent({ [callback]: [...FOREVER, ...result] }), traps('budget', callback));
  add(`load-${callback}`, `a load out of bounds in ${callback}`, agent({ [callback]: [...load(0x7fffffff), ...result] }), traps('memory', callback));
}
add('divide-by-zero', 'divides by zero', agent({ process: [...I.i32(1), ...I.i32(0), 0x6d] }), traps('divide'));
add('remainder-by-zero', 'takes a remainder by zero', agent({ process: [...I.i32(1), ...I.i32(0), 0x70] }), traps('divide'));
add('divide-overflow', 'divides −2^31 by −1', agent({ process: [...I.i32(2 ** 31), ...I.i32(-1), 0x6d] }), traps('overflow'));
add('trunc-overflow', 'truncates 1e300 to an i32', agent({ process: [...I.f64(1e300), 0xaa] }), traps('overflow'));
add('trunc-nan', 'truncates NaN to an i32', agent({ process: [...I.f64(NaN), 0xaa] }), traps('overflow'));
const indirect = (index: number, more: (m: ModuleBuilder) => void): Uint8Array => agent({ process: [...I.i32(index), ...I.callIndirect(0), 0xaa] }, more);
add('indirect-null', 'calls an empty place of its table', indirect(0, (m) => m.table(2)), traps('indirect'));
add('indirect-type', 'calls a function of another type', indirect(0, (m) => m.table(2).element(0, [LOG])), traps('indirect'));
add('indirect-beyond', 'calls a place behind the end of its table', indirect(2, (m) => m.table(2)), traps('table'));
add('abort', 'env.abort, with strings that lie nowhere', agent({ process: then([...I.i32(-1), ...I.i32(0xfffffffc), ...I.i32(-1), ...I.i32(2 ** 31), ...I.call(ABORT)]) }), traps('abort'));
add('abort-lengths', 'env.abort, with a string whose length is 2^32 − 1', agent({ process: then(store(OWN, -1), [...I.i32(OWN + 4), ...I.i32(OWN + 4), ...I.i32(1), ...I.i32(2), ...I.call(ABORT)]) }), traps('abort'));
add('straight-long', 'a function of 0.8 MB without a loop, which divides', agent({ tick: [...I.i32(7), ...I.set(0), ...new Array<number[]>(115_000).fill([...I.get(0), ...I.get(0), 0x6e, ...I.set(0)]).flat()], locals: [[1, T.i32]] }), harmless);

// -- What it tells its host ---------------------------------------------------------------------------------------------------
for (const [name, emits] of [['2^31', 2 ** 31], ['-1', -1], ['257', 257], ['256', 256], ['huge', 0x7fffffff]] as const) {
  add(`emits-${name}`, `says that it has emitted ${name} payloads`, agent({ process: then(store(Control.emits, emits)) }), harmless);
}
add('emit-nothing-filled', 'emits one payload of no length, to no output', agent({ process: then(store(Control.emits, 1)) }), harmless);
add('emit-length', 'emits a payload of 2^32 − 1 bytes', agent({ process: then(store(Control.emitRecords + 4, -1), store(Control.emits, 1)) }), harmless);
add('emit-ptr', 'moves the emit buffer into the control area', agent({ process: then(store(Control.emitRecords, 0), store(Control.emitRecords + 4, 64), store(Control.emits, 1)) }), harmless);
add('emit-output', 'emits to output −1 and 2^31', agent({ process: then(store(Control.emitRecords + 4, 8), store(Control.emitRecords + 8, -1), store(Control.emitRecords + 20, 8), store(Control.emitRecords + 24, 2 ** 31), store(Control.emits, 2)) }), harmless);
add('emit-after', 'emits ahead of records that there are none of', agent({ process: then(store(Control.emitRecords + 4, 8), store(Control.emitRecords + 12, -1), store(Control.emits, 1)) }), harmless);
add('emit-count-back', 'counts its emits down again', agent({ process: then([...I.i32(Control.emits), ...I.i32(Control.emits), ...I.load(), ...I.i32(1), ...I.sub, ...I.store()]) }), harmless);
for (const [name, verdict] of [['3', 3], ['255', 255], ['-1', -1], ['-2', -2], ['2^31', 2 ** 31], ['drop with a length', 257]] as const) {
  add(`verdict ${name}`, `returns the verdict ${name}`, agent({ process: I.i32(verdict) }), harmless);
}
add('verdict-length', 'forwards 2^24 − 1 bytes', agent({ process: I.i32(0xffffff02) }), harmless);
add('verdict-one-more', 'forwards 65,537 bytes', agent({ process: I.i32(65537 * 256 + 2) }), harmless);
add('verdict-nothing', 'forwards no byte at all', agent({ process: I.i32(2) }), harmless);
const record = (field: number, value: number): number[] => store(Control.inputs + field, value);
const batch = (...code: Code[]): Uint8Array => agent({ process_batch: code.flat() });
const FORWARD_10 = record(12, 10 * 256 + 2);
add('ptr-zero', 'moves a payload to the control area', batch(record(0, 0), FORWARD_10), harmless);
add('ptr-own', 'moves a payload into its own memory', batch(record(0, OWN), FORWARD_10), harmless);
add('ptr-before', 'moves a payload to one byte ahead of its buffer', batch([...I.i32(Control.inputs), ...I.i32(Control.inputs), ...I.load(), ...I.i32(1), ...I.sub, ...I.store()], FORWARD_10), harmless);
add('ptr-neighbour', "moves a payload to its neighbour's buffer", batch([...I.i32(Control.inputs), ...I.i32(Control.inputs), ...I.load(), ...I.i32(2048), ...I.add, ...I.store()], FORWARD_10), harmless);
add('ptr-wrap', 'moves a payload to 2^32 − 4', batch(record(0, -4), FORWARD_10), harmless);
add('ptr-guard', 'moves a payload to the guard page', batch(record(0, GUARD_AT), FORWARD_10), harmless);
add('batch-all-records', 'gives verdicts to all 256 records, however many came', agent({ process_batch: [...I.loop([...I.get(1), ...I.i32(4), 0x74], I.i32(0x102), I.store(Control.inputs + 12), I.get(1), I.i32(1), I.add, I.tee(1), I.i32(256), [0x49], I.brIf(0))], locals: [[1, T.i32]] }), harmless);
add('batch-no-verdict', 'gives no verdict', batch(I.nop), harmless);
add('batch-count', 'changes count, emit_room, buffer_bytes and the ends of the window', batch(...[4, 12, 16, 20, 24].map((at) => store(at, -1))), harmless);
add('records-shuffled', 'overwrites its records with 0xff', batch(fill(Control.inputs, 8192)), harmless);
add('log-flood', '10,000 lines a call', agent({ process: then([...I.i32(10_000), ...I.set(3)], I.loop(I.i32(WINDOW), I.i32(512), I.call(LOG), I.get(3), I.i32(1), I.sub, I.tee(3), I.brIf(0))), locals: [[1, T.i32]] }), harmless);
add('log-forever', 'lines without end', agent({ tick: I.loop(I.i32(WINDOW), I.i32(512), I.call(LOG), I.br(0)) }), traps('budget', 'tick'));
for (const [name, at, length] of [['beyond', 0x7fffffff, 16], ['huge', WINDOW, -1], ['wraps', -16, 512], ['guard', GUARD_AT, 4096], ['nothing', -1, 0], ['whole', 0, 2 ** 31]] as const) {
  add(`log-${name}`, `logs ${length} bytes from ${at} on`, agent({ process: then([...I.i32(at), ...I.i32(length), ...I.call(LOG)]) }), harmless);
}
add('log-not-utf8', 'logs bytes that are no text, and escape sequences', agent({ process: then(fill(OWN, 512), store(OWN, 0x4a325b1b), [...I.i32(OWN), ...I.i32(512), ...I.call(LOG)]) }), harmless);
add('now-forever', 'waits for the clock', agent({ process: [...I.loop(I.call(NOW), I.f64(1e300), [0x63], I.brIf(0)), ...I.i32(0)] }), traps('budget'));
for (const [name, length] of [['huge', 0x7fffffff], ['negative', -1], ['least', 2 ** 31], ['one too many', Abi.stateBytes + 1]] as const) {
  add(`save ${name}`, `save returns ${length}`, agent({ save: I.i32(length) }), harmless);
}
add('save-scribbles', 'save writes far beyond its capacity', agent({ save: [...fill(0, OWN), ...I.i32(Abi.stateBytes)] }), harmless);
add('restore-refuses', 'restore takes nothing', agent({ restore: I.i32(1) }), harmless);
add('init-refuses', 'init takes nothing', agent({ init: I.i32(-1) }), harmless);
add('scribble-everything', 'writes into each 64 bytes of its memory', agent({ process: then([...I.i32(0), ...I.set(3)], I.loop(I.get(3), I.get(3), I.i32(0x9e3779b9), [0x6c], I.store(), I.get(3), I.i32(64), I.add, I.tee(3), I.i32(OWN + 65536), [0x49], I.brIf(0))), locals: [[1, T.i32]] }), harmless);

// -- What is refused by name --------------------------------------------------------------------------------------------------
const using = (code: Code): Uint8Array => agent({}, (m) => {
  m.func({ code });
  m.customs.push(functionNames({ 3: 'culprit' }));
});
add('atomic-load', 'i32.atomic.load', using([...I.i32(0), 0xfe, 0x10, 2, 0, ...I.drop]), refused(/atomics.*-pthread.*in function 3 "culprit"/));
add('atomic-wait', 'memory.atomic.wait32: would block the host', using([...I.i32(0), ...I.i32(0), ...I.i64(-1), 0xfe, 0x01, 2, 0, ...I.drop]), refused(/atomics/));
add('exceptions-legacy', 'try and catch_all', using([0x06, 0x40, 0x19, 0x0b]), refused(/exceptions.*-fno-exceptions/));
add('exceptions', 'try_table', using([0x1f, 0x40, 0, 0x0b]), refused(/exceptions/));
add('exceptions-tag', 'a tag section', assemble([[1, [1, 0x60, 0, 0]], [13, [1, 0, 0]]]), refused(/exceptions/));
add('gc-type', 'a struct type', assemble([[1, [1, 0x5f, 0]]]), refused(/garbage-collected types/));
add('gc-instruction', 'ref.i31', using([...I.i32(0), 0xfb, 0x1c, ...I.drop]), refused(/garbage-collected types/));
add('typed-references', 'call_ref', using([...I.refNull(), 0x14, 0]), refused(/typed function references/));
add('typed-null', 'ref.null of a type of its own', using([0xd0, 0, ...I.drop]), refused(/typed function references/));
add('several-memories', 'a load from memory 1', using([...I.i32(0), 0x28, 0x42, 1, 0, ...I.drop]), refused(/several memories.*-mno-multimemory/));
add('relaxed-simd', 'i8x16.relaxed_swizzle', using([...I.v128(0), ...I.v128(0), 0xfd, ...leb(0x100), ...I.drop]), refused(/relaxed SIMD.*-mno-relaxed-simd/));

// -- Malformed bytes ----------------------------------------------------------------------------------------------------------
const good = agent();
const patched = (at: number, ...bytes: number[]): Uint8Array => {
  const copyOf = good.slice();
  copyOf.set(bytes, at);
  return copyOf;
};
add('empty', 'no byte at all', new Uint8Array(0), refused(/byte 0: ends where the magic number should be/));
add('not-wasm', 'an ELF file', Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]), refused(/no WebAssembly module/));
add('component', 'a component', Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), refused(/version is not 1/));
add('header-only', 'a module with nothing in it', good.slice(0, 8), refused(/exports no ringcube_abi/));
for (const keep of [9, 30, 100, good.length - 1]) add(`truncated-${keep}`, `cut off behind ${keep} bytes`, good.slice(0, keep), refused(/byte \d+: /));
add('section-length', 'a section that ends beyond the module', patched(9, 0xff), refused(/byte \d+: /));
add('section-4GiB', 'a section of 4 GiB', assembleRaw([1, 0xff, 0xff, 0xff, 0xff, 0x0f]), refused(/section 1 of 4294967295 bytes/));
add('leb-too-long', 'a length in six bytes', assembleRaw([1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), refused(/no 32-bit LEB128/));
add('leb-too-large', 'a length of 35 bits', assembleRaw([1, 0xff, 0xff, 0xff, 0xff, 0x7f]), refused(/no 32-bit LEB128/));
add('leb-constant', 'an i32.const of 36 bits', using([0x41, 0x80, 0x80, 0x80, 0x80, 0x20, ...I.drop]), refused(/no signed 32-bit LEB128/));
add('count-types', '4 billion types in 5 bytes', assemble([[1, leb(0xffffffff)]]), refused(/4294967295 types in the 0 bytes/));
add('count-functions', '4 billion functions', assemble([[1, [1, 0x60, 0, 0]], [3, leb(0xffffffff)]]), refused(/4294967295 functions/));
add('count-parameters', 'a type of 4 billion parameters', assemble([[1, [1, 0x60, ...leb(0xffffffff)]]]), refused(/4294967295 types/));
add('count-labels', 'a br_table of 4 billion labels', using([...I.i32(0), 0x0e, ...leb(0xffffffff)]), refused(/4294967295 labels/));
add('name-length', 'a name of 4 billion bytes', assemble([[0, leb(0xffffffff)]]), refused(/custom section of 4294967295 bytes/));
add('name-utf8', 'an export whose name is no UTF-8', assemble([[7, [1, 1, 0xff, 0, 0]]]), refused(/is not UTF-8/));
add('sections-twice', 'two type sections', assemble([[1, [0]], [1, [0]]]), refused(/there twice/));
add('sections-order', 'code ahead of functions', assemble([[10, [0]], [3, [0]]]), refused(/wrong place/));
add('section-unknown', 'section 99', assemble([[99, [0]]]), refused(/unknown section 99/));
add('section-short', 'a section with more in it than it says', assemble([[1, [0, 0, 0]]]), refused(/goes on behind its end/));
add('code-missing', 'functions without code', assemble([[1, [1, 0x60, 0, 0]], [3, [1, 0]]]), refused(/1 functions have no code/));
add('code-more', 'code without functions', assemble([[1, [1, 0x60, 0, 0]], [10, [1, 2, 0, 0x0b]]]), refused(/code of 1 functions, and 0 are declared/));
add('code-unclosed', 'a function that never ends', assemble([[1, [1, 0x60, 0, 0]], [3, [1, 0]], [10, [1, 3, 0, 0x02, 0x40]]]), refused(/ends where an instruction should be \(in function 0\)/));
add('code-behind-end', 'instructions behind the end', using([0x0b, 0x01]), refused(/goes on behind its end \(in function 3 "culprit"\)/));
add('opcode-unknown', 'instruction 0xff', using([0xff]), refused(/unknown instruction 0xff/));
add('opcode-unknown-simd', 'a vector instruction that there is none of', using([0xfd, 0x9a, 0x01]), refused(/unknown instruction 0xfd 154/));
add('type-index', 'a function of type 1000', assemble([[1, [1, 0x60, 0, 0]], [3, [1, ...leb(1000)]]]), refused(/type 1000 of 1/));
add('export-index', 'exports function 1000', agent({}, (m) => m.export('x', 0, 1000)), refused(/exports function 1000 of 4/));
add('stack-underflow', 'an addition of nothing', agent({ process: I.add }), refused(/V8 refuses it: Compiling function #3.* failed/));
add('index-in-code', 'calls the function behind the last one', agent({ process: [...I.call(4), ...I.i32(0)] }), refused(/V8 refuses it/));
add('global-in-code', 'writes the global behind the last one', agent({ process: [...I.i32(0x7fffffff), ...I.globalSet(1), ...I.i32(0)] }), refused(/V8 refuses it/));
const nested = (kind: number, n: number): Code => [...new Array<number[]>(n).fill([kind, 0x40]).flat(), ...new Array<number>(n).fill(0x0b), ...I.i32(1)];
add('nested-blocks', '3,000 blocks in one another', agent({ process: nested(0x02, 3000) }), harmless);
add('nested-loops', '3,000 loops in one another', agent({ process: nested(0x03, 3000) }), harmless);
add('nested-deep', '100,000 blocks in one another', agent({ process: nested(0x02, 100_000) }), refused(/would take V8 long to compile/));
add('locals-at-branches', '40,000 locals at 10,000 branches: 40 seconds at the first call', agent({ process: [...new Array<Code>(10_000).fill(I.block(I.get(0), I.brIf(0))).flat(), ...I.i32(1)], locals: [[40_000, T.i32]] }), refused(/would take V8 long to compile/));
add('locals-many', '49,000 locals', agent({ process: I.i32(1), locals: [[49_000, T.i64]] }), harmless);
add('locals-too-many', '4 billion locals', agent({ process: I.i32(1), locals: [[0xffffffff, T.i64]] }), refused(/V8 refuses it/));
add('functions-many', '20,000 functions', agent({}, (m) => {
  for (let i = 0; i < 20_000; i++) m.func({ code: I.nop });
}), harmless);
add('name-section-broken', 'a name section that says nonsense', agent({}, (m) => m.customs.push({ name: 'name', content: [1, 5, ...leb(0xffffffff), 1] })), harmless);
add('custom-huge', 'a custom section of 1 MiB', agent({}, (m) => m.customs.push({ name: 'x', content: new Array<number>(2 ** 20).fill(0) })), harmless);
add('reference-table', 'a table whose type says i32', assemble([[4, vector([[T.i32, 0, 1]])]]), refused(/i32 is no reference type/));
add('global-loop', 'a global whose value is a loop', assemble([[6, vector([[T.i32, 0, 0x03, T.i32, ...I.i32(1), 0x0b, 0x0b]])]]), refused(/not a constant expression/));
add('s33-block', 'a block of type 2^33', using([0x02, ...sleb(2n ** 33n), 0x0b]), refused(/no signed 33-bit LEB128/));

/** Sections as they are given, right or wrong. */
function assembleRaw(bytes: readonly number[]): Uint8Array {
  return Uint8Array.from([...assemble([]), ...bytes]);
}

export const CORPUS: readonly Hostile[] = corpus;
