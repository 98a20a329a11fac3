// What the host does for an agent.

// @ts-ignore: decorator
@external("ringcube", "now")
declare function hostNow(): f64;

// @ts-ignore: decorator
@external("ringcube", "log")
declare function hostLog(ptr: usize, length: i32): void;

const LINE_BYTES: i32 = 512;
/** UTF-16 units that fit in any case: each takes three bytes of UTF-8 at most. */
const SURE_UNITS: i32 = LINE_BYTES / 3;

const line = memory.data(LINE_BYTES);

/** The host's clock, in microseconds. */
export function now(): f64 {
  return hostNow();
}

/** A line for the host's log. One that takes more than 512 bytes is cut to 170 characters; the host drops what is more than 10 lines a second. */
export function log(text: string): void {
  const units = String.UTF8.byteLength(text) <= LINE_BYTES ? text.length : SURE_UNITS;
  hostLog(line, <i32>String.UTF8.encodeUnsafe(changetype<usize>(text), units, line));
}
