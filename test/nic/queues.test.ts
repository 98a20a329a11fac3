// The driver's side of a queue, alone, against a device that writes straight into memory.
import fc from 'fast-check';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { FrameBatch, Memory, type Virtqueue } from '../../src/nic/index.js';
import { FEATURES, FRAME_BYTES, HEADER_BYTES, KINDS, type Kind, Receiver, type SentChain, Transmitter } from './device-mock.js';
import { numbered, refuses } from './rig.js';

const HDR = 12;
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

// --- a right device ---

for (const kind of KINDS) {
  for (const features of FEATURES) {
    t.test(`${kind} ${features.join(' ')}: 70,000 frames through a ring of 4, through the wrap of the indices (§2.7.6, §2.7.8)`, (t) => {
      const receiver = new Receiver(kind, features, 4);
      const longest = kind === 'plain' ? FRAME_BYTES : kind === 'split' ? HEADER_BYTES + FRAME_BYTES : 2 * FRAME_BYTES + HDR;
      let sent = 0;
      for (let turn = 0; sent < 70_000; turn++) {
        const first = sent;
        const frames = 1 + (turn % (kind === 'plain' ? 4 : 2));
        for (let i = 0; i < frames; i++) receiver.fill(sent, 18 + (sent++ % (longest - 17)));
        receiver.device.publish();
        receiver.drain(1);
        receiver.drain();
        const got = receiver.numbers();
        if (got.length !== frames || got[0] !== first || got[frames - 1] !== sent - 1) {
          t.fail(`turn ${turn}: got ${got.join()} for ${first} to ${sent - 1}`);
          break;
        }
        receiver.rx.refill();
      }
      t.equal(receiver.ring.outstanding, kind === 'split' ? 2 : 4, 'all posted again');
      t.end();
    });
  }
}

for (const features of FEATURES) {
  t.test(`transmit ${features.join(' ')}: 70,000 chains through a ring of 4, given back in any order the features allow (§2.7.9)`, (t) => {
    const seed = 11;
    const random = new Random(seed);
    const sender = new Transmitter(features, 4);
    const { tx, device, pool, payloads } = sender;
    let sent = 0;
    let taken = 0;
    while (taken < 70_000) {
      while (sent % 3 === 2 ? sender.gather(sent, 18 + (sent % 20)) : sender.send(sent, 18 + (sent % 80))) sent++;
      tx.publish();
      const chains = sender.readAll();
      for (const { number, bytes, header, buffers } of chains.values()) {
        const length = number % 3 === 2 ? 60 : 18 + (number % 80);
        const right = number === taken && buffers === (number % 3 === 2 ? 2 : 1) && header.every((byte) => byte === 0);
        if (!right || Buffer.compare(bytes, numbered(number, length)) !== 0) {
          t.fail(`seed ${seed}: chain ${taken} is ${number} in ${buffers} buffers`);
          taken = 70_000;
        }
        taken++;
      }
      const heads = [...chains.keys()];
      if (features.includes('InOrder')) device.pushBatch(heads);
      else for (const head of random.shuffle(heads)) device.push(head);
      device.publish();
      tx.reclaim();
    }
    t.equal(pool.available + payloads.available, pool.count + payloads.count);
    t.equal(sender.ring.room, 4);
    t.end();
  });

  t.test(`${features.join(' ') || 'flags'}: interrupts come when asked for and only then, doorbells too (§2.7.7, §2.7.10)`, (t) => {
    const eventIdx = features.includes('EventIdx');
    const seed = 5;
    const random = new Random(seed);
    const receiver = new Receiver('plain', features, 4);
    const { device, ring, rx } = receiver;
    // Of an event index, one interrupt follows; a flag stays until it is taken back.
    let asked = true;
    let bell = true;
    device.wantDoorbell(true, 4);
    let waiting = 0;
    let outstanding = 4;
    for (let chains = 0; chains < 70_000; ) {
      const act = random.int(0, 6);
      if (act === 0) {
        ring.disableInterrupts();
        asked = false;
      } else if (act === 1) {
        const there = ring.enableInterrupts();
        if (there !== (waiting > 0)) throw new Error(`seed ${seed}, chain ${chains}: ${waiting} are there, enableInterrupts() says ${there}`);
        asked = !eventIdx || !there;
      } else if (act <= 3 && outstanding > 0) {
        const n = random.int(1, outstanding);
        for (let i = 0; i < n; i++) receiver.fill(chains++, 20);
        waiting += n;
        outstanding -= n;
        const wanted = device.publish();
        if (wanted !== asked) throw new Error(`seed ${seed}, chain ${chains}: interrupt ${wanted}, asked for ${asked}`);
        if (eventIdx) asked = false;
      } else if (act === 4) {
        waiting -= receiver.drain(random.int(1, 4));
        receiver.numbers();
      } else if (act === 5) {
        const n = Math.min(ring.room, receiver.pool.available);
        outstanding += n;
        const rings = rx.refill();
        if (rings !== (n > 0 && bell)) throw new Error(`seed ${seed}, chain ${chains}: doorbell ${rings}, asked for ${bell}`);
        if (eventIdx && n > 0) bell = false;
      } else {
        // A device asks for the next chain that it does not yet know of; here it knows all.
        bell = random.bool(0.5);
        device.wantDoorbell(bell, outstanding);
      }
    }
    t.pass(`seed ${seed}`);
    t.end();
  });
}

t.test('a transmit header is all zero, whatever lay there and wherever the frame starts (§5.1.6.2.1)', (t) => {
  for (const shift of [0, 2, 4, 8, 14, 20, 40]) {
    const sender = new Transmitter();
    const handle = sender.load(1, 90);
    sender.tx.sendOne(handle, sender.pool.offsetOf(handle) + shift, 90 - shift);
    sender.tx.publish();
    const [{ header, bytes }] = [...sender.readAll().values()];
    // Of the header only flags and gso_type are looked at where neither asks for anything.
    t.same([...header.subarray(0, 2)], [0, 0], `shifted by ${shift}`);
    if (shift % 4 === 0) t.ok(header.every((byte) => byte === 0), `shifted by ${shift}: all of it`);
    t.same([...bytes], [...numbered(1, 90).subarray(shift)]);
  }
  t.end();
});

t.test('a checksum left to the device stands in the header (§5.1.6.2)', (t) => {
  const sender = new Transmitter();
  const handle = sender.load(1);
  sender.tx.sendOne(handle, sender.pool.offsetOf(handle), 60, 34, 6);
  sender.tx.publish();
  const [{ header }] = [...sender.readAll().values()];
  t.same([...header], [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0]);
  t.end();
});

t.test('one payload on several chains comes back with the last of them', (t) => {
  const sender = new Transmitter(['EventIdx']);
  const { tx, pool, payloads, device } = sender;
  const payload = payloads.get();
  const chains = 3;
  for (let i = 1; i < chains; i++) payloads.retain(payload);
  for (let i = 0; i < chains; i++) {
    const handle = sender.load(i, 20);
    t.ok(tx.sendGather(handle, pool.offsetOf(handle), 20, payload, payloads.offsetOf(payload), 30));
  }
  tx.publish();
  const heads = [...sender.readAll().keys()];
  for (const [i, head] of heads.entries()) {
    t.equal(payloads.available, payloads.count - 1, `${i} of ${chains} sent`);
    device.push(head);
    device.publish();
    tx.reclaim();
  }
  t.equal(payloads.available, payloads.count);
  t.equal(pool.available, pool.count);
  t.end();
});

t.test('an empty payload makes no empty descriptor, which a device may not take (§2.7.4)', (t) => {
  for (const features of FEATURES) {
    const sender = new Transmitter(features);
    const { tx, pool, payloads, device } = sender;
    t.ok(sender.gather(1, 42, 42));
    tx.publish();
    const chains = sender.readAll();
    t.same([...chains.values()].map(({ buffers, bytes }) => [buffers, bytes.length]), [[1, 42]]);
    for (const head of chains.keys()) device.push(head);
    device.publish();
    tx.reclaim();
    t.equal(pool.available + payloads.available, pool.count + payloads.count);
  }
  t.end();
});

t.test('a full ring takes what fits and says so; the rest stays the caller\'s', (t) => {
  const sender = new Transmitter([], 4);
  const { tx, pool, device } = sender;
  const batch = new FrameBatch(6);
  for (let i = 0; i < 6; i++) {
    batch.handle[i] = sender.load(i);
    batch.offset[i] = pool.offsetOf(batch.handle[i]);
    batch.length[i] = 60;
  }
  batch.count = 6;
  t.equal(tx.send(batch, 1), 4);
  t.equal(tx.stalled, true);
  t.equal(tx.sendOne(batch.handle[0], batch.offset[0], 60), false);
  tx.publish();
  const chains = sender.readAll();
  t.same([...chains.values()].map(({ number }) => number), [1, 2, 3, 4]);
  for (const head of chains.keys()) device.push(head);
  device.publish();
  t.equal(tx.reclaim(), 4);
  t.equal(tx.stalled, false);
  t.equal(tx.send(batch, 5, 6) + tx.send(batch, 0, 1), 2);
  t.equal(pool.available, pool.count - 2);
  t.end();
});

// --- a hostile one ---

interface Attack {
  name: string;
  kinds?: readonly Kind[];
  /** Given the heads that the device holds, does its worst with the next chain, behind `before` good ones. */
  act: (receiver: Receiver, heads: readonly number[], before: number) => void;
  /** Frames before it are not delivered: the index itself is wrong. */
  index?: true;
  /** Frames of its own that are right. */
  ahead?: readonly number[];
}

/** Pushes the next chain with a frame whose header claims that many buffers. */
const claims = (buffers: number) => ({ device }: Receiver, heads: readonly number[]) =>
  device.push(heads[0], device.write(heads[0], numbered(99), { buffers }));

const ATTACKS: readonly Attack[] = [
  { name: 'an id at the queue size', act: ({ device, ring }) => device.push(ring.size, 72) },
  { name: 'an id of 2^32 - 1', act: ({ device }) => device.push(2 ** 32 - 1, 72) },
  { name: 'an id that is right modulo 2^16', act: ({ device }, heads) => device.push(heads[0] + 2 ** 16, 72) },
  {
    name: 'an id given back just before',
    ahead: [99],
    act: (receiver, heads) => {
      claims(1)(receiver, heads);
      receiver.device.push(heads[0], 72);
    },
  },
  { name: 'the second descriptor of a chain', kinds: ['split'], act: ({ device, ring }, heads) => device.push((heads[0] + 1) % ring.size, 72) },
  { name: 'a length of a byte too much', act: ({ device, chainBytes }, heads) => device.push(heads[0], chainBytes + 1) },
  { name: 'a length of 2^31', act: ({ device }, heads) => device.push(heads[0], 2 ** 31) },
  { name: 'a length of 2^32 - 1', act: ({ device }, heads) => device.push(heads[0], 2 ** 32 - 1) },
  { name: 'a length of 0', act: ({ device }, heads) => device.push(heads[0], 0) },
  { name: 'a length of a byte less than a header', act: ({ device }, heads) => device.push(heads[0], HDR - 1) },
  { name: 'an index of a chain more than there are', index: true, act: ({ device, ring }) => (device.used += ring.outstanding + 1) },
  { name: 'an index half the way round', index: true, act: ({ device }) => (device.used += 2 ** 15) },
  { name: 'an index that goes back', index: true, act: ({ device }, _, before) => (device.used += 2 ** 16 - 1 - before) },
  { name: 'num_buffers of 0', kinds: ['mergeable'], act: claims(0) },
  { name: 'num_buffers of one more than there are', kinds: ['mergeable'], act: claims(2) },
  { name: 'num_buffers of 65535', kinds: ['mergeable'], act: claims(65_535) },
  {
    name: 'a wrong id within a frame',
    kinds: ['mergeable'],
    act: (receiver, heads) => {
      claims(2)(receiver, heads);
      receiver.device.push(receiver.ring.size, 50);
    },
  },
  {
    name: 'a wrong length within a frame',
    kinds: ['mergeable'],
    act: (receiver, heads) => {
      claims(2)(receiver, heads);
      receiver.device.push(heads[1], receiver.chainBytes + 1);
    },
  },
];

for (const kind of KINDS) {
  t.test(`${kind}: a device that breaks the protocol is found out, what came before is good, and no buffer is lost (§2.7.8)`, (t) => {
    for (const features of FEATURES) {
      for (const { name, act, kinds, index, ahead } of ATTACKS) {
        if (kinds !== undefined && !kinds.includes(kind)) continue;
        for (const before of [0, 2]) {
          const what = `${name}, ${before} good ones ahead, ${features.join(' ')}`;
          const receiver = new Receiver(kind, features, 16);
          for (const number of range(0, 5)) {
            receiver.fill(number);
            receiver.device.publish();
            receiver.drain();
            receiver.rx.refill();
          }
          receiver.numbers();
          for (const number of range(0, before)) receiver.fill(number);
          const heads = receiver.device.popAll();
          act(receiver, heads, before);
          // What comes behind it is not to be believed any more.
          if (index !== true && kinds?.includes('mergeable') !== true) receiver.device.push(heads[2], receiver.device.write(heads[2], numbered(98)));
          receiver.device.publish();
          const error = receiver.drainAll();
          t.equal(error?.code, 'ERR_DEVICE', what);
          t.match(error?.message, /^virtqueue: [^\n]+; reset the queue to go on$/, what);
          t.same(receiver.numbers(), index === true ? [] : [...range(0, before), ...(ahead ?? [])], what);
          t.equal(receiver.drainAll()?.message, error?.message, `${what}: and it stays so`);
          t.ok(receiver.balanced(), what);
          receiver.reset();
          t.equal(receiver.pool.available, receiver.pool.count, what);
          t.equal(receiver.payloads.available, receiver.payloads.count, what);
          receiver.rx.refill();
          receiver.fill(7);
          receiver.device.publish();
          t.equal(receiver.drainAll(), undefined, what);
          t.same(receiver.numbers(), [7], `${what}: works again`);
        }
      }
    }
    t.end();
  });

  t.test(`${kind}: whatever a device writes, entries lie in buffers of their own, and no buffer is lost`, (t) => {
    const word = fc.oneof(fc.nat(9), fc.constantFrom(12, 42, 54, 112, 113, 154, 155, 0xffff, 0xffffffff));
    const act = fc.constantFrom('fill', 'fill', 'fill', 'push', 'claim', 'idx', 'publish', 'publish', 'drain', 'drain', 'refill');
    fc.assert(
      fc.property(fc.constantFrom(...FEATURES), fc.array(fc.tuple(act, word, word), { maxLength: 60 }), (features, moves) => {
        const receiver = new Receiver(kind, features);
        const held: number[] = [];
        for (const [act, a, b] of moves) {
          const { device, ring, rx } = receiver;
          held.push(...device.popAll());
          const head = held[features.includes('InOrder') && b % 5 > 0 ? 0 : a % Math.max(1, held.length)] ?? a % 8;
          if (act === 'fill') {
            device.push(head, device.write(head, numbered(a, 18 + (b % 80)), { buffers: b % 7 === 0 ? 2 : 1 }));
            if (b % 9 > 0) held.splice(0, held.length, ...held.filter((other) => other !== head));
          } else if (act === 'push') device.push(a, b);
          else if (act === 'claim') device.write(head, numbered(1, 60), { buffers: a & 0xffff });
          else if (act === 'idx') device.publish(a);
          else if (act === 'publish') device.publish();
          else if (act === 'refill') rx.refill();
          else if (receiver.drainAll() !== undefined) {
            receiver.reset();
            held.length = 0;
          }
          if (ring.room < 0 || ring.room > ring.size || !receiver.balanced()) return false;
        }
        receiver.reset();
        return receiver.pool.available === receiver.pool.count && receiver.payloads.available === receiver.payloads.count;
      }),
      { numRuns: 300 },
    );
    t.end();
  });
}

t.test('what the device may change at any time is read once, or checked again: it changes after each look (§2.7.8)', (t) => {
  for (const kind of KINDS) {
    for (const features of FEATURES) {
      for (const hostile of [9, 20, -1, 2 ** 30]) {
        const memory = new Memory(new ArrayBuffer(2 ** 16));
        const looked = new Set<number>();
        let ring: Virtqueue | undefined = undefined;
        // Each word of the used ring's elements is right at the first look and hostile from then on.
        const i32 = new Proxy(memory.i32, {
          get: (words, key) => {
            const at = ring === undefined || typeof key !== 'string' ? NaN : 4 * Number(key) - ring.usedOffset - 4;
            if (ring === undefined || !(at >= 0 && at < 8 * ring.size)) return Reflect.get(words, key) as unknown;
            if (looked.has(at)) return hostile;
            looked.add(at);
            return Reflect.get(words, key) as unknown;
          },
        });
        const receiver = new Receiver(kind, features, 8, new FrameBatch(8), Object.assign(memory, { i32 }));
        ring = receiver.ring;
        for (let round = 0; round < 3; round++) {
          for (const number of range(0, 2)) receiver.fill(number, kind === 'mergeable' && number === 1 ? 150 : 60);
          receiver.device.publish();
          const error = receiver.drainAll();
          t.ok(error === undefined || error.code === 'ERR_DEVICE');
          t.ok(receiver.balanced(), `${kind} ${features.join(' ')} ${hostile}: round ${round}`);
          receiver.numbers();
          if (error !== undefined) receiver.reset();
          receiver.rx.refill();
          looked.clear();
          t.ok(receiver.ring.room >= 0 && receiver.ring.outstanding <= receiver.ring.size);
        }
        const heads = receiver.device.popAll();
        t.ok(heads.every((head) => receiver.device.chain(head).every(({ offset, length }) => offset + length <= memory.buffer.byteLength)));
        t.equal(new Set(heads).size, heads.length);
        t.ok(heads.every((head) => head < receiver.ring.size));
      }
    }
  }
  t.end();
});

t.test('transmit: wrong ids and indices are found out, then the queue refuses until it is reset, and no buffer is lost (§2.7.8)', (t) => {
  const attacks: Record<string, (sender: Transmitter, chains: ReadonlyMap<number, SentChain>) => void> = {
    'an id at the queue size': ({ device, ring }) => device.push(ring.size),
    'an id of 2^32 - 1': ({ device }) => device.push(2 ** 32 - 1),
    'an id given back just before': ({ device }, chains) => {
      const [head] = chains.keys();
      device.push(head);
      device.push(head);
    },
    'an id never offered': ({ device, ring }, chains) => device.push(range(0, ring.size).find((id) => !chains.has(id))!),
    'an index of a chain more than there are': ({ device }, chains) => (device.used += chains.size + 1),
    'an index that goes back': ({ device }) => (device.used += 2 ** 16 - 1),
  };
  const inOrder = new Set(['an index of a chain more than there are', 'an index that goes back']); // else ids are not looked at
  for (const features of FEATURES) {
    for (const [name, attack] of Object.entries(attacks)) {
      if (features.includes('InOrder') && !inOrder.has(name)) continue;
      const what = `${name}, ${features.join(' ')}`;
      const sender = new Transmitter(features);
      const { tx, pool, payloads } = sender;
      t.ok(sender.send(1) && sender.gather(2, 20) && sender.send(3));
      tx.publish();
      attack(sender, sender.readAll());
      sender.device.publish();
      refuses(t, () => {
        while (tx.reclaim() > 0);
      }, 'ERR_DEVICE', /^virtqueue: [^\n]+; reset the queue to go on$/, what);
      refuses(t, () => sender.send(4), 'ERR_QUEUE_BROKEN', /^transmit queue: [^\n]+; reset it to go on$/, what);
      sender.reset();
      t.equal(pool.available, pool.count, what);
      t.equal(payloads.available, payloads.count, what);
      t.ok(sender.send(5));
      tx.publish();
      t.same([...sender.readAll().values()].map(({ number }) => number), [5], `${what}: works again`);
    }
  }
  t.end();
});

t.test('mergeable: a frame is taken whole though `max` is less, and refused where it is over the batch (§5.1.6.4)', (t) => {
  const receiver = new Receiver('mergeable');
  receiver.fill(1, 3 * FRAME_BYTES);
  receiver.fill(2, 3 * FRAME_BYTES);
  receiver.device.publish();
  t.equal(receiver.drain(1), 3);
  t.equal(receiver.drain(4), 3);
  t.same(receiver.numbers(), [1, 2]);
  const narrow = new Receiver('mergeable', [], 8, new FrameBatch(2));
  narrow.fill(1, 3 * FRAME_BYTES);
  narrow.device.publish();
  refuses(t, () => narrow.drain(), 'ERR_DEVICE', /a frame of 3 buffers is over the batch's 2/);
  narrow.reset();
  t.equal(narrow.pool.available, narrow.pool.count);
  t.end();
});
