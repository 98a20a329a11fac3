import { type Random, invalid } from '../../base/index.js';
import { Components } from './topology.js';

/**
 * With which probability two nodes get an edge. `random`: always the same. `waxman`: beta · exp(−d / (alpha · L)), d their distance and L the
 * longest possible one (Waxman 1988; GT-ITM calls them beta and alpha): alpha above 0, beta above 0 and at most 1.
 */
export type EdgeModel = { kind: 'random'; probability: number } | { kind: 'waxman'; alpha: number; beta: number };

/** How often a graph is drawn anew because it fell apart. */
const DRAWS = 100;

/** Throws ERR_INVALID_ARGUMENT where `model` gives no probabilities. */
export function checkEdgeModel(what: string, model: EdgeModel): void {
  const probability = model.kind === 'random' ? model.probability : model.beta;
  const name = model.kind === 'random' ? 'probability' : 'beta';
  if (!(probability > 0 && probability <= 1)) throw invalid(`${what}.${name}`, probability, 'above 0 and at most 1');
  if (model.kind === 'waxman' && !(model.alpha > 0 && model.alpha < Infinity)) throw invalid(`${what}.alpha`, model.alpha, 'a number above 0');
}

/** Nodes at random points of the unit square, and edges between them: what all models of networks are put together from. */
export class FlatGraph {
  readonly from: number[] = [];
  readonly to: number[] = [];
  private readonly x: Float64Array;
  private readonly y: Float64Array;
  private readonly components: Components;

  constructor(readonly nodes: number, random: Random) {
    this.x = Float64Array.from({ length: nodes }, () => random.float());
    this.y = Float64Array.from({ length: nodes }, () => random.float());
    this.components = new Components(nodes);
  }

  get connected(): boolean {
    return this.components.count === 1;
  }

  /** From 0 to √2. */
  distance(a: number, b: number): number {
    const dx = this.x[a] - this.x[b];
    const dy = this.y[a] - this.y[b];
    return Math.sqrt(dx * dx + dy * dy);
  }

  /** Draws each edge with its probability. */
  draw(model: EdgeModel, random: Random): void {
    const most = model.kind === 'random' ? model.probability : model.beta;
    const decayLength = model.kind === 'random' ? Infinity : model.alpha * Math.SQRT2;
    for (let a = 0; a < this.nodes; a++) {
      for (let b = a + 1; b < this.nodes; b++) {
        const drawn = random.float();
        // What is too much even at distance 0 needs no exponential: nearly all pairs, in a large graph.
        if (drawn < most && drawn < most * Math.exp(-this.distance(a, b) / decayLength)) this.add(a, b);
      }
    }
  }

  /** Adds to each part, but the largest, the shortest edge to what is joined to the largest by then. */
  connect(): void {
    if (this.connected) return;
    const parts = new Map<number, number[]>();
    for (let node = 0; node < this.nodes; node++) {
      const part = this.components.of(node);
      const members = parts.get(part);
      if (members === undefined) parts.set(part, [node]);
      else members.push(node);
    }
    const [joined, ...others] = [...parts.values()].sort((a, b) => b.length - a.length || a[0] - b[0]);
    for (const part of others) {
      let [from, to, shortest] = [0, 0, Infinity];
      for (const a of part) {
        for (const b of joined) {
          const distance = this.distance(a, b);
          if (distance < shortest) [from, to, shortest] = [a, b, distance];
        }
      }
      this.add(from, to);
      for (const node of part) joined.push(node);
    }
  }

  private add(a: number, b: number): void {
    this.from.push(a);
    this.to.push(b);
    this.components.join(a, b);
  }
}

/** A connected graph: drawn anew until it is, as GT-ITM does; after 100 draws the last one is joined by shortest edges. */
export function connectedGraph(nodes: number, model: EdgeModel, random: Random): FlatGraph {
  for (let draw = 1; ; draw++) {
    const graph = new FlatGraph(nodes, random);
    graph.draw(model, random);
    if (draw === DRAWS) graph.connect();
    if (graph.connected) return graph;
  }
}
