// What every Directory keeps to, whatever stands behind it: run over each implementation by that one's own test.
import fc from 'fast-check';
import { type Test } from 'tap';
import { type Directory, type DirectoryFailure, type Entry, type Lease, MAX_KEY_CHARACTERS, type Swap } from '../../src/overlay/index.js';

/** An implementation that can be reached: an `unavailable` fails the test. */
export interface DirectoryUnderTest {
  /** At least two hosts' views of one directory, which holds nothing yet. */
  readonly clients: readonly Directory[];
  /** A time to live that is long beside an answer's way, in µs. */
  readonly ttlUs: number;
  /** By how much a lease may outlive its time, in µs. */
  readonly slackUs: number;
  /** Runs of each property. */
  readonly runs: number;
  /** Lets this much time pass, and calls who is due meanwhile; with 0, whoever waits now. */
  pass(us: number): Promise<void>;
  close(): Promise<void>;
}

type Ask<T> = (done: (failure: DirectoryFailure | undefined, result?: T) => void) => void;

const MAX_TURNS = 10_000;

/** What was answered, once it was: or an error if that never came, came twice, or came before the call returned. */
async function ask<T>(under: DirectoryUnderTest, call: Ask<T>): Promise<[DirectoryFailure | undefined, T | undefined]> {
  let answers = 0;
  let answer: [DirectoryFailure | undefined, T | undefined] = [undefined, undefined];
  call((failure, result) => {
    answers++;
    answer = [failure, result];
  });
  if (answers > 0) throw new Error('answered before the call returned');
  for (let turn = 0; answers === 0; turn++) {
    if (turn === MAX_TURNS) throw new Error('never answered');
    await under.pass(0);
  }
  await under.pass(0);
  if (answers > 1) throw new Error(`answered ${answers} times`);
  return answer;
}

async function get(under: DirectoryUnderTest, key: string, client = 0): Promise<Entry | undefined> {
  const [failure, entry] = await ask<Entry>(under, (done) => under.clients[client].get(key, done));
  if (failure !== undefined) throw new Error(`get ${key}: ${failure}`);
  return entry;
}

/** Its outcome, or why there is none. */
async function cas(under: DirectoryUnderTest, key: string, revision: number, value: string | undefined, lease = 0, client = 0): Promise<Swap | DirectoryFailure> {
  const [failure, swap] = await ask<Swap>(under, (done) => under.clients[client].cas(key, revision, value, lease, done));
  return failure ?? swap!;
}

async function put(under: DirectoryUnderTest, key: string, value: string, lease = 0): Promise<Entry> {
  const swap = await cas(under, key, (await get(under, key))?.revision ?? 0, value, lease);
  if (typeof swap === 'string' || !swap.swapped) throw new Error(`put ${key}: ${typeof swap === 'string' ? swap : 'refused'}`);
  return swap.entry!;
}

async function take(under: DirectoryUnderTest, ttlUs: number, client = 0): Promise<Lease> {
  const [failure, lease] = await ask<Lease>(under, (done) => under.clients[client].lease(ttlUs, done));
  if (lease === undefined) throw new Error(`lease: ${failure ?? 'nothing'}`);
  return lease;
}

const keepAlive = async (under: DirectoryUnderTest, lease: Lease): Promise<DirectoryFailure | undefined> => (await ask(under, (done) => lease.keepAlive(done)))[0];
const revoke = async (under: DirectoryUnderTest, lease: Lease): Promise<DirectoryFailure | undefined> => (await ask(under, (done) => lease.revoke(done)))[0];

/** Until it holds: what a watch tells has no answer to wait for. */
async function until(under: DirectoryUnderTest, holds: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < MAX_TURNS && !holds(); turn++) await under.pass(0);
  return holds();
}

/** An operation on one key, and when: by a count of calls and answers, in their order. */
interface Operation {
  readonly revision: number;
  /** What it was to put; null for a get. */
  readonly value: string | undefined | null;
  readonly calledAt: number;
  answeredAt: number;
  swapped: boolean;
  entry: Entry | undefined;
}

/** What stands there after `operation`, if it could have had its answer where `entry` stood; null if not. */
function effect(operation: Operation, entry: Entry | undefined): Entry | undefined | null {
  const same = operation.entry?.revision === entry?.revision && operation.entry?.value === entry?.value;
  if (operation.value === null) return same ? entry : null;
  const fits = (entry?.revision ?? 0) === operation.revision;
  if (fits !== operation.swapped) return null;
  if (!fits) return same ? entry : null;
  if (operation.entry?.value !== operation.value) return null;
  return operation.entry === undefined || operation.entry.revision > operation.revision ? operation.entry : null;
}

/**
 * Whether some order of the operations, in which none comes before one that was answered before it was called, explains all answers
 * (Herlihy & Wing 1990; searched as Wing & Gong 1993). Revisions name states, so that an order is soon found wrong.
 */
function linearizable(open: readonly Operation[], entry: Entry | undefined): boolean {
  if (open.length === 0) return true;
  const firstAnswer = Math.min(...open.map(({ answeredAt }) => answeredAt));
  return open.some((operation) => {
    if (operation.calledAt > firstAnswer) return false;
    const after = effect(operation, entry);
    return after !== null && linearizable(open.filter((other) => other !== operation), after);
  });
}

/** Runs each part of the contract of src/overlay/directory.ts over an implementation that `make` brings up anew for each. */
export function directoryConformance(t: Test, make: () => Promise<DirectoryUnderTest>): void {
  const part = (name: string, body: (t: Test, under: DirectoryUnderTest) => Promise<void>): void => {
    t.test(name, async (t) => {
      const under = await make();
      try {
        await body(t, under);
      } finally {
        await under.close();
      }
    });
  };

  part('the checker of histories knows a good one from bad ones', (t) => {
    const entry = (revision: number, value: string): Entry => ({ key: 'x', value, revision, lease: 0 });
    const write = (calledAt: number, answeredAt: number, revision: number, to: Entry): Operation => ({ revision, value: to.value, calledAt, answeredAt, swapped: true, entry: to });
    const read = (calledAt: number, answeredAt: number, seen: Entry | undefined): Operation => ({ revision: 0, value: null, calledAt, answeredAt, swapped: false, entry: seen });
    t.ok(linearizable([write(0, 3, 0, entry(1, 'a')), read(1, 2, undefined), read(4, 5, entry(1, 'a'))], undefined));
    t.ok(linearizable([write(0, 3, 0, entry(1, 'a')), read(1, 2, entry(1, 'a'))], undefined), 'seen before it was answered');
    t.notOk(linearizable([write(0, 1, 0, entry(1, 'a')), read(2, 3, undefined)], undefined), 'an old state after the new one was answered');
    t.notOk(linearizable([write(0, 5, 0, entry(1, 'a')), read(1, 2, entry(1, 'a')), read(3, 4, undefined)], undefined), 'new, then old');
    t.notOk(linearizable([write(0, 2, 0, entry(1, 'a')), write(1, 3, 0, entry(2, 'b'))], undefined), 'two winners');
    return Promise.resolve();
  });

  part('get and cas: each swap has the revision that it found, and its own is greater than all before', async (t, under) => {
    t.equal(await get(under, 'a'), undefined);
    const first = await cas(under, 'a', 0, 'one');
    t.match(first, { swapped: true, entry: { key: 'a', value: 'one', lease: 0 } });
    const { entry } = first as Swap;
    t.ok(entry!.revision >= 1);
    for (const client of under.clients.keys()) t.same(await get(under, 'a', client), entry);
    t.same(await cas(under, 'a', 0, 'two'), { swapped: false, entry }, 'something stands there');
    t.same(await cas(under, 'a', entry!.revision + 1, 'two'), { swapped: false, entry }, 'another revision');
    t.same(await cas(under, 'a', entry!.revision + 1, undefined), { swapped: false, entry });
    const { entry: second } = await cas(under, 'a', entry!.revision, 'one', 0, 1) as Swap;
    t.ok(second!.revision > entry!.revision, 'of the same value too');
    const other = await put(under, 'a/b', '');
    t.ok(other.revision > second!.revision, 'of another key');
    t.same(await cas(under, 'a', second!.revision, undefined), { swapped: true, entry: undefined });
    t.equal(await get(under, 'a'), undefined);
    t.same(await get(under, 'a/b'), other);
    t.same(await cas(under, 'a', second!.revision, 'three'), { swapped: false, entry: undefined }, 'a revision that is gone');
    t.same(await cas(under, 'a', 0, undefined), { swapped: true, entry: undefined }, 'nothing in the place of nothing');
    const again = await put(under, 'a', 'one');
    t.ok(again.revision > other.revision, 'never one revision for two states, even across a deletion');
  });

  part('wrong arguments: one clear line, nothing done, nobody called', async (t, under) => {
    const [directory] = under.clients;
    const never = (): void => {
      t.fail('called');
    };
    const wrong = (call: () => unknown, message: RegExp): void => void t.throws(call, { code: 'ERR_INVALID_ARGUMENT', message });
    const characters = /^key: got .*, must be at most 128 of the characters a-z, 0-9, "\/", "-" and "\."$/;
    for (const key of ['A', 'a b', 'a_b', 'ä', 'a\n', 'a*', 'a>', 'x'.repeat(MAX_KEY_CHARACTERS + 1), 7 as unknown as string, undefined as unknown as string]) {
      wrong(() => directory.get(key, never), characters);
      wrong(() => directory.cas(key, 0, 'v', 0, never), characters);
      wrong(() => directory.watch(key, never), /^prefix: got /);
    }
    wrong(() => directory.get('', never), /^key: got "", must be a text that is not empty$/);
    for (const value of ['v'.repeat(1025), null as unknown as string, 7 as unknown as string]) {
      wrong(() => directory.cas('k', 0, value, 0, never), /^value: got .*, must be a text of at most 1024 characters, or undefined to delete$/);
    }
    for (const revision of [-1, 0.5, NaN, Infinity, '1' as unknown as number]) wrong(() => directory.cas('k', revision, 'v', 0, never), /^revision: got .*, must be that of an entry, or 0 for none$/);
    for (const lease of [-1, 0.5, NaN, 2 ** 32]) wrong(() => directory.cas('k', 0, 'v', lease, never), /^lease: got .*, must be the id of a lease, or 0 for none$/);
    for (const ttlUs of [0, 0.999, -1, NaN, Infinity, '1' as unknown as number]) wrong(() => directory.lease(ttlUs, never), /^ttlUs: got .*, must be a finite number of microseconds, 1 or more$/);
    await under.pass(0);
    t.equal(await get(under, 'k'), undefined);
    const longest = await put(under, 'az09/-.'.padEnd(MAX_KEY_CHARACTERS, 'x'), 'ü\n'.repeat(512));
    t.same(await get(under, longest.key), longest, 'the longest key and value come back as they were');
  });

  part('of those who race for a key, exactly one wins, and the others are told who', async (t, under) => {
    for (let round = 0; round < under.runs; round++) {
      const key = `race/${round}`;
      const swaps: Swap[] = [];
      for (const [client, directory] of under.clients.entries()) {
        directory.cas(key, 0, `client-${client}`, 0, (failure, swap) => {
          if (failure === undefined) swaps.push(swap!);
          else t.fail(failure);
        });
      }
      await until(under, () => swaps.length === under.clients.length);
      const winners = swaps.filter(({ swapped }) => swapped);
      if (winners.length !== 1) t.fail(`${winners.length} winners`);
      const entry = await get(under, key);
      if (swaps.some((swap) => swap.entry?.revision !== entry?.revision || swap.entry?.value !== entry?.value)) t.fail('told of another');
    }
    // The same, as it is used: nobody's increment is lost.
    let running = under.clients.length;
    for (const directory of under.clients) {
      let left = 20;
      const turn = (entry: Entry | undefined): void => {
        if (left === 0) running--;
        else {
          directory.cas('sum', entry?.revision ?? 0, String(Number(entry?.value ?? 0) + 1), 0, (_, swap) => {
            if (swap!.swapped) left--;
            turn(swap!.entry);
          });
        }
      };
      turn(undefined);
    }
    await until(under, () => running === 0);
    t.equal((await get(under, 'sum'))?.value, String(20 * under.clients.length));
  });

  part('one key is linearizable (Herlihy & Wing 1990): clients at random, several operations open at a time', async (t, under) => {
    let run = 0;
    const step = fc.record({
      client: fc.nat(under.clients.length - 1),
      act: fc.constantFrom('get' as const, 'put' as const, 'put' as const, 'delete' as const, 'pass' as const),
      /** Whether it goes by the newest revision that anybody knows, or by an older one. */
      known: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
    });
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 24 }), async (steps) => {
      const key = `linear/${run++}`;
      const history: Operation[] = [];
      const revisions = [0];
      let events = 0;
      let open = 0;
      for (const [index, { client, act, known }] of steps.entries()) {
        // Few at a time: the search grows with all orders of those that overlap.
        if (act === 'pass' || open >= 5) {
          await under.pass(0);
          continue;
        }
        const revision = revisions[Math.max(0, revisions.length - 1 - known)];
        const value = act === 'get' ? null : act === 'put' ? `value-${index}` : undefined;
        const operation: Operation = { revision, value, calledAt: events++, answeredAt: Infinity, swapped: false, entry: undefined };
        const done = (failure: DirectoryFailure | undefined, swapped: boolean, entry: Entry | undefined): void => {
          if (failure !== undefined || operation.answeredAt !== Infinity) throw new Error(failure ?? 'answered twice');
          operation.answeredAt = events++;
          operation.swapped = swapped;
          operation.entry = entry;
          const newest = entry?.revision ?? 0;
          if (revisions[revisions.length - 1] !== newest) revisions.push(newest);
          open--;
        };
        history.push(operation);
        open++;
        if (value === null) under.clients[client].get(key, (failure, entry) => done(failure, false, entry));
        else under.clients[client].cas(key, revision, value, 0, (failure, swap) => done(failure, swap?.swapped ?? false, swap?.entry));
      }
      return (await until(under, () => open === 0)) && linearizable(history, undefined);
    }), { numRuns: under.runs });
    t.end();
  });

  part('a watch tells first what is there, then what changes, in order; at the end nothing is missing', async (t, under) => {
    let run = 0;
    const step = fc.record({
      client: fc.nat(under.clients.length - 1),
      key: fc.constantFrom('a', 'a/a', 'a/b', 'ab', 'b'),
      act: fc.constantFrom('put' as const, 'put' as const, 'put' as const, 'delete' as const, 'pass' as const, 'watch' as const),
      prefix: fc.constantFrom('', 'a', 'a/', 'ab', 'a/b'),
    });
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      const root = `watch/${run++}/`;
      const watches: { prefix: string; seen: Map<string, Entry>; stop: () => void }[] = [];
      const wrong: string[] = [];
      let before = 0;
      const watch = (client: number, prefix: string, fromStart: boolean): void => {
        const seen = new Map<string, Entry>();
        const last = new Map<string, number>();
        let newest = 0;
        let returned = false;
        const stop = under.clients[client].watch(prefix, (key, entry) => {
          if (!returned) wrong.push('called before the call returned');
          if (!key.startsWith(prefix)) wrong.push(`${key} does not begin with ${prefix}`);
          if (entry === undefined) {
            seen.delete(key);
            return;
          }
          if (entry.key !== key || entry.revision <= (last.get(key) ?? 0)) wrong.push(`${key}: ${entry.revision} after ${last.get(key) ?? 0}`);
          if (fromStart && entry.revision <= newest) wrong.push(`${entry.revision} after ${newest}`);
          last.set(key, entry.revision);
          newest = entry.revision;
          seen.set(key, entry);
        });
        returned = true;
        watches.push({ prefix, seen, stop });
      };
      watch(0, root, true);
      let open = 0;
      for (const { client, key, act, prefix } of steps) {
        if (act === 'pass') await under.pass(0);
        else if (act === 'watch') watch(client, root + prefix, false);
        else {
          open++;
          const directory = under.clients[client];
          directory.get(root + key, (_, entry) => {
            directory.cas(root + key, entry?.revision ?? 0, act === 'put' ? `v${before++}` : undefined, 0, () => open--);
          });
        }
      }
      if (!(await until(under, () => open === 0))) return false;
      const truth = new Map<string, Entry>();
      for (const key of ['a', 'a/a', 'a/b', 'ab', 'b']) {
        const entry = await get(under, root + key);
        if (entry !== undefined) truth.set(entry.key, entry);
      }
      const agree = ({ prefix, seen }: { prefix: string; seen: Map<string, Entry> }): boolean => {
        const there = [...truth.values()].filter(({ key }) => key.startsWith(prefix));
        return seen.size === there.length && there.every(({ key, revision }) => seen.get(key)?.revision === revision);
      };
      const complete = await until(under, () => watches.every(agree));
      for (const { stop } of watches) stop();
      if (wrong.length > 0) throw new Error(wrong.join('; '));
      return complete;
    }), { numRuns: under.runs });
    t.end();
  });

  part('a watch that was stopped is silent, also if that was done while it told', async (t, under) => {
    await put(under, 's/1', 'x');
    await put(under, 's/2', 'x');
    let calls = 0;
    const stop = under.clients[0].watch('s/', () => {
      calls++;
      stop();
    });
    const never = under.clients[1].watch('s/', () => t.fail('called'));
    never();
    never();
    let seen = 0;
    const other = under.clients[1].watch('s/', () => seen++);
    await until(under, () => seen === 2);
    await put(under, 's/3', 'x');
    t.ok(await until(under, () => seen === 3), 'another of the same prefix goes on');
    t.equal(calls, 1);
    other();
  });

  part('a lease ends with its keys, when nobody has kept it alive for its time; never before', async (t, under) => {
    const { ttlUs, slackUs } = under;
    const lease = await take(under, ttlUs);
    t.equal(lease.ttlUs, ttlUs);
    t.ok((await take(under, ttlUs)).id > lease.id, 'of two incarnations the later has the higher id');
    t.ok(Number.isInteger(lease.id) && lease.id >= 1 && lease.id <= 0xffffffff);
    t.equal((await put(under, 'l/a', 'x', lease.id)).lease, lease.id);
    await put(under, 'l/b', 'x', lease.id);
    await put(under, 'l/stays', 'x');
    const gone: string[] = [];
    const stop = under.clients[1].watch('l/', (key, entry) => {
      if (entry === undefined) gone.push(key);
    });
    for (let round = 0; round < 3; round++) {
      await under.pass(0.7 * ttlUs);
      t.equal(await keepAlive(under, lease), undefined, 'kept alive');
    }
    await under.pass(0.7 * ttlUs);
    t.ok(await get(under, 'l/a'), 'not before its time');
    t.same(gone, []);
    await under.pass(0.3 * ttlUs + slackUs);
    t.equal(await get(under, 'l/a'), undefined);
    t.equal(await get(under, 'l/b'), undefined);
    t.ok(await get(under, 'l/stays'));
    t.ok(await until(under, () => gone.length === 2));
    t.same(gone.sort(), ['l/a', 'l/b'], 'those who watch are told');
    t.equal(await keepAlive(under, lease), 'lease', 'it never comes back');
    t.equal(await revoke(under, lease), 'lease');
    t.equal(await cas(under, 'l/a', 0, 'x', lease.id), 'lease');
    t.equal(await cas(under, 'l/stays', 0, 'x', lease.id), 'lease', 'whatever stands there');
    t.equal(await get(under, 'l/a'), undefined, 'nothing was done');
    t.equal(await cas(under, 'l/a', 0, 'x', 0xfffffffe), 'lease', 'one that never was');
    stop();
  });

  part('a lease that is revoked takes its keys along, and only those that it still has', async (t, under) => {
    const [one, two] = [await take(under, 100 * under.ttlUs), await take(under, 100 * under.ttlUs, 1)];
    t.not(one.id, two.id);
    for (const key of ['r/gone', 'r/moved', 'r/freed', 'r/deleted']) await put(under, key, 'x', one.id);
    t.equal((await put(under, 'r/moved', 'y', two.id)).lease, two.id);
    t.equal((await put(under, 'r/freed', 'y')).lease, 0);
    await cas(under, 'r/deleted', (await get(under, 'r/deleted'))!.revision, undefined, one.id);
    await put(under, 'r/deleted', 'y');
    t.equal(await revoke(under, one), undefined);
    t.equal(await get(under, 'r/gone'), undefined);
    for (const key of ['r/moved', 'r/freed', 'r/deleted']) t.equal((await get(under, key))?.value, 'y', key);
    t.equal(await revoke(under, one), 'lease');
    t.equal(await keepAlive(under, one), 'lease');
    t.equal(await revoke(under, two), undefined);
    t.equal(await get(under, 'r/moved'), undefined);
    const again = await take(under, under.ttlUs);
    t.notOk([one.id, two.id].includes(again.id), 'an id is never given twice');
  });
}
