// A module, read from its bytes (WebAssembly 2.0 §5.5): strictly, in one pass, whoever wrote them.
import { RingcubeError } from '../../base/index.js';
import { ByteReader, malformed, quoted } from './bytes.js';
import { Instructions } from './instructions.js';
import { readFunctionNames } from './names.js';
import { Refused, refused } from './opcodes.js';
import { readCode, readData, readElements, readExports, readFunctions, readGlobals, readImports, readMemories, readStart, readTables, readTypes } from './sections.js';
import { type Draft, type ModuleInfo, type Section } from './types.js';

/** §5.5.2. */
export const SectionId = { custom: 0, type: 1, import: 2, function: 3, table: 4, memory: 5, global: 6, export: 7, start: 8, element: 9, code: 10, data: 11, dataCount: 12, tag: 13 } as const;

/** §5.5.16: where each section stands, by its id. The data count comes ahead of the code, tags (3.0) behind memories. */
export const SECTION_ORDER = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 11, 6];

/** V8 itself takes 64 times that; the largest of tools that are built for it have some 8 MiB. */
const MAX_MODULE_BYTES = 2 ** 24;

const MAGIC = [0x00, 0x61, 0x73, 0x6d];
const VERSION = [0x01, 0x00, 0x00, 0x00];

/**
 * Reads any bytes. What is returned is well-formed: sections in order and of the right length, each instruction known, nothing in use that
 * agents may not use. Whether it is valid (types, indices in code) is for V8 to say.
 *
 * Takes time and memory in proportion to the bytes, whatever numbers they claim.
 *
 * @throws ERR_FORMAT with the byte's offset if it is malformed; ERR_UNSUPPORTED if it has more than 16 MiB, or uses threads, exceptions, garbage-collected types,
 *   typed function references, 64-bit or several memories, or relaxed SIMD, with how to build without it
 */
export function parseModule(bytes: Uint8Array): ModuleInfo {
  if (bytes.length > MAX_MODULE_BYTES) throw new RingcubeError('ERR_UNSUPPORTED', `module: ${bytes.length} bytes, an agent has ${MAX_MODULE_BYTES} at most`);
  const reader = new ByteReader(bytes);
  for (const byte of MAGIC) if (reader.u8('the magic number') !== byte) throw malformed(0, 'does not begin with "\\0asm": no WebAssembly module');
  for (const byte of VERSION) if (reader.u8('the version') !== byte) throw malformed(4, 'version is not 1: a component, or no module at all');

  const draft: Draft = { types: [], imports: [], functions: [], tables: [], memories: [], globals: [], importedFunctions: 0, exports: [], start: undefined, elements: [], data: [], bodies: [] };
  const sections: Section[] = [];
  let names: ReadonlyMap<number, string> = new Map();
  let order = 0;
  while (!reader.done) {
    const at = reader.at;
    const id = reader.u8('a section');
    const length = reader.u32('the length of a section');
    const start = reader.at;
    reader.skip(length, `section ${id}`);
    const content = reader.part(start, reader.at);
    if (id === SectionId.custom) {
      const name = content.name('the name of a custom section');
      if (name === 'name') names = readFunctionNames(content);
      sections.push({ id, at, contentAt: content.at, end: reader.at, name });
      continue;
    }
    if (id >= SECTION_ORDER.length) throw malformed(at, `unknown section ${id}`);
    if (SECTION_ORDER[id] <= order) throw malformed(at, `section ${id} is there twice, or stands in the wrong place`);
    order = SECTION_ORDER[id];
    sections.push({ id, at, contentAt: start, end: reader.at, name: '' });
    readSection(id, at, content, draft);
    if (!content.done) throw malformed(content.at, `section ${id} goes on behind its end`);
  }
  const missing = draft.functions.length - draft.importedFunctions - draft.bodies.length;
  if (missing > 0) throw malformed(bytes.length, `${missing} functions have no code`);
  readInstructions(bytes, draft, names);
  return { ...draft, bytes, sections, names };
}

function readSection(id: number, at: number, content: ByteReader, draft: Draft): void {
  switch (id) {
    case SectionId.type:
      readTypes(content, draft);
      break;
    case SectionId.import:
      readImports(content, draft);
      break;
    case SectionId.function:
      readFunctions(content, draft);
      break;
    case SectionId.table:
      readTables(content, draft);
      break;
    case SectionId.memory:
      readMemories(content, draft);
      break;
    case SectionId.global:
      readGlobals(content, draft);
      break;
    case SectionId.export:
      readExports(content, draft);
      break;
    case SectionId.start:
      readStart(content, draft);
      break;
    case SectionId.element:
      readElements(content, draft);
      break;
    case SectionId.code:
      readCode(content, draft);
      break;
    case SectionId.data:
      readData(content, draft);
      break;
    case SectionId.dataCount:
      content.u32('the number of data segments');
      break;
    case SectionId.tag:
      throw refused(at, Refused.exceptions);
  }
}

/** Names come behind the code, so that instructions are looked at last: a refusal says in which function. */
function readInstructions(bytes: Uint8Array, { bodies, importedFunctions }: Draft, names: ReadonlyMap<number, string>): void {
  for (const [index, body] of bodies.entries()) {
    const reader = new ByteReader(bytes, body.codeAt, body.end);
    const instructions = new Instructions(reader);
    try {
      while (instructions.next());
      if (!reader.done) throw malformed(reader.at, 'the function goes on behind its end');
    } catch (error) {
      if (!(error instanceof RingcubeError)) throw error;
      throw new RingcubeError(error.code, `${error.message} (in ${functionName(importedFunctions + index, names)})`);
    }
  }
}

/** As messages name a function: function 12 "memcpy". */
export function functionName(index: number, names: ReadonlyMap<number, string>): string {
  const name = names.get(index);
  return name === undefined ? `function ${index}` : `function ${index} ${quoted(name)}`;
}
