// Compiles examples/agents/*.ts to dist/agents/*.wasm, those that are older than what they are made of.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const SOURCES = join(root, 'examples/agents');
const OUT = join(root, 'dist/agents');

// All but this one can run with a protected window: it is to overwrite a whole memory in one go.
const BULK_MEMORY = new Set(['misbehave.ts']);

const changed = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const below = (folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, name));

const agents = readdirSync(SOURCES).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
// What all of them are made of: the library, what several share, the compiler and how it is called.
const common = [...below(join(root, 'sdk')), ...below(join(SOURCES, 'parts')), join(root, 'dist/src/cli/agent-build.js'), join(root, 'package-lock.json')];
const commonChanged = Math.max(...common.map(changed));

const stale = agents.filter((name) => {
  const built = changed(join(OUT, name.replace(/\.ts$/, '.wasm')));
  return built < changed(join(SOURCES, name)) || built < commonChanged;
});
if (stale.length > 0) {
  const { buildAgent } = await import('../dist/src/cli/agent-build.js');
  for (const name of stale) {
    try {
      const { length } = await buildAgent(join(SOURCES, name), join(OUT, name.replace(/\.ts$/, '.wasm')), { bulkMemory: BULK_MEMORY.has(name) });
      console.log(`dist/agents/${name.replace(/\.ts$/, '.wasm')}: ${length} bytes`);
    } catch (error) {
      console.error(`ringcube: ${error.message}`);
      process.exitCode = 1;
    }
  }
}
