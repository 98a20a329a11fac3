import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { BENCHES, type Bench, type BenchContext } from '../../bench/index.js';
import { RingcubeError, invalid } from '../base/index.js';
import { Engine, Replay } from '../nic/index.js';
import {
  type Figure,
  type RunReport,
  type Target,
  describeCommit,
  describeMachine,
  figureTable,
  renderPage,
  targetTable,
} from '../report/index.js';
import { packageFile } from './package.js';

interface BenchOptions {
  quick?: boolean;
  seed: number;
  traffic: string;
  json?: string;
  report?: string;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number from 0 to 2^53 - 1.');
  return value;
}

function chosen(names: readonly string[]): readonly Bench[] {
  for (const name of names) {
    if (!BENCHES.some((bench) => bench.name === name)) {
      throw invalid('bench', name, `one of ${BENCHES.map((bench) => bench.name).join(', ')}`);
    }
  }
  return names.length === 0 ? BENCHES : BENCHES.filter((bench) => names.includes(bench.name));
}

/** Says before the long run, not after it, that a result could not be written. */
function checkWritable(path: string): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) throw new Error('it is a directory');
    accessSync(dirname(resolve(path)), constants.W_OK);
  } catch (error) {
    throw new RingcubeError('ERR_INVALID_ARGUMENT', `${path}: can't be written: ${(error as Error).message}`);
  }
}

function checkTraffic(path: string): void {
  const engine = new Engine({ stepped: true });
  try {
    new Replay(engine, path).close();
  } catch (error) {
    throw new RingcubeError('ERR_FORMAT', (error as Error).message);
  }
}

/** A bar on a terminal; elsewhere a line for each bench. */
function makeProgress(bench: Bench): { update: BenchContext['progress']; stop: () => void } {
  if (!process.stderr.isTTY) {
    console.error(`bench ${bench.name}: ${bench.summary}`);
    return { update: () => undefined, stop: () => undefined };
  }
  const bar = new SingleBar({
    format: `${bench.name.padEnd(8)} {bar} {percentage} %  {what}`,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
  });
  bar.start(1, 0, { what: '' });
  return {
    update: (done, total, what) => {
      bar.setTotal(total);
      bar.update(done, { what });
    },
    stop: () => {
      bar.stop();
    },
  };
}

async function run(names: readonly string[], options: BenchOptions): Promise<void> {
  const benches = chosen(names);
  checkTraffic(options.traffic);
  for (const path of [options.json, options.report]) if (path !== undefined) checkWritable(path);

  const interrupted = new AbortController();
  const onInterrupt = (): void => {
    interrupted.abort();
  };
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  const report: RunReport = {
    machine: describeMachine(),
    commit: describeCommit(packageFile('.')),
    seed: options.seed,
    node: process.version,
    startedAt: new Date().toISOString(),
    command: ['npx ringcube bench', ...names, ...(options.quick === true ? ['--quick'] : []), `--seed ${options.seed}`].join(' '),
    results: [],
  };
  const figures: Figure[] = [];
  const targets: Target[] = [];
  const look = { color: pc.isColorSupported, width: process.stdout.columns || 110 };
  try {
    for (const bench of benches) {
      const progress = makeProgress(bench);
      try {
        const output = await bench.run({
          quick: options.quick ?? false,
          seed: options.seed,
          trafficPath: options.traffic,
          progress: progress.update,
          signal: interrupted.signal,
        });
        report.results.push(...output.results);
        figures.push(...output.figures);
        targets.push(...output.targets);
        progress.stop();
        for (const figure of output.figures) console.log(`\n${figureTable(figure, look)}`);
      } finally {
        progress.stop();
      }
    }
  } finally {
    process.removeListener('SIGINT', onInterrupt).removeListener('SIGTERM', onInterrupt);
  }
  if (targets.length > 0) console.log(`\n${targetTable(targets, look)}`);
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify(report, null, 1)}\n`);
    console.log(`\nresults: ${resolve(options.json)}`);
  }
  if (options.report !== undefined) {
    writeFileSync(options.report, renderPage(report, figures, targets));
    console.log(`report: ${resolve(options.report)}`);
  }
}

export function benchCommand(): Command {
  const list = BENCHES.map((bench) => `  ${bench.name.padEnd(10)} ${bench.summary}`).join('\n');
  return new Command('bench')
    .description('Measures the card and its driver, variants in alternation, and shows tables and a report.')
    .argument('[name...]', 'which benches; default: all')
    .option('--quick', 'short runs: all of them in under two minutes')
    .addOption(new Option('--seed <n>', 'of everything that is random').default(1).argParser(wholeNumber))
    .option('--traffic <file>', 'recorded traffic, pcapng', packageFile('test/data/traffic.pcapng'))
    .option('--json <file>', 'writes the results for machines')
    .option('--report <file>', 'writes the report: one HTML file with plots')
    .addHelpText('after', `\nBenches:\n${list}\n\nExamples:\n  ringcube bench --quick --report report.html\n  ringcube bench forward --json forward.json`)
    .action(run);
}
