import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import t from 'tap';
import { type Ended, MAIN, refusesInput } from './command.js';

function ringcube(...args: string[]): Ended {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 120_000 });
}

t.test('wrong input gets one line that says what would be right, and exit code 2', (t) => {
  const dir = t.testdir({ text: 'hello, world\n', 'classic.pcap': Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex') });
  const wrong: [string[], RegExp][] = [
    [['bench', 'nope'], /bench: got "nope", must be one of forward, copy, latency/],
    [['bench', '--seed', 'x'], /--seed.*whole number/],
    [['bench', '--fast'], /unknown option '--fast'/],
    [['bench', '--json', `${dir}/no/such/folder/x.json`], /can't be written/],
    [['bench', '--report', dir], /directory/],
    [['bench', '--traffic', `${dir}/missing`], /No such file/],
    [['bench', '--traffic', `${dir}/text`], /not a pcapng file/],
    [['bench', '--traffic', `${dir}/classic.pcap`], /editcap -F pcapng/],
    [['brench'], /unknown command 'brench'/],
  ];
  refusesInput(t, ringcube, wrong);
  t.end();
});

t.test('--help teaches, --version says', (t) => {
  const help = ringcube('bench', '--help');
  t.equal(help.status, 0);
  for (const word of ['forward', 'latency', '--quick', '--report', 'Examples']) t.match(help.stdout, word);
  t.match(ringcube('--version').stdout, /^\d+\.\d+\.\d+/);
  t.end();
});

t.test('a bench writes results for machines and a report that needs nothing else', (t) => {
  const dir = t.testdir();
  const { status, stdout, stderr } = ringcube('bench', 'copy', '--quick', '--seed', '3', '--json', `${dir}/r.json`, '--report', `${dir}/r.html`);
  t.equal(status, 0, stderr);
  t.match(stdout, /What one copy costs/);
  t.match(stdout.trim().split('\n').at(-1), /^report: .*r\.html$/, 'the path of the report comes last');
  const report = JSON.parse(readFileSync(`${dir}/r.json`, 'utf8')) as Record<string, unknown>;
  t.match(report, { machine: { cpu: String, cores: Number }, commit: String, seed: 3, node: process.version });
  for (const result of report['results'] as Record<string, unknown>[]) {
    t.match(result, { bench: 'copy', variant: String, params: Object, metric: String, unit: String, median: Number, min: Number, max: Number });
    t.ok((result['runs'] as number[]).length >= 5, 'five alternations at least');
  }
  t.match(readFileSync(`${dir}/r.html`, 'utf8'), /<svg/);
  t.end();
});

t.test('Ctrl-C ends a bench cleanly: exit code 130, nothing written', async (t) => {
  const dir = t.testdir();
  const child = spawn(process.execPath, [MAIN, 'bench', 'forward', '--quick', '--json', `${dir}/r.json`], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr === '') child.kill('SIGINT'); // it has begun
    stderr += text;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  t.equal(code, 130);
  t.notMatch(stderr, /Error|at .*\.js/);
  t.notOk(existsSync(`${dir}/r.json`));
});

t.test('the compiled command can be run by itself', (t) => {
  t.match(readFileSync(MAIN, 'utf8'), /^#!\/usr\/bin\/env node\n/);
  t.ok(statSync(MAIN).isFile());
  t.end();
});
