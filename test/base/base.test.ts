import fc from 'fast-check';
import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import t from 'tap';
import { FixedQueue, Random, RealClock, RingcubeError, Timers, VirtualClock, invalid, specialise } from '../../src/base/index.js';

t.test('errors', (t) => {
  t.test('invalid() gives one line: what, got, right', (t) => {
    const error = invalid('queueSize', 100, 'a power of two from 2 to 32768');
    t.equal(error.message, 'queueSize: got 100, must be a power of two from 2 to 32768');
    t.equal(error.code, 'ERR_INVALID_ARGUMENT');
    t.equal(error.name, 'RingcubeError');
    t.ok(error instanceof RingcubeError && error instanceof Error);
    t.end();
  });
  t.test('whatever was got, the line stays one line', (t) => {
    fc.assert(
      fc.property(fc.anything(), (got) => {
        const { message } = invalid('x', got, 'y');
        return !message.includes('\n') && message.length < 100;
      }),
    );
    t.equal(invalid('x', 'a\nb', 'y').message, 'x: got "a\\nb", must be y');
    t.equal(invalid('x', [1], 'y').message, 'x: got an array, must be y');
    t.equal(invalid('x', () => 0, 'y').message, 'x: got a function, must be y');
    t.end();
  });
  t.test('a cause is kept', (t) => {
    const cause = new Error('EMFILE');
    t.equal(new RingcubeError('ERR_SYSTEM', 'memfd_create: EMFILE', { cause }).cause, cause);
    t.end();
  });
  t.end();
});

t.test('clocks', (t) => {
  t.test('the real clock is monotonic, and all of them have one zero', (t) => {
    const clock = new RealClock();
    const other = new RealClock();
    let lastUs = clock.nowUs();
    for (let i = 0; i < 10_000; i++) {
      const nowUs = clock.nowUs();
      if (nowUs < lastUs) t.fail(`ran backwards from ${lastUs} to ${nowUs}`);
      lastUs = nowUs;
    }
    t.ok(other.nowUs() - lastUs < 100_000 && other.nowUs() - lastUs > -1_000);
    const startedMs = performance.now();
    const startedUs = clock.nowUs();
    while (performance.now() - startedMs < 20);
    t.ok(clock.nowUs() - startedUs >= 19_000, 'counts microseconds');
    t.end();
  });
  t.test('virtual time moves when told to, and never backwards', (t) => {
    const clock = new VirtualClock(5);
    t.equal(clock.nowUs(), 5);
    clock.advance(0.5);
    t.equal(clock.nowUs(), 5.5);
    clock.set(7);
    clock.set(7);
    t.equal(clock.nowUs(), 7);
    t.throws(() => clock.set(6.999), { code: 'ERR_OUT_OF_RANGE' });
    for (const wrong of [NaN, Infinity]) {
      t.throws(() => clock.set(wrong), { code: 'ERR_INVALID_ARGUMENT' });
      t.throws(() => clock.advance(wrong), { code: 'ERR_INVALID_ARGUMENT' });
      t.throws(() => new VirtualClock(wrong), { code: 'ERR_INVALID_ARGUMENT' });
    }
    t.throws(() => clock.advance(-1), { code: 'ERR_INVALID_ARGUMENT' });
    t.equal(clock.nowUs(), 7, 'a refused move moves nothing');
    t.end();
  });
  t.end();
});

const anySeed = fc.integer({ min: 0, max: 0xffffffff });

function draws(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => random.uint32());
}

t.test('random', (t) => {
  t.test('the same seed gives the same numbers, for ever', (t) => {
    t.same(draws(new Random(1), 4), [3186016296, 1640879684, 2833264788, 2423861458], 'a change here changes every recorded run');
    fc.assert(fc.property(anySeed, (seed) => String(draws(new Random(seed), 8)) === String(draws(new Random(seed), 8))));
    t.end();
  });
  t.test('int32() draws what uint32() does, as a signed number', (t) => {
    const [signed, unsigned] = [new Random(3), new Random(3)];
    const drawn = Array.from({ length: 1000 }, () => signed.int32());
    t.same(drawn.map((word) => word >>> 0), Array.from({ length: 1000 }, () => unsigned.uint32()));
    t.ok(drawn.some((word) => word < 0) && drawn.some((word) => word > 0));
    t.end();
  });
  t.test('near seeds and labels give unrelated streams', (t) => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 1000; seed++) {
      seen.add(new Random(seed).uint32());
      seen.add(new Random(7).fork(`nic${seed}`).uint32());
    }
    t.equal(seen.size, 2000);
    let differing = 0;
    for (let seed = 0; seed < 1000; seed++) {
      let bits = new Random(seed).uint32() ^ new Random(seed + 1).uint32();
      for (; bits !== 0; bits &= bits - 1) differing++;
    }
    t.ok(Math.abs(differing / 32_000 - 0.5) < 0.02, `half of the bits differ: ${differing / 32_000}`);
    t.end();
  });
  t.test('a fork depends on the seed and the path of labels, not on draws', (t) => {
    fc.assert(
      fc.property(anySeed, fc.string(), fc.nat(20), (seed, label, drawn) => {
        const parent = new Random(seed);
        draws(parent, drawn);
        const plain = new Random(seed);
        const fork = String(draws(parent.fork(label), 4));
        return (
          fork === String(draws(plain.fork(label), 4)) &&
          fork !== String(draws(new Random(seed), 4)) &&
          fork !== String(draws(plain.fork(`${label}.`), 4)) &&
          fork !== String(draws(plain.fork(label).fork(''), 4))
        );
      }),
    );
    t.end();
  });
  t.test('int() is uniform over both ends', (t) => {
    const random = new Random(11);
    const counts = new Array<number>(6).fill(0);
    for (let i = 0; i < 60_000; i++) counts[random.int(-2, 3) + 2]++;
    // Chi-square with 5 degrees of freedom: 20.5 at p = 0.001.
    t.ok(counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0) < 20.5, String(counts));
    fc.assert(
      fc.property(anySeed, fc.maxSafeInteger(), fc.maxSafeInteger(), (seed, a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        const drawn = new Random(seed).int(low, high);
        return Number.isSafeInteger(drawn) && drawn >= low && drawn <= high;
      }),
    );
    t.equal(random.int(4, 4), 4);
    for (const [low, high] of [[2, 1], [0.5, 2], [0, NaN], [0, 2 ** 60]] as const) {
      t.throws(() => random.int(low, high), { code: 'ERR_INVALID_ARGUMENT' });
    }
    t.end();
  });
  t.test('float() and bool()', (t) => {
    const random = new Random(3);
    let sum = 0;
    let heads = 0;
    for (let i = 0; i < 100_000; i++) {
      const x = random.float();
      if (x < 0 || x >= 1) t.fail(`${x} out of [0, 1)`);
      sum += x;
      if (random.bool(0.2)) heads++;
    }
    t.ok(Math.abs(sum / 1e5 - 0.5) < 0.005, `mean ${sum / 1e5}`);
    t.ok(Math.abs(heads / 1e5 - 0.2) < 0.006, `share ${heads / 1e5}`);
    t.equal(random.bool(0), false);
    t.equal(random.bool(1), true);
    for (const wrong of [-0.1, 1.1, NaN]) t.throws(() => random.bool(wrong), { code: 'ERR_INVALID_ARGUMENT' });
    t.end();
  });
  t.test('shuffle() permutes, every order as likely', (t) => {
    fc.assert(
      fc.property(anySeed, fc.array(fc.integer()), (seed, array) => {
        const shuffled = new Random(seed).shuffle([...array]);
        return String(shuffled.sort()) === String([...array].sort());
      }),
    );
    const random = new Random(5);
    const orders = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = random.shuffle([1, 2, 3, 4]).join('');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    t.equal(orders.size, 24);
    // Chi-square with 23 degrees of freedom: 49.7 at p = 0.001.
    t.ok([...orders.values()].reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0) < 49.7);
    t.equal(random.shuffle(new Uint8Array([9]))[0], 9);
    t.end();
  });
  t.test('a wrong seed is refused', (t) => {
    for (const wrong of [-1, 0.5, 2 ** 32, NaN]) t.throws(() => new Random(wrong), { code: 'ERR_INVALID_ARGUMENT' });
    t.end();
  });
  t.end();
});

t.test('the fixed queue', (t) => {
  t.test('behaves as a bounded list does', (t) => {
    const step = fc.oneof(
      fc.record({ push: fc.integer() }),
      fc.constant({ push: undefined }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 200 }), (magnitude, steps) => {
        const capacity = 2 ** magnitude;
        const queue = new FixedQueue<number>(capacity);
        const model: number[] = [];
        let dropped = 0;
        for (const { push } of steps) {
          if (push === undefined) {
            if (queue.peek() !== model[0]) return false;
            if (queue.shift() !== model.shift()) return false;
          } else {
            const fits = model.length < capacity;
            if (fits) model.push(push);
            else dropped++;
            if (queue.push(push) !== fits) return false;
          }
          if (queue.size !== model.length || queue.dropped !== dropped) return false;
        }
        return queue.capacity === capacity;
      }),
    );
    t.end();
  });
  t.test('a wrong capacity is refused', (t) => {
    for (const wrong of [0, 1, 3, -8, 2.5, NaN, 2 ** 25]) {
      t.throws(() => new FixedQueue(wrong), { code: 'ERR_INVALID_ARGUMENT', message: /^capacity: got / });
    }
    t.end();
  });
  t.end();
});

t.test('specialise', (t) => {
  const adders = (array: Int32Array, step: number) => (n: number): number => {
    for (let i = 0; i < n; i++) array[i] += step;
    return array[0];
  };
  t.test('each copy works on what it was made with', (t) => {
    const arrays = [new Int32Array(4), new Int32Array(4)];
    const [one, two] = arrays.map((array, i) => specialise(adders)(array, i + 1));
    // Often enough to be compiled: a copy that shared its code's constants with another would mix them up.
    for (let i = 0; i < 50_000; i++) {
      one(2);
      two(3);
    }
    t.same([...arrays[0]], [50_000, 50_000, 0, 0]);
    t.same([...arrays[1]], [100_000, 100_000, 100_000, 0]);
    t.end();
  });
  t.test('each copy is another function, of the same source', (t) => {
    const copies = [specialise(adders), specialise(adders)];
    t.not(copies[0], copies[1]);
    t.equal(copies[0].toString(), adders.toString());
    t.end();
  });
  t.test('where code may not be made from strings, the function itself serves', (t) => {
    const program = `import { specialise } from ${JSON.stringify(new URL('../../src/base/index.js', import.meta.url).href)};
      const f = () => 1; console.log(specialise(f) === f);`;
    const { stdout } = spawnSync(process.execPath, ['--disallow-code-generation-from-strings', '--input-type=module', '-e', program]);
    t.equal(stdout.toString().trim(), 'true');
    t.end();
  });
  t.end();
});

t.test('a timer that comes again: from its own action, instead of when it would have, after it was cancelled; it takes its turn as a new one would', (t) => {
  const clock = new VirtualClock();
  const timers = new Timers(() => clock.nowUs());
  const ran: string[] = [];
  let earlier = 0;
  timers.onEarlier = () => earlier++;
  const beat = timers.after(10, () => {
    ran.push(`beat ${clock.nowUs()}`);
    if (clock.nowUs() < 30) beat.again(10);
  });
  timers.after(20, () => ran.push('other'));
  for (let us = 0; us < 40; us += 10) {
    timers.run();
    clock.advance(10);
  }
  t.same(ran.splice(0), ['beat 10', 'other', 'beat 20', 'beat 30']);
  t.equal(timers.nextUs, Infinity);
  earlier = 0;
  beat.again(10);
  beat.again(5);
  t.same([timers.nextUs, beat.atUs, earlier], [45, 45, 2]);
  beat.cancel();
  t.equal(timers.nextUs, Infinity);
  beat.again(7);
  clock.advance(7);
  timers.run();
  t.same([ran, timers.nextUs], [['beat 47'], Infinity]);
  t.end();
});
