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
  t.match(nothing, [/imports no memory env.memory: build with --importMemory \(asc\) or --import-memory \(wasm-ld\)/, /exports no ringcube_abi/, /neither process nor process_batch/]);
  const many = findings(agent({}, (m) => {
    for (let i = 0; i < 100; i++) m.dataAt(i, []);
  }));
  t.equal(many.length, 21);
  t.equal(many[20], 'and 80 more');
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
