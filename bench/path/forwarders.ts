// The forwarders that are compared: each takes a batch from the card, swaps MAC addresses, decrements TTL, updates the
// checksum (RFC 1624) and gives the frames back to the wire.
import { type FrameBatch, type NicDriver, type QueuePair } from '../../src/nic/index.js';

export interface Forwarder {
  /** One turn, at most `max` frames; returns how many went on. */
  turn(max: number): number;
}

/** Swaps addresses, decrements TTL; `at` is the frame's offset in 16-bit units. */
function forward(u16: Uint16Array, at: number): void {
  const a = u16[at];
  const b = u16[at + 1];
  const c = u16[at + 2];
  u16[at] = u16[at + 3]!;
  u16[at + 1] = u16[at + 4]!;
  u16[at + 2] = u16[at + 5]!;
  u16[at + 3] = a;
  u16[at + 4] = b;
  u16[at + 5] = c;
  if (u16[at + 6] !== 0x0008) return; // IPv4, as it lies in memory
  const ttl = u16[at + 11]; // with the protocol behind it
  if ((ttl & 0xff) <= 1) return;
  // RFC 1624 (3): HC' = ~(~HC + ~m + m')
  let sum = (~u16[at + 12] & 0xffff) + (~ttl & 0xffff) + (ttl - 1);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  u16[at + 11] = ttl - 1;
  u16[at + 12] = ~sum;
}

/** The frame goes back to the wire from the very buffer that the card's DMA wrote it into. */
export class ZeroCopyForwarder implements Forwarder {
  private readonly pair: QueuePair;
  private readonly batch: FrameBatch;
  private readonly u16: Uint16Array;

  constructor(private readonly driver: NicDriver) {
    this.pair = driver.pairs[0]!;
    this.batch = this.pair.batch;
    this.u16 = driver.device.memory.u16;
  }

  turn(max: number): number {
    const { pair, batch, u16 } = this;
    pair.tx.reclaim();
    this.driver.refill(pair);
    const n = pair.rx.receive(batch, Math.min(max, pair.tx.ring.room));
    for (let i = 0; i < n; i++) forward(u16, batch.offset[i] >> 1);
    pair.tx.send(batch);
    this.driver.publish(pair);
    return n;
  }
}

/**
 * One copy a frame, as a driver does that keeps its receive buffers: the card's buffer is copied into one of the
 * forwarder's own, which is sent. Preallocated and without garbage: Memory.copy is the best copy we know.
 */
export class CopyForwarder implements Forwarder {
  private readonly pair: QueuePair;
  private readonly batch: FrameBatch;
  private readonly u16: Uint16Array;

  constructor(private readonly driver: NicDriver) {
    this.pair = driver.pairs[0]!;
    this.batch = this.pair.batch;
    this.u16 = driver.device.memory.u16;
  }

  turn(max: number): number {
    const { pair, batch, u16, driver } = this;
    const { pool, device } = driver;
    pair.tx.reclaim();
    this.driver.refill(pair);
    const n = pair.rx.receive(batch, Math.min(max, pair.tx.ring.room, pool.available));
    for (let i = 0; i < n; i++) {
      const handle = pool.get();
      const offset = pool.offsetOf(handle);
      const length = batch.length[i];
      device.memory.copy(offset, batch.offset[i], length);
      forward(u16, offset >> 1);
      pair.tx.sendOne(handle, offset, length);
      pool.put(batch.handle[i]);
    }
    this.driver.publish(pair);
    return n;
  }
}
