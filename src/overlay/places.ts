import { Exchange, Exchanged, UNKNOWN, readName, writeName } from './codec.js';
import { DESCEND, STOP, publishedStep, refusedStep } from './exchange.js';
import { type Holding } from './holding.js';
import { type Peer } from './peer.js';
import { type Stream } from './stream.js';
import { type SwapsOptions } from './swaps.js';
import { NO_HOST } from './transport.js';

/** What a host says of the places beside it to a subscriber that looks for one: P in Subscribe(S, P, d), and those that P sends it to. */
export class Places {
  private readonly costs: Float64Array;

  constructor(private readonly options: SwapsOptions) {
    this.costs = new Float64Array(options.cube.degree);
  }

  onExchange(peer: Peer, at: number): void {
    const { cube, membership, peers, trees, share, counters: { dropped }, transport: { view } } = this.options;
    const near = view.getUint32(at + Exchange.near);
    const root = view.getUint32(at + Exchange.root);
    if (view.getUint32(at + Exchange.mine) >= cube.size || near >= cube.size || root >= cube.size) {
      dropped.range++;
      return;
    }
    const name = readName(view, at);
    const stream = trees.named(at);
    const holding = membership.holdings.get(near);
    let ports: number[] = [];
    let isSwap = false;
    if (holding !== undefined && !holding.giving) {
      for (let port = 0; port < cube.degree; port++) this.costs[port] = this.costTo(holding, port, name.publisher, peer);
      if (view.getUint8(at + Exchange.isImproved) !== 0) ports = this.farther(holding, root, view.getUint32(at + Exchange.mine));
      else if (stream?.isOnTree === true) [ports, isSwap] = this.published(holding, at);
    }
    const reply = peers.begin(Exchanged.type, Exchanged.bytes + Exchanged.item * ports.length);
    writeName(view, reply, name);
    view.setUint32(reply + Exchanged.near, near);
    const delayUs = stream?.isOnTree === true && Number.isFinite(stream.delayUs) ? Math.round(stream.delayUs + share.responseUs(stream)) : UNKNOWN;
    view.setUint32(reply + Exchanged.delayUs, delayUs);
    view.setUint32(reply + Exchanged.count, (ports.length << 24) | ((isSwap ? 1 : 0) << 16));
    for (const [i, port] of ports.entries()) {
      const item = reply + Exchanged.places + Exchanged.item * i;
      const host = holding!.neighbours[port];
      view.setUint32(item, host);
      view.setUint32(item + 4, cube.neighbour(near, port));
      view.setUint32(item + 8, Math.round(this.costs[port]));
      view.setUint32(item + 12, this.behind(stream, host));
    }
    peers.send(peer.host);
  }

  /** This host's cost to a neighbour that may be asked, or moved; Infinity for the others: the dead, the publisher and the asker. */
  private costTo(holding: Holding, port: number, publisher: number, asker: Peer): number {
    const host = holding.neighbours[port];
    const other = host === NO_HOST || host === asker.host || host === publisher ? undefined : this.options.peers.get(host);
    return other === undefined || other.suspected ? Infinity : other.oneWayUs(Infinity);
  }

  /** Subscribers behind a child; UNKNOWN of who is none. */
  private behind(stream: Stream | undefined, host: number): number {
    const child = stream?.child(host);
    return child === undefined ? UNKNOWN : Math.max(0, child.subscribers - 1);
  }

  /** The neighbours one step farther from the root: whoever is there can be a child of this host. */
  private farther(holding: Holding, root: number, mine: number): number[] {
    const { cube } = this.options;
    const rank = cube.distance(holding.identifier, root);
    const ports: number[] = [];
    for (let port = 0; port < cube.degree; port++) {
      const identifier = cube.neighbour(holding.identifier, port);
      if (this.costs[port] < Infinity && identifier !== mine && cube.distance(identifier, root) > rank) ports.push(port);
    }
    return ports;
  }

  private published(holding: Holding, at: number): [ports: number[], isSwap: boolean] {
    const { cube, maxDepth, transport: { view } } = this.options;
    const depth = view.getUint8(at + Exchange.depth);
    const refused = (): number => refusedStep(this.costs, 0, cube.degree, depth, maxDepth);
    let step = view.getUint8(at + Exchange.isRefused) !== 0 ? refused() : publishedStep(this.costs, 0, cube.degree, view.getUint32(at + Exchange.costUs), depth, maxDepth);
    // Its own place is no better one.
    if (step >= 0 && step < DESCEND && cube.neighbour(holding.identifier, step) === view.getUint32(at + Exchange.mine)) step = refused();
    return step === STOP ? [[], false] : [[step % DESCEND], step < DESCEND];
  }
}
