// The fixture against the kernel it is made for. What the frameworks make of it: frameworks.test.ts.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { NetworkNamespace, type TestNetworkOptions, testNetwork, withNetwork } from '../../src/testing/index.js';
import { backTo, holdings, plainEnvironment, scratch, until } from '../lifecycle/machine.js';

const ENTRY = new URL('../../src/testing/index.js', import.meta.url).href;
const PREFIX = `fixture${process.pid}`;
const skip = NetworkNamespace.unavailable() ?? false;
const PCAPNG = Buffer.from([0x0a, 0x0d, 0x0d, 0x0a]);

const folder = scratch();
t.teardown(folder.remove);
/** Of this run only: other tests on this machine keep their namespaces and captures, and we ours. */
const ours: TestNetworkOptions = { prefix: PREFIX, captureFolder: folder.path('.') };
const captures = (): string[] => readdirSync(folder.path('.'));
const namespaces = (): string[] => (existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.startsWith(`${PREFIX}-`)) : []);

t.test('kernel and host reach each other at once, by both protocols', { skip }, (t) =>
  withNetwork(ours, async (net) => {
    const socket = net.host.openUdp({ port: 7 });
    void (async () => {
      for await (const { data, from } of socket) socket.send(data, from.port, from.address);
    })();
    for (const address of ['198.18.0.2', 'fd00::2']) {
      t.match(await net.namespace.exec('ping', ['-c1', '-W5', address]), { status: 0 }, address);
      const client = `const s = require('node:dgram').createSocket('udp${address.includes(':') ? 6 : 4}');
        s.on('message', (m) => { console.log(String(m)); s.close(); });
        s.send('hello ${address}', 7, '${address}');`;
      const { stdout } = await net.namespace.exec(process.execPath, ['-e', client], { timeoutMs: 10_000 });
      t.equal(stdout, `hello ${address}\n`);
    }
    const { stdout } = await net.namespace.exec('ip', ['address', 'show', 'dev', net.tap.name]);
    t.notMatch(stdout, /tentative/);
    t.ok(net.link.counters().every(({ delivered }) => delivered >= 4));
  }, t),
);

t.test('own addresses; a kernel without IPv6 addresses keeps silent', { skip }, async (t) => {
  const options = { ...ours, kernel: { addresses: ['192.0.2.1/30'] }, host: { addresses: ['192.0.2.2/30'], ipv6: false } };
  await withNetwork(options, async (net) => {
    t.equal(net.link.counters()[1].offered, 0);
    await net.namespace.exec('ping', ['-c1', '-W5', '192.0.2.2']);
    t.equal((await net.namespace.exec('ping', ['-c1', '-W1', 'fd00::2'], { allowFailure: true })).status, 2);
  }, t);
});

/** Which of these datagrams reach the kernel. Nothing comes back, so that one direction's frames depend on nothing else. */
function arrivals(seed: number): Promise<string> {
  const link = { loss: 0.3, duplicate: 0.1, back: { loss: 0, duplicate: 0 } };
  return withNetwork({ ...ours, seed, link, kernel: { addresses: ['198.18.0.1/24'] }, host: { ipv6: false } }, async (net) => {
    const program = `const s = require('node:dgram').createSocket('udp4'), got = [];
      s.on('message', (m) => { if (String(m) !== 'end') return got.push(String(m)); console.log(got.join()); process.exit(); });
      s.bind(9, () => console.log('up'));`;
    const sink = net.namespace.spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const said = (): Promise<string> => new Promise((resolve) => sink.stdout!.once('data', (data) => resolve(String(data).trim())));
    await said();
    const socket = net.host.openUdp();
    socket.send('first', 9, '198.18.0.1');
    await until('the host knows its neighbour', () => net.host.interfaces[0].counters.rxFrames === 1);
    for (let i = 0; i < 50; i++) socket.send(String(i), 9, '198.18.0.1');
    const got = said();
    // More than one, as the wire may lose it.
    const end = setInterval(() => socket.send('end', 9, '198.18.0.1'), 20);
    return got.finally(() => clearInterval(end));
  });
}

t.test('the same seed, the same faults', { skip }, async (t) => {
  const [first, again, other] = [await arrivals(3), await arrivals(3), await arrivals(4)];
  t.equal(again, first);
  t.not(other, first);
  const count = first.split(',').length;
  t.ok(count > 10 && count < 60, first);
});

t.test('the seed is the option, else of the environment, else a new one', { skip: skip || process.env['RINGCUBE_SEED'] !== undefined }, async (t) => {
  const seeds = async (option: TestNetworkOptions): Promise<number> => withNetwork({ ...ours, ...option }, ({ seed }) => seed);
  t.equal(await seeds({ seed: 0 }), 0);
  t.not(await seeds({}), await seeds({}));
  t.teardown(() => delete process.env['RINGCUBE_SEED']);
  process.env['RINGCUBE_SEED'] = '4294967295';
  t.equal(await seeds({}), 4294967295);
  t.equal(await seeds({ seed: 5 }), 5);
  for (const wrong of ['', '-1', '4294967296', 'x']) {
    process.env['RINGCUBE_SEED'] = wrong;
    await t.rejects(testNetwork(ours), { message: `RINGCUBE_SEED: got "${wrong}", must be a whole number from 0 to 4294967295` });
  }
});

t.test('a body that throws: its own error, with a line more; the capture is kept', { skip }, async (t) => {
  const thrown = new TypeError('not right');
  let path = '';
  const error: unknown = await withNetwork({ ...ours, seed: 11 }, async (net) => {
    path = folder.path(`${net.namespace.name}-seed-11.pcapng`);
    t.same(captures(), [], 'not seen until then');
    await net.namespace.exec('ping', ['-c1', '-W5', '-p', 'c0ffee', '198.18.0.2']);
    throw thrown;
  }).catch((error: unknown) => error);
  t.equal(error, thrown);
  t.same(namespaces(), []);
  const line = `RINGCUBE_SEED=11 repeats the faults of the link; its frames are in ${path}`;
  t.equal(thrown.message, `not right\n${line}`);
  t.ok(thrown.stack!.startsWith(`TypeError: not right\n${line}\n    at `));
  const bytes = readFileSync(path);
  t.same(bytes.subarray(0, 4), PCAPNG);
  t.ok(bytes.includes(Buffer.from('c0ffeec0ffee', 'hex')), 'the very frames');
  t.same(captures().length, 1);

  const naked: unknown = await withNetwork({ ...ours, seed: 11, capture: 'never' }, () => {
    throw 'a text'; // eslint-disable-line @typescript-eslint/only-throw-error
  }).catch((error: unknown) => error);
  t.match(naked, { message: 'a text\nRINGCUBE_SEED=11 repeats the faults of the link', cause: 'a text' });
  t.same(captures().length, 1, 'capture: never');
});

t.test('a body that does not end', { skip }, async (t) => {
  const options = { ...ours, seed: 12, capture: 'never' } as const;
  await t.rejects(withNetwork({ ...options, timeoutMs: 50 }, () => new Promise(() => undefined)), {
    code: 'ERR_SYSTEM',
    message: 'the test took longer than 50 ms\nRINGCUBE_SEED=12 repeats the faults of the link',
  });
  t.same(namespaces(), []);
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  let before = 0;
  const inTime = await withNetwork({ ...options, timeoutMs: 60_000 }, () => {
    before = timers();
    return 'in time';
  });
  t.equal(inTime, 'in time');
  t.ok(timers() <= before, 'its timer is no more');
  await t.rejects(withNetwork({ ...options, timeoutMs: NaN }, () => undefined), { code: 'ERR_INVALID_ARGUMENT', message: /^timeoutMs: got NaN, / });
});

t.test('an assertion that does not throw, and capture: always', { skip }, async (t) => {
  const lines: string[] = [];
  const write = t.capture(process.stderr, 'write', (text: string) => {
    lines.push(text);
    return true;
  });
  const before = captures().length;
  t.equal(await withNetwork({ ...ours, seed: 1 }, () => 'result', { passing: () => true }), 'result');
  t.equal(captures().length, before);
  t.same(lines, []);
  t.equal(await withNetwork({ ...ours, seed: 1 }, () => 'result', { passing: () => false }), 'result');
  t.equal(captures().length, before + 1);
  t.match(lines.splice(0), [/^RINGCUBE_SEED=1 repeats .*-seed-1.pcapng\n$/]);
  await withNetwork({ ...ours, seed: 2, capture: 'always' }, () => undefined);
  t.match(lines.splice(0), [/^RINGCUBE_SEED=2 repeats .*-seed-2.pcapng\n$/]);
  t.equal(captures().length, before + 2);
  write.restore();
});

t.test('closed twice is closed once', { skip }, async (t) => {
  const net = await testNetwork({ ...ours, seed: 8, capture: 'never' });
  const closes = [net.close({ failed: true }), net.close()];
  t.same(await Promise.all(closes), new Array(2).fill('RINGCUBE_SEED=8 repeats the faults of the link'));
  t.throws(() => net.host.openUdp(), { code: 'ERR_CLOSED' });
  t.same(namespaces(), []);
});

t.test('what cannot be made: one line, and nothing is left of it', { skip }, async (t) => {
  await withNetwork(ours, () => undefined); // so that what comes with a first one is there
  const before = holdings();
  const kept = captures().length;
  const wrong: [TestNetworkOptions & object, RegExp][] = [
    [{ seed: 1.5 }, /^seed: got 1.5, must be a whole number from 0 to 4294967295$/],
    [{ capture: 'often' as 'always' }, /^capture: got "often", must be on failure, always, never$/],
    [{ captureFolder: '/nonexistent' }, /^cannot create \/nonexistent\/.*: No such file or directory$/],
    [{ link: { loss: 2 } }, /^loss: got 2, must be a probability/],
    [{ kernel: { addresses: ['198.18.0.1/24', 'x'] } }, /^ip netns exec .*: Error: .*"x"/],
    [{ host: { addresses: ['x'] } }, /x/],
    [{ host: { addresses: ['198.18.0.1/24'], probe: true } }, /^network not ready, .*: the host's address 198\.18\.0\.1 is duplicate, must be free on this link$/],
  ];
  for (const [options, message] of wrong) {
    await t.rejects(testNetwork({ ...ours, ...options }), { name: 'RingcubeError', message });
    t.same(namespaces(), []);
  }
  t.equal(captures().length, kept);
  // An engine is given back when it is collected.
  setFlagsFromString('--expose-gc');
  const collecting = setInterval(runInNewContext('gc') as () => void, 20);
  await backTo(before).finally(() => clearInterval(collecting));
});

t.test('without the right to: the line that tests skip by', (t) => {
  const text = `
    import { NetworkNamespace, withNetwork } from '${ENTRY}';
    await withNetwork({}, () => console.log('ran')).catch(({ message }) => console.log(message === NetworkNamespace.unavailable(), message));`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', text], {
    env: { ...plainEnvironment(), PATH: '/nonexistent' },
    encoding: 'utf8',
    timeout: 30_000,
  });
  t.match(stdout, /^true network namespaces need the command ip, .*\n$/);
  t.end();
});
