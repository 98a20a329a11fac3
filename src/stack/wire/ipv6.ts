// The IPv6 header and its extension headers (RFC 8200 §3, §4).
import { Address } from '../../base/index.js';
import { type HeaderFault } from './ipv4.js';

export const IPV6_BYTES = 40;
export const FRAGMENT_BYTES = 8;

export const NextHeader = { HopByHop: 0, Routing: 43, Fragment: 44, NoNext: 59, DestinationOptions: 60 } as const;

export interface Ipv6 {
  trafficClass: number;
  flowLabel: number;
  nextHeader: number;
  hopLimit: number;
  source: Address;
  destination: Address;
  payload: Uint8Array;
}

export function parseIpv6(packet: Uint8Array): Ipv6 | HeaderFault {
  if (packet.length < IPV6_BYTES) return 'truncated';
  if (packet[0] >>> 4 !== 6) return 'badVersion';
  const payloadBytes = (packet[4] << 8) | packet[5];
  if (packet.length < IPV6_BYTES + payloadBytes) return 'truncated';
  return {
    trafficClass: ((packet[0] & 15) << 4) | (packet[1] >>> 4),
    flowLabel: ((packet[1] & 15) << 16) | (packet[2] << 8) | packet[3],
    nextHeader: packet[6],
    hopLimit: packet[7],
    source: Address.read(packet, 8, 6),
    destination: Address.read(packet, 24, 6),
    payload: packet.subarray(IPV6_BYTES, IPV6_BYTES + payloadBytes),
  };
}

/** Writes the header of `ip` for `payloadBytes` behind it; returns its length. */
export function writeIpv6(bytes: Uint8Array, at: number, ip: Omit<Ipv6, 'payload'>, payloadBytes: number): number {
  bytes[at] = 0x60 | (ip.trafficClass >>> 4);
  bytes[at + 1] = ((ip.trafficClass & 15) << 4) | (ip.flowLabel >>> 16);
  bytes[at + 2] = ip.flowLabel >>> 8;
  bytes[at + 3] = ip.flowLabel;
  bytes[at + 4] = payloadBytes >>> 8;
  bytes[at + 5] = payloadBytes;
  bytes[at + 6] = ip.nextHeader;
  bytes[at + 7] = ip.hopLimit;
  ip.source.write(bytes, at + 8);
  ip.destination.write(bytes, at + 24);
  return IPV6_BYTES;
}

export interface Fragment {
  nextHeader: number;
  /** In bytes. */
  offset: number;
  more: boolean;
  id: number;
}

export function parseFragment(header: Uint8Array): Fragment {
  return {
    nextHeader: header[0],
    offset: ((header[2] << 8) | header[3]) & 0xfff8,
    more: (header[3] & 1) !== 0,
    id: ((header[4] << 24) | (header[5] << 16) | (header[6] << 8) | header[7]) >>> 0,
  };
}

export function writeFragment(bytes: Uint8Array, at: number, f: Fragment): number {
  const offset = f.offset | (f.more ? 1 : 0);
  bytes[at] = f.nextHeader;
  bytes[at + 1] = 0;
  bytes[at + 2] = offset >>> 8;
  bytes[at + 3] = offset;
  bytes[at + 4] = f.id >>> 24;
  bytes[at + 5] = f.id >>> 16;
  bytes[at + 6] = f.id >>> 8;
  bytes[at + 7] = f.id;
  return FRAGMENT_BYTES;
}

/** ICMPv6 parameter problem codes (RFC 4443 §3.4). */
const ParameterCode = { Header: 0, NextHeader: 1, Option: 2 } as const;

/** What the extension headers of a packet come to. `at` counts from the start of the IPv6 header. */
export type Extensions =
  /** The upper layer, or the fragment that is to be put together first; both at `at`. */
  | { kind: 'upper'; protocol: number; at: number; previousAt: number }
  | { kind: 'fragment'; fragment: Fragment; at: number; headerAt: number; previousAt: number }
  | { kind: 'drop' }
  /** To be reported, whatever the destination (`always`), or only if that is unicast. */
  | { kind: 'problem'; code: number; pointer: number; always: boolean };

/**
 * Walks the chain of a packet, from `protocol` at `at`, in order (RFC 8200 §4.1). The field that named a header is kept
 * (`previousAt`), for errors and for taking the fragment header out.
 */
export function walkExtensions(packet: Uint8Array, protocol: number, at: number, end: number, previousAt = 6): Extensions {
  // A packet of 64 KiB holds at most 8 K headers; nobody sends more than a few.
  for (let headers = 0; headers < 32; headers++) {
    switch (protocol) {
      case NextHeader.HopByHop:
      case NextHeader.DestinationOptions: {
        // §4.3: hop-by-hop options stand right behind the IPv6 header, or nowhere.
        if (protocol === NextHeader.HopByHop && at !== IPV6_BYTES) return { kind: 'problem', code: ParameterCode.NextHeader, pointer: previousAt, always: false };
        if (at + 8 > end || at + 8 * (packet[at + 1] + 1) > end) return { kind: 'drop' };
        const next = at + 8 * (packet[at + 1] + 1);
        const wrong = checkTlvs(packet, at + 2, next);
        if (wrong !== undefined) return wrong;
        [protocol, previousAt, at] = [packet[at], at, next];
        break;
      }
      case NextHeader.Routing: {
        if (at + 8 > end || at + 8 * (packet[at + 1] + 1) > end) return { kind: 'drop' };
        // §4.4: no type is known here (type 0: RFC 5095); with segments left it is an error, else skipped.
        if (packet[at + 3] !== 0) return { kind: 'problem', code: ParameterCode.Header, pointer: at + 2, always: false };
        [protocol, previousAt, at] = [packet[at], at, at + 8 * (packet[at + 1] + 1)];
        break;
      }
      case NextHeader.Fragment: {
        if (at + FRAGMENT_BYTES > end) return { kind: 'drop' };
        return { kind: 'fragment', fragment: parseFragment(packet.subarray(at, at + FRAGMENT_BYTES)), at: at + FRAGMENT_BYTES, headerAt: at, previousAt };
      }
      case NextHeader.NoNext:
        return { kind: 'drop' };
      default:
        return { kind: 'upper', protocol, at, previousAt };
    }
  }
  return { kind: 'drop' };
}

/**
 * The upper layer behind all extension headers, whatever is wrong with those: of a packet that can't be taken it must still be
 * known whether it is an ICMP error. Undefined if it is not in this packet, or the chain leads nowhere.
 */
export function findUpper(packet: Uint8Array): { protocol: number; at: number } | undefined {
  let protocol = packet[6];
  let at = IPV6_BYTES;
  while (at < packet.length) {
    switch (protocol) {
      case NextHeader.HopByHop:
      case NextHeader.DestinationOptions:
      case NextHeader.Routing:
        [protocol, at] = [packet[at], at + 8 * ((packet[at + 1] ?? 0) + 1)];
        break;
      case NextHeader.Fragment:
        if (at + FRAGMENT_BYTES > packet.length || parseFragment(packet.subarray(at, at + FRAGMENT_BYTES)).offset > 0) return undefined;
        [protocol, at] = [packet[at], at + FRAGMENT_BYTES];
        break;
      default:
        return { protocol, at };
    }
  }
  return undefined;
}

/** §4.2: what an unknown option asks for is in its type's two highest bits. */
function checkTlvs(packet: Uint8Array, from: number, end: number): Extensions | undefined {
  for (let i = from; i < end; ) {
    const type = packet[i];
    if (type === 0) {
      i++; // Pad1
      continue;
    }
    if (i + 2 > end || i + 2 + packet[i + 1] > end) return { kind: 'drop' };
    // PadN, Router Alert (RFC 2711)
    if (type !== 1 && type !== 5) {
      if (type >>> 6 === 1) return { kind: 'drop' };
      if (type >>> 6 >= 2) return { kind: 'problem', code: ParameterCode.Option, pointer: i, always: type >>> 6 === 2 };
    }
    i += 2 + packet[i + 1];
  }
  return undefined;
}
