// One experiment, on a thread of its own: however long it computes without a pause, the thread that draws progress and hears Ctrl-C goes on.
import { parentPort, workerData } from 'node:worker_threads';
import { type Experiment } from '../../bench/sim/index.js';
import { RingcubeError } from '../base/index.js';
import { type ExperimentOrder, type ExperimentMessage } from './experiments.js';

/** Progress is for eyes: not every step of a million is told. */
const TELL_EVERY_MS = 100;

const port = parentPort!;
const { module, name, parameters, seed, workers } = workerData as ExperimentOrder;
const post = (message: ExperimentMessage): void => port.postMessage(message);

const interrupted = new AbortController();
port.once('message', () => interrupted.abort());

let nextMs = 0;
function progress(done: number, total: number, what: string): void {
  const nowMs = Date.now();
  if (nowMs < nextMs) return;
  nextMs = nowMs + TELL_EVERY_MS;
  post({ kind: 'progress', done, total, what });
}

try {
  const { EXPERIMENTS } = (await import(module)) as { EXPERIMENTS: readonly Experiment[] };
  const experiment = EXPERIMENTS.find((one) => one.name === name)!;
  post({ kind: 'output', output: await experiment.run({ parameters, seed, workers, progress, signal: interrupted.signal }) });
} catch (error) {
  // Classes don't cross between threads.
  const { message, stack = message } = error instanceof Error ? error : new Error(String(error));
  post({ kind: 'error', code: error instanceof RingcubeError ? error.code : null, message, stack });
} finally {
  port.close();
}
