// Runs the agent over batches in shared memory, and leaves them there; waits in between.
import { parentPort, workerData } from 'node:worker_threads';
import { Abi } from '../../src/spa/index.js';
import { BareAgent, Batch, BATCH_BYTES } from './path-agent.js';
import { Ring, RING_SLOTS, type RingMemory } from './path-ring.js';

/** Looks so often before it sleeps. */
const SPINS = 50;
const { buffer } = workerData as RingMemory;
const control = new Int32Array(buffer, 0, Ring.slots >> 2);
const agent = new BareAgent();
const slots = Array.from({ length: RING_SLOTS }, (_, i) => new Uint8Array(buffer, Ring.slots + i * BATCH_BYTES, BATCH_BYTES));
const headers = slots.map((slot) => new Int32Array(buffer, slot.byteOffset, 1));

for (let done = 0; ; done = (done + 1) | 0) {
  for (let spin = 0; spin < SPINS && Atomics.load(control, Ring.sent) === done; spin++);
  while (Atomics.load(control, Ring.sent) === done) Atomics.wait(control, Ring.sent, done);
  const slot = slots[done & (RING_SLOTS - 1)];
  const bytes = headers[done & (RING_SLOTS - 1)][Batch.bytes];
  agent.u8.set(slot.subarray(0, bytes), Abi.windowStart);
  agent.run(Abi.windowStart);
  slot.set(agent.u8.subarray(Abi.windowStart, Abi.windowStart + bytes));
  Atomics.store(control, Ring.done, (done + 1) | 0);
  Atomics.notify(control, Ring.done);
  if (Atomics.exchange(control, Ring.wanted, 0) !== 0) parentPort!.postMessage(null);
}
