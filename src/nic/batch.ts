/** What a frame of a batch is, besides its bytes. */
export const FrameFlag = {
  /** The device has verified the transport checksum (VIRTIO_NET_HDR_F_DATA_VALID). */
  ChecksumValid: 1,
  /** The frame goes on in the next entry (mergeable receive buffers). */
  More: 2,
} as const;

/**
 * A batch of received frames as parallel arrays, filled anew by each RxQueue.receive(): no object a frame. Entries are
 * [0, count). The buffers behind the handles are the reader's until it sends them on or puts them back into their pool.
 */
export class FrameBatch {
  readonly capacity: number;
  count = 0;
  /** Of the buffer, for FramePool.put or TxQueue.send. */
  readonly handle: Int32Array;
  /** Of the first byte of the frame, in the region. */
  readonly offset: Int32Array;
  /** Bytes of the frame in this buffer, without virtio_net_hdr. */
  readonly length: Int32Array;
  readonly flags: Uint8Array;
  /** Of queues that split frames: the payload behind the headers; handle -1 where there is none. */
  readonly payloadHandle: Int32Array;
  readonly payloadOffset: Int32Array;
  readonly payloadLength: Int32Array;

  constructor(capacity = 256) {
    this.capacity = capacity;
    this.handle = new Int32Array(capacity);
    this.offset = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.payloadHandle = new Int32Array(capacity).fill(-1);
    this.payloadOffset = new Int32Array(capacity);
    this.payloadLength = new Int32Array(capacity);
  }
}

/** Loops made for a batch (specialise()), once for each batch that comes by, and found again at once for the last one. */
export class PerBatch<Loops> {
  private readonly made = new WeakMap<FrameBatch, Loops>();
  private lastBatch: FrameBatch | undefined;
  private last: Loops | undefined;

  constructor(private readonly make: (batch: FrameBatch) => Loops) {}

  get(batch: FrameBatch): Loops {
    if (batch === this.lastBatch) return this.last!;
    let loops = this.made.get(batch);
    if (loops === undefined) this.made.set(batch, (loops = this.make(batch)));
    this.lastBatch = batch;
    return (this.last = loops);
  }
}
