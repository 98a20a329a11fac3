// Experiments that measure nothing, or break, or never end.
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { type Experiment, type ExperimentOutput, type SimContext } from '../../bench/sim/index.js';
import { invalid } from '../../src/base/index.js';
import { type Catalogue } from '../../src/cli/experiments.js';
import { summarize } from '../../src/report/index.js';

/** Ten times what it was given, or 7 of it. */
async function tenfold({ parameters, seed, workers, progress }: SimContext): Promise<ExperimentOutput> {
  const { hosts = 7 } = parameters;
  for (let done = 0; done < 1000; done++) progress(done, 1000, `step ${done}`);
  await Promise.resolve();
  const results = [1, 2].map((x) => ({ bench: 'tenfold', variant: 'made', params: { x, workers }, metric: 'value', unit: '', ...summarize([hosts * 10 + seed]) }));
  return {
    results,
    figures: [{ id: 'tenfold', title: 'Ten times as many', paragraph: 'It is ten times as many.', kind: 'line', x: { param: 'x', label: 'x' }, y: { metric: 'value', label: 'Value', unit: '' }, results }],
    targets: [{ what: 'ten times', target: '10', reached: '10', spread: '–', met: true }],
    claims: [{ what: 'times', published: 'ninefold', source: 'a paper', measured: 'tenfold', agrees: false, remark: 'they counted from 0' }],
  };
}

async function refuse({ parameters }: SimContext): Promise<ExperimentOutput> {
  await Promise.resolve();
  throw invalid('k', parameters.k ?? 2, 'odd');
}

async function breakDown(): Promise<ExperimentOutput> {
  await Promise.resolve();
  throw new TypeError('it broke');
}

/** At once: what a thread writes to its own process.stderr goes by way of the main thread. */
const say = (line: string): number => writeSync(2, `${line}\n`);

const SPINS = 'for (;;) ;';

/** Computes for ever without a pause, and so does a thread that it has started. */
async function endless({ progress }: SimContext): Promise<ExperimentOutput> {
  await new Promise((resolve) => new Worker(`require('node:worker_threads').parentPort.postMessage(''); ${SPINS}`, { eval: true, execArgv: [] }).once('message', resolve));
  say('spinning');
  for (let i = 0; ; i++) progress(i % 100, 100, 'spinning');
}

/** Stops when it is asked to. */
function willing({ signal }: SimContext): Promise<ExperimentOutput> {
  say('waiting');
  return new Promise((_, reject) => {
    const timer = setInterval(() => undefined, 1e6);
    signal.addEventListener('abort', () => {
      clearInterval(timer);
      say('asked to stop');
      reject(signal.reason as Error);
    });
  });
}

/** @public The threads of experiments import it, by the address of this module. */
export const EXPERIMENTS: readonly Experiment[] = [
  { name: 'tenfold', summary: 'ten times as many', takes: { k: '2', n: '4', hosts: '7', publishers: '1', subscribers: 'all hosts', bound: '1.5', latencies: 'none', topology: 'waxman' }, run: tenfold },
  { name: 'refuse', summary: 'refuses its parameters', takes: { k: '2' }, run: refuse },
  { name: 'breaks', summary: 'breaks', takes: {}, run: breakDown },
  { name: 'endless', summary: 'computes for ever', takes: {}, run: endless },
  { name: 'willing', summary: 'stops when asked to', takes: {}, run: willing },
];

export const CATALOGUE: Catalogue = { module: new URL(import.meta.url), experiments: EXPERIMENTS };
