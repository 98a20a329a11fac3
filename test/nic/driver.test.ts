// The driver and its card apart from traffic: handshake, options, control queue, resets, notices. In virtual time.
import t from 'tap';
import {
  Engine,
  FEATURE_NAMES,
  type FeatureName,
  FramePool,
  Link,
  Nic,
  NicDriver,
  type NicOptions,
  Region,
} from '../../src/nic/index.js';
import { Reg, Status, VirtioNetConfig } from '../../src/nic/layout.js';
import { Host, MAC_B, Wired, refuses, spied } from './rig.js';

const stepped = (): Engine => new Engine({ stepped: true });

// --- the handshake ---

t.test('the device is initialised in the order of §3.1.1, its queues as §4.2.3.2 says', (t) => {
  const nic = new Nic(stepped());
  const writes: [number, number][] = [];
  const driver = new NicDriver(spied(nic, { write: (at, value) => writes.push([at, value]) }), { queueSize: 64 });
  const statuses = writes.flatMap(([at, value]) => (at === Reg.Status ? [value] : []));
  const { Acknowledge, Driver, FeaturesOk, DriverOk } = Status;
  t.same(statuses, [0, Acknowledge, Acknowledge | Driver, Acknowledge | Driver | FeaturesOk, Acknowledge | Driver | FeaturesOk | DriverOk]);
  const when = (register: number, value?: number): number[] =>
    writes.flatMap(([at, written], i) => (at === register && (value === undefined || written === value) ? [i] : []));
  const [featuresOk] = when(Reg.Status, 11);
  const [driverOk] = when(Reg.Status, 15);
  t.ok(when(Reg.DriverFeatures).every((i) => i < featuresOk), 'features before FEATURES_OK');
  const ready = when(Reg.QueueReady, 1);
  t.equal(ready.length, 3, 'receive, transmit, control');
  t.ok(ready.every((i) => i > featuresOk && i < driverOk), 'queues between FEATURES_OK and DRIVER_OK');
  for (const register of [Reg.QueueSize, Reg.QueueDescLow, Reg.QueueDriverLow, Reg.QueueDeviceLow]) {
    t.ok(when(register).every((i, queue) => i < ready[queue]), 'a queue is described before it is ready');
  }
  for (const [register, alignment] of [[Reg.QueueDescLow, 16], [Reg.QueueDriverLow, 2], [Reg.QueueDeviceLow, 4]] as const) {
    t.ok(when(register).every((i) => writes[i][1] % alignment === 0), `aligned to ${alignment} (§2.7)`);
  }
  t.equal(nic.native.read(Reg.Status), 15);
  driver.close();
  t.same(writes[writes.length - 1], [Reg.Status, 0], 'reset when it is left');
  t.end();
});

t.test('what is no such device, or refuses, gets one line (§3.1.1, §4.2.2)', (t) => {
  const make = (read: (at: number, value: number) => number, features?: readonly FeatureName[]) => () =>
    new NicDriver(spied(new Nic(stepped()), { read }), features === undefined ? {} : { features });
  const instead = (register: number, other: number) => (at: number, value: number) => (at === register ? other : value);
  refuses(t, make(instead(Reg.MagicValue, 0)), 'ERR_DEVICE', 'this is not a virtio network device');
  refuses(t, make(instead(Reg.DeviceId, 2)), 'ERR_DEVICE', 'this is not a virtio network device');
  refuses(t, make(instead(Reg.DeviceFeatures, 0)), 'ERR_DEVICE', 'the device is older than virtio 1.0');
  refuses(t, make(instead(Reg.QueueReady, 0)), 'ERR_DEVICE', 'the device refuses queue 0');
  let status = 0;
  const nic = new Nic(stepped());
  const watched = spied(nic, { write: (at, value) => (status = at === Reg.Status ? value : status) });
  // §5.1.3.1: MQ needs CTRL_VQ.
  const wanted = { features: ['Mq'] as const };
  refuses(t, () => new NicDriver(watched, wanted), 'ERR_DEVICE', 'the device refuses the features Mq, Version1');
  t.equal(status & Status.Failed, Status.Failed);
  t.end();
});

t.test('features that the device does not offer are not taken; VERSION_1 always is (§2.2, §6)', (t) => {
  const offered = ['Mac', 'EventIdx', 'Status'] as const;
  const driver = new NicDriver(new Nic(stepped(), { features: offered }), { features: FEATURE_NAMES });
  t.same(driver.features.names(), ['Mac', 'Status', 'EventIdx', 'Version1']);
  t.equal(driver.control, undefined);
  refuses(t, () => driver.setPromiscuous(true), 'ERR_UNSUPPORTED', 'promiscuous mode: the device has no control queue');
  refuses(t, () => driver.resetPair(driver.pairs[0]), 'ERR_UNSUPPORTED', 'the device can not reset single queues');
  const usual = new NicDriver(new Nic(stepped()));
  t.same(usual.features.names(), FEATURE_NAMES.filter((name) => !['GuestCsum', 'CtrlGuestOffloads', 'MrgRxbuf'].includes(name)));
  refuses(t, () => usual.setReceiveChecksums(true), 'ERR_INVALID_ARGUMENT', 'the device refuses receive checksums');
  t.end();
});

t.test('the configuration: address, MTU, link, read again while it changes (§2.5.1, §5.1.4)', (t) => {
  const engine = stepped();
  const nic = new Nic(engine, { mac: '02:12:34:56:78:9A', mtu: 9000 });
  let generation = 7;
  let reads = 0;
  const driver = new NicDriver(
    spied(nic, {
      read: (at, value) => {
        if (at === Reg.ConfigGeneration) return generation;
        // The first reading finds a device in mid-change.
        if (at !== Reg.Config + 4 || reads++ > 0) return value;
        generation++;
        return 0x5a5a5a5a;
      },
    }),
  );
  t.equal(driver.mac, '02:12:34:56:78:9a');
  t.equal(driver.mtu, 9000);
  t.ok(reads > 1, 'read again');
  t.equal(driver.linkUp, false);
  const link = new Link(engine, nic, new Nic(engine));
  t.equal(driver.linkUp, true);
  link.close();
  t.equal(driver.linkUp, false);
  const plain = new NicDriver(new Nic(engine, { mtu: 9000 }), { features: [] });
  t.equal(plain.mtu, 1500, 'without MTU');
  t.equal(plain.linkUp, true, 'without STATUS a link is taken to be up');
  t.equal(VirtioNetConfig.size, 12);
  t.end();
});

// --- options ---

t.test('every wrong option gets one line that says what would be right', (t) => {
  const engine = stepped();
  const nic = (options: object) => () => new Nic(engine, options);
  const driver = (options: object, card: NicOptions = {}) => () => new NicDriver(new Nic(engine, card), options);
  const names = FEATURE_NAMES.join(', ');
  const sizes = 'a power of two from 2 to 32768';
  const argument: readonly [call: () => unknown, message: string][] = [
    [nic({ mac: 'x' }), 'mac: got "x", must be six bytes like 02:00:00:00:00:01'],
    [nic({ mac: '02:00:00:00:00:01\n' }), 'mac: got "02:00:00:00:00:01\\n", must be six bytes like 02:00:00:00:00:01'],
    [nic({ mac: '03:00:00:00:00:01' }), 'mac: got "03:00:00:00:00:01", must be a unicast address: its first byte even'],
    [nic({ queuePairs: 0 }), 'queuePairs: got 0, must be a whole number from 1 to 127'],
    [nic({ queuePairs: 128 }), 'queuePairs: got 128, must be a whole number from 1 to 127'],
    [nic({ queueSizeMax: 100 }), `queueSizeMax: got 100, must be ${sizes}`],
    [nic({ queueSizeMax: 65_536 }), `queueSizeMax: got 65536, must be ${sizes}`],
    [nic({ mtu: 67 }), 'mtu: got 67, must be a whole number from 68 to 65000'],
    [nic({ mtu: 65_001 }), 'mtu: got 65001, must be a whole number from 68 to 65000'],
    [nic({ features: ['Csum', 'Gso'] }), `features: got "Gso", must be one of ${names}`],
    [() => new Region(0), 'region size: got 0, must be a whole number of bytes from 1 to 2 GiB'],
    [() => new Region(2 ** 31 + 1), 'region size: got 2147483649, must be a whole number of bytes from 1 to 2 GiB'],
    [() => new Engine({ spinUs: -1 }), 'spinUs: got -1, must be from 0 to 1000000'],
    [() => new Engine({ stepped: true, cpu: 1.5 }), 'cpu: got 1.5, must be the number of a CPU'],
    [() => engine.step(NaN), 'untilUs: got NaN, must be a time in virtual microseconds'],
    [driver({ queuePairs: 2 }), 'queuePairs: got 2, must be from 1 to 1, which is what the device has'],
    [driver({ queuePairs: 2, features: [] }, { queuePairs: 4 }), 'queuePairs: got 2, must be from 1 to 1, which is what the device has'],
    [driver({ queueSize: 1 }), `queueSize: got 1, must be ${sizes}`],
    [driver({ queueSize: 3 }), `queueSize: got 3, must be ${sizes}`],
    [driver({ queueSize: 65_536 }), `queueSize: got 65536, must be ${sizes}`],
    [driver({ queueSize: 512 }, { queueSizeMax: 256 }), 'queueSize: got 512, must be at most 256, which is what the device has'],
    [driver({ features: ['Gso'] }), `features: got "Gso", must be one of ${names}`],
    [driver({ frameBytes: 0 }), 'frameBytes: got 0, must be from 1 to 2^20'],
    [driver({ buffers: 0 }), 'buffers: got 0, must be from 1 to 2^24'],
  ];
  for (const [call, message] of argument) refuses(t, call, 'ERR_INVALID_ARGUMENT', message);
  refuses(t, driver({}, { regionBytes: 4096 }), 'ERR_OUT_OF_RANGE', /^region: \d+ bytes do not fit behind the \d+ taken of 4096$/);
  refuses(t, () => new Engine({ cpu: 1000 }), 'ERR_SYSTEM', 'engine: cpu 1000 is not one that this process may use');
  const threaded = new Engine();
  refuses(t, () => threaded.step(), 'ERR_UNSUPPORTED', 'step: this engine has a thread of its own');
  t.end();
});

t.test('wrong calls get one line too', (t) => {
  const { a, link } = new Wired({ nic: { queuePairs: 2 } });
  const { driver, nic } = a;
  const split = (headerBytes: number, options: object = {}) => () => {
    const payloads = new FramePool(nic.memory, { count: 4, frameBytes: 100, headroom: 0, id: 1, ...options });
    driver.splitPair(a.pair, headerBytes, driver.pool, payloads);
  };
  const rule = { protocol: 'udp', destination: '10.0.0.1', destinationPort: 1 } as const;
  const argument: readonly [call: () => unknown, message: string][] = [
    [() => driver.start('fast' as 'poll'), 'mode: got "fast", must be interrupt, adaptive or poll'],
    [() => driver.start('poll', 0), 'budget: got 0, must be frames a turn, from 1 on'],
    [() => driver.setMac('nobody'), 'mac: got "nobody", must be six bytes like 02:00:00:00:00:01'],
    [() => driver.setMac('01:00:00:00:00:00'), 'the device refuses the address 01:00:00:00:00:00'],
    [() => driver.setMacTable(new Array<string>(65).fill(MAC_B), []), 'the device refuses the MAC table'],
    [split(13), 'headerBytes: got 13, must be a whole number from 14 to 1518, the frameBytes of its pool'],
    [split(1519), 'headerBytes: got 1519, must be a whole number from 14 to 1518, the frameBytes of its pool'],
    [split(42, { id: 0 }), 'pool id: got 0, must be one that no other pool of this driver has'],
    [() => nic.steer(rule, 2), 'pair: got 2, must be a pair of this NIC, from 0 to 1'],
    [() => nic.steer({ ...rule, protocol: 'icmp' as 'udp' }, 1), 'protocol: got "icmp", must be udp or tcp'],
    [() => nic.steer({ ...rule, destination: '10.0.0.256' }, 1), 'address: got "10.0.0.256", must be an IPv4 or IPv6 address, as 198.18.0.1 or fd00::1'],
    [() => nic.steer({ ...rule, destination: '1:2::3::4' }, 1), 'address: got "1:2::3::4", must be an IPv4 or IPv6 address, as 198.18.0.1 or fd00::1'],
    [() => nic.steer({ ...rule, destination: '1:2:3:4:5:6:7' }, 1), 'address: got "1:2:3:4:5:6:7", must be an IPv4 or IPv6 address, as 198.18.0.1 or fd00::1'],
    [() => nic.steer({ ...rule, destinationPort: 0 }, 1), 'destinationPort: got 0, must be a port from 1 to 65535'],
    [() => nic.steer({ ...rule, sourcePort: 1 }, 1), 'source: got undefined, must be given together with sourcePort, or neither of them'],
    [() => nic.steer({ ...rule, source: '::1', sourcePort: 1 }, 1), 'source: got "::1", must be of the family of destination'],
    [() => nic.map({ iova: -1, region: nic.region }), 'iova: got -1, must be a whole number from 0 on'],
    [() => nic.map({ iova: 2 ** 30, region: nic.region, offset: 0.5 }), 'offset: got 0.5, must be a whole number from 0 on'],
    [() => nic.map({ iova: 2 ** 30, region: nic.region, queue: 5 }), 'queue: got 5, must be a queue of this NIC, from 0 to 4'],
    [() => nic.map({ iova: 2 ** 30, region: nic.region, queue: -5 }), 'queue: got -5, must be a queue of this NIC, from 0 to 4'],
    [() => nic.map({ iova: 2 ** 30, region: nic.region, access: 'all' as 'both' }), 'access: got "all", must be read, write or both'],
  ];
  for (const [call, message] of argument) refuses(t, call, 'ERR_INVALID_ARGUMENT', message);
  const merging = new NicDriver(new Nic(stepped()), { features: FEATURE_NAMES });
  refuses(t, () => merging.splitPair(merging.pairs[0], 42, merging.pool, merging.pool), 'ERR_UNSUPPORTED', 'a pair with mergeable buffers can not split its frames');
  for (let i = 0; i < 4096; i++) nic.steer({ ...rule, destinationPort: i + 1 }, 0);
  refuses(t, () => nic.steer({ ...rule, destinationPort: 5000 }, 0), 'ERR_OUT_OF_RANGE', 'steer: the table of 4096 rules is full');
  t.equal(driver.poll(), 0, 'what was refused changed nothing');
  link.close();
  t.end();
});

t.test('DMA mappings outside a region, over one another or one too many are refused (all or none)', (t) => {
  const { nic } = new Host(stepped(), { regionBytes: 2 ** 20 }, { queueSize: 16, buffers: 32 });
  const region = new Region(8192);
  const refused = (iova: number, offset: number, length: number): void =>
    refuses(
      t,
      () => nic.map({ iova, region, offset, length }),
      'ERR_OUT_OF_RANGE',
      `map: ${length} bytes from ${offset} at iova ${iova} lie outside the region, overlap another mapping, or are one too many`,
    );
  refused(2 ** 20, 0, 8193);
  refused(2 ** 20, 8192, 1);
  refused(2 ** 20, 0, 0);
  refused(0, 0, 4096);
  refused(2 ** 20 - 1, 0, 4096);
  nic.map({ iova: 2 ** 21, region, length: 4096, queue: 1 });
  refused(2 ** 21 + 4095, 0, 100);
  nic.map({ iova: 2 ** 21 + 4095, region, length: 100, queue: 0 });
  t.equal(nic.unmap(2 ** 21 + 4095), true, 'what queue 1 refused, queue 0 did not keep');
  t.equal(nic.unmap(2 ** 21 + 4095), false);
  for (let i = 1; i < 15; i++) nic.map({ iova: 2 ** 22 + 4096 * i, region, length: 4096 });
  refused(2 ** 23, 0, 4096);
  t.end();
});
