import { Address, invalid, Prefix, type Random, RingcubeError, Timers } from '../base/index.js';
import { type Device, type FrameBatch, FrameFlag, MAX_POOLS, poolOf, type QueuePair, SplitRxQueue } from '../nic/index.js';
import { ArpService } from './arp.js';
import { Destinations } from './destination.js';
import { IcmpLayer } from './icmp.js';
import { Interface, type InterfaceOptions, type LocalAddress, parseOwn } from './interface.js';
import { Ip, type Packet } from './ip.js';
import { IpOutput } from './ip-output.js';
import { NdService } from './nd.js';
import { RouteTable } from './routes.js';
import { HeaderTemplates } from './templates.js';
import { UdpLayer } from './udp.js';
import { Own, Slot, UdpReceive } from './udp-receive.js';
import { type UdpSocket, type UdpSocketOptions } from './udp-socket.js';
import { ETHERNET_BYTES, EtherType, isGroupMac, readMac } from './wire/ethernet.js';

export interface StackOptions {
  /** The stack's clock, in microseconds: real, or virtual in stepped mode. */
  nowUs: () => number;
  /** Of identifications, ports and the waits that must not be alike on two hosts. */
  random: Random;
  /** Passes on what is for others: a router (RFC 1812 §2.2.8.1: off unless asked for). Default false. */
  forwarding?: boolean;
  /** ICMP errors (RFC 1812 §4.3.2.8); default 1000 a second, 50 at once. */
  icmpLimit?: { perSecond: number; burst: number };
  reassembly?: { timeoutUs?: number; maxBytes?: number; maxDatagrams?: number };
  /** Another station uses an address of ours. */
  onConflict?: (iface: Interface, address: Address) => void;
  /** An address is in use from now on, or was found to be taken. */
  onAddress?: (iface: Interface, own: LocalAddress) => void;
}

/** Receive state of one queue of an interface. */
interface Receiver {
  udp: UdpReceive;
  /** Gives the buffers back that nobody took, of `n` frames. */
  putBack: (n: number) => void;
}

/** Reading a clock makes a number object: time is measured on one batch of so many, and charged for each. */
const MEASURED_BATCHES = 1024;

/** Datagrams to ourselves that wait for the next turn. */
const MAX_LOOPBACK = 1024;

/**
 * A host's network layers over its interfaces:
 *
 *     frames ─▶ receive ─┬─ plain UDP: udp-receive ─▶ sockets      nothing copied, nothing allocated
 *                        └─ the rest: ARP │ IP ─▶ ICMP, ND, UDP    views and objects
 *     sockets ─▶ UdpFlow ─┬─ template and payload ─▶ interface
 *                         └─ long, unresolved, local ─▶ IP
 */
export class Stack {
  readonly timers: Timers;
  readonly nowUs: () => number;
  readonly random: Random;
  readonly forwarding: boolean;
  readonly interfaces: Interface[] = [];
  /** Moves on when routes, addresses, neighbours or path MTUs change: what senders keep for speed is looked at again then. */
  readonly epoch = { value: 0 };
  readonly routes = new RouteTable(this.epoch);
  /** @internal */
  readonly templates = new HeaderTemplates();
  readonly destinations: Destinations;
  readonly arp: ArpService;
  readonly nd: NdService;
  readonly ip: Ip;
  readonly output: IpOutput;
  readonly icmp: IcmpLayer;
  readonly udp: UdpLayer;
  /** Bytes that software has copied in this stack, as against the cards' DMA. */
  copiedBytes = 0;
  /** Datagrams to ourselves for which there was no room. */
  loopbackDropped = 0;
  private readonly own = new Map<Interface, Int32Array>();
  /** By the last 16 bits: our addresses and our subnets' broadcast addresses, from which nothing comes (UdpReceive). */
  private readonly marked = new Uint8Array(65536);
  private readonly poolOwners = new Array<Interface | undefined>(MAX_POOLS).fill(undefined);
  private readonly receivers = new WeakMap<FrameBatch, Receiver>();
  private batches = 0;
  private usAFrame = 0;
  private local: Packet[] = [];
  private readonly labelSeed: number;
  private closed = false;

  constructor(private readonly options: StackOptions) {
    this.nowUs = options.nowUs;
    this.random = options.random;
    this.forwarding = options.forwarding ?? false;
    this.labelSeed = this.random.uint32();
    this.timers = new Timers(this.nowUs);
    this.destinations = new Destinations(this);
    this.arp = new ArpService(this);
    this.nd = new NdService(this);
    const { timeoutUs = 60e6, maxBytes = 4 * 2 ** 20, maxDatagrams = 64 } = options.reassembly ?? {};
    this.ip = new Ip(this, { timeoutUs, maxBytes, maxDatagrams });
    this.output = new IpOutput(this);
    this.icmp = new IcmpLayer(this, options.icmpLimit ?? { perSecond: 1000, burst: 50 });
    this.udp = new UdpLayer(this);
  }

  // --- interfaces and addresses ---

  /** Takes a card: its addresses come into use by and by (Interface.addresses says which are). */
  addInterface(device: Device, options: InterfaceOptions = {}): Interface {
    const prefixes = (options.addresses ?? []).map(parseOwn);
    const iface = new Interface(this, this.interfaces.length, device, options);
    this.interfaces.push(iface);
    this.own.set(iface, new Int32Array(Own.Words));
    this.refreshOwn(iface);
    if (options.ipv6 !== false) this.nd.start(iface);
    else if (prefixes.some((p) => p.address.family === 6)) throw invalid('addresses', options.addresses, 'IPv4 only, as ipv6 is false');
    for (const prefix of prefixes) this.addAddress(iface, prefix);
    return iface;
  }

  /** @param onLink whether its prefix is reached on this link */
  addAddress(iface: Interface, prefix: Prefix, onLink = true): LocalAddress {
    const own: LocalAddress = { address: prefix.address, prefix, state: 'tentative' };
    iface.addresses.push(own);
    if (onLink) this.routes.add({ prefix, interface: iface });
    if (prefix.address.family === 4) this.arp.claim(iface, own);
    else this.nd.claim(iface, own);
    return own;
  }

  removeAddress(iface: Interface, own: LocalAddress): void {
    const at = iface.addresses.indexOf(own);
    if (at >= 0) iface.addresses.splice(at, 1);
    this.routes.changed();
    this.refreshOwn(iface);
    this.updateGroups(iface);
  }

  /** @internal An address may be used from now on. */
  addressReady(iface: Interface, own: LocalAddress): void {
    own.state = 'preferred';
    this.routes.changed();
    this.refreshOwn(iface);
    this.options.onAddress?.(iface, own);
  }

  /** @internal An address is another station's. */
  addressTaken(iface: Interface, own: LocalAddress): void {
    own.state = 'duplicate';
    this.routes.changed();
    this.refreshOwn(iface);
    this.options.onAddress?.(iface, own);
  }

  /** @internal */
  onConflict(iface: Interface, address: Address): void {
    this.options.onConflict?.(iface, address);
  }

  /** @internal The card's filter takes our groups in. */
  updateGroups(iface: Interface): void {
    if (iface.driver.control !== undefined) iface.driver.setMacTable([], this.nd.groupMacs(iface));
  }

  /** @internal An id for a pool of a card's: unlike any other of this stack, so that a handle says whose it is. */
  poolId(iface: Interface): number {
    const free = this.poolOwners.indexOf(undefined);
    if (free < 0) throw new RingcubeError('ERR_OUT_OF_RANGE', `a stack has at most ${MAX_POOLS} pools`);
    this.poolOwners[free] = iface;
    return free;
  }

  /** Of whose card a buffer is. */
  interfaceOf(handle: number): Interface {
    return this.poolOwners[poolOf(handle)]!;
  }

  /** Whether an address is one of ours: of this interface, or (weak host model, RFC 1122 §3.3.4.2) of any. */
  owns(address: Address, iface?: Interface): boolean {
    if (address.isLinkLocal && iface !== undefined) return iface.owns(address);
    for (const candidate of this.interfaces) if (candidate.owns(address)) return true;
    return false;
  }

  addRoute(prefix: string, gateway: string): void {
    const via = Address.parse(gateway);
    const iface = this.interfaces.find((i) => i.addresses.some((own) => own.prefix.contains(via)));
    if (iface === undefined) throw invalid('gateway', gateway, 'an address on the link of an interface');
    this.routes.add({ prefix: Prefix.parse(prefix), gateway: via, interface: iface });
  }

  private refreshOwn(iface: Interface): void {
    const words = this.own.get(iface)!;
    const bytes = new Uint8Array(4 * Own.Words);
    const view = new DataView(bytes.buffer);
    const inUse = iface.addresses.filter((a) => a.state === 'preferred');
    const v4 = inUse.find((a) => a.address.family === 4);
    v4?.address.write(bytes, 4 * Own.V4);
    const v6 = inUse.filter((a) => a.address.family === 6);
    (v6.find((a) => !a.address.isLinkLocal) ?? v6[0])?.address.write(bytes, 4 * Own.V6);
    for (let i = 0; i < Own.Words; i++) words[i] = view.getInt32(4 * i, true);
    const mac = new DataView(new ArrayBuffer(8));
    mac.setBigUint64(0, BigInt(iface.mac) << 16n);
    words[Own.MacHigh] = mac.getUint16(0, true);
    words[Own.MacLow] = mac.getInt32(2, true);
    this.refreshMarked();
  }

  private refreshMarked(): void {
    this.marked.fill(0);
    for (const { address, prefix } of this.interfaces.flatMap((i) => i.addresses)) {
      for (const one of [address, prefix.broadcast]) {
        if (one !== undefined) this.marked[((one.w3 & 0xff) << 8) | ((one.w3 >>> 8) & 0xff)] = 1;
      }
    }
  }

  // --- in ---

  /** @internal A batch of frames from a card: whatever is not taken goes back to its pool. */
  receive(iface: Interface, frames: FrameBatch, pair: QueuePair): void {
    const { udp, putBack } = this.receivers.get(frames) ?? this.makeReceiver(iface, frames, pair);
    const { datagrams, slots } = udp;
    const { count } = frames;
    if (this.batches++ % MEASURED_BATCHES === 0) this.measure(udp, count);
    else udp.run(count);
    datagrams.taken = 0;
    let shortcuts = 0;
    for (let i = 0; i < count; ) {
      const slot = slots[i];
      const socket = slot === Slot.Slow ? undefined : slot === Slot.Ask ? this.ask(i, udp) : this.udp.socketAt(slot);
      if (socket === undefined) {
        this.receiveSlowly(iface, frames, i);
        i++;
        continue;
      }
      datagrams.from = i;
      i++;
      // A run of one socket's: its handler is called once.
      while (i < count && slots[i] === slot && (slot !== Slot.Ask || this.ask(i, udp) === socket)) i++;
      datagrams.to = i;
      const run = i - datagrams.from;
      shortcuts += run;
      socket.counters.stackUs += run * this.usAFrame;
      this.udp.deliver(socket, datagrams);
    }
    this.udp.counters.received += shortcuts;
    this.ip.counters.received += shortcuts;
    this.ip.counters.delivered += shortcuts;
    putBack(count);
    if (this.local.length > 0) this.runLoopback();
  }

  /** What telling whose a frame is costs, on average over the last few measurements. */
  private measure(udp: UdpReceive, count: number): void {
    const startUs = this.nowUs();
    udp.run(count);
    const us = (this.nowUs() - startUs) / count;
    this.usAFrame += (us - this.usAFrame) / 8;
  }

  private makeReceiver(iface: Interface, frames: FrameBatch, { rx }: QueuePair): Receiver {
    const split = rx instanceof SplitRxQueue ? rx : undefined;
    const udp = new UdpReceive(iface.memory, frames, this.own.get(iface)!, this.udp.ports, this.marked, split?.splitBytes);
    const { datagrams } = udp;
    const putFrames = rx.pool.puts(frames.handle);
    const putPayloads = split?.payloads.puts(frames.payloadHandle);
    // Whatever a batch's datagrams were taken from, the other buffers go back in runs.
    const putOthers = (handles: Int32Array, put: (from: number, to: number) => number, n: number): void => {
      for (let i = 0; i < n; ) {
        if (handles[i] === -1) i++;
        else i += put(i, n);
      }
    };
    const putBack =
      putPayloads === undefined
        ? (n: number): void => {
            if (datagrams.taken > 0) putOthers(frames.handle, putFrames, n);
            else for (let i = 0; i < n; ) i += putFrames(i, n);
          }
        : (n: number): void => {
            for (let i = 0; i < n; ) i += putFrames(i, n);
            putOthers(frames.payloadHandle, putPayloads, n);
          };
    const receiver = { udp, putBack };
    this.receivers.set(frames, receiver);
    return receiver;
  }

  private ask(i: number, { datagrams }: UdpReceive): UdpSocket | undefined {
    const destination = datagrams.destination(i);
    return this.udp.lookup(destination.family, destination, datagrams.destinationPort(i), datagrams.source(i), datagrams.sourcePort(i));
  }

  /** A frame on the long way: one that was split is put together first. */
  private receiveSlowly(iface: Interface, frames: FrameBatch, i: number): void {
    const { u8 } = iface.memory;
    const [offset, length, more] = [frames.offset[i], frames.length[i], frames.payloadHandle[i] === -1 ? 0 : frames.payloadLength[i]];
    const verified = (frames.flags[i] & FrameFlag.ChecksumValid) !== 0;
    if (more === 0) return this.receiveFrame(iface, u8, offset, length, verified);
    const whole = new Uint8Array(length + more);
    whole.set(u8.subarray(offset, offset + length));
    whole.set(u8.subarray(frames.payloadOffset[i], frames.payloadOffset[i] + more), length);
    this.copied(whole.length);
    this.receiveFrame(iface, whole, 0, whole.length, verified);
  }

  private receiveFrame(iface: Interface, u8: Uint8Array, offset: number, length: number, verified: boolean): void {
    const { counters } = iface;
    if (length < ETHERNET_BYTES) {
      counters.rxShort++;
      return;
    }
    const destination = readMac(u8, offset);
    const group = isGroupMac(destination);
    if (!group && destination !== iface.mac) {
      counters.rxOtherStation++;
      return;
    }
    const payload = u8.subarray(offset + ETHERNET_BYTES, offset + length);
    switch ((u8[offset + 12] << 8) | u8[offset + 13]) {
      case EtherType.Ipv4:
        return this.ip.input4(iface, payload, group, verified);
      case EtherType.Ipv6:
        if (iface.options.ipv6 !== false) return this.ip.input6(iface, payload, group, verified);
        break;
      case EtherType.Arp:
        return this.arp.input(iface, payload);
      default:
    }
    counters.rxUnknownType++;
  }

  // --- to ourselves ---

  /** @internal Comes in in a turn of its own, as what is handled now may be the cause of it. */
  loopback(packet: Packet): void {
    if (this.local.length >= MAX_LOOPBACK) this.loopbackDropped++;
    else if (this.local.push(packet) === 1) queueMicrotask(this.runLoopback);
  }

  private readonly runLoopback = (): void => {
    const { local } = this;
    this.local = [];
    for (const packet of local) if (!this.closed) this.ip.inputLocal(packet);
  };

  // --- for all ---

  openUdp(options: UdpSocketOptions = {}): UdpSocket {
    if (this.closed) throw new RingcubeError('ERR_CLOSED', 'this stack is closed');
    return this.udp.open(options);
  }

  /** One look at every card and timer: for stepped mode, and whoever polls. Returns the frames that came in. */
  poll(): number {
    this.timers.run();
    return this.pollCards();
  }

  /** One look at every card: for those who poll at full speed, and look at the timers now and then. */
  pollCards(): number {
    let frames = 0;
    for (const iface of this.interfaces) {
      frames += iface.driver.poll();
      iface.publish();
    }
    if (this.local.length > 0) this.runLoopback();
    return frames;
  }

  /** @internal */
  copied(bytes: number): void {
    this.copiedBytes += bytes;
  }

  /** RFC 6437 §3: the same for a flow, and not to be guessed. */
  flowLabel(source: Address, destination: Address, port: number, remotePort: number): number {
    let hash = this.labelSeed;
    for (const word of [source.w2, source.w3, destination.w2, destination.w3, (port << 16) | remotePort]) {
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash & 0xfffff;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.udp.close();
    this.ip.reassembly.clear();
    for (const iface of this.interfaces) iface.close();
  }
}
