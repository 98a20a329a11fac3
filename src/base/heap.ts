import { invalid } from './errors.js';
import { IdHeap } from './id-heap.js';

const FIRST_CAPACITY = 16;

/**
 * A priority queue, least key first; equal keys come out in the order in which they went in. Any entry can be taken out by the id
 * that its push returned. Grows as needed; otherwise allocates nothing.
 *
 * push, pop and remove take O(log size).
 */
export class IndexedHeap<T> {
  private readonly order: IdHeap;
  /** By id. */
  private readonly items: (T | undefined)[];
  /** Ids whose entries have left. */
  private readonly free: number[];

  constructor() {
    this.order = new IdHeap(FIRST_CAPACITY);
    this.items = [];
    this.free = [];
  }

  /** Entries held now. */
  get size(): number {
    return this.order.size;
  }

  /** The least key; Infinity when empty. */
  get peekKey(): number {
    return this.order.firstKey;
  }

  /** What pop() would return, left in place. */
  peek(): T | undefined {
    return this.order.size > 0 ? this.items[this.order.first] : undefined;
  }

  /**
   * Adds `item` under `key`; Infinity is a key like any other, NaN throws ERR_INVALID_ARGUMENT.
   *
   * @returns the entry's id, for remove(); it is given anew once the entry has left
   */
  push(key: number, item: T): number {
    if (Number.isNaN(key)) throw invalid('key', key, 'a number');
    const id = this.free.length > 0 ? this.free.pop()! : this.items.length;
    this.items[id] = item;
    this.order.set(id, key);
    return id;
  }

  /** Takes out the entry with the least key, of several the oldest; `undefined` when empty. */
  pop(): T | undefined {
    return this.order.size > 0 ? this.leave(this.order.pop()) : undefined;
  }

  /** Takes out the entry that push() gave this id, and returns it. Throws ERR_INVALID_ARGUMENT if there is none. */
  remove(id: number): T {
    if (!this.order.has(id)) throw invalid('id', id, 'that of an entry in the heap');
    this.order.remove(id);
    return this.leave(id);
  }

  private leave(id: number): T {
    const item = this.items[id]!;
    this.items[id] = undefined;
    this.free.push(id);
    return item;
  }
}
