// What follows each opcode (WebAssembly 2.0 §5.4, and the tail calls of 3.0), and which opcodes are refused by name.
import { RingcubeError } from '../../base/index.js';

/** What stands behind an opcode. */
export const Immediate = {
  unknown: 0,
  none: 1,
  block: 2,
  index: 3,
  twoIndices: 4,
  labels: 5,
  types: 6,
  memarg: 7,
  /** The memory's index: always 0. */
  memory: 8,
  i32: 9,
  i64: 10,
  bytes4: 11,
  bytes8: 12,
  bytes16: 13,
  refType: 14,
  lane: 15,
  memargLane: 16,
  /** memory.init: a data segment, and the memory. */
  indexMemory: 17,
  /** memory.copy: twice the memory. */
  twoMemories: 18,
} as const;

/** Opcodes that somebody here must know. Those of two parts are prefix × 256 + number; all such numbers are below 256. */
export const Op = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  selectTyped: 0x1c,
  localGet: 0x20,
  localSet: 0x21,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Load: 0x28,
  i32Store: 0x36,
  i64Store32: 0x3e,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f64Const: 0x44,
  i32Eqz: 0x45,
  i32LtS: 0x48,
  i32LtU: 0x49,
  i32GtU: 0x4b,
  i32LeU: 0x4d,
  i64Eqz: 0x50,
  i64GtU: 0x56,
  f64Ge: 0x66,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32Or: 0x72,
  i32ShrU: 0x76,
  i32Rotr: 0x78,
  i64Add: 0x7c,
  i64Shl: 0x86,
  i64Rotr: 0x8a,
  f32Add: 0x92,
  f32Copysign: 0x98,
  f64Add: 0xa0,
  f64Copysign: 0xa6,
  i64ExtendI32U: 0xad,
  refNull: 0xd0,
  refFunc: 0xd2,
  memoryInit: 0xfc08,
  memoryCopy: 0xfc0a,
  memoryFill: 0xfc0b,
  tableInit: 0xfc0c,
  tableCopy: 0xfc0e,
  tableGrow: 0xfc0f,
  tableSize: 0xfc10,
  tableFill: 0xfc11,
  v128Const: 0xfd0c,
} as const;

/** §4.2: a value type, by its byte (§5.3). */
export const VALUE_TYPES: Readonly<Record<number, string>> = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64', 0x7b: 'v128', 0x70: 'funcref', 0x6f: 'externref' };

/** A row: first and last opcode, and what follows them. */
type Row = readonly [first: number, last: number, immediate: number];

function table(rows: readonly Row[]): Uint8Array {
  const kinds = new Uint8Array(256);
  for (const [first, last, immediate] of rows) kinds.fill(immediate, first, last + 1);
  return kinds;
}

/** §5.4.1–§5.4.7. */
export const PLAIN = table([
  [0x00, 0x01, Immediate.none], [0x02, 0x04, Immediate.block], [0x05, 0x05, Immediate.none],
  [0x0b, 0x0b, Immediate.none], [0x0c, 0x0d, Immediate.index], [0x0e, 0x0e, Immediate.labels], [0x0f, 0x0f, Immediate.none],
  [0x10, 0x10, Immediate.index], [0x11, 0x11, Immediate.twoIndices], [0x12, 0x12, Immediate.index], [0x13, 0x13, Immediate.twoIndices],
  [0x1a, 0x1b, Immediate.none], [0x1c, 0x1c, Immediate.types], [0x20, 0x26, Immediate.index],
  [0x28, 0x3e, Immediate.memarg], [0x3f, 0x40, Immediate.memory],
  [0x41, 0x41, Immediate.i32], [0x42, 0x42, Immediate.i64], [0x43, 0x43, Immediate.bytes4], [0x44, 0x44, Immediate.bytes8],
  [0x45, 0xc4, Immediate.none], [0xd0, 0xd0, Immediate.refType], [0xd1, 0xd1, Immediate.none], [0xd2, 0xd2, Immediate.index],
]);

/** 0xfc: saturating conversions, bulk memory, tables. */
export const MISC = table([
  [0, 7, Immediate.none], [8, 8, Immediate.indexMemory], [9, 9, Immediate.index], [10, 10, Immediate.twoMemories], [11, 11, Immediate.memory],
  [12, 12, Immediate.twoIndices], [13, 13, Immediate.index], [14, 14, Immediate.twoIndices], [15, 17, Immediate.index],
]);

/** 0xfd: vectors (§5.4.8). */
export const VECTOR = table([
  [0, 11, Immediate.memarg], [12, 13, Immediate.bytes16], [14, 20, Immediate.none], [21, 34, Immediate.lane], [35, 83, Immediate.none],
  [84, 91, Immediate.memargLane], [92, 93, Immediate.memarg], [94, 255, Immediate.none],
  // Numbers that the standard leaves free.
  ...[0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee].map((free): Row => [free, free, Immediate.unknown]),
]);

/** What an agent may not use, with how to build without it. */
export const Refused = {
  threads: 'atomics and shared memory; build without -pthread and -matomics (asc: without --enable threads, --sharedMemory)',
  exceptions: 'exceptions; build with -fno-exceptions -fno-wasm-exceptions (asc: without --enable exception-handling)',
  gc: 'garbage-collected types; build for WebAssembly 2.0 (asc: without --enable gc)',
  references: 'typed function references; build for WebAssembly 2.0 (asc: without --enable gc)',
  memory64: '64-bit memory; build for wasm32, not wasm64 (asc: without --enable memory64)',
  memories: 'several memories; build with -mno-multimemory',
  pageSizes: 'custom page sizes; build without them (rustc, clang: the default)',
  relaxed: 'relaxed SIMD; build with -mno-relaxed-simd (asc: without --enable relaxed-simd)',
} as const;

export function refused(at: number, what: string): RingcubeError {
  return new RingcubeError('ERR_UNSUPPORTED', `module, byte ${at}: agents may not use ${what}`);
}

/** Why an opcode that the tables don't have is refused; undefined if nobody knows it. */
export function whyRefused(opcode: number): string | undefined {
  // Legacy exceptions (try, catch, throw, rethrow, delegate, catch_all), and those of 3.0 (throw, throw_ref, try_table).
  if ((opcode >= 0x06 && opcode <= 0x0a) || opcode === 0x18 || opcode === 0x19 || opcode === 0x1f) return Refused.exceptions;
  if (opcode === 0x14 || opcode === 0x15 || (opcode >= 0xd4 && opcode <= 0xd6)) return Refused.references;
  if (opcode === 0xd3) return Refused.gc;
  return undefined;
}

/** Opcodes that are only a prefix. */
export const Prefix = { gc: 0xfb, misc: 0xfc, vector: 0xfd, threads: 0xfe } as const;
