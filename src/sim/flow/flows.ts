import { invalid } from '../../base/index.js';
import { KnCube, type Routing } from '../../overlay/index.js';
import { runJobs } from '../jobs.js';
import { type HostNetwork, type SharedHostNetwork } from '../topology/host-network.js';
import { type FlowSummary } from './penalty.js';

/** A cube, and who holds which of its identifiers. */
export interface FlowShape {
  k: number;
  n: number;
  /** Host of each identifier; over a SharedArrayBuffer, so that worker threads see it. */
  hostOf: Int32Array;
}

/** One publisher's stream over one shape. */
export interface FlowJob {
  /** Which of the shapes. */
  shape: number;
  routing: Routing;
  /** An identifier. */
  publisher: number;
  /** Hosts, over a SharedArrayBuffer; undefined for all. */
  subscribers?: Int32Array;
  /** The seed of random routing. */
  seed: number;
}

/** What came out: the summary, and the subscribers' delay penalties, ascending. */
export interface Flow extends FlowSummary {
  penalties: Float32Array;
}

/** What each worker thread is given. */
export interface FlowData {
  network: SharedHostNetwork;
  shapes: readonly FlowShape[];
}

/** A job and where its penalties go. */
export interface FlowOrder extends FlowJob {
  penalties: Float32Array;
}

export interface FlowOptions {
  network: HostNetwork;
  shapes: readonly FlowShape[];
  jobs: readonly FlowJob[];
  workers: number;
  onProgress?: ((done: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Delivery trees and what their subscribers see, divided among worker threads that share the network. The same for any number of threads.
 * Jobs of one shape one after the other spare memory and time. Throws ERR_INVALID_ARGUMENT for a job that makes no sense.
 */
export async function runFlows({ network, shapes, jobs, workers, onProgress, signal }: FlowOptions): Promise<Flow[]> {
  for (const { shape, publisher, subscribers } of jobs) {
    const { k, n } = shapes[shape];
    const { size } = new KnCube(k, n);
    if (network.hosts > size) throw invalid('hosts', network.hosts, `at most ${size}: the ${k}x${n} cube has that many identifiers`);
    if (!(publisher >= 0 && publisher < size)) throw invalid('publisher', publisher, `an identifier from 0 to ${size - 1}`);
    const stranger = subscribers?.find((host) => !(host >= 0 && host < network.hosts));
    if (stranger !== undefined) throw invalid('subscribers', stranger, `hosts from 0 to ${network.hosts - 1}`);
  }
  const orders = jobs.map((job): FlowOrder => {
    const most = job.subscribers?.length ?? network.hosts;
    return { ...job, penalties: new Float32Array(new SharedArrayBuffer(4 * most)) };
  });
  const worker = new URL('./flow.worker.js', import.meta.url);
  const data: FlowData = { network: network.share(), shapes };
  const summaries = await runJobs<FlowOrder, FlowSummary>({ worker, data, jobs: orders, workers, onProgress, signal });
  return summaries.map((summary, i) => ({ ...summary, penalties: orders[i].penalties.subarray(0, summary.penalised) }));
}

/** The penalties of several flows as one, ascending. */
export function pooled(flows: readonly Flow[]): Float32Array {
  const all = new Float32Array(flows.reduce((sum, { penalised }) => sum + penalised, 0));
  let at = 0;
  for (const { penalties } of flows) {
    all.set(penalties, at);
    at += penalties.length;
  }
  return all.sort();
}
