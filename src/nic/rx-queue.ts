import { type FrameBatch, FrameFlag } from './batch.js';
import { Desc, Hdr, VirtioNetHdr } from './layout.js';
import { type FramePool, poolOf } from './pool.js';
import { NOBODY, type Virtqueue } from './virtqueue.js';

const HDR = VirtioNetHdr.size;

/** A receive queue: posts empty buffers and takes frames out, in batches. One buffer holds a whole frame. */
export class RxQueue {
  private readonly handles: Int32Array;
  private readonly offsets: Int32Array;

  constructor(
    readonly ring: Virtqueue,
    readonly pool: FramePool,
    /** Whether the device verifies checksums and says so in each header. */
    protected readonly checksums: boolean,
  ) {
    this.handles = new Int32Array(ring.size);
    this.offsets = new Int32Array(ring.size);
  }

  /** Posts buffers as far as ring and pool allow. True if the device wants a doorbell. */
  refill(): boolean {
    const { ring, pool, handles, offsets } = this;
    const n = Math.min(ring.room, pool.available);
    if (n === 0) return false;
    pool.getMany(n, handles, offsets);
    ring.offerEmpty(handles, offsets, n, HDR, HDR + pool.frameBytes);
    return ring.publish();
  }

  /**
   * Takes at most `max` frames (and no more than the batch holds) into `batch`; returns how many entries.
   * @throws ERR_DEVICE if the device broke the protocol; the queue then wants a reset.
   */
  receive(batch: FrameBatch, max: number = batch.capacity): number {
    const { ring, pool } = this;
    const { handle, offset, length, flags } = batch;
    const n = ring.takeWritten(Math.min(ring.used(), max, batch.capacity), handle, length, HDR);
    pool.offsetsOf(n, handle, offset);
    if (this.checksums) {
      const { u8 } = ring.memory;
      for (let i = 0; i < n; i++) flags[i] = (u8[offset[i] - HDR] & Hdr.DataValid) >> 1;
    }
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
    let n = ring.takeWritten(whole, handle, length, 0);
    // Half a frame is none.
    if (n < whole) while (n > 0 && (flags[n - 1] & FrameFlag.More) !== 0) pool.put(handle[--n]);
    pool.offsetsOf(n, handle, offset);
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
  constructor(
    ring: Virtqueue,
    headers: FramePool,
    checksums: boolean,
    /** 42 for Ethernet, IPv4 and UDP; 62 with IPv6. */
    readonly headerBytes: number,
    readonly payloads: FramePool,
  ) {
    super(ring, headers, checksums);
  }

  override refill(): boolean {
    const { ring, pool, payloads, headerBytes } = this;
    for (let n = Math.min(ring.room >> 1, pool.available, payloads.available); n > 0; n--) {
      const handle = pool.get();
      const payload = payloads.get();
      ring.offerTwo(
        pool.offsetOf(handle) - HDR,
        HDR + headerBytes,
        Desc.Write,
        handle,
        payloads.offsetOf(payload),
        payloads.frameBytes,
        Desc.Write,
        payload,
      );
    }
    return ring.publish();
  }

  override receive(batch: FrameBatch, max: number = batch.capacity): number {
    const { ring, pool, payloads, headerBytes } = this;
    const { handle, offset, length, flags, payloadHandle, payloadOffset, payloadLength } = batch;
    const n = ring.takeWrittenTwo(Math.min(ring.used(), max, batch.capacity), handle, payloadHandle, length, HDR);
    pool.offsetsOf(n, handle, offset);
    payloads.offsetsOf(n, payloadHandle, payloadOffset);
    for (let i = 0; i < n; i++) {
      const bytes = length[i];
      length[i] = Math.min(bytes, headerBytes);
      payloadLength[i] = bytes - length[i];
      if (this.checksums) flags[i] = (ring.memory.u8[offset[i] - HDR] & Hdr.DataValid) >> 1;
    }
    batch.count = n;
    return n;
  }

  override recover(): void {
    this.ring.reclaimAll((handle) => {
      (poolOf(handle) === this.payloads.id ? this.payloads : this.pool).put(handle);
    });
  }
}
