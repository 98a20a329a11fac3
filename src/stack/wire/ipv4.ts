// The IPv4 header (RFC 791 §3.1).
import { Address } from '../../base/index.js';
import { finish, fold, sumBytes } from '../checksum.js';

export const IPV4_BYTES = 20;

export const Protocol = { Icmp: 1, Tcp: 6, Udp: 17, Icmpv6: 58 } as const;

export interface Ipv4 {
  tos: number;
  id: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** Of the payload in the whole datagram, in bytes. */
  fragmentOffset: number;
  ttl: number;
  protocol: number;
  source: Address;
  destination: Address;
  /** A multiple of 4 bytes, at most 40. */
  options: Uint8Array;
  payload: Uint8Array;
}

/** Why a packet was no packet: counted under these names. */
export type HeaderFault = 'truncated' | 'badVersion' | 'badHeader' | 'badChecksum';

/** Views into `packet`, whose bytes behind the total length are padding. Lengths are checked here, once. */
export function parseIpv4(packet: Uint8Array): Ipv4 | HeaderFault {
  if (packet.length < IPV4_BYTES) return 'truncated';
  if (packet[0] >>> 4 !== 4) return 'badVersion';
  const headerBytes = (packet[0] & 15) * 4;
  const totalBytes = (packet[2] << 8) | packet[3];
  if (headerBytes < IPV4_BYTES || totalBytes < headerBytes) return 'badHeader';
  if (packet.length < totalBytes) return 'truncated';
  if (fold(sumBytes(packet, 0, headerBytes)) !== 0xffff) return 'badChecksum';
  const fragment = (packet[6] << 8) | packet[7];
  return {
    tos: packet[1],
    id: (packet[4] << 8) | packet[5],
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    ttl: packet[8],
    protocol: packet[9],
    source: Address.read(packet, 12, 4),
    destination: Address.read(packet, 16, 4),
    options: packet.subarray(IPV4_BYTES, headerBytes),
    payload: packet.subarray(headerBytes, totalBytes),
  };
}

/** Writes the header of `ip` for `payloadBytes` behind it; returns its length. */
export function writeIpv4(bytes: Uint8Array, at: number, ip: Omit<Ipv4, 'payload'>, payloadBytes: number): number {
  const headerBytes = IPV4_BYTES + ip.options.length;
  const total = headerBytes + payloadBytes;
  const fragment = (ip.dontFragment ? 0x4000 : 0) | (ip.moreFragments ? 0x2000 : 0) | (ip.fragmentOffset >>> 3);
  bytes[at] = 0x40 | (headerBytes >>> 2);
  bytes[at + 1] = ip.tos;
  bytes[at + 2] = total >>> 8;
  bytes[at + 3] = total;
  bytes[at + 4] = ip.id >>> 8;
  bytes[at + 5] = ip.id;
  bytes[at + 6] = fragment >>> 8;
  bytes[at + 7] = fragment;
  bytes[at + 8] = ip.ttl;
  bytes[at + 9] = ip.protocol;
  bytes[at + 10] = bytes[at + 11] = 0;
  ip.source.write(bytes, at + 12);
  ip.destination.write(bytes, at + 16);
  bytes.set(ip.options, at + IPV4_BYTES);
  const checksum = finish(sumBytes(bytes, at, headerBytes));
  bytes[at + 10] = checksum >>> 8;
  bytes[at + 11] = checksum;
  return headerBytes;
}

/** Whether options are whole: each inside the header (RFC 1122 §3.2.1.8). Source routes are told apart: we take none. */
export function checkOptions(options: Uint8Array): 'ok' | 'sourceRoute' | { badAt: number } {
  for (let i = 0; i < options.length; ) {
    const kind = options[i];
    if (kind === 0) return 'ok';
    if (kind === 1) {
      i++;
      continue;
    }
    const length = options[i + 1];
    if (length === undefined || length < 2 || i + length > options.length) return { badAt: IPV4_BYTES + i };
    if (kind === 131 || kind === 137) return 'sourceRoute';
    i += length;
  }
  return 'ok';
}

/** The options that go into every fragment: those with the copied flag (RFC 791 §3.1), padded to 32 bits. */
export function copiedOptions(options: Uint8Array): Uint8Array {
  const kept: number[] = [];
  for (let i = 0; i < options.length; ) {
    const kind = options[i];
    if (kind === 0) break;
    const length = kind === 1 ? 1 : Math.max(2, options[i + 1] ?? 2);
    if (kind > 127) kept.push(...options.subarray(i, i + length));
    i += length;
  }
  while (kept.length % 4 !== 0) kept.push(0);
  return Uint8Array.from(kept);
}
