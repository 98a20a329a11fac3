// Streams on trees along routes: one parent a host, nothing twice, repair in the bound that OverlayNode.repairBoundUs() states, publishers that come and go.
// That no payload is delivered twice is looked at in every run here (rig.ts).
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { type HostNumber, NO_HOST, type OverlayNode, type Publication, type Routing } from '../../src/overlay/index.js';
import { type Inbox, MS, Rig, SECOND } from './rig.js';

const CHANNEL = 9;
const PERIOD = 50 * MS;
const SEEDS = [1, 2, 3, 4];

/** Delays between hosts at random places of a square: up to 31 ms, the same both ways. */
function plane(seed: number, hosts: number): { delayUs: (a: number, b: number) => number; maxDelayUs: number } {
  const random = new Random(seed).fork('plane');
  const at = Array.from({ length: 2 * hosts }, () => random.float());
  return { delayUs: (a, b) => Math.round(1000 + 20_000 * Math.hypot(at[2 * a] - at[2 * b], at[2 * a + 1] - at[2 * b + 1])), maxDelayUs: 30_000 };
}

interface Scene {
  rig: Rig;
  publication: Publication;
  inboxes: Inbox[];
  delayUs: (a: number, b: number) => number;
  maxDelayUs: number;
}

/** A full cube of which host 0 publishes and all others subscribe. */
function scene(seed: number, k: number, n: number, routing: Routing = 'greedy'): Scene {
  const hosts = k ** n;
  const { delayUs, maxDelayUs } = plane(seed, hosts);
  const rig = new Rig({ hosts, k, n, seed, network: { delayUs }, node: { routing } }).formed((host) => [host], hosts);
  const publication = rig.node(0).advertise(CHANNEL, 1e6 / PERIOD);
  const inboxes = Array.from({ length: hosts }, (_, host) => rig.subscribe(host, CHANNEL));
  // Data that come before all distances are known tell of trees, not of distances.
  rig.run(6 * SECOND);
  return { rig, publication, inboxes, delayUs, maxDelayUs };
}

const branch = (node: OverlayNode, publisher: HostNumber): ReturnType<OverlayNode['branches']>[number] | undefined => node.branches().find((one) => one.channel === CHANNEL && one.publisher === publisher);

/** The way up to the publisher; what is wrong with it, else. */
function wayUp(rig: Rig, from: HostNumber, publisher: HostNumber): HostNumber[] | string {
  const way = [from];
  while (way.at(-1) !== publisher) {
    const host = way.at(-1)!;
    const parent = rig.nodes[host] === undefined ? undefined : branch(rig.node(host), publisher)?.parent;
    if (parent === undefined || parent === NO_HOST) return `host ${host} has no parent (${way.join(' ')})`;
    if (way.includes(parent)) return `a loop: ${way.join(' ')} ${parent}`;
    if (branch(rig.node(parent), publisher)?.children.includes(host) !== true) return `host ${parent} does not know its child ${host}`;
    way.push(parent);
  }
  return way;
}

t.test('a tree: every host has one parent that knows it, each message goes over each edge once, and ages are what they are', (t) => {
  for (const [k, n, routing] of [[2, 4, 'greedy'], [3, 2, 'odr'], [4, 2, 'random']] as const) {
    for (const seed of SEEDS) {
      const { rig, publication, inboxes, delayUs } = scene(seed, k, n, routing);
      const sent = (): number => rig.live.reduce((sum, { counters: { dataSent } }) => sum + dataSent, 0);
      const before = sent();
      rig.stream([[0, publication]], PERIOD, SECOND).run(0.2 * SECOND);
      t.equal(sent() - before, 20 * (rig.live.length - 1), `seed ${seed}: 20 messages over ${rig.live.length - 1} edges`);
      for (const { host } of rig.live) {
        const way = wayUp(rig, host, 0);
        if (typeof way === 'string') {
          t.fail(`seed ${seed}: ${way}`);
          continue;
        }
        const hops = way.length - 1;
        // Routes are hop-minimal, and so are the branches along them (FACTS.md §1).
        t.equal(hops, rig.cube.distance(host, 0), `seed ${seed}: hops of host ${host}`);
        let trueUs = 0;
        for (let i = 0; i < hops; i++) trueUs += delayUs(way[i + 1], way[i]);
        const { arrivals } = inboxes[host];
        const last = arrivals.at(-1)!;
        if (arrivals.length !== 20) t.fail(`seed ${seed}: host ${host} got ${arrivals.length}`);
        if (last.trueAgeUs !== trueUs) t.fail(`seed ${seed}: host ${host}: ${last.trueAgeUs} µs on the way, edges sum up to ${trueUs}`);
        // Round trips are measured to a microsecond at each end, so half of them to one a hop.
        if (Math.abs(last.ageUs - trueUs) > 2 * hops) t.fail(`seed ${seed}: host ${host} takes ${last.ageUs} µs for ${trueUs}`);
        const { delayUs: stated } = branch(rig.node(host), 0)!;
        if (Math.abs(stated - trueUs) > 2 * hops) t.fail(`seed ${seed}: host ${host} states ${stated} µs for ${trueUs}`);
      }
    }
  }
  t.end();
});

t.test('a late subscriber gets what is published from then on, and others notice nothing; without subscribers nothing is sent', (t) => {
  for (const seed of SEEDS) {
    const hosts = 12;
    const rig = new Rig({ hosts, k: 3, n: 3, seed }).joined(hosts, 8 * SECOND);
    const publication = rig.node(1).advertise(CHANNEL);
    const early = rig.subscribe(7, CHANNEL);
    rig.run(SECOND);
    rig.stream([[1, publication]], PERIOD, SECOND);
    const late = rig.subscribe(10, CHANNEL);
    rig.run(SECOND);
    const from = rig.published(1);
    rig.stream([[1, publication]], PERIOD, SECOND).run(SECOND);
    t.same(early.numbers.get(1), Array.from({ length: rig.published(1) }, (_, i) => i), `seed ${seed}`);
    t.same(late.numbers.get(1), Array.from({ length: rig.published(1) - from }, (_, i) => from + i), `seed ${seed}`);
    rig.node(7).unsubscribe(early.subscription);
    rig.node(10).unsubscribe(late.subscription);
    rig.run(3 * SECOND);
    const before = rig.live.map(({ counters: { dataSent } }) => dataSent);
    rig.stream([[1, publication]], PERIOD, SECOND);
    t.same(rig.live.map(({ counters: { dataSent } }) => dataSent), before, `seed ${seed}: nobody wants it`);
    t.same(rig.live.filter(({ host }) => host !== 1).flatMap((node) => node.branches()), [], `seed ${seed}: nothing is left of the tree`);
  }
  t.end();
});

t.test('several publishers of one channel, each with a tree of its own; publishers that subscribe, too', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 9, k: 3, n: 2, seed }).joined(9, 8 * SECOND);
    const publications = [0, 4, 8].map((host) => [host, rig.node(host).advertise(CHANNEL)] as const);
    const other = rig.node(2).advertise(CHANNEL + 1);
    const inboxes = Array.from({ length: 9 }, (_, host) => rig.subscribe(host, CHANNEL));
    rig.run(2 * SECOND);
    rig.stream([...publications, [2, other]], PERIOD, SECOND).run(SECOND);
    for (const { numbers } of inboxes) t.same([...numbers.keys()].sort((a, b) => a - b), [0, 4, 8], `seed ${seed}`);
    for (const { numbers } of inboxes) for (const list of numbers.values()) if (list.length !== 20) t.fail(`seed ${seed}: ${list.length} of 20`);
  }
  t.end();
});

t.test('several subscriptions of one host: each gets the payload as it was, whatever another sends, closes or opens meanwhile', (t) => {
  const rig = new Rig({ hosts: 4, k: 2, n: 2, seed: 1 }).formed((host) => [host], 4);
  const publications = [0, 1].map((host) => [rig.node(host).advertise(CHANNEL), rig.node(host).advertise(CHANNEL + 1)]);
  for (const host of [0, 1]) {
    const { bytes } = rig.world.network.transport(host);
    const got: string[] = [];
    const text = (at: number, length: number): string => Buffer.from(bytes.subarray(at, at + length)).toString();
    const first = rig.node(host).subscribe(CHANNEL, {
      onMessage: (at, length) => {
        got.push(`first ${text(at, length)}`);
        publications[host][1].publish(Buffer.from('something else'));
        rig.node(host).unsubscribe(first);
      },
    });
    rig.node(host).subscribe(CHANNEL, { onMessage: (at, length) => got.push(`second ${text(at, length)}`) });
    rig.run(3 * SECOND);
    publications[0][0].publish(Buffer.from('a payload'));
    rig.run(SECOND);
    publications[0][0].publish(Buffer.from('another'));
    rig.run(SECOND);
    t.same(got, ['first a payload', 'second a payload', 'second another'], host === 0 ? 'at the publisher' : 'elsewhere');
  }
  t.end();
});

t.test('a publisher closes, crashes and comes again: subscribers are told, and hear it again', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 9, k: 3, n: 2, seed }).joined(9, 8 * SECOND);
    const publication = rig.node(3).advertise(CHANNEL);
    const inboxes = [1, 5, 8].map((host) => rig.subscribe(host, CHANNEL));
    const lengths = (): number[] => inboxes.map(({ numbers }) => numbers.get(3)?.length ?? 0);
    rig.run(2 * SECOND);
    rig.stream([[3, publication]], PERIOD, SECOND).run(SECOND);
    t.same(lengths(), [20, 20, 20], `seed ${seed}`);
    publication.close();
    rig.world.rearm(3);
    rig.run(3 * SECOND);
    t.same(inboxes.map(({ ended }) => ended), [[3], [3], [3]], `seed ${seed}: closed`);
    t.same(rig.live.flatMap((node) => node.branches()), [], `seed ${seed}: nothing is left`);
    t.equal(publication.publish(new Uint8Array(8)), false);
    const again = rig.node(3).advertise(CHANNEL);
    rig.run(2 * SECOND);
    rig.stream([[3, again]], PERIOD, SECOND).run(SECOND);
    t.same(lengths(), [40, 40, 40], `seed ${seed}: advertised again`);
    rig.crash(3);
    rig.run(9 * SECOND);
    t.same(inboxes.map(({ ended }) => ended), [[3, 3], [3, 3], [3, 3]], `seed ${seed}: crashed`);
    rig.start(3);
    rig.until(() => rig.node(3).state === 'member', 20 * SECOND);
    const third = rig.node(3).advertise(CHANNEL);
    rig.run(3 * SECOND);
    rig.stream([[3, third]], PERIOD, SECOND).run(SECOND);
    t.same(lengths(), [60, 60, 60], `seed ${seed}: restarted`);
    // So fast that its earlier entry is still there, and nobody has been told of its end.
    rig.crash(3);
    rig.start(3);
    const fourth = rig.node(3).advertise(CHANNEL);
    rig.run(20 * SECOND);
    rig.stream([[3, fourth]], PERIOD, SECOND).run(SECOND);
    t.same(lengths(), [80, 80, 80], `seed ${seed}: restarted at once`);
  }
  t.end();
});

t.test('a publisher that has closed stays closed, however late the directory does what nobody was told of (Directory: unavailable)', (t) => {
  const key = `pub/${CHANNEL}/0`;
  const late: (() => void)[] = [];
  let losing = (_revision: number): boolean => true;
  const rig: Rig = new Rig({
    hosts: 4, k: 2, n: 2, seed: 1,
    wrap: (directory) => ({
      get: (...args) => {
        directory.get(...args);
      },
      cas: (name, revision, value, lease, done) => {
        if (name !== key || !losing(revision)) {
          directory.cas(name, revision, value, lease, done);
          return;
        }
        late.push(() => {
          directory.cas(name, revision, value, lease, () => undefined);
        });
        rig.world.after(SECOND, () => {
          done('unavailable', undefined);
          rig.world.rearm(0);
        });
      },
      watch: (...args) => directory.watch(...args),
      lease: (...args) => {
        directory.lease(...args);
      },
    }),
  }).formed((host) => [host], 4);
  const rise = (): void => {
    for (const write of late.splice(0)) write();
  };
  const close = (publication: Publication): void => {
    publication.close();
    rig.world.rearm(0);
  };
  const tree = (): HostNumber[] => rig.live.filter((node) => branch(node, 0) !== undefined).map(({ host }) => host);
  const inbox = rig.subscribe(3, CHANNEL);
  // Closed after its first write was given up, and while another is under way.
  const first = rig.node(0).advertise(CHANNEL);
  rig.run(2.5 * SECOND);
  t.equal(late.length, 2);
  close(first);
  losing = () => false;
  rig.run(5 * SECOND);
  rise();
  rig.run(5 * SECOND);
  t.same(tree(), [], 'nobody follows it');
  // The same host publishes there again, and closes in the usual way.
  const again = rig.node(0).advertise(CHANNEL);
  rig.run(3 * SECOND);
  rig.stream([[0, again]], PERIOD, SECOND).run(SECOND);
  t.equal(inbox.numbers.get(0)?.length, 20, 'advertised again');
  losing = () => true;
  close(again);
  rig.run(2.5 * SECOND);
  losing = () => false;
  rig.run(5 * SECOND);
  t.same(inbox.ended, [0]);
  rise();
  rig.run(5 * SECOND);
  t.same(tree(), [], 'closed again');
  // Now something stands there already, which a late announcement would be put in the place of.
  losing = (revision) => revision > 0;
  const third = rig.node(0).advertise(CHANNEL);
  rig.run(2.5 * SECOND);
  close(third);
  losing = () => false;
  rig.run(5 * SECOND);
  rise();
  rig.run(5 * SECOND);
  t.same(tree(), [], 'and again');
  t.end();
});

t.test('who unsubscribes is out of every stream at once, also of its own host before the directory has told of that; and only of its own host', (t) => {
  const rig = new Rig({ hosts: 4, k: 2, n: 2, seed: 1 }).formed((host) => [host], 4);
  const node = rig.node(0);
  const subscription = node.subscribe(CHANNEL);
  const first = node.subscribe(CHANNEL);
  const publication = node.advertise(CHANNEL);
  node.unsubscribe(first);
  const { subscription: other } = rig.subscribe(1, CHANNEL);
  t.throws(() => { node.unsubscribe(other); }, { code: 'ERR_INVALID_ARGUMENT', message: /^subscription: / });
  t.throws(() => { node.pace(other, 1); }, { code: 'ERR_INVALID_ARGUMENT', message: /^subscription: / });
  t.throws(() => { rig.node(2).unsubscribe(other); }, { code: 'ERR_INVALID_ARGUMENT', message: /^subscription: / });
  rig.publish(publication, 0);
  t.equal(node.counters.delivered, 1, 'to the one that is left');
  rig.run(5 * SECOND);
  rig.publish(publication, 0);
  t.same([node.counters.delivered, subscription.counters.received], [2, 2]);
  rig.run(SECOND);
  t.equal(other.counters.received, 1);
  t.end();
});

t.test('who is leaving begins nothing any more: what it is asked for waits for another start', (t) => {
  const rig = new Rig({ hosts: 4, k: 2, n: 2, seed: 1 }).formed((host) => [host], 4);
  const heard = rig.subscribe(2, CHANNEL);
  const channel = rig.node(1).advertise(CHANNEL + 1);
  rig.run(3 * SECOND);
  const node = rig.node(0);
  node.leave();
  rig.world.rearm(0);
  rig.run(0.5 * SECOND);
  const publication = node.advertise(CHANNEL);
  const inbox = rig.subscribe(0, CHANNEL + 1);
  rig.world.rearm(0);
  rig.run(SECOND);
  t.same([node.state, publication.publish(new Uint8Array(8)), node.branches()], ['leaving', false, []]);
  rig.run(10 * SECOND);
  t.same([node.state, rig.vacant(), heard.ended], ['stopped', [], []]);
  rig.crash(3);
  node.start();
  rig.world.rearm(0);
  rig.run(20 * SECOND);
  rig.publish(publication, 0);
  rig.publish(channel, 1);
  rig.run(SECOND);
  t.same([heard.numbers.get(0)?.length, inbox.numbers.get(1)?.length], [1, 1], 'another start');
  t.end();
});

t.test('who is above crashes: every subscriber has the stream again within repairBoundUs(), and misses nothing after that', (t) => {
  let longest = 0;
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const { rig, publication, inboxes, maxDelayUs } = scene(seed, seed % 2 === 0 ? 2 : 3, seed % 2 === 0 ? 4 : 2);
    const boundUs = rig.node(0).repairBoundUs(maxDelayUs);
    const random = rig.random.fork('crashes');
    for (const count of [1, 1, 2]) {
      const interior = rig.live.filter((node) => node.host !== 0 && (branch(node, 0)?.children.length ?? 0) > 0);
      const victims = random.shuffle(interior).slice(0, count).map(({ host }) => host);
      for (const host of victims) rig.crash(host);
      const crashedUs = rig.nowUs;
      const latest = inboxes.map(() => crashedUs);
      const silence = inboxes.map(() => 0);
      const seen = inboxes.map(({ arrivals }) => arrivals.length);
      const from = rig.published(0);
      rig.stream([[0, publication]], PERIOD, boundUs + 2 * SECOND).run(0.5 * SECOND);
      for (const { host } of rig.live) {
        for (const { atUs } of inboxes[host].arrivals.slice(seen[host])) {
          silence[host] = Math.max(silence[host], atUs - latest[host]);
          latest[host] = atUs;
        }
        silence[host] = Math.max(silence[host], rig.nowUs - 0.5 * SECOND - latest[host]);
        // A message on its way when it begins, and the next one after it ends.
        if (silence[host] > boundUs + PERIOD + maxDelayUs * (rig.cube.diameter + 1)) t.fail(`seed ${seed}: host ${host} was silent for ${silence[host]} µs after hosts ${victims.join(' ')} crashed; stated: ${boundUs}`);
        longest = Math.max(longest, silence[host]);
        const first = from + Math.ceil(boundUs / PERIOD);
        const late = inboxes[host].numbers.get(0)!.filter((number) => number >= first).length;
        if (late !== rig.published(0) - first) t.fail(`seed ${seed}: host ${host} got ${late} of ${rig.published(0) - first} after the bound`);
      }
      // Until the identifiers have new holders, and ways are as short as before.
      rig.run(8 * SECOND);
    }
  }
  t.comment(`longest silence ${(longest / SECOND).toFixed(3)} s`);
  t.end();
});

t.test('make before break: who leaves, leaves no gap in the streams that go through it, however slow the old way was and fast the new one', (t) => {
  for (const seed of SEEDS) {
    const hosts = 16;
    // Some hosts are far from all: way by way, a stream is up to 200 ms behind.
    const far = new Random(seed).fork('far');
    const farness = Array.from({ length: hosts }, (_, host) => (host > 0 && far.bool(0.3) ? 60 * MS : 0));
    const rig = new Rig({ hosts, k: 2, n: 4, seed, network: { delayUs: (a, b) => 2 * MS + farness[a] + farness[b] }, node: { routing: 'odr' } }).formed((host) => [host], hosts);
    const publication = rig.node(0).advertise(CHANNEL);
    const inboxes = Array.from({ length: hosts }, (_, host) => rig.subscribe(host, CHANNEL));
    rig.run(4 * SECOND);
    const stayed = new Set(Array.from({ length: hosts }, (_, host) => host));
    for (let i = 0; i < 3; i++) {
      const [leaver] = rig.random.shuffle(rig.live.filter((node) => node.host !== 0 && node.state === 'member' && (branch(node, 0)?.children.length ?? 0) > 0));
      stayed.delete(leaver.host);
      leaver.leave();
      rig.world.rearm(leaver.host);
      rig.stream([[0, publication]], 5 * MS, 5 * SECOND);
    }
    rig.run(SECOND);
    for (const host of stayed) {
      const missing = rig.published(0) - inboxes[host].numbers.get(0)!.length;
      if (missing > 0) t.fail(`seed ${seed}: host ${host} misses ${missing} of ${rig.published(0)}`);
    }
  }
  t.pass('no gap');
  t.end();
});

t.test('over links that lose, double and reorder: nothing twice, nothing of others, and all are on the tree again afterwards', (t) => {
  for (const seed of SEEDS) {
    const { rig, publication, inboxes } = scene(seed, 2, 4);
    rig.world.network.setFaults({ loss: 0.1, duplication: 0.2, reordering: 0.3, reorderUs: 100 * MS });
    rig.stream([[0, publication]], PERIOD, 20 * SECOND);
    rig.world.network.setFaults({});
    rig.run(10 * SECOND);
    const from = rig.published(0);
    rig.stream([[0, publication]], PERIOD, SECOND).run(SECOND);
    for (const [host, { numbers }] of inboxes.entries()) {
      const list = numbers.get(0)!;
      t.equal(list.filter((number) => number >= from).length, 20, `seed ${seed}: host ${host}`);
      if (host > 0) t.ok(list.length > from / 4, `seed ${seed}: host ${host} got ${list.length} of ${from} over bad links`);
    }
  }
  t.end();
});
