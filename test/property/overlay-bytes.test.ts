// Any bytes from a stranger, or from a member gone mad, into a live overlay: nothing throws, every message is dropped for one cause at most, no identifier
// changes hands but by the directory's word, memory stays bounded, and a stream beside goes on without loss or duplicate.
// FUZZ_SECONDS=60 lets it run for so long with a seed of the time's; what fails prints seed and path.
import fc from 'fast-check';
import t from 'tap';
import { MAX_MESSAGE_BYTES } from '../../src/overlay/index.js';
import { KnCube } from '../../src/overlay/cube/kncube.js';
import { MS, Rig, SECOND, droppedSum, message } from '../overlay/rig.js';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
t.setTimeout((seconds + 120) * 1000);
const HOSTS = 8;
const MAD = HOSTS;
const CHANNEL = 3;
/** Stands for the lease of the host that the message is for: the first host has the first one. */
const RECEIVERS_OWN = -1;
const cube = new KnCube(3, 3);

/** Bytes of each type without its list. */
const BYTES = [20, 36, 28, 28, 24, 20, 24, 28, 24, 52, 44, 36, 28, 28, 40, 60, 36, 68, 28];
/** And of an item of it. */
const ITEMS: Readonly<Record<number, number>> = { 7: 4, 10: 4, 14: 1, 16: 8 };

/** Values that mean something: identifiers, hosts, channels, ranks, and what lies at the edges. */
const word = fc.oneof(
  { weight: 4, arbitrary: fc.nat(cube.size) },
  { weight: 2, arbitrary: fc.constantFrom(CHANNEL, MAD, 0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 2 ** 26, 2 ** 26 - 1, 2 ** 27, 0xffff, 0x01000000) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffffffff }) },
);
const kind = fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 1, max: 18 }) }, { weight: 1, arbitrary: fc.nat(255) });

interface Step {
  to: number;
  from: number;
  type: number;
  words: readonly number[];
  list: number;
  incarnation: number;
  sequence: number | null;
  cut: number;
  changes: readonly (readonly [number, number])[];
  again: boolean;
  waitUs: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  to: fc.nat(HOSTS - 1),
  from: fc.oneof({ weight: 20, arbitrary: fc.constant(MAD) }, { weight: 1, arbitrary: fc.nat(HOSTS) }),
  type: kind,
  words: fc.array(word, { minLength: 8, maxLength: 8 }),
  list: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(0, cube.degree) }, { weight: 1, arbitrary: fc.nat(20) }),
  incarnation: fc.oneof({ weight: 20, arbitrary: fc.constant(1000) }, { weight: 2, arbitrary: fc.constant(RECEIVERS_OWN) }, { weight: 1, arbitrary: fc.constantFrom(0, 999, 1001, 0xffffffff) }),
  sequence: fc.option(fc.nat(5), { freq: 20, nil: null }),
  cut: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: -8, max: 1500 }) }),
  changes: fc.oneof({ weight: 6, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }) }),
  again: fc.boolean(),
  waitUs: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.constant(30 * MS) }, { weight: 1, arbitrary: fc.constant(SECOND) }),
});

function bytesOf({ to, from, type, words, list, incarnation, cut, changes }: Step, sequence: number, version: number): Uint8Array {
  const fixed = BYTES[type] ?? 20;
  const length = fixed + (ITEMS[type] ?? 0) * list;
  const bytes = message(cube, type, length, from, incarnation === RECEIVERS_OWN ? to + 1 : incarnation, sequence);
  const view = new DataView(bytes.buffer);
  for (let at = 20, i = 0; at + 4 <= length; at += 4, i++) view.setUint32(at, words[i % words.length]);
  // Most are about the stream that there is, most of these about its version.
  if ([9, 10, 11, 12, 13, 14, 15, 16, 17].includes(type) && words[0] % 4 > 0) {
    view.setUint32(20, CHANNEL);
    view.setUint32(24, 0);
    if ([9, 10, 11, 14].includes(type) && words[1] % 4 > 0) view.setUint32(28, version);
  }
  if (type === 7) view.setUint32(24, list);
  if (type === 10) view.setUint8(35, list);
  if (type === 16) view.setUint8(28, list);
  for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
  if (cut < 0) return bytes.slice(0, Math.max(1, length + cut));
  const longer = new Uint8Array(Math.min(MAX_MESSAGE_BYTES, length + cut));
  longer.set(bytes);
  return longer;
}

t.test('a live overlay outlives any messages', { timeout: (seconds + 60) * 1000 }, (t) => {
  let messages = 0;
  const property = fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
    const rig = new Rig({ hosts: HOSTS + 1, k: cube.k, n: cube.n, seed: 7 });
    rig.formed((host) => Array.from({ length: cube.size }, (_, i) => i).filter((i) => i % HOSTS === host), HOSTS);
    const publication = rig.node(0).advertise(CHANNEL, 20);
    const inboxes = Array.from({ length: HOSTS - 1 }, (_, i) => rig.subscribe(i + 1, CHANNEL));
    rig.run(2 * SECOND);
    const { version } = rig.node(0).branches()[0];
    const mad = rig.stranger(MAD);
    let sequence = 0;
    for (const one of steps) {
      const number = one.sequence ?? sequence++;
      mad.say(one.to, bytesOf(one, number, version));
      if (one.again) mad.say((one.to + 1) % HOSTS, bytesOf({ ...one, to: (one.to + 1) % HOSTS }, number, version));
      messages += one.again ? 2 : 1;
      rig.publish(publication, 0);
      rig.run(one.waitUs);
    }
    rig.run(SECOND);
    // From here on nothing may be missing: whatever was upset has been put right.
    rig.run(10 * SECOND);
    const from = rig.published(0);
    rig.stream([[0, publication]], 0.1 * SECOND, 2 * SECOND).run(SECOND);
    for (const { numbers, subscription } of inboxes) {
      const late = (numbers.get(0) ?? []).filter((number) => number >= from);
      if (late.length !== rig.published(0) - from) throw new Error(`host ${inboxes.findIndex((inbox) => inbox.subscription === subscription) + 1} got ${late.length} of the last ${rig.published(0) - from}`);
    }
    for (const node of rig.live) {
      const { received } = node.counters;
      if (droppedSum(node) > received) throw new Error(`host ${node.host} dropped ${droppedSum(node)} of ${received}`);
    }
    const lost = rig.vacant();
    if (lost.length > 0) throw new Error(`vacant: ${lost.join(' ')}`);
  });
  fc.assert(property, seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: (seconds * 1000) / 2 } : { numRuns: 60, seed: 20261123 });
  t.comment(`${messages} messages`);
  t.ok(messages > 0);
  t.end();
});
