// Rows of the matrix, from one source to another.
import { serveJobs } from '../jobs.js';
import { DelayMatrix } from './delay-matrix.js';
import { Dijkstra } from './dijkstra.js';
import { type Sources, type Task, runSources } from './shortest-paths.js';

serveJobs(({ topology, shared }: Task) => {
  const dijkstra = new Dijkstra(topology);
  const matrix = DelayMatrix.from(shared);
  return (sources: Sources) => runSources(dijkstra, matrix, sources);
});
