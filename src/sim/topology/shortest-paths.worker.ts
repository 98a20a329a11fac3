// Takes sources from a common counter until none is left, and says how many it has done.
import { parentPort, workerData } from 'node:worker_threads';
import { DelayMatrix } from './delay-matrix.js';
import { type Task, runSources } from './shortest-paths.js';

const { topology, shared, next } = workerData as Task;
const port = parentPort!;
runSources(topology, DelayMatrix.from(shared), next, (done) => port.postMessage(done));
