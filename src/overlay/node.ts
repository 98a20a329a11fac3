import { type Clock, type Random, type Timer, Timers, invalid } from '../base/index.js';
import { Bounds } from './bounds.js';
import { Channels, type Publication } from './channels.js';
import { Data, Exchange, Exchanged, Graft, Grafted, Handover, HandoverAck, Header, Heartbeat, Hello, HelloAck, Join, NotHeld, Prune, Redirect, Refused, Rejoin, Survey, Swap, SwapRefused } from './codec.js';
import { type OverlayCounters, makeCounters } from './counters.js';
import { KnCube } from './cube/kncube.js';
import { Router, type Routing } from './cube/router.js';
import { Delivery } from './delivery.js';
import { type Directory, type Lease } from './directory.js';
import { Handovers } from './handover.js';
import { LeaseKeeper } from './lease-keeper.js';
import { Membership } from './membership.js';
import { type Peer } from './peer.js';
import { Peers } from './peers.js';
import { HostShare, type HostShareOptions } from './qos.js';
import { type Subscription, type SubscriptionOptions } from './subscription.js';
import { Swaps } from './swaps.js';
import { type Endpoint, type HostNumber, MAX_HOST, type Transport, isHostNumber } from './transport.js';
import { Trees } from './trees.js';

export interface OverlayOptions {
  /** This host's number; no other host's. */
  host: HostNumber;
  /** The cube; all hosts must agree on it. */
  k: number;
  n: number;
  transport: Transport;
  clock: Clock;
  directory: Directory;
  random: Random;
  /** How routes are chosen; default greedy. */
  routing?: Routing;
  /** Between two heartbeats to a peer, in µs; default 1 s. */
  heartbeatUs?: number;
  /** A peer that was silent for so long is held for dead; default 3.5 heartbeats. */
  detectUs?: number;
  /** How long identifiers stay with a host that the directory hears nothing of; default 5 s. */
  leaseUs?: number;
  /** A link's delay as long as none was measured, in µs; default 50 ms. */
  unmeasuredUs?: number;
  /** How far from a publisher places are looked for by subscribers that miss their bound, in steps; default 0: they stay where they are. */
  exchangeDepth?: number;
  /** Which of its neighbours gives its place to such a subscriber; default `improved`. */
  exchangeRule?: 'published' | 'improved';
  /** Processor time that streams take on this host; default: not accounted for. */
  share?: HostShareOptions;
}

/** What a host begins with where a deployment has laid out the cube beforehand: the directory must say the same. */
export interface Formation {
  readonly lease: Lease;
  /** When the lease was asked for. */
  readonly sinceUs: number;
  readonly identifiers: readonly { identifier: number; revision: number }[];
  readonly holderOf: (identifier: number) => HostNumber;
}

/** `stopped`, `joining` (it holds no identifier yet, or no more), `member`, `leaving`. */
export type OverlayState = 'stopped' | 'joining' | 'member' | 'leaving';

/** Of a leave: for children to find other parents, and for identifiers to be handed over. */
const AWAY_HEARTBEATS = 2;
const HANDOVER_HEARTBEATS = 6;

function positive(name: string, value: number): number {
  if (value > 0 && value < Infinity) return value;
  throw invalid(name, value, 'a number above 0');
}

// The hosts of a simulation have one shape: they share the cube, which then stays in the processor's cache.
let lastCube: KnCube | undefined;

function cubeOf(k: number, n: number): KnCube {
  if (lastCube?.k !== k || lastCube.n !== n) lastCube = new KnCube(k, n);
  return lastCube;
}

//   transport ──▶ receive ──▶ peers         who is alive, how far away; nothing twice
//                    │
//                    ├──────▶ membership    identifiers held, their neighbours  ◀──▶ directory, under a lease (LeaseKeeper)
//                    ├──────▶ handovers     identifiers that come and go
//                    ├──────▶ trees         parents and children of each stream, repaired
//                    ├──────▶ delivery      its messages
//                    └──────▶ swaps         a nearer place
//   clock ───────▶ wake ─────▶ heartbeat: each of them, in this order
//   you ─────────▶ advertise, subscribe ──▶ channels ──▶ directory;  bounds: is it in time?

/**
 * One host of the overlay. It does nothing by itself: messages come by receive(), time by wake() when `dueUs` has come.
 *
 * @throws ERR_INVALID_ARGUMENT, the constructor: options out of their ranges
 */
export class OverlayNode implements Endpoint {
  private readonly view: DataView;
  private readonly peers: Peers;
  readonly host: HostNumber;
  readonly cube: KnCube;
  readonly counters: OverlayCounters;
  readonly heartbeatUs: number;
  readonly detectUs: number;
  onEarlier: () => void;
  private readonly timers: Timers;
  private readonly keeper: LeaseKeeper;
  private readonly membership: Membership;
  private readonly handovers: Handovers;
  private readonly trees: Trees;
  private readonly delivery: Delivery;
  private readonly channels: Channels;
  private readonly bounds: Bounds;
  private readonly swaps: Swaps;
  private readonly random: Random;
  private leaving: boolean;
  /** Whom to tell when it has left. */
  private readonly onLeft: (() => void)[];
  private running: boolean;
  /** Counts starts: what was to be done in an earlier life is not. */
  private life: number;

  constructor(options: OverlayOptions) {
    const { host, transport, clock, directory, random, routing = 'greedy', exchangeDepth = 0, exchangeRule = 'improved' } = options;
    const share = new HostShare(options.share ?? { copyUs: 0, ratePerS: 1 });
    if (!isHostNumber(host)) throw invalid('host', host, `a whole number from 0 to ${MAX_HOST}`);
    const heartbeatUs = positive('heartbeatUs', options.heartbeatUs ?? 1e6);
    const detectUs = positive('detectUs', options.detectUs ?? 3.5 * heartbeatUs);
    if (detectUs < 2.5 * heartbeatUs) throw invalid('detectUs', detectUs, `at least 2.5 heartbeats (${2.5 * heartbeatUs}): one may get lost`);
    const leaseUs = positive('leaseUs', options.leaseUs ?? 5e6);
    const unmeasuredUs = positive('unmeasuredUs', options.unmeasuredUs ?? 5e4);
    if (!Number.isInteger(exchangeDepth) || exchangeDepth < 0 || exchangeDepth > 255) throw invalid('exchangeDepth', exchangeDepth, 'a whole number from 0 to 255');
    const cube = cubeOf(options.k, options.n);
    const counters = makeCounters(() => this.peers.received);
    // First what each message needs: so it lies in one cache line.
    this.view = transport.view;
    this.peers = new Peers({
      self: host, cube, transport, clock, heartbeatUs, detectUs, counters,
      onSuspect: (peer) => {
        this.trees.onGone(peer);
      },
      onRestart: (peer) => {
        this.membership.onRestart(peer);
        this.trees.onGone(peer);
      },
    });
    this.host = host;
    this.cube = cube;
    this.counters = counters;
    this.heartbeatUs = heartbeatUs;
    this.detectUs = detectUs;
    this.onEarlier = () => undefined;
    this.random = random;
    this.leaving = false;
    this.onLeft = [];
    this.running = false;
    this.life = 0;
    this.timers = new Timers(() => clock.nowUs());
    this.timers.onEarlier = () => {
      this.onEarlier();
    };
    const { peers, timers } = this;
    const onIdentifiers = (): void => {
      this.onIdentifiers();
    };
    this.keeper = new LeaseKeeper({
      directory, clock, timers, leaseUs,
      onExtended: (validUntilUs) => {
        this.peers.setLease(validUntilUs);
      },
      onLease: (lease) => {
        this.peers.restart(lease.id);
      },
      onLost: () => {
        this.fence();
      },
    });
    const { keeper } = this;
    const isAnchor = (identifier: number): boolean => this.channels.isAnchor(identifier);
    this.membership = new Membership({
      self: host, cube, transport, timers, directory, random: random.fork('membership'), peers, keeper, counters, leaseUs, isAnchor, onIdentifiers,
      onReceived: (identifier, from) => {
        this.swaps.onReceived(identifier, from);
      },
    });
    const { membership } = this;
    this.handovers = new Handovers({ self: host, cube, transport, timers, directory, peers, keeper, membership, counters, onIdentifiers });
    const { handovers } = this;
    this.trees = new Trees({
      self: host, cube, transport, clock, timers, peers, membership, counters, heartbeatUs, unmeasuredUs,
      router: new Router(cube, routing, random.fork('routing')),
      share,
      onPath: (stream) => {
        this.bounds.onPath(stream);
      },
      onProbe: (stream, peer, delayUs) => {
        this.bounds.onProbe(stream, peer, delayUs);
      },
      onNoCapacity: (stream) => {
        this.bounds.onNoCapacity(stream);
      },
      onNoPath: (stream) => {
        this.bounds.onNoPath(stream);
      },
    });
    const { trees } = this;
    this.delivery = new Delivery({ transport, clock, peers, trees, counters, unmeasuredUs });
    this.channels = new Channels({
      self: host, directory, timers, keeper, peers, membership, trees, delivery: this.delivery, heartbeatUs, cubeSize: cube.size,
      onJoined: (stream) => {
        this.bounds.onPath(stream);
      },
    });
    this.swaps = new Swaps({ cube, transport, timers, peers, membership, handovers, trees, counters, heartbeatUs, maxDepth: exchangeDepth, rule: exchangeRule, share, random: random.fork('swaps'), self: host, unmeasuredUs, isAnchor });
    this.bounds = new Bounds({
      random: random.fork('bounds'), timers, peers, trees, heartbeatUs,
      announcement: (channel, publisher) => this.channels.announcement(channel, publisher),
      leave: (stream, subscription) => {
        this.channels.detach(stream, subscription);
      },
      exchange: (stream, boundUs, ways, done) => this.swaps.begin(stream, boundUs, ways, done),
    });
  }

  // Coming and going.

  get state(): OverlayState {
    if (!this.running) return 'stopped';
    if (this.leaving) return 'leaving';
    return this.membership.first >= 0 ? 'member' : 'joining';
  }

  /** The identifiers that this host may act for now, ascending. */
  get identifiers(): number[] {
    return [...this.membership.holdings.keys()].filter((identifier) => this.membership.holds(identifier)).sort((a, b) => a - b);
  }

  /** Joins: asks for a lease, then for identifiers, until it has some; or begins with what was laid out for it. */
  start(formation?: Formation): void {
    if (this.running) return;
    this.running = true;
    this.leaving = false;
    const life = ++this.life;
    this.membership.leaving = false;
    this.keeper.start(formation);
    if (formation !== undefined) this.membership.form(formation.identifiers, formation.holderOf);
    // Not all hosts at once.
    const timer = this.timers.after(this.random.float() * this.heartbeatUs, () => {
      this.tick(life, timer);
    });
  }

  /** Leaves: children find other parents, identifiers go to hosts beside, then the lease ends. `done` is called when that is over, in a bounded time; at once for one that has stopped. */
  leave(done: () => void = () => undefined): void {
    if (!this.running) {
      done();
      return;
    }
    this.onLeft.push(done);
    if (this.leaving) return;
    this.leaving = true;
    this.membership.leaving = true;
    this.channels.close();
    this.trees.children.sendAway();
    const { life } = this;
    this.timers.after(AWAY_HEARTBEATS * this.heartbeatUs, () => {
      if (this.isStill(life)) this.handovers.giveAll();
      this.awaitHandovers(HANDOVER_HEARTBEATS, life);
    });
  }

  private isStill(life: number): boolean {
    return this.running && this.life === life;
  }

  private awaitHandovers(heartbeats: number, life: number): void {
    if (heartbeats > 0 && this.isStill(life) && !(this.membership.holdings.size === 0 && this.handovers.isIdle)) {
      this.timers.after(this.heartbeatUs, () => {
        this.awaitHandovers(heartbeats - 1, life);
      });
      return;
    }
    if (this.isStill(life)) this.stop();
  }

  /** Stops at once. What it held is vacant as soon as the directory hears of it, or the lease ends. Subscriptions and publications wait for another start(). */
  stop(): void {
    if (!this.running) return;
    this.running = false;
    // Without a lease nothing begins anew with the identifiers that are still to go.
    this.keeper.stop();
    this.fence();
    for (const done of this.onLeft.splice(0)) done();
  }

  /** Whether this host may act as holder of an identifier now. */
  holds(identifier: number): boolean {
    return this.membership.holds(identifier);
  }

  private fence(): void {
    this.swaps.fence();
    this.channels.fence();
    this.trees.closeAll();
    this.handovers.fence();
    this.membership.fence();
    this.peers.silence();
  }

  private onIdentifiers(): void {
    this.trees.onIdentifiers();
    if (!this.leaving && this.keeper.isValid) this.channels.onIdentifiers();
  }

  // Streams.

  /** Publishes on a channel; `ratePerS`: how many messages are to be expected. A host that has stopped, or is leaving, does so once it is started again. @throws ERR_INVALID_ARGUMENT if it does already */
  advertise(channel: number, ratePerS = 0): Publication {
    return this.channels.advertise(channel, ratePerS);
  }

  /** Wants all that is published on a channel, by whomever. @throws ERR_INVALID_ARGUMENT */
  subscribe(channel: number, options: SubscriptionOptions = {}): Subscription {
    return this.channels.subscribe(channel, options);
  }

  /** @throws ERR_INVALID_ARGUMENT for another host's */
  unsubscribe(subscription: Subscription): void {
    this.channels.unsubscribe(subscription);
  }

  /** A subscription takes more, or fewer, messages a second from now on; 0: all. Those that are too many are left out by the host above, and cost others nothing. @throws ERR_INVALID_ARGUMENT */
  pace(subscription: Subscription, ratePerS: number): void {
    this.channels.pace(subscription, ratePerS);
  }

  /** Of each stream that this host has a part in: who is above it, NO_HOST while nobody is, and who is below. */
  branches(): { channel: number; publisher: HostNumber; version: number; parent: HostNumber; children: HostNumber[]; isSubscribed: boolean; delayUs: number; orphanedUs: number }[] {
    return [...this.trees.streams.values()].map(({ channel, publisher, version, parent, children, subscriptions, delayUs, orphanedUs }) => ({
      channel, publisher, version, parent, children: children.map(({ peer }) => peer.host), isSubscribed: subscriptions.length > 0, delayUs, orphanedUs,
    }));
  }

  /**
   * After a host crashes, or is cut off, within how long each stream that went through it goes by another way, in µs, where no message takes longer than
   * `maxDelayUs` and none is lost: silence is noticed after detectUs, at the next heartbeat; a new parent answers at once, or when it has
   * found one itself, of lower rank each, so after at most diameter + 1 round trips; and one who had not noticed yet does so a heartbeat later at most.
   */
  repairBoundUs(maxDelayUs: number): number {
    return this.detectUs + 2 * this.heartbeatUs + 2 * (this.cube.diameter + 1) * maxDelayUs;
  }

  // As an endpoint.

  get dueUs(): number {
    return this.timers.nextUs;
  }

  wake(): void {
    this.timers.run();
  }

  private tick(life: number, timer: Timer): void {
    if (!this.isStill(life)) return;
    timer.again(this.heartbeatUs);
    if (!this.keeper.isValid) return;
    this.peers.tick(this.membership.holdings.size);
    this.membership.tick();
    this.handovers.tick();
    this.trees.tick();
  }

  receive(from: HostNumber, at: number, length: number): void {
    const { peers } = this;
    const row = peers.accept(from, at, length);
    if (row === 0) return;
    const type = this.view.getUint8(at + Header.type);
    if (type === Heartbeat.type) peers.onHeartbeat(row, at);
    else this.handle(type, peers.peerOf(row), at, length);
  }

  private handle(type: number, peer: Peer, at: number, length: number): void {
    switch (type) {
      case Data.type: this.delivery.onData(peer, at, length); break;
      case Hello.type: this.membership.onHello(peer, at); break;
      case HelloAck.type: this.membership.onHelloAck(peer, at); break;
      case NotHeld.type: this.membership.onNotHeld(at); break;
      case Join.type:
        this.membership.onJoin(peer, (identifier) => {
          this.handovers.give(identifier, peer.host, peer.incarnation);
        });
        break;
      case Redirect.type: this.membership.onRedirect(at); break;
      case Handover.type: this.handovers.onHandover(peer, at); break;
      case HandoverAck.type: this.handovers.onHandoverAck(peer, at); break;
      case Graft.type: this.trees.children.onGraft(peer, at); break;
      case Grafted.type: this.trees.onGrafted(peer, at); break;
      case Refused.type: this.trees.onRefused(peer, at); break;
      case Prune.type: this.trees.children.onPrune(peer, at); break;
      case Rejoin.type: this.trees.onRejoin(peer, at); break;
      case Exchange.type: this.swaps.places.onExchange(peer, at); break;
      case Exchanged.type: this.swaps.onExchanged(peer, at); break;
      case Swap.type: this.swaps.offers.onSwap(peer, at); break;
      case SwapRefused.type: this.swaps.onSwapRefused(peer, at); break;
      case Survey.type: this.swaps.onSurvey(peer, at); break;
      default: this.swaps.offers.onSurveyed(peer, at);
    }
  }
}
