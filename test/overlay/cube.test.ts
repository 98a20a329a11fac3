import fc from 'fast-check';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { KnCube, Router, type Routing, nextPortAround, portBack, productivePorts } from '../../src/overlay/index.js';

const SMALL = [[2, 1], [2, 2], [2, 6], [3, 1], [3, 4], [4, 1], [4, 3], [5, 3], [6, 3], [7, 2], [8, 2], [9, 2], [10, 2], [16, 2], [17, 1], [255, 1], [256, 1]] as const;
const ROUTINGS: readonly Routing[] = ['odr', 'random', 'greedy'];

const name = ({ k, n }: KnCube): string => `${k}x${n}`;

/** The neighbours by the definition: ±1 (mod k) in one digit, each once. Shares nothing with the code under test. */
function neighboursByDefinition(k: number, n: number, id: number): number[] {
  const digits = Array.from({ length: n }, (_, d) => Math.floor(id / k ** d) % k);
  const found = new Set<number>();
  for (let d = 0; d < n; d++) {
    for (const step of [1, k - 1]) found.add(digits.reduce((sum, digit, e) => sum + (e === d ? (digit + step) % k : digit) * k ** e, 0));
  }
  return [...found];
}

/** Hops from `source` to each identifier by breadth-first search along `neighbours`; −1 where there is no path. */
function hopsFrom(size: number, source: number, neighbours: (id: number) => readonly number[]): Int32Array {
  const hops = new Int32Array(size).fill(-1);
  hops[source] = 0;
  const queue = [source];
  for (const id of queue) {
    for (const other of neighbours(id)) {
      if (hops[other] >= 0) continue;
      hops[other] = hops[id] + 1;
      queue.push(other);
    }
  }
  return hops;
}

/** Any cube of at most `most` identifiers; half of them with few to a dimension, hence with many dimensions. */
const cubes = (most: number): fc.Arbitrary<KnCube> =>
  fc
    .oneof(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 2, max: Math.min(256, most) }))
    .chain((k) => fc.record({ k: fc.constant(k), n: fc.integer({ min: 1, max: Math.floor(Math.log(most + 0.5) / Math.log(k)) }) }))
    .map(({ k, n }) => new KnCube(k, n));

t.test('small cubes against their definition, by breadth-first search from every identifier (deck: properties of k-ary n-cubes)', (t) => {
  for (const [k, n] of SMALL) {
    const cube = new KnCube(k, n);
    const graph = Array.from({ length: cube.size }, (_, id) => neighboursByDefinition(k, n, id));
    let wrong = 0;
    const counts = new Float64Array(cube.diameter + 1);
    for (let a = 0; a < cube.size; a++) {
      const hops = hopsFrom(cube.size, a, (id) => graph[id]);
      for (let b = 0; b < cube.size; b++) {
        counts[hops[b]]++;
        if (cube.distance(a, b) !== hops[b]) wrong++;
        if ((cube.portTo(a, b) >= 0) !== graph[a].includes(b)) wrong++;
      }
      const ports = Array.from({ length: cube.degree }, (_, port) => cube.neighbour(a, port));
      if (new Set(ports).size !== cube.degree || ports.some((b, port) => !graph[a].includes(b) || cube.portTo(a, b) !== port || cube.neighbour(b, cube.oppositePort(port)) !== a)) wrong++;
    }
    t.equal(wrong, 0, `${name(cube)}: distances, neighbours, ports`);
    t.equal(cube.size, k ** n);
    t.equal(cube.degree, graph[0].length);
    t.equal(counts.findLastIndex((count) => count > 0), cube.diameter, `${name(cube)}: diameter n⌊k/2⌋`);
    t.same(Array.from(cube.distanceCounts(), (count) => count * cube.size), [...counts], `${name(cube)}: identifiers at each distance`);
    const mean = counts.reduce((sum, count, hops) => sum + count * hops, 0) / cube.size ** 2;
    t.ok(Math.abs(mean - (n * Math.floor(k ** 2 / 4)) / k) < 1e-12 && Math.abs(mean - cube.meanDistance) < 1e-12, `${name(cube)}: A(k,n) = n⌊k²/4⌋/k = ${mean}`);
  }
  t.end();
});

t.test('any cube up to 2^24: digits, distance as the sum over dimensions, ports there and back', (t) => {
  fc.assert(
    fc.property(cubes(2 ** 24), fc.nat(), fc.nat(), (cube, x, y) => {
      const [a, b] = [x % cube.size, y % cube.size];
      let hops = 0;
      for (let d = 0; d < cube.n; d++) {
        const [p, q] = [Math.floor(a / cube.k ** d) % cube.k, Math.floor(b / cube.k ** d) % cube.k];
        if (cube.digit(a, d) !== p) return false;
        hops += Math.min((p - q + cube.k) % cube.k, (q - p + cube.k) % cube.k);
      }
      if (cube.distance(a, b) !== hops || cube.portTo(a, a) !== -1 || (hops > 1 && cube.portTo(a, b) !== -1)) return false;
      const port = y % cube.degree;
      const beside = cube.neighbour(a, port);
      return neighboursByDefinition(cube.k, cube.n, a).includes(beside) && cube.portTo(a, beside) === port && cube.neighbour(beside, cube.oppositePort(port)) === a;
    }),
    { numRuns: 2000 },
  );
  for (const [k, n] of [[2, 24], [3, 15], [4, 12], [16, 6], [256, 3], [255, 2]] as const) {
    const cube = new KnCube(k, n);
    const counts = cube.distanceCounts();
    t.equal(counts.reduce((a, b) => a + b), k ** n, `${name(cube)}: no identifier forgotten`);
    const mean = counts.reduce((sum, count, hops) => sum + count * hops, 0) / cube.size;
    t.ok(Math.abs(mean - cube.meanDistance) < 1e-9, `${name(cube)}: A = ${cube.meanDistance}`);
  }
  t.equal(new KnCube(2, 16).meanDistance, 8);
  t.equal(new KnCube(4, 8).meanDistance, 8, 'a 4-ary n-cube is the 2n-cube');
  t.equal(new KnCube(16, 4).meanDistance, 16);
  t.equal(new KnCube(3, 12).meanDistance, 8);
  t.end();
});

t.test('impossible cubes: one clear line', (t) => {
  t.throws(() => new KnCube(1, 4), { code: 'ERR_INVALID_ARGUMENT', message: 'k: got 1, must be an integer from 2 to 256' });
  t.throws(() => new KnCube(257, 1), { message: 'k: got 257, must be an integer from 2 to 256' });
  t.throws(() => new KnCube(2.5, 1), { message: 'k: got 2.5, must be an integer from 2 to 256' });
  t.throws(() => new KnCube(2, 0), { message: 'n: got 0, must be an integer from 1 to 24' });
  t.throws(() => new KnCube(2, NaN), { message: 'n: got NaN, must be an integer from 1 to 24' });
  t.throws(() => new KnCube(3, 16), { message: 'n: got 16, must be 15 or less for k = 3: a cube has at most 16777216 identifiers' });
  t.throws(() => new KnCube(256, 4), { message: 'n: got 4, must be 3 or less for k = 256: a cube has at most 16777216 identifiers' });
  t.throws(() => new Router(new KnCube(2, 2), 'random'), { message: 'random: got undefined, must be a Random where the routing is random' });
  t.throws(() => new Router(new KnCube(2, 2), 'fastest' as Routing), { message: 'routing: got "fastest", must be one of odr, random, greedy' });
  t.end();
});

t.test('productive ports: all that lead nearer, lowest dimension first, both ways at half a ring', (t) => {
  fc.assert(
    fc.property(cubes(2 ** 24), fc.nat(), fc.nat(), (cube, x, y) => {
      const [self, destination] = [x % cube.size, y % cube.size];
      const ports = new Int32Array(cube.degree);
      const found = [...ports.subarray(0, productivePorts(cube, self, destination, ports))];
      const hops = cube.distance(self, destination);
      const nearer = Array.from({ length: cube.degree }, (_, port) => port).filter((port) => cube.distance(cube.neighbour(self, port), destination) === hops - 1);
      return found.length === nearer.length && found.every((port, i) => port === nearer[i]);
    }),
    { numRuns: 2000 },
  );
  const cube = new KnCube(16, 4);
  const ports = new Int32Array(8);
  t.equal(productivePorts(cube, 0, 8 + 16 * 15, ports), 3);
  t.same([...ports.subarray(0, 3)], [0, 1, 3], '8 of 16 ahead: + or −; 15 ahead: −');
  t.end();
});

t.test('every routing is hop-minimal and arrives, with each hop as it says', (t) => {
  fc.assert(
    fc.property(cubes(2 ** 20), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.boolean(), (cube, x, y, seed, wide) => {
      const random = new Random(seed);
      const [source, destination] = [x % cube.size, y % cube.size];
      const at = random.int(0, 3);
      const row = new (wide ? Float64Array : Float32Array)(at + cube.degree);
      return ROUTINGS.every((routing) => {
        const router = new Router(cube, routing, random);
        let self = source;
        for (let hops = cube.distance(source, destination); hops > 0; hops--) {
          for (let port = 0; port < cube.degree; port++) row[at + port] = random.int(1, 4);
          const port = router.nextPort(self, destination, row, at);
          const ports = new Int32Array(cube.degree);
          const productive = ports.subarray(0, productivePorts(cube, self, destination, ports));
          if (!productive.includes(port)) return false;
          if (routing === 'odr' && port !== productive[0]) return false;
          // Of equally cheap ones the first.
          if (routing === 'greedy' && productive.some((other) => row[at + other] < row[at + port] || (row[at + other] === row[at + port] && other < port))) return false;
          self = cube.neighbour(self, port);
        }
        return self === destination && router.nextPort(self, destination, row, at) === -1;
      });
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('dead links are skipped by all three: a live productive one if there is any, else none', (t) => {
  fc.assert(
    fc.property(cubes(2 ** 16), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 2 ** 32 - 1 }), (cube, x, y, seed) => {
      const random = new Random(seed);
      const [self, destination] = [x % cube.size, y % cube.size];
      const costs = Float32Array.from({ length: cube.degree }, () => (random.bool(0.6) ? (random.bool(0.1) ? NaN : Infinity) : random.float()));
      const ports = new Int32Array(cube.degree);
      const live = [...ports.subarray(0, productivePorts(cube, self, destination, ports))].filter((port) => costs[port] < Infinity);
      return ROUTINGS.every((routing) => {
        const port = new Router(cube, routing, random).nextPort(self, destination, costs, 0);
        if (live.length === 0) return port === -1;
        if (routing === 'odr') return port === live[0];
        if (routing === 'greedy') return costs[port] === Math.min(...live.map((other) => costs[other]));
        return live.includes(port);
      });
    }),
    { numRuns: 2000 },
  );
  t.end();
});

/** How a search along nextPortAround() and portBack() goes. */
interface Search {
  arrived: boolean;
  hops: number;
  /** Where a hop back led elsewhere than whence the message had come, or forward to somewhere visited. */
  wrong: number;
}

/** Follows a message from `source`; costs in rows of cube.degree. */
function search(cube: KnCube, source: number, destination: number, costs: Float64Array): Search {
  const visited = new Int32Array(cube.size);
  visited[0] = source;
  let count = 1;
  const path = [source];
  let [hops, wrong] = [0, 0];
  for (let self = source; self !== destination; hops++) {
    if (hops > 2 * cube.size) return { arrived: false, hops, wrong: wrong + 1 };
    const forward = nextPortAround(cube, self, destination, costs, self * cube.degree, visited, count);
    const port = forward >= 0 ? forward : portBack(cube, self, costs, self * cube.degree, visited, count);
    if (port < 0) return { arrived: false, hops, wrong: wrong + (path.length === 1 ? 0 : 1) };
    if (!(costs[self * cube.degree + port] < Infinity)) wrong++;
    self = cube.neighbour(self, port);
    if (forward >= 0) {
      if (visited.subarray(0, count).includes(self)) wrong++;
      visited[count++] = self;
      path.push(self);
    } else {
      path.pop();
      if (path.at(-1) !== self) wrong++;
    }
  }
  return { arrived: true, hops, wrong };
}

t.test('around faults by depth-first search (Chen & Shin 1990): arrives if there is a live path, within 2 (live − 1) hops, never twice forward to one place', (t) => {
  let [detours, unreachable] = [0, 0];
  fc.assert(
    fc.property(cubes(600), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 0.1, 0.3, 0.6), fc.constantFrom(0, 0.2), (cube, x, y, seed, deadHosts, deadLinks) => {
      const random = new Random(seed);
      const [source, destination] = [x % cube.size, y % cube.size];
      const dead = Uint8Array.from({ length: cube.size }, (_, id) => (id !== source && id !== destination && random.bool(deadHosts) ? 1 : 0));
      const costs = new Float64Array(cube.size * cube.degree);
      for (let id = 0; id < cube.size; id++) {
        for (let port = 0; port < cube.degree; port++) {
          const other = cube.neighbour(id, port);
          if (other < id) continue;
          const cost = dead[id] || dead[other] || random.bool(deadLinks) ? Infinity : random.float();
          costs[id * cube.degree + port] = costs[other * cube.degree + cube.oppositePort(port)] = cost;
        }
      }
      const reached = hopsFrom(cube.size, source, (id) => neighboursByDefinition(cube.k, cube.n, id).filter((other) => costs[id * cube.degree + cube.portTo(id, other)] < Infinity));
      const { arrived, hops, wrong } = search(cube, source, destination, costs);
      const live = reached.filter((hop) => hop >= 0).length;
      if (!arrived) unreachable++;
      else if (hops > cube.distance(source, destination)) detours++;
      if (wrong > 0 || arrived !== reached[destination] >= 0 || hops > 2 * (live - 1)) return false;
      return deadHosts + deadLinks > 0 || hops === cube.distance(source, destination);
    }),
    { numRuns: 1500 },
  );
  t.ok(detours > 50 && unreachable > 50, `${detours} detours and ${unreachable} without a path among them`);
  t.end();
});

t.test('random: every live productive dimension alike, and for k = 2 every order of dimensions (deck: random ordering of dimensions)', (t) => {
  const cube = new KnCube(2, 4);
  const router = new Router(cube, 'random', new Random(11));
  const orders = new Map<string, number>();
  for (let i = 0; i < 24_000; i++) {
    let order = '';
    for (let self = 0; self !== 15; ) {
      const port = router.nextPort(self, 15, new Float32Array(4), 0);
      order += String(port);
      self = cube.neighbour(self, port);
    }
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  t.equal(orders.size, 24);
  // Chi-squared with 23 degrees of freedom: above 49.7 once in 1,000 times.
  t.ok([...orders.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0) < 49.7);

  // 16x3: dimension 0 either way, 1 ahead, 2 behind; a dead side of dimension 0 takes nothing from it.
  const ring = new KnCube(16, 3);
  for (const [costs, shares] of [
    [[1, 1, 1, 1, 1, 1], { 0: 1 / 6, 1: 1 / 6, 2: 1 / 3, 5: 1 / 3 }],
    [[Infinity, 1, 1, 1, 1, 1], { 1: 1 / 3, 2: 1 / 3, 5: 1 / 3 }],
    [[1, 1, Infinity, 1, 1, 1], { 0: 1 / 4, 1: 1 / 4, 5: 1 / 2 }],
  ] as const) {
    const drawn = new Float64Array(6);
    const routing = new Router(ring, 'random', new Random(12));
    for (let i = 0; i < 24_000; i++) drawn[routing.nextPort(0, 8 + 16 * 3 + 256 * 12, Float64Array.from(costs), 0)]++;
    for (const [port, count] of drawn.entries()) {
      const share = (shares as Record<number, number>)[port] ?? 0;
      t.ok(Math.abs(count / 24_000 - share) <= 0.015 * Math.sign(share), `port ${port}: ${count} of 24,000`);
    }
  }
  t.end();
});
