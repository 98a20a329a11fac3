/** A full block is split into two: a few cache lines of pointers to shift at an insertion, and few blocks to search. */
const BLOCK = 512;

/** Where the first of `sorted` stands that is not less than `key`: a binary search. */
function lowerBound(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

//   firsts   a      k          t          what each block began with, though that may have gone: found by binary search, then the key inside
//   blocks   a c f  k l m n o  t u z      each of 1 to 512 keys; together in order of UTF-16 units

/** A set of texts that can tell all those with one beginning, in time proportional to how many there are. */
export class SortedKeys {
  private readonly firsts: string[];
  private readonly blocks: string[][];

  constructor() {
    this.firsts = [];
    this.blocks = [];
  }

  /** @param key not in the set yet */
  add(key: string): void {
    if (this.blocks.length === 0) {
      this.blocks.push([key]);
      this.firsts.push(key);
      return;
    }
    const at = this.blockOf(key);
    const block = this.blocks[at];
    block.splice(lowerBound(block, key), 0, key);
    this.firsts[at] = block[0];
    if (block.length > BLOCK) {
      const upper = block.splice(BLOCK >> 1);
      this.blocks.splice(at + 1, 0, upper);
      this.firsts.splice(at + 1, 0, upper[0]);
    }
  }

  /** @param key in the set */
  delete(key: string): void {
    const at = this.blockOf(key);
    const block = this.blocks[at];
    block.splice(lowerBound(block, key), 1);
    if (block.length > 0) return;
    this.blocks.splice(at, 1);
    this.firsts.splice(at, 1);
  }

  /** Calls with each key that begins with `prefix`, in order. The set must not change meanwhile. */
  forEachWith(prefix: string, visit: (key: string) => void): void {
    if (this.blocks.length === 0) return;
    let at = this.blockOf(prefix);
    let place = lowerBound(this.blocks[at], prefix);
    for (; at < this.blocks.length; at++, place = 0) {
      const block = this.blocks[at];
      for (; place < block.length; place++) {
        if (!block[place].startsWith(prefix)) return;
        visit(block[place]);
      }
    }
  }

  /** The last block that began with `key` or less; the first one for what comes before all. */
  private blockOf(key: string): number {
    const at = lowerBound(this.firsts, key);
    return at < this.firsts.length && this.firsts[at] === key ? at : Math.max(0, at - 1);
  }
}
