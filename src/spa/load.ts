import { RingcubeError, type WasmModule, WebAssembly } from '../base/index.js';
import { sandboxTrial } from '../nic/index.js';
import { Abi } from './abi.js';
import { type AgentSettings } from './options.js';
import { type BudgetKind } from './wasm/budget.js';
import { checkAgent, usesUnchecked } from './wasm/check.js';
import { type Instrumented, instrument } from './wasm/instrument.js';
import { parseModule } from './wasm/module.js';
import { type ModuleInfo } from './wasm/types.js';

/** A module that keeps the contract and can be stopped. */
export interface LoadedModule {
  readonly module: WasmModule;
  readonly budget: BudgetKind;
  /** Pages of 64 KiB that its memory starts with. */
  readonly initialPages: number;
  readonly instrumented: Instrumented;
}

/**
 * Checks a module and puts its budget in.
 * @param stepped in virtual time: a budget counts instructions there, unless one says otherwise
 * @throws ERR_FORMAT, ERR_UNSUPPORTED for what is no module that we can read, ERR_INVALID_ARGUMENT for one that breaks the contract
 */
export function loadModule(bytes: Uint8Array, settings: Pick<AgentSettings, 'budget' | 'protect' | 'maxMemoryPages' | 'fuel'>, stepped: boolean): LoadedModule {
  const info = parseModule(bytes);
  const findings = checkAgent(info, settings.maxMemoryPages);
  if (findings.length > 0) throw new RingcubeError('ERR_INVALID_ARGUMENT', findings.join('; '));
  if (settings.protect) {
    const [unchecked] = usesUnchecked(info);
    if (unchecked !== undefined) {
      throw new RingcubeError('ERR_UNSUPPORTED', `protect can't hold a module with bulk memory operations (${unchecked}): build without them (asc --disable bulk-memory, clang -mno-bulk-memory)`);
    }
  }
  const budget = settings.budget ?? (stepped || !sandboxTrial().guard ? 'fuel' : 'guard');
  const instrumented = instrument(info, { budget, maxPages: settings.maxMemoryPages, startFuel: settings.fuel });
  return { module: new WebAssembly.Module(instrumented.bytes), budget, initialPages: Math.max(Abi.windowEnd / Abi.pageBytes + 1, memoryPages(info)), instrumented };
}

function memoryPages({ imports }: ModuleInfo): number {
  for (const { type } of imports) if (type.kind === 'memory') return type.limits.min;
  return 0;
}
