// What a function asks of V8's baseline compiler, which runs when the function is called first: in the middle of a call, where no budget
// reaches it. Its time goes with the bytes, but also with what it has to keep at each branch: all locals, and all values on the stack.
import { ByteReader } from './bytes.js';
import { Instructions } from './instructions.js';
import { Op, Prefix } from './opcodes.js';
import { type ModuleInfo } from './types.js';

/**
 * The largest cost of an agent's function: some 10 ms here (10 ns each, tried on Node 20). The costliest functions of compiled parsers
 * of a megabyte (oxc, rollup) come to 250,000.
 */
export const MAX_COMPILE_COST = 2 ** 20;

/** Of a branch, or a block's beginning or end, besides what is kept there. */
const BRANCH_COST = 128;

/** By how many values the stack grows at most: not less than it does, for valid code that can be reached. Of all but blocks and calls. */
function growth(opcode: number): number {
  if (opcode >= Prefix.misc * 256) {
    if (opcode === Op.tableSize || opcode === Op.v128Const) return 1;
    return 0;
  }
  if (opcode === Op.localGet || opcode === Op.globalGet || opcode === Op.memorySize || opcode === Op.refNull || opcode === Op.refFunc) return 1;
  if (opcode >= Op.i32Const && opcode <= Op.f64Const) return 1;
  if (opcode === Op.drop || opcode === Op.localSet || opcode === Op.globalSet || opcode === Op.brIf || opcode === Op.brTable) return -1;
  if (opcode === Op.select || opcode === Op.selectTyped || (opcode >= Op.i32Store && opcode <= Op.i64Store32)) return -2;
  const binary =
    (opcode > Op.i32Eqz && opcode < Op.i64Eqz) || (opcode > Op.i64Eqz && opcode <= Op.f64Ge) ||
    (opcode >= Op.i32Add && opcode <= Op.i32Rotr) || (opcode >= Op.i64Add && opcode <= Op.i64Rotr) ||
    (opcode >= Op.f32Add && opcode <= Op.f32Copysign) || (opcode >= Op.f64Add && opcode <= Op.f64Copysign);
  return binary ? -1 : 0;
}

/** Of a valid module's function (by its place among those that are not imported). */
export function compileCost(info: ModuleInfo, index: number): number {
  const { bytes, bodies, functions, importedFunctions, types } = info;
  const { localsAt, codeAt, end } = bodies[index];
  let locals = functions[importedFunctions + index].params.length;
  const declared = new ByteReader(bytes, localsAt, codeAt);
  for (let groups = declared.u32('groups of locals'); groups > 0; groups--) {
    locals += declared.u32('a number of locals');
    declared.u8('a type');
  }
  let cost = end - codeAt + locals;
  let height = 0;
  /** Of each block around: the stack at its start, and behind its end. */
  const starts: number[] = [];
  const ends: number[] = [];
  const instructions = new Instructions(new ByteReader(bytes, codeAt, end));
  const branch = (): void => {
    cost += BRANCH_COST + locals + height;
  };
  while (instructions.next()) {
    const { opcode, operand, operandAt } = instructions;
    switch (opcode) {
      case Op.block:
      case Op.loop:
      case Op.if: {
        if (opcode === Op.if) height = Math.max(0, height - 1);
        branch();
        const first = bytes[operandAt];
        // §5.4.1: nothing, one value, or a type's index.
        const type = first >= 0x40 && first < 0x80 ? undefined : types[new ByteReader(bytes, operandAt, end).s32('a type')];
        starts.push(height);
        ends.push(Math.max(0, height - (type?.params.length ?? 0)) + (type?.results.length ?? (first === 0x40 ? 0 : 1)));
        break;
      }
      case Op.else:
        branch();
        height = starts[starts.length - 1];
        break;
      case Op.end:
        branch();
        starts.pop();
        height = ends.pop() ?? 0;
        break;
      case Op.br:
        branch();
        break;
      case Op.brIf:
        branch();
        height = Math.max(0, height - 1);
        break;
      case Op.brTable: {
        // To each label once; the others are a word each.
        const labels = new Set<number>();
        instructions.forEachLabel((label) => labels.add(label));
        cost += labels.size * (BRANCH_COST + locals + height);
        height = Math.max(0, height - 1);
        break;
      }
      case Op.call:
      case Op.callIndirect:
      case Op.returnCall:
      case Op.returnCallIndirect: {
        const indirect = opcode === Op.callIndirect || opcode === Op.returnCallIndirect;
        const { params, results } = indirect ? types[operand] : functions[operand];
        cost += params.length + results.length;
        height = Math.max(0, height - params.length - (indirect ? 1 : 0)) + results.length;
        break;
      }
      default:
        height = Math.max(0, height + growth(opcode));
    }
  }
  return cost;
}
