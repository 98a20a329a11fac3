// The other side of a round trip: answers messages, or a word that counts up.
import { parentPort, workerData } from 'node:worker_threads';
import { addon } from '../../src/nic/index.js';

const { kind, words, cpu } = workerData as { kind: 'messages' | 'atomics'; words: Int32Array; cpu: number };
addon.bench.pin(cpu);
if (kind === 'messages') parentPort!.on('message', (message) => { parentPort!.postMessage(message); });
parentPort!.postMessage('ready');
if (kind === 'atomics') {
  for (let last = 0; last !== -1; ) {
    Atomics.wait(words, 0, last, 1000);
    const now = Atomics.load(words, 0);
    if (now === last) continue;
    last = now;
    Atomics.store(words, 1, now);
    Atomics.notify(words, 1);
  }
}
