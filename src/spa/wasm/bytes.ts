// The binary format's values (WebAssembly 2.0 §5.2): read from bytes of anybody's making, and written.
import { RingcubeError } from '../../base/index.js';

export function malformed(at: number, what: string): RingcubeError {
  return new RingcubeError('ERR_FORMAT', `module, byte ${at}: ${what}`);
}

/** For messages: quoted, without what would move a terminal's cursor, and short. */
export function quoted(name: string): string {
  const short = name.length > 60 ? `${name.slice(0, 59)}…` : name;
  return JSON.stringify(short).replace(/[^\x20-\x7e…]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

// A byte order mark is a character of the name like any other.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads on from `at`, never beyond `end`: what isn't there is an ERR_FORMAT that says what and at which byte. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at === this.end;
  }

  part(at: number, end: number): ByteReader {
    return new ByteReader(this.bytes, at, end);
  }

  u8(what: string): number {
    if (this.at >= this.end) throw malformed(this.at, `ends where ${what} should be`);
    return this.bytes[this.at++];
  }

  /** §5.2.2: at most 5 bytes, and no bit beyond the 32. */
  u32(what: string): number {
    const start = this.at;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8(what);
      if (shift === 28 && byte > 0x0f) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw malformed(start, `${what} is no 32-bit LEB128 number`);
  }

  /** §5.2.2: bits beyond the 32 repeat the sign. */
  s32(what: string): number {
    const start = this.at;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8(what);
      if (shift === 28 && byte > 0x07 && (byte < 0x78 || byte > 0x7f)) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return shift < 28 ? (value << (25 - shift)) >> (25 - shift) : value;
    }
    throw malformed(start, `${what} is no signed 32-bit LEB128 number`);
  }

  /** A signed number of `bits`, whose value nobody needs. */
  skipSigned(bits: number, what: string): void {
    const start = this.at;
    for (let left = bits; left > 0; left -= 7) {
      const byte = this.u8(what);
      if (left < 7) {
        const above = (byte & 0x7f) >> (left - 1);
        if (byte >= 0x80 || (above !== 0 && above !== 0x7f >> (left - 1))) break;
      }
      if (byte < 0x80) return;
    }
    throw malformed(start, `${what} is no signed ${bits}-bit LEB128 number`);
  }

  /** How many follow, each of at least one byte: so never more than there are bytes left. */
  count(what: string): number {
    const start = this.at;
    const count = this.u32(`the number of ${what}`);
    if (count > this.end - this.at) throw malformed(start, `${count} ${what} in the ${this.end - this.at} bytes that are left`);
    return count;
  }

  skip(length: number, what: string): void {
    if (length > this.end - this.at) throw malformed(this.at, `${what} of ${length} bytes, and ${this.end - this.at} are left`);
    this.at += length;
  }

  /** §5.2.4. */
  name(what: string): string {
    const length = this.u32(`the length of ${what}`);
    const start = this.at;
    this.skip(length, what);
    try {
      return utf8.decode(this.bytes.subarray(start, this.at));
    } catch {
      throw malformed(start, `${what} is not UTF-8`);
    }
  }
}

export function u32Bytes(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value & 0x7f) | 0x80);
  bytes.push(value);
  return bytes;
}

export function s32Bytes(value: number): number[] {
  const bytes: number[] = [];
  for (value |= 0; value < -64 || value > 63; value >>= 7) bytes.push((value & 0x7f) | 0x80);
  bytes.push(value & 0x7f);
  return bytes;
}

/** Grows as needed. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #reserve(length: number): void {
    const needed = this.#length + length;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  put(bytes: ArrayLike<number>): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  u32(value: number): this {
    return this.put(u32Bytes(value));
  }

  /** Its length first, as sections and code have it. */
  sized(bytes: Uint8Array): this {
    return this.u32(bytes.length).put(bytes);
  }

  /** A view, good until the next write. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}
