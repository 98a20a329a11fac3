// Scenarios of the whole overlay, each of its own seed: SOAK_SEEDS=1000 runs more of them, SOAK_SEED=17 runs one and says what happened in it. And: message by
// message and at flow level the same comes out.
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { KnCube, Router } from '../../src/overlay/index.js';
import { DeliveryTree, Scenario, World, formOverlay } from '../../src/sim/index.js';

const seeds = Number(process.env['SOAK_SEEDS'] ?? 100);
const only = process.env['SOAK_SEED'];
const chosen = only === undefined ? Array.from({ length: seeds }, (_, i) => i + 1) : [Number(only)];

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

t.test('message by message and at flow level: the same parents, and the same delays to a µs a hop', (t) => {
  for (const [k, n, routing] of [[2, 6, 'greedy'], [2, 6, 'odr'], [4, 3, 'greedy'], [3, 4, 'odr'], [5, 2, 'greedy']] as const) {
    const cube = new KnCube(k, n);
    const hosts = cube.size;
    const random = new Random(11).fork(`${k}x${n} ${routing}`);
    const delays = Int32Array.from({ length: hosts * hosts }, () => random.int(1000, 40_000));
    // Even, so that half a round trip is a whole number.
    const delayUs = (a: number, b: number): number => (a === b ? 0 : 2 * delays[Math.min(a, b) * hosts + Math.max(a, b)]);
    const world = new World({ hosts, random, network: { delayUs } });
    const nodes = formOverlay(world, hosts, { k, n, routing, heartbeatUs: 1e6, leaseUs: 5e6 }, random);
    // Until all know the delays of their links.
    world.run(5e6);
    const publisher = random.int(0, hosts - 1);
    for (const node of nodes) if (node.host !== publisher) node.subscribe(1);
    nodes[publisher].advertise(1);
    world.run(15e6);
    const tree = new DeliveryTree(cube, Int32Array.from({ length: hosts }, (_, id) => id), { hosts, delayUs });
    tree.build(new Router(cube, routing), publisher);
    const wrong = nodes.filter(({ host }) => host !== publisher).flatMap((node) => {
      const [branch] = node.branches();
      const differs = branch.parent !== tree.parent[node.host] || Math.abs(branch.delayUs - tree.delayUs[node.host]) > tree.hops[node.host];
      return differs ? [`host ${node.host}: parent ${branch.parent}, ${branch.delayUs} µs; at flow level ${tree.parent[node.host]}, ${tree.delayUs[node.host]} µs`] : [];
    });
    t.same(wrong, [], `${k}x${n}, ${routing}, publisher ${publisher}`);
  }
  t.end();
});
