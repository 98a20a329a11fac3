import { type Random, type Timer, type Timers } from '../base/index.js';
import { type Announcement } from './channels.js';
import { type Peer } from './peer.js';
import { type Peers } from './peers.js';
import { ANY_RATE, type Stream } from './stream.js';
import { type Admission, type RefusalReason, type Subscription } from './subscription.js';
import { type HostNumber } from './transport.js';
import { type Trees } from './trees.js';

export interface BoundsOptions {
  readonly random: Random;
  readonly timers: Timers;
  readonly peers: Peers;
  readonly trees: Trees;
  readonly heartbeatUs: number;
  readonly announcement: (channel: number, publisher: HostNumber) => Announcement | undefined;
  /** A refused subscription without best effort leaves the stream. */
  readonly leave: (stream: Stream, subscription: Subscription) => void;
  /** Tries to come nearer to the publisher by an exchange of identifiers. `ways`: other parents there are here, and how long a message has taken when they pass it on. `done` is called when that is over, and told whether it has another identifier now. False: it can't be tried. */
  readonly exchange: (stream: Stream, boundUs: number, ways: ReadonlyMap<HostNumber, number>, done: (hasMoved: boolean) => void) => boolean;
}

/** What is done for a bound before it is refused, in this order. */
type Stage = 'probing' | 'exchanging' | 'moving' | 'settled';

interface Effort {
  stage: Stage;
  /** The best path by another parent, of those that answered. */
  bestUs: number;
  best: Peer | undefined;
  /** How long a message has taken when those that answered pass it on. */
  readonly ways: Map<HostNumber, number>;
  unanswered: number;
  timer: Timer | undefined;
  noCapacity: boolean;
  /** How often all this was tried. */
  round: number;
  /** Identifiers exchanged since it was tried. */
  moves: number;
}

/** After which time, at least, another effort may do better, in heartbeats; twice that the next time, and so on. */
const REST_HEARTBEATS = 8;
const MAX_ROUNDS = 6;
/** After an exchange: until the neighbours know each other, and how often it may follow another at once. */
const MOVE_HEARTBEATS = 2;
const MAX_MOVES = 4;

// A subscriber's budget is the sum over its path: for each hop the network's delay, as measured, and the time within which the host promises to pass a
// message on (HostShare). If it is more than its bound: first other parents are asked what it would be by them; then an exchange of identifiers
// may bring it nearer to the publisher; then it is refused, with the reason and the best that was found.

/** Admission of each subscriber's bound. */
export class Bounds {
  private readonly efforts: WeakMap<Stream, Effort>;

  constructor(private readonly options: BoundsOptions) {
    this.efforts = new WeakMap();
  }

  /** The stream's path, or what it takes, has changed. */
  onPath(stream: Stream): void {
    if (!Number.isFinite(stream.delayUs)) return;
    let isMissed = false;
    for (const subscription of [...stream.subscriptions]) {
      const refusal = this.rateRefusal(stream, subscription);
      if (refusal !== undefined) this.settle(stream, subscription, refusal);
      else if (stream.delayUs <= subscription.boundUs) this.settle(stream, subscription, undefined);
      else isMissed = true;
    }
    if (isMissed) this.labour(stream);
    else this.efforts.delete(stream);
  }

  /** Goes on where another step may help; else refuses. */
  private labour(stream: Stream): void {
    const effort = this.efforts.get(stream);
    if (effort === undefined) this.begin(stream, 0);
    else if (effort.stage === 'settled') this.refuse(stream, effort);
  }

  private begin(stream: Stream, round: number, moves = 0): void {
    const effort: Effort = { stage: 'probing', bestUs: Infinity, best: undefined, ways: new Map(), unanswered: 0, timer: undefined, noCapacity: false, round, moves };
    this.efforts.set(stream, effort);
    this.options.peers.ping(stream.publisher);
    this.probe(stream, effort);
  }

  /** Those who stay without a promise may find a better place later: others have moved by then. Not all at once. */
  private rest(stream: Stream, effort: Effort): void {
    const { timers, heartbeatUs, random } = this.options;
    if (effort.round >= MAX_ROUNDS) return;
    effort.timer?.cancel();
    effort.timer = timers.after((1 + random.float()) * REST_HEARTBEATS * 2 ** effort.round * heartbeatUs, () => {
      if (this.efforts.get(stream) === effort && this.tightest(stream) < Infinity) this.begin(stream, effort.round + 1);
    });
  }

  /** In a new place there are other parents to ask. */
  private lookAround(stream: Stream, effort: Effort): void {
    const { timers, heartbeatUs } = this.options;
    effort.stage = 'moving';
    effort.timer = timers.after(MOVE_HEARTBEATS * heartbeatUs, () => {
      if (this.efforts.get(stream) !== effort) return;
      if (this.tightest(stream) < Infinity) this.begin(stream, effort.round, effort.moves + 1);
      else this.onPath(stream);
    });
  }

  private probe(stream: Stream, effort: Effort): void {
    const { trees, timers, heartbeatUs } = this.options;
    for (const host of trees.routes.alternatives(stream)) {
      effort.unanswered++;
      trees.messages.graft(stream, host, true);
    }
    effort.timer = timers.after(heartbeatUs, () => {
      this.probed(stream, effort);
    });
  }

  onProbe(stream: Stream, peer: Peer, delayUs: number): void {
    const effort = this.efforts.get(stream);
    if (effort?.stage !== 'probing') return;
    if (Number.isFinite(delayUs)) effort.ways.set(peer.host, Math.max(0, delayUs - peer.oneWayUs(0)));
    if (delayUs < effort.bestUs) {
      effort.bestUs = delayUs;
      effort.best = peer;
    }
    if (--effort.unanswered === 0) {
      effort.timer?.cancel();
      this.probed(stream, effort);
    }
  }

  private probed(stream: Stream, effort: Effort): void {
    const { trees } = this.options;
    if (this.efforts.get(stream) !== effort || effort.stage !== 'probing') return;
    const target = this.tightest(stream);
    // Whoever was late has left, or there is no path just now, which onPath() will tell of: the search for places is for others.
    if (target === Infinity) {
      this.efforts.delete(stream);
      return;
    }
    const isBetter = effort.best !== undefined && effort.bestUs < stream.delayUs;
    if (isBetter) {
      // onPath() comes again, with the new parent or without.
      trees.seek(stream, effort.best!.host);
      if (effort.bestUs <= target) {
        effort.stage = 'settled';
        return;
      }
    }
    effort.stage = 'exchanging';
    const begun = this.options.exchange(stream, target, effort.ways, (hasMoved) => {
      if (this.efforts.get(stream) !== effort) return;
      if (hasMoved && effort.moves < MAX_MOVES) this.lookAround(stream, effort);
      else {
        effort.stage = 'settled';
        this.onPath(stream);
      }
    });
    if (begun) return;
    effort.stage = 'settled';
    if (!isBetter) this.onPath(stream);
  }

  /** A host that might have been the parent has no processor time. */
  onNoCapacity(stream: Stream): void {
    const effort = this.efforts.get(stream);
    if (effort === undefined) return;
    effort.noCapacity = true;
    // It was the best of those probed.
    if (effort.stage !== 'probing') effort.bestUs = Infinity;
  }

  /** There is no way at all, as hosts had no processor time: what can be promised is nothing. */
  onNoPath(stream: Stream): void {
    for (const subscription of [...stream.subscriptions]) if (subscription.boundUs < Infinity) this.settle(stream, subscription, 'capacity', NaN);
  }

  /** The least bound that is missed. */
  private tightest(stream: Stream): number {
    let least = Infinity;
    for (const { boundUs } of stream.subscriptions) if (boundUs < stream.delayUs) least = Math.min(least, boundUs);
    return least;
  }

  private refuse(stream: Stream, effort: Effort): void {
    const straightUs = this.options.peers.get(stream.publisher)?.oneWayUs(NaN) ?? NaN;
    this.rest(stream, effort);
    for (const subscription of [...stream.subscriptions]) {
      if (stream.delayUs <= subscription.boundUs) continue;
      this.settle(stream, subscription, straightUs > subscription.boundUs ? 'network' : effort.noCapacity ? 'capacity' : 'path', Math.min(effort.bestUs, stream.delayUs));
    }
  }

  /** A subscriber that wants fewer messages than its loss bound leaves it. */
  private rateRefusal(stream: Stream, { milliRate, options: { loss = 1 } }: Subscription): RefusalReason | undefined {
    const published = this.options.announcement(stream.channel, stream.publisher)?.milliRate ?? 0;
    return milliRate !== ANY_RATE && published > 0 && milliRate < published * (1 - loss) ? 'loss' : undefined;
  }

  private settle(stream: Stream, subscription: Subscription, reason: RefusalReason | undefined, bestUs = stream.delayUs): void {
    const { publisher, delayUs } = stream;
    if (subscription.closed) return;
    const before = subscription.admissions.get(publisher);
    const admission: Admission = { publisher, accepted: reason === undefined, ...(reason === undefined ? {} : { reason }), delayUs, bestUs };
    subscription.admissions.set(publisher, admission);
    if (before?.accepted !== admission.accepted) subscription.options.onAdmission?.(admission);
    if (reason !== undefined && subscription.options.bestEffort !== true) this.options.leave(stream, subscription);
  }
}
