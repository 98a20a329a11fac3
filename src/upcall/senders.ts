import { type DatagramBatch } from '../stack/index.js';

/** Beyond it, senders share the last number. */
const MAX_SENDERS = 4096;

/**
 * Numbers for those who send to a stream, from 0 on in the order of appearance: what an agent knows them by. One that sends in runs
 * costs a few loads.
 */
export class Senders {
  private readonly numbers = new Map<string, number>();
  /** The last one, as it lies in a frame: four words of its address, and its port. */
  private readonly last = new Int32Array(5);
  private lastNumber = -1;

  numberOf(batch: DatagramBatch, i: number): number {
    const { u8, ip } = batch;
    const at = ip[i];
    const v4 = u8[at] >>> 4 === 4;
    const source = v4 ? at + 12 : at + 8;
    const a = word(u8, source);
    const b = v4 ? 0 : word(u8, source + 4);
    const c = v4 ? 0 : word(u8, source + 8);
    const d = v4 ? 0 : word(u8, source + 12);
    const port = batch.sourcePort(i) | (v4 ? 0 : 0x10000);
    const { last } = this;
    if (this.lastNumber >= 0 && last[0] === a && last[1] === b && last[2] === c && last[3] === d && last[4] === port) return this.lastNumber;
    const key = `${batch.source(i).toString()} ${port}`;
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = Math.min(this.numbers.size, MAX_SENDERS);
      if (number < MAX_SENDERS) this.numbers.set(key, number);
    }
    last[0] = a;
    last[1] = b;
    last[2] = c;
    last[3] = d;
    last[4] = port;
    return (this.lastNumber = number);
  }

  get size(): number {
    return this.numbers.size;
  }
}

function word(u8: Uint8Array, at: number): number {
  return (u8[at] << 24) | (u8[at + 1] << 16) | (u8[at + 2] << 8) | u8[at + 3];
}
