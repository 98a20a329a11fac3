import { type Random, invalid } from '../../base/index.js';
import { FlatGraph, checkEdgeModel } from './flat-graph.js';
import { EdgeList, MAX_EDGE_DELAY_US, MAX_ROUTERS, type Topology } from './topology.js';

/** Waxman, "Routing of Multipoint Connections", JSAC 6(9), 1988: routers at random points of a square, an edge with probability beta · exp(−d / (alpha · L)). */
export interface WaxmanParameters {
  routers: number;
  /** Above 0: the larger, the more long edges. */
  alpha: number;
  /** Above 0 and at most 1. Undefined: what makes `meanDegree` edges meet at a router, in expectation. */
  beta?: number | undefined;
  meanDegree: number;
  /** Delay along the diagonal, which is L, in µs; others are in proportion to their length. */
  diagonalUs: number;
}

/** With these, two of 5,050 routers are 57 ms apart on average, as by the transit-stub preset. */
export const WAXMAN_DEFAULTS = { alpha: 0.15, meanDegree: 4, diagonalUs: 60_000 } as const;

/** Fewer have not that many others near enough. */
export const WAXMAN_LEAST_ROUTERS = 27;

const STEPS = 4096;

/** Density of the distance between two random points of the unit square, from 0 to √2 ("square line picking"; Ghosh 1951). */
function distanceDensity(d: number): number {
  if (d <= 1) return 2 * d * (d * d - 4 * d + Math.PI);
  const side = Math.sqrt(d * d - 1);
  return 2 * d * (4 * side - (d * d + 2 - Math.PI) - 4 * Math.atan(side));
}

/** Mean of exp(−d / (alpha · √2)) over pairs of random points, by the midpoint rule. */
function meanDecay(alpha: number): number {
  const step = Math.SQRT2 / STEPS;
  let sum = 0;
  for (let i = 0; i < STEPS; i++) {
    const d = (i + 0.5) * step;
    sum += step * distanceDensity(d) * Math.exp(-d / (alpha * Math.SQRT2));
  }
  return sum;
}

/**
 * A random topology by Waxman's model, made connected: each part that the draw left apart, smaller ones last, gets the shortest edge to what is
 * connected by then. Hosts attach anywhere. Throws ERR_INVALID_ARGUMENT for impossible parameters.
 */
export function waxman(parameters: WaxmanParameters, random: Random): Topology {
  const { routers, alpha, meanDegree, diagonalUs } = parameters;
  if (!Number.isInteger(routers) || routers < 2 || routers > MAX_ROUTERS) throw invalid('routers', routers, `an integer from 2 to ${MAX_ROUTERS}`);
  if (!(diagonalUs > 0 && diagonalUs <= MAX_EDGE_DELAY_US)) throw invalid('diagonalUs', diagonalUs, `above 0 and at most ${MAX_EDGE_DELAY_US}`);
  checkEdgeModel('waxman', { kind: 'waxman', alpha, beta: parameters.beta ?? 1 });
  const mostDegree = (routers - 1) * meanDecay(alpha);
  if (parameters.beta === undefined && !(meanDegree > 0 && meanDegree <= mostDegree)) {
    throw invalid('meanDegree', meanDegree, `above 0 and at most ${mostDegree.toFixed(2)}, with ${routers} routers and alpha ${alpha}`);
  }
  const beta = parameters.beta ?? meanDegree / mostDegree;
  const graph = new FlatGraph(routers, random.fork('points'));
  graph.draw({ kind: 'waxman', alpha, beta }, random.fork('edges'));
  graph.connect();
  const edges = new EdgeList(routers);
  for (const [i, a] of graph.from.entries()) edges.add(a, graph.to[i], (diagonalUs * graph.distance(a, graph.to[i])) / Math.SQRT2);
  return edges.build(`waxman, ${routers} routers`, Int32Array.from({ length: routers }, (_, router) => router));
}
