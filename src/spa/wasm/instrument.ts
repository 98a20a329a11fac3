// Rewrites a module so that its host can stop it, and bound it. Only insertions: no index in it changes.
import { RingcubeError, WebAssembly, invalid } from '../../base/index.js';
import { type BudgetKind, type Checks, FUEL_EXPORT, StraightLine, checksOf, instructionCost } from './budget.js';
import { type Helper, bulkHelper, isBulk } from './bulk.js';
import { ByteReader, ByteWriter, s32Bytes, u32Bytes } from './bytes.js';
import { Instructions } from './instructions.js';
import { SECTION_ORDER, SectionId, functionName } from './module.js';
import { Op, VALUE_TYPES } from './opcodes.js';
import { MAX_BODY_BYTES } from './sections.js';
import { type FunctionType, type MemoryType, type ModuleInfo, type Section } from './types.js';

export interface InstrumentOptions {
  readonly budget: BudgetKind;
  /** The largest memory that the host will import, in pages; at most 65,535, which keeps it below the default guardAt. */
  readonly maxPages: number;
  /** How many elements all tables together may grow to; a table.grow beyond returns −1. Default 10,000. */
  readonly maxTableElements?: number;
  /**
   * With guard and epoch: the address of a word that the host can protect, or set, and the agent can't. Default 0xffff0000: within the 4 GiB
   * that V8 reserves for a memory, above all that one of 65,535 pages can reach.
   */
  readonly guardAt?: number;
  /** With fuel: what the start function may use. Default 10 million. */
  readonly startFuel?: number;
}

export interface Instrumented {
  readonly bytes: Uint8Array;
  /** Of the module: functions that are not imported, and loops in them. */
  readonly functions: number;
  readonly loops: number;
  /** How many were inserted into these. */
  readonly checks: number;
  /** Bulk operations that now run in pieces. */
  readonly bulk: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

const MAX_FUEL = 2 ** 31 - 1;

/**
 * - The imported memory is declared with no page at least and `maxPages` at most, so that V8 proves no access to be in bounds; the host
 *   imports one of as many pages as the module asked for. A module without any gets that import: checks need it.
 * - With a budget, there is a check at the entry of each function, at the start of each loop's round, and wherever much straight code
 *   would run without one; bulk operations are cut into pieces, with a check ahead of each.
 * - Tables can't grow beyond `maxTableElements`.
 * - Custom sections stay, but for those that point into code.
 *
 * @throws ERR_FORMAT if V8 finds the module invalid, or it has a memory of its own, or exports the name of the fuel counter;
 *   ERR_UNSUPPORTED if a function grows too long for V8
 */
export function instrument(info: ModuleInfo, options: InstrumentOptions): Instrumented {
  const { budget, maxPages, maxTableElements = 10_000, guardAt = 0xffff0000, startFuel = 10_000_000 } = options;
  const whole = (name: string, value: number, least: number, most: number): void => {
    if (!Number.isInteger(value) || value < least || value > most) throw invalid(name, value, `a whole number from ${least} to ${most}`);
  };
  if (!['guard', 'epoch', 'fuel', 'none'].includes(budget)) throw invalid('budget', budget, 'guard, epoch, fuel or none');
  whole('maxPages', maxPages, 1, 65535);
  whole('maxTableElements', maxTableElements, 0, 65536);
  whole('guardAt', guardAt, 0, 0xfffffffc);
  whole('startFuel', startFuel, 0, MAX_FUEL);
  // Indices that are right in this module are right in the result; wrong ones might come to mean what is added here.
  if (!WebAssembly.validate(info.bytes)) throw new RingcubeError('ERR_FORMAT', 'module: V8 finds it invalid');
  const memory = info.imports.find(({ type }) => type.kind === 'memory');
  if (memory === undefined && info.memories.length > 0) throw new RingcubeError('ERR_FORMAT', 'module: has a memory of its own, must import one');
  if (info.exports.some(({ name }) => name === FUEL_EXPORT)) throw new RingcubeError('ERR_FORMAT', `module: exports ${FUEL_EXPORT}, a name that is taken`);
  return new Rewriter(info, checksOf(budget, guardAt, info.globals.length), maxTableElements).rewrite(memory?.type as MemoryType | undefined, maxPages, startFuel);
}

class Rewriter {
  readonly #info: ModuleInfo;
  readonly #checks: Checks;
  readonly #maxTableElements: number;
  /** What is appended: types, and functions in place of bulk operations, which are told apart by their bytes. */
  readonly #types: FunctionType[] = [];
  readonly #helpers: Helper[] = [];
  readonly #helperIndices = new Map<string, number>();
  #loops = 0;
  #inserted = 0;
  #bulk = 0;

  constructor(info: ModuleInfo, checks: Checks, maxTableElements: number) {
    this.#info = info;
    this.#checks = checks;
    this.#maxTableElements = maxTableElements;
  }

  rewrite(memory: MemoryType | undefined, maxPages: number, startFuel: number): Instrumented {
    const info = this.#info;
    const changed = new Map<number, Uint8Array>();
    // Code first: it says which helpers are needed.
    if (info.bodies.length > 0) changed.set(SectionId.code, this.#code());
    const helpers = this.#helpers;
    const functions = helpers.flatMap(({ type }) => u32Bytes(this.#typeIndex(type)));
    if (helpers.length > 0) {
      changed.set(SectionId.type, this.#appended(SectionId.type, this.#types.length, this.#types.flatMap(typeBytes)));
      changed.set(SectionId.function, this.#appended(SectionId.function, helpers.length, functions));
    }
    changed.set(SectionId.import, this.#imports(memory, maxPages));
    if (this.#section(SectionId.table) !== undefined) changed.set(SectionId.table, this.#tables());
    if (this.#checks.kind === 'fuel') {
      changed.set(SectionId.global, this.#appended(SectionId.global, 1, [0x7f, 1, Op.i32Const, ...s32Bytes(startFuel), Op.end]));
      changed.set(SectionId.export, this.#appended(SectionId.export, 1, [...nameBytes(FUEL_EXPORT), 3, ...u32Bytes(info.globals.length)]));
    }
    const bytes = this.#module(changed);
    return { bytes, functions: info.bodies.length, loops: this.#loops, checks: this.#inserted, bulk: this.#bulk, bytesBefore: info.bytes.length, bytesAfter: bytes.length };
  }

  /** All sections in their order: changed, new, or as they were. */
  #module(changed: Map<number, Uint8Array>): Uint8Array {
    const { bytes, sections } = this.#info;
    const writer = new ByteWriter().put(bytes.subarray(0, 8));
    const write = (id: number): void => {
      writer.put([id]).sized(changed.get(id)!);
      changed.delete(id);
    };
    const writeUpTo = (order: number): void => {
      for (const id of [...changed.keys()].sort((a, b) => SECTION_ORDER[a] - SECTION_ORDER[b])) if (SECTION_ORDER[id] <= order) write(id);
    };
    for (const section of sections) {
      if (section.id === SectionId.custom) {
        if (!pointsIntoCode(section.name)) writer.put(bytes.subarray(section.at, section.end));
      } else {
        const order = SECTION_ORDER[section.id];
        writeUpTo(order - 1);
        if (changed.has(section.id)) write(section.id);
        else writer.put(bytes.subarray(section.at, section.end));
      }
    }
    writeUpTo(Infinity);
    return writer.written().slice();
  }

  #section(id: number): Section | undefined {
    return this.#info.sections.find((section) => section.id === id);
  }

  /** A section that is a vector (§5.1.3), with more behind its end; or a new one. */
  #appended(id: number, count: number, more: readonly number[]): Uint8Array {
    const section = this.#section(id);
    if (section === undefined) return new ByteWriter().u32(count).put(more).written();
    const reader = new ByteReader(this.#info.bytes, section.contentAt, section.end);
    const before = reader.u32('a count');
    return new ByteWriter().u32(before + count).put(this.#info.bytes.subarray(reader.at, section.end)).put(more).written();
  }

  #imports(memory: MemoryType | undefined, maxPages: number): Uint8Array {
    const { bytes } = this.#info;
    if (memory === undefined) return this.#appended(SectionId.import, 1, [...nameBytes('env'), ...nameBytes('memory'), 2, ...limitsBytes(0, maxPages)]);
    const section = this.#section(SectionId.import)!;
    return new ByteWriter().put(bytes.subarray(section.contentAt, memory.at)).put(limitsBytes(0, maxPages)).put(bytes.subarray(memory.end, section.end)).written();
  }

  /** What the tables don't have from the start they share evenly. */
  #tables(): Uint8Array {
    const { imports, tables } = this.#info;
    const own = tables.slice(imports.filter(({ type }) => type.kind === 'table').length);
    const room = Math.max(0, this.#maxTableElements - own.reduce((sum, { limits }) => sum + limits.min, 0));
    const each = Math.floor(room / own.length);
    const writer = new ByteWriter().u32(own.length);
    for (const { element, limits } of own) {
      writer.put([typeByte(element)]).put(limitsBytes(limits.min, Math.min(limits.max ?? Infinity, limits.min + each)));
    }
    return writer.written();
  }

  #code(): Uint8Array {
    const { bodies } = this.#info;
    const writer = new ByteWriter();
    for (const index of bodies.keys()) {
      const body = this.#body(index);
      if (body.length > MAX_BODY_BYTES) {
        const name = functionName(this.#info.importedFunctions + index, this.#info.names);
        throw new RingcubeError('ERR_UNSUPPORTED', `module: ${name} takes ${body.length} bytes with its checks; V8 takes ${MAX_BODY_BYTES} at most`);
      }
      writer.sized(body);
    }
    for (const { body } of this.#helpers) writer.sized(Uint8Array.from(body));
    return new ByteWriter().u32(bodies.length + this.#helpers.length).put(writer.written()).written();
  }

  #body(index: number): Uint8Array {
    const { bytes, bodies, importedFunctions } = this.#info;
    const { localsAt, codeAt, end } = bodies[index];
    const costs = regionCosts(new Instructions(new ByteReader(bytes, codeAt, end)), importedFunctions);
    this.#loops += costs.length - 1;
    if (this.#checks.kind === 'none') return bytes.subarray(localsAt, end);
    const writer = new ByteWriter();
    let copied = localsAt;
    const insert = (at: number, code: readonly number[]): void => {
      writer.put(bytes.subarray(copied, at)).put(code);
      copied = at;
    };
    let region = 0;
    const check = (at: number, code: readonly number[]): void => {
      insert(at, code);
      this.#inserted++;
    };
    check(codeAt, this.#checks.fixed(costs[region++]));
    // With fuel all is paid for ahead.
    const straight = this.#checks.kind === 'fuel' ? undefined : new StraightLine();
    const instructions = new Instructions(new ByteReader(bytes, codeAt, end));
    while (instructions.next()) {
      if (straight?.needsCheck(instructions, instructionCost(instructions, importedFunctions)) === true) check(instructions.at, this.#checks.fixed(0));
      if (instructions.opcode === Op.loop) {
        check(instructions.end, this.#checks.fixed(costs[region++]));
        continue;
      }
      const helper = this.#helperIndex(instructions);
      if (helper !== undefined) {
        insert(instructions.at, [Op.call, ...u32Bytes(helper)]);
        copied = instructions.end;
        this.#bulk++;
      }
    }
    return writer.put(bytes.subarray(copied, end)).written();
  }

  /** The function that does this instruction's work in pieces, if it is a bulk operation. */
  #helperIndex(instruction: Instructions): number | undefined {
    if (!isBulk(instruction.opcode)) return undefined;
    const { bytes, functions } = this.#info;
    const key = bytes.subarray(instruction.at, instruction.end).join();
    let index = this.#helperIndices.get(key);
    if (index === undefined) {
      index = functions.length + this.#helpers.push(bulkHelper(instruction, this.#info, this.#checks, this.#maxTableElements)) - 1;
      this.#helperIndices.set(key, index);
    }
    return index;
  }

  #typeIndex(type: FunctionType): number {
    let index = this.#types.findIndex(({ params, results }) => params.join() === type.params.join() && results.join() === type.results.join());
    if (index < 0) index = this.#types.push(type) - 1;
    return this.#info.types.length + index;
  }
}

/** The cost of what belongs to the function, then of what belongs to each loop, in the order in which they begin. */
function regionCosts(instructions: Instructions, importedFunctions: number): number[] {
  const costs = [0];
  // The region of each block around.
  const regions = [0];
  while (instructions.next()) {
    const { opcode } = instructions;
    costs[regions[regions.length - 1]] += instructionCost(instructions, importedFunctions);
    if (opcode === Op.block || opcode === Op.if) regions.push(regions[regions.length - 1]);
    else if (opcode === Op.loop) regions.push(costs.push(0) - 1);
    else if (opcode === Op.end) regions.pop();
  }
  return costs;
}

/** Offsets of instructions, or of sections: wrong now, and of no use to V8 but for branch hints. */
function pointsIntoCode(name: string): boolean {
  return name === 'linking' || name === 'sourceMappingURL' || name === 'external_debug_info' || /^(reloc\.|\.debug_|metadata\.code\.)/.test(name);
}

function nameBytes(name: string): readonly number[] {
  const bytes = new TextEncoder().encode(name);
  return [...u32Bytes(bytes.length), ...bytes];
}

function limitsBytes(min: number, max: number): readonly number[] {
  return [1, ...u32Bytes(min), ...u32Bytes(max)];
}

const TYPE_BYTES = new Map(Object.entries(VALUE_TYPES).map(([byte, name]) => [name, Number(byte)]));

function typeByte(name: string): number {
  return TYPE_BYTES.get(name)!;
}

function typeBytes({ params, results }: FunctionType): number[] {
  return [0x60, ...u32Bytes(params.length), ...params.map(typeByte), ...u32Bytes(results.length), ...results.map(typeByte)];
}
