// Streams and their request periods in DWCS order, against the queue of jobs of the same rules; and what waits for its time in a scheduler.
import fc from 'fast-check';
import t from 'tap';
import { DwcsQueue, DwcsStreams, type Job, type JobQueue, type LossTolerance, Scheduler, Trace, type WindowConstraint, edfQueue, fifoQueue, simulate } from '../../src/sched/index.js';

const tolerance = (losses: number, window: number, periodUs: number): LossTolerance => ({ losses, window, periodUs });

const job = (stream: number, releaseUs: number, periodUs: number): Job => ({ stream, releaseUs, deadlineUs: releaseUs + periodUs, costUs: 1, run: () => undefined });

/** A stream in the model: one job at a time in the queue, for the first payload, from when its period begins. */
interface Modelled {
  periodUs: number;
  beginUs: number;
  waiting: number;
  queued: boolean;
}

t.test('the order, and the windows behind it, are those of DwcsQueue with a job for each request period', (t) => {
  const stream = fc.record({ window: fc.integer({ min: 1, max: 5 }), losses: fc.nat(5), periodUs: fc.integer({ min: 1, max: 6 }) });
  const turn = fc.record({ arrivals: fc.array(fc.nat(2), { minLength: 4, maxLength: 4 }), serves: fc.boolean(), costUs: fc.integer({ min: 1, max: 4 }) });
  fc.assert(fc.property(fc.array(stream, { minLength: 1, maxLength: 4 }), fc.array(turn, { maxLength: 80 }), (drawn, turns) => {
    const tolerances = drawn.map(({ window, losses, periodUs }) => tolerance(Math.min(losses, window), window, periodUs));
    const streams = new DwcsStreams(tolerances.length, 1);
    const queue = new DwcsQueue(tolerances);
    const model = tolerances.map(({ periodUs }, i): Modelled => {
      streams.add(tolerances[i]);
      return { periodUs, beginUs: 0, waiting: 0, queued: false };
    });
    /** Puts jobs of periods that have begun into the queue, in their order. */
    const release = (nowUs: number): void => {
      const begun = [...model.entries()].filter(([, { waiting, queued, beginUs }]) => waiting > 0 && !queued && beginUs <= nowUs);
      for (const [i, one] of begun.sort(([i, a], [k, b]) => a.beginUs - b.beginUs || i - k)) {
        one.queued = true;
        queue.push(job(i, one.beginUs, one.periodUs));
      }
    };
    const settle = (settled: Job, inTime: boolean): void => {
      const one = model[settled.stream];
      queue.settle(settled, inTime);
      one.queued = false;
      one.waiting--;
      one.beginUs += one.periodUs;
    };
    let nowUs = 0;
    for (const { arrivals, serves, costUs } of turns) {
      for (const [i] of model.entries()) {
        while (streams.isOverdue(i, nowUs)) streams.settle(i, 1, false);
      }
      while ((queue.peek()?.deadlineUs ?? Infinity) <= nowUs) {
        settle(queue.pop()!, false);
      }
      // What waits behind those may be past its deadline as well.
      for (const [i, one] of model.entries()) {
        while (!one.queued && one.waiting > 0 && one.beginUs + one.periodUs <= nowUs) settle(job(i, one.beginUs, one.periodUs), false);
      }
      for (const [i, one] of model.entries()) {
        if (streams.isBacklogged(i)) streams.look(i, one.waiting, nowUs);
        if (arrivals[i] === 0) continue;
        if (one.waiting === 0) one.beginUs = Math.max(one.beginUs, nowUs);
        one.waiting += arrivals[i];
        streams.look(i, one.waiting, nowUs);
      }
      release(nowUs);
      const expected = queue.peek();
      if (streams.next(nowUs) !== (expected?.stream ?? -1)) return false;
      if (expected !== undefined && streams.deadlineUs(expected.stream) !== expected.deadlineUs) return false;
      const nextUs = Math.min(...model.map(({ waiting, beginUs }) => (waiting > 0 ? beginUs : Infinity)));
      if (streams.nextUs !== nextUs) return false;
      nowUs += costUs;
      if (!serves || expected === undefined) continue;
      const { stream, deadlineUs } = queue.peek()!;
      const inTime = nowUs <= deadlineUs;
      if (streams.inTime(stream, nowUs) !== inTime) return false;
      settle(queue.pop()!, inTime);
      streams.settle(stream, 1, inTime);
      streams.look(stream, model[stream].waiting, nowUs);
    }
    return true;
  }), { numRuns: 500 });
  t.end();
});

t.test('request periods: once in each, not ahead; successive while something waits, anew when something comes', (t) => {
  const streams = new DwcsStreams(2, 1);
  const stream = streams.add(tolerance(1, 2, 10));
  t.equal(streams.next(100), -1);
  t.equal(streams.nextUs, Infinity);
  streams.look(stream, 3, 103);
  t.equal(streams.deadlineUs(stream), 113);
  t.equal(streams.next(103), stream);
  streams.settle(stream, 1, true);
  streams.look(stream, 2, 104);
  t.equal(streams.next(112), -1, 'served in this period');
  t.equal(streams.nextUs, 113);
  t.equal(streams.next(113), stream);
  t.equal(streams.deadlineUs(stream), 123);
  t.notOk(streams.isOverdue(stream, 122));
  t.ok(streams.isOverdue(stream, 123));
  t.ok(streams.settle(stream, 1, false), 'tolerated');
  t.equal(streams.deadlineUs(stream), 133);
  t.notOk(streams.isOverdue(stream, 132));
  streams.settle(stream, 1, true);
  streams.look(stream, 0, 130);
  t.equal(streams.nextUs, Infinity);
  streams.look(stream, 1, 131);
  t.equal(streams.nextUs, 133, 'the period in which it was served is not over');
  streams.rest(stream);
  streams.look(stream, 1, 140);
  t.equal(streams.deadlineUs(stream), 150);
  t.end();
});

t.test('what nobody saw come is not held against its stream', (t) => {
  const streams = new DwcsStreams(1, 1);
  const stream = streams.add(tolerance(0, 1, 10));
  streams.look(stream, 1, 0);
  t.ok(streams.isOverdue(stream, 37));
  t.notOk(streams.settle(stream, 1, false), 'the first');
  t.notOk(streams.isOverdue(stream, 37), 'of others, nothing is known');
  streams.look(stream, 2, 37);
  t.equal(streams.deadlineUs(stream), 40, 'as if it had come in its period');
  t.ok(streams.isOverdue(stream, 40));
  streams.settle(stream, 1, false);
  t.ok(streams.isOverdue(stream, 50), 'the other one was known as well');
  t.end();
});

t.test('deadlines within a tick are one: the windows decide, as in slots of time', (t) => {
  for (const [tickUs, first] of [[1, 0], [100, 1]] as const) {
    const streams = new DwcsStreams(3, tickUs);
    for (const [losses, window, periodUs] of [[1, 2, 100], [0, 1, 100], [1, 1, 1000]] as const) streams.add(tolerance(losses, window, periodUs));
    streams.look(2, 1, 950);
    streams.look(0, 1, 1000);
    streams.look(1, 1, 1000.25);
    t.same([streams.deadlineUs(0), streams.deadlineUs(1)], tickUs === 1 ? [1100, 1101] : [1150, 1150]);
    t.equal(streams.next(1001), first, `ticks of ${tickUs} µs`);
  }
  t.end();
});

t.test('streams come and go', (t) => {
  const streams = new DwcsStreams(2, 1);
  t.equal(streams.add(tolerance(0, 1, 10)), 0);
  t.equal(streams.add(tolerance(0, 1, 10)), 1);
  t.throws(() => streams.add(tolerance(0, 1, 10)), { message: 'share: got "2 streams", must be another one: it is full' });
  streams.look(0, 1, 5);
  streams.look(1, 1, 5);
  streams.settle(0, 1, false);
  streams.remove(0);
  t.equal(streams.next(15), 1);
  t.equal(streams.add(tolerance(1, 1, 10)), 0, 'with nothing of what was there');
  t.equal(streams.nextUs, 5);
  streams.look(0, 1, 15);
  t.equal(streams.deadlineUs(0), 25);
  streams.remove(1);
  streams.remove(0);
  t.equal(streams.next(100), -1);
  for (const [wrong, message] of [
    [tolerance(1, 2, 0), 'tolerates.periodUs: got 0, must be a finite number of microseconds above 0'],
    [tolerance(1, 2, NaN), 'tolerates.periodUs: got NaN, must be a finite number of microseconds above 0'],
    [tolerance(3, 2, 10), 'tolerates.losses: got 3, must be a whole number from 0 to 2'],
    [tolerance(0, 1.5, 10), 'tolerates.window: got 1.5, must be a whole number, 1 or more'],
  ] as const) {
    t.throws(() => streams.add(wrong), { code: 'ERR_INVALID_ARGUMENT', message });
    t.equal(streams.next(100), -1);
  }
  t.equal(streams.add(tolerance(0, 1, 10)), 0, 'those that were refused took no room');
  t.end();
});

t.test('in other orders that drop what is late, the streams that DWCS serves are violated: FACTS of C = T = 1', (t) => {
  const constraints: WindowConstraint[] = [{ losses: 1, window: 2 }, { losses: 3, window: 4 }, { losses: 6, window: 8 }];
  const violated = (queue: JobQueue): number => {
    const met: boolean[][] = [[], [], []];
    simulate({ tasks: constraints.map(() => ({ offsetUs: 0, periodUs: 1, deadlineUs: 1, costUs: 1 })), queue, untilUs: 4000, shed: true, onOutcome: ({ stream }, inTime) => met[stream].push(inTime) });
    return constraints.reduce((sum, { losses, window }, i) => {
      const windows = Array.from({ length: 4000 / window }, (_, k) => met[i].slice(k * window, (k + 1) * window));
      return sum + windows.filter((one) => one.filter((inTime) => !inTime).length > losses).length;
    }, 0);
  };
  t.equal(violated(new DwcsQueue(constraints)), 0);
  t.equal(violated(fifoQueue()), 1000 + 500, 'first come, first served: the first stream each time');
  t.equal(violated(edfQueue()), 1000 + 500);
  t.end();
});

t.test('a job that is released later', (t) => {
  let nowUs = 0;
  const trace = new Trace();
  const scheduler = new Scheduler({ nowUs: () => nowUs, trace });
  const server = scheduler.admit({ name: 'a', budgetUs: 10, periodUs: 100 });
  const ran: string[] = [];
  const work = (name: string) => ({ run: () => (ran.push(`${name}@${nowUs}`), 1) });
  server.releaseAt(50.0001, work('a'));
  t.equal(scheduler.nextUs, 50.001, 'in whole nanoseconds');
  t.equal(scheduler.runOne(), false);
  t.equal(server.counters.released, 0);
  server.releaseAt(30, work('b'));
  t.equal(scheduler.nextUs, 30, 'one at a time');
  nowUs = 60;
  t.equal(scheduler.runOne(), true);
  t.equal(scheduler.runOne(), false);
  t.same(ran, ['b@60']);
  t.equal(server.counters.missed, 0, 'it has no deadline');
  t.match(trace.toPerfetto(), /"name":"release".*"ts":60/);
  server.releaseAt(70, work('c'));
  server.close();
  t.equal(scheduler.nextUs, Infinity);
  t.throws(() => { server.releaseAt(80, work('d')); }, { code: 'ERR_CLOSED' });
  t.end();
});

t.test('a turn of DWCS allocates nothing', (t) => {
  const n = 64;
  const streams = new DwcsStreams(n, 10);
  for (let i = 0; i < n; i++) streams.add(tolerance(i % 4, 4, 100));
  let nowUs = 0;
  const turns = (count: number): void => {
    for (let turn = 0; turn < count; turn++) {
      nowUs += 5;
      for (let i = 0; i < n; i++) {
        while (streams.isOverdue(i, nowUs)) streams.settle(i, 1, false);
        streams.look(i, 1 + (turn & 1), nowUs);
      }
      const next = streams.next(nowUs);
      if (next >= 0) streams.settle(next, 1, streams.inTime(next, nowUs + 5));
    }
  };
  turns(20_000);
  const growth = Array.from({ length: 9 }, () => {
    const before = process.memoryUsage().heapUsed;
    turns(5000);
    return (process.memoryUsage().heapUsed - before) / 5000;
  });
  // A collection between hides what there is, so the middle one counts.
  const perTurn = growth.sort((a, b) => a - b)[4];
  t.ok(perTurn < 16, `${perTurn.toFixed(1)} bytes a turn of ${n} streams`);
  t.end();
});
