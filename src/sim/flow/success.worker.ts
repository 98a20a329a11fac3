// Lets subscribers exchange identifiers, in one setting after the other, and measures what came of it.
import { serveJobs } from '../jobs.js';
import { HostNetwork, type SharedHostNetwork } from '../topology/host-network.js';
import { type SuccessJob, runSuccess } from './success.js';

serveJobs((data: readonly SharedHostNetwork[]) => {
  const networks = data.map((shared) => HostNetwork.from(shared));
  return (job: SuccessJob, progress: (share: number) => void) => runSuccess(networks[job.network], job, progress);
});
