// The message-accurate world: what networks do to messages, each counted, the way to the directory, and hosts that stop.
import t from 'tap';
import { type Clock, Random } from '../../src/base/index.js';
import { type Directory, type DirectoryFailure, type Endpoint, type Entry, type HostNumber, MAX_MESSAGE_BYTES, type Transport } from '../../src/overlay/index.js';
import { directoryConformance } from '../conformance/directory.js';
import { type NetworkOptions, World, type WorldOptions } from '../../src/sim/index.js';

const MS = 1e3;

interface Received {
  atUs: number;
  from: HostNumber;
  bytes: number[];
}

/** Keeps what comes, and does what it is told when woken. */
class Listener implements Endpoint {
  readonly received: Received[] = [];
  readonly wokenUs: number[] = [];
  dueUs = Infinity;
  onEarlier: () => void = () => undefined;
  onWake: () => void = () => undefined;
  onReceive: () => void = () => undefined;

  constructor(
    readonly transport: Transport,
    readonly clock: Clock,
    readonly directory: Directory,
  ) {}

  receive(from: HostNumber, at: number, length: number): void {
    this.received.push({ atUs: this.clock.nowUs(), from, bytes: [...this.transport.bytes.subarray(at, at + length)] });
    this.onReceive();
  }

  wake(): void {
    this.wokenUs.push(this.clock.nowUs());
    this.dueUs = Infinity;
    this.onWake();
  }

  say(to: HostNumber, bytes: readonly number[]): void {
    this.transport.bytes.set(bytes, this.transport.begin());
    this.transport.send(to, bytes.length);
  }
}

const make = (transport: Transport, clock: Clock, directory: Directory): Listener => new Listener(transport, clock, directory);

function worldOf(hosts: number, network: Partial<NetworkOptions> = {}, options: Partial<WorldOptions> = {}): { world: World; all: Listener[] } {
  const world = new World({ hosts, random: new Random(1), network: { delayUs: () => 10 * MS, ...network }, ...options });
  return { world, all: Array.from({ length: hosts }, (_, host) => world.addHost(host, make)) };
}

/** Every message that was sent, or made by doubling one, came to one end, or is on its way. */
function isAccountedFor({ network: { counters: c } }: World, onTheWay = 0): boolean {
  return c.sent + c.duplicated === c.delivered + c.lost + c.partitioned + c.dead + c.overflown + c.noMemory + onTheWay;
}

t.test('a message of any length comes as it was sent, after its delay, those of one time in order', (t) => {
  const { world, all } = worldOf(3, { delayUs: (from, to) => 1000 * from + 100 * to + 0.25 });
  const random = new Random(7);
  const lengths = [1, 2, 3, 4, 5, 111, 112, 113, 303, 304, 305, 1451, MAX_MESSAGE_BYTES];
  const sent = lengths.map((length) => Array.from({ length }, () => random.int(0, 255)));
  for (const bytes of sent) {
    all[1].say(2, bytes);
    all[1].say(0, bytes);
  }
  t.equal(world.run(2000), 2 * lengths.length);
  t.same(all[2].received, sent.map((bytes) => ({ atUs: 1200.25, from: 1, bytes })));
  t.same(all[0].received, sent.map((bytes) => ({ atUs: 1000.25, from: 1, bytes })));
  t.equal(world.clock.nowUs(), 2000);
  all[0].transport.send(1, MAX_MESSAGE_BYTES + 1);
  all[0].transport.send(1, 0);
  all[0].transport.send(3, 10);
  all[0].transport.send(0xffffffff, 10);
  t.match(world.network.counters, { sent: 2 * lengths.length, delivered: 2 * lengths.length, senseless: 4 });
  t.notOk(world.step(), 'nothing is left');
  t.end();
});

t.test('memory that is full drops and counts; a class that is full takes from the next', (t) => {
  const { world, all } = worldOf(2, { slots: [2, 1, 1] });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 6; i++) all[0].say(1, [round, i]);
    all[0].say(1, new Array<number>(310).fill(1));
    world.run(world.clock.nowUs() + 10 * MS);
  }
  t.same(all[1].received.map(({ bytes }) => bytes), [0, 1, 2].flatMap((round) => [0, 1, 2, 3].map((i) => [round, i])));
  t.match(world.network.counters, { sent: 21, delivered: 12, noMemory: 9 });
  t.throws(() => worldOf(1, { slots: [0, 0, 0] }), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('faults come at their rates, change nothing else, and repeat with the seed', (t) => {
  const run = (seed: number, faults: object): { world: World; all: Listener[] } => {
    const { world, all } = worldOf(2, { jitterUs: 10 }, { random: new Random(seed) });
    world.network.setFaults(faults);
    for (let i = 0; i < 4000; i++) {
      all[0].say(1, [i & 255, i >> 8, 7, 7, 7]);
      world.run(10 * (i + 1));
    }
    world.run(1e6);
    return { world, all };
  };
  const faults = { loss: 0.1, duplication: 0.05, reordering: 0.2, corruption: 0.02, reorderUs: 5000 };
  const { world, all } = run(5, faults);
  const { counters } = world.network;
  t.ok(isAccountedFor(world), JSON.stringify(counters));
  for (const [name, rate] of [['lost', 0.1], ['duplicated', 0.05], ['reordered', 0.9 * 0.2], ['corrupted', 0.9 * 0.02]] as const) {
    const spread = Math.sqrt(4000 * rate * (1 - rate));
    t.ok(Math.abs(counters[name] - 4000 * rate) < 5 * spread, `${name}: ${counters[name]}`);
  }
  t.equal(all[1].received.filter(({ bytes }) => bytes.slice(2).some((byte) => byte !== 7)).length > 0, true);
  const numbers = all[1].received.map(({ bytes }) => bytes[0] + 256 * bytes[1]);
  t.ok(numbers.some((number, i) => i > 0 && number < numbers[i - 1]), 'some are overtaken');
  const traceOf = (seed: number): string => JSON.stringify(run(seed, faults).all[1].received);
  t.equal(traceOf(5), JSON.stringify(all[1].received), 'the same seed');
  t.ok(traceOf(6) !== traceOf(5), 'another seed');
  const others = run(5, { ...faults, loss: 0.2 });
  t.equal(others.world.network.counters.duplicated, counters.duplicated, 'a changed rate shifts no other draw');
  t.throws(() => { world.network.setFaults({ loss: 1.5 }); }, { message: 'loss: got 1.5, must be a probability from 0 to 1' });
  t.end();
});

t.test("a link's own faults are of one direction, and come before those of all", (t) => {
  const { world, all } = worldOf(3);
  world.network.setFaults({ loss: 1 });
  world.network.setLinkFaults(0, 1, {});
  world.network.setLinkFaults(1, 0, { duplication: 1 });
  const talk = (): void => {
    for (const [from, to] of [[0, 1], [1, 0], [0, 2]]) all[from].say(to, [1]);
    world.run(world.clock.nowUs() + 20 * MS);
  };
  talk();
  t.same(all.map(({ received }) => received.length), [2, 1, 0]);
  world.network.setFaults({});
  world.network.setLinkFaults(1, 0, undefined);
  talk();
  t.same(all.map(({ received }) => received.length), [3, 2, 1]);
  t.ok(isAccountedFor(world));
  t.end();
});

t.test('an access link sends one message after the other, and drops what would wait too long', (t) => {
  const { world, all } = worldOf(2, { delayUs: () => 100, linkBps: 8e6, overheadBytes: 50, queueUs: 500 });
  for (let i = 0; i < 8; i++) all[0].say(1, new Array<number>(150).fill(i));
  all[1].say(0, [1]);
  world.run(10 * MS);
  // 200 bytes at a byte a µs; the fourth would begin after 600 µs.
  t.same(all[1].received.map(({ atUs }) => atUs), [300, 500, 700]);
  t.same(all[0].received.map(({ atUs }) => atUs), [151], 'the other direction is another link');
  t.equal(world.network.counters.overflown, 5);
  t.ok(isAccountedFor(world));
  t.end();
});

t.test('a partition cuts what is on the way, and nothing crosses it until it heals', (t) => {
  const { world, all } = worldOf(4);
  const talk = (): void => {
    for (const from of [0, 1, 2, 3]) for (const to of [0, 1, 2, 3]) if (from !== to) all[from].say(to, [from]);
  };
  talk();
  world.partition([{ hosts: [0, 1], directory: false }]);
  world.run(20 * MS);
  talk();
  world.run(40 * MS);
  t.same(all.map(({ received }) => received.map(({ from }) => from)), [[1, 1], [0, 0], [3, 3], [2, 2]]);
  t.equal(world.network.counters.partitioned, 16);
  t.same([0, 1, 2, 3].map((host) => world.network.reachesDirectory(host)), [false, false, true, true]);
  world.partition([]);
  talk();
  world.run(60 * MS);
  t.same(all.map(({ received }) => received.length), [5, 5, 5, 5]);
  t.ok(isAccountedFor(world));
  t.end();
});

t.test('hosts are woken when due, earlier or later than it was; one that is due for ever is named', (t) => {
  const { world, all: [host, other] } = worldOf(2);
  host.dueUs = 500;
  world.rearm(0);
  host.dueUs = 300;
  world.rearm(0);
  host.onWake = () => { host.dueUs = host.wokenUs.length < 3 ? world.clock.nowUs() + 100 : Infinity; };
  world.run(350);
  host.dueUs = 900;
  world.run(2 * MS);
  t.same(host.wokenUs, [300, 900, 1000]);
  // What comes in may make it due, too.
  host.onReceive = () => {
    host.dueUs = world.clock.nowUs() + 5;
    host.onEarlier();
  };
  other.say(0, [1]);
  world.run(20 * MS);
  t.same(host.wokenUs.slice(3), [12_005]);
  other.onWake = () => { other.dueUs = 0; };
  other.dueUs = 0;
  world.rearm(1);
  t.throws(() => world.run(21 * MS), { message: /^host 1: is due again at 20000 µs after 100000 wake-ups, must be due later$/ });
  t.end();
});

t.test('a crash stops a host at once; another may start under its number', (t) => {
  const { world, all } = worldOf(2);
  all[1].dueUs = 5 * MS;
  world.rearm(1);
  all[1].directory.get('a', () => t.fail('nobody is there to hear it'));
  all[1].directory.watch('', () => t.fail('nobody is there to hear it'));
  all[1].directory.cas('b', 0, 'last words', 0, () => t.fail('nobody is there to hear it'));
  all[0].say(1, [1]);
  all[1].say(0, [2]);
  world.crash(1);
  t.notOk(world.has(1));
  world.run(20 * MS);
  t.same([all[1].received.length, all[1].wokenUs.length, world.network.counters.dead], [0, 0, 1]);
  t.equal(all[0].received.length, 1, 'what it had sent comes');
  all[0].say(1, [3]);
  const again = world.addHost(1, make);
  world.run(40 * MS);
  t.same(again.received.map(({ bytes }) => bytes), [[3]]);
  // It may stop itself, too, in the middle of what it does.
  again.onReceive = () => {
    world.crash(1);
    again.dueUs = world.clock.nowUs();
    again.onEarlier();
  };
  all[0].say(1, [4]);
  const answers: (Entry | undefined)[] = [];
  all[0].directory.get('b', (_, entry) => answers.push(entry));
  world.run(2e6);
  t.equal(answers[0]?.value, 'last words', 'what it had asked for was done');
  t.throws(() => world.addHost(0, make), { message: 'host: got 0, must be a whole number from 0 to 1 of no host that runs' });
  t.end();
});

t.test('a pause holds back what comes, answers and wake-ups, all in order', (t) => {
  const { world, all } = worldOf(2);
  const heard: (DirectoryFailure | undefined)[] = [];
  all[1].directory.get('a', (failure) => heard.push(failure));
  all[1].dueUs = 12 * MS;
  world.rearm(1);
  for (let i = 0; i < 3; i++) all[0].say(1, [i]);
  world.pause(1, 5 * MS);
  world.pause(1, 50 * MS);
  t.ok(world.has(1));
  world.run(49 * MS);
  t.same([all[1].received.length, all[1].wokenUs.length, heard.length], [0, 0, 0]);
  world.run(51 * MS);
  t.same(all[1].received.map(({ atUs, bytes }) => [atUs, ...bytes]), [0, 1, 2].map((i) => [50 * MS, i]));
  t.same(all[1].wokenUs, [50 * MS]);
  t.same(heard, [undefined]);
  world.pause(1, 5 * MS);
  world.crash(1);
  world.run(100 * MS);
  t.notOk(world.has(1));
  t.end();
});

t.test('directory: an operation takes effect half of the latency later; without faults it is the embedded one', (t) => {
  const { world, all } = worldOf(2, {}, { directory: { latencyUs: 4 * MS, timeoutUs: 100 * MS } });
  const events: unknown[] = [];
  const note = (what: string) => (...got: unknown[]): void => { events.push([world.clock.nowUs() / MS, what, ...got]); };
  all[0].directory.watch('x', (key, entry) => { note('watch')(key, entry?.value); });
  all[0].directory.lease(50 * MS, (failure, lease) => {
    note('lease')(failure, lease?.ttlUs);
    all[0].directory.cas('x/1', 0, 'one', lease!.id, (failure, outcome) => { note('cas')(failure, outcome?.swapped); });
    world.after(20 * MS, () => { lease!.keepAlive(note('kept')); });
    world.after(90 * MS, () => { lease!.revoke(note('revoked')); });
  });
  all[1].directory.cas('x/1', 0, 'two', 0, (failure, outcome) => { note('other')(failure, outcome?.swapped); });
  world.run(200 * MS);
  // In which order those of one time come is left open.
  const sorted = (rows: unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
  t.same(sorted(events), sorted([
    [4, 'other', undefined, true],
    [4, 'lease', undefined, 50 * MS],
    [4, 'watch', 'x/1', 'two'],
    [8, 'cas', undefined, false],
    [28, 'kept', undefined],
    [98, 'revoked', 'lease'],
  ]));
  t.throws(() => { all[0].directory.get('X', note('never')); }, { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => worldOf(1, {}, { directory: { latencyUs: 5, timeoutUs: 5 } }), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('directory: hosts that reach it have all that a directory promises', (t) => {
  const LATENCY_US = 4;
  directoryConformance(t, () => {
    const { world, all } = worldOf(3, {}, { directory: { latencyUs: LATENCY_US, timeoutUs: 1000 } });
    return Promise.resolve({
      clients: all.map(({ directory }) => directory),
      ttlUs: 5000,
      slackUs: LATENCY_US,
      runs: 100,
      pass: (us: number) => {
        world.run(world.clock.nowUs() + (us > 0 ? us : LATENCY_US / 4));
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    });
  });
  t.end();
});

t.test('directory: what is lost on the way is unavailable, whether it has happened, has not, or will', (t) => {
  const { world, all: [host] } = worldOf(1);
  world.directoryFaults.loss = 0.5;
  world.directoryFaults.lateness = 0.2;
  const answers = new Map<string, { failure: DirectoryFailure | undefined; atUs: number }>();
  const KEYS = 400;
  for (let i = 0; i < KEYS; i++) {
    host.directory.cas(`k${i}`, 0, 'v', 0, (failure) => {
      if (answers.has(`k${i}`)) t.fail(`k${i}: answered twice`);
      answers.set(`k${i}`, { failure, atUs: world.clock.nowUs() });
    });
  }
  const standing = (): Set<string> => {
    const keys = new Set<string>();
    const end = world.directory.watch('', (key) => keys.add(key));
    world.run(world.clock.nowUs());
    end();
    return keys;
  };
  world.run(1e6);
  const soon = standing();
  world.run(3e6);
  const later = standing();
  t.equal(answers.size, KEYS);
  const count = { done: 0, doneUnheard: 0, notDone: 0, doneLater: 0 };
  for (const [key, { failure, atUs }] of answers) {
    if (failure === undefined) {
      count.done++;
      if (!soon.has(key) || atUs > 10 * MS) t.fail(`${key}: answered, must stand there`);
    } else if (failure !== 'unavailable' || atUs !== 1e6) t.fail(`${key}: ${failure} at ${atUs}`);
    else if (soon.has(key)) count.doneUnheard++;
    else if (later.has(key)) count.doneLater++;
    else count.notDone++;
  }
  t.ok(count.done > 120 && count.doneUnheard > 50 && count.notDone > 60 && count.doneLater > 30, JSON.stringify(count));
  t.end();
});

t.test('directory: who is cut off hears nothing, and afterwards what has become of each key, in order of revision', (t) => {
  const { world, all } = worldOf(3);
  const seen: [number, string, string | undefined][] = [];
  const put = (key: string, value: string | undefined): void => {
    all[2].directory.get(key, (_, entry) => { all[2].directory.cas(key, entry?.revision ?? 0, value, 0, () => undefined); });
    world.run(world.clock.nowUs() + 20 * MS);
  };
  const end = all[0].directory.watch('k', (key, entry) => seen.push([entry?.revision ?? 0, key, entry?.value]));
  put('k1', 'a');
  put('k2', 'a');
  world.partition([{ hosts: [0, 1], directory: false }]);
  const late: string[] = [];
  all[1].directory.watch('k', (key) => late.push(key));
  let failure: DirectoryFailure | undefined;
  all[0].directory.get('k1', (got) => { failure = got; });
  put('k1', 'b');
  put('k3', 'b');
  put('k2', undefined);
  put('k1', 'c');
  world.run(2e6);
  t.equal(failure, 'unavailable');
  t.same(seen, [[1, 'k1', 'a'], [2, 'k2', 'a']]);
  world.partition([]);
  world.run(3e6);
  t.same(seen.slice(2).map(([, key, value]) => [key, value]), [['k3', 'b'], ['k2', undefined], ['k1', 'c']]);
  t.ok(seen[2][0] < seen[4][0], 'revisions grow');
  t.same(late, ['k1', 'k3'], 'a watch that began meanwhile begins now');
  put('k4', 'd');
  t.equal(seen.length, 6);
  end();
  put('k4', 'e');
  t.equal(seen.length, 6);
  t.equal(world.directory.size.watches, 1);
  world.crash(1);
  t.equal(world.directory.size.watches, 0);
  t.end();
});

/** Sends to a neighbour each 50 ms, as overlays do. */
class Beater implements Endpoint {
  dueUs: number;
  onEarlier: () => void = () => undefined;
  received = 0;

  constructor(
    private readonly transport: Transport,
    private readonly host: HostNumber,
    private readonly hosts: number,
  ) {
    this.dueUs = (host % 997) * 50;
  }

  receive(from: HostNumber, at: number): void {
    if (this.transport.view.getUint32(at) !== from) throw new Error(`host ${this.host}: a message of ${from} says ${this.transport.view.getUint32(at)}`);
    this.received++;
  }

  wake(): void {
    this.transport.view.setUint32(this.transport.begin(), this.host);
    this.transport.send((this.host + 1) % this.hosts, 40);
    this.dueUs += 50 * MS;
  }
}

t.test('10,000 hosts: every beat is sent and comes', (t) => {
  const hosts = 10_000;
  const world = new World({ hosts, random: new Random(3), network: { delayUs: (from) => 20 * MS + (from % 7) * MS } });
  const all = Array.from({ length: hosts }, (_, host) => world.addHost(host, (transport) => new Beater(transport, host, hosts)));
  const events = world.run(500 * MS + 49_999);
  const beats = all.reduce((sum, { received }) => sum + received, 0);
  t.equal(world.network.counters.sent, 11 * hosts);
  t.equal(world.network.counters.delivered, beats);
  t.equal(events, 11 * hosts + beats);
  t.end();
});
