// Whatever a module does, the host lives, and other agents' payloads arrive unharmed (test/spa/hostile/corpus.ts).
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { CORPUS } from '../spa/hostile/corpus.js';
import { plainEnvironment } from '../lifecycle/machine.js';
import { HostileWorld } from './hostile.js';

t.setTimeout(300_000);

t.test('in virtual time, stopped by fuel', async (t) => {
  const hosts = await new HostileWorld(true).start();
  for (const module of CORPUS) t.same(await hosts.run(module), [], `${module.name}: ${module.does}`);
  hosts.world.close();
});

t.test('in real time, stopped by the guard page', async (t) => {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./hostile.child.js', import.meta.url))], { env: plainEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()));
  // Not at 'exit': what it wrote may not all have been read then.
  const ended = await new Promise<string>((resolve) => child.on('close', (code, signal) => { resolve(signal ?? String(code)); }));
  const lines = output.trim().split('\n').map((line) => JSON.parse(line) as { name: string; complaints?: string[] });
  const last = lines.at(-1)?.name;
  t.equal(ended, '0', `the process ends by itself (it was at ${last})`);
  t.equal(errors, '');
  t.equal(last, 'end');
  for (const { name } of CORPUS) t.same(lines.filter((line) => line.name === name && line.complaints !== undefined).flatMap(({ complaints }) => complaints), [], name);
});
