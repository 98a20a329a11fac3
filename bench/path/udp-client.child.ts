// In a network namespace: sends UDP to ADDRESS PORT from C, BATCH at a time and WINDOW on their way, for MS milliseconds, and
// prints how many came back a second.
import { setTimeout as sleep } from 'node:timers/promises';
import { addon } from '../../src/nic/index.js';
import { nowNs } from '../context.js';

const PATIENCE_MS = 5000;

const [address, port, payloadBytes, batch, window, ms] = process.argv.slice(2) as [string, string, string, string, string, string];
const toHost = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
const load = new addon.bench.UdpLoad({ toHost, toPort: Number(port), payloadBytes: Number(payloadBytes), batch: Number(batch), window: Number(window) });
// The neighbours must find each other first, which takes a second where a question got lost.
for (let waitedMs = 0; load.returned === 0 && waitedMs < PATIENCE_MS; waitedMs += 10) await sleep(10);
await sleep(Number(ms) / 4);
const before = load.returned;
const start = nowNs();
await sleep(Number(ms));
console.log(((load.returned - before) / (nowNs() - start)) * 1e9);
load.stop();
