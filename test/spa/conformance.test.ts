// docs/agent-abi.md, the same for every kind of agent: wherever its payloads lie, whatever stops it.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { type AgentOptions } from '../../src/spa/index.js';
import { BUDGETS, Rig, WINDOWS, type Window, accounted, kind, lacks, payload } from './rig.js';
import { type Sent, Op, TrustedScript, expectation, scriptModules } from './script.js';

const BUFFER_BYTES = 256;
const EMIT_ROOM = 40;
const CONFIGURATION = '{"name": "Käse"}';
const SEED = Number(process.env['RINGCUBE_SEED'] ?? 20050301);
const modules = await scriptModules();
t.comment(`RINGCUBE_SEED=${SEED}`);

interface Kind {
  name: string;
  skip: string | false;
  batch: boolean;
  window: Window;
  options: () => Omit<AgentOptions, 'name'>;
}

const KINDS: Kind[] = [];
for (const window of WINDOWS) {
  for (const budget of window === 'trusted' ? (['none'] as const) : BUDGETS) {
    for (const way of window === 'trusted' ? (['single'] as const) : (['batch', 'single'] as const)) {
      KINDS.push({
        name: `${window}, ${budget}, ${way}`, skip: lacks(window, budget), batch: way === 'batch', window,
        options: () => ({
          module: window === 'trusted' ? new TrustedScript(BUFFER_BYTES) : modules[way], ...kind(window), ...(window === 'trusted' ? {} : { budget }),
          configuration: CONFIGURATION, emitRoom: EMIT_ROOM, budgetUs: 1e6,
        }),
      });
    }
  }
}

const arbitraryPayload = (batch: boolean): fc.Arbitrary<Sent> => {
  const ops = [Op.pass, Op.drop, Op.forward, Op.invert, Op.grow, Op.shorten, Op.verdict, Op.emit, Op.number, Op.configuration, ...(batch ? [Op.strip] : [])];
  return fc.record({ op: fc.constantFrom(...ops), a: fc.nat(30), b: fc.nat(255), c: fc.nat(3), rest: fc.uint8Array({ minLength: 30, maxLength: 200 }), meta: fc.nat(100), verdict: fc.oneof(fc.integer().filter((n) => (n & 255) !== 2), fc.oneof(fc.nat(34), fc.integer({ min: BUFFER_BYTES + 1, max: 400 })).map((n) => (n << 8) | 2), fc.constantFrom(0, 1, 2, -1, 255, 256, 257, 0x7fffff02, -254)) })
    .map(({ op, a, b, c, rest, meta, verdict }) => {
      const bytes = Uint8Array.from([op, a, b, c, ...rest]);
      if (op === Op.verdict) new DataView(bytes.buffer).setInt32(4, verdict, true);
      return { bytes, meta };
    });
};

for (const { name, skip, batch, window, options } of KINDS) {
  t.test(name, { skip }, async (t) => {
    await t.test('verdicts, lengths, moved beginnings, emits in order, senders, configuration', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      let served = 0;
      const total: Record<string, number> = {};
      fc.assert(
        fc.property(fc.array(arbitraryPayload(batch), { minLength: 1, maxLength: 60 }), (sent) => {
          const expected = expectation(sent, { bufferBytes: BUFFER_BYTES, served, configuration: CONFIGURATION, emitRoom: EMIT_ROOM, emitsFirst: batch });
          const came = rig.run(agent, sent);
          served += sent.length;
          for (const [counter, count] of Object.entries(expected.counters)) total[counter] = (total[counter] ?? 0) + count;
          assert.deepEqual(came, { out: expected.out, passed: expected.passed });
          assert.equal(accounted(agent.counters), served, 'each payload is in one counter');
        }),
        { seed: SEED, numRuns: 150 },
      );
      t.match(agent.counters, total);
      rig.close(t);
      t.end();
    });

    await t.test('bytes copied: none in a shared window, two ways in a copied one', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      rig.run(agent, [payload(Op.forward, 1, 2, 3), payload(Op.drop, 1), payload(Op.pass, 1, 2)]);
      t.equal(agent.counters.copiedBytes, window === 'copy' ? 4 + 2 + 3 + 4 : 0);
      t.equal(agent.window, window === 'protected' ? 'shared' : window);
      rig.close(t);
      t.end();
    });

    await t.test('timer, and what it emits', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      t.ok(agent.hasTick);
      rig.run(agent, [payload(Op.forward)]);
      t.same(rig.tick(agent), [{ bytes: [0, 1, 2, 3], meta: 0, output: 0 }]);
      t.same(rig.tick(agent), [{ bytes: [0, 1, 2, 3], meta: 0, output: 0 }]);
      t.equal(agent.counters.emitted, 2);
      t.equal(agent.counters.payloads, 1);
      rig.close(t);
      t.end();
    });

    await t.test('emit buffers: as many as there is room for, new ones each call', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      for (let k = 0; k < 5; k++) t.equal(rig.run(agent, [payload(Op.emit, 200, 8, 0), payload(Op.forward)]).out.length, EMIT_ROOM + 2);
      rig.close(t);
      t.end();
    });

    await t.test('a pool that ran dry: emit buffers come back with its buffers', (t) => {
      const rig = new Rig();
      const domain = rig.domain({ buffers: 60 });
      const held = Array.from({ length: 60 }, () => domain.pool.get());
      const agent = rig.agent(domain, options());
      domain.pool.put(held.pop()!);
      t.equal(rig.run(agent, [payload(Op.emit, 5, 8, 0)]).out.length, 1, 'no room: none of five');
      for (const handle of held) domain.pool.put(handle);
      rig.run(agent, [payload(Op.forward)]);
      t.equal(rig.run(agent, [payload(Op.emit, 5, 8, 0)]).out.length, 6);
      rig.close(t);
      t.end();
    });

    await t.test('state: saved, and taken up by another of its kind', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      rig.run(agent, [payload(Op.forward), payload(Op.forward), payload(Op.drop)]);
      t.ok(agent.checkpoint());
      agent.replace({ module: options().module });
      const [{ bytes }] = rig.run(agent, [{ bytes: Uint8Array.from([Op.number, ...new Array<number>(11).fill(0)]), meta: 9 }]).out;
      t.same(bytes.slice(4), [3, 0, 0, 0, 9, 0, 0, 0]);
      rig.close(t);
      t.end();
    });

    await t.test('log: ten lines a second', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      rig.run(agent, [payload(Op.log, 7), payload(Op.log, 7)]);
      t.same(rig.lines, new Array<string>(10).fill('line'));
      t.equal(agent.counters.logDropped, 4);
      rig.nowUs = 1e6;
      rig.run(agent, [payload(Op.log, 3)]);
      t.equal(rig.lines.length, 13);
      t.equal(agent.counters.logged, 13);
      rig.close(t);
      t.end();
    });

    await t.test('memory that grows while it works', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      const emits = [[0, 1, 2], [1, 2, 3]];
      for (let k = 0; k < 3; k++) {
        const sent = [payload(Op.growMemory, 3, 0, 7), payload(Op.emit, 2, 3, 1), payload(Op.pass, 1), payload(Op.invert, 0, 0, 0, 1)];
        const came = rig.run(agent, sent);
        t.same(came.out.map(({ bytes }) => bytes), [[Op.growMemory, 3, 0, 7], ...(batch ? [...emits, [Op.emit, 2, 3, 1]] : [[Op.emit, 2, 3, 1], ...emits]), [Op.invert, 0, 0, 0, 254]]);
        t.same(came.passed.map(({ bytes }) => bytes), [[Op.pass, 1]]);
      }
      rig.close(t);
      t.end();
    });

    await t.test('more payloads than records', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      const sent = Array.from({ length: 500 }, (_, i) => ({ bytes: Uint8Array.from([Op.number, i & 255, i >> 8, ...new Array<number>(9).fill(0)]), meta: i }));
      const { out } = rig.run(agent, sent);
      t.same(out.map(({ bytes }) => [bytes[1] + 256 * bytes[2], bytes[4] + 256 * bytes[5], bytes[8] + 256 * bytes[9]]), sent.map((_, i) => [i, i, i]));
      t.equal(agent.counters.batches, 2);
      const mixed = Array.from({ length: 400 }, (_, i) => payload(i % 2 === 0 ? Op.pass : Op.drop, i & 255));
      t.same(rig.run(agent, mixed).passed.map(({ bytes }) => bytes[1]), mixed.filter((_, i) => i % 2 === 0).map(({ bytes }) => bytes[1]));
      t.equal(accounted(agent.counters), 900);
      rig.close(t);
      t.end();
    });

    await t.test('closed: payloads are given back, nothing runs', (t) => {
      const rig = new Rig();
      const agent = rig.agent(rig.domain(), options());
      agent.close();
      agent.close();
      t.same(rig.run(agent, [payload(Op.forward), payload(Op.pass)]), { out: [], passed: [] });
      t.same(rig.tick(agent), []);
      t.equal(agent.counters.suspended, 2);
      t.throws(() => agent.checkpoint(), { code: 'ERR_CLOSED', message: 'agent script is closed' });
      t.throws(() => {
        agent.replace({});
      }, { code: 'ERR_CLOSED' });
      rig.close(t);
      t.end();
    });
  });
}
