// A NIC that another worker or another process drives: Nic.share() and Attachment.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Attachment, Engine, Nic, type ServiceMode } from '../../src/nic/index.js';
import { backTo, holdings, plainEnvironment, scratch, until } from './machine.js';
import { PEERS, type Peer, ProcessPeer, WorkerPeer } from './peers.js';
import { Busy, Rig, isReset } from './rig.js';
import { Caller, Echo, MODES } from './traffic.js';

const files = scratch();
t.teardown(files.remove);
t.setTimeout(120_000);

const CALLS = 1500;

/** What drives the other card: gives it traffic to echo, and says what it saw. */
interface Driven {
  start: (rig: Rig, mode: ServiceMode) => Promise<void>;
  stop: () => Promise<{ frames: number; wrong: number }>;
  end: () => Promise<void>;
}

function here(): Driven {
  let echo: Echo;
  return {
    start: (rig, mode) => {
      echo = new Echo(rig.theirs);
      echo.driver.start(mode);
      return Promise.resolve();
    },
    stop: () => {
      echo.driver.close();
      return Promise.resolve({ frames: echo.frames, wrong: echo.wrong });
    },
    end: () => Promise.resolve(),
  };
}

function elsewhere(peer: Peer): Driven {
  let shares = 0;
  return {
    start: async (rig, mode) => {
      const path = files.path(`${peer.constructor.name}-${++shares}`);
      rig.theirs.share(path);
      peer.tell({ op: 'attach', path, mode });
      await peer.hear('attached');
    },
    stop: async () => {
      await peer.hear('busy');
      peer.tell({ op: 'detach' });
      return peer.hear('detached');
    },
    end: async () => {
      peer.kill();
      await peer.ended();
    },
  };
}

for (const [who, make] of [
  ['this thread', here],
  ...PEERS.map(([name, PeerClass]) => [name, () => elsewhere(new PeerClass())] as const),
] as const) {
  t.test(`${who} drives a NIC`, async (t) => {
    const driven = make();
    t.teardown(() => driven.end());
    for (const mode of MODES) {
      const rig = new Rig();
      await driven.start(rig, mode);
      const caller = new Caller(rig.mine);
      caller.driver.start('adaptive');
      await caller.call(CALLS);
      // Once more after a pause, in which engine and drivers go to sleep.
      await until('the engine sleeps', () => mode === 'poll' || rig.engine.sleeps > 0);
      await caller.call(1);
      const { frames, wrong } = await driven.stop();
      t.equal(frames, CALLS + 1, `${mode}: every call came`);
      t.equal(wrong, 0, `${mode}: with the right bytes`);
      t.equal(caller.wrong, 0, `${mode}: every answer too, in order`);
      caller.driver.close();
      rig.close();
    }
  });
}

t.test('one at a time', async (t) => {
  const rig = new Rig();
  const path = files.path('one');
  rig.theirs.share(path);
  t.ok(isReset(rig.theirs));
  t.equal(rig.theirs.connections, 0);
  const worker = new WorkerPeer();
  t.teardown(() => {
    worker.kill();
  });
  for (let round = 0; round < 3; round++) {
    const first = new Echo(new Attachment(path));
    t.throws(() => new Attachment(path), { code: 'ERR_SYSTEM', message: `${path}: somebody else drives this NIC` });
    worker.tell({ op: 'attach', path, mode: 'poll' });
    t.match(await worker.hear('failed'), { message: 'somebody else drives this NIC' });
    t.notOk(isReset(rig.theirs), 'the one who drives it goes on');
    first.driver.close();
    t.ok(isReset(rig.theirs));
    worker.tell({ op: 'attach', path, mode: 'poll' });
    await worker.hear('attached');
    t.throws(() => new Attachment(path), { message: 'somebody else drives this NIC' });
    worker.tell({ op: 'detach' });
    await worker.hear('detached');
  }
  t.equal(rig.theirs.connections, 6, 'the refused do not count');
  rig.close();
});

t.test('who takes an interrupt and ends before it says so does not silence the next', async (t) => {
  const busy = new Busy(new Engine(), 2000);
  busy.replay.stop();
  const path = files.path('taken');
  busy.nic.share(path);
  let taken = 0;
  const first = new Echo(new Attachment(path));
  const { native } = first.driver.device;
  native.watch(() => taken++); // which reads the eventfd, but does not clear `signalled`
  t.notOk(first.driver.pairs[0].rx.ring.enableInterrupts());
  busy.replay.start();
  await until('an interrupt was taken', () => taken > 0);
  t.equal(new Uint32Array(native.interruptPage)[0], 1, 'signalled');
  native.close();
  const second = new Echo(new Attachment(path));
  second.driver.start('interrupt');
  await until('the next one hears of its frames', () => second.frames > 100);
  t.equal(second.wrong, 0);
  second.driver.close();
  busy.close();
});

t.test('where no NIC is, one line says so', async (t) => {
  const plain = files.path('plain');
  writeFileSync(plain, '');
  const stream = files.path('stream');
  const server = createServer().listen(stream);
  await new Promise((resolve) => server.once('listening', resolve));
  const left = files.path('left');
  // A socket that a killed process has left.
  spawnSync('python3', ['-c', `import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(${JSON.stringify(left)})`]);
  const before = holdings();
  for (const [path, why] of [
    [files.path('nobody'), 'No such file or directory'],
    [files.path('no/folder'), 'No such file or directory'],
    [plain, 'Connection refused'],
    [left, existsSync(left) ? 'Connection refused' : 'No such file or directory'],
    [stream, 'Protocol wrong type for socket'],
    [files.path('x'.repeat(200)), 'a socket path must have from 1 to 107 bytes'],
    ['', 'a socket path must have from 1 to 107 bytes'],
  ] as const) {
    const line = t.throws(() => new Attachment(path), { code: 'ERR_SYSTEM' }) as Error;
    t.ok(line.message.endsWith(why) && !line.message.includes('\n'), line.message);
  }
  await backTo(before); // nothing stays open
  server.close();
});

t.test('what cannot be shared', async (t) => {
  const rig = new Rig();
  const path = files.path('shared');
  const before = holdings();
  t.throws(() => rig.theirs.share(files.path('x'.repeat(200))), { code: 'ERR_SYSTEM', message: 'from 1 to 107 bytes' });
  t.throws(() => rig.theirs.share(files.path('no/folder')), { message: 'No such file or directory' });
  const plain = files.path('precious');
  writeFileSync(plain, '');
  mkdirSync(files.path('folder'));
  t.throws(() => rig.theirs.share(plain), { message: 'Address already in use' });
  t.throws(() => rig.theirs.share(files.path('folder')), { message: 'Address already in use' });
  t.ok(existsSync(plain), 'whatever is there stays there');
  await backTo(before); // nothing stays open
  rig.theirs.share(path);
  t.throws(() => rig.theirs.share(files.path('twice')), { message: 'this NIC is shared already' });
  t.throws(() => rig.mine.share(path), { message: 'Address already in use' });
  const echo = new Echo(new Attachment(path));
  t.throws(() => rig.mine.share(path), { message: 'Address already in use' });
  t.notOk(isReset(rig.theirs), 'and who drives the one that is shared there goes on');
  echo.driver.close();
  rig.close();
  t.notOk(existsSync(path), 'closing takes the socket away');
  t.throws(() => rig.theirs.share(path), { message: 'this NIC is closed' });
  const stepped = new Nic(new Engine({ stepped: true }));
  t.throws(() => stepped.share(path), { message: 'a stepped engine has no thread' });
  stepped.close();
});

t.test('the end of the owner', async (t) => {
  const rig = new Rig();
  const path = files.path('owner');
  rig.theirs.share(path);
  const echo = new Echo(new Attachment(path));
  const { native } = echo.driver.device;
  echo.driver.start('interrupt');
  rig.theirs.close();
  t.throws(() => echo.driver.linkUp, { message: 'the owner of this NIC is gone' });
  native.kick(1);
  echo.driver.close(); // and nothing keeps this process alive
  echo.driver.close();
  t.throws(() => native.read(0), { message: 'this attachment is closed' });
  rig.close();
  // One that was killed leaves its socket, which is no hindrance to the next.
  const program = `
    const { Engine, Nic } = await import(${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)});
    new Nic(new Engine()).share(process.argv[1]);
    process.kill(process.pid, 'SIGKILL');`;
  const run = { env: plainEnvironment() };
  t.match(spawnSync(process.execPath, ['--input-type=module', '-e', program, path], run), { signal: 'SIGKILL' });
  t.ok(existsSync(path));
  const next = new Rig();
  next.theirs.share(path);
  const peer = new ProcessPeer();
  peer.tell({ op: 'attach', path, mode: 'interrupt' });
  await peer.hear('attached');
  peer.kill();
  await peer.ended();
  next.close();
});

t.test('signals disturb no call to the owner', async (t) => {
  const rig = new Rig();
  const path = files.path('signals');
  rig.theirs.share(path);
  const peer = new ProcessPeer();
  peer.tell({ op: 'knock', path, times: 1 });
  await peer.hear('detached');
  peer.tell({ op: 'knock', path, times: 100 });
  let done = false;
  const heard = peer.hear('detached').finally(() => {
    done = true;
  });
  while (!done) {
    peer.signal();
    await new Promise(setImmediate);
  }
  await heard;
  t.equal(rig.theirs.connections, 101);
  peer.kill();
  await peer.ended();
  rig.close();
});

t.test('the example: two processes play ball', async (t) => {
  const path = files.path('example');
  const run = (name: string): { child: ChildProcess; said: () => string } => {
    const file = fileURLToPath(new URL(`../../../examples/attach/${name}.mjs`, import.meta.url));
    const child = spawn(process.execPath, [file, path], { env: plainEnvironment(), stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    return { child, said: () => said };
  };
  const owner = run('owner');
  t.teardown(() => owner.child.kill());
  await until('the owner shares its card', () => owner.said().includes('waits'));
  const peer = run('peer');
  t.teardown(() => peer.child.kill());
  for (const { child } of [peer, owner]) await until('it ended', () => child.exitCode !== null || child.signalCode !== null);
  t.same([owner.child.exitCode, peer.child.exitCode], [0, 0]);
  const balls = (who: string, first: number): string => Array.from({ length: 10 }, (_, i) => `${who} ball ${2 * i + first}\n`).join('');
  t.equal(peer.said(), balls('peer: ', 2));
  t.equal(
    owner.said(),
    `owner: a card waits at ${path}\n${balls('owner:', 2)}owner: 1 peer came; 10 frames in, 10 out\n`,
  );
});

// --- foreigners (foreign.py) -------------------------------------------------------------------------------------------

const SCRIPT = fileURLToPath(new URL('../../../test/lifecycle/foreign.py', import.meta.url));
const python = spawnSync('python3', ['--version']).status === 0 ? {} : { skip: 'python3 is not installed' };

/** Starts one, and waits until it says that word. */
async function foreigner(path: string, what: readonly string[], word: string): Promise<ChildProcess> {
  const child = spawn('python3', [SCRIPT, path, ...what], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await until(`foreign.py ${what.join()} said ${word}`, () => said.includes(word) || child.exitCode !== null);
  if (!said.includes(word)) throw new Error(`foreign.py ${what.join()} ended with ${child.exitCode}`);
  return child;
}

async function gone(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await until('the foreigner is gone', () => child.exitCode !== null || child.signalCode !== null);
}

t.test('where somebody else listens, one line says so', python, async (t) => {
  const version = 'no NIC of this version answers there';
  const region = 'not a region: a memfd of at most 4 GiB sealed against shrinking is needed';
  const cases = [
    ['garbage', version],
    ['short', version],
    ['closes', version],
    ['nothing but descriptors', version],
    ['no descriptors', version],
    ['two descriptors', version],
    ['six descriptors', undefined], // four of which the kernel lets through: a device, if a strange one
    ['another version', version],
    ['garbage with descriptors', version],
    ['unsealed', region],
    ['unsealed page', region],
    ['empty', region],
    ['a file', region],
    ['small page', 'its interrupt page is too small'],
    ['read-only', 'mapping a region: Permission denied'],
  ] as const;
  const child = await foreigner(files.path('foreign'), cases.map(([what]) => what), 'ready');
  for (const [i, [what, why]] of cases.entries()) {
    const path = files.path(`foreign.${i}`);
    const before = holdings();
    for (let times = 0; times < 3; times++) {
      if (why === undefined) {
        // What can be attached to is closed again, and its memory with it once collected.
        const { native } = new Attachment(path);
        t.throws(() => {
          native.watch(() => undefined);
        }, 'but not watch it');
        native.close();
        continue;
      }
      t.throws(() => new Attachment(path), { code: 'ERR_SYSTEM', message: `${path}: ${why}` }, what);
    }
    if (why !== undefined) await backTo(before);
  }
  await gone(child);
});

t.test('who does not answer is given up', python, async (t) => {
  // The waiting, 5 s each, in two workers at once.
  const attempt = (path: string): Promise<string[]> =>
    new Promise((resolve, reject) => {
      const source = `
        const { parentPort, workerData } = require('node:worker_threads');
        const lines = [];
        const attempt = (call) => { try { return lines.push('fine'), call(); } catch (error) { lines[lines.length - 1] = error.message; } };
        import(workerData.entry).then(({ Attachment }) => {
          const native = attempt(() => new Attachment(workerData.path))?.native;
          if (native === undefined) return parentPort.postMessage(lines);
          attempt(() => native.read(0));
          // The answer comes now, and would be taken for the next one's.
          setTimeout(() => { attempt(() => native.read(0x70)); native.close(); parentPort.postMessage(lines); }, 1000);
        });`;
      const workerData = { entry: new URL('../../src/index.js', import.meta.url).href, path };
      new Worker(source, { eval: true, workerData, execArgv: [], env: plainEnvironment() }).once('message', resolve).once('error', reject);
    });
  const mute = await foreigner(files.path('mute'), ['mute'], 'ready');
  const late = await foreigner(files.path('late'), ['late'], 'ready');
  const [toMute, toLate] = await Promise.all([attempt(files.path('mute.0')), attempt(files.path('late.0'))]);
  t.same(toMute, [`${files.path('mute.0')}: nobody answers there`]);
  t.same(toLate, ['fine', 'the owner of this NIC does not answer', 'the owner of this NIC is gone']);
  await gone(mute);
  await gone(late);
});

t.test('an owner drops who speaks nonsense, and goes on', python, async (t) => {
  const rig = new Rig();
  const path = files.path('knock');
  rig.theirs.share(path);
  const before = holdings();
  await gone(await foreigner(path, ['knock'], 'dropped'));
  const echo = new Echo(new Attachment(path));
  echo.driver.start('adaptive');
  const caller = new Caller(rig.mine);
  caller.driver.start('adaptive');
  await caller.call(CALLS);
  t.same([echo.frames, echo.wrong, caller.wrong], [CALLS, 0, 0]);
  echo.driver.close();
  caller.driver.close();
  rig.close();
  await backTo({ ...before, files: before.files + 4, regions: before.regions + 2 }); // what that Attachment still maps
});
