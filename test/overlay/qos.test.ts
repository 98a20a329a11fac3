// Promises: which bounds are accepted and which refused, why, and with what instead; processor time of hosts; rates; places exchanged for nearer ones.
import t, { type Test } from 'tap';
import { Random } from '../../src/base/index.js';
import { type Admission, HostShare, type SubscriptionOptions } from '../../src/overlay/index.js';
import { Exchange } from '../../src/overlay/codec.js';
import { Stream } from '../../src/overlay/stream.js';
import { type Demand, admission } from '../../src/sched/index.js';
import { type Inbox, MS, Rig, type RigOptions, SECOND } from './rig.js';

const CHANNEL = 4;
const PERIOD = 10 * MS;

/** Hosts 0 to 7 hold the identifiers of a 3-cube; 10 ms between any two, but for what `slow` says of a pair. */
function cube(options: Partial<RigOptions> = {}, slow: Readonly<Record<string, number>> = {}): Rig {
  const delayUs = (a: number, b: number): number => slow[`${Math.min(a, b)}-${Math.max(a, b)}`] ?? 10 * MS;
  return new Rig({ hosts: 9, k: 2, n: 3, seed: 1, network: { delayUs }, ...options }).formed((host) => [host], 8, 5 * SECOND);
}

/** A subscription, and what was said of its bound. */
function ask(rig: Rig, host: number, options: SubscriptionOptions): Inbox & { answers: Admission[] } {
  const answers: Admission[] = [];
  const inbox = rig.subscribe(host, CHANNEL, {
    ...options,
    onAdmission: (answer) => {
      answers.push(answer);
    },
  });
  return { ...inbox, answers };
}

const near = (t: Test, got: number, right: number, what: string): void => {
  t.ok(Math.abs(got - right) <= 10, `${what}: ${got}, ${right} expected`);
};

t.test('a bound that the path keeps is accepted, with what it takes', (t) => {
  const rig = cube();
  rig.node(0).advertise(CHANNEL, 100);
  const seven = ask(rig, 7, { boundUs: 35 * MS });
  const own = ask(rig, 0, { boundUs: 1 });
  rig.run(2 * SECOND);
  t.match(seven.answers, [{ publisher: 0, accepted: true, reason: undefined }]);
  near(t, seven.answers[0].delayUs, 30 * MS, 'three hops');
  t.match(own.answers, [{ publisher: 0, accepted: true, delayUs: 0 }], 'on the publisher itself');
  t.equal(seven.subscription.admissions.get(0), seven.answers[0]);
  t.end();
});

t.test('whoever publishes again is admitted again; nothing is kept of publishers that are gone', (t) => {
  const rig = cube();
  const first = rig.node(0).advertise(CHANNEL, 100);
  const seven = ask(rig, 7, { boundUs: 35 * MS });
  const own = ask(rig, 0, { boundUs: 1 });
  rig.run(2 * SECOND);
  first.close();
  rig.run(2 * SECOND);
  t.same(seven.ended, [0]);
  t.equal(seven.subscription.admissions.size, 0);
  rig.node(0).advertise(CHANNEL, 100);
  rig.run(2 * SECOND);
  t.match(seven.answers, [{ publisher: 0, accepted: true }, { publisher: 0, accepted: true }]);
  t.match([seven.subscription.admissions.get(0), own.subscription.admissions.get(0)], [{ accepted: true }, { accepted: true }]);
  t.end();
});

t.test('network: the straight way takes longer than the bound; path: every way through the overlay does; each with the best that there is', (t) => {
  const rig = cube();
  const publication = rig.node(0).advertise(CHANNEL, 100);
  const network = ask(rig, 7, { boundUs: 9 * MS });
  const path = ask(rig, 6, { boundUs: 15 * MS });
  const stays = ask(rig, 5, { boundUs: 15 * MS, bestEffort: true });
  rig.run(5 * SECOND);
  t.match(network.answers, [{ accepted: false, reason: 'network' }]);
  near(t, network.answers[0].bestUs, 30 * MS, 'best');
  t.match(path.answers, [{ accepted: false, reason: 'path' }]);
  near(t, path.answers[0].bestUs, 20 * MS, 'best');
  t.match(stays.answers, [{ accepted: false, reason: 'path' }]);
  rig.stream([[0, publication]], PERIOD, SECOND).run(SECOND);
  t.same([network, path, stays].map(({ arrivals }) => arrivals.length), [0, 0, 100], 'who is refused gets nothing, unless it stays without a promise');
  t.same([stays.subscription.success, stays.subscription.counters.late], [0, 100]);
  // lateness = max(0, delay − bound) / bound (FACTS.md §1)
  t.ok(Math.abs(stays.subscription.counters.lateness / 100 - 5 / 15) < 0.01, `${stays.subscription.counters.lateness}`);
  near(t, stays.subscription.counters.maxAgeUs, 20 * MS, 'oldest');
  t.end();
});

t.test('another parent that keeps the bound is found and taken; of two bounds missed, the one that it keeps is accepted', (t) => {
  // 3 is child of 1 or 2. By a routing blind to costs it is the wrong one.
  for (const wrong of [1, 2]) {
    const rig = cube({ node: { routing: 'odr' } }, { [`${wrong}-3`]: 50 * MS });
    rig.node(0).advertise(CHANNEL, 100);
    // Only hosts that have the stream can say what it would be by them.
    for (const host of [1, 2]) ask(rig, host, {});
    rig.run(SECOND);
    const loose = ask(rig, 3, { boundUs: 25 * MS });
    const tight = ask(rig, 3, { boundUs: 15 * MS });
    rig.run(6 * SECOND);
    t.match(loose.answers.at(-1), { accepted: true }, `${wrong}: ${JSON.stringify(loose.answers)}`);
    t.match(tight.answers, [{ accepted: false, reason: 'path' }], `${wrong}: ${JSON.stringify(tight.answers)}`);
    near(t, tight.answers[0]?.bestUs, 20 * MS, 'best');
    t.equal(rig.node(3).branches()[0].parent, 3 - wrong);
  }
  t.end();
});

t.test('loss: fewer messages are asked for than the tolerated loss leaves', (t) => {
  const rig = cube();
  rig.node(0).advertise(CHANNEL, 100);
  const few = ask(rig, 7, { ratePerS: 50, loss: 0.4 });
  const enough = ask(rig, 6, { ratePerS: 50, loss: 0.5 });
  const any = ask(rig, 5, { ratePerS: 1 });
  rig.run(2 * SECOND);
  t.match(few.answers, [{ accepted: false, reason: 'loss' }]);
  t.match(enough.answers, [{ accepted: true }]);
  t.match(any.answers, [{ accepted: true }]);
  t.end();
});

t.test('capacity: no host that could be the parent has processor time for another copy; the subscriber is told, and so are those behind a host that is refused', (t) => {
  // 100 messages a second: 10 ms each for all copies of it.
  for (const [copyUs, fits] of [[3 * MS, true], [6 * MS, false]] as const) {
    const rig = cube({ node: { share: { copyUs, ratePerS: 100 } } });
    rig.node(0).advertise(CHANNEL, 100);
    const asked = [1, 2, 4].map((host) => {
      const one = ask(rig, host, { boundUs: 100 * MS });
      rig.run(2 * SECOND);
      return one;
    });
    rig.run(4 * SECOND);
    t.equal(rig.node(0).branches()[0].children.length, fits ? 3 : 1);
    t.match(asked.map(({ answers }) => answers.at(-1)?.accepted), fits ? [true, true, true] : [true, false, false], JSON.stringify(asked.map(({ answers }) => answers)));
    if (!fits) {
      t.match(asked[1].answers, [{ accepted: false, reason: 'capacity', bestUs: NaN }]);
      const behind = ask(rig, 6, { boundUs: 100 * MS });
      rig.run(8 * SECOND);
      t.match(behind.answers, [{ accepted: false, reason: 'capacity' }], 'behind hosts that are refused themselves');
    }
  }
  t.end();
});

t.test("the host's response time is the least deadline that the processor-demand test admits, and is part of the delay", (t) => {
  const random = new Random(7);
  for (let round = 0; round < 60; round++) {
    const copyUs = random.int(50, 900);
    const ratePerS = random.int(20, 300);
    const share = new HostShare({ copyUs, ratePerS });
    const reserved: Demand[] = [];
    for (let i = 0; i < 4; i++) {
      const stream = new Stream(i, 1, 1, 0, 0);
      const children = random.int(1, 5);
      const costUs = copyUs * children;
      const demand = (deadlineUs: number): Demand => ({ kind: 'sporadic', costUs, periodUs: 1e6 / ratePerS, deadlineUs, sectionUs: costUs });
      const before = [...reserved];
      const may = costUs <= 1e6 / ratePerS && admission(before, demand(1e6 / ratePerS)).fits;
      t.equal(share.reserve(stream, children), may, `round ${round}: ${children} copies of ${copyUs} µs, ${ratePerS} times a second`);
      if (!may) {
        t.equal(share.responseUs(stream), 0, 'as it was');
        continue;
      }
      const deadlineUs = share.responseUs(stream);
      reserved.push(demand(deadlineUs));
      if (!admission(before, demand(deadlineUs)).fits) t.fail(`round ${round}: ${deadlineUs} µs does not fit`);
      if (deadlineUs - 2 >= costUs && admission(before, demand(deadlineUs - 2)).fits) t.fail(`round ${round}: ${deadlineUs - 2} µs fits, too`);
    }
  }
  const rig = cube({ node: { share: { copyUs: MS, ratePerS: 50 } } });
  rig.node(0).advertise(CHANNEL, 50);
  const one = ask(rig, 1, { boundUs: SECOND });
  rig.run(2 * SECOND);
  near(t, one.answers[0].delayUs, 11 * MS, '10 ms of network and 1 ms for a copy');
  t.end();
});

t.test('processor time is reserved for the rate that children want, also when that changes', (t) => {
  const rig = cube({ node: { share: { copyUs: 4 * MS, ratePerS: 100 } } });
  rig.node(0).advertise(CHANNEL, 100);
  const slow = [1, 2, 4].map((host) => ask(rig, host, { boundUs: SECOND, ratePerS: 10 }));
  rig.run(4 * SECOND);
  t.equal(rig.node(0).branches()[0].children.length, 3, 'at 10 a second there is time for three');
  // All of them at 100 a second: 1.2 s of time a second.
  for (const [i, { subscription }] of slow.entries()) {
    rig.node([1, 2, 4][i]).pace(subscription, 0);
    rig.world.rearm([1, 2, 4][i]);
    rig.run(3 * SECOND);
  }
  t.ok(rig.node(0).branches()[0].children.length <= 2, `${rig.node(0).branches()[0].children.length} children at full rate`);
  t.end();
});

t.test('thinning: a slow subscriber gets its rate, others of the same branch get all; pace() changes it', (t) => {
  const rig = cube();
  const publication = rig.node(0).advertise(CHANNEL, 100);
  const slow = ask(rig, 7, { ratePerS: 20 });
  rig.run(2 * SECOND);
  const way = [7];
  while (way.at(-1) !== 0) way.push(rig.node(way.at(-1)!).branches()[0].parent);
  const fast = ask(rig, way[1], {});
  rig.run(2 * SECOND);
  rig.stream([[0, publication]], PERIOD, 10 * SECOND).run(SECOND);
  t.equal(fast.arrivals.length, 1000, 'all of them');
  t.ok(Math.abs(slow.arrivals.length - 200) <= 5, `${slow.arrivals.length} of 1,000 at 20 a second`);
  const thinned = rig.live.reduce((sum, { counters }) => sum + counters.thinned, 0);
  t.equal(thinned, 1000 - slow.arrivals.length);
  rig.node(7).pace(slow.subscription, 50);
  rig.world.rearm(7);
  rig.run(SECOND);
  const before = slow.arrivals.length;
  rig.stream([[0, publication]], PERIOD, 4 * SECOND).run(SECOND);
  t.ok(Math.abs(slow.arrivals.length - before - 200) <= 5, `${slow.arrivals.length - before} of 400 at 50 a second`);
  rig.node(7).pace(slow.subscription, 0);
  rig.world.rearm(7);
  rig.run(SECOND);
  const all = slow.arrivals.length;
  rig.stream([[0, publication]], PERIOD, SECOND).run(SECOND);
  t.equal(slow.arrivals.length - all, 100);
  // With nobody left who wants all, the branch is thinned where it begins.
  rig.node(way[1]).unsubscribe(fast.subscription);
  rig.node(7).pace(slow.subscription, 10);
  rig.world.rearm(7);
  rig.run(SECOND);
  const sent = rig.node(0).counters.dataSent;
  rig.stream([[0, publication]], PERIOD, 4 * SECOND);
  t.ok(rig.node(0).counters.dataSent - sent <= 45, `${rig.node(0).counters.dataSent - sent} of 400 sent`);
  t.throws(() => { rig.node(7).pace(slow.subscription, -1); }, { message: /^ratePerS: got -1/ });
  t.end();
});

t.test('impossible wishes in one line each', (t) => {
  const rig = cube();
  for (const [options, right] of [[{ boundUs: -1 }, /^boundUs: got -1/], [{ boundUs: NaN }, /^boundUs: got NaN/], [{ ratePerS: -3 }, /^ratePerS: got -3/], [{ loss: 2 }, /^loss: got 2/]] as const) {
    t.throws(() => rig.node(1).subscribe(CHANNEL, options), { message: right });
  }
  t.throws(() => rig.node(1).subscribe(2 ** 27), { message: /^channel: got 134217728/ });
  t.throws(() => rig.node(1).advertise(1.5), { message: /^channel: got 1.5/ });
  t.throws(() => rig.node(1).advertise(1, -1), { message: /^ratePerS: got -1/ });
  const publication = rig.node(1).advertise(1);
  t.throws(() => rig.node(1).advertise(1), { message: /^channel: got 1, must be one that this host does not publish on already/ });
  t.throws(() => publication.publish(new Uint8Array(1413)), { message: /^payload: got "1413 bytes", must be at most 1412 bytes long/ });
  t.end();
});

t.test('exchange: a late subscriber comes nearer to its publisher and into its bound; nobody who was in time is late then', (t) => {
  let [late, then, broken, swaps, refused] = [0, 0, 0, 0, 0];
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const hosts = 16;
    const random = new Random(seed).fork('places');
    const at = Array.from({ length: 2 * hosts }, () => random.float());
    const straightUs = (a: number, b: number): number => Math.round(1000 + 40_000 * Math.hypot(at[2 * a] - at[2 * b], at[2 * a + 1] - at[2 * b + 1]));
    const rig = new Rig({ hosts, k: 2, n: 4, seed, network: { delayUs: straightUs }, node: { exchangeDepth: 4 } }).formed((host) => [host], hosts, 6 * SECOND);
    const publication = rig.node(0).advertise(CHANNEL, 100);
    const answers = Array.from({ length: hosts }, (_, host) => ask(rig, host, { boundUs: host === 0 ? 1 : 1.6 * straightUs(0, host) + 2000, bestEffort: true }));
    rig.run(0.8 * SECOND);
    const isLate = (): boolean[] => answers.map(({ subscription }, host) => rig.node(host).branches()[0].delayUs > subscription.boundUs);
    const before = isLate();
    rig.run(60 * SECOND);
    const after = isLate();
    late += before.filter(Boolean).length;
    then += after.filter(Boolean).length;
    broken += after.filter((isLateNow, host) => isLateNow && !before[host]).length;
    swaps += rig.live.reduce((sum, { counters }) => sum + counters.swaps, 0);
    refused += rig.live.reduce((sum, { counters }) => sum + counters.swapsRefused, 0);
    t.same(rig.vacant(), [], `seed ${seed}`);
    t.ok(rig.live.every(({ identifiers }) => identifiers.length === 1), `seed ${seed}: held ${rig.held().join(' ')}`);
    t.same(rig.node(0).identifiers, [0], `seed ${seed}: the publisher stays where it is`);
    rig.stream([[0, publication]], PERIOD, SECOND).run(SECOND);
    for (const [host, { arrivals, subscription }] of answers.entries()) {
      if (arrivals.length !== 100) t.fail(`seed ${seed}: host ${host} got ${arrivals.length}`);
      if (host > 0 && subscription.success !== (after[host] ? 0 : 1) && Math.abs(arrivals[0].trueAgeUs - subscription.boundUs) > 50) t.fail(`seed ${seed}: host ${host}: success ${subscription.success}, late ${after[host]}`);
      const said = subscription.admissions.get(0)!;
      if (host > 0 && said.accepted === after[host]) t.fail(`seed ${seed}: host ${host} was told ${JSON.stringify(said)}, and ${after[host] ? 'is late' : 'is in time'}`);
    }
  }
  t.comment(`late before ${late}, after ${then}, ${broken} of them in time before; ${swaps} swaps, ${refused} refused`);
  t.ok(swaps > 0 && refused > 0);
  t.equal(broken, 0, 'no bound that was met is sacrificed (exchange.ts, improvedStep)');
  t.ok(then < late, `${late} late before, ${then} after`);
  t.end();
});

t.test('exchange: who has left while other parents were asked keeps nobody else from looking for a place', (t) => {
  const rig = cube({ node: { exchangeDepth: 3 } }, { '0-1': 50 * MS, '0-2': 50 * MS, '0-4': 50 * MS });
  for (const channel of [CHANNEL, CHANNEL + 1]) rig.node(0).advertise(channel, 100);
  rig.run(3 * SECOND);
  const left = rig.subscribe(7, CHANNEL + 1, { boundUs: 25 * MS, bestEffort: true });
  t.not(rig.until(() => rig.node(7).branches()[0]?.delayUs > 25 * MS, SECOND), Infinity, 'it is late, and asks others than its parent');
  rig.node(7).unsubscribe(left.subscription);
  t.same(rig.node(7).branches(), [], 'its stream has ended');
  // By then nobody has answered, and a heartbeat is over.
  rig.run(1.01 * SECOND);
  const asks = new Set<number>();
  rig.onSent = (from, _to, bytes) => {
    if (from === 7) asks.add(bytes[3]);
  };
  const late = ask(rig, 7, { boundUs: 25 * MS });
  rig.run(5 * SECOND);
  t.ok(asks.has(Exchange.type), `it asks for a place: ${JSON.stringify(late.answers)}`);
  t.end();
});

t.test('exchange: who has another stream in time asks for no other place, as nobody knows what that would take from there', (t) => {
  for (const isBound of [false, true]) {
    const far = { '0-1': 50 * MS, '0-2': 50 * MS, '0-4': 50 * MS };
    const rig = cube({ node: { exchangeDepth: 3 } }, far);
    rig.node(0).advertise(CHANNEL, 100);
    rig.node(4).advertise(CHANNEL + 1, 100);
    if (isBound) for (let host = 0; host < 8; host++) rig.subscribe(host, CHANNEL + 1, { boundUs: 10 * SECOND });
    rig.run(3 * SECOND);
    const late = ask(rig, 7, { boundUs: 25 * MS, bestEffort: true });
    rig.run(30 * SECOND);
    const asked = rig.live.reduce((sum, { counters }) => sum + counters.swaps + counters.swapsRefused, 0);
    t.equal(asked > 0, !isBound, `${asked} swaps asked for`);
    t.equal(late.subscription.admissions.size, 1);
  }
  t.end();
});
