// A host that forges messages of every type: what others do about it.
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { type DropCause, type OverlayNode } from '../../src/overlay/index.js';
import { Adversary, Invariants, World, formOverlay } from '../../src/sim/index.js';

const SECOND = 1e6;
const HOSTS = 13;

/** Cells of all that a host's overlay code keeps: entries of maps, sets and arrays, and arrays of numbers that grow. */
function sizeOf(root: object): number {
  const seen = new Set<unknown>();
  const queue: unknown[] = [root];
  let size = 0;
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value) || value instanceof World || /^(SimTransport|DirectoryPort|VirtualClock|HostClock|Random|KnCube)$/.test(value.constructor.name)) return;
    seen.add(value);
    queue.push(value);
  };
  while (queue.length > 0) {
    const value = queue.pop() as object;
    if (ArrayBuffer.isView(value)) {
      if (!(value instanceof DataView)) size += value.byteLength / 8;
      continue;
    }
    if (value instanceof Map || value instanceof Set) {
      size += value.size;
      for (const item of value as Iterable<unknown>) visit(item);
    } else if (Array.isArray(value)) size += value.length;
    for (const item of Object.values(value)) visit(item);
  }
  return size;
}

/** An overlay with two channels that everybody hears, and an adversary beside it, for 40 s, and then without. */
function attacked(seed: number, incarnation: number): { adversary: Adversary; sizes: number[]; violations: string[]; dropped: (cause: DropCause) => number; missing: number } {
  const random = new Random(seed);
  const world = new World({ hosts: HOSTS, random, network: { delayUs: (a, b) => 5000 + 700 * ((a + b) % 7) } });
  const formed = formOverlay(world, HOSTS - 1, { k: 2, n: 4, heartbeatUs: 0.5 * SECOND, leaseUs: 2.5 * SECOND, exchangeDepth: 2 }, random.fork('nodes'));
  const nodes = new Map(formed.map((node): [number, OverlayNode] => [node.host, node]));
  const invariants = new Invariants(world, nodes, 16, { loopUs: 10 * SECOND, repairUs: 10 * SECOND });
  const adversary = world.addHost(HOSTS - 1, (transport, clock) => new Adversary({
    host: HOSTS - 1, cube: formed[0].cube, transport, clock, random: random.fork('adversary'), hosts: HOSTS, ratePerS: 2000, incarnation,
  }));
  world.network.onSend = (from, _to, length) => {
    if (from !== HOSTS - 1) adversary.overhear(0, length);
  };
  let published = 0;
  let received = 0;
  const publications = [0, 5].map((host) => formed[host].advertise(host));
  for (const node of formed) for (const channel of [0, 5]) node.subscribe(channel, { bestEffort: true, boundUs: 15_000, onMessage: () => received++ });
  const speak = (): void => {
    for (const publication of publications) if (publication.publish(new Uint8Array(20))) published++;
    world.after(0.2 * SECOND, speak);
  };
  const run = (seconds: number): void => {
    const untilUs = world.clock.nowUs() + seconds * SECOND;
    while (world.nextUs <= untilUs) {
      world.step();
      invariants.check();
    }
  };
  const sizes: number[] = [];
  speak();
  for (const seconds of [20, 20, 30]) {
    if (sizes.length === 2) {
      adversary.stop();
      invariants.calm();
    }
    run(seconds);
    sizes.push(formed.reduce((sum, node) => sum + sizeOf(node), 0));
  }
  // Between two of them.
  run(0.1);
  published = received = 0;
  run(2);
  return {
    adversary, sizes, violations: invariants.violations, missing: published * formed.length - received,
    dropped: (cause) => formed.reduce((sum, { counters }) => sum + counters.dropped[cause], 0),
  };
}

t.test("messages of every type, under its own number and others': nothing crashes or grows, what is false is counted as that, identifiers stay and streams come again", (t) => {
  for (let seed = 1; seed <= 3; seed++) {
    const { adversary, sizes, violations, dropped, missing } = attacked(seed, 2 ** 31);
    t.equal(dropped('sender'), adversary.sent.others, 'each that is under another number');
    for (const form of ['short', 'magic', 'version', 'type', 'length', 'shape'] as const) t.equal(dropped(form), 0, `well-formed: ${form}`);
    for (const cause of ['range', 'contradiction', 'unasked', 'unwanted'] as const) t.ok(dropped(cause) > 0, cause);
    t.ok(sizes[1] < 1.2 * sizes[0] && sizes[2] < 1.2 * sizes[0], `cells kept, after 20 and 40 s and in the end: ${sizes.join(', ')}`);
    t.same(violations, [], `seed ${seed}`);
    t.equal(missing, 0, `seed ${seed}: messages that did not come`);
  }
  t.end();
});

t.test("under the leases of others it may leave identifiers in nobody's hands, but never in two", (t) => {
  for (let seed = 1; seed <= 2; seed++) {
    const { adversary, violations, dropped } = attacked(seed, 1);
    t.equal(dropped('sender'), adversary.sent.others);
    t.same(violations.filter((line) => !/ has no holder for /.test(line)), [], `seed ${seed}`);
  }
  t.end();
});
