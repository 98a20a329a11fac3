// A worker that does nothing but call into the addon, so that its end falls into such a call.
import { parentPort, workerData } from 'node:worker_threads';
import { Attachment, Engine, Link, Nic, Region, Replay } from '../../src/nic/index.js';

const engine = new Engine();
const nic = new Nic(engine, { regionBytes: 65536 });
const replay = new Replay(engine, { frames: [] }, { timing: 'fastest' });
const link = new Link(engine, nic, replay);
const region = new Region(4096);
let iova = 2 ** 20;

const CALLS: Record<string, () => void> = {
  read: () => nic.native.read(0),
  kick: () => {
    nic.native.kick(1);
  },
  counters: () => [nic.counters(), link.counters(), replay.counters(), replay.latenciesNs()],
  map: () => {
    nic.map({ iova: (iova += 4096), region });
    nic.unmap(iova);
  },
  memory: () => [region.native.buffer, nic.native.interruptPage],
  refused: () => new Attachment('/nowhere/at/all'),
  engines: () => new Engine({ stepped: true }).step(1),
  cards: () => {
    const made = new Nic(engine, { regionBytes: 4096 });
    made.native.watch(() => undefined);
    made.close();
  },
  wires: () => {
    const other = new Replay(engine, { frames: [new Uint8Array(60)], timesUs: [0] });
    const made = new Nic(engine, { regionBytes: 4096 });
    new Link(engine, made, other, { delayUs: 5 }).close();
    other.close();
    made.close();
  },
};

const call = CALLS[workerData as string];
parentPort!.postMessage('busy');
for (;;) {
  try {
    call();
  } catch {
    // On, until the end.
  }
}
