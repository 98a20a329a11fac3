// What the tests of the stack share: packets to build and to read, and a host under test on wires whose other ends are in the
// test's hand, in virtual time.
import { Host, type HostInterfaceOptions, type HostOptions } from '../../src/host/index.js';
import { Engine, Link, type LinkOptions, type NicOptions } from '../../src/nic/index.js';
import { Address } from '../../src/base/index.js';
import { sumPseudo } from '../../src/stack/checksum.js';
import { pseudo } from '../../src/stack/icmp.js';
import { type Interface } from '../../src/stack/interface.js';
import { type Arp, ArpOperation, buildArp, parseArp } from '../../src/stack/wire/arp.js';
import { EtherType, type Mac, readMac, writeEthernet } from '../../src/stack/wire/ethernet.js';
import { type Icmp, Icmpv6Type, buildIcmp, parseIcmp } from '../../src/stack/wire/icmp.js';
import { type Ipv4, Protocol, parseIpv4, writeIpv4 } from '../../src/stack/wire/ipv4.js';
import { type Ipv6, parseIpv6, walkExtensions, writeIpv6 } from '../../src/stack/wire/ipv6.js';
import { type NdOptions, AdvertisementFlag, buildNeighbour } from '../../src/stack/wire/ndp.js';
import { parseUdp, writeUdp } from '../../src/stack/wire/udp.js';
import { Host as Card } from '../nic/rig.js';

export const US = '02:00:00:00:00:0a';
const PEER = '02:00:00:00:00:0b';
export const US_MAC = 0x02000000000a;
export const PEER_MAC = 0x02000000000b;
export const US4 = '198.18.0.1';
export const PEER4 = '198.18.0.2';
export const US6 = 'fd00::1';
export const PEER6 = 'fd00::2';
/** Link-local, of US_MAC's modified EUI-64 and one of the peer's choice. */
export const USL = 'fe80::ff:fe00:a';
export const PEERL = 'fe80::2';
export const SECOND_US = 1e6;

export const ip = (text: string): Address => Address.parse(text);
export const bytesOf = (hex: string): Uint8Array => Uint8Array.from((hex.replace(/\s+/g, '').match(/../g) ?? []).map((b) => Number.parseInt(b, 16)));
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Bytes that say where they belong: a number and a pattern of it. */
export function patterned(number: number, length: number): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => number * 37 + i * 11 + (i >>> 8) * 3);
  if (length >= 4) new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

// --- building ---

export function ethernet(type: number, payload: Uint8Array, to: Mac = US_MAC, from: Mac = PEER_MAC): Uint8Array {
  const frame = new Uint8Array(14 + payload.length);
  writeEthernet(frame, 0, to, from, type);
  frame.set(payload, 14);
  return frame;
}

type Texts<T> = Partial<Omit<T, 'source' | 'destination' | 'payload'>> & { source?: string; destination?: string };

/** An IPv4 packet, by default from the peer to us. */
export function ip4(protocol: number, payload: Uint8Array, { source = PEER4, destination = US4, options = new Uint8Array(0), ...rest }: Texts<Ipv4> = {}): Uint8Array {
  const packet = new Uint8Array(20 + options.length + payload.length);
  const header = writeIpv4(packet, 0, {
    tos: 0, id: 7, dontFragment: false, moreFragments: false, fragmentOffset: 0, ttl: 64, protocol, options, ...rest,
    source: ip(source), destination: ip(destination),
  }, payload.length);
  packet.set(payload, header);
  return packet;
}

/** An IPv6 packet, by default from the peer to us; extension headers are part of the payload. */
export function ip6(nextHeader: number, payload: Uint8Array, { source = PEER6, destination = US6, ...rest }: Texts<Ipv6> = {}): Uint8Array {
  const packet = new Uint8Array(40 + payload.length);
  writeIpv6(packet, 0, { trafficClass: 0, flowLabel: 0, nextHeader, hopLimit: 64, ...rest, source: ip(source), destination: ip(destination) }, payload.length);
  packet.set(payload, 40);
  return packet;
}

/** A UDP header and payload, with a checksum for these addresses. */
export function udpSegment(source: string, destination: string, sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const segment = new Uint8Array(8 + payload.length);
  segment.set(payload, 8);
  const [from, to] = [ip(source), ip(destination)];
  const addresses = new Uint8Array(2 * from.bytes);
  from.write(addresses, 0);
  to.write(addresses, from.bytes);
  writeUdp(segment, 0, sourcePort, destinationPort, payload.length, sumPseudo(addresses, 0, from.bytes, Protocol.Udp, 0));
  return segment;
}

export interface UdpFrame {
  source?: string;
  destination?: string;
  sourcePort?: number;
  port?: number;
  payload?: Uint8Array;
  to?: Mac;
  from?: Mac;
  ttl?: number;
}

/** A frame with a datagram, by default from the peer's port 4000 to our port 5000. */
export function udpFrame({ source = PEER4, destination = US4, sourcePort = 4000, port = 5000, payload = Uint8Array.of(1, 2, 3, 4), to = US_MAC, from = PEER_MAC, ttl = 64 }: UdpFrame = {}): Uint8Array {
  const segment = udpSegment(source, destination, sourcePort, port, payload);
  return source.includes(':')
    ? ethernet(EtherType.Ipv6, ip6(Protocol.Udp, segment, { source, destination, hopLimit: ttl }), to, from)
    : ethernet(EtherType.Ipv4, ip4(Protocol.Udp, segment, { source, destination, ttl }), to, from);
}

/** An ICMP message in a frame; ICMPv6 if the addresses are IPv6's. */
export function icmpFrame(type: number, code: number, rest: number, body: Uint8Array, o: { source?: string; destination?: string; hopLimit?: number; to?: Mac; from?: Mac } = {}): Uint8Array {
  const { source = PEER4, to = US_MAC, from = PEER_MAC } = o;
  const v6 = source.includes(':');
  const { destination = v6 ? US6 : US4, hopLimit = 64 } = o;
  const message = buildIcmp({ type, code, rest, body }, v6 ? pseudo(ip(source), ip(destination), 8 + body.length) : 0);
  return v6
    ? ethernet(EtherType.Ipv6, ip6(Protocol.Icmpv6, message, { source, destination, hopLimit }), to, from)
    : ethernet(EtherType.Ipv4, ip4(Protocol.Icmp, message, { source, destination, ttl: hopLimit }), to, from);
}

export function arpFrame(operation: number, { senderMac = PEER_MAC, sender = PEER4, targetMac = 0, target = US4, to = 0xffffffffffff }: Partial<Omit<Arp, 'sender' | 'target'>> & { sender?: string; target?: string; to?: Mac } = {}): Uint8Array {
  return ethernet(EtherType.Arp, buildArp({ operation, senderMac, sender: ip(sender), targetMac, target: ip(target) }), to, senderMac);
}

export interface NdFrame {
  source?: string;
  destination?: string;
  options?: Omit<NdOptions, 'prefixes'>;
  flags?: number;
  hopLimit?: number;
  to?: Mac;
  from?: Mac;
}

export function neighbourFrame(type: number, target: string, { source = PEER6, destination = US6, options = {}, flags = 0, hopLimit = 255, ...macs }: NdFrame = {}): Uint8Array {
  return icmpFrame(type, 0, flags >>> 0, buildNeighbour(ip(target), { ...options, prefixes: [] }), { source, destination, hopLimit, ...macs });
}

// --- reading ---

export interface Seen {
  frame: Uint8Array;
  atUs: number;
  to: Mac;
  from: Mac;
  /** The IP packet, or the ARP message. */
  packet: Uint8Array;
  arp?: Arp;
  v4?: Ipv4;
  v6?: Ipv6;
  icmp?: Icmp;
  udp?: { sourcePort: number; destinationPort: number; payload: Uint8Array };
  /** All of it that tests ask for most, in a line. */
  text: string;
}

/** A frame as a line: what it is, whose, and for whom. Throws if a checksum is wrong: we never send such. */
function see(frame: Uint8Array, atUs: number): Seen {
  const packet = frame.subarray(14);
  const seen: Seen = { frame, atUs, to: readMac(frame, 0), from: readMac(frame, 6), packet, text: '' };
  const type = (frame[12] << 8) | frame[13];
  if (type === EtherType.Arp) {
    const arp = parseArp(packet);
    if (arp === undefined) throw new Error('a malformed ARP message was sent');
    seen.arp = arp;
    seen.text = `arp ${arp.operation === ArpOperation.Request ? 'request' : 'reply'} ${arp.sender.toString()} > ${arp.target.toString()}`;
    return seen;
  }
  const v4 = type === EtherType.Ipv4 ? parseIpv4(packet) : undefined;
  const v6 = type === EtherType.Ipv6 ? parseIpv6(packet) : undefined;
  const head = v4 ?? v6;
  if (head === undefined) {
    seen.text = `type ${type.toString(16)}`;
    return seen;
  }
  if (typeof head === 'string') throw new Error(`a packet was sent that is ${head}`);
  const way = `${head.source.toString()} > ${head.destination.toString()}`;
  let protocol: number;
  let payload = head.payload;
  let fragment = '';
  if (v4 !== undefined && typeof v4 !== 'string') {
    seen.v4 = v4;
    protocol = v4.protocol;
    if (v4.moreFragments || v4.fragmentOffset > 0) fragment = `fragment ${v4.fragmentOffset}+${payload.length}${v4.moreFragments ? ' more' : ''}`;
  } else {
    seen.v6 = head as Ipv6;
    const upper = walkExtensions(packet, (head as Ipv6).nextHeader, 40, 40 + payload.length);
    if (upper.kind === 'fragment') fragment = `fragment ${upper.fragment.offset}+${payload.length - 8}${upper.fragment.more ? ' more' : ''}`;
    protocol = upper.kind === 'upper' ? upper.protocol : -1;
    if (upper.kind === 'upper') payload = packet.subarray(upper.at, 40 + head.payload.length);
  }
  if (fragment !== '') {
    seen.text = `${fragment} ${way}`;
  } else if (protocol === Protocol.Udp) {
    const [at, bytes] = seen.v6 === undefined ? [12, 4] : [8, 16];
    const udp = parseUdp(payload, sumPseudo(packet, at, bytes, Protocol.Udp, 0), seen.v6 !== undefined, false);
    if (typeof udp === 'string') throw new Error(`a datagram was sent that is ${udp}`);
    seen.udp = udp;
    seen.text = `udp ${way} ${udp.sourcePort} > ${udp.destinationPort} ${udp.payload.length}`;
  } else if (protocol === (seen.v6 === undefined ? Protocol.Icmp : Protocol.Icmpv6)) {
    const icmp = parseIcmp(payload, seen.v6 === undefined ? 0 : pseudo(head.source, head.destination, payload.length));
    if (icmp === undefined) throw new Error('a malformed ICMP message was sent');
    seen.icmp = icmp;
    seen.text = `icmp${head.source.family} ${icmp.type}/${icmp.code} ${way}`;
  } else {
    seen.text = `protocol ${protocol} ${way}`;
  }
  return seen;
}

// --- hosts ---

/** Buffers of a host's interface that are neither free nor posted to the card nor waiting for a neighbour. */
export function missing(iface: Interface): number {
  const { pool, pairs } = iface.driver;
  let held = 0;
  for (const { rx, tx } of pairs) {
    tx.reclaim();
    held += rx.ring.outstanding + tx.ring.outstanding;
  }
  const waiting = iface.neighbours.list().reduce((sum, n) => sum + n.pending.size, 0);
  return pool.count - pool.available - held - waiting + (iface.headers.count - iface.headers.available);
}

/** Moves a stepped engine, hosts and cards to virtual time `untilUs`, event by event. */
function advance(engine: Engine, hosts: readonly Host[], cards: readonly Card[], untilUs: number): void {
  for (let idle = 0; ; ) {
    const now = engine.nowUs();
    engine.step(now);
    let moved = 0;
    for (const { stack } of hosts) moved += stack.poll();
    for (const { driver } of cards) moved += driver.poll();
    const due = engine.step(now);
    if (moved > 0) continue;
    // Timers that have run may have sent: once more before time goes on.
    if (idle++ % 2 === 0) continue;
    const nextUs = Math.min(due, ...hosts.map(({ stack }) => stack.timers.nextUs));
    if (nextUs > untilUs) {
      engine.step(untilUs);
      return;
    }
    if (nextUs > now) engine.step(nextUs);
  }
}

export interface LabOptions extends Omit<HostOptions, 'interfaces'> {
  /** Each gets a wire of its own, at whose other end is a card of ours. */
  interfaces?: readonly HostInterfaceOptions[];
  link?: LinkOptions;
  peerNic?: NicOptions;
  /** Until when it runs before the test begins; default 20 s: addresses are in use, and nothing is left to be said. */
  settleUs?: number;
  /** What the peer on each wire answers ARP and neighbour solicitations for. */
  answers?: readonly (readonly string[])[];
}

const OWN_PAIR: HostInterfaceOptions = { addresses: [`${US4}/24`, `${US6}/64`], nic: { mac: US } };

/** One host, and what it says. */
export class Lab {
  readonly engine = new Engine({ stepped: true });
  readonly host: Host;
  readonly cards: Card[];
  readonly links: Link[];
  /** What the peers answer for: those of wire 0, of wire 1, … */
  readonly answers: Set<string>[];
  private readonly seen: Seen[][];

  constructor(options: LabOptions = {}) {
    const { interfaces = [OWN_PAIR], link = {}, peerNic = {}, settleUs = 20 * SECOND_US, answers = [[PEER4, PEER6, PEERL]], ...rest } = options;
    this.host = new Host(this.engine, { ...rest, interfaces: interfaces.map((i) => ({ ...i, driver: { promiscuous: true, ...i.driver } })) });
    this.answers = interfaces.map((_, i) => new Set(answers[i] ?? []));
    this.seen = interfaces.map(() => []);
    this.cards = interfaces.map((_, i) => {
      const card = new Card(this.engine, { mac: PEER, mtu: 9000, ...peerNic }, { promiscuous: true, frameBytes: 9018, buffers: 600 });
      card.onFrame = ({ bytes }) => {
        const seen = see(bytes, this.engine.nowUs());
        this.seen[i].push(seen);
        this.answer(i, seen);
      };
      return card;
    });
    this.links = interfaces.map((_, i) => new Link(this.engine, this.host.nics[i], this.cards[i].nic, link));
    this.advance(settleUs);
    if (settleUs > 0) for (let i = 0; i < interfaces.length; i++) this.take(i);
  }

  get stack(): Host['stack'] {
    return this.host.stack;
  }

  get iface(): Interface {
    return this.host.interfaces[0];
  }

  get nowUs(): number {
    return this.engine.nowUs();
  }

  /** As a neighbour does that is there. */
  private answer(wire: number, { arp, icmp, v6, from }: Seen): void {
    if (arp?.operation === ArpOperation.Request && this.answers[wire].has(arp.target.toString())) {
      this.cards[wire].send(arpFrame(ArpOperation.Reply, { sender: arp.target.toString(), target: arp.sender.toString(), targetMac: from, to: from }));
    }
    if (v6 === undefined || icmp?.type !== Icmpv6Type.NeighbourSolicitation || v6.source.isUnspecified) return;
    const target = Address.read(icmp.body, 0, 6).toString();
    if (!this.answers[wire].has(target)) return;
    this.cards[wire].send(neighbourFrame(Icmpv6Type.NeighbourAdvertisement, target, {
      source: target, destination: v6.source.toString(), flags: AdvertisementFlag.Solicited + AdvertisementFlag.Override, options: { targetMac: PEER_MAC }, to: from,
    }));
  }

  /** Puts frames on a wire, and lets all that follows at once happen. */
  send(frames: Uint8Array | readonly Uint8Array[], wire = 0): this {
    for (const frame of frames instanceof Uint8Array ? [frames] : frames) {
      if (!this.cards[wire].send(frame)) throw new Error('no room on the card');
      this.advance(0);
    }
    return this;
  }

  advance(byUs: number): this {
    advance(this.engine, [this.host], this.cards, this.engine.nowUs() + byUs);
    return this;
  }

  /** What was seen on a wire since the last look. */
  take(wire = 0): Seen[] {
    return this.seen[wire].splice(0);
  }

  /** The same, as lines. */
  lines(wire = 0): string[] {
    return this.take(wire).map(({ text }) => text);
  }

  /** What the host says to these frames. */
  ask(frames: Uint8Array | readonly Uint8Array[], wire = 0): string[] {
    this.take(wire);
    return this.send(frames, wire).lines(wire);
  }

  /** Buffers that are nowhere, of all interfaces. */
  missing(): number {
    return this.host.interfaces.reduce((sum, iface) => sum + missing(iface), 0);
  }

  close(): void {
    for (const link of this.links) link.close();
    for (const card of this.cards) card.driver.close();
    this.host.stop();
  }
}
