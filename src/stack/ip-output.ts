import { type Address } from '../base/index.js';
import { type Destination } from './destination.js';
import { type Interface } from './interface.js';
import { type Packet } from './ip.js';
import { type Stack } from './stack.js';
import { ETHERNET_BYTES, EtherType, type Mac, writeMac } from './wire/ethernet.js';
import { IPV4_BYTES, type Ipv4, copiedOptions, writeIpv4 } from './wire/ipv4.js';
import { FRAGMENT_BYTES, IPV6_BYTES, type Ipv6, NextHeader, writeFragment, writeIpv6 } from './wire/ipv6.js';

/** What is to be sent. */
export interface OutgoingDatagram {
  destination: Address;
  /** Default: chosen by destination. The unspecified address is meant, where given. */
  source?: Address;
  protocol: number;
  payload: Uint8Array;
  hopLimit?: number;
  tos?: number;
  /** Only on this link. */
  via?: Interface;
  /** Told when the neighbour can't be found. */
  fail?: () => void;
}

export type SendResult = 'sent' | 'noRoute' | 'tooBig' | 'dropped';

const DEFAULT_HOPS = 64;

/** IPv4 and IPv6 on their way out: a route, fragments where the path takes less, a frame for each. */
export class IpOutput {
  private nextId: number;

  constructor(private readonly stack: Stack) {
    this.nextId = stack.random.uint32();
  }

  /** Sends a datagram, in fragments where it does not fit the path. */
  send(datagram: OutgoingDatagram): SendResult {
    const { stack } = this;
    const { destination, via } = datagram;
    if (via === undefined && (destination.isLoopback || stack.owns(destination))) {
      stack.loopback(this.local(datagram));
      return 'sent';
    }
    const out = stack.destinations.find(destination, via);
    if (out === undefined) {
      this.stack.ip.counters.noRoute++;
      return 'noRoute';
    }
    this.stack.ip.counters.sent++;
    return destination.family === 4 ? this.send4(out, datagram) : this.send6(out, datagram);
  }

  /** An IPv6 datagram that fits, to a neighbour on this link: to `mac`, or to whatever the neighbour cache knows or finds. */
  sendOnLink(iface: Interface, { destination, source, protocol, payload, hopLimit = DEFAULT_HOPS }: OutgoingDatagram & { source: Address }, mac?: Mac): void {
    const handle = iface.allocate();
    if (handle === -1) return;
    const { u8 } = iface.memory;
    const at = this.begin(iface, handle, EtherType.Ipv6);
    const header = writeIpv6(u8, at, { trafficClass: 0, flowLabel: 0, nextHeader: protocol, hopLimit, source, destination }, payload.length);
    u8.set(payload, at + header);
    this.stack.ip.counters.sent++;
    const length = ETHERNET_BYTES + header + payload.length;
    if (mac === undefined) {
      iface.sendTo(iface.neighbours.entry(destination), handle, length);
    } else {
      writeMac(u8, at - ETHERNET_BYTES, mac);
      iface.transmit(handle, length);
    }
  }

  private send4(out: Destination, { source, protocol, payload, hopLimit, tos = 0, fail }: OutgoingDatagram): SendResult {
    const { iface, mtu } = out;
    const fits = IPV4_BYTES + payload.length <= mtu;
    const ip: Omit<Ipv4, 'payload'> = {
      tos,
      // RFC 6864 §4.1: of a datagram that can't be fragmented any value will do; of others it must be unique for a while.
      id: this.nextId++ & 0xffff,
      dontFragment: fits,
      moreFragments: false,
      fragmentOffset: 0,
      ttl: hopLimit ?? (out.address.isMulticast ? 1 : DEFAULT_HOPS),
      protocol,
      source: source ?? out.source,
      destination: out.address,
      options: new Uint8Array(0),
    };
    if (IPV4_BYTES + payload.length > 65535) return this.tooBig();
    if (!fits) return this.fragment4(out, ip, payload, mtu, fail) ? 'sent' : 'dropped';
    const handle = iface.allocate();
    if (handle === -1) return 'dropped';
    const at = this.begin(iface, handle, EtherType.Ipv4);
    const header = writeIpv4(iface.memory.u8, at, ip, payload.length);
    return this.complete(out, handle, at + header, payload, fail) ? 'sent' : 'dropped';
  }

  /** RFC 791 §3.2: units of 8 bytes; options only where they are to be copied. */
  fragment4(out: Destination, ip: Omit<Ipv4, 'payload'>, payload: Uint8Array, mtu: number, fail?: () => void): boolean {
    const { iface } = out;
    for (let from = 0; from < payload.length; ) {
      const options = ip.fragmentOffset + from === 0 ? ip.options : copiedOptions(ip.options);
      const room = (mtu - IPV4_BYTES - options.length) & ~7;
      const left = payload.length - from;
      const bytes = Math.min(left, left <= mtu - IPV4_BYTES - options.length ? left : room);
      const handle = iface.allocate();
      if (handle === -1) return false;
      const at = this.begin(iface, handle, EtherType.Ipv4);
      const more = ip.moreFragments || from + bytes < payload.length;
      const header = writeIpv4(iface.memory.u8, at, { ...ip, options, dontFragment: false, moreFragments: more, fragmentOffset: ip.fragmentOffset + from }, bytes);
      this.stack.ip.counters.fragmentsSent++;
      if (!this.complete(out, handle, at + header, payload.subarray(from, from + bytes), from === 0 ? fail : undefined)) return false;
      from += bytes;
    }
    return true;
  }

  private send6(out: Destination, { source, protocol, payload, hopLimit = out.iface.stack.nd.hopLimit, tos = 0, fail }: OutgoingDatagram): SendResult {
    const { iface, mtu } = out;
    if (payload.length > 65535) return this.tooBig();
    const ip: Omit<Ipv6, 'payload'> = { trafficClass: tos, flowLabel: 0, nextHeader: protocol, hopLimit, source: source ?? out.source, destination: out.address };
    if (IPV6_BYTES + payload.length <= mtu) {
      const handle = iface.allocate();
      if (handle === -1) return 'dropped';
      const at = this.begin(iface, handle, EtherType.Ipv6);
      const header = writeIpv6(iface.memory.u8, at, ip, payload.length);
      return this.complete(out, handle, at + header, payload, fail) ? 'sent' : 'dropped';
    }
    // RFC 8200 §4.5. The identification is drawn, so that nobody can guess the next one (RFC 7739).
    const id = this.stack.random.uint32();
    const room = (mtu - IPV6_BYTES - FRAGMENT_BYTES) & ~7;
    for (let from = 0; from < payload.length; from += room) {
      const bytes = Math.min(room, payload.length - from);
      const handle = iface.allocate();
      if (handle === -1) return 'dropped';
      const at = this.begin(iface, handle, EtherType.Ipv6);
      const { u8 } = iface.memory;
      const header = writeIpv6(u8, at, { ...ip, nextHeader: NextHeader.Fragment }, FRAGMENT_BYTES + bytes);
      writeFragment(u8, at + header, { nextHeader: protocol, offset: from, more: from + bytes < payload.length, id });
      this.stack.ip.counters.fragmentsSent++;
      if (!this.complete(out, handle, at + header + FRAGMENT_BYTES, payload.subarray(from, from + bytes), from === 0 ? fail : undefined)) return 'dropped';
    }
    return 'sent';
  }

  private tooBig(): SendResult {
    this.stack.ip.counters.tooBig++;
    return 'tooBig';
  }

  /** Our addresses and the type; returns where the packet goes. The destination address goes in when it is known. */
  private begin(iface: Interface, handle: number, type: number): number {
    const { u8 } = iface.memory;
    const at = iface.driver.pool.offsetOf(handle);
    writeMac(u8, at + 6, iface.mac);
    u8[at + 12] = type >>> 8;
    u8[at + 13] = type;
    return at + ETHERNET_BYTES;
  }

  /** Copies the payload to `at`, behind the headers, and sends the whole. */
  private complete({ iface, neighbour }: Destination, handle: number, at: number, payload: Uint8Array, fail?: () => void): boolean {
    iface.memory.u8.set(payload, at);
    this.stack.copied(payload.length);
    return iface.sendTo(neighbour, handle, at + payload.length - iface.driver.pool.offsetOf(handle), fail);
  }

  /** The packet that a datagram to ourselves comes in as. */
  private local({ destination, source = destination, protocol, payload, hopLimit = DEFAULT_HOPS, tos = 0 }: OutgoingDatagram): Packet {
    const { family } = destination;
    const head = family === 4 ? IPV4_BYTES : IPV6_BYTES;
    const whole = new Uint8Array(head + payload.length);
    if (family === 4) {
      writeIpv4(whole, 0, {
        tos, id: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0, ttl: hopLimit, protocol, source, destination, options: new Uint8Array(0),
      }, payload.length);
    } else {
      writeIpv6(whole, 0, { trafficClass: tos, flowLabel: 0, nextHeader: protocol, hopLimit, source, destination }, payload.length);
    }
    whole.set(payload, head);
    this.stack.copied(payload.length);
    return {
      iface: this.stack.interfaces[0], family, source, destination, protocol, hopLimit, payload: whole.subarray(head), whole,
      toGroup: false, laterFragment: false, verified: true,
    };
  }

  /** A packet of another host's on its way through: copied, and changed in the copy. */
  relay(out: Destination, whole: Uint8Array, type: number, change: (u8: Uint8Array, at: number) => void, fail?: () => void): void {
    const { iface } = out;
    const handle = iface.allocate();
    if (handle === -1) return;
    const at = this.begin(iface, handle, type);
    iface.memory.u8.set(whole, at);
    this.stack.copied(whole.length);
    change(iface.memory.u8, at);
    this.stack.ip.counters.forwarded++;
    iface.sendTo(out.neighbour, handle, ETHERNET_BYTES + whole.length, fail);
  }
}
