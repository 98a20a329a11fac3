import { invalid } from '../base/index.js';
import { Abi } from './abi.js';
import { type TrustedAgent } from './instance.js';
import { type BudgetKind } from './wasm/budget.js';

export interface AgentOptions {
  /** For messages, traces and counters. */
  name: string;
  /** A WebAssembly module (docs/agent-abi.md), or a trusted agent in TypeScript. */
  module: Uint8Array | TrustedAgent;
  /** Given to init(); UTF-8, at most 16 KiB. */
  configuration?: string;
  /**
   * shared: the card's pages are laid into the agent's memory, nothing is copied. copy: payloads are copied in and out. Default
   * shared, where V8 lays its memory out so that it can be.
   */
  window?: 'shared' | 'copy';
  /** Makes the window inaccessible outside of calls. */
  protect?: boolean;
  /** Default guard, where it works; else fuel. In stepped mode fuel. */
  budget?: BudgetKind;
  /** guard, epoch: how long one call may take, in microseconds of this thread's CPU time; default 10,000. To start for the first time, 100,000 at least. */
  budgetUs?: number;
  /** fuel: instructions of one call, default 10 million. */
  fuel?: number;
  /** Most pages of 64 KiB that its memory may have, at most 1,024; default 256. */
  maxMemoryPages?: number;
  /** How many payloads it can emit in one call, at most 256; default 64. */
  emitRoom?: number;
  /** Gets what it logs; default: nobody. */
  onLog?: (line: string) => void;
  /** Told of each trap: why. */
  onTrap?: (cause: TrapCause, message: string) => void;
}

/** Why a call ended: it ran out of its budget, of its stack; it did what WebAssembly forbids; it called abort, or threw. */
export type TrapCause = 'budget' | 'stack' | 'fault' | 'abort';

export type AgentSettings = Required<Omit<AgentOptions, 'window' | 'budget'>> & Pick<AgentOptions, 'window' | 'budget'>;

/** Options with their defaults. @throws ERR_INVALID_ARGUMENT */
export function settle(options: AgentOptions): AgentSettings {
  const settings: AgentSettings = {
    configuration: '',
    protect: false,
    budgetUs: 10_000,
    fuel: 10_000_000,
    maxMemoryPages: 256,
    emitRoom: 64,
    onLog: () => undefined,
    onTrap: () => undefined,
    ...(Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as unknown as AgentOptions),
  };
  const { name, module, configuration, window, protect, budget, budgetUs, fuel, maxMemoryPages, emitRoom } = settings;
  if (typeof name !== 'string' || name === '') throw invalid('name', name, 'a text, not empty');
  if (!(module instanceof Uint8Array) && typeof (module as Partial<TrustedAgent> | undefined)?.process !== 'function') {
    throw invalid('module', module, "a WebAssembly module's bytes (Uint8Array), or an agent with a function process()");
  }
  if (typeof configuration !== 'string') throw invalid('configuration', configuration, 'a text');
  if (window !== undefined && !['shared', 'copy'].includes(window)) throw invalid('window', window, 'shared or copy');
  if (budget !== undefined && !['guard', 'epoch', 'fuel', 'none'].includes(budget)) throw invalid('budget', budget, 'guard, epoch, fuel or none');
  if (!(budgetUs >= 50 && budgetUs <= 60e6)) throw invalid('budgetUs', budgetUs, 'from 50 to 60 million microseconds');
  if (!Number.isInteger(fuel) || fuel < 1 || fuel >= 2 ** 31) throw invalid('fuel', fuel, 'a whole number from 1 to 2^31 - 1');
  if (!Number.isInteger(maxMemoryPages) || maxMemoryPages < 65 || maxMemoryPages > Abi.maxMemoryPages) {
    throw invalid('maxMemoryPages', maxMemoryPages, `a whole number from 65 (the window's 64 and one) to ${Abi.maxMemoryPages}`);
  }
  if (!Number.isInteger(emitRoom) || emitRoom < 0 || emitRoom > Abi.maxRecords) throw invalid('emitRoom', emitRoom, `a whole number from 0 to ${Abi.maxRecords}`);
  if (protect && window === 'copy') throw invalid('protect', protect, 'used with window shared: a copied window is nobody else\'s');
  return settings;
}
