// RTP packets (RFC 3550 §5.1): parseRtp() measures one, the others read and write its fixed header.
import { load16, load32, store16, store32 } from './bytes';

const FIXED_BYTES: i32 = 12;
const VERSION: i32 = 2;
const PADDING_BIT: i32 = 0x20;
const EXTENSION_BIT: i32 = 0x10;

/** Bytes of the header of the packet parsed last: fixed part, contributing sources, extension. */
export let headerBytes: i32 = 0;

/** Bytes of its payload, without padding. */
export let payloadBytes: i32 = 0;

/** True for an RTP packet all of whose parts lie within `length`; then the measures above are its own. */
export function parseRtp(ptr: usize, length: i32): bool {
  if (length < FIXED_BYTES) return false;
  const first = <i32>load<u8>(ptr);
  if (first >> 6 != VERSION) return false;
  let header = FIXED_BYTES + 4 * (first & 15);
  if ((first & EXTENSION_BIT) != 0) {
    if (length < header + 4) return false;
    header += 4 + 4 * load16(ptr + header + 2);
  }
  if (length < header) return false;
  let padding = 0;
  if ((first & PADDING_BIT) != 0) {
    padding = length > header ? <i32>load<u8>(ptr + length - 1) : 0;
    // The count includes itself.
    if (padding == 0 || length - header < padding) return false;
  }
  headerBytes = header;
  payloadBytes = length - header - padding;
  return true;
}

/** True for RTCP on RTP's port (RFC 5761 §4): packet types 192 to 223. Agents on RTP let it through as it is. */
export function isRtcp(ptr: usize, length: i32): bool {
  return length >= 8 && load<u8>(ptr) >> 6 == VERSION && (<i32>load<u8>(ptr, 1) & 0xe0) == 0xc0;
}

export function marker(ptr: usize): bool {
  return (load<u8>(ptr, 1) & 0x80) != 0;
}

export function payloadType(ptr: usize): i32 {
  return load<u8>(ptr, 1) & 0x7f;
}

/** Keeps the marker bit. */
export function setPayloadType(ptr: usize, type: i32): void {
  store<u8>(ptr, (load<u8>(ptr, 1) & 0x80) | (<u8>type), 1);
}

/** Clears the padding bit: for who leaves the padding out. */
export function clearPadding(ptr: usize): void {
  store<u8>(ptr, load<u8>(ptr) & 0xdf);
}

export function sequence(ptr: usize): i32 {
  return load16(ptr + 2);
}

export function setSequence(ptr: usize, value: i32): void {
  store16(ptr + 2, value);
}

export function timestamp(ptr: usize): u32 {
  return load32(ptr + 4);
}

export function setTimestamp(ptr: usize, value: u32): void {
  store32(ptr + 4, value);
}

export function ssrc(ptr: usize): u32 {
  return load32(ptr + 8);
}

export function setSsrc(ptr: usize, value: u32): void {
  store32(ptr + 8, value);
}

/** How far sequence number `a` is ahead of `b`, modulo 65,536: from -32,768 to 32,767. */
export function ahead(a: i32, b: i32): i32 {
  return <i32>(<i16>(a - b));
}
