// examples/udp-server as its reader runs it.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { NetworkNamespace } from '../../src/testing/index.js';
import { plainEnvironment } from '../lifecycle/machine.js';
import { root } from '../repo/tree.js';

t.setTimeout(120_000);
const TEST = 'examples/udp-server/server.test.mjs';
const TIMEOUT_MS = 60_000;
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const run = (env: NodeJS.ProcessEnv): { status: number | null; stdout: string } =>
  spawnSync(process.execPath, ['--test', '--test-reporter=tap', TEST], {
    cwd: fileURLToPath(root),
    env: { ...plainEnvironment(), ...env },
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });

t.test('the server passes its test', { skip: NetworkNamespace.unavailable() ?? false }, (t) => {
  const { status, stdout } = run({});
  t.equal(status, 0, 'passes', { stdout });
  t.match(stdout, /^# pass 3\n# fail 0\n# cancelled 0\n# skipped 0$/m);
  t.end();
});

t.test('where there can be no namespace, it is skipped, and says why', (t) => {
  const { status, stdout } = run({ PATH: '/nonexistent' });
  t.equal(status, 0, 'passes', { stdout });
  t.equal(stdout.split('# SKIP network namespaces need the command ip').length - 1, 3, 'three times', { stdout });
  t.end();
});

t.test('README.md quotes it as it is', (t) => {
  const [, quoted] = /examples\/udp-server\/[^]*?```js\n([^]*?)```/.exec(read('README.md')) ?? [];
  t.ok(quoted !== undefined && read(TEST).includes(quoted), 'a run of lines of the test', { quoted });
  t.end();
});
