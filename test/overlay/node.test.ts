// Who holds which identifier: at every event of every run here the rig looks whether two hosts hold one (rig.ts). DESIGN.md, "Membership and channel directory";
// Gray & Cheriton 1989 for leases.
import t from 'tap';
import { Random, Timers, VirtualClock } from '../../src/base/index.js';
import { type Directory, type Lease, type OverlayOptions } from '../../src/overlay/index.js';
import { Graft, Heartbeat, Hello, Join, NotHeld, Prune } from '../../src/overlay/codec.js';
import { LeaseKeeper } from '../../src/overlay/lease-keeper.js';
import { MS, Rig, SECOND, message } from './rig.js';

const LEASE = 5 * SECOND;
const HEARTBEAT = SECOND;
/** A vacant identifier is noticed with a heartbeat by a host beside it, and taken after a part of a lease: whole cubes, one after another. */
const TAKEOVER = LEASE + 4 * HEARTBEAT;
const SEEDS = [1, 2, 3];

const whole = (rig: Rig): string => `seed ${rig.seed}: held ${rig.held().join(' ')}`;

for (const [k, n] of [[2, 4], [3, 3], [5, 2]] as const) {
  t.test(`${k}-ary ${n}-cube: joins split, every identifier has one holder`, (t) => {
    for (const seed of SEEDS) {
      const rig = new Rig({ hosts: 12, k, n, seed }).joined(10);
      t.same(rig.vacant(), [], whole(rig));
      t.ok(rig.live.every(({ state, identifiers }) => state === 'member' && identifiers.length > 0), whole(rig));
      t.equal(rig.live.reduce((sum, { counters: { identifiers: { taken, received } } }) => sum + taken + received, 0) >= rig.cube.size, true);
    }
    t.end();
  });
}

t.test('what a crashed host held is taken over within its lease and a few heartbeats, and not before its lease has ended', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 12, k: 3, n: 3, seed }).joined(10);
    for (const host of [3, 7, 0]) {
      rig.crash(host);
      const us = rig.until(() => rig.vacant().length === 0, 4 * TAKEOVER);
      t.ok(us <= TAKEOVER, `seed ${seed}: after ${us} µs`);
      rig.run(3 * SECOND);
    }
    // The same number again, before the lease of its earlier life has ended.
    rig.crash(5);
    rig.run(MS);
    rig.start(5);
    t.ok(rig.until(() => rig.vacant().length === 0 && rig.node(5).state === 'member', 4 * TAKEOVER) < 2 * TAKEOVER, whole(rig));
  }
  t.end();
});

t.test('half of the hosts at once', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 12, k: 2, n: 4, seed }).joined(10);
    for (const host of [1, 2, 4, 6, 8]) rig.crash(host);
    // A region of which nobody is beside is taken step by step.
    const us = rig.until(() => rig.vacant().length === 0, 60 * SECOND);
    t.ok(us <= TAKEOVER + 4 * rig.cube.diameter * HEARTBEAT, `seed ${seed}: after ${us} µs`);
  }
  t.end();
});

t.test('who leaves hands over all it has; nothing is vacant afterwards, and the last one simply goes', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 8, k: 3, n: 3, seed }).joined(6);
    for (const host of [2, 0, 5, 3, 1]) {
      let isDone = false;
      const node = rig.node(host);
      node.leave(() => {
        isDone = true;
      });
      rig.world.rearm(host);
      t.equal(node.state, 'leaving');
      const us = rig.until(() => isDone, 30 * SECOND);
      t.ok(us <= 9 * HEARTBEAT, `seed ${seed}: left after ${us} µs`);
      t.equal(node.state, 'stopped');
      t.equal(node.counters.identifiers.lost, 0, `seed ${seed}: host ${host} lost none`);
      t.ok(rig.until(() => rig.vacant().length === 0, SECOND) < SECOND, whole(rig));
      rig.run(2 * SECOND);
    }
    const last = rig.node(4);
    t.equal(last.identifiers.length, rig.cube.size);
    last.leave();
    rig.world.rearm(4);
    rig.run(12 * SECOND);
    t.equal(last.state, 'stopped');
    // A cube that is empty begins anew.
    last.start();
    rig.world.rearm(4);
    rig.run(20 * SECOND);
    t.equal(last.identifiers.length, rig.cube.size, whole(rig));
  }
  t.end();
});

t.test('a full cube leaves another newcomer joining, and takes no harm', (t) => {
  const rig = new Rig({ hosts: 9, k: 2, n: 3, seed: 4 }).formed((host) => [host], 8);
  const before = rig.live.map(({ identifiers }) => identifiers);
  rig.start(8);
  rig.run(30 * SECOND);
  t.equal(rig.node(8).state, 'joining');
  t.same(rig.live.slice(0, 8).map(({ identifiers }) => identifiers), before);
  t.ok(rig.node(8).counters.sent < 30 * 12, `${rig.node(8).counters.sent} messages`);
  rig.crash(2);
  t.ok(rig.until(() => rig.vacant().length === 0 && rig.node(8).state === 'member', 60 * SECOND) < 60 * SECOND, whole(rig));
  t.end();
});

t.test('a publisher keeps its identifier when others join', (t) => {
  const rig = new Rig({ hosts: 9, k: 2, n: 3, seed: 4 });
  rig.start(0);
  rig.run(5 * SECOND);
  rig.node(0).advertise(1);
  const [root] = rig.node(0).identifiers;
  for (let host = 1; host < 8; host++) rig.start(host);
  rig.run(30 * SECOND);
  t.same(rig.node(0).identifiers, [root]);
  t.same(rig.vacant(), [], whole(rig));
  t.end();
});

t.test('who gives keeps one, however many ask at once: what is on its way to one newcomer is not what stays when the next one asks', (t) => {
  const rig = new Rig({ hosts: 3, k: 2, n: 1, seed: 1, network: { delayUs: () => 5 * MS } });
  rig.start(0);
  rig.run(5 * SECOND);
  t.same(rig.node(0).identifiers, [0, 1]);
  for (const host of [1, 2]) {
    const newcomer = rig.stranger(host);
    rig.world.directory.lease(LEASE, (_failure, lease) => {
      newcomer.say(0, message(rig.cube, Join.type, Join.bytes, host, lease!.id, 1));
    });
  }
  rig.run(SECOND);
  t.same(rig.node(0).identifiers, [0]);
  t.equal(rig.node(0).state, 'member');
  t.equal(rig.node(0).counters.identifiers.given, 1);
  t.end();
});

t.test('whoever wakes from a pause longer than its lease holds nothing, and joins anew', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 8, k: 3, n: 2, seed }).joined(6);
    const node = rig.node(2);
    t.ok(node.identifiers.length > 0);
    rig.world.pause(2, 12 * SECOND);
    rig.run(LEASE);
    t.same(node.identifiers, [], 'by its own clock its lease has ended');
    rig.run(6.5 * SECOND);
    t.same(rig.vacant(), [], whole(rig));
    rig.run(20 * SECOND);
    t.equal(node.state, 'member', whole(rig));
    t.same(rig.vacant(), [], whole(rig));
  }
  t.end();
});

t.test('cut off from the directory a host holds what it holds for a lease at most; cut off from hosts alone it goes on, and neither takes what is held', (t) => {
  for (const seed of SEEDS) {
    const rig = new Rig({ hosts: 8, k: 3, n: 2, seed }).joined(8);
    const cut = rig.node(1);
    rig.world.partition([{ hosts: [1], directory: false }]);
    rig.run(LEASE);
    t.same(cut.identifiers, []);
    rig.run(TAKEOVER);
    t.same(rig.vacant(), [], whole(rig));
    rig.world.partition([]);
    rig.run(20 * SECOND);
    t.same(rig.vacant(), [], whole(rig));
    t.equal(cut.state, 'member');
    // Each side sees the other dead, but the directory says that it lives.
    const before = rig.live.map(({ identifiers }) => identifiers);
    rig.world.partition([{ hosts: [0, 1, 2, 3], directory: true }]);
    rig.run(20 * SECOND);
    t.same(rig.live.map(({ identifiers }) => identifiers), before, 'nothing changes hands');
    rig.world.partition([]);
    rig.run(15 * SECOND);
    t.same(rig.vacant(), [], whole(rig));
  }
  t.end();
});

/** Answers of a directory come up to so much later, in any order (Directory's docstring leaves it open). */
function disordered(of: () => Rig, random: Random, mostUs: number): (directory: Directory, host: number) => Directory {
  return (directory, host) => {
    const later = (action: () => void): void => {
      of().world.after(random.bool(0.3) ? random.float() * mostUs : 0, () => {
        action();
        of().world.rearm(host);
      });
    };
    return {
      get: (key, done) => {
        directory.get(key, (failure, entry) => {
          later(() => {
            done(failure, entry);
          });
        });
      },
      cas: (key, revision, value, lease, done) => {
        directory.cas(key, revision, value, lease, (failure, outcome) => {
          later(() => {
            done(failure, outcome);
          });
        });
      },
      watch: (prefix, onChange) => directory.watch(prefix, onChange),
      lease: (ttlUs, done) => {
        directory.lease(ttlUs, done);
      },
    };
  };
}

t.test('a directory that fails in every way, answers in any order, and hosts that come, go, stop and start: never two holders, and in the end no vacancy', (t) => {
  const HOSTS = 12;
  for (let seed = 1; seed <= 24; seed++) {
    const random = new Random(seed).fork('chaos');
    const shapes = [[3, 3], [2, 4], [5, 2]] as const;
    const [k, n] = shapes[seed % 3];
    const rig: Rig = new Rig({ hosts: HOSTS, k, n, seed, ...(seed % 2 === 0 ? { wrap: disordered(() => rig, new Random(seed).fork('order'), 3 * SECOND) } : {}) });
    const { world } = rig;
    rig.joined(random.int(3, 9), 5 * SECOND);
    const pick = (): number[] => Array.from({ length: random.int(1, 5) }, () => random.int(0, HOSTS - 1));
    for (let i = 0; i < 20; i++) {
      const host = random.int(0, HOSTS - 1);
      const node = rig.nodes[host];
      switch (random.int(0, 9)) {
        case 0: if (node === undefined) rig.start(host); else if (rig.live.length > 3) rig.crash(host); break;
        case 1: if (rig.live.length > 3) node?.leave(); break;
        case 2: world.pause(host, random.float() * 12 * SECOND); break;
        case 3: world.directoryFaults.loss = random.float() * 0.8; break;
        case 4: world.directoryFaults.lateness = random.float() * 0.8; break;
        case 5: world.partition([{ hosts: pick(), directory: random.bool(0.5) }, { hosts: pick(), directory: random.bool(0.5) }]); break;
        case 6: world.network.setFaults({ loss: random.float() * 0.4, duplication: 0.2, reordering: 0.3, reorderUs: 2e5 }); break;
        case 7:
          world.directoryFaults.loss = world.directoryFaults.lateness = 0;
          world.partition([]);
          break;
        case 8:
          if (node !== undefined) rig.crash(host);
          rig.run(random.float() * SECOND);
          rig.start(host);
          break;
        default:
          node?.stop();
          if (random.bool(0.5)) rig.run(random.float() * SECOND);
          node?.start();
      }
      world.rearm(host);
      rig.run(random.float() * 4 * SECOND);
    }
    world.directoryFaults.loss = world.directoryFaults.lateness = 0;
    world.network.setFaults({});
    world.partition([]);
    rig.run(13 * SECOND);
    if (rig.live.every(({ state }) => state === 'stopped')) for (const node of rig.live) {
      node.start();
      world.rearm(node.host);
    }
    const us = rig.until(() => rig.vacant().length === 0, 60 * SECOND);
    if (us > 3 * TAKEOVER) t.fail(`vacant ${rig.vacant().join(' ')} after ${us} µs; ${whole(rig)}`);
  }
  t.pass('24 seeds');
  t.end();
});

t.test('whoever asks a host to leave is told when it has: in a bounded time, however often it was asked, also if it was stopped meanwhile', (t) => {
  const rig = new Rig({ hosts: 3, k: 2, n: 3, seed: 3 }).joined(3);
  const told: string[] = [];
  const note = (what: string) => () => told.push(what);
  rig.node(1).leave(note('asked'));
  rig.node(1).leave(note('asked again'));
  t.same(told, []);
  rig.run(8 * SECOND);
  t.same(told.splice(0), ['asked', 'asked again']);
  rig.node(1).leave(note('gone'));
  t.same(told.splice(0), ['gone']);
  rig.node(2).leave(note('stopped meanwhile'));
  rig.run(0.5 * SECOND);
  rig.node(2).stop();
  t.same(told, ['stopped meanwhile']);
  t.end();
});

t.test('a host that stops and starts at once lives one life: one heartbeat a period to each peer, one lease, its publications go on', (t) => {
  const rig = new Rig({ hosts: 4, k: 2, n: 3, seed: 2 }).joined(3);
  const node = rig.node(1);
  const publication = node.advertise(1);
  const inbox = rig.subscribe(2, 1);
  rig.run(2 * SECOND);
  t.ok(node.identifiers.length > 1, 'several identifiers');
  node.leave();
  rig.run(0.5 * SECOND);
  for (let i = 0; i < 3; i++) {
    node.stop();
    node.start();
    rig.world.rearm(1);
  }
  rig.run(20 * SECOND);
  t.equal(node.state, 'member', 'the leave that was begun is forgotten');
  t.same(rig.vacant(), []);
  const counts = new Map<number, number>();
  rig.onSent = (from, to, bytes) => {
    if (from === 1 && bytes[3] === Heartbeat.type && bytes[Heartbeat.isAnswer] === 0) counts.set(to, (counts.get(to) ?? 0) + 1);
  };
  rig.run(10 * SECOND);
  t.ok([...counts.values()].every((count) => count <= 10), [...counts].join('; '));
  t.ok(rig.world.directory.size.leases <= 3, `${rig.world.directory.size.leases} leases of three hosts`);
  t.equal(publication.closed, true, 'leave() had ended it');
  const again = node.advertise(1);
  rig.run(2 * SECOND);
  node.stop();
  node.start();
  rig.world.rearm(1);
  rig.run(15 * SECOND);
  inbox.numbers.clear();
  rig.stream([[1, again]], 0.1 * SECOND, SECOND).run(SECOND);
  t.equal(inbox.numbers.get(1)?.length, 10, 'what stop() interrupts, start() takes up');
  t.end();
});

t.test("strangers' words move nothing: what they ask is looked up, and a flood of them is bounded", (t) => {
  const rig = new Rig({ hosts: 4000, k: 3, n: 2, seed: 3, network: { slots: [20_000, 2000, 2000] } }).formed((host) => [0, 1, 2].map((i) => 3 * host + i), 3);
  const before = rig.live.map(({ identifiers }) => identifiers);
  const heap = (): number => rig.node(0).counters.dropped.stranger;
  const liar = rig.stranger(3, 0);
  let sequence = 1;
  const say = (type: number, length: number, fields: Parameters<typeof message>[6]): void => {
    liar.say(0, message(rig.cube, type, length, 3, 77, sequence++, fields));
  };
  for (let i = 0; i < 9; i++) {
    say(Hello.type, Hello.bytes, { [Hello.mine]: [4, i], [Hello.yours]: [4, (i + 1) % 9] });
    say(NotHeld.type, NotHeld.bytes, { [NotHeld.identifier]: [4, i] });
    say(7, 28 + 4 * rig.cube.degree, { 20: [4, i], 24: [4, rig.cube.degree], 28: [4, 3], 32: [4, 0] });
  }
  // Under a lease that isn't there nothing is given; nor under our own.
  say(Join.type, Join.bytes, {});
  rig.stranger(3999, 0).say(0, message(rig.cube, Join.type, Join.bytes, 3999, 1, 1));
  rig.run(10 * SECOND);
  t.same(rig.live.map(({ identifiers }) => identifiers), before);
  for (let host = 4; host < 3999; host++) rig.stranger(host, 0).say(0, message(rig.cube, Hello.type, Hello.bytes, host, 5000 + host, 1, { [Hello.mine]: [4, 3], [Hello.yours]: [4, 0] }));
  rig.run(0.5 * SECOND);
  t.ok(heap() >= 3995 - 1024, `${heap()} of 3995 dropped as one too many`);
  t.end();
});

t.test('the directory is asked of an identifier that somebody says is not held only where it lies beside ours', (t) => {
  // Host 0 has 0 to 3 of a 4-cube: 4 to 11 lie beside them, 12 to 15 do not.
  const rig = new Rig({ hosts: 5, k: 2, n: 4, seed: 1 }).formed((host) => [0, 1, 2, 3].map((i) => 4 * host + i), 4);
  const liar = rig.stranger(4, 0);
  const { counters } = rig.world.directory;
  const before = counters.gets;
  for (let identifier = 0; identifier < 16; identifier++) {
    liar.say(0, message(rig.cube, NotHeld.type, NotHeld.bytes, 4, 77, identifier + 1, { [NotHeld.identifier]: [4, identifier] }));
  }
  rig.run(0.5 * SECOND);
  t.equal(rig.node(0).counters.dropped.unasked, 4);
  t.equal(counters.gets - before, 12);
  t.end();
});

t.test('options out of their ranges, in one line each', (t) => {
  const rig = new Rig({ hosts: 1, k: 2, n: 2, seed: 1 });
  const wrong: readonly [Partial<OverlayOptions>, RegExp][] = [
    [{ host: -1 }, /^host: got -1, must be a whole number/],
    [{ heartbeatUs: 0 }, /^heartbeatUs: got 0, must be a number above 0/],
    [{ detectUs: 2e6 }, /^detectUs: got 2000000, must be at least 2.5 heartbeats/],
    [{ leaseUs: NaN }, /^leaseUs: got NaN/],
    [{ unmeasuredUs: Infinity }, /^unmeasuredUs: got Infinity/],
    [{ exchangeDepth: 1.5 }, /^exchangeDepth: got 1.5/],
    [{ k: 1 }, /^k: got 1/],
    [{ share: { copyUs: -1, ratePerS: 1 } }, /^copyUs: got -1/],
  ];
  for (const [options, right] of wrong) t.throws(() => rig.add(0, options), { message: right });
  t.end();
});

t.test('a host without neighbours outlives that all its peers fall silent at once', (t) => {
  const rig = new Rig({ hosts: 4, k: 2, n: 2, seed: 1 });
  rig.start(0);
  rig.run(8 * SECOND);
  const node = rig.node(0);
  t.same(node.identifiers, [0, 1, 2, 3]);
  const [one, two] = [rig.stranger(1), rig.stranger(2)];
  const graft = (host: number, publisher: number): Uint8Array => message(rig.cube, Graft.type, Graft.bytes, host, 50 + host, 1, { [Graft.channel]: [4, 1], [Graft.publisher]: [4, publisher], [Graft.version]: [4, 9], [Graft.root]: [4, 0], [Graft.rank]: [2, 5] });
  const grafted = (sequence: number, ancestor: number): Uint8Array => message(rig.cube, 10, 48, 1, 51, sequence, { 20: [4, 1], 24: [4, 1], 28: [4, 9], 34: [1, 1], 35: [1, 1], 44: [4, ancestor] });
  // One is known as a child before two is, then is two's parent; and both fall silent: with its only child the stream ends, and with that its parent is forgotten.
  one.say(0, graft(1, 3));
  rig.run(20 * MS);
  two.say(0, graft(2, 1));
  rig.run(20 * MS);
  one.say(0, grafted(2, 0xffffffff));
  rig.run(20 * MS);
  t.equal(node.counters.dropped.range, 1, 'no host has that number');
  one.say(0, grafted(3, 0));
  rig.run(20 * MS);
  t.equal(node.counters.dropped.contradiction, 1, 'it would be above itself');
  two.say(0, graft(2, 1).fill(2, 19, 20));
  one.say(0, grafted(4, 3));
  one.say(0, message(rig.cube, Prune.type, Prune.bytes, 1, 51, 5, { [Prune.channel]: [4, 1], [Prune.publisher]: [4, 3] }));
  rig.run(20 * SECOND);
  t.same(node.branches(), []);
  t.equal(node.state, 'member');
  t.end();
});

/** A keeper of leases over a directory that answers when it is told to. */
function keeper(sinceUs: number, leaseUs: number): { clock: VirtualClock; timers: Timers; keeper: LeaseKeeper; asks: ((lease: Lease) => void)[]; got: number[]; lost: () => number } {
  const clock = new VirtualClock();
  clock.set(sinceUs);
  const timers = new Timers(() => clock.nowUs());
  const asks: ((lease: Lease) => void)[] = [];
  const got: number[] = [];
  let lost = 0;
  const directory = {
    lease: (_ttlUs: number, done: (failure: undefined, lease: Lease) => void) => {
      asks.push((lease) => {
        done(undefined, lease);
      });
    },
  } as unknown as Directory;
  const one = new LeaseKeeper({
    directory, clock, timers, leaseUs,
    onLease: ({ id }) => {
      got.push(id);
    },
    onExtended: () => undefined,
    onLost: () => {
      lost++;
    },
  });
  return { clock, timers, keeper: one, asks, got, lost: () => lost };
}

t.test('a lease is lost when it ends by this clock, whatever the clock can resolve; and is never valid after it', (t) => {
  const random = new Random(11);
  for (let round = 0; round < 3000; round++) {
    // Whole nanoseconds, as timers have them: an end may lie a rounding error behind one.
    const sinceUs = random.int(1, 1e11) / 1e3;
    const leaseUs = 50 * random.int(20, 200_000);
    const { clock, timers, keeper: one, asks, lost } = keeper(sinceUs, leaseUs);
    let kept = 0;
    one.start();
    asks[0]({
      id: 1, ttlUs: leaseUs,
      keepAlive: () => {
        if (++kept > 50) throw new Error(`round ${round}: asks for ever at ${clock.nowUs()} µs (since ${sinceUs}, ${leaseUs} µs)`);
      },
      revoke: () => undefined,
    });
    while (lost() === 0) {
      clock.set(Math.max(clock.nowUs(), timers.nextUs));
      timers.run();
    }
    if (one.isValid || clock.nowUs() > sinceUs + leaseUs + 2) t.fail(`round ${round}: noticed at ${clock.nowUs()} µs`);
    one.stop();
  }
  t.pass('3000 leases');
  t.end();
});

t.test('of several questions for a lease only the last one counts: leases that come too late, or for an earlier life, are given back', (t) => {
  const { clock, timers, keeper: one, asks, got } = keeper(0, SECOND);
  const revoked: number[] = [];
  const lease = (id: number): Lease => ({
    id, ttlUs: SECOND,
    keepAlive: () => undefined,
    revoke: () => {
      revoked.push(id);
    },
  });
  one.start();
  one.stop();
  one.start();
  clock.set(SECOND / 4);
  timers.run();
  t.equal(asks.length, 3, 'stopped and started, and then without an answer for too long');
  for (const [i, answer] of asks.entries()) answer(lease(i + 1));
  t.same(got, [3]);
  t.same(revoked, [1, 2]);
  one.stop();
  t.same(revoked, [1, 2, 3]);
  t.end();
});

t.test('nothing grows with identifiers that came and went, and channels that were', (t) => {
  const rig = new Rig({ hosts: 2, k: 3, n: 3, seed: 1 });
  /** Entries of all that a host's parts keep. */
  const kept = (): Record<string, number> => {
    const sizes: Record<string, number> = {};
    for (const [part, value] of Object.entries(rig.node(0))) {
      for (const [field, held] of Object.entries((value ?? {}) as object)) {
        if (held instanceof Map || held instanceof Set) sizes[`${part}.${field}`] = held.size;
      }
    }
    return sizes;
  };
  rig.start(0);
  rig.run(10 * SECOND);
  const before = kept();
  t.match(before, { 'membership.holdings': 27, 'channels.publications': 0, 'trees.streams': 0 }, 'looked at');
  t.equal(Object.values(before).reduce((sum, size) => sum + size, 0), 27, 'all that is kept is what is held');
  for (let round = 0; round < 8; round++) {
    const publication = rig.node(0).advertise(round);
    rig.node(0).unsubscribe(rig.node(0).subscribe(100 + round));
    rig.start(1);
    const inbox = rig.subscribe(1, round);
    rig.until(() => rig.node(1).state === 'member', 10 * SECOND);
    rig.run(2 * SECOND);
    rig.publish(publication, 0);
    rig.run(SECOND);
    t.equal(inbox.arrivals.length, 1, `round ${round}`);
    publication.close();
    rig.world.rearm(0);
    rig.node(1).leave();
    rig.world.rearm(1);
    rig.run(15 * SECOND);
    rig.crash(1);
  }
  rig.run(15 * SECOND);
  t.same(kept(), before);
  t.end();
});

t.test('streams that strangers make up are bounded, and gone with them', (t) => {
  const rig = new Rig({ hosts: 4, k: 2, n: 2, seed: 1, network: { slots: [60_000, 1000, 1000] } }).formed((host) => [2 * host, 2 * host + 1], 2);
  const liar = rig.stranger(2, 0);
  for (let i = 0; i < 20_000; i++) {
    liar.say(0, message(rig.cube, Graft.type, Graft.bytes, 2, 70, i + 1, { [Graft.channel]: [4, i], [Graft.publisher]: [4, 3], [Graft.version]: [4, 9], [Graft.root]: [4, 3], [Graft.rank]: [2, 5] }));
    if (i % 5000 === 4999) rig.run(20 * MS);
  }
  rig.run(20 * MS);
  t.equal(rig.node(0).branches().length, 16_384);
  rig.run(15 * SECOND);
  t.same(rig.node(0).branches(), []);
  t.end();
});
