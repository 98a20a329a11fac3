// Forwards frames, or answers UDP datagrams, and prints how the heap grew. Run with --expose-gc --trace-gc: each collection
// prints a line of its own.
import { writeSync } from 'node:fs';
import { addon } from '../../src/nic/index.js';
import { OWN_CPU } from '../cores.js';
import { ZeroCopyForwarder } from './forwarders.js';
import { udpFrame } from './frames.js';
import { echoServer } from './hosts.js';
import { makeRig } from './rig.js';

const [what, count] = process.argv.slice(2) as [string, string];
addon.bench.pin(OWN_CPU);

/** Moves some frames; returns how many. */
function start(): () => number {
  if (what === 'echo') return echoServer();
  const rig = makeRig({ frames: { frames: [udpFrame(64)] }, frameBytes: 2048, variant: 'TypeScript zero-copy' });
  const forwarder = new ZeroCopyForwarder(rig.driver);
  rig.tester.start();
  return () => forwarder.turn(32);
}

const turn = start();

function move(frames: number): void {
  for (let done = 0; done < frames; ) done += turn();
}

move(10_000_000); // compiled by now
process.memoryUsage(); // its first call allocates
globalThis.gc!();
writeSync(1, 'steady\n');
const before = process.memoryUsage().heapUsed;
move(Number(count));
const grown = process.memoryUsage().heapUsed - before;
writeSync(1, `grown ${grown}\n`);
process.exit();
