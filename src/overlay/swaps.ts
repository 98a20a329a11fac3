import { type Random, type Timer, type Timers } from '../base/index.js';
import { Exchange, Exchanged, Survey, Surveyed, Swap, SwapRefused, UNKNOWN, writeName } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type KnCube } from './cube/kncube.js';
import { type Handovers } from './handover.js';
import { type Membership } from './membership.js';
import { isFreeToMove } from './moves.js';
import { MAX_SURVEYED, Offers, SWAP_REFUSAL } from './offers.js';
import { type Peer } from './peer.js';
import { type Peers } from './peers.js';
import { Places } from './places.js';
import { type HostShare } from './qos.js';
import { type Place, Search } from './search.js';
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
  /** By which rule (exchange.ts) places are chosen. */
  readonly rule: 'published' | 'improved';
  readonly share: HostShare;
  readonly random: Random;
  readonly self: HostNumber;
  readonly unmeasuredUs: number;
  readonly isAnchor: (identifier: number) => boolean;
}

/** A host that would be a nearer parent, and the places beside it. */
interface Prospect {
  readonly parent: HostNumber;
  readonly thenUs: number;
  /** Those to be asked for, the best one last. */
  readonly partners: Place[];
}

/** This host's own wish for a place nearer to a publisher. */
interface Wish {
  readonly stream: Stream;
  readonly boundUs: number;
  /** What else than its parent there is above its place. */
  readonly ways: ReadonlyMap<HostNumber, number>;
  readonly done: (hasMoved: boolean) => void;
  timer: Timer | undefined;
  readonly mine: number;
  readonly search: Search;
  /** Whose answer is waited for. */
  asked: Place | undefined;
  /** The neighbour that the one asked chose has refused. */
  isRefused: boolean;
  /** Those found that don't meet the bound. */
  readonly prospects: Prospect[];
  prospect: Prospect | undefined;
  /** What comes in return for `mine`; −1 before that is known. */
  theirs: number;
  partner: HostNumber;
  /** Identifiers that were not to be had. */
  readonly refused: Set<number>;
  refusals: number;
}

/** How long an answer is waited for, in heartbeats. */
const STEP_HEARTBEATS = 2;
const SWAP_HEARTBEATS = 5;
/** After a refusal by one that is busy the next try waits for up to so long; there are so many of them. */
const BUSY_HEARTBEATS = 4;
const MAX_REFUSALS = 4;
/** Hosts that are asked for places, and partners beside one of them that are asked to swap. */
const MAX_ASKED = 12;
const MAX_PARTNERS = 4;
/** Parents beside its own that a partner is told of, those with the least delay. */
const MAX_WAYS = 16;
/** A place that leaves the subscriber late must at least take off this part of its delay. */
const WORTH_MOVING = 0.1;

// Subscribe(S, P, d) of the exchange of identifiers (exchange.ts), one message a step:
//
//   S ──Exchange──▶ P      P's holder, who knows its own costs and children: swap with this neighbour │ ask that one │ nothing;
//   S ◀─Exchanged── P      as improved: the neighbours among which both are to be chosen. S measures how far they are
//   S ──Swap──────▶ i      the neighbour; as improved with all that is above and below S. It measures how far those are
//   S ◀─Survey───── i      as improved, if it has children: how far are they from S?
//   S ──Surveyed──▶ i      it refuses, or gives its identifier: directory, Handover (Handovers.give)
//   S ◀─Handover─── i
//   S ──Handover──▶ i      and S gives its own in return
//
// Between the two S holds both and i none: a failure there leaves an identifier with somebody, and i joins anew. A refusal ends nothing: as improved S
// asks for the next place, as published it is sent on.

/** The exchange of identifiers between hosts, from the side of who wants another. */
export class Swaps {
  readonly places: Places;
  readonly offers: Offers;
  private wish: Wish | undefined;

  constructor(private readonly options: SwapsOptions) {
    this.wish = undefined;
    this.places = new Places(options);
    this.offers = new Offers({
      ...options,
      isMoving: () => this.wish !== undefined && this.wish.theirs >= 0,
      onGiven: () => {
        if (this.wish !== undefined) this.end(this.wish, false);
      },
    });
  }

  /** Looks for a better place. False: not now, or not at all. `ways`: parents there are beside the one here, and how long a message has taken when they pass it on. `done` is told whether there is another now. */
  begin(stream: Stream, boundUs: number, ways: ReadonlyMap<HostNumber, number>, done: (hasMoved: boolean) => void): boolean {
    const { membership, isAnchor, maxDepth, peers, trees, rule } = this.options;
    if (this.wish !== undefined || maxDepth === 0) return false;
    const mine = membership.nearest(stream.root, stream.rank).find(({ identifier }) => !isAnchor(identifier));
    // One that holds several would leave the others where they are.
    if (mine === undefined || membership.holdings.size !== 1 || stream.rank <= 1 || stream.children.length > MAX_SURVEYED || !isFreeToMove(trees, stream)) return false;
    const wish: Wish = {
      stream, boundUs, ways, done, timer: undefined, mine: mine.identifier, search: new Search(rule === 'improved' ? MAX_ASKED : maxDepth + MAX_REFUSALS),
      asked: undefined, isRefused: false, prospects: [], prospect: undefined, theirs: -1, partner: NO_HOST, refused: new Set(), refusals: 0,
    };
    this.wish = wish;
    wish.search.add([{ host: stream.publisher, identifier: stream.root, depth: 0, delayUs: 0, behind: Infinity }]);
    peers.ping(stream.publisher);
    this.later(wish, 1, () => {
      this.proceed(wish);
    });
    return true;
  }

  private end(wish: Wish, hasMoved: boolean): void {
    if (this.wish !== wish) return;
    wish.timer?.cancel();
    this.wish = undefined;
    wish.done(hasMoved);
  }

  private later(wish: Wish, heartbeats: number, action: () => void): void {
    wish.timer?.cancel();
    wish.timer = this.options.timers.after(heartbeats * this.options.heartbeatUs, action);
  }

  /** Asks a partner that was found, or the next host for others. */
  private proceed(wish: Wish): void {
    const { stream, boundUs } = wish;
    const { peers, rule } = this.options;
    const isImproved = rule === 'improved';
    wish.theirs = -1;
    wish.partner = NO_HOST;
    if (!stream.isOnTree || stream.delayUs <= boundUs) {
      this.end(wish, false);
      return;
    }
    if (this.proposeNext(wish)) return;
    const place = wish.search.next((host) => peers.costUs(host), isImproved ? stream.delayUs : Infinity);
    if (place !== undefined) {
      wish.isRefused = false;
      this.ask(wish, place);
      return;
    }
    // Nothing keeps the bound: what comes nearest to it.
    wish.prospects.sort((a, b) => b.thenUs - a.thenUs);
    wish.prospect = wish.prospects.pop();
    if (wish.prospect === undefined || wish.prospect.thenUs > (1 - WORTH_MOVING) * stream.delayUs) this.end(wish, false);
    else this.proceed(wish);
  }

  private ask(wish: Wish, place: Place): void {
    const { peers, rule, transport: { view } } = this.options;
    const { stream } = wish;
    wish.asked = place;
    const at = peers.begin(Exchange.type, Exchange.bytes);
    writeName(view, at, stream);
    view.setUint32(at + Exchange.mine, wish.mine);
    view.setUint32(at + Exchange.near, place.identifier);
    view.setUint32(at + Exchange.costUs, Math.round(peers.costUs(place.host)));
    view.setUint32(at + Exchange.root, stream.root);
    view.setUint32(at + Exchange.depth, (place.depth << 24) | (rule === 'improved' ? 1 << 16 : 0) | (wish.isRefused ? 1 << 8 : 0));
    peers.send(place.host);
    this.later(wish, STEP_HEARTBEATS, () => {
      wish.asked = undefined;
      if (rule === 'improved') this.proceed(wish);
      else this.end(wish, false);
    });
  }

  onExchanged(peer: Peer, at: number): void {
    const { cube, trees, peers, maxDepth, rule, counters: { dropped }, transport: { view } } = this.options;
    const { wish } = this;
    const asked = wish?.asked;
    if (wish === undefined || asked === undefined || wish.stream !== trees.named(at) || peer.host !== asked.host || view.getUint32(at + Exchanged.near) !== asked.identifier) {
      dropped.unasked++;
      return;
    }
    const said = view.getUint32(at + Exchanged.delayUs);
    const passedOnUs = said === UNKNOWN ? asked.delayUs : said;
    const places: Place[] = [];
    for (let i = 0; i < view.getUint8(at + Exchanged.count); i++) {
      const item = at + Exchanged.places + Exchanged.item * i;
      const [host, identifier, costUs, behind] = [0, 4, 8, 12].map((offset) => view.getUint32(item + offset));
      places.push({ host, identifier, depth: asked.depth + 1, delayUs: passedOnUs + costUs, behind: behind === UNKNOWN ? Infinity : behind });
    }
    if (places.some(({ host, identifier }) => host > MAX_HOST || identifier >= cube.size)) {
      dropped.range++;
      return;
    }
    wish.asked = undefined;
    const others = places.filter(({ host }) => host !== this.options.self);
    const isSwap = view.getUint8(at + Exchanged.isSwap) !== 0;
    if (!isSwap && asked.depth + 1 < maxDepth) {
      wish.search.add(others);
      for (const { host } of others) peers.ping(host);
    }
    const thenUs = passedOnUs + peers.costUs(asked.host);
    const prospect: Prospect = { parent: asked.host, thenUs, partners: rule === 'improved' ? this.partners(others) : isSwap ? others : [] };
    if (rule === 'published' || thenUs <= wish.boundUs) wish.prospect = prospect;
    else if (thenUs < wish.stream.delayUs) wish.prospects.push(prospect);
    if (wish.prospect !== undefined && wish.prospect.partners.length > 0) this.proceed(wish);
    // When it is known how far they are.
    else this.later(wish, 1, () => {
      this.proceed(wish);
    });
  }

  /** Those last behind whom there are fewest, in no certain order: others look for places, too. */
  private partners(places: readonly Place[]): Place[] {
    return this.options.random.shuffle([...places]).sort((a, b) => b.behind - a.behind).slice(-MAX_PARTNERS);
  }

  private proposeNext(wish: Wish): boolean {
    const { prospect } = wish;
    if (prospect === undefined || !(prospect.thenUs < wish.stream.delayUs || this.options.rule === 'published')) return false;
    let place = prospect.partners.pop();
    while (place !== undefined && wish.refused.has(place.identifier)) place = prospect.partners.pop();
    if (place === undefined) return false;
    this.propose(wish, place, prospect.thenUs);
    return true;
  }

  private propose(wish: Wish, { host, identifier }: Place, thenUs: number): void {
    const { peers, rule, unmeasuredUs, transport: { view } } = this.options;
    const { stream } = wish;
    wish.theirs = identifier;
    wish.partner = host;
    const { children, delayUs } = stream;
    const ways = new Map([...wish.ways].sort(([, a], [, b]) => a - b).slice(0, MAX_WAYS));
    // Through the other's own place things will be different.
    if (stream.parent === host || !stream.ancestors.includes(host)) ways.set(stream.parent, Math.max(0, delayUs - peers.know(stream.parent).oneWayUs(unmeasuredUs)));
    const at = peers.begin(Swap.type, Swap.bytes + Swap.item * (ways.size + children.length));
    writeName(view, at, stream);
    view.setUint32(at + Swap.mine, wish.mine);
    view.setUint32(at + Swap.yours, wish.theirs);
    view.setUint32(at + Swap.delayUs, Math.round(delayUs));
    view.setUint32(at + Swap.thenUs, Math.round(thenUs));
    view.setUint32(at + Swap.boundUs, Math.min(UNKNOWN, Math.round(wish.boundUs)));
    view.setUint32(at + Swap.count, ((ways.size + children.length) << 24) | (ways.size << 16) | (rule === 'improved' ? 1 << 8 : 0));
    let item = at + Swap.places;
    const write = (...fields: readonly number[]): void => {
      for (const [i, field] of fields.entries()) view.setUint32(item + 4 * i, Math.round(field));
      item += Swap.item;
    };
    for (const [way, passedOnUs] of ways) write(way, passedOnUs, 0, 0, 0);
    for (const { peer, subscribers, late, slackUs } of children) write(peer.host, subscribers, late, Math.min(UNKNOWN, slackUs), peer.oneWayUs(unmeasuredUs));
    peers.send(host);
    this.later(wish, SWAP_HEARTBEATS, () => {
      this.end(wish, false);
    });
  }

  /** The partner has children: S measures how far they are. */
  onSurvey(peer: Peer, at: number): void {
    const { counters: { dropped }, peers, timers, heartbeatUs, self, transport: { view } } = this.options;
    const { wish } = this;
    const hosts = Array.from({ length: view.getUint8(at + Survey.count) }, (_, i) => view.getUint32(at + Survey.hosts + Survey.item * i));
    if (wish?.partner !== peer.host || view.getUint32(at + Survey.mine) !== wish.theirs) {
      dropped.unasked++;
      return;
    }
    if (hosts.some((host) => host > MAX_HOST)) {
      dropped.range++;
      return;
    }
    for (const host of hosts) if (host !== self) peers.ping(host);
    timers.after(heartbeatUs, () => {
      if (this.wish !== wish || wish.partner !== peer.host) return;
      const reply = peers.begin(Surveyed.type, Surveyed.bytes + Surveyed.item * hosts.length);
      view.setUint32(reply + Surveyed.mine, wish.mine);
      view.setUint32(reply + Surveyed.yours, wish.theirs);
      view.setUint32(reply + Surveyed.count, hosts.length << 24);
      for (const [i, host] of hosts.entries()) view.setUint32(reply + Surveyed.costs + Surveyed.item * i, Math.min(UNKNOWN, Math.round(peers.costUs(host))));
      peers.send(peer.host);
    });
  }

  onSwapRefused(peer: Peer, at: number): void {
    const { counters: { dropped }, rule, random, transport: { view } } = this.options;
    const { wish } = this;
    if (wish?.partner !== peer.host || view.getUint32(at + SwapRefused.mine) !== wish.theirs) {
      dropped.unasked++;
      return;
    }
    if (rule === 'improved') {
      wish.refused.add(wish.theirs);
      this.proceed(wish);
      return;
    }
    wish.refusals++;
    const place = wish.search.last!;
    wish.theirs = -1;
    wish.partner = NO_HOST;
    if (view.getUint8(at + SwapRefused.reason) === SWAP_REFUSAL.worse) {
      wish.isRefused = true;
      this.ask(wish, place);
    } else if (wish.refusals > MAX_REFUSALS) this.end(wish, false);
    // Others want the same places; whoever was asked may know another by then.
    else this.later(wish, 1 + random.float() * BUSY_HEARTBEATS, () => {
      this.ask(wish, place);
    });
  }

  /** An identifier has come: if it is the one wished for, ours goes in return. */
  onReceived(identifier: number, from: HostNumber): void {
    const { wish } = this;
    const { peers, handovers, counters, isAnchor, trees, rule } = this.options;
    this.offers.onReceived(identifier);
    if (wish?.theirs !== identifier || wish.partner !== from) return;
    // Where something is published from it since, it stays, and the other joins anew.
    if (!isAnchor(wish.mine)) {
      counters.swaps++;
      handovers.give(wish.mine, from, peers.get(from)!.incarnation);
    }
    if (rule === 'improved' && wish.prospect !== undefined) trees.seek(wish.stream, wish.prospect.parent);
    this.end(wish, true);
  }

  /** The lease is gone. */
  fence(): void {
    this.offers.fence();
    if (this.wish !== undefined) this.end(this.wish, false);
  }
}
