import { execFileSync } from 'node:child_process';
import { availableParallelism, arch, cpus, release, totalmem, type as osType } from 'node:os';

/** One measured number: `bench` ran `variant` under `params`, once per alternation. */
export interface Result {
  bench: string;
  variant: string;
  params: Readonly<Record<string, string | number>>;
  metric: string;
  /** A base unit as `humanize` takes it: 'frames/s', 'ns', 'B', '%'. */
  unit: string;
  median: number;
  min: number;
  max: number;
  /** The value of each alternation, in the order measured. */
  runs: readonly number[];
}

/** Where a result was measured. `cores` are those this process may use. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryBytes: number;
  kernel: string;
  arch: string;
}

/** A whole run, as written to JSON. */
export interface RunReport {
  machine: Machine;
  commit: string;
  seed: number;
  /** As `process.version`. */
  node: string;
  /** ISO 8601. */
  startedAt: string;
  /** The command that repeats the run. */
  command: string;
  /** What was set for the run, and not left to be as it is by default. */
  parameters?: Readonly<Record<string, string | number>>;
  results: Result[];
  targets: Target[];
  claims: Claim[];
  /** What was to run and broke, and why: what it would have measured is missing from the rest. */
  failures: Failure[];
}

export interface Failure {
  what: string;
  /** The error's message. */
  why: string;
}

/** A promise and what became of it. */
export interface Target {
  what: string;
  target: string;
  reached: string;
  spread: string;
  /** `null` where the number is reported only. */
  met: boolean | null;
}

/** A published statement beside what came out here. */
export interface Claim {
  what: string;
  published: string;
  /** Of which publication, in short. */
  source: string;
  measured: string;
  /** null where the publication gives a shape only, or is recalled too vaguely to be judged. */
  agrees: boolean | null;
  /** Where they differ: why, as far as known. */
  remark: string;
}

/**
 * The median and the range of one measurement's repetitions.
 *
 * @throws RangeError on no values, or on one that is not a finite number
 */
export function summarize(values: readonly number[]): { median: number; min: number; max: number; runs: readonly number[] } {
  if (values.length === 0) throw new RangeError('summarize: no values');
  const wrong = values.find((value) => !Number.isFinite(value));
  if (wrong !== undefined) throw new RangeError(`summarize: ${wrong} among ${values.length} values`);
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  return { median: lower + (upper - lower) / 2, min: sorted[0], max: sorted.at(-1)!, runs: [...values] };
}

/** The machine this process runs on. */
export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: `${osType()} ${release()}`,
    arch: arch(),
  };
}

/**
 * The short hash of git's HEAD at `cwd`, with '-dirty' when tracked files differ from it;
 * 'unknown' outside a git repository, before its first commit, or without git.
 */
export function describeCommit(cwd: string): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      // Reading the status must not take the index lock from somebody at work in the same tree.
      env: { ...process.env, GIT_OPTIONAL_LOCKS: '0' },
    }).trim();
  try {
    const hash = git('rev-parse', '--short', 'HEAD');
    return git('status', '--porcelain', '--untracked-files=no') === '' ? hash : `${hash}-dirty`;
  } catch {
    return 'unknown';
  }
}
