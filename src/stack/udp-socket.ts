import { Address, AddressMap, type Family, FixedQueue, invalid, RingcubeError } from '../base/index.js';
import { type DatagramBatch } from './datagrams.js';
import { type IcmpErrorKind } from './icmp.js';
import { type Interface } from './interface.js';
import { type SendResult } from './ip-output.js';
import { type Stack } from './stack.js';
import { type UdpLayer } from './udp.js';
import { UdpFlow } from './udp-flow.js';

export interface UdpSocketOptions {
  /** 1 to 65535; default: any free one. */
  port?: number;
  /** Only what comes to this address of ours; default: to all of them. */
  address?: string | undefined;
  /** Default: both. */
  family?: Family;
  /**
   * Gets datagrams where they lie, entries [batch.from, batch.to). See DatagramBatch for who owns the buffers. Without it,
   * datagrams are copied into a queue for `for await` and receive().
   */
  onDatagrams?: (batch: DatagramBatch, socket: UdpSocket) => void;
  /** An ICMP error about what was sent from here, or a neighbour that does not answer. */
  onError?: (kind: IcmpErrorKind, address: Address, port: number) => void;
  /** Datagrams that wait to be received: a power of two; default 1024. More are dropped and counted. */
  queueDatagrams?: number;
}

/** A datagram of one's own: its bytes are a copy. */
export interface Datagram {
  data: Uint8Array;
  from: { address: Address; port: number };
}

export interface UdpSocketCounters {
  received: number;
  receivedBytes: number;
  /** The queue was full. */
  queueFull: number;
  sent: number;
  sentBytes: number;
  /** No route, no buffer or no room. */
  sendDropped: number;
  errors: number;
  /** Time that the stack spent on what came for this socket, its handler not counted: frames by what one costs on average. */
  stackUs: number;
}

const FLOW_CACHE = 256;
const MAX_FLOWS = 4096;

/** A UDP socket. Made by Stack.openUdp(). */
export class UdpSocket implements AsyncIterable<Datagram> {
  readonly port: number;
  readonly families: readonly Family[];
  readonly localAddress: Address | undefined;
  /** Whom it is connected to. */
  peer: UdpFlow | undefined;
  readonly counters: UdpSocketCounters = { received: 0, receivedBytes: 0, queueFull: 0, sent: 0, sentBytes: 0, sendDropped: 0, errors: 0, stackUs: 0 };
  private readonly queue: FixedQueue<Datagram>;
  private waiting: ((datagram: Datagram | undefined) => void)[] = [];
  private flows = new AddressMap<UdpFlow[]>();
  private flowCount = 0;
  /** Those that were answered last, by a hash of address and port as they lie in a frame. */
  private readonly recent: (UdpFlow | undefined)[] = new Array<UdpFlow | undefined>(FLOW_CACHE).fill(undefined);
  private readonly recentKeys = new Int32Array(2 * FLOW_CACHE);
  private readonly parsed = new Map<string, Address>();
  private closed = false;

  /** @internal */
  constructor(
    private readonly stack: Stack,
    private readonly layer: UdpLayer,
    private readonly options: UdpSocketOptions,
  ) {
    const { port = 0, address, family, queueDatagrams = 1024 } = options;
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw invalid('port', port, 'a whole number from 0 to 65535');
    this.localAddress = address === undefined ? undefined : Address.parse(address);
    if (this.localAddress !== undefined && !this.localAddress.isLoopback && !stack.owns(this.localAddress)) {
      throw invalid('address', address, 'an address of this stack that is in use');
    }
    this.families = this.localAddress !== undefined ? [this.localAddress.family] : family !== undefined ? [family] : [4, 6];
    this.queue = new FixedQueue(queueDatagrams);
    this.port = layer.bind(this, port);
  }

  // --- in ---

  /** @internal */
  deliver(batch: DatagramBatch): void {
    const { counters } = this;
    const { from, to, length } = batch;
    counters.received += to - from;
    for (let i = from; i < to; i++) counters.receivedBytes += length[i];
    if (this.options.onDatagrams !== undefined) {
      this.options.onDatagrams(batch, this);
      return;
    }
    for (let i = from; i < to; i++) this.enqueue(batch, i);
  }

  private enqueue(batch: DatagramBatch, i: number): void {
    const datagram = { data: batch.payload(i).slice(), from: { address: batch.source(i), port: batch.sourcePort(i) } };
    this.stack.copied(datagram.data.length);
    const waiter = this.waiting.shift();
    if (waiter !== undefined) waiter(datagram);
    else if (!this.queue.push(datagram)) this.counters.queueFull++;
  }

  /** The next datagram; undefined once the socket is closed. */
  async receive(): Promise<Datagram | undefined> {
    if (this.options.onDatagrams !== undefined) throw new RingcubeError('ERR_UNSUPPORTED', 'receive: this socket gives its datagrams to onDatagrams');
    const datagram = this.queue.shift();
    if (datagram !== undefined || this.closed) return datagram;
    return new Promise((resolve) => {
      this.waiting.push(resolve);
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Datagram> {
    for (let datagram = await this.receive(); datagram !== undefined; datagram = await this.receive()) yield datagram;
  }

  /** @internal */
  failed(kind: IcmpErrorKind, address: Address, port: number): void {
    this.counters.errors++;
    this.options.onError?.(kind, address, port);
  }

  // --- out ---

  /** Sends a copy of `data`, as dgram's send(); address and port may be left out once connected. */
  send(data: Uint8Array | string, port?: number, address?: string | Address): SendResult {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    if (port === undefined || address === undefined) {
      if (this.peer === undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', 'send: an address and a port are needed, or connect() before');
      return this.peer.send(bytes);
    }
    return this.flow(address, port).send(bytes);
  }

  /** Takes from this peer only, and sends to it without being told. */
  connect(port: number, address: string | Address): UdpFlow {
    this.peer = this.flow(address, port);
    this.layer.retable(this.port);
    return this.peer;
  }

  /** The way to one address and port: for many sends it is the fastest. */
  flow(address: string | Address, port: number): UdpFlow {
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw invalid('port', port, 'a whole number from 1 to 65535');
    const to = typeof address === 'string' ? this.parse(address) : address;
    if (!this.families.includes(to.family)) throw invalid('address', to.toString(), `one of IPv${this.families.join(' or IPv')}, as the socket is`);
    const there = this.flows.get(to);
    const found = there?.find((flow) => flow.port === port);
    if (found !== undefined) return found;
    if (++this.flowCount > MAX_FLOWS) {
      this.forgetFlows();
      this.flowCount = 1;
    }
    const made = new UdpFlow(this.stack, this, to, port);
    this.flows.set(to, [...(this.flows.get(to) ?? []), made]);
    return made;
  }

  private forgetFlows(): void {
    for (const flows of this.flows.values()) for (const flow of flows) flow.close();
    this.flows.clear();
    this.recent.fill(undefined);
  }

  private parse(text: string): Address {
    let address = this.parsed.get(text);
    if (address === undefined) {
      if (this.parsed.size >= MAX_FLOWS) this.parsed.clear();
      this.parsed.set(text, (address = Address.parse(text)));
    }
    return address;
  }

  /** The way back to the sender of entry `i`. Allocates nothing for those who were answered lately. */
  flowTo(batch: DatagramBatch, i: number): UdpFlow {
    const { u8 } = batch;
    const ip = batch.ip[i];
    const udp = batch.udpAt(i);
    const end = u8[ip] >>> 4 === 4 ? ip + 16 : ip + 24;
    const low = word(u8, end - 4);
    const key = (u8[udp] << 8) | u8[udp + 1];
    const slot = (Math.imul(low ^ (key << 16) ^ key, 0x9e3779b1) >>> 24) & (FLOW_CACHE - 1);
    const known = this.recent[slot];
    const { recentKeys } = this;
    if (known !== undefined && recentKeys[2 * slot] === low && recentKeys[2 * slot + 1] === key && sameSource(known.address, u8, ip)) return known;
    recentKeys[2 * slot] = low;
    recentKeys[2 * slot + 1] = key;
    return (this.recent[slot] = this.flow(batch.source(i), key));
  }

  /** Answers entry `i` with the first `length` bytes at its offset, from the very buffer it came in. */
  reply(batch: DatagramBatch, i: number, length: number = batch.length[i]): SendResult {
    const flow = this.flowTo(batch, i);
    const handle = batch.take(i);
    if (handle === -1) return flow.send(batch.u8.subarray(batch.offset[i], batch.offset[i] + length));
    return flow.sendBuffer(handle, batch.offset[i], length);
  }

  // --- buffers ---

  /** A buffer of the card's pool, for a payload of up to its MTU; -1 if all are in use. Write to `u8` from payloadAt() on. */
  allocate(): number {
    return this.firstInterface().allocate();
  }

  /** Where the payload of an allocated buffer goes: where an IPv4 one lies, so that its headers fit ahead of it. */
  payloadAt(handle: number): number {
    return this.stack.interfaceOf(handle).driver.pool.offsetOf(handle) + 42;
  }

  /** The card's memory, which offsets of buffers count in. */
  get u8(): Uint8Array {
    return this.firstInterface().memory.u8;
  }

  /** Gives a taken or allocated buffer back. */
  release(handle: number): void {
    this.stack.interfaceOf(handle).driver.put(handle);
  }

  private firstInterface(): Interface {
    const [iface] = this.stack.interfaces;
    if (iface === undefined) throw new RingcubeError('ERR_UNSUPPORTED', 'this stack has no interface, and so no buffers');
    return iface;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.layer.unbind(this);
    this.forgetFlows();
    for (const waiter of this.waiting) waiter(undefined);
    this.waiting = [];
  }
}

function word(u8: Uint8Array, at: number): number {
  return (u8[at] << 24) | (u8[at + 1] << 16) | (u8[at + 2] << 8) | u8[at + 3];
}

/** Whether the IP packet at `ip` comes from `address`. */
function sameSource(address: Address, u8: Uint8Array, ip: number): boolean {
  if (u8[ip] >>> 4 !== address.family) return false;
  if (address.family === 4) return word(u8, ip + 12) === address.w3;
  return word(u8, ip + 8) === address.w0 && word(u8, ip + 12) === address.w1 && word(u8, ip + 16) === address.w2 && word(u8, ip + 20) === address.w3;
}
