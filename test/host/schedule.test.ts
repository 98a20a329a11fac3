// Streams with a share of the processor, in virtual time: what is admitted keeps its deadlines, whatever others do.
import { createHash } from 'node:crypto';
import t from 'tap';
import { Trace } from '../../src/sched/index.js';
import { I } from '../spa/wasm/builder.js';
import { agent as module } from '../spa/hostile/corpus.js';
import { CLIENT, SINK, World, example, numbered, numberOf } from './rig.js';

const FRAME_US = 10;
const DEADLINE_US = 5000;
const PERIOD_US = 10_000;
const GOOD = 3;
const BURST = 8;
const RUN_US = 500_000;
/** Of a runaway's call, in instructions of a nanosecond. */
const FUEL = 150_000;

interface Outcome {
  /** Of each good stream's payloads: from the client and back. */
  latencies: number[][];
  trace: string;
  output: string;
  world: World;
  report: { missed: number[]; overran: number; flood: { sent: number; received: number; dropped: number; usedUs: number; throttled: number }; runawayUs: number; runawayTraps: number; stackFrames: number; firstQueueDropped: number };
}

/** @param queues of their own: the last to come shares the first queue if there are too few */
function run(storm: boolean, queues = GOOD + 2): Outcome {
  const trace = new Trace();
  const world = new World({
    sinks: GOOD + 1, agentQueues: queues, scheduler: { trace }, costs: { frameUs: FRAME_US, instructionNs: 1 },
    stackServer: { budgetUs: 1000, periodUs: PERIOD_US, jobUs: 650, background: true },
  }).settle();
  const { server } = world;
  // Whoever knows nothing of agents, on the first queue.
  server.openUdp({ port: 7000 });
  const open = (name: string, port: number, code: Uint8Array, fuel: number, to: number, share: { budgetUs: number; jobUs: number; deadlineUs?: number }, budget: number) => {
    const agent = server.openAgent({ name, module: code, fuel });
    const stream = server.openStream({ name, port, agents: [agent], outputs: [{ address: CLIENT, port: SINK + to }], mode: 'job', budget, server: { periodUs: PERIOD_US, ...share } });
    return { agent, stream };
  };
  // A job: a burst, and a microsecond or so for the agent.
  const good = Array.from({ length: GOOD }, (_, i) => open(`good ${i}`, 5000 + i, example('pass'), 10_000, i, { budgetUs: 300, jobUs: 2 * BURST * FRAME_US, deadlineUs: DEADLINE_US }, 2 * BURST));
  const flood = open('flood', 5100, example('touch'), 500_000, GOOD, { budgetUs: 1000, jobUs: 200 }, 16);
  // Two calls of a job may trap before it is left alone.
  const runaway = server.openAgent({ name: 'runaway', module: module({ process: I.loop(I.br(0)).concat(I.unreachable) }), fuel: FUEL });
  const away = server.openStream({ name: 'runaway', port: 5200, agents: [runaway], budget: 4, mode: 'job', server: { budgetUs: 1000, periodUs: PERIOD_US, jobUs: (2 * FUEL) / 1e3 + 4 * FRAME_US } });

  const sentUs: number[][] = good.map(() => []);
  const output = createHash('sha256');
  const latencies: number[][] = good.map(() => []);
  let flooded = 0;
  const startUs = world.nowUs;
  for (let at = 0; at < RUN_US; at += 500) {
    for (let i = 0; i < GOOD; i++) {
      // Bursts of different phases, one a period.
      if (at % PERIOD_US !== 1000 * i) continue;
      for (let k = 0; k < BURST; k++) {
        world.send(5000 + i, numbered(sentUs[i].length));
        sentUs[i].push(world.nowUs);
      }
    }
    if (storm) {
      // Its share is 100 frames a period, less the agent's own time: ten times that.
      for (let k = 0; k < 50; k++) world.send(5100, numbered(flooded++));
      world.send(5200, numbered(0));
      for (let k = 0; k < 50; k++) world.send(7000, numbered(0));
    }
    world.stepTo(startUs + at + 500);
    for (const { bytes, port, atUs } of world.arrivals.splice(0)) {
      output.update(bytes).update(`${port} ${atUs}`);
      const i = port - SINK;
      if (i < GOOD) latencies[i].push(atUs - sentUs[i][numberOf(bytes)]);
    }
  }
  const cards = server.nics[0].counters().queues;
  return {
    latencies, trace: trace.toPerfetto(), output: output.digest('hex'), world,
    report: {
      overran: away.server!.counters.overran,
      missed: good.map(({ stream }) => stream.server!.counters.missed),
      flood: { sent: flooded, received: flood.stream.stream.counters.received, dropped: cards[2 * flood.stream.queue!.pair.index].dropNoBuffer, usedUs: flood.stream.server!.counters.usedUs, throttled: flood.stream.server!.counters.throttled },
      runawayUs: away.server!.counters.usedUs, runawayTraps: runaway.counters.traps.budget,
      stackFrames: server.interfaces[0].counters.rxFrames, firstQueueDropped: cards[0].dropNoBuffer,
    },
  };
}

const calm = run(false);
const storm = run(true);
const PERIODS = RUN_US / PERIOD_US;

t.test('nobody else there: all in time', (t) => {
  t.same(calm.report.missed, [0, 0, 0]);
  t.same(calm.latencies.map(({ length }) => length), [BURST * PERIODS, BURST * PERIODS, BURST * PERIODS]);
  t.ok(Math.max(...calm.latencies.flat()) < 500, `${Math.max(...calm.latencies.flat())} µs at most`);
  t.end();
});

t.test('a flood at ten times its share, a runaway, a flood of strangers: all that was admitted is in time', (t) => {
  t.same(storm.report.missed, [0, 0, 0]);
  t.same(storm.latencies.map(({ length }) => length), [BURST * PERIODS, BURST * PERIODS, BURST * PERIODS], 'not one is lost');
  const worst = Math.max(...storm.latencies.flat());
  t.ok(worst <= DEADLINE_US, `${worst} µs at most, the deadline is ${DEADLINE_US}`);
  t.end();
});

t.test('what is beyond a share waits, and is then dropped at the card before any time is spent on it', (t) => {
  const { sent, received, dropped, usedUs, throttled } = storm.report.flood;
  t.ok(dropped > sent / 2, `${dropped} of ${sent} dropped`);
  t.ok(throttled > PERIODS / 2);
  t.ok(usedUs <= 1000 * (PERIODS + 1), `${usedUs} µs of ${1000 * PERIODS}`);
  t.ok(usedUs >= 700 * (PERIODS - 1), 'and it has its share');
  t.ok(sent - received - dropped <= 256, 'the others wait in the ring');
  t.ok(usedUs >= received * FRAME_US);
  t.ok(usedUs <= received * (FRAME_US + 5), 'no time for what was dropped');
  t.ok(storm.report.firstQueueDropped > 0, 'strangers are held to the stack’s share, and what time nobody wants');
  t.end();
});

t.test('a runaway is stopped, to the instruction', (t) => {
  const { runawayUs, runawayTraps } = storm.report;
  t.ok(runawayTraps > 3);
  const calls = (runawayUs - runawayTraps * (FUEL / 1e3)) / FRAME_US;
  t.ok(calls >= runawayTraps && calls <= 4 * runawayTraps + 4, `${runawayUs} µs: ${runawayTraps} times its fuel, and its frames`);
  t.end();
});

t.test('a stream on the first queue: what waits for it does not make its jobs longer than it said', (t) => {
  const { report, latencies, world } = run(true, GOOD + 1);
  t.same(report.missed, [0, 0, 0]);
  t.equal(report.overran, 0);
  t.ok(Math.max(...latencies.flat()) <= DEADLINE_US);
  world.close();
  t.end();
});

t.test('the same seed, the same run, byte for byte', (t) => {
  const again = run(true);
  t.equal(again.trace, storm.trace);
  t.equal(again.output, storm.output);
  t.same(again.report, storm.report);
  t.ok(storm.trace.length > 10_000);
  for (const { world } of [calm, storm, again]) world.close();
  t.end();
});
