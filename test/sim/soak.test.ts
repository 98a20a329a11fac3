// Scenarios of the whole overlay, each of its own seed: SOAK_SEEDS=1000 runs more of them, SOAK_SEED=17 runs one and says what happened in it. And: message by
// message and at flow level the same comes out.
import t from 'tap';
import { EXPERIMENTS, type ExperimentOutput, type SimParameters } from '../../bench/sim/index.js';
import { Random } from '../../src/base/index.js';
import { NO_HOST, type OverlayNode } from '../../src/overlay/index.js';
import { Invariants, Scenario, World } from '../../src/sim/index.js';

const seeds = Number(process.env['SOAK_SEEDS'] ?? 100);
const only = process.env['SOAK_SEED'];
const chosen = only === undefined ? Array.from({ length: seeds }, (_, i) => i + 1) : [Number(only)];
// tap gives a file thirty seconds, which so many scenarios take on a busy machine.
t.setTimeout((seeds + 120) * 1000);

t.test('no identifier has two holders or is lost, no message comes twice or is lost in calm, no loop or orphan lasts', (t) => {
  let whole = 0;
  for (const seed of chosen) {
    const outcome = new Scenario(seed).run();
    const { violations } = outcome;
    if (violations.length > 0) t.fail(`seed ${seed}: ${violations[0]}\n  repeat: SOAK_SEED=${seed} node dist/test/sim/soak.test.js`);
    else whole++;
    if (only !== undefined) t.comment(JSON.stringify(outcome, undefined, 1));
  }
  t.equal(whole, chosen.length);
  t.end();
});

t.test('a seed repeats, event by event', (t) => {
  for (const seed of chosen.slice(0, 3)) t.same(new Scenario(seed).run(), new Scenario(seed).run());
  t.end();
});

const output = (name: string, parameters: SimParameters, seed = 5): Promise<ExperimentOutput> =>
  EXPERIMENTS.find((one) => one.name === name)!.run({ parameters, seed, workers: 1, signal: new AbortController().signal, progress: () => undefined });

t.test('message by message and at flow level: the same parents, and the same delays to a µs a hop', async (t) => {
  for (const shape of [{ k: 2, n: 6 }, { k: 4, n: 3 }, { k: 3, n: 4 }, { k: 5, n: 2 }]) {
    const { targets, results } = await output('agreement', shape);
    t.same(targets.map(({ met }) => met), [true, true], targets.map(({ what, reached }) => `${what}: ${reached}`).join(', '));
    t.equal(results.length, 4, 'two routings, parents and delays');
  }
});

t.test('the experiments over the world, small', async (t) => {
  const size = { hosts: 64, routers: 60 };
  const churn = await output('churn', { ...size, subscribers: 40 });
  t.same(churn.targets.filter(({ met }) => met !== true), [], 'bound kept, nothing twice, nothing lost');
  t.same(await output('churn', { ...size, subscribers: 40 }), churn, 'the same seed');
  const events = await output('events', size);
  t.same(events.results.map(({ variant, runs }) => [variant, runs.length]), [['world, real nodes', 9], ['empty loop', 9]]);
  t.equal(events.targets.length, 1);
  for (const { figures } of [churn, events]) for (const { results, y } of figures) t.ok(results.some(({ metric, unit }) => metric === y.metric && unit === y.unit));
  // Where nobody is left to hear anything, nothing is claimed.
  const [heard, silent] = await Promise.all([8, 6].map((seed) => output('churn', { hosts: 4, subscribers: 1, routers: 60 }, seed)));
  for (const { results, targets } of [heard, silent]) {
    t.ok(results.every(({ runs }) => runs.every(Number.isFinite)));
    t.notMatch(JSON.stringify(targets), /NaN|Infinity/);
  }
  t.same([heard.targets.map(({ met }) => met), silent.targets.map(({ met }) => met)], [[true, true, true], [null, true, null]]);
  await t.rejects(output('churn', { hosts: 2 }), { message: /^hosts: got 2, must be 4 or more/ });
  await t.rejects(output('churn', { hosts: 8, subscribers: 8 }), { code: 'ERR_INVALID_ARGUMENT' });
  for (const name of ['churn', 'events']) await t.rejects(output(name, { hosts: 65_537 }), { message: 'hosts: got 65537, must be a whole number from 2 to 65536' });
  await t.rejects(async () => output('agreement', { k: 2, n: 13 }), { message: 'k and n: got "2 and 13", must be of at most 4096 identifiers, each with a host' });
});

t.test('what is broken is seen: two holders, a loop that lasts, a vacant identifier, an orphan', (t) => {
  const world = new World({ hosts: 4, random: new Random(1), network: { delayUs: () => 1 } });
  const held = [[0], [1], [], []];
  const parents = [0, 0, 3, NO_HOST];
  // As much of a host as is looked at.
  const nodes = new Map(held.map((_, host): [number, OverlayNode] => [host, {
    host,
    get identifiers() { return held[host]; },
    holds: (identifier: number) => held[host].includes(identifier),
    branches: () => [{ channel: 1, publisher: 0, version: 1, parent: parents[host], children: [], isSubscribed: true, delayUs: 0, orphanedUs: 0 }],
    dueUs: Infinity, wake: () => undefined, receive: () => undefined,
  } as unknown as OverlayNode]));
  for (const [host, node] of nodes) world.addHost(host, () => node);
  const invariants = new Invariants(world, nodes, 2, { loopUs: 2e6, repairUs: 3e6 });
  const look = (host: number, untilUs: number): string[] => {
    world.after(untilUs - world.clock.nowUs(), () => { world.rearm(host); });
    world.step();
    invariants.check();
    return invariants.violations.splice(0).map((line) => line.replace(/^[\d.]+ s: /, ''));
  };
  for (const host of [0, 1, 2, 3]) t.same(look(host, 1e6), []);
  held[2] = [1];
  t.same(look(2, 2e6), ['identifier 1 has two holders: 1 and 2']);
  held[1] = [];
  parents[3] = 2;
  t.same(look(3, 3e6), [], 'a loop, but not yet for long');
  t.same(look(1, 4e6), []);
  t.same(look(1, 6e6), ['stream 1/0/1: a loop of parents for 3.000 s: 0→0 1→0 2→3 3→2']);
  parents[3] = NO_HOST;
  held[0] = [];
  invariants.calm();
  t.same(look(3, 7e6), []);
  t.same(look(3, 11e6), ['identifier 0 has no holder for 4.000 s', 'stream 1/0: 3: a subscriber without a parent for 4.000 s']);
  t.end();
});
