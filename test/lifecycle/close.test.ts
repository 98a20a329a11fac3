// Closing, by whom and when one likes, and not at all.
import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Attachment, Engine, Link, Nic, NicDriver, Recorder, Region, Replay } from '../../src/nic/index.js';
import { holdings, plainEnvironment, scratch, until } from './machine.js';
import { Busy, Rig } from './rig.js';
import { Caller, Echo, MODES } from './traffic.js';

const files = scratch();
t.teardown(files.remove);
t.setTimeout(120_000);

const FORGET = fileURLToPath(new URL('./forget.child.js', import.meta.url));

/** Runs one of its programs; it has to end by itself, with 0. */
async function forget(t: Test, what: string): Promise<unknown> {
  const options = { env: plainEnvironment(), timeout: 60_000 };
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--trace-uncaught', FORGET, what, files.path(what)],
    options,
  );
  t.equal(stderr, '');
  return JSON.parse(stdout) as unknown;
}

t.test('what nobody closes is collected: descriptors, memory, threads', async (t) => {
  const { before, after } = (await forget(t, 'collected')) as Record<'before' | 'after', { engines: number; regions: number }>;
  t.same([after.engines, after.regions], [0, 0]);
  t.same([before.engines, before.regions], [0, 0]);
});

t.test('memory outlives everything else', async (t) => {
  t.same(await forget(t, 'survivors'), { wrong: [], left: 3, engines: 0 });
});

t.test('who holds an end holds the wire, and who holds a NIC its recorder', async (t) => {
  t.same(await forget(t, 'unheld'), [1000, 1000]);
  t.ok(statSync(files.path('unheld')).size > 2 * 1000 * 60);
});

t.test('an exception in a handler is an uncaught one', async (t) => {
  t.same(await forget(t, 'uncaught'), MODES.map((mode) => `uncaughtException: ${mode}`));
});

t.test('a process ends with all in use', async (t) => {
  for (let i = 0; i < 5; i++) {
    t.equal(await forget(t, 'leave'), true);
    t.equal(await forget(t, 'exit'), 'exit');
  }
});

t.test('closing twice, and use after it', (t) => {
  const engine = new Engine();
  const nic = new Nic(engine, { regionBytes: 2 ** 21 });
  const other = new Nic(engine, { regionBytes: 2 ** 21 });
  const replay = new Replay(engine, { frames: [new Uint8Array(60)] });
  const link = new Link(engine, nic, replay);
  const recorder = new Recorder(engine, files.path('closed.pcapng'));
  recorder.add(nic, 'nic');
  nic.share(files.path('closed'));
  const attachment = new Attachment(files.path('closed'));
  const attached = new NicDriver(attachment);
  const driver = new NicDriver(other);
  attached.start('interrupt');
  driver.start('interrupt');
  for (const closed of [attached, attachment, driver, link, replay, recorder, nic, other]) {
    closed.close();
    closed.close();
  }
  for (const native of [nic.native, other.native]) {
    const message = 'this NIC is closed';
    t.throws(() => native.read(0), { message });
    t.throws(() => native.write(0x30, 1), { message });
    t.throws(() => native.watch(() => undefined), { message });
    t.throws(() => native.unmap(-1, 0), { message });
    native.kick(0);
    native.kick(99);
    native.ref(true);
  }
  t.throws(() => nic.map({ iova: 2 ** 30, region: nic.region }), { message: 'this NIC is closed' });
  t.throws(() => nic.steer({ protocol: 'udp', destination: '10.0.0.1', destinationPort: 9 }, 0), { message: 'this NIC is closed' });
  t.throws(() => nic.share(files.path('again')), { code: 'ERR_SYSTEM', message: 'this NIC is closed' });
  t.throws(() => new NicDriver(nic), { message: 'this NIC is closed' });
  t.throws(() => new NicDriver(attachment), { message: 'this attachment is closed' });
  t.throws(() => attachment.native.read(0), { message: 'this attachment is closed' });
  t.throws(() => attachment.native.watch(() => undefined), { message: 'this attachment is closed' });
  t.throws(() => attachment.native.interruptPage, { message: 'this attachment is closed' });
  attachment.native.kick(0);
  attachment.native.ref(true);
  t.throws(() => {
    replay.start();
  }, { message: 'this replay is closed' });
  replay.stop();
  t.throws(() => {
    recorder.add(nic, 'again');
  }, { message: 'this recorder is closed' });
  // What they have counted can still be read.
  t.equal(nic.counters().queues.length, 3);
  t.equal(nic.connections, 1);
  t.equal(link.counters()[0].offered, 0);
  t.equal(replay.counters().sent, 0);
  t.equal(replay.latenciesNs().length, 0);
  t.same(recorder.counters(), { written: 0, lost: 0 });
  // A driver whose card is gone can be used, to no effect.
  const [pair] = driver.pairs;
  const handle = driver.pool.get();
  t.ok(pair.tx.sendOne(handle, driver.pool.offsetOf(handle), 60));
  driver.publish(pair);
  driver.refill(pair);
  t.equal(driver.poll(), 0);
  t.throws(() => {
    driver.start('interrupt');
  }, { message: 'this NIC is closed' });
  t.end();
});

t.test('what belongs to another engine is refused', (t) => {
  const one = new Nic(new Engine(), { regionBytes: 4096 });
  const two = new Nic(new Engine(), { regionBytes: 4096 });
  const code = 'ERR_INVALID_ARGUMENT';
  t.throws(() => new Link(one.engine, one, two), { code });
  t.throws(() => new Link(new Engine(), one, two), { code });
  t.throws(() => new Link(two.engine, new Replay(one.engine, { frames: [] }), two), { code });
  const recorder = new Recorder(one.engine, files.path('other.pcapng'));
  t.throws(() => {
    recorder.add(two, 'two');
  }, { code });
  // Plain JavaScript may hand over anything.
  const nothing = Object.create(null) as Engine & Nic;
  t.throws(() => new Nic(nothing), { code: 'ERR_SYSTEM' });
  t.throws(() => new Link(one.engine, one, nothing), { code });
  t.throws(() => new Link(one.engine, one, Object.assign(nothing, { engine: one.engine })), { code: 'ERR_SYSTEM' });
  for (const closed of [recorder, one, two]) closed.close();
  t.end();
});

t.test('closing from within the handler', async (t) => {
  for (const mode of MODES) {
    for (const attached of [false, true]) {
      const busy = new Busy(new Engine(), 50_000);
      const path = files.path(`within-${mode}`);
      if (attached) busy.nic.share(path);
      const echo: Echo = new Echo(attached ? new Attachment(path) : busy.nic, () => {
        echo.driver.close();
        if (mode === 'poll') busy.close();
        echo.driver.close();
      });
      echo.driver.start(mode);
      await until('it was called', () => echo.frames > 0);
      const { frames } = echo;
      await new Promise((resolve) => setTimeout(resolve, 5));
      t.equal(echo.frames, frames, `${mode}: no call after`);
      busy.close();
    }
  }
});

t.test('a NIC goes while its link lives', async (t) => {
  const rig = new Rig();
  const caller = new Caller(rig.mine);
  const echo = new Echo(rig.theirs);
  for (const { driver } of [caller, echo]) driver.start('adaptive');
  await caller.call(100);
  rig.theirs.close();
  t.equal(caller.driver.linkUp, true, 'the wire is still plugged in here');
  const handle = caller.driver.pool.get();
  caller.driver.pairs[0].tx.sendOne(handle, caller.driver.pool.offsetOf(handle), 60);
  caller.driver.publish(caller.driver.pairs[0]);
  await until('the frame is lost', () => rig.link.counters()[0].refused === 1);
  t.equal(rig.theirs.counters().dropNotReady, 1, 'and counted where');
  rig.link.close();
  t.equal(caller.driver.linkUp, false);
  // The port is free for another.
  const next = new Nic(rig.engine);
  const link = new Link(rig.engine, rig.mine, next);
  t.equal(caller.driver.linkUp, true);
  const busy = new Busy(rig.engine, 1000);
  const other = new Echo(busy.nic);
  other.driver.start('interrupt');
  await until('the engine goes on', () => busy.answered > 10);
  link.close();
  for (const closed of [next, caller.driver, other.driver, busy, rig]) closed.close();
});

t.test('256 cards on an engine', async (t) => {
  const before = holdings();
  const engine = new Engine();
  const region = new Region(2 ** 16);
  const bystander = new Busy(engine, 1000);
  const echo = new Echo(bystander.nic);
  echo.driver.start('adaptive');
  for (let round = 0; round < 2; round++) {
    const nics = Array.from({ length: 256 }, () => new Nic(engine, { region }));
    const links = Array.from({ length: 128 }, (_, i) => new Link(engine, nics[i], nics[255 - i]));
    const answered = bystander.answered;
    await until('the one with traffic goes on', () => bystander.answered > answered + 10);
    t.throws(() => new Link(engine, nics[0], nics[9]), { message: 'plugged into another one already' });
    for (const link of links.slice(64)) link.close();
    for (const nic of nics) nic.close();
    for (const link of links) link.close();
  }
  t.equal(echo.wrong, 0);
  echo.driver.close();
  bystander.close();
  // Descriptors stay with the objects until these are collected: 2 for each card.
  t.ok(holdings().files <= before.files + 2 * 2 * 256 + 16, 'a bounded number of descriptors');
});
