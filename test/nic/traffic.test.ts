// Two cards on one wire in virtual time: what one driver sends, the other receives.
import t from 'tap';
import { FEATURE_NAMES, type FeatureName, FramePool, Region } from '../../src/nic/index.js';
import { Host, MAC_A, MAC_B, Wired, type WiredOptions, checksum, numberOf, numbered, udpFrame } from './rig.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Sends frames of several lengths both ways, more than the rings hold, and looks at each that comes out. */
function exchange(wired: Wired, frames = 100, longest = 1518): string | undefined {
  const { a, b } = wired;
  for (const [from, to] of [[a, b], [b, a]] as const) {
    const sent: Uint8Array[] = [];
    for (let number = 0; number < frames; number++) {
      const length = 18 + ((number * 97) % (longest - 17));
      const frame = numbered(number, length, to.driver.mac, from.driver.mac);
      for (let tries = 0; !from.send(frame); tries++) {
        if (tries > 3) return `${from.driver.mac} can't send frame ${number}`;
        wired.run();
      }
      sent.push(frame);
    }
    wired.run();
    const got = to.received.splice(0);
    if (got.length !== frames) return `${frames} sent, ${got.length} came to ${to.driver.mac}`;
    const wrong = got.findIndex(({ bytes }, i) => hex(bytes) !== hex(sent[i]));
    if (wrong !== -1) return `frame ${wrong} to ${to.driver.mac} came with other bytes`;
    if (from.missing() !== 0 || to.missing() !== 0) return `buffers missing: ${from.missing()}, ${to.missing()}`;
  }
  return undefined;
}

t.test('frames come out as they went in, in order, whatever features are agreed on', (t) => {
  const subsets: readonly (readonly FeatureName[])[] = [
    [],
    ...FEATURE_NAMES.filter((name) => !['Mq', 'CtrlRx', 'CtrlRxExtra', 'CtrlMacAddr', 'NotfCoal', 'CtrlGuestOffloads'].includes(name)).map((name) => [name]),
    ['EventIdx', 'InOrder'],
    ['EventIdx', 'InOrder', 'MrgRxbuf', 'Csum', 'GuestCsum'],
    ['CtrlVq', 'CtrlRx', 'Mq'],
    FEATURE_NAMES,
  ];
  for (const features of subsets) {
    for (const queueSize of [2, 16]) {
      const what = `${features.join(' ') || 'none'}, rings of ${queueSize}`;
      const agreed = new Wired({ driver: { features, queueSize }, nic: { mtu: 1500 } });
      t.equal(exchange(agreed), undefined, `the driver takes ${what}`);
      const names = new Set([...features, 'Version1']);
      t.same(agreed.a.driver.features.names(), FEATURE_NAMES.filter((name) => names.has(name)), what);
      agreed.close();
    }
    const offered = new Wired({ nic: { features }, driver: { features: FEATURE_NAMES, queueSize: 16 } });
    t.equal(exchange(offered), undefined, `the device offers ${features.join(' ') || 'none'}`);
    offered.close();
  }
  t.end();
});

t.test('frames of 14 bytes to MTU + 18', (t) => {
  const wired = new Wired({ nic: { mtu: 65_000, regionBytes: 2 ** 24 }, driver: { queueSize: 16 } });
  for (const length of [14, 15, 60, 1514, 9018, 65_018]) {
    const frame = numbered(length, length);
    t.ok(wired.a.send(frame));
    wired.run();
    t.same(wired.b.received.splice(0).map(({ bytes }) => hex(bytes)), [hex(frame)], `${length} bytes`);
  }
  wired.close();
  t.end();
});

t.test('rings of 32,768 (§2.7)', (t) => {
  const ends: WiredOptions = { nic: { queueSizeMax: 32_768, regionBytes: 2 ** 25 }, driver: { queueSize: 32_768, frameBytes: 100 } };
  const wired = new Wired(ends);
  t.equal(exchange(wired, 40_000, 100), undefined);
  wired.close();
  t.end();
});

t.test('a region of 2 GiB is used to its end', (t) => {
  const [regionA, regionB] = [1, 2].map(() => new Region(2 ** 31));
  for (const region of [regionA, regionB]) region.reserve(2 ** 31 - 2 ** 18);
  const ends: WiredOptions = { nic: { region: regionA, mtu: 500 }, nicB: { region: regionB }, driver: { features: FEATURE_NAMES, frameBytes: 200, queueSize: 32 } };
  const wired = new Wired(ends);
  t.ok(wired.a.driver.pool.base > 2 ** 31 - 2 ** 18);
  t.equal(exchange(wired, 300, 180), undefined);
  wired.close();
  t.end();
});

t.test('what is too short, too long or has no wire is dropped by the card, counted, and its buffer comes back', (t) => {
  const wired = new Wired({ nic: { mtu: 1000 }, driver: { frameBytes: 1200 } });
  const { a, b } = wired;
  const lonely = new Host(wired.engine, {});
  lonely.send(numbered(0));
  for (const length of [13, 1018, 1019]) a.send(new Uint8Array(length).fill(255, 0, 6));
  wired.run();
  lonely.driver.poll();
  const [, sent] = a.nic.counters().queues;
  t.match(sent, { frames: 1, bytes: 1018, dropBadHeader: 1, dropTooLong: 1, dropNoCarrier: 0 });
  t.match(lonely.nic.counters().queues[1], { frames: 0, dropNoCarrier: 1 });
  t.same(b.received.map(({ bytes }) => bytes.length), [1018]);
  t.equal(a.missing(), 0);
  t.equal(lonely.missing(), 0);
  wired.close();
  t.end();
});

t.test('counters of both cards and the wire add up, DMA with 12 bytes of header a frame', (t) => {
  const wired = new Wired({ driverB: { queueSize: 8, refill: false } });
  const { a, b, link } = wired;
  let bytes = 0;
  for (let i = 0; i < 20; i++) {
    const frame = numbered(i, 60 + i, i < 4 ? '02:00:00:00:00:77' : MAC_B);
    bytes += frame.length;
    a.send(frame);
  }
  b.driver.refill(b.pair); // 8 buffers for 16 frames
  wired.engine.step();
  b.driver.poll();
  wired.run();
  const sent = a.nic.counters().queues[1];
  const [received] = b.nic.counters().queues;
  t.match(sent, { frames: 20, bytes, dmaBytes: bytes + 20 * 12, faults: 0 });
  t.match(received, { frames: 8, dropNoBuffer: 8 });
  t.equal(received.bytes, b.received.reduce((sum, frame) => sum + frame.bytes.length, 0));
  t.equal(received.dmaBytes, received.bytes + 8 * 12);
  t.equal(b.nic.counters().dropFiltered, 4);
  const [forth, back] = link.counters();
  t.match(forth, { offered: 20, delivered: 8, refused: 12, lost: 0 });
  t.match(back, { offered: 0, delivered: 0 });
  t.ok(sent.kicks > 0);
  t.equal(received.interrupts, 0, 'nobody has asked for an interrupt');
  t.ok(received.interruptsSuppressed > 0);
  wired.close();
  t.end();
});

t.test('one payload goes out on several chains where it lies, behind headers of its own, and comes back once', (t) => {
  const wired = new Wired();
  const { a, b } = wired;
  const payloads = new FramePool(a.nic.memory, { count: 2, frameBytes: 500, headroom: 0, id: 9 });
  a.driver.addPool(payloads);
  const payload = payloads.get();
  const at = payloads.offsetOf(payload);
  a.nic.memory.u8.set(numbered(7, 514).subarray(14), at);
  const receivers = 5;
  for (let i = 1; i < receivers; i++) payloads.retain(payload);
  for (let i = 0; i < receivers; i++) {
    const handle = a.load(numbered(0, 14 + i));
    t.ok(a.pair.tx.sendGather(handle, a.driver.pool.offsetOf(handle), 14 + i, payload, at, 500 - i));
  }
  a.driver.publish(a.pair);
  wired.run();
  for (const [i, { bytes }] of b.received.entries()) {
    t.equal(hex(bytes), hex(numbered(0, 14 + i)) + hex(numbered(7, 514).subarray(14, 514 - i)), `chain ${i}`);
  }
  t.equal(b.received.length, receivers);
  t.equal(payloads.available, payloads.count);
  t.equal(a.missing(), 0);
  t.match(a.nic.counters().queues[1], { frames: receivers, dmaBytes: receivers * (12 + 514) });
  wired.close();
  t.end();
});

t.test('a payload is sent from a region of its own that the card may only read', (t) => {
  const wired = new Wired();
  const { a, b } = wired;
  const window = new Region(4096);
  a.nic.map({ iova: 2 ** 30, region: window, offset: 1024, length: 1024, access: 'read' });
  const payload = new FramePool(window, { count: 1, frameBytes: 64, headroom: 0, id: 9 });
  window.u8.set(numbered(7, 114).subarray(14), 1024);
  a.driver.addPool(payload);
  const handle = a.load(numbered(0, 14));
  t.ok(a.pair.tx.sendGather(handle, a.driver.pool.offsetOf(handle), 14, payload.get(), 2 ** 30, 100));
  a.driver.publish(a.pair);
  wired.run();
  t.equal(hex(b.received[0].bytes), hex(numbered(7, 114)));
  t.equal(payload.available, 1);
  wired.close();
  t.end();
});

t.test('a checksum left to the card is completed by it, and the receiver is told that it holds (§5.1.6.2, §5.1.6.4)', (t) => {
  const wired = new Wired({ driver: { features: FEATURE_NAMES, frameBytes: 1518 } });
  const { a, b } = wired;
  for (const v6 of [false, true]) {
    const payload = Uint8Array.from({ length: 33 }, (_, i) => i * 7);
    const handle = a.load(udpFrame({ v6, payload, partial: true }));
    const length = udpFrame({ v6, payload }).length;
    t.ok(a.pair.tx.sendOne(handle, a.driver.pool.offsetOf(handle), length, v6 ? 54 : 34, 6));
    a.driver.publish(a.pair);
    const right = udpFrame({ v6, payload });
    const wrong = udpFrame({ v6, payload });
    wrong[wrong.length - 1] ^= 1;
    for (const frame of [right, wrong, udpFrame({ v6, payload, extra: true }), numbered(1)]) a.send(frame);
    wired.run();
    const got = b.received.splice(0);
    t.equal(hex(got[0].bytes), hex(right), 'completed');
    t.same(got.map(({ checksumValid }) => checksumValid), [true, true, false, !v6, false], v6 ? 'IPv6' : 'IPv4');
    b.driver.setReceiveChecksums(false);
    a.send(right);
    wired.run();
    t.same(b.received.splice(0).map(({ checksumValid }) => checksumValid), [false], 'switched off');
    b.driver.setReceiveChecksums(true);
  }
  t.equal(checksum([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0x220d, 'this test computes as RFC 1071 §3 does');
  wired.close();
  t.end();
});

t.test('with mergeable buffers a frame of 9000 bytes comes in several; without, it is too long (§5.1.6.4)', (t) => {
  const jumbo: WiredOptions = { nic: { mtu: 9000 }, driver: { features: FEATURE_NAMES, frameBytes: 2048, buffers: 60, queueSize: 16 } };
  const wired = new Wired({ ...jumbo, driver: { features: FEATURE_NAMES, frameBytes: 9018 }, driverB: jumbo.driver! });
  const lengths = [9018, 60, 2048, 2049, 4108, 4109, 9000];
  for (const [i, length] of lengths.entries()) {
    wired.a.send(numbered(i, length));
    wired.run();
  }
  t.same(wired.b.received.map(({ bytes }) => hex(bytes)), lengths.map((length, i) => hex(numbered(i, length))));
  t.same(wired.b.received.map(({ buffers }) => buffers), [5, 1, 1, 2, 2, 3, 5]);
  t.equal(wired.b.missing(), 0);
  wired.close();

  const short = new Wired({ ...jumbo, driver: { frameBytes: 9018 }, driverB: { frameBytes: 2048 } });
  for (const [i, length] of lengths.entries()) short.a.send(numbered(i, length));
  short.run();
  t.same(short.b.received.map(({ bytes }) => bytes.length), [60, 2048]);
  t.equal(short.b.nic.counters().queues[0].dropTooLong, 5);
  short.close();
  t.end();
});

t.test('mergeable frames are taken whole however small the budget', (t) => {
  const wired = new Wired({ nic: { mtu: 9000 }, driver: { features: FEATURE_NAMES, frameBytes: 9018 }, driverB: { features: FEATURE_NAMES, frameBytes: 1000 } });
  for (let i = 0; i < 3; i++) wired.a.send(numbered(i, 9000));
  wired.engine.step();
  for (let i = 0; i < 3; i++) wired.b.driver.poll(1);
  t.same(wired.b.received.map(({ bytes }) => numberOf(bytes)), [0, 1, 2]);
  wired.close();
  t.end();
});

// --- where a frame goes ---

t.test('a steered flow comes to its pair, headers and payload in two pools; what no rule matches comes to pair 0', (t) => {
  const wired = new Wired({ nic: { queuePairs: 3 }, driverB: { queuePairs: 3, queueSize: 64 } });
  const { a, b } = wired;
  const payloads4 = new FramePool(b.nic.memory, { count: 64, frameBytes: 1472, headroom: 0, id: 1 });
  const payloads6 = new FramePool(b.nic.memory, { count: 64, frameBytes: 1452, headroom: 0, id: 2 });
  b.driver.splitPair(b.driver.pairs[1], 42, b.driver.pool, payloads4);
  b.driver.splitPair(b.driver.pairs[2], 62, b.driver.pool, payloads6);
  b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 5000 }, 1);
  b.nic.steer({ protocol: 'udp', destination: 'fd00::2', destinationPort: 5000 }, 2);
  b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 6000, source: '198.18.0.1', sourcePort: 4000 }, 1);
  b.nic.steer({ protocol: 'tcp', destination: '198.18.0.2', destinationPort: 7000 }, 1);
  const payload = Uint8Array.from({ length: 1400 }, (_, i) => i);
  const cases: readonly [pair: number, what: string, frame: Uint8Array][] = [
    [1, 'IPv4', udpFrame({ payload })],
    [2, 'IPv6', udpFrame({ v6: true, payload })],
    [1, 'with its source', udpFrame({ destinationPort: 6000 })],
    [1, 'without a payload', udpFrame({ payload: new Uint8Array(0) })],
    [1, 'a payload of a byte', udpFrame({ payload: Uint8Array.of(9) })],
    [0, 'another source', udpFrame({ destinationPort: 6000, sourcePort: 4001 })],
    [0, 'another port', udpFrame({ destinationPort: 5001 })],
    [0, 'another protocol', udpFrame({ destinationPort: 7000 })],
    [0, 'with IP options', udpFrame({ extra: true })],
    [0, 'with an extension header', udpFrame({ v6: true, extra: true })],
    [0, 'a fragment', udpFrame({ fragment: true })],
    [0, 'not IP', numbered(1)],
  ];
  for (const [pair, what, frame] of cases) {
    a.send(frame);
    wired.engine.step();
    const { batch } = b.driver.pairs[pair];
    const { rx } = b.driver.pairs[pair];
    if (pair > 0) {
      // Where it lies, before the handler looks.
      const [pool, headers] = pair === 1 ? [payloads4, 42] as const : [payloads6, 62] as const;
      t.equal(rx.receive(batch, 1), 1, what);
      t.equal(batch.length[0], headers, `${what}: headers`);
      t.equal(batch.offset[0], b.driver.pool.offsetOf(batch.handle[0]), `${what}: headers lie in the common pool`);
      t.equal(batch.payloadOffset[0], pool.offsetOf(batch.payloadHandle[0]), `${what}: the payload lies in its own`);
      t.equal(batch.payloadOffset[0] % 64, 0);
      b.take(b.driver.pairs[pair]);
    } else {
      b.driver.poll();
    }
    const got = b.received.splice(0);
    t.same(got.map((frame) => [frame.pair, hex(frame.bytes)]), [[pair, hex(frame)]], what);
  }
  t.equal(b.nic.counters().steered, 5);
  t.equal(b.nic.unsteer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 5000 }), true);
  t.equal(b.nic.unsteer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 5000 }), false);
  a.send(udpFrame());
  wired.run();
  t.same(b.received.map(({ pair }) => pair), [0], 'after unsteer()');
  wired.run();
  t.equal(b.missing(), 0);
  wired.close();
  t.end();
});

t.test('a split frame is sent on where it lies: headers and payload as one chain', (t) => {
  const wired = new Wired({ nic: { queuePairs: 2 }, driverB: { queuePairs: 2 } });
  const { a, b } = wired;
  b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 5000 }, 1);
  const pair = b.driver.pairs[1];
  b.driver.splitPair(pair, 42, b.driver.pool, new FramePool(b.nic.memory, { count: 512, frameBytes: 1472, headroom: 0, id: 1 }));
  const frames = [0, 1, 22, 1472].map((length) => udpFrame({ to: MAC_A, payload: new Uint8Array(length).fill(length) }));
  b.driver.setPromiscuous(true);
  for (const frame of frames) a.send(frame);
  wired.engine.step();
  t.equal(pair.rx.receive(pair.batch), frames.length);
  for (let i = 0; i < frames.length; i++) {
    const { handle, offset, length, payloadHandle, payloadOffset, payloadLength } = pair.batch;
    t.ok(pair.tx.sendGather(handle[i], offset[i], length[i], payloadHandle[i], payloadOffset[i], payloadLength[i]));
  }
  b.driver.publish(pair);
  wired.run();
  t.equal(a.received.length, frames.length);
  t.ok(a.received.every(({ bytes }, i) => hex(bytes) === hex(frames[i])));
  t.match(b.nic.counters().queues[3], { frames: frames.length, faults: 0 });
  t.equal(b.missing(), 0);
  wired.close();
  t.end();
});

t.test('a card takes what is for it: its address, broadcast, what the table adds; all if promiscuous (§5.1.6.5.1, §5.1.6.5.2)', (t) => {
  const wired = new Wired();
  const { a, b } = wired;
  const other = '02:00:00:00:00:77';
  const group = '01:00:5e:00:00:01';
  const targets = [MAC_B, 'ff:ff:ff:ff:ff:ff', other, group, '33:33:00:00:00:01'];
  const taken = (): string[] => {
    for (const to of targets) a.send(numbered(0, 60, to));
    wired.run();
    return b.received.splice(0).map(({ bytes }) => targets.find((mac) => hex(bytes).startsWith(mac.replaceAll(':', '')))!);
  };
  t.same(taken(), targets.slice(0, 2));
  b.driver.setMacTable([other], [group]);
  t.same(taken(), targets.slice(0, 4));
  b.driver.setMacTable([], [group]);
  t.same(taken(), [targets[0], targets[1], group]);
  b.driver.setMacTable([], []);
  b.driver.setPromiscuous(true);
  t.same(taken(), targets);
  b.driver.setPromiscuous(false);
  t.same(taken(), targets.slice(0, 2));
  b.driver.setMac(other);
  t.same(taken(), ['ff:ff:ff:ff:ff:ff', other]);
  t.equal(b.driver.mac, other);
  t.ok(b.nic.counters().dropFiltered > 0);
  wired.close();
  const open = new Wired({ driverB: { promiscuous: true } });
  open.a.send(numbered(3, 60, other));
  open.run();
  t.equal(open.b.received.length, 1, 'promiscuous from the start');
  open.close();
  t.end();
});

t.test('several pairs: frames go out by each, and each has buffers and counters of its own (§5.1.6.5.5)', (t) => {
  const wired = new Wired({ nic: { queuePairs: 4 }, driver: { queuePairs: 3, queueSize: 16 } });
  const { a, b } = wired;
  for (const port of [1, 2]) b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: port }, port);
  b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: 3 }, 3);
  for (const port of [1, 2, 3, 4]) for (const pair of a.driver.pairs) a.send(udpFrame({ destinationPort: port }), pair);
  wired.run();
  t.same([0, 1, 2].map((pair) => b.received.filter((frame) => frame.pair === pair).length), [3, 3, 3]);
  t.equal(b.nic.counters().dropNotReady, 3, 'pair 3 is not in use');
  t.same([1, 3, 5, 7].map((index) => a.nic.counters().queues[index].frames), [4, 4, 4, 0]);
  t.equal(a.missing() + b.missing(), 0);
  wired.close();
  t.end();
});

// --- interrupts ---

t.test('interrupts are held back for so many frames or microseconds, whichever comes first (§5.1.6.5.7)', (t) => {
  const wired = new Wired();
  const { a, b, engine } = wired;
  const { ring } = b.pair.rx;
  const interrupts = (): number => b.nic.counters().queues[0].interrupts;
  const receive = (): void => {
    while (b.pair.rx.receive(b.pair.batch) > 0) b.take(b.pair);
    b.driver.refill(b.pair);
    ring.enableInterrupts();
  };
  const send = (frames: number): void => {
    for (let i = 0; i < frames; i++) a.send(numbered(i));
  };
  b.driver.setCoalescing('rx', 4, 100);
  receive();
  engine.step(1000);
  send(1);
  engine.step(1000);
  engine.step(1050);
  send(2);
  engine.step(1099.999);
  t.equal(interrupts(), 0, 'three frames, 99.999 µs after the first');
  engine.step(1100);
  t.equal(interrupts(), 1, '100 µs after the first');
  receive();
  send(3);
  engine.step(1110);
  t.equal(interrupts(), 1);
  send(1);
  engine.step(1110);
  t.equal(interrupts(), 2, 'four frames');
  engine.step(2000);
  t.equal(interrupts(), 2, 'and no second one by time');
  receive();
  b.driver.setCoalescing('rx', 0, 0);
  send(1);
  engine.step(2000);
  t.equal(interrupts(), 3, 'none is held back any more');
  t.equal(engine.step(3000), Infinity);

  // Of transmission: for buffers that come back.
  a.driver.setCoalescing('tx', 100, 50);
  a.pair.tx.reclaim();
  t.equal(a.pair.tx.ring.enableInterrupts(), false);
  send(5);
  engine.step(3049);
  const sent = (): number => a.nic.counters().queues[1].interrupts;
  t.equal(sent(), 0);
  engine.step(3050);
  t.equal(sent(), 1);
  wired.close();
  t.end();
});
