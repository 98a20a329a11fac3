import { Address, RingcubeError, invalid } from '../base/index.js';
import { type NativeNic, type NicCounters, addon, native } from './addon.js';
import { type Device, FEATURE_NAMES, type FeatureName, Features } from './device.js';
import { type Engine } from './engine.js';
import { Flow, MaxQueuePairs, QueueSizeMax } from './layout.js';
import { type Memory, Region } from './region.js';

export interface NicOptions {
  /** As 02:00:00:00:00:01, which is the default. */
  mac?: string;
  /** Pairs of a receive and a transmit queue, 1 to 127; default 1. */
  queuePairs?: number;
  /** Largest ring the driver may choose: a power of two, 2 to 32768; default 1024. */
  queueSizeMax?: number;
  /** 68 to 65000; default 1500. */
  mtu?: number;
  /** What the device offers; default: all it has. */
  features?: readonly FeatureName[];
  /** Where the driver will lay queues and frames; default: a region of its own of `regionBytes`. */
  region?: Region;
  /** Default 8 MiB. */
  regionBytes?: number;
}

/** An exact flow. Without a source, whoever sends to that destination. Addresses in the usual text forms. */
export interface FlowRule {
  protocol: 'udp' | 'tcp';
  destination: string;
  destinationPort: number;
  source?: string;
  sourcePort?: number;
}

type AccessName = 'read' | 'write' | 'both';
const ACCESS: Record<AccessName, number> = { read: 1, write: 2, both: 3 };

export interface DmaMapping {
  /** The address that descriptors will use. */
  iova: number;
  region: Region;
  /** Default: the whole region. */
  offset?: number;
  length?: number;
  /** Default: both. */
  access?: AccessName;
  /** Only for this queue; default: for all. */
  queue?: number;
}

/** Six bytes of an address like 02:00:00:00:00:01. @throws ERR_INVALID_ARGUMENT */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw invalid('mac', text, 'six bytes like 02:00:00:00:00:01');
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

function encodeRule(rule: FlowRule): Uint8Array {
  const bytes = new Uint8Array(Flow.size);
  const view = new DataView(bytes.buffer);
  const destination = Address.parse(rule.destination);
  if (!['udp', 'tcp'].includes(rule.protocol)) throw invalid('protocol', rule.protocol, 'udp or tcp');
  bytes[Flow.family] = destination.family;
  bytes[Flow.protocol] = rule.protocol === 'udp' ? 17 : 6;
  destination.write(bytes, Flow.destination);
  const port = (name: string, value: number): number => {
    if (!Number.isInteger(value) || value < 1 || value > 65535) throw invalid(name, value, 'a port from 1 to 65535');
    return value;
  };
  view.setUint16(Flow.destination_port, port('destinationPort', rule.destinationPort));
  if ((rule.source === undefined) !== (rule.sourcePort === undefined)) {
    throw invalid('source', rule.source, 'given together with sourcePort, or neither of them');
  }
  if (rule.source !== undefined && rule.sourcePort !== undefined) {
    const source = Address.parse(rule.source);
    if (source.family !== destination.family) throw invalid('source', rule.source, 'of the family of destination');
    source.write(bytes, Flow.source);
    view.setUint16(Flow.source_port, port('sourcePort', rule.sourcePort));
  }
  return bytes;
}

function whole(name: string, value: number, low: number, high: number, what: string): void {
  if (!Number.isInteger(value) || value < low || value > high) throw invalid(name, value, what);
}

/** The card, from the host's side: made on an engine, plugged into links, steered, shared, counted. */
export class Nic implements Device {
  readonly engine: Engine;
  readonly region: Region;
  readonly queuePairs: number;
  /** @internal */
  readonly native: NativeNic;

  constructor(engine: Engine, options: NicOptions = {}) {
    const { mac = '02:00:00:00:00:01', queuePairs = 1, queueSizeMax = 1024, mtu = 1500, regionBytes = 2 ** 23 } = options;
    const macBytes = parseMac(mac);
    if ((macBytes[0] & 1) !== 0) throw invalid('mac', mac, 'a unicast address: its first byte even');
    whole('queuePairs', queuePairs, 1, MaxQueuePairs, `a whole number from 1 to ${MaxQueuePairs}`);
    const sizes = `a power of two from 2 to ${QueueSizeMax}`;
    whole('queueSizeMax', queueSizeMax, 2, QueueSizeMax, sizes);
    if ((queueSizeMax & (queueSizeMax - 1)) !== 0) throw invalid('queueSizeMax', queueSizeMax, sizes);
    whole('mtu', mtu, 68, 65000, 'a whole number from 68 to 65000');
    for (const name of options.features ?? []) {
      if (!FEATURE_NAMES.includes(name)) throw invalid('features', name, `one of ${FEATURE_NAMES.join(', ')}`);
    }
    const features = Features.of(...(options.features ?? FEATURE_NAMES), 'Version1');
    this.engine = engine;
    this.queuePairs = queuePairs;
    this.region = options.region ?? new Region(regionBytes);
    this.native = native(
      () => new addon.Nic(engine.native, { mac: macBytes, queuePairs, queueSizeMax, mtu, features: features.words }),
    );
    this.map({ iova: 0, region: this.region });
  }

  get memory(): Memory {
    return this.region;
  }

  /**
   * Lets queues reach a range of a region (the DMA domain). The NIC's own region is mapped at 0 for all of them.
   * @throws ERR_OUT_OF_RANGE if the range lies outside the region, overlaps another, or the table (16) is full.
   */
  map(mapping: DmaMapping): void {
    const { iova, region, offset = 0, access = 'both', queue } = mapping;
    const length = mapping.length ?? region.buffer.byteLength - offset;
    for (const [name, value] of Object.entries({ iova, offset, length })) {
      whole(name, value, 0, Number.MAX_SAFE_INTEGER, 'a whole number from 0 on');
    }
    if (!(access in ACCESS)) throw invalid('access', access, 'read, write or both');
    if (!this.native.map(this.queueOrAll(queue), region.native, iova, offset, length, ACCESS[access])) {
      throw new RingcubeError(
        'ERR_OUT_OF_RANGE',
        `map: ${length} bytes from ${offset} at iova ${iova} lie outside the region, overlap another mapping, or are one too many`,
      );
    }
  }

  /** Takes a mapping back. Queues that had it stop: reset them to go on. */
  unmap(iova: number, queue?: number): boolean {
    whole('iova', iova, 0, Number.MAX_SAFE_INTEGER, 'a whole number from 0 on');
    return this.native.unmap(this.queueOrAll(queue), iova);
  }

  private queueOrAll(queue: number | undefined): number {
    const last = 2 * this.queuePairs;
    if (queue !== undefined) whole('queue', queue, 0, last, `a queue of this NIC, from 0 to ${last}`);
    return queue ?? -1;
  }

  /**
   * Sends a flow to the receive queue of a pair (ours: virtio 1.2 has no exact match). It takes effect for frames
   * without IP options, extension headers or fragmentation; all others go to pair 0.
   */
  steer(rule: FlowRule, pair: number): void {
    whole('pair', pair, 0, this.queuePairs - 1, `a pair of this NIC, from 0 to ${this.queuePairs - 1}`);
    if (!this.native.steer(encodeRule(rule), pair)) throw new RingcubeError('ERR_OUT_OF_RANGE', 'steer: the table of 4096 rules is full');
  }

  /** Removes a rule; false if there was none. */
  unsteer(rule: FlowRule): boolean {
    return this.native.steer(encodeRule(rule), -1);
  }

  /** Listens on a Unix socket for the worker or process that shall drive this NIC (Attachment). One at a time. */
  share(path: string): void {
    native(() => {
      this.native.share(path, this.region.native);
    });
  }

  /** How often somebody attached. */
  get connections(): number {
    return this.native.connections;
  }

  counters(): NicCounters {
    return this.native.counters();
  }

  relax(): void {
    this.engine.relax();
  }

  /** Takes the card out of the engine. Its memory stays as long as somebody uses it. */
  close(): void {
    this.native.close();
  }
}
