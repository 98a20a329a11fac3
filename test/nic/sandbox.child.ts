// Programs that close, forget, or end in the middle of agents; each says as one line of JSON what came of it. Run with --expose-gc.
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Region, Watchdog, sandboxTrial } from '../../src/nic/index.js';
import { threadsNamed, until } from '../lifecycle/machine.js';
import { WASM_PAGE_BYTES, rig } from './wasm-agent.js';

const ROUNDS = 40;
const WORKERS = 24;

const mappings = (): number => readFileSync('/proc/self/maps', 'utf8').split('/memfd:ringcube').length - 1;
const watchdogs = (): number => threadsNamed('ringcube-watch');

/** Collects until no mapping is left, or what is left stays. */
async function collected(): Promise<number> {
  for (let i = 0; i < 50 && mappings() + watchdogs() > 0; i++) {
    globalThis.gc!();
    await turn();
  }
  return mappings();
}

/** An agent with all there is, that has been stopped once. Its memory, where that outlives the rest. */
function use(close: boolean): ReturnType<typeof rig> {
  const all = rig();
  const region = new Region(WASM_PAGE_BYTES);
  const watchdog = new Watchdog();
  all.sandbox.map(region, 0, 0, WASM_PAGE_BYTES);
  all.sandbox.guard();
  const slot = watchdog.add(all.sandbox, 'guard', 50);
  watchdog.enter(slot);
  try {
    all.agent.spin();
  } catch {
    // Stopped, and left so.
  }
  if (close) {
    all.sandbox.close();
    watchdog.close();
  }
  return all;
}

async function collect(): Promise<unknown> {
  for (let i = 0; i < ROUNDS; i++) use(true);
  const closed = await collected();
  for (let i = 0; i < ROUNDS; i++) use(false);
  const forgotten = await collected();
  // The memory alone is kept: it lives on, as V8 made it.
  let wrong = 0;
  const memories = Array.from({ length: ROUNDS }, () => {
    const { memory, agent } = use(false);
    return { memory, agent };
  });
  await collected();
  for (const { memory, agent } of memories) {
    if (agent.peek(0) !== 0) wrong++;
    agent.fill(0, 1, 2 * WASM_PAGE_BYTES);
    memory.grow(1);
    if (agent.peek(5) !== 1) wrong++;
    try {
      agent.work(1);
      wrong++;
    } catch {
      // No guard page.
    }
  }
  return { closed, forgotten, watchdogs: watchdogs(), wrong };
}

/** Workers whose agents run, are stopped and run again. */
async function busyWorkers(count: number): Promise<Worker[]> {
  const workers = Array.from({ length: count }, () => new Worker(new URL('./sandbox.worker.js', import.meta.url), { execArgv: [] }));
  let busy = 0;
  for (const worker of workers) worker.once('message', () => busy++);
  await until('the workers are busy', () => busy === count);
  return workers;
}

async function terminate(): Promise<unknown> {
  let ended = 0;
  for (let left = WORKERS; left > 0; left -= 4) {
    for (const worker of await busyWorkers(4)) {
      await turn();
      if ((await worker.terminate()) === 1) ended++;
    }
  }
  return { workers: ended, mappings: await collected(), watchdogs: watchdogs() };
}

async function exit(): Promise<unknown> {
  await busyWorkers(2);
  use(false);
  process.on('exit', () => process.stdout.write('"exit"\n'));
  process.exit(0);
}

/** By itself, with nothing closed. */
function leave(): unknown {
  for (let i = 0; i < ROUNDS; i++) use(false);
  return 'left';
}

const programs: Record<string, () => unknown> = { collect, terminate, exit, leave, trial: sandboxTrial };
process.stdout.write(`${JSON.stringify(await programs[process.argv[2]]())}\n`);
