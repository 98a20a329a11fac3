// Runs the agent over batches that come through descriptor 3, a socket, and sends them back, until the other side closes it.
import { readSync, writeSync } from 'node:fs';
import { setRealtime } from '../../src/nic/index.js';
import { Abi } from '../../src/spa/index.js';
import { BareAgent, Batch, SLOTS_AT } from './path-agent.js';

const SOCKET = 3;
const agent = new BareAgent();
const { u8, words } = agent;
const AT = Abi.windowStart;

/** Reads until `end` bytes of the batch are there; false at the end of the stream. */
function fill(have: number, end: number): boolean {
  while (have < end) {
    const n = readSync(SOCKET, u8, AT + have, end - have, null);
    if (n === 0) return false;
    have += n;
  }
  return true;
}

setRealtime(Number(process.argv[2]));
try {
  while (fill(0, SLOTS_AT) && fill(SLOTS_AT, words[(AT >> 2) + Batch.bytes])) {
    agent.run(AT);
    const bytes = words[(AT >> 2) + Batch.bytes];
    for (let done = 0; done < bytes; ) done += writeSync(SOCKET, u8, AT + done, bytes - done);
  }
} catch (error) {
  // Whoever wanted the answer may be gone already.
  if (!['EPIPE', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
}
