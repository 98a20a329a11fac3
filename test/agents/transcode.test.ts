// examples/agents/transcode.ts: RTP of L16 to RTP of PCMU (RFC 3551 §4.5.11, §4.5.14; ITU-T G.711).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';
import { TestAgent, agentModule, forwarded } from './harness.js';
import { MALFORMED, RTCP, rtp } from './rtp.js';

const module = agentModule('transcode');
const SAMPLES_A_PACKET = 800;
const ffmpeg = spawnSync('ffmpeg', ['-version']).status === 0;

/** ITU-T G.711 table 2a: the decision values x_1 … x_127 of the positive half, in 14 bits: eight segments of 16 steps, 2 wide, 4, 8, … */
const DECISIONS = Array.from({ length: 127 }, (_, i) => 2 ** Math.floor(i / 16) * (32 + 2 * ((i % 16) + 1)) - 33);

/** G.711 by its table: sign and number of the interval, all bits inverted (note to table 2). */
function byTable(sample: number): number {
  // 16 bits are four to one of 14; a negative value on a decision value belongs to the smaller magnitude.
  const magnitude = (sample < 0 ? -sample - 1 : sample) / 4;
  let n = 0;
  while (n < DECISIONS.length && magnitude >= DECISIONS[n]) n++;
  return (~((sample < 0 ? 0x80 : 0) | n)) & 0xff;
}

/** ITU-T G.711 table 2a's other side: the value at the decoder's output, in 14 bits, by the expansion y = (2m + 33) × 2^s − 33. */
function decode(code: number): number {
  const inverted = ~code & 0xff;
  const segment = (inverted >> 4) & 7;
  const magnitude = (2 * (inverted & 15) + 33) * 2 ** segment - 33;
  return inverted & 0x80 ? -magnitude : magnitude;
}

function l16(samples: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(2 * samples.length);
  samples.forEach((sample, i) => bytes.writeInt16BE(sample, 2 * i));
  return bytes;
}

const ALL = Array.from({ length: 65536 }, (_, i) => i - 32768);

/** All samples through the agent, as a batch at a time would take them. */
function codesOfAll(): Uint8Array {
  const agent = new TestAgent(module);
  const codes: number[] = [];
  for (let i = 0; i < ALL.length; i += SAMPLES_A_PACKET) {
    const out = forwarded(agent.run([rtp({ payload: l16(ALL.slice(i, i + SAMPLES_A_PACKET)) })]))!;
    codes.push(...out.slice(12));
  }
  return Uint8Array.from(codes);
}

t.test('each of the 65,536 samples has the code of ITU-T G.711 table 2a', (t) => {
  const codes = codesOfAll();
  t.equal(codes.length, ALL.length);
  t.same([1, 2, 16, 17, 32, 127].map((n) => DECISIONS[n - 1]), [1, 3, 31, 35, 95, 7903], 'as printed there');
  t.same(ALL.filter((sample, i) => codes[i] !== byTable(sample)), []);
  t.end();
});

t.test('ffmpeg decodes what the agent encodes', { skip: ffmpeg ? false : 'needs the command ffmpeg' }, (t) => {
  const codes = codesOfAll();
  const run = (args: string[], input: Uint8Array): Buffer => spawnSync('ffmpeg', ['-v', 'error', ...args, 'pipe:1'], { input, maxBuffer: 2 ** 22 }).stdout;
  const decoded = run(['-f', 'mulaw', '-ar', '8000', '-ac', '1', '-i', 'pipe:0', '-f', 's16be'], codes);
  t.equal(decoded.length, 2 * ALL.length);
  t.same(ALL.filter((_, i) => decoded.readInt16BE(2 * i) !== decode(codes[i]) * 4), [], 'as the expansion says');
  // Its encoder takes the nearest value instead of the standard's decision values, which lie apart from the middle between segments.
  const theirs = run(['-f', 's16be', '-ar', '8000', '-ac', '1', '-i', 'pipe:0', '-f', 'mulaw'], l16(ALL));
  t.same(ALL.filter((_, i) => Math.abs(theirs[i] - codes[i]) > 1), [], 'its own encoder differs by one step at most');
  const differing = ALL.filter((_, i) => theirs[i] !== codes[i]).length;
  t.ok(differing < 1500, `${differing} of 65,536 codes differ`);
  t.end();
});

const fields = fc.record({
  marker: fc.boolean(),
  sequence: fc.nat(65535),
  timestamp: fc.nat(2 ** 31),
  csrcs: fc.array(fc.nat(2 ** 31), { maxLength: 15 }),
  extension: fc.option(fc.array(fc.nat(2 ** 31), { maxLength: 20 }), { nil: undefined }),
  padding: fc.nat(255),
});

t.test('header, contributing sources and extension stay; payload type, payload and padding change (RFC 3550 §5.1)', (t) => {
  const agent = new TestAgent(module);
  fc.assert(
    fc.property(fields, fc.array(fc.integer({ min: -32768, max: 32767 }), { maxLength: 300 }), ({ extension, ...rest }, samples) => {
      const common = extension === undefined ? rest : { ...rest, extension };
      const out = forwarded(agent.run([rtp({ ...common, payload: l16(samples) })]));
      assert.deepEqual(out, rtp({ ...common, payloadType: 0, padding: 0, payload: Uint8Array.from(samples, byTable) }));
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('stereo becomes the mean of left and right', (t) => {
  const agent = new TestAgent(module, { channels: 2, payloadType: 97 });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: -32768, max: 32767 }), fc.integer({ min: -32768, max: 32767 })), { maxLength: 200 }), (frames) => {
      const out = forwarded(agent.run([rtp({ payloadType: 97, payload: l16(frames.flat()) })]));
      assert.deepEqual(out, rtp({ payloadType: 0, payload: Uint8Array.from(frames, ([left, right]) => byTable(Math.floor((left + right) / 2))) }));
    }),
    { numRuns: 100 },
  );
  t.equal(forwarded(agent.run([rtp({ payloadType: 97, payload: new Uint8Array(6) })])), null, 'half a frame is dropped');
  t.end();
});

t.test('what is not L16 of the stream', (t) => {
  const agent = new TestAgent(module);
  const speech = rtp({ payload: l16([1, 2, 3]) });
  const other = rtp({ payloadType: 8, payload: Uint8Array.of(1, 2, 3) });
  const outcome = agent.run([speech, other, RTCP, rtp({ payload: new Uint8Array(3) }), ...MALFORMED.map(([, bytes]) => bytes), speech]);
  t.strictSame(forwarded(outcome, 1), other, 'another payload type goes through');
  t.strictSame(forwarded(outcome, 2), RTCP, 'RTCP goes through');
  t.equal(forwarded(outcome, 3), null, 'half a sample is dropped');
  for (const [i, [why]] of MALFORMED.entries()) t.equal(forwarded(outcome, 4 + i), null, `dropped: ${why}`);
  t.strictSame(forwarded(outcome, 0), forwarded(outcome, outcome.verdicts.length - 1), 'and the batch goes on');
  t.end();
});

t.test('configuration', (t) => {
  for (const [configuration, line] of [
    [{ channels: 3 }, 'channels: must be a whole number from 1 to 2'],
    [{ payloadType: 0 }, 'payloadType: 0 is what comes out'],
    [{ rate: 8000 }, 'rate: no such setting'],
  ] as const) {
    t.throws(() => new TestAgent(module, configuration), { message: `refused: configuration: ${line}` });
  }
  t.end();
});
