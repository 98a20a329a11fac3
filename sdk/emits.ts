// Payloads of the agent's own: fill emitBuffer(), then emit().

const EMITS: usize = 8;
const EMIT_ROOM: usize = 12;
const RECORDS: usize = 4160;
const LENGTH: usize = 4;
const OUTPUT: usize = 8;
const AFTER: usize = 12;

/** The next emit buffer, of bufferBytes() bytes; 0 if this call has no more. The same one until emit(). */
export function emitBuffer(): usize {
  const emits = load<u32>(EMITS);
  return emits < load<u32>(EMIT_ROOM) ? load<u32>(RECORDS + ((<usize>emits) << 4)) : 0;
}

/**
 * Sends what emitBuffer() was filled with.
 *
 * @param length its bytes
 * @param output 0: all outputs; k: the k-th only
 * @param after how many input records of the batch come before it; of no meaning in process and tick
 */
export function emit(length: i32, output: i32 = 0, after: i32 = 0): void {
  const emits = load<u32>(EMITS);
  const record = RECORDS + ((<usize>emits) << 4);
  store<i32>(record, length, LENGTH);
  store<i32>(record, output, OUTPUT);
  store<i32>(record, after, AFTER);
  store<u32>(EMITS, emits + 1);
}
