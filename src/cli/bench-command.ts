import { Command, Option } from 'commander';
import { BENCHES } from '../../bench/index.js';
import { RingcubeError } from '../base/index.js';
import { Engine, Replay } from '../nic/index.js';
import { type OutputOptions, Run, checkWritable, chosen, interruptible, listed, makeProgress } from './measure.js';
import { seed } from './numbers.js';
import { packageFile } from './package.js';

interface BenchOptions extends OutputOptions {
  quick?: boolean;
  seed: number;
  traffic: string;
}

function checkTraffic(path: string): void {
  const engine = new Engine({ stepped: true });
  try {
    new Replay(engine, path).close();
  } catch (error) {
    throw new RingcubeError('ERR_FORMAT', (error as Error).message);
  }
}

async function measure(names: readonly string[], options: BenchOptions): Promise<void> {
  const benches = chosen('bench', BENCHES, names);
  checkTraffic(options.traffic);
  checkWritable(options);

  const { quick = false, seed } = options;
  const run = new Run(['bench', ...names, ...(quick ? ['--quick'] : [])], seed);
  await interruptible(async (signal) => {
    for (const bench of benches) {
      const progress = makeProgress('bench', bench);
      try {
        const output = await bench.run({ quick, seed, trafficPath: options.traffic, progress: progress.update, signal });
        progress.stop();
        run.add({ ...output, claims: [] });
      } finally {
        progress.stop();
      }
    }
  });
  run.finish(options);
}

export function benchCommand(): Command {
  return new Command('bench')
    .description('Measures the card and its driver, variants in alternation, and shows tables and a report.')
    .argument('[name...]', 'which benches; default: all')
    .option('--quick', 'short runs: all of them in under two minutes')
    .addOption(new Option('--seed <n>', 'of everything that is random').default(1).argParser(seed))
    .option('--traffic <file>', 'recorded traffic, pcapng', packageFile('test/data/traffic.pcapng'))
    .option('--json <file>', 'writes the results for machines')
    .option('--report <file>', 'writes the report: one HTML file with plots')
    .addHelpText('after', `\nBenches:\n${listed(BENCHES)}\n\nExamples:\n  ringcube bench --quick --report report.html\n  ringcube bench forward --json forward.json`)
    .action(measure);
}
