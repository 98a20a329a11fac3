// A worker that owns all there is: engine, cards, wires, drivers; with traffic between them until it ends.
import { parentPort, workerData } from 'node:worker_threads';
import { Engine, Nic, type ServiceMode } from '../../src/nic/index.js';
import { type End } from './peer.js';
import { Busy } from './rig.js';
import { Echo } from './traffic.js';

const { mode, end, path } = workerData as { mode: ServiceMode; end: End; path: string };
const engine = new Engine();
const busy = new Busy(engine, 20_000);
let batches = 0;
const echo = new Echo(busy.nic, () => {
  batches++;
  if (batches === 1) parentPort!.postMessage('busy');
  if (batches === 5 && end === 'exit') process.exit(0);
  if (batches === 5 && end === 'throw') throw new Error('from within the handler');
  // What a program does now and then.
  echo.driver.setPromiscuous(batches % 2 === 0);
  busy.nic.counters();
  new Nic(engine, { regionBytes: 65536 });
});
busy.nic.share(path);
echo.driver.start(mode);
