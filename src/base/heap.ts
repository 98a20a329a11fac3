import { invalid } from './errors.js';

const LOG_ARITY = 2;
const ARITY = 1 << LOG_ARITY;
const FIRST_CAPACITY = 16;

//   place     0    1    2    3    4  │  5    6    7
//   keys     10   20   15   20   11  │                 a parent's key is never greater than its children's
//   arrivals  3    1    5    2    4  │                 … and among equal keys its arrival is the earlier
//   ids       4    0    1    6    3  │  5    2    7    behind the last entry: the ids that are free
//
//   places[id] is where an id stands, −1 if it is free; items[id] is what was pushed.
//
// Four children to a node rather than two: half the depth, and siblings share a cache line.

/**
 * A priority queue, least key first; equal keys come out in the order in which they went in. Any entry can be taken out by the id
 * that its push returned. Grows as needed; otherwise allocates nothing.
 *
 * push, pop and remove take O(log size).
 */
export class IndexedHeap<T> {
  private keys: Float64Array;
  private arrivals: Float64Array;
  private ids: Int32Array;
  private places: Int32Array;
  private readonly items: (T | undefined)[];
  private count: number;
  private pushed: number;

  constructor() {
    this.keys = new Float64Array(FIRST_CAPACITY);
    this.arrivals = new Float64Array(FIRST_CAPACITY);
    this.ids = Int32Array.from({ length: FIRST_CAPACITY }, (_, id) => id);
    this.places = new Int32Array(FIRST_CAPACITY).fill(-1);
    this.items = new Array<T | undefined>(FIRST_CAPACITY).fill(undefined);
    this.count = 0;
    this.pushed = 0;
  }

  /** Entries held now. */
  get size(): number {
    return this.count;
  }

  /** The least key; Infinity when empty. */
  get peekKey(): number {
    return this.count > 0 ? this.keys[0] : Infinity;
  }

  /** What pop() would return, left in place. */
  peek(): T | undefined {
    return this.count > 0 ? this.items[this.ids[0]] : undefined;
  }

  /**
   * Adds `item` under `key`; Infinity is a key like any other, NaN throws ERR_INVALID_ARGUMENT.
   *
   * @returns the entry's id, for remove(); it is given anew once the entry has left
   */
  push(key: number, item: T): number {
    if (Number.isNaN(key)) throw invalid('key', key, 'a number');
    if (this.count === this.keys.length) this.grow();
    const place = this.count++;
    const id = this.ids[place];
    this.items[id] = item;
    this.rise(place, key, this.pushed++, id);
    return id;
  }

  /** Takes out the entry with the least key, of several the oldest; `undefined` when empty. */
  pop(): T | undefined {
    return this.count > 0 ? this.remove(this.ids[0]) : undefined;
  }

  /** Takes out the entry that push() gave this id, and returns it. Throws ERR_INVALID_ARGUMENT if there is none. */
  remove(id: number): T {
    const place = this.places[id];
    if (!(place >= 0)) throw invalid('id', id, 'that of an entry in the heap');
    const item = this.items[id]!;
    this.items[id] = undefined;
    this.places[id] = -1;
    const last = --this.count;
    const { keys, arrivals, ids } = this;
    const moved = ids[last];
    ids[last] = id;
    if (place !== last) {
      // What stood last fills the gap, and goes up or down from there.
      const parent = (place - 1) >> LOG_ARITY;
      const key = keys[last];
      const arrival = arrivals[last];
      if (place > 0 && (key < keys[parent] || (key === keys[parent] && arrival < arrivals[parent]))) this.rise(place, key, arrival, moved);
      else this.sink(place, key, arrival, moved);
    }
    return item;
  }

  private rise(place: number, key: number, arrival: number, id: number): void {
    const { keys, arrivals, ids, places } = this;
    while (place > 0) {
      const parent = (place - 1) >> LOG_ARITY;
      if (key > keys[parent] || (key === keys[parent] && arrival > arrivals[parent])) break;
      keys[place] = keys[parent];
      arrivals[place] = arrivals[parent];
      places[(ids[place] = ids[parent])] = place;
      place = parent;
    }
    keys[place] = key;
    arrivals[place] = arrival;
    ids[place] = id;
    places[id] = place;
  }

  private sink(place: number, key: number, arrival: number, id: number): void {
    const { keys, arrivals, ids, places, count } = this;
    for (;;) {
      const first = ARITY * place + 1;
      if (first >= count) break;
      let least = first;
      for (let child = first + 1; child < first + ARITY && child < count; child++) {
        if (keys[child] < keys[least] || (keys[child] === keys[least] && arrivals[child] < arrivals[least])) least = child;
      }
      if (key < keys[least] || (key === keys[least] && arrival < arrivals[least])) break;
      keys[place] = keys[least];
      arrivals[place] = arrivals[least];
      places[(ids[place] = ids[least])] = place;
      place = least;
    }
    keys[place] = key;
    arrivals[place] = arrival;
    ids[place] = id;
    places[id] = place;
  }

  private grow(): void {
    const capacity = this.keys.length;
    const { keys, arrivals, ids, places } = this;
    this.keys = new Float64Array(2 * capacity);
    this.keys.set(keys);
    this.arrivals = new Float64Array(2 * capacity);
    this.arrivals.set(arrivals);
    this.ids = Int32Array.from({ length: 2 * capacity }, (_, id) => id);
    this.ids.set(ids);
    this.places = new Int32Array(2 * capacity).fill(-1);
    this.places.set(places);
    for (let id = capacity; id < 2 * capacity; id++) this.items.push(undefined);
  }
}
