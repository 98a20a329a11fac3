// Which core is whose while a bench runs. Not in context.ts, which the experiments of sim/ import where there is no addon.
import { availableParallelism } from 'node:os';
import { addon } from '../src/nic/index.js';

/** The engine (or a load generator) has a core of its own where there are two; this thread has the other. */
export const ENGINE_CPU = availableParallelism() > 1 ? 1 : -1;
export const OWN_CPU = availableParallelism() > 1 ? 0 : -1;

/** Puts this thread on its core for the time of a bench. */
export async function pinned<T>(body: () => Promise<T>): Promise<T> {
  addon.bench.pin(OWN_CPU);
  try {
    return await body();
  } finally {
    addon.bench.pin(-1);
  }
}
