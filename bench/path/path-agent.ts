// The agent outside of a sandbox, for the variants that a process or a thread contains: the same module as it was compiled, over payloads
// in a memory of its own. They come in batches, which are alike in a stream, in shared memory and in the agent's:
//
//     bytes │ count │ slotBytes │ 0 │ lengths of up to 64 payloads │ slots, a payload each
import { WebAssembly } from '../../src/base/index.js';
import { Abi, Control, Input, Verdict } from '../../src/spa/index.js';
import { agentModule } from './agents.js';

export const AGENT = 'touch';

/** Words of a batch. */
export const Batch = { bytes: 0, count: 1, slotBytes: 2, lengths: 4 } as const;
const MAX_COUNT = 64;
/** Where the slots begin. */
export const SLOTS_AT = 4 * (Batch.lengths + MAX_COUNT);
/** Of a batch in all. A read of Node's brings no more at once. */
export const BATCH_BYTES = 65536;
/** Instead of a length: the agent does not forward it. */
const DROPPED = -1;

/** How many payloads of that size a batch takes. */
export function batchCount(payloadBytes: number): number {
  return Math.min(MAX_COUNT, Math.floor((BATCH_BYTES - SLOTS_AT) / slotBytesFor(payloadBytes)));
}

export function slotBytesFor(payloadBytes: number): number {
  return (payloadBytes + 7) & ~7;
}

const INITIAL_PAGES = 80;
const RECORD_WORDS = Abi.recordBytes / 4;

export class BareAgent {
  readonly u8: Uint8Array;
  readonly words: Int32Array;
  private readonly exports: { process_batch(count: number): void };

  constructor() {
    const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: Abi.maxMemoryPages });
    this.u8 = new Uint8Array(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    const abort = (): never => {
      throw new Error('the agent has aborted');
    };
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(agentModule(AGENT)), { env: { memory, abort }, ringcube: { now: () => performance.now() * 1e3, log: () => undefined } });
    this.exports = exports as BareAgent['exports'];
  }

  /** Runs the batch that lies at `at`, a multiple of 8 in the window; its lengths become those to send. AGENT leaves payloads where they are. */
  run(at: number): void {
    const { words } = this;
    const batch = at >> 2;
    const count = words[batch + Batch.count];
    const slotBytes = words[batch + Batch.slotBytes];
    const inputs = Control.inputs >> 2;
    for (let i = 0; i < count; i++) {
      const input = inputs + i * RECORD_WORDS;
      words[input + Input.ptr] = at + SLOTS_AT + i * slotBytes;
      words[input + Input.length] = words[batch + Batch.lengths + i];
      words[input + Input.meta] = 0;
      words[input + Input.verdict] = Verdict.none;
    }
    words[Control.count >> 2] = count;
    words[Control.emits >> 2] = 0;
    this.exports.process_batch(count);
    for (let i = 0; i < count; i++) {
      const verdict = words[inputs + i * RECORD_WORDS + Input.verdict];
      words[batch + Batch.lengths + i] = (verdict & 0xff) === Verdict.forward ? verdict >>> 8 : DROPPED;
    }
  }
}

/** A batch that is being filled, in whoever's memory. */
export class BatchWriter {
  readonly u8: Uint8Array;
  readonly words: Int32Array;

  constructor(buffer: ArrayBufferLike, at: number) {
    this.u8 = new Uint8Array(buffer, at, BATCH_BYTES);
    this.words = new Int32Array(buffer, at, BATCH_BYTES >> 2);
  }

  clear(): void {
    this.words[Batch.count] = 0;
  }

  get count(): number {
    return this.words[Batch.count];
  }

  get bytes(): number {
    return this.words[Batch.bytes];
  }

  /** Copies a payload in; false if there is no room for it. */
  add(from: Uint8Array, offset: number, length: number): boolean {
    const { u8, words } = this;
    const count = words[Batch.count];
    if (count === 0) words[Batch.slotBytes] = slotBytesFor(length);
    const slotBytes = words[Batch.slotBytes];
    const at = SLOTS_AT + count * slotBytes;
    if (count === MAX_COUNT || length > slotBytes || at + slotBytes > BATCH_BYTES) return false;
    copyBytes(u8, at, from, offset, length);
    words[Batch.lengths + count] = length;
    words[Batch.count] = count + 1;
    words[Batch.bytes] = at + slotBytes;
    return true;
  }
}

/** Up to here a loop is faster than a view of the part and a call. */
const COPY_LOOP_BYTES = 128;

export function copyBytes(to: Uint8Array, at: number, from: Uint8Array, offset: number, length: number): void {
  if (length > COPY_LOOP_BYTES) to.set(from.subarray(offset, offset + length), at);
  else for (let i = 0; i < length; i++) to[at + i] = from[offset + i];
}
