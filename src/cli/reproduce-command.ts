import { Command } from 'commander';
import { RingcubeError } from '../base/index.js';
import { CATALOGUE, type Catalogue, type ExperimentOptions, runExperiment, withExperimentOptions } from './experiments.js';
import { type OutputOptions, Run, checkWritable, chosen, interruptible, listed } from './measure.js';

type ReproduceOptions = ExperimentOptions & OutputOptions;

async function reproduce(catalogue: Catalogue, names: readonly string[], options: ReproduceOptions): Promise<void> {
  const experiments = chosen('experiment', catalogue.experiments, names);
  checkWritable(options);

  const run = new Run(['reproduce', ...names], options.seed);
  const { failures } = run.report;
  await interruptible(async (signal) => {
    for (const experiment of experiments) {
      try {
        run.add(await runExperiment('reproduce', catalogue, experiment, {}, options, signal));
      } catch (error) {
        if (signal.aborted) throw error;
        // One that breaks takes nothing from the others.
        failures.push({ what: experiment.name, why: (error as Error).message });
        console.error(error instanceof RingcubeError ? `reproduce ${experiment.name}: ${error.message}` : error);
      }
    }
  });
  run.finish(options);
  if (failures.length === 0) return;
  console.error(`ringcube: ${failures.length} of ${experiments.length} experiments failed: ${failures.map(({ what }) => what).join(', ')}`);
  process.exitCode = 1;
}

export function reproduceCommand(catalogue: Catalogue = CATALOGUE): Command {
  const command = new Command('reproduce')
    .description('Runs the experiments whose figures were published, and writes one report that puts published and measured side by side.')
    .argument('[name...]', 'which experiments; default: all');
  return withExperimentOptions(command)
    .option('--json <file>', 'writes the results for machines')
    .option('--report <file>', 'the report: one HTML file with plots', 'reproduce.html')
    .addHelpText('after', `\nExperiments:\n${listed(catalogue.experiments)}\n\nExamples:\n  ringcube reproduce\n  ringcube reproduce --seed 7 --json reproduce.json --report reproduce.html`)
    .action((names: readonly string[], options: ReproduceOptions) => reproduce(catalogue, names, options));
}
