import { IndexedHeap } from '../base/index.js';

/** What is to be done. The same object may be queued any number of times. */
export interface Work {
  /** Runs to its end: nothing preempts it. In virtual time it returns the microseconds that it took; otherwise its time is measured. */
  run(): number | undefined;
}

/** One piece of work with its place in time; all times in microseconds of one clock. */
export interface Job extends Work {
  /** Which task, or stream, it is of: a small whole number. */
  readonly stream: number;
  readonly releaseUs: number;
  /** Absolute. */
  readonly deadlineUs: number;
  /** Bound of what it takes. */
  readonly costUs: number;
}

/** A scheduling policy: who comes next among the jobs that have been released. */
export interface JobQueue {
  readonly size: number;
  push(job: Job): void;
  /** What pop() would return, left in place; `undefined` when empty. */
  peek(): Job | undefined;
  pop(): Job | undefined;
  /** Told what became of each job that was popped, before the next one is: an order may learn from it. */
  settle?(job: Job, inTime: boolean): void;
}

/** Jobs by a number of each, least first; among equals first come, first served. */
class OrderedQueue implements JobQueue {
  private readonly heap = new IndexedHeap<Job>();

  constructor(private readonly keyOf: (job: Job) => number) {}

  get size(): number {
    return this.heap.size;
  }

  push(job: Job): void {
    this.heap.push(this.keyOf(job), job);
  }

  peek(): Job | undefined {
    return this.heap.peek();
  }

  pop(): Job | undefined {
    return this.heap.pop();
  }
}

/** Earliest deadline first (Liu & Layland 1973). */
export function edfQueue(): JobQueue {
  return new OrderedQueue((job) => job.deadlineUs);
}

/** First in, first out: to the heap all are equal. */
export function fifoQueue(): JobQueue {
  return new OrderedQueue(() => 0);
}

/**
 * Fixed priorities.
 *
 * @param ranks of each stream, least first: its period for rate-monotonic (Liu & Layland 1973), its relative deadline for
 * deadline-monotonic order (Leung & Whitehead 1982)
 */
export function fixedPriorityQueue(ranks: readonly number[]): JobQueue {
  return new OrderedQueue((job) => ranks[job.stream]);
}
