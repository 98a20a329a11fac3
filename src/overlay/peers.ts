import { type Clock } from '../base/index.js';
import { Header, Heartbeat, UNKNOWN, malformation, writeHeader } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type KnCube } from './cube/kncube.js';
import { Detector } from './detector.js';
import { MAX_DRIFT } from './lease-keeper.js';
import { Peer, ROUND_TRIPS, Row, SAID_IDENTIFIER } from './peer.js';
import { Arrival, acceptInWindow, beginWindow } from './replay-window.js';
import { type HostNumber, type Transport } from './transport.js';

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

/** Hosts known by what they sent only. More, and messages of new ones are dropped. */
const MAX_STRANGERS = 1024;
/** After which time a host that is not needed is forgotten, in heartbeats. */
const FORGET_HEARTBEATS = 60;
/** A round trip longer than this is a message from long ago. */
const MAX_RTT_US = 60e6;

/** Rows there is room for at first: twice as many cells lead to them. */
const FIRST_CAPACITY = 8;
/** 2^32 / golden ratio: multiplied by it, numbers that follow one another are spread evenly (Knuth, The Art of Computer Programming 3, §6.4). */
const GOLDEN = 0x9e3779b1;

// All hosts of a simulation judge silence alike: they share the detector, which then stays in the processor's cache.
let lastDetector: Detector | undefined;

function detectorFor(expectedUs: number, mostUs: number): Detector {
  if (lastDetector?.expectedUs !== expectedUs || lastDetector.mostUs !== mostUs) lastDetector = new Detector({ expectedUs, mostUs });
  return lastDetector;
}

/** Cells in front of those that lead to rows: until when the lease is valid, and how many messages have come. */
const LEASE = 0;
const RECEIVED = 1;
const FIRST_CELL = 2;

//   state   ┌──────────┬───────────────────────┬─────┬─────┬─────┬─────┬─────┬───────┐
//           │ lease, … │ · · ▪ · ▪ ▪ · · ▪ · ▪ │ row │ row │ row │ row │ row │  …    │
//           └──────────┴───────────────────────┴─────┴─────┴─────┴─────┴─────┴───────┘
//                        cells: hash of a host     needed            strangers
//                        ▶ where its row lies,     ◀─────────▶       ◀─────────▶
//                        0 for nowhere
//
// A row that becomes needed, or no longer is, changes places with the one at the border.

/**
 * The other hosts that this one deals with: who is alive and how far away, and messages to them.
 *
 * A message that comes is named by its sender's row, where it lies in the state, as long as nothing else is called; a Peer is for good.
 */
export class Peers {
  /** @internal */
  state: Float64Array;
  private readonly view: DataView;
  private readonly clock: Clock;
  private readonly cube: KnCube;
  private readonly counters: OverlayCounters;
  private readonly self: HostNumber;
  /** When this life began. */
  private readonly sinceUs: number;
  /** The hash of a host are the bits from here on. */
  private hashShift: number;
  private readonly detector: Detector;
  private readonly transport: Transport;
  /** Of this host; 0 while it has no lease, and may not speak. */
  incarnation: number;
  /** Offset of the message that begin() made. */
  private at: number;
  private length: number;
  /** How many identifiers this host holds, as heartbeats say. */
  private identifiers: number;
  /** Where the rows begin. */
  private firstRow: number;
  private needed: number;
  /** How many of them are held for dead. */
  suspects: number;
  /** Above all sequence numbers that went to hosts which are forgotten: they may remember us. */
  private nextSequence: number;
  /** By row. */
  private readonly peers: Peer[];

  constructor(private readonly options: PeersOptions) {
    const { transport, clock, cube, counters, self, heartbeatUs, detectUs } = options;
    this.state = new Float64Array(0);
    this.view = transport.view;
    this.clock = clock;
    this.cube = cube;
    this.counters = counters;
    this.self = self;
    this.sinceUs = Math.floor(clock.nowUs());
    this.hashShift = 0;
    this.detector = detectorFor(heartbeatUs, detectUs);
    this.transport = transport;
    this.incarnation = 0;
    this.at = 0;
    this.length = 0;
    this.identifiers = 0;
    this.firstRow = 0;
    this.needed = 0;
    this.suspects = 0;
    this.nextSequence = 1;
    this.peers = [];
    this.lay(FIRST_CAPACITY);
    this.state[LEASE] = -Infinity;
  }

  /** Until when this host may listen and speak. */
  setLease(untilUs: number): void {
    this.state[LEASE] = untilUs;
  }

  /** Messages that have come, well-formed or not. */
  get received(): number {
    return this.state[RECEIVED];
  }

  /** The lease is gone: what is still under way here says nothing any more. */
  silence(): void {
    this.incarnation = 0;
  }

  /** A new incarnation knows nobody: what is left of the old one would be misunderstood. */
  restart(incarnation: number): void {
    this.incarnation = incarnation;
    this.nextSequence = 1;
    for (const { at } of this.peers) this.state[at + Row.sequence] = 1;
  }

  get(host: HostNumber): Peer | undefined {
    const row = this.state[this.cellOf(host)];
    return row === 0 ? undefined : this.peerOf(row);
  }

  /** One way to a host, in µs; Infinity as long as it was not measured. */
  costUs(host: HostNumber): number {
    return this.get(host)?.oneWayUs(Infinity) ?? Infinity;
  }

  /** Whose row it is. */
  peerOf(row: number): Peer {
    return this.peers[(row - this.firstRow) / Row.cells];
  }

  /** The hosts that get heartbeats, in no order. */
  get active(): readonly Peer[] {
    return this.peers.slice(0, this.needed);
  }

  /** Makes the host known if it isn't. */
  know(host: HostNumber): Peer {
    const known = this.get(host);
    if (known !== undefined) return known;
    const row = this.firstRow + this.peers.length * Row.cells;
    if (row === this.state.length) {
      this.lay(2 * this.peers.length);
      return this.know(host);
    }
    const { state } = this;
    state[this.cellOf(host)] = row;
    state.fill(0, row, row + Row.cells);
    state[row + Row.host] = host;
    state[row + Row.sequence] = this.nextSequence;
    state[row + Row.said] = UNKNOWN;
    state[row + Row.cameUs] = this.clock.nowUs();
    state[row + Row.suspectAtUs] = Infinity;
    beginWindow(state, row + Row.window);
    ROUND_TRIPS.begin(state, row + Row.rtt);
    const peer = new Peer(host, this, row);
    this.peers.push(peer);
    return peer;
  }

  /** Needs it once more. It counts as heard of now. */
  need(host: HostNumber): Peer {
    const peer = this.know(host);
    if (peer.uses++ === 0) {
      this.exchange(peer, this.peers[this.needed++]);
      this.detector.begin(this.state, peer.at + Row.suspectAtUs, this.clock.nowUs());
    }
    return peer;
  }

  /** Needs it once less. */
  release(host: HostNumber): void {
    const peer = this.get(host)!;
    if (--peer.uses > 0) return;
    this.exchange(peer, this.peers[--this.needed]);
    this.state[peer.at + Row.suspectAtUs] = Infinity;
    if (peer.suspected) this.suspects--;
    peer.suspected = false;
  }

  // The state.

  /** The cell that leads to a host's row, or would. */
  private cellOf(host: HostNumber): number {
    const { state, hashShift } = this;
    const last = 0xffffffff >>> hashShift;
    for (let hash = Math.imul(host, GOLDEN) >>> hashShift; ; hash = (hash + 1) & last) {
      const row = state[FIRST_CELL + hash];
      if (row === 0 || state[row + Row.host] === host) return FIRST_CELL + hash;
    }
  }

  /** Lays the state out anew, for so many rows: a power of two. */
  private lay(capacity: number): void {
    const { state, firstRow, peers } = this;
    this.firstRow = FIRST_CELL + 2 * capacity;
    this.hashShift = Math.clz32(2 * capacity - 1);
    this.state = new Float64Array(this.firstRow + capacity * Row.cells);
    this.state.set(state.subarray(0, FIRST_CELL));
    this.state.set(state.subarray(firstRow, firstRow + peers.length * Row.cells), this.firstRow);
    for (const [i, peer] of peers.entries()) peer.at = this.firstRow + i * Row.cells;
    this.lead();
  }

  /** Sets all cells. */
  private lead(): void {
    this.state.fill(0, FIRST_CELL, this.firstRow);
    for (const { host, at } of this.peers) this.state[this.cellOf(host)] = at;
  }

  private exchange(a: Peer, b: Peer): void {
    if (a === b) return;
    const { state, peers, firstRow } = this;
    const [cellA, cellB] = [this.cellOf(a.host), this.cellOf(b.host)];
    const row = state.slice(a.at, a.at + Row.cells);
    state.copyWithin(a.at, b.at, b.at + Row.cells);
    state.set(row, b.at);
    [a.at, b.at] = [b.at, a.at];
    state[cellA] = a.at;
    state[cellB] = b.at;
    peers[(a.at - firstRow) / Row.cells] = a;
    peers[(b.at - firstRow) / Row.cells] = b;
  }

  private forgetStrangers(cameBeforeUs: number): void {
    const { state, peers } = this;
    const known = peers.length;
    for (let i = known - 1; i >= this.needed; i--) {
      const peer = peers[i];
      if (state[peer.at + Row.cameUs] > cameBeforeUs) continue;
      this.nextSequence = Math.max(this.nextSequence, state[peer.at + Row.sequence]);
      this.exchange(peer, peers.at(-1)!);
      peers.pop();
    }
    if (peers.length < known) this.lead();
  }

  // Messages.

  /** Begins a message of `length` bytes; the caller writes its body, at the offset returned, and sends it to one host or several. */
  begin(type: number, length: number): number {
    this.at = this.transport.begin();
    this.length = length;
    writeHeader(this.view, this.at, type, length, this.cube, this.self, this.incarnation);
    return this.at;
  }

  send(host: HostNumber): void {
    this.sendTo(this.know(host));
  }

  /** As send(), without looking the host up. */
  sendTo(peer: Peer): void {
    this.sendToRow(peer.at);
  }

  private sendToRow(row: number): void {
    const { state } = this;
    if (this.incarnation === 0) return;
    this.view.setUint32(this.at + Header.sequence, state[row + Row.sequence]++);
    this.counters.sent++;
    this.transport.send(state[row + Row.host], this.length);
  }

  /** Looks at a message that has come: the row of who sent it; 0 if it is dropped. */
  accept(from: HostNumber, at: number, length: number): number {
    const { view, counters, state } = this;
    state[RECEIVED]++;
    const wrong = malformation(view, at, length, this.cube);
    if (wrong !== undefined) {
      counters.dropped[wrong]++;
      return 0;
    }
    // Without a lease this host has no name to answer by.
    if (this.clock.nowUs() >= state[LEASE]) {
      counters.dropped.fenced++;
      return 0;
    }
    if (view.getUint32(at + Header.from) !== from || from === this.self) {
      counters.dropped.sender++;
      return 0;
    }
    let row = state[this.cellOf(from)];
    if (row === 0 || view.getUint32(at + Header.incarnation) !== state[row + Row.incarnation]) row = this.meet(from, view.getUint32(at + Header.incarnation));
    if (row === 0) return 0;
    if (acceptInWindow(this.state, row + Row.window, view.getUint32(at + Header.sequence)) !== Arrival.new) {
      counters.dropped.replayed++;
      return 0;
    }
    return row;
  }

  /** A host that was not heard of in this incarnation: its row; 0 if its message is to be dropped. */
  private meet(host: HostNumber, incarnation: number): number {
    const { dropped } = this.counters;
    // A lease is one host's.
    if (incarnation === this.incarnation) {
      dropped.contradiction++;
      return 0;
    }
    if (this.get(host) === undefined && this.peers.length - this.needed >= MAX_STRANGERS) {
      dropped.stranger++;
      return 0;
    }
    const peer = this.know(host);
    const { state } = this;
    const before = peer.incarnation;
    if (incarnation < before) {
      dropped.stale++;
      return 0;
    }
    state[peer.at + Row.incarnation] = incarnation;
    state[peer.at + Row.said] = peer.identifiers * SAID_IDENTIFIER + UNKNOWN;
    beginWindow(state, peer.at + Row.window);
    if (before !== 0) this.options.onRestart(peer);
    return peer.at;
  }

  // Heartbeats.

  onHeartbeat(row: number, at: number): void {
    const { state, view } = this;
    const nowUs = this.clock.nowUs();
    state[row + Row.said] = view.getUint16(at + Heartbeat.identifiers) * SAID_IDENTIFIER + view.getUint32(at + Heartbeat.sentUs);
    state[row + Row.cameUs] = nowUs;
    const echoUs = view.getUint32(at + Heartbeat.echoUs);
    if (echoUs !== UNKNOWN) {
      const agoUs = (Math.floor(nowUs) - echoUs) >>> 0;
      const heldUs = view.getUint32(at + Heartbeat.heldUs);
      const rttUs = agoUs - heldUs;
      // Held by another clock than ours: what is short may seem less than nothing. A stamp from before this life is of another clock altogether.
      if (rttUs < MAX_RTT_US && rttUs > -2 * MAX_DRIFT * heldUs - 1 && agoUs <= nowUs - this.sinceUs) ROUND_TRIPS.sample(state, row + Row.rtt, Math.max(rttUs, 1));
    }
    if (view.getUint8(at + Heartbeat.isAnswer) !== 0) return;
    const suspectAtUs = state[row + Row.suspectAtUs];
    if (suspectAtUs === Infinity) {
      this.heartbeat(row, true);
      return;
    }
    this.detector.heartbeat(state, row + Row.suspectAtUs, nowUs);
    if (suspectAtUs <= nowUs) this.recover(this.peerOf(row));
  }

  private recover(peer: Peer): void {
    if (!peer.suspected) return;
    peer.suspected = false;
    this.suspects--;
    this.counters.recoveries++;
  }

  private suspect(peer: Peer): void {
    if (peer.suspected) return;
    peer.suspected = true;
    this.suspects++;
    this.counters.suspicions++;
    this.options.onSuspect(peer);
  }

  /** Asks a host for a sign of life, and so for its distance. */
  ping(host: HostNumber): void {
    this.heartbeat(this.know(host).at, false);
  }

  /** Heartbeats to all that are needed, and a look at who has been silent for too long. */
  tick(identifiers: number): void {
    const nowUs = this.clock.nowUs();
    this.identifiers = Math.min(identifiers, 0xffff);
    // What onSuspect() does may change rows, and empty them.
    for (let i = this.needed - 1; i >= 0; i = Math.min(i, this.needed) - 1) {
      const row = this.firstRow + i * Row.cells;
      this.heartbeat(row, false);
      if (nowUs >= this.state[row + Row.suspectAtUs]) this.suspect(this.peerOf(row));
    }
    if (this.peers.length > this.needed) this.forgetStrangers(nowUs - FORGET_HEARTBEATS * this.options.heartbeatUs);
  }

  private heartbeat(row: number, isAnswer: boolean): void {
    const { state, view } = this;
    const at = this.begin(Heartbeat.type, Heartbeat.bytes);
    const nowUs = Math.floor(this.clock.nowUs());
    view.setUint32(at + Heartbeat.sentUs, nowUs);
    view.setUint32(at + Heartbeat.echoUs, state[row + Row.said]);
    view.setUint32(at + Heartbeat.heldUs, nowUs - Math.floor(state[row + Row.cameUs]));
    view.setUint16(at + Heartbeat.identifiers, this.identifiers);
    view.setUint16(at + Heartbeat.isAnswer, isAnswer ? 0x100 : 0);
    this.sendToRow(row);
  }
}
