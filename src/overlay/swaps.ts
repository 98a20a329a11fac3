import { type Random, type Timer, type Timers } from '../base/index.js';
import { Exchange, Exchanged, Swap, SwapRefused, UNKNOWN, readName, writeName } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type KnCube } from './cube/kncube.js';
import { DESCEND, STOP, branchGainUs, breaksBound, improvedStep, moverGainUs, publishedStep, refusedStep } from './exchange.js';
import { type Handovers } from './handover.js';
import { type Membership } from './membership.js';
import { type Holding } from './holding.js';
import { type Peer } from './peer.js';
import { type Peers } from './peers.js';
import { type HostShare } from './qos.js';
import { type Stream } from './stream.js';
import { type HostNumber, MAX_HOST, NO_HOST, type Transport } from './transport.js';
import { type Trees } from './trees.js';

export interface SwapsOptions {
  readonly cube: KnCube;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly peers: Peers;
  readonly membership: Membership;
  readonly handovers: Handovers;
  readonly trees: Trees;
  readonly counters: OverlayCounters;
  readonly heartbeatUs: number;
  /** How far from the publisher places are looked for. 0: none are. */
  readonly maxDepth: number;
  /** By which rule (exchange.ts) those that are asked choose. */
  readonly rule: 'published' | 'improved';
  readonly share: HostShare;
  readonly random: Random;
  readonly self: HostNumber;
  readonly unmeasuredUs: number;
  readonly isAnchor: (identifier: number) => boolean;
}

/** This host's own wish for a place nearer to a publisher. */
interface Wish {
  readonly stream: Stream;
  readonly boundUs: number;
  readonly done: () => void;
  timer: Timer | undefined;
  readonly mine: number;
  /** What comes in return for it; −1 before that is known. */
  theirs: number;
  partner: HostNumber;
  refusals: number;
  /** Asks the last one that was asked again. */
  again: () => void;
}

/** An identifier that might be the subscriber's, and its holder. */
interface Place {
  readonly host: HostNumber;
  readonly identifier: number;
}

/** Somebody else's wish for this host's place. */
interface Offer {
  readonly peer: Peer;
  readonly incarnation: number;
  readonly theirs: number;
  readonly mine: number;
  readonly stream: Stream | undefined;
  readonly delayUs: number;
  readonly thenUs: number;
  readonly boundUs: number;
  readonly parent: HostNumber;
  readonly parentUs: number;
  readonly subscribers: number;
  readonly late: number;
  readonly isImproved: boolean;
}

/** How long an answer is waited for, in heartbeats. */
const STEP_HEARTBEATS = 2;
const SWAP_HEARTBEATS = 4;
/** After a refusal the next try waits for up to so long; there are so many of them. */
const REFUSED_HEARTBEATS = 4;
const MAX_REFUSALS = 4;

/** Subscribers below this host, and those of them that are late. */
function behind(stream: Stream): { subscribers: number; late: number } {
  const { subscribers, late, subscriptions } = stream;
  return { subscribers: subscribers - subscriptions.length, late: late - subscriptions.filter(({ boundUs }) => stream.delayUs > boundUs).length };
}

// Subscribe(S, P, d) of the exchange of identifiers (exchange.ts), one message a step:
//
//   S ──Exchange──▶ P      P's holder, who knows its own costs and children: swap with this neighbour │ ask one of those │ nothing
//   S ◀─Exchanged── P      S measures how far those are, and asks the nearest
//   S ──Swap──────▶ i      the neighbour: refuses, or gives its identifier: directory, Handover (Membership.give)
//   S ◀─Handover─── i
//   S ──Handover──▶ i      and S gives its own in return
//
// Between the two S holds both and i none: a failure there leaves an identifier with somebody, and i joins anew.

/** The exchange of identifiers between hosts, from both sides. */
export class Swaps {
  private wish: Wish | undefined;
  private offer: Offer | undefined;
  private readonly costs: Float64Array;
  private readonly unknown: Float64Array;

  constructor(private readonly options: SwapsOptions) {
    this.wish = undefined;
    this.offer = undefined;
    this.costs = new Float64Array(options.cube.degree);
    this.unknown = new Float64Array(options.cube.degree).fill(Infinity);
  }

  /** Looks for a better place. False: not now, or not at all. */
  begin(stream: Stream, boundUs: number, done: () => void): boolean {
    const { membership, isAnchor, maxDepth } = this.options;
    if (this.wish !== undefined || maxDepth === 0) return false;
    const mine = membership.nearest(stream.root, stream.rank).find(({ identifier }) => !isAnchor(identifier));
    // One that holds several would leave the others where they are.
    if (mine === undefined || membership.holdings.size !== 1 || stream.rank <= 1 || this.isBoundElsewhere(stream)) return false;
    const wish: Wish = { stream, boundUs, done, timer: undefined, mine: mine.identifier, theirs: -1, partner: NO_HOST, refusals: 0, again: () => undefined };
    this.wish = wish;
    this.measure(wish, [{ host: stream.publisher, identifier: stream.root }], 0);
    return true;
  }

  private end(wish: Wish): void {
    if (this.wish !== wish) return;
    wish.timer?.cancel();
    this.wish = undefined;
    wish.done();
  }

  private later(wish: Wish, heartbeats: number, action: () => void): void {
    wish.timer?.cancel();
    wish.timer = this.options.timers.after(heartbeats * this.options.heartbeatUs, action);
  }

  /** Finds out which of these places is nearest, and asks there. */
  private measure(wish: Wish, places: readonly Place[], depth: number): void {
    const { peers } = this.options;
    for (const { host } of places) peers.ping(host);
    this.later(wish, 1, () => {
      let nearest: Place | undefined;
      let least = Infinity;
      for (const place of places) {
        const costUs = peers.get(place.host)?.oneWayUs(Infinity) ?? Infinity;
        if (costUs < least) [nearest, least] = [place, costUs];
      }
      if (nearest === undefined || !wish.stream.isOnTree) this.end(wish);
      else {
        const place = nearest;
        wish.again = () => {
          this.ask(wish, place, least, depth);
        };
        wish.again();
      }
    });
  }

  private ask(wish: Wish, { host, identifier }: Place, costUs: number, depth: number): void {
    const { peers, rule, transport: { view } } = this.options;
    const { stream } = wish;
    const at = peers.begin(Exchange.type, Exchange.bytes);
    writeName(view, at, stream);
    view.setUint32(at + Exchange.mine, wish.mine);
    view.setUint32(at + Exchange.near, identifier);
    view.setUint32(at + Exchange.costUs, Math.round(costUs));
    view.setUint32(at + Exchange.delayUs, Math.round(stream.delayUs));
    view.setUint32(at + Exchange.boundUs, Math.min(UNKNOWN, Math.round(wish.boundUs)));
    view.setUint32(at + Exchange.subscribers, stream.subscribers);
    view.setUint32(at + Exchange.late, stream.late);
    view.setUint32(at + Exchange.depth, (depth << 24) | (rule === 'improved' ? 1 << 16 : 0));
    peers.send(host);
    this.later(wish, STEP_HEARTBEATS, () => {
      this.end(wish);
    });
  }

  /** At P, or where it sent the subscriber. */
  onExchange(peer: Peer, at: number): void {
    const { cube, membership, peers, maxDepth, trees, counters: { dropped }, transport: { view } } = this.options;
    const near = view.getUint32(at + Exchange.near);
    const depth = view.getUint8(at + Exchange.depth);
    const name = readName(view, at);
    if (view.getUint32(at + Exchange.mine) >= cube.size || near >= cube.size) {
      dropped.range++;
      return;
    }
    const stream = trees.named(at);
    const holding = membership.holdings.get(near);
    let places: Place[] = [];
    let isSwap = false;
    if (holding !== undefined && !holding.giving && stream?.isOnTree === true && depth < maxDepth) {
      if (view.getUint8(at + Exchange.isImproved) !== 0) [places, isSwap] = this.improved(stream, holding, peer, at, depth);
      else [places, isSwap] = this.published(stream, holding, peer, at, depth);
    }
    const reply = peers.begin(Exchanged.type, Exchanged.bytes + Exchanged.item * places.length);
    writeName(view, reply, name);
    view.setUint32(reply + Exchanged.count, (places.length << 24) | ((isSwap ? 1 : 0) << 16) | (Math.min(depth + 1, 255) << 8));
    const thenUs = stream === undefined ? UNKNOWN : Math.round(this.passedOnUs(stream) + view.getUint32(at + Exchange.costUs));
    view.setUint32(reply + Exchanged.thenUs, thenUs);
    for (const [i, { host, identifier }] of places.entries()) {
      view.setUint32(reply + Exchanged.places + Exchanged.item * i, host);
      view.setUint32(reply + Exchanged.places + Exchanged.item * i + 4, identifier);
    }
    peers.send(peer.host);
  }

  /** This host's cost to a neighbour that may be asked, or moved; Infinity for the others: the dead, the publisher and the asker. */
  private costTo(holding: Holding, port: number, stream: Stream, asker: Peer): number {
    const host = holding.neighbours[port];
    const other = host === NO_HOST || host === asker.host || host === stream.publisher ? undefined : this.options.peers.get(host);
    return other === undefined || other.suspected ? Infinity : other.oneWayUs(Infinity);
  }

  /** From publishing until a message leaves this host. */
  private passedOnUs(stream: Stream): number {
    return stream.delayUs + this.options.share.responseUs(stream);
  }

  private place(holding: Holding, port: number): Place {
    return { host: holding.neighbours[port], identifier: this.options.cube.neighbour(holding.identifier, port) };
  }

  private published(stream: Stream, holding: Holding, asker: Peer, at: number, depth: number): [Place[], boolean] {
    const { cube, maxDepth, transport: { view } } = this.options;
    for (let port = 0; port < cube.degree; port++) this.costs[port] = this.costTo(holding, port, stream, asker);
    let step = publishedStep(this.costs, 0, cube.degree, view.getUint32(at + Exchange.costUs), depth, maxDepth);
    // Its own place is no better one.
    if (step >= 0 && step < DESCEND && cube.neighbour(holding.identifier, step) === view.getUint32(at + Exchange.mine)) step = refusedStep(this.costs, 0, cube.degree, depth, maxDepth);
    return step === STOP ? [[], false] : [[this.place(holding, step % DESCEND)], step < DESCEND];
  }

  /** What each neighbour would lose in the subscriber's place is known of those that are children here; others see to their bounds themselves. */
  private improved(stream: Stream, holding: Holding, asker: Peer, at: number, depth: number): [Place[], boolean] {
    const { cube, maxDepth, transport: { view } } = this.options;
    const delayUs = view.getUint32(at + Exchange.delayUs);
    const ownUs = this.passedOnUs(stream);
    const thenUs = ownUs + view.getUint32(at + Exchange.costUs);
    const subscribers = view.getUint32(at + Exchange.subscribers);
    const gainUs = moverGainUs(delayUs, thenUs, view.getUint32(at + Exchange.boundUs)) + branchGainUs(Math.max(0, subscribers - 1), Math.max(0, view.getUint32(at + Exchange.late) - 1), delayUs - thenUs);
    const rank = cube.distance(holding.identifier, stream.root);
    const farther: number[] = [];
    for (let port = 0; port < cube.degree; port++) {
      const identifier = cube.neighbour(holding.identifier, port);
      const costUs = this.costTo(holding, port, stream, asker);
      this.costs[port] = 0;
      if (costUs === Infinity || identifier === view.getUint32(at + Exchange.mine) || cube.distance(identifier, stream.root) <= rank) continue;
      farther.push(port);
      const child = stream.child(holding.neighbours[port]);
      this.costs[port] = gainUs + (child === undefined ? 0 : branchGainUs(child.subscribers, child.late, ownUs + costUs - delayUs));
    }
    // The subscriber's costs to them are its own to know: the second half of the step is taken there.
    const step = thenUs < delayUs ? improvedStep(this.costs, this.unknown, 0, cube.degree, depth, maxDepth) : STOP;
    return step === STOP ? [farther.map((port) => this.place(holding, port)), false] : [[this.place(holding, step)], true];
  }

  onExchanged(peer: Peer, at: number): void {
    const { cube, trees, counters: { dropped }, transport: { view } } = this.options;
    const { wish } = this;
    if (wish === undefined || wish.stream !== trees.named(at) || wish.theirs >= 0 || peer.host === wish.partner) {
      dropped.unasked++;
      return;
    }
    const places: Place[] = [];
    for (let i = 0; i < view.getUint8(at + Exchanged.count); i++) {
      const item = at + Exchanged.places + Exchanged.item * i;
      places.push({ host: view.getUint32(item), identifier: view.getUint32(item + 4) });
    }
    if (places.some(({ host, identifier }) => host > MAX_HOST || identifier >= cube.size)) dropped.range++;
    else if (places.length === 0 || !wish.stream.isOnTree) this.end(wish);
    else if (view.getUint8(at + Exchanged.isSwap) === 0) this.measure(wish, places, view.getUint8(at + Exchanged.depth));
    else {
      wish.theirs = places[0].identifier;
      wish.partner = places[0].host;
      this.propose(wish, view.getUint32(at + Exchanged.thenUs));
    }
  }

  private propose(wish: Wish, thenUs: number): void {
    const { peers, rule, unmeasuredUs, transport: { view } } = this.options;
    const { stream, partner } = wish;
    const below = behind(stream);
    const at = peers.begin(Swap.type, Swap.bytes);
    writeName(view, at, stream);
    view.setUint32(at + Swap.mine, wish.mine);
    view.setUint32(at + Swap.yours, wish.theirs);
    view.setUint32(at + Swap.delayUs, Math.round(stream.delayUs));
    view.setUint32(at + Swap.thenUs, thenUs);
    view.setUint32(at + Swap.boundUs, Math.min(UNKNOWN, Math.round(wish.boundUs)));
    view.setUint32(at + Swap.parent, stream.parent);
    view.setUint32(at + Swap.parentUs, Math.max(0, Math.round(stream.delayUs - peers.know(stream.parent).oneWayUs(unmeasuredUs))));
    view.setUint32(at + Swap.subscribers, below.subscribers);
    view.setUint32(at + Swap.late, below.late);
    view.setUint32(at + Swap.isImproved, rule === 'improved' ? 1 << 24 : 0);
    peers.send(partner);
    this.later(wish, SWAP_HEARTBEATS, () => {
      this.end(wish);
    });
  }

  /** At i: it measures what it would be in the other's place. */
  onSwap(peer: Peer, at: number): void {
    const { peers, timers, heartbeatUs, trees, cube, counters: { dropped }, transport: { view } } = this.options;
    const field = (offset: number): number => view.getUint32(at + offset);
    const offer: Offer = {
      peer, incarnation: peer.incarnation, theirs: field(Swap.mine), mine: field(Swap.yours), stream: trees.named(at),
      delayUs: field(Swap.delayUs), thenUs: field(Swap.thenUs), boundUs: field(Swap.boundUs), parent: field(Swap.parent), parentUs: field(Swap.parentUs),
      subscribers: field(Swap.subscribers), late: field(Swap.late), isImproved: view.getUint8(at + Swap.isImproved) !== 0,
    };
    if (offer.mine >= cube.size || offer.theirs >= cube.size || offer.parent > MAX_HOST) dropped.range++;
    else if (this.offer !== undefined || !this.maySwap(offer)) this.refuse(offer);
    else {
      this.offer = offer;
      if (offer.parent !== this.options.self) peers.ping(offer.parent);
      timers.after(heartbeatUs, () => {
        if (this.offer !== offer) return;
        this.offer = undefined;
        if (!this.maySwap(offer) || !this.isWorth(offer) || !this.options.handovers.give(offer.mine, peer.host, offer.incarnation)) this.refuse(offer);
        // A wish of its own gives way.
        else if (this.wish !== undefined) this.end(this.wish);
      });
    }
  }

  private maySwap({ mine }: Offer): boolean {
    const { membership, isAnchor } = this.options;
    return membership.holdings.size === 1 && membership.holds(mine) && !isAnchor(mine) && !(this.wish !== undefined && this.wish.theirs >= 0);
  }

  /** Whether another stream meets a bound here: nobody knows what it would take from elsewhere. */
  private isBoundElsewhere(stream: Stream | undefined): boolean {
    for (const other of this.options.trees.streams.values()) {
      if (other !== stream && other.subscriptions.some(({ boundUs }) => boundUs < Infinity && other.delayUs <= boundUs)) return true;
    }
    return false;
  }

  /** Whether the swap breaks no bound that is met here; and, by the improved rule, whether all concerned gain by it. */
  private isWorth(offer: Offer): boolean {
    const { peers, self, unmeasuredUs } = this.options;
    const { stream, parent } = offer;
    if (this.isBoundElsewhere(stream)) return false;
    if (stream?.isOnTree !== true) return true;
    // The child of what is its child now; or of the other's parent.
    const thenUs = parent === self ? offer.thenUs + offer.peer.oneWayUs(unmeasuredUs) : offer.parentUs + (peers.get(parent)?.oneWayUs(unmeasuredUs) ?? unmeasuredUs);
    if (stream.subscriptions.some(({ boundUs }) => breaksBound(stream.delayUs, thenUs, boundUs))) return false;
    if (!offer.isImproved) return true;
    const below = behind(stream);
    let gainUs = moverGainUs(offer.delayUs, offer.thenUs, offer.boundUs) + branchGainUs(offer.subscribers, offer.late, offer.delayUs - thenUs);
    gainUs += branchGainUs(below.subscribers, below.late, stream.delayUs - offer.thenUs);
    for (const { boundUs } of stream.subscriptions) gainUs += moverGainUs(stream.delayUs, thenUs, boundUs);
    return gainUs > 0;
  }

  private refuse({ mine, theirs, peer }: Offer): void {
    const { peers, counters, transport: { view } } = this.options;
    counters.swapsRefused++;
    const at = peers.begin(SwapRefused.type, SwapRefused.bytes);
    view.setUint32(at + SwapRefused.mine, mine);
    view.setUint32(at + SwapRefused.yours, theirs);
    peers.send(peer.host);
  }

  onSwapRefused(peer: Peer): void {
    const { wish } = this;
    if (wish?.partner !== peer.host) {
      this.options.counters.dropped.unasked++;
      return;
    }
    wish.partner = NO_HOST;
    wish.theirs = -1;
    if (++wish.refusals > MAX_REFUSALS) this.end(wish);
    // Others want the same places; whoever was asked may know another by then.
    else this.later(wish, 1 + this.options.random.float() * REFUSED_HEARTBEATS, wish.again);
  }

  /** An identifier has come: if it is the one wished for, ours goes in return. */
  onReceived(identifier: number, from: HostNumber): void {
    const { wish } = this;
    const { peers, handovers, counters, isAnchor } = this.options;
    if (wish?.theirs !== identifier || wish.partner !== from) return;
    // Where something is published from it since, it stays, and the other joins anew.
    if (!isAnchor(wish.mine)) {
      counters.swaps++;
      handovers.give(wish.mine, from, peers.get(from)!.incarnation);
    }
    this.end(wish);
  }

  /** The lease is gone. */
  fence(): void {
    this.offer = undefined;
    if (this.wish !== undefined) this.end(this.wish);
  }
}
