// The exchange of identifiers between hosts, message by message: what a search asks, what a host gives its place for, and what comes of it in whole worlds.
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { Exchange, Exchanged, Swap, SwapRefused } from '../../src/overlay/codec.js';
import { isFreeToMove } from '../../src/overlay/moves.js';
import { type Place, Search } from '../../src/overlay/search.js';
import { Child, Stream } from '../../src/overlay/stream.js';
import { Subscription } from '../../src/overlay/index.js';
import { MS, Rig, SECOND } from './rig.js';

const CHANNEL = 4;
const CUBE = 5;
const HOSTS = 2 ** CUBE;

const place = (identifier: number, delayUs: number, host = identifier): Place => ({ host, identifier, depth: 1, delayUs, behind: 0 });

t.test('search: that place next through which a message comes soonest, each once, none that brings nothing, so many at most', (t) => {
  const costs = [Infinity, 5, 1, 2, 9, 0];
  const costUs = (host: number): number => costs[host];
  const search = new Search(3);
  t.equal(search.next(costUs, 100), undefined, 'none is known');
  search.add([place(0, 0), place(1, 10), place(2, 12), place(4, 90)]);
  t.equal(search.next(costUs, 13), undefined, '12 + 1 is no sooner than 13');
  t.equal(search.next(costUs, 100)?.identifier, 2);
  t.equal(search.last?.identifier, 2);
  search.add([place(2, 1), place(1, 1), place(3, 12)]);
  t.equal(search.next(costUs, 100)?.identifier, 3, 'what is known already stays as it is');
  t.equal(search.next(costUs, 100)?.identifier, 1);
  t.equal(search.next(costUs, 100), undefined, 'three were asked');
  t.end();
});

t.test('a host is free to move where no other stream is in time by it, here or below', (t) => {
  const stream = (channel: number): Stream => {
    const made = new Stream(channel, 1, 1, 0, 0);
    made.delayUs = 20;
    return made;
  };
  const asked = stream(1);
  const other = stream(2);
  const trees = { streams: new Map([[1, asked], [2, other]]) } as unknown as Parameters<typeof isFreeToMove>[0];
  t.ok(isFreeToMove(trees, asked), 'it only passes the other on, to nobody');
  other.subscriptions = [new Subscription(2, { boundUs: 10 }), new Subscription(2, {})];
  t.ok(isFreeToMove(trees, asked), 'late, and without a bound');
  other.subscriptions = [new Subscription(2, { boundUs: 20 })];
  t.notOk(isFreeToMove(trees, asked), 'a bound is met');
  t.ok(isFreeToMove(trees, other), 'of the stream for which it moves');
  other.subscriptions = [];
  const child = new Child(undefined as unknown as Child['peer'], 0);
  [child.subscribers, child.late] = [3, 3];
  other.children.push(child);
  t.ok(isFreeToMove(trees, asked), 'all below are late');
  child.late = 2;
  t.notOk(isFreeToMove(trees, asked), 'one below is not');
  t.end();
});

/** All hosts but the publisher subscribe, with bounds of up to so many times their straight way. */
function world(seed: number, tightness: number, rule: 'none' | 'published' | 'improved'): { rig: Rig; delayUs: (a: number, b: number) => number; inTime: () => number } {
  const random = new Random(seed).fork('places');
  const at = Array.from({ length: 2 * HOSTS }, () => random.float());
  const delayUs = (a: number, b: number): number => Math.round(1000 + 40 * MS * Math.hypot(at[2 * a] - at[2 * b], at[2 * a + 1] - at[2 * b + 1]));
  const node = { exchangeDepth: rule === 'none' ? 0 : 3, ...(rule === 'none' ? {} : { exchangeRule: rule }) };
  const rig = new Rig({ hosts: HOSTS, k: 2, n: CUBE, seed, network: { delayUs }, node }).formed((host) => [host], HOSTS, 5 * SECOND);
  rig.node(0).advertise(CHANNEL, 10);
  const bounds = Array.from({ length: HOSTS }, (_, host) => delayUs(0, host) * (1 + (tightness - 1) * random.float()));
  for (let host = 1; host < HOSTS; host++) rig.subscribe(host, CHANNEL, { boundUs: bounds[host], bestEffort: true });
  const trueDelayUs = (host: number): number => {
    const parent = host === 0 ? 0 : rig.node(host).branches()[0].parent;
    return parent === host ? 0 : trueDelayUs(parent) + delayUs(parent, host);
  };
  return { rig, delayUs, inTime: () => bounds.filter((boundUs, host) => host > 0 && trueDelayUs(host) <= boundUs).length };
}

t.test('improved ≥ published ≥ none, in the mean of seeds on the same networks with the same bounds; then all routes are those of the cube (FACTS.md §1)', (t) => {
  const sums = { none: 0, published: 0, improved: 0 };
  for (const seed of [1, 2, 3, 4, 5]) {
    for (const rule of ['none', 'published', 'improved'] as const) {
      const { rig, inTime } = world(seed, 2.5, rule);
      rig.run(60 * SECOND);
      sums[rule] += inTime();
      t.same(rig.vacant(), [], `seed ${seed}: each identifier has a holder`);
      if (!rig.live.every(({ identifiers }) => identifiers.length === 1)) t.fail(`seed ${seed}, ${rule}: held ${rig.held().join(' ')}`);
      // Identifiers that changed hands leave no parent behind that is not beside its child: else publishers would end with all hosts as their children.
      for (const node of rig.live) {
        const [{ parent, children }] = node.branches();
        if (children.length > CUBE) t.fail(`seed ${seed}, ${rule}: host ${node.host} has ${children.length} children`);
        if (node.host !== 0 && rig.cube.distance(node.identifiers[0], rig.node(parent).identifiers[0]) !== 1) t.fail(`seed ${seed}, ${rule}: ${parent} is not beside ${node.host}`);
      }
    }
  }
  t.comment(`in time: ${JSON.stringify(sums)} of ${5 * (HOSTS - 1)}`);
  t.ok(sums.none < sums.published && sums.published <= sums.improved, JSON.stringify(sums));
  t.end();
});

t.test('a refusal leads on: improved, to another place at once; no place is asked for twice in one search', (t) => {
  const { rig } = world(3, 2, 'improved');
  /** By host: the last partner it proposed to, as long as it was not asked for anything else. */
  const refusedBy = new Map<number, Set<number>>();
  let [refusals, followed, repeated] = [0, 0, 0];
  rig.onSent = (from, to, bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    if (bytes[3] === SwapRefused.type) {
      refusals++;
      refusedBy.set(to, (refusedBy.get(to) ?? new Set()).add(view.getUint32(SwapRefused.mine)));
    } else if (bytes[3] === Exchange.type && view.getUint8(Exchange.depth) === 0) refusedBy.delete(from);
    else if (bytes[3] === Exchanged.type && view.getUint8(Exchanged.isSwap) !== 0) t.fail('the improved rule leaves the choice to who asks');
    else if (bytes[3] === Swap.type && refusedBy.has(from)) {
      followed++;
      if (refusedBy.get(from)!.has(view.getUint32(Swap.yours))) repeated++;
    }
  };
  rig.run(40 * SECOND);
  t.comment(`${refusals} refusals, ${followed} others asked after one`);
  t.ok(refusals > 20 && followed > refusals / 4, `${followed} of ${refusals}`);
  t.equal(repeated, 0);
  t.end();
});
