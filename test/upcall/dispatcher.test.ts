// When the bottom half of a stream runs, in real time (Zhang & West 2006); and ends of hosts with agents.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { lacks } from '../spa/rig.js';
import { Verdict } from '../../src/spa/index.js';
import { CLIENT, SINK, World, example, numbered } from '../host/rig.js';
import { plainEnvironment } from '../lifecycle/machine.js';

t.setTimeout(300_000);

// The first runs of any code take long.
const SHARE = { budgetUs: 8000, periodUs: 20_000, jobUs: 100 };

const live = (options = {}): Promise<World> => new World({ stepped: false, ...options }).start();

async function until(done: () => boolean, t: Pick<Test, 'fail'>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!done()) {
    if (Date.now() > end) {
      t.fail('it never happened');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

t.test('adaptive: in the interrupt while the scheduler has nothing earlier, else as a job', async (t) => {
  const world = await live({ stackServer: false });
  t.teardown(() => { world.close(); });
  const { server } = world;
  const { scheduler } = server;
  let got = 0;
  const busy: boolean[] = [];
  const agent = server.openAgent({ name: 'pass', module: { process: () => Verdict.pass } });
  const stream = server.openStream({ name: 's', port: 5000, agents: [agent], mode: 'adaptive', server: SHARE, onPayload: () => {
    got++;
    busy.push(scheduler.busy);
  } });
  t.ok(stream.queue, 'a queue of its own');
  /** One payload, and its interrupt, with no turn of the event loop between. */
  const bringIn = (done: () => boolean): void => {
    world.send(5000, numbered(got));
    for (const end = Date.now() + 60_000; !done() && Date.now() < end; ) server.interfaces[0].driver.pollInterrupts();
  };
  world.send(5000, numbered(0));
  await until(() => got === 1, t);
  /** With all that it used paid back, in a period of its own: what comes next is due a whole deadline later, however slow the machine is. */
  const rested = (): Promise<void> => until(() => !scheduler.busy && stream.server!.size === 0 && scheduler.nowUs() > stream.server!.cbs.replenishUs, t);
  await rested();
  bringIn(() => got === 2);
  t.equal(got, 2, 'the scheduler is idle: it ran in the interrupt');

  // Another server with an earlier deadline has a job queued.
  await rested();
  const urgent = scheduler.admit({ name: 'urgent', budgetUs: 100, periodUs: 10_000, deadlineUs: 2000 });
  let ran = 0;
  urgent.release({ run: () => { ran++; return undefined; } });
  bringIn(() => stream.server!.size > 0);
  t.equal(stream.server!.size, 1);
  t.equal(got, 2, 'it has to wait');
  t.equal(ran, 0);
  await until(() => got === 3, t);
  t.equal(ran, 1);
  t.ok(busy.every((is) => is), 'always on its own server’s time');
  t.equal(stream.server!.counters.completed, 3);
});

t.test('within a job of another, it becomes a job', async (t) => {
  // No queue of its own: datagrams come within the stack's job.
  const world = await live({ agentQueues: 0 });
  t.teardown(() => { world.close(); });
  const { server } = world;
  let got = 0;
  const agent = server.openAgent({ name: 'pass', module: { process: () => Verdict.pass } });
  const stream = server.openStream({ name: 's', port: 5000, agents: [agent], mode: 'adaptive', server: { ...SHARE, deadlineUs: 10_000 }, onPayload: () => { got++; } });
  t.equal(stream.queue, undefined);
  for (let k = 0; k < 20; k++) {
    world.send(5000, numbered(k));
    await until(() => got === k + 1, t);
  }
  t.equal(stream.server!.counters.completed, stream.server!.counters.released);

  // And by hand: another's job runs, the stack is looked at meanwhile.
  const other = server.scheduler.admit({ name: 'other', budgetUs: 1000, periodUs: 50_000 });
  let within = -1;
  other.release({
    run: () => {
      // As the stack does where it brings a datagram to light.
      stream.onFrames();
      within = got;
      return undefined;
    },
  });
  t.doesNotThrow(() => {
    while (server.scheduler.runOne());
  });
  t.equal(within, 20);
});

t.test('modes all bring the same', async (t) => {
  for (const mode of ['inline', 'job', 'adaptive'] as const) {
    for (const agentQueues of [0, 2]) {
      const world = await live({ agentQueues });
      t.teardown(() => { world.close(); });
      const agent = world.server.openAgent({ name: 'pass', module: example('pass') });
      const stream = world.server.openStream({ name: 's', port: 5000, agents: [agent], outputs: [{ address: CLIENT, port: SINK }], mode, ...(mode === 'inline' ? {} : { server: SHARE }) });
      for (let k = 0; k < 20; k++) {
        world.send(5000, ...Array.from({ length: 4 }, (_, i) => numbered(4 * k + i)));
        await until(() => world.arrivals.length === 4 * (k + 1), t);
      }
      t.same(world.take(), Array.from({ length: 80 }, (_, i) => numbered(i)), `${mode}, ${agentQueues} queues`);
      t.equal(stream.stream.counters.sent, 80);
    }
  }
});

t.test('no thread and no handle is left, in whatever order things are closed', { skip: lacks('shared', 'guard') }, async (t) => {
  const child = fileURLToPath(new URL('./ends.child.js', import.meta.url));
  // One after the other: each has an engine that spins, and the machine may have two processors.
  for (const order of ['stop', 'agents-first', 'streams-first', 'waiting', 'twice', 'trapped', 'after']) {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [child, order], { env: plainEnvironment(), timeout: 60_000 });
    t.equal(stderr, '', order);
    t.same(JSON.parse(stdout), { during: 1, after: 0 }, `${order}: the watchdog's thread is gone`);
  }
});
