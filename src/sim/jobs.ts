import { type MessagePort, Worker, parentPort, workerData } from 'node:worker_threads';
import { invalid } from '../base/index.js';

/** Threads at most. */
export const MAX_WORKERS = 256;

/** What to divide among threads, and how. */
export interface JobOptions<Job> {
  /** The compiled file that calls serveJobs(). */
  worker: URL;
  /** What each thread is given at its start; SharedArrayBuffers in it are shared. */
  data: unknown;
  jobs: readonly Job[];
  /** Threads, 1 to 256; no more are started than there are jobs. */
  workers: number;
  /** How many jobs' worth of work is done, in fractions, too. */
  onProgress?: ((done: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

type Message<Answer> = { share: number } | { answer: Answer };

/**
 * Runs jobs on worker threads, each thread one at a time, in order. The answers are in the order of the jobs, whichever thread gave them. However it ends,
 * all threads have ended by then: with the answers, with a job's error (the first), or, in the middle of a job if need be, with the signal's reason.
 * Throws ERR_INVALID_ARGUMENT for an impossible number of workers.
 */
export async function runJobs<Job, Answer>({ worker, data, jobs, workers, onProgress, signal }: JobOptions<Job>): Promise<Answer[]> {
  if (!Number.isInteger(workers) || workers < 1 || workers > MAX_WORKERS) throw invalid('workers', workers, `an integer from 1 to ${MAX_WORKERS}`);
  signal?.throwIfAborted();
  const answers = new Array<Answer>(jobs.length);
  const shares = new Float64Array(jobs.length);
  let given = 0;
  let answered = 0;
  let done = 0;
  const report = (job: number, share: number): void => {
    done += share - shares[job];
    shares[job] = share;
    onProgress?.(done);
  };
  // Without the flags of this thread: a test runner's would load the runner anew in each.
  const threads = Array.from({ length: Math.min(workers, jobs.length) }, () => new Worker(worker, { workerData: data, execArgv: [] }));
  let abort = (): void => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      abort = () => reject(signal!.reason as Error);
      signal?.addEventListener('abort', abort);
      if (jobs.length === 0) resolve();
      for (const thread of threads) {
        let job = -1;
        const next = (): void => {
          if (given === jobs.length) return;
          job = given++;
          thread.postMessage(jobs[job]);
        };
        thread.on('message', (message: Message<Answer>) => {
          if ('share' in message) return report(job, message.share);
          answers[job] = message.answer;
          report(job, 1);
          if (++answered === jobs.length) resolve();
          else next();
        });
        thread.once('error', reject);
        thread.once('exit', (code) => reject(new Error(`a worker thread ended by itself, with ${code}`)));
        next();
      }
    });
  } finally {
    signal?.removeEventListener('abort', abort);
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
  return answers;
}

/**
 * The worker's side: makes what does its jobs from the data it was given, then does one after the other.
 * `progress` tells the share of the present job that is done.
 */
export function serveJobs(make: (data: never) => (job: never, progress: (share: number) => void) => unknown): void {
  const port: MessagePort = parentPort!;
  const run = make(workerData as never);
  const post = (message: Message<unknown>): void => port.postMessage(message);
  port.on('message', (job: unknown) => post({ answer: run(job as never, (share) => post({ share })) }));
}
