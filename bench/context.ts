import { performance } from 'node:perf_hooks'; // the global one is a getter, called each time
import { type Figure, type Result, type Target, summarize } from '../src/report/index.js';

/** What a bench is told, and how it says how far it is. */
export interface BenchContext {
  quick: boolean;
  seed: number;
  /** The recorded traffic, a pcapng file. */
  trafficPath: string;
  /** `done` of `total` measurements of this bench; `what` is being measured. */
  progress: (done: number, total: number, what: string) => void;
  /** Aborted on Ctrl-C: a bench stops between two measurements. */
  signal: AbortSignal;
}

export interface BenchOutput {
  results: Result[];
  figures: Figure[];
  targets: Target[];
}

export interface Bench {
  name: string;
  summary: string;
  /** Measures for about this long when quick. */
  quickSeconds: number;
  run(context: BenchContext): Promise<BenchOutput>;
}

/** One thing to measure: a variant under parameters; measure() runs it once and returns the value. */
export interface Measurement {
  bench: string;
  variant: string;
  params: Record<string, string | number>;
  metric: string;
  unit: string;
  measure: () => number | Promise<number>;
}

/**
 * Measures each group's members in alternation: A B C A B C …, so that what changes on a shared machine meets all of
 * them alike. The first round warms up and is dropped.
 */
export async function alternate(
  groups: readonly (readonly Measurement[])[],
  rounds: number,
  context: BenchContext,
): Promise<Result[]> {
  const total = groups.reduce((sum, group) => sum + group.length, 0) * (rounds + 1);
  const results: Result[] = [];
  let done = 0;
  for (const group of groups) {
    const values: number[][] = group.map(() => []);
    for (let round = 0; round <= rounds; round++) {
      for (const [i, m] of group.entries()) {
        context.signal.throwIfAborted();
        context.progress(done++, total, `${m.variant} ${Object.values(m.params).join(' ')}`);
        const value = await m.measure();
        if (round > 0) values[i].push(value);
        // Lets progress be drawn and signals be heard.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    for (const [i, { bench, variant, params, metric, unit }] of group.entries()) {
      results.push({ bench, variant, params, metric, unit, ...summarize(values[i]) });
    }
  }
  context.progress(total, total, '');
  return results;
}

/** The results of one variant and parameters. @throws if it was not measured: a bench's own mistake. */
export function pick(results: readonly Result[], variant: string, params: Record<string, string | number> = {}, metric?: string): Result {
  const found = results.find(
    (r) =>
      r.variant === variant &&
      (metric === undefined || r.metric === metric) &&
      Object.entries(params).every(([name, value]) => r.params[name] === value),
  );
  if (found === undefined) throw new Error(`no result of ${variant} ${JSON.stringify(params)}`);
  return found;
}

/** Ratios of two results' runs, round by round: they were measured side by side. */
export function ratio(a: Result, b: Result): { median: number; min: number; max: number; runs: readonly number[] } {
  return summarize(a.runs.map((value, i) => value / b.runs[i]));
}

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** Ratio a / b against a least (or, with `atMost`, a greatest) value. */
export function ratioTarget(what: string, a: Result, b: Result, bound: number, atMost = false): Target {
  const r = ratio(a, b);
  return {
    what,
    target: `${atMost ? '≤' : '≥'} ${bound}`,
    reached: digits(r.median),
    spread: `${digits(r.min)}–${digits(r.max)}`,
    met: atMost ? r.median <= bound : r.median >= bound,
  };
}

/** A figure against a greatest value in the same unit. */
export function atMostTarget(what: string, { median, min, max }: Pick<Result, 'median' | 'min' | 'max'>, bound: number, unit: string, decimals: number): Target {
  return { what, target: `≤ ${bound} ${unit}`, reached: `${median.toFixed(decimals)} ${unit}`, spread: `${min.toFixed(decimals)}–${max.toFixed(decimals)}`, met: median <= bound };
}

/** "23.1 (19.9–25.0)" of a ratio, for paragraphs. */
export function ratioText(a: Result, b: Result): string {
  const r = ratio(a, b);
  return `${digits(r.median)} (${digits(r.min)}–${digits(r.max)})`;
}

/** Of values in ascending order; NaN if there are none. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? NaN;
}

/** Monotonic ns, without BigInt. */
export function nowNs(): number {
  return performance.now() * 1e6;
}
