import fc from 'fast-check';
import t from 'tap';
import { FramePool, HEADROOM, Memory } from '../../src/nic/index.js';
import { MAX_POOLS, poolOf } from '../../src/nic/pool.js';
import { refuses } from './rig.js';

const memory = (bytes = 2 ** 20): Memory => new Memory(new ArrayBuffer(bytes));

/** All buffers of a pool, taken out. */
function drain(pool: FramePool): number[] {
  const handles: number[] = [];
  for (let handle = pool.get(); handle !== -1; handle = pool.get()) handles.push(handle);
  return handles;
}

t.test('frames start ≡ 2 mod 8, so that headers behind Ethernet are aligned; payloads start at 64', (t) => {
  for (const frameBytes of [1, 60, 1518, 2048, 9018]) {
    const common = memory();
    common.reserve(17, 1);
    const frames = new FramePool(common, { count: 20, frameBytes });
    t.ok(drain(frames).every((handle) => frames.offsetOf(handle) % 8 === 2), `frames of ${frameBytes}`);
    const payloads = new FramePool(common, { count: 20, frameBytes, headroom: 0, id: 3 });
    t.ok(drain(payloads).every((handle) => payloads.offsetOf(handle) % 64 === 0), `payloads of ${frameBytes}`);
  }
  t.equal(HEADROOM % 8, 2);
  t.end();
});

t.test('buffers lie in the region, keep off one another, and an odd number of cache lines apart', (t) => {
  const region = memory(2 ** 18);
  const before = region.reserve(100);
  const pool = new FramePool(region, { count: 50, frameBytes: 1518 });
  const behind = region.reserve(1);
  const offsets = drain(pool).map((handle) => pool.offsetOf(handle)).sort((a, b) => a - b);
  t.equal(new Set(offsets).size, 50);
  t.ok(offsets[0] - HEADROOM >= before + 100 && offsets[49] + 1518 <= behind);
  for (let i = 1; i < offsets.length; i++) t.ok(offsets[i] - HEADROOM >= offsets[i - 1] + 1518, `buffer ${i}`);
  t.equal((pool.strideBytes / 64) % 2, 1);
  t.end();
});

t.test('get() gives each buffer once, then -1; a handle names its pool', (t) => {
  const pool = new FramePool(memory(), { count: 3, frameBytes: 100, id: MAX_POOLS - 1 });
  const handles = drain(pool);
  t.equal(new Set(handles).size, 3);
  t.equal(pool.available, 0);
  t.ok(handles.every((handle) => handle >= 0 && poolOf(handle) === MAX_POOLS - 1));
  for (const handle of handles) pool.put(handle);
  t.equal(pool.available, 3);
  t.end();
});

t.test('a retained buffer comes back with its last user, also among others', (t) => {
  const pool = new FramePool(memory(), { count: 4, frameBytes: 100 });
  const handles = Int32Array.from(drain(pool));
  // More users than 16 bits count: the payload of a multicast may be on many queues at once.
  const users = 70_000;
  for (let i = 1; i < users; i++) pool.retain(handles[1]);
  pool.puts(handles)(0, 4);
  t.equal(pool.available, 3);
  for (let i = 2; i < users; i++) pool.put(handles[1]);
  t.equal(pool.available, 3);
  pool.put(handles[1]);
  t.equal(pool.available, 4);
  t.same(drain(pool).sort(), [...handles].sort());
  t.end();
});

t.test('more buffers can not come back than went out, nor those of another pool', (t) => {
  const common = memory();
  const pool = new FramePool(common, { count: 2, frameBytes: 100 });
  const other = new FramePool(common, { count: 3, frameBytes: 100, id: 1 });
  const handle = pool.get();
  const theirs = [other.get(), other.get()];
  pool.put(handle);
  refuses(t, () => pool.put(handle), 'ERR_INVALID_ARGUMENT', `pool 0: buffer ${handle} was put back twice`);
  refuses(t, () => pool.puts(Int32Array.of(handle))(0, 1), 'ERR_INVALID_ARGUMENT', `pool 0: buffer ${handle} was put back twice`);
  pool.get();
  pool.get();
  for (const wrong of [...theirs, 2, -1]) {
    refuses(t, () => pool.put(wrong), 'ERR_INVALID_ARGUMENT', `handle ${wrong} is not one of pool 0`);
    refuses(t, () => pool.retain(wrong), 'ERR_INVALID_ARGUMENT', `handle ${wrong} is not one of pool 0`);
  }
  t.equal(pool.available, 0, 'what was refused changed nothing');
  t.end();
});

t.test('many at once are the same as one by one', (t) => {
  const [one, many] = [1, 2].map(() => new FramePool(memory(), { count: 10, frameBytes: 100, id: 3 }));
  const handles = new Int32Array(7);
  const offsets = new Int32Array(7);
  many.gets(handles, offsets)(7);
  const wanted = Array.from({ length: 7 }, () => one.get());
  t.same([...handles], wanted);
  t.same([...offsets], wanted.map((handle) => one.offsetOf(handle)));
  t.equal(many.available, one.available);
  const again = new Int32Array(7);
  many.locates(handles, again)(7);
  t.same(again, offsets);
  many.puts(handles)(0, 7);
  t.equal(many.available, 10);
  t.equal(new Set(drain(many)).size, 10);
  t.end();
});

t.test('wrong options get one line', (t) => {
  const make = (options: object) => () => new FramePool(memory(), { count: 1, frameBytes: 100, ...options });
  refuses(t, make({ count: 0 }), 'ERR_INVALID_ARGUMENT', 'count: got 0, must be from 1 to 2^24 buffers');
  refuses(t, make({ count: 1.5 }), 'ERR_INVALID_ARGUMENT', 'count: got 1.5, must be from 1 to 2^24 buffers');
  refuses(t, make({ count: 2 ** 24 + 1 }), 'ERR_INVALID_ARGUMENT', 'count: got 16777217, must be from 1 to 2^24 buffers');
  refuses(t, make({ frameBytes: 0 }), 'ERR_INVALID_ARGUMENT', 'frameBytes: got 0, must be from 1 to 2^20');
  refuses(t, make({ frameBytes: NaN }), 'ERR_INVALID_ARGUMENT', 'frameBytes: got NaN, must be from 1 to 2^20');
  const headroom = '0 for payloads, else at least 12 bytes and 2 more than a multiple of 8';
  for (const wrong of [-1, 11, 12, 60, 18.5]) {
    refuses(t, make({ headroom: wrong }), 'ERR_INVALID_ARGUMENT', `headroom: got ${wrong}, must be ${headroom}`);
  }
  refuses(t, make({ id: 64 }), 'ERR_INVALID_ARGUMENT', 'id: got 64, must be from 0 to 63');
  refuses(t, make({ id: -1 }), 'ERR_INVALID_ARGUMENT', 'id: got -1, must be from 0 to 63');
  const small = memory(4096);
  const use = (): FramePool => new FramePool(small, { count: 3, frameBytes: 1518 });
  refuses(t, use, 'ERR_OUT_OF_RANGE', 'region: 4800 bytes do not fit behind the 0 taken of 4096');
  t.end();
});

t.test('model: whatever is taken, retained and put, in any order, a buffer has the users that a plain count says', (t) => {
  const command = fc.tuple(fc.constantFrom('get', 'get', 'retain', 'put', 'putMany'), fc.nat(40));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(command, { maxLength: 200 }), (count, commands) => {
      const pool = new FramePool(memory(), { count, frameBytes: 64, id: 5 });
      const users = new Map<number, number>();
      const put = (handle: number): void => {
        const left = users.get(handle)! - 1;
        if (left === 0) users.delete(handle);
        else users.set(handle, left);
      };
      for (const [act, pick] of commands) {
        const held = [...users.keys()];
        const handle = held[pick % Math.max(1, held.length)];
        if (act === 'get') {
          const got = pool.get();
          if ((got === -1) !== (held.length === count) || users.has(got)) return false;
          if (got !== -1) users.set(got, 1);
        } else if (held.length === 0) {
          continue;
        } else if (act === 'retain') {
          pool.retain(handle);
          users.set(handle, users.get(handle)! + 1);
        } else if (act === 'put') {
          pool.put(handle);
          put(handle);
        } else {
          pool.puts(Int32Array.from(held))(0, held.length);
          held.forEach(put);
        }
        if (pool.available !== count - users.size) return false;
      }
      return true;
    }),
  );
  t.end();
});
