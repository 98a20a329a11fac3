// What the tests of this folder share: errors of one line, frames, and two cards on one wire in virtual time.
import { type Test } from 'tap';
import { RingcubeError } from '../../src/base/index.js';
import {
  type Device,
  type DeviceEvent,
  type DriverOptions,
  Engine,
  FrameFlag,
  Link,
  type LinkOptions,
  Nic,
  NicDriver,
  type NicOptions,
  type QueuePair,
} from '../../src/nic/index.js';
import { SplitRxQueue } from '../../src/nic/rx-queue.js';

export const MAC_A = '02:00:00:00:00:0a';
export const MAC_B = '02:00:00:00:00:0b';

type Asserts = Pick<Test, 'ok' | 'equal' | 'match' | 'fail'>;

/** `call` throws a RingcubeError with this code and message, and the message is one line. */
export function refuses(t: Asserts, call: () => unknown, code: string, message: string | RegExp, what?: string): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof RingcubeError)) throw error;
    t.equal(error.code, code, what ?? error.message);
    if (typeof message === 'string') t.equal(error.message, message);
    else t.match(error.message, message);
    t.ok(!error.message.includes('\n'), 'one line');
    return;
  }
  t.fail(`${what ?? String(message)}: nothing was thrown`);
}

// --- frames ---

const macBytes = (mac: string): number[] => mac.split(':').map((part) => Number.parseInt(part, 16));

/** An Ethernet frame of `length` bytes whose payload starts with a number and goes on with a pattern of it. */
export function numbered(number: number, length = 64, to = MAC_B, from = MAC_A): Uint8Array {
  const frame = new Uint8Array(length);
  for (let i = 14; i < length; i++) frame[i] = (number * 31 + i * 7) & 255;
  frame.set([...macBytes(to), ...macBytes(from), 0x88, 0xb5]); // 0x88b5: local experiments (IEEE 802)
  if (length >= 18) new DataView(frame.buffer).setUint32(14, number);
  return frame;
}

export const numberOf = (frame: Uint8Array): number => new DataView(frame.buffer, frame.byteOffset).getUint32(14);

/** Internet checksum of `bytes`, big-endian words (RFC 1071), complemented. */
export function checksum(...parts: Iterable<number>[]): number {
  let sum = 0;
  for (const part of parts) {
    let high = true;
    for (const byte of part) {
      sum += high ? byte << 8 : byte;
      high = !high;
    }
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface UdpOptions {
  v6?: boolean;
  to?: string;
  sourcePort?: number;
  destinationPort?: number;
  /** Bytes of IPv4 options, or an IPv6 hop-by-hop header. */
  extra?: boolean;
  /** More fragments follow. */
  fragment?: boolean;
  /** Leaves the checksum to the device: the field holds the pseudo-header's sum (virtio 1.2 §5.1.6.2). */
  partial?: boolean;
  payload?: Uint8Array;
}

/** Addresses of udpFrame: 198.18.0.1 to 198.18.0.2, or fd00::1 to fd00::2. */
export function udpFrame(options: UdpOptions = {}): Uint8Array {
  const { v6 = false, extra = false, payload = Uint8Array.of(1, 2, 3, 4), destinationPort = 5000, sourcePort = 4000 } = options;
  const be = (value: number): number[] => [value >> 8, value & 255];
  const length = 8 + payload.length;
  const addresses = v6
    ? [0xfd, ...new Array<number>(14).fill(0), 1, 0xfd, ...new Array<number>(14).fill(0), 2]
    : [198, 18, 0, 1, 198, 18, 0, 2];
  const pseudo = [...addresses, ...be(17), ...be(length)];
  const udp = [...be(sourcePort), ...be(destinationPort), ...be(length), 0, 0];
  const sum = options.partial === true ? ~checksum(pseudo) & 0xffff : checksum(pseudo, udp, payload) || 0xffff;
  udp.splice(6, 2, ...be(sum));
  const flags = options.fragment === true ? 0x20 : 0;
  let ip: number[];
  if (v6) {
    const hop = extra ? [17, 0, 1, 4, 0, 0, 0, 0] : [];
    ip = [0x60, 0, 0, 0, ...be(hop.length + length), extra ? 0 : 17, 64, ...addresses, ...hop];
  } else {
    const words = extra ? 6 : 5;
    ip = [0x40 | words, 0, ...be(4 * words + length), 0, 1, flags, 0, 64, 17, 0, 0, ...addresses, ...(extra ? [1, 1, 1, 0] : [])];
    ip.splice(10, 2, ...be(checksum(ip)));
  }
  return Uint8Array.from([...macBytes(options.to ?? MAC_B), ...macBytes(MAC_A), ...(v6 ? [0x86, 0xdd] : [8, 0]), ...ip, ...udp, ...payload]);
}

// --- hosts ---

export interface Received {
  bytes: Uint8Array;
  pair: number;
  checksumValid: boolean;
  /** Buffers that it came in. */
  buffers: number;
}

/** A card and its driver, and all that came in. */
export class Host {
  readonly nic: Nic;
  readonly driver: NicDriver;
  readonly received: Received[] = [];
  readonly events: DeviceEvent[] = [];
  writable = 0;
  /** Called for each frame, before its buffers go back. */
  onFrame?: (frame: Received) => void;
  onWritable?: (pair: QueuePair) => void;
  private open: Received | undefined;

  constructor(engine: Engine, nic: NicOptions, driver: DriverOptions = {}) {
    this.nic = new Nic(engine, nic);
    this.driver = new NicDriver(this.nic, {
      handler: {
        frames: (_, pair) => this.take(pair),
        writable: (pair) => {
          this.writable++;
          this.onWritable?.(pair);
        },
        changed: (event) => this.events.push(event),
      },
      ...driver,
    });
  }

  get pair(): QueuePair {
    return this.driver.pairs[0];
  }

  /** Copies the frames of a pair's batch out, whole, and puts their buffers back. */
  take(pair: QueuePair): void {
    const { batch } = pair;
    const { u8 } = this.nic.memory;
    const { pool } = this.driver;
    for (let i = 0; i < batch.count; i++) {
      const parts = [u8.slice(batch.offset[i], batch.offset[i] + batch.length[i])];
      pool.put(batch.handle[i]);
      if (pair.rx instanceof SplitRxQueue) {
        parts.push(u8.slice(batch.payloadOffset[i], batch.payloadOffset[i] + batch.payloadLength[i]));
        pair.rx.payloads.put(batch.payloadHandle[i]);
      }
      const before = this.open;
      const frame: Received = {
        bytes: before === undefined && parts.length === 1 ? parts[0] : Buffer.concat([before?.bytes ?? new Uint8Array(0), ...parts]),
        pair: pair.index,
        checksumValid: (batch.flags[i] & FrameFlag.ChecksumValid) !== 0,
        buffers: (before?.buffers ?? 0) + 1,
      };
      if ((batch.flags[i] & FrameFlag.More) !== 0) {
        this.open = frame;
        continue;
      }
      this.open = undefined;
      this.received.push(frame);
      this.onFrame?.(frame);
    }
  }

  /** A buffer with these bytes as its frame; -1 if none is left. */
  load(bytes: Uint8Array): number {
    const handle = this.driver.pool.get();
    if (handle !== -1) this.nic.memory.u8.set(bytes, this.driver.pool.offsetOf(handle));
    return handle;
  }

  /** Sends and shows it; false, with nothing taken, if there is no buffer or no room. */
  send(bytes: Uint8Array, pair: QueuePair = this.pair): boolean {
    const handle = this.load(bytes);
    if (handle === -1) return false;
    const sent = pair.tx.sendOne(handle, this.driver.pool.offsetOf(handle), bytes.length);
    if (!sent) this.driver.pool.put(handle);
    this.driver.publish(pair);
    return sent;
  }

  /** Buffers that are in neither pool nor ring; 0 when all are accounted for. */
  missing(): number {
    const { pool, pairs } = this.driver;
    const held = new Set<number>();
    const pools = new Set([pool]);
    for (const { rx, tx } of pairs) {
      for (const ring of [rx.ring, tx.ring]) ring.reclaimAll((handle) => held.add(handle));
      if (rx instanceof SplitRxQueue) pools.add(rx.payloads);
    }
    return [...pools].reduce((sum, { count, available }) => sum + count - available, 0) - held.size;
  }
}

export interface WiredOptions {
  engine?: Engine;
  link?: LinkOptions;
  nic?: NicOptions;
  driver?: DriverOptions;
  /** Overrides for the second host. */
  nicB?: NicOptions;
  driverB?: DriverOptions;
}

/** Two hosts on one wire. */
export class Wired {
  readonly engine: Engine;
  readonly a: Host;
  readonly b: Host;
  readonly link: Link;

  constructor(options: WiredOptions = {}) {
    this.engine = options.engine ?? new Engine({ stepped: true });
    this.a = new Host(this.engine, { mac: MAC_A, ...options.nic }, options.driver);
    this.b = new Host(this.engine, { mac: MAC_B, ...options.nic, ...options.nicB }, options.driverB ?? options.driver);
    this.link = new Link(this.engine, this.a.nic, this.b.nic, options.link);
  }

  /** Moves all that can move at this virtual time, or until `untilUs`, on both sides. */
  run(untilUs?: number): void {
    this.engine.step(untilUs);
    while (this.a.driver.poll() + this.b.driver.poll() > 0) this.engine.step();
    this.engine.step();
  }

  close(): void {
    this.link.close();
    this.a.driver.close();
    this.b.driver.close();
  }
}

/** Lets the event loop turn until `done`, at most for some seconds. */
export async function until(done: () => boolean): Promise<boolean> {
  const giveUp = performance.now() + 10_000;
  while (!done() && performance.now() < giveUp) await new Promise((resolve) => setImmediate(resolve));
  return done();
}

/** A card whose registers are looked at, or changed, on their way. */
export function spied(nic: Nic, spy: { read?: (at: number, value: number) => number; write?: (at: number, value: number) => void; relax?: () => void }): Device {
  const { native } = nic;
  return {
    memory: nic.memory,
    relax: () => {
      spy.relax?.();
      nic.relax();
    },
    native: {
      read: (at) => spy.read?.(at, native.read(at)) ?? native.read(at),
      write: (at, value) => {
        spy.write?.(at, value);
        native.write(at, value);
      },
      kick: (queue) => native.kick(queue),
      watch: (handler) => native.watch(handler),
      ref: (on) => native.ref(on),
      close: () => native.close(),
      interruptPage: native.interruptPage,
    },
  };
}
