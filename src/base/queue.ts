import { invalid } from './errors.js';

const MAX_CAPACITY = 2 ** 24;

//    capacity 8, 5 queued              the same, 3 pushed later: full
//
//    0   1   2   3   4   5   6   7     0   1   2   3   4   5   6   7
//  ┌───┬───┬───┬───┬───┬───┬───┬───┐ ┌───┬───┬───┬───┬───┬───┬───┬───┐
//  │   │ a │ b │ c │ d │ e │   │   │ │ h │ a │ b │ c │ d │ e │ f │ g │
//  └───┴───┴───┴───┴───┴───┴───┴───┘ └───┴───┴───┴───┴───┴───┴───┴───┘
//        ▲                   ▲             ▲
//       head                tail       head, tail
//
//  head: where shift() takes; head + size, both mod capacity, is the tail, where push() writes. Capacity is a power of two, so that
//  "mod" is a mask. A full queue refuses and counts; it never grows and never overwrites.

/** A bounded first-in, first-out queue over one array, allocated once. Empty slots hold `undefined`, so nothing is kept alive. */
export class FixedQueue<T> {
  readonly #slots: (T | undefined)[];
  readonly #mask: number;
  #head = 0;
  #size = 0;
  #dropped = 0;

  /** @param capacity items it can hold: a power of two from 2 to 2^24; else throws ERR_INVALID_ARGUMENT */
  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > MAX_CAPACITY || (capacity & (capacity - 1)) !== 0) {
      throw invalid('capacity', capacity, `a power of two from 2 to ${MAX_CAPACITY}`);
    }
    this.#slots = new Array<T | undefined>(capacity).fill(undefined);
    this.#mask = capacity - 1;
  }

  get capacity(): number {
    return this.#mask + 1;
  }

  /** Items queued now. */
  get size(): number {
    return this.#size;
  }

  /** Items refused since the start because the queue was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Appends `item`; when full, counts it as dropped and returns false. */
  push(item: T): boolean {
    if (this.#size > this.#mask) {
      this.#dropped++;
      return false;
    }
    this.#slots[(this.#head + this.#size) & this.#mask] = item;
    this.#size++;
    return true;
  }

  /** Removes and returns the oldest item; `undefined` when empty. */
  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    this.#size--;
    return item;
  }

  /** The oldest item, left in place; `undefined` when empty. */
  peek(): T | undefined {
    return this.#slots[this.#head];
  }
}
