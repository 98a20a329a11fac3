import { type KnCube } from './cube/kncube.js';
import { type Router } from './cube/router.js';
import { type Membership } from './membership.js';
import { type Peers } from './peers.js';
import { NO_RANK, type Stream } from './stream.js';
import { type HostNumber, NO_HOST } from './transport.js';

export interface RoutesOptions {
  readonly self: HostNumber;
  readonly cube: KnCube;
  readonly peers: Peers;
  readonly membership: Membership;
  readonly router: Router;
  /** A link's delay as long as none was measured. */
  readonly unmeasuredUs: number;
}

/** Which hosts might be the parent in a stream's tree: this host's neighbours in the cube that are nearer to the publisher's identifier, and who stands in for them. */
export class Routes {
  private readonly costs: Float64Array;

  constructor(private readonly options: RoutesOptions) {
    this.costs = new Float64Array(options.cube.degree);
  }

  /** The one that is to be asked now; NO_HOST if there is none. */
  nextParent(stream: Stream): HostNumber {
    if (stream.rank === NO_RANK) return NO_HOST;
    const beside = this.nextHop(stream);
    if (beside !== NO_HOST) return beside;
    // A dead neighbour in the only way that is left: its identifier will find another holder, but those above it are there now.
    for (const host of stream.ancestors) if (this.isUsable(stream, host)) return host;
    return this.isUsable(stream, stream.publisher) ? stream.publisher : NO_HOST;
  }

  /** The next hop of the route, of those that live and have not refused. */
  nextHop(stream: Stream): HostNumber {
    const { membership, router, peers, unmeasuredUs } = this.options;
    for (const { identifier, neighbours } of membership.nearest(stream.root, stream.rank)) {
      for (let port = 0; port < neighbours.length; port++) {
        this.costs[port] = this.isUsable(stream, neighbours[port]) ? peers.get(neighbours[port])!.oneWayUs(unmeasuredUs) : Infinity;
      }
      const port = router.nextPort(identifier, stream.root, this.costs, 0);
      if (port >= 0) return neighbours[port];
    }
    return NO_HOST;
  }

  /** Whether the parent is a neighbour in the cube. */
  isParentBeside(stream: Stream): boolean {
    return this.options.membership.nearest(stream.root, stream.rank).some(({ neighbours }) => neighbours.includes(stream.parent));
  }

  /** Hosts that might be parents instead of the one that is: the holders of all identifiers that are nearer to the root. */
  alternatives(stream: Stream): HostNumber[] {
    const { membership, cube, peers, self } = this.options;
    const hosts = new Set<HostNumber>();
    for (const { identifier, neighbours } of membership.nearest(stream.root, stream.rank)) {
      for (const [port, host] of neighbours.entries()) {
        if (host === NO_HOST || host === self || host === stream.parent || peers.get(host)!.suspected) continue;
        if (cube.distance(cube.neighbour(identifier, port), stream.root) < stream.rank) hosts.add(host);
      }
    }
    return [...hosts];
  }

  private isUsable(stream: Stream, host: HostNumber): boolean {
    return host !== NO_HOST && host !== this.options.self && !stream.tried.has(host) && this.options.peers.get(host)?.suspected !== true;
  }
}
