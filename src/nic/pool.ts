import { RingcubeError, invalid, specialise } from '../base/index.js';
import { VirtioNetHdr } from './layout.js';
import { type Memory } from './region.js';

/** A handle is pool id × 2^24 + index, so that a queue can give buffers of several pools back. */
const INDEX_BITS = 24;
const INDEX_MASK = 2 ** INDEX_BITS - 1;
export const MAX_POOLS = 64;

/**
 * Where a frame starts in its buffer: 58 bytes of headroom, of which the last 12 are the virtio_net_hdr. 58 ≡ 2 mod 8
 * puts IPv4 and UDP headers on their alignment, and header and a 64-byte frame into two cache lines instead of three.
 */
export const HEADROOM = 58;

export const poolOf = (handle: number): number => handle >>> INDEX_BITS;

export interface FramePoolOptions {
  /** Buffers, 1 to 2^24. */
  count: number;
  /** What a buffer can hold behind `headroom`, in bytes. */
  frameBytes: number;
  /** Bytes before the frame, ≥ 12 for the virtio_net_hdr and ≡ 2 mod 8, or 0 for payloads; default HEADROOM. */
  headroom?: number;
  /** Distinguishes the pools of one driver; default 0. */
  id?: number;
  /** Where it lies, in a part of memory that was reserved before, `count` strides long; default: reserves it. */
  at?: number;
}

/**
 * Buffers of one size in a region, with a count of users each: one payload may be on several transmit chains.
 *
 *     base ─▶ | headroom … hdr | frame … | headroom … hdr | frame … |
 *             |◀──── strideBytes ───────▶|
 */
export class FramePool {
  readonly id: number;
  readonly count: number;
  readonly frameBytes: number;
  readonly headroom: number;
  readonly base: number;
  readonly strideBytes: number;
  private readonly stack: Int32Array;
  /** Users beyond the first, and the sum of them: while it is 0, which is nearly always, no count need be looked at. */
  private readonly extra: Uint32Array;
  private extras = 0;
  private top: number;

  constructor(memory: Memory, options: FramePoolOptions) {
    const { count, frameBytes, headroom = HEADROOM, id = 0 } = options;
    if (!Number.isInteger(count) || count < 1 || count > INDEX_MASK + 1) throw invalid('count', count, 'from 1 to 2^24 buffers');
    if (!Number.isInteger(frameBytes) || frameBytes < 1 || frameBytes > 2 ** 20) throw invalid('frameBytes', frameBytes, 'from 1 to 2^20');
    if (headroom !== 0 && !(headroom >= VirtioNetHdr.size && headroom % 8 === 2)) {
      throw invalid('headroom', headroom, `0 for payloads, else at least ${VirtioNetHdr.size} bytes and 2 more than a multiple of 8`);
    }
    if (!Number.isInteger(id) || id < 0 || id >= MAX_POOLS) throw invalid('id', id, `from 0 to ${MAX_POOLS - 1}`);
    this.strideBytes = FramePool.strideOf(headroom + frameBytes);
    this.base = options.at ?? memory.reserve(this.strideBytes * count);
    this.id = id;
    this.count = count;
    this.frameBytes = frameBytes;
    this.headroom = headroom;
    this.stack = Int32Array.from({ length: count }, (_, i) => id * (INDEX_MASK + 1) + count - 1 - i);
    this.extra = new Uint32Array(count);
    this.top = count;
  }

  /**
   * From one buffer to the next, for buffers of so many bytes. An odd number of cache lines: at a stride of a power of two, all
   * buffers' first lines would fall into the same few sets of the cache.
   */
  static strideOf(bytes: number): number {
    return (Math.ceil(bytes / 64) | 1) * 64;
  }

  /** Buffers that nobody uses. */
  get available(): number {
    return this.top;
  }

  /** A buffer with one user, as its handle; -1 if none is left. */
  get(): number {
    return this.top === 0 ? -1 : this.stack[--this.top];
  }

  /** One more user. */
  retain(handle: number): void {
    this.extra[this.indexOf(handle)]++;
    this.extras++;
  }

  /**
   * One user less; the last one gives the buffer back.
   * @throws ERR_INVALID_ARGUMENT for a handle of another pool, or if more buffers come back than went out.
   */
  put(handle: number): void {
    const index = this.indexOf(handle);
    if (this.extra[index] !== 0) {
      this.extra[index]--;
      this.extras--;
      return;
    }
    if (this.top === this.count) throw new RingcubeError('ERR_INVALID_ARGUMENT', `pool ${this.id}: buffer ${index} was put back twice`);
    this.stack[this.top++] = handle;
  }

  /** A loop that does get() for `n` ≤ available at once, and says where their frames start. */
  gets(handles: Int32Array, offsets: Int32Array): (n: number) => void {
    return specialise(FramePool.manyGets)(this, handles, offsets, INDEX_MASK);
  }

  private static readonly manyGets = (pool: FramePool, handles: Int32Array, offsets: Int32Array, indexMask: number) => {
    const { stack, strideBytes } = pool;
    const first = pool.base + pool.headroom;
    return (n: number): void => {
      const top = pool.top;
      for (let i = 0; i < n; i++) {
        const handle = stack[top - 1 - i];
        handles[i] = handle;
        offsets[i] = first + (handle & indexMask) * strideBytes;
      }
      pool.top = top - n;
    };
  };

  /**
   * A loop that does put() for handles [from, to) as far as they are of this pool; it returns how many. At least the first
   * one must be.
   */
  puts(handles: Int32Array): (from: number, to: number) => number {
    return specialise(FramePool.manyPuts)(this, handles, INDEX_BITS);
  }

  private static readonly manyPuts = (pool: FramePool, handles: Int32Array, indexBits: number) => {
    const { stack, id } = pool;
    return (from: number, to: number): number => {
      let i = from;
      if (pool.extras > 0 || pool.top + to - from > pool.count) {
        do pool.put(handles[i++]);
        while (i < to && handles[i] >>> indexBits === id);
        return i - from;
      }
      let top = pool.top;
      for (; i < to; i++) {
        const handle = handles[i];
        if (handle >>> indexBits !== id) break;
        stack[top++] = handle;
      }
      pool.top = top;
      return i - from;
    };
  };

  /** A loop that does offsetOf() for handles [0, n). */
  locates(handles: Int32Array, offsets: Int32Array): (n: number) => void {
    return specialise(FramePool.manyLocates)(this, handles, offsets, INDEX_MASK);
  }

  private static readonly manyLocates = (pool: FramePool, handles: Int32Array, offsets: Int32Array, indexMask: number) => {
    const { strideBytes } = pool;
    const first = pool.base + pool.headroom;
    return (n: number): void => {
      for (let i = 0; i < n; i++) offsets[i] = first + (handles[i] & indexMask) * strideBytes;
    };
  };

  /** Byte offset of the frame (or payload) in the region. */
  offsetOf(handle: number): number {
    return this.base + (handle & INDEX_MASK) * this.strideBytes + this.headroom;
  }

  private indexOf(handle: number): number {
    const index = handle & INDEX_MASK;
    if (index >= this.count || poolOf(handle) !== this.id) {
      throw new RingcubeError('ERR_INVALID_ARGUMENT', `handle ${handle} is not one of pool ${this.id}`);
    }
    return index;
  }
}
