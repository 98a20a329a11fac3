import { type Clock, type Timers } from '../base/index.js';
import { Children } from './children.js';
import { Grafted, Name, Refused, readName } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type Peer } from './peer.js';
import { type HostShare } from './qos.js';
import { ReplayWindow } from './replay-window.js';
import { type RoutesOptions, Routes } from './routes.js';
import { NO_RANK, Stream, streamKey } from './stream.js';
import { type HostNumber, MAX_HOST, NO_HOST, type Transport } from './transport.js';
import { REFUSAL, TreeMessages } from './tree-messages.js';

export interface TreesOptions extends RoutesOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly share: HostShare;
  readonly counters: OverlayCounters;
  readonly heartbeatUs: number;
  /** The stream has a (new) path, or its delay has changed. */
  readonly onPath: (stream: Stream) => void;
  /** A probe was answered: by that host the path would take so long; NaN if it is none. */
  readonly onProbe: (stream: Stream, peer: Peer, delayUs: number) => void;
  /** A host had no processor time for us. */
  readonly onNoCapacity: (stream: Stream) => void;
  /** No host that could be a parent was left, and one at least had no processor time. */
  readonly onNoPath: (stream: Stream) => void;
}

/** A parent is asked anew this often, in heartbeats. */
const REFRESH_HEARTBEATS = 2;
/** A candidate without a path of its own is given so long to find one. */
const PENDING_HEARTBEATS = 4;
/** So many refreshes a parent may answer without a path before another is looked for. */
const PENDING_REFRESHES = 2;
/** Of a parent that is no neighbour in the cube, before one that is is looked for: new neighbours are measured by then. */
const STRAY_REFRESHES = 2;
/** Messages from an old parent are welcome for so long. */
const PREVIOUS_HEARTBEATS = 2;
/** Grafts without an answer before a candidate is given up. */
const MAX_ATTEMPTS = 3;
/** A path whose delay has changed by less than this part is not worth telling children of before their next refresh. */
const WORTH_TELLING = 1 / 8;

// A stream's tree is made of the subscribers' routes to the publisher, as in Scribe (Castro et al. 2002), over the cube's routing:
//
//   Graft ──▶ the next hop of the route: it has the stream, or grafts itself ──▶ … ──▶ the publisher, or the first host that has it
//   Grafted ◀── by the same way, with the delay so far and the hosts above
//
// Every host has one parent, so nothing comes twice. A parent's rank (hops to the publisher's identifier) is lower than its children's when it takes
// them, so there are no loops as long as identifiers stay; when they move, ranks do, and those whose order is wrong are told to graft anew. The list of
// hosts above catches the loop that two such moves at once might make.

/** The trees of all streams that this host has a part in: parents, children, and their repair. */
export class Trees {
  readonly streams: Map<number, Stream>;
  readonly messages: TreeMessages;
  readonly children: Children;
  readonly routes: Routes;
  private beats: number;

  constructor(private readonly options: TreesOptions) {
    this.streams = new Map();
    this.messages = new TreeMessages(options);
    this.children = new Children(options, this);
    this.beats = 0;
    this.routes = new Routes(options);
  }

  get(channel: number, publisher: HostNumber): Stream | undefined {
    return this.streams.get(streamKey(channel, publisher));
  }

  /** The stream that a message is about, all having the names in one place. */
  named(at: number): Stream | undefined {
    const { view } = this.options.transport;
    return this.get(view.getUint32(at + Name.channel), view.getUint32(at + Name.publisher));
  }

  /** The stream, begun if it isn't there; begun anew if its publisher has. */
  open(channel: number, publisher: HostNumber, version: number, root: number): Stream {
    const { clock, membership } = this.options;
    let stream = this.get(channel, publisher);
    if (stream === undefined) {
      stream = new Stream(channel, publisher, version, root, clock.nowUs());
      stream.rank = membership.distanceTo(root);
      this.streams.set(streamKey(channel, publisher), stream);
    } else if (stream.version !== version || stream.root !== root) {
      this.detach(stream);
      stream.version = version;
      stream.root = root;
      stream.rank = membership.distanceTo(root);
      stream.window = new ReplayWindow();
    }
    return stream;
  }

  /** This host publishes it. */
  root(stream: Stream): void {
    const { self } = this.options;
    stream.parent = self;
    stream.delayUs = 0;
    stream.orphanedUs = NaN;
  }

  /** Ends this host's part if nobody here or below wants the stream any more. */
  leaveIfUnwanted(stream: Stream): void {
    if (stream.parent === this.options.self || stream.children.length > 0 || stream.subscriptions.length > 0) return;
    this.close(stream);
  }

  /** Ends this host's part, whoever wants it. Children look elsewhere. */
  close(stream: Stream): void {
    for (const child of [...stream.children]) this.children.dismiss(stream, child);
    this.detach(stream);
    this.options.share.release(stream);
    this.streams.delete(streamKey(stream.channel, stream.publisher));
  }

  // Parents.

  private useParent(stream: Stream, host: HostNumber): void {
    const { peers, self, counters } = this.options;
    if (host !== self) peers.need(host);
    if (stream.parent !== NO_HOST && stream.parent !== self) peers.release(stream.parent);
    if (stream.ancestors.length > 0 && host !== stream.parent) counters.repairs++;
    stream.parent = host;
  }

  private dropParent(stream: Stream): void {
    const { peers, self, clock } = this.options;
    if (stream.parent === NO_HOST) return;
    if (stream.parent !== self) peers.release(stream.parent);
    stream.parent = NO_HOST;
    stream.orphanedUs = clock.nowUs();
  }

  /** Without parent and candidate, having told them. */
  private detach(stream: Stream): void {
    const { self } = this.options;
    for (const host of [stream.parent, stream.candidate]) if (host !== NO_HOST && host !== self) this.messages.prune(stream, host);
    this.setCandidate(stream, NO_HOST);
    this.dropParent(stream);
    stream.delayUs = NaN;
    stream.tried.clear();
  }

  private setCandidate(stream: Stream, host: HostNumber): void {
    const { peers } = this.options;
    if (host !== NO_HOST) peers.need(host);
    if (stream.candidate !== NO_HOST) peers.release(stream.candidate);
    stream.candidate = host;
    stream.attempts = 0;
    stream.timer?.cancel();
    stream.timer = undefined;
  }

  /** Looks for a parent: the next hop of the route, a host that stood above, the publisher itself; and again from the start. */
  seek(stream: Stream, preferred = NO_HOST): void {
    const { timers, heartbeatUs, self, onNoPath } = this.options;
    // It may have ended since whoever asks for this began to.
    if (stream.candidate !== NO_HOST || stream.parent === self || this.get(stream.channel, stream.publisher) !== stream) return;
    const host = preferred !== NO_HOST ? preferred : this.routes.nextParent(stream);
    this.setCandidate(stream, host);
    if (host !== NO_HOST) {
      this.graft(stream);
      return;
    }
    stream.timer = timers.after(heartbeatUs, () => {
      stream.tried.clear();
      this.seek(stream);
    });
    if (!stream.noCapacity || stream.isOnTree) return;
    // Who has asked us may find a way by others, or shall know why there is none.
    stream.noCapacity = false;
    this.children.refuse(stream);
    onNoPath(stream);
    this.leaveIfUnwanted(stream);
  }

  /** Looks for a parent if there is none. */
  seekIfNeeded(stream: Stream): void {
    if (!stream.isOnTree && stream.timer === undefined) this.seek(stream);
  }

  /** A parent that stood in for a dead one, or was beside this host before identifiers moved, serves until there is one on the route. */
  private returnToRoute(stream: Stream): void {
    stream.strays = this.routes.isParentBeside(stream) ? 0 : stream.strays + 1;
    if (stream.strays < STRAY_REFRESHES) return;
    const host = this.routes.nextHop(stream);
    if (host !== NO_HOST) this.seek(stream, host);
  }

  private graft(stream: Stream): void {
    const { timers, peers, heartbeatUs } = this.options;
    if (++stream.attempts > MAX_ATTEMPTS) {
      this.giveUp(stream);
      return;
    }
    this.messages.graft(stream, stream.candidate, false);
    const { timeoutUs } = peers.get(stream.candidate)!;
    stream.timer = timers.after(Math.min(timeoutUs, heartbeatUs), () => {
      this.graft(stream);
    });
  }

  private giveUp(stream: Stream): void {
    stream.tried.add(stream.candidate);
    this.setCandidate(stream, NO_HOST);
    if (!stream.isOnTree) this.seek(stream);
    // It was looking for a better one, and has to do with what it has.
    else this.options.onPath(stream);
  }

  onGrafted(peer: Peer, at: number): void {
    const { transport: { view }, counters: { dropped }, self, unmeasuredUs, onProbe } = this.options;
    const stream = this.named(at);
    if (stream === undefined || stream.version !== view.getUint32(at + Grafted.version)) {
      dropped.unasked++;
      return;
    }
    const arrivesUs = view.getUint32(at + Grafted.delayUs) + peer.oneWayUs(unmeasuredUs);
    const isOnTree = view.getUint8(at + Grafted.isOnTree) !== 0;
    const ancestors = [peer.host];
    for (let i = 0; i < view.getUint8(at + Grafted.count); i++) ancestors.push(view.getUint32(at + Grafted.ancestors + Grafted.item * i));
    if (ancestors.some((host) => host > MAX_HOST)) {
      dropped.range++;
      return;
    }
    const isLoop = ancestors.includes(self);
    if (view.getUint8(at + Grafted.isProbe) !== 0) {
      onProbe(stream, peer, isOnTree && !isLoop ? arrivesUs : NaN);
    } else if (peer.host === stream.candidate) {
      if (isLoop) {
        dropped.contradiction++;
        this.messages.prune(stream, peer.host);
        this.giveUp(stream);
      } else if (isOnTree) this.adopt(stream, peer.host, arrivesUs, ancestors);
      else this.await(stream);
    } else if (peer.host === stream.parent) {
      if (isLoop) {
        dropped.contradiction++;
        this.orphan(stream);
      } else if (isOnTree) this.update(stream, arrivesUs, ancestors);
      // It has lost its own, and may be long in finding another.
      else if (++stream.pendings >= PENDING_REFRESHES) this.replaceParent(stream);
    } else {
      // It takes us for a child.
      dropped.unasked++;
      this.messages.prune(stream, peer.host);
    }
  }

  /** The candidate is looking for a parent itself. */
  private await(stream: Stream): void {
    const { timers, heartbeatUs } = this.options;
    stream.timer?.cancel();
    stream.timer = timers.after(PENDING_HEARTBEATS * heartbeatUs, () => {
      this.messages.prune(stream, stream.candidate);
      this.giveUp(stream);
    });
  }

  private adopt(stream: Stream, host: HostNumber, delayUs: number, ancestors: readonly HostNumber[]): void {
    const { clock, heartbeatUs } = this.options;
    const before = stream.parent;
    this.useParent(stream, host);
    this.setCandidate(stream, NO_HOST);
    stream.tried.clear();
    stream.orphanedUs = NaN;
    stream.noCapacity = false;
    if (before !== NO_HOST && before !== host) {
      stream.previous = before;
      stream.previousUntilUs = clock.nowUs() + PREVIOUS_HEARTBEATS * heartbeatUs;
      this.leaveParent(stream, before, stream.delayUs - delayUs);
    }
    stream.delayUs = NaN;
    this.update(stream, delayUs, ancestors);
  }

  /** What has passed the new parent before it took us is on its way by the old one still, for as long as that lags behind. */
  private leaveParent(stream: Stream, host: HostNumber, lagUs: number): void {
    const prune = (): void => {
      const now = this.get(stream.channel, stream.publisher);
      if (now?.parent !== host && now?.candidate !== host) this.messages.prune(stream, host);
    };
    if (lagUs > 0) this.options.timers.after(lagUs, prune);
    else prune();
  }

  private update(stream: Stream, delayUs: number, ancestors: readonly HostNumber[]): void {
    const isNews = !(Math.abs(delayUs - stream.delayUs) <= WORTH_TELLING * stream.delayUs) || ancestors.join() !== stream.ancestors.join();
    // However little it is, where a bound lies in between somebody here is told.
    const isCrossed = stream.subscriptions.some(({ boundUs }) => stream.delayUs <= boundUs !== delayUs <= boundUs);
    stream.delayUs = delayUs;
    stream.ancestors = ancestors;
    stream.pendings = 0;
    if (isCrossed && !isNews) this.options.onPath(stream);
    if (!isNews) return;
    for (const child of stream.children) this.messages.grafted(stream, child.peer.host, false);
    this.options.onPath(stream);
  }

  /** The parent is no use any more: another, at once. */
  private orphan(stream: Stream): void {
    const { parent } = stream;
    this.messages.prune(stream, parent);
    this.dropParent(stream);
    stream.tried.add(parent);
    this.seek(stream);
  }

  onRefused(peer: Peer, at: number): void {
    const { transport: { view }, counters: { dropped }, onProbe, onNoCapacity } = this.options;
    const stream = this.named(at);
    const reason = view.getUint8(at + Refused.reason);
    if (stream === undefined) dropped.unasked++;
    else if (peer.host === stream.candidate) {
      if (reason === REFUSAL.capacity) {
        stream.noCapacity = true;
        onNoCapacity(stream);
      }
      this.giveUp(stream);
    } else if (peer.host !== stream.parent) {
      if (reason === REFUSAL.capacity) onNoCapacity(stream);
      onProbe(stream, peer, NaN);
    }
    else if (reason === REFUSAL.rank) this.replaceParent(stream);
    else this.orphan(stream);
  }

  onRejoin(peer: Peer, at: number): void {
    const stream = this.named(at);
    if (stream?.parent !== peer.host) {
      this.options.counters.dropped.unasked++;
      return;
    }
    this.replaceParent(stream);
  }

  /** The parent is to go, but may serve us until there is another. */
  private replaceParent(stream: Stream): void {
    stream.tried.add(stream.parent);
    this.seek(stream);
  }

  // Around the trees.

  /** What is wanted here has changed. */
  tellRate(stream: Stream): void {
    if (stream.parent !== NO_HOST && stream.parent !== this.options.self) this.messages.graft(stream, stream.parent, false);
  }

  /** Ends this host's part in all streams. */
  closeAll(): void {
    for (const stream of [...this.streams.values()]) this.close(stream);
  }

  /** Answers data that we don't want. */
  unwanted(peer: Peer, at: number): void {
    const { view } = this.options.transport;
    this.messages.prune(readName(view, at), peer.host);
  }

  /** Each heartbeat. */
  tick(): void {
    const { self } = this.options;
    const isRefresh = ++this.beats % REFRESH_HEARTBEATS === 0;
    for (const stream of this.streams.values()) {
      this.children.expire(stream);
      if (isRefresh && stream.parent !== NO_HOST && stream.parent !== self) {
        this.messages.graft(stream, stream.parent, false);
        this.returnToRoute(stream);
      } else this.seekIfNeeded(stream);
      this.leaveIfUnwanted(stream);
    }
  }

  /** A peer is dead, or lives but has forgotten all. */
  onGone(peer: Peer): void {
    for (const stream of this.streams.values()) {
      this.children.onGone(stream, peer);
      if (stream.candidate === peer.host) this.giveUp(stream);
      if (stream.parent === peer.host) {
        this.dropParent(stream);
        stream.previous = peer.host;
        stream.previousUntilUs = this.options.clock.nowUs() + PREVIOUS_HEARTBEATS * this.options.heartbeatUs;
        stream.tried.clear();
        this.seek(stream);
      }
      this.leaveIfUnwanted(stream);
    }
  }

  /** Identifiers came or went: ranks have changed, and where they order a parent and a child no more, both look anew. */
  onIdentifiers(): void {
    const { membership, self } = this.options;
    for (const stream of this.streams.values()) {
      const rank = membership.distanceTo(stream.root);
      // One without any identifier, for a moment, keeps its order.
      if (rank === stream.rank || rank === NO_RANK) continue;
      const rises = rank > stream.rank;
      stream.rank = rank;
      if (stream.parent === self || !rises) continue;
      for (const child of stream.children.filter((one) => one.rank <= rank)) this.children.dismiss(stream, child);
      if (stream.parent !== NO_HOST) this.messages.graft(stream, stream.parent, false);
    }
  }
}
