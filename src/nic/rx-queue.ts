import { specialise } from '../base/index.js';
import { type FrameBatch, FrameFlag, PerBatch } from './batch.js';
import { Hdr, VirtioNetHdr } from './layout.js';
import { type FramePool, poolOf } from './pool.js';
import { NOBODY, type Virtqueue } from './virtqueue.js';

const HDR = VirtioNetHdr.size;

/** What a queue does with a batch, for `n` entries. */
interface Receive {
  /** From the ring: handles and lengths. */
  take(n: number): number;
  /** From the pool: offsets. */
  locate(n: number): void;
  /** From the frames' headers: flags. */
  verify(n: number): void;
}

/** A receive queue: posts empty buffers and takes frames out, in batches. One buffer holds a whole frame. */
export class RxQueue {
  protected readonly receives = new PerBatch((batch) => this.makeReceive(batch));
  private readonly getEmpty: (n: number) => void;
  private readonly offerEmpty: (from: number, n: number) => void;

  constructor(
    readonly ring: Virtqueue,
    readonly pool: FramePool,
    /** Whether the device verifies checksums and says so in each header. */
    protected readonly checksums: boolean,
    /** Bytes ahead of a frame that do not count for its length. */
    private readonly headerBytes: number = HDR,
  ) {
    const handles = new Int32Array(ring.size);
    const offsets = new Int32Array(ring.size);
    this.getEmpty = pool.gets(handles, offsets);
    this.offerEmpty = ring.offersEmpty(handles, offsets, HDR, HDR + pool.frameBytes);
  }

  private makeReceive(batch: FrameBatch): Receive {
    const { ring, pool } = this;
    return {
      take: ring.takesWritten(batch.handle, batch.length, this.headerBytes),
      locate: pool.locates(batch.handle, batch.offset),
      verify: specialise(RxQueue.verifies)(ring.memory.u8, batch.offset, batch.flags, HDR, Hdr.DataValid),
    };
  }

  protected static readonly verifies = (u8: Uint8Array, offsets: Int32Array, flags: Uint8Array, header: number, valid: number) => {
    return (n: number): void => {
      for (let i = 0; i < n; i++) flags[i] = (u8[offsets[i] - header] & valid) >> 1;
    };
  };

  /** Posts buffers as far as ring and pool allow. True if the device wants a doorbell. */
  refill(): boolean {
    const { ring } = this;
    const n = Math.min(ring.room, this.pool.available);
    if (n === 0) return false;
    this.getEmpty(n);
    this.offerEmpty(0, n);
    return ring.publish();
  }

  /**
   * Takes at most `max` frames (and no more than the batch holds) into `batch`; returns how many entries. A batch is meant
   * to be used again and again: loops are compiled for it.
   * @throws ERR_DEVICE if the device broke the protocol; the queue then wants a reset.
   */
  receive(batch: FrameBatch, max: number = batch.capacity): number {
    const receive = this.receives.get(batch);
    const n = receive.take(Math.min(this.ring.used(), max, batch.capacity));
    receive.locate(n);
    if (this.checksums) receive.verify(n);
    batch.count = n;
    return n;
  }

  /** Everything the device holds goes back to the pools: after a queue reset, before restart(). */
  recover(): void {
    this.ring.reclaimAll((handle) => {
      this.pool.put(handle);
    });
  }
}

/** With VIRTIO_NET_F_MRG_RXBUF a frame may fill several buffers: entries with FrameFlag.More go on in the next one. */
export class MergeableRxQueue extends RxQueue {
  constructor(ring: Virtqueue, pool: FramePool, checksums: boolean) {
    super(ring, pool, checksums, 0);
  }

  override receive(batch: FrameBatch, max: number = batch.capacity): number {
    const { ring, pool } = this;
    const { u8, u16 } = ring.memory;
    const { handle, offset, length, flags } = batch;
    const ready = ring.used();
    // As many whole frames as fit; the first one whatever `max` is. The device shows all buffers of a frame at once
    // (§5.1.6.4.1).
    let whole = 0;
    while (whole < ready && whole < max) {
      const owner = ring.peekOwner(whole);
      if (owner === NOBODY) break;
      const buffers = u16[(pool.offsetOf(owner) - HDR + VirtioNetHdr.num_buffers) >> 1];
      if (whole > 0 && whole + buffers > Math.min(max, batch.capacity)) break;
      if (buffers === 0 || buffers > ready - whole) {
        ring.fault = `a frame of ${buffers} buffers, of which ${ready - whole} are there`;
        break;
      }
      if (buffers > batch.capacity) {
        ring.fault = `a frame of ${buffers} buffers is over the batch's ${batch.capacity}`;
        break;
      }
      for (let k = 0; k < buffers; k++) flags[whole + k] = k + 1 < buffers ? FrameFlag.More : 0;
      whole += buffers;
    }
    const receive = this.receives.get(batch);
    let n = receive.take(whole);
    // Half a frame is none.
    if (n < whole) while (n > 0 && (flags[n - 1] & FrameFlag.More) !== 0) pool.put(handle[--n]);
    receive.locate(n);
    let valid = 0;
    for (let i = 0; i < n; i++) {
      if (i > 0 && (flags[i - 1] & FrameFlag.More) !== 0) {
        offset[i] = offset[i] - HDR; // only the first buffer starts with a header
      } else if (length[i] >= HDR) {
        length[i] = length[i] - HDR;
        valid = (u8[offset[i] - HDR] & Hdr.DataValid) >> 1;
      } else {
        ring.fault = `a frame of ${length[i]} bytes has no header`;
        while (n > i) pool.put(handle[--n]);
        break;
      }
      flags[i] = flags[i] | valid;
    }
    if (n === 0 && ring.fault !== '') ring.fail(ring.fault);
    batch.count = n;
    return n;
  }
}

/**
 * A queue for one steered flow: chains [headers, of exactly the flow's header length][payload], in buffers of two
 * pools, so that whoever gets the payload's pool never sees a header.
 */
export class SplitRxQueue extends RxQueue {
  private readonly splits = new PerBatch((batch) => this.makeSplit(batch));
  private readonly getBoth: (n: number) => void;
  private readonly offerBoth: (n: number) => void;

  constructor(
    ring: Virtqueue,
    headers: FramePool,
    checksums: boolean,
    /** 42 for Ethernet, IPv4 and UDP; 62 with IPv6. */
    readonly splitBytes: number,
    readonly payloads: FramePool,
  ) {
    super(ring, headers, checksums);
    const [handles, offsets, payloadHandles, payloadOffsets] = Array.from({ length: 4 }, () => new Int32Array(ring.size));
    const getHeaders = headers.gets(handles, offsets);
    const getPayloads = payloads.gets(payloadHandles, payloadOffsets);
    this.getBoth = (n) => {
      getHeaders(n);
      getPayloads(n);
    };
    this.offerBoth = ring.offersEmptyTwo(handles, offsets, HDR, HDR + splitBytes, payloadHandles, payloadOffsets, payloads.frameBytes);
  }

  private makeSplit({ handle, length, offset, flags, payloadHandle, payloadOffset, payloadLength }: FrameBatch): Receive & { split: (n: number) => void } {
    const { ring, pool, payloads } = this;
    const locateHeaders = pool.locates(handle, offset);
    const locatePayloads = payloads.locates(payloadHandle, payloadOffset);
    return {
      take: ring.takesWritten(handle, length, HDR, payloadHandle),
      locate: (n) => {
        locateHeaders(n);
        locatePayloads(n);
      },
      verify: specialise(RxQueue.verifies)(ring.memory.u8, offset, flags, HDR, Hdr.DataValid),
      split: specialise(SplitRxQueue.splitting)(length, payloadLength, this.splitBytes),
    };
  }

  private static readonly splitting = (lengths: Int32Array, payloadLengths: Int32Array, splitBytes: number) => (n: number): void => {
    for (let i = 0; i < n; i++) {
      const bytes = lengths[i];
      const header = bytes < splitBytes ? bytes : splitBytes;
      lengths[i] = header;
      payloadLengths[i] = bytes - header;
    }
  };

  override refill(): boolean {
    const n = Math.min(this.ring.room >> 1, this.pool.available, this.payloads.available);
    if (n === 0) return false;
    this.getBoth(n);
    this.offerBoth(n);
    return this.ring.publish();
  }

  override receive(batch: FrameBatch, max: number = batch.capacity): number {
    const receive = this.splits.get(batch);
    const n = receive.take(Math.min(this.ring.used(), max, batch.capacity));
    receive.locate(n);
    receive.split(n);
    if (this.checksums) receive.verify(n);
    batch.count = n;
    return n;
  }

  override recover(): void {
    this.ring.reclaimAll((handle) => {
      (poolOf(handle) === this.payloads.id ? this.payloads : this.pool).put(handle);
    });
  }
}
