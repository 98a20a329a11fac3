// What `ringcube sim` and `ringcube reproduce` share: the experiments, each run on a thread of its own, and the options of both.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type Command, Option } from 'commander';
import { EXPERIMENTS, type Experiment, type ExperimentOutput, type SimParameters } from '../../bench/sim/index.js';
import { RingcubeError, type RingcubeErrorCode } from '../base/index.js';
import { MAX_WORKERS } from '../sim/index.js';
import { makeProgress } from './measure.js';
import { seed, wholeNumber } from './numbers.js';

/** Experiments, and the module that exports them as EXPERIMENTS: their threads import it. */
export interface Catalogue {
  module: URL;
  experiments: readonly Experiment[];
}

export const CATALOGUE: Catalogue = { module: new URL('../../bench/sim/index.js', import.meta.url), experiments: EXPERIMENTS };

/** What an experiment's thread is started with. */
export interface ExperimentOrder {
  module: string;
  name: string;
  parameters: SimParameters;
  seed: number;
  workers: number;
}

/** What it says. */
export type ExperimentMessage =
  | { kind: 'progress'; done: number; total: number; what: string }
  | { kind: 'output'; output: ExperimentOutput }
  | { kind: 'error'; code: RingcubeErrorCode | null; message: string; stack: string };

/** After Ctrl-C, to end by itself. */
const GRACE_MS = 300;

const WORKER = new URL('./sim.worker.js', import.meta.url);

export interface ExperimentOptions {
  seed: number;
  workers: number;
}

/** `--seed` and `--workers`. */
export function withExperimentOptions(command: Command): Command {
  return command
    .addOption(new Option('--seed <n>', 'of everything that is random').default(1).argParser(seed))
    .addOption(new Option('--workers <n>', 'threads for what can be computed in parallel').default(Math.min(MAX_WORKERS, availableParallelism())).argParser(wholeNumber(1, MAX_WORKERS)));
}

/**
 * Runs one experiment, with its progress shown as the command's. When it returns or throws, the experiment's thread has ended, and so have those that it started.
 *
 * @throws RingcubeError where the experiment refuses its parameters, AbortError after Ctrl-C, whatever computed it
 */
export async function runExperiment(command: string, { module }: Catalogue, experiment: Experiment, parameters: SimParameters, options: ExperimentOptions, signal: AbortSignal): Promise<ExperimentOutput> {
  signal.throwIfAborted();
  const { seed, workers } = options;
  const order: ExperimentOrder = { module: module.href, name: experiment.name, parameters, seed, workers };
  const progress = makeProgress(command, experiment);
  const worker = new Worker(WORKER, { workerData: order });
  let grace: NodeJS.Timeout | undefined;
  let abort = (): void => undefined;
  try {
    return await new Promise<ExperimentOutput>((resolve, reject) => {
      abort = () => {
        worker.postMessage('abort');
        grace = setTimeout(reject, GRACE_MS, signal.reason);
      };
      signal.addEventListener('abort', abort);
      worker.on('message', (message: ExperimentMessage) => {
        if (message.kind === 'progress') progress.update(message.done, message.total, message.what);
        else if (message.kind === 'output') resolve(message.output);
        else reject(signal.aborted ? (signal.reason as Error) : errorOf(message));
      });
      worker.once('error', reject);
      worker.once('exit', (code) => reject(new Error(`the experiment's thread ended by itself, with ${code}`)));
    });
  } finally {
    clearTimeout(grace);
    signal.removeEventListener('abort', abort);
    progress.stop();
    await worker.terminate();
  }
}

function errorOf({ code, message, stack }: ExperimentMessage & { kind: 'error' }): Error {
  if (code !== null) return new RingcubeError(code, message);
  const error = new Error(message);
  error.stack = stack;
  return error;
}
