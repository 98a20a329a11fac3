// Forwards frames and prints how the heap grew. Run with --expose-gc --trace-gc: each collection prints a line of its own.
import { writeSync } from 'node:fs';
import { addon } from '../../src/nic/index.js';
import { OWN_CPU } from '../context.js';
import { ZeroCopyForwarder } from './forwarders.js';
import { udpFrame } from './frames.js';
import { makeRig } from './rig.js';

const frames = Number(process.argv[2]);
addon.bench.pin(OWN_CPU);
const rig = makeRig({ frames: { frames: [udpFrame(64)] }, frameBytes: 2048, variant: 'TypeScript zero-copy' });
const forwarder = new ZeroCopyForwarder(rig.driver);

function forward(count: number): void {
  for (let done = 0; done < count; ) done += forwarder.turn(32);
}

rig.tester.start();
forward(5_000_000); // compiled by now
process.memoryUsage(); // its first call allocates
globalThis.gc!();
writeSync(1, 'steady\n');
const before = process.memoryUsage().heapUsed;
forward(frames);
const grown = process.memoryUsage().heapUsed - before;
writeSync(1, `grown ${grown}\n`);
rig.close();
