import { type DeliveryTree, type HostDelays } from './tree.js';

/** What a publisher's subscribers see. Its own host isn't one of them. */
export interface FlowSummary {
  subscribers: number;
  meanDelayUs: number;
  meanUnicastUs: number;
  meanHops: number;
  /** How many have a delay penalty: the others are so near (one router, no delay of access links) that unicast takes no time at all, and nothing compares with that. */
  penalised: number;
}

/**
 * Writes the delay penalties of a tree's subscribers, overlay delay / unicast delay, to `penalties`, ascending, and sums up the rest.
 *
 * @param subscribers hosts, undefined for all
 * @param penalties room for one per subscriber
 */
export function measureFlow(tree: DeliveryTree, delays: HostDelays, publisherHost: number, subscribers: Int32Array | undefined, penalties: Float32Array): FlowSummary {
  const count = subscribers === undefined ? delays.hosts : subscribers.length;
  const { entry, delayUs, hops } = tree;
  let seen = 0;
  let penalised = 0;
  let [delaySum, unicastSum, hopSum] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const host = subscribers === undefined ? i : subscribers[i];
    const id = entry[host];
    if (host === publisherHost || id < 0) continue;
    const unicastUs = delays.delayUs(publisherHost, host);
    seen++;
    delaySum += delayUs[id];
    unicastSum += unicastUs;
    hopSum += hops[id];
    if (unicastUs > 0) penalties[penalised++] = delayUs[id] / unicastUs;
  }
  penalties.subarray(0, penalised).sort();
  return { subscribers: seen, meanDelayUs: delaySum / seen, meanUnicastUs: unicastSum / seen, meanHops: hopSum / seen, penalised };
}

/** The value that a share of `ascending`, 0 to 1, does not exceed; NaN if there are none. */
export function quantile(ascending: ArrayLike<number>, share: number): number {
  return ascending.length === 0 ? NaN : ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)];
}

/** The share of `ascending`, 0 to 1, that is at most `bound`; NaN if there are none. */
export function shareAtMost(ascending: Float32Array, bound: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] <= bound) low = middle + 1;
    else high = middle;
  }
  return low / ascending.length;
}
