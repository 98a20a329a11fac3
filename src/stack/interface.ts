import { type Address, invalid, Prefix, RingcubeError } from '../base/index.js';
import { FramePool, type Memory, NicDriver, type Device, type DriverOptions, type QueuePair, parseMac } from '../nic/index.js';
import { type Neighbour, NeighbourCache, type NudOptions, type PendingFrame } from './neighbours.js';
import { type Stack } from './stack.js';
import { ETHERNET_BYTES, type Mac, readMac, writeMac } from './wire/ethernet.js';

/** Of an address of ours (RFC 4862 §2, RFC 5227 §2.1). */
type AddressState = 'tentative' | 'preferred' | 'duplicate';

export interface LocalAddress {
  readonly address: Address;
  readonly prefix: Prefix;
  state: AddressState;
}

/** What a router tells its hosts (RFC 4861 §6.2.1). */
export interface Advertise {
  /** Prefixes that hosts make addresses from, as fd00:1::/64. */
  prefixes: readonly string[];
  lifetimeS?: number;
  mtu?: number;
  /** Between unsolicited ones; default 200 to 600 s. */
  intervalS?: number;
}

export interface InterfaceOptions {
  /** For messages; default eth0, eth1, …. */
  name?: string;
  /** At most the card's, which is the default. At least 1280 with IPv6, 68 without (RFC 8200 §5, RFC 791 §3.1). */
  mtu?: number;
  /** Own addresses with their prefix lengths, as 198.18.0.2/24 and fd00::2/64. */
  addresses?: readonly string[];
  /** A link-local address, neighbour discovery and autoconfiguration; default true. */
  ipv6?: boolean;
  /** Takes addresses and routers from router advertisements; default true unless the stack forwards. */
  autoconfigure?: boolean;
  /** Looks whether an IPv4 address is taken before it is used (RFC 5227 §2.1), which takes some 6 s; default false. */
  probe?: boolean;
  /** Neighbour solicitations before an IPv6 address is used (RFC 4862 §5.1); 0: none; default 1. */
  dadTransmits?: number;
  advertise?: Advertise;
  nud?: Partial<NudOptions>;
  driver?: Omit<DriverOptions, 'handler' | 'poolId'>;
}

export interface InterfaceCounters {
  /** No room on the transmit ring, or no buffer. */
  txDropped: number;
  rxFrames: number;
  /** Too short for Ethernet, for another station, or of a type that nobody here takes. */
  rxShort: number;
  rxOtherStation: number;
  rxUnknownType: number;
}

/** Room for Ethernet, IPv6 and UDP. */
const HEADER_BYTES = 64;
/** So that a virtio_net_hdr and the headers of UDP over IPv4 lie in one cache line. */
const HEADER_HEADROOM = 18;

/**
 * One card of a stack: its addresses, its neighbours, and the way out. Buffers of its pool hold whole frames; those of
 * `headers` the headers of frames whose payload lies elsewhere.
 */
export class Interface {
  readonly name: string;
  readonly driver: NicDriver;
  readonly memory: Memory;
  readonly mtu: number;
  readonly mac: Mac;
  readonly neighbours: NeighbourCache;
  readonly pair: QueuePair;
  readonly headers: FramePool;
  /** @internal */
  readonly writeHeaders: (at: number, base: number, length: number, v6: boolean) => void;
  readonly addresses: LocalAddress[] = [];
  readonly counters: InterfaceCounters = { txDropped: 0, rxFrames: 0, rxShort: 0, rxOtherStation: 0, rxUnknownType: 0 };
  /** The card computes transport checksums. */
  readonly offload: boolean;
  private dirty = false;
  private scheduled = false;
  private receiving = false;
  private held = false;
  private closed = false;

  constructor(
    readonly stack: Stack,
    readonly index: number,
    device: Device,
    readonly options: InterfaceOptions,
  ) {
    const { driver = {}, name = `eth${index}` } = options;
    this.name = name;
    const features = driver.features ?? DRIVER_FEATURES;
    this.driver = new NicDriver(device, {
      ...driver,
      poolId: stack.poolId(this),
      features,
      handler: {
        frames: (batch, pair) => {
          this.counters.rxFrames += batch.count;
          this.receiving = true;
          try {
            stack.receive(this, batch, pair);
          } finally {
            this.receiving = false;
            this.publish();
          }
        },
      },
    });
    this.mtu = options.mtu ?? this.driver.mtu;
    const least = options.ipv6 === false ? 68 : 1280;
    if (!Number.isInteger(this.mtu) || this.mtu < least || this.mtu > this.driver.mtu) {
      throw invalid('mtu', this.mtu, `a whole number from ${least} to ${this.driver.mtu}, which is the card's`);
    }
    this.memory = device.memory;
    this.mac = readMac(parseMac(this.driver.mac), 0);
    this.pair = this.driver.pairs[0];
    this.headers = new FramePool(this.memory, { count: 2 * this.pair.tx.ring.size, frameBytes: HEADER_BYTES, headroom: HEADER_HEADROOM, id: stack.poolId(this) });
    this.writeHeaders = stack.templates.writer(this.memory);
    this.driver.addPool(this.headers);
    this.offload = this.driver.features.has('Csum');
    this.neighbours = new NeighbourCache(stack.timers, stack.nowUs, () => stack.random.float(), stack.epoch, {
      solicit: (neighbour, unicast) => {
        if (neighbour.address.family === 4) stack.arp.solicit(this, neighbour, unicast);
        else stack.nd.solicit(this, neighbour, unicast);
      },
      send: (neighbour, frame) => {
        this.sendTo(neighbour, frame.handle, frame.length, frame.fail);
      },
      discard: ({ handle }) => {
        this.driver.pool.put(handle);
      },
    }, options.nud);
  }

  // --- out ---

  /** A free buffer for a whole frame; -1 if there is none, which is counted. */
  allocate(): number {
    const { pool } = this.driver;
    let handle = pool.get();
    if (handle === -1) {
      this.pair.tx.reclaim();
      handle = pool.get();
      if (handle === -1) this.counters.txDropped++;
    }
    return handle;
  }

  /** Sends a frame of `length` bytes that is all there. The buffer is the card's, or was dropped and counted. */
  transmit(handle: number, length: number): boolean {
    const { tx } = this.pair;
    if (tx.ring.room === 0) tx.reclaim();
    const sent = tx.sendOne(handle, this.driver.pool.offsetOf(handle), length);
    if (!sent) {
      this.counters.txDropped++;
      this.driver.pool.put(handle);
    }
    this.publishSoon();
    return sent;
  }

  /** Sends a frame to a neighbour, whose address goes in now or when it is known. */
  sendTo(neighbour: Neighbour, handle: number, length: number, fail?: () => void): boolean {
    this.neighbours.use(neighbour);
    if (!neighbour.usable) {
      this.neighbours.wait(neighbour, { handle, length, fail } satisfies PendingFrame);
      return true;
    }
    writeMac(this.memory.u8, this.driver.pool.offsetOf(handle), neighbour.mac);
    return this.transmit(handle, length);
  }

  /** Builds and sends a frame of one's own: `write` fills what is behind the Ethernet header and returns its length. */
  sendFrame(destination: Mac, type: number, payload: Uint8Array): void {
    const handle = this.allocate();
    if (handle === -1) return;
    const { u8 } = this.memory;
    const at = this.driver.pool.offsetOf(handle);
    writeMac(u8, at, destination);
    writeMac(u8, at + 6, this.mac);
    u8[at + 12] = type >>> 8;
    u8[at + 13] = type;
    u8.set(payload, at + ETHERNET_BYTES);
    this.transmit(handle, ETHERNET_BYTES + payload.length);
  }

  /** Shows the card what was sent: at the end of the batch that is being handled, else of this turn of the event loop. */
  publishSoon(): void {
    this.dirty = true;
    if (this.receiving || this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(this.publishLater);
  }

  private readonly publishLater = (): void => {
    this.scheduled = false;
    if (this.dirty) this.publish();
  };

  publish(): void {
    this.dirty = this.held;
    if (this.held) return;
    if (!this.closed) this.driver.publish(this.pair);
  }

  /** Keeps back what is sent from now on; or shows it to the card, and no longer does. */
  hold(on: boolean): void {
    this.held = on;
    if (!on && this.dirty) this.publish();
  }

  // --- addresses ---

  /** The address that packets to `destination` come from: of its prefix, else of its scope, else the first (RFC 6724 §5, in essence). */
  sourceFor(destination: Address): Address | undefined {
    const usable = this.addresses.filter((a) => a.state === 'preferred' && a.address.family === destination.family);
    return (
      usable.find((a) => a.prefix.contains(destination)) ??
      usable.find((a) => a.address.isLinkLocal === destination.staysOnLink) ??
      usable[0]
    )?.address;
  }

  /** Ours and in use. */
  owns(address: Address): boolean {
    for (const own of this.addresses) if (own.state === 'preferred' && own.address.equals(address)) return true;
    return false;
  }

  /** The broadcast address of a subnet of ours (RFC 1122 §3.3.6), or 255.255.255.255. */
  isBroadcast(address: Address): boolean {
    if (address.isBroadcast) return true;
    if (address.family === 6) return false;
    return this.addresses.some((own) => own.prefix.broadcast?.equals(address) === true);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.neighbours.clear();
    this.driver.close();
  }
}

const DRIVER_FEATURES = [
  'Csum', 'GuestCsum', 'Mtu', 'Mac', 'Status', 'CtrlVq', 'CtrlRx', 'CtrlRxExtra', 'Mq', 'CtrlMacAddr', 'IndirectDesc', 'EventIdx', 'InOrder', 'RingReset', 'NotfCoal',
] as const satisfies DriverOptions['features'];

/** A prefix from options. @throws ERR_INVALID_ARGUMENT, also for what no host can have. */
export function parseOwn(text: string): Prefix {
  const prefix = Prefix.parse(text);
  const { address } = prefix;
  if (!address.isSource || address.isLoopback || prefix.broadcast?.equals(address) === true) {
    throw new RingcubeError('ERR_INVALID_ARGUMENT', `address: ${text} can't be a host's own`);
  }
  return prefix;
}
