import { type Claim } from '../../src/report/index.js';
import { type BenchOutput } from '../context.js';

export { type Claim };

/** What a user may set; an experiment has its own default for whatever is undefined, and refuses what makes no sense for it. */
export interface SimParameters {
  k?: number;
  n?: number;
  routers?: number;
  hosts?: number;
  publishers?: number;
  subscribers?: number;
  /** Tightness of delay bounds: bound / unicast delay. */
  bound?: number;
  routing?: 'odr' | 'random' | 'greedy';
  topology?: 'transit-stub' | 'waxman';
  /** A file of measured latencies instead of a topology. */
  latencies?: string;
  /** Independent repetitions, each with a seed of its own. */
  seeds?: number;
}

export interface SimContext {
  parameters: SimParameters;
  seed: number;
  /** Worker threads for what can be computed in parallel. */
  workers: number;
  /** `done` of `total` steps; `what` is being done. */
  progress: (done: number, total: number, what: string) => void;
  /** Aborted on Ctrl-C. */
  signal: AbortSignal;
}

export interface ExperimentOutput extends BenchOutput {
  claims: Claim[];
}

/** One of `ringcube sim`. */
export interface Experiment {
  name: string;
  summary: string;
  /** Which parameters mean something here, with what each is by default, in words: for --help, and to refuse the others. */
  takes: Partial<Record<keyof SimParameters, string>>;
  run(context: SimContext): Promise<ExperimentOutput>;
}
