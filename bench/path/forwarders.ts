// The forwarders that are compared: each takes a batch from the card, swaps MAC addresses, decrements TTL, updates the
// checksum (RFC 1624) and gives the frames back to the wire.
import { specialise } from '../../src/base/index.js';
import { FrameBatch, type Memory, type NicDriver, type QueuePair } from '../../src/nic/index.js';

export interface Forwarder {
  /** One turn, at most `max` frames; returns how many went on. */
  turn(max: number): number;
}

/**
 * A loop over the first `n` of these frames. A frame starts 2 bytes behind a multiple of 8 (HEADROOM), so that its
 * addresses are two halves and two whole words: [d0 | d1] [s0 | s1], s0 and d1 of 32 bits.
 */
const changes = ({ u16, i32 }: Memory, offsets: Int32Array) => (n: number): void => {
  for (let i = 0; i < n; i++) {
    const at = offsets[i] >> 1;
    const word = (offsets[i] + 2) >> 2;
    const d0 = u16[at];
    const d1 = i32[word];
    const s0 = i32[word + 1];
    const s1 = u16[at + 5];
    u16[at] = s0;
    i32[word] = (s0 >>> 16) | (s1 << 16);
    i32[word + 1] = d0 | (d1 << 16);
    u16[at + 5] = d1 >>> 16;
    if (u16[at + 6] !== 0x0008) continue; // IPv4, as it lies in memory
    const ttl = u16[at + 11]; // with the protocol behind it
    if ((ttl & 0xff) <= 1) continue;
    // RFC 1624 (3): HC' = ~(~HC + ~m + m')
    let sum = (~u16[at + 12] & 0xffff) + (~ttl & 0xffff) + (ttl - 1);
    sum = (sum & 0xffff) + (sum >>> 16);
    sum = (sum & 0xffff) + (sum >>> 16);
    u16[at + 11] = ttl - 1;
    u16[at + 12] = ~sum;
  }
};

abstract class RingForwarder implements Forwarder {
  protected readonly pair: QueuePair;
  protected readonly change: (n: number) => void;

  constructor(
    protected readonly driver: NicDriver,
    /** Where the frames lie that are changed. */
    offsets: (pair: QueuePair) => Int32Array,
  ) {
    this.pair = driver.pairs[0]!;
    this.change = specialise(changes)(driver.device.memory, offsets(this.pair));
  }

  abstract turn(max: number): number;
}

/** The frame goes back to the wire from the very buffer that the card's DMA wrote it into. */
export class ZeroCopyForwarder extends RingForwarder {
  constructor(driver: NicDriver) {
    super(driver, (pair) => pair.batch.offset);
  }

  override turn(max: number): number {
    const { pair, driver } = this;
    const { rx, tx, batch } = pair;
    tx.reclaim();
    driver.refill(pair);
    const n = rx.receive(batch, Math.min(max, tx.ring.room));
    this.change(n);
    tx.send(batch);
    driver.publish(pair);
    return n;
  }
}

/**
 * One copy a frame, as a driver does that keeps its receive buffers: the card's buffer is copied into one of the
 * forwarder's own, which is sent. Preallocated and without garbage: Memory.copy is the best copy we know.
 */
export class CopyForwarder extends RingForwarder {
  private readonly copies: FrameBatch;
  private readonly get: (n: number) => void;
  private readonly put: (from: number, to: number) => number;

  constructor(driver: NicDriver) {
    const copies = new FrameBatch(driver.pairs[0].batch.capacity);
    super(driver, () => copies.offset);
    this.copies = copies;
    this.get = driver.pool.gets(copies.handle, copies.offset);
    this.put = driver.pool.puts(this.pair.batch.handle);
  }

  override turn(max: number): number {
    const { pair, driver, copies } = this;
    const { rx, tx, batch } = pair;
    const { memory } = driver.device;
    tx.reclaim();
    driver.refill(pair);
    const n = rx.receive(batch, Math.min(max, tx.ring.room, driver.pool.available));
    this.get(n);
    for (let i = 0; i < n; i++) {
      const length = batch.length[i];
      memory.copy(copies.offset[i], batch.offset[i], length);
      copies.length[i] = length;
    }
    this.change(n);
    tx.send(copies, 0, n);
    this.put(0, n);
    driver.publish(pair);
    return n;
  }
}
