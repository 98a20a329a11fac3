// State for save and restore: the same fields put and taken in the same order, in the module's own (little) byte order.
//
//     export function save(ptr: usize, capacity: i32): i32 {         export function restore(ptr: usize, length: i32): i32 {
//       beginSave(ptr, capacity, 1);                                   beginRestore(ptr, length, 1);
//       putI32(packets);                                               packets = takeI32();
//       return endSave();                                              return endRestore();
//     }                                                              }

let start: usize = 0;
let at: usize = 0;
let end: usize = 0;
let fits: bool = false;

/** Where the next `bytes` lie; 0 if they lie beyond the end, as do all that follow. */
function step(bytes: i32): usize {
  if (!fits || bytes < 0 || end - at < <usize>bytes) {
    fits = false;
    return 0;
  }
  const from = at;
  at += bytes;
  return from;
}

/** @param version of the fields that follow; restoring another one is refused. */
export function beginSave(ptr: usize, capacity: i32, version: i32): void {
  start = ptr;
  at = ptr;
  end = ptr + capacity;
  fits = true;
  putI32(version);
}

export function putI32(value: i32): void {
  const to = step(4);
  if (to != 0) store<i32>(to, value);
}

export function putF64(value: f64): void {
  const to = step(8);
  if (to != 0) store<f64>(to, value);
}

export function putBytes(ptr: usize, length: i32): void {
  const to = step(length);
  if (to != 0) memory.copy(to, ptr, length);
}

/** What save returns: the length, or -1 if the state was too long. */
export function endSave(): i32 {
  return fits ? <i32>(at - start) : -1;
}

export function beginRestore(ptr: usize, length: i32, version: i32): void {
  at = ptr;
  end = ptr + length;
  fits = true;
  if (takeI32() != version) fits = false;
}

/** 0 once the state is at its end; endRestore() tells. */
export function takeI32(): i32 {
  const from = step(4);
  return from != 0 ? load<i32>(from) : 0;
}

export function takeF64(): f64 {
  const from = step(8);
  return from != 0 ? load<f64>(from) : 0;
}

export function takeBytes(ptr: usize, length: i32): void {
  const from = step(length);
  if (from != 0) memory.copy(ptr, from, length);
}

/** What restore returns: 0 if all that was saved, and nothing else, was taken. */
export function endRestore(): i32 {
  return fits && at == end ? 0 : 1;
}
