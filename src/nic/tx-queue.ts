import { RingcubeError } from '../base/index.js';
import { type FrameBatch } from './batch.js';
import { Hdr, VirtioNetHdr } from './layout.js';
import { type FramePool, poolOf } from './pool.js';
import { type Virtqueue } from './virtqueue.js';

const HDR = VirtioNetHdr.size;

/**
 * A transmit queue. A buffer that was sent is the card's until reclaim() puts it back into its pool. Each frame has 12
 * bytes of headroom, where its virtio_net_hdr goes.
 */
export class TxQueue {
  /** Send came short of room since the last reclaim(): the driver then asks for an interrupt. */
  stalled = false;

  private readonly finished: Int32Array;
  private readonly oneHandle = new Int32Array(1);
  private readonly oneOffset = new Int32Array(1);
  private readonly oneLength = new Int32Array(1);

  constructor(
    readonly ring: Virtqueue,
    private readonly pools: readonly (FramePool | undefined)[],
  ) {
    this.finished = new Int32Array(2 * ring.size);
  }

  /**
   * Sends entries [from, to) of a batch where they lie; returns how many the ring took. The rest stays the caller's.
   * publish() shows them to the device.
   */
  send(batch: FrameBatch, from = 0, to: number = batch.count): number {
    const n = Math.min(to - from, this.room(to - from));
    this.clearHeaders(batch.offset, from, n);
    this.ring.offerFilled(batch.handle, batch.offset, batch.length, from, n, HDR);
    return n;
  }

  /** Sends one frame at `offset`; false if there is no room. */
  sendOne(handle: number, offset: number, length: number): boolean {
    if (this.room(1) === 0) return false;
    this.oneHandle[0] = handle;
    this.oneOffset[0] = offset;
    this.oneLength[0] = length;
    this.clearHeaders(this.oneOffset, 0, 1);
    this.ring.offerFilled(this.oneHandle, this.oneOffset, this.oneLength, 0, 1, HDR);
    return true;
  }

  /**
   * Gather: headers in one buffer, payload in another where it lies. Both buffers become the card's; retain() the
   * payload before, once for each further chain it shall be on.
   */
  sendGather(
    handle: number,
    offset: number,
    length: number,
    payloadHandle: number,
    payloadOffset: number,
    payloadLength: number,
  ): boolean {
    if (payloadLength === 0) {
      // An empty buffer is none: cards (ours and QEMU's among them) stop a queue that has one.
      if (!this.sendOne(handle, offset, length)) return false;
      this.pools[poolOf(payloadHandle)]!.put(payloadHandle);
      return true;
    }
    if (this.room(2) < 2) return false;
    this.oneOffset[0] = offset;
    this.clearHeaders(this.oneOffset, 0, 1);
    this.ring.offerTwo(offset - HDR, HDR + length, 0, handle, payloadOffset, payloadLength, 0, payloadHandle);
    return true;
  }

  /**
   * As sendOne(), with the transport checksum left to the device (VIRTIO_NET_F_CSUM): from `checksumStart` to the end
   * of the frame, stored at `checksumStart + checksumOffset`, where the pseudo-header's sum already is (§5.1.6.2).
   */
  sendPartialChecksum(handle: number, offset: number, length: number, checksumStart: number, checksumOffset: number): boolean {
    if (!this.sendOne(handle, offset, length)) return false;
    // The device has not seen it yet: it is shown by publish().
    const { u8, u16 } = this.ring.memory;
    const header = offset - HDR;
    u8[header + VirtioNetHdr.flags] = Hdr.NeedsCsum;
    u16[(header + VirtioNetHdr.csum_start) >> 1] = checksumStart;
    u16[(header + VirtioNetHdr.csum_offset) >> 1] = checksumOffset;
    return true;
  }

  /** Shows the device what was sent. True if it wants a doorbell. */
  publish(): boolean {
    return this.ring.publish();
  }

  /** Puts what the card has finished back into its pools; returns how many buffers. @throws ERR_DEVICE */
  reclaim(): number {
    const { ring, pools, finished } = this;
    const n = ring.takeRead(finished);
    if (n === 0) return 0;
    this.stalled = false;
    // Nearly always all are of one pool.
    const pool = poolOf(finished[0]);
    let same = 1;
    while (same < n && poolOf(finished[same]) === pool) same++;
    pools[pool]!.putMany(same, finished);
    for (let i = same; i < n; i++) pools[poolOf(finished[i])]!.put(finished[i]);
    return n;
  }

  recover(): void {
    this.ring.reclaimAll((handle) => {
      this.pools[poolOf(handle)]!.put(handle);
    });
    this.stalled = false;
  }

  private room(wanted: number): number {
    const room = this.ring.room;
    if (room < wanted) this.stalled = true;
    if (this.ring.fault !== '') throw new RingcubeError('ERR_QUEUE_BROKEN', `transmit queue: ${this.ring.fault}; reset it to go on`);
    return room;
  }

  // §5.1.6.2.1: no flags, no segmentation, num_buffers 0. A header is 2 mod 4, hence the two halves.
  private clearHeaders(offsets: Int32Array, from: number, n: number): void {
    const { u16, i32 } = this.ring.memory;
    for (let i = from; i < from + n; i++) {
      const header = offsets[i] - HDR;
      u16[header >> 1] = 0;
      i32[(header + 2) >> 2] = 0;
      i32[(header + 6) >> 2] = 0;
      u16[(header + 10) >> 1] = 0;
    }
  }
}
