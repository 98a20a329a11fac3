import { readFileSync } from 'node:fs';
import { RingcubeError } from '../base/index.js';
import { type SandboxTrial, sandboxTrial } from '../nic/index.js';
import { Abi, type BudgetKind } from '../spa/index.js';
// What loading a module does within, step by step: it is what this command tells of.
import { printable } from '../spa/printable.js';
import { checkAgent, usesUnchecked } from '../spa/wasm/check.js';
import { type Instrumented, instrument } from '../spa/wasm/instrument.js';
import { parseModule } from '../spa/wasm/module.js';
import { type ModuleInfo } from '../spa/wasm/types.js';

const BUDGETS = ['guard', 'epoch', 'fuel', 'none'] as const satisfies readonly BudgetKind[];
/** Of an agent's memory, unless its host says otherwise. */
const DEFAULT_PAGES = 256;

/** What one module is found to be. */
interface ModuleReport {
  file: string;
  /** What keeps it from being an agent; none if it is one. */
  findings: string[];
  bytes: number;
  imports?: string[];
  exports?: string[];
  /** Pages of 64 KiB: at the start, and the most that it asks for. */
  memory?: { minPages: number; maxPages: number | null };
  functions?: number;
  /** Why it can't run with a protected window, function by function; none if it can. */
  unprotectable?: string[];
  budgets?: Record<BudgetKind, Omit<Instrumented, 'bytes'>>;
}

/** @throws ERR_INVALID_ARGUMENT if the file can't be read */
export function readBytes(file: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(file));
  } catch (error) {
    throw new RingcubeError('ERR_INVALID_ARGUMENT', `${file}: can't be read: ${(error as Error).message}`);
  }
}

function instrumentedAs(info: ModuleInfo, budget: BudgetKind): Omit<Instrumented, 'bytes'> {
  const { functions, loops, checks, bulk, bytesBefore, bytesAfter } = instrument(info, { budget, maxPages: DEFAULT_PAGES });
  return { functions, loops, checks, bulk, bytesBefore, bytesAfter };
}

function examine(file: string, bytes: Uint8Array): ModuleReport {
  try {
    const info = parseModule(bytes);
    const findings = checkAgent(info, DEFAULT_PAGES);
    const memory = info.imports.map(({ type }) => type).find((type) => type.kind === 'memory');
    return {
      file,
      findings,
      bytes: bytes.length,
      imports: info.imports.map(({ module, name }) => `${module}.${name}`),
      exports: info.exports.map(({ name }) => name),
      ...(memory === undefined ? {} : { memory: { minPages: memory.limits.min, maxPages: memory.limits.max ?? null } }),
      functions: info.bodies.length,
      unprotectable: usesUnchecked(info),
      ...(findings.length > 0 ? {} : { budgets: Object.fromEntries(BUDGETS.map((budget) => [budget, instrumentedAs(info, budget)])) as NonNullable<ModuleReport['budgets']> }),
    };
  } catch (error) {
    if (!(error instanceof RingcubeError)) throw error;
    return { file, findings: [error.message], bytes: bytes.length };
  }
}

function tell({ file, findings, bytes, imports, exports, memory, functions, unprotectable, budgets }: ModuleReport): string[] {
  const lines = findings.length > 0 ? findings.map((finding) => `${file}: ${finding}`) : [`${file}: keeps the agent contract, version ${Abi.version}`];
  const row = (name: string, words: string): number => lines.push(`  ${name.padEnd(8)}  ${words}`);
  if (imports !== undefined) row('imports', imports.join(', ') || 'nothing');
  if (exports !== undefined) row('exports', exports.join(', ') || 'nothing');
  if (memory !== undefined) {
    const most = memory.maxPages === null ? 'no limit of its own' : `${memory.maxPages} at most`;
    row('memory', `${memory.minPages} pages of 64 KiB at least, ${most}; a host gives ${DEFAULT_PAGES} unless told otherwise`);
  }
  if (functions !== undefined) row('code', `${functions} functions; the module has ${bytes} bytes`);
  if (unprotectable !== undefined) {
    row('protect', unprotectable.length === 0 ? 'can run with it' : `can't run with it: ${unprotectable.length} functions use bulk memory (${unprotectable[0]})`);
  }
  for (const [name, { loops, checks, bulk, bytesAfter }] of Object.entries(budgets ?? {})) {
    const inserted = `${checks} checks in ${functions} functions with ${loops} loops${bulk === 0 ? '' : `, ${bulk} bulk operations in pieces`}`;
    row(name, `${name === 'none' ? 'no checks' : inserted}; ${bytes} → ${bytesAfter} bytes`);
  }
  return lines.map(printable);
}

function tellMachine({ window, guard, reason }: SandboxTrial): string {
  const share = window ? 'payloads are shared with agents' : 'payloads must be copied for agents';
  const stop = guard ? 'guard pages stop them' : 'they are stopped by fuel';
  return `this machine, Node ${process.version}: ${share}; ${stop}${reason === '' ? '' : ` (${reason})`}`;
}

/** Exit code 2 if a module is no agent. */
export function checkModules(files: readonly string[], { json = false }: { json?: boolean }): void {
  const modules = files.map((file) => examine(file, readBytes(file)));
  const machine = sandboxTrial();
  if (json) console.log(JSON.stringify({ modules, machine: { node: process.version, ...machine } }, null, 1));
  else console.log([...modules.flatMap(tell), tellMachine(machine)].join('\n'));
  if (modules.some(({ findings }) => findings.length > 0)) process.exitCode = 2;
}
