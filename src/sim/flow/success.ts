import { Random, invalid } from '../../base/index.js';
import { KnCube, type Routing } from '../../overlay/index.js';
import { runJobs } from '../jobs.js';
import { type HostNetwork, type SharedHostNetwork } from '../topology/host-network.js';
import { type ExchangeCounters, type ExchangeRule, runExchange, subscribersOf } from './exchange.js';
import { type Channel, Positions } from './positions.js';
import { type HostDelays } from './tree.js';

/** How well a channel's subscribers are served. */
export interface Success {
  /** Share of subscribers whose bound is met. */
  success: number;
  /** Mean over all subscribers of max(0, delay − bound) / bound. */
  lateness: number;
  /** Of the subscribers: 99 in 100 are no later. */
  lateness99: number;
  meanDelayUs: number;
  /** From the publisher. */
  meanHops: number;
}

/** By how much of its bound a delivery is late; 0 in time. */
export function lateness(delayUs: number, boundUs: number): number {
  return Math.max(0, delayUs - boundUs) / boundUs;
}

/**
 * Delay bounds, by host: of each subscriber a uniform share between its unicast delay from the publisher, which no overlay can beat, and `tightness` times
 * that; NaN for the other hosts. Throws ERR_INVALID_ARGUMENT where the tightness is below 1, or a subscriber is the publisher or without any delay.
 */
export function drawBounds(network: HostDelays, publisher: number, subscribers: Iterable<number>, tightness: number, random: Random): Float64Array {
  if (!(tightness >= 1 && tightness < Infinity)) {
    throw invalid('bound', tightness, 'a number from 1: a bound lies between the unicast delay and that many times it');
  }
  const boundsUs = new Float64Array(network.hosts).fill(NaN);
  for (const host of subscribers) {
    const unicastUs = network.delayUs(publisher, host);
    if (!(unicastUs > 0)) throw invalid('subscriber', host, `a host away from publisher ${publisher}: there is no delay between them to bound`);
    boundsUs[host] = unicastUs * (1 + (tightness - 1) * random.float());
  }
  return boundsUs;
}

/** Of a channel with one subscriber at least. */
export function measureSuccess(positions: Positions, channel: Channel): Success {
  const hosts = subscribersOf(channel);
  const delaysUs = Float64Array.from(hosts, (host) => positions.delayUs(channel, positions.idOf[host]));
  const latenesses = delaysUs.map((delayUs, i) => lateness(delayUs, channel.boundsUs[hosts[i]])).sort();
  const late = latenesses.findIndex((value) => value > 0);
  const mean = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / hosts.length;
  return {
    success: (late < 0 ? hosts.length : late) / hosts.length,
    lateness: mean(latenesses),
    lateness99: latenesses[Math.ceil(0.99 * hosts.length) - 1],
    meanDelayUs: mean(delaysUs),
    meanHops: mean(Float64Array.from(hosts, (host) => channel.hops[positions.idOf[host]])),
  };
}

/** One setting, drawn from its seed: publishers, their groups, bounds and who holds which identifier are the same whatever the rule; a larger group contains a smaller one. */
export interface SuccessJob {
  seed: number;
  /** Which of the networks. */
  network: number;
  k: number;
  n: number;
  routing: Routing;
  publishers: number;
  /** Of each publisher, 1 to hosts; as many as hosts are all but the publisher. */
  subscribers: number;
  tightness: number;
  rule: ExchangeRule;
  maxDepth: number;
  /** How often each subscriber may ask. */
  rounds: number;
}

/** Means over the publishers. */
export interface SuccessAnswer extends Success {
  counters: ExchangeCounters;
}

/** @param network of one host for each identifier of the job's cube */
export function runSuccess(network: HostDelays, job: SuccessJob, onProgress?: (share: number) => void): SuccessAnswer {
  const { hosts } = network;
  const { publishers, subscribers, routing, tightness, rule, maxDepth, rounds } = job;
  if (!(Number.isInteger(publishers) && publishers >= 1 && publishers < hosts)) throw invalid('publishers', publishers, `an integer from 1 to ${hosts - 1}, of ${hosts} hosts`);
  if (!(Number.isInteger(subscribers) && subscribers >= 1 && subscribers <= hosts)) throw invalid('subscribers', subscribers, `an integer from 1 to ${hosts}, the number of hosts`);
  const random = new Random(job.seed);
  const everyHost = (): Int32Array => Int32Array.from({ length: hosts }, (_, host) => host);
  const hostOf = random.fork('identifiers').shuffle(everyHost());
  const positions = new Positions(new KnCube(job.k, job.n), network, hostOf, routing, random.fork('routing'));
  for (const publisher of random.fork('publishers').shuffle(everyHost()).subarray(0, publishers)) {
    const draws = random.fork(`channel of ${publisher}`);
    const others = draws.shuffle(everyHost()).filter((host) => host !== publisher);
    positions.addChannel(publisher, drawBounds(network, publisher, others.subarray(0, subscribers), tightness, draws));
  }
  const counters = runExchange(positions, rule, maxDepth, rounds, random.fork('exchange'), onProgress);
  const measured = positions.channels.map((channel) => measureSuccess(positions, channel));
  const mean = (metric: keyof Success): number => measured.reduce((sum, channel) => sum + channel[metric], 0) / publishers;
  return { success: mean('success'), lateness: mean('lateness'), lateness99: mean('lateness99'), meanDelayUs: mean('meanDelayUs'), meanHops: mean('meanHops'), counters };
}

/** Divides jobs among worker threads that share the networks. The same for any number of threads. */
export function runSuccessJobs(networks: readonly HostNetwork[], jobs: readonly SuccessJob[], workers: number, onProgress?: (done: number) => void, signal?: AbortSignal): Promise<SuccessAnswer[]> {
  const data: SharedHostNetwork[] = networks.map((network) => network.share());
  return runJobs<SuccessJob, SuccessAnswer>({ worker: new URL('./success.worker.js', import.meta.url), data, jobs, workers, onProgress, signal });
}
