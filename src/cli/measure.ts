// What the commands share that measure (bench, sim, reproduce): how far they are, how they end, and where the numbers go. Needs no addon.
import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { SingleBar } from 'cli-progress';
import pc from 'picocolors';
import { invalid } from '../base/index.js';
import {
  type Claim,
  type Figure,
  type Result,
  type RunReport,
  type Target,
  claimTable,
  describeCommit,
  describeMachine,
  figureTable,
  renderPage,
  targetTable,
} from '../report/index.js';
import { unwritable, writeTo } from './files.js';
import { onInterrupt } from './interrupt.js';
import { packageFile } from './package.js';

/** How often there is a word of a long run where there is no terminal. */
const WORD_EVERY_MS = 10_000;

/** Where the numbers of a run go besides the terminal. */
export interface OutputOptions {
  json?: string;
  report?: string;
}

/** What a run gives when it is through. */
export interface Output {
  results: readonly Result[];
  figures: readonly Figure[];
  targets: readonly Target[];
  claims: readonly Claim[];
}

/** Those of the names given, in the order of all; all where none is. @throws ERR_INVALID_ARGUMENT if there is none of a name */
export function chosen<T extends { name: string }>(what: string, all: readonly T[], names: readonly string[]): readonly T[] {
  const unknown = names.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) throw invalid(what, unknown, `one of ${all.map((one) => one.name).join(', ')}`);
  return names.length === 0 ? all : all.filter((one) => names.includes(one.name));
}

/** Names and summaries, a line each, for --help. */
export function listed(all: readonly { name: string; summary: string }[]): string {
  const width = Math.max(10, ...all.map((one) => one.name.length));
  return all.map((one) => `  ${one.name.padEnd(width)} ${one.summary}`).join('\n');
}

/** Says before the long run, not after it, that a result could not be written. */
export function checkWritable({ json, report }: OutputOptions): void {
  for (const path of [json, report]) {
    if (path === undefined) continue;
    try {
      if (path === '') throw new Error('it names no file');
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.isDirectory() === true || path.endsWith('/')) throw new Error('it is a directory');
      // With the slash: what is to be written into must be a directory.
      accessSync(found === undefined ? `${dirname(resolve(path))}/` : path, constants.W_OK);
    } catch (error) {
      throw unwritable(path, error, 'ERR_INVALID_ARGUMENT');
    }
  }
  // But for devices, such as the one that swallows everything.
  if (json !== undefined && report !== undefined && resolve(json) === resolve(report) && statSync(json, { throwIfNoEntry: false })?.isFile() !== false) {
    throw invalid('--json and --report', json, 'two files: the one would be written over the other');
  }
}

/** Runs what stops when the signal aborts: on Ctrl-C, or SIGTERM. */
export async function interruptible<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupted = new AbortController();
  const stop = onInterrupt(() => {
    interrupted.abort();
  });
  try {
    return await body(interrupted.signal);
  } finally {
    stop();
  }
}

interface Progress {
  update: (done: number, total: number, what: string) => void;
  stop: () => void;
}

/** A bar on a terminal; elsewhere a line at the beginning, and one every ten seconds. */
export function makeProgress(command: string, { name, summary }: { name: string; summary: string }): Progress {
  if (!process.stderr.isTTY) {
    console.error(`${command} ${name}: ${summary}`);
    let nextMs = Date.now() + WORD_EVERY_MS;
    return {
      update: (done, total, what) => {
        if (Date.now() < nextMs) return;
        nextMs = Date.now() + WORD_EVERY_MS;
        console.error(`${command} ${name}: ${Math.floor((100 * done) / Math.max(1, total))} %  ${what}`);
      },
      stop: () => undefined,
    };
  }
  const bar = new SingleBar({
    format: `${name.padEnd(8)} {bar} {percentage} %  {what}`,
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

/** A run, from its start on: collects what comes out, shows it, and writes it at the end. */
export class Run {
  readonly report: RunReport;
  private readonly figures: Figure[] = [];
  private readonly look = { color: pc.isColorSupported, width: process.stdout.columns || 110 };

  /** @param args of the command that repeats the run, after `npx ringcube`, without the seed */
  constructor(args: readonly string[], seed: number, parameters?: Readonly<Record<string, string | number>>) {
    this.report = {
      machine: describeMachine(),
      commit: describeCommit(packageFile('.')),
      seed,
      node: process.version,
      startedAt: new Date().toISOString(),
      command: ['npx ringcube', ...args, `--seed ${seed}`].join(' '),
      ...(parameters === undefined ? {} : { parameters }),
      results: [],
      targets: [],
      claims: [],
      failures: [],
    };
  }

  /** Takes it in, and shows its figures as tables. */
  add(output: Output): void {
    this.report.results.push(...output.results);
    this.report.targets.push(...output.targets);
    this.report.claims.push(...output.claims);
    this.figures.push(...output.figures);
    for (const figure of output.figures) console.log(`\n${figureTable(figure, this.look)}`);
  }

  /** Shows what it comes to, and writes the files. @throws ERR_SYSTEM for the first that can't be written, once the others are */
  finish({ json, report }: OutputOptions): void {
    const { claims, targets } = this.report;
    if (claims.length > 0) console.log(`\n${claimTable(claims, this.look)}`);
    if (targets.length > 0) console.log(`\n${targetTable(targets, this.look)}`);
    const failures: unknown[] = [];
    const write = (what: string, path: string | undefined, contents: () => string): void => {
      if (path === undefined) return;
      try {
        writeTo(path, contents());
        console.log(`${what}: ${resolve(path)}`);
      } catch (error) {
        failures.push(error);
      }
    };
    // A run may have been long: if the one can't be written, perhaps the other can.
    write('\nresults', json, () => `${JSON.stringify(this.report, null, 1)}\n`);
    write('report', report, () => renderPage(this.report, this.figures));
    if (failures.length > 0) throw failures[0];
  }
}
