// ICMP messages: ICMPv4 (RFC 792) and ICMPv6 (RFC 4443) have one form, {type, code, checksum, rest of header, body}.
import { finish, fold, sumBytes } from '../checksum.js';

const ICMP_BYTES = 8;

export const Icmpv4Type = { EchoReply: 0, Unreachable: 3, Echo: 8, TimeExceeded: 11, ParameterProblem: 12 } as const;
export const Icmpv4Unreachable = { Net: 0, Host: 1, Protocol: 2, Port: 3, FragmentationNeeded: 4, SourceRouteFailed: 5, AdminProhibited: 13 } as const;

export const Icmpv6Type = {
  Unreachable: 1,
  PacketTooBig: 2,
  TimeExceeded: 3,
  ParameterProblem: 4,
  Echo: 128,
  EchoReply: 129,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighbourSolicitation: 135,
  NeighbourAdvertisement: 136,
} as const;
export const Icmpv6Unreachable = { NoRoute: 0, AdminProhibited: 1, Address: 3, Port: 4 } as const;

export const TimeExceeded = { Hops: 0, Reassembly: 1 } as const;

export interface Icmp {
  type: number;
  code: number;
  /** The second word: identifier and sequence number, MTU, pointer, … */
  rest: number;
  body: Uint8Array;
}

/** `pseudo`: the sum of ICMPv6's pseudo-header, 0 for ICMPv4. Undefined if too short or the checksum is wrong. */
export function parseIcmp(bytes: Uint8Array, pseudo: number): Icmp | undefined {
  if (bytes.length < ICMP_BYTES || fold(sumBytes(bytes, 0, bytes.length, pseudo)) !== 0xffff) return undefined;
  return {
    type: bytes[0],
    code: bytes[1],
    rest: ((bytes[4] << 24) | (bytes[5] << 16) | (bytes[6] << 8) | bytes[7]) >>> 0,
    body: bytes.subarray(ICMP_BYTES),
  };
}

export function buildIcmp(icmp: Icmp, pseudo: number): Uint8Array {
  const bytes = new Uint8Array(ICMP_BYTES + icmp.body.length);
  bytes.set([icmp.type, icmp.code, 0, 0, icmp.rest >>> 24, icmp.rest >>> 16, icmp.rest >>> 8, icmp.rest]);
  bytes.set(icmp.body, ICMP_BYTES);
  const checksum = finish(sumBytes(bytes, 0, bytes.length, pseudo));
  bytes[2] = checksum >>> 8;
  bytes[3] = checksum;
  return bytes;
}

/** Whether a message reports an error, and so must never be answered with one (RFC 1122 §3.2.2, RFC 4443 §2.4 e). */
export function isErrorType(v6: boolean, type: number): boolean {
  if (v6) return type < 128;
  // Unreachable, source quench, redirect, time exceeded, parameter problem
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}
