import { invalid } from '../base/index.js';
import { FramePool, type Memory } from '../nic/index.js';
import { Abi } from './abi.js';

/** Of the host's pages, which are what can be mapped. */
const HOST_PAGE_BYTES = 4096;
const WINDOW_BYTES = Abi.windowEnd - Abi.windowStart;

export interface FaultDomainOptions {
  /** Where the card's DMA writes, and the window lies. */
  memory: Memory;
  /** Of the pool, unlike any other of the card. */
  poolId: number;
  /** A buffer's bytes: the largest payload. */
  bufferBytes: number;
  /** Buffers; default 512. */
  buffers?: number;
  /** Gives a buffer of any of the card's pools back; default: this pool's only. */
  release?: (handle: number) => void;
}

/**
 * Agents that trust each other with their payloads: one pool of buffers, in pages of their own, which is the window of each of
 * them. A payload goes from agent to agent without a copy inside a domain, and with one copy into another's.
 */
export class FaultDomain {
  readonly memory: Memory;
  readonly pool: FramePool;
  /** Of the window, in the card's memory. */
  readonly offset: number;
  readonly bytes: number;
  readonly release: (handle: number) => void;

  /** How many buffers a window has room for. */
  static mostBuffers(bufferBytes: number): number {
    return Math.floor(WINDOW_BYTES / FramePool.strideOf(bufferBytes));
  }

  constructor({ memory, poolId, bufferBytes, buffers = 512, release }: FaultDomainOptions) {
    if (!Number.isInteger(bufferBytes) || bufferBytes < 1 || bufferBytes > 65535) throw invalid('bufferBytes', bufferBytes, 'a whole number from 1 to 65535');
    if (!Number.isInteger(buffers) || buffers < 1) throw invalid('buffers', buffers, 'a whole number from 1 on');
    const bytes = Math.ceil((FramePool.strideOf(bufferBytes) * buffers) / HOST_PAGE_BYTES) * HOST_PAGE_BYTES;
    if (bytes > WINDOW_BYTES) throw invalid('buffers', buffers, `at most ${FaultDomain.mostBuffers(bufferBytes)} of ${bufferBytes} bytes: a window holds ${WINDOW_BYTES} bytes`);
    this.memory = memory;
    this.bytes = bytes;
    this.offset = memory.reserve(bytes, HOST_PAGE_BYTES);
    this.pool = new FramePool(memory, { count: buffers, frameBytes: bufferBytes, headroom: 0, id: poolId, at: this.offset });
    const { pool } = this;
    this.release =
      release ??
      ((handle) => {
        pool.put(handle);
      });
  }
}
