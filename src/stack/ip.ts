import { type Address, type Family } from '../base/index.js';
import { type Interface } from './interface.js';
import { type FirstFragment, Reassembly, type ReassemblyOptions } from './reassembly.js';
import { ALL_HOSTS } from './nd.js';
import { type Stack } from './stack.js';
import { update } from './checksum.js';
import { EtherType } from './wire/ethernet.js';
import { Icmpv4Type, Icmpv4Unreachable, Icmpv6Type, Icmpv6Unreachable, TimeExceeded } from './wire/icmp.js';
import { IPV4_BYTES, type Ipv4, Protocol, checkOptions, parseIpv4 } from './wire/ipv4.js';
import { IPV6_BYTES, type Ipv6, NextHeader, parseIpv6, walkExtensions } from './wire/ipv6.js';

/** A packet that came in. Views into the frame's buffer: valid until whoever gets it returns. */
export interface Packet {
  iface: Interface;
  family: Family;
  source: Address;
  destination: Address;
  protocol: number;
  hopLimit: number;
  /** Of the upper layer. */
  payload: Uint8Array;
  /** From the IP header on, as it came: what an ICMP error quotes. */
  whole: Uint8Array;
  /** It came to a station group: no error may answer it (RFC 1122 §3.2.2). */
  toGroup: boolean;
  /** A later fragment of an IPv4 datagram: no error may answer it either. IPv6 wants some about those (RFC 8200 §4.5). */
  laterFragment: boolean;
  /** The card has verified the transport checksum. */
  verified: boolean;
}

export interface IpCounters {
  received: number;
  delivered: number;
  forwarded: number;
  sent: number;
  truncated: number;
  badVersion: number;
  badHeader: number;
  badChecksum: number;
  badOptions: number;
  /** A source that no host can have, or our own. */
  martians: number;
  /** For somebody else, and we are no router. */
  notOurs: number;
  noRoute: number;
  tooBig: number;
  hopsExceeded: number;
  fragmentsSent: number;
  unknownProtocol: number;
}

/** IPv4 and IPv6, from the wire: to us, or through us to others. What goes out is ip-output.ts. */
export class Ip {
  readonly counters: IpCounters = {
    received: 0, delivered: 0, forwarded: 0, sent: 0, truncated: 0, badVersion: 0, badHeader: 0, badChecksum: 0, badOptions: 0,
    martians: 0, notOurs: 0, noRoute: 0, tooBig: 0, hopsExceeded: 0, fragmentsSent: 0, unknownProtocol: 0,
  };
  /** IPv4's and IPv6's fragments in one table, under one limit: addresses tell them apart. */
  readonly reassembly: Reassembly;

  constructor(
    private readonly stack: Stack,
    options: ReassemblyOptions,
  ) {
    this.reassembly = new Reassembly(options, stack.timers, (first) => {
      this.reassemblyTimedOut(first);
    });
  }

  // --- in ---

  /** An IPv4 packet behind an Ethernet header. */
  input4(iface: Interface, whole: Uint8Array, toGroup: boolean, verified: boolean): void {
    this.counters.received++;
    const ip = parseIpv4(whole);
    if (typeof ip === 'string') return this.count(ip);
    const { source, destination } = ip;
    const packet: Packet = {
      iface, family: 4, source, destination, protocol: ip.protocol, hopLimit: ip.ttl, payload: ip.payload,
      whole: whole.subarray(0, IPV4_BYTES + ip.options.length + ip.payload.length),
      toGroup, laterFragment: ip.fragmentOffset > 0, verified,
    };
    if (!this.plausible(packet)) return;
    const options = checkOptions(ip.options);
    if (options !== 'ok') {
      this.counters.badOptions++;
      // RFC 7126 §4.3: source routes are dropped; a router says so (RFC 1812 §5.2.4.1).
      if (options === 'sourceRoute') this.stack.icmp.error(packet, Icmpv4Type.Unreachable, Icmpv4Unreachable.SourceRouteFailed, 0);
      else this.stack.icmp.error(packet, Icmpv4Type.ParameterProblem, 0, options.badAt << 24);
      return;
    }
    const broadcast = iface.isBroadcast(destination);
    if (!broadcast && !destination.isMulticast && !this.stack.owns(destination, iface)) return this.forward4(packet, ip);
    // RFC 1122 §3.2.1.3: of groups those that we are in, which is all hosts (§3.3.7).
    if (destination.isMulticast && !destination.equals(ALL_HOSTS)) return this.count('notOurs');
    // RFC 1122 §3.3.6: what came to all stations must be meant for all.
    if (toGroup && !broadcast && !destination.isMulticast) return this.count('martians');
    if (!ip.moreFragments && ip.fragmentOffset === 0) return this.deliver(packet);
    const first = ip.fragmentOffset === 0 ? { protocol: ip.protocol, packet: packet.whole.slice() } : undefined;
    const done = this.reassembly.add(source, destination, ip.id, ip.protocol, ip.fragmentOffset, ip.moreFragments, ip.payload, first);
    if (done === undefined) return;
    const head = done.first.packet.subarray(0, (done.first.packet[0] & 15) * 4);
    this.deliver(this.rebuilt(packet, head, done.payload, ip.protocol));
  }

  input6(iface: Interface, whole: Uint8Array, toGroup: boolean, verified: boolean): void {
    this.counters.received++;
    const ip = parseIpv6(whole);
    if (typeof ip === 'string') return this.count(ip);
    const { source, destination } = ip;
    const end = IPV6_BYTES + ip.payload.length;
    const packet: Packet = {
      iface, family: 6, source, destination, protocol: ip.nextHeader, hopLimit: ip.hopLimit, payload: ip.payload,
      whole: whole.subarray(0, end), toGroup, laterFragment: false, verified,
    };
    if (!this.plausible(packet)) return;
    if (!destination.isMulticast && !this.stack.owns(destination, iface)) {
      if (this.stack.nd.isTentative(destination)) return this.count('notOurs');
      return this.forward6(packet, ip);
    }
    if (destination.isMulticast && !this.stack.nd.listens(iface, destination)) return this.count('notOurs');
    this.extensions(packet, ip.nextHeader, IPV6_BYTES, 6);
  }

  /** `rebuilt`: its fragment header was taken out already. */
  private extensions(packet: Packet, protocol: number, from: number, previousAt: number, rebuilt = false): void {
    const { whole, source, destination } = packet;
    const found = walkExtensions(whole, protocol, from, whole.length, previousAt);
    switch (found.kind) {
      case 'drop':
        this.counters.badOptions++;
        return;
      case 'problem':
        this.counters.badOptions++;
        // RFC 4443 §2.4 e.3: an option of that kind is reported even to a multicast's sender.
        this.stack.icmp.error(packet, Icmpv6Type.ParameterProblem, found.code, found.pointer, found.always);
        return;
      case 'upper':
        packet.protocol = found.protocol;
        packet.payload = whole.subarray(found.at);
        this.deliver(packet, found.previousAt);
        return;
      case 'fragment': {
        const { fragment, at, headerAt } = found;
        // RFC 8200 §4.1: once at most. Thousands, one in the other, would cost a copy of the packet each.
        if (rebuilt) return this.count('badOptions');
        const payload = whole.subarray(at);
        // RFC 6946: an atomic fragment is whole, whatever else is under way.
        if (fragment.offset === 0 && !fragment.more) {
          packet.verified = false;
          return this.extensions(this.rebuilt(packet, whole.subarray(0, headerAt), payload, fragment.nextHeader, found.previousAt), fragment.nextHeader, headerAt, found.previousAt, true);
        }
        // RFC 8200 §4.5: all but the last are multiples of 8 bytes, none reaches over 65,535; that is reported.
        if (fragment.more && payload.length % 8 !== 0) {
          this.stack.icmp.error(packet, Icmpv6Type.ParameterProblem, 0, 4);
          return this.count('badHeader');
        }
        if (fragment.offset + payload.length > 65535) {
          this.stack.icmp.error(packet, Icmpv6Type.ParameterProblem, 0, headerAt + 2);
          return this.count('badHeader');
        }
        const first = fragment.offset === 0 ? { protocol: fragment.nextHeader, packet: whole.slice() } : undefined;
        const done = this.reassembly.add(source, destination, fragment.id, NextHeader.Fragment, fragment.offset, fragment.more, payload, first);
        if (done === undefined) return;
        // The headers ahead are the first fragment's, whatever stood ahead of the others (RFC 8200 §4.5).
        const { packet: first6, protocol: upper } = done.first;
        const ahead = walkExtensions(first6, first6[6], IPV6_BYTES, first6.length);
        if (ahead.kind !== 'fragment') return;
        const head = first6.subarray(0, ahead.headerAt);
        return this.extensions(this.rebuilt(packet, head, done.payload, upper, ahead.previousAt), upper, ahead.headerAt, ahead.previousAt, true);
      }
    }
  }

  /** A packet of its own, of the headers of the first fragment and the whole payload. */
  private rebuilt(packet: Packet, head: Uint8Array, payload: Uint8Array, protocol: number, protocolAt?: number): Packet {
    const whole = new Uint8Array(head.length + payload.length);
    whole.set(head);
    whole.set(payload, head.length);
    this.stack.copied(whole.length);
    if (protocolAt !== undefined) whole[protocolAt] = protocol;
    return { ...packet, protocol, whole, payload: whole.subarray(head.length), laterFragment: false, verified: false };
  }

  /** Source addresses that no host may use (RFC 1122 §3.2.1.3, RFC 1812 §5.3.7, RFC 4291 §2.7), and "land" (our own). */
  private plausible({ source, destination, iface, family }: Packet): boolean {
    const fine =
      (source.isSource ? !source.isLoopback && !iface.isBroadcast(source) && !this.stack.owns(source, iface) : source.isUnspecified && family === 6) &&
      !destination.isLoopback &&
      !destination.isUnspecified;
    if (!fine) this.counters.martians++;
    return fine;
  }

  private count(cause: keyof IpCounters): void {
    this.counters[cause]++;
  }

  private deliver(packet: Packet, protocolAt = 0): void {
    const { stack } = this;
    this.counters.delivered++;
    switch (packet.protocol) {
      case Protocol.Udp:
        return stack.udp.input(packet);
      case Protocol.Icmp:
        if (packet.family === 4) return stack.icmp.input(packet);
        break;
      case Protocol.Icmpv6:
        if (packet.family === 6) return stack.icmp.input(packet);
        break;
      default:
    }
    this.counters.unknownProtocol++;
    if (packet.family === 4) stack.icmp.error(packet, Icmpv4Type.Unreachable, Icmpv4Unreachable.Protocol, 0);
    else stack.icmp.error(packet, Icmpv6Type.ParameterProblem, 1, protocolAt);
  }

  private reassemblyTimedOut({ packet: whole }: FirstFragment): void {
    const iface = this.stack.interfaces[0];
    const v4 = whole[0] >>> 4 === 4;
    const ip = v4 ? parseIpv4(whole) : parseIpv6(whole);
    if (typeof ip === 'string') return;
    const packet: Packet = {
      iface, family: v4 ? 4 : 6, source: ip.source, destination: ip.destination, protocol: 0, hopLimit: 0, payload: ip.payload,
      whole, toGroup: false, laterFragment: false, verified: false,
    };
    this.stack.icmp.error(packet, v4 ? Icmpv4Type.TimeExceeded : Icmpv6Type.TimeExceeded, TimeExceeded.Reassembly, 0);
  }

  // --- through (RFC 1812 §5.2, RFC 8200 §3) ---

  private forward4(packet: Packet, ip: Ipv4): void {
    const { stack } = this;
    const { source, destination } = packet;
    // RFC 1812 §4.2.2.11, §5.3.4: not what came to a group, nor to or from addresses that mean something here only.
    if (!stack.forwarding || packet.toGroup || destination.isLinkLocal || source.isLinkLocal || !destination.isSource) return this.count('notOurs');
    if (ip.ttl <= 1) {
      this.counters.hopsExceeded++;
      return stack.icmp.error(packet, Icmpv4Type.TimeExceeded, TimeExceeded.Hops, 0);
    }
    const out = stack.destinations.find(destination);
    if (out === undefined) {
      this.counters.noRoute++;
      return stack.icmp.error(packet, Icmpv4Type.Unreachable, Icmpv4Unreachable.Net, 0);
    }
    // RFC 1812 §5.3.5: directed broadcasts into a subnet of ours are not forwarded (RFC 2644).
    if (out.iface.isBroadcast(destination)) return this.count('notOurs');
    const { mtu } = out.iface;
    const fail = out.neighbour.usable ? undefined : this.hostUnreachable(packet);
    if (packet.whole.length <= mtu) {
      stack.output.relay(out, packet.whole, EtherType.Ipv4, (u8, at) => {
        const before = (u8[at + 8] << 8) | u8[at + 9];
        u8[at + 8]--;
        const checksum = update((u8[at + 10] << 8) | u8[at + 11], before, before - 0x100);
        u8[at + 10] = checksum >>> 8;
        u8[at + 11] = checksum;
      }, fail);
      return;
    }
    if (ip.dontFragment) {
      this.counters.tooBig++;
      return stack.icmp.error(packet, Icmpv4Type.Unreachable, Icmpv4Unreachable.FragmentationNeeded, mtu);
    }
    this.counters.forwarded++;
    stack.output.fragment4(out, { ...ip, ttl: ip.ttl - 1 }, ip.payload, mtu, fail);
  }

  private forward6(packet: Packet, ip: Ipv6): void {
    const { stack } = this;
    if (!stack.forwarding || packet.toGroup || ip.destination.isLinkLocal || ip.source.isLinkLocal || ip.source.isUnspecified) return this.count('notOurs');
    if (ip.hopLimit <= 1) {
      this.counters.hopsExceeded++;
      return stack.icmp.error(packet, Icmpv6Type.TimeExceeded, TimeExceeded.Hops, 0);
    }
    const out = stack.destinations.find(ip.destination);
    if (out === undefined) {
      this.counters.noRoute++;
      return stack.icmp.error(packet, Icmpv6Type.Unreachable, Icmpv6Unreachable.NoRoute, 0);
    }
    if (packet.whole.length > out.iface.mtu) {
      this.counters.tooBig++;
      return stack.icmp.error(packet, Icmpv6Type.PacketTooBig, 0, out.iface.mtu);
    }
    stack.output.relay(out, packet.whole, EtherType.Ipv6, (u8, at) => {
      u8[at + 7]--;
    }, out.neighbour.usable ? undefined : this.hostUnreachable(packet));
  }

  /** What goes back to the sender when the last hop's neighbour does not answer (RFC 1812 §5.2.7.1, RFC 4443 §3.1). */
  private hostUnreachable(packet: Packet): () => void {
    const kept = { ...packet, whole: packet.whole.slice(0, 1280) };
    return () => {
      if (kept.family === 4) this.stack.icmp.error(kept, Icmpv4Type.Unreachable, Icmpv4Unreachable.Host, 0);
      else this.stack.icmp.error(kept, Icmpv6Type.Unreachable, Icmpv6Unreachable.Address, 0);
    };
  }

  // --- from ourselves ---

  /** Handed over by the loop: what a datagram of ours to ourselves comes to. */
  inputLocal(packet: Packet): void {
    this.counters.received++;
    this.deliver(packet);
  }
}
