// de-bruijn: the cube beside the graph with the least diameter for its degree: hops, delays over a physical network, and what arrives when hosts are dead.
import { Random, invalid } from '../../src/base/index.js';
import { KnCube, Router, nextPortAround } from '../../src/overlay/index.js';
import { type Figure, type Result, humanize, summarize } from '../../src/report/index.js';
import { DeBruijn, type HostDelays, HostNetwork, quantile, scaledTransitStub, shareAtMost, shortestPaths, transitStub } from '../../src/sim/index.js';
import { pick, ratio } from '../context.js';
import { type Claim, type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { askedShape } from './flow-setup.js';
import { confidence95 } from './interval.js';
import { Series } from './series.js';

const NAME = 'de-bruijn';
/** Cubes for which there is a de Bruijn graph of as many nodes and as many links out of each: kⁿ = degree^m. */
const EQUAL_PAIRS = [[16, 2], [6, 3], [8, 4], [36, 3], [256, 2], [2, 16]] as const;
const MEASURED_PAIRS = [[2, 16], [8, 4]] as const;
const DEFAULT_SEEDS = 10;
const DEFAULT_ROUTERS = 1000;
const SOURCES = 16;
const PEER_SAMPLES = 1024;
const ROUTES = 10_000;
const FAULTY_ROUTES = 2000;
const DEAD_PERCENTS = [0, 5, 10, 15, 20, 25, 30];
/** What a packet may take, as an IP packet's TTL (RFC 1700: 64), or twice the cube's diameter where that is more. */
const HOP_LIMIT = 64;
const MOST_DETOURS = 2;
/** 1, 1.26, 1.58, … 100. */
const PENALTIES = Array.from({ length: 21 }, (_, i) => Number((10 ** (i / 10)).toPrecision(3)));

interface Pair {
  name: string;
  cube: KnCube;
  graph: DeBruijn;
}

/** What a packet knows. */
interface Packet {
  readonly visited: Int32Array;
  visitedCount: number;
  detours: number;
}

/** An overlay with a way of routing on it. */
interface Way {
  name: string;
  degree: number;
  neighbour(id: number, port: number): number;
  /** −1: no usable link. */
  next(self: number, destination: number, costs: Float64Array, packet: Packet): number;
  /** Whether a packet without a usable link goes back. */
  goesBack: boolean;
}

/** The cube, and the de Bruijn graph of its degree whose number of nodes is nearest. */
function pairOf(k: number, n: number): Pair {
  const cube = new KnCube(k, n);
  if (cube.degree < 2) throw invalid('n', n, '2 or more for k = 2: a de Bruijn graph has a degree of 2 at least');
  const graph = new DeBruijn(cube.degree, Math.max(1, Math.round(Math.log(cube.size) / Math.log(cube.degree))));
  const sizes = graph.size === cube.size ? `${cube.size} hosts` : `${cube.size} and ${graph.size} hosts`;
  return { name: `${k}x${n}, B(${graph.k},${graph.n}): ${sizes}`, cube, graph };
}

/** Follows routes; `hops` and `delayUs` are those of the last. */
class Traveller {
  hops = 0;
  delayUs = 0;
  private readonly limit: number;
  private readonly costs: Float64Array;
  private readonly path: Int32Array;
  private readonly packet: Packet;

  constructor(pair: Pair) {
    this.limit = Math.max(HOP_LIMIT, 2 * pair.cube.diameter);
    this.costs = new Float64Array(pair.cube.degree);
    this.path = new Int32Array(this.limit + 1);
    this.packet = { visited: new Int32Array(this.limit + 1), visitedCount: 0, detours: 0 };
  }

  /** @returns whether a packet arrives within the hop limit */
  go(way: Way, from: number, to: number, delays: HostDelays, dead?: Uint8Array): boolean {
    const { costs, path, packet } = this;
    let depth = 0;
    path[0] = packet.visited[0] = from;
    packet.visitedCount = 1;
    packet.detours = MOST_DETOURS;
    this.hops = 0;
    this.delayUs = 0;
    for (let at = from; at !== to; at = path[depth]) {
      if (this.hops === this.limit) return false;
      for (let port = 0; port < way.degree; port++) {
        const neighbour = way.neighbour(at, port);
        costs[port] = dead?.[neighbour] === 1 ? Infinity : delays.delayUs(at, neighbour);
      }
      const port = way.next(at, to, costs, packet);
      if (port >= 0) path[++depth] = packet.visited[packet.visitedCount++] = way.neighbour(at, port);
      else if (way.goesBack && depth > 0) depth--;
      else return false;
      this.hops++;
      this.delayUs += delays.delayUs(at, path[depth]);
    }
    return true;
  }
}

function cubeWay(name: string, cube: KnCube, router: Router): Way {
  return { name, degree: cube.degree, goesBack: false, neighbour: (id, port) => cube.neighbour(id, port), next: (self, to, costs) => router.nextPort(self, to, costs, 0) };
}

function graphWay(name: string, graph: DeBruijn, next: Way['next'], goesBack = false): Way {
  return { name, degree: graph.degree, goesBack, neighbour: (id, port) => graph.neighbour(id, port), next };
}

/** Without faults. @param typicalUs the mean delay of a link */
function wholeWays({ cube, graph }: Pair, typicalUs: number): Way[] {
  return [
    cubeWay('cube, ODR', cube, new Router(cube, 'odr')),
    cubeWay('cube, Greedy', cube, new Router(cube, 'greedy')),
    graphWay('de Bruijn, shortest way', graph, (self, to) => graph.nextPort(self, to)),
    graphWay('de Bruijn, proximity-aware', graph, (self, to, costs, packet) => {
      const port = graph.nextPortNear(self, to, costs, 0, typicalUs, packet.detours);
      if (graph.distance(graph.neighbour(self, port), to) >= graph.distance(self, to)) packet.detours--;
      return port;
    }),
  ];
}

function faultyWays({ cube, graph }: Pair): Way[] {
  return [
    {
      ...cubeWay('cube, around faults', cube, new Router(cube, 'greedy')),
      goesBack: true,
      next: (self, to, costs, { visited, visitedCount }) => nextPortAround(cube, self, to, costs, 0, visited, visitedCount),
    },
    cubeWay('cube, Greedy alone', cube, new Router(cube, 'greedy')),
    graphWay('de Bruijn, around faults', graph, (self, to, costs, { visited, visitedCount }) => graph.nextPortAround(self, to, costs, 0, visited, visitedCount), true),
    graphWay('de Bruijn, shortest way alone', graph, (self, to, costs) => {
      const port = graph.nextPort(self, to);
      return costs[port] === Infinity ? -1 : port;
    }),
  ];
}

/** Hops from some sources to all others, and with how many others a host has links, in either direction. */
function measureShape({ name, cube, graph }: Pair, random: Random): Result[] {
  const sources = Array.from({ length: Math.min(SOURCES, cube.size, graph.size) }, () => random.float());
  const hops = (size: number, distance: (from: number, to: number) => number): { mean: number; max: number } => {
    let [sum, max] = [0, 0];
    for (const source of sources) {
      const from = Math.floor(source * size);
      for (let to = 0; to < size; to++) {
        const one = distance(from, to);
        sum += one;
        if (one > max) max = one;
      }
    }
    return { mean: sum / sources.length / (size - 1), max };
  };
  const overlays = [
    { variant: 'cube', size: cube.size, degree: cube.degree, peers: cube.degree, ...hops(cube.size, (from, to) => cube.distance(from, to)) },
    { variant: 'de Bruijn', size: graph.size, degree: graph.degree, peers: meanPeers(graph, random), ...hops(graph.size, (from, to) => graph.distance(from, to)) },
  ];
  return overlays.flatMap(({ variant, size, degree, peers, mean, max }) => {
    const result = { bench: NAME, variant, params: { pair: name, hosts: size, degree }, unit: 'hops' };
    return [
      { ...result, metric: 'mean hops', ...summarize([mean]) },
      { ...result, metric: 'most hops', ...summarize([max]) },
      { ...result, metric: 'peers', unit: 'hosts', ...summarize([peers]) },
    ];
  });
}

/** The mean over a sample of nodes of how many others have a link to it or from it. */
function meanPeers(graph: DeBruijn, random: Random): number {
  let sum = 0;
  const step = graph.size / graph.k;
  for (let i = 0; i < PEER_SAMPLES; i++) {
    const id = random.int(0, graph.size - 1);
    const peers = new Set<number>();
    for (let port = 0; port < graph.degree; port++) peers.add(graph.neighbour(id, port)).add(Math.floor(id / graph.k) + port * step);
    peers.delete(id);
    sum += peers.size;
  }
  return sum / PEER_SAMPLES;
}

function measureDelays(pair: Pair, delays: HostDelays, random: Random, series: Series): void {
  const traveller = new Traveller(pair);
  const hosts = Math.min(pair.cube.size, pair.graph.size);
  const pairs = Array.from({ length: ROUTES }, () => twoOf(hosts, random));
  const typicalUs = pairs.reduce((sum, [from, to]) => sum + delays.delayUs(from, to), 0) / pairs.length;
  const params = { pair: pair.name };
  const penalties = new Float32Array(ROUTES);
  for (const way of wholeWays(pair, typicalUs)) {
    let [hops, delayUs] = [0, 0];
    for (const [i, [from, to]] of pairs.entries()) {
      if (!traveller.go(way, from, to, delays)) throw new Error(`${way.name}: ${from} to ${to} does not arrive: a bug`);
      hops += traveller.hops;
      delayUs += traveller.delayUs;
      penalties[i] = traveller.delayUs / delays.delayUs(from, to);
    }
    penalties.sort();
    series.add(way.name, params, 'hops on the way', 'hops', hops / ROUTES);
    series.add(way.name, params, 'mean delay', 'us', delayUs / ROUTES);
    series.add(way.name, params, 'median penalty', '×', quantile(penalties, 0.5));
    for (const penalty of PENALTIES) series.add(way.name, { ...params, penalty }, 'within', '%', 100 * shareAtMost(penalties, penalty));
  }
}

function measureFaults(pair: Pair, delays: HostDelays, random: Random, series: Series): void {
  const traveller = new Traveller(pair);
  const hosts = Math.min(pair.cube.size, pair.graph.size);
  for (const percent of DEAD_PERCENTS) {
    const draws = random.fork(`${percent} % dead`);
    const dead = Uint8Array.from({ length: Math.max(pair.cube.size, pair.graph.size) }, () => (draws.bool(percent / 100) ? 1 : 0));
    const pairs: (readonly [number, number])[] = [];
    for (let tries = 0; pairs.length < FAULTY_ROUTES && tries < 100 * FAULTY_ROUTES; tries++) {
      const [from, to] = twoOf(hosts, draws);
      if (dead[from] === 0 && dead[to] === 0) pairs.push([from, to]);
    }
    if (pairs.length === 0) throw invalid('k and n', `${pair.cube.k} and ${pair.cube.n}`, `of more hosts than ${hosts}: with ${percent} % dead no two are alive`);
    const params = { pair: pair.name, dead: percent };
    for (const way of faultyWays(pair)) {
      let [arrived, hops, delayUs] = [0, 0, 0];
      for (const [from, to] of pairs) {
        if (!traveller.go(way, from, to, delays, dead)) continue;
        arrived++;
        hops += traveller.hops;
        delayUs += traveller.delayUs;
      }
      series.add(way.name, params, 'delivered', '%', (100 * arrived) / pairs.length);
      if (arrived > 0) series.add(way.name, params, 'hops when delivered', 'hops', hops / arrived);
      if (arrived > 0) series.add(way.name, params, 'delay when delivered', 'us', delayUs / arrived);
    }
  }
}

function twoOf(hosts: number, random: Random): readonly [number, number] {
  const from = random.int(0, hosts - 1);
  return [from, (from + random.int(1, hosts - 1)) % hosts];
}

async function run(context: SimContext): Promise<ExperimentOutput> {
  const { routers = DEFAULT_ROUTERS, seeds = DEFAULT_SEEDS } = context.parameters;
  const asked = askedShape(context.parameters);
  const own = asked === undefined ? undefined : pairOf(asked.k, asked.n);
  const measured = own === undefined ? MEASURED_PAIRS.map(([k, n]) => pairOf(k, n)) : [own];
  const random = new Random(context.seed >>> 0).fork(NAME);
  const steps = 1 + seeds * (1 + measured.length);
  let step = 0;
  const next = async (what: string): Promise<void> => {
    context.progress(step++, steps, what);
    // Lets progress be drawn and signals be heard.
    await new Promise((resolve) => setImmediate(resolve));
    context.signal.throwIfAborted();
  };

  await next('shapes');
  const shapes = [...(own === undefined ? [] : [own]), ...EQUAL_PAIRS.filter(([k, n]) => k !== own?.cube.k || n !== own.cube.n).map(([k, n]) => pairOf(k, n))];
  const results = shapes.flatMap((pair) => measureShape(pair, random.fork(`shape ${pair.name}`)));
  const series = new Series(NAME);
  for (let seed = 0; seed < seeds; seed++) {
    await next(`network ${seed + 1} of ${seeds}`);
    const draws = random.fork(`seed ${seed}`);
    const topology = transitStub(scaledTransitStub(routers), draws.fork('topology'));
    const matrix = await shortestPaths(topology, { workers: context.workers, signal: context.signal });
    for (const pair of measured) {
      await next(`${pair.name}, network ${seed + 1} of ${seeds}`);
      const delays = HostNetwork.place(topology, matrix, Math.max(pair.cube.size, pair.graph.size), draws.fork(`hosts ${pair.name}`));
      measureDelays(pair, delays, draws.fork(`routes ${pair.name}`), series);
      measureFaults(pair, delays, draws.fork(`faults ${pair.name}`), series);
    }
  }
  results.push(...series.results());
  context.progress(steps, steps, '');
  return { results, figures: figuresOf(results, measured, routers, seeds), targets: [], claims: claimsOf(results, measured[0]) };
}

/** '54 % (95 % interval 53–55)' of one variant's value in another's, seed by seed. */
function shareText(part: Result, whole: Result): string {
  const { mean, low, high } = confidence95(ratio(part, whole).runs.map((share) => 100 * share));
  return `${mean.toFixed(0)} %${Number.isFinite(low) ? ` (95 % interval ${low.toFixed(1)}–${high.toFixed(1)})` : ''}`;
}

function figuresOf(results: Result[], measured: readonly Pair[], routers: number, seeds: number): Figure[] {
  const [{ name: pair, cube, graph }] = measured;
  const delay = (variant: string): Result => pick(results, variant, { pair }, 'mean delay');
  const hops = (variant: string): string => pick(results, variant, { pair }, 'mean hops').median.toFixed(2);
  const hopsOn = (variant: string): string => pick(results, variant, { pair }, 'hops on the way').median.toFixed(2);
  const peers = pick(results, 'de Bruijn', { pair }, 'peers').median;
  const faulty = (variant: string, dead: number, metric = 'delivered'): number => pick(results, variant, { pair, dead }, metric).median;
  const percent = (variant: string, dead: number): string => `${faulty(variant, dead).toFixed(1)} %`;
  const setting = `${seeds} transit-stub networks of about ${routers} routers, each with hosts placed anew`;
  const facet = measured.length > 1 ? { facet: 'pair' } : {};
  return [
    {
      id: 'de-bruijn-hops',
      title: 'Mean hops of cubes and de Bruijn graphs of equal degree',
      paragraph:
        `Pairs with as many links out of each host, and as many hosts unless the name says otherwise. From ${hops('cube')} hops in ${cube.k}x${cube.n} to ${hops('de Bruijn')} in B(${graph.k},${graph.n}): a de Bruijn graph comes close to the least that a degree allows, ` +
        `a cube does not try to. But its links lead one way, and a cube's both: a host of B(${graph.k},${graph.n}) has to do with ${peers.toFixed(1)} others, one of the cube with ${cube.degree}.`,
      kind: 'bar',
      x: { param: 'pair', label: 'cube and graph' },
      y: { metric: 'mean hops', label: 'mean hops', unit: 'hops', scale: 'log' },
      results,
    },
    {
      id: 'de-bruijn-delay',
      title: 'Mean delay over a physical network',
      paragraph:
        `${ROUTES} routes on each of ${setting}. Greedy chooses the cheapest of several ways that are equally short, and takes ${shareText(delay('cube, Greedy'), delay('cube, ODR'))} of ODR's delay. A de Bruijn graph has one shortest way: it can only weigh a longer one ` +
        `(here with ${MOST_DETOURS} detours at most), which leaves ${shareText(delay('de Bruijn, proximity-aware'), delay('de Bruijn, shortest way'))}. That has ${shareText(delay('de Bruijn, proximity-aware'), delay('cube, Greedy'))} of the delay of Greedy on the cube, ` +
        `over ${hopsOn('de Bruijn, proximity-aware')} hops against ${hopsOn('cube, Greedy')}.`,
      kind: 'bar',
      x: { param: 'variant', label: 'routing' },
      y: { metric: 'mean delay', label: 'mean delay', unit: 'us' },
      ...facet,
      results,
    },
    {
      id: 'de-bruijn-penalty',
      title: 'Delay penalty on cubes and de Bruijn graphs',
      paragraph: 'The same routes: how many take at most so many times the delay of unicast.',
      kind: 'line',
      x: { param: 'penalty', label: 'delay penalty: overlay delay / unicast delay', scale: 'log' },
      y: { metric: 'within', label: 'routes within', unit: '%' },
      ...facet,
      results,
    },
    {
      id: 'de-bruijn-delivered',
      title: 'What arrives when hosts are dead',
      paragraph:
        `${FAULTY_ROUTES} routes between live hosts for each share and network, within ${Math.max(HOP_LIMIT, 2 * cube.diameter)} hops; who has a dead host as a neighbour knows it. Without ways around them the cube's Greedy still has other links that lead nearer and delivers ${percent('cube, Greedy alone', 30)} at 30 % dead, ` +
        `the one way of the de Bruijn graph ${percent('de Bruijn, shortest way alone', 30)}. Around faults (depth-first search with the visited hosts in the packet, on both) it is ${percent('cube, around faults', 30)} and ${percent('de Bruijn, around faults', 30)}.`,
      kind: 'line',
      x: { param: 'dead', label: 'dead hosts (%)' },
      y: { metric: 'delivered', label: 'delivered', unit: '%' },
      ...facet,
      results,
    },
    {
      id: 'de-bruijn-fault-hops',
      title: 'Hops of what arrives when hosts are dead',
      paragraph:
        `From none dead to 30 %, the cube's way around faults grows from ${faulty('cube, around faults', 0, 'hops when delivered').toFixed(2)} to ${faulty('cube, around faults', 30, 'hops when delivered').toFixed(2)} hops, the de Bruijn graph's from ` +
        `${faulty('de Bruijn, around faults', 0, 'hops when delivered').toFixed(2)} to ${faulty('de Bruijn, around faults', 30, 'hops when delivered').toFixed(2)}, and its delay is ${humanize(faulty('de Bruijn, around faults', 30, 'delay when delivered'), 'us')} there against ${humanize(faulty('cube, around faults', 30, 'delay when delivered'), 'us')}. ` +
        'Beside a dead host a cube nearly always has another link that leads nearer; in the de Bruijn graph another way begins from the start.',
      kind: 'line',
      x: { param: 'dead', label: 'dead hosts (%)' },
      y: { metric: 'hops when delivered', label: 'mean hops', unit: 'hops' },
      ...facet,
      results,
    },
  ];
}

function claimsOf(results: Result[], { name, cube, graph }: Pair): Claim[] {
  const [cubeMost, graphMost] = ['cube', 'de Bruijn'].map((variant) => pick(results, variant, { pair: name }, 'most hops').median);
  const [cubeMean, graphMean] = ['cube', 'de Bruijn'].map((variant) => pick(results, variant, { pair: name }, 'mean hops').median);
  const sources = `from ${Math.min(SOURCES, cube.size, graph.size)} hosts to all others`;
  return [
    {
      what: `Diameter of the de Bruijn graph B(${graph.k},${graph.n})`,
      published: `n = ${graph.n} hops with ${graph.k} links out of each of kⁿ = ${graph.size} nodes`,
      source: 'de Bruijn 1946; Kaashoek & Karger 2003 (Koorde)',
      measured: `${graphMost} hops at most, ${graphMean.toFixed(2)} in the mean, ${sources}`,
      agrees: graphMost === graph.n,
      remark: '',
    },
    {
      what: `Worst-case hops of the ${cube.k}-ary ${cube.n}-cube`,
      published: `n⌊k/2⌋ = ${cube.diameter}`,
      source: 'Parmer, West, Qi, Fry & Zhang 2005',
      measured: `${cubeMost} hops at most, ${cubeMean.toFixed(2)} in the mean, ${sources}`,
      agrees: cubeMost === cube.diameter,
      remark: '',
    },
  ];
}

export const deBruijn: Experiment = {
  name: NAME,
  summary: 'cubes beside de Bruijn graphs of equal size and degree: hops, delay, dead hosts',
  takes: {
    k: 'of the cube, with --n: beside the de Bruijn graph of the same degree that is nearest in size; by default 2x16 and 8x4',
    n: 'of the cube',
    routers: `of each transit-stub network, roughly: ${DEFAULT_ROUTERS}`,
    seeds: `networks: ${DEFAULT_SEEDS}`,
  },
  run,
};
