import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { RingcubeError, invalid } from '../base/index.js';
// Not the entry: that needs the addon, and compiling doesn't.
import { Abi } from '../spa/abi.js';
import { unwritable, writeWhole } from './files.js';
import { packageFile } from './package.js';

export interface AgentBuildOptions {
  /** AssemblyScript's runtime. 'stub' never frees; an agent that makes objects per payload wants 'incremental' (default 'stub'). */
  runtime?: 'stub' | 'minimal' | 'incremental';
  /** memory.copy and memory.fill as instructions, which are fast, and which no agent can have that runs with `protect` (default false). */
  bulkMemory?: boolean;
  /** Names of functions in the module, for the traces of traps (default true). */
  names?: boolean;
}

/**
 * What is used of assemblyscript/asc. Its own declarations bring along a `console` and other globals that aren't Node's, so its name is
 * kept from TypeScript.
 */
interface Compiler {
  main(
    args: readonly string[],
    options: {
      stdout: { write(): void };
      stderr: { write(): void };
      readFile(name: string, baseDir: string): string | null;
      listFiles(): null;
      writeFile(name: string, contents: Uint8Array | string): void;
      reportDiagnostic(diagnostic: { category: number; message: string; range: { start: number; source: { normalizedPath: string } } | null }): void;
    },
  ): Promise<{ error: Error | null }>;
}
const COMPILER: string = 'assemblyscript/asc';

/** `import … from 'ringcube/sdk'` as the compiler looks for it, in one node_modules folder after another. */
const SDK = /(?:^|[\\/])node_modules[\\/]ringcube[\\/](sdk[\\/.].*)$/;

/** The compiler's DiagnosticCategory.Error, a const enum that only its declarations have. */
const ERROR = 3;

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** Line and column, both from 1 on, of an offset into a text. */
function position(text: string, offset: number): string {
  const lines = text.slice(0, offset).split('\n');
  return `${lines.length}:${lines.at(-1)!.length + 1}`;
}

/**
 * Compiles an agent written in AssemblyScript (docs/agent-abi.md): memory imported, the module's own from 4 MiB on, optimized for
 * speed. 'ringcube/sdk' is this package's own, wherever the source lies.
 *
 * @param sourcePath ends in .ts
 * @param outPath the module; written whole or not at all
 * @returns the module's bytes
 * @throws RingcubeError ERR_FORMAT with `file:line:column: what` of the first error, and how many more there are; ERR_INVALID_ARGUMENT
 *   if there is no such source; ERR_SYSTEM if the module can't be written
 */
export async function buildAgent(sourcePath: string, outPath: string, options: AgentBuildOptions = {}): Promise<Uint8Array> {
  if (!sourcePath.endsWith('.ts')) throw invalid('sourcePath', sourcePath, 'an AssemblyScript file, *.ts');
  if (textOf(sourcePath) === null) throw new RingcubeError('ERR_INVALID_ARGUMENT', `${sourcePath}: no file that can be read`);
  // A compiler of this size is loaded only by who compiles.
  const compiler = (await import(COMPILER)) as Compiler;
  const baseDir = dirname(resolve(sourcePath));
  const pathOf = (name: string, base: string): string => {
    const own = SDK.exec(name)?.[1];
    return own !== undefined ? packageFile(own) : isAbsolute(name) ? name : join(base, name);
  };

  const errors: string[] = [];
  let module: Uint8Array | undefined;
  const { error } = await compiler.main(
    [
      relative(baseDir, resolve(sourcePath)), '--outFile', 'agent.wasm', '--baseDir', baseDir,
      '--importMemory', ...(options.bulkMemory === true ? [] : ['--disable', 'bulk-memory']), '--zeroFilledMemory', '--noExportMemory', '--memoryBase', String(Abi.windowEnd), '--maximumMemory', String(Abi.maxMemoryPages),
      '--enable', 'simd', '--runtime', options.runtime ?? 'stub', '-O3', '--noColors', ...(options.names ?? true ? ['--debug'] : []),
    ],
    {
      stdout: { write: () => undefined },
      stderr: { write: () => undefined },
      readFile: (name, base) => textOf(pathOf(name, base)),
      listFiles: () => null,
      writeFile: (_name, contents) => {
        if (typeof contents !== 'string') module = contents;
      },
      reportDiagnostic: ({ category, message, range }) => {
        if (category !== ERROR) return;
        // What the compiler has from a package it calls ~lib/PACKAGE/…
        const name = range?.source.normalizedPath ?? relative(baseDir, resolve(sourcePath));
        const path = name.startsWith('~lib/') ? pathOf(`node_modules/${name.slice('~lib/'.length)}`, baseDir) : resolve(baseDir, name);
        const text = range === null ? null : textOf(path);
        const where = text === null || range === null ? '' : `:${position(text, range.start)}`;
        errors.push(`${relative('.', path)}${where}: ${message}`);
      },
    },
  );
  if (errors.length > 0) {
    throw new RingcubeError('ERR_FORMAT', errors.length === 1 ? errors[0] : `${errors[0]} (and ${errors.length - 1} more)`);
  }
  if (error !== null || module === undefined) throw new RingcubeError('ERR_FORMAT', `${sourcePath}: ${error?.message ?? 'no module came out'}`);
  try {
    mkdirSync(dirname(outPath), { recursive: true });
  } catch (error) {
    throw unwritable(outPath, error);
  }
  writeWhole(outPath, module);
  return module;
}
