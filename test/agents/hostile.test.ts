// Any bytes into any example agent: it never traps, and never says of a payload, an emit or a state that it is longer than its buffer (the
// harness throws if one does). What fails prints seed and path.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { checkAgent } from '../../src/spa/wasm/check.js';
import { parseModule } from '../../src/spa/wasm/module.js';
import { root } from '../repo/tree.js';
import { TestAgent, agentModule } from './harness.js';
import { RTCP, rtp } from './rtp.js';

t.setTimeout(120_000);

const BUFFER_BYTES = 512;
/** Some configurations that each agent takes. */
const CONFIGURATIONS: Record<string, readonly unknown[]> = {
  pass: [''],
  touch: [''],
  transcode: ['', { channels: 2 }, { payloadType: 127 }],
  thin: ['', { keep: 1, of: 3 }, { rateBps: 8000, burstBytes: 100 }],
  'fec-encode': ['', { group: 1 }, { group: 16, payloadType: 96 }],
  'fec-decode': ['', { payloadType: 96 }],
  filter: [{ offset: 510, value: '0000' }, { containsHex: '00' }, { contains: 'x'.repeat(200), action: 'drop' }],
  aggregate: ['', { windowMs: 1 }],
};

const real = fc
  .record({
    payloadType: fc.constantFrom(0, 96, 127),
    marker: fc.boolean(),
    sequence: fc.oneof(fc.nat(20), fc.nat(65535)),
    timestamp: fc.nat(5),
    ssrc: fc.oneof(fc.nat(2), fc.nat(2 ** 31)),
    csrcs: fc.array(fc.nat(9), { maxLength: 4 }),
    payload: fc.uint8Array({ maxLength: 400 }),
    padding: fc.nat(20),
  })
  .map(rtp);
const mutated = fc.tuple(real, fc.array(fc.tuple(fc.oneof(fc.nat(40), fc.nat(BUFFER_BYTES)), fc.nat(255)), { maxLength: 6 }), fc.nat(BUFFER_BYTES)).map(([packet, changes, cut]) => {
  for (const [at, byte] of changes) if (at < packet.length) packet[at] = byte;
  return cut % 3 === 0 ? packet.slice(0, cut) : packet;
});
const payload = fc.oneof(fc.uint8Array({ maxLength: BUFFER_BYTES }), real, mutated, mutated, fc.constant(RTCP));
const event = fc.record({ payloads: fc.array(payload, { maxLength: 12 }), senders: fc.array(fc.nat(300), { maxLength: 12 }), emitRoom: fc.constantFrom(0, 1, 256), passesUs: fc.nat(3_000_000) });

const all = readdirSync(new URL('examples/agents/', root)).filter((name) => name.endsWith('.ts')).map((name) => name.slice(0, -'.ts'.length));
/** Those that mean well. */
const names = all.filter((name) => name !== 'misbehave').sort();

t.test('every example keeps the contract, and has its configurations here', (t) => {
  t.same(names, Object.keys(CONFIGURATIONS).sort());
  for (const name of all) t.same(checkAgent(parseModule(agentModule(name))), [], name);
  t.end();
});

for (const name of names) {
  t.test(`${name}: any payloads`, (t) => {
    const module = agentModule(name);
    fc.assert(
      fc.property(fc.constantFrom(...CONFIGURATIONS[name]), fc.array(event, { maxLength: 10 }), (configuration, events) => {
        let agent = new TestAgent(module, configuration, BUFFER_BYTES);
        for (const { payloads, senders, emitRoom, passesUs } of events) {
          agent.emitRoom = emitRoom;
          agent.nowUs += passesUs;
          const { verdicts } = agent.run(payloads, senders);
          assert.ok(verdicts.every(({ what }) => what !== 'pass'));
          if (agent.has('tick')) agent.tick();
          if (!agent.has('save') || passesUs % 2 === 0) continue;
          const after = new TestAgent(module, configuration, BUFFER_BYTES);
          assert.ok(after.restore(agent.save()));
          after.nowUs = agent.nowUs;
          agent = after;
        }
      }),
      { numRuns: 80 },
    );
    t.end();
  });

  if (!new TestAgent(agentModule(name), CONFIGURATIONS[name][0]).has('restore')) continue;
  t.test(`${name}: any state`, (t) => {
    const module = agentModule(name);
    const length = new TestAgent(module, CONFIGURATIONS[name][0]).save().length;
    const change = fc.tuple(fc.oneof(fc.nat(100), fc.nat(32768)), fc.oneof(fc.constantFrom(0, 255), fc.nat(255)));
    let taken = 0;
    fc.assert(
      fc.property(fc.array(event, { maxLength: 3 }), fc.oneof(fc.constant([]), fc.array(change, { maxLength: 20 })), fc.option(fc.nat(length), { freq: 1 }), (events, changes, cut) => {
        const agent = new TestAgent(module, CONFIGURATIONS[name][0], BUFFER_BYTES);
        const source = new TestAgent(module, CONFIGURATIONS[name][0], BUFFER_BYTES);
        for (const { payloads } of events) source.run(payloads);
        const state = source.save();
        for (const [at, byte] of changes) state[at % state.length] = byte;
        // An agent that refuses is thrown away by the host.
        if (!agent.restore(cut === null ? state : state.slice(0, cut))) return;
        taken++;
        for (const { payloads } of events) agent.run(payloads);
        if (agent.has('tick')) for (let i = 0; i < 3; i++) agent.tick();
      }),
      { numRuns: 80 },
    );
    t.ok(taken > 0, `${taken} were taken`);
    t.end();
  });
}

t.test('any configuration is taken or refused with a line', (t) => {
  const names = ['keep', 'of', 'rateBps', 'value', 'contains', 'offset', 'group', 'windowMs', 'channels', 'x'];
  const loose = fc.oneof(fc.json(), fc.string(), fc.dictionary(fc.constantFrom(...names), fc.oneof(fc.double(), fc.integer(), fc.string({ unit: 'binary' }), fc.boolean())).map((value) => JSON.stringify(value)));
  for (const name of ['thin', 'filter']) {
    const module = agentModule(name);
    fc.assert(
      fc.property(loose, (text) => {
        try {
          new TestAgent(module, text);
        } catch (error) {
          assert.match((error as Error).message, /^refused: configuration: ./su);
        }
      }),
      { numRuns: 150 },
    );
  }
  t.end();
});
