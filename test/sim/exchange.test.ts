// Exchange of identifiers at flow level: positions and routes against a model without any increments, what rules promise, and whole runs. And the experiments on it, between real hosts too.
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { exchange } from '../../bench/sim/exchange.js';
import { exchangeBetweenHosts } from '../../bench/sim/exchange-hosts.js';
import { type SimContext, type SimParameters } from '../../bench/sim/experiment.js';
import { isFull } from '../../bench/sim/flow-setup.js';
import { gainTarget } from '../../bench/sim/groups.js';
import { success } from '../../bench/sim/success.js';
import { Random, type RingcubeError } from '../../src/base/index.js';
import { KnCube, Router, type Routing } from '../../src/overlay/index.js';
import {
  type Channel, DeliveryTree, Exchange, type ExchangeRule, type HostDelays, HostNetwork, Positions, type SuccessJob, drawBounds, lateness, measureSuccess, runExchange, runSuccess,
  runSuccessJobs, scaledTransitStub, shortestPaths, transitStub,
} from '../../src/sim/index.js';

/** Hosts at random places on a square: delays that keep the triangle inequality. */
function plane(hosts: number, random: Random): HostDelays {
  const places = Array.from({ length: hosts }, () => [random.float(), random.float()]);
  return { hosts, delayUs: (a, b) => (a === b ? 0 : 100 + 1000 * Math.hypot(places[a][0] - places[b][0], places[a][1] - places[b][1])) };
}

interface Setting {
  positions: Positions;
  random: Random;
}

function setting(seed: number, k: number, n: number, routing: Routing, channels: number, tightness: number, share = 0.5): Setting {
  const random = new Random(seed);
  const cube = new KnCube(k, n);
  const network = plane(cube.size, random.fork('places'));
  const positions = new Positions(cube, network, random.shuffle(Int32Array.from({ length: cube.size }, (_, id) => id)), routing, random.fork('routing'));
  for (let publisher = 0; publisher < channels; publisher++) {
    const subscribers = Array.from({ length: cube.size }, (_, host) => host).filter((host) => host !== publisher && random.bool(share));
    positions.addChannel(publisher, drawBounds(network, publisher, subscribers, tightness, random));
  }
  return { positions, random };
}

/** The route of an identifier's holder, from nothing but who holds what: the nearest productive neighbour, hop by hop. */
function modelDelayUs({ cube, network, hostOf }: Positions, root: number, id: number): number {
  let delayUs = 0;
  for (let at = id; at !== root; ) {
    let next = -1;
    for (let port = 0; port < cube.degree; port++) {
      const neighbour = cube.neighbour(at, port);
      if (cube.distance(neighbour, root) >= cube.distance(at, root)) continue;
      if (next < 0 || network.delayUs(hostOf[at], hostOf[neighbour]) < network.delayUs(hostOf[at], hostOf[next])) next = neighbour;
    }
    delayUs += network.delayUs(hostOf[at], hostOf[next]);
    at = next;
  }
  return delayUs;
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

function isBijection({ hostOf, idOf }: Positions): boolean {
  return hostOf.every((host, id) => idOf[host] === id) && new Set(hostOf).size === hostOf.length;
}

const SHAPES = [[2, 5], [3, 3], [4, 2]] as const;
const shapes = fc.constantFrom(...SHAPES);
const seeds = fc.integer({ min: 0, max: 1e6 });

t.test('positions after any swaps are those of a model that begins anew; each host holds one identifier', (t) => {
  fc.assert(
    fc.property(seeds, shapes, fc.array(fc.tuple(fc.nat(1000), fc.nat(1000)), { maxLength: 12 }), (seed, [k, n], swaps) => {
      const { positions } = setting(seed, k, n, 'greedy', 2, 3);
      for (const [a, b] of swaps) {
        const [x, y] = [a % positions.cube.size, b % positions.cube.size];
        if (!positions.isRoot(x) && !positions.isRoot(y)) positions.swap(x, y);
      }
      return isBijection(positions) && positions.channels.every((channel) => positions.hostOf.every((_, id) => near(positions.delayUs(channel, id), modelDelayUs(positions, channel.root, id))));
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('a swap done twice leaves no trace; ODR and Random keep their ways in the cube', (t) => {
  for (const routing of ['odr', 'random', 'greedy'] as const) {
    const { positions, random } = setting(5, 2, 6, routing, 1, 3);
    const [channel] = positions.channels;
    const before = [positions.hostOf.slice(), positions.idOf.slice(), channel.parents.slice(), channel.linksUs.slice()];
    for (let i = 0; i < 50; i++) {
      const [a, b] = [random.int(0, 63), random.int(0, 63)].map((id) => (id === channel.root ? (id + 1) % 64 : id));
      positions.swap(a, b);
      if (routing !== 'greedy') t.same(channel.parents, before[2]);
      t.ok(channel.linksUs.every((linkUs, id) => id === channel.root || linkUs === positions.network.delayUs(positions.hostOf[id], positions.hostOf[channel.parents[id]])));
      positions.swap(a, b);
    }
    t.same([positions.hostOf, positions.idOf, channel.parents, channel.linksUs], before, routing);
  }
  t.end();
});

t.test('without exchange the routes are those of the delivery tree', (t) => {
  for (const [k, n] of SHAPES) {
    const { positions } = setting(9, k, n, 'greedy', 1, 3);
    const { cube, network, hostOf, channels: [channel] } = positions;
    const tree = new DeliveryTree(cube, hostOf, network);
    tree.build(new Router(cube, 'greedy'), channel.root);
    t.same(channel.parents, tree.parent, `${k}x${n}`);
    t.ok(tree.delayUs.every((delayUs, id) => Math.abs(delayUs - positions.delayUs(channel, id)) < 0.01));
  }
  t.end();
});

t.test('a summary is what a count finds', (t) => {
  const { positions } = setting(11, 3, 3, 'greedy', 2, 3);
  for (const channel of positions.channels) {
    positions.summarize(channel);
    for (let id = 0; id < positions.cube.size; id++) {
      let [subscribers, late] = [0, 0];
      for (let other = 0; other < positions.cube.size; other++) {
        const boundUs = channel.boundsUs[positions.hostOf[other]];
        if (Number.isNaN(boundUs)) continue;
        for (let at = other; at >= 0; at = channel.parents[at]) {
          if (at !== id) continue;
          subscribers++;
          if (positions.delayUs(channel, other) > boundUs) late++;
        }
      }
      if (subscribers !== channel.subscribers[id] || late !== channel.late[id]) t.fail(`identifier ${id}: ${channel.subscribers[id]} and ${channel.late[id]}, not ${subscribers} and ${late}`);
    }
  }
  t.end();
});

/** FACTS.md, "Exchange of identifiers", word for word, over plain objects. Returns whom S swaps with; −1 for nobody. */
function modelPartner(positions: Positions, root: number, subscriber: number, depthLimit: number): number {
  const { cube, network, hostOf, idOf } = positions;
  const cost = (a: number, b: number): number => network.delayUs(hostOf[a], hostOf[b]);
  const subscribe = (p: number, d: number, from: number): number => {
    if (d === depthLimit || hostOf[p] === subscriber) return -1;
    const neighbours = Array.from({ length: cube.degree }, (_, port) => cube.neighbour(p, port)).filter((id) => id !== root && id !== from);
    if (neighbours.length === 0) return -1;
    const i = neighbours.reduce((most, id) => (cost(p, id) > cost(p, most) ? id : most));
    if (network.delayUs(subscriber, hostOf[p]) < cost(i, p)) return i;
    const others = neighbours.filter((id) => id !== i);
    return others.length === 0 ? -1 : subscribe(others.reduce((least, id) => (cost(p, id) < cost(p, least) ? id : least)), d + 1, p);
  };
  const partner = subscribe(root, 0, -1);
  return partner === idOf[subscriber] ? -1 : partner;
}

t.test('published: each request ends as the quoted algorithm does (Fry & West 2004)', (t) => {
  fc.assert(
    fc.property(seeds, shapes, fc.integer({ min: 0, max: 5 }), (seed, [k, n], depth) => {
      const { positions, random } = setting(seed, k, n, 'greedy', 1, 3, 1);
      const [channel] = positions.channels;
      const exchange = new Exchange(positions, depth);
      for (let host = 1; host < positions.cube.size; host++) {
        const expected = positions.hostOf.slice();
        const partner = modelPartner(positions, channel.root, host, depth);
        if (partner >= 0) {
          expected[positions.idOf[host]] = positions.hostOf[partner];
          expected[partner] = host;
        }
        if (exchange.request('published', channel, host, random) !== partner >= 0) return false;
        if (!expected.every((holder, id) => holder === positions.hostOf[id])) return false;
      }
      return true;
    }),
    { numRuns: 40 },
  );
  t.end();
});

const met = (positions: Positions, channel: Channel, host: number): boolean => positions.delayUs(channel, positions.idOf[host]) <= channel.boundsUs[host];

t.test('improved: the asker gains, nobody of the two loses a bound that was met, in any channel; publishers stay', (t) => {
  let swaps = 0;
  fc.assert(
    fc.property(seeds, shapes, fc.integer({ min: 1, max: 3 }), fc.double({ min: 1, max: 4, noNaN: true }), (seed, [k, n], channels, tightness) => {
      const { positions, random } = setting(seed, k, n, 'greedy', channels, tightness, 0.8);
      const exchange = new Exchange(positions, 4);
      for (const channel of positions.channels) positions.summarize(channel);
      for (let i = 0; i < 60; i++) {
        const host = random.int(0, positions.cube.size - 1);
        const channel = positions.channels[random.int(0, channels - 1)];
        if (Number.isNaN(channel.boundsUs[host])) continue;
        const before = positions.hostOf.slice();
        const delayUs = positions.delayUs(channel, positions.idOf[host]);
        const metBefore = positions.channels.map((other) => before.map((_, each) => (met(positions, other, each) ? 1 : 0)));
        const hasMoved = exchange.request('improved', channel, host, random);
        const changed = [...before.keys()].filter((id) => positions.hostOf[id] !== before[id]);
        if (!isBijection(positions) || positions.channels.some(({ publisher, root }) => positions.hostOf[root] !== publisher)) return false;
        if (!hasMoved && changed.length > 0) return false;
        if (!hasMoved) continue;
        swaps++;
        if (changed.length !== 2 || !changed.some((id) => before[id] === host) || !(delayUs > channel.boundsUs[host])) return false;
        if (!(positions.delayUs(channel, positions.idOf[host]) < delayUs)) return false;
        for (const id of changed) {
          if (positions.channels.some((other, c) => metBefore[c][before[id]] === 1 && !met(positions, other, before[id]))) return false;
        }
      }
      return true;
    }),
    { numRuns: 60 },
  );
  t.ok(swaps > 100, `${swaps} swaps`);
  t.end();
});

t.test('published with several publishers: the partner keeps the bounds that it meets', (t) => {
  let refused = 0;
  for (let seed = 0; seed < 20; seed++) {
    const { positions, random } = setting(seed, 2, 5, 'greedy', 3, 3, 0.8);
    const exchange = new Exchange(positions, 3);
    for (let i = 0; i < 60; i++) {
      const host = random.int(3, 31);
      const before = positions.hostOf.slice();
      const metBefore = positions.channels.map((channel) => before.map((_, each) => (met(positions, channel, each) ? 1 : 0)));
      // Swaps of others change what i foresaw only where they are its new next hops: then it may be wrong, as the rule is.
      if (!exchange.request('published', positions.channels[i % 3], host, random)) continue;
      const partner = before[positions.idOf[host]];
      if (positions.cube.portTo(positions.idOf[host], positions.idOf[partner]) >= 0) continue;
      const lost = positions.channels.some((channel, c) => metBefore[c][partner] === 1 && !met(positions, channel, partner) && !passes(positions, channel, positions.idOf[partner], positions.idOf[host]));
      if (lost) t.fail(`seed ${seed}: host ${partner} lost a bound to ${host}`);
    }
    refused += exchange.counters.refused;
  }
  t.ok(refused > 0, `${refused} refused`);
  t.end();
});

/** Whether the way from `id` leads over or beside `other`, whose new holder its hops may choose or avoid now. */
function passes(positions: Positions, channel: Channel, id: number, other: number): boolean {
  for (let at = id; at >= 0; at = channel.parents[at]) if (at === other || positions.cube.portTo(at, other) >= 0) return true;
  return false;
}

t.test('random swaps: near is near, anywhere is anywhere', (t) => {
  const { positions, random } = setting(3, 2, 6, 'greedy', 1, 3, 1);
  const [channel] = positions.channels;
  const exchange = new Exchange(positions, 2);
  let far = 0;
  for (let i = 0; i < 300; i++) {
    const host = random.int(1, 63);
    if (exchange.request('random near', channel, host, random)) t.ok(positions.cube.distance(positions.idOf[host], channel.root) <= 2);
    if (exchange.request('random anywhere', channel, host, random) && positions.cube.distance(positions.idOf[host], channel.root) > 2) far++;
  }
  t.ok(far > 100);
  t.ok(isBijection(positions));
  t.notOk(exchange.request('random near', channel, channel.publisher, random), 'the publisher stays');
  t.notOk(exchange.request('none', channel, 1, random));
  t.end();
});

t.test('bounds, success and lateness by hand', (t) => {
  // 0 ─10─ 1 ─10─ 2 ─10─ 3 on a line, in a ring of four: 0 1 3 2 by identifier, so that 3 gets it from its neighbour 1 or 2.
  const network: HostDelays = { hosts: 4, delayUs: (a, b) => 10 * Math.abs(a - b) };
  const positions = new Positions(new KnCube(2, 2), network, Int32Array.of(0, 3, 1, 2), 'greedy', new Random(1));
  const channel = positions.addChannel(0, Float64Array.of(NaN, 10, 15, 40));
  t.same([0, 1, 2, 3].map((host) => positions.delayUs(channel, positions.idOf[host])), [0, 10, 20, 30]);
  t.match(measureSuccess(positions, channel), { success: 2 / 3, lateness: 1 / 9, lateness99: 1 / 3, meanDelayUs: 20, meanHops: 4 / 3 });
  t.equal(lateness(30, 20), 0.5);
  t.equal(lateness(20, 20), 0);
  const random = new Random(2);
  for (let i = 0; i < 20; i++) {
    const boundsUs = drawBounds(network, 0, [1, 3], 3, random);
    t.ok(Number.isNaN(boundsUs[0]) && Number.isNaN(boundsUs[2]) && boundsUs[1] >= 10 && boundsUs[1] < 30 && boundsUs[3] >= 30 && boundsUs[3] < 90);
  }
  t.same(drawBounds(network, 0, [1, 3], 1, random), [NaN, 10, NaN, 30]);
  t.end();
});

t.test('impossible settings, one line each', (t) => {
  const network = plane(16, new Random(1));
  const job: SuccessJob = { seed: 1, network: 0, k: 2, n: 4, routing: 'greedy', publishers: 1, subscribers: 8, tightness: 4, rule: 'published', maxDepth: 4, rounds: 1 };
  const message = (change: Partial<SuccessJob>): string => {
    try {
      runSuccess(network, { ...job, ...change });
    } catch (error) {
      return (error as RingcubeError).message;
    }
    return '';
  };
  t.equal(message({}), '');
  t.match(message({ tightness: 0.9 }), /^bound: got 0\.9, must be a number from 1: a bound lies between the unicast delay and that many times it$/);
  t.match(message({ subscribers: 17 }), /^subscribers: got 17, must be an integer from 1 to 16, the number of hosts$/);
  t.match(message({ publishers: 16 }), /^publishers: got 16, must be an integer from 1 to 15, of 16 hosts$/);
  t.match(message({ n: 5 }), /^hosts: got 16, must be 32, one for each identifier of the cube$/);
  t.throws(() => new Positions(new KnCube(2, 2), plane(4, new Random(1)), Int32Array.of(0, 1, 1, 2), 'greedy', new Random(1)), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => drawBounds({ hosts: 2, delayUs: () => 0 }, 0, [1], 2, new Random(1)), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('runs on a transit-stub network: improved beats published beats nothing; the same by any number of threads', async (t) => {
  const random = new Random(21);
  const topology = transitStub(scaledTransitStub(200), random.fork('topology'));
  const matrix = await shortestPaths(topology, { workers: 0 });
  const networks = [0, 1].map((i) => HostNetwork.place(topology, matrix, 1024, random.fork(`hosts ${i}`)));
  const rules: ExchangeRule[] = ['none', 'published', 'improved'];
  const jobs = [0, 1].flatMap((network) => [100, 1024].flatMap((subscribers) => rules.map((rule): SuccessJob => ({
    seed: network, network, k: 2, n: 10, routing: 'greedy', publishers: 1, subscribers, tightness: 8, rule, maxDepth: 6, rounds: 1,
  }))));
  const one = await runSuccessJobs(networks, jobs, 1);
  t.same(await runSuccessJobs(networks, jobs, 2), one);
  for (let i = 0; i < jobs.length; i += 3) {
    t.ok(one[i].success < one[i + 1].success && one[i + 1].success < one[i + 2].success, `${jobs[i].subscribers} subscribers: ${one.slice(i, i + 3).map(({ success }) => success).join(' < ')}`);
    t.ok(one[i].lateness > one[i + 1].lateness && one[i + 1].lateness > one[i + 2].lateness, 'lateness');
    t.same(one[i].counters, { asked: 0, swaps: 0, undone: 0, refused: 0, messages: 0 });
    t.equal(one[i + 1].counters.asked, Math.min(jobs[i].subscribers, 1023));
    t.ok(one[i + 2].counters.asked <= Math.ceil((1 - one[i].success) * jobs[i].subscribers) + one[i + 2].counters.swaps, 'only the late ask');
  }
  await t.rejects(runSuccessJobs(networks, jobs, 1, undefined, AbortSignal.abort(new Error('enough'))), { message: 'enough' });
  t.end();
});

t.test('rounds end when nobody moves', (t) => {
  const { positions, random } = setting(8, 2, 5, 'greedy', 1, 3);
  const shares: number[] = [];
  const counters = runExchange(positions, 'improved', 4, 1000, random, (share) => shares.push(share));
  t.ok(counters.asked < 1000);
  t.equal(runExchange(positions, 'improved', 4, 1, random).swaps, 0);
  t.same(shares, [...shares].sort((a, b) => a - b), 'progress');
  t.end();
});

function context(parameters: SimParameters, seed = 1): SimContext {
  return { parameters, seed, workers: 1, signal: new AbortController().signal, progress: () => undefined };
}

t.test('improved / published, seed by seed: an interval above 1 unless one is saturated; no ratio where nobody is in time', (t) => {
  const judged = (published: number[], improved: number[]): unknown[] => {
    const { target, reached, spread, met } = gainTarget('so many', published, improved);
    return [target, reached, spread, met];
  };
  // Ratios 1.2 and 1.3: 1.25 ± 12.706 · 0.05 (Student 1908).
  t.same(judged([50, 50], [60, 65]), ['≥ 1, interval above 1', '1.250', '0.615–1.885', false]);
  t.same(judged([50, 50, 50], [60, 61, 62]), ['≥ 1, interval above 1', '1.220', '1.170–1.270', true]);
  t.same(judged([98, 98], [98, 99]), ['≥ 1', '1.005', '0.940–1.070', true]);
  t.same(judged([50], [60]), ['≥ 1, interval above 1', '1.200', 'one seed', null]);
  t.same(judged([0, 50, 0], [0, 60, 10]), ['≥ 1, interval above 1', 'not judged', 'nobody in time as published with 2 of 3 seeds', null]);
  t.end();
});

t.test('experiments exchange and success on the smallest cubes: all is finite, and nothing is claimed of what was published for others', async (t) => {
  for (const [experiment, parameters] of [
    [exchange, { k: 2, n: 2, seeds: 2, routers: 100 }], [exchange, { k: 2, n: 3, seeds: 1, routers: 100 }],
    [success, { k: 2, n: 3, bound: 1, seeds: 2, routers: 100 }], [success, { k: 2, n: 2, seeds: 2, routers: 100 }],
  ] as const) {
    const { results, figures, targets, claims } = await experiment.run(context(parameters));
    const what = `${experiment.name} ${JSON.stringify(parameters)}`;
    t.ok(results.every(({ runs }) => runs.length === parameters.seeds && runs.every(Number.isFinite)), what);
    for (const { id, y, results } of figures) t.ok(results.some(({ metric, unit }) => metric === y.metric && unit === y.unit), `${what}: ${id}`);
    t.notMatch(JSON.stringify([figures.map(({ paragraph }) => paragraph), targets, claims]), /NaN|Infinity/, what);
    t.same(claims.filter(({ agrees, remark }) => agrees !== null || !remark.startsWith('Not judged: ')), [], what);
  }
  const asked: SimParameters[] = [{}, { seeds: 3 }, { bound: 15 }, { subscribers: 512 }];
  t.same(asked.map(isFull), [true, true, false, false]);
});

t.test('between real hosts: the same seed gives the same; both rules bring more into time than none; measured latencies do for a network', async (t) => {
  const run = (parameters: SimParameters, seed?: number, n = 6): ReturnType<typeof exchangeBetweenHosts> => exchangeBetweenHosts(context(parameters, seed), new KnCube(2, n));
  const small = { routers: 100, seeds: 2, bound: 4 };
  const one = await run(small);
  t.same(await run(small), one);
  t.notSame((await run(small, 2)).results, one.results);
  const runs = (variant: string, metric: string): readonly number[] => one.results.find((result) => result.variant === variant && result.metric === metric)!.runs;
  const [none, published, improved] = ['no exchange', 'published', 'improved'].map((variant) => runs(variant, 'success ratio'));
  for (const [i, without] of none.entries()) t.ok(without < published[i] && without < improved[i], `${without}, published ${published[i]}, improved ${improved[i]}`);
  t.same(runs('no exchange', 'swaps'), [0, 0]);
  t.same([one.targets.length, one.figures.map(({ id }) => id)], [1, ['exchange-hosts', 'exchange-hosts-lateness']]);
  t.ok(one.results.every(({ params }) => params['case'] === '64 hosts, bounds up to 4x'));
  const latencies = fileURLToPath(new URL('../../../test/sim/data/links.csv', import.meta.url));
  t.equal((await run({ seeds: 1, bound: 4, latencies })).targets.length, 1);
  t.same(await run(small, 1, 5), { results: [], figures: [], targets: [] }, 'a smaller cube than any of them');
  await t.rejects(exchangeBetweenHosts({ ...context(small), signal: AbortSignal.abort(new Error('enough')) }, new KnCube(2, 6)), { message: 'enough' });
});
