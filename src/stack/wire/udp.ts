// The UDP header (RFC 768).
import { finish, fold, sumBytes } from '../checksum.js';

export const UDP_BYTES = 8;

export interface Udp {
  sourcePort: number;
  destinationPort: number;
  payload: Uint8Array;
}

/**
 * `pseudo`: the sum of the pseudo-header without its length. `v6`: a checksum of zero is an error there (RFC 8200 §8.1); in IPv4
 * it says that none was computed. `verified`: the device has checked it.
 */
export function parseUdp(segment: Uint8Array, pseudo: number, v6: boolean, verified: boolean): Udp | 'truncated' | 'badChecksum' {
  if (segment.length < UDP_BYTES) return 'truncated';
  const length = (segment[4] << 8) | segment[5];
  if (length < UDP_BYTES || length > segment.length) return 'truncated';
  const checksum = (segment[6] << 8) | segment[7];
  if (checksum === 0 ? v6 : !verified && fold(sumBytes(segment, 0, length, pseudo + length)) !== 0xffff) return 'badChecksum';
  return {
    sourcePort: (segment[0] << 8) | segment[1],
    destinationPort: (segment[2] << 8) | segment[3],
    payload: segment.subarray(UDP_BYTES, length),
  };
}

/** Writes the header ahead of `payloadBytes` that are already in place. */
export function writeUdp(bytes: Uint8Array, at: number, sourcePort: number, destinationPort: number, payloadBytes: number, pseudo: number): void {
  const length = UDP_BYTES + payloadBytes;
  bytes[at] = sourcePort >>> 8;
  bytes[at + 1] = sourcePort;
  bytes[at + 2] = destinationPort >>> 8;
  bytes[at + 3] = destinationPort;
  bytes[at + 4] = length >>> 8;
  bytes[at + 5] = length;
  bytes[at + 6] = bytes[at + 7] = 0;
  // RFC 768: a computed zero is sent as all ones.
  const checksum = finish(sumBytes(bytes, at, length, pseudo + length)) || 0xffff;
  bytes[at + 6] = checksum >>> 8;
  bytes[at + 7] = checksum;
}
