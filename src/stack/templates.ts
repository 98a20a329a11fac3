import { specialise } from '../base/index.js';
import { type Memory } from '../nic/index.js';

/** Words of a template: those that IPv4 needs lie in one cache line. */
const STRIDE = 32;
const MAX_TEMPLATES = 8192;

/** Where things are in a template. Words are of the frame from its third byte on, as they lie in memory. */
export const Template = { First: 0, PseudoSum: 1, IpSum: 2, Words: 3, V4Words: 10, V6Words: 15 } as const;

/** Headers of flows, in one array: what a send needs of its flow is then one cache line, or two. */
export class HeaderTemplates {
  readonly table = new Int32Array(STRIDE * MAX_TEMPLATES);
  private readonly free: number[] = [];
  private made = 0;

  /** Where a new one begins; -1 if all are in use. */
  take(): number {
    return this.free.pop() ?? (this.made < MAX_TEMPLATES ? STRIDE * this.made++ : -1);
  }

  release(base: number): void {
    this.free.push(base);
  }

  /** What writes templates into frames of a card: Ethernet, IP and UDP headers for `length` bytes of payload. */
  writer(memory: Memory): (at: number, base: number, length: number, v6: boolean) => void {
    return specialise(writes)(memory, this.table);
  }
}

// A frame is 2 mod 4, so that all but its first two bytes are whole words. Lengths and sums go in big-endian; sums are of at most
// 20 words, which two folds bring into 16 bits. Written out: a loop costs as much again.
const writes = ({ u16, i32 }: Memory, table: Int32Array) => (at: number, base: number, length: number, v6: boolean): void => {
  const half = at >> 1;
  const word = (at + 2) >> 2;
  u16[half] = table[base];
  i32[word] = table[base + 3];
  i32[word + 1] = table[base + 4];
  i32[word + 2] = table[base + 5];
  i32[word + 3] = table[base + 6];
  i32[word + 4] = table[base + 7];
  i32[word + 5] = table[base + 8];
  i32[word + 6] = table[base + 9];
  i32[word + 7] = table[base + 10];
  i32[word + 8] = table[base + 11];
  i32[word + 9] = table[base + 12];
  const udpLength = 8 + length;
  const bigLength = ((udpLength & 0xff) << 8) | (udpLength >>> 8);
  let sum = table[base + 1] + udpLength;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  const bigSum = ((sum & 0xff) << 8) | (sum >>> 8);
  if (v6) {
    i32[word + 10] = table[base + 13];
    i32[word + 11] = table[base + 14];
    i32[word + 12] = table[base + 15];
    i32[word + 13] = table[base + 16];
    i32[word + 14] = table[base + 17];
    u16[half + 9] = bigLength;
    u16[half + 29] = bigLength;
    u16[half + 30] = bigSum;
  } else {
    const total = 20 + udpLength;
    let ip = table[base + 2] + total;
    ip = (ip & 0xffff) + (ip >>> 16);
    ip = ~((ip & 0xffff) + (ip >>> 16)) & 0xffff;
    u16[half + 8] = ((total & 0xff) << 8) | (total >>> 8);
    u16[half + 12] = ((ip & 0xff) << 8) | (ip >>> 8);
    u16[half + 19] = bigLength;
    u16[half + 20] = bigSum;
  }
};
