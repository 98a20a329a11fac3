// examples/agents/aggregate.ts: tumbling windows over readings of sensors, against a model that keeps all readings.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { type Emitted, TestAgent, agentModule } from './harness.js';

const module = agentModule('aggregate');

interface Reading {
  sensor: number;
  timeMs: number;
  value: number;
}

interface Summary {
  sensor: number;
  count: number;
  startMs: number;
  min: number;
  max: number;
  mean: number;
}

function payloadOf(readings: readonly Reading[]): Uint8Array {
  const bytes = Buffer.alloc(16 * readings.length);
  readings.forEach(({ sensor, timeMs, value }, i) => {
    bytes.writeUInt32BE(sensor, 16 * i);
    bytes.writeDoubleBE(timeMs, 16 * i + 4);
    bytes.writeFloatBE(value, 16 * i + 12);
  });
  return Uint8Array.from(bytes);
}

function summariesOf(emits: readonly Emitted[]): Summary[] {
  return emits.flatMap(({ bytes }) => {
    const buffer = Buffer.from(bytes);
    assert.equal(buffer.length % 32, 0);
    return Array.from({ length: buffer.length / 32 }, (_, i) => {
      const at = 32 * i;
      assert.equal(buffer.readUInt32BE(at + 28), 0);
      return { sensor: buffer.readUInt32BE(at), count: buffer.readUInt32BE(at + 4), startMs: buffer.readDoubleBE(at + 8), min: buffer.readFloatBE(at + 16), max: buffer.readFloatBE(at + 20), mean: buffer.readFloatBE(at + 24) };
    });
  });
}

/** Every reading in its window, unless a later window had begun; sensors in the order of their first readings. */
class Model {
  readonly closed: Summary[] = [];
  private window = -Infinity;
  private readings: Reading[] = [];

  constructor(private readonly windowMs: number) {}

  add(reading: Reading): void {
    const window = Math.floor(reading.timeMs / this.windowMs);
    if (!Number.isFinite(window) || !Number.isFinite(reading.value) || window < this.window) return;
    if (window > this.window) this.close();
    this.window = window;
    this.readings.push(reading);
  }

  close(): void {
    for (const sensor of new Set(this.readings.map((reading) => reading.sensor))) {
      const values = this.readings.filter((reading) => reading.sensor === sensor).map(({ value }) => Math.fround(value));
      const mean = Math.fround(values.reduce((a, b) => a + b, 0) / values.length);
      this.closed.push({ sensor, count: values.length, startMs: this.window * this.windowMs, min: Math.min(...values), max: Math.max(...values), mean });
    }
    this.readings = [];
  }
}

const reading = fc.record({
  sensor: fc.oneof(fc.nat(5), fc.nat(2 ** 32 - 1)),
  timeMs: fc.oneof({ weight: 9, arbitrary: fc.nat(1000) }, { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity) }),
  value: fc.oneof({ weight: 9, arbitrary: fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e6), max: Math.fround(1e6) }).map((value) => value + 0) }, { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity) }),
});
/** Times that mostly rise. */
const readings = fc.array(reading, { maxLength: 120 }).map((list) => list.map((one, i) => ({ ...one, timeMs: one.timeMs + 200 * i })));

t.test('count, least, greatest and mean of each sensor and window', (t) => {
  fc.assert(
    fc.property(readings, fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 9 }), (readings, windowMs, aPayload) => {
      const agent = new TestAgent(module, { windowMs });
      const model = new Model(windowMs);
      const emits: Emitted[] = [];
      for (let i = 0; i < readings.length; i += aPayload) {
        const some = readings.slice(i, i + aPayload);
        some.forEach((one) => model.add(one));
        const outcome = agent.run([payloadOf(some)]);
        assert.deepEqual(outcome.verdicts, [{ what: 'drop' }]);
        emits.push(...outcome.emits);
      }
      assert.deepEqual(agent.tick(), [], 'the last window may yet go on');
      agent.nowUs = windowMs * 1000;
      model.close();
      emits.push(...agent.tick());
      assert.deepEqual(summariesOf(emits), model.closed);
    }),
    { numRuns: 150 },
  );
  t.end();
});

t.test('save and restore in the middle change nothing', (t) => {
  fc.assert(
    fc.property(readings, fc.nat(120), (readings, cut) => {
      const run = (agent: TestAgent, readings: readonly Reading[]): Emitted[] => readings.flatMap((one) => agent.run([payloadOf([one])]).emits);
      const before = new TestAgent(module, { windowMs: 700 });
      const first = run(before, readings.slice(0, cut));
      const after = new TestAgent(module, { windowMs: 700 });
      assert.ok(after.restore(before.save()));
      assert.deepEqual([...first, ...run(after, readings.slice(cut))], run(new TestAgent(module, { windowMs: 700 }), readings));
    }),
    { numRuns: 50 },
  );
  const agent = new TestAgent(module, { windowMs: 700 });
  agent.run([payloadOf([{ sensor: 1, timeMs: 1, value: 1 }])]);
  t.notOk(new TestAgent(module, { windowMs: 500 }).restore(agent.save()), 'windows of another length');
  t.notOk(new TestAgent(module, { windowMs: 700 }).restore(agent.save().map((byte, i) => (i === 36 ? 255 : byte))), 'more sensors than there are');
  t.end();
});

t.test('bounds: sensors, emit buffers, lateness', (t) => {
  const crowd = Array.from({ length: 600 }, (_, sensor) => ({ sensor, timeMs: 0, value: sensor }));
  const agent = new TestAgent(module);
  for (let i = 0; i < 600; i += 100) agent.run([payloadOf(crowd.slice(i, i + 100))]);
  agent.nowUs = 1e6;
  agent.emitRoom = 3;
  const first = agent.tick();
  t.same(first.map(({ bytes }) => bytes.length), [2048, 2048, 2048], 'as many as fit');
  t.ok(new TestAgent(module).restore(agent.save()), 'the rest can be saved');
  agent.emitRoom = 10;
  const rest = agent.run([payloadOf([])]).emits;
  const summaries = summariesOf([...first, ...rest]);
  t.same(summaries.map(({ sensor }) => sensor), crowd.slice(0, 500).map(({ sensor }) => sensor), '500, each once');
  t.ok(agent.lines.some((line) => line.startsWith('left readings out')), 'and the log says so');

  agent.run([payloadOf([{ sensor: 1, timeMs: 999, value: 1 }, { sensor: 1, timeMs: 1000, value: 2 }, { sensor: 1, timeMs: 1e15, value: 3 }])]);
  agent.run([payloadOf([{ sensor: 1, timeMs: 2000, value: 4 }])]);
  agent.nowUs = 2e6;
  t.same(summariesOf(agent.tick()).map(({ startMs, count }) => [startMs, count]), [[1e15, 1]], 'what comes after the far future is late');
  agent.nowUs = 12e6;
  agent.tick();
  t.same(agent.run([payloadOf([{ sensor: 1, timeMs: 3000, value: 4 }, { sensor: 1, timeMs: 4000, value: 4 }])]).emits.length, 1, 'until ten windows\' time has passed');

  const stuck = new TestAgent(module);
  stuck.emitRoom = 0;
  for (let timeMs = 0; timeMs < 5000; timeMs += 1000) stuck.run([payloadOf([{ sensor: 7, timeMs, value: timeMs }])]);
  stuck.emitRoom = 1;
  t.same(summariesOf(stuck.run([payloadOf([])]).emits).map(({ startMs }) => startMs), [0], 'without room, the first window is kept and later ones left out');
  t.end();
});

t.test('a payload that is no readings is dropped', (t) => {
  const agent = new TestAgent(module);
  for (const length of [1, 15, 17]) t.same(agent.run([new Uint8Array(length)]), { verdicts: [{ what: 'drop' }], emits: [] });
  agent.nowUs = 1e7;
  t.same(agent.tick(), []);
  t.throws(() => new TestAgent(module, { windowMs: 0 }), { message: /windowMs: must be a number from 1/ });
  t.end();
});
