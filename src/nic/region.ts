import { RingcubeError, invalid } from '../base/index.js';
import { type NativeRegion, addon, native } from './addon.js';

/** So that an offset is a 32-bit integer to V8, and a shifted one no negative index. */
const MAX_REGION_BYTES = 2 ** 31;

/** Where copyWithin overtakes the loop; `ringcube bench copy` measures it. */
const COPY_LOOP_BYTES = 32;

/**
 * Memory that the card can reach, as one ArrayBuffer with long-lived views over it. Offsets into it are the I/O virtual
 * addresses of descriptors.
 */
export class Memory {
  readonly buffer: ArrayBuffer;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  /** As u32, for loops whose values must stay 32-bit integers in V8's eyes. */
  readonly i32: Int32Array;
  /** Bytes that software has copied here, as against what the card's DMA moved. */
  copiedBytes = 0;
  #reserved = 0;

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
  }

  /**
   * Takes `bytes` from the part not yet taken, aligned to `alignment` (a power of two), for good.
   * @throws ERR_OUT_OF_RANGE if the region is used up.
   */
  reserve(bytes: number, alignment = 64): number {
    const offset = Math.ceil(this.#reserved / alignment) * alignment;
    if (offset + bytes > this.buffer.byteLength) {
      throw new RingcubeError(
        'ERR_OUT_OF_RANGE',
        `region: ${bytes} bytes do not fit behind the ${offset} taken of ${this.buffer.byteLength}`,
      );
    }
    this.#reserved = offset + bytes;
    return offset;
  }

  /**
   * Copies `length` bytes within the region, counted. Allocates nothing. Source and destination must not overlap and be
   * alike modulo 4, as frames of all pools are.
   */
  copy(to: number, from: number, length: number): void {
    this.copiedBytes += length;
    // A call of copyWithin costs as much as some ten loads and stores: for short frames, words in a loop are faster.
    if (length > COPY_LOOP_BYTES) {
      this.u8.copyWithin(to, from, from + length);
      return;
    }
    const { u8, u32 } = this;
    let i = 0;
    for (; (from + i) % 4 !== 0 && i < length; i++) u8[to + i] = u8[from + i]!;
    for (; i + 4 <= length; i += 4) u32[(to + i) >> 2] = u32[(from + i) >> 2]!;
    for (; i < length; i++) u8[to + i] = u8[from + i]!;
  }

  /** Copies bytes from outside into the region, counted. */
  copyIn(to: number, bytes: Uint8Array): void {
    this.copiedBytes += bytes.length;
    this.u8.set(bytes, to);
  }

  /** A copy of `length` bytes for use outside the region, counted. */
  copyOut(from: number, length: number): Uint8Array {
    this.copiedBytes += length;
    return this.u8.slice(from, from + length);
  }
}

/** A region: one sealed memfd, mapped here and by whoever its NIC is shared with. */
export class Region extends Memory {
  /** @internal */
  readonly native: NativeRegion;

  /** @param bytes 1 to 2^31, rounded up to whole pages. */
  constructor(bytes: number) {
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAX_REGION_BYTES) {
      throw invalid('region size', bytes, 'a whole number of bytes from 1 to 2 GiB');
    }
    const region = native(() => new addon.Region(bytes));
    super(region.buffer);
    this.native = region;
  }
}
