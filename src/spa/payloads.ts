/**
 * Payloads on their way from one agent to the next, as parallel arrays: entries are [0, count), in order. Whoever holds the batch
 * owns the buffers behind the handles: it passes each on once, or gives it back to its pool.
 */
export class Payloads {
  count = 0;
  /** Of the buffer (FramePool). */
  readonly handle: Int32Array;
  /** Of the first byte, in the card's memory. */
  readonly offset: Int32Array;
  readonly length: Int32Array;
  /** Number of the sender, from 0 on. */
  readonly meta: Int32Array;
  /** Where to: 0 for all of the stream's outputs, k for the k-th. */
  readonly output: Int32Array;

  constructor(readonly capacity: number) {
    this.handle = new Int32Array(capacity);
    this.offset = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
    this.meta = new Int32Array(capacity);
    this.output = new Int32Array(capacity);
  }

  /** False if the batch is full: the buffer is still the caller's then. */
  add(handle: number, offset: number, length: number, meta: number, output: number): boolean {
    const { count } = this;
    if (count === this.capacity) return false;
    this.handle[count] = handle;
    this.offset[count] = offset;
    this.length[count] = length;
    this.meta[count] = meta;
    this.output[count] = output;
    this.count = count + 1;
    return true;
  }

  /** Moves entries [from, from + count) to the front, whatever `this.count` says. */
  moveUp(from: number, count: number): void {
    this.handle.copyWithin(0, from, from + count);
    this.offset.copyWithin(0, from, from + count);
    this.length.copyWithin(0, from, from + count);
    this.meta.copyWithin(0, from, from + count);
    this.output.copyWithin(0, from, from + count);
  }
}
