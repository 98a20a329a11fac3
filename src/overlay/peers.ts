import { type Clock } from '../base/index.js';
import { Header, Heartbeat, UNKNOWN, writeHeader } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type KnCube } from './cube/kncube.js';
import { Detector } from './detector.js';
import { Arrival, ReplayWindow } from './replay-window.js';
import { RttEstimator } from './rtt.js';
import { type HostNumber, type Transport } from './transport.js';

/** What is known of another host. */
export class Peer {
  /** 0: not heard of yet. */
  incarnation: number;
  /** Held for dead. */
  suspected: boolean;
  /** How often it is needed: as holder of a neighbouring identifier, as parent, as child. One that is needed gets heartbeats. */
  uses: number;
  /** How many identifiers it holds, as it says. */
  identifiers: number;
  readonly rtt: RttEstimator;
  /** @internal */
  detector: Detector;
  /** @internal What it sent, of this incarnation. */
  window: ReplayWindow;
  /** @internal The number of our next message to it. */
  sequence: number;
  /** @internal Its last heartbeat: the time in it, by its clock, and when it came, by ours. */
  heartbeatSentUs: number;
  heartbeatCameUs: number;
  /** @internal Its place among the needed; −1 if it is none of them. */
  place: number;

  constructor(
    readonly host: HostNumber,
    detector: Detector,
    nowUs: number,
    sequence: number,
  ) {
    this.incarnation = 0;
    this.suspected = false;
    this.uses = 0;
    this.identifiers = 0;
    this.rtt = new RttEstimator({ leastUs: LEAST_TIMEOUT_US });
    this.detector = detector;
    this.window = new ReplayWindow();
    this.sequence = sequence;
    this.heartbeatSentUs = UNKNOWN;
    this.heartbeatCameUs = nowUs;
    this.place = -1;
  }

  /** The way there, in µs: half a round trip; `unknownUs` as long as there was none. */
  oneWayUs(unknownUs: number): number {
    const { smoothedUs } = this.rtt;
    return smoothedUs > 0 ? smoothedUs / 2 : unknownUs;
  }
}

export interface PeersOptions {
  readonly self: HostNumber;
  readonly cube: KnCube;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly heartbeatUs: number;
  /** A peer that was silent for so long is held for dead, whatever its habits were. */
  readonly detectUs: number;
  readonly counters: OverlayCounters;
  readonly onSuspect: (peer: Peer) => void;
  /** It has started anew: what it knew of us is gone. */
  readonly onRestart: (peer: Peer) => void;
}

/** Answers are waited for at least so long. Hosts of an overlay can afford what TCP may not (RFC 6298 §2.4). */
const LEAST_TIMEOUT_US = 5e4;
/** Hosts known by what they sent only. More, and messages of new ones are dropped. */
const MAX_STRANGERS = 1024;
/** After which time a host that is not needed is forgotten, in heartbeats. */
const FORGET_HEARTBEATS = 60;
/** A round trip longer than this is a message from long ago. */
const MAX_RTT_US = 60e6;

/** The other hosts that this one deals with: who is alive and how far away, and messages to them. */
export class Peers {
  /** Of this host; 0 while it has no lease, and may not speak. */
  incarnation: number;
  private readonly byHost: Map<HostNumber, Peer>;
  private readonly needed: Peer[];
  private strangers: number;
  /** How many identifiers this host holds, as heartbeats say. */
  private identifiers: number;
  /** Above all sequence numbers that went to hosts which are forgotten: they may remember us. */
  private nextSequence: number;
  /** Offset of the message that begin() made. */
  private at: number;
  private length: number;

  constructor(private readonly options: PeersOptions) {
    this.incarnation = 0;
    this.byHost = new Map();
    this.needed = [];
    this.strangers = 0;
    this.identifiers = 0;
    this.nextSequence = 1;
    this.at = 0;
    this.length = 0;
  }

  /** A new incarnation knows nobody: what is left of the old one would be misunderstood. */
  restart(incarnation: number): void {
    this.incarnation = incarnation;
    this.nextSequence = 1;
    for (const peer of this.byHost.values()) peer.sequence = 1;
  }

  get(host: HostNumber): Peer | undefined {
    return this.byHost.get(host);
  }

  /** The hosts that get heartbeats, in no order. */
  get active(): readonly Peer[] {
    return this.needed;
  }

  /** Makes the host known if it isn't. */
  know(host: HostNumber): Peer {
    let peer = this.byHost.get(host);
    if (peer === undefined) {
      peer = new Peer(host, this.makeDetector(), this.options.clock.nowUs(), this.nextSequence);
      this.byHost.set(host, peer);
      this.strangers++;
    }
    return peer;
  }

  private makeDetector(): Detector {
    const { heartbeatUs, detectUs, clock } = this.options;
    return new Detector({ expectedUs: heartbeatUs, mostUs: detectUs }, clock.nowUs());
  }

  /** Needs it once more. It counts as heard of now. */
  need(host: HostNumber): Peer {
    const peer = this.know(host);
    if (peer.uses++ === 0) {
      this.strangers--;
      peer.place = this.needed.length;
      this.needed.push(peer);
      peer.suspected = false;
      peer.detector = this.makeDetector();
    }
    return peer;
  }

  /** Needs it once less. */
  release(host: HostNumber): void {
    const peer = this.byHost.get(host)!;
    if (--peer.uses > 0) return;
    this.strangers++;
    const last = this.needed.pop()!;
    if (last !== peer) {
      this.needed[peer.place] = last;
      last.place = peer.place;
    }
    peer.place = -1;
    peer.suspected = false;
  }

  /** Begins a message of `length` bytes; the caller writes its body, at the offset returned, and sends it to one host or several. */
  begin(type: number, length: number): number {
    const { transport, cube, self } = this.options;
    this.at = transport.begin();
    this.length = length;
    writeHeader(transport.view, this.at, type, length, cube, self, this.incarnation);
    return this.at;
  }

  send(host: HostNumber): void {
    this.sendTo(this.know(host));
  }

  /** As send(), without looking the host up. */
  sendTo(peer: Peer): void {
    const { transport, counters } = this.options;
    transport.view.setUint32(this.at + Header.sequence, peer.sequence++);
    counters.sent++;
    transport.send(peer.host, this.length);
  }

  /** Looks at the header of a well-formed message: who sent it, or undefined if it is to be dropped. */
  accept(from: HostNumber, at: number): Peer | undefined {
    const { transport: { view }, counters: { dropped }, self, onRestart } = this.options;
    if (view.getUint32(at + Header.from) !== from || from === self) {
      dropped.sender++;
      return undefined;
    }
    const incarnation = view.getUint32(at + Header.incarnation);
    // A lease is one host's.
    if (incarnation === this.incarnation) {
      dropped.contradiction++;
      return undefined;
    }
    let peer = this.byHost.get(from);
    if (peer === undefined) {
      if (this.strangers >= MAX_STRANGERS) {
        dropped.stranger++;
        return undefined;
      }
      peer = this.know(from);
    }
    if (incarnation !== peer.incarnation) {
      if (incarnation < peer.incarnation) {
        dropped.stale++;
        return undefined;
      }
      const isRestart = peer.incarnation !== 0;
      peer.incarnation = incarnation;
      peer.window = new ReplayWindow();
      peer.heartbeatSentUs = UNKNOWN;
      if (isRestart) onRestart(peer);
    }
    if (peer.window.accept(view.getUint32(at + Header.sequence)) !== Arrival.new) {
      dropped.replayed++;
      return undefined;
    }
    return peer;
  }

  onHeartbeat(peer: Peer, at: number): void {
    const { transport: { view }, clock, counters } = this.options;
    const now = clock.nowUs();
    peer.heartbeatSentUs = view.getUint32(at + Heartbeat.sentUs);
    peer.heartbeatCameUs = now;
    peer.identifiers = view.getUint16(at + Heartbeat.identifiers);
    const echoUs = view.getUint32(at + Heartbeat.echoUs);
    if (echoUs !== UNKNOWN) {
      const rttUs = (Math.floor(now) - echoUs - view.getUint32(at + Heartbeat.heldUs)) >>> 0;
      if (rttUs < MAX_RTT_US) peer.rtt.sample(Math.max(rttUs, 1));
    }
    if (view.getUint8(at + Heartbeat.isAnswer) === 0) {
      if (peer.uses > 0) peer.detector.heartbeat(now);
      else this.heartbeat(peer, true);
    }
    if (peer.suspected && peer.detector.suspectAtUs > now) {
      peer.suspected = false;
      counters.recoveries++;
    }
  }

  /** Asks a host for a sign of life, and so for its distance. */
  ping(host: HostNumber): void {
    this.heartbeat(this.know(host), false);
  }

  /** Heartbeats to all that are needed, and a look at who has been silent for too long. */
  tick(identifiers: number): void {
    const { clock, counters, heartbeatUs, onSuspect } = this.options;
    const now = clock.nowUs();
    this.identifiers = Math.min(identifiers, 0xffff);
    // What onSuspect() does may change the list, and empty it.
    for (let i = this.needed.length - 1; i >= 0; i = Math.min(i, this.needed.length) - 1) {
      const peer = this.needed[i];
      this.heartbeat(peer, false);
      if (!peer.suspected && now >= peer.detector.suspectAtUs) {
        peer.suspected = true;
        counters.suspicions++;
        onSuspect(peer);
      }
    }
    if (this.strangers > 0) {
      for (const peer of this.byHost.values()) {
        if (peer.uses > 0 || now - peer.heartbeatCameUs < FORGET_HEARTBEATS * heartbeatUs) continue;
        this.nextSequence = Math.max(this.nextSequence, peer.sequence);
        this.byHost.delete(peer.host);
        this.strangers--;
      }
    }
  }

  private heartbeat(peer: Peer, isAnswer: boolean): void {
    const { transport: { view }, clock } = this.options;
    const at = this.begin(Heartbeat.type, Heartbeat.bytes);
    const now = Math.floor(clock.nowUs());
    view.setUint32(at + Heartbeat.sentUs, now);
    view.setUint32(at + Heartbeat.echoUs, peer.heartbeatSentUs);
    view.setUint32(at + Heartbeat.heldUs, now - Math.floor(peer.heartbeatCameUs));
    view.setUint16(at + Heartbeat.identifiers, this.identifiers);
    view.setUint16(at + Heartbeat.isAnswer, isAnswer ? 0x100 : 0);
    this.sendTo(peer);
  }
}
