import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import t from 'tap';
import { RingcubeError } from '../../src/base/index.js';
import { reproduceCommand } from '../../src/cli/reproduce-command.js';
import { simCommand } from '../../src/cli/sim-command.js';
import { CATALOGUE } from './made-experiments.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const MADE = fileURLToPath(new URL('./sim.child.js', import.meta.url));

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Without tap's loader, which every thread would start anew. */
const environment = { ...process.env, NODE_OPTIONS: '' };

function run(program: string, args: readonly string[], cwd?: string): Ended {
  return spawnSync(process.execPath, [...(program === MAIN ? ['--no-addons'] : []), program, ...args], { encoding: 'utf8', timeout: 60_000, env: environment, ...(cwd === undefined ? {} : { cwd }) });
}

/** What a command writes by itself, and throws, before anything is run. */
async function inProcess(args: readonly string[]): Promise<{ error: Error | undefined; written: string }> {
  let written = '';
  const write = (text: string): void => {
    written += text;
  };
  const program = new Command('ringcube').exitOverride();
  for (const command of [simCommand(CATALOGUE), reproduceCommand(CATALOGUE)]) program.addCommand(command.exitOverride().configureOutput({ writeOut: write, writeErr: write }));
  try {
    await program.parseAsync(args, { from: 'user' });
    return { error: undefined, written };
  } catch (error) {
    return { error: error as Error, written };
  }
}

const made = (...args: string[]): Ended => run(MADE, args);

t.test('wrong input gets one line that says what would be right, and exit code 2', async (t) => {
  const dir = t.testdir();
  const wrong: [string[], RegExp][] = [
    [['sim'], /sim: names no experiment, must be one of tenfold, refuse/],
    [['sim', 'nope'], /experiment: got "nope", must be one of tenfold, refuse/],
    [['reproduce', 'tenfold', 'nope'], /experiment: got "nope", must be one of tenfold/],
    [['sim', 'tenfold', '--k', '1'], /--k <n>' argument '1' is invalid\. It must be a whole number from 2 to/],
    [['sim', 'tenfold', '--n', '2.5'], /--n <n>' argument '2\.5' is invalid\. It must be a whole number from 1 to/],
    [['sim', 'tenfold', '--hosts', 'many'], /'many' is invalid\. It must be a whole number from 2/],
    [['sim', 'tenfold', '--bound', '-1'], /'-1' is invalid\. It must be a number above 0/],
    [['sim', 'tenfold', '--bound', '0.9'], /--bound: got 0\.9, must be 1 or more/],
    [['sim', 'tenfold', '--routing', 'fast'], /Allowed choices are odr, random, greedy/],
    [['sim', 'tenfold', '--topology', 'ring'], /Allowed choices are transit-stub, waxman/],
    [['sim', 'tenfold', '--seed', '4294967296'], /--seed.*from 0 to 4294967295/],
    [['sim', 'tenfold', '--workers', '0'], /--workers.*from 1 to/],
    [['sim', 'tenfold', '--k', '2', '--n', '3', '--hosts', '9'], /--hosts: got 9, must be at most k\^n, 8/],
    [['sim', 'tenfold', '--hosts', '8', '--subscribers', '9'], /--subscribers: got 9, must be at most as many as --hosts, 8/],
    [['sim', 'tenfold', '--hosts', '8', '--publishers', '9'], /--publishers: got 9/],
    [['sim', 'tenfold', '--latencies', `${dir}/missing`], /missing: can't be read/],
    [['sim', 'tenfold', '--latencies', `${dir}/missing`, '--topology', 'waxman'], /give one of them/],
    [['sim', 'refuse', '--routers', '5'], /--routers: refuse doesn't take it; it takes --k$/m],
    [['sim', 'breaks', '--k', '5'], /--k: breaks doesn't take it; it takes no parameters$/m],
    [['sim', 'tenfold', '--json', `${dir}/no/such/x.json`], /can't be written/],
    [['sim', 'tenfold', '--json', ''], /"": can't be written: it names no file/],
    [['sim', 'tenfold', '--report', `${import.meta.filename}/x.html`], /x\.html: can't be written: ENOTDIR/],
    [['sim', 'tenfold', '--report', `${dir}/new/`], /new\/: can't be written: it is a directory/],
    [['reproduce', '--report', dir], /directory/],
    [['sim', 'tenfold', '--json', `${dir}/one`, '--report', `${dir}/./one`], /--json and --report: got ".*, must be two files/],
    [['reproduce', '--k', '2'], /unknown option '--k'/],
  ];
  for (const [args, message] of wrong) {
    const { error, written } = await inProcess(args);
    t.match(error?.message, message, args.join(' '));
    t.ok(error instanceof CommanderError ? error.exitCode !== 0 : error instanceof RingcubeError && error.code === 'ERR_INVALID_ARGUMENT', 'which ends the command with 2');
    t.equal(error?.message.includes('\n'), false, 'a line');
    t.notMatch(written, /Usage/);
  }
  for (const args of [['sim', 'tenfold', '--k', '1'], ['sim', 'refuse', '--k', '4']]) {
    const { status, stdout, stderr } = made(...args);
    t.equal(status, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, args[1] === 'refuse' ? /^sim refuse: .*\nringcube: k: got 4, must be odd\n$/ : /^error: .*\n$/, "an experiment's own refusal comes after the line that it has begun");
  }
});

t.test('--help teaches', async (t) => {
  const { written: help } = await inProcess(['sim', '--help']);
  for (const word of ['tenfold    ten times as many', 'willing    stops when asked to', '--subscribers', '--workers', 'Examples']) t.match(help, word);
  const { written: one } = await inProcess(['sim', 'tenfold', '--help']);
  t.match(one, /tenfold: ten times as many\nIt takes, with what is so by default:\n {2}--k +2\n {2}--n +4\n {2}--hosts +7\n {2}--publishers +1\n {2}--subscribers +all hosts/);
  t.match((await inProcess(['sim', 'breaks', '--help'])).written, /nothing but a seed/);
  t.match((await inProcess(['reproduce', '--help'])).written, /reproduce\.html[^]*tenfold/);
});

t.test('an experiment gives tables, results for machines, and a report that needs nothing else', (t) => {
  const dir = t.testdir();
  const { status, stdout, stderr } = made('sim', 'tenfold', '--hosts', '8', '--seed', '3', '--workers', '2', '--json', `${dir}/r.json`, '--report', `${dir}/r.html`);
  t.equal(status, 0);
  t.equal(stderr, 'sim tenfold: ten times as many\n', 'a line for the experiment where there is no terminal');
  t.match(stdout, /Ten times as many[^]*published +│ measured[^]*ninefold +│ tenfold[^]*✗ differs[^]*✓ met/);
  t.match(stdout.trim().split('\n').at(-1), /^report: .*r\.html$/, 'the path of the report comes last');
  const report = JSON.parse(readFileSync(`${dir}/r.json`, 'utf8')) as Record<string, unknown>;
  t.match(report, { machine: { cpu: String, cores: Number }, commit: String, seed: 3, node: process.version, parameters: { hosts: 8 }, command: 'npx ringcube sim tenfold --hosts 8 --seed 3', failures: [] });
  t.match(report, { results: [{ median: 83, params: { workers: 2 } }, { median: 83 }], targets: [{ what: 'ten times', met: true }], claims: [{ published: 'ninefold', measured: 'tenfold', agrees: false }] });
  t.match(readFileSync(`${dir}/r.html`, 'utf8'), /ninefold[^]*<svg/, 'claims on top, plots below');
  t.end();
});

t.test('a disk that is full is told of in one line, and takes the other file from nobody', { skip: existsSync('/dev/full') ? false : 'no /dev/full' }, (t) => {
  const dir = t.testdir();
  for (const [flag, other] of [['--json', '--report'], ['--report', '--json']] as const) {
    const { status, stdout, stderr } = made('sim', 'tenfold', flag, '/dev/full', other, `${dir}/other`);
    t.equal(status, 1, flag);
    t.equal(stderr, "sim tenfold: ten times as many\nringcube: /dev/full: can't be written: ENOSPC: no space left on device, write\n");
    t.match(stdout.trim().split('\n').at(-1), /^(results|report): .*other$/);
    t.match(readFileSync(`${dir}/other`, 'utf8'), 'ninefold');
  }
  t.equal(made('sim', 'tenfold', '--json', '/dev/null', '--report', '/dev/null').status, 0, 'a device that takes all');
  t.end();
});

t.test('reproduce runs all that are asked for, names those that fail, and writes one report', (t) => {
  const dir = t.testdir();
  const { status, stdout, stderr } = run(MADE, ['reproduce', 'breaks', 'refuse', 'tenfold', '--json', 'r.json'], dir);
  t.equal(status, 1);
  t.match(stderr, /reproduce breaks: breaks[^]*TypeError: it broke\n +at /);
  t.match(stderr, /reproduce refuse: k: got 2, must be odd/);
  t.match(stderr.trim().split('\n').at(-1), /^ringcube: 2 of 3 experiments failed: refuse, breaks$/);
  t.match(stdout, /tenfold +│ they counted/, 'the others still run');
  t.match(JSON.parse(readFileSync(`${dir}/r.json`, 'utf8')), { command: 'npx ringcube reproduce breaks refuse tenfold --seed 1', results: [{ median: 71 }, {}], failures: [{ why: String }, { why: String }] });
  t.match(readFileSync(`${dir}/reproduce.html`, 'utf8'), /it broke[^]*ninefold[^]*<svg/, 'by default reproduce.html; it says what is missing');
  const one = run(MADE, ['sim', 'breaks'], dir);
  t.equal(one.status, 1);
  t.match(one.stderr, /it broke[^]*at .*breakDown/, "a mistake of an experiment's own shows where");
  t.end();
});

t.test('Ctrl-C ends an experiment promptly, with the threads that it started: exit code 130, nothing written', async (t) => {
  const dir = t.testdir();
  for (const name of ['endless', 'willing']) {
    const child = spawn(process.execPath, [MADE, 'reproduce', name, '--report', `${dir}/r.html`], { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const begun = /spinning|waiting/;
      // Under npm a Ctrl-C comes twice.
      if (!begun.test(stderr) && begun.test(stderr + text)) for (const delayMs of [100, 130]) setTimeout(() => child.kill('SIGINT'), delayMs);
      stderr += text;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    t.equal(code, 130, name);
    t.notMatch(stderr, /Error|at .*\.js/);
    if (name === 'willing') t.match(stderr, /asked to stop/, 'after it was asked to');
    t.notOk(existsSync(`${dir}/r.html`));
  }
});

t.test('simulations do without the addon', (t) => {
  // Node refuses to load addons at all: the control shows that it does.
  t.match(run(MAIN, ['bench', '--help']).stderr, /addon/i);
  const { status, stdout } = run(MAIN, ['sim', 'properties', '--k', '3', '--n', '2']);
  t.equal(status, 0);
  t.match(stdout, /✓ agrees/);
  t.equal(run(MAIN, ['reproduce', '--json', '/no/such/folder/x.json']).status, 2, 'as far as its own words');
  t.end();
});
