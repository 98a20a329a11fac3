import { type FrameBatch, FrameFlag } from './batch.js';
import { Desc, Hdr, VirtioNetHdr } from './layout.js';
import { type FramePool } from './pool.js';
import { type Virtqueue } from './virtqueue.js';

const HDR = VirtioNetHdr.size;

/** A receive queue: posts empty buffers and takes frames out, in batches. One buffer holds a whole frame. */
export class RxQueue {
  constructor(
    readonly ring: Virtqueue,
    readonly pool: FramePool,
  ) {}

  /** Posts buffers as far as ring and pool allow. True if the device wants a doorbell. */
  refill(): boolean {
    const { ring, pool } = this;
    const length = HDR + pool.frameBytes;
    for (let n = Math.min(ring.room, pool.available); n > 0; n--) {
      const handle = pool.get();
      ring.offer(pool.offsetOf(handle) - HDR, length, Desc.Write, handle);
    }
    return ring.publish();
  }

  /**
   * Takes at most `max` frames (and no more than the batch holds) into `batch`; returns how many entries.
   * @throws ERR_DEVICE if the device broke the protocol; the queue then wants a reset.
   */
  receive(batch: FrameBatch, max: number = batch.capacity): number {
    const { ring, pool } = this;
    const n = Math.min(ring.used(), max, batch.capacity);
    let i = 0;
    try {
      for (; i < n; i++) {
        const id = ring.usedHead(i);
        const length = ring.usedLength(i, id);
        if (length < HDR) ring.fail(`a frame of ${length} bytes has no header`);
        const handle = ring.handles[id]!;
        const offset = pool.offsetOf(handle);
        batch.handle[i] = handle;
        batch.offset[i] = offset;
        batch.length[i] = length - HDR;
        batch.flags[i] = (ring.memory.u8[offset - HDR]! & Hdr.DataValid) >> 1;
        ring.release(id);
      }
    } catch (error) {
      if (i === 0) throw error; // else what came before is good, and the next call throws
    }
    ring.take(i);
    batch.count = i;
    return i;
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
    const ready = ring.used();
    const room = Math.min(max, batch.capacity);
    let whole = 0; // entries of complete frames
    let n = 0;
    try {
      while (whole < ready) {
        const buffers = this.buffersOf(whole, ready);
        if (whole + buffers > room) {
          if (whole === 0) ring.fail(`a frame of ${buffers} buffers is over the batch's ${room}`);
          break;
        }
        let flags = 0;
        for (let k = 0; k < buffers; k++, n++) {
          const id = ring.usedHead(n);
          const length = ring.usedLength(n, id);
          const header = k === 0 ? HDR : 0;
          if (length < header) ring.fail(`a frame of ${length} bytes has no header`);
          const handle = ring.handles[id]!;
          // Only the first buffer starts with a header: in the others the frame goes on where that would be.
          const offset = pool.offsetOf(handle) - HDR + header;
          if (k === 0) flags = (ring.memory.u8[offset - HDR]! & Hdr.DataValid) >> 1;
          batch.handle[n] = handle;
          batch.offset[n] = offset;
          batch.length[n] = length - header;
          batch.flags[n] = flags | (k + 1 < buffers ? FrameFlag.More : 0);
          ring.release(id);
        }
        whole = n;
      }
    } catch (error) {
      while (n > whole) pool.put(batch.handle[--n]!);
      if (whole === 0) throw error;
    }
    ring.take(whole);
    batch.count = whole;
    return whole;
  }

  // The device shows all buffers of a frame at once (§5.1.6.4.1): fewer is a broken promise.
  private buffersOf(i: number, ready: number): number {
    const { ring, pool } = this;
    const header = pool.offsetOf(ring.handles[ring.usedHead(i)]!) - HDR;
    const buffers = ring.memory.u16[(header + VirtioNetHdr.num_buffers) >> 1]!;
    if (buffers === 0 || buffers > ready - i) ring.fail(`a frame of ${buffers} buffers, of which ${ready - i} are there`);
    return buffers;
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
    /** 42 for Ethernet, IPv4 and UDP; 62 with IPv6. */
    readonly headerBytes: number,
    readonly payloads: FramePool,
  ) {
    super(ring, headers);
  }

  override refill(): boolean {
    const { ring, pool, payloads } = this;
    const length = HDR + this.headerBytes;
    for (let n = Math.min(ring.room >> 1, pool.available, payloads.available); n > 0; n--) {
      const handle = pool.get();
      const payload = payloads.get();
      ring.offerTwo(pool.offsetOf(handle) - HDR, length, handle, payloads.offsetOf(payload), payloads.frameBytes, payload, Desc.Write);
    }
    return ring.publish();
  }

  override receive(batch: FrameBatch, max: number = batch.capacity): number {
    const { ring, pool, payloads, headerBytes } = this;
    const n = Math.min(ring.used(), max, batch.capacity);
    let i = 0;
    try {
      for (; i < n; i++) {
        const id = ring.usedHead(i);
        const length = ring.usedLength(i, id) - HDR;
        if (length < 0) ring.fail(`a frame of ${length + HDR} bytes has no header`);
        const handle = ring.handles[id]!;
        const payload = ring.seconds[id]!;
        const offset = pool.offsetOf(handle);
        batch.handle[i] = handle;
        batch.offset[i] = offset;
        batch.length[i] = Math.min(length, headerBytes);
        batch.flags[i] = (ring.memory.u8[offset - HDR]! & Hdr.DataValid) >> 1;
        batch.payloadHandle[i] = payload;
        batch.payloadOffset[i] = payloads.offsetOf(payload);
        batch.payloadLength[i] = Math.max(0, length - headerBytes);
        ring.release(id);
      }
    } catch (error) {
      if (i === 0) throw error;
    }
    ring.take(i);
    batch.count = i;
    return i;
  }

  override recover(): void {
    this.ring.reclaimAll((handle) => {
      (handle >>> 24 === this.payloads.id ? this.payloads : this.pool).put(handle);
    });
  }
}
