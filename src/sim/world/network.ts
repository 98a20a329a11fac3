import { type IdHeap, type Random, type VirtualClock, invalid } from '../../base/index.js';
import { type HostNumber, MAX_MESSAGE_BYTES, type Transport } from '../../overlay/index.js';

/** What goes wrong on the way of a message, each with its probability. */
export interface Faults {
  /** It is lost. */
  loss: number;
  /** It comes twice, the copy up to reorderUs later. */
  duplication: number;
  /** It comes up to reorderUs later than it would: what was sent behind it overtakes it. */
  reordering: number;
  /** One of its bytes is changed. UDP's checksum lets none of these through, so a Transport must not either: for tests of the codec. */
  corruption: number;
  reorderUs: number;
}

const NO_FAULTS: Faults = { loss: 0, duplication: 0, reordering: 0, corruption: 0, reorderUs: 0 };

/** One part of a network that has fallen apart. */
export interface Island {
  hosts: readonly HostNumber[];
  /** Whether the directory can be reached from there. */
  directory: boolean;
}

export interface NetworkOptions {
  /** Time on the way from one host to another, in µs, without queueing: finite, 0 or more; the same at each call. */
  delayUs: (from: HostNumber, to: HostNumber) => number;
  /** Up to this is added to each delay, uniformly. Default 0. */
  jitterUs?: number;
  /** Rate of each host's access link, outwards. Default Infinity: no queueing. */
  linkBps?: number;
  /** On an access link, what comes with each message: by default Ethernet's frame, preamble and gap, IPv6 and UDP headers. */
  overheadBytes?: number;
  /** What would wait longer than this for its access link is dropped. Default 100,000. */
  queueUs?: number;
  /** Room for so many messages on the way, of up to 112, 304 and MAX_MESSAGE_BYTES bytes; a class that is full takes from the next. */
  slots?: readonly [number, number, number];
}

/** Since the start. */
export interface NetworkCounters {
  sent: number;
  delivered: number;
  lost: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  /** Between two islands. */
  partitioned: number;
  /** To a host that is not there, or not any more. */
  dead: number;
  /** Too long a queue at the sender's access link. */
  overflown: number;
  /** No room in memory. */
  noMemory: number;
  /** No message (no bytes, or too many), or to no number of a host: a mistake of whoever sent it. */
  senseless: number;
}

/** In front of each message in its slot: from whom, to whom, how long, and a word left over. One cache line then holds all of a short one. */
const HEADER_BYTES = 16;
const SLOT_BYTES = [128, 320, 1472] as const;
/** A multiple of a cache line, so that slots begin where lines do. */
const SCRATCH_BYTES = 1472;
const ETHERNET_IPV6_UDP_BYTES = 14 + 4 + 8 + 12 + 40 + 8;
/** A host's access link is told apart by two numbers of 26 bits. */
const LINK_RADIX = 2 ** 26;

//   offset  0          1472
//           ┌──────────┬─────┬─────┬───┬────────┬───┬──────────────┬───┐
//           │ scratch  │ 128 │ 128 │ … │  320   │ … │     1472     │ … │    one memory for all hosts, each with a Transport of its own
//           └──────────┴─────┴─────┴───┴────────┴───┴──────────────┴───┘
//              begin()   slots: [from, to, length, 0][message], from send() until receive() has returned; a slot's number is its number as an event
//
// The views must stay the same for good, so the memory can't grow: what finds no slot is dropped and counted.

/** The network of a World: carries messages between its hosts in virtual time, and loses, doubles, delays, changes and cuts them off as told. */
export class SimNetwork {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly counters: NetworkCounters;
  /** Called with each message that is sent, which lies at offset 0. */
  onSend: ((from: HostNumber, to: HostNumber, length: number) => void) | undefined;
  /** How many messages can be on the way: they are the events 0 to slots − 1. */
  readonly slots: number;
  private readonly words: Int32Array;
  /** Free slots of each class: a stack, and how many are on it. */
  private readonly free: Int32Array[];
  private readonly freeCount: Int32Array;
  /** Of each class: its first slot, and where that lies. */
  private readonly firstSlot: Int32Array;
  private readonly firstOffset: Int32Array;
  private readonly delayUs: (from: HostNumber, to: HostNumber) => number;
  private readonly jitterUs: number;
  private readonly usPerByte: number;
  private readonly overheadBytes: number;
  private readonly queueUs: number;
  private readonly busyUntilUs: Float64Array;
  /** Streams of their own: jitter is drawn for each message that is posted, faults are drawn for each that is sent. */
  private readonly jitterRandom: Random;
  private readonly faultRandom: Random;
  private faults: Faults;
  private readonly linkFaults: Map<number, Faults>;
  /** By host; 0 is everybody whom no island names. */
  private readonly island: Uint8Array;
  private islandHasDirectory: readonly boolean[];
  /** Whether anything can go wrong at all: else messages take the short way. */
  private disturbed: boolean;

  /**
   * @param hosts numbers of hosts are below this
   * @throws ERR_INVALID_ARGUMENT
   */
  constructor(
    private readonly hosts: number,
    private readonly events: IdHeap,
    private readonly clock: VirtualClock,
    random: Random,
    { delayUs, jitterUs = 0, linkBps = Infinity, overheadBytes = ETHERNET_IPV6_UDP_BYTES, queueUs = 100_000, slots = defaultSlots(hosts) }: NetworkOptions,
  ) {
    if (!(jitterUs >= 0 && jitterUs < Infinity)) throw invalid('jitterUs', jitterUs, 'a finite number of microseconds, 0 or more');
    if (!(linkBps > 0)) throw invalid('linkBps', linkBps, 'a rate in bits per second above 0, or Infinity');
    if (!(overheadBytes >= 0 && overheadBytes < Infinity)) throw invalid('overheadBytes', overheadBytes, 'a finite number of bytes, 0 or more');
    if (!(queueUs >= 0)) throw invalid('queueUs', queueUs, 'a number of microseconds, 0 or more');
    this.slots = slots[0] + slots[1] + slots[2];
    if (!slots.every((count) => Number.isInteger(count) && count >= 0) || !(this.slots >= 1 && bytesOf(slots) <= MAX_MEMORY_BYTES)) {
      throw invalid('slots', slots.join(', '), `three whole numbers, one of them above 0, whose slots (of ${SLOT_BYTES.join(', ')} bytes) take at most ${MAX_MEMORY_BYTES} bytes`);
    }
    const memory = new ArrayBuffer(bytesOf(slots));
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.words = new Int32Array(memory);
    this.onSend = undefined;
    this.counters = { sent: 0, delivered: 0, lost: 0, duplicated: 0, reordered: 0, corrupted: 0, partitioned: 0, dead: 0, overflown: 0, noMemory: 0, senseless: 0 };
    this.firstSlot = Int32Array.of(0, slots[0], slots[0] + slots[1]);
    this.firstOffset = Int32Array.of(SCRATCH_BYTES, SCRATCH_BYTES + slots[0] * SLOT_BYTES[0], SCRATCH_BYTES + slots[0] * SLOT_BYTES[0] + slots[1] * SLOT_BYTES[1]);
    // The last on the stack is taken first: low slots, so that a network with little on the way stays in the cache.
    this.free = slots.map((count, c) => Int32Array.from({ length: count }, (_, i) => this.firstSlot[c] + count - 1 - i));
    this.freeCount = Int32Array.from(slots);
    this.delayUs = delayUs;
    this.jitterUs = jitterUs;
    this.usPerByte = 8e6 / linkBps;
    this.overheadBytes = overheadBytes;
    this.queueUs = queueUs;
    this.busyUntilUs = new Float64Array(hosts);
    this.jitterRandom = random.fork('jitter');
    this.faultRandom = random.fork('faults');
    this.faults = NO_FAULTS;
    this.linkFaults = new Map();
    this.island = new Uint8Array(hosts);
    this.islandHasDirectory = [true];
    this.disturbed = false;
  }

  /** What host `host` sends and receives by. What begin() gave it holds until any host's next begin(): write and send without a break. */
  transport(host: HostNumber): Transport {
    return new SimTransport(this, host);
  }

  /** From now on: on all links but those that have faults of their own. Left out: none. */
  setFaults(faults: Partial<Faults>): void {
    this.faults = checkedFaults(faults);
    this.lookForTrouble();
  }

  /** From now on, on the link from one host to another, in this direction, instead of those of all; undefined: as on all again. */
  setLinkFaults(from: HostNumber, to: HostNumber, faults: Partial<Faults> | undefined): void {
    if (faults === undefined) this.linkFaults.delete(from * LINK_RADIX + to);
    else this.linkFaults.set(from * LINK_RADIX + to, checkedFaults(faults));
    this.lookForTrouble();
  }

  /**
   * From now on no message gets from one island to another, not even one on the way. Hosts that none of them names are together on one more, with the
   * directory. At most 255.
   */
  partition(islands: readonly Island[]): void {
    if (islands.length > 255) throw invalid('islands', islands.length, 'at most 255');
    this.island.fill(0);
    for (const [i, { hosts }] of islands.entries()) for (const host of hosts) this.island[host] = i + 1;
    this.islandHasDirectory = [true, ...islands.map(({ directory }) => directory)];
    this.lookForTrouble();
  }

  /** Whether what the two send arrives at each other, as far as partitions go. */
  isConnected(a: HostNumber, b: HostNumber): boolean {
    return this.island[a] === this.island[b];
  }

  reachesDirectory(host: HostNumber): boolean {
    return this.islandHasDirectory[this.island[host]];
  }

  /** Sends the first `length` bytes of the scratch. */
  send(from: HostNumber, to: HostNumber, length: number): void {
    const { counters } = this;
    if (!(to >= 0 && to < this.hosts && length > 0 && length <= MAX_MESSAGE_BYTES)) {
      counters.senseless++;
      return;
    }
    counters.sent++;
    if (this.onSend !== undefined) this.onSend(from, to, length);
    let onLinkUs = 0;
    if (this.usPerByte > 0) {
      const now = this.clock.nowUs();
      const waitUs = Math.max(0, this.busyUntilUs[from] - now);
      if (waitUs > this.queueUs) {
        counters.overflown++;
        return;
      }
      onLinkUs = waitUs + (length + this.overheadBytes) * this.usPerByte;
      this.busyUntilUs[from] = now + onLinkUs;
    }
    if (this.disturbed) this.sendDisturbed(from, to, length, onLinkUs);
    else this.post(from, to, length, onLinkUs);
  }

  /** Where the message in `slot` lies. */
  offsetOf(slot: number): number {
    const { firstSlot, firstOffset } = this;
    if (slot < firstSlot[1]) return firstOffset[0] + slot * SLOT_BYTES[0] + HEADER_BYTES;
    const c = slot < firstSlot[2] ? 1 : 2;
    return firstOffset[c] + (slot - firstSlot[c]) * SLOT_BYTES[c] + HEADER_BYTES;
  }

  /** Of the message at `offset`: from whom it is. */
  fromOf(offset: number): HostNumber {
    return this.words[(offset - HEADER_BYTES) >> 2];
  }

  toOf(offset: number): HostNumber {
    return this.words[((offset - HEADER_BYTES) >> 2) + 1];
  }

  lengthOf(offset: number): number {
    return this.words[((offset - HEADER_BYTES) >> 2) + 2];
  }

  /** Whether the message at `offset` may arrive: not if its way has been cut since it was sent. */
  mayArrive(offset: number): boolean {
    if (!this.disturbed || this.isConnected(this.fromOf(offset), this.toOf(offset))) return true;
    this.counters.partitioned++;
    return false;
  }

  /** Gives back the slot of a message that has arrived, or never will. */
  release(slot: number): void {
    const c = slot < this.firstSlot[1] ? 0 : slot < this.firstSlot[2] ? 1 : 2;
    this.free[c][this.freeCount[c]++] = slot;
  }

  /** Draws as often whatever the rates are, so that a changed rate shifts no later draw. */
  private sendDisturbed(from: HostNumber, to: HostNumber, length: number, onLinkUs: number): void {
    const { counters, faultRandom: random } = this;
    if (!this.isConnected(from, to)) {
      counters.partitioned++;
      return;
    }
    const faults = this.linkFaults.size > 0 ? this.linkFaults.get(from * LINK_RADIX + to) ?? this.faults : this.faults;
    const isLost = random.float() < faults.loss;
    const isDoubled = random.float() < faults.duplication;
    const isLate = random.float() < faults.reordering;
    const isChanged = random.float() < faults.corruption;
    const lateUs = random.float() * faults.reorderUs;
    const copyUs = random.float() * faults.reorderUs;
    const change = random.uint32();
    if (isDoubled) {
      counters.duplicated++;
      this.post(from, to, length, onLinkUs + copyUs);
    }
    if (isLost) {
      counters.lost++;
      return;
    }
    if (isLate) counters.reordered++;
    const slot = this.post(from, to, length, onLinkUs + (isLate ? lateUs : 0));
    if (isChanged && slot >= 0) {
      counters.corrupted++;
      this.bytes[this.offsetOf(slot) + ((change >>> 8) % length)] ^= (change & 0xff) || 0xff;
    }
  }

  /** @returns its slot; −1 if there is none */
  private post(from: HostNumber, to: HostNumber, length: number, laterUs: number): number {
    const slot = this.take(length);
    if (slot < 0) {
      this.counters.noMemory++;
      return -1;
    }
    const { words } = this;
    const offset = this.offsetOf(slot);
    const start = offset >> 2;
    words[start - 4] = from;
    words[start - 3] = to;
    words[start - 2] = length;
    // A call of copyWithin() costs as much as some sixty words.
    if (length <= SLOT_BYTES[1]) for (let i = 0, count = (length + 3) >> 2; i < count; i++) words[start + i] = words[i];
    else this.bytes.copyWithin(offset, 0, length);
    const jitterUs = this.jitterUs > 0 ? this.jitterRandom.float() * this.jitterUs : 0;
    this.events.set(slot, this.clock.nowUs() + laterUs + this.delayUs(from, to) + jitterUs);
    return slot;
  }

  private take(length: number): number {
    const { free, freeCount } = this;
    for (let c = length <= SLOT_BYTES[0] - HEADER_BYTES ? 0 : length <= SLOT_BYTES[1] - HEADER_BYTES ? 1 : 2; c < 3; c++) {
      if (freeCount[c] > 0) return free[c][--freeCount[c]];
    }
    return -1;
  }

  private lookForTrouble(): void {
    this.disturbed = this.linkFaults.size > 0 || this.islandHasDirectory.length > 1 || Object.values(this.faults).some((rate) => rate > 0);
  }
}

/** Of 2^31 − 1: offsets are signed. */
const MAX_MEMORY_BYTES = 2 ** 30;

function bytesOf(slots: readonly [number, number, number]): number {
  return SCRATCH_BYTES + slots.reduce((sum, count, c) => sum + count * SLOT_BYTES[c], 0);
}

function defaultSlots(hosts: number): [number, number, number] {
  return [16 * hosts + 4096, 4 * hosts + 1024, hosts + 1024];
}

function checkedFaults(given: Partial<Faults>): Faults {
  const faults = { ...NO_FAULTS, ...given };
  for (const [name, value] of Object.entries(faults)) {
    if (name === 'reorderUs' ? !(value >= 0 && value < Infinity) : !(value >= 0 && value <= 1)) {
      throw invalid(name, value, name === 'reorderUs' ? 'a finite number of microseconds, 0 or more' : 'a probability from 0 to 1');
    }
  }
  return faults;
}

class SimTransport implements Transport {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(
    private readonly network: SimNetwork,
    private readonly host: HostNumber,
  ) {
    this.bytes = network.bytes;
    this.view = network.view;
  }

  begin(): number {
    return 0;
  }

  send(to: HostNumber, length: number): void {
    this.network.send(this.host, to, length);
  }
}
