// A NIC as the Linux kernel's neighbour. In network namespaces of the tests' own, so that no frame leaves them: the NIC is
// 198.18.0.1 and fd00::1 at MAC_A, the kernel 198.18.0.2 and fd00::2 at MAC_B.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { type DriverOptions, Engine, FEATURE_NAMES, Link, type LinkOptions, Nic, type NicOptions, Tap, type TapOptions } from '../../src/nic/index.js';
import { Host, MAC_A, MAC_B, checksum, numbered, refuses, udpFrame, until } from './rig.js';

const LIBRARY = new URL('../../src/nic/index.js', import.meta.url).href;
const TIMEOUT_MS = 20_000;
const run = promisify(execFile);

t.test('what is no TAP gets one line', (t) => {
  const engine = new Engine({ stepped: true }); // so that whatever passes by mistake makes no interface
  const refused = (options: object, message: string) =>
    refuses(t, () => new Tap(engine, { name: 'rc0', ...options }), 'ERR_INVALID_ARGUMENT', message);
  for (const name of ['', 'a/b', 'a b', 'a\tb', 'a:b', 'tap%d', '.', '..', 'sixteen-bytes-16', 'αααααααα', undefined, 7]) {
    const got = typeof name === 'string' ? JSON.stringify(name) : String(name);
    refused({ name }, `name: got ${got}, must be an interface's: 1 to 15 bytes without white space, "/", ":" or "%"`);
  }
  for (const namespace of ['', 'a\0b', 3]) refused({ namespace }, `namespace: got ${JSON.stringify(namespace)}, must be a name under /run/netns or a path`);
  for (const queues of [0, 17, 1.5, NaN]) refused({ queues }, `queues: got ${queues}, must be a whole number from 1 to 16`);
  for (const mtu of [67, 65_001, 1.5]) refused({ mtu }, `mtu: got ${mtu}, must be a whole number from 68 to 65000`);
  for (const bytes of [0, 2 ** 31]) refused({ sendBufferBytes: bytes }, `sendBufferBytes: got ${bytes}, must be a whole number from 1 to 2147483647`);
  refused({ mac: '02:00' }, 'mac: got "02:00", must be six bytes like 02:00:00:00:00:01');
  refused({ mac: '03:00:00:00:00:00' }, 'mac: got "03:00:00:00:00:00", must be a unicast address: its first byte even');
  refuses(t, () => new Tap(engine, { name: 'rc0' }), 'ERR_UNSUPPORTED', 'a TAP needs an engine with a thread: the kernel has no virtual time');
  t.end();
});

/** What this machine lacks for the rest, by name. */
function lacking(): string | false {
  if (process.getuid?.() !== 0) return 'needs root, to make network namespaces';
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun is missing (modprobe tun, or give it to the container)';
  for (const command of ['ip', 'python3']) {
    if (spawnSync(command, ['-V']).status !== 0) return `${command} is not on the PATH`;
  }
  const made = spawnSync('ip', ['netns', 'add', `rc-tap-${process.pid}`], { encoding: 'utf8' });
  spawnSync('ip', ['netns', 'del', `rc-tap-${process.pid}`]);
  return made.status === 0 ? false : `network namespaces can't be made here: ${made.stderr.trim()}`;
}
const skip = lacking();

/** A network namespace that goes when this process ends. */
class Namespace {
  private static made = 0;
  readonly name = `rc-tap-${process.pid}-${Namespace.made++}`;

  constructor() {
    process.on('exit', () => spawnSync('ip', ['netns', 'del', this.name]));
    const { status, stderr } = spawnSync('ip', ['netns', 'add', this.name], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    this.ip('link', 'set', 'lo', 'up');
  }

  ip(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync('ip', ['-n', this.name, ...args], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  has(link: string): boolean {
    return spawnSync('ip', ['-n', this.name, 'link', 'show', 'dev', link]).status === 0;
  }

  /** What a program inside prints. */
  async exec(...command: string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.name, ...command], { timeout: TIMEOUT_MS })).stdout.trim();
  }

  python(...lines: string[]): Promise<string> {
    return this.exec('python3', '-c', ['import socket, json, time, select', ...lines].join('\n'));
  }

  /** What a Node program inside prints that has these of the library. */
  node(...lines: string[]): Promise<string> {
    return this.exec(process.execPath, '--input-type=module', '-e', [`import { Engine, Link, Nic, Tap } from '${LIBRARY}';`, ...lines].join('\n'));
  }
}

interface Options {
  tap?: Partial<TapOptions>;
  nic?: NicOptions;
  driver?: DriverOptions;
  link?: LinkOptions;
  /** The kernel asks for MAC addresses. */
  ask?: boolean;
}

/** A NIC with a driver, a TAP in a namespace, and the wire between them. */
function neighbours(t: Test, options: Options = {}) {
  const namespace = new Namespace();
  const engine = new Engine();
  const host = new Host(engine, { mac: MAC_A, ...options.nic }, { promiscuous: true, ...options.driver });
  const tap = new Tap(engine, { name: 'rc0', namespace: namespace.name, mac: MAC_B, ...options.tap });
  const link = new Link(engine, host.nic, tap, options.link);
  namespace.ip('addr', 'add', '198.18.0.2/24', 'dev', 'rc0');
  namespace.ip('addr', 'add', 'fd00::2/64', 'dev', 'rc0', 'nodad');
  if (options.ask !== true) {
    for (const address of ['198.18.0.1', 'fd00::1']) namespace.ip('neigh', 'add', address, 'lladdr', MAC_A, 'dev', 'rc0', 'nud', 'permanent');
  }
  t.teardown(() => {
    link.close();
    tap.close();
    host.driver.close();
  });
  return { namespace, engine, host, tap, link };
}

/** Lets the driver work until `done`, at most for some seconds. */
const served = (host: Host, done: () => boolean): Promise<boolean> =>
  until(() => {
    host.driver.poll();
    return done();
  });

/** Lets the driver work while something goes on, and gives its outcome. */
async function serving<T>(host: Host, going: Promise<T>): Promise<T> {
  let over = false;
  const end = going.finally(() => (over = true));
  end.catch(() => {}); // it is awaited, but later
  while (!over) {
    host.driver.poll();
    await sleep(1);
  }
  host.driver.poll();
  return end;
}

/** This process has nothing to do, and does nothing. */
async function rests(t: Test): Promise<void> {
  const before = process.cpuUsage();
  await sleep(300);
  const { user, system } = process.cpuUsage(before);
  t.ok(user + system < 100_000, `${user + system} µs of CPU in 300 ms`);
}

async function send(host: Host, frame: Uint8Array): Promise<void> {
  while (!host.send(frame)) await serving(host, sleep(1));
}

const view = (frame: Uint8Array): DataView => new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
const etherType = (frame: Uint8Array): number => view(frame).getUint16(12);

interface Segment {
  v6: boolean;
  protocol: number;
  sourcePort: number;
  payload: Uint8Array;
  /** The transport checksum is right. */
  right: boolean;
}

/** The UDP or TCP that the kernel sent to the NIC's address; undefined for anything else. */
function segment(frame: Uint8Array): Segment | undefined {
  const type = etherType(frame);
  const v6 = type === 0x86dd;
  if (type !== 0x0800 && !v6) return undefined;
  const protocol = frame[v6 ? 20 : 23];
  if (protocol !== 17 && protocol !== 6) return undefined;
  const addresses = v6 ? frame.subarray(22, 54) : frame.subarray(26, 34);
  const bytes = v6 ? frame.subarray(54, 54 + view(frame).getUint16(18)) : frame.subarray(34, 14 + view(frame).getUint16(16));
  const field = view(bytes).getUint16(protocol === 17 ? 6 : 16);
  const right = field !== 0 && checksum(addresses, [0, protocol, bytes.length >> 8, bytes.length & 255], bytes) === 0;
  return { v6, protocol, sourcePort: view(bytes).getUint16(0), payload: bytes.subarray(8), right };
}

/** Those of what came in that are UDP. */
const datagrams = (host: Host): Segment[] => host.received.flatMap(({ bytes }) => segment(bytes) ?? []).filter(({ protocol }) => protocol === 17);

const flags = (namespace: Namespace): string => /<(.*?)>/.exec(namespace.ip('link', 'show', 'dev', 'rc0'))![1];

t.test('the kernel asks who has the address, sends, and receives the answer', { skip }, async (t) => {
  const { namespace, host, tap } = neighbours(t, { ask: true });
  const macA = MAC_A.split(':').map((part) => Number.parseInt(part, 16));
  host.onFrame = ({ bytes }) => {
    if (bytes.length < 42) return;
    if (etherType(bytes) === 0x0806) {
      const answer = bytes.slice(0, 42);
      answer.set(bytes.subarray(6, 12), 0);
      answer.set(macA, 6);
      answer[21] = 2;
      answer.set([...macA, 198, 18, 0, 1], 22);
      answer.set(bytes.subarray(22, 32), 32);
      host.send(answer);
    } else if (segment(bytes)?.protocol === 17) {
      // Addresses and ports change places, which leaves the checksum as it is.
      const answer = bytes.slice();
      for (const [a, b, length] of [[0, 6, 6], [26, 30, 4], [34, 36, 2]]) {
        answer.set(bytes.subarray(a, a + length), b);
        answer.set(bytes.subarray(b, b + length), a);
      }
      host.send(answer);
    }
  };
  const echoed = await serving(host, namespace.python(
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    's.settimeout(10)',
    's.connect(("198.18.0.1", 4000))',
    's.send(b"over and back")',
    'print(s.recv(100).decode())',
  ));
  t.equal(echoed, 'over and back');
  t.match(namespace.ip('neigh', 'show', '198.18.0.1'), `lladdr ${MAC_A} `);
  t.match(namespace.ip('neigh', 'show', '198.18.0.1'), /REACHABLE|DELAY/);
  const counted = tap.counters();
  t.ok(counted.fromKernel >= 2 && counted.toKernel >= 2, JSON.stringify(counted));
  t.match(counted, { unreadable: 0, dropNoBuffer: 0, dropNoCarrier: 0, dropTooLong: 0, dropOther: 0 });
});

t.test('any frame passes unchanged, both ways, up to the MTU', { skip }, async (t) => {
  const { namespace, host, tap } = neighbours(t, { tap: { mtu: 9000 }, nic: { mtu: 9000 }, driver: { queueSize: 64 } });
  const lengths = [60, 61, 1514, 9014];
  const python = namespace.python(
    's = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))',
    's.bind(("rc0", 0x88b5))',
    's.settimeout(10)',
    's.send(bytes.fromhex("02000000000a" "02000000000b" "88b5") + b"ready" + bytes(50))',
    `for _ in range(${lengths.length}):`,
    '  f = s.recv(20000)',
    '  s.send(f[6:12] + f[0:6] + f[12:])',
  );
  const ours = () => host.received.filter(({ bytes }) => etherType(bytes) === 0x88b5);
  t.ok(await served(host, () => ours().length === 1), 'a program in the namespace listens');
  for (const [i, length] of lengths.entries()) await send(host, numbered(i, length));
  await serving(host, python);
  t.ok(await served(host, () => ours().length === 1 + lengths.length));
  t.same(ours().slice(1).map(({ bytes }) => bytes), lengths.map((length, i) => numbered(i, length, MAC_A, MAC_B)));
  t.ok(tap.counters().toKernel >= lengths.length);
});

t.test('checksums that the kernel leaves to its card are completed, and said to be valid', { skip }, async (t) => {
  const features = FEATURE_NAMES.filter((name) => name !== 'MrgRxbuf');
  const { namespace, host, tap } = neighbours(t, { driver: { features } });
  await serving(host, namespace.python(
    'for family, kernel, nic in [(socket.AF_INET, "198.18.0.2", "198.18.0.1"), (socket.AF_INET6, "fd00::2", "fd00::1")]:',
    '  s = socket.socket(family, socket.SOCK_DGRAM)',
    '  for n in [1, 2, 3, 4, 100, 1001, 1400]: s.sendto(bytes(range(256)) * 5 + b"x" * 120 if n == 1400 else b"x" * n, (nic, 4000))',
    '  c = socket.socket(family, socket.SOCK_STREAM)',
    '  c.setblocking(False)',
    '  c.connect_ex((nic, 80))',
  ));
  const came = () => host.received.flatMap(({ bytes, checksumValid }) => {
    const found = segment(bytes);
    return found === undefined ? [] : [{ ...found, checksumValid }];
  });
  t.ok(await served(host, () => came().length >= 16), `${came().length} of 16`);
  for (const { v6, protocol, payload, right, checksumValid } of came()) {
    t.ok(right && checksumValid, `${v6 ? 'IPv6' : 'IPv4'} ${protocol === 6 ? 'TCP' : 'UDP'}, ${payload.length} bytes`);
  }
  t.ok(tap.counters().checksumsCompleted >= 16);
  // The other way: what the driver leaves to the card, the kernel takes.
  const python = namespace.python(
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    's.bind(("198.18.0.2", 5000))',
    's.settimeout(10)',
    's.sendto(b"ready", ("198.18.0.1", 4000))',
    'print(s.recv(2000).hex())',
  );
  const before = datagrams(host).length;
  t.ok(await served(host, () => datagrams(host).length > before));
  const handle = host.load(udpFrame({ partial: true }));
  host.pair.tx.sendOne(handle, host.driver.pool.offsetOf(handle), 46, 34, 6);
  host.driver.publish(host.pair);
  t.equal(await serving(host, python), '01020304');
});

t.test('two queues: each flow keeps its order, both ways', { skip }, async (t) => {
  const { namespace, host, tap } = neighbours(t, { tap: { queues: 2 }, link: { pause: true } });
  t.equal(await namespace.exec('ls', '/sys/class/net/rc0/queues'), ['rx-0', 'rx-1', 'tx-0', 'tx-1'].join('\n'));
  const FLOWS = 8;
  const EACH = 50;
  const python = namespace.python(
    `flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(${FLOWS})]`,
    'for i, s in enumerate(flows): s.bind(("198.18.0.2", 6000 + i))',
    `for n in range(${EACH}):`,
    '  for s in flows: s.sendto(n.to_bytes(4, "big"), ("198.18.0.1", 4000))',
    'came = {s.getsockname()[1]: [] for s in flows}',
    'end = time.time() + 10',
    `while sum(map(len, came.values())) < ${FLOWS * EACH} and time.time() < end:`,
    '  for s in select.select(flows, [], [], 1)[0]: came[s.getsockname()[1]].append(int.from_bytes(s.recv(100), "big"))',
    'print(json.dumps(came))',
  );
  const order = Array.from({ length: EACH }, (_, n) => n);
  const wanted = Object.fromEntries(Array.from({ length: FLOWS }, (_, i) => [6000 + i, order]));
  t.ok(await served(host, () => datagrams(host).length === FLOWS * EACH), `${datagrams(host).length} came`);
  const came: Record<number, number[]> = {};
  for (const { sourcePort, payload } of datagrams(host)) (came[sourcePort] ??= []).push(view(payload).getUint32(0));
  t.same(came, wanted, 'from the kernel');
  for (const n of order) {
    for (let i = 0; i < FLOWS; i++) await send(host, udpFrame({ destinationPort: 6000 + i, payload: Uint8Array.of(0, 0, 0, n) }));
  }
  t.same(JSON.parse(await serving(host, python)), wanted, 'to the kernel');
  t.match(tap.counters(), { refused: 0, unreadable: 0, dropNoBuffer: 0, dropOther: 0 });
});

t.test('what a wire has no room for is held, and nobody spins meanwhile', { skip }, async (t) => {
  const { namespace, host, tap } = neighbours(t, { driver: { queueSize: 4 }, link: { pause: true } });
  const FRAMES = 60;
  await namespace.python(
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    `for n in range(${FRAMES}): s.sendto(n.to_bytes(4, "big"), ("198.18.0.1", 4000))`,
  );
  t.ok(tap.counters().fromKernel <= 4);
  await rests(t);
  t.ok(await served(host, () => datagrams(host).length === FRAMES), `${datagrams(host).length} of ${FRAMES}`);
  t.same(datagrams(host).map(({ payload }) => view(payload).getUint32(0)), Array.from({ length: FRAMES }, (_, n) => n));
  t.equal(tap.counters().refused, 0);
});

t.test('where the kernel has no room, the sender waits, or loses frames', { skip }, async (t) => {
  const FRAMES = 200;
  for (const pause of [true, false]) {
    const { namespace, host, tap } = neighbours(t, { tap: { sendBufferBytes: 10_000 }, link: { pause } });
    // A bridge to a wire that is slower than ours.
    namespace.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    namespace.ip('link', 'add', 'bridge', 'type', 'bridge');
    for (const port of ['rc0', 'v0']) namespace.ip('link', 'set', 'dev', port, 'master', 'bridge');
    for (const link of ['v0', 'v1', 'bridge']) namespace.ip('link', 'set', 'dev', link, 'up');
    try {
      await namespace.exec('tc', 'qdisc', 'add', 'dev', 'v0', 'root', 'tbf', 'rate', '8mbit', 'burst', '4k', 'limit', '1m');
    } catch (error) {
      t.pass('a slow wire', { skip: `this machine has no token bucket: ${(error as Error).message.split('\n')[1]}` });
      return;
    }
    const python = namespace.python(
      's = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))',
      's.bind(("v1", 0x88b5))',
      's.settimeout(1)',
      'came = []',
      's.send(bytes.fromhex("02000000000a" "02000000000c" "88b5") + bytes(46))',
      'try:',
      `  while len(came) < ${FRAMES}: came.append(int.from_bytes(s.recv(2000)[14:18], "big"))`,
      'except TimeoutError: pass',
      'print(json.dumps(came))',
    );
    t.ok(await served(host, () => host.received.some(({ bytes }) => etherType(bytes) === 0x88b5)), 'a program behind the bridge listens');
    for (let n = 0; n < FRAMES; n++) await send(host, numbered(n, 1000, '02:00:00:00:00:0c'));
    const came = JSON.parse(await serving(host, python)) as number[];
    const { dropNoBuffer } = tap.counters();
    if (pause) t.same(came, Array.from({ length: FRAMES }, (_, n) => n), 'all, in order');
    else t.equal(came.length + dropNoBuffer, FRAMES, `${dropNoBuffer} lost`);
    t.equal(dropNoBuffer > 0, !pause);
  }
});

t.test('an interface that is down, and a wire that is unplugged', { skip }, async (t) => {
  const { namespace, engine, host, tap, link } = neighbours(t);
  t.match(flags(namespace), /LOWER_UP/);
  namespace.ip('link', 'set', 'dev', 'rc0', 'down');
  const { toKernel } = tap.counters();
  for (let i = 0; i < 5; i++) await send(host, numbered(i));
  t.ok(await until(() => tap.counters().dropNoCarrier === 5));
  t.equal(tap.counters().toKernel, toKernel);
  namespace.ip('link', 'set', 'dev', 'rc0', 'up');
  await send(host, numbered(5));
  t.ok(await until(() => tap.counters().toKernel === toKernel + 1), 'up again');
  link.close();
  t.match(flags(namespace), /NO-CARRIER/, 'the kernel sees that the wire is unplugged');
  const again = new Link(engine, tap, host.nic);
  t.match(flags(namespace), /LOWER_UP/, 'and plugged in again');
  await send(host, numbered(6));
  t.ok(await until(() => tap.counters().toKernel === toKernel + 2));
  await send(host, new Uint8Array(14).fill(0xff));
  t.ok(await until(() => again.counters()[1].offered === 2));
  again.close();
});

t.test('an interface that is deleted under us', { skip }, async (t) => {
  const { namespace, host, tap } = neighbours(t, { tap: { queues: 2 } });
  namespace.ip('link', 'delete', 'rc0');
  await send(host, numbered(0));
  t.ok(await until(() => tap.counters().dropNoCarrier === 1));
  t.equal(tap.counters().unreadable, 2, 'each queue says so once');
  await rests(t);
});

t.test('closed in the midst of traffic: the interface is gone, the NIC goes on', { skip }, async (t) => {
  for (const queues of [1, 3]) {
    const { namespace, engine, host, tap, link } = neighbours(t, { tap: { queues }, link: { pause: true } });
    const flood = namespace.python(
      's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
      'end = time.time() + 1',
      'try:',
      '  while time.time() < end: s.sendto(b"x" * 1000, ("198.18.0.1", 4000))',
      'except OSError: pass',
    );
    t.ok(await served(host, () => datagrams(host).length > 100));
    for (let i = 0; i < 20; i++) await send(host, numbered(i));
    tap.close();
    tap.close();
    t.notOk(namespace.has('rc0'));
    await serving(host, flood);
    await send(host, numbered(20));
    t.ok(await until(() => tap.counters().dropNoCarrier > 0), 'counters can still be read');
    refuses(t, () => new Link(engine, tap, host.nic), 'ERR_SYSTEM', 'an end of this link is plugged into another one already');
    link.close();
    const second = new Tap(engine, { name: 'rc0', namespace: namespace.name });
    new Link(engine, second, host.nic);
    await send(host, numbered(21));
    t.ok(await until(() => second.counters().toKernel === 1), 'a new one in its place');
    second.close();
  }
});

t.test('a process that ends leaves no interface behind', { skip }, async (t) => {
  const namespace = new Namespace();
  for (const end of ['process.exit(0)', 'process.kill(process.pid, "SIGKILL")', '']) {
    await namespace.node(`globalThis.tap = new Tap(new Engine(), { name: 'rc0' });`, end).catch(() => {});
    t.ok(await until(() => !namespace.has('rc0')), end);
  }
});

t.test('a forgotten interface stays for as long as its neighbour does', { skip }, async (t) => {
  const namespace = new Namespace();
  const printed = await namespace.node(
    "import { existsSync } from 'node:fs';",
    "import { setTimeout as sleep } from 'node:timers/promises';",
    "import { setFlagsFromString } from 'node:v8';",
    "import { runInNewContext } from 'node:vm';",
    "setFlagsFromString('--expose-gc');",
    "const gc = runInNewContext('gc');",
    'const collect = async () => {',
    '  for (let i = 0; i < 20; i++) { gc(); await sleep(5); }',
    "  return existsSync('/sys/class/net/rc0');",
    '};',
    'const engine = new Engine();',
    'let nic = new Nic(engine);',
    "(() => new Link(engine, nic, new Tap(engine, { name: 'rc0' })))();",
    'const held = await collect();',
    'nic.queuePairs;', // in use until here
    'nic = undefined;',
    'console.log(held, await collect());',
  );
  t.equal(printed, 'true false');
});

t.test('the other threads of the process stay in their own namespace', { skip }, (t) => {
  const namespace = new Namespace();
  const tap = new Tap(new Engine(), { name: `rc${process.pid}`, namespace: namespace.name });
  t.ok(namespace.has(tap.name));
  t.not(spawnSync('ip', ['link', 'show', 'dev', tap.name]).status, 0);
  tap.close();
  t.end();
});

t.test('one made beforehand, for this user', { skip }, async (t) => {
  const namespace = new Namespace();
  namespace.ip('tuntap', 'add', 'dev', 'rc0', 'mode', 'tap', 'user', '65534', 'vnet_hdr');
  const open = (options: string) => namespace.node(
    'process.seteuid(65534);',
    'const engine = new Engine();',
    `try { new Tap(engine, { name: 'rc0', ${options} }).close(); console.log('opened'); } catch (error) { console.log(error.message); }`,
  );
  t.equal(await open(''), 'opened', 'needs no capability');
  t.equal(await open('mtu: 1500'), 'opened', 'and the MTU it has');
  t.equal(await open('mtu: 1400'), 'TAP rc0: setting its MTU: Operation not permitted; where the TAP was made, do: ip link set dev rc0 mtu 1400');
  t.equal(await open('name: "rc1"'), 'TAP rc1: needs CAP_NET_ADMIN, or a TAP made beforehand with: ip tuntap add dev rc1 mode tap user $USER vnet_hdr');
  t.match(await open('name: "rc1", queues: 2'), /vnet_hdr multi_queue$/);
  t.equal(await open(`namespace: "${namespace.name}"`), `network namespace /run/netns/${namespace.name}: entering it needs CAP_SYS_ADMIN`);
  t.ok(namespace.has('rc0'), 'it stays');
});

t.test('what the kernel refuses gets one line and a remedy', { skip }, (t) => {
  const namespace = new Namespace();
  const engine = new Engine();
  const open = (options: object) => () => new Tap(engine, { name: 'rc0', namespace: namespace.name, ...options });
  const first = open({})();
  const held = 'TAP rc0: somebody holds it; choose another name, or find who: grep -lw rc0 /proc/[0-9]*/fdinfo/*';
  refuses(t, open({}), 'ERR_SYSTEM', held);
  first.close();
  const other = (name: string, word: string) =>
    `TAP ${name}: an interface of that name exists that is no TAP ${word} multi_queue; choose another name, or delete it with: ip link delete ${name}`;
  refuses(t, open({ name: 'lo' }), 'ERR_SYSTEM', other('lo', 'without'));
  namespace.ip('tuntap', 'add', 'dev', 'rc0', 'mode', 'tap');
  refuses(t, open({ queues: 2 }), 'ERR_SYSTEM', other('rc0', 'with'));
  const missing = open({ namespace: 'no-such' });
  refuses(t, missing, 'ERR_SYSTEM', 'network namespace /run/netns/no-such: there is none; make one with: ip netns add NAME');
  refuses(t, open({ namespace: '/dev/null' }), 'ERR_SYSTEM', 'network namespace /dev/null: that file is not a network namespace');
  open({ namespace: `/run/netns/${namespace.name}`, name: 'fifteen-bytes-1' })().close();
  const elsewhere = new Nic(new Engine());
  const tap = open({})();
  refuses(t, () => new Link(engine, tap, elsewhere), 'ERR_INVALID_ARGUMENT', 'both ends of a link must be on its engine');
  tap.close();
  t.end();
});
