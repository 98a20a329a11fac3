import { RingcubeError } from '../base/index.js';
import { type FramePool, type Memory, poolOf } from '../nic/index.js';
import { Abi, Control, Emit, Input, Verdict } from './abi.js';
import { type FaultDomain } from './domain.js';
import { type Instance } from './instance.js';
import { type Payloads } from './payloads.js';

const RECORD_WORDS = Abi.recordBytes / 4;
const INPUTS = Control.inputs >> 2;
const EMITS = Control.emitRecords >> 2;

/** Up to here a loop over words is faster than a view of the part and a call (bench upcall). */
const COPY_LOOP_BYTES = 128;

/** What became of an agent's payloads. Each that came in is in one of the first five. */
export interface ExchangeCounters {
  forwarded: number;
  passed: number;
  dropped: number;
  /** A verdict that is none, or was not written, a length beyond the buffer, a pointer out of it. */
  invalidVerdicts: number;
  /** Had no verdict when the agent trapped. */
  lostInTrap: number;
  emitted: number;
  /** Emit records that are none: too many, a length beyond the buffer. */
  invalidEmits: number;
  /** Brought in, but there was no buffer in the domain, or it is longer than one. */
  notAdopted: number;
  /** More output than a batch takes. */
  overflowed: number;
}

/**
 * The records between host and agent: payloads in, verdicts and emitted payloads out. Everything that is read back is held against
 * what the host itself knows.
 *
 *     shared: a record's ptr is where the card wrote the payload      copy: it is a slot of the agent's own memory
 */
export class Exchange {
  readonly counters: ExchangeCounters = {
    forwarded: 0, passed: 0, dropped: 0, invalidVerdicts: 0, lostInTrap: 0, emitted: 0, invalidEmits: 0, notAdopted: 0, overflowed: 0,
  };
  /** Bytes that software copied: in and out of copied windows, and into the domain. */
  copiedBytes = 0;
  private readonly memory: Memory;
  private readonly pool: FramePool;
  private readonly release: (handle: number) => void;
  /** From an offset in the card's memory to the agent's address of it. */
  private readonly delta: number;
  private readonly slotBytes: number;
  /** Buffers for what the agent may emit next, in the order of its emit records. */
  private readonly spares: Int32Array;
  private spareCount = 0;

  constructor(
    { memory, pool, offset, release }: FaultDomain,
    /** Addresses in the agent's memory are the card's (a trusted agent's), shifted by the window (shared), or slots (copy). */
    private readonly window: 'trusted' | 'shared' | 'copy',
    emitRoom: number,
  ) {
    this.memory = memory;
    this.pool = pool;
    this.release = release;
    this.delta = window === 'trusted' ? 0 : Abi.windowStart - offset;
    this.slotBytes = pool.strideBytes;
    const room = Math.floor((Abi.windowEnd - Abi.windowStart) / this.slotBytes);
    if (window === 'copy' && Abi.maxRecords + emitRoom > room) {
      throw new RingcubeError('ERR_OUT_OF_RANGE', `a copied window has room for ${room} payloads of ${pool.frameBytes} bytes, of ${Abi.maxRecords} for input and ${emitRoom} to emit (emitRoom): use smaller buffers (bufferBytes)`);
    }
    this.spares = new Int32Array(emitRoom);
  }

  /** Writes what the host says once for an instance. */
  prepare({ words }: Instance): void {
    words[Control.abi >> 2] = Abi.version;
    words[Control.bufferBytes >> 2] = this.pool.frameBytes;
    words[Control.windowStart >> 2] = Abi.windowStart;
    words[Control.windowEnd >> 2] = Abi.windowEnd;
    this.layOutSpares(words);
  }

  /** Writes records for the first `count` payloads, and returns for how many: those that can't be brought in are gone. */
  bring(instance: Instance, input: Payloads, count: number): number {
    const { words } = instance;
    const { handle, offset, length, meta, output } = input;
    const { pool, delta } = this;
    const poolId = pool.id;
    const copied = this.window === 'copy';
    let n = 0;
    for (let i = 0; i < count; i++) {
      if (copied ? length[i] > pool.frameBytes : poolOf(handle[i]) !== poolId && !this.adopt(input, i)) {
        this.counters.notAdopted++;
        this.release(handle[i]);
        continue;
      }
      if (n !== i) {
        handle[n] = handle[i];
        offset[n] = offset[i];
        length[n] = length[i];
        meta[n] = meta[i];
        output[n] = output[i];
      }
      const at = INPUTS + n * RECORD_WORDS;
      if (copied) {
        words[at + Input.ptr] = this.slot(n);
        this.copyIn(instance, this.slot(n), offset[n], length[n]);
      } else {
        words[at + Input.ptr] = offset[n] + delta;
      }
      words[at + Input.length] = length[n];
      words[at + Input.meta] = meta[n];
      words[at + Input.verdict] = Verdict.none;
      n++;
    }
    words[Control.count >> 2] = n;
    words[Control.emits >> 2] = 0;
    return n;
  }

  /** For a call without payloads. */
  clear({ words }: Instance): void {
    words[Control.count >> 2] = 0;
    words[Control.emits >> 2] = 0;
  }

  /** Carries out the verdicts on the first `n` payloads, and what was emitted, in order. `trapped`: whether the call ended early. */
  judge(instance: Instance, input: Payloads, n: number, output: Payloads, passed: Payloads, trapped: boolean): void {
    const { words } = instance;
    const { handle, offset, length, meta } = input;
    const { counters } = this;
    const copied = this.window === 'copy';
    const emits = this.emitCount(words);
    let emit = 0;
    for (let i = 0; i < n; i++) {
      while (emit < emits && words[EMITS + emit * RECORD_WORDS + Emit.after] <= i) this.emit(instance, emit++, output);
      const at = INPUTS + i * RECORD_WORDS;
      const verdict = words[at + Input.verdict];
      if ((verdict & 0xff) === Verdict.forward) {
        const bytes = verdict >>> 8;
        const start = copied ? this.slot(i) : this.pool.offsetOf(handle[i]);
        const there = copied ? words[at + Input.ptr] : words[at + Input.ptr] - this.delta;
        if (there >= start && there + bytes <= start + this.pool.frameBytes) {
          counters.forwarded++;
          if (!copied) this.hand(output, handle[i], there, bytes, meta[i], input.output[i]);
          else this.copyOut(instance, input, i, there, bytes, output);
          continue;
        }
        counters.invalidVerdicts++;
      } else if (verdict === Verdict.pass) {
        counters.passed++;
        this.hand(passed, handle[i], offset[i], length[i], meta[i], 0);
        continue;
      } else if (verdict === Verdict.drop) counters.dropped++;
      else if (verdict === Verdict.none && trapped) counters.lostInTrap++;
      else counters.invalidVerdicts++;
      this.release(handle[i]);
    }
    while (emit < emits) this.emit(instance, emit++, output);
    if (emits > 0 || (this.spareCount < this.spares.length && this.pool.available > 0)) this.replaceSpares(words, emits);
  }

  /** Goes on counting where another one ends. */
  inherit(other: Exchange): void {
    Object.assign(this.counters, other.counters);
    this.copiedBytes = other.copiedBytes;
  }

  /** Gives all buffers back. */
  close(): void {
    for (let i = 0; i < this.spareCount; i++) this.pool.put(this.spares[i]);
    this.spareCount = 0;
  }

  // --- payloads from elsewhere, and copies ---

  private slot(i: number): number {
    return Abi.windowStart + i * this.slotBytes;
  }

  /** A payload of another domain moves into this one. */
  private adopt(input: Payloads, i: number): boolean {
    const { pool, memory } = this;
    const bytes = input.length[i];
    const handle = bytes > pool.frameBytes ? -1 : pool.get();
    if (handle === -1) return false;
    const to = pool.offsetOf(handle);
    const from = input.offset[i];
    // Memory.copy() wants both alike modulo 4, and an agent may have moved the beginning to anywhere.
    if ((from - to) % 4 === 0) memory.copy(to, from, bytes);
    else {
      memory.u8.copyWithin(to, from, from + bytes);
      memory.copiedBytes += bytes;
    }
    this.copiedBytes += bytes;
    this.release(input.handle[i]);
    input.handle[i] = handle;
    input.offset[i] = to;
    return true;
  }

  /** Into the buffer it came in, or into one of the domain's if it has grown. */
  private copyOut(instance: Instance, input: Payloads, k: number, from: number, bytes: number, output: Payloads): void {
    let handle = input.handle[k];
    let to = input.offset[k];
    if (bytes > input.length[k]) {
      this.release(handle);
      handle = this.pool.get();
      if (handle === -1) {
        this.counters.overflowed++;
        return;
      }
      to = this.pool.offsetOf(handle);
    }
    this.copyBack(instance, to, from, bytes);
    this.hand(output, handle, to, bytes, input.meta[k], input.output[k]);
  }

  private copyIn(instance: Instance, to: number, from: number, bytes: number): void {
    const { memory } = this;
    this.copiedBytes += bytes;
    if (bytes > COPY_LOOP_BYTES) instance.u8.set(memory.u8.subarray(from, from + bytes), to);
    else copyWords(instance.words, instance.u8, to, memory.i32, memory.u8, from, bytes);
  }

  private copyBack(instance: Instance, to: number, from: number, bytes: number): void {
    const { memory } = this;
    this.copiedBytes += bytes;
    if (bytes > COPY_LOOP_BYTES) memory.u8.set(instance.u8.subarray(from, from + bytes), to);
    else copyWords(memory.i32, memory.u8, to, instance.words, instance.u8, from, bytes);
  }

  private hand(batch: Payloads, handle: number, offset: number, length: number, meta: number, output: number): void {
    if (batch.add(handle, offset, length, meta, output)) return;
    this.counters.overflowed++;
    this.release(handle);
  }

  // --- emitted payloads ---

  private emitCount(words: Int32Array): number {
    const emits = words[Control.emits >> 2] >>> 0;
    if (emits <= this.spareCount) return emits;
    this.counters.invalidEmits += Math.min(emits - this.spareCount, Abi.maxRecords);
    return this.spareCount;
  }

  private emit(instance: Instance, i: number, output: Payloads): void {
    const { words } = instance;
    const at = EMITS + i * RECORD_WORDS;
    const handle = this.spares[i];
    const length = words[at + Emit.length];
    if (length < 0 || length > this.pool.frameBytes) {
      this.counters.invalidEmits++;
      this.pool.put(handle);
      return;
    }
    this.counters.emitted++;
    const offset = this.pool.offsetOf(handle);
    if (this.window === 'copy') this.copyBack(instance, offset, this.slot(Abi.maxRecords + i), length);
    this.hand(output, handle, offset, length, 0, Math.max(0, words[at + Emit.output]));
  }

  /** The first `used` are gone: the others move up, new ones come behind them. */
  private replaceSpares(words: Int32Array, used: number): void {
    this.spares.copyWithin(0, used, this.spareCount);
    this.spareCount -= used;
    this.layOutSpares(words);
  }

  private layOutSpares(words: Int32Array): void {
    const { spares, pool } = this;
    while (this.spareCount < spares.length) {
      const handle = pool.get();
      if (handle === -1) break;
      spares[this.spareCount++] = handle;
    }
    for (let i = 0; i < this.spareCount; i++) {
      const address = this.window === 'copy' ? this.slot(Abi.maxRecords + i) : pool.offsetOf(spares[i]) + this.delta;
      words[EMITS + i * RECORD_WORDS + Emit.ptr] = address;
    }
    words[Control.emitRoom >> 2] = this.spareCount;
  }
}

function copyWords(target: Int32Array, target8: Uint8Array, to: number, source: Int32Array, source8: Uint8Array, from: number, bytes: number): void {
  let i = 0;
  // Payloads of UDP and slots lie on words; an agent may move a pointer.
  if (((to | from) & 3) === 0) for (const whole = bytes & ~3; i < whole; i += 4) target[(to + i) >> 2] = source[(from + i) >> 2];
  for (; i < bytes; i++) target8[to + i] = source8[from + i];
}
