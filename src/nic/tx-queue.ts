import { RingcubeError, specialise } from '../base/index.js';
import { FrameBatch, PerBatch } from './batch.js';
import { Hdr, VirtioNetHdr } from './layout.js';
import { type FramePool, poolOf } from './pool.js';
import { type Memory } from './region.js';
import { type Virtqueue } from './virtqueue.js';

const HDR = VirtioNetHdr.size;

/** What a queue does with a batch, for `n` entries from `from` on. */
interface Send {
  /** The frames' virtio_net_hdr. */
  clear(from: number, n: number): void;
  /** To the ring. */
  offer(from: number, n: number): void;
}

/**
 * A transmit queue. A buffer that was sent is the card's until reclaim() puts it back into its pool. Each frame has 12
 * bytes of headroom, where its virtio_net_hdr goes.
 */
export class TxQueue {
  /** Send came short of room since the last reclaim(): the driver then asks for an interrupt. */
  stalled = false;

  private readonly finished: Int32Array;
  private readonly takeFinished: () => number;
  /** By pool. */
  private readonly putFinished: ((from: number, to: number) => number)[] = [];
  private readonly one = new FrameBatch(1);
  private readonly sendOfOne: Send;
  private readonly sends = new PerBatch((batch) => this.makeSend(batch));

  constructor(
    readonly ring: Virtqueue,
    private readonly pools: readonly (FramePool | undefined)[],
  ) {
    this.finished = new Int32Array(2 * ring.size);
    this.takeFinished = ring.takesRead(this.finished);
    this.sendOfOne = this.makeSend(this.one);
  }

  /**
   * Sends entries [from, to) of a batch where they lie; returns how many the ring took. The rest stays the caller's.
   * publish() shows them to the device. A batch is meant to be used again and again: loops are compiled for it.
   */
  send(batch: FrameBatch, from = 0, to: number = batch.count): number {
    const n = Math.min(to - from, this.room(to - from));
    const send = this.sends.get(batch);
    send.clear(from, n);
    send.offer(from, n);
    return n;
  }

  /** Sends one frame at `offset`; false if there is no room. */
  sendOne(handle: number, offset: number, length: number): boolean {
    const { one, sendOfOne } = this;
    if (this.room(1) === 0) return false;
    one.handle[0] = handle;
    one.offset[0] = offset;
    one.length[0] = length;
    sendOfOne.clear(0, 1);
    sendOfOne.offer(0, 1);
    return true;
  }

  /**
   * Gather: headers in one buffer, payload in another where it lies. Both buffers become the card's; retain() the
   * payload before, once for each further chain it shall be on. `checksumStart` and `checksumOffset` as of
   * sendPartialChecksum(); 0: nothing is left to the device.
   */
  sendGather(
    handle: number,
    offset: number,
    length: number,
    payloadHandle: number,
    payloadOffset: number,
    payloadLength: number,
    checksumStart = 0,
    checksumOffset = 0,
  ): boolean {
    if (payloadLength === 0) {
      // An empty buffer is none: cards (ours and QEMU's among them) stop a queue that has one.
      if (!this.sendOne(handle, offset, length)) return false;
      this.pools[poolOf(payloadHandle)]!.put(payloadHandle);
    } else {
      if (this.room(2) < 2) return false;
      const { u16 } = this.ring.memory;
      const header = (offset - HDR) >> 1;
      for (let i = 0; i < HDR >> 1; i++) u16[header + i] = 0;
      this.ring.offerTwo(offset - HDR, HDR + length, 0, handle, payloadOffset, payloadLength, 0, payloadHandle);
    }
    if (checksumStart !== 0) this.leaveChecksum(offset, checksumStart, checksumOffset);
    return true;
  }

  /**
   * As sendOne(), with the transport checksum left to the device (VIRTIO_NET_F_CSUM): from `checksumStart` to the end
   * of the frame, stored at `checksumStart + checksumOffset`, where the pseudo-header's sum already is (§5.1.6.2).
   */
  sendPartialChecksum(handle: number, offset: number, length: number, checksumStart: number, checksumOffset: number): boolean {
    if (!this.sendOne(handle, offset, length)) return false;
    this.leaveChecksum(offset, checksumStart, checksumOffset);
    return true;
  }

  // The device has not seen the frame yet: it is shown by publish().
  private leaveChecksum(offset: number, checksumStart: number, checksumOffset: number): void {
    const { u8, u16 } = this.ring.memory;
    const header = offset - HDR;
    u8[header + VirtioNetHdr.flags] = Hdr.NeedsCsum;
    u16[(header + VirtioNetHdr.csum_start) >> 1] = checksumStart;
    u16[(header + VirtioNetHdr.csum_offset) >> 1] = checksumOffset;
  }

  /** Shows the device what was sent. True if it wants a doorbell. */
  publish(): boolean {
    return this.ring.publish();
  }

  /** Puts what the card has finished back into its pools; returns how many buffers. @throws ERR_DEVICE */
  reclaim(): number {
    const { pools, finished, putFinished } = this;
    const n = this.takeFinished();
    if (n === 0) return 0;
    this.stalled = false;
    // Nearly always all are of one pool.
    for (let i = 0; i < n; ) {
      const pool = poolOf(finished[i]);
      i += (putFinished[pool] ??= pools[pool]!.puts(finished))(i, n);
    }
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

  private makeSend({ handle, offset, length }: FrameBatch): Send {
    const { ring } = this;
    return {
      clear: specialise(TxQueue.clears)(ring.memory, offset, HDR),
      offer: ring.offersFilled(handle, offset, length, HDR),
    };
  }

  // §5.1.6.2.1: no flags, no segmentation, num_buffers 0. A header is 2 mod 4, hence the two halves.
  private static readonly clears = ({ u16, i32 }: Memory, offsets: Int32Array, hdr: number) => {
    return (from: number, n: number): void => {
      const to = from + n;
      for (let i = from; i < to; i++) {
        const header = offsets[i] - hdr;
        u16[header >> 1] = 0;
        i32[(header + 2) >> 2] = 0;
        i32[(header + 6) >> 2] = 0;
        u16[(header + 10) >> 1] = 0;
      }
    };
  };
}
