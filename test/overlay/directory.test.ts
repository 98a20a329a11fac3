// The directory in memory: it keeps to what every directory does, and to what only it promises: virtual time to the nanosecond, bounds, who is called when.
import fc from 'fast-check';
import t from 'tap';
import { Random, RealClock, VirtualClock } from '../../src/base/index.js';
import { EmbeddedDirectory, type EmbeddedDirectoryOptions, type Entry, type Lease, runInEventLoop } from '../../src/overlay/index.js';
import { SortedKeys } from '../../src/overlay/sorted-keys.js';
import { type DirectoryUnderTest, directoryConformance } from '../conformance/directory.js';

/** A directory and its clock; pass() goes from one due time to the next, as a simulation does. */
function world(options?: EmbeddedDirectoryOptions): { clock: VirtualClock; directory: EmbeddedDirectory; pass: (us: number) => void } {
  const clock = new VirtualClock();
  const directory = new EmbeddedDirectory(clock, options);
  const pass = (us: number): void => {
    const untilUs = clock.nowUs() + us;
    for (let turn = 0; directory.dueUs <= untilUs && (us > 0 || turn === 0); turn++) {
      clock.set(Math.max(clock.nowUs(), directory.dueUs));
      directory.wake();
    }
    clock.set(untilUs);
  };
  return { clock, directory, pass };
}

t.test('in virtual time', (t) => {
  directoryConformance(t, () => {
    const { directory, pass } = world();
    const under: DirectoryUnderTest = {
      clients: [directory, directory, directory],
      ttlUs: 1000,
      slackUs: 0,
      runs: 300,
      pass: (us) => {
        pass(us);
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    };
    return Promise.resolve(under);
  });
  t.end();
});

/** Everything that the contract says, as plainly as it can be said. */
class Model {
  readonly entries = new Map<string, Entry>();
  readonly leases = new Map<number, { ttlUs: number; untilUs: number }>();

  at(nowUs: number): void {
    for (const [id, { untilUs }] of this.leases) if (untilUs <= nowUs) this.end(id);
  }

  end(id: number): void {
    this.leases.delete(id);
    for (const { key, lease } of this.entries.values()) if (lease === id) this.entries.delete(key);
  }
}

t.test('against a model: entries, leases and watches at every instant, however late it is woken', (t) => {
  const step = fc.record({
    act: fc.constantFrom('put' as const, 'put' as const, 'delete' as const, 'lease' as const, 'keepAlive' as const, 'revoke' as const, 'advance' as const, 'wake' as const),
    key: fc.constantFrom('a', 'b', 'a/c'),
    which: fc.nat(3),
    us: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { clock, directory } = world();
    const model = new Model();
    const leases: Lease[] = [];
    const seen = new Map<string, Entry>();
    directory.watch('', (key, entry) => {
      if (entry === undefined) seen.delete(key);
      else seen.set(key, entry);
    });
    // At the end once more, so that no answer goes unheard.
    for (const { act, key, which, us } of [...steps, { act: 'wake' as const, key: '', which: 0, us: 0 }]) {
      const nowUs = clock.nowUs();
      model.at(nowUs);
      const lease = leases[which] as Lease | undefined;
      const alive = lease !== undefined && model.leases.has(lease.id);
      const revision = model.entries.get(key)?.revision ?? 0;
      if (act === 'advance') clock.advance(us);
      else if (act === 'put') {
        directory.cas(key, revision, `${us}`, lease?.id ?? 0, (failure, swap) => {
          if (swap?.swapped !== (lease === undefined || alive ? true : undefined)) throw new Error(failure ?? 'no failure');
        });
        if (lease === undefined || alive) {
          // What revision it got, a get says that takes effect right behind it.
          directory.get(key, (_, entry) => {
            if (entry!.value !== `${us}` || entry!.lease !== (lease?.id ?? 0) || entry!.revision <= revision) throw new Error('another entry');
            if (model.entries.get(key) === placeholder) model.entries.set(key, entry!);
          });
          const placeholder: Entry = { key, value: `${us}`, revision: -1, lease: lease?.id ?? 0 };
          model.entries.set(key, placeholder);
          directory.wake();
        }
      } else if (act === 'delete') {
        directory.cas(key, revision, undefined, 0, (_, swap) => {
          if (!swap!.swapped) throw new Error('refused');
        });
        model.entries.delete(key);
      } else if (act === 'lease') {
        directory.lease(us, (_, given) => leases.push(given!));
        directory.wake();
        model.leases.set(leases[leases.length - 1].id, { ttlUs: us, untilUs: nowUs + us });
      } else if (act === 'keepAlive') {
        lease?.keepAlive((failure) => {
          if (failure !== (alive ? undefined : 'lease')) throw new Error(`keepAlive: ${failure ?? 'no failure'}`);
        });
        if (alive) model.leases.get(lease.id)!.untilUs = nowUs + lease.ttlUs;
      } else if (act === 'revoke') {
        lease?.revoke((failure) => {
          if (failure !== (alive ? undefined : 'lease')) throw new Error(`revoke: ${failure ?? 'no failure'}`);
        });
        if (alive) model.end(lease.id);
      } else {
        directory.wake();
        if (seen.size !== model.entries.size || [...seen].some(([key, { revision }]) => model.entries.get(key)?.revision !== revision)) return false;
        if (directory.size.keys !== model.entries.size || directory.size.leases !== model.leases.size) return false;
        const nextUs = Math.min(Infinity, ...[...model.leases.values()].map(({ untilUs }) => untilUs));
        if (directory.dueUs !== nextUs) return false;
      }
    }
    return true;
  }), { numRuns: 500 });
  t.end();
});

t.test('it says when it is due: at once for what waits, else when the next lease expires; onEarlier whenever that moves ahead', (t) => {
  const { clock, directory } = world();
  let earlier = 0;
  directory.onEarlier = () => earlier++;
  t.equal(directory.dueUs, Infinity);
  directory.get('a', () => undefined);
  t.same([directory.dueUs, earlier], [0, 1]);
  directory.get('a', () => undefined);
  t.equal(earlier, 1, 'once');
  directory.wake();
  t.equal(directory.dueUs, Infinity);
  let lease: Lease | undefined;
  clock.set(5);
  directory.lease(100, (_, given) => (lease = given));
  t.equal(directory.dueUs, 5);
  directory.wake();
  t.equal(directory.dueUs, 105);
  directory.lease(10.0001, () => undefined);
  directory.wake();
  t.equal(directory.dueUs, 15.001, 'a whole nanosecond, as virtual time has them, and not before its time');
  clock.set(50);
  lease!.keepAlive(() => undefined);
  directory.wake();
  t.equal(directory.dueUs, 150, 'the other has expired at once');
  t.equal(directory.counters.expiries, 1);
  directory.watch('none', () => t.fail());
  t.equal(directory.dueUs, 150, 'a watch of nothing has nothing to tell');
  t.end();
});

t.test('what a callback asks is answered by the next wake(): none goes on for ever', (t) => {
  const { directory } = world();
  let answers = 0;
  const again = (): void => {
    answers++;
    directory.get('a', again);
  };
  again();
  directory.wake();
  directory.wake();
  t.equal(answers, 3);
  let told = 0;
  directory.watch('b', (_, entry) => {
    told++;
    directory.cas('b', entry!.revision, 'x', 0, () => undefined);
  });
  directory.cas('b', 0, 'x', 0, () => undefined);
  for (let turn = 1; turn <= 3; turn++) {
    directory.wake();
    t.equal(told, turn);
  }
  t.end();
});

t.test('of several changes before wake() the last is told, in order of revision', (t) => {
  const { directory } = world();
  const told: [string, string | undefined][] = [];
  const ignore = (): void => undefined;
  directory.cas('old', 0, '1', 0, ignore);
  directory.watch('', (key, entry) => told.push([key, entry?.value]));
  directory.cas('a', 0, '2', 0, ignore);
  directory.cas('b', 0, '3', 0, ignore);
  directory.cas('c', 0, '4', 0, ignore);
  directory.cas('a', 2, '5', 0, ignore);
  directory.cas('c', 4, undefined, 0, ignore);
  directory.wake();
  t.same(told, [['old', '1'], ['b', '3'], ['a', '5'], ['c', undefined]]);
  t.equal(directory.counters.notices, 4);
  const all = directory.watch('', (key) => told.push([key, 'again']));
  directory.watch('c', () => t.fail('nothing is there'));
  directory.wake();
  t.same(told.slice(4), [['a', 'again'], ['b', 'again'], ['old', 'again']], 'who begins now hears nothing of what has gone');
  all();
  t.end();
});

t.test('who throws stops wake(), which the next goes on with: nobody loses an answer or a change', (t) => {
  const { directory } = world();
  const done: string[] = [];
  directory.cas('a', 0, '', 0, () => done.push('a'));
  directory.cas('b', 0, '', 0, () => {
    throw new Error('mine');
  });
  let thrown = false;
  directory.watch('', (key) => {
    if (!thrown) {
      thrown = true;
      throw new Error('mine too');
    }
    done.push(`told ${key}`);
  });
  directory.get('a', () => done.push('got'));
  t.throws(() => directory.wake(), { message: 'mine' });
  t.same(done, ['a']);
  t.equal(directory.dueUs, 0, 'there is more');
  t.throws(() => directory.wake(), { message: 'mine too' });
  directory.wake();
  t.same(done, ['a', 'got', 'told b']);
  t.equal(directory.dueUs, Infinity);
  t.end();
});

t.test('bounds: full for keys and leases, a line for watches and answers, and room again once something has gone', (t) => {
  const { directory, pass } = world({ maxKeys: 2, maxLeases: 1, maxWatches: 1, maxAnswers: 3 });
  const answers: unknown[] = [];
  const put = (key: string, revision = 0, value?: string): void => directory.cas(key, revision, value, 0, (failure, swap) => answers.push(failure ?? swap!.swapped));
  put('a', 0, '');
  put('b', 0, '');
  put('c', 0, '');
  t.throws(() => directory.get('a', () => undefined), { code: 'ERR_OUT_OF_RANGE', message: 'directory: 3 answers wait, the most that maxAnswers allows: wake() it before you ask more' });
  pass(0);
  put('a', 1, 'changed');
  put('b', 2);
  put('c', 0, '');
  pass(0);
  t.same(answers, [true, true, 'full', true, true, true]);
  directory.lease(10, (failure) => answers.push(failure));
  directory.lease(10, (failure, lease) => answers.push(failure, lease));
  pass(10);
  directory.lease(10, (failure) => answers.push(failure));
  pass(0);
  t.same(answers.slice(6), [undefined, 'full', undefined, undefined]);
  const stop = directory.watch('', () => undefined);
  t.throws(() => directory.watch('', () => undefined), { code: 'ERR_OUT_OF_RANGE', message: 'watch: 1 watches are there, the most that maxWatches allows: stop one first' });
  stop();
  directory.watch('', () => undefined);
  t.same(directory.size, { keys: 2, leases: 1, watches: 1 });
  t.equal(directory.counters.full, 2);
  for (const name of ['maxKeys', 'maxLeases', 'maxWatches', 'maxAnswers']) {
    for (const got of [0, 1.5, NaN, 2 ** 24 + 1]) t.throws(() => new EmbeddedDirectory(new VirtualClock(), { [name]: got }), { code: 'ERR_INVALID_ARGUMENT', message: `${name}: got ${got}, must be a whole number from 1 to 16777216` });
  }
  t.end();
});

t.test('10,000 watches of different prefixes over 100,000 keys: each is told of its own', (t) => {
  const { directory } = world();
  const keys = Array.from({ length: 100_000 }, (_, index) => `id/${index}`);
  new Random(5).shuffle(keys);
  for (const key of keys) directory.cas(key, 0, 'first', 0, () => undefined);
  const told = new Map<string, number>();
  for (let i = 0; i < 10_000; i++) {
    // id/12345 and no other; id/1234 with ten more beneath it; the hundreds are deeper still.
    const prefix = `id/${i * 9}`;
    directory.watch(prefix, (key) => {
      if (!key.startsWith(prefix)) t.fail(`${key} of ${prefix}`);
      told.set(prefix, (told.get(prefix) ?? 0) + 1);
    });
  }
  directory.wake();
  const beneath = (prefix: string): number => {
    let sum = 0;
    for (let tail = 1, low = Number(prefix.slice(3)); low < 100_000; tail *= 10, low *= 10) {
      if (low === 0) return 1;
      sum += Math.min(tail, 100_000 - low);
    }
    return sum;
  };
  t.ok([...told].every(([prefix, count]) => count === beneath(prefix)));
  t.equal(told.size, 10_000);
  told.clear();
  for (const key of keys) directory.get(key, (_, entry) => directory.cas(key, entry!.revision, 'second', 0, () => undefined));
  directory.wake();
  directory.wake();
  t.ok([...told].every(([prefix, count]) => count === beneath(prefix)) && told.size === 10_000, 'again, of the changes');
  t.end();
});

t.test('sorted keys: those with one beginning, in order, whatever came and went', (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 5 });
  fc.assert(fc.property(fc.array(text, { maxLength: 60 }), fc.array(text, { minLength: 1, maxLength: 10 }), (toggled, prefixes) => {
    const sorted = new SortedKeys();
    const model = new Set<string>();
    for (const key of toggled) {
      if (model.delete(key)) sorted.delete(key);
      else {
        model.add(key);
        sorted.add(key);
      }
    }
    return prefixes.every((prefix) => {
      const found: string[] = [];
      sorted.forEachWith(prefix, (key) => found.push(key));
      return found.join() === [...model].filter((key) => key.startsWith(prefix)).sort().join();
    });
  }));
  // Many enough for blocks to split and to empty.
  const seed = 3;
  const random = new Random(seed);
  const sorted = new SortedKeys();
  const keys = random.shuffle(Array.from({ length: 5000 }, (_, index) => String(index).padStart(4, '0')));
  for (const key of keys) sorted.add(key);
  for (const key of keys.splice(0, 2500)) sorted.delete(key);
  for (let low = 0; low < 1000; low++) {
    const gone = keys.findIndex((key) => key.startsWith('1'));
    if (gone >= 0) sorted.delete(keys.splice(gone, 1)[0]);
  }
  for (const prefix of ['', '0', '1', '12', '2', '99', '999', '9999', 'x']) {
    const found: string[] = [];
    sorted.forEachWith(prefix, (key) => found.push(key));
    t.same(found, keys.filter((key) => key.startsWith(prefix)).sort(), `seed ${seed}: ${prefix}`);
  }
  t.end();
});

t.test('in real time an event loop drives it, until it is stopped', async (t) => {
  const clock = new RealClock();
  const directory = new EmbeddedDirectory(clock);
  let earlyTold: (() => void) | undefined;
  directory.watch('before', () => earlyTold?.());
  directory.cas('before', 0, '', 0, () => undefined);
  const early = new Promise<void>((resolve) => (earlyTold = resolve));
  const stop = runInEventLoop(directory, clock);
  await early;
  const ttlUs = 20_000;
  const startUs = clock.nowUs();
  const lease = await new Promise<Lease>((resolve) => directory.lease(ttlUs, (_, lease) => resolve(lease!)));
  const ended = new Promise<void>((resolve) => {
    directory.watch('mine', (_, entry) => {
      if (entry === undefined) resolve();
    });
  });
  directory.cas('mine', 0, '', lease.id, () => undefined);
  // Its timeout keeps no process alive: this one does.
  const held = setInterval(() => undefined, 1000);
  await ended;
  clearInterval(held);
  t.ok(clock.nowUs() - startUs >= ttlUs, 'not before its time');
  const failure = await new Promise((resolve) => lease.keepAlive(resolve));
  t.equal(failure, 'lease');
  // Stopped while it wakes, which asks for more.
  await new Promise<void>((resolve) => {
    directory.get('mine', () => {
      directory.get('mine', () => t.fail('called after it was stopped'));
      stop();
      resolve();
    });
  });
  directory.get('mine', () => t.fail('called after it was stopped'));
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(directory.dueUs <= clock.nowUs(), 'it waits');
});
