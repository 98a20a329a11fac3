/** Ethernet + IPv4 + UDP headers, bytes. */
export const HEADER_BYTES = 42;

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A UDP/IPv4 frame of `length` bytes (without FCS) from 198.18.0.2 to 198.18.0.1 (RFC 2544's test network). */
export function udpFrame(length: number, destinationMac = [2, 0, 0, 0, 0, 1]): Uint8Array {
  const frame = new Uint8Array(length);
  const view = new DataView(frame.buffer);
  frame.set(destinationMac, 0);
  frame.set([2, 0, 0, 0, 0, 2], 6);
  view.setUint16(12, 0x0800);
  frame[14] = 0x45;
  view.setUint16(16, length - 14);
  frame[22] = 64;
  frame[23] = 17;
  frame.set([198, 18, 0, 2], 26);
  frame.set([198, 18, 0, 1], 30);
  view.setUint16(24, checksum(frame.subarray(14, 34)));
  view.setUint16(34, 5000);
  view.setUint16(36, 5001);
  view.setUint16(38, length - 34); // UDP checksum 0: none (RFC 768)
  for (let i = HEADER_BYTES; i < length; i++) frame[i] = i;
  return frame;
}
