import { RingcubeError, invalid } from '../base/index.js';
import { type NativeRegion, addon, native } from './addon.js';

/**
 * Memory that the card can reach, as one ArrayBuffer with long-lived views over it. Offsets into it are the I/O virtual
 * addresses of descriptors.
 */
export class Memory {
  readonly buffer: ArrayBuffer;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  #reserved = 0;

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
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
}

/** A region: one sealed memfd, mapped here and by whoever its NIC is shared with. */
export class Region extends Memory {
  /** @internal */
  readonly native: NativeRegion;

  /** @param bytes 1 to 2^32, rounded up to whole pages. */
  constructor(bytes: number) {
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > 2 ** 32) {
      throw invalid('region size', bytes, 'a whole number of bytes from 1 to 4 GiB');
    }
    const region = native(() => new addon.Region(bytes));
    super(region.buffer);
    this.native = region;
  }
}
