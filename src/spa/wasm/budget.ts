// What a budget check is, as code. Checks leave the stack as it was and need no local, so one may stand ahead of any instruction.
import { s32Bytes, u32Bytes } from './bytes.js';
import { type Instructions } from './instructions.js';
import { Op } from './opcodes.js';

/**
 * How an agent is stopped that runs for too long.
 *
 * - guard: a load from the guard page, which traps once the host has protected that page. In real time, and the cheapest.
 * - epoch: the same load, and a trap (unreachable) if the word isn't 0.
 * - fuel: a counter, see FUEL_EXPORT. In instructions, not in time: the same input ends at the same place.
 * - none: nothing.
 */
export type BudgetKind = 'guard' | 'epoch' | 'fuel' | 'none';

/**
 * The export of a mutable i32 global: the fuel that is left, which the host sets ahead of a call, from 0 to 2^31 − 1.
 *
 * Each instruction belongs to the innermost loop around it (`loop` itself to what is around it), else to its function. A function when
 * entered, and a loop at the start of each round, take the cost of all the instructions that belong to them, at once, and whichever way
 * those then branch: so what has run never cost more than what was taken. Where less is left, the counter turns negative and the agent
 * traps (unreachable) before any of them runs. An instruction (`end` and `else` are some, too) costs `instructionCost`; bulk operations also
 * take, while they run, 1 for each 16 bytes or each element.
 */
export const FUEL_EXPORT = 'ringcube:fuel';

/** The longest way between two checks in real time, in cost: a microsecond or so. */
const MAX_UNCHECKED = 1024;

/** And after a call returns: thousands of frames may unwind one after the other, all between checks. */
const MAX_UNCHECKED_AFTER_CALL = 64;

/**
 * Of all instructions 1 but of those that leave the agent. Each of these takes two bytes at least, so that no function's sum passes 2^31
 * (MAX_BODY_BYTES).
 */
export function instructionCost(instruction: Instructions, importedFunctions: number): number {
  const { opcode, operand } = instruction;
  if (opcode === Op.memoryGrow) return 256;
  if ((opcode === Op.call || opcode === Op.returnCall) && operand < importedFunctions) return 64;
  return 1;
}

/** Code for checks of one kind in one module. */
export interface Checks {
  readonly kind: BudgetKind;
  /** Ahead of instructions that cost `cost` altogether. */
  fixed(cost: number): readonly number[];
  /** `cost` is code that pushes an i32, of at most 65,536. */
  computed(cost: readonly number[]): readonly number[];
}

/** @param guardAt byte address of the guard page, or the epoch; @param fuelGlobal index of the counter */
export function checksOf(kind: BudgetKind, guardAt: number, fuelGlobal: number): Checks {
  // A constant index and no offset: V8 then makes one load of it (a memory that is declared with no page at all has no index that is
  // known to be in bounds, so the load stays one that may trap).
  const load = [Op.i32Const, ...s32Bytes(guardAt), Op.i32Load, 2, 0];
  const trapIf = [Op.if, 0x40, Op.unreachable, Op.end];
  const global = u32Bytes(fuelGlobal);
  const take = (cost: readonly number[]): readonly number[] => [
    Op.globalGet, ...global, ...cost, Op.i32Sub, Op.globalSet, ...global,
    Op.globalGet, ...global, Op.i32Const, 0, Op.i32LtS, ...trapIf,
  ];
  switch (kind) {
    case 'guard': {
      const code = [...load, Op.drop];
      return { kind, fixed: () => code, computed: () => code };
    }
    case 'epoch': {
      const code = [...load, ...trapIf];
      return { kind, fixed: () => code, computed: () => code };
    }
    case 'fuel':
      return { kind, fixed: (cost) => take([Op.i32Const, ...s32Bytes(cost)]), computed: take };
    case 'none':
      return { kind, fixed: () => [], computed: () => [] };
  }
}

/**
 * Says where code without loops needs a check, so that not even that runs on unchecked: follows, instruction by instruction, the costliest way
 * since the last check on which one can have come here.
 */
export class StraightLine {
  /** The cost since the last check. */
  #since = 0;
  /** Of each block around: what leaves it by a branch has cost at most; and what its `else` begins with. */
  readonly #atEnd: number[] = [0];
  readonly #atElse: number[] = [0];

  /** Whether a check belongs ahead of this instruction. Loops have one at their start, which is not asked for. */
  needsCheck(instruction: Instructions, cost: number): boolean {
    const { opcode } = instruction;
    // In front of `end` and `else` a check would be one that branches go around.
    const due = this.#since + cost > MAX_UNCHECKED && opcode !== Op.end && opcode !== Op.else;
    if (due) this.#since = 0;
    this.#since += cost;
    switch (opcode) {
      case Op.block:
      case Op.if:
        // Without an else, `if` is left at once.
        this.#atEnd.push(opcode === Op.if ? this.#since : 0);
        this.#atElse.push(this.#since);
        break;
      case Op.loop:
        this.#atEnd.push(0);
        this.#atElse.push(0);
        this.#since = 0;
        break;
      case Op.else:
        this.#leave(0);
        this.#since = this.#atElse[this.#atElse.length - 1];
        break;
      case Op.end:
        this.#since = Math.max(this.#since, this.#atEnd.pop()!);
        this.#atElse.pop();
        break;
      case Op.br:
      case Op.brIf:
        this.#leave(instruction.operand);
        break;
      case Op.brTable:
        instruction.forEachLabel((label) => this.#leave(label));
        break;
      case Op.call:
      case Op.callIndirect:
        this.#since = Math.max(this.#since, MAX_UNCHECKED - MAX_UNCHECKED_AFTER_CALL);
        break;
    }
    return due;
  }

  #leave(label: number): void {
    const block = this.#atEnd.length - 1 - label;
    this.#atEnd[block] = Math.max(this.#atEnd[block], this.#since);
  }
}
