import { Graft, slackIn } from './codec.js';
import { type Peer } from './peer.js';
import { Child, MAX_CHANNEL, type Stream } from './stream.js';
import { MAX_HOST } from './transport.js';
import { REFUSAL } from './tree-messages.js';
import { type Trees, type TreesOptions } from './trees.js';

/** Streams at most that others make this host a part of, and children of one. */
const MAX_STREAMS = 16_384;
const MAX_CHILDREN = 4096;
/** A child that was silent for so long is none any more. */
const CHILD_HEARTBEATS = 7;

/** Those below this host in the trees of its streams: who is taken, who is dismissed. */
export class Children {
  constructor(
    private readonly options: TreesOptions,
    private readonly trees: Trees,
  ) {}

  onGraft(peer: Peer, at: number): void {
    const { trees } = this;
    const { transport: { view }, counters: { dropped }, cube, self } = this.options;
    const channel = view.getUint32(at + Graft.channel);
    const publisher = view.getUint32(at + Graft.publisher);
    const version = view.getUint32(at + Graft.version);
    const root = view.getUint32(at + Graft.root);
    const rank = view.getUint16(at + Graft.rank);
    const isProbe = view.getUint8(at + Graft.isProbe) !== 0;
    if (channel > MAX_CHANNEL || publisher > MAX_HOST || root >= cube.size || version === 0) {
      dropped.range++;
      return;
    }
    const known = trees.get(channel, publisher);
    if (known?.version === version && known.root !== root) {
      dropped.contradiction++;
      return;
    }
    const refuse = (reason: number): void => {
      trees.messages.refused({ channel, publisher, version }, peer.host, reason);
    };
    if (publisher === self && known?.version !== version) refuse(REFUSAL.noPublisher);
    // Of what somebody here subscribes to, the directory says which version there is.
    else if (known !== undefined && (version < known.version || (version !== known.version && known.subscriptions.length > 0))) refuse(REFUSAL.version);
    else if (isProbe && known?.isOnTree !== true) refuse(REFUSAL.offTree);
    else if (known === undefined && trees.streams.size >= MAX_STREAMS) refuse(REFUSAL.capacity);
    else {
      const stream = trees.open(channel, publisher, version, root);
      if (stream.rank >= rank) refuse(REFUSAL.rank);
      else if (stream.parent === peer.host || stream.candidate === peer.host || stream.ancestors.includes(peer.host)) refuse(REFUSAL.loop);
      else if (isProbe) {
        if (this.hasRoom(stream, peer)) trees.messages.grafted(stream, peer.host, true);
        else refuse(REFUSAL.capacity);
      }
      else if (!this.add(stream, peer, at)) refuse(REFUSAL.capacity);
      else {
        trees.messages.grafted(stream, peer.host, false);
        trees.seekIfNeeded(stream);
        return;
      }
      trees.leaveIfUnwanted(stream);
    }
  }

  /** Whether a child more could be taken. */
  private hasRoom(stream: Stream, peer: Peer): boolean {
    const { share } = this.options;
    const { length } = stream.children;
    if (stream.child(peer.host) !== undefined) return true;
    if (length >= MAX_CHILDREN || !share.reserve(stream, length + 1)) return false;
    share.reserve(stream, length);
    return true;
  }

  private add(stream: Stream, peer: Peer, at: number): boolean {
    const { peers, clock, share, transport: { view } } = this.options;
    const nowUs = (): number => clock.nowUs();
    const before = stream.milliRate;
    const milliRate = view.getUint32(at + Graft.milliRate);
    let child = stream.child(peer.host);
    if (child?.milliRate !== milliRate) {
      if (child === undefined) {
        if (stream.children.length >= MAX_CHILDREN) return false;
        child = new Child(peers.need(peer.host), clock.nowUs());
        stream.children.push(child);
      }
      // Processor time is for the rate that is wanted from now on.
      child.wants(milliRate, nowUs);
      if (!share.reserve(stream, stream.children.length)) {
        this.remove(stream, child);
        return false;
      }
    }
    child.rank = view.getUint16(at + Graft.rank);
    child.subscribers = view.getUint32(at + Graft.subscribers);
    child.late = view.getUint32(at + Graft.late);
    child.slackUs = slackIn(view.getUint32(at + Graft.slackUs));
    child.refreshedUs = clock.nowUs();
    if (stream.milliRate !== before) this.trees.tellRate(stream);
    return true;
  }

  private remove(stream: Stream, child: Child): void {
    const { peers, share } = this.options;
    const before = stream.milliRate;
    stream.children.splice(stream.children.indexOf(child), 1);
    peers.release(child.peer.host);
    share.reserve(stream, stream.children.length);
    if (stream.milliRate !== before && stream.children.length > 0) this.trees.tellRate(stream);
  }

  /** None of them can have the stream from here. */
  refuse(stream: Stream): void {
    for (const child of [...stream.children]) {
      this.trees.messages.refused(stream, child.peer.host, REFUSAL.capacity);
      this.remove(stream, child);
    }
  }

  /** A child that should look elsewhere, and is served no more. */
  dismiss(stream: Stream, child: Child): void {
    this.trees.messages.rejoin(stream, child.peer.host);
    this.remove(stream, child);
  }

  /** Forgets those that have not said for long that they still want it. */
  expire(stream: Stream): void {
    const deadUs = this.options.clock.nowUs() - CHILD_HEARTBEATS * this.options.heartbeatUs;
    for (const child of stream.children.filter(({ refreshedUs }) => refreshedUs < deadUs)) this.remove(stream, child);
  }

  /** A peer is dead, or lives but has forgotten all. */
  onGone(stream: Stream, peer: Peer): void {
    const child = stream.child(peer.host);
    if (child !== undefined) this.remove(stream, child);
  }

  /** Asks all children to look elsewhere, but serves them until they have found something. */
  sendAway(): void {
    for (const stream of this.trees.streams.values()) for (const child of stream.children) this.trees.messages.rejoin(stream, child.peer.host);
  }

  onPrune(peer: Peer, at: number): void {
    const stream = this.trees.named(at);
    const child = stream?.child(peer.host);
    if (stream === undefined || child === undefined) {
      this.options.counters.dropped.unasked++;
      return;
    }
    this.remove(stream, child);
    this.trees.leaveIfUnwanted(stream);
  }
}
