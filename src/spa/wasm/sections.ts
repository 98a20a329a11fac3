// The content of each section (WebAssembly 2.0 §5.5.3–§5.5.15), added to a draft of the module.
import { type ByteReader, malformed } from './bytes.js';
import { Instructions, readReferenceType, readValueType } from './instructions.js';
import { Op, Refused, refused } from './opcodes.js';
import { type Draft, type ExternType, type FunctionType, type GlobalType, type Limits, type MemoryType, type TableType } from './types.js';

/** V8's limit (src/wasm/wasm-limits.h), which also keeps sums over a function's instructions small. */
export const MAX_BODY_BYTES = 7_654_321;

/** The item at an index that the module names. */
function at<T>(list: readonly T[], reader: ByteReader, what: string): T {
  const start = reader.at;
  const index = reader.u32(`the index of a ${what}`);
  if (index >= list.length) throw malformed(start, `${what} ${index} of ${list.length}`);
  return list[index];
}

/** §5.3.6. */
export function readTypes(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('types'); left > 0; left--) {
    const start = reader.at;
    const form = reader.u8('a type');
    if (form !== 0x60) throw form >= 0x4d && form <= 0x5f ? refused(start, Refused.gc) : malformed(start, `0x${form.toString(16)} is no function type`);
    draft.types.push({ params: readValueTypes(reader), results: readValueTypes(reader) });
  }
}

function readValueTypes(reader: ByteReader): readonly string[] {
  const types: string[] = [];
  for (let left = reader.count('types'); left > 0; left--) types.push(readValueType(reader));
  return types;
}

/** §5.3.7. Flags beyond 1 are of shared (2), 64-bit (4) memories, and of those with pages of another size (8). */
function readLimits(reader: ByteReader): Limits {
  const start = reader.at;
  const flags = reader.u8('limits');
  if (flags > 15) throw malformed(start, `unknown limits 0x${flags.toString(16)}`);
  if ((flags & 8) !== 0) throw refused(start, Refused.pageSizes);
  if ((flags & 4) !== 0) throw refused(start, Refused.memory64);
  if ((flags & 2) !== 0) throw refused(start, Refused.threads);
  const min = reader.u32('a minimum');
  return { min, max: flags === 1 ? reader.u32('a maximum') : undefined };
}

function readTable(reader: ByteReader): TableType {
  const start = reader.at;
  // §5.5.7 of 3.0: a table with an initializer, needed for references that can't be null.
  if (reader.at < reader.end && reader.bytes[reader.at] === 0x40) throw refused(start, Refused.references);
  return { kind: 'table', element: readReferenceType(reader), limits: readLimits(reader) };
}

function readMemory(reader: ByteReader): MemoryType {
  const start = reader.at;
  return { kind: 'memory', limits: readLimits(reader), at: start, end: reader.at };
}

function readGlobalType(reader: ByteReader): GlobalType {
  const type = readValueType(reader);
  const start = reader.at;
  const flags = reader.u8('the mutability of a global');
  if (flags > 3) throw malformed(start, `unknown mutability ${flags}`);
  if (flags > 1) throw refused(start, Refused.threads);
  return { kind: 'global', type, mutable: flags === 1, value: undefined };
}

/** §5.5.5. */
export function readImports(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('imports'); left > 0; left--) {
    const module = reader.name("an import's module");
    const name = reader.name("an import's name");
    draft.imports.push({ module, name, type: readImportType(reader, draft) });
  }
  draft.importedFunctions = draft.functions.length;
}

function readImportType(reader: ByteReader, draft: Draft): ExternType {
  const start = reader.at;
  const kind = reader.u8('the kind of an import');
  switch (kind) {
    case 0: {
      const type: FunctionType = at(draft.types, reader, 'type');
      draft.functions.push(type);
      return { kind: 'function', type };
    }
    case 1: {
      const type = readTable(reader);
      draft.tables.push(type);
      return type;
    }
    case 2:
      return addMemory(reader, draft);
    case 3: {
      const type = readGlobalType(reader);
      draft.globals.push(type);
      return type;
    }
    case 4:
      throw refused(start, Refused.exceptions);
    default:
      throw malformed(start, `unknown kind of import ${kind}`);
  }
}

function addMemory(reader: ByteReader, draft: Draft): MemoryType {
  const start = reader.at;
  const type = readMemory(reader);
  if (draft.memories.length > 0) throw refused(start, Refused.memories);
  draft.memories.push(type);
  return type;
}

/** §5.5.6. */
export function readFunctions(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('functions'); left > 0; left--) draft.functions.push(at(draft.types, reader, 'type'));
}

/** §5.5.7. */
export function readTables(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('tables'); left > 0; left--) draft.tables.push(readTable(reader));
}

/** §5.5.8. */
export function readMemories(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('memories'); left > 0; left--) addMemory(reader, draft);
}

/** §5.5.9. */
export function readGlobals(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('globals'); left > 0; left--) {
    const global = readGlobalType(reader);
    const value = readConstant(reader, draft);
    draft.globals.push(global.mutable || global.type !== 'i32' ? global : { ...global, value });
  }
}

/**
 * §3.3.10: an expression that stands for a constant. Its value if it is an i32 that can be told: one i32.const, or one global.get of
 * an immutable global that can be.
 */
function readConstant(reader: ByteReader, draft: Draft): number | undefined {
  const start = reader.at;
  const instructions = new Instructions(reader);
  let value: number | undefined;
  let count = 0;
  while (instructions.next()) {
    const { opcode, operand } = instructions;
    if (opcode === Op.block || opcode === Op.loop || opcode === Op.if) throw malformed(start, 'not a constant expression');
    if (opcode === Op.end) break;
    count++;
    if (opcode === Op.i32Const) value = operand;
    else if (opcode === Op.globalGet) value = draft.globals[operand]?.value;
    else value = undefined;
  }
  return count === 1 ? value : undefined;
}

/** §5.5.10. */
export function readExports(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('exports'); left > 0; left--) {
    const name = reader.name('the name of an export');
    const start = reader.at;
    const kind = reader.u8('the kind of an export');
    const index = reader.u32('the index of an export');
    draft.exports.push({ name, index, type: exportType(kind, index, start, draft) });
  }
}

function exportType(kind: number, index: number, start: number, draft: Draft): ExternType {
  if (kind === 4) throw refused(start, Refused.exceptions);
  if (kind > 4) throw malformed(start, `unknown kind of export ${kind}`);
  const list = [draft.functions, draft.tables, draft.memories, draft.globals][kind];
  if (index >= list.length) throw malformed(start, `exports ${['function', 'table', 'memory', 'global'][kind]} ${index} of ${list.length}`);
  return kind === 0 ? { kind: 'function', type: draft.functions[index] } : (list[index] as ExternType);
}

/** §5.5.11. */
export function readStart(reader: ByteReader, draft: Draft): void {
  const start = reader.at;
  const index = reader.u32('the start function');
  if (index >= draft.functions.length) throw malformed(start, `starts function ${index} of ${draft.functions.length}`);
  draft.start = index;
}

/** §5.5.12. Flags: 1 not active, 2 a table of its own (active) or declarative (not active), 4 expressions instead of indices. */
export function readElements(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('element segments'); left > 0; left--) {
    const start = reader.at;
    const flags = reader.u32('an element segment');
    if (flags > 7) throw malformed(start, `unknown kind of element segment ${flags}`);
    const active = (flags & 1) === 0;
    if (active && (flags & 2) !== 0) reader.u32('the index of a table');
    const offset = active ? readConstant(reader, draft) : undefined;
    const expressions = (flags & 4) !== 0;
    if ((flags & 3) !== 0) {
      const kindAt = reader.at;
      if (expressions) readReferenceType(reader);
      else if (reader.u8('the kind of elements') !== 0) throw malformed(kindAt, 'unknown kind of elements');
    }
    const length = reader.count('elements');
    const contentAt = reader.at;
    for (let elements = length; elements > 0; elements--) {
      if (expressions) readConstant(reader, draft);
      else reader.u32('the index of a function');
    }
    draft.elements.push({ active, offset, contentAt, length });
  }
}

/** §5.5.13. Instructions are read later, when all names are known. */
export function readCode(reader: ByteReader, draft: Draft): void {
  const start = reader.at;
  const count = reader.count('functions');
  const declared = draft.functions.length - draft.importedFunctions;
  if (count !== declared) throw malformed(start, `code of ${count} functions, and ${declared} are declared`);
  for (let left = count; left > 0; left--) {
    const sizeAt = reader.at;
    const size = reader.u32('the size of a function');
    if (size > MAX_BODY_BYTES) throw malformed(sizeAt, `a function of ${size} bytes; V8 takes ${MAX_BODY_BYTES} at most`);
    const localsAt = reader.at;
    reader.skip(size, 'a function');
    draft.bodies.push({ localsAt, codeAt: skipLocals(reader, localsAt, reader.at), end: reader.at });
  }
}

function skipLocals(section: ByteReader, localsAt: number, end: number): number {
  const reader = section.part(localsAt, end);
  for (let left = reader.count('groups of locals'); left > 0; left--) {
    reader.u32('the number of locals');
    readValueType(reader);
  }
  return reader.at;
}

/** §5.5.14. */
export function readData(reader: ByteReader, draft: Draft): void {
  for (let left = reader.count('data segments'); left > 0; left--) {
    const start = reader.at;
    const flags = reader.u32('a data segment');
    if (flags > 2) throw malformed(start, `unknown kind of data segment ${flags}`);
    if (flags === 2 && reader.u32('the index of a memory') !== 0) throw refused(start, Refused.memories);
    const active = flags !== 1;
    const offset = active ? readConstant(reader, draft) : undefined;
    const length = reader.u32('the length of a data segment');
    const contentAt = reader.at;
    reader.skip(length, 'a data segment');
    draft.data.push({ active, offset, contentAt, length });
  }
}
