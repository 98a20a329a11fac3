import { invalid } from '../../base/index.js';
import { MAX_WORKERS, runJobs } from '../jobs.js';
import { DelayMatrix, type SharedDelayMatrix } from './delay-matrix.js';
import { Dijkstra } from './dijkstra.js';
import { type Topology } from './topology.js';

const WORKER = new URL('./shortest-paths.worker.js', import.meta.url);

/** Sources to a job: some 50 ms of work on 5,050 routers. */
const SOURCES_PER_JOB = 64;

export interface ParallelOptions {
  /** Worker threads, 256 at most; 0: none, all is done in this one, which blocks it. */
  workers: number;
  /** `done` of `total` routers. */
  progress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** What a worker is given at its start. */
export interface Task {
  topology: Topology;
  shared: SharedDelayMatrix;
}

/** From the first to before the last. */
export type Sources = readonly [first: number, end: number];

/** Computes the rows of some sources. */
export function runSources(dijkstra: Dijkstra, matrix: DelayMatrix, [first, end]: Sources): void {
  for (let source = first; source < end; source++) dijkstra.run(source, matrix.delaysUs, matrix.predecessors, source * matrix.routers);
}

/**
 * Shortest paths between all pairs of routers, by Dijkstra's algorithm from each. The result depends on the topology alone, not on the number of workers.
 * No worker is left when it settles. Throws ERR_INVALID_ARGUMENT for more than 16,384 routers, and the signal's reason once it is aborted.
 */
export async function shortestPaths(topology: Topology, options: ParallelOptions & { predecessors?: boolean | undefined }): Promise<DelayMatrix> {
  const { workers, progress, signal } = options;
  if (!Number.isInteger(workers) || workers < 0 || workers > MAX_WORKERS) throw invalid('workers', workers, `an integer from 0 to ${MAX_WORKERS}`);
  signal?.throwIfAborted();
  const { routers } = topology;
  const matrix = DelayMatrix.make(routers, options.predecessors === true);
  if (workers === 0) {
    runSources(new Dijkstra(topology), matrix, [0, routers]);
    progress?.(routers, routers);
    return matrix;
  }
  const jobs: Sources[] = [];
  for (let first = 0; first < routers; first += SOURCES_PER_JOB) jobs.push([first, Math.min(routers, first + SOURCES_PER_JOB)]);
  const data: Task = { topology, shared: matrix.share() };
  const onProgress = (done: number): void => progress?.(Math.min(routers, done * SOURCES_PER_JOB), routers);
  await runJobs<Sources, undefined>({ worker: WORKER, data, jobs, workers, onProgress, ...(signal && { signal }) });
  return matrix;
}
