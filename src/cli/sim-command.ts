import { accessSync, constants } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Experiment, type SimParameters } from '../../bench/sim/index.js';
import { RingcubeError, invalid } from '../base/index.js';
import { CATALOGUE, type Catalogue, type ExperimentOptions, runExperiment, withExperimentOptions } from './experiments.js';
import { type OutputOptions, Run, checkWritable, chosen, interruptible, listed } from './measure.js';
import { wholeNumber } from './numbers.js';

type SimOptions = SimParameters & ExperimentOptions & OutputOptions;

const MOST_HOSTS = 2 ** 24;

function tightness(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1000)) throw new InvalidArgumentError('It must be a number above 0, up to 1000.');
  return value;
}

/** In the order of --help. */
const PARAMETERS: Record<keyof SimParameters, Option> = {
  k: new Option('--k <n>', 'radix of the cube: a digit has k values').argParser(wholeNumber(2, 256)),
  n: new Option('--n <n>', 'dimensions of the cube: an identifier has n digits').argParser(wholeNumber(1, 24)),
  routers: new Option('--routers <n>', 'of the network below').argParser(wholeNumber(1, 1e6)),
  hosts: new Option('--hosts <n>', 'in the overlay').argParser(wholeNumber(2, MOST_HOSTS)),
  publishers: new Option('--publishers <n>', 'of a stream each').argParser(wholeNumber(1, MOST_HOSTS)),
  subscribers: new Option('--subscribers <n>', 'of each stream').argParser(wholeNumber(1, MOST_HOSTS)),
  bound: new Option('--bound <ratio>', 'tightness of delay bounds: bound / unicast delay').argParser(tightness),
  routing: new Option('--routing <name>', 'in the cube').choices(['odr', 'random', 'greedy']),
  topology: new Option('--topology <name>', 'of the network below').choices(['transit-stub', 'waxman']),
  latencies: new Option('--latencies <file>', 'measured latencies instead of a topology: a matrix or a list of edges'),
  seeds: new Option('--seeds <n>', 'repetitions, each with a seed of its own').argParser(wholeNumber(1, 10_000)),
};
const NAMES = Object.keys(PARAMETERS) as (keyof SimParameters)[];

const flags = (names: readonly (keyof SimParameters)[]): string => (names.length === 0 ? 'no parameters' : names.map((name) => `--${name}`).join(', '));

/** Those that were given, all of which mean something to the experiment. */
function parametersOf(experiment: Experiment, options: SimOptions): SimParameters {
  const given = NAMES.filter((name) => options[name] !== undefined);
  const taken = NAMES.filter((name) => name in experiment.takes);
  const stray = given.find((name) => !taken.includes(name));
  if (stray !== undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `--${stray}: ${experiment.name} doesn't take it; it takes ${flags(taken)}`);
  checkTogether(options);
  return Object.fromEntries(given.map((name) => [name, options[name]]));
}

/** What no experiment can do, whatever it takes for those that weren't given. */
function checkTogether({ k, n, hosts, publishers, subscribers, bound, topology, latencies }: SimParameters): void {
  if (k !== undefined && n !== undefined && hosts !== undefined && k ** n < hosts) throw invalid('--hosts', hosts, `at most k^n, ${k ** n}: each has an identifier of its own`);
  for (const [flag, count] of [['--publishers', publishers], ['--subscribers', subscribers]] as const) {
    if (hosts !== undefined && count !== undefined && count > hosts) throw invalid(flag, count, `at most as many as --hosts, ${hosts}`);
  }
  if (latencies === undefined) {
    // In measured latencies a way around can be the faster one.
    if (bound !== undefined && bound < 1) throw invalid('--bound', bound, '1 or more: nothing is faster than unicast');
    return;
  }
  if (topology !== undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', '--latencies stands instead of --topology: give one of them');
  try {
    accessSync(latencies, constants.R_OK);
  } catch (error) {
    throw new RingcubeError('ERR_INVALID_ARGUMENT', `${latencies}: can't be read: ${(error as Error).message}`);
  }
}

async function simulate(catalogue: Catalogue, name: string | undefined, options: SimOptions): Promise<void> {
  const { experiments } = catalogue;
  if (name === undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `sim: names no experiment, must be one of ${experiments.map((one) => one.name).join(', ')}`);
  const [experiment] = chosen('experiment', experiments, [name]);
  const parameters = parametersOf(experiment, options);
  checkWritable(options);

  const run = new Run(['sim', name, ...Object.entries(parameters).map(([flag, value]) => `--${flag} ${value}`)], options.seed, { ...parameters });
  run.add(await interruptible((signal) => runExperiment('sim', catalogue, experiment, parameters, options, signal)));
  run.finish(options);
}

/** What one experiment takes, and what that is by default. */
function takesOf({ name, summary, takes }: Experiment): string {
  const rows = NAMES.flatMap((parameter) => (parameter in takes ? [`  ${`--${parameter}`.padEnd(14)} ${takes[parameter]}`] : []));
  return `${name}: ${summary}\n${rows.length === 0 ? 'It takes nothing but a seed.' : `It takes, with what is so by default:\n${rows.join('\n')}`}`;
}

function helpOf(experiments: readonly Experiment[], name: string | undefined): string {
  const one = experiments.find((experiment) => experiment.name === name);
  if (one !== undefined) return `\n${takesOf(one)}`;
  const examples = ['ringcube sim NAME --help             what an experiment takes, and what that is by default', 'ringcube sim NAME --seed 7 --report sim.html'];
  return `\nExperiments:\n${listed(experiments)}\n\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`;
}

export function simCommand(catalogue: Catalogue = CATALOGUE): Command {
  const command = new Command('sim')
    .description('Simulates the overlay: runs one experiment, and shows tables, targets, and what was published beside what was measured.')
    .argument('[name]', 'which experiment');
  for (const option of Object.values(PARAMETERS)) command.addOption(option);
  return withExperimentOptions(command)
    .option('--json <file>', 'writes the results for machines')
    .option('--report <file>', 'writes the report: one HTML file with plots')
    .addHelpText('after', () => helpOf(catalogue.experiments, command.args[0]))
    .action((name: string | undefined, options: SimOptions) => simulate(catalogue, name, options));
}
