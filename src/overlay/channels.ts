import { type Timers, invalid } from '../base/index.js';
import { MAX_PAYLOAD_BYTES } from './codec.js';
import { type Delivery } from './delivery.js';
import { type Directory, type Entry } from './directory.js';
import { type LeaseKeeper } from './lease-keeper.js';
import { type Membership } from './membership.js';
import { type Peers } from './peers.js';
import { MAX_CHANNEL, type Stream } from './stream.js';
import { Subscription, type SubscriptionOptions, milliRateOf } from './subscription.js';
import { type HostNumber, isHostNumber } from './transport.js';
import { type Trees } from './trees.js';

/** What a publisher's entry in the directory says. */
export interface Announcement {
  readonly root: number;
  readonly version: number;
  /** Messages in 1,000 s, as the publisher expects; 0: it doesn't say. */
  readonly milliRate: number;
}

/** A channel's publisher on this host. */
export class Publication {
  /** @internal The stream; undefined while this host is no member. */
  stream: Stream | undefined;
  closed: boolean;

  /** @internal Made by OverlayNode.advertise(). */
  constructor(
    readonly channel: number,
    readonly milliRate: number,
    private readonly channels: Channels,
  ) {
    this.stream = undefined;
    this.closed = false;
  }

  /** Sends a payload to all subscribers; false while this host is no member of the cube. Throws ERR_INVALID_ARGUMENT for one that is too long. */
  publish(payload: Uint8Array): boolean {
    if (payload.length > MAX_PAYLOAD_BYTES) throw invalid('payload', `${payload.length} bytes`, `at most ${MAX_PAYLOAD_BYTES} bytes long`);
    return this.channels.publish(this, payload);
  }

  /** Subscribers are told that it is over. */
  close(): void {
    this.channels.withdraw(this);
  }
}

export interface ChannelsOptions {
  readonly self: HostNumber;
  readonly directory: Directory;
  readonly timers: Timers;
  readonly keeper: LeaseKeeper;
  readonly peers: Peers;
  readonly membership: Membership;
  readonly trees: Trees;
  readonly delivery: Delivery;
  readonly heartbeatUs: number;
  readonly cubeSize: number;
  /** A subscription has a stream, whose path may be known already. */
  readonly onJoined: (stream: Stream) => void;
}

/** What is known of a channel that somebody here subscribes to. */
interface Followed {
  readonly subscriptions: Subscription[];
  readonly publishers: Map<HostNumber, Announcement>;
  readonly unwatch: () => void;
}

/** Stands in the place of an announcement that may yet be written again, by what the directory was asked and did not answer: it goes with the lease. */
const CLOSED = 'closed';
const ANNOUNCEMENT = /^(\d+) (\d+) (\d+)$/;

function parse(entry: Entry, cubeSize: number): Announcement | undefined {
  const match = ANNOUNCEMENT.exec(entry.value);
  if (match === null) return undefined;
  const [root, version, milliRate] = match.slice(1).map(Number);
  return root < cubeSize && version >= 1 && version <= 0xffffffff && milliRate <= 0xffffffff ? { root, version, milliRate } : undefined;
}

/** Who publishes what, by way of the directory, and who here wants it. */
export class Channels {
  private readonly publications: Map<number, Publication>;
  private readonly followed: Map<number, Followed>;
  /** Above the numbers of all streams that have ended: who has not heard of the end takes what follows on the channel for the same stream. */
  private nextSequence: number;

  /** By channel: announcements under this lease that the directory has not answered. They may be written late. */
  private readonly unanswered: Map<number, number>;

  constructor(private readonly options: ChannelsOptions) {
    this.publications = new Map();
    this.unanswered = new Map();
    this.followed = new Map();
    this.nextSequence = 0;
  }

  /** Whether a publisher's identifier: streams are rooted there, so it stays. */
  isAnchor(identifier: number): boolean {
    for (const { stream } of this.publications.values()) if (stream?.root === identifier) return true;
    return false;
  }

  announcement(channel: number, publisher: HostNumber): Announcement | undefined {
    return this.followed.get(channel)?.publishers.get(publisher);
  }

  // Publishing.

  advertise(channel: number, ratePerS = 0): Publication {
    checkChannel(channel);
    if (this.publications.has(channel)) throw invalid('channel', channel, 'one that this host does not publish on already');
    const publication = new Publication(channel, milliRateOf(ratePerS), this);
    this.publications.set(channel, publication);
    this.announce(publication);
    return publication;
  }

  /** Becomes the root of the stream, at one of our identifiers, and says so in the directory. */
  private announce(publication: Publication): void {
    const { membership, trees, self, peers, keeper } = this.options;
    if (publication.stream !== undefined || publication.closed || membership.leaving || !keeper.isValid) return;
    const root = membership.first;
    if (root < 0) return;
    const stream = trees.open(publication.channel, self, peers.incarnation, root);
    publication.stream = stream;
    stream.sequence = this.nextSequence;
    trees.root(stream);
    this.enter(publication, stream, 0);
    const followed = this.followed.get(publication.channel);
    if (followed !== undefined) for (const subscription of followed.subscriptions) this.attach(stream, subscription);
  }

  private enter(publication: Publication, stream: Stream, revision: number): void {
    const { directory, timers, heartbeatUs, peers } = this.options;
    const { version, root } = stream;
    const value = `${root} ${version} ${publication.milliRate}`;
    this.count(publication.channel, 1);
    directory.cas(this.key(publication.channel), revision, value, version, (failure, outcome) => {
      if (failure !== 'unavailable' && peers.incarnation === version) this.count(publication.channel, -1);
      if (publication.stream !== stream || stream.version !== version) return;
      if (failure !== undefined) {
        timers.after(heartbeatUs, () => {
          if (publication.stream === stream && stream.version === version) this.enter(publication, stream, revision);
        });
        // Of an earlier life, or of a try that was not answered.
      } else if (!outcome!.swapped && outcome!.entry?.value !== value) this.enter(publication, stream, outcome!.entry?.revision ?? 0);
    });
  }

  private count(channel: number, more: number): void {
    const count = (this.unanswered.get(channel) ?? 0) + more;
    if (count > 0) this.unanswered.set(channel, count);
    else this.unanswered.delete(channel);
  }

  private key(channel: number): string {
    return `pub/${channel}/${this.options.self}`;
  }

  publish({ stream }: Publication, payload: Uint8Array): boolean {
    if (stream === undefined || !this.options.keeper.isValid) return false;
    this.options.delivery.publish(stream, payload);
    return true;
  }

  withdraw(publication: Publication): void {
    const { trees } = this.options;
    if (publication.closed) return;
    publication.closed = true;
    this.publications.delete(publication.channel);
    this.erase(publication.channel, this.options.peers.incarnation);
    if (publication.stream !== undefined) {
      this.nextSequence = Math.max(this.nextSequence, publication.stream.sequence);
      trees.close(publication.stream);
    }
    publication.stream = undefined;
  }

  /** Takes the channel's entry out of the directory, however often that takes; with the lease `version` it goes by itself. */
  private erase(channel: number, version: number): void {
    const { directory, timers, heartbeatUs, peers } = this.options;
    const key = this.key(channel);
    const again = (): void => {
      timers.after(heartbeatUs, () => {
        this.erase(channel, version);
      });
    };
    if (this.publications.has(channel) || peers.incarnation !== version) return;
    // Where nothing stands a late announcement would: something else has to.
    const mayRise = this.unanswered.has(channel);
    directory.get(key, (failure, entry) => {
      if (failure !== undefined) again();
      else if (!this.publications.has(channel) && (mayRise || entry !== undefined)) {
        directory.cas(key, entry?.revision ?? 0, mayRise ? CLOSED : undefined, mayRise ? version : 0, (failure, outcome) => {
          if (failure !== undefined || !outcome!.swapped) again();
        });
      }
    });
  }

  // Subscribing.

  subscribe(channel: number, options: SubscriptionOptions): Subscription {
    checkChannel(channel);
    const subscription = new Subscription(channel, options);
    const followed = this.followed.get(channel);
    if (followed === undefined) {
      const publishers = new Map<HostNumber, Announcement>();
      const prefix = `pub/${channel}/`;
      const unwatch = this.options.directory.watch(prefix, (key, entry) => {
        this.onPublisher(channel, Number(key.slice(prefix.length)), entry);
      });
      this.followed.set(channel, { subscriptions: [subscription], publishers, unwatch });
    } else {
      followed.subscriptions.push(subscription);
      for (const [publisher, announcement] of followed.publishers) this.join(channel, publisher, announcement, [subscription]);
    }
    return subscription;
  }

  private onPublisher(channel: number, publisher: HostNumber, entry: Entry | undefined): void {
    const { cubeSize, trees, self } = this.options;
    const followed = this.followed.get(channel);
    if (followed === undefined || !isHostNumber(publisher)) return;
    const announcement = entry === undefined ? undefined : parse(entry, cubeSize);
    if (announcement !== undefined) {
      followed.publishers.set(publisher, announcement);
      this.join(channel, publisher, announcement, followed.subscriptions);
      return;
    }
    if (!followed.publishers.delete(publisher)) return;
    const stream = trees.get(channel, publisher);
    if (stream !== undefined && publisher !== self) {
      stream.subscriptions = [];
      trees.close(stream);
    }
    for (const { options, admissions } of [...followed.subscriptions]) {
      // What it publishes when it comes again is admitted anew; our own may have come again already.
      if (publisher !== self) admissions.delete(publisher);
      options.onEnd?.(publisher);
    }
  }

  private join(channel: number, publisher: HostNumber, { version, root }: Announcement, subscriptions: readonly Subscription[]): void {
    const { trees, membership, self } = this.options;
    if (publisher === self) {
      // Our own word, not what the directory may still have of an earlier life.
      const own = this.publications.get(channel)?.stream;
      if (own !== undefined) for (const subscription of subscriptions) this.attach(own, subscription);
      return;
    }
    if (membership.first < 0 || membership.leaving) return;
    const stream = trees.open(channel, publisher, version, root);
    for (const subscription of subscriptions) this.attach(stream, subscription);
    trees.seekIfNeeded(stream);
  }

  private attach(stream: Stream, subscription: Subscription): void {
    if (stream.subscriptions.includes(subscription)) return;
    stream.subscriptions = [...stream.subscriptions, subscription];
    this.options.trees.tellRate(stream);
    this.options.onJoined(stream);
  }

  /** Takes a subscription out of one stream, as its bound was refused there. */
  detach(stream: Stream, subscription: Subscription): void {
    if (!stream.subscriptions.includes(subscription)) return;
    stream.subscriptions = stream.subscriptions.filter((other) => other !== subscription);
    this.options.trees.tellRate(stream);
    this.options.trees.leaveIfUnwanted(stream);
  }

  unsubscribe(subscription: Subscription): void {
    if (subscription.closed) return;
    const followed = this.followedBy(subscription);
    subscription.closed = true;
    followed.subscriptions.splice(followed.subscriptions.indexOf(subscription), 1);
    for (const stream of this.streamsOf(subscription, followed)) this.detach(stream, subscription);
    if (followed.subscriptions.length > 0) return;
    followed.unwatch();
    this.followed.delete(subscription.channel);
  }

  /** A subscription takes more, or fewer, messages a second from now on; 0: all. */
  pace(subscription: Subscription, ratePerS: number): void {
    const followed = subscription.closed ? undefined : this.followedBy(subscription);
    subscription.milliRate = milliRateOf(ratePerS);
    if (followed !== undefined) for (const stream of this.streamsOf(subscription, followed)) this.options.trees.tellRate(stream);
  }

  private followedBy(subscription: Subscription): Followed {
    const followed = this.followed.get(subscription.channel);
    if (followed?.subscriptions.includes(subscription) === true) return followed;
    throw invalid('subscription', `one of channel ${subscription.channel}`, 'one that this host has made');
  }

  /** Those of a channel that are begun here; our own before the directory has told of it. */
  private streamsOf({ channel }: Subscription, { publishers }: Followed): Stream[] {
    const { trees, self } = this.options;
    return [...new Set([...publishers.keys(), self])].map((publisher) => trees.get(channel, publisher)).filter((stream) => stream !== undefined);
  }

  // With the lease.

  /** What this host holds has changed: now it may publish, or subscribe. */
  onIdentifiers(): void {
    if (this.options.membership.first < 0) return;
    for (const publication of this.publications.values()) this.announce(publication);
    for (const [channel, { publishers, subscriptions }] of this.followed) {
      for (const [publisher, announcement] of publishers) {
        // It may have begun anew, and others may have subscribed, while this host was no member.
        const stream = this.options.trees.get(channel, publisher);
        const isNew = stream?.version !== announcement.version || stream.root !== announcement.root;
        const joining = isNew ? subscriptions : subscriptions.filter(({ options, admissions }) => options.bestEffort === true || admissions.get(publisher)?.accepted !== false);
        if (joining.length > 0) this.join(channel, publisher, announcement, joining);
      }
    }
  }

  /** The lease is gone: nothing is published from here any more. */
  fence(): void {
    for (const publication of this.publications.values()) publication.stream = undefined;
    this.unanswered.clear();
    // Another lease is another version, and has numbers of its own.
    this.nextSequence = 0;
  }

  /** Ends all. */
  close(): void {
    for (const publication of [...this.publications.values()]) this.withdraw(publication);
    for (const { subscriptions } of [...this.followed.values()]) for (const subscription of [...subscriptions]) this.unsubscribe(subscription);
  }
}

function checkChannel(channel: number): void {
  if (!Number.isInteger(channel) || channel < 0 || channel > MAX_CHANNEL) throw invalid('channel', channel, `a whole number from 0 to ${MAX_CHANNEL}`);
}
