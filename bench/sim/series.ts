import { type Result, summarize } from '../../src/report/index.js';

/** Results in the making: a value for each repetition, under variant, parameters and metric. */
export class Series {
  private readonly entries = new Map<string, { result: Omit<Result, 'median' | 'min' | 'max' | 'runs'>; runs: number[] }>();

  constructor(private readonly bench: string) {}

  add(variant: string, params: Record<string, string | number>, metric: string, unit: string, value: number): void {
    const key = JSON.stringify([variant, params, metric]);
    const entry = this.entries.get(key) ?? { result: { bench: this.bench, variant, params, metric, unit }, runs: [] };
    this.entries.set(key, entry);
    entry.runs.push(value);
  }

  results(): Result[] {
    return [...this.entries.values()].map(({ result, runs }) => ({ ...result, ...summarize(runs) }));
  }
}
