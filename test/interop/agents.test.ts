// `ringcube agent run` on a TAP, beside the kernel and ffmpeg in a network namespace: an RTP stream transcoded for a receiver that knows
// nothing of us, agents replaced in the middle of a stream, and agents that trap.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Abi } from '../../src/spa/index.js';
import { NetworkNamespace } from '../../src/testing/index.js';
import { scratch, until } from '../lifecycle/machine.js';
import { I, ModuleBuilder, T, leb, text } from '../spa/wasm/builder.js';
import { PYTHON, lacking } from './peers.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const TRANSCODE = fileURLToPath(new URL('../../agents/transcode.wasm', import.meta.url));
const KERNEL = '198.18.0.1';
const OURS = '198.18.0.2';
const [IN, OUT] = [5004, 6000];
const RATE = 8000;
const TEST_MS = 60_000;

/** The command at work in a namespace, with its words. */
interface Running {
  namespace: NetworkNamespace;
  path: (name: string) => string;
  child: ChildProcess;
  out: () => string;
  err: () => string;
  /** Ctrl-C. Resolves to how it ended. */
  end: () => Promise<[code: number | null, signal: string | null]>;
}

/** Starts `ringcube agent run` on a TAP, waits until it serves, runs `body`, and removes everything. */
function beside(module: (path: (name: string) => string) => string, flags: readonly string[], body: (t: Test, running: Running) => Promise<void>): (t: Test) => Promise<void> {
  return async (t) => {
    const folder = scratch();
    const namespace = await NetworkNamespace.create();
    let child: ChildProcess | undefined;
    try {
      const args = ['--tap', 'rc0', '--netns', namespace.name, '--ip', `${OURS}/24`, '--listen', String(IN), '--to', `${KERNEL}:${OUT}`, ...flags];
      child = spawn(process.execPath, [MAIN, 'agent', 'run', module(folder.path), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      const exited = once(child, 'close') as Promise<[number | null, string | null]>;
      let [out, err] = ['', ''];
      child.stdout!.on('data', (chunk: Buffer) => (out += chunk.toString()));
      child.stderr!.on('data', (chunk: Buffer) => (err += chunk.toString()));
      const mine = child;
      await until('it serves', () => out.includes('Ctrl-C ends') || mine.exitCode !== null);
      t.equal(child.exitCode, null, err);
      await namespace.exec('ip', ['address', 'add', `${KERNEL}/24`, 'dev', 'rc0']);
      const end = (): typeof exited => {
        mine.kill('SIGINT');
        return exited;
      };
      await body(t, { namespace, path: folder.path, child: mine, out: () => out, err: () => err, end });
    } finally {
      child?.kill('SIGKILL');
      await namespace.close();
      folder.remove();
    }
  };
}

/** Waits until somebody in the namespace has bound the port. */
async function bound(namespace: NetworkNamespace, port: number): Promise<void> {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  const end = Date.now() + 10_000;
  while (!(await namespace.exec('cat', ['/proc/net/udp'])).stdout.includes(wanted)) {
    if (Date.now() > end) throw new Error(`nobody listens on port ${port}`);
    await sleep(20);
  }
}

// --- ffmpeg ---

const SECONDS = 4;
/** So that the receiver need not wait for the next packet at its end. */
const LONGER = SECONDS + 1;
const HZ = 440;
/** Of ffmpeg's sine, raised to a level at which speech is. */
const SINE = ['-f', 'lavfi', '-i', `sine=frequency=${HZ}:sample_rate=${RATE}:duration=${LONGER}`, '-af', 'volume=12dB', '-ac', '1', '-ar', String(RATE)];

const samplesOf = (bytes: Buffer): Int16Array => Int16Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readInt16LE(2 * i));

/** Power at one frequency, as a part of all the power there is (Goertzel's algorithm). */
function partAt(samples: Int16Array, hz: number): number {
  const factor = 2 * Math.cos((2 * Math.PI * hz) / RATE);
  let [before, last, power] = [0, 0, 0];
  for (const sample of samples) {
    [before, last] = [last, sample + factor * last - before];
    power += sample * sample;
  }
  return (before * before + last * last - factor * before * last) / ((samples.length / 2) * power);
}

/** ITU-T G.711 table 2a: the decision values x_1 … x_127 of the positive half, in 14 bits. */
const DECISIONS = Array.from({ length: 127 }, (_, i) => 2 ** Math.floor(i / 16) * (32 + 2 * ((i % 16) + 1)) - 33);

/** A sample behind G.711's encoder and decoder, by that table. */
function quantized(sample: number): number {
  const magnitude = (sample < 0 ? -sample - 1 : sample) / 4;
  const above = DECISIONS.findIndex((value) => value > magnitude);
  const n = above < 0 ? DECISIONS.length : above;
  const value = 4 * ((2 * (n & 15) + 33) * 2 ** (n >> 4) - 33);
  return sample < 0 ? -value : value;
}

/** In decibels, against what was sent. */
function signalToNoise(sent: Int16Array, received: Int16Array): number {
  let [signal, noise] = [0, 0];
  for (const [i, sample] of received.entries()) {
    signal += sent[i] ** 2;
    noise += (sample - sent[i]) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

t.test('ffmpeg sends L16, an agent makes it PCMU (RFC 3551 §4.5.11, §4.5.14), ffmpeg hears the same tone', { skip: lacking('ffmpeg'), timeout: TEST_MS }, beside(() => TRANSCODE, [], async (t, running) => {
  const { namespace, path, end } = running;
  const sdp = ['v=0', `o=- 0 0 IN IP4 ${OURS}`, 's=transcoded', `c=IN IP4 ${KERNEL}`, 't=0 0', `m=audio ${OUT} RTP/AVP 0`, 'a=rtpmap:0 PCMU/8000', ''].join('\r\n');
  writeFileSync(path('stream.sdp'), sdp);
  const receiver = namespace.spawn('ffmpeg', ['-v', 'error', '-y', '-protocol_whitelist', 'file,udp,rtp', '-i', path('stream.sdp'), '-t', String(SECONDS), '-f', 's16le', path('heard.raw')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaints = '';
  receiver.stderr!.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const received = once(receiver, 'close');
  await bound(namespace, OUT);
  await namespace.exec('ffmpeg', ['-v', 'error', '-re', ...SINE, '-c:a', 'pcm_s16be', '-payload_type', '96', '-f', 'rtp', `rtp://${OURS}:${IN}`]);
  await received;
  t.same(await end(), [0, null], running.err());
  t.equal(complaints, '', 'the receiver finds nothing wrong');

  const sent = samplesOf(spawnSync('ffmpeg', ['-v', 'error', ...SINE, '-f', 's16le', 'pipe:1'], { timeout: 20_000 }).stdout);
  const heard = samplesOf(readFileSync(path('heard.raw')));
  t.equal(heard.length, SECONDS * RATE, 'as long as it was');
  t.ok(partAt(heard, HZ) > 0.99, `${(100 * partAt(heard, HZ)).toFixed(2)} % of the power at ${HZ} Hz`);
  t.ok(partAt(heard, 2 * HZ) < 1e-3);
  t.equal(heard.findIndex((sample, i) => sample !== quantized(sent[i])), -1, 'to the bit what G.711 leaves of it');
  t.ok(signalToNoise(sent, heard) > 30, `${signalToNoise(sent, heard).toFixed(1)} dB above the noise`);

  const [, packets] = /stream: received (\d+), sent \1, senders 1\n/.exec(running.out()) ?? [];
  t.ok(Number(packets) > 10, `${packets} packets, each sent on`);
  t.match(running.out(), new RegExp(`transcode: forwarded ${packets}, batches \\d+, payloads ${packets}(, copiedBytes \\d+)?(, fuel \\d+)?\n`), 'nothing dropped, no trap');
  t.equal(running.err(), '');
}));

// --- replacement ---

/** RTP of L16, a packet a millisecond, until its input ends; then prints how many it sent, and the sequence numbers that came back. */
const EXCHANGE = [
  'import json, select, socket, struct, sys, time',
  's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
  's.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)', // SO_RCVBUFFORCE of asm-generic/socket.h
  `s.bind(("${KERNEL}", ${OUT}))`,
  's.setblocking(False)',
  'sent, came, wrong = 0, [], 0',
  'def take():',
  '  global wrong',
  '  while True:',
  '    try: data = s.recv(2048)',
  '    except BlockingIOError: return',
  '    if len(data) != 172 or data[1] != 0: wrong += 1',
  '    came.append(struct.unpack(">H", data[2:4])[0])',
  'while not select.select([sys.stdin], [], [], 0)[0]:',
  `  s.sendto(struct.pack(">BBHII", 0x80, 96, sent % 65536, 160 * sent, 7) + bytes(320), ("${OURS}", ${IN}))`,
  '  sent += 1',
  '  take()',
  '  time.sleep(0.001)',
  'end = time.monotonic() + 5',
  'while len(came) < sent and time.monotonic() < end:',
  '  time.sleep(0.01)',
  '  take()',
  'print(json.dumps({"sent": sent, "came": came, "wrong": wrong}))',
];

/** The same module, with other bytes. */
function named(module: Uint8Array, name: string): Buffer {
  const content = [...text('producers'), ...text(name)];
  return Buffer.concat([module, Uint8Array.from([0, ...leb(content.length), ...content])]);
}

/** Puts a file in another's place, as compilers do. */
function put(path: string, bytes: Uint8Array): void {
  writeFileSync(`${path}.new`, bytes);
  renameSync(`${path}.new`, path);
}

t.test('--watch: a module replaced in the middle of a stream, and one that is refused; no packet is lost', { skip: lacking(), timeout: TEST_MS }, beside(
  (path) => {
    copyFileSync(TRANSCODE, path('live.wasm'));
    return path('live.wasm');
  },
  ['--watch'],
  async (t, { namespace, path, out, err, end }) => {
    const module = readFileSync(TRANSCODE);
    const peer = namespace.spawn(PYTHON, ['-c', EXCHANGE.join('\n')], { stdio: ['pipe', 'pipe', 'inherit'] });
    let answer = '';
    peer.stdout!.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    const ended = once(peer, 'close');
    await bound(namespace, OUT);
    await sleep(300);
    for (const [i, name] of ['a', 'another', 'a third'].entries()) {
      const bytes = named(module, name);
      put(path('live.wasm'), bytes);
      await until(`replacement ${i + 1}`, () => out().includes(`live: replaced by ${path('live.wasm')}, ${bytes.length} bytes\n`));
    }
    put(path('live.wasm'), module.subarray(0, 1000));
    await until('a refusal', () => err().includes('the old one goes on'));
    await sleep(300);
    peer.stdin!.end('\n');
    await ended;
    t.same(await end(), [0, null]);
    t.match(err(), /^ringcube: agent live: .*; the old one goes on\n$/);
    const { sent, came, wrong } = JSON.parse(answer) as { sent: number; came: number[]; wrong: number };
    t.ok(sent > 500, `${sent} packets`);
    t.same(came, Array.from({ length: sent }, (_, i) => i & 0xffff), 'each once, in order');
    t.equal(wrong, 0, 'each is PCMU, of half the bytes');
  },
));

// --- traps ---

function trapping(): Uint8Array {
  const m = new ModuleBuilder();
  m.importMemory(65);
  m.export('ringcube_abi', 3, m.global(T.i32, false, I.i32(Abi.version)));
  m.func({ params: [T.i32, T.i32, T.i32], results: [T.i32], code: I.unreachable, export: 'process' });
  return m.build();
}

t.test('an agent that traps on each packet: told each time, in a line; the command lives, and its host answers', { skip: lacking(), timeout: TEST_MS }, beside(
  (path) => {
    writeFileSync(path('trap.wasm'), trapping());
    return path('trap.wasm');
  },
  // On a server's time, a packet waits while an agent that has trapped is left alone.
  ['--server', '2/10'],
  async (t, { namespace, child, out, err, end }) => {
    const traps = (): number => err().split('\n').length - 1;
    for (let i = 1; i <= 5; i++) {
      const script = `import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"packet ${i}", ("${OURS}", ${IN}))`;
      await namespace.exec(PYTHON, ['-c', script]);
      await until(`trap ${i}`, () => traps() >= i);
    }
    await namespace.exec('ping', ['-c', '1', '-W', '2', OURS]);
    t.equal(child.exitCode, null);
    t.match(err(), /^(ringcube: agent trap: .*unreachable.*\n){5}$/);
    t.same(await end(), [0, null]);
    t.match(out(), /trap: .*lostInTrap 5, .*; traps: fault 5\n {2}server: released \d+, completed \d+/);
  },
));
