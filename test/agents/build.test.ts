// src/cli/agent-build.ts: an agent from its source, or the place of the first error; and what sdk/ does for it (docs/agent-abi.md).
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { buildAgent } from '../../src/cli/agent-build.js';
import { RingcubeError, WebAssembly } from '../../src/base/index.js';
import { checkAgent } from '../../src/spa/wasm/check.js';
import { instrument } from '../../src/spa/wasm/instrument.js';
import { parseModule } from '../../src/spa/wasm/module.js';
import { TestAgent } from './harness.js';

t.setTimeout(120_000);

/** Compiles a source in a folder of its own, far from this package. */
async function build(folder: string, source: string, options = {}): Promise<Uint8Array> {
  const path = join(folder, 'agent.ts');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, source);
  return buildAgent(path, join(folder, 'out/agent.wasm'), options);
}

const EXPORTS = "export { ringcube_abi } from 'ringcube/sdk';\n";

t.test('an agent anywhere finds the SDK, and the module is written', async (t) => {
  const folder = t.testdir();
  const module = await build(folder, `import { DROP } from 'ringcube/sdk';\n${EXPORTS}export function process(ptr: usize, length: i32, meta: i32): i32 { return DROP; }\n`);
  t.strictSame(new Uint8Array(readFileSync(join(folder, 'out/agent.wasm'))), new Uint8Array(module));
  t.same(readdirSync(join(folder, 'out')), ['agent.wasm'], 'nothing besides');
  t.same(new TestAgent(module).run([Uint8Array.of(1)]), { verdicts: [{ what: 'drop' }], emits: [] });
});

t.test('an agent that touches no memory is one, though the compiler leaves the import out', async (t) => {
  const module = await build(t.testdir(), `${EXPORTS}export function process(ptr: usize, length: i32, meta: i32): i32 { return meta == 1 ? 0 : 1; }\n`);
  const info = parseModule(module);
  t.same(info.imports, []);
  t.same(checkAgent(info), []);
  for (const budget of ['none', 'fuel', 'guard', 'epoch'] as const) {
    const made = instrument(info, { budget, maxPages: 256 });
    t.match(parseModule(made.bytes).imports, [{ module: 'env', name: 'memory', type: { kind: 'memory', limits: { min: 0, max: 256 } } }]);
    t.doesNotThrow(() => new WebAssembly.Module(made.bytes), budget);
  }
});

t.test('errors: file, line and column, one line', async (t) => {
  const folder = t.testdir();
  const where = relative('.', join(folder, 'agent.ts'));
  const fails = async (source: string, message: string | RegExp): Promise<void> => {
    const error = await build(folder, source).catch((error: unknown) => error);
    t.ok(error instanceof RingcubeError);
    t.match((error as Error).message, message);
    t.notMatch((error as Error).message, /\n/);
  };
  await fails('export function process(): i32 {\n  return "four";\n}\n', `${where}:2:10: Type`);
  await fails('export function process(): i32 {\n  return one +\n    two;\n}\n', `${where}:2:10: Cannot find name 'one'. (and 1 more)`);
  await fails("import { nothing } from './nothing';\nexport function process(): i32 { return nothing; }\n", /agent\.ts:1:\d+: File '.*nothing\.ts' not found/);
  await fails("import { nothing } from 'ringcube/sdk';\nexport function process(): i32 { return nothing; }\n", /nothing/);
  t.throws(() => readFileSync(join(folder, 'out/agent.wasm')), { code: 'ENOENT' }, 'and no module');
  await t.rejects(buildAgent(join(folder, 'absent.ts'), 'x.wasm'), { message: /absent\.ts: no file that can be read$/ });
  await t.rejects(buildAgent('agent.js', 'x.wasm'), { message: /must be an AssemblyScript file/ });
});

t.test('with the garbage-collected runtime, and without names', async (t) => {
  const source = `${EXPORTS}let texts: string[] = [];
export function process(ptr: usize, length: i32, meta: i32): i32 {
  texts = [length.toString(), meta.toString()];
  return (texts[0].length + texts[1].length) << 8 | 2;
}
`;
  const module = await build(t.testdir(), source, { runtime: 'incremental' });
  const bare = await build(t.testdir(), source, { runtime: 'incremental', names: false });
  t.ok(bare.length < module.length);
  for (const some of [module, bare]) t.match(new TestAgent(some).run([new Uint8Array(10)]).verdicts, [{ what: 'forward', bytes: new Uint8Array(3) }]);
});

t.test('the SDK: clock, log, emits with output and place, a moved payload, pass, numbers', async (t) => {
  const agent = new TestAgent(
    await build(
      t.testdir(),
      `import { DROP, PASS, bufferBytes, emit, emitBuffer, forward, inputLength, inputMeta, inputPtr, load16, load32, loadF32, loadF64, log, moveInput, now, setVerdict, store16, store32, storeF32, storeF64 } from 'ringcube/sdk';
${EXPORTS}
export function process_batch(count: i32): void {
  log('a line of ☃');
  log('x'.repeat(600));
  for (let i = 0; i < count; i++) {
    if (i == 0) { setVerdict(i, PASS); continue; }
    if (i == 1) { setVerdict(i, DROP); continue; }
    moveInput(i, inputPtr(i) + 2);
    setVerdict(i, forward(inputLength(i) - 2));
    const to = emitBuffer();
    store16(to, load16(inputPtr(i)));
    store32(to + 2, load32(inputPtr(i) + 2));
    storeF32(to + 6, loadF32(inputPtr(i) + 6));
    storeF64(to + 10, loadF64(inputPtr(i) + 10));
    storeF64(to + 18, now());
    store32(to + 26, inputMeta(i));
    store32(to + 30, bufferBytes());
    emit(34, 3, i);
  }
}
`,
    ),
  );
  agent.nowUs = 1234.5;
  const bytes = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
  const { verdicts, emits } = agent.run([bytes, bytes, bytes], [0, 0, 77]);
  const expected = Buffer.alloc(34, bytes.slice(2));
  expected.writeDoubleBE(1234.5, 18);
  expected.writeUInt32BE(77, 26);
  expected.writeUInt32BE(agent.bufferBytes, 30);
  t.same(verdicts, [{ what: 'pass' }, { what: 'drop' }, { what: 'forward', bytes: bytes.slice(2) }]);
  t.same(emits, [{ bytes: Uint8Array.from(expected), output: 3, after: 2 }]);
  t.same(agent.lines, ['a line of ☃', 'x'.repeat(170)]);
});

t.test('the SDK: configuration as JSON.parse reads it', async (t) => {
  // Logs all that it was given, or is refused.
  const module = await build(
    t.testdir(),
    `import { Config, log } from 'ringcube/sdk';
${EXPORTS}
export function process(ptr: usize, length: i32, meta: i32): i32 { return 1; }
export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  if (config.has('text')) log(config.text('text', ''));
  if (config.has('number')) log(config.number('number', 0, -Infinity, Infinity).toString());
  if (config.has('flag')) log(config.flag('flag', false).toString());
  return config.done();
}
`,
  );
  const value = fc.record({ text: fc.string({ unit: 'grapheme', maxLength: 40 }), number: fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 })), flag: fc.boolean() }, { requiredKeys: [] });
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 0, 2), fc.boolean(), (settings, indent, escaped) => {
      let text = JSON.stringify(settings, null, indent);
      if (escaped) text = text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
      const { lines } = new TestAgent(module, text);
      const expected = [settings.text, settings.number, settings.flag].filter((setting) => setting !== undefined);
      assert.equal(lines.length, expected.length);
      lines.forEach((line, i) => {
        if (typeof expected[i] === 'number') assert.ok(Math.abs(Number(line) - expected[i]) <= Math.abs(expected[i]) * 1e-15, `${line} for ${expected[i]}`);
        else assert.equal(line, String(expected[i]));
      });
    }),
    { numRuns: 300 },
  );

  const refusal = (text: string): string => {
    try {
      new TestAgent(module, text);
    } catch (error) {
      return (error as Error).message.replace(/^refused: (.*; )?configuration: /, '');
    }
    return 'taken';
  };
  t.equal(refusal(''), 'taken');
  t.equal(refusal(' { } '), 'taken');
  t.equal(refusal('{"x": 1}'), 'x: no such setting');
  t.equal(refusal('{"flag": 1}'), 'flag: must be true or false');
  t.equal(refusal('{"flag": true, "flag": true}'), 'flag: twice');
  for (const [text, character] of [['{', 2], ['{"text"', 8], ['{"text": }', 10], ['{"flag": [1]}', 10], ['{"flag": true,}', 15], ['{} x', 4], ['[]', 1], ['{"number": 01}', 13], ['{"number": 1.}', 14], ['{"text": "\n"}', 11], ['{"text": "\\x"}', 13], ['{"text": "\\u12g4"}', 16]] as const) {
    t.equal(refusal(text), `not a JSON object of strings, numbers, true and false: character ${character}`, text);
  }
});
