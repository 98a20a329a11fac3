import { Worker } from 'node:worker_threads';
import { invalid } from '../../base/index.js';
import { DelayMatrix, type SharedDelayMatrix } from './delay-matrix.js';
import { Dijkstra } from './dijkstra.js';
import { type Topology } from './topology.js';

const WORKER = new URL('./shortest-paths.worker.js', import.meta.url);

/** Sources between two reports. */
const REPORT_EVERY = 64;

const MAX_WORKERS = 64;

export interface ParallelOptions {
  /** Worker threads; 0: none, all is done in this one, which blocks it. */
  workers: number;
  /** `done` of `total` steps. */
  progress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** For a worker. */
export interface Task {
  topology: Topology;
  shared: SharedDelayMatrix;
  /** One number, in shared memory: the next source. */
  next: Int32Array<SharedArrayBuffer>;
}

/** Computes rows of `matrix` until no source is left; calls `report` now and then with how many it has done since the last time. */
export function runSources(topology: Topology, matrix: DelayMatrix, next: Int32Array<SharedArrayBuffer>, report: (done: number) => void): void {
  const dijkstra = new Dijkstra(topology);
  let done = 0;
  for (;;) {
    const source = Atomics.add(next, 0, 1);
    if (source >= topology.routers) break;
    dijkstra.run(source, matrix.delaysUs, matrix.predecessors, source * topology.routers);
    if (++done === REPORT_EVERY) {
      report(done);
      done = 0;
    }
  }
  report(done);
}

/** Resolves when the worker has ended by itself; rejects if it failed. */
function ended(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
}

/**
 * Shortest paths between all pairs of routers, by Dijkstra's algorithm from each. The result depends on the topology alone, not on the number of workers.
 * All workers have ended when it settles. Throws ERR_INVALID_ARGUMENT for more than 16,384 routers, and the signal's reason once it is aborted.
 */
export async function shortestPaths(topology: Topology, options: ParallelOptions & { predecessors?: boolean | undefined }): Promise<DelayMatrix> {
  const { workers: count, progress, signal } = options;
  if (!Number.isInteger(count) || count < 0 || count > MAX_WORKERS) throw invalid('workers', count, `an integer from 0 to ${MAX_WORKERS}`);
  signal?.throwIfAborted();
  const { routers } = topology;
  const matrix = DelayMatrix.make(routers, options.predecessors === true);
  const next = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  let total = 0;
  const report = (done: number): void => {
    total += done;
    progress?.(total, routers);
  };
  if (count === 0) {
    runSources(topology, matrix, next, report);
    return matrix;
  }
  const task: Task = { topology, shared: matrix.share(), next };
  const workers = Array.from({ length: Math.min(count, routers) }, () => new Worker(WORKER, { workerData: task }).on('message', report));
  // Nothing is left for them then: they end after the row that they are at.
  const stop = (): void => {
    Atomics.store(next, 0, routers);
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    await Promise.all(workers.map(ended));
    signal?.throwIfAborted();
    return matrix;
  } finally {
    signal?.removeEventListener('abort', stop);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
