// Builds the addon, or says in one line what the machine lacks to do so.
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

function fail(line) {
  console.error(`ringcube: ${line}`);
  process.exit(1);
}

function runs(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

if (process.platform !== 'linux') fail(`needs Linux (memfd, eventfd); this is ${process.platform}`);
const missing = [
  [process.env.CXX ?? 'g++', 'a C++20 compiler'],
  ['make', 'make'],
  ['python3', 'python3, which node-gyp runs'],
].filter(([command]) => !runs(command));
if (missing.length > 0) {
  fail(
    `cannot build the addon without ${missing.map(([command, what]) => `${what} (${command})`).join(', ')}; ` +
      'on Debian or Ubuntu: apt-get install g++ make python3',
  );
}

// The headers of the node that runs this, where they lie beside it, spare a download.
const prefix = dirname(dirname(realpathSync(process.execPath)));
const nodedir = existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
const built = spawnSync(process.execPath, [gyp, 'rebuild', '--silent', '--jobs=max', ...nodedir], { stdio: 'inherit' });
if (built.status !== 0) fail('the addon did not build; the compiler output above says where (g++ 11 or clang 14 and later are known to do)');
