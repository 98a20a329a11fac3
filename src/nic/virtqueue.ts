import { RingcubeError } from '../base/index.js';
import { type Features } from './device.js';
import { Avail, Desc, Used, queueBytes } from './layout.js';
import { type Memory } from './region.js';

const NOBODY = -1;

/**
 * The driver's side of a split virtqueue (virtio 1.2 §2.7); native/core/virtqueue.h is its mirror.
 *
 *     desc  [addr len flags next] × size      written here
 *     avail [flags idx | head … | used_event] written here: nextAvail offered, of which `published` are known
 *     used  [flags idx | {id len} … | avail_event]          the device's: taken up to nextUsed
 *
 * The device is not trusted: what it writes is checked against what this side keeps privately (who owns a descriptor,
 * how long its buffer is), and a wrong value throws ERR_DEVICE before anything is touched.
 */
export class Virtqueue {
  readonly size: number;
  readonly memory: Memory;
  readonly descOffset: number;
  readonly availOffset: number;
  readonly usedOffset: number;
  /** Who gave each head to the device, as a handle; NOBODY while it is ours. */
  readonly handles: Int32Array;
  /** Second buffer of a chain of two, or NOBODY. */
  readonly seconds: Int32Array;
  /** Bytes that the device may write to a chain. */
  readonly writable: Uint32Array;
  /** Why no more is taken from this queue until restart(); '' while all is well. */
  fault = '';

  private readonly u16: Uint16Array;
  private readonly u32: Uint32Array;
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
  // Free descriptors, first in, first out: with a device that uses buffers in order, rings stay in step with it.
  private readonly free: Uint16Array;
  private freeHead = 0;
  private freeCount: number;
  /** Heads in the order in which they were offered. */
  private readonly order: Uint16Array;
  /** Descriptors of a chain, by its head, and the second one: kept here, as the device could change the table. */
  private readonly chained: Uint16Array;
  private readonly nexts: Uint16Array;
  private nextAvail = 0;
  private published = 0;
  private nextUsed = 0;

  constructor(memory: Memory, size: number, features: Features) {
    this.memory = memory;
    this.size = size;
    this.mask = size - 1;
    this.u16 = memory.u16;
    this.u32 = memory.u32;
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
    this.handles = new Int32Array(size);
    this.seconds = new Int32Array(size);
    this.writable = new Uint32Array(size);
    this.free = new Uint16Array(size);
    this.order = new Uint16Array(size);
    this.chained = new Uint16Array(size);
    this.nexts = new Uint16Array(size);
    this.freeCount = size;
    this.restart();
  }

  /** As new, for a queue that the device has reset. Buffers that it held are the caller's to collect before. */
  restart(): void {
    this.memory.u8.fill(0, this.descOffset, this.descOffset + queueBytes.desc(this.size));
    this.memory.u8.fill(0, this.availOffset, this.availOffset + queueBytes.avail(this.size));
    this.memory.u8.fill(0, this.usedOffset, this.usedOffset + queueBytes.used(this.size));
    this.handles.fill(NOBODY);
    this.seconds.fill(NOBODY);
    for (let i = 0; i < this.size; i++) this.free[i] = i;
    this.freeHead = 0;
    this.freeCount = this.size;
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

  /** Offers one buffer; the caller has looked at `room`. flags: 0, or Desc.Write for the device to write. */
  offer(offset: number, length: number, flags: number, handle: number): void {
    const id = this.takeDescriptor();
    this.describe(id, offset, length, flags, 0);
    this.handles[id] = handle;
    this.writable[id] = flags === Desc.Write ? length : 0;
    this.chained[id] = 1;
    this.enqueue(id);
  }

  /** Offers a chain of two buffers, both with the same flags. */
  offerTwo(offset: number, length: number, handle: number, offset2: number, length2: number, handle2: number, flags: number): void {
    const id = this.takeDescriptor();
    const next = this.takeDescriptor();
    this.describe(id, offset, length, flags | Desc.Next, next);
    this.describe(next, offset2, length2, flags, 0);
    this.handles[id] = handle;
    this.seconds[id] = handle2;
    this.writable[id] = flags === Desc.Write ? length + length2 : 0;
    this.chained[id] = 2;
    this.enqueue(id);
  }

  /** Offers a request and the place of its answer: the control queue's chain. */
  offerRequest(offset: number, length: number, answerOffset: number, answerLength: number): void {
    const id = this.takeDescriptor();
    const next = this.takeDescriptor();
    this.describe(id, offset, length, Desc.Next, next);
    this.describe(next, answerOffset, answerLength, Desc.Write, 0);
    this.handles[id] = 0;
    this.writable[id] = answerLength;
    this.chained[id] = 2;
    this.enqueue(id);
  }

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

  /** Chains that the device has given back and that take() has not yet taken. @throws ERR_DEVICE */
  used(): number {
    if (this.fault !== '') this.fail(this.fault);
    const n = (Atomics.load(this.u16, this.usedIdx) - this.nextUsed) & 0xffff;
    if (n > ((this.published - this.nextUsed) & 0xffff)) this.fail(`used.idx jumps ahead by ${n}`);
    return n;
  }

  /** The head of the i-th used chain, checked to be the device's to give back. */
  usedHead(i: number): number {
    const id = this.u32[this.usedRing32 + 2 * ((this.nextUsed + i) & this.mask)]!;
    if (id > this.mask || this.handles[id] === NOBODY) this.fail(`used id ${id} is not one of its chains`);
    return id;
  }

  /** Bytes that the device says it wrote to the i-th used chain, checked against what it was given. */
  usedLength(i: number, id: number): number {
    const length = this.u32[this.usedRing32 + 2 * ((this.nextUsed + i) & this.mask) + 1]!;
    if (length > this.writable[id]!) this.fail(`used length ${length} is over the ${this.writable[id]!} bytes of its buffer`);
    return length;
  }

  /** As usedHead() for chains the device only reads: with IN_ORDER its batch has one entry (§2.7.9), so ours counts. */
  usedHeadRead(i: number): number {
    return this.inOrder ? this.order[(this.nextUsed + i) & this.mask]! : this.usedHead(i);
  }

  /** Makes a used chain's descriptors free again. */
  release(id: number): void {
    this.handles[id] = NOBODY;
    let tail = (this.freeHead + this.freeCount) & this.mask;
    this.free[tail] = id;
    this.freeCount++;
    if (this.chained[id] === 2) {
      this.seconds[id] = NOBODY;
      tail = (tail + 1) & this.mask;
      this.free[tail] = this.nexts[id]!;
      this.freeCount++;
    }
  }

  /** The first `n` used chains are dealt with. */
  take(n: number): void {
    this.nextUsed = (this.nextUsed + n) & 0xffff;
  }

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

  /** Handles of all that the device still holds, for a reset: buffers are the driver's again. */
  reclaimAll(visit: (handle: number) => void): void {
    for (let id = 0; id < this.size; id++) {
      if (this.handles[id] !== NOBODY) visit(this.handles[id]!);
      if (this.seconds[id] !== NOBODY) visit(this.seconds[id]!);
    }
  }

  fail(what: string): never {
    this.fault = what;
    throw new RingcubeError('ERR_DEVICE', `virtqueue: ${what}; reset the queue to go on`);
  }

  private takeDescriptor(): number {
    const id = this.free[this.freeHead & this.mask]!;
    this.freeHead = (this.freeHead + 1) & 0xffff;
    this.freeCount--;
    return id;
  }

  private describe(id: number, offset: number, length: number, flags: number, next: number): void {
    const at = this.desc32 + 4 * id;
    this.u32[at] = offset;
    this.u32[at + 2] = length;
    this.u32[at + 3] = flags | (next << 16);
    this.nexts[id] = next;
  }

  private enqueue(id: number): void {
    const slot = this.nextAvail & this.mask;
    this.order[slot] = id;
    this.u16[this.availRing + slot] = id;
    this.nextAvail = (this.nextAvail + 1) & 0xffff;
  }
}
