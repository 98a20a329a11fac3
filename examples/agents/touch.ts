// Lets every payload through, and reads each of its bytes: what looking at data costs, for the benches. The state is the sum of all
// bytes so far, modulo 2^64.
import { beginRestore, beginSave, endRestore, endSave, forward, inputLength, inputPtr, putBytes, setVerdict, takeBytes } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

const STATE_VERSION = 1;
const EVEN_BYTES: u64 = 0x00ff00ff00ff00ff;
const EVEN_WORDS: u64 = 0x0000ffff0000ffff;
/** Words of 8 bytes until a lane of 16 bits, which takes two bytes of each, could overflow. */
const WORDS_A_ROUND: usize = 128;

const total = memory.data(8, 8);

function sum(ptr: usize, length: i32): u64 {
  let bytes: u64 = 0;
  const end = ptr + length;
  while (end - ptr >= 8) {
    const roundEnd = ptr + min((end - ptr) >> 3, WORDS_A_ROUND) * 8;
    let lanes: u64 = 0;
    for (; ptr < roundEnd; ptr += 8) {
      const word = load<u64>(ptr);
      lanes += (word & EVEN_BYTES) + ((word >> 8) & EVEN_BYTES);
    }
    const pairs = (lanes & EVEN_WORDS) + ((lanes >> 16) & EVEN_WORDS);
    bytes += (pairs & 0xffffffff) + (pairs >> 32);
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
