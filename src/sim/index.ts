// sim: the overlay in virtual time: physical networks, worlds in which each host runs the real overlay code, and flows over typed arrays for a million of them.
export { DeBruijn } from './flow/de-bruijn.js';
export { type Flow, type FlowJob, type FlowShape, pooled, runFlows } from './flow/flows.js';
export { type FlowSummary, measureFlow, quantile, shareAtMost } from './flow/penalty.js';
export { type HostTree, PastryOverlay, scribeTree } from './flow/scribe.js';
export { LinkStress, fanOut } from './flow/stress.js';
export { DeliveryTree, type HostDelays } from './flow/tree.js';
export { type JobOptions, runJobs, serveJobs } from './jobs.js';
export { DelayMatrix, type SharedDelayMatrix } from './topology/delay-matrix.js';
export { HostNetwork, type PlacementOptions, type SharedHostNetwork } from './topology/host-network.js';
export { type ParallelOptions, shortestPaths } from './topology/shortest-paths.js';
export { type Topology } from './topology/topology.js';
export { type ClassDelays, TRANSIT_STUB_5050, type TransitStub, type TransitStubParameters, scaledTransitStub, transitStub } from './topology/transit-stub.js';
export { type DirectoryFaults, type DirectoryOptions } from './world/directory.js';
export { EventHeap } from './world/events.js';
export { type Faults, type Island, type NetworkCounters, type NetworkOptions, SimNetwork } from './world/network.js';
export { World, type WorldOptions } from './world/world.js';
