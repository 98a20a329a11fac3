// Bulk operations run in V8's own code, where no budget check reaches them, for as long as their length says. Each kind that a module
// uses becomes a function of its own, appended to the module, that does the same in pieces with a check ahead of each.
import { type Checks } from './budget.js';
import { s32Bytes, u32Bytes } from './bytes.js';
import { type Instructions } from './instructions.js';
import { Op } from './opcodes.js';
import { type FunctionType, type ModuleInfo } from './types.js';

/** Some microseconds' work. */
const PIECE_BYTES = 65536;

/** A function's type and body, locals and all, without its size. */
export interface Helper {
  readonly type: FunctionType;
  readonly body: readonly number[];
}

const LOOP_UNTYPED = [Op.loop, 0x40];
const IF_UNTYPED = [Op.if, 0x40];
const get = (local: number): number[] => [Op.localGet, local];
const set = (local: number): number[] => [Op.localSet, local];
const constant = (value: number): number[] => [Op.i32Const, ...s32Bytes(value)];
const misc = (opcode: number): number[] => [opcode >>> 8, opcode & 255];
/** Unsigned. */
const least = (local: number, most: number): number[] => [...get(local), ...constant(most), ...get(local), ...constant(most), Op.i32LtU, Op.select];

// Parameters of memory.fill, memory.copy and memory.init alike, and a local.
const TO = 0;
const FROM = 1;
const LENGTH = 2;
const PIECE = 3;

export function isBulk(opcode: number): boolean {
  return isBulkMemory(opcode) || opcode === Op.tableInit || opcode === Op.tableCopy || opcode === Op.tableGrow || opcode === Op.tableFill;
}

export function isBulkMemory(opcode: number): boolean {
  return opcode === Op.memoryInit || opcode === Op.memoryCopy || opcode === Op.memoryFill;
}

/** The function to call instead of a bulk operation. */
export function bulkHelper(instruction: Instructions, info: ModuleInfo, checks: Checks, maxTableElements: number): Helper {
  const { operand, operand2 } = instruction;
  const onTable = (params: readonly string[], results: readonly string[], ...indices: number[]): Helper =>
    tableHelper({ params, results }, [...misc(instruction.opcode), ...indices.flatMap(u32Bytes)], checks, maxTableElements);
  switch (instruction.opcode) {
    case Op.memoryFill:
      return memoryHelper([...misc(Op.memoryFill), 0], [], checks);
    case Op.memoryCopy:
      return memoryHelper([...misc(Op.memoryCopy), 0, 0], beyond(FROM, [Op.memorySize, 0, Op.i64ExtendI32U, Op.i64Const, 16, Op.i64Shl]), checks);
    case Op.memoryInit:
      // A segment that was dropped has no length any more: then the first piece traps, and has written nothing either.
      return memoryHelper([...misc(Op.memoryInit), ...u32Bytes(operand), 0], beyond(FROM, [...constant(info.data[operand].length), Op.i64ExtendI32U]), checks);
    case Op.tableGrow:
      return onTable([info.tables[operand].element, 'i32'], ['i32'], operand);
    case Op.tableFill:
      return onTable(['i32', info.tables[operand].element, 'i32'], [], operand);
    default:
      // table.init and table.copy
      return onTable(['i32', 'i32', 'i32'], [], operand, operand2);
  }
}

/** Whether `start` + length passes `end`, an i64: both may be up to 2^32. */
function beyond(start: number, end: readonly number[]): number[] {
  return [...get(start), Op.i64ExtendI32U, ...get(LENGTH), Op.i64ExtendI32U, Op.i64Add, ...end, Op.i64GtU];
}

/**
 * The same as `operation` on all of it, also in that it traps before it has written anything (§4.4.7): a short one is left to itself; so
 * is one that goes out of bounds, since it then traps at once.
 *
 * @param fromBeyond code that says whether the source goes out of bounds; none if there is no source, but a value
 */
function memoryHelper(operation: readonly number[], fromBeyond: readonly number[], checks: Checks): Helper {
  const cost = (local: number): number[] => [...get(local), ...constant(4), Op.i32ShrU];
  const whole = [...get(TO), ...get(FROM), ...get(LENGTH), ...operation];
  const advance = (local: number): number[] => [...get(local), ...get(PIECE), Op.i32Add, ...set(local)];
  const nextPiece = [...least(LENGTH, PIECE_BYTES), ...set(PIECE), ...checks.computed(cost(PIECE)), ...get(LENGTH), ...get(PIECE), Op.i32Sub, ...set(LENGTH)];
  const again = [...get(LENGTH), Op.brIf, 0, Op.end];
  const hasSource = fromBeyond.length > 0;
  // A copy upwards begins at its upper end, as its target may lie over what is still to be read. (memory.init's can't, and minds neither.)
  const downwards = [
    ...get(TO), ...get(FROM), Op.i32GtU, ...IF_UNTYPED,
    ...LOOP_UNTYPED, ...nextPiece,
    ...get(TO), ...get(LENGTH), Op.i32Add, ...get(FROM), ...get(LENGTH), Op.i32Add, ...get(PIECE), ...operation,
    ...again,
    Op.return, Op.end,
  ];
  const upwards = [
    ...LOOP_UNTYPED, ...nextPiece,
    ...get(TO), ...get(FROM), ...get(PIECE), ...operation,
    ...advance(TO), ...(hasSource ? advance(FROM) : []),
    ...again,
  ];
  return {
    type: { params: ['i32', 'i32', 'i32'], results: [] },
    body: [
      // One local: the piece's length.
      1, 1, 0x7f,
      ...get(LENGTH), ...constant(PIECE_BYTES), Op.i32LeU, ...IF_UNTYPED, ...checks.computed(cost(LENGTH)), ...whole, Op.return, Op.end,
      ...beyond(TO, [Op.memorySize, 0, Op.i64ExtendI32U, Op.i64Const, 16, Op.i64Shl]),
      ...(hasSource ? [...fromBeyond, Op.i32Or] : []),
      ...IF_UNTYPED, ...whole, Op.unreachable, Op.end,
      ...(hasSource ? downwards : []),
      ...upwards,
      Op.end,
    ],
  };
}

/** A table's limit bounds what one operation can do, so it runs in one piece. */
function tableHelper(type: FunctionType, operation: readonly number[], checks: Checks, maxTableElements: number): Helper {
  const last = type.params.length - 1;
  return { type, body: [0, ...checks.computed(least(last, maxTableElements)), ...type.params.flatMap((_, local) => get(local)), ...operation, Op.end] };
}
