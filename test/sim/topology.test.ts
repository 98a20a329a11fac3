// Physical networks: the models' structure and distributions, shortest paths against Floyd & Warshall, hosts in shared memory, files of latencies.
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { Random, RingcubeError } from '../../src/base/index.js';
import {
  DelayMatrix, HostNetwork, TRANSIT_STUB_5050, type Topology, type TransitStubParameters, WAXMAN_DEFAULTS, makeNetwork, parseLatencies, readLatencies,
  scaledTransitStub, shortestPaths, transitStub, waxman,
} from '../../src/sim/index.js';
import { Components, EdgeList } from '../../src/sim/topology/topology.js';

const HERE = { workers: 0 };
const wrong = (message: string | RegExp): { code: string; message: string | RegExp } => ({ code: 'ERR_INVALID_ARGUMENT', message });
const data = (name: string): string => fileURLToPath(new URL(`../../../test/sim/data/${name}`, import.meta.url));
const sum = (numbers: ArrayLike<number>): number => Array.from(numbers).reduce((total, number) => total + number, 0);

/** Each edge once, a < b. */
function edgesOf({ routers, offsets, targets, delaysUs }: Topology): [a: number, b: number, delayUs: number][] {
  const edges: [number, number, number][] = [];
  for (let a = 0; a < routers; a++) {
    for (let i = offsets[a]; i < offsets[a + 1]; i++) if (a < targets[i]) edges.push([a, targets[i], delaysUs[i]]);
  }
  return edges;
}

/** What every topology promises: both directions of each edge alike, whole delays, no double edges, connected. */
function assertSound(topology: Topology): void {
  const { routers, offsets, targets, delaysUs, attachable } = topology;
  const seen = new Map<number, number>();
  const components = new Components(routers);
  if (offsets.length !== routers + 1 || offsets[routers] !== targets.length || delaysUs.length !== targets.length) throw new Error('lengths of arrays');
  for (let a = 0; a < routers; a++) {
    for (let i = offsets[a]; i < offsets[a + 1]; i++) {
      const key = a * routers + targets[i];
      if (seen.has(key) || targets[i] === a) throw new Error(`a double edge or a loop at router ${a}`);
      if (!Number.isInteger(delaysUs[i]) || delaysUs[i] < 1) throw new Error(`a delay of ${delaysUs[i]}`);
      seen.set(key, delaysUs[i]);
      components.join(a, targets[i]);
    }
  }
  for (const [key, delayUs] of seen) {
    if (seen.get((key % routers) * routers + Math.floor(key / routers)) !== delayUs) throw new Error(`edge ${key} is not symmetric`);
  }
  if (components.count !== 1) throw new Error(`${components.count} parts`);
  if (attachable.length === 0 || attachable.some((router, i) => router >= routers || (i > 0 && router <= attachable[i - 1]))) throw new Error('attachable');
}

t.test('a topology is built from edges in any order; what is no edge is refused', (t) => {
  const edges = new EdgeList(3);
  edges.add(2, 0, 7.4);
  edges.add(0, 1, 0.2);
  t.ok(edges.has(0, 2) && edges.has(1, 0) && !edges.has(1, 2));
  const topology = edges.build('three', Int32Array.of(1, 2));
  t.same(topology, {
    name: 'three', routers: 3, offsets: Int32Array.of(0, 2, 3, 4), targets: Int32Array.of(2, 1, 0, 0), delaysUs: Float32Array.of(7, 1, 1, 7), attachable: Int32Array.of(1, 2),
  });
  assertSound(topology);
  for (const [a, b] of [[0, 1], [1, 0], [1, 1], [0, 3], [-1, 0]]) t.throws(() => edges.add(a, b, 1), wrong(`edge: got "${a}–${b}", must be a new one between two of 3 routers`));
  for (const delayUs of [-1, NaN, 10_000_001]) t.throws(() => edges.add(1, 2, delayUs), wrong(`delayUs: got ${delayUs}, must be from 0 to 10000000`));
  t.throws(() => new EdgeList(0), wrong('routers: got 0, must be an integer from 1 to 65536'));
  t.throws(() => new EdgeList(3).build('apart', Int32Array.of(0)), wrong('apart: got "3 parts without an edge between them", must be connected'));
  t.end();
});

t.test('Zegura, Calvert & Bhattacharjee 1996: transit-stub domains, sizes, edges between them', (t) => {
  const probability = fc.double({ min: 0.05, max: 1, noNaN: true });
  const model = fc.oneof(
    fc.record({ kind: fc.constant('random' as const), probability }),
    fc.record({ kind: fc.constant('waxman' as const), alpha: probability, beta: probability }),
  );
  const parameters: fc.Arbitrary<TransitStubParameters> = fc.record({
    transitDomains: fc.integer({ min: 1, max: 5 }),
    nodesPerTransitDomain: fc.integer({ min: 1, max: 4 }),
    stubsPerTransitNode: fc.integer({ min: 1, max: 4 }),
    nodesPerStub: fc.integer({ min: 1, max: 6 }),
    extraTransitStubEdges: fc.integer({ min: 0, max: 3 }),
    extraStubStubEdges: fc.integer({ min: 0, max: 3 }),
    between: model,
    withinTransit: model,
    withinStub: model,
    varied: fc.boolean(),
    delays: fc.record({
      kind: fc.constantFrom('euclidean' as const, 'constant' as const),
      betweenTransitUs: fc.constant(20_000),
      withinTransitUs: fc.constant(10_000),
      transitStubUs: fc.constant(5_000),
      withinStubUs: fc.constant(2_000),
    }),
  });
  fc.assert(
    fc.property(parameters, fc.nat(), (p, seed) => {
      const stubs = p.transitDomains * p.nodesPerTransitDomain * p.stubsPerTransitNode;
      fc.pre(p.extraStubStubEdges <= (stubs * (stubs - 1)) / 4 && p.extraTransitStubEdges <= (stubs * (p.transitDomains * p.nodesPerTransitDomain - 1)) / 2);
      const topology = transitStub(p, new Random(seed));
      assertSound(topology);
      const { routers, transitRouters, domains, attachable } = topology;
      const isTransit = (router: number): boolean => router < transitRouters;
      if (transitRouters !== p.transitDomains * p.nodesPerTransitDomain || routers !== transitRouters + stubs * p.nodesPerStub) throw new Error('sizes');
      if (attachable.length !== routers - transitRouters || attachable[0] !== transitRouters) throw new Error('hosts attach to stub routers');
      const sizes = new Int32Array(p.transitDomains + stubs);
      for (const domain of domains) sizes[domain]++;
      if (sizes.includes(0)) throw new Error('an empty domain');
      const even = sizes.every((size, domain) => size === (domain < p.transitDomains ? p.nodesPerTransitDomain : p.nodesPerStub));
      if (!p.varied && !even) throw new Error('sizes vary');
      // Each domain is connected by itself; so are the transit domains together.
      const inside = new Components(routers);
      const above = new Components(routers);
      const classes: Record<string, number[]> = { between: [], withinTransit: [], transitStub: [], withinStub: [] };
      const attachments = new Int32Array(p.transitDomains + stubs);
      let stubStubEdges = 0;
      for (const [a, b, delayUs] of edgesOf(topology)) {
        if (domains[a] === domains[b]) inside.join(a, b);
        if (isTransit(a) && isTransit(b)) above.join(a, b);
        const kind = domains[a] === domains[b] ? (isTransit(a) ? 'withinTransit' : 'withinStub') : isTransit(b) ? 'between' : 'transitStub';
        classes[kind].push(delayUs);
        if (kind !== 'transitStub') continue;
        if (isTransit(a)) attachments[domains[b]]++;
        else stubStubEdges++;
      }
      if (inside.count !== p.transitDomains + stubs) throw new Error('a domain is not connected by itself');
      if (above.count !== 1 + routers - transitRouters) throw new Error('transit domains are not connected');
      if (stubStubEdges !== p.extraStubStubEdges) throw new Error(`${stubStubEdges} edges between stubs`);
      if (sum(attachments) !== stubs + p.extraTransitStubEdges || attachments.subarray(p.transitDomains).includes(0)) throw new Error('a stub without a transit router');
      const meansUs = { between: p.delays.betweenTransitUs, withinTransit: p.delays.withinTransitUs, transitStub: p.delays.transitStubUs, withinStub: p.delays.withinStubUs };
      for (const [kind, meanUs] of Object.entries(meansUs)) {
        const found = classes[kind];
        if (p.delays.kind === 'constant' ? found.some((delayUs) => delayUs !== meanUs) : found.length > 0 && Math.abs(sum(found) / found.length - meanUs) > 1) throw new Error(`delays of ${kind}`);
      }
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('from stub to stub through transit domains alone, unless an extra edge leads there', async (t) => {
  const walk = async (extraStubStubEdges: number): Promise<number> => {
    const topology = transitStub({ ...scaledTransitStub(300), extraStubStubEdges }, new Random(7));
    const { routers, transitRouters, domains } = topology;
    const matrix = await shortestPaths(topology, { ...HERE, predecessors: true });
    let shortcuts = 0;
    for (let a = transitRouters; a < routers; a++) {
      for (let b = transitRouters; b < routers; b++) {
        if (domains[a] === domains[b]) continue;
        let [transit, thirds] = [0, 0];
        for (let router = b; router !== a; router = matrix.predecessors![a * routers + router]) {
          if (router < transitRouters) transit++;
          else if (domains[router] !== domains[a] && domains[router] !== domains[b]) thirds++;
        }
        if (transit === 0 || thirds > 0) shortcuts++;
      }
    }
    return shortcuts;
  };
  t.equal(await walk(0), 0);
  t.ok((await walk(10)) > 0);
});

t.test("the preset has GT-ITM's 5,050 routers; scaled, it comes near to what is asked for, in like proportions", (t) => {
  const topology = transitStub(TRANSIT_STUB_5050, new Random(1));
  assertSound(topology);
  t.match(topology, { routers: 5_050, transitRouters: 50, attachable: { length: 5_000 }, name: 'transit-stub, 5050 routers (10 × 5 transit, × 10 stubs × 10)' });
  t.same(scaledTransitStub(5_050), TRANSIT_STUB_5050);
  const made = (routers: number): number => {
    const { transitDomains, nodesPerTransitDomain, stubsPerTransitNode, nodesPerStub } = scaledTransitStub(routers);
    return transitDomains * nodesPerTransitDomain * (1 + stubsPerTransitNode * nodesPerStub);
  };
  t.same([20, 100, 600, 1_000, 2_000, 10_000, 16_384, 50_000].map(made), [20, 100, 600, 1_000, 2_000, 9_999, 16_384, 50_004]);
  for (let routers = 20; routers < 3_000; routers += 7) if (Math.abs(made(routers) / routers - 1) > 0.1) t.fail(`${made(routers)} routers instead of ${routers}`);
  for (const routers of [19, 65_537, 100.5, NaN]) t.throws(() => scaledTransitStub(routers), wrong(`routers: got ${routers}, must be an integer from 20 to 65536`));
  t.end();
});

t.test('the same seed gives the same topology, another one another', (t) => {
  const small = scaledTransitStub(200);
  t.same(transitStub(small, new Random(3)), transitStub(small, new Random(3)));
  t.notSame(transitStub(small, new Random(3)), transitStub(small, new Random(4)));
  const flat = { ...WAXMAN_DEFAULTS, routers: 200 };
  t.same(waxman(flat, new Random(3)), waxman(flat, new Random(3)));
  t.notSame(waxman(flat, new Random(3)), waxman(flat, new Random(4)));
  t.end();
});

t.test('impossible parameters of models', (t) => {
  const p = TRANSIT_STUB_5050;
  const transitStubs: [Partial<TransitStubParameters>, string][] = [
    [{ transitDomains: 0 }, 'transitDomains: got 0, must be an integer, 1 or more'],
    [{ nodesPerStub: 1.5 }, 'nodesPerStub: got 1.5, must be an integer, 1 or more'],
    [{ nodesPerStub: 1000 }, 'parameters: got "500050 routers", must be for at most 65536 routers'],
    [{ extraStubStubEdges: -1 }, 'extraStubStubEdges: got -1, must be an integer, 0 or more'],
    [{ extraStubStubEdges: 1e9 }, 'extraStubStubEdges: got 1000000000, must be at most 62375 with 500 stub domains'],
    [{ transitDomains: 1, nodesPerTransitDomain: 1, extraTransitStubEdges: 1 }, 'extraTransitStubEdges: got 1, must be at most 0 with 10 stub domains'],
    [{ between: { kind: 'random', probability: 0 } }, 'between.probability: got 0, must be above 0 and at most 1'],
    [{ withinStub: { kind: 'waxman', alpha: 0, beta: 1 } }, 'withinStub.alpha: got 0, must be a number above 0'],
    [{ withinTransit: { kind: 'waxman', alpha: 1, beta: 1.1 } }, 'withinTransit.beta: got 1.1, must be above 0 and at most 1'],
    [{ delays: { ...p.delays, transitStubUs: NaN } }, 'delays.transitStubUs: got NaN, must be above 0 and at most 1000000'],
  ];
  for (const [change, message] of transitStubs) t.throws(() => transitStub({ ...p, ...change }, new Random(1)), wrong(message));
  const waxmans: [object, string | RegExp][] = [
    [{ routers: 1 }, 'routers: got 1, must be an integer from 2 to 65536'],
    [{ routers: 4 }, /^meanDegree: got 4, must be above 0 and at most 0\.\d\d, with 4 routers and alpha 0\.15$/],
    [{ alpha: -1 }, 'waxman.alpha: got -1, must be a number above 0'],
    [{ beta: 2 }, 'waxman.beta: got 2, must be above 0 and at most 1'],
    [{ diagonalUs: 0 }, 'diagonalUs: got 0, must be above 0 and at most 10000000'],
  ];
  for (const [change, message] of waxmans) t.throws(() => waxman({ ...WAXMAN_DEFAULTS, routers: 100, ...change }, new Random(1)), wrong(message));
  t.end();
});

t.test('Waxman 1988: edges by distance as beta · exp(−d / (alpha · L)) has it', (t) => {
  const [routers, alpha, beta, diagonalUs, bins, seeds] = [300, 0.2, 0.5, 1_000_000, 8, 20];
  // How often a pair of random points gets an edge, and how long it is: by another generator and another method than the code's.
  const random = new Random(99);
  const pairs = 400_000;
  const expected = new Float64Array(bins);
  for (let i = 0; i < pairs; i++) {
    const d = Math.hypot(random.float() - random.float(), random.float() - random.float()) / Math.SQRT2;
    expected[Math.floor(d * bins)] += (beta * Math.exp(-d / alpha) * ((seeds * routers * (routers - 1)) / 2)) / pairs;
  }
  const found = new Float64Array(bins);
  let repaired = 0;
  for (let seed = 0; seed < seeds; seed++) {
    const topology = waxman({ routers, alpha, beta, meanDegree: NaN, diagonalUs }, new Random(seed));
    assertSound(topology);
    repaired += edgesOf(topology).length < routers - 1 ? 1 : 0;
    for (const [, , delayUs] of edgesOf(topology)) found[Math.floor((delayUs / diagonalUs) * bins)]++;
  }
  t.equal(repaired, 0);
  // Points shared by the pairs of a graph add to the variance of independent edges: some 3 % of each bin, here.
  const chiSquare = sum(expected.map((e, bin) => (e < 5 ? 0 : (found[bin] - e) ** 2 / (e + (0.03 * e) ** 2))));
  t.ok(chiSquare < 26.1, `χ² of ${bins} bins is ${chiSquare.toFixed(1)}, 26.1 at 1 in 1,000`);
  t.end();
});

t.test('Waxman: the mean degree is as asked for, and what falls apart is joined by shortest edges', (t) => {
  const degrees = Array.from({ length: 20 }, (_, seed) => waxman({ ...WAXMAN_DEFAULTS, routers: 400, meanDegree: 8 }, new Random(seed)).targets.length / 400);
  const mean = sum(degrees) / degrees.length;
  t.ok(Math.abs(mean - 8) < 0.25, `mean degree ${mean.toFixed(2)}`);
  // Next to no edges are drawn: what joins the parts is nearly a tree, and short.
  const sparse = waxman({ ...WAXMAN_DEFAULTS, routers: 200, meanDegree: 0.01 }, new Random(1));
  assertSound(sparse);
  const edges = edgesOf(sparse);
  t.ok(edges.length >= 199 && edges.length <= 201, `${edges.length} edges`);
  t.ok(sum(edges.map(([, , delayUs]) => delayUs)) / edges.length < 0.15 * WAXMAN_DEFAULTS.diagonalUs);
  t.end();
});

/** A random connected graph; few delays, so that there are ties. */
const graphs = fc.integer({ min: 1, max: 14 }).chain((routers) =>
  fc.record({
    routers: fc.constant(routers),
    parents: fc.array(fc.nat(), { minLength: routers - 1, maxLength: routers - 1 }),
    more: fc.array(fc.tuple(fc.nat(routers - 1), fc.nat(routers - 1)), { maxLength: 30 }),
    delays: fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 10_000_000 }))),
  }).map(({ parents, more, delays }) => {
    const edges = new EdgeList(routers);
    const delay = (): number => delays.next().value as number;
    for (const [i, parent] of parents.entries()) edges.add(i + 1, parent % (i + 1), delay());
    for (const [a, b] of more) if (a !== b && !edges.has(a, b)) edges.add(a, b, delay());
    return edges.build('random', Int32Array.of(0));
  }),
);

t.test('Dijkstra 1959 against Floyd & Warshall 1962; predecessors lie on shortest paths', async () => {
  await fc.assert(
    fc.asyncProperty(graphs, async (topology) => {
      const { routers } = topology;
      const plain = Array.from({ length: routers }, (_, a) => Array.from({ length: routers }, (_, b) => (a === b ? 0 : Infinity)));
      for (const [a, b, delayUs] of edgesOf(topology)) plain[a][b] = plain[b][a] = delayUs;
      const edge = plain.map((row) => [...row]);
      for (let via = 0; via < routers; via++) {
        for (let a = 0; a < routers; a++) for (let b = 0; b < routers; b++) plain[a][b] = Math.min(plain[a][b], plain[a][via] + plain[via][b]);
      }
      const matrix = await shortestPaths(topology, { ...HERE, predecessors: true });
      for (let a = 0; a < routers; a++) {
        for (let b = 0; b < routers; b++) {
          const before = matrix.predecessors![a * routers + b];
          if (matrix.between(a, b) !== Math.fround(plain[a][b])) throw new Error(`${a} to ${b}: ${matrix.between(a, b)} instead of ${plain[a][b]}`);
          if (a === b ? before !== a : plain[a][before] + edge[before][b] !== plain[a][b]) throw new Error(`${a} to ${b}: by ${before}`);
        }
      }
    }),
    { numRuns: 300 },
  );
});

t.test('shortest paths: symmetric, no detour shorter, the same bytes by any number of workers, with progress', async (t) => {
  const topology = transitStub(scaledTransitStub(700), new Random(5));
  const { routers } = topology;
  const alone = await shortestPaths(topology, { ...HERE, predecessors: true });
  const random = new Random(6);
  for (let i = 0; i < 200_000; i++) {
    const [a, b, c] = [random.int(0, routers - 1), random.int(0, routers - 1), random.int(0, routers - 1)];
    if (alone.between(a, b) !== alone.between(b, a) || alone.between(a, b) > alone.between(a, c) + alone.between(c, b)) t.fail(`${a}, ${b}, ${c}`);
  }
  for (const workers of [1, 2]) {
    const seen: number[] = [];
    const matrix = await shortestPaths(topology, { workers, predecessors: true, progress: (done, total) => seen.push(total === routers ? done : NaN) });
    t.ok(Buffer.from(alone.delaysUs.buffer).equals(Buffer.from(matrix.delaysUs.buffer)), `delays by ${workers}`);
    t.ok(Buffer.from(alone.predecessors!.buffer).equals(Buffer.from(matrix.predecessors!.buffer)), `predecessors by ${workers}`);
    t.ok(seen.length > 5 && seen.at(-1) === routers && seen.every((done, i) => i === 0 || done >= seen[i - 1]), `progress ${seen.join(' ')}`);
  }
  const shared = structuredClone(alone.share());
  t.same(DelayMatrix.from(shared).delaysUs.buffer, alone.delaysUs.buffer);
});

t.test('shortest paths end when they are told to; what can not be', async (t) => {
  const topology = transitStub(scaledTransitStub(1_000), new Random(5));
  const controller = new AbortController();
  const reason = new Error('enough');
  const progress = (done: number): void => {
    if (done > 0 && done < 1_000) controller.abort(reason);
  };
  await t.rejects(shortestPaths(topology, { workers: 2, progress, signal: controller.signal }), reason);
  await t.rejects(shortestPaths(topology, { ...HERE, signal: controller.signal }), reason, 'before it began');
  for (const workers of [-1, 0.5, 257]) await t.rejects(shortestPaths(topology, { workers }), wrong(`workers: got ${workers}, must be an integer from 0 to 256`));
  t.throws(() => DelayMatrix.make(16_385, false), wrong('routers: got 16385, must be an integer from 1 to 16384, for a table of the delays between all of them'));
});

t.test('hosts on routers: delays, placement, shared memory', async (t) => {
  const edges = new EdgeList(3);
  edges.add(0, 1, 100);
  edges.add(1, 2, 50);
  const topology = edges.build('line', Int32Array.of(0, 2));
  const matrix = await shortestPaths(topology, HERE);
  const network = new HostNetwork(matrix, Int32Array.of(0, 2, 2), Float32Array.of(1, 2, 4));
  t.same([network.hosts, network.delayUs(0, 1), network.delayUs(1, 0), network.delayUs(1, 2), network.delayUs(2, 2)], [3, 153, 153, 6, 0]);
  t.throws(() => new HostNetwork(matrix, Int32Array.of(0), Float32Array.of()), wrong('accessUs: got "0 delays", must be one for each of 1 hosts'));

  const copy = HostNetwork.from(structuredClone(network.share()));
  t.same([copy.hosts, copy.delayUs(0, 2)], [3, 155]);
  network.accessUs[0] = 3;
  t.equal(copy.delayUs(0, 2), 157, 'the same memory');
  const part = new HostNetwork(matrix, network.router.subarray(1), network.accessUs.subarray(1));
  t.equal(HostNetwork.from(part.share()).hosts, 2, 'a part of a shared array is copied');

  const placed = HostNetwork.place(topology, matrix, 1_000, new Random(1));
  t.ok(placed.router.every((router) => router !== 1) && placed.accessUs.every((accessUs) => accessUs === 1_000));
  t.ok(Math.abs(placed.router.filter((router) => router === 0).length - 500) < 80);
  t.same(HostNetwork.place(topology, matrix, 1_000, new Random(1)).share(), placed.share(), 'by the seed');
  const even = HostNetwork.place(topology, matrix, 7, new Random(1), { even: true, accessUs: [5, 9] });
  for (let round = 0; round < 6; round += 2) t.same([...even.router.subarray(round, round + 2)].sort(), [0, 2]);
  t.ok(even.accessUs.every((accessUs) => accessUs >= 5 && accessUs <= 9 && Number.isInteger(accessUs)));
  for (const hosts of [0, 1.5, 2 ** 25]) t.throws(() => HostNetwork.place(topology, matrix, hosts, new Random(1)), wrong(`hosts: got ${hosts}, must be an integer from 1 to 16777216`));
  t.throws(() => HostNetwork.place(topology, matrix, 1, new Random(1), { accessUs: [9, 5] }), wrong('accessUs: got "9 to 5", must be whole numbers in order, from 0 to 1000000'));
  t.throws(() => HostNetwork.place(topology, DelayMatrix.make(2, false), 1, new Random(1)), wrong("matrix: got \"2 routers\", must be of the topology's 3 routers"));
});

const rows = ({ routers, delaysUs }: DelayMatrix): number[][] => Array.from({ length: routers }, (_, a) => [...delaysUs.subarray(a * routers, (a + 1) * routers)]);

t.test('a matrix of latencies: units, means of both directions, what was not measured', (t) => {
  const { topology, matrix } = readLatencies(data('pings.txt'), true);
  assertSound(topology);
  // Between the third and the fourth by one direction alone; from the first to the last through the second.
  t.same(rows(matrix!), [
    [0, 5_050, 20_250, 40_750, 65_300],
    [5_050, 0, 19_000, 40_000, 60_250],
    [20_250, 19_000, 0, 30_000, 48_000],
    [40_750, 40_000, 30_000, 0, 25_000],
    [65_300, 60_250, 48_000, 25_000, 0],
  ]);
  t.equal(topology.targets.length, 18, 'nine measured pairs');
  t.same([matrix!.predecessors![0 * 5 + 4], matrix!.predecessors![4 * 5 + 0], matrix!.predecessors![2 * 5 + 3], matrix!.predecessors![3]], [1, 1, 2, 0]);

  t.same(rows(parseLatencies('0 1\n3 0', 'x').matrix!), [[0, 2_000], [2_000, 0]]);
  t.same(rows(parseLatencies('\uFEFF# unit: us\r\n ,7\r\n9,\r\n', 'x').matrix!), [[0, 8], [8, 0]], 'CSV: empty fields');
  t.same(rows(parseLatencies('0 1 2\n1 0 5\n2 5 0 # a comment', 'x').matrix!), [[0, 1_000, 2_000], [1_000, 0, 5_000], [2_000, 5_000, 0]], 'a way through another is no shorter latency');
  t.equal(parseLatencies('0 0.0001\n-1 0', 'x').matrix!.between(0, 1), 1, 'no less than 1 µs');
  t.end();
});

t.test('a list of edges: names, means of what comes twice, shortest paths', async (t) => {
  const { topology, matrix } = readLatencies(data('links.csv'));
  assertSound(topology);
  t.equal(matrix, undefined);
  t.same(edgesOf(topology), [[0, 1, 36_000], [0, 3, 40_000], [1, 2, 4_000], [2, 3, 11_000], [2, 4, 5_000]]);
  t.same(rows(await shortestPaths(topology, HERE))[0], [0, 36_000, 40_000, 40_000, 45_000]);
  t.equal(parseLatencies('0 1 5\n1 2 7\n0 2 9\n', 'x').topology.targets.length, 6, 'three edges are no matrix of three');
  t.equal(parseLatencies('0 1 0', 'x').topology.delaysUs[0], 1);
  t.end();
});

t.test('what is no file of latencies is one line, with its place', (t) => {
  const cases: [text: string, message: string][] = [
    ['', 'f:1:1: got "no data", must be a square matrix of delays, or lines of edges: a b delay'],
    ['# nothing\n\n', 'f:1:1: got "no data", must be a square matrix of delays, or lines of edges: a b delay'],
    ['\n  1 2', 'f:2:3: got "2 fields", must be 1, for a square matrix of as many lines, or 3, for edges: a b delay'],
    ['0', 'f:1:1: got "1 nodes", must be from 2 to 16384 nodes'],
    ['0 1\n1 0 7', 'f:2:5: got "3 fields", must be 2, as the matrix has 2 lines'],
    ['0 1\n 1', 'f:2:3: got "1 fields", must be 2, as the matrix has 2 lines'],
    ['0 1\n1O 0', 'f:2:1: got "1O", must be a number, or NaN where nothing was measured'],
    ['0 0x10\n1 0', 'f:1:3: got "0x10", must be a number, or NaN where nothing was measured'],
    ['0 10001\n1 0', 'f:1:3: got 10001, must be at most 10000, which is 10 s'],
    ['# measures: round-trip\n0 20001\n1 0', 'f:2:3: got 20001, must be at most 20000, which is 10 s'],
    ['0 -1\n- 0', 'f:1:1: got "no delay between nodes 1 and 2", must be known, or known to and from one other node'],
    ['# unit: s\n0 1\n1 0', 'f:1:9: got "s", must be ms or us'],
    [' # measures: twice\n0 1\n1 0', 'f:1:14: got "twice", must be one-way or round-trip'],
    ['a b 1\na b', 'f:2:4: got "2 fields", must be 3: a b delay'],
    ['a b 1 2\n', 'f:1:1: got "4 fields", must be 1, for a square matrix of as many lines, or 3, for edges: a b delay'],
    ['a b 1\nb c 1 2', 'f:2:7: got "4 fields", must be 3: a b delay'],
    ['a a 1', 'f:1:3: got "a", must be another node than the one before it'],
    ['a b -1', 'f:1:5: got "-1", must be a delay, 0 or more'],
    ['a b NaN', 'f:1:5: got "NaN", must be a delay, 0 or more'],
    ['a,,1', 'f:1:3: got "", must be the name of a node'],
    ['a b \u0000', 'f:1:5: got "\\u0000", must be a number, or NaN where nothing was measured'],
  ];
  for (const [text, message] of cases) t.throws(() => parseLatencies(text, 'f'), { code: 'ERR_FORMAT', message }, JSON.stringify(text));
  t.throws(() => parseLatencies('a b 1\nc d 1', 'f'), wrong('edges of f, 4 nodes: got "2 parts without an edge between them", must be connected'));
  t.throws(() => parseLatencies(Array.from({ length: 9_000 }, (_, i) => `a${i} b${i} 1`).join('\n'), 'f'), { code: 'ERR_FORMAT', message: /^f:8193:1: got "a8192", must be one of the 16384 nodes/ });
  t.throws(() => readLatencies('/nowhere/at/all'), wrong('latencies: got "/nowhere/at/all", must be a file that can be read (ENOENT)'));
  for (const path of ['/', '/dev/zero']) t.throws(() => readLatencies(path), wrong(`latencies: got "${path}", must be a regular file`));
  t.end();
});

t.test('foreign bytes: a sound network or one line, never anything else', (t) => {
  const number = fc.constantFrom('0', '1', '2.5', '1e3', '7', '9.', '-1', 'NaN', '-', '.5');
  const word = fc.oneof(
    number,
    fc.constantFrom('1e999', 'a', 'b', ',', ' ', '\t', '\n', '\r\n', '#', '# unit: us\n', '# measures: x', '\u0000', '\uFEFF', '\u2028'),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  const cell = fc.oneof({ weight: 20, arbitrary: number }, { weight: 1, arbitrary: word });
  const lines = (columns: number, rows: number): fc.Arbitrary<string> =>
    fc.array(fc.array(cell, { minLength: columns, maxLength: columns }).map((cells) => cells.join(' ')), { minLength: rows, maxLength: rows }).map((all) => all.join('\n'));
  const text = fc.oneof(
    fc.array(word, { maxLength: 40 }).map((words) => words.join('')),
    fc.integer({ min: 1, max: 4 }).chain((n) => lines(n, n)),
    fc.integer({ min: 1, max: 4 }).chain((n) => lines(3, n)),
  );
  let good = 0;
  fc.assert(
    fc.property(text, (text) => {
      try {
        const { topology, matrix } = parseLatencies(text, 'f', true);
        assertSound(topology);
        if (matrix?.delaysUs.some((delayUs, i) => !(i % (matrix.routers + 1) === 0 ? delayUs === 0 : delayUs >= 1 && delayUs <= 2e7)) === true) throw new Error('a delay that is none');
        good++;
      } catch (error) {
        if (!(error instanceof RingcubeError) || error.message.includes('\n')) throw error;
      }
    }),
    { numRuns: 5_000 },
  );
  t.ok(good > 50, `${good} could be read`);
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 8 }), fc.infiniteStream(fc.integer({ min: 1, max: 10_000_000 })), fc.constantFrom(' ', ',', '\t ', ' , '), (n, delays, between) => {
      const matrix = DelayMatrix.make(n, false);
      for (let a = 0; a < n; a++) for (let b = 0; b < a; b++) matrix.delaysUs[a * n + b] = matrix.delaysUs[b * n + a] = delays.next().value as number;
      const written = `# unit: us\n${rows(matrix).map((row) => row.join(between)).join('\n')}`;
      if (!Buffer.from(parseLatencies(written, 'f').matrix!.delaysUs.buffer).equals(Buffer.from(matrix.delaysUs.buffer))) throw new Error('another matrix than was written');
    }),
  );
  t.end();
});

t.test('networks as the experiments take them', async (t) => {
  const stubs = await makeNetwork({ routers: 600, hosts: 2_000, seed: 1, predecessors: true }, { workers: 1 });
  t.match(stubs, { topology: { routers: 600 }, network: { hosts: 2_000 } });
  t.ok(stubs.network.matrix.predecessors !== undefined);
  const again = await makeNetwork({ topology: 'transit-stub', routers: 600, hosts: 2_000, seed: 1 }, HERE);
  t.same([again.network.router, again.network.matrix.delaysUs], [stubs.network.router, stubs.network.matrix.delaysUs]);
  t.equal((await makeNetwork({ topology: 'waxman', routers: 50, hosts: 80, seed: 1 }, HERE)).topology.name, 'waxman, 50 routers');

  t.equal((await makeNetwork({ topology: 'waxman', routers: 27, hosts: 80, seed: 1 }, HERE)).topology.routers, 27, 'the least');

  const few = await makeNetwork({ latencies: data('pings.txt'), hosts: 5, seed: 1 }, HERE);
  t.same([...few.network.router].sort(), [0, 1, 2, 3, 4], 'a node for each host');
  const [first, last] = [few.network.router.indexOf(0), few.network.router.indexOf(4)];
  t.equal(few.network.delayUs(first, last), 65_300);
  const many = await makeNetwork({ latencies: data('links.csv'), hosts: 12, seed: 1 }, HERE);
  t.equal(many.network.accessUs[0], 1_000, 'two hosts on one node are not at one place');

  const refused: [Partial<Parameters<typeof makeNetwork>[0]>, string][] = [
    [{ routers: 20_000 }, 'routers: got 20000, must be at most 16384, for a table of the delays between all of them'],
    [{ routers: 5 }, 'routers: got 5, must be an integer from 20 to 65536'],
    [{ routers: NaN }, 'routers: got NaN, must be an integer from 20 to 65536'],
    [{ topology: 'waxman', routers: 26 }, 'routers: got 26, must be 27 or more, for 4 edges to meet at each in the mean'],
    [{ topology: 'ring' as 'waxman' }, 'topology: got "ring", must be transit-stub or waxman'],
    [{ routers: 20, hosts: 0 }, 'hosts: got 0, must be an integer from 1 to 16777216'],
    [{ seed: -1 }, 'seed: got -1, must be an integer from 0 to 4294967295'],
    [{ latencies: 'x', routers: 5 }, 'routers: got 5, must be left out beside a file of latencies'],
    [{ latencies: 'x', topology: 'waxman' }, 'topology: got "waxman", must be left out beside a file of latencies'],
  ];
  for (const [change, message] of refused) await t.rejects(makeNetwork({ hosts: 10, seed: 1, ...change }, HERE), wrong(message), message);
});
