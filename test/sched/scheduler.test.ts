// The scheduler as its host meets it: order, budgets, accounting, admission and what it promises; and its trace.
import fc from 'fast-check';
import t from 'tap';
import { Random, VirtualClock } from '../../src/base/index.js';
import { Scheduler, type SchedulerOptions, type Server, type ServerOptions, Trace, type Work } from '../../src/sched/index.js';

/** A scheduler in virtual time. A job notes its name and takes its cost. */
class Bench {
  readonly clock = new VirtualClock();
  readonly ran: string[] = [];
  readonly scheduler: Scheduler;

  constructor(options: Omit<SchedulerOptions, 'nowUs'> = {}) {
    this.scheduler = new Scheduler({ nowUs: () => this.clock.nowUs(), ...options });
  }

  /** A server with a short default job, so that several fit beside one another. */
  admit(name: string, periodUs: number, options: Partial<ServerOptions> = {}): Server {
    return this.scheduler.admit({ name, periodUs, budgetUs: periodUs / 10, jobUs: 1, ...options });
  }

  work(name: string, costUs = 1): Work {
    return {
      run: () => {
        this.ran.push(`${name}@${this.clock.nowUs()}`);
        this.clock.advance(costUs);
        return costUs;
      },
    };
  }

  /** Runs what there is until this time. */
  runUntil(untilUs: number): void {
    while (this.clock.nowUs() < untilUs) {
      if (this.scheduler.runOne()) continue;
      this.clock.set(Math.max(this.clock.nowUs(), Math.min(untilUs, this.scheduler.nextUs)));
    }
  }
}

t.test('the earliest deadline first, first come, first served among equals, a server\'s jobs in their order', (t) => {
  const bench = new Bench();
  const slow = bench.admit('slow', 200);
  const fast = bench.admit('fast', 100);
  const alike = bench.admit('alike', 100);
  for (const n of [1, 2]) slow.release(bench.work(`slow${n}`));
  fast.release(bench.work('fast'));
  alike.release(bench.work('alike'));
  t.equal(bench.scheduler.next(), fast);
  bench.runUntil(5);
  t.same(bench.ran, ['fast@0', 'alike@1', 'slow1@2', 'slow2@3']);
  t.equal(bench.scheduler.runOne(), false);
  t.equal(bench.scheduler.nextUs, Infinity);
  t.match(slow.counters, { released: 2, completed: 2, missed: 0, usedUs: 2, worstLatenessUs: 0 });
  t.end();
});

t.test('a server out of budget waits, and the host is told until when', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { budgetUs: 2 });
  for (let n = 0; n < 5; n++) server.release(bench.work('a'));
  bench.runUntil(10);
  t.same(bench.ran, ['a@0', 'a@1']);
  t.equal(bench.scheduler.nextUs, 100);
  bench.runUntil(150);
  t.same(bench.ran.slice(2), ['a@100', 'a@101']);
  t.equal(bench.scheduler.nextUs, 200);
  t.equal(server.counters.throttled, 2);
  t.equal(server.counters.missed, 2, 'those that waited ended behind release + D');
  t.equal(server.counters.worstLatenessUs, 2);
  t.end();
});

t.test('background work runs when nothing else may: uncharged, in turn', (t) => {
  const bench = new Bench({ blockingUs: 1 });
  const greedy = bench.admit('greedy', 100, { budgetUs: 1, background: true });
  const strict = bench.admit('strict', 100, { budgetUs: 1 });
  for (let n = 0; n < 4; n++) {
    greedy.release(bench.work('greedy'));
    strict.release(bench.work('strict'));
    bench.scheduler.releaseBackground(bench.work('background'));
  }
  bench.runUntil(20);
  t.same(bench.ran, ['greedy@0', 'strict@1', 'background@2', 'greedy@3', 'background@4', 'greedy@5', 'background@6', 'greedy@7', 'background@8']);
  t.equal(bench.scheduler.nextUs, 100, 'of the strict one');
  t.equal(greedy.counters.usedUs, 4);
  bench.runUntil(400);
  t.same(bench.ran.slice(9), ['strict@100', 'strict@200', 'strict@300']);
  t.end();
});

t.test('a server that ran in the background has the same budgets as before', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { budgetUs: 1, background: true });
  for (let n = 0; n < 3; n++) server.release(bench.work('a'));
  bench.runUntil(50);
  t.same(bench.ran, ['a@0', 'a@1', 'a@2']);
  bench.runUntil(100);
  server.release(bench.work('a'));
  t.equal(bench.scheduler.next(), server);
  bench.scheduler.start(server);
  const other = bench.admit('b', 1000);
  t.equal(bench.scheduler.outranks(other), false, 'it runs within its budget now, by 200');
  bench.scheduler.finish(1);
  t.end();
});

t.test('an overrun is counted, and paid by the budgets to come', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { budgetUs: 2, jobUs: 1 });
  server.release(bench.work('long', 5));
  server.release(bench.work('next'));
  bench.runUntil(500);
  t.same(bench.ran, ['long@0', 'next@200'], '3 over: the budget of 100 pays 2, that of 200 the rest, and has 1 left');
  t.equal(server.counters.overran, 1);
  t.end();
});

t.test('interrupts are charged to the server that they served', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { budgetUs: 3 });
  bench.scheduler.charge(server, 2.5);
  server.release(bench.work('a'));
  t.equal(bench.scheduler.next(), undefined);
  t.equal(bench.scheduler.nextUs, 100);
  bench.scheduler.charge(server, 3);
  t.equal(bench.scheduler.nextUs, 100, '-2.5: the next budget leaves 0.5, too little for a job');
  bench.runUntil(300);
  t.same(bench.ran, ['a@200']);
  t.equal(server.counters.usedUs, 6.5);
  const ready = bench.admit('b', 100, { budgetUs: 3 });
  ready.release(bench.work('b'));
  t.equal(bench.scheduler.next(), ready);
  bench.scheduler.charge(ready, 2.5);
  t.equal(bench.scheduler.next(), undefined, 'one that was ready is not any more');
  t.end();
});

t.test('whom an interrupt may serve now (Zhang & West 2006)', (t) => {
  const bench = new Bench({ blockingUs: 1 });
  const { scheduler } = bench;
  const fast = bench.admit('fast', 50);
  const middle = bench.admit('middle', 100);
  const slow = bench.admit('slow', 200);
  const ranks = (): boolean[] => [fast, middle, slow].map((server) => scheduler.outranks(server));
  t.same(ranks(), [true, true, true], 'nothing is to be done');
  middle.release(bench.work('middle'));
  t.same(ranks(), [true, true, false], 'what waits is compared with; it is first itself');
  scheduler.start(middle);
  t.same(ranks(), [true, false, false], 'what runs does not outrank itself');
  slow.release(bench.work('slow'));
  t.same(ranks(), [true, false, false]);
  bench.clock.advance(60);
  t.same(ranks(), [false, false, false], 'its deadline would be 110 now');
  scheduler.finish(1);
  t.same(ranks(), [true, true, true], 'only the slow one waits, by 200; the middle one would be due by 160');
  scheduler.charge(fast, 100);
  t.same(ranks(), [false, true, true], 'one without a budget outranks nobody');
  bench.runUntil(70);
  scheduler.releaseBackground(bench.work('background'));
  scheduler.start(scheduler.next()!);
  t.same(ranks(), [false, true, true], 'any guarantee outranks the background');
  scheduler.finish(1);
  middle.close();
  t.equal(scheduler.outranks(middle), false);
  t.end();
});

t.test('a full queue refuses and counts', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { queueJobs: 2 });
  t.same([1, 2, 3].map(() => server.release(bench.work('a'))), [true, true, false]);
  t.match(server.counters, { released: 2, refused: 1 });
  t.equal(server.size, 2);
  t.end();
});

t.test('deadlines of jobs are their own, for the count of misses', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { budgetUs: 10 });
  server.release(bench.work('late', 5), 3);
  server.release(bench.work('never late', 2), Infinity);
  bench.runUntil(50);
  t.match(server.counters, { missed: 1, worstLatenessUs: 2 });
  t.end();
});

t.test('start and finish: a job\'s time passes between them; each only where it may', (t) => {
  const bench = new Bench();
  const { scheduler } = bench;
  const a = bench.admit('a', 100);
  const b = bench.admit('b', 50);
  t.throws(() => scheduler.start(a), { message: 'start: "a" has no job that may run' });
  t.throws(() => scheduler.finish(1), { message: 'finish: no job runs' });
  const work = bench.work('a');
  a.release(work);
  t.equal(scheduler.start(scheduler.next()!), work);
  bench.clock.advance(3);
  b.release(bench.work('b'));
  t.throws(() => scheduler.start(b), { message: 'start: a job of "a" still runs' });
  scheduler.finish(3);
  t.equal(a.counters.usedUs, 3);
  t.equal(scheduler.next(), b);
  t.end();
});

t.test('time is measured where a job does not say it, and a job that throws is accounted for', (t) => {
  const bench = new Bench();
  const server = bench.admit('a', 100, { budgetUs: 10, jobUs: 5 });
  server.release({ run: () => {
    bench.clock.advance(2);
    return undefined;
  } });
  server.release({ run: () => {
    bench.clock.advance(3);
    throw new Error('agent');
  } });
  bench.scheduler.runOne();
  t.throws(() => bench.scheduler.runOne(), { message: 'agent' });
  t.match(server.counters, { completed: 2, usedUs: 5 });
  server.release(bench.work('next'));
  t.ok(bench.scheduler.runOne());
  t.end();
});

t.test('a closed server leaves at once, its share at its period\'s end', (t) => {
  const bench = new Bench();
  const { scheduler } = bench;
  const options = { name: 'half', periodUs: 100, budgetUs: 60, jobUs: 1 };
  const first = scheduler.admit(options);
  first.release(bench.work('first', 60));
  first.release(bench.work('dropped'));
  scheduler.runOne();
  first.close();
  first.close();
  t.equal(scheduler.runOne(), false);
  t.throws(() => first.release(bench.work('late')), { code: 'ERR_CLOSED' });
  t.throws(() => scheduler.admit(options), { code: 'ERR_OUT_OF_RANGE' }, 'it used its 60 of these 100');
  bench.clock.set(100);
  const second = scheduler.admit(options);
  second.release({ run: () => {
    second.close();
    return 1;
  } });
  t.ok(scheduler.runOne(), 'a job may close its own server');
  t.equal(scheduler.runOne(), false);
  t.end();
});

t.test('who does not fit is told why, and what would', (t) => {
  const bench = new Bench();
  bench.admit('a', 100, { budgetUs: 60 });
  const options = { name: 'b', periodUs: 100, budgetUs: 50, jobUs: 1 };
  t.throws(() => bench.scheduler.admit(options), {
    code: 'ERR_OUT_OF_RANGE',
    message: 'budgetUs: got 50 for server "b": demand within 100 µs would be 10 µs too much; at most 40 would fit',
  });
  t.throws(() => bench.scheduler.admit({ ...options, budgetUs: 30, deadlineUs: 40 }), {
    message: 'budgetUs: got 30 for server "b": demand within 40 µs would be 14 µs too much; at most 16 would fit',
  });
  t.match(bench.scheduler.wouldAdmit(options), { fits: false, largestCostUs: 40 });
  t.match(bench.scheduler.wouldAdmit({ ...options, budgetUs: 40 }), { fits: true });
  t.match(bench.scheduler.wouldAdmit({ ...options, budgetUs: 40 }), { fits: true }, 'asking takes nothing');
  const wrong: [Partial<ServerOptions>, string][] = [
    [{ name: '' }, 'name: got "", must be a text, not empty'],
    [{ periodUs: Infinity }, 'periodUs: got Infinity, must be a finite number of microseconds above 0'],
    [{ deadlineUs: 200 }, 'deadlineUs: got 200, must be above 0 and at most the period (100)'],
    [{ budgetUs: 101 }, 'budgetUs: got 101, must be above 0 and at most the deadline (100)'],
    [{ jobUs: 60 }, 'jobUs: got 60, must be above 0 and at most the budget (50)'],
    [{ queueJobs: 3 }, 'queueJobs: got 3, must be a power of two from 1 to 1048576'],
  ];
  for (const [change, message] of wrong) t.throws(() => bench.scheduler.admit({ ...options, ...change }), { code: 'ERR_INVALID_ARGUMENT', message });
  t.throws(() => new Scheduler({ nowUs: () => 0, blockingUs: NaN }), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

const INSTANT_US = 0.01;

/**
 * A world that tries to make servers late: as many as are admitted, mostly with the largest budget that fits. At moments that all
 * know, each asks for all it can get, an instant after a job that holds the others up as long as it may; some have woken
 * before, so as to come with what is left of a budget.
 *
 * @returns what went wrong; undefined if nothing did
 */
function world(seed: number, trace?: Trace): string | undefined {
  const random = new Random(seed);
  const blockingUs = random.bool(0.5) ? 0 : random.int(1, 5);
  const clock = new VirtualClock();
  const scheduler = new Scheduler({ nowUs: () => clock.nowUs(), blockingUs, ...(trace !== undefined && { trace }) });
  const servers: Server[] = [];
  const releases: { atUs: number; release: () => void }[] = [];
  /** Time passes while a job runs, and others are released in it. */
  const spend = (us: number): void => {
    const endUs = clock.nowUs() + us;
    for (; releases.length > 0 && releases[0].atUs <= endUs; ) {
      clock.set(Math.max(clock.nowUs(), releases[0].atUs));
      releases.shift()!.release();
    }
    clock.set(endUs);
  };
  const job = (costUs: number): Work => ({
    run: () => {
      spend(costUs);
      return costUs;
    },
  });

  for (let tries = random.int(2, 8); tries > 0; tries--) {
    const periodUs = random.int(10, 200);
    const deadlineUs = random.bool(0.3) ? periodUs : random.int(5, periodUs);
    const budgetUs = random.int(1, Math.ceil(deadlineUs / 2));
    const jobUs = budgetUs / random.int(1, 4);
    const options: ServerOptions = { name: `s${tries}`, periodUs, deadlineUs, budgetUs, jobUs, background: random.bool(0.3) };
    const answer = scheduler.wouldAdmit(options);
    const largestUs = answer.fits ? budgetUs : answer.largestCostUs;
    if (largestUs >= 1) servers.push(scheduler.admit({ ...options, budgetUs: largestUs, jobUs: Math.min(jobUs, largestUs) }));
  }
  for (let momentUs = 200; momentUs < 3000; momentUs += random.int(20, 400)) {
    const ahead = random.int(-1, servers.length - 1);
    if (ahead < 0) releases.push({ atUs: momentUs, release: () => scheduler.releaseBackground(job(blockingUs)) });
    for (const [i, server] of servers.entries()) {
      const burst = Math.floor(server.cbs.budgetUs / server.jobUs) + (server.background ? 2 : 0);
      const atUs = i === ahead ? momentUs : momentUs + INSTANT_US;
      releases.push({ atUs, release: () => {
        for (let n = 0; n < burst; n++) server.release(job(server.jobUs));
      } });
      if (random.bool(0.3)) releases.push({ atUs: momentUs - random.float() * server.cbs.relativeDeadlineUs, release: () => server.release(job(INSTANT_US)) });
    }
  }
  releases.sort((a, b) => a.atUs - b.atUs);

  for (;;) {
    spend(0);
    const next = scheduler.next();
    if (next === undefined) {
      const wakeUs = Math.min(scheduler.nextUs, releases[0]?.atUs ?? Infinity);
      if (wakeUs === Infinity) return undefined;
      clock.set(Math.max(clock.nowUs(), wakeUs));
      continue;
    }
    const guaranteed = !next.cbs.throttled;
    const byUs = next.cbs.deadlineUs;
    scheduler.runOne();
    if (guaranteed && clock.nowUs() > byUs + INSTANT_US) return `seed ${seed}: ${next.name} was guaranteed ${byUs} and ended at ${clock.nowUs()}`;
  }
}

t.test('what is admitted is kept: no job within its server\'s budget ends behind the server\'s deadline', (t) => {
  for (let seed = 0; seed < 1000; seed++) {
    const wrong = world(seed);
    if (wrong !== undefined) t.fail(wrong);
  }
  t.end();
});

t.test('two runs of one seed leave the same trace, byte for byte', (t) => {
  fc.assert(fc.property(fc.nat(1e6), (seed) => {
    const [one, other] = [new Trace(2 ** 10), new Trace(2 ** 10)];
    world(seed, one);
    world(seed, other);
    return one.toPerfetto() === other.toPerfetto();
  }), { numRuns: 20 });
  const [one, other] = [new Trace(), new Trace()];
  world(1, one);
  world(2, other);
  t.not(one.toPerfetto(), other.toPerfetto());
  t.end();
});

interface Event {
  ph: string;
  name: string;
  tid: number;
  ts?: number;
  dur?: number;
  args?: Record<string, unknown>;
}

const events = (trace: Trace): Event[] => (JSON.parse(trace.toPerfetto()) as { traceEvents: Event[] }).traceEvents;

t.test('a trace in the Trace Event Format: a thread a server, slices for runs, instants for all else', (t) => {
  const trace = new Trace();
  const bench = new Bench({ trace });
  const a = bench.admit('a', 100, { budgetUs: 2 });
  for (let n = 0; n < 3; n++) a.release(bench.work('a'), 101.5);
  bench.scheduler.releaseBackground(bench.work('b', 4));
  bench.runUntil(110);
  const [process, backgroundThread, thread, ...rest] = events(trace);
  t.match(process, { ph: 'M', name: 'process_name', args: { name: 'scheduler' } });
  t.match(backgroundThread, { ph: 'M', name: 'thread_name', tid: 0, args: { name: 'background' } });
  t.match(thread, { ph: 'M', name: 'thread_name', tid: a.id, args: { name: 'a' } });
  t.same(rest.map(({ ph, name, tid, ts, dur }) => `${ph} ${name} ${tid} ${ts}${dur === undefined ? '' : `+${dur}`}`), [
    'i release 1 0', 'i release 1 0', 'i release 1 0', 'i release 0 0',
    'X job 1 0+1', 'X job 1 1+1', 'i throttle 1 2',
    'X background job 0 2+4',
    'X job 1 100+1',
  ]);
  t.same(rest.find(({ name }) => name === 'throttle')!.args, { untilUs: 100 });
  a.release(bench.work('late', 5), 111);
  bench.runUntil(120);
  t.match(events(trace).at(-1), { ph: 'i', name: 'miss', args: { lateUs: 4 } });
  t.equal(trace.lost, 0);
  t.end();
});

t.test('a trace keeps the newest; a run that lost its beginning is left out', (t) => {
  const trace = new Trace(4);
  const bench = new Bench({ trace });
  const a = bench.admit('a', 100);
  const b = bench.admit('b', 200);
  a.release(bench.work('a'));
  b.release(bench.work('b'));
  bench.runUntil(3);
  t.equal(trace.lost, 2);
  t.same(events(trace).filter(({ ph }) => ph === 'X').map(({ tid }) => tid), [a.id, b.id]);
  b.release(bench.work('b'));
  t.same(events(trace).filter(({ ph }) => ph === 'X').map(({ tid }) => tid), [b.id]);
  t.throws(() => new Trace(3), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('releasing and running the same work again allocates nothing', (t) => {
  // Without --expose-gc: what is allocated shows in the heap, if a collection between does not hide it, so the least growth counts.
  let nowUs = 0;
  const scheduler = new Scheduler({ nowUs: () => nowUs, trace: new Trace() });
  const servers = Array.from({ length: 8 }, (_, i) => scheduler.admit({ name: `s${i}`, budgetUs: 2, jobUs: 1, periodUs: 100 }));
  const work: Work = { run: () => ((nowUs += 1), 1) };
  const turns = (count: number): void => {
    for (let i = 0; i < count; i++) {
      servers[i & 7].release(work);
      while (!scheduler.runOne()) nowUs = scheduler.nextUs;
    }
  };
  turns(50_000);
  const growth = Array.from({ length: 9 }, () => {
    const before = process.memoryUsage().heapUsed;
    turns(20_000);
    return process.memoryUsage().heapUsed - before;
  });
  const perTurn = growth.sort((a, b) => a - b).map((bytes) => bytes / 20_000)[4];
  t.ok(perTurn < 32, `${perTurn.toFixed(1)} bytes a job`);
  t.end();
});
