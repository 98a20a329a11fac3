// Wrong options get one line: what, where, what would be right.
import t from 'tap';
import { type AgentOptions, type FaultDomainOptions } from '../../src/spa/index.js';
import { I } from './wasm/builder.js';
import { agent as module } from './hostile/corpus.js';
import { refuses } from '../nic/rig.js';
import { Rig, lacks, payload } from './rig.js';

const good = module();

t.test('agents', (t) => {
  const rig = new Rig();
  const domain = rig.domain();
  const before = domain.pool.available;
  for (const [wrong, message] of [
    [{ name: '' }, /^name: got "", must be a text/],
    [{ name: 5 as unknown as string }, /^name: got 5/],
    [{ module: undefined as unknown as Uint8Array }, /^module: got undefined, must be a WebAssembly module's bytes/],
    [{ module: {} as unknown as Uint8Array }, /^module: got an object/],
    [{ configuration: {} as unknown as string }, /^configuration: got an object, must be a text/],
    [{ window: 'none' as 'copy' }, /^window: got "none", must be shared or copy$/],
    [{ budget: 'cpu' as 'fuel' }, /^budget: got "cpu", must be guard, epoch, fuel or none$/],
    [{ budgetUs: 10 }, /^budgetUs: got 10, must be from 50/],
    [{ fuel: 1.5 }, /^fuel: got 1.5, must be a whole number from 1/],
    [{ fuel: 2 ** 31 }, /^fuel: got 2147483648/],
    [{ maxMemoryPages: 64 }, /^maxMemoryPages: got 64, must be a whole number from 65/],
    [{ emitRoom: 257 }, /^emitRoom: got 257/],
    [{ protect: true, window: 'copy' }, /^protect: got true, must be used with window shared/],
  ] as [Partial<AgentOptions>, RegExp][]) {
    refuses(t, () => rig.agent(domain, { module: good, ...wrong }), 'ERR_INVALID_ARGUMENT', message);
  }
  refuses(t, () => rig.agent(domain, { module: good, configuration: 'x'.repeat(16385) }), 'ERR_OUT_OF_RANGE', /^agent script: its configuration has 16385 bytes, of 16384 at most$/);
  refuses(t, () => rig.agent(domain, { module: module({ abi: 2 }) }), 'ERR_INVALID_ARGUMENT', /^agent script: /);
  if (lacks('shared', 'none') === false) {
    refuses(t, () => rig.agent(domain, { module: module({ process: [...I.i32(0), ...I.i32(0), ...I.i32(0), ...I.fill, ...I.i32(1)] }), protect: true }), 'ERR_UNSUPPORTED', /^agent script: protect can't hold a module with bulk memory operations/);
  }
  t.equal(domain.pool.available, before, 'nothing is kept of what is refused');
  rig.close(t);
  t.end();
});

t.test('fault domains', (t) => {
  const rig = new Rig(2 ** 23);
  for (const [wrong, message] of [
    [{ bufferBytes: 0 }, /^bufferBytes: got 0, must be a whole number from 1/],
    [{ bufferBytes: NaN }, /^bufferBytes: got NaN/],
    [{ bufferBytes: 70_000 }, /^bufferBytes: got 70000/],
    [{ buffers: 0 }, /^buffers: got 0, must be a whole number/],
    [{ buffers: 2.5 }, /^buffers: got 2.5/],
    [{ bufferBytes: 8972, buffers: 1000 }, /^buffers: got 1000, must be at most 457 of 8972 bytes: a window holds 4128768 bytes$/],
    [{ poolId: 64 }, /^id: got 64/],
  ] as [Partial<FaultDomainOptions>, RegExp][]) {
    refuses(t, () => rig.domain(wrong), 'ERR_INVALID_ARGUMENT', message);
  }
  const small = new Rig(2 ** 16);
  refuses(t, () => small.domain(), 'ERR_OUT_OF_RANGE', /^region: \d+ bytes do not fit/);
  t.end();
});

t.test('a copied window holds all records, or the agent is refused', (t) => {
  const rig = new Rig(2 ** 23);
  const domain = rig.domain({ bufferBytes: 16_000, buffers: 200 });
  refuses(t, () => rig.agent(domain, { module: good, window: 'copy' }), 'ERR_OUT_OF_RANGE', 'agent script: a copied window has room for 257 payloads of 16000 bytes, of 256 for input and 64 to emit (emitRoom): use smaller buffers (bufferBytes)');
  const agent = rig.agent(domain, { module: good, window: 'copy', emitRoom: 1 });
  const sent = Array.from({ length: 150 }, (_, i) => ({ bytes: new Uint8Array(16_000).fill(i), meta: 0 }));
  const { out } = rig.run(agent, sent);
  t.ok(out.every(({ bytes }, i) => bytes.length === 16_000 && bytes.every((byte) => byte === i)));
  t.equal(out.length, 150);
  rig.close(t);
  t.end();
});

t.test('what an agent logs is one line without control characters', (t) => {
  const rig = new Rig();
  const text = (at: number, value: number): number[] => [...I.i32(at), ...I.i32(value), ...I.store()];
  // "a\x1b[2J\nb" in memory of its own
  const agent = rig.agent(rig.domain(), { module: module({ process: [...text(2 ** 22, 0x325b1b61), ...text(2 ** 22 + 4, 0x00620a4a), ...I.i32(2 ** 22), ...I.i32(7), ...I.call(1), ...I.i32(1)] }) });
  rig.run(agent, [payload(1)]);
  t.same(rig.lines, ['a [2J b']);
  rig.close(t);
  t.end();
});
