// A worker of the tests: adds what it was given, throws, or never ends.
import { serveJobs } from '../../src/sim/index.js';

serveJobs((addend: number) => (job: number | string, progress: (share: number) => void) => {
  if (job === 'throw') throw new RangeError('thrown by a job');
  while (job === 'spin');
  progress(0.5);
  return Number(job) + addend;
});
