// A worker whose agent runs away for ever, so that its end falls into the agent, or into what stops it.
import { parentPort } from 'node:worker_threads';
import { Region, Watchdog } from '../../src/nic/index.js';
import { WASM_PAGE_BYTES, rig } from './wasm-agent.js';

const { sandbox, agent } = rig();
sandbox.map(new Region(WASM_PAGE_BYTES), 0, 0, WASM_PAGE_BYTES);
sandbox.guard();
const watchdog = new Watchdog();
const slot = watchdog.add(sandbox, 'guard', 100);
parentPort!.postMessage('busy');
for (;;) {
  watchdog.enter(slot);
  try {
    agent.spin();
  } catch {
    // On, until the end.
  }
  watchdog.leave(slot);
}
