// scribe: the cube's delivery trees beside those of a Scribe-like system, unicast and IP multicast: delay, and what they do to physical links.
import { Random, invalid } from '../../src/base/index.js';
import { KnCube, Router, chooseShape } from '../../src/overlay/index.js';
import { type Figure, type Result } from '../../src/report/index.js';
import {
  type DelayMatrix, DeliveryTree, HostNetwork, LinkStress, PastryOverlay, type Topology, fanOut, quantile, scaledTransitStub, scribeTree, shareAtMost, shortestPaths, transitStub,
} from '../../src/sim/index.js';
import { pick } from '../context.js';
import { type Claim, type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { askedShape } from './flow-setup.js';
import { confidence95 } from './interval.js';
import { Series } from './series.js';

const NAME = 'scribe';
const DEFAULT_SHAPES = [[2, 16], [16, 4]] as const;
const DEFAULT_ROUTERS = 5050;
const DEFAULT_PUBLISHERS = 1;
const DEFAULT_SEEDS = 6;
/** Of which an entry of a routing table is the nearest: a table filled in passing, and one that has been improved for long. */
const CANDIDATES = { few: 16, many: 256 };
/** 1, 1.12, 1.26, … 32. */
const PENALTIES = Array.from({ length: 31 }, (_, i) => Number((10 ** (i / 20)).toPrecision(3)));
const COPIES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
/** The groups of Castro et al. 2002 §4.1: the r-th has ⌊N · r^−1.25 + 0.5⌋ of N hosts, 11 at least (recalled). */
const GROUPS = { count: 1500, exponent: 1.25, least: 11 };

const IP = 'IP multicast';
const STAR = 'unicast';
const SCRIBE = `Scribe-like, nearest of ${CANDIDATES.many}`;
const SCRIBE_FEW = `Scribe-like, nearest of ${CANDIDATES.few}`;
const SCRIBE_HASHED = `Scribe-like, nearest of ${CANDIDATES.many}, root by hash`;

/** Who gets packets from whom, and when. */
interface Delivery {
  parent: Int32Array;
  delayUs: Float32Array;
}

/** What the trees of one seed lie on. */
interface Place {
  topology: Topology;
  network: HostNetwork;
  stress: LinkStress;
  /** All hosts, those on one router side by side. */
  everyone: Int32Array;
  /** Host of each identifier, by cube. */
  trees: { variant: string; tree: DeliveryTree; router: Router }[];
  pastry: { many: PastryOverlay; few: PastryOverlay };
  random: Random;
}

function placeOn(topology: Topology, matrix: DelayMatrix, shapes: readonly KnCube[], hosts: number, random: Random): Place {
  const network = HostNetwork.place(topology, matrix, hosts, random.fork('hosts'));
  const trees = shapes.map((cube) => {
    const hostOf = Int32Array.from({ length: cube.size }, (_, id) => Math.floor((id * hosts) / cube.size));
    return { variant: cubeName(cube), tree: new DeliveryTree(cube, hostOf, network), router: new Router(cube, 'greedy') };
  });
  const pastry = (candidates: number): PastryOverlay => new PastryOverlay(network, random.fork('pastry'), candidates);
  const everyone = byRouter(Int32Array.from({ length: hosts }, (_, host) => host), network);
  return { topology, network, everyone, trees, random, stress: new LinkStress(topology, matrix), pastry: { many: pastry(CANDIDATES.many), few: pastry(CANDIDATES.few) } };
}

/** In this order their routes look up the same rows of the delay matrix one after the other, which makes trees several times faster, and no different. */
function byRouter(hosts: Int32Array, { router }: HostNetwork): Int32Array {
  return hosts.sort((a, b) => router[a] - router[b]);
}

/** A cube's tree, by host. */
function cubeDelivery(tree: DeliveryTree, router: Router, publisher: number, subscribers: Int32Array): Delivery {
  tree.build(router, tree.hostOf.indexOf(publisher), subscribers);
  const hosts = tree.entry.length;
  const parent = new Int32Array(hosts).fill(-1);
  const delayUs = new Float32Array(hosts);
  for (let host = 0; host < hosts; host++) {
    const next = tree.parent[tree.entry[host]];
    delayUs[host] = tree.delayUs[tree.entry[host]];
    if (next >= 0) parent[host] = tree.hostOf[next];
  }
  return { parent, delayUs };
}

function starDelivery(network: HostNetwork, publisher: number, subscribers: Int32Array): Delivery {
  const parent = new Int32Array(network.hosts).fill(-1);
  for (const subscriber of subscribers) parent[subscriber] = publisher;
  parent[publisher] = -1;
  return { parent, delayUs: Float32Array.from({ length: network.hosts }, (_, host) => network.delayUs(publisher, host)) };
}

/** One publisher's packet by each of the trees. */
function measurePublisher(place: Place, publisher: number, subscribers: Int32Array, series: Series): void {
  const { network, stress, pastry } = place;
  const own = (overlay: PastryOverlay): Delivery => scribeTree(overlay, network, publisher, overlay.idOf[publisher], subscribers);
  stress.clear();
  stress.addMulticast(publisher, network.router, subscribers);
  // None where all are on one router.
  const least = sum(stress.copies);
  const deliveries: [variant: string, make: () => Delivery][] = [
    [STAR, () => starDelivery(network, publisher, subscribers)],
    ...place.trees.map(({ variant, tree, router }): [string, () => Delivery] => [variant, () => cubeDelivery(tree, router, publisher, subscribers)]),
    [SCRIBE, () => own(pastry.many)],
    [SCRIBE_FEW, () => own(pastry.few)],
    [SCRIBE_HASHED, () => scribeTree(pastry.many, network, publisher, place.random.uint32(), subscribers)],
  ];
  for (const [variant, make] of deliveries) {
    const { parent, delayUs } = make();
    addDelays(series, variant, delayUs, network, publisher, subscribers);
    stress.clear();
    stress.addTree(parent, network.router);
    addStress(series, variant, stress);
    series.add(variant, {}, 'traffic', '×', sum(stress.copies) / Math.max(1, least));
    series.add(variant, {}, 'most copies sent', 'copies', fanOut(parent).reduce((most, count) => Math.max(most, count), 0));
  }
  stress.clear();
  stress.addMulticast(publisher, network.router, subscribers);
  addStress(series, IP, stress);
}

function addDelays(series: Series, variant: string, delayUs: Float32Array, network: HostNetwork, publisher: number, subscribers: Int32Array): void {
  const { penalties, averages, maxima } = penaltiesOf(delayUs, network, publisher, subscribers);
  series.add(variant, {}, 'median penalty', '×', quantile(penalties, 0.5));
  series.add(variant, {}, '90th percentile of penalties', '×', quantile(penalties, 0.9));
  series.add(variant, {}, 'ratio of mean delays', '×', averages);
  series.add(variant, {}, 'ratio of longest delays', '×', maxima);
  for (const penalty of PENALTIES) series.add(variant, { penalty }, 'within', '%', 100 * shareAtMost(penalties, penalty));
}

/** Each subscriber's delay over that by IP multicast, which takes the shortest paths, as unicast does; and the ratios of the means and of the longest. */
function penaltiesOf(delayUs: Float32Array, network: HostNetwork, publisher: number, subscribers: Int32Array): { penalties: Float32Array; averages: number; maxima: number } {
  const penalties = new Float32Array(subscribers.length);
  let [seen, total, leastTotal, most, leastMost] = [0, 0, 0, 0, 0];
  for (const host of subscribers) {
    if (host === publisher) continue;
    const unicastUs = network.delayUs(publisher, host);
    // Through 32 bits, so that what is the same is 1.
    penalties[seen++] = delayUs[host] / Math.fround(unicastUs);
    total += delayUs[host];
    leastTotal += unicastUs;
    most = Math.max(most, delayUs[host]);
    leastMost = Math.max(leastMost, unicastUs);
  }
  return { penalties: penalties.subarray(0, seen).sort(), averages: total / leastTotal, maxima: most / leastMost };
}

function addStress(series: Series, variant: string, { copies }: LinkStress): void {
  const used = copies.filter((count) => count > 0).sort();
  series.add(variant, {}, 'mean link stress', 'copies', sum(used) / Math.max(1, used.length));
  series.add(variant, {}, 'greatest link stress', 'copies', used.at(-1) ?? 0);
  for (const copies of COPIES) series.add(variant, { copies }, 'links with as many', '%', 100 * (1 - lowerShare(used, copies)));
}

function lowerShare(ascending: Uint32Array, value: number): number {
  const first = ascending.findIndex((count) => count >= value);
  return first < 0 ? 1 : first / ascending.length;
}

/** As published: many groups of very different size, each sending one packet from its root, which its name's hash gives. */
async function measureGroups({ network, stress, pastry, topology }: Place, random: Random, series: Series, pause: (share: number) => Promise<void>): Promise<void> {
  const { hosts } = network;
  const ip = new Float64Array(topology.targets.length);
  const tree = new Float64Array(topology.targets.length);
  const order = Int32Array.from({ length: hosts }, (_, host) => host);
  let [ipAccess, treeAccess] = [0, 0];
  const averages: number[] = [];
  const maxima: number[] = [];
  for (let rank = 1; rank <= GROUPS.count; rank++) {
    if (rank % 50 === 0) await pause(rank / GROUPS.count);
    const size = Math.min(hosts, Math.max(GROUPS.least, Math.floor(hosts * rank ** -GROUPS.exponent + 0.5)));
    for (let i = 0; i < size; i++) {
      const other = random.int(i, hosts - 1);
      [order[i], order[other]] = [order[other], order[i]];
    }
    const members = byRouter(order.slice(0, size), network);
    const key = random.uint32();
    const root = pastry.many.rootOf(key);
    const { parent, delayUs } = scribeTree(pastry.many, network, root, key, members);
    const ratios = penaltiesOf(delayUs, network, root, members);
    averages.push(ratios.averages);
    maxima.push(ratios.maxima);
    stress.clear();
    stress.addMulticast(root, network.router, members);
    for (let link = 0; link < ip.length; link++) ip[link] += stress.copies[link];
    stress.clear();
    stress.addTree(parent, network.router);
    for (let link = 0; link < tree.length; link++) tree[link] += stress.copies[link];
    // On access links: one out and one in for each member, and for each edge of the tree.
    ipAccess += 1 + size;
    treeAccess += 2 * parent.reduce((edges, from) => edges + (from >= 0 ? 1 : 0), 0);
  }
  const links = ip.length + 2 * hosts;
  const add = (metric: string, unit: string, value: number): void => series.add(SCRIBE_HASHED, { groups: GROUPS.count }, metric, unit, value);
  add('median ratio of mean delays', '×', quantile(Float32Array.from(averages).sort(), 0.5));
  add('median ratio of longest delays', '×', quantile(Float32Array.from(maxima).sort(), 0.5));
  add('packets per link', 'packets', (sum(tree) + treeAccess) / links);
  add('packets per link, IP multicast', 'packets', (sum(ip) + ipAccess) / links);
}

function sum(values: Uint32Array | Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

interface Setting {
  shapes: KnCube[];
  hosts: number;
  routers: number;
  publishers: number;
  /** Undefined for all. */
  subscribers: number | undefined;
  seeds: number;
}

function settingOf({ parameters }: SimContext): Setting {
  const { hosts, routers = DEFAULT_ROUTERS, publishers = DEFAULT_PUBLISHERS, subscribers, seeds = DEFAULT_SEEDS } = parameters;
  const asked = askedShape(parameters);
  const chosen = hosts === undefined ? undefined : chooseShape(hosts);
  const shapes = asked !== undefined ? [asked] : chosen !== undefined ? [new KnCube(chosen.k, chosen.n)] : DEFAULT_SHAPES.map(([k, n]) => new KnCube(k, n));
  const [{ size }] = shapes;
  const count = hosts ?? size;
  if (count < 2 || count > size) throw invalid('hosts', count, `from 2 to the ${size} identifiers of the cube`);
  if (publishers > count) throw invalid('publishers', publishers, `at most as many as there are hosts (${count})`);
  if (subscribers !== undefined && subscribers >= count) throw invalid('subscribers', subscribers, `fewer than there are hosts (${count}), as the publisher is one of them`);
  return { shapes, hosts: count, routers, publishers, subscribers, seeds };
}

/** So many hosts, all different, `publisher` not among them. */
function drawSubscribers(hosts: number, count: number, publisher: number, random: Random): Int32Array {
  const others = Int32Array.from({ length: hosts - 1 }, (_, i) => (i < publisher ? i : i + 1));
  return random.shuffle(others).slice(0, count);
}

async function run(context: SimContext): Promise<ExperimentOutput> {
  const setting = settingOf(context);
  const { shapes, hosts, routers, publishers, subscribers, seeds } = setting;
  const random = new Random(context.seed >>> 0).fork(NAME);
  const series = new Series(NAME);
  // A seed is a network's paths, its publishers, and the first its groups.
  const steps = seeds * (1 + publishers) + 1;
  let step = 0;
  const pause = async (what: string, share = 0): Promise<void> => {
    context.progress(step + share, steps, what);
    // Lets progress be drawn and signals be heard.
    await new Promise((resolve) => setImmediate(resolve));
    context.signal.throwIfAborted();
  };
  for (let seed = 0; seed < seeds; seed++) {
    const where = `network ${seed + 1} of ${seeds}`;
    await pause(where);
    const draws = random.fork(`seed ${seed}`);
    const topology = transitStub(scaledTransitStub(routers), draws.fork('topology'));
    const matrix = await shortestPaths(topology, { workers: context.workers, predecessors: true, signal: context.signal });
    const place = placeOn(topology, matrix, shapes, hosts, draws.fork('place'));
    const own = new Series(NAME);
    for (let i = 0; i < publishers; i++) {
      step++;
      await pause(`publisher ${i + 1} of ${publishers}, ${where}`);
      const publisher = draws.int(0, hosts - 1);
      measurePublisher(place, publisher, subscribers === undefined ? place.everyone : byRouter(drawSubscribers(hosts, subscribers, publisher, draws), place.network), own);
    }
    step++;
    if (seed === 0) {
      await measureGroups(place, draws.fork('groups'), series, (share) => pause(`${GROUPS.count} groups`, share));
      step++;
    }
    // A value for each network, so that repetitions are independent.
    for (const { variant, params, metric, unit, runs } of own.results()) series.add(variant, params, metric, unit, runs.reduce((sum, value) => sum + value, 0) / runs.length);
  }
  context.progress(steps, steps, '');
  // Logarithms have no room for shares of nothing.
  const results = series.results().filter(({ metric, min }) => metric !== 'links with as many' || min > 0);
  return { results, figures: figuresOf(results, setting), targets: [], claims: claimsOf(results, setting) };
}

/** '1.62 (95 % interval 1.58–1.66)'. */
function intervalText(values: readonly number[]): string {
  const { mean, low, high } = confidence95(values);
  return `${mean.toFixed(2)}${Number.isFinite(low) ? ` (95 % interval ${low.toFixed(2)}–${high.toFixed(2)})` : ''}`;
}

function figuresOf(results: Result[], { shapes, hosts, publishers, subscribers, seeds }: Setting): Figure[] {
  const [first] = shapes;
  const cube = cubeName(first);
  const mean = (variant: string, metric = 'ratio of mean delays'): string => intervalText(pick(results, variant, {}, metric).runs);
  const median = (variant: string, metric: string): string => pick(results, variant, {}, metric).median.toFixed(0);
  return [
    {
      id: 'scribe-penalty',
      title: 'Delay penalty of cube trees and Scribe-like trees',
      paragraph:
        `${publishers === 1 ? 'One publisher' : `${publishers} publishers`} to ${subscribers ?? 'all'} of ${hosts} hosts on each of ${seeds} transit-stub networks: the share of subscribers whose delay is at most so many times that by unicast (which IP multicast has, too). The mean delay is that of unicast times ` +
        `${mean(cube)} on the cube ${first.k}x${first.n}, ${mean(SCRIBE)} on a Scribe-like tree whose root is the publisher, ${mean(SCRIBE_FEW)} if its routing tables hold the nearest of ${CANDIDATES.few} instead of ${CANDIDATES.many}, ` +
        `and ${mean(SCRIBE_HASHED)} where a hash says who is the root.\n\n` +
        `Pastry fills each entry of its tables with a near host out of many, and all hops towards the root but the last are short; a cube's neighbours are where identifiers put them, and Greedy chooses among ${first.degree} at most. ` +
        'Identifiers lie at random here: what their exchange gains is another experiment.',
      kind: 'line',
      x: { param: 'penalty', label: 'delay penalty: overlay delay / unicast delay', scale: 'log' },
      y: { metric: 'within', label: 'subscribers within', unit: '%' },
      results,
    },
    {
      id: 'scribe-stress',
      title: 'Stress of physical links',
      paragraph:
        `How many of the links between routers that a packet uses at all carry at least so many copies of it, each direction by itself. In the mean it is ${mean(cube, 'mean link stress')} on the cube, ${mean(SCRIBE, 'mean link stress')} on the Scribe-like tree, ` +
        `${mean(STAR, 'mean link stress')} by unicast; at most ${median(cube, 'greatest link stress')}, ${median(SCRIBE, 'greatest link stress')} and ${median(STAR, 'greatest link stress')}. All copies on all links together are ${mean(cube, 'traffic')} times those of IP multicast on the cube, ` +
        `${mean(SCRIBE, 'traffic')} times on the Scribe-like tree.`,
      kind: 'line',
      x: { param: 'copies', label: 'copies of a packet on a link', scale: 'log' },
      y: { metric: 'links with as many', label: 'used links with as many or more', unit: '%', scale: 'log' },
      results,
    },
    {
      id: 'scribe-mean-stress',
      title: 'Mean stress of the links used',
      paragraph: 'The same packets.',
      kind: 'bar',
      x: { param: 'variant', label: 'tree' },
      y: { metric: 'mean link stress', label: 'copies on a link', unit: 'copies', scale: 'log' },
      results,
    },
    {
      id: 'scribe-fan-out',
      title: 'Copies that the busiest host sends',
      paragraph:
        `A host of a cube never has more children than neighbours (${first.degree} on ${first.k}x${first.n}). A host of Pastry is in the tables of others as often as it is near to them, so that the busiest of a Scribe-like tree sends ${median(SCRIBE, 'most copies sent')} copies of each packet: ` +
        'what Scribe has its removal of bottlenecks for, which is left out here and would cost delay.',
      kind: 'bar',
      x: { param: 'variant', label: 'tree' },
      y: { metric: 'most copies sent', label: 'copies sent', unit: 'copies', scale: 'log' },
      results,
    },
  ];
}

function claimsOf(results: Result[], { shapes: [first] }: Setting): Claim[] {
  const groups = (metric: string): number => pick(results, SCRIBE_HASHED, { groups: GROUPS.count }, metric).median;
  const [average, longest] = [groups('median ratio of mean delays'), groups('median ratio of longest delays')];
  const [tree, ip] = [groups('packets per link'), groups('packets per link, IP multicast')];
  const cube = cubeName(first);
  return [
    {
      what: 'Delay of Scribe against IP multicast',
      published: '≲ 1.8 times (recalled)',
      source: 'Castro, Druschel, Kermarrec & Rowstron 2002',
      measured: `${average.toFixed(2)} (mean delays) and ${longest.toFixed(2)} (longest delays), each the median over ${GROUPS.count} groups`,
      agrees: average <= 1.8,
      remark: `From the root on, groups from all hosts down to ${GROUPS.least}. To all hosts it is ${intervalText(pick(results, SCRIBE, {}, 'ratio of mean delays').runs)}; a cube's (${cube}) is ${intervalText(pick(results, cube, {}, 'ratio of mean delays').runs)}.`,
    },
    {
      what: 'Mean link stress of Scribe',
      published: 'about 2.4 packets per link where IP multicast has about 0.7: 3.4 times (recalled)',
      source: 'Castro, Druschel, Kermarrec & Rowstron 2002',
      measured: `${tree.toFixed(1)} and ${ip.toFixed(1)}: ${(tree / ip).toFixed(1)} times`,
      agrees: null,
      remark: `A packet to each of ${GROUPS.count} groups, over all links and access links, used or not. How many links there are differs from the published network, so that the quotient compares and the numbers don't; it is recalled too vaguely to be judged.`,
    },
  ];
}

function cubeName({ k, n }: KnCube): string {
  return `cube ${k}x${n}, Greedy`;
}

export const scribe: Experiment = {
  name: NAME,
  summary: 'delivery trees of cubes beside a Scribe-like system, unicast and IP multicast: delay and link stress',
  takes: {
    k: 'of the cube, with --n: by default 2x16 and 16x4',
    n: 'of the cube',
    routers: `of each transit-stub network, roughly: ${DEFAULT_ROUTERS}`,
    hosts: 'as many as the cube has identifiers; without --k and --n, the cube is chosen for them',
    publishers: `on each network: ${DEFAULT_PUBLISHERS}`,
    subscribers: 'of each publisher: all hosts',
    seeds: `networks: ${DEFAULT_SEEDS}`,
  },
  run,
};
