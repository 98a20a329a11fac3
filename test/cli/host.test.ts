// `ringcube host`: wrong input in one line, and a host that the kernel pings and talks to until Ctrl-C.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { NetworkNamespace } from '../../src/testing/index.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const unavailable = NetworkNamespace.unavailable();

t.test('wrong input gets one line and exit 2', (t) => {
  const cases: [string[], RegExp][] = [
    [[], /required option '--tap <name>' not specified/],
    [['--tap', 'rc0', '--ip', '198.18.0.2'], /prefix: got "198\.18\.0\.2", must be an address and a length/],
    [['--tap', 'rc0', '--ip', 'fd00::2/64'], /--ip: got "fd00::2\/64", must be an IPv4 address/],
    [['--tap', 'rc0', '--ip', '198.18.0.255/24'], /can't be a host's own/],
    [['--tap', 'rc0', '--echo', '70000'], /It must be a port from 1 to 65535/],
    [['--tap', 'rc0', '--mtu', '100'], /from 1280 to 65000/],
    [['--tap', 'much-too-long-for-an-interface', '--ip', '198.18.0.2/24'], /name: got "much-too-long-for-an-interface"/],
    [['--tap', 'rc0', '--colour'], /unknown option '--colour'/],
  ];
  for (const [flags, message] of cases) {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'host', ...flags], { encoding: 'utf8', timeout: 20_000 });
    t.equal(status, 2, flags.join(' '));
    t.match(stderr, message);
    t.equal(stderr.trim().split('\n').length, 1, 'one line');
  }
  t.end();
});

t.test('--help shows how to try it', (t) => {
  const { status, stdout } = spawnSync(process.execPath, [MAIN, 'host', '--help'], { encoding: 'utf8', timeout: 20_000 });
  t.equal(status, 0);
  for (const part of ['--tap', '--ip6', '--gateway', '--echo', '--pcap', 'ip netns exec blue ping']) t.ok(stdout.includes(part), part);
  t.end();
});

t.test('the kernel pings it and gets its datagrams back; Ctrl-C ends it', { skip: unavailable ?? false }, async (t) => {
  const namespace = await NetworkNamespace.create();
  const folder = mkdtempSync(join(tmpdir(), 'ringcube-'));
  const capture = join(folder, 'frames.pcapng');
  t.teardown(async () => {
    await namespace.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const child = spawn(process.execPath, [
    MAIN, 'host', '--tap', 'rc0', '--netns', namespace.name, '--ip', '198.18.0.2/24', '--ip6', 'fd00::2/64', '--echo', '7', '--pcap', capture,
  ]);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const exited = once(child, 'close');
  while (!said.includes('Ctrl-C') && child.exitCode === null) await once(child.stdout, 'data');
  t.match(said, /198\.18\.0\.2 {2}in use/);
  t.match(said, /fd00::2 {2}in use/);
  await namespace.exec('ip', ['addr', 'add', '198.18.0.1/24', 'dev', 'rc0']);
  await namespace.exec('ping', ['-c', '3', '-i', '0.2', '-W', '2', '198.18.0.2']);
  const script = 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60); s.sendto(b"there and back", ("198.18.0.2", 7)); print(s.recv(99).decode())';
  t.equal((await namespace.exec('python3', ['-c', script])).stdout.trim(), 'there and back');
  // Under npm a Ctrl-C comes twice.
  for (const delayMs of [0, 20]) setTimeout(() => child.kill('SIGINT'), delayMs);
  t.same(await exited, [0, null], 'a clean end');
  t.match(said, /icmp: .*echoes 3/);
  t.match(said, /echoed 1\b/);
  t.ok(statSync(capture).size > 500, 'frames were recorded');
  t.equal((await namespace.exec('ip', ['link', 'show', 'rc0'], { allowFailure: true })).status, 1, 'the interface is gone');
});

t.test('without rights it says which, and how to get them', { skip: process.getuid?.() === 0 ? false : 'not root: can not become nobody' }, (t) => {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'host', '--tap', 'rc0', '--ip', '198.18.0.2/24'], { encoding: 'utf8', uid: 65534, gid: 65534, timeout: 120_000 });
  t.equal(status, 1);
  t.match(stderr, /needs CAP_NET_ADMIN, or a TAP made beforehand with: ip tuntap add dev rc0 mode tap user \S+ vnet_hdr/);
  t.end();
});
