import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import t from 'tap';
import { type Check } from '../../src/cli/doctor.js';
import { type Ended, MAIN, ROOT, refusesInput } from './command.js';

const NAMES = [
  'Node',
  'addon',
  'cores',
  'compiler',
  'build tools',
  'TAP',
  'network namespaces',
  'AF_XDP',
  'hugepages',
  'SCHED_FIFO',
  'SCHED_DEADLINE',
  'locked memory',
  'test tools',
];

function node(args: readonly string[], env = process.env): Ended {
  return spawnSync(process.execPath, args, { env, encoding: 'utf8', timeout: 60_000 });
}

function checksOf(stdout: string): Record<string, Check> {
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  return Object.fromEntries(checks.map((check) => [check.name, check]));
}

t.test('--json: every check says what it found, and what would help where something lacks', (t) => {
  const { status, stdout, stderr } = node([MAIN, 'doctor', '--json']);
  t.equal(status, 0);
  t.equal(stderr, '');
  const { checks, ...rest } = JSON.parse(stdout) as { checks: Check[] };
  t.same(rest, {});
  t.same(checks.map(({ name }) => name), NAMES);
  for (const { name, ok, reason, remedy, ...rest } of checks) {
    t.same(rest, {}, name);
    t.match(reason, /^\S.*\S$/, `${name}: one line`);
    if (ok) t.equal(remedy, undefined, `${name}: nothing to remedy`);
    else t.match(remedy, /^\S.*\S$/, `${name}: one line`);
  }
  t.match(checksOf(stdout), { Node: { ok: true, reason: process.version }, addon: { ok: true }, compiler: { ok: true, reason: /C\+\+20/ } });
  t.end();
});

t.test('the table: a line for each check, aligned, and no colours but on a terminal', (t) => {
  const { status, stdout } = node([MAIN, 'doctor'], { PATH: '/nonexistent', CI: 'true' });
  t.equal(status, 0);
  const lines = stdout.trimEnd().split('\n');
  const found = lines.filter((line) => /^[✓✗] /.test(line));
  t.same(found.map((line) => line.slice(2, 22).trim()), NAMES);
  t.ok(found.every((line) => line.slice(20, 22) === '  ' && line[22] !== ' '), 'reasons begin in one column');
  for (const [index, line] of lines.entries()) {
    t.equal(line.startsWith('✗'), /^ {22}→ \S/.test(lines[index + 1] ?? ''), `a remedy below a ✗ only: ${line}`);
  }
  t.notMatch(stdout, /\x1b/);
  t.end();
});

t.test('what is not on the PATH is named, with the packages that bring it', (t) => {
  const checks = checksOf(node([MAIN, 'doctor', '--json'], { PATH: '/nonexistent' }).stdout);
  t.match(checks, {
    'addon': { ok: true },
    'compiler': { ok: false, reason: 'none for C++20: g++ is not there, clang++ is not there', remedy: /^apt-get install g\+\+/ },
    'build tools': { ok: false, reason: 'no make, no python3', remedy: 'apt-get install make python3' },
    'network namespaces': { ok: false, remedy: 'apt-get install iproute2' },
    'SCHED_DEADLINE': { ok: false, reason: /^unknown: chrt is not there/, remedy: 'apt-get install util-linux' },
    'test tools': { ok: false, reason: /^missing: ping, arping, .*scapy/, remedy: /^apt-get install iputils-ping .*python3-scapy$/ },
  });
  t.end();
});

t.test('a compiler that knows no C++20 is not taken for one', (t) => {
  const checks = checksOf(node([MAIN, 'doctor', '--json'], { ...process.env, CXX: 'false' }).stdout);
  t.match(checks['compiler'], { ok: false, reason: /^none for C\+\+20: false: / });
  t.end();
});

t.test('without the addon the doctor says so, and all else ends in one line', (t) => {
  const dir = t.testdir();
  mkdirSync(`${dir}/dist`);
  for (const part of ['dist/src', 'dist/bench', 'package.json']) cpSync(`${ROOT}${part}`, `${dir}/${part}`, { recursive: true });
  symlinkSync(`${ROOT}node_modules`, `${dir}/node_modules`);
  const main = `${dir}/dist/src/cli/main.js`;
  const checks = checksOf(node([main, 'doctor', '--json']).stdout);
  t.match(checks['addon'], { ok: false, reason: /^the addon can't be loaded \(.*\)$/, remedy: 'build it with: npm run build' });

  const bench = node([main, 'bench']);
  t.equal(bench.status, 1);
  t.match(bench.stderr, /^ringcube: the addon can't be loaded .*; build it with: npm run build\n$/);
  t.end();
});

t.test('wrong input gets one line and exit code 2; --help teaches', (t) => {
  refusesInput(t, (...args) => node([MAIN, 'doctor', ...args]), [
    [['--jsn'], /unknown option '--jsn'/],
    [['everything'], /too many arguments/],
  ]);
  const help = node([MAIN, 'doctor', '--help']);
  t.equal(help.status, 0);
  for (const word of ['--json', 'network namespaces', 'SCHED_FIFO', 'Examples']) t.match(help.stdout, word);
  t.match(node([MAIN, '--help']).stdout, /doctor.*\n[^]*bench/);
  t.end();
});
