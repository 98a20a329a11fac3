import { type Random, invalid } from '../../base/index.js';
import { type EdgeModel, type FlatGraph, checkEdgeModel, connectedGraph } from './flat-graph.js';
import { EdgeList, MAX_ROUTERS, type Topology } from './topology.js';

//        ┌ transit domain ┐        each transit domain: a connected random graph
//   S──S │ T──T           │        domains among each other: a connected random graph, each edge between a random router of either
//   │    │ │  │           │        each stub domain: a connected random graph, joined to its transit router by one edge
//   S────┼─T  T───────────┼──…     and, if asked for, further edges between stubs and transit routers, and between stubs
//        └────┼───────────┘
//             S──S

/**
 * GT-ITM's transit-stub model: Zegura, Calvert & Bhattacharjee, "How to Model an Internetwork", INFOCOM 1996; its parameters are those of
 * GT-ITM's itm-doc.txt (1996). `stubsPerTransitNode` and the sizes of domains are means: each varies by chance, at least 1, their sum does not.
 */
export interface TransitStubParameters {
  transitDomains: number;
  nodesPerTransitDomain: number;
  stubsPerTransitNode: number;
  nodesPerStub: number;
  /** Edges between a random router of a random stub domain and a random transit router. */
  extraTransitStubEdges: number;
  /** Edges between random routers of two random stub domains. */
  extraStubStubEdges: number;
  /** Which transit domains are joined, which routers within a transit domain, which within a stub domain. */
  between: EdgeModel;
  withinTransit: EdgeModel;
  withinStub: EdgeModel;
  /** False: every domain has its mean size. */
  varied: boolean;
  delays: ClassDelays;
}

/** Mean delays of the four classes of edges, in µs. */
export interface ClassDelays {
  /** `euclidean`: proportional to an edge's length, as with GT-ITM; `constant`: all edges of a class have its mean. */
  kind: 'euclidean' | 'constant';
  betweenTransitUs: number;
  withinTransitUs: number;
  transitStubUs: number;
  withinStubUs: number;
}

/** What a transit-stub topology is besides: routers of transit domains come first, then stub after stub. */
export interface TransitStub extends Topology {
  readonly transitRouters: number;
  /** The domain of each router: transit domains from 0, then stub domains. */
  readonly domains: Int32Array;
}

/**
 * 5,050 routers: 10 transit domains of 5, 10 stub domains of 10 at each transit router, as in the evaluation of Scribe (Castro, Druschel,
 * Kermarrec & Rowstron, JSAC 2002; recalled). Probabilities within domains are those of GT-ITM's example of 100 routers (recalled).
 * Delays are chosen for a mean round trip of about 0.11 s between hosts on LANs of 1 ms.
 */
export const TRANSIT_STUB_5050: TransitStubParameters = {
  transitDomains: 10,
  nodesPerTransitDomain: 5,
  stubsPerTransitNode: 10,
  nodesPerStub: 10,
  extraTransitStubEdges: 0,
  extraStubStubEdges: 0,
  between: { kind: 'random', probability: 0.5 },
  withinTransit: { kind: 'random', probability: 0.6 },
  withinStub: { kind: 'random', probability: 0.42 },
  varied: true,
  delays: { kind: 'euclidean', betweenTransitUs: 20_000, withinTransitUs: 10_000, transitStubUs: 5_000, withinStubUs: 2_000 },
};

const COUNTS = ['transitDomains', 'nodesPerTransitDomain', 'stubsPerTransitNode', 'nodesPerStub'] as const;
const EXTRAS = ['extraTransitStubEdges', 'extraStubStubEdges'] as const;
const DELAYS = ['betweenTransitUs', 'withinTransitUs', 'transitStubUs', 'withinStubUs'] as const;
const MODELS = ['between', 'withinTransit', 'withinStub'] as const;
const MIN_SCALED = 20;

function routersOf(parameters: TransitStubParameters): number {
  const { transitDomains, nodesPerTransitDomain, stubsPerTransitNode, nodesPerStub } = parameters;
  return transitDomains * nodesPerTransitDomain * (1 + stubsPerTransitNode * nodesPerStub);
}

/**
 * The preset with as near to `routers` routers as possible, its four sizes in nearly the same proportions: each within a factor of 1.5 of
 * the preset's, times the fourth root of the scale. Throws ERR_INVALID_ARGUMENT unless `routers` is an integer from 20 to 65,536.
 */
export function scaledTransitStub(routers: number): TransitStubParameters {
  if (!Number.isInteger(routers) || routers < MIN_SCALED || routers > MAX_ROUTERS) {
    throw invalid('routers', routers, `an integer from ${MIN_SCALED} to ${MAX_ROUTERS}`);
  }
  const scale = (routers / routersOf(TRANSIT_STUB_5050)) ** (1 / COUNTS.length);
  const ideals = COUNTS.map((count) => TRANSIT_STUB_5050[count] * scale);
  const ranges = ideals.map((ideal) => {
    const first = Math.max(1, Math.round(ideal / 1.5));
    return Array.from({ length: Math.max(1, Math.round(ideal * 1.5) - first + 1) }, (_, i) => first + i);
  });
  let [leastOff, leastStretch] = [Infinity, Infinity];
  let sizes = [0, 0, 0, 0];
  for (const a of ranges[0]) {
    for (const b of ranges[1]) {
      for (const c of ranges[2]) {
        for (const d of ranges[3]) {
          const made = a * b * (1 + c * d);
          const off = Math.abs(made - routers);
          if (off > leastOff || made > MAX_ROUTERS) continue;
          const stretch = Math.abs(Math.log(a / ideals[0])) + Math.abs(Math.log(b / ideals[1])) + Math.abs(Math.log(c / ideals[2])) + Math.abs(Math.log(d / ideals[3]));
          if (off === leastOff && stretch >= leastStretch) continue;
          [leastOff, leastStretch] = [off, stretch];
          sizes = [a, b, c, d];
        }
      }
    }
  }
  const [transitDomains, nodesPerTransitDomain, stubsPerTransitNode, nodesPerStub] = sizes;
  return { ...TRANSIT_STUB_5050, transitDomains, nodesPerTransitDomain, stubsPerTransitNode, nodesPerStub };
}

function check(parameters: TransitStubParameters): void {
  for (const count of COUNTS) {
    if (!Number.isInteger(parameters[count]) || parameters[count] < 1) throw invalid(count, parameters[count], 'an integer, 1 or more');
  }
  for (const extra of EXTRAS) {
    if (!Number.isInteger(parameters[extra]) || parameters[extra] < 0) throw invalid(extra, parameters[extra], 'an integer, 0 or more');
  }
  for (const delay of DELAYS) {
    if (!(parameters.delays[delay] > 0 && parameters.delays[delay] <= 1e6)) throw invalid(`delays.${delay}`, parameters.delays[delay], 'above 0 and at most 1000000');
  }
  for (const model of MODELS) checkEdgeModel(model, parameters[model]);
  const routers = routersOf(parameters);
  if (routers > MAX_ROUTERS) throw invalid('parameters', `${routers} routers`, `for at most ${MAX_ROUTERS} routers`);
  const stubs = parameters.transitDomains * parameters.nodesPerTransitDomain * parameters.stubsPerTransitNode;
  // Far below where no place might be left for another one.
  const most = [Math.floor((stubs * (parameters.transitDomains * parameters.nodesPerTransitDomain - 1)) / 2), Math.floor((stubs * (stubs - 1)) / 4)];
  for (const [i, extra] of EXTRAS.entries()) {
    if (parameters[extra] > most[i]) throw invalid(extra, parameters[extra], `at most ${most[i]} with ${stubs} stub domains`);
  }
}

/** `count` sizes of the given mean, each at least 1: varied by moving ones from random places to others, thrice their number. */
function sizesAround(mean: number, count: number, varied: boolean, random: Random): Int32Array {
  const sizes = new Int32Array(count).fill(mean);
  for (let move = 0; varied && move < 3 * count; move++) {
    const from = random.int(0, count - 1);
    const to = random.int(0, count - 1);
    if (sizes[from] === 1) continue;
    sizes[from]--;
    sizes[to]++;
  }
  return sizes;
}

/** Where each of several things of the given sizes begins, and behind them where the last one ends. */
function startsOf(sizes: Int32Array, first: number): Int32Array {
  const starts = new Int32Array(sizes.length + 1).fill(first);
  for (const [i, size] of sizes.entries()) starts[i + 1] = starts[i] + size;
  return starts;
}

/** Edges of one class, until their mean length is known. */
class EdgeClass {
  private readonly from: number[] = [];
  private readonly to: number[] = [];
  private readonly lengths: number[] = [];

  constructor(private readonly edges: EdgeList, private readonly meanUs: number) {}

  add(a: number, b: number, length: number): void {
    this.from.push(a);
    this.to.push(b);
    this.lengths.push(length);
  }

  /** A graph's edges, its first node being router `first`. */
  addGraph(graph: FlatGraph, first: number): void {
    for (const [i, a] of graph.from.entries()) this.add(first + a, first + graph.to[i], graph.distance(a, graph.to[i]));
  }

  finish(kind: ClassDelays['kind']): void {
    const mean = this.lengths.reduce((sum, length) => sum + length, 0) / this.lengths.length;
    for (const [i, length] of this.lengths.entries()) {
      this.edges.add(this.from[i], this.to[i], kind === 'constant' ? this.meanUs : (this.meanUs * length) / mean);
    }
  }
}

/** A length as of an edge between two random points of the unit square. */
function randomLength(random: Random): number {
  return Math.hypot(random.float() - random.float(), random.float() - random.float());
}

/**
 * A random transit-stub topology; hosts attach to stub routers. Without extra edges no path between two routers leads through a third stub
 * domain; with them a shortest path may (GT-ITM's routing policy weights, which forbid that, are not modelled).
 * Throws ERR_INVALID_ARGUMENT for impossible parameters.
 */
export function transitStub(parameters: TransitStubParameters, random: Random): TransitStub {
  check(parameters);
  const { transitDomains, varied, delays } = parameters;
  const routers = routersOf(parameters);
  const transitSizes = sizesAround(parameters.nodesPerTransitDomain, transitDomains, varied, random.fork('transit sizes'));
  const transitStarts = startsOf(transitSizes, 0);
  const transitRouters = transitStarts[transitDomains];
  const stubCounts = sizesAround(parameters.stubsPerTransitNode, transitRouters, varied, random.fork('stubs'));
  const stubs = stubCounts.reduce((sum, count) => sum + count, 0);
  const stubStarts = startsOf(sizesAround(parameters.nodesPerStub, stubs, varied, random.fork('stub sizes')), transitRouters);
  const domains = new Int32Array(routers);
  for (let domain = 0; domain < transitDomains; domain++) domains.fill(domain, transitStarts[domain], transitStarts[domain + 1]);
  for (let stub = 0; stub < stubs; stub++) domains.fill(transitDomains + stub, stubStarts[stub], stubStarts[stub + 1]);

  const edges = new EdgeList(routers);
  const between = new EdgeClass(edges, delays.betweenTransitUs);
  const withinTransit = new EdgeClass(edges, delays.withinTransitUs);
  const transitStubEdges = new EdgeClass(edges, delays.transitStubUs);
  const withinStub = new EdgeClass(edges, delays.withinStubUs);

  const top = random.fork('transit');
  const inDomain = (starts: Int32Array, domain: number, draws: Random): number => draws.int(starts[domain], starts[domain + 1] - 1);
  const backbone = connectedGraph(transitDomains, parameters.between, top);
  for (const [i, a] of backbone.from.entries()) {
    const b = backbone.to[i];
    between.add(inDomain(transitStarts, a, top), inDomain(transitStarts, b, top), backbone.distance(a, b));
  }
  for (let domain = 0; domain < transitDomains; domain++) {
    withinTransit.addGraph(connectedGraph(transitSizes[domain], parameters.withinTransit, top), transitStarts[domain]);
  }

  const low = random.fork('stub');
  const owners = new Int32Array(stubs);
  for (let node = 0, stub = 0; node < transitRouters; node++) {
    for (let i = 0; i < stubCounts[node]; i++, stub++) {
      owners[stub] = node;
      withinStub.addGraph(connectedGraph(stubStarts[stub + 1] - stubStarts[stub], parameters.withinStub, low), stubStarts[stub]);
      transitStubEdges.add(node, inDomain(stubStarts, stub, low), randomLength(low));
    }
  }

  const extras = random.fork('extra edges');
  const taken = new Set<string>();
  const isNew = (pair: string): boolean => taken.size < taken.add(pair).size;
  for (let added = 0; added < parameters.extraTransitStubEdges; ) {
    const stub = extras.int(0, stubs - 1);
    const node = extras.int(0, transitRouters - 1);
    if (owners[stub] === node || !isNew(`${node} ${stub}`)) continue;
    transitStubEdges.add(node, inDomain(stubStarts, stub, extras), randomLength(extras));
    added++;
  }
  for (let added = 0; added < parameters.extraStubStubEdges; ) {
    const a = extras.int(0, stubs - 1);
    const b = extras.int(0, stubs - 1);
    if (a >= b || !isNew(`stubs ${a} ${b}`)) continue;
    transitStubEdges.add(inDomain(stubStarts, a, extras), inDomain(stubStarts, b, extras), randomLength(extras));
    added++;
  }
  for (const kind of [between, withinTransit, transitStubEdges, withinStub]) kind.finish(delays.kind);

  const attachable = Int32Array.from({ length: routers - transitRouters }, (_, i) => transitRouters + i);
  const name = `transit-stub, ${routers} routers (${transitDomains} × ${parameters.nodesPerTransitDomain} transit, × ${parameters.stubsPerTransitNode} stubs × ${parameters.nodesPerStub})`;
  return { ...edges.build(name, attachable), transitRouters, domains };
}
