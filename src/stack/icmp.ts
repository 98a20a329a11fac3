import { Address, TokenBucket } from '../base/index.js';
import { sumPseudo } from './checksum.js';
import { type Packet } from './ip.js';
import { type Stack } from './stack.js';
import { type Icmp, Icmpv4Type, Icmpv4Unreachable, Icmpv6Type, Icmpv6Unreachable, buildIcmp, isErrorType, parseIcmp } from './wire/icmp.js';
import { IPV4_BYTES, Protocol } from './wire/ipv4.js';
import { IPV6_BYTES, findUpper, walkExtensions } from './wire/ipv6.js';

export interface IcmpCounters {
  received: number;
  malformed: number;
  echoes: number;
  /** Echo requests to a group, which are not answered ("smurf"). */
  groupEchoes: number;
  errorsSent: number;
  /** Kept back by the rate limit. */
  errorsLimited: number;
  errorsReceived: number;
  unknown: number;
}

/** What an error says of the datagram of ours that it quotes. */
export interface QuotedDatagram {
  source: Address;
  destination: Address;
  protocol: number;
  /** From the upper layer's header on, as far as it was quoted. */
  head: Uint8Array;
}

export type IcmpErrorKind = 'unreachable' | 'portUnreachable' | 'tooBig' | 'timeExceeded' | 'parameterProblem' | 'unknown';

/** RFC 1122 §3.2.2: at least 8 bytes behind the header; RFC 1812 §4.3.2.3: as much as fits 576. RFC 4443 §2.4 c: as fits 1280. */
const QUOTE = { 4: 576 - 20 - 8, 6: 1280 - 40 - 8 } as const;

/** ICMP (RFC 792, 1122, 1812) and ICMPv6 (RFC 4443). */
export class IcmpLayer {
  readonly counters: IcmpCounters = { received: 0, malformed: 0, echoes: 0, groupEchoes: 0, errorsSent: 0, errorsLimited: 0, errorsReceived: 0, unknown: 0 };
  /** Told of each echo reply: what a ping of one's own waits for. */
  onEchoReply: (source: Address, identifier: number, sequence: number, body: Uint8Array) => void = () => undefined;
  private readonly limit: TokenBucket;

  constructor(
    private readonly stack: Stack,
    limit: { perSecond: number; burst: number },
  ) {
    this.limit = new TokenBucket(limit.perSecond, limit.burst, stack.nowUs);
  }

  input(packet: Packet): void {
    const v6 = packet.family === 6;
    this.counters.received++;
    const icmp = parseIcmp(packet.payload, v6 ? pseudo(packet.source, packet.destination, packet.payload.length) : 0);
    if (icmp === undefined) return this.count('malformed');
    if (isErrorType(v6, icmp.type)) return this.inputError(packet, icmp);
    switch (icmp.type) {
      case v6 ? Icmpv6Type.Echo : Icmpv4Type.Echo:
        return this.echo(packet, icmp);
      case v6 ? Icmpv6Type.EchoReply : Icmpv4Type.EchoReply:
        return this.onEchoReply(packet.source, icmp.rest >>> 16, icmp.rest & 0xffff, icmp.body);
      case Icmpv6Type.RouterSolicitation:
      case Icmpv6Type.RouterAdvertisement:
      case Icmpv6Type.NeighbourSolicitation:
      case Icmpv6Type.NeighbourAdvertisement:
        if (v6) return this.stack.nd.input(packet, icmp);
        break;
      default:
    }
    this.counters.unknown++; // RFC 1122 §3.2.2: silently discarded
  }

  /** RFC 1122 §3.2.2.6, RFC 4443 §4.2: the same bytes back, from the address they came to. */
  private echo(packet: Packet, icmp: Icmp): void {
    const { source, destination, iface } = packet;
    if (packet.toGroup || destination.isMulticast || iface.isBroadcast(destination)) return this.count('groupEchoes');
    this.counters.echoes++;
    this.send(source, destination, { type: packet.family === 6 ? Icmpv6Type.EchoReply : Icmpv4Type.EchoReply, code: 0, rest: icmp.rest, body: icmp.body }, packet);
  }

  /** Sends a message; link-local ones out of the interface that `about` came in by. */
  private send(destination: Address, source: Address, icmp: Icmp, about?: Packet): void {
    const v6 = destination.family === 6;
    const length = 8 + icmp.body.length;
    const via = about !== undefined && v6 && destination.isLinkLocal ? { via: about.iface } : {};
    this.stack.output.send({
      destination, source, ...via,
      protocol: v6 ? Protocol.Icmpv6 : Protocol.Icmp,
      payload: buildIcmp(icmp, v6 ? pseudo(source, destination, length) : 0),
    });
  }

  /** An echo request. */
  ping(destination: Address, identifier: number, sequence: number, body: Uint8Array): boolean {
    const out = destination.isLoopback ? destination : this.stack.destinations.find(destination)?.source;
    if (out === undefined) return false;
    const type = destination.family === 6 ? Icmpv6Type.Echo : Icmpv4Type.Echo;
    this.send(destination, out, { type, code: 0, rest: ((identifier << 16) | sequence) >>> 0, body });
    return true;
  }

  /**
   * Reports an error to the sender of a packet, unless the rules forbid it (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7, RFC 4443 §2.4 e):
   * not about an error, a group's packet, a later fragment (of IPv4's), or a source that is not one host; and never too often.
   */
  error(about: Packet, type: number, code: number, rest: number, always = false): void {
    const { family, source, destination, iface } = about;
    const v6 = family === 6;
    if (!source.isSource || about.laterFragment) return;
    // Packet Too Big may answer a multicast, so that path MTU discovery works for it (RFC 4443 §2.4 e.3).
    const group = about.toGroup || destination.isMulticast || iface.isBroadcast(destination);
    if (group && !always && !(v6 && type === Icmpv6Type.PacketTooBig)) return;
    if (isErrorAbout(about)) return;
    if (!this.limit.take()) return this.count('errorsLimited');
    // From the address that was meant, if it is ours (RFC 4443 §2.2 a).
    const from = this.stack.owns(destination, iface) ? destination : iface.sourceFor(source);
    if (from === undefined) return;
    this.counters.errorsSent++;
    const body = about.whole.slice(0, QUOTE[family]);
    this.send(source, from, { type, code, rest: rest >>> 0, body }, about);
  }

  /** RFC 1122 §3.2.2: goes to the layer that sent the quoted datagram. */
  private inputError(packet: Packet, icmp: Icmp): void {
    this.counters.errorsReceived++;
    const quoted = packet.family === 6 ? quoted6(icmp.body) : quoted4(icmp.body);
    // Only of what we have sent (RFC 8201 §4, RFC 5927 §4).
    if (quoted === undefined || !this.stack.owns(quoted.source)) return this.count('malformed');
    const v6 = packet.family === 6;
    if (quoted.protocol === Protocol.Udp && !this.stack.udp.sent(quoted)) return this.count('malformed');
    const kind = v6 ? kind6(icmp) : kind4(icmp);
    if (kind === undefined) return this.count('unknown');
    if (kind === 'tooBig') {
      const mtu = v6 ? icmp.rest : icmp.rest & 0xffff;
      // A router of before RFC 1191 says 0: the least that all take is then assumed.
      this.stack.destinations.find(quoted.destination)?.learnMtu(mtu === 0 ? 576 : mtu, this.stack.timers, this.stack.epoch);
    }
    if (quoted.protocol === Protocol.Udp) this.stack.udp.inputError(quoted, kind);
  }

  private count(cause: keyof IcmpCounters): void {
    this.counters[cause]++;
  }
}

function kind4({ type, code }: Icmp): IcmpErrorKind | undefined {
  switch (type) {
    case Icmpv4Type.Unreachable:
      if (code === Icmpv4Unreachable.Port) return 'portUnreachable';
      return code === Icmpv4Unreachable.FragmentationNeeded ? 'tooBig' : 'unreachable';
    case Icmpv4Type.TimeExceeded:
      return 'timeExceeded';
    case Icmpv4Type.ParameterProblem:
      return 'parameterProblem';
    default:
      return undefined;
  }
}

function kind6({ type, code }: Icmp): IcmpErrorKind {
  switch (type) {
    case Icmpv6Type.Unreachable:
      return code === Icmpv6Unreachable.Port ? 'portUnreachable' : 'unreachable';
    case Icmpv6Type.PacketTooBig:
      return 'tooBig';
    case Icmpv6Type.TimeExceeded:
      return 'timeExceeded';
    case Icmpv6Type.ParameterProblem:
      return 'parameterProblem';
    default:
      return 'unknown'; // RFC 4443 §2.4 a: passed on to whom it concerns
  }
}

function quoted4(body: Uint8Array): QuotedDatagram | undefined {
  const header = (body[0] & 15) * 4;
  if (body.length < IPV4_BYTES || body[0] >>> 4 !== 4 || header < IPV4_BYTES || body.length < header + 8) return undefined;
  return { source: Address.read(body, 12, 4), destination: Address.read(body, 16, 4), protocol: body[9], head: body.subarray(header) };
}

function quoted6(body: Uint8Array): QuotedDatagram | undefined {
  if (body.length < IPV6_BYTES || body[0] >>> 4 !== 6) return undefined;
  const upper = walkExtensions(body, body[6], IPV6_BYTES, body.length);
  const [protocol, at] = upper.kind === 'upper' ? [upper.protocol, upper.at] : upper.kind === 'fragment' ? [upper.fragment.nextHeader, upper.at] : [-1, 0];
  if (protocol === -1) return undefined;
  return { source: Address.read(body, 8, 6), destination: Address.read(body, 24, 6), protocol, head: body.subarray(at) };
}

/** Whether the packet is an ICMP error itself. Its first bytes are looked at, not its checksum. */
function isErrorAbout({ family, whole }: Packet): boolean {
  if (family === 4) {
    const at = (whole[0] & 15) * 4;
    return whole[9] === Protocol.Icmp && isErrorType(false, whole[at] ?? 3);
  }
  const upper = findUpper(whole);
  return upper?.protocol === Protocol.Icmpv6 && isErrorType(true, whole[upper.at] ?? 0);
}

/** The sum of ICMPv6's pseudo-header (RFC 4443 §2.3). */
export function pseudo(source: Address, destination: Address, length: number): number {
  const bytes = new Uint8Array(32);
  source.write(bytes, 0);
  destination.write(bytes, 16);
  return sumPseudo(bytes, 0, 16, Protocol.Icmpv6, length);
}
