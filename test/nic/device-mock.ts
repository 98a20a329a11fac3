// A device that writes straight into memory: an honest one to try the driver's side of a queue alone, and, as all of its
// moves can be made separately and wrongly, a hostile one.
import { RingcubeError } from '../../src/base/index.js';
import { type FeatureName, Features, FrameBatch, FrameFlag, FramePool, Memory, TxQueue, Virtqueue } from '../../src/nic/index.js';
import { Avail, Desc, Used, VirtioNetHdr, VirtqDesc, VirtqUsedElem } from '../../src/nic/layout.js';
import { MergeableRxQueue, RxQueue, SplitRxQueue } from '../../src/nic/rx-queue.js';
import { numbered } from './rig.js';

const HDR = VirtioNetHdr.size;

export interface MockBuffer {
  offset: number;
  length: number;
  writable: boolean;
}

/** The device's side of one queue (virtio 1.2 §2.7), over the bytes that the driver's side laid out. */
export class MockDevice {
  /** Chains given back so far, of which published() says how many the driver knows. */
  used = 0;
  private avail = 0;
  private signalled = 0;
  private readonly view: DataView;

  constructor(
    private readonly ring: Virtqueue,
    private readonly eventIdx: boolean,
  ) {
    this.view = new DataView(ring.memory.buffer);
  }

  /** The next chain's head; undefined if the driver has offered none. */
  pop(): number | undefined {
    const { ring, view } = this;
    if (view.getUint16(ring.availOffset + Avail.Idx, true) === (this.avail & 0xffff)) return undefined;
    const head = view.getUint16(ring.availOffset + Avail.Ring + 2 * (this.avail & (ring.size - 1)), true);
    this.avail++;
    return head;
  }

  /** All heads that the driver has offered and that were not popped yet. */
  popAll(): number[] {
    const heads: number[] = [];
    for (let head = this.pop(); head !== undefined; head = this.pop()) heads.push(head);
    return heads;
  }

  /** The buffers of a chain. */
  chain(head: number): MockBuffer[] {
    const buffers: MockBuffer[] = [];
    for (let index = head; ; ) {
      const at = this.ring.descOffset + VirtqDesc.size * index;
      const flags = this.view.getUint16(at + VirtqDesc.flags, true);
      buffers.push({
        offset: Number(this.view.getBigUint64(at + VirtqDesc.addr, true)),
        length: this.view.getUint32(at + VirtqDesc.len, true),
        writable: (flags & Desc.Write) !== 0,
      });
      if ((flags & Desc.Next) === 0 || buffers.length > this.ring.size) return buffers;
      index = this.view.getUint16(at + VirtqDesc.next, true);
    }
  }

  /** What a device reads of a chain. */
  read(head: number): Uint8Array {
    return Buffer.concat(this.chain(head).map(({ offset, length }) => this.ring.memory.u8.subarray(offset, offset + length)));
  }

  /** Writes a header and, behind it, bytes into a chain as far as they fit; returns how many it wrote of both. */
  write(head: number, bytes: Uint8Array, header: { buffers?: number; flags?: number } | null = {}): number {
    const all = new Uint8Array((header === null ? 0 : VirtioNetHdr.size) + bytes.length);
    all.set(bytes, all.length - bytes.length);
    if (header !== null) {
      all[VirtioNetHdr.flags] = header.flags ?? 0;
      new DataView(all.buffer).setUint16(VirtioNetHdr.num_buffers, header.buffers ?? 1, true);
    }
    let at = 0;
    for (const { offset, length } of this.chain(head)) {
      const part = all.subarray(at, at + length);
      this.ring.memory.u8.set(part, offset);
      at += part.length;
    }
    return at;
  }

  /** Writes one element of the used ring, and does not show it. */
  push(id: number, length = 0): void {
    const at = this.ring.usedOffset + Used.Ring + VirtqUsedElem.size * (this.used & (this.ring.size - 1));
    this.view.setUint32(at + VirtqUsedElem.id, id, true);
    this.view.setUint32(at + VirtqUsedElem.len, length, true);
    this.used++;
  }

  /** With IN_ORDER a batch that was only read has one element, at its first slot, with its last head (§2.7.9). */
  pushBatch(heads: readonly number[]): void {
    const first = this.used;
    if (heads.length > 0) this.push(heads[heads.length - 1]);
    this.used = first + heads.length;
  }

  /** Shows the driver what was pushed. True if it has asked for an interrupt for that (§2.7.7.2). */
  publish(idx = this.used): boolean {
    const { ring, view } = this;
    const now = idx & 0xffff;
    view.setUint16(ring.usedOffset + Used.Idx, now, true);
    if (!this.eventIdx) return (view.getUint16(ring.availOffset, true) & Avail.NoInterrupt) === 0;
    // The specification's vring_need_event(), word for word.
    const needed = ((now - this.usedEvent - 1) & 0xffff) < ((now - this.signalled) & 0xffff);
    this.signalled = now;
    return needed;
  }

  /** The chain at which the driver wants its next interrupt (§2.7.7). */
  get usedEvent(): number {
    return this.view.getUint16(this.ring.availOffset + Avail.Ring + 2 * this.ring.size, true);
  }

  /** Asks for a doorbell at the next chain behind `unpopped` that it knows of, or for none (§2.7.10). */
  wantDoorbell(wanted: boolean, unpopped = 0): void {
    const { ring, view } = this;
    if (this.eventIdx) {
      const event = this.avail + unpopped - (wanted ? 0 : 1);
      view.setUint16(ring.usedOffset + Used.Ring + VirtqUsedElem.size * ring.size, event & 0xffff, true);
    } else {
      view.setUint16(ring.usedOffset, wanted ? 0 : Used.NoNotify, true);
    }
  }
}

export type Kind = 'plain' | 'mergeable' | 'split';
export const KINDS: readonly Kind[] = ['plain', 'mergeable', 'split'];
export const FEATURES: readonly (readonly FeatureName[])[] = [[], ['EventIdx', 'InOrder']];
export const HEADER_BYTES = 42;
export const FRAME_BYTES = 100;

/** A receive queue with its pools and its device, and what came in. */
export class Receiver {
  readonly ring: Virtqueue;
  readonly pool: FramePool;
  readonly payloads: FramePool;
  readonly rx: RxQueue;
  readonly frames: Uint8Array[] = [];
  device: MockDevice;

  constructor(
    readonly kind: Kind,
    readonly features: readonly FeatureName[] = [],
    size = 8,
    private readonly batch = new FrameBatch(size),
    memory = new Memory(new ArrayBuffer(2 ** 16)),
  ) {
    this.ring = new Virtqueue(memory, size, Features.of(...features));
    this.pool = new FramePool(memory, { count: size + 2, frameBytes: FRAME_BYTES });
    this.payloads = new FramePool(memory, { count: size + 2, frameBytes: FRAME_BYTES, headroom: 0, id: 7 });
    this.rx =
      kind === 'plain' ? new RxQueue(this.ring, this.pool, true)
      : kind === 'mergeable' ? new MergeableRxQueue(this.ring, this.pool, true)
      : new SplitRxQueue(this.ring, this.pool, true, HEADER_BYTES, this.payloads);
    this.device = new MockDevice(this.ring, features.includes('EventIdx'));
    this.rx.refill();
  }

  /** What a chain of this kind holds, header included. */
  get chainBytes(): number {
    return this.kind === 'split' ? HDR + HEADER_BYTES + FRAME_BYTES : HDR + FRAME_BYTES;
  }

  /** As a right device does it: a frame into as many chains as it needs, shown with the next publish(). */
  fill(number: number, length = 60): void {
    const frame = numbered(number, length);
    const buffers = Math.ceil((HDR + length) / this.chainBytes);
    let at = -HDR;
    for (let k = 0; k < buffers; k++) {
      const head = this.device.pop()!;
      const written = this.device.write(head, frame.subarray(Math.max(at, 0)), k === 0 ? { buffers } : null);
      this.device.push(head, written);
      at += written;
    }
  }

  /**
   * Takes what there is into `frames` and gives the buffers back, after a look that each entry lies in the buffer that its handle
   * names, and that nobody else has that.
   */
  drain(max?: number): number {
    const { batch, pool, payloads, kind } = this;
    const n = this.rx.receive(batch, max);
    let parts: Uint8Array[] = [];
    for (let i = 0; i < n; i++) {
      parts.push(this.taken(pool, batch.handle[i], batch.offset[i], batch.length[i]));
      if (kind === 'split') parts.push(this.taken(payloads, batch.payloadHandle[i], batch.payloadOffset[i], batch.payloadLength[i]));
      if ((batch.flags[i] & FrameFlag.More) !== 0) continue;
      this.frames.push(parts.length === 1 ? parts[0] : Buffer.concat(parts));
      parts = [];
    }
    if (parts.length > 0) throw new Error('half a frame at the end of a batch');
    return n;
  }

  /** Whether each buffer is in its pool or in the ring, and in one of them only. */
  balanced(): boolean {
    const held: number[] = [];
    this.ring.reclaimAll((handle) => held.push(handle));
    const out = this.pool.count - this.pool.available + this.payloads.count - this.payloads.available;
    return new Set(held).size === held.length && held.length === out;
  }

  /** What came in since the last call, each frame looked at byte by byte, as the numbers of fill(). */
  numbers(): number[] {
    return this.frames.splice(0).map((frame) => {
      const number = Buffer.from(frame).readUInt32BE(14);
      if (Buffer.compare(frame, numbered(number, frame.length)) !== 0) throw new Error(`frame ${number} has other bytes`);
      return number;
    });
  }

  /** drain() until nothing is left or the device is found out: then why. */
  drainAll(): RingcubeError | undefined {
    try {
      while (this.drain() > 0);
    } catch (error) {
      if (error instanceof RingcubeError) return error;
      throw error;
    }
    return undefined;
  }

  /** As a driver does it after ERR_DEVICE. */
  reset(): void {
    this.rx.recover();
    this.ring.restart();
    this.device = new MockDevice(this.ring, this.features.includes('EventIdx'));
  }

  private taken(pool: FramePool, handle: number, offset: number, length: number): Uint8Array {
    const frame = pool.offsetOf(handle);
    const start = pool.headroom === 0 ? frame : frame - HDR; // mergeable: a frame goes on where the header would be
    if (offset < start || offset + length > frame + FRAME_BYTES) {
      throw new Error(`entry [${offset}, ${offset + length}) is not in its buffer [${start}, ${frame + FRAME_BYTES})`);
    }
    const bytes = this.ring.memory.u8.slice(offset, offset + length);
    pool.put(handle);
    return bytes;
  }
}

export interface SentChain {
  number: number;
  bytes: Uint8Array;
  header: Uint8Array;
  buffers: number;
}

/** A transmit queue with a pool of frames and one of payloads, and its device. */
export class Transmitter {
  readonly ring: Virtqueue;
  readonly pool: FramePool;
  readonly payloads: FramePool;
  readonly tx: TxQueue;
  device: MockDevice;

  constructor(
    readonly features: readonly FeatureName[] = [],
    size = 8,
    memory = new Memory(new ArrayBuffer(2 ** 16)),
  ) {
    this.ring = new Virtqueue(memory, size, Features.of(...features));
    this.pool = new FramePool(memory, { count: size + 2, frameBytes: FRAME_BYTES });
    this.payloads = new FramePool(memory, { count: size + 2, frameBytes: FRAME_BYTES, headroom: 0, id: 7 });
    const pools: FramePool[] = [];
    pools[this.pool.id] = this.pool;
    pools[this.payloads.id] = this.payloads;
    this.tx = new TxQueue(this.ring, pools);
    this.device = new MockDevice(this.ring, features.includes('EventIdx'));
  }

  /** A frame in a buffer in which old bytes lie, also where the header goes; -1 if none is free. */
  load(number: number, length = 60): number {
    const handle = this.pool.get();
    if (handle === -1) return handle;
    const { u8 } = this.ring.memory;
    const offset = this.pool.offsetOf(handle);
    u8.fill(0xa5, offset - HDR, offset + FRAME_BYTES);
    u8.set(numbered(number, length), offset);
    return handle;
  }

  send(number: number, length = 60): boolean {
    const handle = this.load(number, length);
    if (handle === -1) return false;
    let sent = false;
    try {
      sent = this.tx.sendOne(handle, this.pool.offsetOf(handle), length);
    } finally {
      if (!sent) this.pool.put(handle);
    }
    return sent;
  }

  /** The frame with its first `cut` bytes in one buffer and the rest in another. */
  gather(number: number, cut: number, length = 60): boolean {
    const handle = this.load(number, length);
    const payload = this.payloads.get();
    if (handle !== -1 && payload !== -1) {
      const offset = this.payloads.offsetOf(payload);
      this.ring.memory.u8.set(numbered(number, length).subarray(cut), offset);
      if (this.tx.sendGather(handle, this.pool.offsetOf(handle), cut, payload, offset, length - cut)) return true;
    }
    if (handle !== -1) this.pool.put(handle);
    if (payload !== -1) this.payloads.put(payload);
    return false;
  }

  /** The device reads what was shown, without giving it back: each chain under its head. */
  readAll(): Map<number, SentChain> {
    const chains = new Map<number, SentChain>();
    for (const head of this.device.popAll()) {
      const all = this.device.read(head);
      const bytes = all.subarray(HDR);
      const number = bytes.length < 18 ? -1 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(14);
      chains.set(head, { number, bytes, header: all.subarray(0, HDR), buffers: this.device.chain(head).length });
    }
    return chains;
  }

  reset(): void {
    this.tx.recover();
    this.ring.restart();
    this.device = new MockDevice(this.ring, this.features.includes('EventIdx'));
  }
}
