import { type Timers } from '../base/index.js';
import { Handover, HandoverAck } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { handOn } from './cube/assignment.js';
import { type KnCube } from './cube/kncube.js';
import { type Directory } from './directory.js';
import { type Holding, holderIn, identifierKey } from './holding.js';
import { type LeaseKeeper } from './lease-keeper.js';
import { type Membership } from './membership.js';
import { type Peer } from './peer.js';
import { type Peers } from './peers.js';
import { type HostNumber, NO_HOST, type Transport } from './transport.js';

export interface HandoversOptions {
  readonly self: HostNumber;
  readonly cube: KnCube;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly directory: Directory;
  readonly peers: Peers;
  readonly keeper: LeaseKeeper;
  readonly membership: Membership;
  readonly counters: OverlayCounters;
  /** What it may act for has changed. */
  readonly onIdentifiers: () => void;
}

/** An identifier that has gone to another host, which may not know it yet. */
interface Gift {
  readonly identifier: number;
  readonly neighbours: readonly HostNumber[];
  readonly to: HostNumber;
  /** Handover messages sent. */
  told: number;
}

/** How often a host is told that an identifier is now its own; after that, it learns so from the neighbours. */
const MAX_TOLD = 5;
/** Between two tries to learn what the directory did. */
const RECALL_US = 1e5;

//   held ──give: nobody acts for it──▶ cas: from our name under our lease to the other's under its own ──▶ the other's: told by Handover
//     ▲                                    │ refused              │ no answer: perhaps
//     └────────────────────────────────────┴── recall ◀───────────┘

/** Identifiers that go from this host to another, and come from others: with the directory's word for each. */
export class Handovers {
  private readonly gifts: Map<number, Gift>;

  constructor(private readonly options: HandoversOptions) {
    this.gifts = new Map();
  }

  private get membership(): Membership {
    return this.options.membership;
  }

  /** The lease is gone. */
  fence(): void {
    this.gifts.clear();
  }

  /** Each heartbeat. */
  tick(): void {
    for (const gift of this.gifts.values()) this.tell(gift);
  }

  /** Nothing is under way. */
  get isIdle(): boolean {
    return this.gifts.size === 0;
  }

  /** Gives all to the hosts beside them, each to the one that has the fewest; false if there is nobody. */
  giveAll(): boolean {
    const { cube, peers, self } = this.options;
    const { holdings } = this.membership;
    const holders = new Map<number, HostNumber>();
    for (const { identifier, neighbours } of holdings.values()) {
      for (const [port, host] of neighbours.entries()) {
        const peer = host === NO_HOST || host === self ? undefined : peers.get(host)!;
        if (peer !== undefined && !peer.suspected && peer.incarnation !== 0) holders.set(cube.neighbour(identifier, port), host);
      }
    }
    const identifiers = Int32Array.from(holdings.keys());
    const takers = handOn(cube, identifiers, (identifier) => holders.get(identifier), (host) => peers.get(host)!.identifiers);
    if (takers === undefined) return false;
    for (const [i, taker] of takers.entries()) this.give(identifiers[i], taker, peers.get(taker)!.incarnation);
    return true;
  }

  /** Puts an identifier under another host's name, and tells it; false if that can't begin. `incarnation` is that host's: its lease. */
  give(identifier: number, to: HostNumber, incarnation: number): boolean {
    const { directory, keeper, counters, peers: { incarnation: own } } = this.options;
    const holding = this.membership.holdings.get(identifier);
    if (holding === undefined || holding.giving || !keeper.isValid) return false;
    // From here on until the directory has spoken nobody holds it.
    holding.giving = true;
    directory.cas(identifierKey(identifier), holding.revision, String(to), incarnation, (failure, outcome) => {
      if (!this.membership.isStill(own) || this.membership.holdings.get(identifier) !== holding) return;
      if (failure === undefined && outcome!.swapped) {
        counters.identifiers.given++;
        const gift: Gift = { identifier, neighbours: [...holding.neighbours], to, told: 0 };
        this.gifts.set(identifier, gift);
        this.membership.remove(holding, outcome!.entry!.revision);
        this.tell(gift);
      } else if (failure === undefined) this.membership.lose(identifier);
      else if (failure === 'unavailable') this.recall(holding);
      else this.keep(holding);
    });
    this.options.onIdentifiers();
    return true;
  }

  /** It stays here after all. */
  private keep(holding: Holding): void {
    holding.giving = false;
    this.options.onIdentifiers();
  }

  /**
   * Whether it was given away or not, only the directory knows; and what we asked of it may still be on its way. Our own name in the place of
   * our own name makes that fail, or fails itself.
   */
  private recall(holding: Holding): void {
    const { directory, timers, self, peers: { incarnation: own } } = this.options;
    const { identifier } = holding;
    directory.cas(identifierKey(identifier), holding.revision, String(self), own, (failure, outcome) => {
      if (!this.membership.isStill(own) || this.membership.holdings.get(identifier) !== holding) return;
      if (failure === 'unavailable') {
        timers.after(RECALL_US, () => {
          if (this.membership.isStill(own) && this.membership.holdings.get(identifier) === holding) this.recall(holding);
        });
      } else if (failure === undefined && (outcome!.swapped || (holderIn(outcome!.entry) === self && outcome!.entry!.lease === own))) {
        holding.revision = outcome!.entry!.revision;
        // Another of our names than the one we have just written: then it was an earlier try that did, and the next one settles it.
        if (outcome!.swapped) this.keep(holding);
        else this.recall(holding);
      } else this.membership.lose(identifier);
    });
  }

  private tell(gift: Gift): void {
    const { peers, transport: { view } } = this.options;
    const { identifier, neighbours, to } = gift;
    if (gift.told++ >= MAX_TOLD) {
      this.gifts.delete(identifier);
      return;
    }
    const at = peers.begin(Handover.type, Handover.bytes + Handover.item * neighbours.length);
    view.setUint32(at + Handover.identifier, identifier);
    view.setUint32(at + Handover.count, neighbours.length);
    for (let port = 0; port < neighbours.length; port++) view.setUint32(at + Handover.holders + Handover.item * port, neighbours[port]);
    peers.send(to);
  }

  onHandover(peer: Peer, at: number): void {
    const { peers, cube, self, counters, transport: { view } } = this.options;
    const identifier = view.getUint32(at + Handover.identifier);
    const count = view.getUint32(at + Handover.count);
    if (identifier >= cube.size || count !== cube.degree) {
      counters.dropped.range++;
      return;
    }
    const hints = Array.from({ length: count }, (_, port) => view.getUint32(at + Handover.holders + Handover.item * port));
    this.membership.query(identifier, (entry) => {
      // Not before: who has no answer from the directory is to be told again.
      const reply = peers.begin(HandoverAck.type, HandoverAck.bytes);
      view.setUint32(reply + HandoverAck.identifier, identifier);
      peers.send(peer.host);
      if (entry !== undefined && holderIn(entry) === self) this.membership.learn(entry, identifier, peer.host, hints);
    });
  }

  onHandoverAck(peer: Peer, at: number): void {
    const { transport: { view }, counters: { dropped } } = this.options;
    const identifier = view.getUint32(at + HandoverAck.identifier);
    if (this.gifts.get(identifier)?.to === peer.host) this.gifts.delete(identifier);
    else dropped.unasked++;
  }
}
