// Input records and verdicts.

/** The version of the contract. */
export const ringcube_abi: i32 = 1;

const BUFFER_BYTES: usize = 16;
const INPUTS: usize = 64;
const PTR: usize = 0;
const LENGTH: usize = 4;
const META: usize = 8;
const VERDICT: usize = 12;

/** Verdict: to the host's own handler, as it is. */
export const PASS: i32 = 0;

/** Verdict: not wanted any more. */
export const DROP: i32 = 1;

/** Verdict: `length` bytes of the payload go on, as they lie now. */
export function forward(length: i32): i32 {
  return (length << 8) | 2;
}

/** How far a payload may grow, and what an emit buffer holds, in bytes. */
export function bufferBytes(): i32 {
  return load<i32>(BUFFER_BYTES);
}

function input(index: i32): usize {
  return INPUTS + ((<usize>index) << 4);
}

/** Where payload `index` of a batch lies. */
export function inputPtr(index: i32): usize {
  return load<u32>(input(index), PTR);
}

/** The bytes of payload `index` of a batch. */
export function inputLength(index: i32): i32 {
  return load<i32>(input(index), LENGTH);
}

/** The number of the sender of payload `index` of a batch. */
export function inputMeta(index: i32): i32 {
  return load<i32>(input(index), META);
}

/** Lets payload `index` begin elsewhere in its buffer. */
export function moveInput(index: i32, ptr: usize): void {
  store<u32>(input(index), <u32>ptr, PTR);
}

export function setVerdict(index: i32, verdict: i32): void {
  store<i32>(input(index), verdict, VERDICT);
}
