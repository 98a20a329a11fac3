// `ringcube agent`: modules checked and built, run over recorded traffic (docs/agent-abi.md), and what is wrong told in one line. On a TAP it
// runs in test/interop/agents.test.ts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { Engine, Replay } from '../../src/nic/index.js';
import { Abi } from '../../src/spa/index.js';
import { I, ModuleBuilder, T } from '../spa/wasm/builder.js';
import { type Ended, MAIN, ROOT, refusesInput } from './command.js';

const TRAFFIC = `${ROOT}test/data/traffic.pcapng`;
const AGENTS = `${ROOT}dist/agents`;
const NAMES = readdirSync(AGENTS).filter((name) => name.endsWith('.wasm')).sort();
/** RTP of PCMU to 198.18.0.2:5004, of L16 (payload type 97) to [fd00:18::2]:5006: test/data/README.md. */
const PCMU = ['--input', TRAFFIC, '--listen', '5004'];
const L16 = ['--input', TRAFFIC, '--listen', '5006'];
const PCMU_PACKETS = 150;
const L16_PACKETS = 100;

/** Starts a node without what tap has each process load that a test starts: that takes a second, and writes where `nobody` may not. */
const PLAIN_NODE = ['-u', 'NODE_OPTIONS', process.execPath] as const;

function ringcube(...args: string[]): Ended {
  return spawnSync('env', [...PLAIN_NODE, MAIN, 'agent', ...args], { encoding: 'utf8', timeout: 120_000 });
}

const agent = (name: string): string => join(AGENTS, `${name}.wasm`);

/** As `ringcube agent run --json` tells. */
interface Report {
  stream: { received: number; sent: number; sendDropped: number; senders: number };
  agents: { name: string; window: string; payloads: number; forwarded: number; dropped: number; copiedBytes: number; traps: Record<string, number> }[];
  server?: { completed: number; missed: number };
  input: { frames: number; cut: number; played: number };
}

function report(...args: string[]): Report {
  const { status, stdout, stderr } = ringcube('run', '--json', ...args);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Report;
}

/** An agent whose process() does this: it may call ringcube.log (0), and have a text at the beginning of its data. */
function module(code: readonly number[], words = ''): Uint8Array {
  const m = new ModuleBuilder();
  m.importFunction('ringcube', 'log', [T.i32, T.i32], []);
  m.importMemory(65);
  m.export('ringcube_abi', 3, m.global(T.i32, false, I.i32(Abi.version)));
  m.func({ params: [T.i32, T.i32, T.i32], results: [T.i32], code, export: 'process' });
  if (words !== '') m.dataAt(Abi.windowEnd, [...Buffer.from(words)]);
  return m.build();
}

t.test('wrong input gets one line that says what would be right, and exit 2', (t) => {
  const dir = t.testdir({ 'text.wasm': 'hello, world\n', 'empty.ts': 'export function process(): i32 {\n  return nothing;\n}\n' });
  const run = (...args: string[]): string[] => ['run', agent('pass'), ...args];
  const wrong: [string[], RegExp][] = [
    [['chek'], /unknown command 'chek'/],
    [['check'], /missing required argument 'module'/],
    [['check', `${dir}/missing.wasm`], /missing\.wasm: can't be read/],
    [['build'], /missing required argument 'source'/],
    [['build', `${dir}/missing.ts`], /missing\.ts: no file that can be read/],
    [['build', `${dir}/text.wasm`], /must be an AssemblyScript file, \*\.ts/],
    [['build', `${dir}/empty.ts`], /empty\.ts:2:10: Cannot find name 'nothing'/],
    [['run', '--listen', '5004'], /missing required argument 'module'/],
    [run('--tap', 'rc0'), /required option '--listen <port>' not specified/],
    [run('--listen', '5004'), /needs --tap NAME, or --input FILE/],
    [run('--listen', '5004', '--tap', 'rc0', '--input', TRAFFIC), /one of the two/],
    [run('--listen', '0', '--tap', 'rc0'), /It must be a port from 1 to 65535/],
    [run('--tap', 'rc0', '--listen', '5004', '--to', '198.18.0.1'), /It must be an address and a port, as 198\.18\.0\.1:5004 or \[fd00::1\]:5004/],
    [run('--tap', 'rc0', '--listen', '5004', '--to', 'fd00::1:5004'), /It must be an address and a port/],
    [run('--tap', 'rc0', '--listen', '5004', '--ip', '198.18.0.2'), /prefix: got "198\.18\.0\.2"/],
    [run('--tap', 'rc0', '--listen', '5004', '--output', 'x.pcapng'), /--output goes with --input/],
    [run(...PCMU, '--watch'), /--watch goes with --tap/],
    [run(...PCMU, '--netns', 'blue'), /--netns goes with --tap/],
    [run(...PCMU, '--window', 'both'), /Allowed choices are shared, copy/],
    [run(...PCMU, '--budget', 'hope'), /Allowed choices are guard, epoch, fuel, none/],
    [run(...PCMU, '--budget-us', '1'), /from 50 to 60000000/],
    [run(...PCMU, '--server', '10/2'), /Q\/P or Q\/P\/D in milliseconds/],
    [run(...PCMU, '--server', '2'), /Q\/P or Q\/P\/D in milliseconds/],
    [run(...PCMU, '--server', '9.9/10'), /budgetUs: got 9900 for server "pass": .*would fit/],
    [run(...PCMU, '--trace', `${dir}/t.json`), /--trace needs --server/],
    [run(...PCMU, '--server', '1/10', '--trace', `${dir}/no/t.json`), /t\.json: can't be written/],
    [run(...PCMU, '--config', '{}', '--config', '{}'), /--config: given 2 times, for 1 modules/],
    [run(...PCMU, '--config', `@${dir}/missing.json`), /missing\.json: can't be read/],
    [run(...PCMU, '--config', 'x'.repeat(Abi.configurationBytes + 1)), /agent pass: its configuration has 16385 bytes, of 16384 at most/],
    [run(...PCMU, '--window', 'copy', '--protect'), /protect: got true/],
    [run(...PCMU, '--to', '[fd00::1]:6000'), /--to: got fd00::1, must be of IPv4/],
    [run('--input', TRAFFIC, '--listen', '9'), /no UDP datagram to port 9 /],
    [run('--input', `${dir}/text.wasm`, '--listen', '5004'), /not a pcapng file/],
    [['run', `${dir}/text.wasm`, ...PCMU], /agent text: .*no WebAssembly module/],
    [run(...PCMU, '--colour'), /unknown option '--colour'/],
  ];
  refusesInput(t, ringcube, wrong);
  t.end();
});

t.test('an agent that refuses its configuration: why, in its own words, and exit 2', (t) => {
  const { status, stderr } = ringcube('run', agent('thin'), ...PCMU, '--config', '{"keep": 5, "of": 3}');
  t.equal(status, 2);
  t.match(stderr, /^thin: .*keep.*\nringcube: agent thin: it refuses its configuration \(init returned [1-9]\d*\)\n$/);
  t.end();
});

t.test('--help teaches', (t) => {
  const words = {
    '': ['check', 'build', 'run'],
    'check': ['--json', 'Examples', 'Exit code 2', 'dist/agents/transcode.wasm'],
    'build': ['--output', 'ringcube/sdk', 'Examples'],
    'run': ['--listen', '--to', '--config', '--isolated', '--window', '--protect', '--budget-us', '--tick-us', '--server', '--trace', '--watch', '--input', '--output', '--tap', '--ip', 'ffmpeg', 'Without root'],
  };
  for (const [command, wanted] of Object.entries(words)) {
    const { status, stdout } = ringcube(...(command === '' ? [] : [command]), '--help');
    t.equal(status, 0);
    for (const word of wanted) t.ok(stdout.includes(word), `${command}: ${word}`);
  }
  t.end();
});

t.test('check: each example agent keeps the contract; what is put in for its budgets', (t) => {
  const { status, stdout } = ringcube('check', '--json', ...NAMES.map((name) => join(AGENTS, name)));
  t.equal(status, 0);
  const { modules, machine } = JSON.parse(stdout) as { modules: Record<string, unknown>[]; machine: Record<string, unknown> };
  t.match(machine, { node: process.version, window: Boolean, guard: Boolean, reason: String });
  t.equal(modules.length, NAMES.length);
  for (const [i, found] of modules.entries()) {
    const bytes = readFileSync(join(AGENTS, NAMES[i])).length;
    t.match(found, { file: join(AGENTS, NAMES[i]), findings: [], bytes, memory: { minPages: Number }, functions: Number });
    t.ok((found['exports'] as string[]).includes('ringcube_abi'), NAMES[i]);
    t.ok((found['imports'] as string[]).includes('env.memory'), NAMES[i]);
    const budgets = found['budgets'] as Record<string, { functions: number; loops: number; checks: number; bytesBefore: number; bytesAfter: number }>;
    for (const kind of ['guard', 'epoch', 'fuel', 'none']) {
      const { functions, loops, checks, bytesBefore, bytesAfter } = budgets[kind];
      t.same([functions, bytesBefore], [found['functions'], bytes]);
      if (kind === 'none') t.equal(checks, 0);
      else t.ok(checks >= functions + loops && bytesAfter > bytesBefore, `${NAMES[i]}, ${kind}: one check at least for each function and each loop`);
    }
  }
  const { stdout: told } = ringcube('check', agent('pass'));
  for (const word of ['keeps the agent contract, version 1', 'imports', 'exports', 'memory', 'protect', 'guard', 'epoch', 'fuel', `this machine, Node ${process.version}`]) t.match(told, word);
  t.end();
});

t.test('check: all that is wrong with a module, a line each, on exit 2; those beside it are checked all the same', (t) => {
  const m = new ModuleBuilder();
  m.importFunction('env', 'system\x1b[2J', [T.i32], [T.i32]);
  m.importMemory(65);
  m.dataAt(1024, [1, 2, 3]);
  const path = join(t.testdir({ 'wrong.wasm': Buffer.from(m.build()) }), 'wrong.wasm');
  const { status, stdout, stderr } = ringcube('check', path, agent('pass'));
  t.equal(status, 2);
  t.equal(stderr, '');
  const findings = stdout.split('\n').filter((line) => line.startsWith(`${path}: `));
  t.equal(findings.length, 4);
  for (const what of [/imports .*system/, /exports no ringcube_abi/, /exports neither process nor process_batch/, /data segment 0 begins at 1024/]) t.match(findings.join('\n'), what);
  t.notMatch(stdout, /\x1b/, "a module's names move no cursor");
  t.match(stdout, /pass\.wasm: keeps the agent contract/);
  t.end();
});

t.test('check: random and truncated bytes are told of, a line each, and harm nothing', (t) => {
  const seed = Number(process.env['RINGCUBE_SEED'] ?? 1);
  const random = new Random(seed);
  const whole = readFileSync(agent('filter'));
  const files: Record<string, Buffer> = { 'nothing.wasm': Buffer.alloc(0) };
  for (let i = 0; i < 20; i++) {
    files[`random${i}.wasm`] = Buffer.from(Array.from({ length: random.int(0, 2000) }, () => random.int(0, 255)));
    files[`magic${i}.wasm`] = Buffer.concat([whole.subarray(0, 8), files[`random${i}.wasm`]]);
    files[`truncated${i}.wasm`] = whole.subarray(0, random.int(0, whole.length - 1));
  }
  const dir = t.testdir(files);
  const { status, stdout, stderr } = ringcube('check', ...Object.keys(files).map((name) => join(dir, name)));
  t.equal(status, 2, `seed ${seed}`);
  t.equal(stderr, '');
  for (const name of Object.keys(files)) t.ok(stdout.includes(`${join(dir, name)}: `) && !stdout.includes(`${join(dir, name)}: keeps`), `seed ${seed}: ${name}`);
  t.end();
});

t.test('build: sources to modules, beside them or into a folder, which keep the contract', (t) => {
  const source = "import { DROP, forward } from 'ringcube/sdk';\nexport { ringcube_abi } from 'ringcube/sdk';\nexport function process(ptr: usize, length: i32, meta: i32): i32 {\n  return load<u8>(ptr) == 0 ? DROP : forward(length);\n}\n";
  const dir = t.testdir({ 'one.ts': source, 'two.ts': source });
  const beside = ringcube('build', `${dir}/one.ts`);
  t.equal(beside.stdout, `${dir}/one.wasm: ${readFileSync(`${dir}/one.wasm`).length} bytes\n`);
  t.equal(ringcube('build', `${dir}/one.ts`, '-o', `${dir}/other.wasm`).status, 0);
  mkdirSync(`${dir}/modules`);
  t.equal(ringcube('build', `${dir}/one.ts`, `${dir}/two.ts`, '-o', `${dir}/modules`).status, 0);
  const made = ['one.wasm', 'other.wasm', 'modules/one.wasm', 'modules/two.wasm'].map((name) => `${dir}/${name}`);
  t.equal(ringcube('check', ...made).status, 0);
  const several = ringcube('build', `${dir}/one.ts`, `${dir}/two.ts`, '-o', `${dir}/one.wasm`);
  t.equal(several.status, 2);
  t.match(several.stderr, /one\.wasm: is a file, must be a folder for several sources/);
  const nowhere = ringcube('build', `${dir}/one.ts`, '-o', `${dir}/two.ts/one.wasm`);
  t.equal(nowhere.status, 2);
  t.match(nowhere.stderr, /^ringcube: .*two\.ts\/one\.wasm: can't be written: E.*\n$/, 'one line');
  // Never replaced by a file, as root could.
  symlinkSync('/dev/null', `${dir}/device.wasm`);
  t.equal(ringcube('build', `${dir}/one.ts`, '-o', `${dir}/device.wasm`).status, 0);
  t.ok(lstatSync(`${dir}/device.wasm`).isSymbolicLink(), 'what is no file stays what it is');
  t.end();
});

t.test('run over a recording: what comes out is recorded, byte for byte the same in each run', (t) => {
  const dir = t.testdir();
  const args = ['--config', '{"of": 3}', ...PCMU, '--to', '198.18.0.1:6000'];
  const found = report(agent('thin'), ...args, '--output', `${dir}/a.pcapng`);
  t.match(found, {
    stream: { received: PCMU_PACKETS, sent: PCMU_PACKETS / 3, sendDropped: 0, senders: 1 },
    agents: [{ name: 'thin', payloads: PCMU_PACKETS, forwarded: PCMU_PACKETS / 3, dropped: (2 * PCMU_PACKETS) / 3, copiedBytes: 0 }],
    input: { frames: 523, cut: 0 },
  });
  const replay = new Replay(new Engine({ stepped: true }), `${dir}/a.pcapng`);
  t.equal(replay.counters().frames, PCMU_PACKETS / 3, 'and nothing else is in the file');
  replay.close();
  report(agent('thin'), ...args, '--output', `${dir}/b.pcapng`);
  t.ok(readFileSync(`${dir}/a.pcapng`).equals(readFileSync(`${dir}/b.pcapng`)));
  t.end();
});

t.test('run: a pipeline, over IPv6, to several outputs; isolated, each payload is copied once', (t) => {
  const args = [agent('transcode'), agent('pass'), agent('pass'), '--config', '{"payloadType": 97}', ...L16, '--to', '[fd00:18::1]:6000', '--to', '[fd00:18::7]:6000'];
  const shared = report(...args);
  t.match(shared.stream, { received: L16_PACKETS, sent: 2 * L16_PACKETS, sendDropped: 0 });
  t.same(shared.agents.map(({ name, forwarded }) => [name, forwarded]), [['transcode', L16_PACKETS], ['pass', L16_PACKETS], ['pass#2', L16_PACKETS]]);
  if (shared.agents[0].window === 'shared') t.same(shared.agents.map(({ copiedBytes }) => copiedBytes), [0, 0, 0]);
  // What transcode leaves of 340 bytes: a header of 12, and a byte for each of 160 samples (L16 by 16 kHz, 10 ms).
  const isolated = report(...args, '--isolated');
  t.match(isolated.stream, { sent: 2 * L16_PACKETS, sendDropped: 0 });
  if (isolated.agents[0].window === 'shared') t.same(isolated.agents.map(({ copiedBytes }) => copiedBytes), [0, 172 * L16_PACKETS, 172 * L16_PACKETS]);
  t.equal(report(...args, '--window', 'copy').agents[0].window, 'copy');
  t.end();
});

t.test('run: on a server of its own, with a trace for ui.perfetto.dev', (t) => {
  const dir = t.testdir();
  const { stream, server } = report(agent('touch'), ...PCMU, '--to', '198.18.0.1:6000', '--server', '1/10/5', '--trace', `${dir}/trace.json`);
  t.match(stream, { received: PCMU_PACKETS, sent: PCMU_PACKETS });
  t.match(server, { missed: 0, refused: 0 });
  t.ok(server!.completed > 0);
  const { traceEvents } = JSON.parse(readFileSync(`${dir}/trace.json`, 'utf8')) as { traceEvents: { ph: string; name: string; args?: { name?: string } }[] };
  t.ok(traceEvents.some(({ ph, args }) => ph === 'M' && args?.name === 'touch'));
  t.ok(traceEvents.filter(({ ph }) => ph === 'X').length >= server!.completed);
  if (existsSync('/dev/full')) {
    const full = ringcube('run', agent('touch'), ...PCMU, '--to', '198.18.0.1:6000', '--server', '1/10/5', '--trace', '/dev/full');
    t.equal(full.status, 1);
    t.match(full.stderr, /^ringcube: .*\/dev\/full: can't be written: ENOSPC.*\n$/, 'one line');
  }
  t.end();
});

t.test('run: traps and log lines go to stderr, without control characters; the run goes on and ends well', (t) => {
  const dir = t.testdir({
    'trap.wasm': Buffer.from(module(I.unreachable)),
    'spin.wasm': Buffer.from(module([...I.loop(I.br(0)), ...I.unreachable])),
    'talk.wasm': Buffer.from(module([...I.i32(Abi.windowEnd), ...I.i32(9), ...I.call(0), ...I.i32(1)], 'hi\x1b[31mho')),
  });
  const trap = ringcube('run', `${dir}/trap.wasm`, ...PCMU);
  t.equal(trap.status, 0);
  t.match(trap.stderr, /^(ringcube: agent trap: .*unreachable.*\n)+$/);
  t.match(trap.stdout, /trap: .*lostInTrap \d+.*; traps: fault \d+/);
  const spin = ringcube('run', `${dir}/spin.wasm`, ...PCMU, '--fuel', '1000');
  t.equal(spin.status, 0);
  t.match(spin.stderr, /ringcube: agent spin: stopped: it ran over its budget\n/);
  const talk = ringcube('run', `${dir}/talk.wasm`, ...PCMU);
  t.match(talk.stderr, /^(talk: hi \[31mho\n)+$/);
  t.match(talk.stdout, new RegExp(`talk: .*dropped ${PCMU_PACKETS}`));
  t.end();
});

t.test('run: --seconds ends it early, in virtual time; --tick-us calls timers', (t) => {
  const whole = report(agent('pass'), ...PCMU, '--seconds', '3600');
  t.equal(whole.stream.received, PCMU_PACKETS);
  const some = report(agent('pass'), ...PCMU, '--seconds', '1.5');
  t.ok(some.stream.received > 0 && some.stream.received < PCMU_PACKETS, `${some.stream.received} by then`);
  // RTP holds no readings: only the timer runs.
  t.equal(ringcube('run', agent('aggregate'), ...PCMU, '--tick-us', '100000').status, 0);
  t.end();
});

t.test('without rights on a TAP: one line that says which, and how to get them', { skip: process.getuid?.() === 0 ? false : 'not root: can not become nobody' }, (t) => {
  const args = [MAIN, 'agent', 'run', agent('pass'), '--tap', 'rc0', '--ip', '198.18.0.2/24', '--listen', '5004'];
  const { status, stdout, stderr } = spawnSync('env', [...PLAIN_NODE, ...args], { encoding: 'utf8', uid: 65534, gid: 65534, timeout: 120_000 });
  t.equal(status, 1);
  t.match(stderr, /^ringcube: agent run: .*needs CAP_NET_ADMIN, .*\n$/);
  t.equal(stdout, '');
  t.end();
});
