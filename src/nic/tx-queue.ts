import { RingcubeError, specialise } from '../base/index.js';
import { type FrameBatch, PerBatch } from './batch.js';
import { VirtioNetHdr } from './layout.js';
import { type FramePool, poolOf } from './pool.js';
import { type Memory } from './region.js';
import { type Virtqueue } from './virtqueue.js';

const HDR = VirtioNetHdr.size;

/** Handles that the card is done with, and what puts them back, by pool. */
interface Buffers {
  readonly handles: Int32Array;
  readonly puts: ((from: number, to: number) => number)[];
}

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

  private readonly finished: Buffers;
  private readonly finishedSeconds: Buffers;
  private readonly takeFinished: () => number;
  private readonly writeHeader: ReturnType<typeof TxQueue.headers>;
  private readonly sends = new PerBatch((batch) => this.makeSend(batch));

  constructor(
    readonly ring: Virtqueue,
    private readonly pools: readonly (FramePool | undefined)[],
  ) {
    this.finished = { handles: new Int32Array(ring.size), puts: [] };
    this.finishedSeconds = { handles: new Int32Array(ring.size), puts: [] };
    this.takeFinished = ring.takesRead(this.finished.handles, this.finishedSeconds.handles);
    this.writeHeader = specialise(TxQueue.headers)(ring.memory, HDR);
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

  /**
   * Sends one frame at `offset`; false if there is no room. With `checksumStart` the transport checksum is left to the device
   * (VIRTIO_NET_F_CSUM): from there to the end of the frame, stored at `checksumStart + checksumOffset`, where the
   * pseudo-header's sum already is (§5.1.6.2).
   */
  sendOne(handle: number, offset: number, length: number, checksumStart = 0, checksumOffset = 0): boolean {
    if (this.room(1) === 0) return false;
    this.writeHeader(offset, checksumStart, checksumOffset);
    this.ring.offerOne(offset - HDR, HDR + length, handle);
    return true;
  }

  /**
   * Gather: headers in one buffer, payload in another where it lies. Both buffers become the card's; retain() the
   * payload before, once for each further chain it shall be on. Checksums as of sendOne().
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
      if (!this.sendOne(handle, offset, length, checksumStart, checksumOffset)) return false;
      this.pools[poolOf(payloadHandle)]!.put(payloadHandle);
      return true;
    }
    if (this.room(2) < 2) return false;
    this.writeHeader(offset, checksumStart, checksumOffset);
    this.ring.offerTwo(offset - HDR, HDR + length, 0, handle, payloadOffset, payloadLength, 0, payloadHandle);
    return true;
  }

  /** Shows the device what was sent. True if it wants a doorbell. */
  publish(): boolean {
    return this.ring.publish();
  }

  /** Puts what the card has finished back into its pools; returns how many buffers. @throws ERR_DEVICE */
  reclaim(): number {
    const n = this.takeFinished();
    if (n === 0) return 0;
    this.stalled = false;
    this.giveBack(this.finished, n);
    const { tookSeconds } = this.ring;
    if (tookSeconds > 0) this.giveBack(this.finishedSeconds, tookSeconds);
    return n + tookSeconds;
  }

  /** Nearly always all are of one pool. */
  private giveBack({ handles, puts }: Buffers, n: number): void {
    for (let i = 0; i < n; ) {
      const pool = poolOf(handles[i]);
      i += (puts[pool] ??= this.pools[pool]!.puts(handles))(i, n);
    }
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

  /** NEEDS_CSUM is 1, and goes with a place to start from. */
  private static readonly headers = ({ u16, i32 }: Memory, hdr: number) => {
    return (offset: number, checksumStart: number, checksumOffset: number): void => {
      const header = offset - hdr;
      u16[header >> 1] = checksumStart === 0 ? 0 : 1;
      i32[(header + 2) >> 2] = 0;
      i32[(header + 6) >> 2] = checksumStart | (checksumOffset << 16);
      u16[(header + 10) >> 1] = 0;
    };
  };
}
