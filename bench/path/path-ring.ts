// Shared memory between the forwarder and its worker: batches in slots, which go there full of payloads and come back in order as what is
// to be sent. Counts only grow (modulo 2^32); a slot is the count's low bits.
import { BATCH_BYTES } from './path-agent.js';

/** A power of two. */
export const RING_SLOTS = 8;

/** Words of the control part: each has a cache line of its own. `slots` is a byte offset. */
export const Ring = {
  /** Batches sent to the worker; it waits on this. */
  sent: 0,
  /** Batches that it is done with. */
  done: 16,
  /** 1: it shall post a message when it is done with one. */
  wanted: 32,
  slots: 256,
} as const;

export interface RingMemory {
  buffer: SharedArrayBuffer;
}

export function makeRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(Ring.slots + RING_SLOTS * BATCH_BYTES);
}
