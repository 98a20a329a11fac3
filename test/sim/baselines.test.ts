// What the cube is compared with: de Bruijn routing against searches of the graph, Scribe-like trees against what Pastry promises, link stress against counting by hand.
import fc from 'fast-check';
import t from 'tap';
import { EXPERIMENTS, type ExperimentOutput, type SimParameters } from '../../bench/sim/index.js';
import { Random, RingcubeError } from '../../src/base/index.js';
import { DeBruijn, type HostDelays, type HostTree, LinkStress, PastryOverlay, type Topology, fanOut, scribeTree } from '../../src/sim/index.js';

const GRAPHS = [[2, 1], [2, 2], [2, 5], [2, 8], [3, 1], [3, 4], [4, 3], [5, 3], [7, 2], [16, 2]] as const;

/** Distances from a node over live nodes, and the number of shortest ways: breadth first. Of each node that is not reached, −1. */
function search(graph: DeBruijn, source: number, live: (id: number) => boolean = () => true): { distance: Int32Array; ways: Float64Array } {
  const distance = new Int32Array(graph.size).fill(-1);
  const ways = new Float64Array(graph.size);
  distance[source] = 0;
  ways[source] = 1;
  const queue = [source];
  for (const id of queue) {
    for (let port = 0; port < graph.degree; port++) {
      const next = graph.neighbour(id, port);
      if (!live(next)) continue;
      if (distance[next] < 0) queue.push(next);
      if (distance[next] < 0) distance[next] = distance[id] + 1;
      if (distance[next] === distance[id] + 1) ways[next] += ways[id];
    }
  }
  return { distance, ways };
}

t.test('de Bruijn graph: size, degree, diameter, and one shortest way between any two (de Bruijn 1946; Kaashoek & Karger 2003 §2)', (t) => {
  for (const [k, n] of GRAPHS) {
    const graph = new DeBruijn(k, n);
    let greatest = 0;
    let ways = 0;
    let wrong = 0;
    for (let from = 0; from < graph.size; from++) {
      const found = search(graph, from);
      for (let to = 0; to < graph.size; to++) {
        greatest = Math.max(greatest, found.distance[to]);
        ways = Math.max(ways, found.ways[to]);
        if (graph.distance(from, to) !== found.distance[to]) wrong++;
      }
    }
    t.same({ size: graph.size, degree: graph.degree, greatest, ways, wrong }, { size: k ** n, degree: k, greatest: graph.diameter, ways: 1, wrong: 0 }, `B(${k}, ${n})`);
  }
  t.end();
});

t.test('shift routing comes one nearer at each hop, between all pairs', (t) => {
  for (const [k, n] of GRAPHS) {
    const graph = new DeBruijn(k, n);
    let wrong = 0;
    for (let from = 0; from < graph.size; from++) {
      if (graph.nextPort(from, from) !== -1) wrong++;
      for (let to = 0; to < graph.size; to++) {
        if (from !== to && graph.distance(graph.neighbour(from, graph.nextPort(from, to)), to) !== graph.distance(from, to) - 1) wrong++;
      }
    }
    t.equal(wrong, 0, `B(${k}, ${n})`);
  }
  t.end();
});

const seeds = fc.nat(0xffffffff);
const someGraph = fc.constantFrom(...GRAPHS).map(([k, n]) => new DeBruijn(k, n));

t.test('the near way arrives: minimal where all links cost the same or no detour is left, and never longer than its detours allow', (t) => {
  fc.assert(fc.property(someGraph, seeds, fc.nat(3), (graph, seed, most) => {
    const random = new Random(seed);
    const from = random.int(0, graph.size - 1);
    const to = random.int(0, graph.size - 1);
    const route = (costs: () => number): number => {
      let hops = 0;
      let detours = most;
      for (let at = from; at !== to; hops++) {
        const row = Float64Array.from({ length: graph.degree }, costs);
        const next = graph.neighbour(at, graph.nextPortNear(at, to, row, 0, 1, detours));
        if (graph.distance(next, to) >= graph.distance(at, to)) detours--;
        at = next;
      }
      return hops;
    };
    const shortest = graph.distance(from, to);
    const hops = route(() => 4 * random.float());
    return route(() => 1) === shortest && hops >= shortest && hops <= (most + 1) * graph.diameter + most && (most > 0 || hops === shortest);
  }), { numRuns: 300 });
  const graph = new DeBruijn(4, 2);
  t.equal(graph.nextPortNear(0, 5, Float64Array.of(1, 9, 1, 1), 0, 2, 1), 2, 'a detour of 2 further links at 2 each beats 1 at 2 behind a dear one');
  t.equal(graph.nextPortNear(0, 5, Float64Array.of(1, 9, 1, 1), 0, 2, 0), 1, 'not without leave');
  t.equal(graph.nextPortNear(0, 5, Float64Array.of(1, 1, Infinity, 9, Infinity, 1), 2, 2, 1), 3, 'a row of a table');
  t.equal(graph.nextPortNear(0, 5, Float64Array.of(1, Infinity, 1, 1), 0, 2, 0), -1, 'a dead link');
  t.equal(graph.nextPortNear(5, 5, Float64Array.of(1, 1, 1, 1), 0, 2, 1), -1, 'there');
  t.end();
});

t.test('around dead nodes: arrives wherever a live way leads, within 2·(live − 1) hops, and by the shortest way without faults (depth-first search, Chen & Shin 1990)', (t) => {
  fc.assert(fc.property(someGraph, seeds, fc.constantFrom(0, 0.1, 0.3, 0.6), (graph, seed, share) => {
    const random = new Random(seed);
    const [from, to] = [random.int(0, graph.size - 1), random.int(0, graph.size - 1)];
    const dead = Uint8Array.from({ length: graph.size }, (_, id) => (id !== from && id !== to && random.bool(share) ? 1 : 0));
    const visited = new Int32Array(graph.size);
    const way = [from];
    let count = 1;
    let hops = 0;
    visited[0] = from;
    while (way.length > 0 && way.at(-1) !== to) {
      const at = way.at(-1)!;
      const costs = Float64Array.from({ length: graph.degree }, (_, port) => (dead[graph.neighbour(at, port)] ? Infinity : random.float()));
      const port = graph.nextPortAround(at, to, costs, 0, visited, count);
      if (port < 0) way.pop();
      else way.push((visited[count++] = graph.neighbour(at, port)));
      if (way.length > 0) hops++;
    }
    const live = dead.filter((one) => one === 0).length;
    const reachable = search(graph, from, (id) => !dead[id]).distance[to];
    return new Set(visited.subarray(0, count)).size === count && hops <= 2 * (live - 1) && way.length > 0 === reachable >= 0 && (share > 0 || hops === graph.distance(from, to)) && way.every((id) => !dead[id]);
  }), { numRuns: 400 });
  t.end();
});

t.test('impossible graphs are refused in one line', (t) => {
  for (const [k, n, message] of [[1, 4, /^k: got 1, must be an integer from 2/], [257, 2, /^k: got 257/], [2, 0, /^n: got 0/], [2, 25, /^n: got 25, must be .* 2\^n at most 16777216$/], [2.5, 2, /^k/]] as const) {
    t.throws(() => new DeBruijn(k, n), { code: 'ERR_INVALID_ARGUMENT', message });
  }
  t.end();
});

/** Hosts on a plane of 1 s by 1 s. */
function plane(hosts: number, random: Random): HostDelays {
  const x = Float64Array.from({ length: hosts }, () => 1e6 * random.float());
  const y = Float64Array.from({ length: hosts }, () => 1e6 * random.float());
  return { hosts, delayUs: (a, b) => Math.hypot(x[a] - x[b], y[a] - y[b]) };
}

const shared = (a: number, b: number): number => Math.floor(Math.clz32(a ^ b) / 4);
const ring = (a: number, b: number): number => Math.min((a - b) >>> 0, (b - a) >>> 0);
const KEYS = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff];

t.test('Pastry: each hop shares a digit more with the key, or as many and is numerically closer; the last is the numerically closest host (Rowstron & Druschel 2001 §2.3)', (t) => {
  for (const [i, hosts] of [1, 2, 5, 16, 17, 18, 60, 500, 4000].entries()) {
    const random = new Random(i);
    const delays = plane(hosts, random);
    const pastry = new PastryOverlay(delays, random, 8);
    let wrong = 0;
    let most = 0;
    for (const key of [...KEYS, pastry.idOf[0], ...Array.from({ length: 20 }, () => random.uint32())]) {
      const root = pastry.rootOf(key);
      if (pastry.idOf.some((id) => ring(id, key) < ring(pastry.idOf[root], key))) wrong++;
      for (let run = 0; run < 40; run++) {
        let hops = 0;
        let at = random.int(0, hosts - 1);
        for (let next = pastry.nextHost(at, key); next >= 0; next = pastry.nextHost(at, key)) {
          const [id, nextId] = [pastry.idOf[at], pastry.idOf[next]];
          const better = shared(nextId, key) > shared(id, key) || (shared(nextId, key) === shared(id, key) && ring(nextId, key) < ring(id, key));
          if (!better && next !== root) wrong++;
          at = next;
          if (++hops > 20) break;
        }
        if (at !== root) wrong++;
        most = Math.max(most, hops);
      }
    }
    t.equal(wrong, 0, `seed ${i}, ${hosts} hosts: ${most} hops at most`);
    t.ok(most <= Math.ceil(Math.log(hosts) / Math.log(16)) + 2);
    if (hosts <= 17) t.ok(most <= 1, 'all others are in the leaf set');
  }
  t.end();
});

t.test('Pastry: with candidates enough, an entry is the nearest of all hosts that fit; with few, one of them', (t) => {
  const random = new Random(3);
  const delays = plane(2000, random);
  const [full, few] = [2000, 4].map((candidates) => new PastryOverlay(delays, new Random(4), candidates));
  let longer = 0;
  for (let run = 0; run < 500; run++) {
    const [host, key] = [random.int(0, 1999), random.uint32()];
    // The last digits of a way may be jumped by leaf sets.
    const row = shared(full.idOf[host], key);
    if (row > 1) continue;
    const fit = Array.from({ length: 2000 }, (_, other) => other).filter((other) => shared(full.idOf[other], key) > row);
    if (fit.length < 20) continue;
    const nearest = Math.min(...fit.map((other) => delays.delayUs(host, other)));
    if (delays.delayUs(host, full.nextHost(host, key)) !== nearest) t.fail(`host ${host}, key ${key}`);
    if (!fit.includes(few.nextHost(host, key))) t.fail(`host ${host}, key ${key}: four candidates`);
    if (delays.delayUs(host, few.nextHost(host, key)) > nearest) longer++;
  }
  t.ok(longer > 100, `${longer} entries are not the nearest with four candidates`);
  t.throws(() => new PastryOverlay(delays, random, 0), { message: /^candidates: got 0, must be/ });
  t.throws(() => new PastryOverlay(plane(0, random), random, 1), RingcubeError);
  t.end();
});

/** What is wrong with a tree: in words, or nothing. */
function faults(tree: HostTree, delays: HostDelays, publisher: number, subscribers: readonly number[]): string[] {
  const wrong: string[] = [];
  const wanted = new Set([tree.root]);
  for (const subscriber of subscribers) {
    let delayUs = delays.delayUs(publisher, tree.root);
    let hops = tree.root === publisher ? 0 : 1;
    const way = [subscriber];
    while (tree.parent[way.at(-1)!] >= 0 && way.length <= delays.hosts) way.push(tree.parent[way.at(-1)!]);
    for (const host of way) wanted.add(host);
    for (let i = way.length - 1; i > 0; i--, hops++) delayUs += delays.delayUs(way[i], way[i - 1]);
    if (way.at(-1) !== tree.root) wrong.push(`${subscriber} does not reach the root`);
    if (tree.hops[subscriber] !== hops) wrong.push(`${subscriber}: ${tree.hops[subscriber]} hops, not ${hops}`);
    if (Math.abs(tree.delayUs[subscriber] - delayUs) > 1e-6 * delayUs + 1) wrong.push(`${subscriber}: ${tree.delayUs[subscriber]} µs, not ${delayUs}`);
  }
  for (let host = 0; host < delays.hosts; host++) {
    if (Number.isNaN(tree.delayUs[host]) === wanted.has(host)) wrong.push(`${host} is ${wanted.has(host) ? 'not ' : ''}in the tree`);
  }
  return wrong;
}

t.test('Scribe: every subscriber reaches the root over one parent each, only hosts on a route are in the tree, and delays add up (Castro et al. 2002 §3)', (t) => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 400 }), seeds, fc.boolean(), fc.boolean(), (hosts, seed, own, all) => {
    const random = new Random(seed);
    const delays = plane(hosts, random);
    const pastry = new PastryOverlay(delays, random.fork('pastry'), 8);
    const publisher = random.int(0, hosts - 1);
    const key = own ? pastry.idOf[publisher] : random.uint32();
    const subscribers = Int32Array.from({ length: random.int(0, 50) }, () => random.int(0, hosts - 1));
    const tree = scribeTree(pastry, delays, publisher, key, all ? undefined : subscribers);
    const again = scribeTree(new PastryOverlay(delays, new Random(seed).fork('pastry'), 8), delays, publisher, key, all ? undefined : subscribers);
    t.same(faults(tree, delays, publisher, all ? Array.from({ length: hosts }, (_, host) => host) : [...subscribers]), []);
    return (!own || tree.root === publisher) && Buffer.from(again.parent.buffer).equals(Buffer.from(tree.parent.buffer));
  }), { numRuns: 100 });
  t.end();
});

/** A topology of links [a, b, delay], and the last router before b on the shortest path from a (Floyd 1962, Warshall 1962). */
function network(routers: number, links: readonly (readonly [number, number, number])[]): { topology: Topology; matrix: { routers: number; predecessors: Uint16Array } } {
  const sorted = links.flatMap(([a, b, delay]) => [[a, b, delay], [b, a, delay]] as const).sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const delays = new Float64Array(routers * routers).fill(Infinity);
  const predecessors = new Uint16Array(routers * routers);
  for (let a = 0; a < routers; a++) delays[a * routers + a] = 0;
  for (const [a, b, delay] of sorted) {
    delays[a * routers + b] = delay;
    predecessors[a * routers + b] = a;
  }
  for (let via = 0; via < routers; via++) {
    for (let a = 0; a < routers; a++) {
      for (let b = 0; b < routers; b++) {
        const delay = delays[a * routers + via] + delays[via * routers + b];
        if (delay >= delays[a * routers + b]) continue;
        delays[a * routers + b] = delay;
        predecessors[a * routers + b] = predecessors[via * routers + b];
      }
    }
  }
  const topology: Topology = {
    name: 'by hand', routers,
    offsets: Int32Array.from({ length: routers + 1 }, (_, router) => sorted.filter(([a]) => a < router).length),
    targets: Int32Array.from(sorted, ([, b]) => b),
    delaysUs: Float32Array.from(sorted, ([, , delay]) => delay),
    attachable: Int32Array.from({ length: routers }, (_, router) => router),
  };
  return { topology, matrix: { routers, predecessors } };
}

/** 'a>b': copies, of the links that are used. */
function used(topology: Topology, stress: LinkStress): Record<string, number> {
  const result: Record<string, number> = {};
  for (let router = 0; router < topology.routers; router++) {
    for (let link = topology.offsets[router]; link < topology.offsets[router + 1]; link++) {
      if (stress.copies[link] > 0) result[`${router}>${topology.targets[link]}`] = stress.copies[link];
    }
  }
  return result;
}

t.test('link stress on a network drawn by hand (Chu, Rao & Zhang 2000 §2)', (t) => {
  //   0 ─ 1 ─ 2 ─ 3      hosts 0 … 4 at routers 0, 2, 3, 4, 0
  //       │
  //       4
  const { topology, matrix } = network(5, [[0, 1, 1], [1, 2, 1], [2, 3, 1], [1, 4, 1]]);
  const routerOf = Int32Array.of(0, 2, 3, 4, 0);
  const stress = new LinkStress(topology, matrix);
  stress.addTree(Int32Array.of(-1, 0, 0, 0, 0), routerOf);
  t.same(used(topology, stress), { '0>1': 3, '1>2': 2, '2>3': 1, '1>4': 1 }, 'unicast: a copy for each receiver');
  stress.clear();
  stress.addTree(Int32Array.of(-1, 0, 1, 2, -1), routerOf);
  t.same(used(topology, stress), { '0>1': 1, '1>2': 1, '2>3': 1, '3>2': 1, '2>1': 1, '1>4': 1 }, 'a chain comes back over the same links, in the other direction');
  stress.clear();
  stress.addMulticast(0, routerOf);
  t.same(used(topology, stress), { '0>1': 1, '1>2': 1, '2>3': 1, '1>4': 1 }, 'IP multicast: each link once');
  stress.addMulticast(2, routerOf, Int32Array.of(1));
  t.same(used(topology, stress), { '0>1': 1, '1>2': 1, '2>3': 1, '3>2': 1, '1>4': 1 }, 'its receivers only');
  t.same([...fanOut(Int32Array.of(-1, 0, 0, 2, 0))], [3, 0, 1, 0, 0]);
  t.throws(() => new LinkStress(topology, { routers: 4, predecessors: new Uint16Array(16) }), { message: /^matrix: got "4 routers", must be of this topology/ });
  t.throws(() => new LinkStress(topology, { routers: 5, predecessors: undefined }), { message: /^matrix: got "no predecessors"/ });
  t.end();
});

t.test('link stress of any tree is what counting its paths one by one gives', (t) => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 1, max: 40 }), seeds, (routers, hosts, seed) => {
    const random = new Random(seed);
    const links = new Map<string, readonly [number, number, number]>();
    for (let router = 1; router < routers; router++) links.set(`${random.int(0, router - 1)} ${router}`, [0, 0, 0]);
    for (let extra = 0; extra < routers; extra++) {
      const [a, b] = [random.int(0, routers - 1), random.int(0, routers - 1)];
      if (a < b) links.set(`${a} ${b}`, [0, 0, 0]);
    }
    // Delays that no two sums share, so that shortest paths are unique.
    const { topology, matrix } = network(routers, [...links.keys()].map((name, i) => [...name.split(' ').map(Number), 1 + random.float() + i * 1e-3] as unknown as [number, number, number]));
    const routerOf = Int32Array.from({ length: hosts }, () => random.int(0, routers - 1));
    const parent = Int32Array.from({ length: hosts }, (_, host) => random.int(-1, host - 1));
    const counted: Record<string, number> = {};
    const cost = (a: number, b: number): number => topology.delaysUs[topology.targets.indexOf(b, topology.offsets[a])];
    for (const [host, from] of parent.entries()) {
      if (from < 0) continue;
      // All simple paths between the two routers, the cheapest kept: needs no shortest-path tables.
      let best: { cost: number; path: number[] } = { cost: Infinity, path: [] };
      const walk = (path: number[], sum: number): void => {
        const at = path.at(-1)!;
        if (sum >= best.cost) return;
        if (at === routerOf[host]) best = { cost: sum, path };
        else for (const next of topology.targets.subarray(topology.offsets[at], topology.offsets[at + 1])) if (!path.includes(next)) walk([...path, next], sum + cost(at, next));
      };
      walk([routerOf[from]], 0);
      for (let i = 1; i < best.path.length; i++) counted[`${best.path[i - 1]}>${best.path[i]}`] = (counted[`${best.path[i - 1]}>${best.path[i]}`] ?? 0) + 1;
    }
    const stress = new LinkStress(topology, matrix);
    stress.addTree(parent, routerOf);
    t.same(used(topology, stress), counted);
  }), { numRuns: 60 });
  t.end();
});

/** One of the experiments, small. */
function runSmall(name: string, parameters: SimParameters, workers: number, signal = new AbortController().signal): Promise<ExperimentOutput> {
  return EXPERIMENTS.find((one) => one.name === name)!.run({ parameters, seed: 7, workers, signal, progress: () => undefined });
}

t.test('the experiments: the same results with one and with two threads, figures over results that exist, and the diameters as published', async (t) => {
  const small: Record<string, SimParameters> = {
    'de-bruijn': { k: 4, n: 3, routers: 40, seeds: 1 },
    scribe: { hosts: 200, routers: 100, publishers: 2, subscribers: 50, seeds: 2 },
  };
  for (const [name, parameters] of Object.entries(small)) {
    const output = await runSmall(name, parameters, 1);
    t.same(await runSmall(name, parameters, 2), output, name);
    for (const { id, y, x, results } of output.figures) {
      t.ok(results.some(({ metric, unit, params }) => metric === y.metric && unit === y.unit && (x.param === 'variant' || x.param in params)), id);
    }
    t.not(output.claims.length, 0);
    if (name === 'de-bruijn') t.same(output.claims.map(({ agrees }) => agrees), [true, true]);
    await t.rejects(runSmall(name, parameters, 1, AbortSignal.abort(new Error('enough'))), { message: 'enough' });
  }
  const { results } = await runSmall('scribe', { k: 2, n: 6, routers: 100, publishers: 1, seeds: 1 }, 1);
  const one = (variant: string, metric: string): number => results.find((result) => result.variant === variant && result.metric === metric)!.median;
  t.equal(one('unicast', 'ratio of mean delays'), 1);
  t.equal(one('IP multicast', 'greatest link stress'), 1);
  t.equal(one('unicast', 'most copies sent'), 63);
  t.ok(one('cube 2x6, Greedy', 'most copies sent') <= 6, 'a host has no more children than neighbours');
});

t.test('the experiments refuse what makes no sense in one line', async (t) => {
  const wrong: [string, SimParameters, RegExp][] = [
    ['de-bruijn', { k: 3 }, /^n: got undefined, must be given, as k \(3\) is: both make a cube$/],
    ['de-bruijn', { k: 2, n: 1 }, /^n: got 1, must be 2 or more/],
    ['properties', { k: 3 }, /^n: got undefined, must be given, as k \(3\) is: both make a cube$/],
    ['success', { k: 3 }, /^n: got undefined, must be given, as k \(3\) is: both make a cube$/],
    ['scribe', { n: 3 }, /^k: got undefined, must be given, as n \(3\) is: both make a cube$/],
    ['scribe', { k: 2, n: 3, hosts: 9 }, /^hosts: got 9, must be from 2 to the 8/],
    ['scribe', { hosts: 9, publishers: 10 }, /^publishers: got 10/],
    ['scribe', { hosts: 9, subscribers: 9 }, /^subscribers: got 9, must be fewer/],
  ];
  for (const [name, parameters, message] of wrong) await t.rejects(runSmall(name, parameters, 1), { code: 'ERR_INVALID_ARGUMENT', message });
});
