// The fixture in the frameworks that people write tests with: frameworks/ has a test for each, which runs here as a program.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { NetworkNamespace } from '../../src/testing/index.js';
import { plainEnvironment, scratch, until } from '../lifecycle/machine.js';
import { root } from '../repo/tree.js';

t.setTimeout(120_000);
const TIMEOUT_MS = 60_000;
const skip = NetworkNamespace.unavailable() ?? false;
const FRAMEWORKS: Record<string, readonly string[]> = {
  'node:test': ['--test', 'test/testing/frameworks/node.test.mjs'],
  tap: ['test/testing/frameworks/tap.test.mjs'],
  vitest: ['node_modules/vitest/vitest.mjs', 'run', 'test/testing/frameworks/vitest.test.mjs'],
};

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

for (const [index, [name, args]] of Object.entries(FRAMEWORKS).entries()) {
  t.test(name, { skip }, async (t) => {
    const prefix = `frame${index}x${process.pid}`;
    const folder = scratch();
    t.teardown(folder.remove);
    const namespaces = (): string[] => readdirSync('/run/netns').filter((name) => name.startsWith(`${prefix}-`));
    const captures = (): string[] => readdirSync(folder.path('.')).filter((name) => name.endsWith('.pcapng'));
    const options = (how: string) => ({
      cwd: fileURLToPath(root),
      env: { ...plainEnvironment(), PREFIX: prefix, FOLDER: folder.path('.'), CASE: how },
    });
    const run = (how: string): { status: number | null; said: string } => {
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { ...options(how), encoding: 'utf8', timeout: TIMEOUT_MS });
      return { status, said: stdout + stderr };
    };
    const nothingLeft = (t: Test): void => {
      t.same(namespaces(), [], 'no namespace is left');
      t.notOk(existsSync('/sys/class/net/rc0'), 'no interface is left');
    };

    const passed = run('pass');
    t.equal(passed.status, 0, 'passes', { said: passed.said });
    t.notMatch(passed.said, /RINGCUBE_SEED/);
    t.same(captures(), []);
    nothingLeft(t);

    const failed = run('fail');
    t.not(failed.status, 0, 'fails');
    const [, seed, path] = /RINGCUBE_SEED=(\d+) repeats the faults of the link; its frames are in (\S+\.pcapng)/.exec(failed.said) ?? [];
    t.ok(path?.endsWith(`-seed-${seed}.pcapng`), 'tells seed and capture', { said: failed.said });
    t.same(captures().map((name) => folder.path(name)), [path]);
    nothingLeft(t);
    rmSync(path);

    const killed: ChildProcess = spawn(process.execPath, args, { ...options('hang'), stdio: 'ignore' });
    const ended = new Promise((resolve) => killed.once('exit', resolve));
    await until('the test runs', () => existsSync(folder.path('inside')) && readFileSync(folder.path('inside'), 'utf8') !== '');
    const [owner, child] = readFileSync(folder.path('inside'), 'utf8').split(' ').map(Number);
    // A runner may have the test in a process of its own.
    process.kill(owner, 'SIGKILL');
    killed.kill('SIGKILL');
    await ended;
    await until('its owner has ended', () => !alive(owner));
    t.equal(namespaces().length, 1, 'left behind');
    t.ok(alive(child), 'its process too');
    t.same(captures(), [], 'but no capture');

    const next = run('pass');
    t.equal(next.status, 0, 'passes', { said: next.said });
    nothingLeft(t);
    await until('what ran inside has ended', () => !alive(child));
  });
}
