// Messages between overlay hosts, byte by byte, and what is wrong with those that are none.
import t from 'tap';
import * as codec from '../../src/overlay/codec.js';
import { KnCube } from '../../src/overlay/cube/kncube.js';
import { MAX_HOST, MAX_MESSAGE_BYTES } from '../../src/overlay/index.js';
import { MS, Rig, SECOND, message } from './rig.js';

const cube = new KnCube(3, 4);

/** Each type as it lies on the wire: number, bytes without list, and each field's offset and width. */
const WIRE: readonly [keyof typeof codec, number, number, Readonly<Record<string, readonly [number, number]>>][] = [
  ['Heartbeat', 1, 36, { sentUs: [20, 4], echoUs: [24, 4], heldUs: [28, 4], identifiers: [32, 2], isAnswer: [34, 2] }],
  ['Hello', 2, 28, { mine: [20, 4], yours: [24, 4] }],
  ['HelloAck', 3, 28, { mine: [20, 4], yours: [24, 4] }],
  ['NotHeld', 4, 24, { identifier: [20, 4] }],
  ['Join', 5, 20, {}],
  ['Redirect', 6, 24, { host: [20, 4] }],
  ['Handover', 7, 28, { identifier: [20, 4], count: [24, 4] }],
  ['HandoverAck', 8, 24, { identifier: [20, 4] }],
  ['Graft', 9, 56, { channel: [20, 4], publisher: [24, 4], version: [28, 4], root: [32, 4], rank: [36, 2], isProbe: [38, 2], milliRate: [40, 4], subscribers: [44, 4], late: [48, 4], slackUs: [52, 4] }],
  ['Grafted', 10, 44, { channel: [20, 4], publisher: [24, 4], version: [28, 4], rank: [32, 2], isOnTree: [34, 1], count: [35, 1], delayUs: [36, 4], isProbe: [40, 4] }],
  ['Refused', 11, 36, { channel: [20, 4], publisher: [24, 4], version: [28, 4], reason: [32, 4] }],
  ['Prune', 12, 28, { channel: [20, 4], publisher: [24, 4] }],
  ['Rejoin', 13, 28, { channel: [20, 4], publisher: [24, 4] }],
  ['Data', 14, 40, { channel: [20, 4], publisher: [24, 4], version: [28, 4], sequence: [32, 4], ageUs: [36, 4] }],
  ['Exchange', 15, 48, { channel: [20, 4], publisher: [24, 4], mine: [28, 4], near: [32, 4], costUs: [36, 4], root: [40, 4], depth: [44, 1], isImproved: [45, 1], isRefused: [46, 2] }],
  ['Exchanged', 16, 40, { channel: [20, 4], publisher: [24, 4], near: [28, 4], delayUs: [32, 4], count: [36, 1], isSwap: [37, 3] }],
  ['Swap', 17, 52, { channel: [20, 4], publisher: [24, 4], mine: [28, 4], yours: [32, 4], delayUs: [36, 4], thenUs: [40, 4], boundUs: [44, 4], count: [48, 1], ways: [49, 1], isImproved: [50, 2] }],
  ['SwapRefused', 18, 32, { mine: [20, 4], yours: [24, 4], reason: [28, 4] }],
  ['Survey', 19, 32, { mine: [20, 4], yours: [24, 4], count: [28, 4] }],
  ['Surveyed', 20, 32, { mine: [20, 4], yours: [24, 4], count: [28, 4] }],
];
const LISTS = { Handover: 4, Grafted: 4, Data: 1, Exchanged: 16, Swap: 20, Survey: 4, Surveyed: 4 } as const;

t.test('every type: its number, its length, its fields at their offsets, side by side without a gap', (t) => {
  for (const [name, type, bytes, fields] of WIRE) {
    const layout = codec[name] as unknown as Record<string, number>;
    t.match(layout, { type, bytes, ...Object.fromEntries(Object.entries(fields).map(([field, [offset]]) => [field, offset])) }, name);
    t.equal(layout['item'] ?? 0, (LISTS as Record<string, number>)[name] ?? 0, `${name}: bytes an item`);
    let end = codec.Header.bytes as number;
    for (const [field, [offset, width]] of Object.entries(fields)) {
      t.equal(offset, end, `${name}.${field}`);
      t.equal(offset % Math.min(width === 3 ? 1 : width, 4), 0, `${name}.${field} is aligned`);
      end = offset + width;
    }
    t.equal(end, bytes, `${name} ends with its last field`);
  }
  t.equal(codec.MAX_PAYLOAD_BYTES, MAX_MESSAGE_BYTES - 40);
  t.ok(codec.Grafted.bytes + codec.Grafted.item * codec.MAX_ANCESTORS <= MAX_MESSAGE_BYTES, 'the longest list fits');
  t.end();
});

t.test('a header in network order', (t) => {
  const bytes = message(cube, 9, 44, 0x01020304, 0xa1b2c3d4, 0x0badcafe);
  t.same([...bytes.subarray(0, 20)], [0x6b, 0x63, 1, 9, 0, 44, 3, 4, 1, 2, 3, 4, 0xa1, 0xb2, 0xc3, 0xd4, 0x0b, 0xad, 0xca, 0xfe]);
  const wide = message(new KnCube(256, 2), 1, 36, 0, 1, 0);
  t.same([...wide.subarray(6, 8)], [0, 2], 'k = 256 is 0');
  t.equal(codec.malformation(new DataView(wide.buffer), 0, 36, new KnCube(256, 2)), undefined);
  t.end();
});

/** The verdict on `bytes` that lie at an odd place in a memory. */
function verdict(bytes: Uint8Array, of = cube): codec.Malformation | undefined {
  const memory = new Uint8Array(bytes.length + 2 * 7).fill(0xff);
  memory.set(bytes, 7);
  return codec.malformation(new DataView(memory.buffer), 7, bytes.length, of);
}

t.test('what is wrong with a form, each by its name, of every type', (t) => {
  for (const [name, type, bytes] of WIRE) {
    const good = message(cube, type, bytes, 5, 77, 1);
    const but = (offset: number, value: number): Uint8Array => {
      const copy = good.slice();
      copy[offset] = value;
      return copy;
    };
    t.equal(verdict(good), undefined, name);
    for (let length = 0; length < 20; length++) t.equal(verdict(good.subarray(0, length)), 'short');
    t.equal(verdict(but(0, 0x6c)), 'magic');
    t.equal(verdict(but(1, 0)), 'magic');
    for (const version of [0, 2, 255]) t.equal(verdict(but(2, version)), 'version');
    for (const other of [0, 21, 22, 255]) t.equal(verdict(but(3, other)), 'type');
    t.equal(verdict(but(5, bytes + 1)), 'length', 'says more than there is');
    t.equal(verdict(but(4, 1)), 'length');
    if (bytes > 20) t.equal(verdict(message(cube, type, bytes - 1, 5, 77, 1)), 'length', 'a field is cut');
    if (!(name in LISTS)) t.equal(verdict(message(cube, type, bytes + 1, 5, 77, 1)), 'length', 'something behind it');
    t.equal(verdict(good, new KnCube(4, 4)), 'shape', 'another k');
    t.equal(verdict(good, new KnCube(3, 5)), 'shape', 'another n');
    t.equal(verdict(message(cube, type, bytes, MAX_HOST, 0xffffffff, 0)), undefined);
    t.equal(verdict(message(cube, type, bytes, MAX_HOST + 1, 77, 0)), 'sender');
    t.equal(verdict(message(cube, type, bytes, 0xffffffff, 77, 0)), 'sender');
    t.equal(verdict(message(cube, type, bytes, 5, 0, 0)), 'sender', 'no incarnation');
  }
  t.end();
});

t.test('a list is as long as it says, and no message is longer than the transport carries', (t) => {
  for (const count of [0, 1, 8, 355]) {
    const length = 28 + 4 * count;
    t.equal(verdict(message(cube, 7, length, 5, 77, 1, { 24: [4, count] })), undefined);
    t.equal(verdict(message(cube, 7, length, 5, 77, 1, { 24: [4, count + 1] })), 'length');
    t.equal(verdict(message(cube, 7, length + 4, 5, 77, 1, { 24: [4, count] })), 'length');
    // 4 · 2^30 is 0 in 32 bits.
    t.equal(verdict(message(cube, 7, length, 5, 77, 1, { 24: [4, 2 ** 30 + count] })), 'length');
  }
  for (const count of [0, 1, 255]) {
    const length = 44 + 4 * count;
    t.equal(verdict(message(cube, 10, length, 5, 77, 1, { 35: [1, count] })), undefined);
    t.equal(verdict(message(cube, 10, length, 5, 77, 1, { 35: [1, (count + 1) & 255] })), 'length');
  }
  for (const [type, fixed, item, at] of [[16, 40, 16, 36], [17, 52, 20, 48], [19, 32, 4, 28], [20, 32, 4, 28]] as const) {
    for (const count of [0, 1, 20, 65]) {
      const length = fixed + item * count;
      t.equal(verdict(message(cube, type, length, 5, 77, 1, { [at]: [1, count] })), undefined);
      t.equal(verdict(message(cube, type, length, 5, 77, 1, { [at]: [1, count + 1] })), 'length');
    }
  }
  for (const payload of [0, 1, codec.MAX_PAYLOAD_BYTES]) t.equal(verdict(message(cube, 14, 40 + payload, 5, 77, 1)), undefined);
  t.equal(verdict(message(cube, 14, MAX_MESSAGE_BYTES + 1, 5, 77, 1)), 'length');
  t.end();
});

t.test('what hosts say to each other is well formed, and says what is the case', (t) => {
  const rig = new Rig({ hosts: 12, k: 3, n: 2, seed: 5, node: { exchangeDepth: 3 } });
  const counts = new Map<number, number>();
  rig.onSent = (from, _to, bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const type = bytes[3];
    counts.set(type, (counts.get(type) ?? 0) + 1);
    const wrong = codec.malformation(view, 0, bytes.length, rig.cube);
    if (wrong !== undefined) t.fail(`${wrong}: ${bytes.join(' ')}`);
    if (view.getUint32(8) !== from) t.fail('another sender');
    if (type === 2 && rig.cube.portTo(view.getUint32(20), view.getUint32(24)) < 0) t.fail('Hello: no neighbours');
    if (type === 7 && view.getUint32(24) !== rig.cube.degree) t.fail('Handover: not one holder a port');
  };
  rig.joined(10);
  const publication = rig.node(0).advertise(3, 10);
  for (let host = 1; host < 9; host++) rig.subscribe(host, 3, { boundUs: 9 * MS });
  rig.stream([[0, publication]], 0.1 * SECOND, 5 * SECOND);
  rig.node(4).leave();
  rig.world.rearm(4);
  rig.run(10 * SECOND);
  const silent = WIRE.filter(([, type]) => !counts.has(type)).map(([name]) => name);
  t.same(silent.filter((name) => !/^(Exchange|Exchanged|Swap|SwapRefused|Survey|Surveyed|Refused)$/.test(name)), [], `seed ${rig.seed}: types that were sent ${[...counts.keys()].join(' ')}`);
  t.end();
});
