import { type Address, type Family, RingcubeError } from '../base/index.js';
import { sumPseudo } from './checksum.js';
import { DatagramBatch } from './datagrams.js';
import { type IcmpErrorKind, type QuotedDatagram } from './icmp.js';
import { type Packet } from './ip.js';
import { type Stack } from './stack.js';
import { type PortTables, Slot } from './udp-receive.js';
import { UdpSocket, type UdpSocketOptions } from './udp-socket.js';
import { Icmpv4Type, Icmpv4Unreachable, Icmpv6Type, Icmpv6Unreachable } from './wire/icmp.js';
import { Protocol } from './wire/ipv4.js';
import { parseUdp } from './wire/udp.js';

export interface UdpCounters {
  received: number;
  delivered: number;
  truncated: number;
  badChecksum: number;
  noPort: number;
  sent: number;
}

/** RFC 6335 §6: ports for whoever does not care. */
const EPHEMERAL_FIRST = 49152;
const EPHEMERAL_COUNT = 16384;

const swap = (port: number): number => ((port & 0xff) << 8) | (port >>> 8);

/** UDP (RFC 768): which socket gets what. */
export class UdpLayer {
  readonly counters: UdpCounters = { received: 0, delivered: 0, truncated: 0, badChecksum: 0, noPort: 0, sent: 0 };
  readonly ports: PortTables = { v4: new Uint16Array(65536), v6: new Uint16Array(65536) };
  private readonly slots: (UdpSocket | undefined)[] = [undefined];
  private readonly byPort = new Map<number, UdpSocket[]>();
  private readonly single = new DatagramBatch(1, undefined);

  constructor(private readonly stack: Stack) {}

  open(options: UdpSocketOptions): UdpSocket {
    return new UdpSocket(this.stack, this, options);
  }

  socketAt(slot: number): UdpSocket {
    return this.slots[slot]!;
  }

  // --- sockets ---

  /** @internal @throws ERR_INVALID_ARGUMENT if the port is taken; 0: any free one. */
  bind(socket: UdpSocket, wanted: number): number {
    const port = wanted !== 0 ? wanted : this.freePort();
    const there = this.byPort.get(port) ?? [];
    const { localAddress, families } = socket;
    const clash = there.some(
      (other) =>
        other.families.some((family) => families.includes(family)) &&
        (other.localAddress === undefined || localAddress === undefined || other.localAddress.equals(localAddress)),
    );
    if (clash) throw new RingcubeError('ERR_INVALID_ARGUMENT', `port ${port} is in use by another socket of this stack`);
    const free = this.slots.indexOf(undefined, 1);
    const slot = free > 0 ? free : this.slots.push(undefined) - 1;
    if (slot === Slot.Ask) throw new RingcubeError('ERR_OUT_OF_RANGE', 'all of 65,534 sockets are in use');
    this.slots[slot] = socket;
    this.byPort.set(port, [...there, socket]);
    this.retable(port);
    return port;
  }

  /** @internal */
  unbind(socket: UdpSocket): void {
    const left = (this.byPort.get(socket.port) ?? []).filter((other) => other !== socket);
    if (left.length > 0) this.byPort.set(socket.port, left);
    else this.byPort.delete(socket.port);
    this.slots[this.slots.indexOf(socket)] = undefined;
    this.retable(socket.port);
  }

  /** @internal What the short way needs to know of a port. */
  retable(port: number): void {
    const sockets = this.byPort.get(port) ?? [];
    for (const family of [4, 6] as const) {
      const there = sockets.filter((s) => s.families.includes(family));
      const [only] = there;
      const plain = there.length === 1 && only.localAddress === undefined && only.peer === undefined;
      const table = family === 4 ? this.ports.v4 : this.ports.v6;
      table[swap(port)] = there.length === 0 ? Slot.Slow : plain ? this.slots.indexOf(only) : Slot.Ask;
    }
  }

  private freePort(): number {
    const first = this.stack.random.int(0, EPHEMERAL_COUNT - 1);
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const port = EPHEMERAL_FIRST + ((first + i) % EPHEMERAL_COUNT);
      if (!this.byPort.has(port)) return port;
    }
    throw new RingcubeError('ERR_OUT_OF_RANGE', 'all ephemeral ports are in use');
  }

  /** The socket that fits best: one connected to the sender, one bound to the address, one bound to none. */
  lookup(family: Family, local: Address, port: number, remote: Address, remotePort: number): UdpSocket | undefined {
    let best: UdpSocket | undefined;
    let bestScore = 0;
    for (const socket of this.byPort.get(port) ?? []) {
      if (!socket.families.includes(family)) continue;
      if (socket.localAddress !== undefined && !socket.localAddress.equals(local)) continue;
      const { peer } = socket;
      if (peer !== undefined && !(peer.port === remotePort && peer.address.equals(remote))) continue;
      const score = 1 + (socket.localAddress !== undefined ? 1 : 0) + (peer !== undefined ? 2 : 0);
      if (score > bestScore) [best, bestScore] = [socket, score];
    }
    return best;
  }

  // --- in ---

  /** A datagram on the long way: of a loop, a reassembly, with options, with a checksum still to be verified. */
  input(packet: Packet): void {
    const { family, source, destination, payload, whole } = packet;
    const v6 = family === 6;
    this.counters.received++;
    const udp = parseUdp(payload, v6 ? sumPseudo(whole, 8, 16, Protocol.Udp, 0) : sumPseudo(whole, 12, 4, Protocol.Udp, 0), v6, packet.verified);
    if (typeof udp === 'string') return this.count(udp);
    const socket = this.lookup(family, destination, udp.destinationPort, source, udp.sourcePort);
    if (socket === undefined) {
      this.counters.noPort++;
      if (v6) this.stack.icmp.error(packet, Icmpv6Type.Unreachable, Icmpv6Unreachable.Port, 0);
      else this.stack.icmp.error(packet, Icmpv4Type.Unreachable, Icmpv4Unreachable.Port, 0);
      return;
    }
    const { single } = this;
    single.u8 = whole;
    single.ip[0] = 0;
    single.offset[0] = udp.payload.byteOffset - whole.byteOffset;
    single.length[0] = udp.payload.length;
    [single.from, single.to] = [0, 1];
    this.deliver(socket, single);
  }

  /** @internal */
  deliver(socket: UdpSocket, batch: DatagramBatch): void {
    this.counters.delivered += batch.to - batch.from;
    socket.deliver(batch);
  }

  /** Whether we have sent what an ICMP error quotes. */
  sent({ source, destination, head }: QuotedDatagram): boolean {
    const [port, remotePort] = [(head[0] << 8) | head[1], (head[2] << 8) | head[3]];
    return this.lookup(source.family, source, port, destination, remotePort) !== undefined;
  }

  inputError({ source, destination, head }: QuotedDatagram, kind: IcmpErrorKind): void {
    const [port, remotePort] = [(head[0] << 8) | head[1], (head[2] << 8) | head[3]];
    this.lookup(source.family, source, port, destination, remotePort)?.failed(kind, destination, remotePort);
  }

  close(): void {
    for (const socket of [...this.slots]) socket?.close();
  }

  private count(cause: keyof UdpCounters): void {
    this.counters[cause]++;
  }
}
