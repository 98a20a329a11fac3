// What is inserted, that nothing else changes, and that everything then ends. FUZZ_SECONDS=60 lets the properties run for so long.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { type InstrumentOptions, instrument } from '../../../src/spa/wasm/instrument.js';
import { RingcubeError, WebAssembly } from '../../../src/base/index.js';
import { parseModule } from '../../../src/spa/wasm/module.js';
import { I, ModuleBuilder, T, functionNames, leb, text } from './builder.js';
import { FREE_FROM, randomModule } from './random.js';
import { type Outcome, Running } from './rig.js';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
t.setTimeout((seconds + 120) * 1000);
const RUNS = seconds > 0 ? { numRuns: Infinity, interruptAfterTimeLimit: seconds * 1000, markInterruptAsFailure: false } : { numRuns: 300, seed: 20051 };

const BUDGETS: readonly InstrumentOptions[] = [
  { budget: 'none', maxPages: 16 }, { budget: 'fuel', maxPages: 16, startFuel: 2 ** 31 - 1 },
  // A word that the modules here leave alone stands for the guard page.
  { budget: 'guard', maxPages: 16, guardAt: 0 }, { budget: 'epoch', maxPages: 16, guardAt: 0 },
];

const withFuel = (bytes: Uint8Array, startFuel = 1e6): Uint8Array => instrument(parseModule(bytes), { budget: 'fuel', maxPages: 16, startFuel }).bytes;

/** A module with one function `run` of this code, type (i32, i32, i32) → i32. */
function one(code: readonly number[], more: (m: ModuleBuilder) => void = () => undefined): Uint8Array {
  const m = new ModuleBuilder().importMemory(4);
  more(m);
  m.func({ params: [T.i32, T.i32, T.i32], results: [T.i32], locals: [T.i32], code: [...code], export: 'run' });
  return m.build();
}

/** The code of the function at `index`, without locals. */
function codeOf(bytes: Uint8Array, index = 0): number[] {
  const body = parseModule(bytes).bodies[index];
  return [...bytes.subarray(body.codeAt, body.end)];
}

const GUARD = [...I.i32(0xffff0000), ...I.load(), ...I.drop];
const EPOCH = [...I.i32(0xffff0000), ...I.load(), ...I.if(I.unreachable)];
const fuel = (cost: number, global = 0): number[] => [
  ...I.globalGet(global), ...I.i32(cost), ...I.sub, ...I.globalSet(global), ...I.globalGet(global), ...I.i32(0), 0x48, ...I.if(I.unreachable),
];

t.test('a check stands at the entry of each function and at the start of each round of a loop', (t) => {
  const loop = (head: number[]): number[] => I.loop(head, I.get(0), I.brIf(0));
  const code = (head: number[]): number[] => [...head, ...I.block(loop(head)), ...I.i32(5), 0x0b];
  const bytes = one([...I.block(loop([])), ...I.i32(5)]);
  t.same(codeOf(instrument(parseModule(bytes), { budget: 'guard', maxPages: 100 }).bytes), code(GUARD));
  t.same(codeOf(instrument(parseModule(bytes), { budget: 'epoch', maxPages: 100 }).bytes), code(EPOCH));
  t.same(codeOf(instrument(parseModule(bytes), { budget: 'none', maxPages: 100 }).bytes), code([]));
  // To the loop belong get, br_if, end; to the function block, loop, end, const, end.
  t.same(codeOf(withFuel(bytes)), [...fuel(5), 0x02, 0x40, 0x03, 0x40, ...fuel(3), ...I.get(0), ...I.brIf(0), 0x0b, 0x0b, ...I.i32(5), 0x0b]);
  const MAXIMUM = 1; // of the memory, which had none
  const { functions, loops, checks, bytesBefore, bytesAfter } = instrument(parseModule(bytes), { budget: 'guard', maxPages: 100 });
  t.same({ functions, loops, checks, bytesBefore, bytesAfter }, { functions: 1, loops: 1, checks: 2, bytesBefore: bytes.length, bytesAfter: bytes.length + 2 * GUARD.length + MAXIMUM });
  t.end();
});

t.test('the memory is declared with no page at least and maxPages at most, so V8 knows no index to be in bounds', (t) => {
  const before = new ModuleBuilder().importMemory(70, 900);
  before.importFunction('env', 'abort', [T.i32, T.i32, T.i32, T.i32], []);
  const after = parseModule(instrument(parseModule(before.build()), { budget: 'none', maxPages: 1024 }).bytes);
  t.same(after.memories[0].limits, { min: 0, max: 1024 });
  t.same(after.imports.map(({ name }) => name), ['memory', 'abort']);
  t.end();
});

t.test('tables grow to maxTableElements together, no further (core spec §4.4.6: table.grow may fail)', (t) => {
  const bytes = one([...I.refNull(), ...I.get(0), ...I.tableGrow(1)], (m) => m.table(10).table(20).table(5, 6));
  const { tables } = parseModule(instrument(parseModule(bytes), { budget: 'none', maxPages: 16, maxTableElements: 100 }).bytes);
  t.same(tables.map(({ limits }) => limits), [{ min: 10, max: 31 }, { min: 20, max: 41 }, { min: 5, max: 6 }]);
  const running = new Running(withFuel(bytes));
  t.same(running.call('run', 5000, 0, 0), -1);
  t.same(running.call('run', 3000, 0, 0), 20);
  t.same(running.call('run', 2 ** 31, 0, 0), -1);
  t.end();
});

t.test('custom sections stay, but for those that point into code', (t) => {
  const m = new ModuleBuilder().importMemory(1);
  m.func({ code: I.nop });
  const kept = ['name', 'producers', 'target_features', 'of their own'];
  const gone = ['linking', 'reloc.CODE', '.debug_info', 'sourceMappingURL', 'external_debug_info', 'metadata.code.branch_hint'];
  for (const name of [...kept, ...gone]) m.customs.push({ name, content: [] });
  const { sections } = parseModule(instrument(parseModule(m.build()), { budget: 'guard', maxPages: 1 }).bytes);
  t.same(sections.filter(({ id }) => id === 0).map(({ name }) => name), kept);
  t.end();
});

t.test('what is refused', (t) => {
  const none = (bytes: Uint8Array, options: Partial<InstrumentOptions> = {}): unknown => instrument(parseModule(bytes), { budget: 'none', maxPages: 16, ...options });
  const valid = one(I.i32(1));
  for (const maxPages of [0, 65536, 1.5, NaN]) t.throws(() => none(valid, { maxPages }), { code: 'ERR_INVALID_ARGUMENT' }, `maxPages ${maxPages}`);
  t.throws(() => none(valid, { guardAt: -1 }), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => none(valid, { startFuel: 2 ** 31 }), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => none(valid, { budget: 'time' as 'none' }), { code: 'ERR_INVALID_ARGUMENT' });
  const own = new ModuleBuilder();
  own.memories.push([0, 1]);
  t.throws(() => none(own.build()), { code: 'ERR_FORMAT', message: 'module: has a memory of its own, must import one' });
  // Index 1 would be the fuel counter.
  t.throws(() => none(one([...I.i32(2 ** 31 - 1), ...I.globalSet(1), ...I.i32(0)], (m) => m.global(T.i32, true, I.i32(0)))), { code: 'ERR_FORMAT', message: /invalid/ });
  t.throws(() => none(one(I.i32(1), (m) => m.export('ringcube:fuel', 2, 0))), { code: 'ERR_FORMAT', message: /ringcube:fuel/ });
  const loops = new Array<number>(500_000 * 3).fill(0).map((_, i) => [0x03, 0x40, 0x0b][i % 3]);
  t.throws(() => instrument(parseModule(one([...loops, ...I.i32(1)])), { budget: 'fuel', maxPages: 1 }), { code: 'ERR_UNSUPPORTED', message: /function 0 takes/ });
  t.end();
});

t.test('by default the guard lies where the agent can not reach it', (t) => {
  // No page is mapped there in this test: the first check traps.
  t.same(new Running(instrument(parseModule(one(I.i32(1))), { budget: 'guard', maxPages: 16 }).bytes).call('run', 0, 0, 0), 'memory');
  t.end();
});

t.test('an epoch that is set stops at the next check, one that is not stops nothing', (t) => {
  const running = new Running(instrument(parseModule(one(I.i32(7))), { budget: 'epoch', maxPages: 16, guardAt: 4 }).bytes);
  const words = new Int32Array(running.memory.buffer);
  t.same(running.call('run', 0, 0, 0), 7);
  words[1] = 1;
  t.same(running.call('run', 0, 0, 0), 'unreachable');
  words[1] = 0;
  t.same(running.call('run', 0, 0, 0), 7);
  t.end();
});

t.test('straight code gets checks of its own, on every way through it', (t) => {
  const checksOf = (code: readonly number[], more?: (m: ModuleBuilder) => void): number => {
    const result = instrument(parseModule(one(code, more)), { budget: 'guard', maxPages: 16 });
    t.ok(WebAssembly.validate(result.bytes));
    return result.checks;
  };
  const nops = (count: number): number[] => new Array<number>(count).fill(1);
  t.equal(checksOf([...nops(1000), ...I.i32(1)]), 1);
  t.equal(checksOf([...nops(1030), ...I.i32(1)]), 2);
  t.equal(checksOf([...nops(100_000), ...I.i32(1)]), 1 + Math.floor(100_001 / 1024));
  // A loop that a branch goes around is no check of that way.
  const around = I.block(I.i32(1), I.brIf(0), I.loop());
  t.equal(checksOf([...nops(600), ...around, ...nops(600), ...I.i32(1)]), 3);
  // One that must be passed is.
  t.equal(checksOf([...nops(600), ...I.loop(), ...nops(600), ...I.i32(1)]), 2);
  // A check in one arm of an `if` is none of the other, nor one that br_table goes around.
  t.equal(checksOf([...nops(600), ...I.i32(1), ...I.ifElse([nops(600)], []), ...nops(600), ...I.i32(1)]), 3);
  t.equal(checksOf([...nops(600), ...I.i32(1), ...I.if(nops(600)), ...nops(600), ...I.i32(1)]), 3);
  t.equal(checksOf([...nops(600), ...I.block(I.i32(1), I.brTable(0, 0), nops(600)), ...nops(600), ...I.i32(1)]), 3);
  // memory.grow and calls out of the agent cost more than one instruction; after a call little goes unchecked.
  t.equal(checksOf([...nops(1), ...new Array<number[]>(8).fill([...I.i32(0), ...I.grow, ...I.drop]).flat(), ...I.i32(1)]), 3);
  t.equal(checksOf([...new Array<number[]>(32).fill(I.call(0)).flat(), ...I.i32(1)], (m) => m.importFunction('ringcube', 'log', [], [])) > 2, true);
  t.equal(checksOf([...I.get(0), ...I.get(0), ...I.get(0), ...I.call(0), ...nops(100)]), 2);
  t.end();
});

t.test('bulk operations run in pieces, and do the same (core spec §4.4.7)', (t) => {
  const PAGE = 65536;
  const operations: Record<string, Uint8Array> = {
    fill: one([...I.get(0), ...I.get(1), ...I.get(2), ...I.fill, ...I.i32(1)]),
    copy: one([...I.get(0), ...I.get(1), ...I.get(2), ...I.copy, ...I.i32(1)]),
    init: one([...I.get(0), ...I.get(1), ...I.get(2), ...I.init(0), ...I.i32(1)], (m) => m.passiveData(Array.from({ length: 3 * PAGE }, (_, i) => i & 255))),
    dropped: one([...I.dataDrop(0), ...I.get(0), ...I.get(1), ...I.get(2), ...I.init(0), ...I.i32(1)], (m) => m.passiveData(Array.from({ length: 3 * PAGE }, (_, i) => i & 255))),
  };
  const run = (bytes: Uint8Array, to: number, from: number, length: number): { outcome: Outcome; memory: string } => {
    const running = new Running(bytes);
    const memory = new Uint32Array(running.memory.buffer);
    // The first word, which stands for the epoch, stays 0.
    for (let i = 0; i < memory.length; i++) memory[i] = Math.imul(i, 0x9e3779b9);
    const outcome = running.call('run', to, from, length);
    return { outcome, memory: createHash('sha1').update(memory).digest('hex') };
  };
  const edge = fc.constantFrom(4, 8, 1000, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 5, 3 * PAGE, 3 * PAGE + 1, 4 * PAGE - 1, 4 * PAGE, 4 * PAGE + 1, 2 ** 31, 0xfffffffc, 0xffffffff, 0xffff0000);
  const length = fc.oneof(edge, fc.constantFrom(0, 1));
  for (const [name, bytes] of Object.entries(operations)) {
    const instrumented = BUDGETS.slice(1).map((options) => instrument(parseModule(bytes), options));
    t.ok(instrumented.every(({ bulk }) => bulk === 1));
    fc.assert(fc.property(edge, edge, length, fc.constantFrom(0, 1, 2), (to, from, size, which) => {
      const source = name === 'copy' || name === 'fill' ? from : from % (3 * PAGE + 2);
      const pieces = run(instrumented[which].bytes, to, source, size);
      const whole = run(bytes, to, source, size);
      return pieces.outcome === whole.outcome && pieces.memory === whole.memory;
    }), { numRuns: 100, seed: 20052 });
  }
  t.end();
});

t.test('bulk operations are charged by their length', (t) => {
  const used = (operation: readonly number[], size: number, more?: (m: ModuleBuilder) => void): number => {
    const running = new Running(withFuel(one([...operation, ...I.i32(1)], more)));
    running.fuel = 1e6;
    t.same(running.call('run', 100, 64, size), 1);
    return 1e6 - running.fuel;
  };
  const args = [...I.get(0), ...I.get(1), ...I.get(2)];
  for (const operation of [I.fill, I.copy]) {
    t.equal(used([...args, ...operation], 15), 6);
    t.equal(used([...args, ...operation], 16_000), 6 + 1000);
    t.equal(used([...args, ...operation], 160_000), 6 + 10_000);
  }
  t.equal(used([...I.i32(0), ...I.refNull(), ...I.get(2), ...I.tableFill(0)], 700, (m) => m.table(1000)), 6 + 700);
  const running = new Running(withFuel(one([...args, ...I.fill, ...I.i32(1)])));
  running.fuel = 5000;
  t.same(running.call('run', 0, 255, 200_000), 'unreachable', 'and stop in the middle');
  const memory = new Uint8Array(running.memory.buffer);
  t.same([memory[65535], memory[65536]], [255, 0]);
  t.ok(running.fuel < 0);
  t.end();
});

t.test('fuel', (t) => {
  t.test('is what was given, less the cost of all that was begun; negative once it was too little', (t) => {
    const countdown = one([...I.loop(I.get(0), I.i32(1), I.sub, I.tee(0), I.brIf(0)), ...I.get(0)]);
    const running = new Running(withFuel(countdown));
    running.fuel = 1000;
    t.same(running.call('run', 10, 0, 0), 0);
    // Of the function: loop, get, end; of each round: get, const, sub, tee, br_if, end.
    t.equal(1000 - running.fuel, 3 + 10 * 6);
    running.fuel = 63;
    t.same([running.call('run', 10, 0, 0), running.fuel], [0, 0]);
    running.fuel = 62;
    t.same([running.call('run', 10, 0, 0), running.fuel], ['unreachable', -1]);
    running.fuel = 2;
    t.same([running.call('run', 10, 0, 0), running.fuel], ['unreachable', -1]);
    t.end();
  });
  t.test('takes more for leaving the agent', (t) => {
    const used = (code: readonly number[]): number => {
      const running = new Running(withFuel(one([...code, ...I.i32(1)], (m) => m.importFunction('ringcube', 'log', [T.i32, T.i32], []))));
      running.fuel = 1e6;
      running.call('run', 0, 0, 0);
      return 1e6 - running.fuel - 2;
    };
    t.equal(used([...I.i32(0), ...I.i32(0), ...I.call(0)]), 2 + 64);
    t.equal(used([...I.i32(0), ...I.grow, ...I.drop]), 2 + 256);
    t.end();
  });
  t.test('ends every shape of endless code', (t) => {
    const self = (code: (index: number, m: ModuleBuilder) => number[]): Uint8Array => {
      const m = new ModuleBuilder().importMemory(1).table(2).element(0, [0, 0]);
      m.func({ params: [T.i32], code: code(0, m), export: 'run' });
      m.func({ params: [T.i32], code: [...I.get(0), ...I.returnCall(0)] });
      return m.build();
    };
    const endless: Record<string, Uint8Array> = {
      'loop, br': self(() => I.loop(I.br(0))),
      'loop, br_if': self(() => I.loop(I.i32(1), I.brIf(0))),
      'loop, br_table': self(() => I.loop(I.get(0), I.brTable(0, 0, 0))),
      'loop, br from within': self(() => I.loop(I.block(I.block(I.br(2))))),
      'loop in loop': self(() => I.loop(I.loop(I.i32(0), I.brIf(0)), I.br(0))),
      'loop with a value': self((_, m) => [...I.get(0), 0x03, ...leb(m.type([T.i32], [])), ...I.br(0), 0x0b]),
      'tail call': self(() => [...I.get(0), ...I.returnCall(0)]),
      'mutual tail calls': self(() => [...I.get(0), ...I.returnCall(1)]),
      'indirect tail call': self((_, m) => [...I.get(0), ...I.get(0), ...I.returnCallIndirect(m.type([T.i32], []))]),
      'memory.grow in a loop': self(() => I.loop(I.i32(1), I.grow, I.drop, I.br(0))),
      'memory.fill in a loop': self(() => I.loop(I.i32(0), I.i32(0), I.i32(65536), I.fill, I.br(0))),
    };
    for (const [name, bytes] of Object.entries(endless)) t.same(new Running(withFuel(bytes)).call('run', 0), 'unreachable', name);
    // Fuel or stack, whichever ends first: V8's stack is no number of ours.
    for (const [name, code] of [['recursion', I.call(0)], ['mutual recursion', I.call(1)]] as const) {
      const running = new Running(withFuel(self(() => [...I.get(0), ...code, ...I.nop]), 5000));
      t.same(running.call('run', 0), 'unreachable', name);
      running.fuel = 2 ** 31 - 1;
      t.same(running.call('run', 0), 'stack', name);
    }
    const m = new ModuleBuilder().importMemory(1);
    m.start = m.func({ code: I.loop(I.br(0)) });
    t.throws(() => new Running(withFuel(m.build(), 1000)), /unreachable/, 'in the start function');
    t.end();
  });
  t.end();
});

t.test('any module computes the same as before, with each budget; fuel is deterministic, and exactly what is needed is enough', (t) => {
  const digest = (running: Running): string => createHash('sha1').update(new Uint8Array(running.memory.buffer).fill(0, 0, FREE_FROM)).digest('hex');
  let finished = 0;
  fc.assert(
    fc.property(fc.array(fc.nat(255), { maxLength: 400, size: 'max' }), fc.constantFrom(0, 1, 2 ** 31), (numbers, argument) => {
      const bytes = randomModule(numbers);
      const info = parseModule(bytes);
      const original = new Running(bytes);
      const expected = original.call('run', argument, 3);
      const memory = digest(original);
      for (const options of BUDGETS) {
        const result = instrument(info, options);
        const running = new Running(result.bytes);
        if (running.call('run', argument, 3) !== expected) throw new Error(`${options.budget}: another result than ${expected}`);
        if (options.budget !== 'fuel') {
          if (digest(running) !== memory) throw new Error(`${options.budget}: another memory`);
          continue;
        }
        const used = 2 ** 31 - 1 - running.fuel;
        const again = new Running(result.bytes);
        again.fuel = used;
        if (again.call('run', argument, 3) !== expected || again.fuel !== 0 || digest(again) !== digest(running)) throw new Error('another run with just enough fuel');
        const short = new Running(result.bytes);
        short.fuel = used - 1;
        const outcome = short.call('run', argument, 3);
        if (outcome !== 'unreachable' || short.fuel >= 0) throw new Error(`with too little fuel: ${outcome}, ${short.fuel} left`);
      }
      if (typeof expected === 'number') finished++;
    }),
    RUNS,
  );
  t.ok(finished > 100, `${finished} ran to their end`);
  t.end();
});

t.test('any bytes are refused, or instrumented into what V8 takes', (t) => {
  const named = new ModuleBuilder().importMemory(1);
  named.func({ code: [...I.v128(1), ...I.drop, ...I.i64(-5), ...I.drop, ...I.f32(1), ...I.drop] });
  named.customs.push(functionNames({ 0: 'f' }), { name: 'x', content: text('y') });
  const bases = fc.oneof(fc.array(fc.nat(255), { maxLength: 60 }).map(randomModule), fc.constant(named.build()));
  const change = fc.record({ at: fc.nat(), byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x0b, 0xfc, 0xfd)), kind: fc.constantFrom('set', 'insert', 'delete') });
  let accepted = 0;
  fc.assert(
    fc.property(bases, fc.array(change, { maxLength: 4 }), fc.option(fc.nat()), fc.constantFrom(...BUDGETS), (base, changes, cut, options) => {
      const bytes = [...base];
      for (const { at, byte, kind } of changes) bytes.splice(at % bytes.length, kind === 'insert' ? 0 : 1, ...(kind === 'delete' ? [] : [byte]));
      const mutated = Uint8Array.from(cut === null ? bytes : bytes.slice(0, cut % (bytes.length + 1)));
      let info;
      try {
        info = parseModule(mutated);
      } catch (error) {
        if (error instanceof RingcubeError && /^module, byte \d+: /.test(error.message)) return;
        throw error;
      }
      if (!WebAssembly.validate(mutated)) {
        try {
          instrument(info, options);
        } catch (error) {
          if (error instanceof RingcubeError) return;
          throw error;
        }
        throw new Error('instrumented what is invalid');
      }
      accepted++;
      if (info.imports.every(({ type }) => type.kind !== 'memory')) return;
      if (!WebAssembly.validate(instrument(info, options).bytes)) throw new Error('V8 refuses the result');
    }),
    { ...RUNS, ...(seconds > 0 ? {} : { numRuns: 4000 }) },
  );
  t.ok(accepted > 200, `${accepted} were valid all the same`);
  t.end();
});
