// Any interleaving of what two drivers and their cards do, in virtual time, against a plain queue.
import fc from 'fast-check';
import t from 'tap';
import { Engine, type FeatureName, FramePool } from '../../src/nic/index.js';
import { InterruptPage } from '../../src/nic/layout.js';
import { type Host, Wired, numbered, numberOf, udpFrame } from '../nic/rig.js';

// The chains that a receiver posts: a whole frame in one, several for a frame (mergeable), or headers and payload (split).
const RECEIVERS = ['plain', 'mergeable', 'split'] as const;

interface Setup {
  receiver: (typeof RECEIVERS)[number];
  size: number;
  eventIdx: boolean;
  inOrder: boolean;
  indirect: boolean;
  bytes: number;
  buffers: number;
}

const setup: fc.Arbitrary<Setup> = fc.record({
  receiver: fc.constantFrom(...RECEIVERS),
  size: fc.constantFrom(2, 4, 8, 32),
  eventIdx: fc.boolean(),
  inOrder: fc.boolean(),
  indirect: fc.boolean(),
  /** Of a frame buffer: 300 takes what is sent; mergeable ones may be as small as this. */
  bytes: fc.constantFrom(40, 64, 100, 300),
  buffers: fc.integer({ min: 3, max: 100 }),
});

const move = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constant('send' as const), n: fc.integer({ min: 1, max: 9 }), length: fc.integer({ min: 50, max: 300 }), gather: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('publish' as const, 'reclaim' as const, 'refill' as const) }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('receive' as const), max: fc.integer({ min: 1, max: 9 }) }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('device' as const) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('ask' as const, 'mask' as const) }) },
);
type Move = typeof move extends fc.Arbitrary<infer T> ? T : never;

const MOST_BYTES = 300;
const HEADERS = 42;

/** Both ends with what they are to do, and the frames on their way as a plain list. */
class World {
  readonly wired: Wired;
  readonly payloads: FramePool;
  private readonly expected: string[] = [];
  private readonly page: Int32Array;
  private sent = 0;
  private asked = false;

  constructor(private readonly setup: Setup) {
    const { receiver, size, eventIdx, inOrder, indirect, bytes, buffers } = setup;
    const features: FeatureName[] = ['CtrlVq', 'CtrlRx', 'Mtu', 'RingReset'];
    if (eventIdx) features.push('EventIdx');
    if (inOrder) features.push('InOrder');
    if (indirect) features.push('IndirectDesc');
    if (receiver === 'split') features.push('Mq');
    const mergeable: FeatureName[] = receiver === 'mergeable' ? ['MrgRxbuf'] : [];
    this.wired = new Wired({
      engine: new Engine({ stepped: true }),
      link: { pause: true },
      nic: { mtu: MOST_BYTES, queuePairs: 2, regionBytes: 2 ** 20 },
      driver: { queueSize: size, buffers: 3 * size, frameBytes: MOST_BYTES, features, refill: false },
      driverB: {
        queueSize: size,
        queuePairs: receiver === 'split' ? 2 : 1,
        // A frame must find room in the ring: mergeable ones in as many buffers as it has, at most.
        frameBytes: receiver === 'mergeable' ? Math.max(bytes, Math.ceil((MOST_BYTES + 12) / Math.min(size, 8))) : MOST_BYTES,
        buffers: Math.max(buffers, 2 * size),
        features: [...features, ...mergeable],
        refill: false,
      },
    });
    const { a, b } = this.wired;
    if (receiver === 'split') {
      b.driver.splitPair(b.driver.pairs[1], HEADERS, b.driver.pool, new FramePool(b.nic.memory, { count: Math.max(3, buffers), frameBytes: MOST_BYTES, headroom: 0, id: 1 }));
      b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 5000 }, 1);
    }
    this.payloads = new FramePool(a.nic.memory, { count: 3 * size, frameBytes: MOST_BYTES, headroom: 0, id: 1 });
    a.driver.addPool(this.payloads);
    this.page = new Int32Array(b.nic.native.interruptPage);
    this.takeInterrupts();
  }

  private get receiving(): Host['pair'] {
    return this.wired.b.driver.pairs[this.setup.receiver === 'split' ? 1 : 0];
  }

  /** What went wrong; undefined if nothing did. */
  do(step: Move): string | undefined {
    const { wired, setup } = this;
    const { a, b } = wired;
    switch (step.act) {
      case 'send':
        for (let i = 0; i < step.n; i++) this.send(step.length, step.gather);
        return undefined;
      case 'publish':
        a.driver.publish(a.pair);
        return undefined;
      case 'reclaim':
        a.pair.tx.reclaim();
        return undefined;
      case 'refill':
        b.driver.refill(this.receiving);
        return undefined;
      case 'device':
        wired.engine.step();
        return this.asked && !this.interrupted() && this.receiving.rx.ring.used() > 0 ? 'used entries, asked for, and no interrupt is pending' : undefined;
      case 'ask':
        // As at the end of a poll: what is there already raises none.
        this.takeInterrupts();
        this.asked = !this.receiving.rx.ring.enableInterrupts();
        return undefined;
      case 'mask':
        this.receiving.rx.ring.disableInterrupts();
        this.asked = false;
        return undefined;
      case 'receive': {
        const entries = this.receiving.rx.receive(this.receiving.batch, step.max);
        // An event index says once when; a flag until it is taken back.
        if (entries > 0 && setup.eventIdx) this.asked = false;
        if (entries > 0) b.take(this.receiving);
        return this.compare();
      }
    }
  }

  /** All that was sent comes, and all buffers are back. */
  finish(): string | undefined {
    const { a, b, engine } = this.wired;
    for (let idle = 0; this.expected.length > 0 && idle < 3; idle++) {
      a.driver.publish(a.pair);
      b.driver.refill(this.receiving);
      engine.step();
      while (this.receiving.rx.receive(this.receiving.batch) > 0) {
        idle = 0;
        b.take(this.receiving);
        b.driver.refill(this.receiving);
        engine.step();
      }
      const wrong = this.compare();
      if (wrong !== undefined) return wrong;
    }
    if (this.expected.length > 0) return `${this.expected.length} of ${this.sent} frames did not come`;
    a.pair.tx.reclaim();
    const { payloads } = this;
    if (a.missing() !== 0 || b.missing() !== 0) return `buffers missing: ${a.missing()} and ${b.missing()}`;
    if (a.driver.pool.available !== a.driver.pool.count || payloads.available !== payloads.count) return 'sent buffers are not all back';
    for (const { nic } of [a, b]) if (nic.counters().queues.some(({ faults }) => faults > 0)) return 'a queue was stopped';
    this.wired.close();
    return undefined;
  }

  private send(length: number, gather: boolean): void {
    const { a } = this.wired;
    const number = this.sent;
    const bytes =
      this.setup.receiver === 'split'
        ? udpFrame({ payload: numbered(number, length - HEADERS + 8).subarray(8) })
        : numbered(number, length);
    if (!gather) {
      const handle = a.load(bytes);
      if (handle === -1) return;
      if (!a.pair.tx.sendOne(handle, a.driver.pool.offsetOf(handle), bytes.length)) {
        a.driver.pool.put(handle);
        return;
      }
    } else {
      const cut = 14 + (number % (bytes.length - 13));
      const handle = a.load(bytes.subarray(0, cut));
      if (handle === -1) return;
      const payload = this.payloads.get();
      const at = this.payloads.offsetOf(payload);
      a.nic.memory.u8.set(bytes.subarray(cut), at);
      if (!a.pair.tx.sendGather(handle, a.driver.pool.offsetOf(handle), cut, payload, at, bytes.length - cut)) {
        a.driver.pool.put(handle);
        this.payloads.put(payload);
        return;
      }
    }
    this.sent++;
    this.expected.push(Buffer.from(bytes).toString('latin1'));
  }

  private compare(): string | undefined {
    for (const { bytes } of this.wired.b.received.splice(0)) {
      const wanted = this.expected.shift();
      if (wanted === undefined) return `a frame that nobody has sent (number ${numberOf(bytes)})`;
      if (Buffer.from(bytes).toString('latin1') !== wanted) return `frame ${this.sent - this.expected.length - 1} came with other bytes, or not in its turn`;
    }
    return undefined;
  }

  private interrupted(): boolean {
    const vector = this.receiving.index;
    return (this.page[(InterruptPage.pending >> 2) + (vector >> 5)] & (1 << (vector & 31))) !== 0;
  }

  private takeInterrupts(): void {
    for (let word = 0; word < 4; word++) Atomics.store(this.page, (InterruptPage.pending >> 2) + word, 0);
    Atomics.store(this.page, InterruptPage.signalled >> 2, 0);
  }
}

t.test('each frame comes once, in order and with its bytes; all buffers come back; no wake-up is lost (§2.7.7, §2.7.8, §2.7.10)', (t) => {
  fc.assert(
    fc.property(setup, fc.array(move, { minLength: 1, maxLength: 120, size: 'max' }), (setup, moves) => {
      const world = new World(setup);
      for (const step of moves) {
        const wrong = world.do(step);
        if (wrong !== undefined) throw new Error(wrong);
      }
      const wrong = world.finish();
      if (wrong !== undefined) throw new Error(wrong);
    }),
    { numRuns: 2000, interruptAfterTimeLimit: 10_000 },
  );
  t.end();
});
