// What holds a module against docs/agent-abi.md. What is refused, and in which words, is in the hostile corpus; here, what isn't.
import t from 'tap';
import { Abi } from '../../../src/spa/abi.js';
import { checkAgent, usesUnchecked } from '../../../src/spa/wasm/check.js';
import { parseModule } from '../../../src/spa/wasm/module.js';
import { agent } from '../hostile/corpus.js';
import { I, ModuleBuilder, T, functionNames } from './builder.js';

const findings = (bytes: Uint8Array, maxPages?: number): string[] => checkAgent(parseModule(bytes), maxPages);

t.test('agents', (t) => {
  t.same(findings(agent()), [], 'process alone');
  t.same(findings(agent({ process_batch: [] })), [], 'process_batch alone');
  t.same(findings(agent({ process: I.i32(0), process_batch: [], init: I.i32(0), tick: [], save: I.i32(0) })), [], 'everything');
  t.same(findings(agent({}, (m) => m.export('memory', 2, 0).export('__new', 0, 0).table(10_000).dataAt(Abi.windowEnd, [1]))), [], 'what compilers add');
  t.same(findings(agent({ pages: 1024 })), [], 'as large as may be');
  t.end();
});

t.test('the memory is held against what the host gives', (t) => {
  t.same(findings(agent({ pages: 100 }), 99), ['needs a memory of 100 pages, and the host gives 99 at most']);
  t.same(findings(agent({}, (m) => m.dataAt(Abi.windowEnd, [1, 2])), 64), ['needs a memory of 65 pages, and the host gives 64 at most', 'data segment 0 ends at 4194306, beyond the 64 pages that the host gives at most']);
  t.end();
});

t.test('of C, whose constants are exported as addresses, the word there is the version', (t) => {
  const c = (address: number, bytes: number[]): string[] =>
    findings(agent({ abi: null }, (m) => m.dataAt(Abi.windowEnd + 16, bytes).export('ringcube_abi', 3, m.global(T.i32, false, I.i32(address)))));
  t.same(c(Abi.windowEnd + 20, [9, 9, 9, 9, 1, 0, 0, 0]), []);
  for (const [address, bytes] of [[20, [9, 9, 9, 9, 2, 0, 0, 0]], [20, [9, 9, 9, 9, 1, 0, 0]], [12, [1, 0, 0, 0, 1, 0, 0, 0]]] as const) {
    t.match(c(Abi.windowEnd + address, [...bytes]), [/ringcube_abi is \d+, must be 1/]);
  }
  t.end();
});

t.test('all that is wrong is said at once, up to 20 lines', (t) => {
  const nothing = findings(new ModuleBuilder().build());
  t.match(nothing, [/exports no ringcube_abi/, /neither process nor process_batch/]);
  const many = findings(agent({}, (m) => {
    for (let i = 0; i < 100; i++) m.dataAt(i, []);
  }));
  t.equal(many.length, 21);
  t.equal(many[20], 'and 80 more');
  t.end();
});

t.test('a memory of its own is none that the host can share; none at all is well', (t) => {
  t.match(findings(agent({ pages: null }, (m) => m.memories.push([0, 1]))), [/^imports no memory env.memory, but has one of its own: build with --importMemory \(asc\) or --import-memory \(wasm-ld\)$/]);
  t.same(findings(agent({ pages: null })), []);
  t.end();
});

// Each took V8 (Node 20) from 20 ms to 40 s at the first call of the function.
t.test('functions that V8 would compile for long, in the middle of a call, are refused; large ones of the ordinary kind are not', (t) => {
  const repeated = (n: number, code: readonly number[]): number[] => Array.from({ length: n }, () => code).flat();
  const branch = I.block([...I.get(0), ...I.brIf(0)]);
  const nested = (n: number): number[] => [...repeated(n, [0x02, 0x40]), ...repeated(n, [0x0b])];
  for (const [what, code, locals] of [
    ['many locals at many branches', repeated(2000, branch), [[5000, T.i32]]],
    ['many values on the stack at many branches', [...repeated(4000, I.i32(1)), ...repeated(2000, branch), ...repeated(4000, I.drop)], []],
    ['many blocks, one in the other', nested(10_000), []],
  ] as const) {
    t.match(findings(agent({ process: [...code, ...I.i32(0)], locals: [...locals] })), [/^function \d+ would take V8 long to compile, at its first call, where no budget stops it \(\d+, 1048576 at most\): /], what);
  }
  for (const [what, code, locals] of [
    ['straight', repeated(100_000, [...I.get(0), ...I.i32(3), 0x6a, ...I.drop]), []],
    ['branches', repeated(1500, branch), [[50, T.i64]]],
    ['calls', repeated(20_000, [0x10, 0, ...I.drop]), []],
    ['stores and loads', repeated(20_000, [...I.get(0), ...I.get(0), ...I.load(), 0x36, 2, 0, ...I.get(0), ...I.get(1), ...I.get(2), 0x1b, ...I.drop]).concat(repeated(500, branch)), []],
  ] as const) {
    t.same(findings(agent({ process: [...code, ...I.i32(0)], locals: [...locals] })), [], what);
  }
  t.end();
});

t.test('what V8 says of a module is one line, whatever the names in it', (t) => {
  const ill = findings(agent({ process: I.nop }, (m) => m.customs.push(functionNames({ 3: 'evil\x1b[2J\nringcube: all is well' }))));
  t.match(ill, [/^V8 refuses it: /]);
  t.notMatch(ill[0], /[\x00-\x1f]/);
  t.end();
});

t.test('functions with bulk memory operations are named, once each', (t) => {
  const m = new ModuleBuilder().importMemory(1).passiveData([1]);
  const three = (operation: readonly number[]): number[] => [...I.i32(0), ...I.i32(0), ...I.i32(0), ...operation];
  m.func({ code: [...three(I.fill), ...three(I.copy)] });
  m.func({ code: I.nop });
  m.func({ code: three(I.copy) });
  m.func({ code: three(I.init(0)) });
  m.func({ code: [...I.i32(0), ...I.load(), ...I.drop] });
  m.customs.push(functionNames({ 0: 'memset', 2: 'memcpy' }));
  t.match(usesUnchecked(parseModule(m.build())), [/^function 0 "memset", byte \d+: memory.fill$/, /^function 2 "memcpy", byte \d+: memory.copy$/, /^function 3, byte \d+: memory.init$/]);
  t.same(usesUnchecked(parseModule(agent())), []);
  t.end();
});
