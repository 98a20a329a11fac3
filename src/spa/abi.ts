/** The agent contract, version 1: docs/agent-abi.md in numbers. Addresses are in the agent's linear memory. */
export const Abi = {
  version: 1,
  /** A page of WebAssembly. */
  pageBytes: 65536,
  windowStart: 65536,
  /** Where the module's own memory begins. */
  windowEnd: 2 ** 22,
  maxMemoryPages: 1024,
  maxTableElements: 10_000,
  maxRecords: 256,
  recordBytes: 16,
  configurationAt: 16384,
  configurationBytes: 16384,
  stateAt: 32768,
  stateBytes: 32768,
  logBytes: 512,
} as const;

/** Byte addresses in the control area. */
export const Control = { abi: 0, count: 4, emits: 8, emitRoom: 12, bufferBytes: 16, windowStart: 20, windowEnd: 24, inputs: 64, emitRecords: 4160 } as const;

/** Words of an input record. */
export const Input = { ptr: 0, length: 1, meta: 2, verdict: 3 } as const;

/** Words of an emit record. */
export const Emit = { ptr: 0, length: 1, output: 2, after: 3 } as const;

/** The low 8 bits of a verdict; of Forward, the others are the length. */
export const Verdict = { none: -1, pass: 0, drop: 1, forward: 2 } as const;
