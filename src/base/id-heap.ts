const LOG_ARITY = 2;
const ARITY = 1 << LOG_ARITY;

//   place     0    1    2    3    4  │  5 …
//   keys     10   20   15   20   11  │        a parent's key is never greater than its children's
//   ids       4    0    1    6    3  │        … and among equal keys it was set the earlier
//
//   places[id] is where an id stands, −1 if it is not in; turns[id] counts when it was set. Turns are looked at for equal keys only,
//   so that moving an entry means three stores. Four children to a node rather than two: half the depth, and siblings share a cache line.

/**
 * A priority queue of small whole numbers, each in it at most once, least key first; equal keys come out in the order in which they were set. An entry
 * can be given another key where it is. set, pop and remove take O(log size) and allocate only to grow.
 */
export class IdHeap {
  private keys: Float64Array;
  private ids: Int32Array;
  private places: Int32Array;
  private turns: Float64Array;
  private count: number;
  private turn: number;

  /** @param ids they are 0 to ids − 1 to begin with; higher ones may be set too, and make it grow */
  constructor(ids: number) {
    this.keys = new Float64Array(ids);
    this.ids = new Int32Array(ids);
    this.places = new Int32Array(ids).fill(-1);
    this.turns = new Float64Array(ids);
    this.count = 0;
    this.turn = 0;
  }

  /** Entries held now. */
  get size(): number {
    return this.count;
  }

  /** The least key; Infinity when empty. */
  get firstKey(): number {
    return this.count > 0 ? this.keys[0] : Infinity;
  }

  /** The id under it, left in place; −1 when empty. */
  get first(): number {
    return this.count > 0 ? this.ids[0] : -1;
  }

  /** Whether `id` is in. */
  has(id: number): boolean {
    return id < this.places.length && this.places[id] >= 0;
  }

  /** The key of `id`; Infinity if it is not in. */
  keyOf(id: number): number {
    const place = id < this.places.length ? this.places[id] : -1;
    return place >= 0 ? this.keys[place] : Infinity;
  }

  /** Puts `id` under `key`, which is not NaN, behind all that were set under it before: for the first time, or instead of the key that it had. */
  set(id: number, key: number): void {
    if (id >= this.places.length) this.grow(id);
    const place = this.places[id];
    const turn = this.turn++;
    this.turns[id] = turn;
    if (place < 0) {
      this.rise(this.count++, key, id);
      return;
    }
    const { keys } = this;
    const parent = (place - 1) >> LOG_ARITY;
    if (place > 0 && key < keys[parent]) this.rise(place, key, id);
    else this.sink(place, key, id);
  }

  /** Takes out the id with the least key, of several the one set first, and returns it; −1 when empty. */
  pop(): number {
    if (this.count === 0) return -1;
    const id = this.ids[0];
    this.places[id] = -1;
    const last = --this.count;
    if (last > 0) this.sink(0, this.keys[last], this.ids[last]);
    return id;
  }

  /** Takes `id` out, if it is in. */
  remove(id: number): void {
    const place = id < this.places.length ? this.places[id] : -1;
    if (place < 0) return;
    this.places[id] = -1;
    const last = --this.count;
    if (place === last) return;
    const key = this.keys[last];
    const moved = this.ids[last];
    const parent = (place - 1) >> LOG_ARITY;
    if (place > 0 && this.isBefore(key, moved, parent)) this.rise(place, key, moved);
    else this.sink(place, key, moved);
  }

  private isBefore(key: number, id: number, place: number): boolean {
    const other = this.keys[place];
    return key < other || (key === other && this.turns[id] < this.turns[this.ids[place]]);
  }

  private rise(place: number, key: number, id: number): void {
    const { keys, ids, places, turns } = this;
    const turn = turns[id];
    while (place > 0) {
      const parent = (place - 1) >> LOG_ARITY;
      const other = keys[parent];
      const otherId = ids[parent];
      if (key > other || (key === other && turn > turns[otherId])) break;
      keys[place] = other;
      ids[place] = otherId;
      places[otherId] = place;
      place = parent;
    }
    keys[place] = key;
    ids[place] = id;
    places[id] = place;
  }

  private sink(place: number, key: number, id: number): void {
    const { keys, ids, places, turns, count } = this;
    const turn = turns[id];
    for (;;) {
      const first = ARITY * place + 1;
      if (first >= count) break;
      const end = first + ARITY < count ? first + ARITY : count;
      let least = first;
      let leastKey = keys[first];
      for (let child = first + 1; child < end; child++) {
        const other = keys[child];
        if (other < leastKey || (other === leastKey && turns[ids[child]] < turns[ids[least]])) {
          least = child;
          leastKey = other;
        }
      }
      const leastId = ids[least];
      if (key < leastKey || (key === leastKey && turn < turns[leastId])) break;
      keys[place] = leastKey;
      ids[place] = leastId;
      places[leastId] = place;
      place = least;
    }
    keys[place] = key;
    ids[place] = id;
    places[id] = place;
  }

  private grow(id: number): void {
    const length = Math.max(id + 1, 2 * this.places.length);
    const { keys, ids, places, turns } = this;
    this.keys = new Float64Array(length);
    this.keys.set(keys);
    this.ids = new Int32Array(length);
    this.ids.set(ids);
    this.places = new Int32Array(length).fill(-1);
    this.places.set(places);
    this.turns = new Float64Array(length);
    this.turns.set(turns);
  }
}
