import { invalid } from './errors.js';

export type Family = 4 | 6;

/**
 * An IPv4 or IPv6 address, immutable. Four words of 32 bits, the first one first on the wire; an IPv4 address is held as
 * ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so that tables need one key for both.
 */
export class Address {
  private constructor(
    readonly family: Family,
    readonly w0: number,
    readonly w1: number,
    readonly w2: number,
    readonly w3: number,
  ) {}

  static v4(word: number): Address {
    return new Address(4, 0, 0, 0xffff, word | 0);
  }

  static v6(w0: number, w1: number, w2: number, w3: number): Address {
    return new Address(6, w0 | 0, w1 | 0, w2 | 0, w3 | 0);
  }

  /** From 4 or 16 bytes in network order at `at`. */
  static read(bytes: Uint8Array, at: number, family: Family): Address {
    const word = (i: number): number => (bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3];
    return family === 4 ? Address.v4(word(at)) : Address.v6(word(at), word(at + 4), word(at + 8), word(at + 12));
  }

  /** 198.18.0.1, or any text form of RFC 4291 §2.2. @throws ERR_INVALID_ARGUMENT */
  static parse(text: string): Address {
    const address = tryParse(text);
    if (address === undefined) throw invalid('address', text, 'an IPv4 or IPv6 address, as 198.18.0.1 or fd00::1');
    return address;
  }

  /** Writes its 4 or 16 bytes in network order. */
  write(bytes: Uint8Array, at: number): void {
    if (this.family === 6) {
      writeWord(bytes, at, this.w0);
      writeWord(bytes, at + 4, this.w1);
      writeWord(bytes, at + 8, this.w2);
    }
    writeWord(bytes, this.family === 6 ? at + 12 : at, this.w3);
  }

  get bytes(): number {
    return this.family === 4 ? 4 : 16;
  }

  equals(other: Address): boolean {
    return this.w3 === other.w3 && this.w2 === other.w2 && this.w1 === other.w1 && this.w0 === other.w0 && this.family === other.family;
  }

  get isUnspecified(): boolean {
    return this.w3 === 0 && (this.family === 4 || (this.w0 | this.w1 | this.w2) === 0);
  }

  /** 127.0.0.0/8 (RFC 1122 §3.2.1.3), ::1 (RFC 4291 §2.5.3). */
  get isLoopback(): boolean {
    return this.family === 4 ? this.w3 >>> 24 === 127 : this.w3 === 1 && (this.w0 | this.w1 | this.w2) === 0;
  }

  /** 224.0.0.0/4 (RFC 1112 §4), ff00::/8 (RFC 4291 §2.7). */
  get isMulticast(): boolean {
    return this.family === 4 ? this.w3 >>> 28 === 14 : this.w0 >>> 24 === 0xff;
  }

  /** 255.255.255.255 (RFC 919 §7). A subnet's own broadcast address is its interface's to know. */
  get isBroadcast(): boolean {
    return this.family === 4 && this.w3 === -1;
  }

  /** 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291 §2.5.6). */
  get isLinkLocal(): boolean {
    return this.family === 4 ? this.w3 >>> 16 === 0xa9fe : this.w0 >>> 22 === 0x3fa;
  }

  /** No router passes on what goes there: a link-local address, or a group of at most that scope (RFC 4291 §2.7). */
  get staysOnLink(): boolean {
    return this.isLinkLocal || (this.family === 6 && this.isMulticast && ((this.w0 >>> 16) & 15) <= 2);
  }

  /** Whether a datagram may come from it: one host, and one that can be (RFC 1122 §3.2.1.3, RFC 4291 §2.7). */
  get isSource(): boolean {
    if (this.isMulticast || this.isUnspecified) return false;
    // 0.0.0.0/8, 127.0.0.0/8, 240.0.0.0/4.
    return this.family === 6 || (this.w3 >>> 24 !== 0 && this.w3 >>> 28 !== 15);
  }

  toString(): string {
    if (this.family === 4) return [24, 16, 8, 0].map((shift) => (this.w3 >>> shift) & 255).join('.');
    const groups = [this.w0, this.w1, this.w2, this.w3].flatMap((w) => [w >>> 16, w & 0xffff]);
    // RFC 5952 §4.2: the longest run of at least two zero groups, the first of equals.
    let start = -1;
    let longest = 1;
    for (let i = 0; i < 8; i++) {
      let run = 0;
      while (i + run < 8 && groups[i + run] === 0) run++;
      if (run > longest) [start, longest] = [i, run];
    }
    const text = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
    return start < 0 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + longest))}`;
  }
}

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

function tryParse(text: string): Address | undefined {
  const v4 = parseV4(text);
  if (v4 !== undefined) return Address.v4(v4);
  if (typeof text !== 'string' || !text.includes(':')) return undefined;
  // The last 32 bits may be in IPv4's form (RFC 4291 §2.2).
  const lastColon = text.lastIndexOf(':');
  const tail4 = parseV4(text.slice(lastColon + 1));
  const plain = tail4 === undefined ? text : `${text.slice(0, lastColon)}:${(tail4 >>> 16).toString(16)}:${(tail4 & 0xffff).toString(16)}`;
  const halves = plain.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string): number[] => (half === '' ? [] : half.split(':').map((g) => (/^[0-9a-f]{1,4}$/i.test(g) ? Number.parseInt(g, 16) : NaN)));
  const head = groups(halves[0]);
  const tail = halves.length === 2 ? groups(halves[1]) : [];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  if (all.some(Number.isNaN)) return undefined;
  const word = (i: number): number => (all[i] << 16) | all[i + 1];
  return Address.v6(word(0), word(2), word(4), word(6));
}

function parseV4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const bytes = match.slice(1).map(Number);
  if (bytes.some((byte) => byte > 255)) return undefined;
  return (bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3];
}

/** A prefix: an address whose first `length` bits count; 0 to 32, or 128. */
export class Prefix {
  private readonly masks: readonly [number, number, number, number];

  constructor(
    readonly address: Address,
    readonly length: number,
  ) {
    const most = 8 * address.bytes;
    if (!Number.isInteger(length) || length < 0 || length > most) throw invalid('prefix length', length, `from 0 to ${most}`);
    const bits = address.family === 4 ? 96 + length : length;
    const mask = (i: number): number => {
      const own = Math.min(Math.max(bits - 32 * i, 0), 32);
      return own === 0 ? 0 : -1 << (32 - own);
    };
    this.masks = [mask(0), mask(1), mask(2), mask(3)];
  }

  /** As 198.18.0.2/24 or fd00::2/64. @throws ERR_INVALID_ARGUMENT */
  static parse(text: string): Prefix {
    const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
    if (match === null) throw invalid('prefix', text, 'an address and a length, as 198.18.0.2/24 or fd00::2/64');
    return new Prefix(Address.parse(match[1]), Number(match[2]));
  }

  contains(a: Address): boolean {
    const { address: b, masks: m } = this;
    return (
      a.family === b.family &&
      (((a.w0 ^ b.w0) & m[0]) | ((a.w1 ^ b.w1) & m[1]) | ((a.w2 ^ b.w2) & m[2]) | ((a.w3 ^ b.w3) & m[3])) === 0
    );
  }

  /** The last IPv4 address of the prefix, which means all of its hosts; undefined where there is none (RFC 3021 §2.1). */
  get broadcast(): Address | undefined {
    if (this.address.family === 6 || this.length >= 31) return undefined;
    return Address.v4(this.address.w3 | ~this.masks[3]);
  }

  toString(): string {
    return `${this.address.toString()}/${this.length}`;
  }
}

/** A table by address: open hashing on its four words, so that a look allocates nothing. */
export class AddressMap<Value> {
  private buckets: { address: Address; value: Value }[][] = Array.from({ length: 64 }, () => []);
  private count = 0;

  get size(): number {
    return this.count;
  }

  private bucket(address: Address): { address: Address; value: Value }[] {
    let hash = Math.imul(address.w3, 0x9e3779b1) ^ Math.imul(address.w2, 0x85ebca6b) ^ Math.imul(address.w1, 0xc2b2ae35) ^ address.w0;
    hash ^= hash >>> 15;
    return this.buckets[hash & (this.buckets.length - 1)];
  }

  get(address: Address): Value | undefined {
    const bucket = this.bucket(address);
    for (let i = 0; i < bucket.length; i++) if (bucket[i].address.equals(address)) return bucket[i].value;
    return undefined;
  }

  set(address: Address, value: Value): void {
    const bucket = this.bucket(address);
    const found = bucket.find((entry) => entry.address.equals(address));
    if (found !== undefined) {
      found.value = value;
      return;
    }
    bucket.push({ address, value });
    if (++this.count > 2 * this.buckets.length) this.grow();
  }

  delete(address: Address): boolean {
    const bucket = this.bucket(address);
    const at = bucket.findIndex((entry) => entry.address.equals(address));
    if (at < 0) return false;
    bucket.splice(at, 1);
    this.count--;
    return true;
  }

  *values(): Generator<Value> {
    for (const bucket of this.buckets) for (const { value } of bucket) yield value;
  }

  clear(): void {
    this.buckets = Array.from({ length: 64 }, () => []);
    this.count = 0;
  }

  private grow(): void {
    const entries = this.buckets.flat();
    this.buckets = Array.from({ length: 4 * this.buckets.length }, () => []);
    for (const entry of entries) this.bucket(entry.address).push(entry);
  }
}
