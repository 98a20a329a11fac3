import fc from 'fast-check';
import t from 'tap';
import { LatencyHistogram } from '../../src/base/index.js';

t.test('an empty histogram is all zeros', (t) => {
  t.same(new LatencyHistogram().summary(), { p50: 0, p90: 0, p99: 0, p999: 0, max: 0, count: 0 });
  t.end();
});

t.test('percentiles are those of the sorted latencies, within 0.1 %', (t) => {
  const latency = fc.double({ min: 0, max: 1e13, noNaN: true });
  fc.assert(
    fc.property(fc.array(latency, { minLength: 1, maxLength: 300 }), fc.double({ min: 0, max: 100, noNaN: true }), (latencies, p) => {
      const histogram = new LatencyHistogram();
      histogram.recordAll(Float64Array.from(latencies));
      const sorted = latencies.map(Math.floor).sort((a, b) => a - b);
      const exact = sorted[Math.max(0, Math.ceil((p / 100) * sorted.length - 1e-9) - 1)];
      const got = histogram.percentile(p);
      return (
        Math.abs(got - exact) <= exact * 1e-3 &&
        got <= histogram.max &&
        histogram.max === sorted[sorted.length - 1] &&
        histogram.count === latencies.length
      );
    }),
  );
  t.end();
});

t.test('recordAll() takes the first count elements, as record() would', (t) => {
  const latencies = Float64Array.of(10, 20, 30, 4_000_000);
  const all = new LatencyHistogram();
  all.recordAll(latencies, 3);
  const each = new LatencyHistogram();
  for (const ns of latencies.subarray(0, 3)) each.record(ns);
  t.same(all.summary(), each.summary());
  t.equal(all.max, 30);
  for (const wrong of [-1, 5, 1.5]) t.throws(() => all.recordAll(latencies, wrong), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('a stall counts for all the requests it held back', (t) => {
  // 99 answers in 1 µs, then a stall of 100 µs, one request meant each microsecond.
  const naive = new LatencyHistogram();
  const corrected = new LatencyHistogram();
  for (let i = 0; i < 99; i++) {
    naive.record(1_000);
    corrected.recordCorrected(1_000, 1_000);
  }
  naive.record(100_000);
  corrected.recordCorrected(100_000, 1_000);
  t.equal(naive.summary().p90, 1_000);
  t.equal(corrected.count, 99 + 100);
  t.ok(Math.abs(corrected.summary().p90 - 80_100) < 1_200, String(corrected.summary().p90));
  t.equal(corrected.max, 100_000);
  t.throws(() => corrected.recordCorrected(1e12, 1), { code: 'ERR_OUT_OF_RANGE' });
  for (const wrong of [0, -1, NaN, Infinity]) {
    t.throws(() => corrected.recordCorrected(5, wrong), { code: 'ERR_INVALID_ARGUMENT' });
  }
  t.end();
});

t.test('what is no latency is refused', (t) => {
  const histogram = new LatencyHistogram();
  for (const wrong of [-1, NaN, Infinity]) t.throws(() => histogram.record(wrong), { code: 'ERR_INVALID_ARGUMENT' });
  for (const wrong of [-1, 101, NaN]) t.throws(() => histogram.percentile(wrong), { code: 'ERR_INVALID_ARGUMENT' });
  t.equal(histogram.count, 0);
  t.end();
});
