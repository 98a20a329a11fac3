// examples/agents/thin.ts: whole frames left out of RTP streams, sequence numbers closed up (RFC 3550 §5.1: sequence number, timestamp, marker).
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { TestAgent, agentModule, forwarded } from './harness.js';
import { MALFORMED, RTCP, rtp, sequenceOf } from './rtp.js';

const module = agentModule('thin');

interface Packet {
  frame: number;
  /** Its number in the stream before loss and reordering, from 0 on. */
  index: number;
  bytes: Uint8Array;
}

/** A stream of frames of so many packets, the last of each with the marker. */
function stream(sizes: readonly number[], firstSequence: number, ssrc = 1, payloadBytes = 20): Packet[] {
  const packets: Packet[] = [];
  sizes.forEach((size, frame) => {
    for (let i = 0; i < size; i++) {
      const index = packets.length;
      const sequence = (firstSequence + index) & 0xffff;
      packets.push({ frame, index, bytes: rtp({ ssrc, sequence, timestamp: 3000 * frame, marker: i === size - 1, payload: new Uint8Array(payloadBytes).fill(index) }) });
    }
  });
  return packets;
}

const one = (agent: TestAgent, packet: Uint8Array, sender = 0): Uint8Array | null => forwarded(agent.run([packet], [sender]));
const renumbered = (packet: Uint8Array, sequence: number): Uint8Array => Uint8Array.from(packet, (byte, i) => (i === 2 ? (sequence >> 8) & 255 : i === 3 ? sequence & 255 : byte));

const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 40 });
const ratio = fc.integer({ min: 1, max: 5 }).chain((of) => fc.record({ keep: fc.nat(of), of: fc.constant(of) }));

t.test('keep of every so many frames, whole, without gaps, and nothing else changed', (t) => {
  fc.assert(
    fc.property(sizes, ratio, fc.nat(65535), (sizes, ratio, first) => {
      const agent = new TestAgent(module, ratio);
      let next = first;
      for (const packet of stream(sizes, first)) {
        const kept = packet.frame % ratio.of < ratio.keep;
        assert.deepEqual(one(agent, packet.bytes), kept ? renumbered(packet.bytes, next) : null);
        if (kept) next = (next + 1) & 0xffff;
      }
    }),
    { numRuns: 100 },
  );
  t.end();
});

/** Packets that were lost, doubled, or came up to 5 places late. */
const disturbed = (packets: readonly Packet[], losses: readonly boolean[], delays: readonly number[]): Packet[] =>
  packets
    .filter((_, i) => !losses[i % losses.length])
    .map((packet, i) => ({ packet, at: i + delays[i % delays.length] }))
    .sort((a, b) => a.at - b.at)
    .map(({ packet }) => packet);

t.test('loss and reordering: frames stay whole, order and difference of numbers are true', (t) => {
  const losses = fc.array(fc.integer({ min: 0, max: 9 }).map((n) => n === 0), { minLength: 1, maxLength: 60 });
  const delays = fc.array(fc.constantFrom(0, 0, 0, 0, 1, 2.5, 5.5), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(sizes, ratio, fc.nat(65535), losses, delays, (sizes, ratio, first, losses, delays) => {
      const agent = new TestAgent(module, ratio);
      const arrived = disturbed(stream(sizes, first), losses, delays);
      const out: { packet: Packet; number: number }[] = [];
      const keptFrames = new Map<number, boolean>();
      const begun = new Set<number>();
      let latest = -1;
      for (const packet of arrived) {
        const forwards = one(agent, packet.bytes);
        const isLate = packet.frame < latest && !begun.has(packet.frame);
        latest = Math.max(latest, packet.frame);
        // All of a frame that came too late as a whole is dropped.
        if (isLate) {
          assert.equal(forwards, null);
          continue;
        }
        begun.add(packet.frame);
        if (!keptFrames.has(packet.frame)) keptFrames.set(packet.frame, forwards !== null);
        assert.equal(forwards !== null, keptFrames.get(packet.frame), 'no frame is split');
        if (forwards === null) continue;
        // From the first that came, which keeps its number.
        out.push({ packet, number: ((sequenceOf(forwards) - first + 0x8000) & 0xffff) - 0x8000 });
        assert.deepEqual(forwards, renumbered(packet.bytes, sequenceOf(forwards)));
      }
      const inOrder = [...out].sort((a, b) => a.packet.index - b.packet.index);
      for (let i = 1; i < inOrder.length; i++) {
        const ahead = inOrder[i].packet.index - inOrder[i - 1].packet.index;
        const numbered = inOrder[i].number - inOrder[i - 1].number;
        assert.ok(numbered >= 1 && numbered <= ahead, 'numbers rise, by what lay between at most');
        if (inOrder[i].packet.frame === inOrder[i - 1].packet.frame) assert.equal(numbered, ahead, 'a loss within a kept frame stays visible');
      }
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('a packet lost out of a dropped frame leaves no gap, out of a kept one it does', (t) => {
  const numbers = (lost: number): number[] => {
    const agent = new TestAgent(module, { keep: 1, of: 2 });
    return stream([2, 3, 2], 100).filter(({ index }) => index !== lost).map(({ bytes }) => one(agent, bytes)).filter((bytes) => bytes !== null).map(sequenceOf);
  };
  t.same(numbers(-1), [100, 101, 102, 103]);
  for (const lost of [2, 3]) t.same(numbers(lost), [100, 101, 102, 103], `${lost}: dropped anyway`);
  t.same(numbers(0), [101, 102, 103]);
  t.same(numbers(6), [100, 101, 102]);
  t.same(numbers(5), [100, 101, 103]);
  // Whose they were can't be told.
  t.same(numbers(1), [100, 102, 103]);
  t.same(numbers(4), [100, 101, 103, 104]);
  t.end();
});

t.test('a bit rate: a frame passes whole if the bucket is not in debt', (t) => {
  fc.assert(
    fc.property(sizes, fc.integer({ min: 10_000, max: 1_000_000 }), fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 0, max: 40_000 }), (sizes, rateBps, burstBytes, frameUs) => {
      const agent = new TestAgent(module, { rateBps, burstBytes });
      let tokens = burstBytes;
      let kept = false;
      let frame = -1;
      let passed = 0;
      for (const packet of stream(sizes, 0, 1, 300)) {
        if (packet.frame !== frame) {
          frame = packet.frame;
          agent.nowUs = frame * frameUs;
          if (frame > 0) tokens = Math.min(burstBytes, tokens + (frameUs * rateBps) / 8e6);
          kept = tokens >= 0;
        }
        assert.equal(one(agent, packet.bytes) !== null, kept);
        if (kept) tokens -= packet.bytes.length;
        if (kept) passed += packet.bytes.length;
      }
      const longest = 6 * 312;
      assert.ok(passed <= burstBytes + longest + (agent.nowUs * rateBps) / 8e6, 'never more than burst, rate and one frame');
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('streams are told apart by sender and SSRC, and a source that begins anew goes on', (t) => {
  const agent = new TestAgent(module, { keep: 1, of: 2 });
  const alone = stream([2, 2, 2], 10).map(({ bytes }) => one(new TestAgent(module, { keep: 1, of: 2 }), bytes) !== null);
  t.ok(alone[0]);
  const expected = [10, 11, null, null, 12, 13];
  const seen = [1, 2].flatMap((ssrc) => [0, 1].map((sender) => ({ ssrc, sender, numbers: [] as (number | null)[] })));
  for (let i = 0; i < 6; i++) {
    for (const { ssrc, sender, numbers } of seen) {
      const out = one(agent, stream([2, 2, 2], 10, ssrc)[i].bytes, sender);
      numbers.push(out === null ? null : sequenceOf(out));
    }
  }
  for (const { numbers } of seen) t.same(numbers, expected);

  const restarting = new TestAgent(module, { keep: 1, of: 1 });
  const numbers = [...stream([1, 1, 1], 40_000), ...stream([1, 1, 1], 20_000)].map(({ bytes }) => one(restarting, bytes));
  t.ok(numbers.every((bytes) => bytes !== null), 'nothing is lost for good');

  const crowded = new TestAgent(module, { keep: 1, of: 2 });
  for (let ssrc = 0; ssrc < 1000; ssrc++) t.ok(one(crowded, rtp({ ssrc })), `stream ${ssrc}`);
  t.equal(one(crowded, rtp({ ssrc: 999, sequence: 1, timestamp: 1 })), null, 'the last 64 are known');
  t.ok(one(crowded, rtp({ ssrc: 1, sequence: 1, timestamp: 1 })), 'others begin anew');
  t.end();
});

t.test('save and restore in the middle change nothing', (t) => {
  fc.assert(
    fc.property(sizes, ratio, fc.nat(100), (sizes, ratio, cut) => {
      const configuration = { ...ratio, rateBps: 200_000 };
      const packets = stream(sizes, 65_500);
      const run = (agent: TestAgent, packets: readonly Packet[]): (Uint8Array | null)[] =>
        packets.map(({ bytes, index }) => {
          agent.nowUs = 1000 * index;
          return one(agent, bytes);
        });
      const before = new TestAgent(module, configuration);
      const first = run(before, packets.slice(0, cut));
      const after = new TestAgent(module, configuration);
      assert.ok(after.restore(before.save()));
      assert.deepEqual([...first, ...run(after, packets.slice(cut))], run(new TestAgent(module, configuration), packets));
    }),
    { numRuns: 50 },
  );
  const agent = new TestAgent(module);
  t.ok(agent.saveInto(100) < 0, 'no room');
  t.notOk(agent.restore(agent.save().slice(1)), 'cut short');
  t.notOk(agent.restore(new Uint8Array(0)), 'empty');
  t.end();
});

t.test('RTCP goes through, what is no RTP is dropped', (t) => {
  const agent = new TestAgent(module, { keep: 0, of: 1 });
  t.strictSame(one(agent, RTCP), RTCP);
  for (const [why, bytes] of MALFORMED) t.equal(one(new TestAgent(module), bytes), null, why);
  t.throws(() => new TestAgent(module, { keep: 3, of: 2 }), { message: /keep: must be a whole number from 0 to 2/ });
  t.throws(() => new TestAgent(module, { burstBytes: 2 }), { message: /burstBytes: must come with rateBps/ });
  t.end();
});
