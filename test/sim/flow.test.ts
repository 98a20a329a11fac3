// Flows over typed arrays: delivery trees against a slow model of objects, what their subscribers see, the same for any number of threads.
import fc from 'fast-check';
import t from 'tap';
import { delayPenalty } from '../../bench/sim/delay-penalty.js';
import { type Experiment, type ExperimentOutput, type SimContext, type SimParameters } from '../../bench/sim/experiment.js';
import { confidence95 } from '../../bench/sim/interval.js';
import { million } from '../../bench/sim/million.js';
import { Random } from '../../src/base/index.js';
import { KnCube, Router, type Routing } from '../../src/overlay/index.js';
import { DelayMatrix, DeliveryTree, type FlowJob, type FlowShape, type HostDelays, HostNetwork, measureFlow, pooled, quantile, runFlows, runJobs, shareAtMost } from '../../src/sim/index.js';

const ROUTINGS: readonly Routing[] = ['odr', 'random', 'greedy'];

/** A symmetric table of delays, whole µs so that sums are exact in 32 bits. */
function table(hosts: number, draw: () => number): HostDelays {
  const delays = new Float64Array(hosts * hosts);
  for (let a = 0; a < hosts; a++) {
    for (let b = 0; b < a; b++) delays[a * hosts + b] = delays[b * hosts + a] = draw();
  }
  return { hosts, delayUs: (a, b) => delays[a * hosts + b] };
}

/** The definition, one host at a time: digits, distances, next hops. Shares nothing with the code under test. */
class Model {
  readonly digits: number[][];

  constructor(readonly k: number, readonly n: number, readonly hostOf: Int32Array, readonly delays: HostDelays, readonly publisher: number) {
    this.digits = Array.from({ length: k ** n }, (_, id) => Array.from({ length: n }, (_, d) => Math.floor(id / k ** d) % k));
  }

  distance(id: number): number {
    return this.digits[id].reduce((sum, digit, d) => {
      const ahead = Math.abs(digit - this.digits[this.publisher][d]);
      return sum + Math.min(ahead, this.k - ahead);
    }, 0);
  }

  /** Where the identifier's host routes from. */
  entry(id: number): number {
    const own = [...this.hostOf.keys()].filter((other) => this.hostOf[other] === this.hostOf[id]);
    return own.reduce((best, other) => (this.distance(other) < this.distance(best) ? other : best));
  }

  /** Neighbours nearer to the publisher: lowest dimension first, + before −. */
  nearer(id: number): number[] {
    const found = new Set<number>();
    for (let d = 0; d < this.n; d++) {
      for (const step of [1, this.k - 1]) {
        const other = id + (((this.digits[id][d] + step) % this.k) - this.digits[id][d]) * this.k ** d;
        if (this.distance(other) === this.distance(id) - 1) found.add(other);
      }
    }
    return [...found];
  }

  linkUs(a: number, b: number): number {
    return this.delays.delayUs(this.hostOf[a], this.hostOf[b]);
  }

  next(id: number, routing: 'odr' | 'greedy'): number {
    const all = this.nearer(id);
    return routing === 'odr' ? all[0] : all.reduce((best, other) => (this.linkUs(id, other) < this.linkUs(id, best) ? other : best));
  }

  /** The whole route from an identifier to the publisher's. */
  route(id: number, routing: 'odr' | 'greedy'): number[] {
    const route = [id];
    for (let at = id; at !== this.publisher; ) {
      const entry = this.entry(at);
      at = entry === at ? this.next(at, routing) : entry;
      route.push(at);
    }
    return route;
  }
}

const cases = fc.record({
  shape: fc.constantFrom<[k: number, n: number][]>([2, 1], [2, 5], [3, 3], [4, 3], [5, 2], [6, 2], [17, 1]),
  seed: fc.nat(0xffffffff),
  crowd: fc.constantFrom(1, 1, 1.5, 4), // identifiers to a host
  all: fc.boolean(),
});

function setting({ shape: [k, n], seed, crowd, all }: { shape: [k: number, n: number]; seed: number; crowd: number; all: boolean }): {
  cube: KnCube; hostOf: Int32Array; delays: HostDelays; publisher: number; subscribers: Int32Array | undefined; random: Random;
} {
  const random = new Random(seed);
  const cube = new KnCube(k, n);
  const hosts = Math.max(1, Math.floor(cube.size / crowd));
  const hostOf = random.shuffle(Int32Array.from({ length: cube.size }, (_, id) => id % hosts));
  const subscribers = all ? undefined : random.shuffle(Int32Array.from({ length: hosts }, (_, host) => host)).subarray(0, random.int(0, hosts));
  return { cube, hostOf, delays: table(hosts, () => random.int(1, 1000)), publisher: random.int(0, cube.size - 1), subscribers, random };
}

t.test('trees are made of the routes of their subscribers, as a model follows them hop by hop', (t) => {
  fc.assert(fc.property(cases, fc.constantFrom('odr' as const, 'greedy' as const), (drawn, routing) => {
    const { cube, hostOf, delays, publisher, subscribers } = setting(drawn);
    const tree = new DeliveryTree(cube, hostOf, delays);
    // What an earlier tree left must not show.
    tree.build(new Router(cube, 'odr'), (publisher + 1) % cube.size);
    tree.build(new Router(cube, routing), publisher, subscribers);
    const model = new Model(cube.k, cube.n, hostOf, delays, publisher);
    const members = new Map<number, number>([[publisher, -1]]);
    const starts = [...(subscribers ?? new Set(hostOf))].map((host) => model.entry(hostOf.indexOf(host)));
    for (const start of starts) {
      const route = model.route(start, routing);
      for (const [i, id] of route.entries()) members.set(id, route[i + 1] ?? -1);
    }
    for (const id of hostOf.keys()) {
      const parent = members.get(id);
      const route = parent === undefined ? [] : model.route(id, routing);
      const links = route.slice(1).map((other, i) => [route[i], other]);
      const expected = [
        parent ?? -1,
        parent === undefined ? NaN : links.reduce((sum, [a, b]) => sum + model.linkUs(a, b), 0),
        links.filter(([a, b]) => hostOf[a] !== hostOf[b] || model.entry(a) === a).length,
      ];
      const got = [tree.parent[id], tree.delayUs[id], tree.hops[id]];
      if (!expected.every((value, i) => Object.is(value, got[i]))) throw new Error(`identifier ${id}: parent, delay, hops ${String(got)}, should be ${String(expected)}`);
      if (tree.entry[hostOf[id]] !== model.entry(id)) throw new Error(`host ${hostOf[id]} routes from ${tree.entry[hostOf[id]]}`);
    }
  }), { numRuns: 150 });
  t.end();
});

t.test('every parent is a neighbour nearer to the publisher, behind the port that is named; with a host to an identifier hops are distances', (t) => {
  fc.assert(fc.property(cases, fc.constantFrom(...ROUTINGS), (drawn, routing) => {
    const { cube, hostOf, delays, publisher, subscribers, random } = setting(drawn);
    const tree = new DeliveryTree(cube, hostOf, delays);
    tree.build(new Router(cube, routing, random.fork('routing')), publisher, subscribers);
    const single = delays.hosts === cube.size;
    for (const id of hostOf.keys()) {
      const [parent, port] = [tree.parent[id], tree.parentPort[id]];
      if (parent < 0) {
        if (id !== publisher && !Number.isNaN(tree.delayUs[id])) throw new Error(`${id} has no parent, and a delay`);
        continue;
      }
      if (port < 0 ? hostOf[parent] !== hostOf[id] || single : cube.neighbour(id, port) !== parent) throw new Error(`${id}: port ${port} to ${parent}`);
      if (cube.distance(parent, publisher) > cube.distance(id, publisher) - (port < 0 ? 0 : 1)) throw new Error(`${id}: ${parent} is no nearer`);
      if (single && tree.hops[id] !== cube.distance(id, publisher)) throw new Error(`${id}: ${tree.hops[id]} hops`);
      if (tree.hops[id] > cube.distance(id, publisher)) throw new Error(`${id}: ${tree.hops[id]} hops, farther than need be`);
    }
    const again = new DeliveryTree(cube, hostOf, delays);
    again.build(new Router(cube, routing, random.fork('routing')), publisher, subscribers);
    if (tree.parent.some((parent, id) => parent !== again.parent[id])) throw new Error('the same seed, another tree');
  }), { numRuns: 150 });
  t.end();
});

t.test('a cube with more hops than a byte can count', (t) => {
  const cube = new KnCube(256, 2);
  const hostOf = new Int32Array(cube.size).fill(-1);
  t.equal(cube.diameter, 256);
  t.throws(() => new DeliveryTree(cube, hostOf, table(4, () => 1)), { code: 'ERR_INVALID_ARGUMENT', message: 'hostOf: got -1, must be a host from 0 to 3' });
  for (let id = 0; id < cube.size; id++) hostOf[id] = id;
  const tree = new DeliveryTree(cube, hostOf, { hosts: cube.size, delayUs: () => 1 });
  const shares: number[] = [];
  const far = 128 * (1 + 256);
  tree.build(new Router(cube, 'odr'), 0, Int32Array.of(far), (share) => shares.push(share));
  t.equal(tree.hops[far], 256);
  t.equal(tree.delayUs[far], 256);
  t.equal(tree.parent.reduce((members, parent) => members + (parent < 0 ? 0 : 1), 0), 256, 'one route and no more');
  t.ok(shares.every((share, i) => i === 0 || share > shares[i - 1]));
  t.equal(shares.at(-1), 1);
  t.end();
});

t.test('mistakes of a caller', (t) => {
  const cube = new KnCube(2, 3);
  t.throws(() => new DeliveryTree(cube, new Int32Array(7), table(8, () => 1)), { code: 'ERR_INVALID_ARGUMENT', message: 'hostOf: got "7 entries", must be one for each identifier (8)' });
  const tree = new DeliveryTree(cube, Int32Array.from({ length: 8 }, (_, id) => id), table(8, () => 1));
  t.throws(() => tree.build(new Router(cube, 'odr'), 8), { code: 'ERR_INVALID_ARGUMENT', message: 'publisher: got 8, must be an identifier from 0 to 7' });
  t.end();
});

t.test('FACTS.md: with independent uniform hop costs on a hypercube, ODR and Random take h/2, Greedy H(h + 1) − 1', (t) => {
  const cube = new KnCube(2, 10);
  const hostOf = Int32Array.from({ length: cube.size }, (_, id) => id);
  const seeds = Array.from({ length: 24 }, (_, seed) => seed);
  const harmonic = (last: number): number => (last === 0 ? 0 : 1 / last + harmonic(last - 1));
  t.equal(harmonic(9) - 1 > 1.828 && harmonic(9) - 1 < 1.83, true, 'h = 8: 1.83');
  for (const routing of ROUTINGS) {
    // By seed, the mean delay at each distance.
    const means = seeds.map((seed) => {
      const random = new Random(seed).fork('uniform');
      const tree = new DeliveryTree(cube, hostOf, table(cube.size, () => random.float()));
      tree.build(new Router(cube, routing, random), random.int(0, cube.size - 1));
      const sums = new Float64Array(cube.n + 1);
      for (const id of hostOf) sums[tree.hops[id]] += tree.delayUs[id];
      return sums.map((sum, distance) => sum / cube.distanceCounts()[distance]);
    });
    for (const distance of [1, 4, 8, 10]) {
      const { mean, low, high } = confidence95(means.map((one) => one[distance]));
      const expected = routing === 'greedy' ? harmonic(distance + 1) - 1 : distance / 2;
      // Twice the 95 % interval: a wrong formula is far outside, chance is in 1 of 2,000 cases.
      t.ok(Math.abs(mean - expected) < high - low, `${routing}, h = ${distance}: ${mean.toFixed(3)}, expected ${expected.toFixed(3)}; seeds 0 to 23`);
    }
  }
  t.end();
});

/** Routers on a line, 1 ms apart, hosts with access links of `accessUs`. */
function line(hosts: number, routers: number, accessUs: number, random: Random): HostNetwork {
  const matrix = DelayMatrix.make(routers, false);
  for (let a = 0; a < routers; a++) for (let b = 0; b < routers; b++) matrix.delaysUs[a * routers + b] = 1000 * Math.abs(a - b);
  return new HostNetwork(matrix, Int32Array.from({ length: hosts }, () => random.int(0, routers - 1)), new Float32Array(hosts).fill(accessUs));
}

function identity(k: number, n: number): FlowShape {
  return { k, n, hostOf: new Int32Array(new SharedArrayBuffer(4 * k ** n)).map((_, id) => id) };
}

function shared(shape: FlowShape): FlowShape {
  const hostOf = new Int32Array(new SharedArrayBuffer(4 * shape.hostOf.length));
  hostOf.set(shape.hostOf);
  return { ...shape, hostOf };
}

t.test('what subscribers see: penalties, means, and those whom nothing compares with', (t) => {
  const random = new Random(7);
  const cube = new KnCube(2, 6);
  const hostOf = Int32Array.from({ length: cube.size }, (_, id) => id);
  for (const accessUs of [0, 500]) {
    const network = line(cube.size, 5, accessUs, random);
    const tree = new DeliveryTree(cube, hostOf, network);
    tree.build(new Router(cube, 'greedy'), 9);
    const penalties = new Float32Array(cube.size);
    const summary = measureFlow(tree, network, 9, undefined, penalties);
    const others = [...hostOf].filter((host) => host !== 9);
    const near = others.filter((host) => network.delayUs(9, host) === 0);
    const mean = (of: (host: number) => number): number => others.reduce((sum, host) => sum + of(host), 0) / others.length;
    t.match(summary, { subscribers: 63, penalised: 63 - near.length, meanDelayUs: mean((host) => tree.delayUs[host]), meanUnicastUs: mean((host) => network.delayUs(9, host)), meanHops: mean((host) => cube.distance(host, 9)) });
    t.equal(near.length > 0, accessUs === 0, 'without delays of access links some are at no distance at all');
    const expected = others.filter((host) => !near.includes(host)).map((host) => Math.fround(tree.delayUs[host] / network.delayUs(9, host)));
    t.same([...penalties.subarray(0, summary.penalised)], expected.sort((a, b) => a - b));
    t.ok(penalties[0] >= 1, 'no route is shorter than the shortest');
  }
  t.end();
});

t.test('shares and quantiles of sorted values, against their definitions', (t) => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 30 }), fc.integer({ min: -1, max: 10 }), fc.double({ min: 0, max: 1, noNaN: true }), (values, bound, share) => {
    const ascending = Float32Array.from(values).sort();
    const counted = values.filter((value) => value <= bound).length / values.length;
    if (shareAtMost(ascending, bound) !== counted) throw new Error(`${shareAtMost(ascending, bound)}, not ${counted}`);
    const least = [...ascending].find((value) => shareAtMost(ascending, value) >= share - 1e-12);
    if (quantile(ascending, share) !== least) throw new Error(`${quantile(ascending, share)}, not ${String(least)}`);
  }));
  t.same([quantile(new Float32Array(0), 0.5), shareAtMost(new Float32Array(0), 1)], [NaN, NaN]);
  t.end();
});

t.test('Student 1908, the sleep of ten patients: 1.58 hours more, 0.70 to 2.46', (t) => {
  const { mean, low, high } = confidence95([1.2, 2.4, 1.3, 1.3, 0, 1, 1.8, 0.8, 4.6, 1.4]);
  t.same([mean, low, high].map((value) => value.toFixed(2)), ['1.58', '0.70', '2.46']);
  t.same(confidence95([3]), { mean: 3, low: -Infinity, high: Infinity });
  // 40 degrees of freedom: 2.0211 (Abramowitz & Stegun, table 26.10)
  const alternating = Array.from({ length: 41 }, (_, i) => (i % 2 === 0 ? 1 : -1));
  const wide = confidence95(alternating);
  const error = Math.sqrt((41 - 1 / 41) / 40 / 41);
  t.ok(Math.abs((wide.high - wide.mean) / error - 2.0211) < 0.0005);
  t.end();
});

t.test('flows divided among threads: the same with one and with two, and as without', async (t) => {
  const random = new Random(11);
  const network = line(200, 12, 300, random);
  const crowded = random.shuffle(Int32Array.from({ length: 256 }, (_, id) => id % 200));
  const shapes = [identity(2, 8), { k: 4, n: 4, hostOf: crowded }, { k: 3, n: 5, hostOf: Int32Array.from({ length: 243 }, (_, id) => id % 200) }].map(shared);
  shapes[0].hostOf.forEach((id, i) => (shapes[0].hostOf[i] = id % 200));
  const subscribers = new Int32Array(new SharedArrayBuffer(400));
  random.shuffle(Int32Array.from({ length: 200 }, (_, host) => host)).slice(0, 100).forEach((host, i) => (subscribers[i] = host));
  const jobs: FlowJob[] = shapes.flatMap((_, shape) => ROUTINGS.flatMap((routing) => [
    { shape, routing, publisher: random.int(0, 242), seed: random.uint32() },
    { shape, routing, publisher: random.int(0, 242), seed: random.uint32(), subscribers },
  ]));
  const progress: number[] = [];
  const one = await runFlows({ network, shapes, jobs, workers: 1, onProgress: (done) => progress.push(done) });
  const two = await runFlows({ network, shapes, jobs, workers: 2 });
  t.same(two, one);
  t.ok(progress.every((done, i) => i === 0 || done >= progress[i - 1] - 1e-9));
  t.ok(Math.abs(progress.at(-1)! - jobs.length) < 1e-9);
  for (const [i, { shape, routing, publisher, seed, subscribers }] of jobs.entries()) {
    const cube = new KnCube(shapes[shape].k, shapes[shape].n);
    const tree = new DeliveryTree(cube, shapes[shape].hostOf, network);
    tree.build(new Router(cube, routing, new Random(seed)), publisher, subscribers);
    const penalties = new Float32Array(200);
    const summary = measureFlow(tree, network, shapes[shape].hostOf[publisher], subscribers, penalties);
    t.same({ ...one[i] }, { ...summary, penalties: penalties.subarray(0, summary.penalised) });
  }
  const all = pooled(one);
  t.equal(all.length, one.reduce((sum, { penalised }) => sum + penalised, 0));
  t.equal(quantile(all, 1), Math.max(...one.map(({ penalties }) => penalties.at(-1)!)));
});

t.test('flows that make no sense, and flows that are given up', async (t) => {
  const network = line(32, 4, 300, new Random(1));
  const shapes = [identity(2, 4), identity(2, 5)].map(shared);
  const run = (job: Partial<FlowJob>): Promise<unknown> => runFlows({ network, shapes, jobs: [{ shape: 1, routing: 'odr', publisher: 0, seed: 1, ...job }], workers: 1 });
  await t.rejects(run({ shape: 0 }), { code: 'ERR_INVALID_ARGUMENT', message: 'hosts: got 32, must be at most 16: the 2x4 cube has that many identifiers' });
  await t.rejects(run({ publisher: 32 }), { code: 'ERR_INVALID_ARGUMENT', message: 'publisher: got 32, must be an identifier from 0 to 31' });
  await t.rejects(run({ subscribers: Int32Array.of(31, 32) }), { code: 'ERR_INVALID_ARGUMENT', message: 'subscribers: got 32, must be hosts from 0 to 31' });
  // 2^22 identifiers take a second and more; given up after the first slice of the first.
  const large = identity(2, 22);
  const big = shared({ ...large, hostOf: large.hostOf.map((id) => id % 32) });
  const abort = new AbortController();
  let done = 0;
  const jobs = Array.from({ length: 8 }, (_, publisher): FlowJob => ({ shape: 0, routing: 'odr', publisher, seed: 1 }));
  await t.rejects(runFlows({
    network, shapes: [big], jobs, workers: 2, signal: abort.signal,
    onProgress: (now) => {
      done = now;
      abort.abort(new Error('given up'));
    },
  }), { message: 'given up' });
  t.ok(done < 2, `given up after ${done} of ${jobs.length} trees`);
  await t.rejects(runFlows({ network, shapes, jobs: [], workers: 2, signal: abort.signal }), { message: 'given up' });
});

t.test('jobs on threads: answers in order; a job that throws, or never ends, leaves no thread behind', async (t) => {
  const worker = new URL('./jobs.worker.js', import.meta.url);
  t.same(await runJobs({ worker, data: 100, jobs: [3, 1, 2], workers: 2 }), [103, 101, 102]);
  t.same(await runJobs({ worker, data: 100, jobs: [], workers: 2 }), []);
  await t.rejects(runJobs({ worker, data: 100, jobs: [1, 'throw', 'spin'], workers: 3 }), { message: 'thrown by a job' });
  const abort = new AbortController();
  setTimeout(() => abort.abort(new Error('enough')), 100);
  await t.rejects(runJobs({ worker, data: 100, jobs: ['spin', 'spin'], workers: 2, signal: abort.signal }), { message: 'enough' });
  // A thread left behind would keep the process from ending: the test would time out.
});

/** An experiment on a small network. */
function experiment(which: Experiment, parameters: SimParameters, workers = 1, progress: SimContext['progress'] = () => undefined, signal = new AbortController().signal): Promise<ExperimentOutput> {
  return which.run({ parameters: { routers: 60, ...parameters }, seed: 5, workers, signal, progress });
}

t.test('experiment delay-penalty, small: the same for any number of threads, and its figures say what its flows were', async (t) => {
  const small = { hosts: 200, publishers: 3, seeds: 2 };
  const seen: number[] = [];
  const one = await experiment(delayPenalty, small, 1, (done, total) => seen.push(done / total));
  const two = await experiment(delayPenalty, small, 2);
  t.same(two.results, one.results);
  t.same(two.claims, one.claims);
  t.ok(seen.every((share, i) => share <= 1 && (i === 0 || share >= seen[i - 1])), 'progress goes on, up to all');
  t.equal(seen.at(-1), 1);
  const of = (metric: string, variant: string): ExperimentOutput['results'] => one.results.filter((result) => result.metric === metric && result.variant === variant);
  const variants = ['2x8', '16x2'].flatMap((shape) => ['Greedy', 'Random', 'ODR'].map((routing) => `${shape} ${routing}`));
  t.same(new Set(one.results.map(({ variant }) => variant)), new Set([...variants, '2x8', '16x2']));
  for (const variant of variants) {
    const shares = of('subscribers', variant).map(({ median }) => median);
    t.ok(shares.every((share, i) => i === 0 || share >= shares[i - 1]), `${variant}: cumulative`);
    t.ok(shares.at(-1)! >= 99.5);
    t.equal(of('mean delay', variant)[0].runs.length, 3, 'a value for each publisher');
  }
  const sum = (variant: string): number => of('mean delay', variant)[0].runs.reduce((all, value) => all + value, 0);
  t.ok(Math.abs(of('below ODR', '2x8')[0].runs[0] - 100 * (1 - sum('2x8 Greedy') / sum('2x8 ODR'))) < 1e-9);
  t.ok(one.targets.every(({ met }) => met === null), 'small runs are held to no target');
  const greedy = await experiment(delayPenalty, { hosts: 200, publishers: 3, routing: 'greedy', k: 3, n: 5, subscribers: 40 });
  t.same(new Set(greedy.results.map(({ variant }) => variant)), new Set(['3x5 Greedy']));
});

t.test('experiment million, small: mean hops are the formula of FACTS.md §1, A(k, n) M/(M − 1)', async (t) => {
  const all = await experiment(million, { k: 4, n: 4 });
  t.ok(Math.abs(all.results.find(({ metric }) => metric === 'mean hops')!.median - (4 * 256) / 255) < 1e-9);
  const crowded = await experiment(million, { hosts: 300, subscribers: 20 });
  t.same(crowded.results[0].variant, '3x6 greedy', 'the published shape for 300 hosts');
});

t.test('experiments that make no sense, and those that are given up', async (t) => {
  const refused: [Experiment, SimParameters, string][] = [
    [delayPenalty, { k: 3 }, 'n: got undefined, must be given, as k (3) is: both make a cube'],
    [million, { n: 3 }, 'k: got undefined, must be given, as n (3) is: both make a cube'],
    [million, { k: 1, n: 3 }, 'k: got 1, must be an integer from 2 to 256'],
    [delayPenalty, { k: 2, n: 4, hosts: 17 }, 'hosts: got 17, must be a whole number from 2 to 16: the 2x4 cube has that many identifiers'],
    [delayPenalty, { hosts: 9, publishers: 10 }, 'publishers: got 10, must be a whole number from 1 to 9: each is another host'],
    [delayPenalty, { hosts: 9, subscribers: 10 }, 'subscribers: got 10, must be a whole number from 1 to 9: no more than hosts'],
    [delayPenalty, { seeds: 0 }, 'seeds: got 0, must be a whole number from 1 to 1000'],
    [delayPenalty, { routing: 'odr', seeds: 5 }, 'seeds: got 5, must be left out beside routing (odr): what is repeated is Greedy against ODR'],
    [million, { hosts: 9, subscribers: 10 }, 'subscribers: got 10, must be a whole number from 1 to 9: no more than hosts'],
    [million, { hosts: 1 }, 'hosts: got 1, must be a whole number from 2 to 16777216'],
  ];
  for (const [which, parameters, message] of refused) await t.rejects(experiment(which, parameters), { code: 'ERR_INVALID_ARGUMENT', message });
  for (const which of [delayPenalty, million]) {
    const abort = new AbortController();
    let share = 0;
    const onProgress = (done: number, total: number): void => {
      share = done / total;
      abort.abort(new Error('given up'));
    };
    await t.rejects(experiment(which, { hosts: 60_000 }, 2, onProgress, abort.signal), { message: 'given up' });
    t.ok(share < 1, `given up after ${share} of ${which.name}`);
  }
});
