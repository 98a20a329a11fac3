// sim: the overlay in virtual time: physical networks, worlds in which each host runs the real overlay code, and flows over typed arrays for a million of them.
export { type JobOptions, runJobs, serveJobs } from './jobs.js';
