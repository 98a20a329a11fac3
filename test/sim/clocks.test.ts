// Hosts whose clocks are their own: how they run, that where they begin is nobody's business, and what rests on how far they may drift apart.
import t from 'tap';
import { type Clock, Random } from '../../src/base/index.js';
import { type Endpoint, type HostNumber, MAX_DRIFT, type OverlayNode } from '../../src/overlay/index.js';
import { type ClockOptions, Invariants, Scenario, World, type WorldOptions, formOverlay } from '../../src/sim/index.js';

const SECOND = 1e6;
const OFFSET_US = 2 ** 38;

function worldOf(clocks: ClockOptions | undefined, options: Partial<WorldOptions> = {}): World {
  return new World({ hosts: 64, random: new Random(1), network: { delayUs: () => 10_000 }, ...(clocks === undefined ? {} : { clocks }), ...options });
}

/** Is woken each `periodUs` of its clock. */
class Ticker implements Endpoint {
  readonly wokenUs: number[] = [];
  dueUs: number;
  onEarlier: () => void = () => undefined;

  constructor(
    readonly clock: Clock,
    private readonly periodUs: number,
  ) {
    this.dueUs = clock.nowUs() + periodUs;
  }

  receive(): void {
    throw new Error('nothing is sent');
  }

  wake(): void {
    const nowUs = this.clock.nowUs();
    if (nowUs < this.dueUs) throw new Error(`woken at ${nowUs}, due at ${this.dueUs}`);
    this.wokenUs.push(nowUs);
    this.dueUs += this.periodUs;
  }
}

t.test('a host is woken by its own clock, at its rate, not a microsecond before and no two after', (t) => {
  const drift = 0.02;
  const world = worldOf({ drift, offsetUs: OFFSET_US });
  const first: number[] = [];
  const all = Array.from({ length: 64 }, (_, host) => world.addHost(host, (_transport, clock) => {
    first.push(clock.nowUs());
    return new Ticker(clock, 99_999.7);
  }));
  world.run(100 * SECOND);
  const rates = all.map(({ clock }, host) => (clock.nowUs() - first[host]) / (100 * SECOND));
  t.ok(rates.every((rate) => Math.abs(rate - 1) <= drift), 'within the drift');
  t.ok(Math.max(...rates) > 1 + 0.8 * drift && Math.min(...rates) < 1 - 0.8 * drift, 'all over it');
  t.ok(Math.max(...first) - Math.min(...first) > OFFSET_US, 'each begins somewhere else');
  for (const [host, { wokenUs }] of all.entries()) {
    t.equal(wokenUs.length, Math.floor((100 * SECOND * rates[host]) / 99_999.7));
    const late = wokenUs.map((atUs, i) => atUs - (first[host] + (i + 1) * 99_999.7));
    if (late.some((us) => us < -1e-3 || us > 2)) t.fail(`host ${host}: woken ${Math.min(...late)} to ${Math.max(...late)} µs late`);
  }
  t.end();
});

t.test('a clock that jumps ahead, or goes on faster or slower, wakes its host when that is due by it', (t) => {
  const world = worldOf({});
  const [host, other] = [0, 1].map((number) => world.addHost(number, (_transport, clock) => new Ticker(clock, SECOND)));
  const beganUs = host.clock.nowUs();
  const wokenUs = (): number[] => host.wokenUs.map((atUs) => atUs - beganUs);
  world.run(0.4 * SECOND);
  world.changeClock(0, { aheadUs: 0.5 * SECOND });
  world.run(0.5 * SECOND);
  t.same(wokenUs(), [SECOND]);
  world.changeClock(0, { rate: 2 });
  world.run(SECOND);
  t.same(wokenUs(), [SECOND, 2 * SECOND]);
  world.changeClock(0, { rate: 0.5 });
  world.run(2.9 * SECOND);
  t.same(wokenUs(), [SECOND, 2 * SECOND]);
  world.run(3 * SECOND);
  t.same(wokenUs(), [SECOND, 2 * SECOND, 3 * SECOND]);
  t.equal(other.wokenUs.length, 3, 'nobody else notices');
  world.pause(0, SECOND);
  world.changeClock(0, { aheadUs: 10 * SECOND });
  world.run(4 * SECOND);
  t.same(wokenUs().slice(3), [13.5, 13.5, 13.5, 13.5, 13.5, 13.5, 13.5, 13.5, 13.5, 13.5].map((s) => s * SECOND), 'a paused one when it goes on');
  t.throws(() => { world.changeClock(0, { rate: 0 }); }, { message: 'rate: got 0, must be a number above 0' });
  t.throws(() => { world.changeClock(0, { aheadUs: -1 }); }, { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => { world.changeClock(7, {}); }, { message: 'host: got 7, must be a host that runs, and has a clock of its own (clocks)' });
  t.throws(() => worldOf({ drift: 1 }), { message: 'drift: got 1, must be a share from 0 to below 1' });
  t.throws(() => worldOf({ offsetUs: 2 ** 39 }), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('where clocks begin changes nothing, event by event: stamps are echoed, never compared with those of others', (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const at = (offsetUs: number): unknown => new Scenario(seed, { drift: 0.02, offsetUs }).run();
    const alike = at(0);
    for (const offsetUs of [2 ** 32, OFFSET_US]) t.same(at(offsetUs), alike, `seed ${seed}, up to ${offsetUs} µs apart`);
  }
  t.end();
});

/** Hosts 0 and 1 of a 2-cube, 25 µs apart as in one rack, each with a heartbeat a second. */
function pair(clocks: ClockOptions): { world: World; nodes: OverlayNode[] } {
  const world = worldOf(clocks, { network: { delayUs: () => 25 } });
  return { world, nodes: formOverlay(world, 2, { k: 2, n: 1, leaseUs: 5 * SECOND }, new Random(2)) };
}

/** Half of the round trip that `node` has measured to another host; NaN if none. */
function measuredUs(node: OverlayNode, host: HostNumber): number {
  return (node as unknown as { peers: { get(host: HostNumber): { oneWayUs(unknownUs: number): number } } }).peers.get(host).oneWayUs(NaN);
}

t.test('hosts side by side know that they are near, both, also where one clock counts less while a stamp is held than the other', (t) => {
  const { world, nodes } = pair({});
  world.changeClock(0, { rate: 1 + 1e-4 });
  world.changeClock(1, { rate: 1 - 1e-4 });
  world.run(20 * SECOND);
  // 100 ppm apart, as quartz may be, for up to a heartbeat: 200 µs, and the round trip is 50.
  const [there, back] = [measuredUs(nodes[0], 1), measuredUs(nodes[1], 0)];
  t.ok(there > 0 && there < 150 && back > 0 && back < 150, `${there} and ${back} µs`);
  t.end();
});

/** What the invariants say where host 0, its clock at this rate, can neither reach the directory nor anyone else for a while. */
function violationsOf(rate: number, seed: number): string[] {
  const world = worldOf({ offsetUs: OFFSET_US }, { random: new Random(seed) });
  const nodes = new Map(formOverlay(world, 4, { k: 2, n: 3, leaseUs: 5 * SECOND }, new Random(seed)).map((node) => [node.host, node]));
  const invariants = new Invariants(world, nodes, 8, { loopUs: 5 * SECOND, repairUs: 20 * SECOND });
  world.changeClock(0, { rate });
  world.after(10 * SECOND, () => { world.partition([{ hosts: [0], directory: false }]); });
  world.after(30 * SECOND, () => { world.partition([]); });
  while (world.nextUs <= 60 * SECOND) {
    world.step();
    invariants.check();
  }
  return invariants.violations.map((line) => line.replace(/^[\d.]+ s: /, ''));
}

t.test('a lease is safe as far as clocks may drift (Gray & Cheriton 1989), and no farther: the invariants see it', (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    for (const rate of [1 - MAX_DRIFT, 1, 1 + MAX_DRIFT, 1.5]) t.same(violationsOf(rate, seed), [], `seed ${seed}, rate ${rate}`);
    t.match(violationsOf(0.7, seed)[0], /^identifier \d has two holders: 0 and \d$/, `seed ${seed}, a clock that is too slow`);
  }
  const beyond = Array.from({ length: 20 }, (_, i) => new Scenario(i + 1, { drift: 0.3, offsetUs: 0 }).run().violations[0]).filter((line) => line !== undefined);
  t.ok(beyond.length >= 3, `${beyond.length} of 20 scenarios`);
  t.ok(beyond.every((line) => / has two holders: /.test(line)), 'nothing else breaks');
  t.end();
});
