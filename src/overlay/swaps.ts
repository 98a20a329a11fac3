import { type Timer, type Timers } from '../base/index.js';
import { Exchange, Exchanged, Swap, SwapRefused } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type KnCube } from './cube/kncube.js';
import { DESCEND, STOP, breaksBound, publishedStep, refusedStep } from './exchange.js';
import { type Handovers } from './handover.js';
import { type Membership } from './membership.js';
import { type Peer, type Peers } from './peers.js';
import { type Stream } from './stream.js';
import { type HostNumber, NO_HOST, type Transport } from './transport.js';
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
  readonly isAnchor: (identifier: number) => boolean;
}

/** This host's own wish for a place nearer to a publisher. */
interface Wish {
  readonly stream: Stream;
  readonly boundUs: number;
  readonly done: () => void;
  timer: Timer | undefined;
  /** The identifier that goes, and the one that is to come; −1 before it is known. */
  mine: number;
  theirs: number;
  partner: HostNumber;
}

/** How long each step of an exchange is waited for, in heartbeats. */
const STEP_HEARTBEATS = 2;

// Subscribe(S, P, d) of the exchange of identifiers (exchange.ts), one message a step:
//
//   S ──Exchange──▶ P      P's holder, who knows its own costs: swap with this neighbour │ ask that one │ nothing
//   S ◀─Exchanged── P
//   S ──Swap──────▶ i      the neighbour: refuses, or gives its identifier: directory, Handover (Membership.give)
//   S ◀─Handover─── i
//   S ──Handover──▶ i      and S gives its own in return
//
// Between the two S holds both and i none: a failure there leaves an identifier with somebody, and i joins anew.

/** The exchange of identifiers between hosts, from both sides. */
export class Swaps {
  private wish: Wish | undefined;
  private readonly costs: Float64Array;

  constructor(private readonly options: SwapsOptions) {
    this.wish = undefined;
    this.costs = new Float64Array(options.cube.degree);
  }

  /** Looks for a better place. False: not now, or not at all. */
  begin(stream: Stream, boundUs: number, done: () => void): boolean {
    const { membership, isAnchor, maxDepth, peers, timers, heartbeatUs } = this.options;
    if (this.wish !== undefined || maxDepth === 0) return false;
    const mine = membership.nearest(stream.root, stream.rank).find(({ identifier }) => !isAnchor(identifier));
    // One that holds several would leave the others where they are.
    if (mine === undefined || membership.holdings.size !== 1 || stream.rank <= 1) return false;
    const wish: Wish = { stream, boundUs, done, timer: undefined, mine: mine.identifier, theirs: -1, partner: NO_HOST };
    this.wish = wish;
    // Its distance is needed first.
    peers.ping(stream.publisher);
    wish.timer = timers.after(heartbeatUs, () => {
      this.ask(wish, stream.publisher, stream.root, 0);
    });
    return true;
  }

  private end(wish: Wish): void {
    if (this.wish !== wish) return;
    wish.timer?.cancel();
    this.wish = undefined;
    wish.done();
  }

  private wait(wish: Wish): void {
    const { timers, heartbeatUs } = this.options;
    wish.timer?.cancel();
    wish.timer = timers.after(STEP_HEARTBEATS * heartbeatUs, () => {
      this.end(wish);
    });
  }

  private ask(wish: Wish, host: HostNumber, near: number, depth: number): void {
    const { peers, transport: { view } } = this.options;
    const costUs = peers.get(host)?.oneWayUs(Infinity) ?? Infinity;
    if (!(costUs < Infinity)) {
      this.end(wish);
      return;
    }
    const at = peers.begin(Exchange.type, Exchange.bytes);
    this.writeName(at, wish.stream);
    view.setUint32(at + Exchange.mine, wish.mine);
    view.setUint32(at + Exchange.near, near);
    view.setUint32(at + Exchange.costUs, Math.round(costUs));
    view.setUint32(at + Exchange.delayUs, Math.round(wish.stream.delayUs));
    view.setUint32(at + Exchange.boundUs, Math.min(0xffffffff, Math.round(wish.boundUs)));
    view.setUint32(at + Exchange.depth, depth << 24);
    peers.send(host);
    this.wait(wish);
  }

  private writeName(at: number, { channel, publisher }: Stream): void {
    const { view } = this.options.transport;
    view.setUint32(at + Exchange.channel, channel);
    view.setUint32(at + Exchange.publisher, publisher);
  }

  /** At P, or where it sent the subscriber. */
  onExchange(peer: Peer, at: number): void {
    const { cube, membership, peers, maxDepth, counters: { dropped }, transport: { view } } = this.options;
    const mine = view.getUint32(at + Exchange.mine);
    const near = view.getUint32(at + Exchange.near);
    const depth = view.getUint8(at + Exchange.depth);
    const stream = this.options.trees.named(at);
    const holding = membership.holdings.get(near);
    if (mine >= cube.size || near >= cube.size) {
      dropped.range++;
      return;
    }
    let step = STOP;
    if (holding !== undefined && !holding.giving && stream !== undefined && peer.incarnation !== 0) {
      for (let port = 0; port < cube.degree; port++) {
        const host = holding.neighbours[port];
        const other = host === NO_HOST || host === peer.host || host === stream.publisher ? undefined : peers.get(host);
        this.costs[port] = other === undefined || other.suspected ? Infinity : other.oneWayUs(Infinity);
      }
      const costUs = view.getUint32(at + Exchange.costUs);
      step = publishedStep(this.costs, 0, cube.degree, costUs, depth, maxDepth);
      // A swap that takes the subscriber no nearer is none.
      if (step >= 0 && step < DESCEND && cube.neighbour(near, step) === mine) step = refusedStep(this.costs, 0, cube.degree, depth, maxDepth);
    }
    const channel = view.getUint32(at + Exchange.channel);
    const publisher = view.getUint32(at + Exchange.publisher);
    const port = step === STOP ? -1 : step % DESCEND;
    const reply = peers.begin(Exchanged.type, Exchanged.bytes);
    view.setUint32(reply + Exchanged.channel, channel);
    view.setUint32(reply + Exchanged.publisher, publisher);
    view.setUint32(reply + Exchanged.host, port < 0 ? NO_HOST : holding!.neighbours[port]);
    view.setUint32(reply + Exchanged.identifier, port < 0 ? 0 : cube.neighbour(near, port));
    view.setUint32(reply + Exchanged.isSwap, ((step >= DESCEND ? 0 : 1) << 24) | (Math.min(depth + 1, 255) << 16));
    peers.send(peer.host);
  }

  onExchanged(at: number): void {
    const { cube, peers, timers, heartbeatUs, counters: { dropped }, transport: { view } } = this.options;
    const { wish } = this;
    const host = view.getUint32(at + Exchanged.host);
    const identifier = view.getUint32(at + Exchanged.identifier);
    if (wish === undefined || wish.stream !== this.options.trees.named(at) || wish.theirs >= 0) dropped.unasked++;
    else if (identifier >= cube.size) dropped.range++;
    else if (host === NO_HOST || !wish.stream.isOnTree) this.end(wish);
    else if (view.getUint8(at + Exchanged.isSwap) === 0) {
      peers.ping(host);
      const depth = view.getUint8(at + Exchanged.depth);
      wish.timer?.cancel();
      wish.timer = timers.after(heartbeatUs, () => {
        this.ask(wish, host, identifier, depth);
      });
    } else {
      wish.theirs = identifier;
      wish.partner = host;
      const out = peers.begin(Swap.type, Swap.bytes);
      this.writeName(out, wish.stream);
      view.setUint32(out + Swap.mine, wish.mine);
      view.setUint32(out + Swap.yours, identifier);
      view.setUint32(out + Swap.delayUs, Math.round(wish.stream.delayUs));
      peers.send(host);
      this.wait(wish);
    }
  }

  /** At i. Its own subscribers' bounds come first. */
  onSwap(peer: Peer, at: number): void {
    const { membership, handovers, trees, peers, isAnchor, counters, transport: { view } } = this.options;
    const theirs = view.getUint32(at + Swap.mine);
    const mine = view.getUint32(at + Swap.yours);
    const stream = trees.named(at);
    const thenUs = view.getUint32(at + Swap.delayUs);
    const breaks = stream?.subscriptions.some(({ boundUs }) => breaksBound(stream.delayUs, thenUs, boundUs)) === true;
    // Of other streams nobody knows what they would take from there.
    const isBound = [...trees.streams.values()].some((other) => other !== stream && other.subscriptions.some(({ boundUs }) => boundUs < Infinity && other.delayUs <= boundUs));
    const may = membership.holdings.size === 1 && membership.holds(mine) && !isAnchor(mine) && this.wish === undefined && !breaks && !isBound;
    if (may && handovers.give(mine, peer.host, peer.incarnation)) return;
    counters.swapsRefused++;
    const out = peers.begin(SwapRefused.type, SwapRefused.bytes);
    view.setUint32(out + SwapRefused.mine, mine);
    view.setUint32(out + SwapRefused.yours, theirs);
    peers.send(peer.host);
  }

  onSwapRefused(peer: Peer): void {
    if (this.wish?.partner === peer.host) this.end(this.wish);
    else this.options.counters.dropped.unasked++;
  }

  /** An identifier has come: if it is the one wished for, ours goes in return. */
  onReceived(identifier: number, from: HostNumber): void {
    const { wish } = this;
    const { peers, handovers, counters } = this.options;
    if (wish?.theirs !== identifier || wish.partner !== from) return;
    counters.swaps++;
    handovers.give(wish.mine, from, peers.get(from)!.incarnation);
    this.end(wish);
  }

  /** The lease is gone. */
  fence(): void {
    if (this.wish !== undefined) this.end(this.wish);
  }
}
