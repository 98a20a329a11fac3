// Parity packets: RFC 5109 with one level (0) that protects whole packets, and the short mask.
//
//     0            12              14        16            20                 22                  24         26
//     │ RTP header │ E L P X CC M PT │ SN base │ TS recovery │ length recovery │ protection length │ mask (16) │ parity of what follows
//     │ (§7.2)     │ FEC header (§7.3)                                         │ level header (§7.4)           │ the fixed headers
//
// Each is the exclusive or over the media packets: of their first two bytes, timestamps, lengths without the 12 bytes of fixed header, and
// all that follows it, padded with zeros to the longest. Bit i of the mask, from the most significant on, is packet SN base + i.
import { load16, load32, store16, store32 } from 'ringcube/sdk';

export const RTP_BYTES: i32 = 12;
export const FLAGS: usize = 12;
export const SN_BASE: usize = 14;
export const TS_RECOVERY: usize = 16;
export const LENGTH_RECOVERY: usize = 20;
export const PROTECTION_LENGTH: usize = 22;
export const MASK: usize = 24;
export const PARITY: usize = 26;
export const MASK_BITS: i32 = 16;

/** The longest media packet that is protected; Ethernet's are shorter. */
export const MAX_PACKET_BYTES: i32 = 2048;
export const MAX_PARITY_BYTES: i32 = <i32>PARITY + MAX_PACKET_BYTES - RTP_BYTES;

/** The bit of packet SN base + `index`. */
export function maskBit(index: i32): i32 {
  return 0x8000 >> index;
}

function xor(to: usize, from: usize, length: i32): void {
  let i: usize = 0;
  for (; i + 8 <= <usize>length; i += 8) store<u64>(to + i, load<u64>(to + i) ^ load<u64>(from + i));
  for (; i < <usize>length; i++) store<u8>(to + i, load<u8>(to + i) ^ load<u8>(from + i));
}

/** Takes a media packet, of at most MAX_PACKET_BYTES, into a parity packet that has room for one; a second time takes it out. */
export function fold(parity: usize, packet: usize, length: i32): void {
  xor(parity + FLAGS, packet, 2);
  store32(parity + TS_RECOVERY, load32(parity + TS_RECOVERY) ^ load32(packet + 4));
  store16(parity + LENGTH_RECOVERY, load16(parity + LENGTH_RECOVERY) ^ (length - RTP_BYTES));
  xor(parity + PARITY, packet + RTP_BYTES, length - RTP_BYTES);
}
