// The host's side of docs/agent-abi.md in its plainest form: one memory, one call at a time, everything that an agent writes checked.
import { readFileSync } from 'node:fs';
import { type WasmExports, type WasmGlobal, type WasmMemory, type WasmModule, WebAssembly } from '../../src/base/index.js';
import { Abi, Control, Emit, Input, Verdict } from '../../src/spa/abi.js';
import { root } from '../repo/tree.js';

const BUFFER_BYTES = 2048;
const INPUT_BUFFERS = Abi.windowStart;
const EMIT_BUFFERS = 2 ** 21;
/** Fills what no payload has written, so that a stray write or read shows. */
const FILLER = 0xa5;

export interface Emitted {
  bytes: Uint8Array;
  output: number;
  after: number;
}

/** What became of a batch: a list of payloads passed, dropped (null) or forwarded, and the emitted ones. */
export interface Outcome {
  verdicts: ({ what: 'pass' | 'drop' } | { what: 'forward'; bytes: Uint8Array })[];
  emits: Emitted[];
}

/** The module of an example agent, as `npm run build:agents` left it. */
export function agentModule(name: string): Uint8Array {
  return readFileSync(new URL(`dist/agents/${name}.wasm`, root));
}

/** Compiled once for all agents of a test. */
const compiled = new WeakMap<Uint8Array, WasmModule>();

function compile(module: Uint8Array): WasmModule {
  const known = compiled.get(module) ?? new WebAssembly.Module(module);
  compiled.set(module, known);
  return known;
}

export class TestAgent {
  /** What now() says, in microseconds. */
  nowUs = 0;
  /** Emit records that a call gets. */
  emitRoom: number = Abi.maxRecords;
  /** What an emit buffer holds, and an input buffer besides. */
  readonly bufferBytes: number;
  readonly lines: string[] = [];
  private readonly memory: WasmMemory;
  private readonly exports: WasmExports;

  /** Instantiates and initializes. Throws if the agent refuses its configuration, with what it logged. */
  constructor(module: Uint8Array, configuration: unknown = '', bufferBytes = BUFFER_BYTES) {
    this.bufferBytes = bufferBytes;
    this.memory = new WebAssembly.Memory({ initial: 80, maximum: Abi.maxMemoryPages });
    this.exports = new WebAssembly.Instance(compile(module), {
      env: {
        memory: this.memory,
        abort: (_message: number, _file: number, line: number, column: number) => {
          throw new Error(`abort at ${line}:${column}`);
        },
      },
      ringcube: {
        now: () => this.nowUs,
        log: (ptr: number, length: number) => {
          if (length < 0 || length > Abi.logBytes || ptr < Abi.windowEnd) throw new Error(`log(${ptr}, ${length})`);
          this.lines.push(Buffer.from(this.bytes(ptr, length)).toString());
        },
      },
    }).exports;
    if ((this.exports['ringcube_abi'] as WasmGlobal | undefined)?.value !== Abi.version) throw new Error('ringcube_abi is not 1');
    this.control(0);
    const text = Buffer.from(typeof configuration === 'string' ? configuration : JSON.stringify(configuration));
    if (this.has('init')) {
      this.set(Abi.configurationAt, text);
      if (this.call('init', Abi.configurationAt, text.length) !== 0) throw new Error(`refused: ${this.lines.join('; ')}`);
    }
  }

  has(name: string): boolean {
    return typeof this.exports[name] === 'function';
  }

  /** One payload, or a batch of them, through process_batch or process, as the host would. */
  run(payloads: readonly Uint8Array[], senders: readonly number[] = []): Outcome {
    const outcome: Outcome = { verdicts: [], emits: [] };
    if (this.has('process_batch')) {
      this.control(payloads.length);
      payloads.forEach((payload, i) => this.input(i, payload, senders[i] ?? 0));
      this.call('process_batch', payloads.length);
      payloads.forEach((_, i) => outcome.verdicts.push(this.verdict(i, this.word(this.record(i) + 4 * Input.verdict))));
      outcome.emits.push(...this.emitted(payloads.length));
    } else {
      payloads.forEach((payload, i) => {
        this.control(1);
        const ptr = this.input(0, payload, senders[i] ?? 0);
        outcome.verdicts.push(this.verdict(0, this.call('process', ptr, payload.length, senders[i] ?? 0)));
        outcome.emits.push(...this.emitted(1));
      });
    }
    return outcome;
  }

  tick(): Emitted[] {
    this.control(0);
    this.call('tick');
    return this.emitted(0);
  }

  save(): Uint8Array {
    const length = this.call('save', Abi.stateAt, Abi.stateBytes);
    if (length < 0 || length > Abi.stateBytes) throw new Error(`save returned ${length}`);
    return this.bytes(Abi.stateAt, length);
  }

  /** Whether the agent took the state. */
  restore(state: Uint8Array): boolean {
    this.set(Abi.stateAt, state);
    return this.call('restore', Abi.stateAt, state.length) === 0;
  }

  /** The return value of save for a capacity that may be too little. */
  saveInto(capacity: number): number {
    return this.call('save', Abi.stateAt, capacity);
  }

  private call(name: string, ...args: number[]): number {
    const exported = this.exports[name];
    if (typeof exported !== 'function') throw new Error(`no export ${name}`);
    return exported(...args)!;
  }

  /** Views are made anew each time, as the agent may grow its memory. */
  private word(at: number): number {
    return new DataView(this.memory.buffer).getInt32(at, true);
  }

  private setWord(at: number, value: number): void {
    new DataView(this.memory.buffer).setInt32(at, value, true);
  }

  private bytes(ptr: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer).slice(ptr, ptr + length);
  }

  private set(ptr: number, bytes: Uint8Array): void {
    new Uint8Array(this.memory.buffer).set(bytes, ptr);
  }

  private record(i: number): number {
    return Control.inputs + i * Abi.recordBytes;
  }

  private control(count: number): void {
    this.setWord(Control.abi, Abi.version);
    this.setWord(Control.count, count);
    this.setWord(Control.emits, 0);
    this.setWord(Control.emitRoom, this.emitRoom);
    this.setWord(Control.bufferBytes, this.bufferBytes);
    this.setWord(Control.windowStart, Abi.windowStart);
    this.setWord(Control.windowEnd, Abi.windowEnd);
    for (let i = 0; i < this.emitRoom; i++) {
      const record = Control.emitRecords + i * Abi.recordBytes;
      this.setWord(record + 4 * Emit.ptr, this.emitBuffer(i));
      this.setWord(record + 4 * Emit.length, -1);
      this.setWord(record + 4 * Emit.output, 0);
      this.setWord(record + 4 * Emit.after, count);
    }
  }

  private emitBuffer(i: number): number {
    return EMIT_BUFFERS + i * (this.bufferBytes + 64);
  }

  private input(i: number, payload: Uint8Array, sender: number): number {
    if (payload.length > this.bufferBytes) throw new Error('payload is longer than a buffer');
    const ptr = INPUT_BUFFERS + i * (this.bufferBytes + 64);
    new Uint8Array(this.memory.buffer).fill(FILLER, ptr, ptr + this.bufferBytes + 64);
    this.set(ptr, payload);
    for (const [field, value] of [[Input.ptr, ptr], [Input.length, payload.length], [Input.meta, sender], [Input.verdict, Verdict.none]]) {
      this.setWord(this.record(i) + 4 * field, value);
    }
    return ptr;
  }

  private verdict(i: number, verdict: number): Outcome['verdicts'][number] {
    const start = INPUT_BUFFERS + i * (this.bufferBytes + 64);
    const beyond = this.bytes(start + this.bufferBytes, 64);
    if (beyond.some((byte) => byte !== FILLER)) throw new Error(`payload ${i}: written beyond its buffer`);
    if (verdict === Verdict.pass) return { what: 'pass' };
    if (verdict === Verdict.drop) return { what: 'drop' };
    const ptr = this.word(this.record(i) + 4 * Input.ptr);
    const length = verdict >> 8;
    if ((verdict & 255) !== Verdict.forward || ptr < start || length < 0 || ptr + length > start + this.bufferBytes) throw new Error(`payload ${i}: invalid verdict ${verdict}`);
    return { what: 'forward', bytes: this.bytes(ptr, length) };
  }

  private emitted(count: number): Emitted[] {
    const emits = this.word(Control.emits);
    if (emits < 0 || emits > this.emitRoom) throw new Error(`${emits} emits`);
    return Array.from({ length: emits }, (_, i) => {
      const record = Control.emitRecords + i * Abi.recordBytes;
      const [ptr, length, output, after] = [Emit.ptr, Emit.length, Emit.output, Emit.after].map((field) => this.word(record + 4 * field));
      if (ptr !== this.emitBuffer(i) || length < 0 || length > this.bufferBytes || after < 0 || after > count) throw new Error(`emit ${i}: ${ptr}, ${length}, ${after}`);
      return { bytes: this.bytes(ptr, length), output, after };
    });
  }
}

/** The forwarded payload at `i`, or null if it was dropped. */
export function forwarded(outcome: Outcome, i = 0): Uint8Array | null {
  const verdict = outcome.verdicts[i];
  if (verdict.what === 'pass') throw new Error('passed');
  return verdict.what === 'forward' ? verdict.bytes : null;
}
