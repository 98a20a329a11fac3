import { RingcubeError, invalid } from '../base/index.js';
import { FrameBatch } from './batch.js';
import { ControlQueue } from './control-queue.js';
import { type Device, FEATURE_NAMES, Features, readConfig } from './device.js';
import { type DriverHandler, type DriverOptions, type ServiceMode } from './driver-options.js';
import { negotiate } from './handshake.js';
import {
  Ctrl,
  InterruptPage,
  QueueSizeMax,
  Reg,
  Status,
  VectorConfig,
  Vectors,
  VirtioNetConfig,
} from './layout.js';
import { parseMac } from './nic.js';
import { FramePool, MAX_POOLS, poolOf } from './pool.js';
import { QueuePair } from './queue-pair.js';
import { MergeableRxQueue, RxQueue, SplitRxQueue } from './rx-queue.js';
import { TxQueue } from './tx-queue.js';
import { Virtqueue } from './virtqueue.js';

const DEFAULT_FEATURES = FEATURE_NAMES.filter((name) => !['GuestCsum', 'CtrlGuestOffloads', 'MrgRxbuf'].includes(name));

/** The driver of a virtio-net device (virtio 1.2 §3.1, §5.1.5). */
export class NicDriver {
  readonly device: Device;
  readonly features: Features;
  readonly mtu: number;
  readonly pairs: readonly QueuePair[];
  /** Those that have buffers. */
  private readonly served: QueuePair[] = [];
  /** The common pool: what RxQueues post, and room for own frames. */
  readonly pool: FramePool;
  readonly control: ControlQueue | undefined;
  private readonly pools: (FramePool | undefined)[];
  private readonly handler: DriverHandler;
  private address: string;
  private readonly page: Int32Array;
  private mode: ServiceMode | undefined;
  private budget = 64;
  private polling = false;
  private closed = false;

  /**
   * Takes the device through the handshake; when it returns, frames can flow.
   * @throws ERR_DEVICE if this is no virtio-net device or it refuses the features or a queue.
   */
  constructor(device: Device, options: DriverOptions = {}) {
    this.device = device;
    this.handler = options.handler ?? {};
    for (const name of options.features ?? []) {
      if (!FEATURE_NAMES.includes(name)) throw invalid('features', name, `one of ${FEATURE_NAMES.join(', ')}`);
    }
    const { native, memory } = device;
    const queuePairs = options.queuePairs ?? 1;
    this.features = negotiate(native, Features.of(...(options.features ?? DEFAULT_FEATURES), 'Version1'));
    const config = readConfig(native);
    const most = this.features.has('Mq') ? config.getUint16(VirtioNetConfig.max_virtqueue_pairs, true) : 1;
    if (!Number.isInteger(queuePairs) || queuePairs < 1 || queuePairs > most) {
      throw invalid('queuePairs', queuePairs, `from 1 to ${most}, which is what the device has`);
    }
    this.mtu = this.features.has('Mtu') ? config.getUint16(VirtioNetConfig.mtu, true) : 1500;
    this.address = Array.from({ length: 6 }, (_, i) => config.getUint8(i).toString(16).padStart(2, '0')).join(':');

    const size = options.queueSize ?? Math.min(256, this.maximumSize(0));
    if (!Number.isInteger(size) || size < 2 || (size & (size - 1)) !== 0 || size > QueueSizeMax) {
      throw invalid('queueSize', size, `a power of two from 2 to ${QueueSizeMax}`);
    }
    const ring = (index: number): Virtqueue => {
      const most = this.maximumSize(index);
      if (size > most) throw invalid('queueSize', size, `at most ${most}, which is what the device has`);
      const queue = new Virtqueue(memory, size, this.features);
      this.program(index, queue);
      return queue;
    };
    const rings = Array.from({ length: 2 * queuePairs }, (_, index) => ring(index));
    const controlIndex = this.features.has('Mq') ? 2 * most : 2;
    this.control = this.features.has('CtrlVq')
      ? new ControlQueue(ring(controlIndex), device, controlIndex)
      : undefined;
    this.control?.ring.disableInterrupts();

    const { frameBytes = this.mtu + 18, idleFrom = queuePairs, poolId = 0 } = options;
    const { buffers = (2 * Math.min(idleFrom, queuePairs) + 1) * size } = options;
    if (!Number.isInteger(buffers) || buffers < 1 || buffers > 2 ** 24) throw invalid('buffers', buffers, 'from 1 to 2^24');
    this.pool = new FramePool(memory, { count: buffers, frameBytes, id: poolId });
    this.pools = new Array<FramePool | undefined>(MAX_POOLS).fill(undefined);
    this.addPool(this.pool);
    const checksums = this.features.has('GuestCsum');
    this.pairs = Array.from({ length: queuePairs }, (_, i) => {
      const rx = new (this.features.has('MrgRxbuf') ? MergeableRxQueue : RxQueue)(rings[2 * i], this.pool, checksums);
      return new QueuePair(i, rx, new TxQueue(rings[2 * i + 1], this.pools), new FrameBatch(Math.min(size, 1024)));
    });
    this.page = new Int32Array(native.interruptPage);
    native.write(Reg.Status, Status.Acknowledge | Status.Driver | Status.FeaturesOk | Status.DriverOk);
    if (queuePairs > 1) this.command(Ctrl.Mq, Ctrl.MqVqPairsSet, u16(queuePairs), `${queuePairs} queue pairs`);
    if (options.promiscuous === true) this.setPromiscuous(true);
    for (const pair of this.pairs) {
      pair.rx.ring.disableInterrupts();
      pair.tx.ring.disableInterrupts();
      if (pair.index < idleFrom) this.served.push(pair);
      if (options.refill !== false && pair.index < idleFrom) this.refill(pair);
    }
  }

  // --- frames ---

  /** One look at every pair: takes at most `budget` frames of each to the handler. Returns how many. */
  poll(budget: number = this.budget): number {
    let frames = 0;
    for (let i = 0; i < this.served.length; i++) {
      const pair = this.served[i];
      if (pair.ready === undefined) frames += this.serve(pair, budget);
      else if (!pair.waiting && pair.rx.ring.used() > 0) this.defer(pair);
    }
    return frames;
  }

  /**
   * Takes at most `budget` frames of a pair that has a `ready`, and returns how many. If the pair is `waiting` still, there are
   * more, and the caller comes again; else `ready` is called for the next.
   */
  serveDeferred(pair: QueuePair, budget: number): number {
    const frames = this.serve(pair, budget);
    pair.waiting = (frames === budget && pair.rx.ring.used() > 0) || this.awake(pair);
    return frames;
  }

  /** As serveDeferred(), but what it takes goes back to its pools unseen. */
  dropDeferred(pair: QueuePair, budget: number): number {
    const frames = pair.rx.receive(pair.batch, budget);
    this.discard(pair.batch);
    this.refill(pair);
    pair.waiting = this.awake(pair);
    return frames;
  }

  private defer(pair: QueuePair): void {
    pair.rx.ring.disableInterrupts();
    pair.waiting = true;
    pair.ready!(pair);
  }

  /** Shows the device what was put on a pair's transmit queue. What came short of room is told when there is some. */
  publish(pair: QueuePair): void {
    if (pair.tx.publish()) this.device.native.kick(2 * pair.index + 1);
    if (pair.tx.stalled && this.mode !== undefined && !pair.polling && this.awake(pair)) this.beginPolling(pair);
  }

  /** Posts empty receive buffers. */
  refill(pair: QueuePair): void {
    if (pair.rx.refill()) this.device.native.kick(2 * pair.index);
  }

  /** Gives a buffer back to its pool. */
  put(handle: number): void {
    this.pools[poolOf(handle)]!.put(handle);
  }

  /** One more user of a buffer. */
  retain(handle: number): void {
    this.pools[poolOf(handle)]!.retain(handle);
  }

  /** Makes the buffers of a further pool (with an id of its own) ones that can be sent. */
  addPool(pool: FramePool): void {
    if (this.pools[pool.id] !== undefined && this.pools[pool.id] !== pool) {
      throw invalid('pool id', pool.id, 'one that no other pool of this driver has');
    }
    this.pools[pool.id] = pool;
  }

  // --- service ---

  /** Starts to serve the card from this thread's event loop. */
  start(mode: ServiceMode = 'adaptive', budget = 64): void {
    if (!['interrupt', 'adaptive', 'poll'].includes(mode)) throw invalid('mode', mode, 'interrupt, adaptive or poll');
    if (!Number.isInteger(budget) || budget < 1) throw invalid('budget', budget, 'frames a turn, from 1 on');
    this.mode = mode;
    this.budget = budget;
    this.device.native.watch(this.onInterrupt);
    for (const pair of this.served) this.resume(pair);
  }

  private resume(pair: QueuePair): void {
    if (this.mode === undefined || pair.polling || pair.waiting) return;
    if ((this.mode === 'poll' && pair.ready === undefined) || this.awake(pair)) this.beginPolling(pair);
  }

  /** Serves interrupts that the event loop has not come to: for those who run long, between two things they do. */
  pollInterrupts(): void {
    if (Atomics.load(this.page, InterruptPage.signalled >> 2) !== 0) this.onInterrupt();
  }

  /** Whether the card keeps the process alive; it does by default, once started. */
  ref(on: boolean): void {
    this.device.native.ref(on);
  }

  private readonly onInterrupt = (): void => {
    if (this.closed) return;
    // `signalled` first: a bit that the device sets from here on signals anew.
    Atomics.store(this.page, InterruptPage.signalled >> 2, 0);
    for (let word = 0; word < Vectors / 32; word++) {
      let bits = Atomics.exchange(this.page, (InterruptPage.pending >> 2) + word, 0);
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits);
        bits &= ~(1 << bit);
        const vector = 32 * word + bit;
        if (vector === VectorConfig) this.onChange();
        else if (vector < this.pairs.length) this.onPair(this.pairs[vector]);
      }
    }
  };

  private onPair(pair: QueuePair): void {
    if (pair.polling || pair.waiting) return;
    if (pair.ready !== undefined) return this.defer(pair);
    if (this.mode === 'adaptive') pair.rx.ring.disableInterrupts();
    this.turn(pair);
  }

  private beginPolling(pair: QueuePair): void {
    pair.polling = true;
    if (this.polling) return;
    this.polling = true;
    setImmediate(this.pollTurn);
  }

  private readonly pollTurn = (): void => {
    this.polling = false;
    for (const pair of this.served) if (pair.polling && !this.closed) this.turn(pair);
  };

  private turn(pair: QueuePair): void {
    if (pair.ready !== undefined) {
      pair.polling = false;
      if (!pair.waiting) this.defer(pair);
      return;
    }
    pair.polling = true;
    let again = true; // also where a handler throws
    try {
      again = this.serve(pair, this.budget) === this.budget || this.mode === 'poll' || this.awake(pair);
    } catch (error) {
      if (this.handler.changed === undefined || (pair.rx.ring.fault === '' && pair.tx.ring.fault === '')) throw error;
      again = false;
      this.onChange();
    } finally {
      pair.polling = false;
      if (again && !this.closed) this.beginPolling(pair);
    }
  }

  /**
   * Asks for the next interrupt. True, and asks for none, if there is work already: what came in meanwhile raises no
   * interrupt of its own (§2.7.7.1).
   */
  private awake(pair: QueuePair): boolean {
    const { rx, tx } = pair;
    // Sent buffers are waited for by those who came short of room, and where there is nothing left to receive into.
    const waits = tx.stalled || rx.ring.outstanding === 0;
    if (!rx.ring.enableInterrupts() && !(waits && tx.ring.enableInterrupts())) return false;
    rx.ring.disableInterrupts();
    tx.ring.disableInterrupts();
    return true;
  }

  private serve(pair: QueuePair, budget: number): number {
    const { rx, tx, batch } = pair;
    const { stalled } = tx;
    if (tx.reclaim() > 0 && stalled) {
      tx.ring.disableInterrupts();
      this.handler.writable?.(pair);
    }
    const n = rx.receive(batch, budget);
    if (n > 0) {
      if (this.handler.frames === undefined) this.discard(batch);
      else this.handler.frames(batch, pair);
      this.publish(pair);
    }
    // Last, so that a queue that was emptied at one go is not left without buffers, and so without interrupts.
    this.refill(pair);
    return n;
  }

  private discard(batch: FrameBatch): void {
    for (let i = 0; i < batch.count; i++) {
      if (batch.handle[i] !== -1) this.put(batch.handle[i]);
      if (batch.payloadHandle[i] !== -1) this.put(batch.payloadHandle[i]);
    }
  }

  // --- the slow path ---

  setPromiscuous(on: boolean): void {
    this.command(Ctrl.Rx, Ctrl.RxPromisc, Uint8Array.of(on ? 1 : 0), 'promiscuous mode');
  }

  /** Which further addresses to take: unicast ones and multicast groups, as 01:00:5e:00:00:01. */
  setMacTable(unicast: readonly string[], multicast: readonly string[]): void {
    const table = (list: readonly string[]): number[] => [...u32(list.length), ...list.flatMap((mac) => [...parseMac(mac)])];
    this.command(Ctrl.Mac, Ctrl.MacTableSet, Uint8Array.from([...table(unicast), ...table(multicast)]), 'the MAC table');
  }

  setMac(mac: string): void {
    this.command(Ctrl.Mac, Ctrl.MacAddrSet, parseMac(mac), `the address ${mac}`);
    this.address = mac.toLowerCase();
  }

  /** Whether the device checks transport checksums (FrameFlag.ChecksumValid); needs CtrlGuestOffloads. */
  setReceiveChecksums(on: boolean): void {
    this.command(Ctrl.GuestOffloads, Ctrl.GuestOffloadsSet, Uint8Array.from([on ? 2 : 0, 0, 0, 0, 0, 0, 0, 0]), 'receive checksums');
  }

  /** Holds interrupts back until `maxPackets` frames or `maxUs` microseconds (NOTF_COAL); 0, 0: none held back. */
  setCoalescing(direction: 'rx' | 'tx', maxPackets: number, maxUs: number): void {
    const command = direction === 'rx' ? Ctrl.NotfCoalRxSet : Ctrl.NotfCoalTxSet;
    this.command(Ctrl.NotfCoal, command, Uint8Array.from([...u32(maxPackets), ...u32(maxUs)]), 'interrupt coalescing');
  }

  private command(commandClass: number, command: number, data: Uint8Array, what: string): void {
    if (this.control === undefined) throw new RingcubeError('ERR_UNSUPPORTED', `${what}: the device has no control queue`);
    this.control.send(commandClass, command, data, what);
  }

  /** Resets both queues of a pair (VIRTIO_F_RING_RESET, §2.6.1); what they held goes back to the pools. */
  resetPair(pair: QueuePair): void {
    const { stalled } = pair.tx;
    this.resetQueue(2 * pair.index, pair.rx);
    this.resetQueue(2 * pair.index + 1, pair.tx);
    this.refill(pair);
    this.resume(pair);
    if (stalled) this.handler.writable?.(pair);
  }

  /**
   * From now on what `pair` receives is split: the first `headerBytes` of a frame go to a buffer of `headers`, the rest to one of
   * `payloads`. Frames that wait on the queue are dropped.
   * @param headerBytes from 14 to what a buffer of `headers` holds
   * @throws ERR_UNSUPPORTED if the device can not reset single queues, or merges buffers
   */
  splitPair(pair: QueuePair, headerBytes: number, headers: FramePool, payloads: FramePool): void {
    if (this.features.has('MrgRxbuf')) throw new RingcubeError('ERR_UNSUPPORTED', 'a pair with mergeable buffers can not split its frames');
    if (!Number.isInteger(headerBytes) || headerBytes < 14 || headerBytes > headers.frameBytes) {
      throw invalid('headerBytes', headerBytes, `a whole number from 14 to ${headers.frameBytes}, the frameBytes of its pool`);
    }
    this.addPool(headers);
    this.addPool(payloads);
    this.resetQueue(2 * pair.index, pair.rx);
    pair.rx = new SplitRxQueue(pair.rx.ring, headers, this.features.has('GuestCsum'), headerBytes, payloads);
    pair.batch = new FrameBatch(pair.batch.capacity);
    pair.waiting = false;
    this.openPair(pair);
  }

  /** Gives buffers to a pair that has none. */
  openPair(pair: QueuePair): void {
    if (!this.served.includes(pair)) this.served.push(pair);
    this.refill(pair);
    this.resume(pair);
  }

  /** Takes all buffers away from a pair, which is served no more, and splits nothing when it is opened again. */
  idlePair(pair: QueuePair): void {
    this.resetQueue(2 * pair.index, pair.rx);
    if (pair.rx instanceof SplitRxQueue) {
      pair.rx = new RxQueue(pair.rx.ring, this.pool, this.features.has('GuestCsum'));
      pair.batch = new FrameBatch(pair.batch.capacity);
    }
    pair.ready = undefined;
    pair.waiting = pair.polling = false;
    if (this.served.includes(pair)) this.served.splice(this.served.indexOf(pair), 1);
  }

  private resetQueue(index: number, queue: RxQueue | TxQueue): void {
    if (!this.features.has('RingReset')) throw new RingcubeError('ERR_UNSUPPORTED', 'the device can not reset single queues');
    this.device.native.write(Reg.QueueSel, index);
    this.device.native.write(Reg.QueueReset, 1);
    queue.recover();
    queue.ring.restart();
    this.program(index, queue.ring);
    queue.ring.disableInterrupts();
  }

  /** The card's address, as 02:00:00:00:00:01. */
  get mac(): string {
    return this.address;
  }

  /** Whether the wire is plugged in. */
  get linkUp(): boolean {
    return !this.features.has('Status') || (readConfig(this.device.native).getUint16(VirtioNetConfig.status, true) & 1) !== 0;
  }

  /** Resets the device and stops serving it. Buffers still on its rings are gone with it. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.mode = undefined;
    this.device.native.write(Reg.Status, 0);
    this.device.native.close();
  }

  private onChange(): void {
    const { native } = this.device;
    const stopped: number[] = [];
    for (const { index, rx, tx } of this.pairs) {
      for (const [queue, { ring }] of [[2 * index, rx], [2 * index + 1, tx]] as const) {
        native.write(Reg.QueueSel, queue);
        if (native.read(Reg.QueueReady) === 0 || ring.fault !== '') stopped.push(queue);
      }
    }
    const needsReset = (native.read(Reg.Status) & Status.NeedsReset) !== 0;
    this.handler.changed?.({ linkUp: this.linkUp, needsReset, stopped });
  }

  private maximumSize(index: number): number {
    this.device.native.write(Reg.QueueSel, index);
    return this.device.native.read(Reg.QueueSizeMax);
  }

  /** Tells the device where a queue lies and that it is ready (§4.2.3.2). */
  private program(index: number, queue: Virtqueue): void {
    const { native } = this.device;
    native.write(Reg.QueueSel, index);
    native.write(Reg.QueueSize, queue.size);
    native.write(Reg.QueueDescLow, queue.descOffset);
    native.write(Reg.QueueDescHigh, 0);
    native.write(Reg.QueueDriverLow, queue.availOffset);
    native.write(Reg.QueueDriverHigh, 0);
    native.write(Reg.QueueDeviceLow, queue.usedOffset);
    native.write(Reg.QueueDeviceHigh, 0);
    native.write(Reg.QueueReady, 1);
    if (native.read(Reg.QueueReady) === 0) throw new RingcubeError('ERR_DEVICE', `the device refuses queue ${index}`);
  }
}

const u16 = (value: number): Uint8Array => Uint8Array.of(value & 255, value >> 8);
const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
