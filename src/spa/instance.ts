import { RingcubeError, type WasmGlobal, type WasmMemory, type WasmModule, WebAssembly } from '../base/index.js';
import { Abi, Control, Emit, Input } from './abi.js';
import { printable } from './printable.js';
import { FUEL_EXPORT } from './wasm/budget.js';

/** What an agent runs as. Calls throw where it traps. */
export interface Instance {
  /** Its memory, or the control area of it at least, as words from address 0 on. Another array after a call in which the memory has grown. */
  readonly words: Int32Array;
  /** The agent's whole memory; as `words`. */
  readonly u8: Uint8Array;
  /** Whether it wants tick(), and can save and restore. */
  readonly hasTick: boolean;
  readonly hasState: boolean;
  init(configuration: string): void;
  /** The first `count` input records. */
  batch(count: number): void;
  tick(): void;
  /** A copy of its state; undefined if it can't be saved now. */
  save(): Uint8Array | undefined;
  restore(state: Uint8Array): void;
}

/** What every agent may ask of its host. */
export interface InstanceHost {
  nowUs: () => number;
  log: (line: string) => void;
}

const INPUT_WORDS = Abi.recordBytes / 4;
const INPUTS = Control.inputs >> 2;
const EMITS = Control.emitRecords >> 2;

/** Calls process() for each record, and notes after which of them a payload was emitted. */
function processEach(instance: Instance, count: number, process: (ptr: number, length: number, meta: number) => number): void {
  let emits = 0;
  for (let i = 0; i < count; i++) {
    const at = INPUTS + i * INPUT_WORDS;
    const before = instance.words;
    const verdict = process(before[at + Input.ptr], before[at + Input.length], before[at + Input.meta]);
    // Another array, if the memory has grown.
    const { words } = instance;
    words[at + Input.verdict] = verdict;
    for (const now = Math.min(words[Control.emits >> 2] >>> 0, Abi.maxRecords); emits < now; emits++) words[EMITS + emits * INPUT_WORDS + Emit.after] = i + 1;
  }
}

interface Exports {
  init?: (ptr: number, length: number) => number;
  process?: (ptr: number, length: number, meta: number) => number;
  process_batch?: (count: number) => void;
  tick?: () => void;
  save?: (ptr: number, capacity: number) => number;
  restore?: (ptr: number, length: number) => number;
}

/** A WebAssembly module with a memory that the host has made. */
export class WasmInstance implements Instance {
  readonly hasTick: boolean;
  readonly hasState: boolean;
  private bytes: Uint8Array;
  private control: Int32Array;
  /** Instructions left, of modules that count them. */
  readonly fuel: WasmGlobal | undefined;
  private readonly exports: Exports;

  /** Runs the module's start function and data segments. */
  constructor(
    readonly memory: WasmMemory,
    module: WasmModule,
    host: InstanceHost,
  ) {
    this.bytes = new Uint8Array(memory.buffer);
    this.control = new Int32Array(memory.buffer);
    const text = (at: number, length: number): string => new TextDecoder().decode(new Uint8Array(memory.buffer).slice(at >>> 0, (at >>> 0) + Math.min(length >>> 0, Abi.logBytes)));
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory,
        abort: (message: number, file: number, line: number, column: number) => {
          throw new Error(`${utf16(memory, message) || 'abort'} in ${utf16(memory, file) || 'the module'}:${line}:${column}`);
        },
      },
      ringcube: {
        now: host.nowUs,
        log: (at: number, length: number) => {
          host.log(printable(text(at, length)));
        },
      },
    });
    this.exports = instance.exports;
    this.fuel = instance.exports[FUEL_EXPORT] as WasmGlobal | undefined;
    this.hasTick = this.exports.tick !== undefined;
    this.hasState = this.exports.save !== undefined && this.exports.restore !== undefined;
  }

  // What V8 has detached is empty.
  get words(): Int32Array {
    if (this.control.length === 0) this.control = new Int32Array(this.memory.buffer);
    return this.control;
  }

  get u8(): Uint8Array {
    if (this.bytes.length === 0) this.bytes = new Uint8Array(this.memory.buffer);
    return this.bytes;
  }

  init(configuration: string): void {
    const bytes = new TextEncoder().encode(configuration);
    if (bytes.length > Abi.configurationBytes) throw new RingcubeError('ERR_OUT_OF_RANGE', `its configuration has ${bytes.length} bytes, of ${Abi.configurationBytes} at most`);
    this.u8.set(bytes, Abi.configurationAt);
    const result = this.exports.init?.(Abi.configurationAt, bytes.length) ?? 0;
    if (result !== 0) throw new RingcubeError('ERR_INVALID_ARGUMENT', `it refuses its configuration (init returned ${result})`);
  }

  batch(count: number): void {
    const { exports } = this;
    if (exports.process_batch !== undefined) exports.process_batch(count);
    else processEach(this, count, exports.process!);
  }

  tick(): void {
    this.exports.tick?.();
  }

  save(): Uint8Array | undefined {
    const length = this.exports.save!(Abi.stateAt, Abi.stateBytes);
    if (length < 0) return undefined;
    if (length > Abi.stateBytes) throw new RingcubeError('ERR_OUT_OF_RANGE', `save returned ${length}: a state has ${Abi.stateBytes} bytes at most`);
    return this.u8.slice(Abi.stateAt, Abi.stateAt + length);
  }

  restore(state: Uint8Array): void {
    this.u8.set(state, Abi.stateAt);
    const result = this.exports.restore!(Abi.stateAt, state.length);
    if (result !== 0) throw new RingcubeError('ERR_INVALID_ARGUMENT', `it refuses the state of ${state.length} bytes (restore returned ${result})`);
  }
}

/** A string of AssemblyScript's: UTF-16, its length in bytes just ahead of it. */
function utf16(memory: WasmMemory, at: number): string {
  const view = new DataView(memory.buffer);
  if (at < 4 || at > view.byteLength) return '';
  const bytes = Math.min(view.getUint32(at - 4, true), Abi.logBytes, view.byteLength - at) & ~1;
  return new TextDecoder('utf-16le').decode(new Uint8Array(memory.buffer, at, bytes));
}

/** An agent in TypeScript: trusted, as nothing holds it back. */
export interface TrustedAgent {
  init?(configuration: string, host: TrustedHost): void;
  /** A payload, `length` bytes of `u8` from `ptr` on; returns its verdict (docs/agent-abi.md). */
  process(u8: Uint8Array, ptr: number, length: number, meta: number): number;
  tick?(): void;
  save?(): Uint8Array;
  restore?(state: Uint8Array): void;
}

/** What a trusted agent can do besides. */
export interface TrustedHost extends InstanceHost {
  /** An empty buffer of the memory that `process` is given: its address, -1 if there is none left. It goes out once emit() says how long it is. */
  buffer(): number;
  emit(length: number, output?: number): void;
}

/** A trusted agent behind the same records; it works on the card's memory itself. */
export class TrustedInstance implements Instance {
  readonly words = new Int32Array(Abi.windowStart >> 2);
  readonly hasTick: boolean;
  readonly hasState: boolean;

  constructor(
    private readonly agent: TrustedAgent,
    readonly u8: Uint8Array,
    private readonly host: InstanceHost,
  ) {
    this.hasTick = agent.tick !== undefined;
    this.hasState = agent.save !== undefined && agent.restore !== undefined;
  }

  init(configuration: string): void {
    const { words } = this;
    this.agent.init?.(configuration, {
      ...this.host,
      buffer: () => {
        const emits = words[Control.emits >> 2];
        return emits < words[Control.emitRoom >> 2] ? words[EMITS + emits * INPUT_WORDS + Emit.ptr] : -1;
      },
      emit: (length, output = 0) => {
        const at = EMITS + words[Control.emits >> 2]++ * INPUT_WORDS;
        words[at + Emit.length] = length;
        words[at + Emit.output] = output;
      },
    });
  }

  batch(count: number): void {
    const { agent, u8 } = this;
    processEach(this, count, (ptr, length, meta) => agent.process(u8, ptr, length, meta));
  }

  tick(): void {
    this.agent.tick?.();
  }

  save(): Uint8Array {
    const state = this.agent.save!().slice();
    // It may be a WebAssembly agent's that takes it over.
    if (state.length > Abi.stateBytes) throw new RingcubeError('ERR_OUT_OF_RANGE', `save returned ${state.length} bytes: a state has ${Abi.stateBytes} at most`);
    return state;
  }

  restore(state: Uint8Array): void {
    this.agent.restore!(state);
  }
}
