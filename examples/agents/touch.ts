// Lets every payload through, and reads each of its bytes: what looking at data costs, for the benches. The state is the sum of all
// bytes so far, modulo 2^64.
import { beginRestore, beginSave, endRestore, endSave, forward, inputLength, inputPtr, putBytes, setVerdict, takeBytes } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

const STATE_VERSION = 1;
/** Vectors of 16 bytes until a lane of 16 bits, which takes two bytes of each, could overflow. */
const VECTORS_A_ROUND: usize = 128;

const total = memory.data(8, 8);

function sum(ptr: usize, length: i32): u64 {
  let bytes: u64 = 0;
  const end = ptr + length;
  while (end - ptr >= 16) {
    const roundEnd = ptr + min((end - ptr) >> 4, VECTORS_A_ROUND) * 16;
    let lanes = i16x8.splat(0);
    for (; ptr < roundEnd; ptr += 16) lanes = i16x8.add(lanes, i16x8.extadd_pairwise_i8x16_u(v128.load(ptr)));
    const quads = i32x4.extadd_pairwise_i16x8_u(lanes);
    bytes += i32x4.extract_lane(quads, 0) + i32x4.extract_lane(quads, 1) + i32x4.extract_lane(quads, 2) + i32x4.extract_lane(quads, 3);
  }
  for (; ptr < end; ptr++) bytes += load<u8>(ptr);
  return bytes;
}

export function process_batch(count: i32): void {
  for (let i = 0; i < count; i++) {
    const length = inputLength(i);
    store<u64>(total, load<u64>(total) + sum(inputPtr(i), length));
    setVerdict(i, forward(length));
  }
}

export function save(ptr: usize, capacity: i32): i32 {
  beginSave(ptr, capacity, STATE_VERSION);
  putBytes(total, 8);
  return endSave();
}

export function restore(ptr: usize, length: i32): i32 {
  beginRestore(ptr, length, STATE_VERSION);
  takeBytes(total, 8);
  return endRestore();
}
