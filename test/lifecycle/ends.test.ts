// Workers and processes that end in the middle of traffic, in every way there is: their NIC is reset and free for the
// next, and nobody else notices.
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Engine, type ServiceMode } from '../../src/nic/index.js';
import { backTo, holdings, plainEnvironment, scratch, until } from './machine.js';
import { type End } from './peer.js';
import { type Ended, PEERS, type Peer } from './peers.js';
import { Busy, isReset } from './rig.js';
import { Echo, MODES } from './traffic.js';

const files = scratch();
t.teardown(files.remove);
t.setTimeout(120_000);

const FEW = 3; // one in each mode
const MANY = 20;

type How = 'killed' | Exclude<End, 'none'>;

function expected(how: How, worker: boolean): Partial<Ended> {
  if (how === 'killed' || how === 'close') return worker ? { code: 1, signal: null } : { code: null, signal: 'SIGKILL' };
  if (how === 'throw') return { code: 1, signal: null };
  return { code: 0, signal: null, error: '' };
}

for (const [who, PeerClass] of PEERS) {
  const isWorker = who === 'a worker';
  t.test(`${who} ends in mid-traffic`, async (t) => {
    const engine = new Engine();
    const shared = new Busy(engine, 20_000);
    const bystander = new Busy(engine, 1000);
    const echo = new Echo(bystander.nic);
    echo.driver.start('adaptive');
    const path = files.path(PeerClass.name);
    shared.nic.share(path);

    const round = async (how: How, mode: ServiceMode): Promise<Ended> => {
      const peer: Peer = new PeerClass();
      peer.tell({ op: 'attach', path, mode, end: how === 'killed' ? 'none' : how });
      await peer.hear('attached');
      await peer.hear('busy');
      const answered = shared.answered;
      if (how === 'killed') {
        await until('traffic is under way', () => shared.answered > answered + 100);
        peer.kill();
      } else if (how === 'close') {
        await peer.hear('detached');
        peer.tell({ op: 'detach' }); // twice is no harm
        await peer.hear('detached');
        peer.kill();
      }
      const ended = await peer.ended();
      await until('the NIC is reset', () => isReset(shared.nic));
      const before = bystander.answered;
      await until('the other NIC goes on', () => bystander.answered > before + 3);
      return ended;
    };
    await round('killed', 'poll'); // brings up whatever stays, as the thread pool of libuv
    const before = holdings();
    let attached = shared.nic.connections;
    for (const how of ['killed', 'exit', 'leave', 'throw', 'close'] as const) {
      const rounds = how !== 'killed' && how !== 'exit' ? FEW : isWorker ? MANY : 2 * FEW;
      for (let i = 0; i < rounds; i++) {
        // Who polls has something to do, and does not leave by itself.
        const mode = how === 'leave' ? 'interrupt' : MODES[i % MODES.length];
        const ended = await round(how, mode);
        t.equal(shared.nic.connections, ++attached, `${how}, ${mode}: it was attached`);
        t.match(ended, expected(how, isWorker), `${how}, ${mode}: it ended as it should`);
        if (how === 'throw') t.match(ended.error, 'from within the handler');
      }
      await backTo(before);
    }
    t.equal(echo.wrong, 0);
    echo.driver.close();
    bystander.close();
    shared.close();
  });
}

/** Runs a worker until it has said that it is busy, and a bit on, and ends it unless it does that itself. */
async function runWorker(file: string, workerData: unknown, terminate: boolean): Promise<Ended> {
  const worker = new Worker(new URL(file, import.meta.url), { workerData, execArgv: [], env: plainEnvironment() });
  let busy = false;
  let ended: Ended | undefined;
  let error = '';
  worker.on('message', () => {
    busy = true;
  });
  worker.on('error', (thrown: Error) => {
    error = thrown.message;
  });
  worker.on('exit', (code) => {
    ended = { code, signal: null, error };
  });
  await until('the worker is busy', () => busy || ended !== undefined);
  if (terminate) void worker.terminate();
  await until('the worker ended', () => ended !== undefined);
  return ended!;
}

t.test('a worker that owns engine and cards ends in mid-traffic', async (t) => {
  const workerOf = (end: End, mode: ServiceMode): Promise<Ended> =>
    runWorker('./owner.worker.js', { end, mode, path: files.path('owner') }, end === 'none');
  await workerOf('none', 'poll');
  const before = holdings();
  for (const end of ['none', 'exit', 'throw'] as const) {
    for (let i = 0; i < (end === 'none' ? 3 * FEW : FEW); i++) {
      const mode = MODES[i % MODES.length];
      const ended = await workerOf(end, mode);
      t.equal(ended.code, end === 'exit' ? 0 : 1, `${end}, ${mode}`);
      t.equal(ended.error, end === 'throw' ? 'from within the handler' : '');
    }
    await backTo(before);
  }
});

t.test('a worker ends within a call to the addon', async (t) => {
  await runWorker('./fumble.worker.js', 'read', true);
  const before = holdings();
  for (const call of ['read', 'kick', 'counters', 'map', 'memory', 'refused', 'engines', 'cards', 'wires']) {
    for (let i = 0; i < FEW; i++) t.equal((await runWorker('./fumble.worker.js', call, true)).code, 1, call);
  }
  await backTo(before);
});
