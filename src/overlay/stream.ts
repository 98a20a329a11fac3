import { type Timer, TokenBucket } from '../base/index.js';
import { type Peer } from './peer.js';
import { ReplayWindow } from './replay-window.js';
import { type Subscription } from './subscription.js';
import { type HostNumber, MAX_HOST, NO_HOST } from './transport.js';

/** The rank of a host without identifiers: below nobody. */
export const NO_RANK = 0xffff;
/** The highest number of a channel. */
export const MAX_CHANNEL = 2 ** 27 - 1;
/** Stands for "all of them" where a message has room for a rate. */
export const ANY_RATE = 0;
/** A burst of so many messages goes through before a child's rate tells. */
const BURST = 4;

/** One number for a channel and a publisher, as streams are found by both. */
export function streamKey(channel: number, publisher: HostNumber): number {
  return channel * (MAX_HOST + 1) + publisher;
}

/** A host that gets the stream from us. */
export class Child {
  /** Its distance from the root, in hops. */
  rank: number;
  /** Messages that it wants in 1,000 s; ANY_RATE: all. */
  milliRate: number;
  /** Subscribers there and below, and those of them that miss their bound. */
  subscribers: number;
  late: number;
  /** By how much a message may come later before one who is in time there is not; Infinity if nobody is. */
  slackUs: number;
  /** When it last said that it still wants them. */
  refreshedUs: number;
  /** Lets through what it wants; undefined for all. */
  bucket: TokenBucket | undefined;

  constructor(
    readonly peer: Peer,
    nowUs: number,
  ) {
    this.rank = NO_RANK;
    this.milliRate = ANY_RATE;
    this.subscribers = 0;
    this.late = 0;
    this.slackUs = Infinity;
    this.refreshedUs = nowUs;
    this.bucket = undefined;
  }

  wants(milliRate: number, nowUs: () => number): void {
    if (milliRate === this.milliRate) return;
    this.milliRate = milliRate;
    this.bucket = milliRate === ANY_RATE ? undefined : new TokenBucket(milliRate / 1e3, BURST, nowUs);
  }
}

//       publisher (root's holder)                    rank 0
//         │   │
//       parent  …                                    lower than ours     ◀── candidate: being asked
//         │
//       this host ── subscriptions                   rank: hops to the root
//       │   │   │
//       children                                     higher than ours

/** A stream as one host sees it: one publisher's messages on one channel, and this host's place in the tree that they go down. */
export class Stream {
  /** Of this host, now: hops from the nearest of its identifiers to the root. */
  rank: number;
  /** NO_HOST while there is none; this host itself at the publisher. */
  parent: HostNumber;
  /** The host that is asked to be the parent. */
  candidate: HostNumber;
  /** Was the parent until a moment ago: what is on its way from there is still taken, until then. */
  previous: HostNumber;
  previousUntilUs: number;
  /** Hosts that have refused or not answered since there was a parent. */
  readonly tried: Set<HostNumber>;
  /** Whether one of those had no processor time for us. */
  noCapacity: boolean;
  /** Unanswered messages to the candidate. */
  attempts: number;
  /** For how many refreshes the parent has not been beside this host in the cube. */
  strays: number;
  /** How often the parent has said that it has none itself. */
  pendings: number;
  timer: Timer | undefined;
  /** From publishing until a message is here, in µs, as the sum of what each hop measured and promises; NaN before it is known. */
  delayUs: number;
  /** The parent, its parent, …, the publisher. */
  ancestors: readonly HostNumber[];
  readonly children: Child[];
  /** Replaced when it changes, never changed: somebody may leave in the midst of a delivery. */
  subscriptions: readonly Subscription[];
  /** Since when there has been no parent, in µs; NaN while there is one. */
  orphanedUs: number;
  /** The publisher's next number. */
  sequence: number;
  window: ReplayWindow;

  constructor(
    readonly channel: number,
    readonly publisher: HostNumber,
    /** The publisher's incarnation. */
    public version: number,
    /** The publisher's identifier. */
    public root: number,
    nowUs: number,
  ) {
    this.rank = NO_RANK;
    this.parent = NO_HOST;
    this.candidate = NO_HOST;
    this.previous = NO_HOST;
    this.previousUntilUs = 0;
    this.tried = new Set();
    this.noCapacity = false;
    this.attempts = 0;
    this.strays = 0;
    this.pendings = 0;
    this.timer = undefined;
    this.delayUs = NaN;
    this.ancestors = [];
    this.children = [];
    this.subscriptions = [];
    this.orphanedUs = nowUs;
    this.sequence = 0;
    this.window = new ReplayWindow();
  }

  get isOnTree(): boolean {
    return this.parent !== NO_HOST;
  }

  /** What this host and those below want, in 1,000 s: the most that any of them does. */
  get milliRate(): number {
    let most = 0;
    for (const { milliRate } of this.children) {
      if (milliRate === ANY_RATE) return ANY_RATE;
      most = Math.max(most, milliRate);
    }
    for (const { milliRate } of this.subscriptions) {
      if (milliRate === ANY_RATE) return ANY_RATE;
      most = Math.max(most, milliRate);
    }
    return most;
  }

  /** Subscribers here and below. */
  get subscribers(): number {
    return this.children.reduce((sum, { subscribers }) => sum + subscribers, this.subscriptions.length);
  }

  /** Those of them that miss their bound. */
  get late(): number {
    return this.children.reduce((sum, { late }) => sum + late, this.subscriptions.filter(({ boundUs }) => this.delayUs > boundUs).length);
  }

  /** By how much a message may come later before one of the others does. */
  get slackUs(): number {
    let least = Infinity;
    for (const { slackUs } of this.children) least = Math.min(least, slackUs);
    for (const { boundUs } of this.subscriptions) if (this.delayUs <= boundUs) least = Math.min(least, boundUs - this.delayUs);
    return least;
  }

  child(host: HostNumber): Child | undefined {
    return this.children.find(({ peer }) => peer.host === host);
  }
}
