import { type Random } from '../../base/index.js';
import { DESCEND, STOP, branchGainUs, breaksBound, improvedStep, moverGainUs, publishedStep, refusedStep } from '../../overlay/index.js';
import { type Channel, type Positions } from './positions.js';

/**
 * How subscribers exchange identifiers: as published; as improved (src/overlay/exchange.ts has both); with a random identifier at most maxDepth hops
 * from the publisher; with one anywhere. The random ones exchange whatever it brings.
 */
export type ExchangeRule = 'none' | 'published' | 'improved' | 'random near' | 'random anywhere';

/**
 * What it took. A message is one datagram: a measurement is two (there and back), handing a request on is one, asking a partner for what it knows two, a
 * swap four (asked for, agreed, confirmed, answered) and one from each of the two to each of its new neighbours. What neighbours know of one another anyway,
 * by heartbeats, costs nothing: link costs, delays, branches.
 */
export interface ExchangeCounters {
  /** Requests: of every subscriber as published, of late ones as improved. */
  asked: number;
  /** Swaps that lasted. */
  swaps: number;
  /** Swaps that did not bring what was foreseen, and were undone. */
  undone: number;
  /** Swaps that the partner refused for the sake of its bounds. */
  refused: number;
  messages: number;
}

const MEASUREMENT_MESSAGES = 2;
const SWAP_MESSAGES = 4;

/** Carries out requests, one at a time, on Positions. */
export class Exchange {
  readonly counters: ExchangeCounters;
  private readonly positions: Positions;
  private readonly maxDepth: number;
  private readonly costsUs: Float64Array;
  private readonly gainsUs: Float64Array;
  /** By channel: the least delay of all next hops from where the subscriber is; whoever comes there has more. */
  private readonly leastUs: Float64Array;

  /** @param maxDepth D of the published rule, and of the others */
  constructor(positions: Positions, maxDepth: number) {
    this.positions = positions;
    this.maxDepth = maxDepth;
    this.counters = { asked: 0, swaps: 0, undone: 0, refused: 0, messages: 0 };
    this.costsUs = new Float64Array(positions.cube.degree);
    this.gainsUs = new Float64Array(positions.cube.degree);
    this.leastUs = new Float64Array(positions.channels.length);
  }

  /** Returns whether the subscriber has another identifier now. */
  request(rule: ExchangeRule, channel: Channel, subscriber: number, random: Random): boolean {
    const { positions } = this;
    const own = positions.idOf[subscriber];
    if (rule === 'none' || positions.isRoot(own)) return false;
    if (rule === 'published') return this.published(channel, own);
    if (rule === 'improved') return this.improved(channel, own);
    const { cube } = positions;
    let other = rule === 'random near' ? channel.root : random.int(0, cube.size - 1);
    if (rule === 'random near') {
      for (let hops = random.int(1, this.maxDepth); hops > 0; hops--) other = cube.neighbour(other, random.int(0, cube.degree - 1));
    }
    this.counters.asked++;
    if (positions.isRoot(other) || positions.hostOf[other] === subscriber) return false;
    this.swap(own, other);
    return true;
  }

  private published(channel: Channel, own: number): boolean {
    const { positions, costsUs, counters } = this;
    const { cube, hostOf, network } = positions;
    const subscriber = hostOf[own];
    counters.asked++;
    let from = -1;
    let at = channel.root;
    for (let depth = 0; hostOf[at] !== subscriber; depth++) {
      for (let port = 0; port < cube.degree; port++) {
        const neighbour = cube.neighbour(at, port);
        costsUs[port] = neighbour === from || positions.isRoot(neighbour) ? Infinity : network.delayUs(hostOf[at], hostOf[neighbour]);
      }
      counters.messages += MEASUREMENT_MESSAGES + 1;
      let step = publishedStep(costsUs, 0, cube.degree, network.delayUs(subscriber, hostOf[at]), depth, this.maxDepth);
      if (step >= 0 && step < DESCEND) {
        const partner = cube.neighbour(at, step);
        // It can't be the subscriber itself, whose cost is no less than its own.
        if (!this.refuses(own, partner)) {
          this.swap(own, partner);
          return true;
        }
        counters.refused++;
        step = refusedStep(costsUs, 0, cube.degree, depth, this.maxDepth);
      }
      if (step === STOP) return false;
      from = at;
      at = cube.neighbour(at, step - DESCEND);
    }
    return false;
  }

  /** As published, of a host that several publishers serve: it minds its own bounds. */
  private refuses(own: number, partner: number): boolean {
    const { positions } = this;
    if (positions.channels.length === 1) return false;
    return positions.channels.some((channel) => {
      const boundUs = channel.boundsUs[positions.hostOf[partner]];
      return !Number.isNaN(boundUs) && breaksBound(positions.delayUs(channel, partner), this.delayAtUs(channel, partner, own), boundUs);
    });
  }

  private improved(channel: Channel, own: number): boolean {
    const { positions, costsUs, gainsUs, counters } = this;
    const { cube, hostOf, network } = positions;
    const subscriber = hostOf[own];
    if (!(positions.delayUs(channel, own) > channel.boundsUs[subscriber])) return false;
    counters.asked++;
    for (let i = 0; i < positions.channels.length; i++) this.leastUs[i] = this.leastDelayUs(positions.channels[i], own);
    let at = channel.root;
    for (let depth = 0; hostOf[at] !== subscriber; depth++) {
      counters.messages++;
      for (let port = 0; port < cube.degree; port++) {
        const neighbour = cube.neighbour(at, port);
        const farther = depth < this.maxDepth && channel.hops[neighbour] > channel.hops[at];
        costsUs[port] = farther ? network.delayUs(subscriber, hostOf[neighbour]) : Infinity;
        gainsUs[port] = farther ? this.gainUs(channel, own, neighbour) : 0;
        if (farther) counters.messages += MEASUREMENT_MESSAGES;
      }
      const step = improvedStep(gainsUs, costsUs, 0, cube.degree, depth, this.maxDepth);
      if (step === STOP) return false;
      if (step < DESCEND) return this.tentativeSwap(channel, own, cube.neighbour(at, step));
      at = cube.neighbour(at, step - DESCEND);
    }
    return false;
  }

  /**
   * What all gain, over all channels, where the late subscriber at `own` and the holder of `partner` swap; 0 where one of them refuses. The subscriber
   * measures first; the partner only if that promises something.
   */
  private gainUs(asked: Channel, own: number, partner: number): number {
    const { positions, counters } = this;
    const { channels, hostOf } = positions;
    if (hostOf[partner] === hostOf[own] || positions.isRoot(partner)) return 0;
    counters.messages += 2;
    for (let i = 0; i < channels.length; i++) {
      if (breaksBound(positions.delayUs(channels[i], partner), this.leastUs[i], channels[i].boundsUs[hostOf[partner]])) {
        counters.refused++;
        return 0;
      }
    }
    let gainUs = 0;
    for (const channel of channels) {
      const thenUs = this.delayAtUs(channel, own, partner);
      if (channel === asked && !(thenUs < positions.delayUs(channel, own))) return 0;
      gainUs += this.moveGainUs(channel, own, partner, thenUs);
    }
    if (!(gainUs > 0)) return 0;
    for (const channel of channels) gainUs += this.moveGainUs(channel, partner, own, this.delayAtUs(channel, partner, own));
    return gainUs > 0 ? gainUs : 0;
  }

  /** The delay that the holder of `from` would have at `to`; NaN where the next hop from there were the other of the two, which moves as well. */
  private delayAtUs(channel: Channel, from: number, to: number): number {
    const { positions } = this;
    const host = positions.hostOf[from];
    this.countMeasurements(channel, to);
    const parent = positions.parentIf(channel, to, host);
    return parent === from ? NaN : positions.delayUs(channel, parent) + positions.network.delayUs(host, positions.hostOf[parent]);
  }

  /** What its move to `to` is worth for the holder of `from` and for all that receive through `to`; NaN if it breaks a bound, or can't be. */
  private moveGainUs(channel: Channel, from: number, to: number, thenUs: number): number {
    const { positions } = this;
    const delayUs = positions.delayUs(channel, from);
    const boundUs = channel.boundsUs[positions.hostOf[from]];
    if (breaksBound(delayUs, thenUs, boundUs)) {
      this.counters.refused++;
      return NaN;
    }
    const gainUs = this.branchesGainUs(channel, to, positions.hostOf[from], positions.delayUs(channel, to) - thenUs);
    return Number.isNaN(boundUs) ? gainUs : gainUs + moverGainUs(delayUs, thenUs, boundUs);
  }

  /** Of all who receive through `id`, where `host` takes it and has the data `savedUs` sooner there than its holder has now. */
  private branchesGainUs({ parents, subscribers, late, linksUs }: Channel, id: number, host: number, savedUs: number): number {
    const { cube, hostOf, network } = this.positions;
    let gainUs = 0;
    for (let port = 0; port < cube.degree; port++) {
      const child = cube.neighbour(id, port);
      if (parents[child] !== id || subscribers[child] === 0) continue;
      gainUs += branchGainUs(subscribers[child], late[child], savedUs + linksUs[child] - network.delayUs(host, hostOf[child]));
    }
    return gainUs;
  }

  private leastDelayUs(channel: Channel, id: number): number {
    const { positions } = this;
    let leastUs = Infinity;
    for (let port = 0; port < positions.cube.degree; port++) {
      const neighbour = positions.cube.neighbour(id, port);
      if (channel.hops[neighbour] < channel.hops[id]) leastUs = Math.min(leastUs, positions.delayUs(channel, neighbour));
    }
    return leastUs;
  }

  /** A newcomer at `id` measures its costs to those among which it would choose its next hop, and to those that receive from it. */
  private countMeasurements({ hops, parents, subscribers }: Channel, id: number): void {
    const { cube } = this.positions;
    for (let port = 0; port < cube.degree; port++) {
      const neighbour = cube.neighbour(id, port);
      if (hops[neighbour] < hops[id] || (parents[neighbour] === id && subscribers[neighbour] > 0)) this.counters.messages += MEASUREMENT_MESSAGES;
    }
  }

  private tentativeSwap(asked: Channel, own: number, partner: number): boolean {
    const { positions, counters } = this;
    const delaysUs = positions.channels.map((channel) => [positions.delayUs(channel, own), positions.delayUs(channel, partner)]);
    const subscriber = positions.hostOf[own];
    const host = positions.hostOf[partner];
    this.swap(own, partner);
    const disappoints = positions.channels.some((channel, i) => {
      const ownThenUs = positions.delayUs(channel, partner);
      if (channel === asked && ownThenUs >= delaysUs[i][0]) return true;
      if (breaksBound(delaysUs[i][0], ownThenUs, channel.boundsUs[subscriber])) return true;
      return breaksBound(delaysUs[i][1], positions.delayUs(channel, own), channel.boundsUs[host]);
    });
    if (!disappoints) return true;
    this.swap(own, partner);
    counters.swaps -= 2;
    counters.undone++;
    return false;
  }

  private swap(a: number, b: number): void {
    this.positions.swap(a, b);
    this.counters.swaps++;
    this.counters.messages += SWAP_MESSAGES + 2 * this.positions.cube.degree;
  }
}

/** How often in a round all hosts tell their parents of their branches. */
const SUMMARIES = 16;

/**
 * Lets all subscribers of all channels ask, in random order, `rounds` times, or until nobody moves.
 *
 * @param onProgress with the share of the asking that is done
 */
export function runExchange(positions: Positions, rule: ExchangeRule, maxDepth: number, rounds: number, random: Random, onProgress?: (share: number) => void): ExchangeCounters {
  const exchange = new Exchange(positions, maxDepth);
  const requests = positions.channels.flatMap((channel, index) => subscribersOf(channel).map((host) => index * positions.network.hosts + host));
  const slice = Math.ceil(requests.length / SUMMARIES);
  for (let round = 0; round < rounds && rule !== 'none'; round++) {
    random.shuffle(requests);
    let moved = false;
    for (let i = 0; i < requests.length; i++) {
      if (i % slice === 0) {
        for (const channel of positions.channels) positions.summarize(channel);
        onProgress?.((round + i / requests.length) / rounds);
      }
      const channel = positions.channels[Math.floor(requests[i] / positions.network.hosts)];
      if (exchange.request(rule, channel, requests[i] % positions.network.hosts, random)) moved = true;
    }
    if (!moved) break;
  }
  return exchange.counters;
}

/** The hosts that subscribe, in ascending order. */
export function subscribersOf({ boundsUs }: Channel): number[] {
  const subscribers: number[] = [];
  for (let host = 0; host < boundsUs.length; host++) if (!Number.isNaN(boundsUs[host])) subscribers.push(host);
  return subscribers;
}
