// isolation: what agents that run for ever, flood, trap and scribble do to those beside them, with a share of the processor for each
// and without; and how soon a runaway is stopped. In virtual time, but for the last.
import { Host, stepHosts } from '../../src/host/index.js';
import { Engine, Link, Region, Watchdog, addon } from '../../src/nic/index.js';
import { Agent, FaultDomain, Payloads } from '../../src/spa/index.js';
import { type Figure, type Result, type Target, summarize } from '../../src/report/index.js';
import { type Bench, type BenchContext, type BenchOutput, percentile } from '../context.js';
import { pinned } from '../cores.js';
import { agentModule } from './agents.js';

const NAME = 'isolation';
const A = '198.18.0.1';
const B = '198.18.0.2';
const GOOD = 3;
const FIRST_PORT = 5000;
const BACK_PORT = 6000;
/** Of the run, in ms of virtual time: quiet, then the others misbehave, then quiet again. */
const RUN = { untilMs: 600, fromMs: 150, toMs: 450 };
const BIN_MS = 10;
/** Instructions of one call: at 1 ns each, what `jobUs` allows. */
const FUEL = 300_000;
/** Without shares nothing holds an agent back for long: 20 ms of instructions. */
const LOOSE_FUEL = 20_000_000;

const SHARES = 'a share for each';
const COMMON = 'all in one queue';

/** A deadline of 2 ms for what comes each millisecond. */
const GOOD_SERVER = { budgetUs: 150, periodUs: 2000, jobUs: 90 };
const BAD_SERVER = { budgetUs: 400, periodUs: 5000, jobUs: 400 };

interface Misbehaviour {
  name: string;
  /** The agent, and what makes it misbehave; nothing: its sender floods. */
  deed?: 'loop' | 'trap' | 'scribble';
  perMs: number;
}

// A frame costs 5 µs: 8 % of the processor is 16 frames a millisecond, and ten times as much is 160.
const BAD: readonly Misbehaviour[] = [
  { name: 'runs for ever', deed: 'loop', perMs: 1 },
  { name: 'traps on each', deed: 'trap', perMs: 1 },
  { name: 'scribbles', deed: 'scribble', perMs: 1 },
  { name: 'is flooded', perMs: 160 },
];

interface Outcome {
  /** Of the well-behaved: latencies in µs by bins of the run (the worst of each), all of them, and how many never came. */
  worstUs: number[];
  latenciesUs: number[];
  sent: number;
  lost: number;
  missed: number;
  /** Of well-behaved streams: payloads that came back other than they were sent. */
  corrupted: number;
  /** The most instructions that a call of the runaway took. */
  runawayFuel: number;
  droppedByCard: number;
}

/** One run. Its seed is of the hosts' own choices; the traffic is regular. */
function isolate(shares: boolean, seed: number): Outcome {
  const engine = new Engine({ stepped: true });
  const from = new Host(engine, { seed, interfaces: [{ addresses: [`${A}/24`], ipv6: false, driver: { queueSize: 1024 } }] });
  const host = new Host(engine, { seed: seed + 1, agentQueues: GOOD + BAD.length, interfaces: [{ addresses: [`${B}/24`], ipv6: false }], costs: { frameUs: 5, instructionNs: 1 } });
  const link = new Link(engine, from.nics[0], host.nics[0]);
  const outcome: Outcome = { worstUs: new Array<number>(RUN.untilMs / BIN_MS).fill(0), latenciesUs: [], sent: 0, lost: 0, missed: 0, corrupted: 0, runawayFuel: 0, droppedByCard: 0 };
  const sentUs: number[] = [];
  from.openUdp({
    port: BACK_PORT,
    onDatagrams: (batch) => {
      const view = new DataView(batch.u8.buffer);
      for (let i = batch.from; i < batch.to; i++) {
        const at = batch.offset[i];
        const number = view.getUint32(at + 4);
        if (batch.length[i] !== 64 || view.getUint32(at + 60) !== ~number >>> 0) outcome.corrupted++;
        const us = engine.nowUs() - sentUs[number];
        outcome.latenciesUs.push(us);
        const bin = Math.floor(sentUs[number] / 1e3 / BIN_MS) - startMs / BIN_MS;
        outcome.worstUs[bin] = Math.max(outcome.worstUs[bin], us);
      }
    },
  });
  const fuel = shares ? FUEL : LOOSE_FUEL;
  const all = shares ? undefined : host.scheduler.admit({ name: 'all', budgetUs: 8000, periodUs: 10_000, jobUs: 500, queueJobs: 1024 });
  const module = agentModule('misbehave');
  const open = (name: string, port: number, deed: string, server: typeof GOOD_SERVER | typeof BAD_SERVER, outputs: { address: string; port: number }[]) => {
    const agent: Agent = host.openAgent({
      name, module, configuration: JSON.stringify({ do: deed }), fuel,
      onTrap: (cause) => {
        if (cause === 'budget') outcome.runawayFuel = Math.max(outcome.runawayFuel, agent.usedFuel);
      },
    });
    return host.openStream({ name, port, agents: [agent], outputs, server: all ?? server, mode: 'job', budget: 16 });
  };
  const startMs = 100;
  stepHosts(engine, [from, host], startMs * 1e3);
  const good = Array.from({ length: GOOD }, (_, i) => open(`good ${i}`, FIRST_PORT + i, 'loop', GOOD_SERVER, [{ address: A, port: BACK_PORT }]));
  for (const [i, { name, deed }] of BAD.entries()) open(name, FIRST_PORT + GOOD + i, deed ?? 'loop', BAD_SERVER, []);
  const socket = from.openUdp({ port: 4000 });
  const flows = Array.from({ length: GOOD + BAD.length }, (_, i) => socket.flow(B, FIRST_PORT + i));
  // The neighbours find each other.
  const hello = new Uint8Array(64);
  flows[0].send(hello);
  stepHosts(engine, [from, host], startMs * 1e3 + 5e3);
  host.openUdp().flow(A, 9).send(hello);
  stepHosts(engine, [from, host], startMs * 1e3 + BIN_MS * 1e3);
  outcome.latenciesUs.length = outcome.corrupted = 0;
  outcome.worstUs.fill(0);
  const payload = new Uint8Array(64);
  const view = new DataView(payload.buffer);
  const begunMs = startMs + BIN_MS;
  const evil = new Uint8Array(64).fill(1);
  for (let ms = 0; ms < RUN.untilMs - BIN_MS; ms++) {
    if (ms >= RUN.fromMs && ms < RUN.toMs) {
      for (const [i, { deed, perMs }] of BAD.entries()) {
        for (let k = 0; k < perMs; k++) flows[GOOD + i].send(deed === undefined ? hello : evil);
        // Room on the ring for the next.
        from.interfaces[0].publish();
        stepHosts(engine, [from, host], engine.nowUs());
      }
    }
    // While the others' jobs run, at another moment each time.
    stepHosts(engine, [from, host], (begunMs + ms) * 1e3 + ((ms * 37) % 1000));
    for (let i = 0; i < GOOD; i++) {
      const number = sentUs.push(engine.nowUs()) - 1;
      view.setUint32(4, number);
      view.setUint32(60, ~number >>> 0);
      flows[i].send(payload);
      outcome.sent++;
    }
    stepHosts(engine, [from, host], (begunMs + ms + 1) * 1e3);
  }
  stepHosts(engine, [from, host], (begunMs + RUN.untilMs + 500) * 1e3);
  outcome.lost = outcome.sent - outcome.latenciesUs.length;
  for (const { server } of good) outcome.missed += server!.counters.missed;
  outcome.droppedByCard = host.nics[0].counters().queues.reduce((sum, queue) => sum + queue.dropNoBuffer, 0);
  link.close();
  from.stop();
  host.stop();
  return outcome;
}

/** CPU time in µs by which a runaway ran over a budget of `budgetUs`, `times` over, in real time. */
function overruns(budgetUs: number, times: number): number[] {
  const watchdog = new Watchdog();
  const domain = new FaultDomain({ memory: new Region(2 ** 21), poolId: 0, bufferBytes: 1472 });
  let stoppedNs = 0;
  // Seconds pass between two runs, so that the agent is never left alone.
  let timeUs = 0;
  const agent = new Agent(domain, { nowUs: () => timeUs, stepped: false, watchdog: () => watchdog }, {
    name: 'runaway', module: agentModule('misbehave'), configuration: '{"do": "loop"}', budgetUs, budget: 'guard',
    onTrap: () => {
      stoppedNs = addon.bench.threadNs();
    },
  });
  const over: number[] = [];
  const input = new Payloads(4);
  const output = new Payloads(4);
  for (let i = 0; i < times; i++) {
    const handle = domain.pool.get();
    const offset = domain.pool.offsetOf(handle);
    domain.memory.u8[offset] = 1;
    input.add(handle, offset, 64, 0, 0);
    const startNs = addon.bench.threadNs();
    agent.run(input, output);
    over.push((stoppedNs - startNs) / 1e3 - budgetUs);
    timeUs += 10e6;
  }
  agent.close();
  watchdog.close();
  return over.sort((a, b) => a - b);
}

const BUDGET_US = 1000;

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { quick, seed } = context;
  const steps = 3;
  const next = async (done: number, what: string): Promise<void> => {
    context.signal.throwIfAborted();
    context.progress(done, steps, what);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await next(0, SHARES);
  const shared = isolate(true, seed);
  await next(1, COMMON);
  const common = isolate(false, seed);
  await next(2, 'a runaway, in real time');
  const over = overruns(BUDGET_US, quick ? 300 : 3000);
  context.progress(steps, steps, '');

  const one = (variant: string, params: Record<string, string | number>, metric: string, unit: string, value: number): Result => ({ bench: NAME, variant, params, metric, unit, ...summarize([value]) });
  const results: Result[] = [];
  for (const [variant, outcome] of [[SHARES, shared], [COMMON, common]] as const) {
    outcome.worstUs.forEach((us, bin) => {
      if (us > 0) results.push(one(variant, { ms: bin * BIN_MS }, 'worst delay', 'ns', us * 1e3));
    });
    results.push(
      one(variant, {}, 'deadlines missed', 'datagrams', outcome.missed),
      one(variant, {}, 'never came back', 'datagrams', outcome.lost),
      one(variant, {}, 'came back changed', 'datagrams', outcome.corrupted),
      one(variant, {}, 'dropped by the card, unprocessed', 'datagrams', outcome.droppedByCard),
    );
  }
  for (const p of [50, 99, 99.9]) results.push(one('runaway', { percentile: `p${p}` }, 'overrun', 'ns', percentile(over, p) * 1e3));
  results.push(one('runaway', { percentile: 'max' }, 'overrun', 'ns', over.at(-1)! * 1e3));
  const ms = (us: number): string => `${(us / 1e3).toFixed(1)} ms`;
  const worst = (outcome: Outcome): string => ms(Math.max(...outcome.worstUs));
  const figures: Figure[] = [
    {
      id: 'isolation-delay',
      title: 'Agents beside those that misbehave',
      paragraph:
        `Three well-behaved streams of a datagram each millisecond with a deadline of ${ms(GOOD_SERVER.periodUs)}, in virtual time (seed ${seed}). From ${RUN.fromMs} to ${RUN.toMs} ms, beside them, one agent runs for ever, one traps on each frame, one overwrites its whole memory, and one gets ten times what its share allows. ` +
        `With a share for each, a delay is ${worst(shared)} at most, ${shared.missed} deadlines are missed, ${shared.lost} of ${shared.sent} datagrams are lost and ${shared.corrupted} changed; the card drops ${shared.droppedByCard} frames of the others before any processor time is spent on them. ` +
        `With all in one queue, first come first served, it is ${worst(common)}, and ${common.lost} never come back.`,
      kind: 'line',
      x: { param: 'ms', label: 'time, ms' },
      y: { metric: 'worst delay', label: 'worst delay', unit: 'ns', scale: 'log' },
      results: results.filter((r) => r.metric === 'worst delay'),
    },
    {
      id: 'isolation-runaway',
      title: 'How soon a runaway is stopped',
      paragraph: `An agent that runs for ever, with a budget of ${ms(BUDGET_US)} for a call, by the guard page, ${over.length} times: the processor time that it had beyond. p99 ${percentile(over, 99).toFixed(0)} µs, at most ${over.at(-1)!.toFixed(0)} µs. In virtual time it is stopped exactly at its ${FUEL} instructions (${shared.runawayFuel} at most were used).`,
      kind: 'bar',
      x: { param: 'percentile', label: '' },
      y: { metric: 'overrun', label: 'beyond the budget', unit: 'ns' },
      results: results.filter((r) => r.metric === 'overrun'),
    },
  ];
  const p99 = percentile(over, 99);
  const targets: Target[] = [
    { what: "admitted agents' misses during a flood and a runaway, stepped", target: '0', reached: String(shared.missed), spread: `${shared.sent} datagrams`, met: shared.missed === 0 && shared.lost === 0 },
    { what: 'a runaway stopped: overrun, p99', target: '≤ 1 ms', reached: `${p99.toFixed(0)} µs`, spread: `max ${over.at(-1)!.toFixed(0)} µs`, met: p99 <= 1000 },
    { what: 'a runaway stopped at its fuel, stepped', target: String(FUEL), reached: String(shared.runawayFuel), spread: '', met: shared.runawayFuel === FUEL },
  ];
  return { results, figures, targets };
}

export const isolation: Bench = {
  name: NAME,
  summary: 'what agents that run for ever, flood, trap and scribble do to those beside them',
  quickSeconds: 5,
  run: (context) => pinned(() => measure(context)),
};
