// An agent that does what each payload tells it, as WebAssembly (one payload a call, and a batch a call) and in TypeScript; and what
// should come of it, from docs/agent-abi.md alone.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildAgent } from '../../src/cli/agent-build.js';
import { type TrustedAgent, type TrustedHost, Verdict } from '../../src/spa/index.js';

/** First byte of a payload: what to do with it. The next are arguments a, b, c. */
export const Op = {
  pass: 1,
  drop: 2,
  /** As it is. */
  forward: 3,
  /** All but the first four bytes inverted. */
  invert: 4,
  /** a more bytes, each a. */
  grow: 5,
  /** a bytes less at the end. */
  shorten: 6,
  /** a bytes less at the beginning: batch only. */
  strip: 7,
  /** The word at 4 is the verdict. */
  verdict: 8,
  /** a payloads of b bytes, to output c, ahead of itself; then forwarded. */
  emit: 9,
  /** Writes into words 1 and 2 how many payloads were served before, and the sender. */
  number: 10,
  /** a lines; dropped. */
  log: 11,
  /** a pages; forwarded. */
  growMemory: 12,
  /** Its configuration, forwarded. */
  configuration: 13,
  trap: 14,
  abort: 15,
  overflow: 16,
  forever: 17,
  /** By zero. */
  divide: 18,
} as const;

const BODY = `
import { DROP, PASS, bufferBytes, emit, emitBuffer, forward, inputLength, inputMeta, inputPtr, log, moveInput, setVerdict } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

let served: i32 = 0;
let ticks: i32 = 0;
const configuration = memory.data(1024);
let configurationLength: i32 = 0;

export function init(ptr: usize, length: i32): i32 {
  if (length > 1024) return 7;
  for (let i = 0; i < length; i++) store<u8>(configuration + i, load<u8>(ptr + i));
  configurationLength = length;
  // "refuse": as an agent does that can make nothing of it.
  return length > 0 && load<u8>(configuration) == 114 ? 3 : 0;
}

function deeper(n: i32): i32 {
  return n == -1 ? 0 : deeper(n + 1) + 1;
}

function emits(ptr: usize, count: i32, bytes: i32, output: i32, after: i32): void {
  for (let k = 0; k < count; k++) {
    const to = emitBuffer();
    if (to == 0) return;
    for (let i = 0; i < bytes; i++) store<u8>(to + i, <u8>(k + i));
    emit(bytes, output, after);
  }
}

function one(ptr: usize, length: i32, meta: i32, index: i32): i32 {
  const a = <i32>load<u8>(ptr + 1);
  const before = served++;
  switch (load<u8>(ptr)) {
    case 1: return PASS;
    case 2: return DROP;
    case 4: {
      for (let i = 4; i < length; i++) store<u8>(ptr + i, ~load<u8>(ptr + i));
      return forward(length);
    }
    case 5: {
      for (let i = 0; i < a && length + i < bufferBytes(); i++) store<u8>(ptr + length + i, <u8>a);
      return forward(length + a);
    }
    case 6: return forward(length - a);
    case 7: {
      moveInput(index, ptr + a);
      return forward(length - a);
    }
    case 8: return load<i32>(ptr + 4);
    case 9: {
      emits(ptr, a, <i32>load<u8>(ptr + 2), <i32>load<u8>(ptr + 3), index);
      return forward(length);
    }
    case 10: {
      store<i32>(ptr + 4, before);
      store<i32>(ptr + 8, meta);
      return forward(length);
    }
    case 11: {
      for (let i = 0; i < a; i++) log('line');
      return DROP;
    }
    case 12: {
      memory.grow(a);
      return forward(length);
    }
    case 13: {
      for (let i = 0; i < configurationLength; i++) store<u8>(ptr + i, load<u8>(configuration + i));
      return forward(configurationLength);
    }
    case 14: { unreachable(); }
    case 15: { assert(false, 'said so'); }
    case 16: return forward(deeper(0) & 0);
    case 17: { while (true) store<i32>(ptr + 4, load<i32>(ptr + 4) + 1); }
    case 18: return 1 / (a - a);
    default: return forward(length);
  }
}

export function tick(): void {
  ticks++;
  emits(0, 1, 4, 0, 0);
}

export function save(ptr: usize, capacity: i32): i32 {
  if (served < 0) return -1;
  store<i32>(ptr, served);
  return 4;
}

export function restore(ptr: usize, length: i32): i32 {
  if (length != 4) return 1;
  served = load<i32>(ptr);
  return 0;
}
`;

// What an emit comes after is told by a batch agent alone.
const BATCH = `
export function process_batch(count: i32): void {
  for (let i = 0; i < count; i++) setVerdict(i, one(inputPtr(i), inputLength(i), inputMeta(i), i));
}
`;
const SINGLE = `
export function process(ptr: usize, length: i32, meta: i32): i32 {
  return one(ptr, length, meta, 0);
}
`;

async function compile(source: string): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcube-script-'));
  try {
    writeFileSync(join(folder, 'script.ts'), source);
    return await buildAgent(join(folder, 'script.ts'), join(folder, 'script.wasm'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same agent by process_batch, and by process. */
export const scriptModules = async (): Promise<{ batch: Uint8Array; single: Uint8Array }> => ({
  batch: await compile(BODY + BATCH), single: await compile(BODY + SINGLE),
});

/** The same once more, in TypeScript. */
export class TrustedScript implements TrustedAgent {
  served = 0;
  ticks = 0;
  private configuration = new Uint8Array(0);
  private host!: TrustedHost;
  private memory: Uint8Array | undefined;

  constructor(private readonly bufferBytes: number) {}

  init(configuration: string, host: TrustedHost): void {
    if (configuration.startsWith('refuse')) throw new Error('refused');
    this.configuration = new TextEncoder().encode(configuration);
    this.host = host;
  }

  private emits(u8: Uint8Array, count: number, bytes: number, output: number): void {
    for (let k = 0; k < count; k++) {
      const to = this.host.buffer();
      if (to < 0) return;
      for (let i = 0; i < bytes; i++) u8[to + i] = k + i;
      this.host.emit(bytes, output);
    }
  }

  process(u8: Uint8Array, ptr: number, length: number, meta: number): number {
    this.memory = u8;
    const forward = (bytes: number): number => (bytes << 8) | Verdict.forward;
    const view = new DataView(u8.buffer, u8.byteOffset + ptr, this.bufferBytes);
    const [op, a, b, c] = u8.subarray(ptr, ptr + 4);
    const before = this.served++;
    switch (op) {
      case Op.pass: return Verdict.pass;
      case Op.drop: return Verdict.drop;
      case Op.invert: {
        for (let i = 4; i < length; i++) u8[ptr + i] ^= 255;
        return forward(length);
      }
      case Op.grow: {
        for (let i = 0; i < a && length + i < this.bufferBytes; i++) u8[ptr + length + i] = a;
        return forward(length + a);
      }
      case Op.shorten: return forward(length - a);
      case Op.verdict: return view.getInt32(4, true);
      case Op.emit: {
        this.emits(u8, a, b, c);
        return forward(length);
      }
      case Op.number: {
        view.setInt32(4, before, true);
        view.setInt32(8, meta, true);
        return forward(length);
      }
      case Op.log: {
        for (let i = 0; i < a; i++) this.host.log('line');
        return Verdict.drop;
      }
      case Op.configuration: {
        u8.set(this.configuration, ptr);
        return forward(this.configuration.length);
      }
      case Op.trap: throw new Error('trapped\nin two lines');
      case Op.abort: throw new Error('said so');
      case Op.overflow: return this.process(u8, ptr, length, meta) + 1;
      default: return forward(length);
    }
  }

  tick(): void {
    this.ticks++;
    if (this.memory !== undefined) this.emits(this.memory, 1, 4, 0);
  }

  save(): Uint8Array {
    return new Uint8Array(Int32Array.of(this.served).buffer);
  }

  restore(state: Uint8Array): void {
    if (state.length !== 4) throw new Error('no state of mine');
    [this.served] = new Int32Array(state.slice().buffer);
  }
}

export interface Sent {
  bytes: Uint8Array;
  meta: number;
}

export interface Came {
  bytes: number[];
  meta: number;
  output: number;
}

/** What a batch comes to by the contract: forwarded and emitted payloads in order, passed ones, and how many of each. */
export interface Expectation {
  out: Came[];
  passed: Came[];
  counters: { forwarded: number; passed: number; dropped: number; invalidVerdicts: number; lostInTrap: number; emitted: number; invalidEmits: number };
}

interface World {
  bufferBytes: number;
  /** Payloads that it has seen before this batch. */
  served: number;
  configuration: string;
  emitRoom: number;
  /** What process() emits comes behind its payload; a batch agent says for itself that it comes ahead. */
  emitsFirst: boolean;
}

export function expectation(batch: readonly Sent[], { bufferBytes, served, configuration, emitRoom, emitsFirst }: World): Expectation {
  const result: Expectation = { out: [], passed: [], counters: { forwarded: 0, passed: 0, dropped: 0, invalidVerdicts: 0, lostInTrap: 0, emitted: 0, invalidEmits: 0 } };
  const { out, passed, counters } = result;
  let room = emitRoom;
  const forward = (bytes: Uint8Array | number[], meta: number): void => {
    counters.forwarded++;
    out.push({ bytes: [...bytes], meta, output: 0 });
  };
  batch.forEach(({ bytes, meta }, k) => {
    const [op, a, b, c] = bytes;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    switch (op) {
      case Op.pass: {
        counters.passed++;
        passed.push({ bytes: [...bytes], meta, output: 0 });
        return;
      }
      case Op.drop:
      case Op.log: return counters.dropped++;
      case Op.invert: return forward(bytes.map((byte, i) => (i < 4 ? byte : ~byte)), meta);
      case Op.grow: {
        if (bytes.length + a > bufferBytes) return counters.invalidVerdicts++;
        return forward([...bytes, ...new Array<number>(a).fill(a)], meta);
      }
      case Op.shorten: return a > bytes.length ? counters.invalidVerdicts++ : forward(bytes.subarray(0, bytes.length - a), meta);
      case Op.strip: return a > bytes.length ? counters.invalidVerdicts++ : forward(bytes.subarray(a), meta);
      case Op.verdict: {
        const verdict = view.getInt32(4, true);
        if (verdict === Verdict.pass) {
          counters.passed++;
          passed.push({ bytes: [...bytes], meta, output: 0 });
        } else if (verdict === Verdict.drop) counters.dropped++;
        else if ((verdict & 255) === Verdict.forward && verdict >>> 8 <= bufferBytes) forward(bytes.subarray(0, verdict >>> 8), meta);
        else counters.invalidVerdicts++;
        return;
      }
      case Op.emit: {
        if (!emitsFirst) forward(bytes, meta);
        for (let i = 0; i < a && room > 0; i++, room--) {
          if (b > bufferBytes) {
            counters.invalidEmits++;
            continue;
          }
          counters.emitted++;
          out.push({ bytes: Array.from({ length: b }, (_, at) => (i + at) & 255), meta: 0, output: c });
        }
        if (emitsFirst) forward(bytes, meta);
        return;
      }
      case Op.number: {
        const copy = bytes.slice();
        new DataView(copy.buffer).setInt32(4, served + k, true);
        new DataView(copy.buffer).setInt32(8, meta, true);
        return forward(copy, meta);
      }
      case Op.configuration: return forward(new TextEncoder().encode(configuration), meta);
      default: return forward(bytes, meta);
    }
  });
  return result;
}
