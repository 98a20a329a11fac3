import { Survey, Surveyed, Swap, SwapRefused, UNKNOWN, slackIn } from './codec.js';
import { branchGainUs, breaksBound, moverGainUs } from './exchange.js';
import { isFreeToMove } from './moves.js';
import { type Peer } from './peer.js';
import { type Child, type Stream } from './stream.js';
import { type SwapsOptions } from './swaps.js';
import { type HostNumber, MAX_HOST } from './transport.js';

/** Why a host keeps its identifier: in a SwapRefused message. */
export const SWAP_REFUSAL = { busy: 1, worse: 2 } as const;

type Branch = Pick<Child, 'subscribers' | 'late' | 'slackUs'>;

/** A child of the other's. */
interface Behind extends Branch {
  readonly host: HostNumber;
  readonly costUs: number;
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
  readonly isImproved: boolean;
  /** Parents there, and how long a message has taken when they pass it on. */
  readonly ways: readonly (readonly [HostNumber, number])[];
  readonly behind: readonly Behind[];
  /** This host's children, and what they cost the other, as far as it has said. */
  readonly children: readonly Child[];
  costsUs: readonly number[];
}

export interface OffersOptions extends SwapsOptions {
  /** Whether this host is about to get an identifier by a wish of its own. */
  readonly isMoving: () => boolean;
  /** Its identifier has gone: a wish of its own gives way. */
  readonly onGiven: () => void;
}

/** How long what both measure is waited for, in heartbeats. */
const MEASURE_HEARTBEATS = 1;
const SURVEY_HEARTBEATS = 3;
/** One who has more children keeps its place: they would not go into a message. */
export const MAX_SURVEYED = 48;

/** What a branch gains; −Infinity where somebody on it would not be in time any more. */
function gainOf({ subscribers, late, slackUs }: Branch, savedUs: number): number {
  return savedUs < -slackUs ? -Infinity : branchGainUs(subscribers, late, savedUs);
}

/** The side of the exchange that is asked for its identifier: i in Subscribe(S, P, d). */
export class Offers {
  private offer: Offer | undefined;
  /** What was given, and where in return there is a parent. */
  private moving: { readonly stream: Stream; readonly identifier: number; readonly parent: HostNumber } | undefined;

  constructor(private readonly options: OffersOptions) {
    this.offer = undefined;
    this.moving = undefined;
  }

  /** The lease is gone. */
  fence(): void {
    this.offer = undefined;
    this.moving = undefined;
  }

  onSwap(peer: Peer, at: number): void {
    const { trees, cube, counters: { dropped }, transport: { view } } = this.options;
    const field = (offset: number): number => view.getUint32(at + offset);
    const count = view.getUint8(at + Swap.count);
    const ways: [HostNumber, number][] = [];
    const behind: Behind[] = [];
    for (let i = 0; i < count; i++) {
      const item = Swap.places + Swap.item * i;
      const host = field(item);
      if (i < view.getUint8(at + Swap.ways)) ways.push([host, field(item + 4)]);
      else behind.push({ host, subscribers: field(item + 4), late: field(item + 8), slackUs: slackIn(field(item + 12)), costUs: field(item + 16) });
    }
    const stream = trees.named(at);
    const offer: Offer = {
      peer, incarnation: peer.incarnation, theirs: field(Swap.mine), mine: field(Swap.yours), stream,
      delayUs: field(Swap.delayUs), thenUs: field(Swap.thenUs), boundUs: field(Swap.boundUs), isImproved: view.getUint8(at + Swap.isImproved) !== 0,
      ways, behind, children: stream?.children.filter((child) => child.peer !== peer) ?? [], costsUs: [],
    };
    if (offer.mine >= cube.size || offer.theirs >= cube.size || ways.some(([host]) => host > MAX_HOST) || behind.some(({ host }) => host > MAX_HOST)) dropped.range++;
    else if (this.offer !== undefined || !this.maySwap(offer)) this.refuse(offer, SWAP_REFUSAL.busy);
    else if (!isFreeToMove(trees, stream) || offer.children.length > MAX_SURVEYED) this.refuse(offer, SWAP_REFUSAL.worse);
    else this.measure(offer);
  }

  /** Finds out how far its parents and children would be there, and asks the other how far those here are. As published nobody asks. */
  private measure(offer: Offer): void {
    const { peers, timers, heartbeatUs, self } = this.options;
    const { children, isImproved, ways, behind } = offer;
    this.offer = offer;
    if (!isImproved) {
      this.decide(offer);
      return;
    }
    for (const host of [...ways.map(([way]) => way), ...behind.map((one) => one.host)]) if (host !== self) peers.ping(host);
    const isSurveyed = children.length > 0;
    if (isSurveyed) this.survey(offer);
    timers.after((isSurveyed ? SURVEY_HEARTBEATS : MEASURE_HEARTBEATS) * heartbeatUs, () => {
      this.decide(offer);
    });
  }

  private survey({ peer, mine, theirs, children }: Offer): void {
    const { peers, transport: { view } } = this.options;
    const at = peers.begin(Survey.type, Survey.bytes + Survey.item * children.length);
    view.setUint32(at + Survey.mine, mine);
    view.setUint32(at + Survey.yours, theirs);
    view.setUint32(at + Survey.count, children.length << 24);
    for (const [i, child] of children.entries()) view.setUint32(at + Survey.hosts + Survey.item * i, child.peer.host);
    peers.send(peer.host);
  }

  onSurveyed(peer: Peer, at: number): void {
    const { counters: { dropped }, transport: { view } } = this.options;
    const { offer } = this;
    if (offer?.peer !== peer || view.getUint32(at + Surveyed.mine) !== offer.theirs || view.getUint32(at + Surveyed.yours) !== offer.mine) {
      dropped.unasked++;
      return;
    }
    offer.costsUs = Array.from({ length: view.getUint8(at + Surveyed.count) }, (_, i) => {
      const costUs = view.getUint32(at + Surveyed.costs + Surveyed.item * i);
      return costUs === UNKNOWN ? Infinity : costUs;
    });
    this.decide(offer);
  }

  private decide(offer: Offer): void {
    if (this.offer !== offer) return;
    this.offer = undefined;
    const [parent, thenUs] = this.bestWay(offer);
    const { stream } = offer;
    if (!this.maySwap(offer)) this.refuse(offer, SWAP_REFUSAL.busy);
    else if (!isFreeToMove(this.options.trees, stream) || (offer.isImproved && !this.isWorth(offer, thenUs))) this.refuse(offer, SWAP_REFUSAL.worse);
    else if (!this.options.handovers.give(offer.mine, offer.peer.host, offer.incarnation)) this.refuse(offer, SWAP_REFUSAL.busy);
    else {
      this.moving = stream?.isOnTree === true && offer.isImproved ? { stream, identifier: offer.theirs, parent } : undefined;
      this.options.onGiven();
    }
  }

  /** The identifier that comes in return. */
  onReceived(identifier: number): void {
    const { moving } = this;
    if (moving?.identifier !== identifier) return;
    this.moving = undefined;
    this.options.trees.seek(moving.stream, moving.parent);
  }

  private maySwap({ mine }: Offer): boolean {
    const { membership, isAnchor, isMoving } = this.options;
    return membership.holdings.size === 1 && membership.holds(mine) && !isAnchor(mine) && !isMoving();
  }

  /** By whom, and when, a message would be here in the other's place. */
  private bestWay({ ways, thenUs, peer }: Offer): [HostNumber, number] {
    const { self, peers } = this.options;
    let [best, leastUs] = [peer.host, Infinity];
    for (const [host, passedOnUs] of ways) {
      // Where this host stands there now, the other will.
      const [parent, delayUs] = host === self ? [peer.host, thenUs + peers.costUs(peer.host)] : [host, passedOnUs + peers.costUs(host)];
      if (delayUs < leastUs) [best, leastUs] = [parent, delayUs];
    }
    return [best, leastUs];
  }

  /** By the improved rule: whether it breaks no bound that is met, here or behind the two, and all concerned gain by it. As published every swap is worth it where no other stream is at stake. */
  private isWorth(offer: Offer, thenUs: number): boolean {
    const { self, peers } = this.options;
    const { stream, children, costsUs } = offer;
    let gainUs = moverGainUs(offer.delayUs, offer.thenUs, offer.boundUs);
    for (const branch of offer.behind) {
      if (branch.host !== self) gainUs += gainOf(branch, offer.delayUs + branch.costUs - thenUs - peers.costUs(branch.host));
    }
    if (stream?.isOnTree === true) {
      const { subscriptions, delayUs } = stream;
      if (subscriptions.some(({ boundUs }) => breaksBound(delayUs, thenUs, boundUs)) || costsUs.length < children.length) return false;
      for (const { boundUs } of subscriptions) gainUs += moverGainUs(delayUs, thenUs, boundUs);
      // They stay where they are, with the other above them.
      for (const [i, child] of children.entries()) gainUs += gainOf(child, delayUs + child.peer.oneWayUs(0) - offer.thenUs - costsUs[i]);
    }
    return gainUs > 0;
  }

  private refuse({ mine, theirs, peer }: Offer, reason: number): void {
    const { peers, counters, transport: { view } } = this.options;
    counters.swapsRefused++;
    const at = peers.begin(SwapRefused.type, SwapRefused.bytes);
    view.setUint32(at + SwapRefused.mine, mine);
    view.setUint32(at + SwapRefused.yours, theirs);
    view.setUint32(at + SwapRefused.reason, reason << 24);
    peers.send(peer.host);
  }
}
