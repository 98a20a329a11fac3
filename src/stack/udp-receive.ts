import { specialise } from '../base/index.js';
import { type FrameBatch, FrameFlag, type Memory } from '../nic/index.js';
import { DatagramBatch } from './datagrams.js';

/** What becomes of a frame, besides the slots of sockets, which count from 1. */
export const Slot = {
  /** Not one for the short way: the whole stack looks at it. */
  Slow: 0,
  /** Several sockets have this port: which one, the addresses tell. */
  Ask: 0xffff,
} as const;

/** Slots by destination port, as it lies in the frame (big-endian, read as little-endian): a look without a swap. */
export interface PortTables {
  readonly v4: Uint16Array;
  readonly v6: Uint16Array;
}

/** Own addresses as they lie in a frame, in words of `Own`'s layout; 0 where there is none. */
export const Own = { Words: 8, MacHigh: 0, MacLow: 1, V4: 2, V6: 4 } as const;

/**
 * The short way for UDP: for each frame of a batch whether it is a plain datagram to an address of ours (no options, no
 * fragment, a checksum that the card has verified or that is not there), and for which socket. All else takes the long way.
 * What is checked here is what the long way checks for such a frame; test/stack/shortcut.test.ts holds them against each other.
 */
export class UdpReceive {
  readonly datagrams: DatagramBatch;
  readonly slots: Int32Array;
  private readonly classify: (n: number) => void;

  /**
   * @param marked 1 at the last 16 bits, as they lie in a frame, of each address that no datagram of others may come from
   * @param splitBytes of frames whose payload lies in a buffer of its own: how many bytes stand ahead of it
   */
  constructor(memory: Memory, frames: FrameBatch, own: Int32Array, ports: PortTables, marked = new Uint8Array(65536), splitBytes?: number) {
    const split = splitBytes !== undefined;
    this.datagrams = new DatagramBatch(frames.capacity, memory, split ? frames.payloadHandle : frames.handle, split);
    this.slots = new Int32Array(frames.capacity);
    const { datagrams, slots } = this;
    const lengths = split ? new Int32Array(frames.capacity) : frames.length;
    const classify = specialise(classifies)(
      memory.u8, memory.u16, memory.i32, frames.offset, lengths, frames.flags, own, marked, ports.v4, ports.v6,
      slots, datagrams.offset, datagrams.length, datagrams.ip, FrameFlag.ChecksumValid, Slot.Slow,
    );
    if (!split) {
      this.classify = classify;
      return;
    }
    const join = specialise(joins)(frames.length, frames.payloadLength, lengths);
    const relocate = specialise(relocates)(frames.offset, frames.payloadOffset, datagrams.offset, slots, splitBytes, Slot.Slow);
    this.classify = (n) => {
      join(n);
      classify(n);
      relocate(n);
    };
  }

  /** Fills `slots` and `datagrams` for the first `n` frames. */
  run(n: number): void {
    this.classify(n);
  }
}

/** Of split frames: as long as if they were whole, since that is what the headers are held against. */
const joins = (headerLengths: Int32Array, payloadLengths: Int32Array, lengths: Int32Array) => (n: number): void => {
  for (let i = 0; i < n; i++) lengths[i] = headerLengths[i] + payloadLengths[i];
};

/** Of split frames: the payload is where it is, if it begins where the frame was split. */
const relocates = (
  offsets: Int32Array, payloadOffsets: Int32Array, payloads: Int32Array, slots: Int32Array, splitBytes: number, slow: number,
) => (n: number): void => {
  for (let i = 0; i < n; i++) {
    if (slots[i] === slow) continue;
    if (payloads[i] - offsets[i] !== splitBytes) slots[i] = slow;
    else payloads[i] = payloadOffsets[i];
  }
};

// Frames start 2 bytes behind a multiple of 8 (HEADROOM), so that words of the IP and UDP headers are aligned: an IPv4 header is
// at 14, its addresses at 26 and 30; an IPv6 one has them at 22 and 38. Numbers are little-endian reads of big-endian fields.
const classifies = (
  u8: Uint8Array, u16: Uint16Array, i32: Int32Array, offsets: Int32Array, lengths: Int32Array, flags: Uint8Array,
  own: Int32Array, marked: Uint8Array, ports4: Uint16Array, ports6: Uint16Array,
  slots: Int32Array, payloads: Int32Array, payloadLengths: Int32Array, ips: Int32Array, checksumValid: number, slow: number,
) => (n: number): void => {
  const macHigh = own[0];
  const macLow = own[1];
  const v4 = own[2];
  for (let i = 0; i < n; i++) {
    slots[i] = slow;
    const at = offsets[i];
    const half = at >> 1;
    const bytes = lengths[i];
    ips[i] = at + 14;
    if (bytes < 42 || u16[half] !== macHigh || i32[(at + 2) >> 2] !== macLow) continue;
    const type = u16[half + 6];
    if (type === 0x0008) {
      // Version 4, no options, no fragment, UDP; time to live is nobody's business at the destination (RFC 1122 §3.2.1.7).
      if (u8[at + 14] !== 0x45 || (u16[half + 10] & 0xff3f) !== 0 || u8[at + 23] !== 17) continue;
      const big = u16[half + 8];
      const total = ((big & 0xff) << 8) | (big >>> 8);
      if (total < 28 || total > bytes - 14) continue;
      const source = i32[(at + 26) >> 2];
      const first = source & 0xff;
      if (v4 === 0 || i32[(at + 30) >> 2] !== v4 || marked[source >>> 16] !== 0 || first === 0 || first === 127 || first >= 224) continue;
      let sum = u16[half + 7] + big + u16[half + 9] + u16[half + 10] + u16[half + 11] + u16[half + 12];
      sum += u16[half + 13] + u16[half + 14] + u16[half + 15] + u16[half + 16];
      sum = (sum & 0xffff) + (sum >>> 16);
      if ((sum & 0xffff) + (sum >>> 16) !== 0xffff) continue;
      const bigLength = u16[half + 19];
      const length = ((bigLength & 0xff) << 8) | (bigLength >>> 8);
      if (length < 8 || length > total - 20 || ((flags[i] & checksumValid) === 0 && u16[half + 20] !== 0)) continue;
      payloads[i] = at + 42;
      payloadLengths[i] = length - 8;
      slots[i] = ports4[u16[half + 18]];
    } else if (type === 0xdd86) {
      if (bytes < 62 || u8[at + 14] >>> 4 !== 6 || u8[at + 20] !== 17) continue;
      const big = u16[half + 9];
      const total = ((big & 0xff) << 8) | (big >>> 8);
      if (total < 8 || total > bytes - 54) continue;
      const word = (at + 38) >> 2;
      if (own[4] === 0 || i32[word] !== own[4] || i32[word + 1] !== own[5] || i32[word + 2] !== own[6] || i32[word + 3] !== own[7]) continue;
      // A source that is multicast, unspecified, loopback or (perhaps) our own goes the long way: ::, ::1 and IPv4's begin with 0.
      const source = (at + 22) >> 2;
      if ((i32[source] & 0xff) === 0xff || i32[source] === 0 || marked[i32[source + 3] >>> 16] !== 0) continue;
      const bigLength = u16[half + 29];
      const length = ((bigLength & 0xff) << 8) | (bigLength >>> 8);
      if (length < 8 || length > total || (flags[i] & checksumValid) === 0 || u16[half + 30] === 0) continue;
      payloads[i] = at + 62;
      payloadLengths[i] = length - 8;
      slots[i] = ports6[u16[half + 28]];
    }
  }
};
