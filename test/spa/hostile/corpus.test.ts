// The hostile modules against reader, check and budgets: what is to be refused is, in words that say why; all else is instrumented,
// and does under a host at its simplest what the corpus says.
import t from 'tap';
import { Abi } from '../../../src/spa/abi.js';
import { RingcubeError, WebAssembly } from '../../../src/base/index.js';
import { checkAgent } from '../../../src/spa/wasm/check.js';
import { instrument } from '../../../src/spa/wasm/instrument.js';
import { parseModule } from '../../../src/spa/wasm/module.js';
import { type ModuleInfo } from '../../../src/spa/wasm/types.js';
import { type Trap, Running, trapOf } from '../wasm/rig.js';
import { type Callback, CORPUS, agent } from './corpus.js';

const FUEL = 1_000_000;

/** All that reader and check have against a module; or the module. */
function examined(bytes: Uint8Array): ModuleInfo | string {
  try {
    const info = parseModule(bytes);
    const findings = checkAgent(info);
    return findings.length === 0 ? info : findings.join('\n');
  } catch (error) {
    if (error instanceof RingcubeError && !error.message.includes('\n')) return error.message;
    throw error;
  }
}

const ARGUMENTS: Record<Callback, number[]> = {
  start: [], init: [Abi.configurationAt, 0], process: [Abi.windowStart + 64, 100, 0], process_batch: [3], tick: [], save: [Abi.stateAt, Abi.stateBytes], restore: [Abi.stateAt, 0],
};

/** The first callback that traps, in the order of an agent's life, and how; undefined if all return. */
function firstTrap(bytes: Uint8Array): { in: Callback; trap: Trap | 'budget' } | undefined {
  const memory = new WebAssembly.Memory({ initial: 130, maximum: Abi.maxMemoryPages });
  let running: Running;
  try {
    running = new Running(bytes, memory);
  } catch (error) {
    // Of an instance that never came to be no counter can be seen, so out of fuel is unreachable.
    return { in: 'start', trap: trapOf(error) };
  }
  for (const callback of ['init', 'process', 'process_batch', 'tick', 'save', 'restore'] as const) {
    if (!running.has(callback)) continue;
    running.fuel = FUEL;
    const outcome = running.call(callback, ...ARGUMENTS[callback]);
    if (typeof outcome === 'string') return { in: callback, trap: running.fuel < 0 ? 'budget' : outcome };
  }
  return undefined;
}

t.test('an agent with nothing wrong is taken', (t) => {
  const info = examined(agent({ init: [0x41, 0], tick: [], save: [0x41, 0], process_batch: [] }));
  t.type(info, 'object', typeof info === 'string' ? info : 'taken');
  t.end();
});

t.test('names are different', (t) => {
  t.equal(new Set(CORPUS.map(({ name }) => name)).size, CORPUS.length);
  t.ok(CORPUS.length > 150, `${CORPUS.length} modules`);
  t.end();
});

for (const { name, does, bytes, expected } of CORPUS) {
  t.test(`${name}: ${does}`, (t) => {
    const info = examined(bytes);
    if (expected.kind === 'refused') {
      t.type(info, 'string', 'refused');
      if (typeof info === 'string') t.match(info, expected.message);
      t.end();
      return;
    }
    if (typeof info === 'string') {
      t.fail(info);
      t.end();
      return;
    }
    for (const budget of ['guard', 'epoch', 'none'] as const) {
      t.ok(WebAssembly.validate(instrument(info, { budget, maxPages: Abi.maxMemoryPages }).bytes), budget);
    }
    const fuelled = instrument(info, { budget: 'fuel', maxPages: Abi.maxMemoryPages, startFuel: FUEL });
    const trapped = firstTrap(fuelled.bytes);
    if (expected.kind === 'harmless') t.same(trapped, undefined);
    else if (expected.in === 'start' && expected.trap === 'budget') t.same(trapped, { in: 'start', trap: 'unreachable' });
    else t.same(trapped, { in: expected.in, trap: expected.trap });
    t.end();
  });
}
