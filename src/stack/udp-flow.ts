import { type Address } from '../base/index.js';
import { poolOf } from '../nic/index.js';
import { type Destination } from './destination.js';
import { type Interface } from './interface.js';
import { type SendResult } from './ip-output.js';
import { type Stack } from './stack.js';
import { type UdpSocket } from './udp-socket.js';
import { fold, sumBytes, sumPseudo } from './checksum.js';
import { Template } from './templates.js';
import { ETHERNET_BYTES, EtherType, writeEthernet } from './wire/ethernet.js';
import { IPV4_BYTES, Protocol, writeIpv4 } from './wire/ipv4.js';
import { IPV6_BYTES, writeIpv6 } from './wire/ipv6.js';
import { UDP_BYTES, writeUdp } from './wire/udp.js';

const HOPS = 64;
const MAX_PAYLOAD = 65507;
/** Of the checksum in the UDP header. */
const CHECKSUM_OFFSET = 6;

const swap = (value: number): number => ((value & 0xff) << 8) | ((value >>> 8) & 0xff);

/**
 * From a socket to one address and port. The headers of its frames differ in lengths and checksums only, so they are kept as a
 * template (templates.ts): a send writes that and the few words that change.
 */
export class UdpFlow {
  /** Of Ethernet, IP and UDP. */
  readonly headerBytes: number;
  private readonly v6: boolean;
  private destination: Destination | undefined;
  private iface: Interface | undefined;
  private version = -1;
  /** Of the stack's: while it has not changed, the template and `most` hold. */
  private epoch = -1;
  /** Of payload in one packet. */
  private most = 0;
  /** Of the template; -1: none. */
  private base = -1;
  private pseudoSum = 0;

  constructor(
    private readonly stack: Stack,
    private readonly socket: UdpSocket,
    readonly address: Address,
    readonly port: number,
  ) {
    this.v6 = address.family === 6;
    this.headerBytes = ETHERNET_BYTES + (this.v6 ? IPV6_BYTES : IPV4_BYTES) + UDP_BYTES;
  }

  /** Copies `data` into a frame and sends it. */
  send(data: Uint8Array): SendResult {
    if (!this.ready(data.length)) return this.sendLong(data);
    const { iface } = this;
    const handle = iface!.allocate();
    if (handle === -1) return this.dropped();
    const at = iface!.driver.pool.offsetOf(handle);
    iface!.memory.u8.set(data, at + this.headerBytes);
    this.stack.copied(data.length);
    return this.transmit(handle, at, data.length);
  }

  /**
   * Sends `length` bytes that lie at `offset` in the card's memory, in a buffer of one of its pools, which is the card's from now on,
   * whatever the result. Where the payload lies as far into its frame as this flow's headers are long (that of an answer does),
   * the headers go ahead of it; else they get a buffer of their own. What lies in another card's memory is copied.
   */
  sendBuffer(handle: number, offset: number, length: number): SendResult {
    const owner = this.stack.interfaceOf(handle);
    if (!this.ready(length) || this.iface !== owner) {
      const result = this.send(owner.memory.u8.slice(offset, offset + length));
      owner.driver.put(handle);
      return result;
    }
    const { pool } = owner.driver;
    if (poolOf(handle) === pool.id && offset - this.headerBytes === pool.offsetOf(handle)) return this.transmit(handle, offset - this.headerBytes, length);
    return this.gather(handle, offset, length);
  }

  /**
   * As sendBuffer(), for a payload that is to go to several destinations: each has headers of its own, and the payload is read
   * where it lies. The caller keeps its own use of the buffer, and releases it when it has sent to all.
   */
  sendShared(handle: number, offset: number, length: number): SendResult {
    const owner = this.stack.interfaceOf(handle);
    if (!this.ready(length) || this.iface !== owner) return this.send(owner.memory.u8.subarray(offset, offset + length));
    owner.driver.retain(handle);
    return this.gather(handle, offset, length);
  }

  private gather(handle: number, offset: number, length: number): SendResult {
    const iface = this.iface!;
    const { tx } = iface.pair;
    let header = iface.headers.get();
    if (header === -1 || tx.ring.room < 2) {
      tx.reclaim();
      if (header === -1) header = iface.headers.get();
    }
    if (header === -1) return this.droppedBuffer(handle);
    const at = iface.headers.offsetOf(header);
    iface.writeHeaders(at, this.base, length, this.v6);
    const { headerBytes } = this;
    const start = iface.offload ? headerBytes - UDP_BYTES : 0;
    if (!iface.offload) this.writeChecksum(at, offset, length);
    if (!tx.sendGather(header, at, headerBytes, handle, offset, length, start, CHECKSUM_OFFSET)) {
      iface.headers.put(header);
      return this.droppedBuffer(handle);
    }
    iface.publishSoon();
    return this.count(length);
  }

  private transmit(handle: number, at: number, length: number): SendResult {
    const iface = this.iface!;
    const { headerBytes } = this;
    const { tx } = iface.pair;
    if (tx.ring.room === 0) tx.reclaim();
    iface.writeHeaders(at, this.base, length, this.v6);
    if (!iface.offload) this.writeChecksum(at, at + headerBytes, length);
    const start = iface.offload ? headerBytes - UDP_BYTES : 0;
    if (!tx.sendOne(handle, at, headerBytes + length, start, CHECKSUM_OFFSET)) return this.droppedBuffer(handle);
    iface.publishSoon();
    return this.count(length);
  }

  private count(length: number): SendResult {
    const { counters } = this.socket;
    counters.sent++;
    counters.sentBytes += length;
    this.stack.udp.counters.sent++;
    return 'sent';
  }

  private droppedBuffer(handle: number): SendResult {
    this.iface!.driver.put(handle);
    this.iface!.counters.txDropped++;
    return this.dropped();
  }

  private dropped(): SendResult {
    this.socket.counters.sendDropped++;
    return 'dropped';
  }

  // --- headers ---

  /** For a card that computes none: over the header at `at` and the payload, wherever it lies. */
  private writeChecksum(at: number, payloadAt: number, length: number): void {
    const { u8, u16 } = this.iface!.memory;
    const udp = at + this.headerBytes - UDP_BYTES;
    u16[(udp + 6) >> 1] = 0;
    const sum = sumBytes(u8, payloadAt, length, sumBytes(u8, udp, UDP_BYTES, this.pseudoSum + UDP_BYTES + length));
    u16[(udp + 6) >> 1] = swap((~fold(sum) & 0xffff) || 0xffff);
  }

  /** Whether a datagram of that length can go the short way; the template is up to date then. */
  private ready(length: number): boolean {
    if (this.epoch !== this.stack.epoch.value && !this.renew()) return false;
    return length <= this.most;
  }

  /** Brings all up to date after a change of routes, addresses, neighbours or path MTUs. False: the long way only. */
  private renew(): boolean {
    const { stack, address } = this;
    if (this.destination?.generation !== stack.routes.generation) {
      const local = address.isLoopback || stack.owns(address);
      this.destination = local ? undefined : stack.destinations.find(address);
      this.version = -1;
    }
    const { destination } = this;
    if (destination?.neighbour.usable !== true) return false;
    const { neighbour, iface } = destination;
    if (this.version !== neighbour.version && !this.fillTemplate(destination)) return false;
    this.most = destination.mtu - this.headerBytes + ETHERNET_BYTES;
    // Not known to be there: looked after at every send, until it has answered.
    if (neighbour.state === 'reachable') this.epoch = stack.epoch.value;
    else iface.neighbours.use(neighbour);
    return true;
  }

  private fillTemplate(destination: Destination): boolean {
    const { table } = this.stack.templates;
    if (this.base === -1) this.base = this.stack.templates.take();
    if (this.base === -1) return false;
    const { base } = this;
    const { iface, neighbour } = destination;
    const source = this.socket.localAddress ?? destination.source;
    this.iface = iface;
    this.version = neighbour.version;
    const frame = new Uint8Array(this.headerBytes);
    const hops = this.address.isMulticast ? 1 : HOPS;
    if (this.v6) {
      writeEthernet(frame, 0, neighbour.mac, iface.mac, EtherType.Ipv6);
      // A flow label by flow, as RFC 6437 §3 asks of sources.
      const flowLabel = this.stack.flowLabel(source, this.address, this.socket.port, this.port);
      writeIpv6(frame, ETHERNET_BYTES, { trafficClass: 0, flowLabel, nextHeader: Protocol.Udp, hopLimit: hops, source, destination: this.address }, 0);
      this.pseudoSum = sumPseudo(frame, ETHERNET_BYTES + 8, 16, Protocol.Udp, 0);
    } else {
      writeEthernet(frame, 0, neighbour.mac, iface.mac, EtherType.Ipv4);
      // RFC 6864 §4.1: what is never fragmented needs no identification.
      writeIpv4(frame, ETHERNET_BYTES, {
        tos: 0, id: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0, ttl: hops, protocol: Protocol.Udp,
        source, destination: this.address, options: new Uint8Array(0),
      }, 0);
      frame.fill(0, ETHERNET_BYTES + 2, ETHERNET_BYTES + 4);
      frame.fill(0, ETHERNET_BYTES + 10, ETHERNET_BYTES + 12);
      table[base + Template.IpSum] = sumBytes(frame, ETHERNET_BYTES, IPV4_BYTES);
      this.pseudoSum = sumPseudo(frame, ETHERNET_BYTES + 12, 4, Protocol.Udp, 0);
    }
    writeUdp(frame, this.headerBytes - UDP_BYTES, this.socket.port, this.port, 0, 0);
    table[base + Template.PseudoSum] = this.pseudoSum;
    const view = new DataView(frame.buffer);
    table[base + Template.First] = view.getUint16(0, true);
    const words = this.v6 ? Template.V6Words : Template.V4Words;
    for (let i = 0; i < words; i++) table[base + Template.Words + i] = view.getInt32(2 + 4 * i, true);
    return true;
  }

  /** @internal Gives the template back. */
  close(): void {
    if (this.base !== -1) this.stack.templates.release(this.base);
    this.base = -1;
    this.epoch = this.version = -1;
  }

  // --- the long way: unresolved neighbours, fragments, our own addresses ---

  private sendLong(data: Uint8Array): SendResult {
    const { stack, socket, address } = this;
    if (data.length > MAX_PAYLOAD) return 'tooBig';
    const source = socket.localAddress ?? (stack.owns(address) || address.isLoopback ? address : stack.destinations.find(address)?.source);
    if (source === undefined) {
      stack.ip.counters.noRoute++;
      socket.counters.sendDropped++;
      return 'noRoute';
    }
    const segment = new Uint8Array(UDP_BYTES + data.length);
    segment.set(data, UDP_BYTES);
    stack.copied(data.length);
    const addresses = new Uint8Array(2 * address.bytes);
    source.write(addresses, 0);
    address.write(addresses, address.bytes);
    writeUdp(segment, 0, socket.port, this.port, data.length, sumPseudo(addresses, 0, address.bytes, Protocol.Udp, 0));
    const result = stack.output.send({
      destination: address, source, protocol: Protocol.Udp, payload: segment,
      fail: () => {
        socket.failed('unreachable', address, this.port);
      },
    });
    return result === 'sent' ? this.count(data.length) : this.dropped() && result;
  }
}
