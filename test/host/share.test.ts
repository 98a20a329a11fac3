// Loss-tolerant streams in a share of the processor, by dynamic window-constrained scheduling (West & Schwan 1999; West et al. 2004).
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { type HostStreamOptions, type ShareOptions } from '../../src/host/index.js';
import { Trace, type WindowConstraint } from '../../src/sched/index.js';
import { type TrustedAgent, Verdict } from '../../src/spa/index.js';
import { CLIENT, SINK, World, numbered, numberOf } from './rig.js';

/** A service, with an agent that costs nothing: C. */
const COST_US = 100;
/** Of all streams, and of the share: T = P. */
const PERIOD_US = 1000;
const PORT = 5000;
const OPTIONS = { costs: { frameUs: COST_US, instructionNs: 1 }, stackServer: { budgetUs: 100, periodUs: 10_000, jobUs: 100 } };

const forward = (): TrustedAgent => ({ process: (_, __, length) => (length << 8) | Verdict.forward });

/** Services a period that losing all that may be lost leaves to be done. */
const least = (constraints: readonly WindowConstraint[]): number => constraints.reduce((sum, { losses, window }) => sum + 1 - losses / window, 0);

/** Tumbling windows of one behind the other in which more was lost than is tolerated. */
function violations(served: readonly boolean[], { losses, window }: WindowConstraint): number {
  let count = 0;
  for (let from = 0; from + window <= served.length; from += window) {
    if (served.slice(from, from + window).filter((was) => !was).length > losses) count++;
  }
  return count;
}

interface Run {
  /** Of each stream's payloads in order: whether they came, within their period and `graceUs`. */
  served: boolean[][];
  /** What the share itself counted, by stream. */
  counters: { met: number; missed: number; late: number; violated: number; dropped: number }[];
  cardDropped: number;
  /** Of the streams with a server of their own. */
  othersMissed: number;
  othersServed: number;
  usedUs: number;
  trace: string;
  output: string;
}

interface Load {
  constraints: readonly WindowConstraint[];
  /** Services that the share can do in a period. */
  services: number;
  periods: number;
  /** Of each stream against the share; default: all come together. */
  phasesUs?: readonly number[];
  /** After its period, a payload may still come within this. */
  graceUs?: number;
  policy?: 'DWCS' | 'FIFO';
  /** Payloads a period of each stream; default 1. */
  payloads?: number;
  queues?: number;
}

/** One payload a period for each stream of a share, beside two streams with servers of their own. */
function run({ constraints, services, periods, phasesUs = [], graceUs = 0, policy = 'DWCS', payloads = 1, queues = constraints.length + 2 }: Load): Run {
  const trace = new Trace();
  const n = constraints.length;
  const world = new World({ sinks: n + 2, agentQueues: queues, scheduler: { trace }, ...OPTIONS }).settle();
  const { server } = world;
  const open = (name: string, i: number, how: Partial<HostStreamOptions>) =>
    server.openStream({ name, port: PORT + i, agents: [server.openAgent({ name, module: forward() })], outputs: [{ address: CLIENT, port: SINK + i }], mode: 'job', budget: 1, ...how });
  const others = [0, 1].map((i) => open(`other ${i}`, n + i, { server: { budgetUs: COST_US, periodUs: PERIOD_US, deadlineUs: 700 } }));
  const shareOptions: ShareOptions = { name: 'share', budgetUs: services * COST_US, periodUs: PERIOD_US, jobUs: COST_US };
  const share = policy === 'DWCS' ? server.openShare(shareOptions) : undefined;
  const fifo = policy === 'FIFO' ? server.scheduler.admit(shareOptions) : undefined;
  const streams = constraints.map((constraint, i) =>
    open(`stream ${i}`, i, share === undefined ? { server: fifo! } : { share, tolerates: { ...constraint, periodUs: PERIOD_US } }));
  const startUs = world.nowUs + PERIOD_US;
  const served: boolean[][] = constraints.map(() => []);
  const events: [number, number][] = [];
  for (let period = 0; period < periods; period++) {
    for (let i = 0; i < n + 2; i++) events.push([startUs + period * PERIOD_US + (phasesUs[i] ?? 0), i]);
  }
  const sent = new Array<number>(n + 2).fill(0);
  let othersServed = 0;
  const output = createHash('sha256');
  const take = (): void => {
    for (const { bytes, port, atUs } of world.arrivals.splice(0)) {
      output.update(bytes).update(`${port} ${atUs}`);
      const i = port - SINK;
      const period = Math.floor(numberOf(bytes) / payloads);
      const dueUs = startUs + (period + 1) * PERIOD_US + (phasesUs[i] ?? 0) + graceUs;
      if (i >= n) othersServed++;
      else if (atUs <= dueUs + 1e-3) served[i][numberOf(bytes)] = true;
    }
  };
  for (const [atUs, i] of events.sort(([a], [b]) => a - b)) {
    if (atUs > world.nowUs) world.stepTo(atUs);
    take();
    for (let k = 0; k < (i < n ? payloads : 1); k++) {
      if (i < n) served[i].push(false);
      world.send(PORT + i, numbered(sent[i]++));
    }
  }
  world.step(20 * PERIOD_US);
  take();
  const { streams: counted } = server.counters;
  const cards = server.nics[0].counters().queues;
  const result: Run = {
    served,
    counters: streams.map(({ stream }) => counted[stream.name].share ?? { met: 0, missed: 0, late: 0, violated: 0, dropped: 0 }),
    cardDropped: streams.reduce((sum, { queue }) => sum + (queue === undefined ? 0 : cards[2 * queue.pair.index].dropNoBuffer), 0),
    othersMissed: others.reduce((sum, other) => sum + other.server!.counters.missed, 0),
    othersServed,
    usedUs: streams[0].server!.counters.usedUs,
    trace: trace.toPerfetto(),
    output: output.digest('hex'),
  };
  world.close();
  return result;
}

const PERIODS = 240;

/** 3 services a period for 7 streams that can do with 3: 0, 1/2, 1/2, 3/4, 3/4, 3/4, 3/4. */
const OVERLOADED: Load = { constraints: [[0, 1], [1, 2], [1, 2], [3, 4], [3, 4], [6, 8], [6, 8]].map(([losses, window]) => ({ losses, window })), services: 3, periods: PERIODS };

t.test('an overloaded share: each window loses no more than is tolerated, where it can be; first come, first served does', (t) => {
  t.equal(least(OVERLOADED.constraints), 3);
  const dwcs = run(OVERLOADED);
  t.same(dwcs.served.map((served, i) => violations(served, OVERLOADED.constraints[i])), [0, 0, 0, 0, 0, 0, 0]);
  t.same(dwcs.counters.map(({ violated }) => violated), [0, 0, 0, 0, 0, 0, 0]);
  t.same(dwcs.counters.map(({ met, missed }) => met + missed), dwcs.served.map(() => PERIODS), 'a request period for each payload');
  t.same(dwcs.counters.map(({ dropped, late }) => dropped + late), dwcs.counters.map(({ missed }) => missed), 'none is lost silently');
  t.same(dwcs.counters.map(({ met }) => met), dwcs.served.map((served) => served.filter((was) => was).length), 'what it counts is what comes out');
  t.equal(dwcs.cardDropped, 0);
  t.equal(dwcs.counters.reduce((sum, { met }) => sum + met, 0), 3 * PERIODS, 'and no time is lost');

  const fifo = run({ ...OVERLOADED, policy: 'FIFO' });
  t.ok(fifo.served.every((served, i) => violations(served, OVERLOADED.constraints[i]) > 0), 'first come, first served');
  for (const { othersMissed, othersServed } of [dwcs, fifo]) {
    t.equal(othersMissed, 0, 'the rest of the host does not notice');
    t.equal(othersServed, 2 * PERIODS);
  }
  t.end();
});

t.test('any constraints that can be kept are', (t) => {
  const constraint = fc.integer({ min: 1, max: 6 }).chain((window) => fc.record({ window: fc.constant(window), losses: fc.nat(window) }));
  fc.assert(fc.property(fc.array(constraint, { minLength: 3, maxLength: 9 }), (constraints) => {
    const services = Math.max(1, Math.ceil(least(constraints) - 1e-9));
    fc.pre(services < constraints.length && services <= 5);
    const { served, counters, othersMissed } = run({ constraints, services, periods: 60 });
    return othersMissed === 0 && counters.every(({ violated }) => violated === 0) && served.every((one, i) => violations(one, constraints[i]) === 0);
  }), { numRuns: 12 });
  t.end();
});

t.test('streams that are not in phase have deadlines in the same periods of the share: one service to spare, for what straddles a deadline, and windows hold', (t) => {
  for (const seed of [1, 4]) {
    const random = new Random(seed);
    const phasesUs = OVERLOADED.constraints.map(() => random.int(0, PERIOD_US - 1));
    const { served, counters, othersMissed } = run({ ...OVERLOADED, services: 4, phasesUs, graceUs: PERIOD_US });
    t.same(served.map((one, i) => violations(one, OVERLOADED.constraints[i])), [0, 0, 0, 0, 0, 0, 0], `seed ${seed}: within the stream’s period and one of the share’s`);
    t.same(counters.map(({ violated }) => violated), [0, 0, 0, 0, 0, 0, 0]);
    t.equal(othersMissed, 0);
  }
  t.end();
});

t.test('a flood at ten times what its streams said: beyond a service a period it waits on the ring, and is dropped by the card', (t) => {
  const flood = run({ ...OVERLOADED, payloads: 10 });
  t.equal(flood.othersMissed, 0);
  t.equal(flood.othersServed, 2 * PERIODS);
  t.same(flood.counters.map(({ violated }) => violated), [0, 0, 0, 0, 0, 0, 0]);
  for (const [i, { met, dropped }] of flood.counters.entries()) t.ok(met + dropped >= PERIODS && met + dropped <= PERIODS + 20, `stream ${i}: a period for each payload, none ahead`);
  t.ok(flood.usedUs <= 3 * COST_US * (PERIODS + 21));
  t.ok(flood.cardDropped > 7 * (10 - 1) * PERIODS - 7 * 300, `${flood.cardDropped} dropped by the card`);
  t.end();
});

t.test('a stream without a queue of its own: its payloads wait behind the stack, and have their turn as others', (t) => {
  const one = run({ ...OVERLOADED, queues: OVERLOADED.constraints.length + 1, services: 4, graceUs: PERIOD_US });
  t.same(one.counters.map(({ violated }) => violated), [0, 0, 0, 0, 0, 0, 0]);
  t.equal(one.othersMissed, 0);
  t.same(one.counters.map(({ met, dropped, late }) => met + dropped + late), one.served.map(() => PERIODS));
  t.end();
});

t.test('the same seed, the same run, byte for byte; the trace tells turns and losses', (t) => {
  const [first, second] = [run(OVERLOADED), run(OVERLOADED)];
  t.equal(first.trace, second.trace);
  t.equal(first.output, second.output);
  t.match(first.trace, /"name":"turn".*"args":{"stream":6}/);
  t.match(first.trace, /"name":"loss".*"args":{"stream":1}/);
  t.notMatch(first.trace, /"name":"violation"/);
  t.equal(first.trace.match(/"name":"turn"/g)!.length, 3 * PERIODS);
  t.end();
});

const SHARE: ShareOptions = { name: 'video', budgetUs: 500, periodUs: PERIOD_US, jobUs: COST_US };

t.test('what can not be is refused in a line, and leaves nothing behind', (t) => {
  const world = new World(OPTIONS).settle();
  const other = new World(OPTIONS).settle();
  const { server } = world;
  const share = server.openShare(SHARE);
  const agents = [server.openAgent({ name: 'a', module: forward() })];
  const tolerates = { losses: 1, window: 2, periodUs: PERIOD_US };
  const open = (how: Partial<HostStreamOptions>) => server.openStream({ name: 's', port: PORT, agents, ...how });
  for (const [how, code, message] of [
    [{ share }, 'ERR_INVALID_ARGUMENT', 'tolerates: got undefined, must be given with a share, as { losses, window, periodUs }'],
    [{ tolerates }, 'ERR_INVALID_ARGUMENT', 'tolerates: got an object, must be left out without a share'],
    [{ share, tolerates, mode: 'inline' }, 'ERR_INVALID_ARGUMENT', 'mode: got "inline", must be job or adaptive with a share, which says whose turn it is'],
    [{ share, tolerates, server: { budgetUs: 100, periodUs: 10_000 } }, 'ERR_INVALID_ARGUMENT', 'server: got "s", must be left out with a share, which has its own'],
    [{ share: other.server.openShare(SHARE), tolerates }, 'ERR_INVALID_ARGUMENT', 'share: got "video", must be a share that this host has opened'],
    [{ share, tolerates: { ...tolerates, losses: 3 } }, 'ERR_INVALID_ARGUMENT', 'tolerates.losses: got 3, must be a whole number from 0 to 2'],
    [{ share, tolerates: { ...tolerates, periodUs: 50 } }, 'ERR_INVALID_ARGUMENT', 'tolerates.periodUs: got 50, must be at least 100, the share\'s bound of a job'],
    [{ share, tolerates: { losses: 1, window: 4, periodUs: 125 } }, 'ERR_OUT_OF_RANGE', 'tolerates: got 1 losses of 4 for stream "s": what must not be lost would take 60 % of the processor, and share "video" has 50 % left; 2 of 4 would fit'],
  ] as const) {
    t.throws(() => open(how), { code, message });
  }
  t.throws(() => server.openShare({ ...SHARE, budgetUs: 2000 }), { message: 'budgetUs: got 2000, must be above 0 and at most the deadline (1000)' });
  t.throws(() => server.openShare({ ...SHARE, name: 'more', budgetUs: 900 }), { code: 'ERR_OUT_OF_RANGE' });
  t.same(share.bindings, []);
  const first = open({ share, tolerates: { losses: 2, window: 4, periodUs: 125 } });
  t.equal(first.mode, 'adaptive');
  t.throws(() => open({ name: 'next', port: PORT + 1, share, tolerates: { losses: 0, window: 2, periodUs: 500 } }), { message: /would take 20 % of the processor, and share "video" has 10 % left; 1 of 2 would fit$/ });
  open({ name: 'next', port: PORT + 1, share, tolerates: { ...tolerates, losses: 0 } });
  t.throws(() => open({ name: 'third', port: PORT + 2, share, tolerates }), { message: /has 0 % left; 2 of 2 would fit/ });
  t.equal(server.counters.shares['video'].released, 0);
  server.closeShare(share);
  t.same(server.counters.streams, {}, 'its streams are closed with it');
  t.throws(() => open({ share, tolerates }), { message: 'share: got "video", must be a share that this host has opened' });
  for (const each of [world, other]) each.close();
  t.end();
});

t.test('streams leave in the midst of a turn, and come: their buffers are back, the others go on', (t) => {
  const world = new World({ ...OPTIONS, sinks: 3 }).settle();
  const { server } = world;
  const share = server.openShare(SHARE);
  const domain = server.openDomain();
  const before = domain.pool.available;
  const open = (i: number, onPayload?: () => void) =>
    server.openStream({
      name: `stream ${i}`, port: PORT + i, share, tolerates: { losses: 1, window: 2, periodUs: PERIOD_US }, budget: 2,
      agents: [server.openAgent({ name: `agent ${i} ${world.nowUs}`, module: onPayload === undefined ? forward() : { process: () => Verdict.pass }, domain })],
      outputs: [{ address: CLIENT, port: SINK + i }], ...(onPayload === undefined ? {} : { onPayload }),
    });
  let closed = 0;
  const stays = open(0);
  const leaves = open(1, () => {
    if (closed++ === 0) server.closeStream(leaves);
  });
  for (let k = 0; k < 10; k++) {
    for (const i of [0, 1]) world.send(PORT + i, numbered(2 * k), numbered(2 * k + 1));
    world.step(PERIOD_US);
  }
  t.equal(closed, 1);
  t.same(world.take().map(numberOf), Array.from({ length: 20 }, (_, k) => k), 'two a service');
  t.equal(stays.shareCounters!.met, 10);
  t.equal(stays.shareCounters!.missed, 0);
  t.same(leaves.shareCounters, { met: 0, missed: 0, late: 0, violated: 0, dropped: 0 }, 'still to be read');
  const comes = open(2);
  for (let k = 0; k < 10; k++) world.send(PORT + 2, numbered(k)).step(PERIOD_US);
  t.equal(world.take().length, 10);
  t.equal(comes.shareCounters!.met, 10);
  // With something waiting.
  world.send(PORT + 2, ...Array.from({ length: 20 }, (_, k) => numbered(k))).step(PERIOD_US);
  for (const stream of [comes, stays]) server.closeStream(stream);
  for (const { stream } of [comes, stays, leaves]) stream.options.agents[0].close();
  world.step();
  for (const { tx } of server.interfaces[0].driver.pairs) tx.reclaim();
  t.equal(domain.pool.available, before);
  t.same(share.bindings, []);
  world.close();
  t.end();
});

t.test('timers take no turn; who traps is left alone and misses nothing meanwhile; who throws stops nobody', (t) => {
  const world = new World({ ...OPTIONS, sinks: 3 }).settle();
  const { server } = world;
  const share = server.openShare(SHARE);
  let ticks = 0;
  let traps = 0;
  const open = (i: number, module: TrustedAgent, how: Partial<HostStreamOptions> = {}) =>
    server.openStream({ name: `stream ${i}`, port: PORT + i, share, tolerates: { losses: 0, window: 1, periodUs: PERIOD_US }, agents: [server.openAgent({ name: `agent ${i}`, module })], outputs: [{ address: CLIENT, port: SINK + i }], ...how });
  const ticking = open(0, { ...forward(), tick: () => { ticks++; } }, { tickUs: PERIOD_US / 4 });
  const trapping = open(1, { process: () => { traps++; throw new Error('no'); } });
  const throwing = open(2, { process: () => Verdict.pass }, { onPayload: () => { throw new Error('a handler of somebody’s'); } });
  let thrown = 0;
  for (let k = 0; k < 40; k++) {
    for (let i = 0; i < 3; i++) world.send(PORT + i, numbered(k));
    const end = world.nowUs + PERIOD_US;
    for (;;) {
      try {
        world.stepTo(end);
        break;
      } catch (error) {
        t.match((error as Error).message, 'somebody');
        thrown++;
      }
    }
  }
  t.equal(world.take().length, 40);
  t.equal(ticks, 160);
  t.match(ticking.shareCounters, { met: 40, missed: 0 });
  t.equal(thrown, 40);
  t.match(throwing.shareCounters, { met: 40, missed: 0 });
  t.ok(traps > 2 && traps < 20, `${traps} calls in 40 periods`);
  t.equal(trapping.shareCounters!.missed, 0);
  world.close();
  t.end();
});

t.test('in real time: all comes while there is time; and what does not is counted', async (t) => {
  for (const mode of ['job', 'adaptive'] as const) {
    const world = new World({ stepped: false, agentQueues: 1, sinks: 2 });
    t.teardown(() => { world.close(); });
    await world.start();
    // What is sent before the neighbour is known may be dropped by its sender.
    let known = false;
    world.server.openUdp({ port: 7, onDatagrams: () => { known = true; } });
    for (const end = Date.now() + 10_000; !known && Date.now() < end; ) {
      world.send(7, numbered(0));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const share = world.server.openShare({ name: 'share', budgetUs: 40_000, periodUs: 100_000, jobUs: 100 });
    // The second shares the first queue.
    const streams = [0, 1].map((i) =>
      world.server.openStream({ name: `stream ${i}`, port: PORT + i, share, mode, tolerates: { losses: i, window: 2, periodUs: 2000 }, agents: [world.server.openAgent({ name: `agent ${i}`, module: forward() })], outputs: [{ address: CLIENT, port: SINK + i }] }));
    const sent = 60;
    const settled = (): number => streams.reduce((sum, { shareCounters }) => sum + shareCounters!.met + shareCounters!.late + shareCounters!.dropped, 0);
    for (let k = 0; k < sent; k++) {
      for (const i of [0, 1]) world.send(PORT + i, numbered(k));
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    for (const end = Date.now() + 10_000; settled() < 2 * sent && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 5));
    t.equal(settled(), 2 * sent, `${mode}: each was served or dropped, and counted`);
    const served = (i: number): number => streams[i].shareCounters!.met + streams[i].shareCounters!.late;
    for (const end = Date.now() + 10_000; world.arrivals.length < served(0) + served(1) && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const i of [0, 1]) {
      const numbers = world.arrivals.filter(({ port }) => port === SINK + i).map(({ bytes }) => numberOf(bytes));
      t.equal(numbers.length, served(i));
      t.same(numbers, [...numbers].sort((a, b) => a - b), 'in order');
      t.ok(numbers.length > 0);
    }
  }
});
