// What goes wrong between a driver and its card, who is told, and how both come back. In virtual time.
import t from 'tap';
import { NicDriver, type QueuePair, type Virtqueue } from '../../src/nic/index.js';
import { Avail, Desc, Reg, Status, VirtqDesc } from '../../src/nic/layout.js';
import { MAC_A, Wired, numberOf, numbered, refuses, spied, until } from './rig.js';

// --- a descriptor that is wrong ---

/** The descriptors of a queue as they lie in memory, for those who change them behind its back. */
class Table {
  private readonly view: DataView;

  constructor(private readonly ring: Virtqueue) {
    this.view = new DataView(ring.memory.buffer);
  }

  /** The head that was offered last. */
  get head(): number {
    const idx = this.view.getUint16(this.ring.availOffset + Avail.Idx, true);
    return this.view.getUint16(this.slot(idx - 1), true);
  }

  set head(value: number) {
    const idx = this.view.getUint16(this.ring.availOffset + Avail.Idx, true);
    this.view.setUint16(this.slot(idx - 1), value, true);
  }

  /** Moves the index of what is offered. */
  jump(by: number): void {
    const at = this.ring.availOffset + Avail.Idx;
    this.view.setUint16(at, (this.view.getUint16(at, true) + by) & 0xffff, true);
  }

  set(index: number, fields: { addr?: number; len?: number; flags?: number; next?: number }): void {
    const at = this.ring.descOffset + VirtqDesc.size * index;
    if (fields.addr !== undefined) this.view.setBigUint64(at + VirtqDesc.addr, BigInt(fields.addr), true);
    if (fields.len !== undefined) this.view.setUint32(at + VirtqDesc.len, fields.len, true);
    if (fields.flags !== undefined) this.view.setUint16(at + VirtqDesc.flags, fields.flags, true);
    if (fields.next !== undefined) this.view.setUint16(at + VirtqDesc.next, fields.next, true);
  }

  private slot(idx: number): number {
    return this.ring.availOffset + Avail.Ring + 2 * (idx & (this.ring.size - 1));
  }
}

/** Changes the head that was offered last; the fault that the device then finds. */
const CORRUPTIONS: readonly [fault: string, change: (table: Table, own: number) => void][] = [
  ['outsideDomain', (table) => table.set(table.head, { addr: 2 ** 40 })],
  ['outsideDomain', (table) => table.set(table.head, { addr: 2 ** 23 - 1 })],
  ['outsideDomain', (table) => table.set(table.head, { len: 2 ** 32 - 1 })],
  ['emptyBuffer', (table) => table.set(table.head, { len: 0 })],
  ['nextRange', (table, own) => table.set(table.head, { flags: own | Desc.Next, next: 16 })],
  ['chainTooLong', (table, own) => table.set(table.head, { flags: own | Desc.Next, next: table.head })],
  ['indirect', (table) => table.set(table.head, { flags: Desc.Indirect, len: 17 })],
  ['indirect', (table) => table.set(table.head, { flags: Desc.Indirect | Desc.Next, len: 16 })],
  ['wrongQueue', (table, own) => table.set(table.head, { flags: own ^ Desc.Write })],
  ['headRange', (table) => (table.head = 16)],
  ['availIndex', (table) => table.jump(17)],
];

/** One direction of a pair that the device stops: who, which queue, and what makes it look at the head changed last. */
const DIRECTIONS = {
  receive: { index: 0, own: Desc.Write, ring: (pair: QueuePair) => pair.rx.ring },
  transmit: { index: 1, own: 0, ring: (pair: QueuePair) => pair.tx.ring },
} as const;

for (const [direction, { index, own, ring }] of Object.entries(DIRECTIONS)) {
  t.test(`${direction}: each wrong descriptor stops its queue alone, is counted and told, and resetPair() mends it (§2.6.1, §2.7.4, §2.7.5)`, async (t) => {
    for (const [fault, change] of CORRUPTIONS) {
      // A frame buffer at a time, so that the head offered last is the next that the device takes.
      const wired = new Wired({ driver: { queueSize: 16 }, driverB: { queueSize: 16, buffers: 40, refill: false } });
      const { a, b } = wired;
      const { pair, nic, driver } = b;
      driver.start('interrupt');
      await until(() => b.events.length > 0); // the link
      b.events.length = 0;
      const table = new Table(ring(pair));
      if (index === 0) {
        while (driver.pool.available > 1) driver.pool.get();
        pair.rx.refill();
        change(table, own);
        a.send(numbered(1));
      } else {
        const handle = b.load(numbered(1, 60, MAC_A));
        pair.tx.sendOne(handle, driver.pool.offsetOf(handle), 60);
        pair.tx.publish();
        change(table, own);
        nic.native.kick(1);
      }
      wired.engine.step();
      const counters = nic.counters().queues[index];
      t.match(counters, { faults: 1, fault, frames: 0 }, fault);
      t.ok(await until(() => b.events.length > 0), `${fault}: somebody is told`);
      t.same(b.events, [{ linkUp: true, needsReset: false, stopped: [index] }], fault);
      t.equal(nic.native.read(Reg.Status) & Status.NeedsReset, 0, `${fault}: the device itself goes on`);
      wired.close();
    }
    t.end();
  });
}

t.test('after a fault the other direction goes on, and after resetPair() both do, with all buffers (§2.6.1)', async (t) => {
  const wired = new Wired({ driver: { queueSize: 16 } });
  const { a, b } = wired;
  b.driver.start('interrupt');
  for (let round = 0; round < 5; round++) {
    // Every posted descriptor is wrong.
    for (let id = 0; id < 16; id++) new Table(b.pair.rx.ring).set(id, { len: 0 });
    a.send(numbered(1));
    wired.run();
    t.equal(b.nic.counters().queues[0].faults, round + 1);
    t.ok(b.send(numbered(100 + round, 60, MAC_A)), 'the other direction');
    wired.run();
    t.equal(numberOf(a.received.pop()!.bytes), 100 + round);
    // Frames on both rings are lost with them.
    b.driver.publish(b.pair);
    b.driver.resetPair(b.pair);
    t.equal(b.missing(), 0);
    b.received.length = 0;
    for (let i = 0; i < 40; i++) {
      a.send(numbered(i));
      wired.run();
    }
    t.same(b.received.splice(0).map(({ bytes }) => numberOf(bytes)), Array.from({ length: 40 }, (_, i) => i), `round ${round}`);
  }
  t.ok(await until(() => b.events.length > 0));
  wired.close();
  t.end();
});

t.test('resetPair() in the middle of traffic loses what was on its rings, no buffer, and wakes who waits for room', (t) => {
  const wired = new Wired({ driver: { queueSize: 8, buffers: 24 } });
  const { a, b } = wired;
  for (let round = 0; round < 20; round++) {
    let sent = 0;
    while (a.send(numbered(sent))) sent++;
    t.equal(sent, 8);
    if (round % 2 === 1) wired.engine.step();
    const writable = a.writable;
    a.driver.resetPair(a.pair);
    b.driver.resetPair(b.pair);
    t.equal(a.writable, writable + 1);
    t.equal(a.missing() + b.missing(), 0, `round ${round}`);
    t.equal(a.driver.pool.available, a.driver.pool.count - 8);
    b.received.length = 0;
    a.send(numbered(77));
    wired.run();
    t.same(b.received.map(({ bytes }) => numberOf(bytes)), [77]);
  }
  wired.close();
  t.end();
});

t.test('unmap() stops the queues that had the mapping; they come back once it is there again', (t) => {
  const wired = new Wired();
  const { a, b } = wired;
  t.equal(b.nic.unmap(0, 0), true);
  a.send(numbered(1));
  wired.run();
  t.equal(b.received.length, 0);
  t.equal(b.nic.counters().dropNotReady, 1);
  refuses(t, () => b.driver.resetPair(b.pair), 'ERR_DEVICE', 'the device refuses queue 0');
  b.nic.map({ iova: 0, region: b.nic.region, queue: 0 });
  b.driver.resetPair(b.pair);
  a.send(numbered(2));
  wired.run();
  t.same(b.received.map(({ bytes }) => numberOf(bytes)), [2]);
  t.equal(b.missing(), 0);
  wired.close();
  t.end();
});

t.test('a card may not write where it may only read', (t) => {
  const wired = new Wired();
  const { a, b } = wired;
  b.nic.unmap(0, 0);
  b.nic.map({ iova: 0, region: b.nic.region, queue: 0, access: 'read' });
  refuses(t, () => b.driver.resetPair(b.pair), 'ERR_DEVICE', 'the device refuses queue 0', 'a used ring must be written');
  b.nic.unmap(0, 0);
  // Rings may be written, frames not: they lie behind.
  const edge = b.driver.pool.base;
  b.nic.map({ iova: 0, region: b.nic.region, queue: 0, length: edge });
  b.nic.map({ iova: edge, region: b.nic.region, offset: edge, queue: 0, access: 'read' });
  b.driver.resetPair(b.pair);
  const before = b.nic.memory.u8.slice(edge);
  a.send(numbered(2));
  wired.run();
  t.match(b.nic.counters().queues[0], { faults: 1, fault: 'outsideDomain', frames: 0 });
  t.equal(Buffer.compare(before, b.nic.memory.u8.slice(edge)), 0, 'not a byte is touched');
  wired.close();
  t.end();
});

// --- the control queue ---

t.test('a broken control queue makes the device want a reset; a new handshake brings it back (§2.1.2, §3.1.1)', async (t) => {
  const wired = new Wired();
  const { a, b } = wired;
  let breaks = false;
  let needsReset = 0;
  const device = spied(b.nic, {
    relax: () => {
      if (breaks) new Table(driver.control!.ring).set(new Table(driver.control!.ring).head, { addr: 2 ** 40 });
    },
  });
  const driver: NicDriver = new NicDriver(device, { handler: { changed: (event) => (needsReset += Number(event.needsReset)) } });
  driver.start('interrupt');
  driver.setPromiscuous(true);
  breaks = true;
  refuses(t, () => driver.setPromiscuous(false), 'ERR_DEVICE', /^virtqueue: no answer to promiscuous mode; reset the queue to go on$/);
  t.ok((b.nic.native.read(Reg.Status) & Status.NeedsReset) !== 0);
  t.match(b.nic.counters().queues[2], { faults: 1, fault: 'outsideDomain' });
  t.ok(await until(() => needsReset > 0), 'the handler is told');
  refuses(t, () => driver.setPromiscuous(false), 'ERR_DEVICE', /^virtqueue: no answer to promiscuous mode; reset the queue to go on$/, 'at once');
  a.send(numbered(1));
  wired.engine.step();
  t.equal(b.nic.counters().dropNotReady, 1, 'it takes no frames');
  breaks = false;
  const again = new NicDriver(b.nic, {});
  t.equal(b.nic.native.read(Reg.Status) & Status.NeedsReset, 0);
  again.setPromiscuous(true);
  a.send(numbered(2, 60, '02:00:00:00:00:99'));
  wired.engine.step();
  const [pair] = again.pairs;
  t.equal(pair.rx.receive(pair.batch), 1);
  t.equal(numberOf(b.nic.memory.u8.subarray(pair.batch.offset[0])), 2);
  wired.close();
  t.end();
});

t.test('the control queue answers 70,000 commands through a ring of 2 (§2.7.6, §5.1.6.5)', (t) => {
  const { a } = new Wired({ driver: { queueSize: 2 } });
  for (let i = 0; i < 70_000; i++) a.driver.setPromiscuous(i % 2 === 0);
  t.equal(a.nic.counters().queues[2].frames, 70_000);
  t.equal(a.driver.control!.ring.room, 2);
  t.end();
});

t.test('`changed` tells of the link, not of commands that were answered', async (t) => {
  for (const features of [['CtrlVq', 'CtrlRx', 'Status'], ['CtrlVq', 'CtrlRx', 'Status', 'EventIdx']] as const) {
    const wired = new Wired({ driver: { features } });
    const { a, link } = wired;
    a.driver.start('interrupt');
    t.ok(await until(() => a.events.length > 0));
    t.same(a.events.splice(0), [{ linkUp: true, needsReset: false, stopped: [] }]);
    for (let i = 0; i < 10; i++) {
      a.driver.setPromiscuous(i % 2 === 0);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    t.same(a.events, [], features.join(' '));
    link.close();
    t.ok(await until(() => a.events.length > 0));
    t.same(a.events, [{ linkUp: false, needsReset: false, stopped: [] }]);
    wired.close();
  }
  t.end();
});

t.test('a card that breaks the protocol while it is served is told of as one that stops a queue, and resetPair() mends it', async (t) => {
  for (const mode of ['interrupt', 'adaptive', 'poll'] as const) {
    for (const direction of ['rx', 'tx'] as const) {
      const wired = new Wired({ driver: { queueSize: 16, features: ['CtrlVq', 'CtrlRx', 'RingReset', 'Status'] } });
      const { a, b } = wired;
      const { ring } = b.pair[direction];
      b.driver.start(mode);
      await until(() => b.events.length > 0); // the link
      b.events.length = 0;
      // Its used index runs away behind the card's back.
      if (direction === 'rx') a.send(numbered(1));
      else b.send(numbered(1, 60, MAC_A));
      wired.engine.step();
      new DataView(ring.memory.buffer).setUint16(ring.usedOffset + 2, 100, true);
      if (direction === 'tx') {
        a.send(numbered(2));
        wired.engine.step();
      }
      t.ok(await until(() => b.events.length > 0), `${mode}, ${direction}`);
      t.same(b.events[0], { linkUp: true, needsReset: false, stopped: [direction === 'rx' ? 0 : 1] });
      b.driver.resetPair(b.pair);
      b.received.length = 0;
      for (let i = 0; i < 30; i++) {
        a.send(numbered(i));
        wired.engine.step();
        a.driver.poll();
        t.ok(await until(() => b.received.length === i + 1), `${mode}, ${direction}: frame ${i} after the reset`);
      }
      t.equal(b.missing(), 0);
      wired.close();
    }
  }
  t.end();
});

t.test('frames that nobody takes go back to the pool', (t) => {
  const wired = new Wired({ driverB: { handler: {}, queueSize: 8 } });
  const { a, b } = wired;
  for (let i = 0; i < 100; i++) {
    a.send(numbered(i));
    wired.run();
  }
  t.equal(b.nic.counters().queues[0].frames, 100);
  t.equal(b.missing(), 0);
  wired.close();
  t.end();
});
