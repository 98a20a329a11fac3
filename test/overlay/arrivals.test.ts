// What a host learns from when messages arrive: whether a peer has failed, how long an answer takes, what has come before.
import fc from 'fast-check';
import t from 'tap';
import { Random, VirtualClock } from '../../src/base/index.js';
import { Arrival, DETECTOR_CELLS, Detector as Detectors, type DetectorOptions, KnCube, RTT_CELLS, ReplayWindow, RttEstimator as RttEstimators, type RttOptions } from '../../src/overlay/index.js';
import { Header, Heartbeat, writeHeader } from '../../src/overlay/codec.js';
import { type OverlayCounters, makeCounters } from '../../src/overlay/counters.js';
import { type Peer } from '../../src/overlay/peer.js';
import { Peers } from '../../src/overlay/peers.js';

/** Where in its state each of them works: not at the beginning, so that a wrong offset shows. */
const AT = 3;

/** A detector of one peer. */
class Detector {
  private readonly detectors: Detectors;
  private readonly state = new Float64Array(AT + DETECTOR_CELLS).fill(NaN);

  constructor(options: DetectorOptions, nowUs: number) {
    this.detectors = new Detectors(options);
    this.detectors.begin(this.state, AT, nowUs);
  }

  get suspectAtUs(): number {
    return this.state[AT];
  }

  heartbeat(nowUs: number): void {
    this.detectors.heartbeat(this.state, AT, nowUs);
  }

  phi(nowUs: number): number {
    return this.detectors.phi(this.state, AT, nowUs);
  }
}

/** An estimator of one peer, which backs off. */
class RttEstimator {
  timeoutUs: number;
  private readonly estimators: RttEstimators;
  private readonly state = new Float64Array(AT + RTT_CELLS);

  constructor(options?: RttOptions) {
    this.estimators = new RttEstimators(options);
    this.estimators.begin(this.state, AT);
    this.timeoutUs = this.estimators.timeoutUs(this.state, AT);
  }

  get smoothedUs(): number {
    return this.state[AT];
  }

  get variationUs(): number {
    return this.state[AT + 1];
  }

  sample(rttUs: number): void {
    this.estimators.sample(this.state, AT, rttUs);
    this.timeoutUs = this.estimators.timeoutUs(this.state, AT);
  }

  backOff(): void {
    this.timeoutUs = this.estimators.backedOffUs(this.timeoutUs);
  }
}

/** −log10 of the normal distribution's tail beyond `z`, from its density: Simpson's rule, scaled by the density at z so that nothing underflows. */
function exponentByDefinition(z: number): number {
  if (z < 0) return -Math.log10(1 - 10 ** -exponentByDefinition(-z));
  const steps = 20_000;
  const width = Math.min(12, 60 / Math.max(1, z)) / steps;
  const relative = (i: number): number => Math.exp(-z * i * width - (i * width) ** 2 / 2);
  let sum = relative(0) + relative(steps);
  for (let i = 1; i < steps; i++) sum += relative(i) * (i % 2 === 1 ? 4 : 2);
  return (z * z / 2 + Math.log(2 * Math.PI) / 2 - Math.log(sum * width / 3)) / Math.LN10;
}

/** A normally distributed number (Box & Muller 1958). */
const normal = (random: Random, mean: number, deviation: number): number => mean + deviation * Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());

t.test('φ accrual failure detection (Hayashibara et al. 2004)', (t) => {
  t.test('φ is −log10 of the tail of the normal distribution (§4.2)', (t) => {
    // Before any heartbeat the mean is what was expected, and the deviation a quarter of that.
    const detector = new Detector({ expectedUs: 1000 }, 500);
    for (const z of [-4, -3, -1, -0.01, 0, 0.01, 0.5, 1, 2, 2.999, 3, 3.001, 4, 5.6, 8, 12, 30, 100]) {
      const phi = detector.phi(1500 + 250 * z);
      const right = exponentByDefinition(z);
      if (!(Math.abs(phi - right) <= 1e-9 * Math.max(right, 1e-3))) t.fail(`at ${z} deviations ${phi} instead of ${right}`);
    }
    t.ok(Math.abs(detector.phi(1500) - Math.log10(2)) < 1e-15, 'at the mean one half');
    t.end();
  });
  t.test('suspectAtUs is when φ passes its threshold', (t) => {
    const intervals = fc.array(fc.integer({ min: 1, max: 20_000 }), { maxLength: 200 });
    fc.assert(fc.property(intervals, fc.double({ min: 0.5, max: 20, noNaN: true }), (intervals, threshold) => {
      const detector = new Detector({ expectedUs: 10_000, threshold, leastUs: 0, mostUs: 1e9 }, 0);
      let nowUs = 0;
      for (const intervalUs of intervals) detector.heartbeat(nowUs += intervalUs);
      return Math.abs(detector.phi(detector.suspectAtUs) - threshold) < 1e-6;
    }));
    t.end();
  });
  t.test('mean and variance are those of the intervals, weighted by (1 − 1/64) a step', (t) => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 150 }), (intervals) => {
      const detector = new Detector({ expectedUs: 1000, leastUs: 0, mostUs: 1e6 }, 0);
      let nowUs = 0;
      for (const intervalUs of intervals) detector.heartbeat(nowUs += intervalUs);
      // By the definition: what was assumed at first counts as two points a deviation away on either side.
      const keep = 63 / 64;
      const weights = intervals.map((_, index) => keep ** (intervals.length - 1 - index) / 64);
      const first = keep ** intervals.length;
      const mean = 1000 * first + weights.reduce((sum, weight, index) => sum + weight * intervals[index], 0);
      const variance = first * (250 ** 2 + (1000 - mean) ** 2) + weights.reduce((sum, weight, index) => sum + weight * (intervals[index] - mean) ** 2, 0);
      const zUs = Math.sqrt(variance);
      return [0.5, 1, 3].every((z) => Math.abs(detector.phi(nowUs + mean + z * zUs) - exponentByDefinition(z)) < 1e-6);
    }), { numRuns: 50 });
    t.end();
  });
  t.test('whatever comes and gets lost, a silence shorter than leastUs is not suspected, one of mostUs is', (t) => {
    const arrivals = fc.array(fc.record({ lost: fc.nat(9), jitterUs: fc.nat(3000) }), { maxLength: 100 });
    fc.assert(fc.property(arrivals, fc.constantFrom(0, 1), (arrivals, regular) => {
      const detector = new Detector({ expectedUs: 1000, leastUs: 2000, mostUs: 5000 }, 0);
      let nowUs = 0;
      for (const { lost, jitterUs } of arrivals) {
        nowUs += regular === 1 ? 1000 : 1000 * (1 + (lost > 6 ? lost : 0)) + jitterUs;
        detector.heartbeat(nowUs);
        const silenceUs = detector.suspectAtUs - nowUs;
        if (!(silenceUs >= 2000 - 1e-6 && silenceUs <= 5000 + 1e-6)) return false;
      }
      return true;
    }));
    t.end();
  });
  t.test('it learns: regular heartbeats make it strict, an outage does not make it blind', (t) => {
    const detector = new Detector({ expectedUs: 1000, leastUs: 0, mostUs: 10_000 }, 0);
    const first = detector.suspectAtUs;
    t.ok(first > 2000 && first < 3000, '1,000 + 5.6 × 250');
    let nowUs = 0;
    for (let i = 0; i < 1000; i++) detector.heartbeat(nowUs += 1000);
    t.ok(detector.suspectAtUs - nowUs < 1001);
    detector.heartbeat(nowUs += 1e9);
    t.ok(detector.suspectAtUs - nowUs <= 10_000, 'as long as mostUs at the most');
    for (let i = 0; i < 500; i++) detector.heartbeat(nowUs += 1000);
    t.ok(detector.suspectAtUs - nowUs < 1300, 'and that fades');
    const same = new Detector({ expectedUs: 1000, leastUs: 0 }, 0);
    for (nowUs = 0; nowUs < 1e8;) same.heartbeat(nowUs += 1000);
    t.equal(same.phi(nowUs + 999), 0);
    t.equal(same.phi(nowUs + 1001), Infinity, 'intervals that never deviated');
    t.end();
  });
  t.test('of normal intervals it suspects about one in 10^Φ wrongly', (t) => {
    const seed = 1;
    for (const [threshold, most] of [[1, 1.2], [2, 1.4], [3, 2]]) {
      const random = new Random(seed);
      const detector = new Detector({ expectedUs: 1000, threshold, leastUs: 0 }, 0);
      const count = 300_000;
      let [nowUs, wrong] = [0, 0];
      for (let i = 0; i < count; i++) {
        nowUs += normal(random, 1000, 100);
        if (nowUs > detector.suspectAtUs) wrong++;
        detector.heartbeat(nowUs);
      }
      const share = wrong / count * 10 ** threshold;
      t.ok(share > 0.8 && share < most, `seed ${seed}: ${share.toFixed(2)} × 10^−${threshold}`);
    }
    t.end();
  });
  t.test('with one in 20 lost and jitter, leastUs of three and a half intervals leaves fewer than p³ and a bit', (t) => {
    const seed = 2;
    const random = new Random(seed);
    const detector = new Detector({ expectedUs: 1000, leastUs: 3500 }, 0);
    const count = 300_000;
    let wrong = 0;
    for (let sentUs = 1000; sentUs <= 1000 * count; sentUs += 1000) {
      const atUs = sentUs + 200 * random.float();
      if (random.bool(0.05)) continue;
      if (atUs > detector.suspectAtUs) wrong++;
      detector.heartbeat(atUs);
    }
    t.ok(wrong / count < 2 * 0.05 ** 3, `seed ${seed}: ${wrong} of ${count}`);
    t.end();
  });
  t.test('wrong options: one clear line', (t) => {
    const wrong = (options: Partial<DetectorOptions>, message: RegExp): void => void t.throws(() => new Detector({ expectedUs: 1000, ...options }, 0), { code: 'ERR_INVALID_ARGUMENT', message });
    for (const expectedUs of [0, -1, NaN, Infinity]) wrong({ expectedUs }, /^expectedUs: got .*, must be a finite number of microseconds, greater than 0$/);
    for (const threshold of [0, NaN, 101]) wrong({ threshold }, /^threshold: got .*, must be greater than 0, at most 100$/);
    for (const leastUs of [-1, NaN, Infinity]) wrong({ leastUs }, /^leastUs: got /);
    for (const mostUs of [2400, 999, NaN, Infinity]) wrong({ mostUs }, /^mostUs: got .*, must be finite, and neither less than leastUs \(2500\) nor than expectedUs \(1000\)$/);
    t.end();
  });
  t.end();
});

t.test('round-trip times (RFC 6298)', (t) => {
  t.test('§2.1: before the first sample the timeout is 1 s', (t) => {
    const rtt = new RttEstimator();
    t.equal(rtt.timeoutUs, 1e6);
    t.ok(Number.isNaN(rtt.smoothedUs) && Number.isNaN(rtt.variationUs));
    t.equal(new RttEstimator({ initialUs: 3e6 }).timeoutUs, 3e6);
    t.end();
  });
  t.test('§2.2: the first sample R: SRTT = R, RTTVAR = R/2, RTO = SRTT + max(G, 4 RTTVAR)', (t) => {
    const rtt = new RttEstimator({ leastUs: 0 });
    rtt.sample(800);
    t.same([rtt.smoothedUs, rtt.variationUs, rtt.timeoutUs], [800, 400, 2400]);
    t.end();
  });
  t.test('§2.3: the next: RTTVAR first, by 1/4, with the SRTT of before; then SRTT, by 1/8', (t) => {
    const rtt = new RttEstimator({ leastUs: 0 });
    rtt.sample(800);
    rtt.sample(1600);
    t.same([rtt.smoothedUs, rtt.variationUs, rtt.timeoutUs], [7 / 8 * 800 + 1600 / 8, 3 / 4 * 400 + 800 / 4, 900 + 4 * 500]);
    rtt.sample(100);
    t.same([rtt.smoothedUs, rtt.variationUs, rtt.timeoutUs], [800, 575, 3100]);
    t.end();
  });
  t.test('§2.3, §4: where nothing varies, the clock\'s granularity remains', (t) => {
    const rtt = new RttEstimator({ leastUs: 0, granularityUs: 100 });
    for (let i = 0; i < 200; i++) rtt.sample(1000);
    t.equal(rtt.smoothedUs, 1000);
    t.equal(rtt.timeoutUs, 1100);
    t.end();
  });
  t.test('§2.4, §2.5: never below the least, nor above the greatest', (t) => {
    const rtt = new RttEstimator();
    rtt.sample(1000);
    t.equal(rtt.timeoutUs, 1e6);
    rtt.sample(1e9);
    t.equal(rtt.timeoutUs, 60e6);
    t.end();
  });
  t.test('§5.5: backing off doubles, up to the greatest; §2.3: the next sample ends that', (t) => {
    const rtt = new RttEstimator({ leastUs: 100, mostUs: 10_000, initialUs: 1000 });
    rtt.sample(500);
    const timeouts = [rtt.timeoutUs];
    for (let i = 0; i < 4; i++) {
      rtt.backOff();
      timeouts.push(rtt.timeoutUs);
    }
    t.same(timeouts, [1500, 3000, 6000, 10_000, 10_000]);
    rtt.sample(500);
    t.equal(rtt.timeoutUs, 500 + 4 * 187.5);
    t.end();
  });
  t.test('smoothed times lie between the samples, timeouts between their bounds', (t) => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 50 }), (samples) => {
      const rtt = new RttEstimator({ leastUs: 1000, mostUs: 1e6, initialUs: 5000 });
      return samples.every((sample, index) => {
        rtt.sample(sample);
        const sofar = samples.slice(0, index + 1);
        const [low, high] = [Math.min(...sofar), Math.max(...sofar)];
        const slack = 1e-9 * high;
        return rtt.smoothedUs >= low - slack && rtt.smoothedUs <= high + slack && rtt.variationUs >= 0 && rtt.timeoutUs >= 1000 && rtt.timeoutUs <= 1e6 && rtt.timeoutUs >= Math.min(1e6, rtt.smoothedUs);
      });
    }));
    t.end();
  });
  t.test('wrong numbers: one clear line', (t) => {
    const rtt = new RttEstimator();
    for (const got of [-1, NaN, Infinity]) t.throws(() => rtt.sample(got), { code: 'ERR_INVALID_ARGUMENT', message: `rttUs: got ${got}, must be a finite number of microseconds, 0 or more` });
    t.ok(Number.isNaN(rtt.smoothedUs), 'and nothing has changed');
    t.throws(() => new RttEstimator({ leastUs: -1 }), { message: 'leastUs: got -1, must be a finite number of microseconds, 0 or more' });
    t.throws(() => new RttEstimator({ mostUs: 1 }), { message: 'mostUs: got 1, must be a finite number of microseconds, leastUs (1000000) or more' });
    t.throws(() => new RttEstimator({ initialUs: 1 }), { message: 'initialUs: got 1, must be from leastUs (1000000) to mostUs (60000000)' });
    t.throws(() => new RttEstimator({ granularityUs: NaN }), { message: 'granularityUs: got NaN, must be a finite number of microseconds, 0 or more' });
    t.end();
  });
  t.end();
});

t.test('a window over sequence numbers (RFC 4303 §3.4.3, appendix A2)', (t) => {
  t.test('new once, then a duplicate; old where the window has passed', (t) => {
    const window = new ReplayWindow();
    t.equal(window.width, 64, 'the default of §3.4.3');
    const accept = (...numbers: number[]): Arrival[] => numbers.map((sequence) => window.accept(sequence));
    t.same(accept(1, 2, 2, 1, 5, 4, 4, 3), [Arrival.new, Arrival.new, Arrival.duplicate, Arrival.duplicate, Arrival.new, Arrival.new, Arrival.duplicate, Arrival.new]);
    t.equal(window.newest, 5);
    t.same(accept(100, 37, 36, 37, 64, 5), [Arrival.new, Arrival.new, Arrival.old, Arrival.duplicate, Arrival.new, Arrival.old], 'from 37 on there are 64 up to 100');
    t.same(accept(100 + 2 ** 31 - 1, 100), [Arrival.new, Arrival.old], 'as far ahead as can be');
    t.end();
  });
  t.test('who comes late begins where the stream is', (t) => {
    for (const first of [0, 1, 5000, 2 ** 31, 2 ** 32 - 1]) {
      const window = new ReplayWindow();
      t.equal(window.accept(first), Arrival.new);
      t.equal(window.accept(first), Arrival.duplicate);
      t.equal(window.newest, first);
      t.equal(window.accept((first - 63) >>> 0), Arrival.new, 'what was overtaken');
      t.equal(window.accept((first - 64) >>> 0), Arrival.old);
      t.equal(window.newest, first);
    }
    t.end();
  });
  t.test('against a set of all that came, reordered, duplicated and lost, across 2^32', (t) => {
    const width = fc.constantFrom(32, 64, 96, 256, 1024);
    const steps = fc.array(fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: -8, max: 3 }) },
      { weight: 2, arbitrary: fc.integer({ min: -1100, max: 80 }) },
      { weight: 1, arbitrary: fc.constantFrom(-1024, -1023, -257, -256, -255, -97, -96, -95, -65, -64, -63, -33, -32, -31, 31, 32, 33, 64, 4096, 2 ** 27, 2 ** 31 - 1) },
    ), { maxLength: 300 });
    fc.assert(fc.property(width, fc.constantFrom(1, 1000, 2 ** 31 - 5, 2 ** 32 - 40), steps, (width, first, steps) => {
      const window = new ReplayWindow(width);
      // Unbounded numbers, well above 0 and below 2^53.
      let newest = first + 2 ** 40;
      const came = new Set([newest]);
      if (window.accept(newest % 2 ** 32) !== Arrival.new) return false;
      for (const step of steps) {
        const sequence = newest + step;
        const right = sequence <= newest - width ? Arrival.old : came.has(sequence) ? Arrival.duplicate : Arrival.new;
        if (window.accept(sequence % 2 ** 32) !== right) return false;
        if (right === Arrival.new) came.add(sequence);
        newest = Math.max(newest, sequence);
        if (window.newest !== newest % 2 ** 32) return false;
      }
      return true;
    }), { numRuns: 1000 });
    t.end();
  });
  t.test('each message is delivered once where none is overtaken by a whole window', (t) => {
    const seed = 7;
    const random = new Random(seed);
    const window = new ReplayWindow(128);
    const start = 2 ** 32 - 20_000;
    const delivered = new Map<number, number>();
    // Each comes up to three times, late by less than the window is wide.
    const sent = Array.from({ length: 40_000 }, (_, index) => Array.from({ length: random.int(1, 3) }, () => ({ sequence: (start + index) % 2 ** 32, at: index + random.int(0, 120) }))).flat().sort((a, b) => a.at - b.at);
    for (const { sequence } of sent) {
      if (window.accept(sequence) === Arrival.new) delivered.set(sequence, (delivered.get(sequence) ?? 0) + 1);
    }
    t.equal(delivered.size, 40_000, `seed ${seed}`);
    t.ok([...delivered.values()].every((times) => times === 1), `seed ${seed}`);
    t.end();
  });
  t.test('wrong widths: one clear line', (t) => {
    for (const got of [0, 16, 33, 65_568, NaN]) t.throws(() => new ReplayWindow(got), { code: 'ERR_INVALID_ARGUMENT', message: `width: got ${got}, must be a multiple of 32 from 32 to 65536` });
    t.end();
  });
  t.end();
});

/** Peers of host 0 over a transport that keeps what was sent. */
class Desk {
  readonly clock: VirtualClock;
  readonly view = new DataView(new ArrayBuffer(2048));
  readonly sent: { to: number; sequence: number }[] = [];
  readonly counters: OverlayCounters;
  readonly peers: Peers;
  private readonly cube = new KnCube(2, 8);

  constructor(startUs = 0) {
    this.clock = new VirtualClock(startUs);
    const bytes = new Uint8Array(this.view.buffer);
    this.counters = makeCounters(() => this.peers.received);
    this.peers = new Peers({
      self: 0, cube: this.cube, clock: this.clock, heartbeatUs: 1e6, detectUs: 3.5e6, counters: this.counters,
      transport: { bytes, view: this.view, begin: () => 0, send: (to) => this.sent.push({ to, sequence: this.view.getUint32(Header.sequence) }) },
      onSuspect: () => undefined, onRestart: () => undefined,
    });
    this.peers.setLease(Infinity);
    this.peers.restart(0xffffffff);
  }

  /** A heartbeat comes; whether it is accepted. */
  hear(from: number, incarnation: number, sequence: number, identifiers: number, echoUs = 0xffffffff, heldUs = 0): boolean {
    const at = 1024;
    writeHeader(this.view, at, Heartbeat.type, Heartbeat.bytes, this.cube, from, incarnation);
    this.view.setUint32(at + Header.sequence, sequence);
    this.view.setUint32(at + Heartbeat.sentUs, 7);
    this.view.setUint32(at + Heartbeat.echoUs, echoUs);
    this.view.setUint32(at + Heartbeat.heldUs, heldUs);
    this.view.setUint16(at + Heartbeat.identifiers, identifiers);
    this.view.setUint16(at + Heartbeat.isAnswer, 0);
    const row = this.peers.accept(from, at, Heartbeat.bytes);
    if (row > 0) this.peers.onHeartbeat(row, at);
    return row > 0;
  }
}

t.test('a round trip is what has passed since the stamp that comes back was sent, without how long it was held (RFC 3550 §6.4.1)', (t) => {
  const desk = new Desk(2 ** 32 - 1e6);
  const { clock, peers } = desk;
  let sequence = 1;
  const measured = (agoUs: number, heldUs: number): number => {
    const before = peers.know(sequence + 100);
    desk.hear(before.host, 1, sequence++, 1, (clock.nowUs() - agoUs) >>> 0, heldUs);
    return 2 * before.oneWayUs(NaN);
  };
  clock.advance(0.5e6);
  t.equal(measured(9000, 4000), 5000);
  t.equal(measured(0.5e6, 0), 0.5e6, 'since this host began');
  t.same(measured(0.5e6 + 1, 0), NaN, 'a stamp of a life before, by whichever clock, is none of its own');
  clock.advance(100e6);
  t.equal(measured(100e6, 99.9e6), 0.1e6, 'also where 32 bits have wrapped');
  t.same(measured(99e6, 0), NaN, 'longer than a minute');
  t.equal(measured(1e6, 1e6), 1);
  t.equal(measured(1e6, 1.039e6), 1, 'held longer than it was away, by as much as two clocks may differ: a short one');
  t.same(measured(1e6, 1.05e6), NaN, 'by more: none');
  t.same(measured(1e6, 2 ** 32 - 1), NaN);
  t.end();
});

t.test('rows of peers against objects in a map: whoever is needed, no longer needed, heard, suspected or forgotten', (t) => {
  interface Model { peer: Peer; uses: number; incarnation: number; identifiers: number; heard: number; sent: number; cameUs: number }
  const steps = fc.array(fc.tuple(fc.constantFrom('need', 'need', 'release', 'hear', 'hear', 'again', 'restart', 'send', 'tick', 'wait'), fc.integer({ min: 1, max: 60 })), { maxLength: 400, size: 'max' });
  fc.assert(fc.property(steps, (steps) => {
    const desk = new Desk();
    const { clock, sent, counters, peers } = desk;
    const models = new Map<number, Model>();
    let first = 1;
    const model = (host: number): Model => {
      let known = models.get(host);
      if (known === undefined) models.set(host, known = { peer: peers.know(host), uses: 0, incarnation: 0, identifiers: 0, heard: 0, sent: first, cameUs: clock.nowUs() });
      return known;
    };
    for (const [step, host] of steps) {
      sent.length = 0;
      const one = step === 'tick' || step === 'wait' ? undefined : model(host);
      const expected: { to: number; sequence: number }[] = [];
      if (one !== undefined && step === 'need') {
        peers.need(host);
        one.uses++;
      } else if (one !== undefined && step === 'release') {
        if (one.uses > 0) {
          peers.release(host);
          one.uses--;
        }
      } else if (one !== undefined && (step === 'hear' || step === 'restart')) {
        if (step === 'restart' || one.incarnation === 0) one.incarnation++;
        one.identifiers = host + one.heard;
        if (!desk.hear(host, one.incarnation, ++one.heard, one.identifiers)) return false;
        one.cameUs = clock.nowUs();
        if (one.uses === 0) expected.push({ to: host, sequence: one.sent++ });
      } else if (one !== undefined && step === 'again') {
        if (one.heard > 0 && desk.hear(host, one.incarnation, one.heard, 9)) return false;
      } else if (one !== undefined) {
        peers.begin(Heartbeat.type, Heartbeat.bytes);
        peers.send(host);
        expected.push({ to: host, sequence: one.sent++ });
      } else if (step === 'wait') clock.advance(host * 1e6);
      else {
        peers.tick(1);
        for (const [to, one] of models) {
          if (one.uses > 0) expected.push({ to, sequence: one.sent++ });
          else if (clock.nowUs() - one.cameUs >= 60e6) {
            first = Math.max(first, one.sent);
            models.delete(to);
          }
        }
        const byHost = (a: { to: number }, b: { to: number }): number => a.to - b.to;
        sent.sort(byHost);
        expected.sort(byHost);
      }
      if (JSON.stringify(sent) !== JSON.stringify(expected)) return false;
      const active = new Set(peers.active.map(({ host }) => host));
      let suspects = 0;
      for (let host = 1; host <= 60; host++) {
        const one = models.get(host);
        const peer = peers.get(host);
        if (peer !== one?.peer) return false;
        if (active.has(host) !== (one !== undefined && one.uses > 0)) return false;
        if (one !== undefined && (peer!.incarnation !== one.incarnation || peer!.identifiers !== one.identifiers || peer!.uses !== one.uses)) return false;
        if (peer?.suspected === true) suspects++;
      }
      if (suspects !== peers.suspects) return false;
    }
    return counters.received === counters.dropped.replayed + steps.filter(([step]) => step === 'hear' || step === 'restart').length;
  }), { numRuns: 200 });
  t.end();
});
