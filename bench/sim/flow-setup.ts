// What the experiments over flows share: which cubes, hosts, publishers and subscribers; what is refused; how long it took and how much memory.
import { performance } from 'node:perf_hooks';
import { type Random, invalid } from '../../src/base/index.js';
import { KnCube, initialHolder } from '../../src/overlay/index.js';
import { type FlowShape, type Network, makeNetwork } from '../../src/sim/index.js';
import { type SimContext, type SimParameters } from './experiment.js';

const MOST_HOSTS = 2 ** 24;
const SAMPLE_MS = 50;
/** Of a world that is simulated message by message: more would be minutes and gigabytes. */
export const MOST_WORLD_HOSTS = 65_536;

/** The least kⁿ identifiers for so many hosts, n whole. */
export function smallestShape(k: number, hosts: number): { k: number; n: number } {
  let n = 1;
  while (k ** n < hosts) n++;
  return { k, n };
}

/** `name` among parameters, or its default. @throws ERR_INVALID_ARGUMENT unless it is a whole number in the range; `why` says where that comes from */
export function wholeParameter(parameters: SimParameters, name: 'hosts' | 'publishers' | 'subscribers' | 'seeds', usual: number, low: number, high: number, why = ''): number {
  const value = parameters[name] ?? usual;
  if (!Number.isInteger(value) || value < low || value > high) throw invalid(name, value, `a whole number from ${low} to ${high}${why}`);
  return value;
}

/** The cube that was asked for by k and n, if any. @throws ERR_INVALID_ARGUMENT for one without the other, or no such cube */
export function askedShape({ k, n }: SimParameters): KnCube | undefined {
  if (k === undefined && n === undefined) return undefined;
  if (k === undefined) throw invalid('k', k, `given, as n (${n}) is: both make a cube`);
  if (n === undefined) throw invalid('n', n, `given, as k (${k}) is: both make a cube`);
  return new KnCube(k, n);
}

/** Whether nothing was asked for but how often it is repeated: the run that published figures and targets speak of. */
export function isFull(parameters: SimParameters): boolean {
  return Object.entries(parameters).every(([name, value]) => value === undefined || name === 'seeds');
}

/** Hosts of an experiment, no more than its smallest cube has identifiers, and `limit`. */
export function hostsOf(parameters: SimParameters, usual: number, shape: KnCube | undefined, limit = MOST_HOSTS): number {
  const most = Math.min(limit, shape?.size ?? limit);
  const why = shape === undefined || shape.size > limit ? '' : `: the ${shape.k}x${shape.n} cube has that many identifiers`;
  return wholeParameter(parameters, 'hosts', Math.min(usual, most), 2, most, why);
}

/** A shape with its identifiers dealt out to hosts in blocks. */
export function dealt({ k, n }: { k: number; n: number }, hosts: number): FlowShape {
  const size = k ** n;
  const hostOf = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * size));
  for (let id = 0; id < size; id++) hostOf[id] = initialHolder(size, hosts, id);
  return { k, n, hostOf };
}

/** `count` hosts at random, without the publisher's; undefined where all are wanted. */
export function drawSubscribers(count: number, hosts: number, publisherHost: number, random: Random): Int32Array | undefined {
  if (count === hosts) return undefined;
  const others = new Int32Array(hosts - 1).map((_, i) => (i < publisherHost ? i : i + 1));
  const drawn = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * count));
  drawn.set(random.shuffle(others).subarray(0, count));
  return drawn;
}

/** The physical network of an experiment. `step` is told how much of the work is done, 0 to 1. */
export function networkFor(context: SimContext, hosts: number, seed: number, step: (share: number) => void): Promise<Network> {
  const { topology, routers, latencies } = context.parameters;
  const progress = (done: number, total: number): void => step(done / total);
  return makeNetwork({ topology, routers, latencies, hosts, seed }, { workers: context.workers, progress, signal: context.signal });
}

/** Runs `body`; how long it took, and the most memory that the whole process held meanwhile, looked at every 50 ms. */
export async function watched<T>(body: () => Promise<T>): Promise<{ value: T; seconds: number; peakBytes: number }> {
  let peakBytes = 0;
  const look = (): void => {
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
  };
  const start = performance.now();
  const timer = setInterval(look, SAMPLE_MS);
  try {
    const value = await body();
    look();
    return { value, seconds: (performance.now() - start) / 1000, peakBytes };
  } finally {
    clearInterval(timer);
  }
}
