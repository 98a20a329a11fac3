import fc from 'fast-check';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import {
  KnCube,
  Router,
  type Routing,
  chooseGiver,
  chooseShape,
  firstIdentifier,
  handOn,
  initialHolder,
  leastMeanShape,
  nextPortAround,
  portBack,
  productivePorts,
  splitIdentifiers,
} from '../../src/overlay/index.js';

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

t.test('shapes for m hosts: the published sequence, with its boundaries at 2^p + 1 (Fry & West 2004)', (t) => {
  const changes: [number, number][] = [];
  let before = 0;
  for (let hosts = 2; hosts <= 2 ** 19 + 1; hosts++) {
    const { k, n } = chooseShape(hosts);
    if (k ** n !== before) changes.push([hosts, k ** n]);
    before = k ** n;
  }
  t.same(changes.map(([, size]) => size), [2, 4, 9, 27, 32, 81, 243, 729, 2187, 6561, 19683, 59049, 177147, 531441, 1594323, 4782969, 14348907]);
  // Not at all of 2^p + 1: from 2^6 on it is 3^⌊3i/4⌋ beside the hypercube 2^i, the same for i = 8 and 9, 12 and 13, 16 and 17.
  t.same(changes.slice(1).map(([hosts]) => Math.log2(hosts - 1)), [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]);
  for (let i = 6; i <= 21; i++) t.same([chooseShape(2 ** (i - 1) + 1), chooseShape(2 ** i)], Array(2).fill({ k: 3, n: Math.floor((3 * i) / 4) }), `2^${i}`);
  t.same(chooseShape(65_536), { k: 3, n: 12 }, 'A = 8, though 3x11 has 7.33');
  t.same(chooseShape(524_288), { k: 3, n: 14 });
  t.same(chooseShape(1), { k: 2, n: 1 });
  for (const hosts of [2, 3, 100, 5000, 65_536, 2 ** 21]) {
    const { k, n } = chooseShape(hosts);
    const cube = new KnCube(k, n);
    t.ok(cube.size >= hosts && cube.meanDistance <= Math.ceil(Math.log2(hosts)) / 2, `${hosts}: ${name(cube)}`);
  }
  t.throws(() => chooseShape(0), { code: 'ERR_INVALID_ARGUMENT', message: 'hosts: got 0, must be an integer from 1 to 2097152' });
  t.throws(() => chooseShape(2 ** 21 + 1), { message: 'hosts: got 2097153, must be an integer from 1 to 2097152' });
  t.throws(() => chooseShape(2.5), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('shapes of the least mean distance: none that fits is better, of equal ones none is smaller', (t) => {
  const all: KnCube[] = [];
  for (let k = 2; k <= 256; k++) for (let n = 1; n <= 24 && k ** n <= 2 ** 24; n++) all.push(new KnCube(k, n));
  fc.assert(
    fc.property(fc.oneof(fc.integer({ min: 1, max: 2 ** 24 }), fc.integer({ min: 1, max: 5000 })), (hosts) => {
      const { k, n } = leastMeanShape(hosts);
      const chosen = new KnCube(k, n);
      return (
        chosen.size >= hosts &&
        all.every((cube) => {
          const longer = cube.meanDistance - chosen.meanDistance;
          return cube.size < hosts || longer > 0 || (longer === 0 && (cube.size > chosen.size || (cube.size === chosen.size && cube.k >= k)));
        })
      );
    }),
    { numRuns: 500 },
  );
  t.same(leastMeanShape(65_536), { k: 3, n: 11 });
  t.same(leastMeanShape(2 ** 24), { k: 2, n: 24 }, 'where 3x16 is beyond the limit');
  t.throws(() => leastMeanShape(2 ** 24 + 1), { message: 'hosts: got 16777217, must be an integer from 1 to 16777216' });
  t.end();
});

t.test('identifiers at the start: blocks of ⌊M/m⌋ or one more, each identifier in one', (t) => {
  fc.assert(
    fc.property(cubes(3000), fc.nat(), ({ size }, x) => {
      const hosts = 1 + (x % size);
      let next = 0;
      for (let host = 0; host < hosts; host++) {
        const [first, end] = [firstIdentifier(size, hosts, host), firstIdentifier(size, hosts, host + 1)];
        if (first !== next || (end - first !== Math.floor(size / hosts) && end - first !== Math.ceil(size / hosts))) return false;
        for (let id = first; id < end; id++) if (initialHolder(size, hosts, id) !== host) return false;
        next = end;
      }
      return next === size;
    }),
    { numRuns: 300 },
  );
  const [size, hosts] = [3 ** 15, 1_000_000];
  const wrong = Array.from({ length: 1000 }, (_, i) => i * 999).filter((host) => initialHolder(size, hosts, firstIdentifier(size, hosts, host)) !== host);
  t.same(wrong, [], 'also where products are beyond 32 bits');
  t.end();
});

t.test('joins and departures: no identifier is lost or held twice, givers hold the most, takers are beside what they take', (t) => {
  fc.assert(
    fc.property(cubes(400), fc.integer({ min: 0, max: 2 ** 32 - 1 }), (cube, seed) => {
      const random = new Random(seed);
      const held = new Map<number, Int32Array>([[0, Int32Array.from({ length: cube.size }, (_, id) => id)]]);
      const holders = new Int32Array(cube.size);
      let newest = 0;
      for (let step = 0; step < 60; step++) {
        const hosts = [...held.keys()];
        const chosen = hosts[random.int(0, hosts.length - 1)];
        const mine = held.get(chosen)!;
        if (random.bool(0.6)) {
          const asked = [chosen, ...new Set([...mine].flatMap((id) => Array.from({ length: cube.degree }, (_, port) => holders[cube.neighbour(id, port)])))];
          const counts = asked.map((host) => held.get(host)!.length);
          const giver = chooseGiver(counts);
          if (giver < 0) {
            if (Math.max(...counts) > 1) return false;
            continue;
          }
          if (counts[giver] !== Math.max(...counts)) return false;
          const { kept, given } = splitIdentifiers(random.shuffle(held.get(asked[giver])!.slice()));
          if (kept.length - given.length > 1 || kept.length < given.length || kept.at(-1)! > given[0]) return false;
          held.set(asked[giver], kept).set(++newest, given);
          for (const id of given) holders[id] = newest;
        } else {
          held.delete(chosen);
          const before = new Map([...held].map(([host, { length }]) => [host, length]));
          const takers = handOn(cube, mine, (id) => (mine.includes(id) ? -1 : holders[id]), (host) => before.get(host)!);
          if (held.size === 0) {
            if (takers !== undefined) return false;
            held.set(chosen, mine);
            continue;
          }
          for (const [i, id] of mine.entries()) {
            holders[id] = takers![i];
            held.set(takers![i], Int32Array.of(...held.get(takers![i])!, id));
          }
          const isBeside = (id: number): boolean => Array.from({ length: cube.degree }, (_, port) => holders[cube.neighbour(id, port)]).includes(holders[id]);
          if (!mine.every(isBeside)) return false;
        }
        const all = [...held.values()].flatMap((identifiers) => [...identifiers]);
        if (all.length !== cube.size || new Set(all).size !== cube.size) return false;
        for (const [host, identifiers] of held) if (identifiers.length === 0 || identifiers.some((id) => holders[id] !== host)) return false;
      }
      return true;
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('at a departure: to whoever holds the fewest by then, of several to the lowest number; one with nobody beside it waits', (t) => {
  // 8 identifiers in a ring: host 9 leaves with 2, 3, 4 between host 5 (1 and 0) and host 4 (5); host 6 has 6 and 7.
  const ring = new KnCube(8, 1);
  const holders = [5, 5, 9, 9, 9, 4, 6, 6];
  const count = (host: number): number => holders.filter((other) => other === host).length;
  t.same(handOn(ring, Int32Array.of(2, 3, 4), (id) => holders[id], count), [5, 4, 4], '3 has 2 and 4 beside it, handed on to 5 (then 3) and 4 (then 2)');
  t.same(handOn(ring, Int32Array.of(2, 3, 4), (id) => (id === 5 ? undefined : holders[id]), count), [5, 5, 5], 'host 4 takes none');
  t.equal(handOn(ring, Int32Array.of(2, 3, 4), () => undefined, count), undefined, 'nobody is left');
  t.same(handOn(new KnCube(2, 2), Int32Array.of(3), (id) => [8, 7, 3][id], () => 1), [3], 'equal: the lowest number');
  t.equal(chooseGiver([1, 3, 2, 3]), 1);
  t.equal(chooseGiver([1, 1]), -1);
  t.same(splitIdentifiers(Int32Array.of(7, 1, 5, 3, 4)), { kept: Int32Array.of(1, 3, 4), given: Int32Array.of(5, 7) });
  t.throws(() => splitIdentifiers(Int32Array.of(7)), { message: 'identifiers: got "1 of them", must be 2 or more, for each host to hold one' });
  t.end();
});

t.test('a thousand joins, each asked at random, leave identifiers about even', (t) => {
  const cube = new KnCube(3, 9);
  const random = new Random(13);
  const held: Int32Array[] = [Int32Array.from({ length: cube.size }, (_, id) => id)];
  const holders = new Int32Array(cube.size);
  while (held.length < 1000) {
    const asked = random.int(0, held.length - 1);
    const beside = [asked, ...new Set([...held[asked]].flatMap((id) => Array.from({ length: cube.degree }, (_, port) => holders[cube.neighbour(id, port)])))];
    const giver = beside[chooseGiver(beside.map((host) => held[host].length))];
    const { kept, given } = splitIdentifiers(held[giver]);
    for (const id of given) holders[id] = held.length;
    held[giver] = kept;
    held.push(given);
  }
  const counts = held.map(({ length }) => length);
  const mean = cube.size / 1000;
  t.ok(Math.max(...counts) <= 2 * mean && Math.min(...counts) >= mean / 2, `${Math.min(...counts)} to ${Math.max(...counts)}, ${mean} on average`);
  t.end();
});
