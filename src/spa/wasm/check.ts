// Holds a module against the agent contract (docs/agent-abi.md): all that is wrong with it, before any of it runs.
import { WebAssembly } from '../../base/index.js';
import { Abi } from '../abi.js';
import { printable } from '../printable.js';
import { FUEL_EXPORT } from './budget.js';
import { isBulkMemory } from './bulk.js';
import { ByteReader, quoted } from './bytes.js';
import { MAX_COMPILE_COST, compileCost } from './compile-cost.js';
import { Instructions } from './instructions.js';
import { functionName } from './module.js';
import { Op } from './opcodes.js';
import { type ExternType, type FunctionType, type MemoryType, type ModuleInfo } from './types.js';

const functionType = (params: readonly string[], results: readonly string[]): FunctionType => ({ params, results });

const IMPORTS: Readonly<Record<string, FunctionType>> = {
  'ringcube.now': functionType([], ['f64']),
  'ringcube.log': functionType(['i32', 'i32'], []),
  'env.abort': functionType(['i32', 'i32', 'i32', 'i32'], []),
};

const EXPORTS: Readonly<Record<string, FunctionType>> = {
  init: functionType(['i32', 'i32'], ['i32']),
  process: functionType(['i32', 'i32', 'i32'], ['i32']),
  process_batch: functionType(['i32'], []),
  tick: functionType([], []),
  save: functionType(['i32', 'i32'], ['i32']),
  restore: functionType(['i32', 'i32'], ['i32']),
};

/** How to get there, of those tools that people build agents with. */
const Remedy = {
  memory: 'build with --importMemory (asc) or --import-memory (wasm-ld)',
  data: `build with --memoryBase ${Abi.windowEnd} (asc) or --global-base=${Abi.windowEnd} (wasm-ld)`,
  dataOffset: 'build without --relocatable or -fPIC',
  exports: 'write `export` (asc), or --export=NAME (wasm-ld)',
} as const;

const BULK_NAMES: Readonly<Record<number, string>> = { [Op.memoryInit]: 'memory.init', [Op.memoryCopy]: 'memory.copy', [Op.memoryFill]: 'memory.fill' };

const ABI_EXPORT = 'ringcube_abi';
const MAX_FINDINGS = 20;

/**
 * What keeps a module from being an agent: a line each, at most 20 and one that says how many more; none if it is one. Everything that can be told without
 * running it is, V8's own verdict among it.
 *
 * @param maxPages the largest memory that the host gives, in pages of 64 KiB
 */
export function checkAgent(info: ModuleInfo, maxPages: number = Abi.maxMemoryPages): string[] {
  const findings = [...checkImports(info, maxPages), ...checkExports(info), ...checkTables(info), ...checkData(info, maxPages), ...checkCompiles(info)];
  const more = findings.length - MAX_FINDINGS;
  return more <= 0 ? findings : [...findings.slice(0, MAX_FINDINGS), `and ${more} more`];
}

function checkImports({ imports, memories }: ModuleInfo, maxPages: number): string[] {
  const findings: string[] = [];
  let memory: MemoryType | undefined;
  for (const { module, name, type } of imports) {
    const full = `${module}.${name}`;
    const right = Object.hasOwn(IMPORTS, full) ? IMPORTS[full] : undefined;
    if (full === 'env.memory' && type.kind === 'memory') memory = type;
    else if (full === 'env.memory') findings.push(`imports env.memory as ${described(type)}, must be a memory`);
    else if (right === undefined) findings.push(`imports ${quoted(full)}, ${described(type)}: an agent can import env.memory, ringcube.now, ringcube.log and env.abort, nothing else`);
    else if (!isFunction(type, right)) findings.push(`imports ${full} as ${described(type)}, must be ${typeText(right)}`);
  }
  // What never looks at a payload needs no memory, and asc --importMemory leaves out one that nothing needs.
  if (memory === undefined && memories.length > 0) findings.push(`imports no memory env.memory, but has one of its own: ${Remedy.memory}`);
  else if (memory !== undefined && memory.limits.min > maxPages) findings.push(`needs a memory of ${memory.limits.min} pages, and the host gives ${maxPages} at most`);
  return findings;
}

function checkExports(info: ModuleInfo): string[] {
  const findings: string[] = [];
  const exported = new Map(info.exports.map(({ name, type }) => [name, type]));
  const abi = exported.get(ABI_EXPORT);
  if (abi === undefined) findings.push(`exports no ${ABI_EXPORT}, must be an immutable global i32 = ${Abi.version}: ${Remedy.exports}`);
  else if (abi.kind !== 'global' || abi.mutable || abi.type !== 'i32') findings.push(`exports ${ABI_EXPORT} as ${described(abi)}, must be an immutable global i32 = ${Abi.version}`);
  else if (abi.value === undefined) findings.push(`${ABI_EXPORT} has no constant value, must be ${Abi.version}`);
  else if (abi.value !== Abi.version && wordInData(info, abi.value) !== Abi.version) findings.push(`${ABI_EXPORT} is ${abi.value}, must be ${Abi.version}: built for another version of the contract`);
  for (const [name, right] of Object.entries(EXPORTS)) {
    const type = exported.get(name);
    if (type !== undefined && !isFunction(type, right)) findings.push(`exports ${name} as ${described(type)}, must be ${typeText(right)}`);
  }
  if (!exported.has('process') && !exported.has('process_batch')) findings.push(`exports neither process nor process_batch: ${Remedy.exports}`);
  for (const [one, other] of [['save', 'restore'], ['restore', 'save']]) {
    if (exported.has(one) && !exported.has(other)) findings.push(`exports ${one} without ${other}`);
  }
  if (exported.has(FUEL_EXPORT)) findings.push(`exports ${FUEL_EXPORT}, a name that the host uses`);
  return findings;
}

/**
 * A constant in C is exported as its address (a global i32), not as its value: the word there, as it is when the module starts. Undefined
 * if no data segment holds it.
 */
function wordInData({ bytes, data }: ModuleInfo, address: number): number | undefined {
  for (const { offset, length, contentAt } of data) {
    const from = (address >>> 0) - ((offset ?? 0) >>> 0);
    if (offset === undefined || from < 0 || from + 4 > length) continue;
    return new DataView(bytes.buffer, bytes.byteOffset + contentAt + from, 4).getInt32(0, true);
  }
  return undefined;
}

function checkTables({ tables, imports }: ModuleInfo): string[] {
  if (imports.some(({ type }) => type.kind === 'table')) return [];
  const elements = tables.reduce((sum, { limits }) => sum + limits.min, 0);
  return elements > Abi.maxTableElements ? [`has tables of ${elements} elements, ${Abi.maxTableElements} at most`] : [];
}

function checkData({ data }: ModuleInfo, maxPages: number): string[] {
  const findings: string[] = [];
  for (const [index, { active, offset, length }] of data.entries()) {
    if (!active) continue;
    const from = (offset ?? 0) >>> 0;
    if (offset === undefined) findings.push(`data segment ${index} lies at no constant address: ${Remedy.dataOffset}`);
    else if (from < Abi.windowEnd) findings.push(`data segment ${index} begins at ${from}, below ${Abi.windowEnd}: ${Remedy.data}`);
    else if (from + length > maxPages * Abi.pageBytes) findings.push(`data segment ${index} ends at ${from + length}, beyond the ${maxPages} pages that the host gives at most`);
  }
  return findings;
}

function checkCompiles(info: ModuleInfo): string[] {
  try {
    new WebAssembly.Module(info.bytes);
  } catch (error) {
    // With names of the module's in it.
    return [printable(`V8 refuses it: ${(error as Error).message.replace(/^WebAssembly\.Module\(\): /, '')}`)];
  }
  return info.bodies.flatMap((_, index) => {
    const cost = compileCost(info, index);
    if (cost <= MAX_COMPILE_COST) return [];
    return [`${functionName(info.importedFunctions + index, info.names)} would take V8 long to compile, at its first call, where no budget stops it (${cost}, ${MAX_COMPILE_COST} at most): build it as several, with fewer locals and branches each`];
  });
}

function isFunction(type: ExternType, right: FunctionType): boolean {
  return type.kind === 'function' && typeText(type.type) === typeText(right);
}

function typeText({ params, results }: FunctionType): string {
  return `(${params.join(', ')}) → (${results.join(', ')})`;
}

function described(type: ExternType): string {
  switch (type.kind) {
    case 'function': {
      const text = typeText(type.type);
      return text.length > 80 ? `${text.slice(0, 79)}…` : text;
    }
    case 'global':
      return `${type.mutable ? 'a mutable' : 'an immutable'} global ${type.type}`;
    default:
      return `a ${type.kind}`;
  }
}

/**
 * What makes `protect: true` unsafe: bulk memory operations run in V8's own code, where a protected page is no trap but the end of the
 * process. Each function that has some, with the first of them. (Constant addresses, the other such case, are cured by `instrument`.)
 */
export function usesUnchecked({ bytes, bodies, importedFunctions, names }: ModuleInfo): string[] {
  return bodies.flatMap(({ codeAt, end }, index) => {
    const instructions = new Instructions(new ByteReader(bytes, codeAt, end));
    while (instructions.next()) {
      if (isBulkMemory(instructions.opcode)) return [`${functionName(importedFunctions + index, names)}, byte ${instructions.at}: ${BULK_NAMES[instructions.opcode]}`];
    }
    return [];
  });
}
