// examples/agents/fec-encode.ts and fec-decode.ts: parity over groups of RTP packets (RFC 5109 §7, §8, §9), against a parity of this file's own.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { type Emitted, TestAgent, agentModule, forwarded } from './harness.js';
import { MALFORMED, RTCP, rtp, sequenceOf } from './rtp.js';

const encoderModule = agentModule('fec-encode');
const decoderModule = agentModule('fec-decode');
const PARITY_TYPE = 127;

/** RFC 5109 §8.1, §8.2 with bit strings as written there: 8 bytes of fixed header and 2 of length, then the rest. */
function parityOf(packets: readonly Uint8Array[], number: number): Uint8Array {
  const lengths = packets.map((packet) => packet.length - 12);
  const longest = Math.max(...lengths);
  const string = (packet: Uint8Array): Uint8Array => {
    const bytes = new Uint8Array(10 + longest);
    bytes.set(packet.subarray(0, 8));
    bytes.set([(packet.length - 12) >> 8, (packet.length - 12) & 255], 8);
    bytes.set(packet.subarray(12), 10);
    return bytes;
  };
  const bits = packets.map(string).reduce((sum, bytes) => sum.map((byte, i) => byte ^ bytes[i]), new Uint8Array(10 + longest));
  const sequences = packets.map(sequenceOf);
  // Modulo 2^16: the base is the one that all others are ahead of.
  const base = sequences.find((a) => sequences.every((b) => ((b - a) & 0xffff) < 16))!;
  const mask = sequences.reduce((mask, sequence) => mask | (0x8000 >> ((sequence - base) & 0xffff)), 0);
  const last = packets.at(-1)!;
  return Uint8Array.from([
    0x80, PARITY_TYPE, number >> 8, number & 255, ...last.subarray(4, 12),
    bits[0] & 0x3f, bits[1], base >> 8, base & 255, ...bits.subarray(4, 8), bits[8], bits[9],
    longest >> 8, longest & 255, mask >> 8, mask & 255,
    ...bits.subarray(10),
  ]);
}

const packetFields = fc.record({
  payloadType: fc.integer({ min: 0, max: 63 }),
  marker: fc.boolean(),
  timestamp: fc.nat(2 ** 31),
  csrcs: fc.array(fc.nat(2 ** 31), { maxLength: 3 }),
  payload: fc.uint8Array({ maxLength: 60 }),
  padding: fc.nat(5),
});

/** A stream's packets, from sequence number `first` on; their timestamps differ. */
function media(fields: readonly Parameters<typeof rtp>[0][], first: number, ssrc = 7): Uint8Array[] {
  return fields.map((field, i) => rtp({ ...field, ssrc, sequence: (first + i) & 0xffff, timestamp: (first + 160 * i) >>> 0 }));
}

const streamOf = (min: number, max: number): fc.Arbitrary<Uint8Array[]> =>
  fc.tuple(fc.array(packetFields, { minLength: min, maxLength: max }), fc.nat(65535)).map(([fields, first]) => media(fields, first));

/** All that leaves an agent, in order: what it forwards, then what it emits. */
function through(agent: TestAgent, packets: readonly Uint8Array[], sender = 0): Uint8Array[] {
  return packets.flatMap((packet) => {
    const outcome = agent.run([packet], [sender]);
    const out = forwarded(outcome);
    return [...(out === null ? [] : [out]), ...outcome.emits.map(({ bytes }: Emitted) => bytes)];
  });
}

const bySequence = (packets: readonly Uint8Array[], first: number): Uint8Array[] =>
  [...packets].sort((a, b) => ((sequenceOf(a) - first) & 0xffff) - ((sequenceOf(b) - first) & 0xffff));

t.test('the encoder sends each packet as it is, and after each group the parity of RFC 5109 §8', (t) => {
  fc.assert(
    fc.property(streamOf(1, 40), fc.integer({ min: 1, max: 16 }), (packets, group) => {
      const agent = new TestAgent(encoderModule, { group });
      const expected: Uint8Array[] = [];
      packets.forEach((packet, i) => {
        expected.push(packet);
        if ((i + 1) % group === 0) expected.push(parityOf(packets.slice(i + 1 - group, i + 1), expected.length / (group + 1) | 0));
      });
      assert.deepEqual(through(agent, packets), expected);
    }),
    { numRuns: 150 },
  );
  t.end();
});

t.test('reordered packets within a group give the same bits, doubled ones count once, a jump ends the group', (t) => {
  const packets = media([{ payload: Uint8Array.of(1, 2) }, { payload: Uint8Array.of(3) }, { payload: Uint8Array.of(4, 5, 6) }], 65535);
  const order = [packets[1], packets[1], packets[0], packets[0], packets[2]];
  t.strictSame(through(new TestAgent(encoderModule, { group: 3 }), order), [...order, parityOf([packets[1], packets[0], packets[2]], 0)]);

  const far = rtp({ ssrc: 7, sequence: 2000, payload: Uint8Array.of(9) });
  const agent = new TestAgent(encoderModule, { group: 4 });
  const out = through(agent, [packets[0], packets[1], far]);
  t.same(out.length, 4);
  t.ok(out.some((bytes) => Buffer.compare(bytes, parityOf(packets.slice(0, 2), 0)) === 0), 'the group so far');
  t.same(agent.tick(), [], 'it may yet go on');
  t.strictSame(agent.tick().map(({ bytes }) => bytes), [parityOf([far], 1)], 'the second tick without a packet ends it');
  t.same(agent.tick(), []);
  t.end();
});

t.test('any one loss in each group is recovered, exactly; the parity never comes through (RFC 5109 §9)', (t) => {
  fc.assert(
    fc.property(streamOf(1, 60), fc.integer({ min: 1, max: 16 }), fc.infiniteStream(fc.nat()), (packets, group, choices) => {
      const first = sequenceOf(packets[0]);
      const whole = packets.slice(0, packets.length - (packets.length % group));
      const sent = through(new TestAgent(encoderModule, { group }), whole);
      // One of each group + 1, be it media or parity.
      const arrived: Uint8Array[] = [];
      for (let at = 0; at < sent.length; at += group + 1) {
        const lost = (choices.next().value as number) % (group + 1);
        arrived.push(...sent.slice(at, at + group + 1).filter((_, i) => i !== lost));
      }
      assert.deepEqual(bySequence(through(new TestAgent(decoderModule), arrived), first), whole);
    }),
    { numRuns: 150 },
  );
  t.end();
});

t.test('any loss, order and doubling: what comes out was sent, comes once, and lacks only what can\'t be had', (t) => {
  const disturbance = fc.array(fc.record({ lost: fc.integer({ min: 0, max: 5 }).map((n) => n === 0), double: fc.integer({ min: 0, max: 5 }).map((n) => n === 0), delay: fc.constantFrom(0, 0, 0, 1.5, 4.5) }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(streamOf(1, 60), fc.integer({ min: 1, max: 8 }), disturbance, (packets, group, disturbances) => {
      const first = sequenceOf(packets[0]);
      const sent = through(new TestAgent(encoderModule, { group }), packets);
      const on = (i: number): (typeof disturbances)[number] => disturbances[i % disturbances.length];
      const arrived = sent
        .flatMap((bytes, i) => (on(i).lost ? [] : on(i).double ? [{ bytes, at: i }, { bytes, at: i + 2.5 }] : [{ bytes, at: i + on(i).delay }]))
        .sort((a, b) => a.at - b.at)
        .map(({ bytes }) => bytes);
      const out = through(new TestAgent(decoderModule), arrived);
      const has = (list: readonly Uint8Array[], packet: Uint8Array): number => list.filter((other) => Buffer.compare(other, packet) === 0).length;
      // The model: what arrived, and of each group whose parity arrived, the one that did not.
      const expected = packets.filter((packet, i) => {
        if (has(arrived, packet) > 0) return true;
        const start = i - (i % group);
        const others = packets.slice(start, start + group);
        return others.length === group && has(arrived, sent[(start / group) * (group + 1) + group]) > 0 && others.every((other) => other === packet || has(arrived, other) > 0);
      });
      assert.deepEqual(bySequence(out, first), expected);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('streams of several senders and SSRCs at once', (t) => {
  const streams = [0, 1].flatMap((sender) => [5, 6].map((ssrc) => ({ sender, packets: media(Array.from({ length: 4 }, (_, i) => ({ payload: Uint8Array.of(i, ssrc, sender) })), 100, ssrc), out: [] as Uint8Array[] })));
  const encoder = new TestAgent(encoderModule, { group: 4 });
  const decoder = new TestAgent(decoderModule);
  for (let i = 0; i < 4; i++) {
    for (const { sender, packets, out } of streams) {
      for (const sent of through(encoder, [packets[i]], sender)) {
        if (sent !== packets[i] && sequenceOf(sent) === 102) continue;
        out.push(...through(decoder, [sent], sender));
      }
    }
  }
  for (const { packets, out } of streams) t.strictSame(bySequence(out, 100), packets);
  t.end();
});

t.test('save and restore of the encoder in the middle change nothing', (t) => {
  fc.assert(
    fc.property(streamOf(1, 40), fc.integer({ min: 1, max: 16 }), fc.nat(40), (packets, group, cut) => {
      const before = new TestAgent(encoderModule, { group });
      const first = through(before, packets.slice(0, cut));
      const after = new TestAgent(encoderModule, { group });
      assert.ok(after.restore(before.save()));
      assert.deepEqual([...first, ...through(after, packets.slice(cut))], through(new TestAgent(encoderModule, { group }), packets));
    }),
    { numRuns: 50 },
  );
  t.notOk(new TestAgent(encoderModule).restore(new Uint8Array(50)), 'what is no state is refused');
  t.end();
});

t.test('bounds: long packets and full emit records', (t) => {
  const long = media([{ payload: new Uint8Array(2030) }, { payload: new Uint8Array(2036) }], 0);
  const encoder = new TestAgent(encoderModule, { group: 1 });
  t.equal(through(encoder, [long[0]]).length, 1, 'its parity would not fit into a buffer');
  t.equal(through(encoder, [long[1]]).length, 1);
  const roomy = new TestAgent(encoderModule, { group: 1 }, 4096);
  const [, parity] = through(roomy, [long[1]]);
  t.strictSame(parity, parityOf([long[1]], 0), '2,048 bytes are protected');
  t.strictSame(through(new TestAgent(decoderModule, '', 4096), [parity]), [long[1]]);
  t.equal(through(roomy, media([{ payload: new Uint8Array(2037) }], 9)).length, 1, 'more are not');
  t.same(through(new TestAgent(decoderModule, '', 2000), [parityOf([rtp({ payload: new Uint8Array(1989) })], 0).slice(0, 2000)]), [], 'recovered, it would not fit');

  const packet = rtp({ payload: Uint8Array.of(1) });
  const none = new TestAgent(encoderModule, { group: 1 });
  none.emitRoom = 0;
  t.strictSame(through(none, [packet]), [packet]);
  const deaf = new TestAgent(decoderModule);
  deaf.emitRoom = 0;
  t.strictSame(through(deaf, [parityOf([packet], 0)]), []);
  t.end();
});

t.test('RTCP goes through, what is no RTP is dropped, parity packets that are wrong are', (t) => {
  for (const module of [encoderModule, decoderModule]) {
    t.strictSame(through(new TestAgent(module), [RTCP]), [RTCP]);
    for (const [why, bytes] of MALFORMED) t.same(through(new TestAgent(module), [bytes]), [], why);
  }
  const good = parityOf([rtp({ payload: Uint8Array.of(1, 2, 3) })], 0);
  const changed = (at: number, byte: number): Uint8Array => Uint8Array.from(good, (old, i) => (i === at ? byte : old));
  for (const [why, bytes] of [
    ['cut short', good.slice(0, -1)],
    ['without a level header', good.slice(0, 22)],
    ['a long mask', changed(12, good[12] | 0x40)],
    ['an empty mask', changed(24, 0)],
    ['a length beyond what is protected', changed(21, 4)],
    ['contributing sources that can\'t be', changed(12, 15)],
  ] as const) {
    t.same(through(new TestAgent(decoderModule), [bytes]), [], why);
  }
  t.equal(through(new TestAgent(decoderModule), [good]).length, 1, 'and the good one');
  t.throws(() => new TestAgent(encoderModule, { group: 17 }), { message: /group: must be a whole number from 1 to 16/ });
  t.end();
});
