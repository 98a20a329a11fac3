import { RingcubeError, specialise } from '../base/index.js';
import { type Features } from './device.js';
import { Avail, Desc, Used, queueBytes } from './layout.js';
import { type Memory } from './region.js';

export const NOBODY = -1;

/**
 * The driver's side of a split virtqueue (virtio 1.2 §2.7); native/core/virtqueue.h is its mirror.
 *
 *     desc  [addr len flags next] × size      written here
 *     avail [flags idx | head … | used_event] written here: nextAvail offered, of which `published` are known
 *     used  [flags idx | {id len} … | avail_event]          the device's: taken up to nextUsed
 *
 * A chain is remembered by its head. With IN_ORDER chains come back as they went, so that the heads offered say which
 * one is next, and the queue of free descriptors stays 0, 1, 2, … and need not be written.
 *
 * What runs for every frame is a loop over arrays, and is made once for those arrays (specialise()): offersEmpty() and the
 * like return it.
 *
 * The device is not trusted: what it writes is checked against what this side keeps privately, and a wrong value throws
 * ERR_DEVICE before anything is touched.
 */
export class Virtqueue {
  readonly size: number;
  readonly memory: Memory;
  readonly descOffset: number;
  readonly availOffset: number;
  readonly usedOffset: number;
  /** Why no more is taken from this queue until restart(); '' while all is well. */
  fault = '';

  private readonly u16: Uint16Array;
  private readonly i32: Int32Array;
  private readonly mask: number;
  private readonly eventIdx: boolean;
  private readonly inOrder: boolean;
  private readonly desc32: number;
  private readonly availIdx: number;
  private readonly availRing: number;
  private readonly usedEvent: number;
  private readonly usedIdx: number;
  private readonly usedRing32: number;
  private readonly availEvent: number;
  /** Heads as offered: what the available ring holds. */
  private readonly heads: Int32Array;
  /** By head: handles of a chain's first and second buffer; NOBODY: not the device's (without IN_ORDER); no second. */
  private readonly owners: Int32Array;
  private readonly seconds: Int32Array;
  /** By head: where its second buffer is described. */
  private readonly nextOf: Int32Array;
  private readonly free: Int32Array;
  private freeHead = 0;
  private freeCount = 0;
  /** Bytes that the device may write to a chain: all chains of a ring are alike in this. */
  private writable = 0;
  private nextAvail = 0;
  private published = 0;
  private nextUsed = 0;
  /** Of the last takesRead(). */
  tookSeconds = 0;
  /** Offers one buffer for the device to read, room ≥ 1. */
  readonly offerOne: ReturnType<typeof Virtqueue.ones>;
  /** Offers a chain of two buffers, room ≥ 2. flags are those of each: 0, or Desc.Write. */
  readonly offerTwo: ReturnType<typeof Virtqueue.twos>;

  constructor(memory: Memory, size: number, features: Features) {
    this.memory = memory;
    this.size = size;
    this.mask = size - 1;
    this.u16 = memory.u16;
    this.i32 = memory.i32;
    this.eventIdx = features.has('EventIdx');
    this.inOrder = features.has('InOrder');
    this.descOffset = memory.reserve(queueBytes.desc(size));
    this.availOffset = memory.reserve(queueBytes.avail(size));
    this.usedOffset = memory.reserve(queueBytes.used(size));
    this.desc32 = this.descOffset >> 2;
    this.availIdx = (this.availOffset + Avail.Idx) >> 1;
    this.availRing = (this.availOffset + Avail.Ring) >> 1;
    this.usedEvent = this.availRing + size;
    this.usedIdx = (this.usedOffset + Used.Idx) >> 1;
    this.usedRing32 = (this.usedOffset + Used.Ring) >> 2;
    this.availEvent = (this.usedOffset + Used.Ring + 8 * size) >> 1;
    this.heads = new Int32Array(size);
    this.owners = new Int32Array(size);
    this.seconds = new Int32Array(size);
    this.nextOf = new Int32Array(size);
    this.free = new Int32Array(size);
    this.offerOne = specialise(Virtqueue.ones)(this);
    this.offerTwo = specialise(Virtqueue.twos)(this, Desc.Next);
    this.restart();
  }

  /** As new, for a queue that the device has reset. Buffers that it held are the caller's to collect before. */
  restart(): void {
    const { size } = this;
    this.memory.u8.fill(0, this.descOffset, this.descOffset + queueBytes.desc(size));
    this.memory.u8.fill(0, this.availOffset, this.availOffset + queueBytes.avail(size));
    this.memory.u8.fill(0, this.usedOffset, this.usedOffset + queueBytes.used(size));
    this.heads.fill(0);
    this.owners.fill(NOBODY);
    this.seconds.fill(NOBODY);
    for (let i = 0; i < size; i++) this.free[i] = i;
    this.freeHead = 0;
    this.freeCount = size;
    this.nextAvail = this.published = this.nextUsed = 0;
    this.fault = '';
  }

  /** Descriptors that can still be offered. */
  get room(): number {
    return this.freeCount;
  }

  /** Chains that the device has and has not given back. */
  get outstanding(): number {
    return (this.nextAvail - this.nextUsed) & 0xffff;
  }

  // --- to the device ---

  /**
   * A loop that offers entries [from, from + n), n ≤ room, of these buffers to the device: each to write up to `bytes`
   * into, from `header` bytes ahead of its offset.
   */
  offersEmpty(handles: Int32Array, offsets: Int32Array, header: number, bytes: number): (from: number, n: number) => void {
    return specialise(Virtqueue.offers)(this, handles, offsets, null, header, bytes, Desc.Write);
  }

  /** As offersEmpty(), for buffers to be read: `lengths` bytes behind the header. */
  offersFilled(handles: Int32Array, offsets: Int32Array, lengths: Int32Array, header: number): (from: number, n: number) => void {
    return specialise(Virtqueue.offers)(this, handles, offsets, lengths, header, 0, 0);
  }

  private static readonly offers = (
    ring: Virtqueue,
    handles: Int32Array,
    offsets: Int32Array,
    lengths: Int32Array | null,
    header: number,
    bytes: number,
    flags: number,
  ) => {
    const { i32, u16, desc32, availRing, free, mask, owners, heads } = ring;
    return (from: number, n: number): void => {
      const { freeHead, nextAvail } = ring;
      const to = from + n;
      for (let i = from, d = freeHead, a = nextAvail; i < to; i++, d++, a++) {
        const id = free[d & mask];
        const at = desc32 + (id << 2);
        i32[at] = offsets[i] - header;
        i32[at + 2] = lengths === null ? bytes : lengths[i] + header;
        i32[at + 3] = flags;
        owners[id] = handles[i];
        // Most rounds offer the same heads in the same slots: then that cache line stays with the device.
        const slot = a & mask;
        if (heads[slot] !== id) {
          heads[slot] = id;
          u16[availRing + slot] = id;
        }
      }
      ring.writable = bytes;
      ring.freeHead = (freeHead + n) & 0xffff;
      ring.freeCount -= n;
      ring.nextAvail = (nextAvail + n) & 0xffff;
    };
  };

  private static readonly ones = (ring: Virtqueue) => {
    const { i32, u16, desc32, availRing, free, mask, owners, heads } = ring;
    return (offset: number, length: number, handle: number): void => {
      const id = free[ring.freeHead & mask];
      const at = desc32 + (id << 2);
      i32[at] = offset;
      i32[at + 2] = length;
      i32[at + 3] = 0;
      owners[id] = handle;
      const slot = ring.nextAvail & mask;
      if (heads[slot] !== id) {
        heads[slot] = id;
        u16[availRing + slot] = id;
      }
      ring.freeHead = (ring.freeHead + 1) & 0xffff;
      ring.freeCount--;
      ring.nextAvail = (ring.nextAvail + 1) & 0xffff;
    };
  };

  /** As offersEmpty(), for chains of two, 2 n ≤ room: `bytes` from `header` ahead of the first one's offset, `secondBytes` at the second one's. */
  offersEmptyTwo(
    handles: Int32Array, offsets: Int32Array, header: number, bytes: number, secondHandles: Int32Array, secondOffsets: Int32Array, secondBytes: number,
  ): (n: number) => void {
    return specialise(Virtqueue.emptyTwos)(this, handles, offsets, header, bytes, secondHandles, secondOffsets, secondBytes, Desc.Write, Desc.Next);
  }

  private static readonly emptyTwos = (
    ring: Virtqueue, handles: Int32Array, offsets: Int32Array, header: number, bytes: number,
    secondHandles: Int32Array, secondOffsets: Int32Array, secondBytes: number, write: number, goesOn: number,
  ) => {
    const { i32, u16, desc32, availRing, free, mask, owners, seconds, nextOf, heads } = ring;
    return (n: number): void => {
      const { freeHead, nextAvail } = ring;
      for (let i = 0, d = freeHead, a = nextAvail; i < n; i++, d += 2, a++) {
        const id = free[d & mask];
        const next = free[(d + 1) & mask];
        const at = desc32 + (id << 2);
        i32[at] = offsets[i] - header;
        i32[at + 2] = bytes;
        i32[at + 3] = write | goesOn | (next << 16);
        const at2 = desc32 + (next << 2);
        i32[at2] = secondOffsets[i];
        i32[at2 + 2] = secondBytes;
        i32[at2 + 3] = write;
        owners[id] = handles[i];
        seconds[id] = secondHandles[i];
        nextOf[id] = next;
        const slot = a & mask;
        if (heads[slot] !== id) {
          heads[slot] = id;
          u16[availRing + slot] = id;
        }
      }
      ring.writable = bytes + secondBytes;
      ring.freeHead = (freeHead + 2 * n) & 0xffff;
      ring.freeCount -= 2 * n;
      ring.nextAvail = (nextAvail + n) & 0xffff;
    };
  };

  private static readonly twos = (ring: Virtqueue, goesOn: number) => {
    const { i32, u16, desc32, availRing, free, mask, owners, seconds, nextOf, heads } = ring;
    return (
      offset: number,
      length: number,
      flags: number,
      handle: number,
      offset2: number,
      length2: number,
      flags2: number,
      handle2: number,
    ): void => {
      const id = free[ring.freeHead & mask];
      const next = free[(ring.freeHead + 1) & mask];
      const at = desc32 + (id << 2);
      i32[at] = offset;
      i32[at + 2] = length;
      i32[at + 3] = flags | goesOn | (next << 16);
      const at2 = desc32 + (next << 2);
      i32[at2] = offset2;
      i32[at2 + 2] = length2;
      i32[at2 + 3] = flags2;
      ring.writable = (flags === 0 ? 0 : length) + (flags2 === 0 ? 0 : length2);
      owners[id] = handle;
      seconds[id] = handle2;
      nextOf[id] = next;
      const slot = ring.nextAvail & mask;
      if (heads[slot] !== id) {
        heads[slot] = id;
        u16[availRing + slot] = id;
      }
      ring.freeHead = (ring.freeHead + 2) & 0xffff;
      ring.freeCount -= 2;
      ring.nextAvail = (ring.nextAvail + 1) & 0xffff;
    };
  };

  /** Shows the device what was offered. True if it wants a doorbell for that. */
  publish(): boolean {
    const before = this.published;
    const now = this.nextAvail;
    if (before === now) return false;
    this.published = now;
    // §2.7.13.3.1: descriptors and entries first, then the index. §2.7.10.1 and §2.7.13.4.1: the index first, then the
    // look at what the device asks for. Atomics are sequentially consistent, which gives both orders.
    Atomics.store(this.u16, this.availIdx, now);
    if (!this.eventIdx) return (Atomics.load(this.u16, (this.usedOffset + Used.Flags) >> 1) & Used.NoNotify) === 0;
    const event = Atomics.load(this.u16, this.availEvent);
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  // --- from the device ---

  /** Chains that the device has given back and that were not taken yet. @throws ERR_DEVICE */
  used(): number {
    if (this.fault !== '') this.fail(this.fault);
    const n = (Atomics.load(this.u16, this.usedIdx) - this.nextUsed) & 0xffff;
    if (n > ((this.published - this.nextUsed) & 0xffff)) this.fail(`used.idx jumps ahead by ${n}`);
    return n;
  }

  /**
   * A loop that takes the first `n` of used() chains: their handles, and the bytes that the device wrote behind a header
   * of `header` bytes. Where one of them is wrong, it takes those before it, and the next call throws. It returns how
   * many, and throws ERR_DEVICE if the first one is wrong.
   */
  takesWritten(handles: Int32Array, lengths: Int32Array, header: number, secondHandles: Int32Array | null = null): (n: number) => number {
    if (!this.inOrder) return (n) => this.takeEach(n, handles, secondHandles, lengths, header);
    return specialise(Virtqueue.writtenTakes)(this, handles, lengths, header, secondHandles);
  }

  private static readonly writtenTakes = (ring: Virtqueue, handles: Int32Array, lengths: Int32Array, header: number, secondHandles: Int32Array | null) => {
    const { i32, owners, seconds, heads, mask, usedRing32 } = ring;
    return (n: number): number => {
      const { nextUsed, writable } = ring;
      let taken = 0;
      for (; taken < n; taken++) {
        const slot = (nextUsed + taken) & mask;
        // Each is read once: what was checked may be something else a moment later.
        const id = i32[usedRing32 + (slot << 1)];
        const length = i32[usedRing32 + (slot << 1) + 1];
        if (id !== heads[slot] || length < header || length > writable) break;
        handles[taken] = owners[id];
        if (secondHandles !== null) secondHandles[taken] = seconds[id];
        lengths[taken] = length - header;
      }
      ring.freeCount += secondHandles === null ? taken : 2 * taken;
      return ring.tookWritten(taken, n, header);
    };
  };

  /** As takesWritten(), for chains of two, with the handles of their second buffers. */
  takeWrittenTwo(n: number, handles: Int32Array, seconds: Int32Array, lengths: Int32Array, header: number): number {
    return this.takeEach(n, handles, seconds, lengths, header);
  }

  private takeEach(n: number, handles: Int32Array, seconds: Int32Array | null, lengths: Int32Array, header: number): number {
    const { i32, owners, heads, mask, inOrder, usedRing32, writable } = this;
    let taken = 0;
    for (; taken < n; taken++) {
      const slot = (this.nextUsed + taken) & mask;
      const id = i32[usedRing32 + 2 * slot];
      const length = i32[usedRing32 + 2 * slot + 1];
      if ((inOrder ? id !== heads[slot] : !this.isOut(id)) || length < header || length > writable) break;
      handles[taken] = owners[id]!;
      if (seconds !== null) seconds[taken] = this.seconds[id]!;
      lengths[taken] = length - header;
      this.giveBack(id);
    }
    return this.tookWritten(taken, n, header);
  }

  private tookWritten(taken: number, n: number, header: number): number {
    if (taken < n) {
      const at = this.usedRing32 + 2 * ((this.nextUsed + taken) & this.mask);
      const wrong = `used chain ${this.i32[at] >>> 0} of ${this.i32[at + 1] >>> 0} bytes`;
      this.fault = `${wrong} is not one to give back now, or not from ${header} to ${this.writable} bytes`;
    }
    this.nextUsed = (this.nextUsed + taken) & 0xffff;
    if (taken === 0 && n > 0) this.fail(this.fault);
    return taken;
  }

  /**
   * A loop that takes all used() chains, which the device has only read: the handles of their first buffers, and of the
   * second ones of those that have any, `tookSeconds` of them. With IN_ORDER a batch has one entry (§2.7.9), so their order
   * is ours. It returns how many chains, and throws ERR_DEVICE.
   */
  takesRead(handles: Int32Array, secondHandles: Int32Array): () => number {
    return specialise(Virtqueue.readTakes)(this, handles, secondHandles, NOBODY);
  }

  private static readonly readTakes = (ring: Virtqueue, handles: Int32Array, secondHandles: Int32Array, nobody: number) => {
    const { owners, seconds, heads, mask, inOrder } = ring;
    return (): number => {
      const n = ring.used();
      const first = ring.nextUsed;
      let two = 0;
      let i = 0;
      for (; i < n; i++) {
        const id = inOrder ? heads[(first + i) & mask] : ring.usedId(i);
        if (!inOrder && !ring.isOut(id)) {
          ring.fault = `used id ${id >>> 0} is not one to give back now`;
          break;
        }
        handles[i] = owners[id];
        const second = seconds[id];
        if (second !== nobody) {
          secondHandles[two++] = second;
          if (inOrder) seconds[id] = nobody;
        }
        if (!inOrder) ring.giveBack(id);
      }
      if (inOrder) ring.freeCount += i + two;
      ring.tookSeconds = two;
      ring.nextUsed = (first + i) & 0xffff;
      if (i === 0 && n > 0) ring.fail(ring.fault);
      return i;
    };
  };

  /** The handle of the i-th used chain, to look at its buffer before taking it; NOBODY, and a fault, if that is wrong. */
  peekOwner(i: number): number {
    const id = this.usedId(i);
    if (this.inOrder ? id === this.heads[(this.nextUsed + i) & this.mask] : this.isOut(id)) return this.owners[id];
    this.fault = `used id ${id >>> 0} is not one to give back now`;
    return NOBODY;
  }

  /** Handles of all that the device still holds, for a reset: buffers are the driver's again. */
  reclaimAll(visit: (handle: number) => void): void {
    const held = this.inOrder
      ? Array.from({ length: this.outstanding }, (_, i) => this.heads[(this.nextUsed + i) & this.mask])
      : [...this.owners.keys()].filter((id) => this.isOut(id));
    for (const id of held) {
      visit(this.owners[id]);
      if (this.seconds[id] !== NOBODY) visit(this.seconds[id]);
    }
  }

  private usedId(i: number): number {
    return this.i32[this.usedRing32 + 2 * ((this.nextUsed + i) & this.mask)];
  }

  /** Without IN_ORDER: whether the device has this chain to give back. */
  private isOut(id: number): boolean {
    return id >>> 0 <= this.mask && this.owners[id] !== NOBODY;
  }

  /** The chain's descriptors are free from now on. */
  private giveBack(id: number): void {
    this.owners[id] = NOBODY;
    this.free[(this.freeHead + this.freeCount++) & this.mask] = id;
    if (this.seconds[id] === NOBODY) return;
    this.seconds[id] = NOBODY;
    this.free[(this.freeHead + this.freeCount++) & this.mask] = this.nextOf[id]!;
  }

  // --- interrupts ---

  disableInterrupts(): void {
    // With EVENT_IDX: an event that has just passed. It comes round again after 65,536 chains: one needless interrupt.
    if (this.eventIdx) Atomics.store(this.u16, this.usedEvent, (this.nextUsed - 1) & 0xffff);
    else Atomics.store(this.u16, (this.availOffset + Avail.Flags) >> 1, Avail.NoInterrupt);
  }

  /** Asks for an interrupt at the next used chain. True if there is one already: look again (§2.7.7.1). */
  enableInterrupts(): boolean {
    if (this.eventIdx) Atomics.store(this.u16, this.usedEvent, this.nextUsed);
    else Atomics.store(this.u16, (this.availOffset + Avail.Flags) >> 1, 0);
    return this.used() > 0;
  }

  fail(what: string): never {
    this.fault = what;
    throw new RingcubeError('ERR_DEVICE', `virtqueue: ${what}; reset the queue to go on`);
  }
}
