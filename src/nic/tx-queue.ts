import { RingcubeError } from '../base/index.js';
import { type FrameBatch } from './batch.js';
import { VirtioNetHdr } from './layout.js';
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

  constructor(
    readonly ring: Virtqueue,
    private readonly pools: readonly (FramePool | undefined)[],
  ) {}

  /**
   * Sends entries [from, to) of a batch where they lie; returns how many the ring took. The rest stays the caller's.
   * publish() shows them to the device.
   */
  send(batch: FrameBatch, from = 0, to: number = batch.count): number {
    const { ring } = this;
    const n = Math.min(to - from, this.room(to - from));
    for (let i = from; i < from + n; i++) {
      const header = batch.offset[i]! - HDR;
      this.clearHeader(header);
      ring.offer(header, HDR + batch.length[i]!, 0, batch.handle[i]!);
    }
    return n;
  }

  /** Sends one frame at `offset`; false if there is no room. */
  sendOne(handle: number, offset: number, length: number): boolean {
    if (this.room(1) === 0) return false;
    this.clearHeader(offset - HDR);
    this.ring.offer(offset - HDR, HDR + length, 0, handle);
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
    if (this.room(2) < 2) return false;
    this.clearHeader(offset - HDR);
    this.ring.offerTwo(offset - HDR, HDR + length, handle, payloadOffset, payloadLength, payloadHandle, 0);
    return true;
  }

  /**
   * As sendOne(), with the transport checksum left to the device (VIRTIO_NET_F_CSUM): from `checksumStart` to the end
   * of the frame, stored at `checksumStart + checksumOffset`, where the pseudo-header's sum already is (§5.1.6.2).
   */
  sendPartialChecksum(handle: number, offset: number, length: number, checksumStart: number, checksumOffset: number): boolean {
    if (this.room(1) === 0) return false;
    const { u8, u16 } = this.ring.memory;
    const header = offset - HDR;
    this.clearHeader(header);
    u8[header + VirtioNetHdr.flags] = 1;
    u16[(header + VirtioNetHdr.csum_start) >> 1] = checksumStart;
    u16[(header + VirtioNetHdr.csum_offset) >> 1] = checksumOffset;
    this.ring.offer(header, HDR + length, 0, handle);
    return true;
  }

  /** Shows the device what was sent. True if it wants a doorbell. */
  publish(): boolean {
    return this.ring.publish();
  }

  /** Puts what the card has finished back into its pools; returns how many chains. @throws ERR_DEVICE */
  reclaim(): number {
    const { ring, pools } = this;
    const n = ring.used();
    for (let i = 0; i < n; i++) {
      const id = ring.usedHeadRead(i);
      const handle = ring.handles[id]!;
      pools[poolOf(handle)]!.put(handle);
      const second = ring.seconds[id]!;
      if (second >= 0) pools[poolOf(second)]!.put(second);
      ring.release(id);
    }
    ring.take(n);
    if (n > 0) this.stalled = false;
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

  // §5.1.6.2.1: no flags, no segmentation, num_buffers 0. The header is 2 mod 4, hence the two halves.
  private clearHeader(header: number): void {
    const { u16, u32 } = this.ring.memory;
    u16[header >> 1] = 0;
    u32[(header + 2) >> 2] = 0;
    u32[(header + 6) >> 2] = 0;
    u16[(header + 10) >> 1] = 0;
  }
}
