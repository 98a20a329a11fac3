// examples/agents/filter.ts, against Buffer's own search and a comparison bit by bit; pass.ts and touch.ts beside it.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { TestAgent, agentModule, forwarded } from './harness.js';

const module = agentModule('filter');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Few distinct bytes, so that fields and needles do occur. */
const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> => fc.array(fc.constantFrom(0, 1, 0x80, 0xff), { minLength, maxLength }).map((list) => Uint8Array.from(list));

t.test('a masked field, a text, both, or their opposite', (t) => {
  const field = fc.record({ offset: fc.nat(6), pairs: fc.array(fc.tuple(fc.constantFrom(0, 1, 0x80, 0xff), fc.constantFrom(0, 1, 0x80, 0xff)), { minLength: 1, maxLength: 3 }), masked: fc.boolean() });
  let [matching, others] = [0, 0];
  fc.assert(
    fc.property(fc.option(field), fc.option(bytes(1, 4)), fc.boolean(), fc.array(bytes(0, 24), { minLength: 1, maxLength: 20 }), (field, needle, drops, payloads) => {
      fc.pre(field !== null || needle !== null);
      const agent = new TestAgent(module, {
        ...(field === null ? {} : { offset: field.offset, value: hex(Uint8Array.from(field.pairs, ([value]) => value)) }),
        ...(field?.masked === true ? { mask: hex(Uint8Array.from(field.pairs, ([, mask]) => mask)) } : {}),
        ...(needle === null ? {} : { containsHex: hex(needle) }),
        ...(drops ? { action: 'drop' } : {}),
      });
      for (const payload of payloads) {
        const fieldMatches = field?.pairs.every(([value, mask], i) => field.offset + i < payload.length && ((payload[field.offset + i] ^ value) & (field.masked ? mask : 255)) === 0) ?? true;
        const matches = fieldMatches && (needle === null || Buffer.from(payload).includes(Buffer.from(needle)));
        if (matches) matching++;
        else others++;
        assert.deepEqual(forwarded(agent.run([payload])), matches !== drops ? payload : null);
      }
    }),
    { numRuns: 300 },
  );
  t.ok(matching > 100 && others > 100, `${matching} matches, ${others} others`);
  t.end();
});

t.test('contains: text as UTF-8', (t) => {
  const agent = new TestAgent(module, { contains: 'naïve "☃" \u{1f600}' });
  const text = Buffer.from('… naïve "☃" \u{1f600}.');
  t.strictSame(forwarded(agent.run([text])), Uint8Array.from(text));
  t.equal(forwarded(agent.run([Buffer.from('naive "☃"')])), null);
  t.end();
});

t.test('configuration', (t) => {
  for (const [configuration, line] of [
    [{}, 'must have value, contains or containsHex'],
    [{ value: 'xyz' }, 'value: must be pairs of hexadecimal digits, at most 32'],
    [{ value: 'aa'.repeat(33) }, 'value: must be pairs of hexadecimal digits, at most 32'],
    [{ value: 'aa', mask: 'ffff' }, 'mask: must be as long as value'],
    [{ contains: 'x'.repeat(257) }, 'contains: must be at most 256 bytes'],
    [{ contains: 'x', containsHex: '00' }, 'containsHex: contains is there already'],
    [{ value: 'aa', offset: -1 }, 'offset: must be a whole number from 0 to 65535'],
    [{ value: 'aa', action: 'pass' }, 'action: must be "forward" or "drop"'],
  ] as const) {
    t.throws(() => new TestAgent(module, configuration), { message: `refused: configuration: ${line}` });
  }
  t.end();
});

t.test('pass and touch let all through; touch sums what it saw', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 2048, size: 'max' }), { minLength: 1, maxLength: 8 }), (payloads) => {
      const touch = new TestAgent(agentModule('touch'));
      for (const agent of [new TestAgent(agentModule('pass')), touch]) {
        const outcome = agent.run(payloads);
        payloads.forEach((payload, i) => assert.deepEqual(forwarded(outcome, i), payload));
        assert.deepEqual(outcome.emits, []);
      }
      const sum = payloads.flatMap((payload) => [...payload]).reduce((a, b) => a + b, 0);
      // A state is the SDK's version word, then what was put.
      const state = touch.save();
      assert.equal(Buffer.from(state).readBigUInt64LE(4), BigInt(sum));
      const other = new TestAgent(agentModule('touch'));
      assert.ok(other.restore(state));
      other.run([Uint8Array.of(1)]);
      assert.equal(Buffer.from(other.save()).readBigUInt64LE(4), BigInt(sum + 1));
    }),
    { numRuns: 50 },
  );
  const most = new TestAgent(agentModule('touch'));
  most.run([new Uint8Array(2048).fill(255)]);
  t.equal(Buffer.from(most.save()).readBigUInt64LE(4), 2048n * 255n, 'no lane overflows');
  t.end();
});
