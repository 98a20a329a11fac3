// The reader against V8's: which instructions there are, what numbers may look like, what it finds in a module, and in no module.
import fc from 'fast-check';
import t from 'tap';
import { RingcubeError, WebAssembly } from '../../../src/base/index.js';
import { ByteReader, s32Bytes, u32Bytes } from '../../../src/spa/wasm/bytes.js';
import { parseModule } from '../../../src/spa/wasm/module.js';
import { I, ModuleBuilder, T, assemble, functionNames, leb, sleb, text } from './builder.js';

const u32 = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 35 }).map((bits) => 2 ** Math.min(bits, 32) - 1));

t.test('LEB128 (core spec §5.2.2)', (t) => {
  fc.assert(fc.property(u32, (value) => {
    const reader = new ByteReader(Uint8Array.from([...leb(value), ...sleb(value | 0), ...sleb(value), ...sleb(-BigInt(value) * 2n ** 31n)]));
    const same = reader.u32('x') === value && reader.s32('x') === (value | 0);
    reader.skipSigned(33, 'x');
    reader.skipSigned(64, 'x');
    return same && reader.done && u32Bytes(value).join() === leb(value).join() && s32Bytes(value).join() === sleb(value | 0).join();
  }), { numRuns: 300, seed: 20053 });
  // What is no number: V8 says so, too, of an instruction that holds it.
  const valid = (code: number[]): boolean => {
    const m = new ModuleBuilder();
    m.func({ code: [...code, ...I.drop] });
    return WebAssembly.validate(m.build());
  };
  const number = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.constantFrom(0x80, 0xff, 0xc0), fc.nat(127)).map(([before, byte, last]) => [...new Array<number>(before).fill(byte), last]);
  fc.assert(fc.property(number, fc.constantFrom(0x41, 0x42), (bytes, opcode) => {
    const reader = new ByteReader(Uint8Array.from(bytes));
    let read = true;
    try {
      if (opcode === 0x41) reader.s32('x');
      else reader.skipSigned(64, 'x');
    } catch {
      read = false;
    }
    return (read && reader.done) === valid([opcode, ...bytes]);
  }), { numRuns: 500, seed: 20054 });
  t.end();
});

t.test('knows the instructions that V8 knows, or refuses them by name (core spec §5.4)', (t) => {
  /** What may follow an opcode: no immediate, an index, two, a memory access, and so on. */
  const IMMEDIATES: readonly number[][] = [[], [0], [0, 0], [0x40, 0x0b], [0, 0, 0], [T.i32, 0x0b], [T.funcref], [1, T.i32], [...I.f32(1)].slice(1), [...I.f64(1)].slice(1), new Array<number>(16).fill(0), [0, 0, 0, 0]];
  const wrong: string[] = [];
  for (const prefix of [undefined, 0xfc, 0xfd]) {
    for (let number = 0; number < 256; number++) {
      const opcode = prefix === undefined ? [number] : [prefix, ...leb(number)];
      if (prefix === undefined && (number === 0x0b || number === 0x05 || number >= 0xfb)) continue;
      // Behind unreachable any operands are there (§3.3.2.1), so that only opcode and immediates count.
      const modules = IMMEDIATES.map((immediates) => {
        const m = new ModuleBuilder().importMemory(1).table(1).element(0, [0]).passiveElement([0]).passiveData([1]);
        m.global(T.i32, true, I.i32(0));
        m.func({ locals: [T.i32], code: [0x00, ...opcode, ...immediates, 0x00] });
        return m.build();
      });
      const outcomes = modules.map((bytes) => {
        try {
          parseModule(bytes);
          return 'read';
        } catch (error) {
          return /agents may not use/.test((error as Error).message) ? 'named' : 'unknown';
        }
      });
      const valid = modules.map((bytes) => WebAssembly.validate(bytes));
      if (outcomes.some((outcome, i) => valid[i] && outcome === 'unknown')) wrong.push(`${opcode.join()}: V8 takes it`);
      if (!valid.includes(true) && outcomes.includes('read')) wrong.push(`${opcode.join()}: V8 knows none such`);
    }
  }
  t.same(wrong, []);
  t.end();
});

t.test('finds what a module is made of', (t) => {
  const m = new ModuleBuilder();
  m.importFunction('ringcube', 'now', [], [T.f64]);
  m.importMemory(70, 900);
  m.table(3, 9);
  m.global(T.i32, false, I.i32(-7));
  m.global(T.i32, false, I.globalGet(0));
  m.global(T.i32, true, I.i32(5));
  m.global(T.i32, false, [...I.i32(1), ...I.i32(2), ...I.add]);
  m.global(T.v128, false, I.v128(1));
  m.func({ params: [T.i32, T.f32], results: [T.i64, T.externref], locals: [[3, T.i32]], code: I.unreachable, export: 'f' });
  m.start = m.func({ code: I.nop });
  m.export('memory', 2, 0).export('table', 1, 0).export('g', 3, 0);
  m.element(1, [1]).passiveElement([1, 2]);
  m.elements.push([4, ...I.i32(0), 0x0b, 1, ...I.refNull(), 0x0b], [6, 0, ...I.i32(0), 0x0b, T.funcref, 0], [7, T.funcref, 1, ...I.refFunc(1), 0x0b], [3, 0, 1, 1], [5, T.funcref, 0], [2, 0, ...I.i32(2), 0x0b, 0, 0]);
  m.dataAt(2 ** 22, [1, 2, 3]).passiveData([4]);
  m.data.push([2, 0, ...I.globalGet(3), 0x0b, 0]);
  m.customs.push(functionNames({ 0: 'now', 1: 'f\u0000' }));
  // (Of global.get V8 wants an imported global on Node 20: 2.0 §3.3.10; any before it in 3.0.)
  const info = parseModule(m.build());
  t.same(info.imports.map(({ module, name, type }) => [module, name, type.kind]), [['ringcube', 'now', 'function'], ['env', 'memory', 'memory']]);
  t.same(info.functions[1], { params: ['i32', 'f32'], results: ['i64', 'externref'] });
  t.same([info.importedFunctions, info.functions.length, info.bodies.length, info.start], [1, 3, 2, 2]);
  t.same(info.memories[0].limits, { min: 70, max: 900 });
  t.same(info.tables, [{ kind: 'table', element: 'funcref', limits: { min: 3, max: 9 } }]);
  t.same(info.globals.map(({ type, mutable, value }) => [type, mutable, value]), [['i32', false, -7], ['i32', false, -7], ['i32', true, undefined], ['i32', false, undefined], ['v128', false, undefined]]);
  t.same(info.exports.map(({ name, index, type }) => [name, index, type.kind]), [['f', 1, 'function'], ['memory', 0, 'memory'], ['table', 0, 'table'], ['g', 0, 'global']]);
  t.same(info.elements.map(({ active, offset, length }) => [active, offset, length]), [[true, 1, 1], [false, undefined, 2], [true, 0, 1], [true, 0, 0], [false, undefined, 1], [false, undefined, 1], [false, undefined, 0], [true, 2, 0]]);
  t.same(info.data.map(({ active, offset, length }) => [active, offset, length]), [[true, 2 ** 22, 3], [false, undefined, 1], [true, undefined, 0]]);
  t.same([...m.build().subarray(info.data[0].contentAt, info.data[0].contentAt + 3)], [1, 2, 3]);
  t.same([...info.names], [[0, 'now'], [1, 'f\u0000']]);
  t.end();
});

t.test('a name that breaks off leaves the names ahead of it, and no error', (t) => {
  const m = new ModuleBuilder();
  m.func({ code: I.nop });
  m.customs.push({ name: 'name', content: [0, 1, 0, 1, 6, 2, 0, ...text('a'), 1, 9] });
  t.same([...parseModule(m.build()).names], [[0, 'a']]);
  t.end();
});

t.test('says what is wrong, at which byte, in one line', (t) => {
  const message = (sections: Parameters<typeof assemble>[0]): string => {
    try {
      parseModule(assemble(sections));
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  t.equal(message([[1, [1, 0x61, 0, 0]]]), 'module, byte 11: 0x61 is no function type');
  t.equal(message([[1, [1, 0x60, 1, 0x7a, 0]]]), 'module, byte 13: 0x7a is no value type');
  t.equal(message([[1, [1, 0x60, 1, 0x64, 0]]]), 'module, byte 13: agents may not use typed function references; build for WebAssembly 2.0 (asc: without --enable gc)');
  t.equal(message([[5, [1, 16, 0]]]), 'module, byte 11: unknown limits 0x10');
  t.equal(message([[2, [1, 0, 0, 9]]]), 'module, byte 13: unknown kind of import 9');
  t.equal(message([[3, [1, 0]]]), 'module, byte 11: type 0 of 0');
  t.equal(message([[8, [0]]]), 'module, byte 10: starts function 0 of 0');
  t.equal(message([[9, [1, 8]]]), 'module, byte 11: unknown kind of element segment 8');
  t.equal(message([[11, [1, 3]]]), 'module, byte 11: unknown kind of data segment 3');
  t.equal(message([[11, [1, 1, 5, 0]]]), 'module, byte 13: a data segment of 5 bytes, and 1 are left');
  t.end();
});

t.test('any bytes at all: one error, in one line', (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    try {
      parseModule(Uint8Array.from([...assemble([]), ...bytes]));
      return true;
    } catch (error) {
      return error instanceof RingcubeError && /^module, byte \d+: .+$/.test(error.message);
    }
  }), { numRuns: 2000, seed: 20055 });
  t.end();
});

t.test('a module is 16 MiB at most, and of its names only so many are kept as messages may need', (t) => {
  t.throws(() => parseModule(new Uint8Array(2 ** 24 + 1)), { code: 'ERR_UNSUPPORTED', message: 'module: 16777217 bytes, an agent has 16777216 at most' });
  const names = Object.fromEntries(Array.from({ length: 100_050 }, (_, i) => [i, '']));
  const m = new ModuleBuilder();
  m.customs.push(functionNames(names));
  t.equal(parseModule(m.build()).names.size, 100_000);
  t.end();
});
