import { IndexedHeap, type Random, invalid } from '../base/index.js';
import { type Job, type JobQueue } from './job.js';

/** A periodic task: jobs at offset, offset + period, …, each due `deadlineUs` after its release. */
export interface Task {
  offsetUs: number;
  periodUs: number;
  deadlineUs: number;
  costUs: number;
}

export interface SimulationOptions {
  tasks: readonly Task[];
  queue: JobQueue;
  /** Jobs are released before this time, and all of them come to an end. */
  untilUs: number;
  /** Whether a job that can't end in time any more is dropped when its turn comes, instead of being run late. */
  shed: boolean;
  /** Each job once, in the order in which they end. */
  onOutcome: (job: Job, inTime: boolean) => void;
}

const nothing = (): undefined => undefined;

/** Runs periodic tasks on one processor in virtual time, without preemption, in the order of `queue`; every job takes its cost. */
export function simulate({ tasks, queue, untilUs, shed, onOutcome }: SimulationOptions): void {
  const arrivals = new IndexedHeap<number>();
  for (const [stream, { offsetUs }] of tasks.entries()) arrivals.push(offsetUs, stream);
  const settle = (job: Job, inTime: boolean): void => {
    queue.settle?.(job, inTime);
    onOutcome(job, inTime);
  };
  let nowUs = 0;
  for (;;) {
    while (arrivals.peekKey <= nowUs && arrivals.peekKey < untilUs) {
      const releaseUs = arrivals.peekKey;
      const stream = arrivals.pop()!;
      const { periodUs, deadlineUs, costUs } = tasks[stream];
      queue.push({ stream, releaseUs, deadlineUs: releaseUs + deadlineUs, costUs, run: nothing });
      arrivals.push(releaseUs + periodUs, stream);
    }
    const job = queue.pop();
    if (job !== undefined) {
      const endUs = nowUs + job.costUs;
      const inTime = endUs <= job.deadlineUs;
      if (inTime || !shed) nowUs = endUs;
      settle(job, inTime);
    } else if (arrivals.peekKey < untilUs) {
      nowUs = arrivals.peekKey;
    } else {
      return;
    }
  }
}

/**
 * Utilisations of `n` tasks that add up to `total`, uniform over all that do: UUniFast (Bini & Buttazzo 2005). With a total
 * above 1 a single one may be above 1 too.
 */
export function uunifast(random: Random, n: number, total: number): number[] {
  if (!Number.isInteger(n) || n < 1) throw invalid('n', n, 'a whole number, 1 or more');
  if (!(total > 0 && total < Infinity)) throw invalid('total', total, 'a finite number above 0');
  const utilisations: number[] = [];
  let left = total;
  for (let rest = n - 1; rest > 0; rest--) {
    const next = left * random.float() ** (1 / rest);
    utilisations.push(left - next);
    left = next;
  }
  utilisations.push(left);
  return utilisations;
}
