import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import t from 'tap';
import { NetworkNamespace } from '../../src/testing/index.js';
import { plainEnvironment, until } from '../lifecycle/machine.js';

const ENTRY = new URL('../../src/testing/index.js', import.meta.url).href;
// Of this run only: other tests on this machine keep their namespaces, and we ours.
const PREFIX = `test${process.pid}`;
const skip = NetworkNamespace.unavailable() ?? false;

/** The arguments of node that run this in a process of its own, where `namespace` is one of our prefix. */
function owning(body: string): string[] {
  const text = `
    import { NetworkNamespace } from '${ENTRY}';
    const namespace = await NetworkNamespace.create({ prefix: '${PREFIX}' });
    ${body}`;
  return ['--input-type=module', '-e', text];
}

/** Starts an owner and waits for its first line. */
async function owner(body: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, owning(body), { env: plainEnvironment(), stdio: ['ignore', 'pipe', 'inherit'] });
  const said = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').once('data', resolve);
    child.once('exit', (code) => reject(new Error(`the owner ended with ${code}`)));
  });
  return { child, said: said.trim() };
}

/** Whether it still runs: of a process that only its parent has to be told of, the command line is empty. */
function alive(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
  } catch {
    return false;
  }
}

/** Namespaces of our prefix that are there now. */
function named(): string[] {
  return existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.startsWith(`${PREFIX}-`)) : [];
}

t.test('a namespace has a loopback of its own, and no other interface', { skip }, async (t) => {
  const namespace = await NetworkNamespace.create({ prefix: PREFIX });
  t.match(namespace.name, new RegExp(`^${PREFIX}-${process.pid}-\\d+-0\\.\\d+$`));
  t.equal(namespace.path, `/run/netns/${namespace.name}`);
  t.ok(existsSync(namespace.path));
  const { stdout, status } = await namespace.exec('ip', ['-o', 'link']);
  t.equal(status, 0);
  t.match(stdout, /^1: lo: <LOOPBACK,UP,LOWER_UP>.*\n$/);

  await namespace.close();
  await namespace.close();
  t.notOk(existsSync(namespace.path));
  await t.rejects(namespace.exec('true'), { code: 'ERR_CLOSED', message: `namespace ${namespace.name}: already closed` });
  t.throws(() => namespace.spawn('true'), { code: 'ERR_CLOSED' });
});

t.test('exec: input, output, and each way to fail in one line', { skip }, async (t) => {
  const namespace = await NetworkNamespace.create({ prefix: PREFIX });
  t.teardown(() => namespace.close());
  const exec = namespace.exec.bind(namespace);
  t.match(await exec('cat', [], { input: 'grüße\n' }), { stdout: 'grüße\n', stderr: '', status: 0 });
  t.match(await exec('true', [], { input: 'x'.repeat(2 ** 20) }), { status: 0 }, 'input that nobody reads');
  t.match(await exec('sh', ['-c', 'echo bad >&2; exit 3'], { allowFailure: true }), { stdout: '', stderr: 'bad\n', status: 3 });
  await t.rejects(exec('sh', ['-c', 'echo bad >&2; exit 3']), { code: 'ERR_SYSTEM', message: / sh -c .*: ended with status 3: bad$/ });
  await t.rejects(exec('sleep', ['60'], { timeoutMs: 50, allowFailure: true }), { code: 'ERR_SYSTEM', message: /took longer than 50 ms$/ });
  await t.rejects(exec('sh', ['-c', 'kill -9 $$'], { allowFailure: true }), { code: 'ERR_SYSTEM', message: /ended by SIGKILL$/ });
  await t.rejects(exec('/no/such/command'), { code: 'ERR_SYSTEM', message: /No such file or directory/ });
  await t.rejects(exec('true', [], { timeoutMs: 0 }), { code: 'ERR_INVALID_ARGUMENT', message: /^timeoutMs: got 0, must be / });
});

t.test('close ends what was started inside, also what will not hear', { skip }, async (t) => {
  const namespace = await NetworkNamespace.create({ prefix: PREFIX });
  const willing = namespace.spawn('sleep', ['600']);
  const stubborn = namespace.spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")'], {
    env: plainEnvironment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => stubborn.stdout!.once('data', resolve));
  const pending = t.rejects(namespace.exec('sleep', ['600']), { code: 'ERR_SYSTEM', message: /ended by SIGTERM$/ });
  const { stdout } = await namespace.exec('ip', ['netns', 'pids', namespace.name]);
  t.ok([willing, stubborn].every(({ pid }) => stdout.split('\n').includes(String(pid))), 'both run inside');

  await namespace.close();
  await pending;
  t.equal(willing.signalCode, 'SIGTERM');
  t.equal(stubborn.signalCode, 'SIGKILL');
});

t.test('two at once are two', { skip }, async (t) => {
  const both = await Promise.all([NetworkNamespace.create({ prefix: PREFIX }), NetworkNamespace.create({ prefix: PREFIX })]);
  t.not(both[0].name, both[1].name);
  await both[0].exec('ip', ['link', 'set', 'lo', 'mtu', '1280']);
  t.match((await both[0].exec('ip', ['link', 'show', 'lo'])).stdout, /mtu 1280/);
  t.notMatch((await both[1].exec('ip', ['link', 'show', 'lo'])).stdout, /mtu 1280/);
  await both[0].close();
  t.match(await both[1].exec('true'), { status: 0 });
  await both[1].close();
});

t.test('an owner that ends by itself leaves nothing behind', { skip }, (t) => {
  for (const [how, status] of [['process.exit(4)', 4], ['throw new Error("from within")', 1], ['process.exitCode = 5', 5]] as const) {
    const body = `namespace.spawn('sleep', ['600'], { stdio: 'ignore' }).unref(); ${how}`;
    const ended = spawnSync(process.execPath, owning(body), { env: plainEnvironment(), encoding: 'utf8', timeout: 30_000 });
    t.equal(ended.status, status, how);
    t.same(named(), [], how);
  }
  t.end();
});

t.test('what a killed owner left is removed by the next; what a living one has stays', { skip }, async (t) => {
  const body = `
    const { pid } = namespace.spawn('sleep', ['600'], { stdio: 'ignore' });
    console.log(namespace.name, pid);
    setInterval(() => {}, 1000);`;
  const [killed, living] = [await owner(body), await owner(body)];
  t.teardown(() => living.child.kill('SIGKILL'));
  const [killedName, killedPid] = killed.said.split(' ');
  const [livingName, livingPid] = living.said.split(' ');
  killed.child.kill('SIGKILL');
  await new Promise((resolve) => killed.child.once('exit', resolve));
  t.same(named().sort(), [killedName, livingName].sort(), 'left behind');
  t.ok(alive(killedPid), 'its process too');

  const namespace = await NetworkNamespace.create({ prefix: PREFIX });
  t.same(named().sort(), [livingName, namespace.name].sort());
  await until('the process ended', () => !alive(killedPid));
  t.ok(alive(livingPid));

  living.child.kill('SIGTERM');
  await new Promise((resolve) => living.child.once('exit', resolve));
  await namespace.close();
  await (await NetworkNamespace.create({ prefix: PREFIX })).close();
  t.same(named(), []);
  await until('the process ended', () => !alive(livingPid));
});

t.test('a wrong prefix is refused in one line', async (t) => {
  for (const prefix of ['', 'a-b', '../x', 'A', 'x'.repeat(33)]) {
    await t.rejects(NetworkNamespace.create({ prefix }), { code: 'ERR_INVALID_ARGUMENT', message: /^prefix: got ".*", must be / }, prefix);
  }
});

t.test('unavailable says why, and what would help', (t) => {
  const text = `
    import { NetworkNamespace } from '${ENTRY}';
    console.log(NetworkNamespace.unavailable());
    await NetworkNamespace.create().catch((error) => console.log(error.code));`;
  const asked = (wrapper: string[], env: NodeJS.ProcessEnv): string => {
    const [command, ...args] = [...wrapper, process.execPath, '--input-type=module', '-e', text];
    return spawnSync(command, args, { env, encoding: 'utf8', timeout: 30_000 }).stdout;
  };
  t.match(asked([], { PATH: '/nonexistent' }), /^network namespaces need the command ip, .*; apt-get install iproute2\nERR_UNSUPPORTED\n$/);
  const powerless = process.getuid!() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : [];
  t.match(
    asked(powerless, plainEnvironment()),
    /^network namespaces can't be made \(ip netns add: .*\); run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN.*\nERR_UNSUPPORTED\n$/,
  );
  t.end();
});
