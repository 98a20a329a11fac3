import { type Random, invalid } from '../../base/index.js';
import { type KnCube, Router, type Routing, productivePorts } from '../../overlay/index.js';
import { type HostDelays } from './tree.js';

/** One publisher's routes from every identifier, and the bounds of its subscribers. Read it; Positions changes it. */
export interface Channel {
  readonly publisher: number;
  /** The publisher's identifier. */
  readonly root: number;
  /** By host: its delay bound; NaN for hosts that do not subscribe. */
  readonly boundsUs: Float64Array;
  /** By identifier: hops to the root. */
  readonly hops: Uint16Array;
  /** By identifier: the next hop towards the root, along which data comes down; −1 at the root. */
  readonly parents: Int32Array;
  /** By identifier: delay of the link to its parent. */
  readonly linksUs: Float64Array;
  /** By identifier, as of the last summary: subscribers that receive by it or through it, */
  readonly subscribers: Int32Array;
  /** and those of them that were late then. */
  readonly late: Int32Array;
}

/**
 * Who holds which identifier while identifiers change hands, and the routes that follow from it: each identifier's next hop towards each publisher,
 * by the routing function on its holder's own link costs. Greedy chooses anew where a link's end has moved; ODR and Random keep the way in the
 * cube that they chose at first. Without exchange these are the routes of DeliveryTree.
 */
export class Positions {
  readonly cube: KnCube;
  readonly network: HostDelays;
  /** By identifier. */
  readonly hostOf: Int32Array;
  /** By host. */
  readonly idOf: Int32Array;
  readonly channels: Channel[];
  private readonly isGreedy: boolean;
  private readonly router: Router;
  private readonly costsUs: Float64Array;
  private readonly ports: Int32Array;

  /** @param hostOf by identifier; taken over and changed. Throws ERR_INVALID_ARGUMENT unless each host of the network holds exactly one identifier. */
  constructor(cube: KnCube, network: HostDelays, hostOf: Int32Array, routing: Routing, random: Random) {
    if (network.hosts !== cube.size) throw invalid('hosts', network.hosts, `${cube.size}, one for each identifier of the cube`);
    this.cube = cube;
    this.network = network;
    this.hostOf = hostOf;
    this.idOf = new Int32Array(network.hosts).fill(-1);
    for (let id = 0; id < hostOf.length; id++) this.idOf[hostOf[id]] = id;
    if (hostOf.length !== cube.size || this.idOf.includes(-1)) throw invalid('hostOf', `${new Set(hostOf).size} different hosts`, `each of ${cube.size} hosts once`);
    this.channels = [];
    this.isGreedy = routing === 'greedy';
    this.router = new Router(cube, routing, random);
    this.costsUs = new Float64Array(cube.degree);
    this.ports = new Int32Array(cube.degree);
  }

  /** @param boundsUs as in Channel */
  addChannel(publisher: number, boundsUs: Float64Array): Channel {
    const { size } = this.cube;
    const root = this.idOf[publisher];
    const channel: Channel = {
      publisher, root, boundsUs,
      hops: new Uint16Array(size),
      parents: new Int32Array(size).fill(-1),
      linksUs: new Float64Array(size),
      subscribers: new Int32Array(size),
      late: new Int32Array(size),
    };
    for (let id = 0; id < size; id++) channel.hops[id] = this.cube.distance(id, root);
    for (let id = 0; id < size; id++) this.link(channel, id, this.nextHop(channel, id, this.hostOf[id]));
    this.channels.push(channel);
    return channel;
  }

  /** Whether a publisher has the identifier, so that it stays where it is: its subscribers' routes lead there. */
  isRoot(id: number): boolean {
    for (const channel of this.channels) if (channel.root === id) return true;
    return false;
  }

  /** Of the way from the publisher to the identifier's holder. */
  delayUs({ parents, linksUs }: Channel, id: number): number {
    let delayUs = 0;
    for (let at = id; parents[at] >= 0; at = parents[at]) delayUs += linksUs[at];
    return delayUs;
  }

  /** The next hop from `id` if `host` held it and all else were as it is; −1 at the root. */
  parentIf(channel: Channel, id: number, host: number): number {
    return this.isGreedy ? this.nextHop(channel, id, host) : channel.parents[id];
  }

  /** The holders of two identifiers exchange them; all routes follow. Done twice, all is as before. */
  swap(a: number, b: number): void {
    if (this.isRoot(a) || this.isRoot(b)) throw invalid('identifier', this.isRoot(a) ? a : b, 'one that no publisher has');
    const { hostOf, idOf } = this;
    const hostA = hostOf[a];
    const hostB = hostOf[b];
    hostOf[a] = hostB;
    hostOf[b] = hostA;
    idOf[hostA] = b;
    idOf[hostB] = a;
    for (const channel of this.channels) {
      this.moved(channel, a);
      this.moved(channel, b);
    }
  }

  /** What all hosts know of their branches when each has told its parent. */
  summarize({ root, hops, parents, linksUs, subscribers, late, boundsUs }: Channel): void {
    const { hostOf } = this;
    const order = byHops(hops);
    const delaysUs = new Float64Array(hops.length);
    for (const id of order) {
      if (id !== root) delaysUs[id] = delaysUs[parents[id]] + linksUs[id];
      const boundUs = boundsUs[hostOf[id]];
      subscribers[id] = Number.isNaN(boundUs) ? 0 : 1;
      late[id] = delaysUs[id] > boundUs ? 1 : 0;
    }
    for (let i = order.length - 1; i > 0; i--) {
      const id = order[i];
      subscribers[parents[id]] += subscribers[id];
      late[parents[id]] += late[id];
    }
  }

  /** Another host holds `id` now: its own way, and those that led by it or might. */
  private moved(channel: Channel, id: number): void {
    const { hops, parents } = channel;
    this.reroute(channel, id);
    for (let port = 0; port < this.cube.degree; port++) {
      const neighbour = this.cube.neighbour(id, port);
      if (this.isGreedy ? hops[neighbour] > hops[id] : parents[neighbour] === id) this.reroute(channel, neighbour);
    }
  }

  private reroute(channel: Channel, id: number): void {
    this.link(channel, id, this.parentIf(channel, id, this.hostOf[id]));
  }

  private nextHop({ root }: Channel, id: number, host: number): number {
    if (id === root) return -1;
    const { cube, costsUs, ports, hostOf, network } = this;
    const count = productivePorts(cube, id, root, ports);
    for (let i = 0; i < count; i++) costsUs[ports[i]] = network.delayUs(host, hostOf[cube.neighbour(id, ports[i])]);
    return cube.neighbour(id, this.router.nextPort(id, root, costsUs, 0));
  }

  private link(channel: Channel, id: number, parent: number): void {
    channel.parents[id] = parent;
    if (parent >= 0) channel.linksUs[id] = this.network.delayUs(this.hostOf[id], this.hostOf[parent]);
  }
}

/** All identifiers, the root first, those of more hops after those of fewer: a counting sort. */
function byHops(hops: Uint16Array): Int32Array {
  let most = 0;
  for (const count of hops) most = Math.max(most, count);
  const starts = new Int32Array(most + 2);
  for (const count of hops) starts[count + 1]++;
  for (let count = 0; count < most; count++) starts[count + 1] += starts[count];
  const order = new Int32Array(hops.length);
  for (let id = 0; id < hops.length; id++) order[starts[hops[id]]++] = id;
  return order;
}
