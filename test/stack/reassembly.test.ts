// Fragments put together, against a model that keeps each byte by itself; and timers, which all of the stack's waits stand on.
import fc from 'fast-check';
import t from 'tap';
import { VirtualClock } from '../../src/base/index.js';
import { type FirstFragment, Reassembly, type ReassemblyOptions } from '../../src/stack/reassembly.js';
import { type Timer, Timers, TokenBucket } from '../../src/base/index.js';
import { ip, patterned } from './rig.js';

const [FROM, TO] = [ip('198.18.0.2'), ip('198.18.0.1')];
const UNIT = 8;

/** A Reassembly with a clock in the test's hand. */
class Bench {
  readonly clock = new VirtualClock();
  readonly timers = new Timers(() => this.clock.nowUs());
  readonly reported: FirstFragment[] = [];
  readonly reassembly: Reassembly;

  constructor(options: Partial<ReassemblyOptions> = {}) {
    this.reassembly = new Reassembly({ timeoutUs: 60e6, maxBytes: 2 ** 22, maxDatagrams: 64, ...options }, this.timers, (first) => this.reported.push(first));
  }

  /** One fragment; `id` also numbers the first fragment's packet. */
  add(id: number, offset: number, more: boolean, payload: Uint8Array, source = FROM, protocol = 17): Uint8Array | undefined {
    const first = offset === 0 ? { protocol: 17, packet: Uint8Array.of(id) } : undefined;
    return this.reassembly.add(source, TO, id, protocol, offset, more, payload, first)?.payload;
  }

  wait(us: number): void {
    this.clock.advance(us);
    this.timers.run();
  }
}

interface Piece {
  id: number;
  offset: number;
  more: boolean;
  payload: Uint8Array;
}

/** A datagram cut at these places. */
function cut(id: number, whole: Uint8Array, cuts: readonly number[]): Piece[] {
  const places = [...new Set([0, ...cuts.map((c) => (c % Math.ceil(whole.length / UNIT)) * UNIT), whole.length])].sort((a, b) => a - b);
  return places.slice(1).map((to, i) => ({ id, offset: places[i], more: to < whole.length, payload: whole.slice(places[i], to) }));
}

const datagram = fc.record({ length: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 9000 }), fc.constantFrom(65535, 65528, 1480)), cuts: fc.array(fc.nat(1500), { maxLength: 12 }) });

t.test('RFC 791 §3.2, RFC 8200 §4.5: fragments of several datagrams in any order, some twice, give exactly what was cut', (t) => {
  fc.assert(fc.property(fc.array(datagram, { minLength: 1, maxLength: 5 }), fc.infiniteStream(fc.nat()), (datagrams, choices) => {
    const bench = new Bench();
    const draw = (below: number): number => (choices.next().value as number) % below;
    const wholes = datagrams.map(({ length }, id) => patterned(id + 1, length));
    const left = wholes.flatMap((whole, id) => cut(id, whole, datagrams[id].cuts));
    const done = new Map<number, Uint8Array>();
    const sent: Piece[] = [];
    while (left.length > 0) {
      // Something that came before comes again, as long as its datagram is not done: then it would begin a new one.
      const again = sent.filter(({ id }) => !done.has(id));
      const piece = again.length > 0 && draw(4) === 0 ? again[draw(again.length)] : left.splice(draw(left.length), 1)[0];
      sent.push(piece);
      const whole = bench.add(piece.id, piece.offset, piece.more, piece.payload.slice());
      if (whole === undefined) continue;
      if (done.has(piece.id)) return false;
      done.set(piece.id, whole.slice());
    }
    return bench.reassembly.size === 0 && wholes.every((whole, id) => Buffer.compare(done.get(id) ?? new Uint8Array(0), whole) === 0) && bench.timers.nextUs === Infinity;
  }), { numRuns: 300 });
  t.end();
});

/** What a byte-by-byte reader of RFC 791, 5722 and 8200 would do with the fragments of one datagram. */
class Model {
  private bytes = new Map<number, number>();
  private spans: string[] = [];
  private total: number | undefined;

  add({ offset, more, payload }: Piece): 'refused' | 'duplicate' | 'dropped' | 'kept' | Uint8Array {
    const to = offset + payload.length;
    if (payload.length === 0 || to > 65535 || (more && payload.length % UNIT !== 0)) return 'refused';
    if (this.spans.includes(`${offset} ${to}`)) return 'duplicate';
    const beyond = [...this.bytes.keys()].some((at) => at >= to);
    const overlap = payload.some((_, i) => this.bytes.has(offset + i));
    const inconsistent = (this.total !== undefined && (to > this.total || (!more && to !== this.total))) || (!more && beyond);
    if (overlap || inconsistent) {
      this.clear();
      return 'dropped';
    }
    this.spans.push(`${offset} ${to}`);
    for (const [i, byte] of payload.entries()) this.bytes.set(offset + i, byte);
    if (!more) this.total = to;
    if (this.bytes.size !== this.total) return 'kept';
    const whole = Uint8Array.from({ length: this.total }, (_, at) => this.bytes.get(at)!);
    this.clear();
    return whole;
  }

  private clear(): void {
    [this.bytes, this.spans, this.total] = [new Map<number, number>(), [], undefined];
  }
}

t.test('RFC 5722 §4, RFC 8200 §4.5: any fragments whatever, overlapping, contradictory, too long, as the model says', (t) => {
  const piece = fc.record({
    id: fc.constant(1),
    offset: fc.oneof({ weight: 20, arbitrary: fc.nat(8).map((n) => UNIT * n) }, { weight: 1, arbitrary: fc.constantFrom(65528, 65520) }),
    more: fc.boolean(),
    payload: fc.tuple(fc.oneof({ weight: 10, arbitrary: fc.nat(4).map((n) => UNIT * n) }, { weight: 3, arbitrary: fc.nat(30) }), fc.nat(255)).map(([length, seed]) => patterned(seed, length)),
  });
  const outcomes = new Set<string>();
  fc.assert(fc.property(fc.array(piece, { maxLength: 25 }), (pieces) => {
    const bench = new Bench();
    const { counters } = bench.reassembly;
    const model = new Model();
    for (const p of pieces) {
      const before = { ...counters };
      const got = bench.add(p.id, p.offset, p.more, p.payload.slice());
      const expected = model.add(p);
      outcomes.add(typeof expected === 'string' ? expected : 'whole');
      const said =
        got !== undefined ? 'whole' : counters.tooLong > before.tooLong ? 'refused' : counters.duplicates > before.duplicates ? 'duplicate' : counters.overlaps > before.overlaps ? 'dropped' : 'kept';
      if (said !== (typeof expected === 'string' ? expected : 'whole')) return false;
      if (got !== undefined && Buffer.compare(got, expected as Uint8Array) !== 0) return false;
    }
    return true;
  }), { numRuns: 2000 });
  t.same([...outcomes].sort(), ['dropped', 'duplicate', 'kept', 'refused', 'whole'], 'the runs saw all that there is');
  t.end();
});

t.test('RFC 5722 §4: after an overlap nothing of the datagram is delivered', (t) => {
  const bench = new Bench();
  const data = patterned(1, 40);
  bench.add(1, 0, true, data.subarray(0, 16));
  t.equal(bench.add(1, 8, true, data.subarray(8, 24)), undefined, 'overlaps, if with the same bytes');
  t.equal(bench.reassembly.size, 0);
  t.equal(bench.add(1, 24, false, data.subarray(24)), undefined, 'the rest is not enough');
  t.match(bench.reassembly.counters, { overlaps: 1, reassembled: 0 });
  t.end();
});

t.test('a datagram is known by its addresses, identification and protocol (RFC 791 §3.2, RFC 8200 §4.5)', (t) => {
  const bench = new Bench();
  const data = patterned(1, 16);
  bench.add(1, 0, true, data.subarray(0, 8));
  t.equal(bench.add(2, 8, false, data.subarray(8)), undefined, 'another identification');
  t.equal(bench.add(1, 8, false, data.subarray(8), ip('198.18.0.3')), undefined, 'another source');
  t.equal(bench.add(1, 8, false, data.subarray(8), FROM, 6), undefined, 'another protocol');
  t.equal(bench.reassembly.size, 4);
  t.same(bench.add(1, 8, false, data.subarray(8)), data);
  bench.reassembly.clear();
  t.equal(bench.reassembly.size, 0);
  t.equal(bench.timers.nextUs, Infinity, 'and no timer is left');
  t.end();
});

t.test('RFC 1122 §3.3.2, RFC 8200 §4.5: 60 s after the first to come, whatever came later; reported only if the one at 0 did', (t) => {
  const bench = new Bench();
  const eight = new Uint8Array(8);
  bench.add(1, 0, true, eight);
  bench.add(2, 8, true, eight);
  bench.wait(30e6);
  bench.add(1, 8, true, eight);
  bench.wait(29.9e6);
  t.equal(bench.reassembly.size, 2);
  bench.wait(0.2e6);
  t.equal(bench.reassembly.size, 0);
  t.same(bench.reported.map(({ packet }) => packet[0]), [1], 'of the second its sender is told nothing');
  t.equal(bench.reassembly.counters.timedOut, 2);
  t.equal(bench.add(1, 16, false, eight), undefined, 'too late: it begins a new one');
  t.equal(bench.reassembly.size, 1);
  t.end();
});

t.test('limits: datagrams and bytes, the oldest goes first', (t) => {
  const bench = new Bench({ maxDatagrams: 4 });
  for (let id = 0; id < 10; id++) bench.add(id, 0, true, new Uint8Array(8));
  t.equal(bench.reassembly.size, 4);
  t.equal(bench.reassembly.counters.evicted, 6);
  t.same(bench.add(9, 8, false, new Uint8Array(8))?.length, 16, 'the youngest is there');
  t.equal(bench.add(0, 8, false, new Uint8Array(8)), undefined, 'the oldest is not');
  bench.wait(61e6);
  t.same(bench.reported.map(({ packet }) => packet[0]).sort(), [6, 7, 8], 'who was put out is not reported as timed out, nor is who came without a beginning');

  const small = new Bench({ maxBytes: 10_000 });
  for (let id = 0; id < 10; id++) small.add(id, 0, true, new Uint8Array(1480));
  t.ok(small.reassembly.size < 10 && small.reassembly.size >= 1, `${small.reassembly.size} of 10 fit`);
  t.equal(small.reassembly.size + small.reassembly.counters.evicted, 10);
  t.equal(small.add(77, 60_000, true, new Uint8Array(1480)), undefined, 'one that is over the limit by itself goes, and takes no others back in');
  t.equal(small.reassembly.size, 0);
  t.same(small.add(78, 0, false, new Uint8Array(100))?.length, 100, 'afterwards there is room again');
  // Random fragments for ever: what is held stays below the limits.
  fc.assert(fc.property(fc.array(fc.record({ id: fc.nat(50), offset: fc.nat(8000), more: fc.boolean(), units: fc.nat(200) }), { maxLength: 300 }), (pieces) => {
    const limited = new Bench({ maxDatagrams: 8, maxBytes: 50_000 });
    for (const { id, offset, more, units } of pieces) {
      limited.add(id, UNIT * offset, more, new Uint8Array(UNIT * units));
      if (limited.reassembly.size > 8) return false;
    }
    limited.wait(61e6);
    return limited.reassembly.size === 0 && limited.timers.nextUs === Infinity;
  }), { numRuns: 100 });
  t.end();
});

t.test('timers run in order of time, each once, cancelled ones never', (t) => {
  fc.assert(fc.property(fc.array(fc.oneof(
    fc.record({ act: fc.constant('after' as const), n: fc.nat(1000) }),
    fc.record({ act: fc.constantFrom('cancel' as const, 'wait' as const), n: fc.nat(400) }),
  ), { maxLength: 120 }), (steps) => {
    const clock = new VirtualClock();
    const timers = new Timers(() => clock.nowUs());
    const made: { timer: Timer; atUs: number; state: 'waits' | 'ran' | 'cancelled' }[] = [];
    const ran: number[] = [];
    let earlier = 0;
    timers.onEarlier = () => earlier++;
    for (const { act, n } of steps) {
      if (act === 'after') {
        const waiting = made.filter(({ state }) => state === 'waits');
        const atUs = clock.nowUs() + n;
        const first = waiting.every((other) => other.atUs > atUs);
        const before = earlier;
        const entry: (typeof made)[number] = { timer: timers.after(n, () => {
          entry.state = entry.state === 'waits' ? 'ran' : 'cancelled';
          ran.push(entry.atUs);
        }), atUs, state: 'waits' };
        made.push(entry);
        // Whoever sleeps must be told of an earlier time; being told once too often (behind a cancelled one) does no harm.
        if (first && earlier === before && waiting.length > 0 && timers.nextUs < Math.min(...waiting.map((other) => other.atUs))) return false;
      } else if (act === 'cancel' && made.length > 0) {
        const entry = made[n % made.length];
        entry.timer.cancel();
        if (entry.state === 'waits') entry.state = 'cancelled';
      } else if (act === 'wait') {
        clock.advance(n);
        const due = made.filter(({ state, atUs }) => state === 'waits' && atUs <= clock.nowUs());
        const count = ran.length;
        timers.run();
        const now = ran.slice(count);
        if (now.length !== due.length || due.some(({ state }) => state !== 'ran') || now.some((at, i) => i > 0 && at < now[i - 1])) return false;
      }
      const left = made.filter(({ state }) => state === 'waits').map(({ atUs }) => atUs);
      if (timers.nextUs !== Math.min(Infinity, ...left)) return false;
    }
    return true;
  }), { numRuns: 500 });
  t.end();
});

t.test('a token bucket lets a burst through, and then so many a second (RFC 4443 §2.4 f)', (t) => {
  const clock = new VirtualClock();
  const bucket = new TokenBucket(10, 3, () => clock.nowUs());
  const takes = (n: number): boolean[] => Array.from({ length: n }, () => bucket.take());
  t.same(takes(4), [true, true, true, false]);
  clock.advance(100_000);
  t.same(takes(2), [true, false]);
  clock.advance(50_000);
  t.same(takes(1), [false], 'half a token is none');
  clock.advance(1e9);
  t.same(takes(4), [true, true, true, false], 'no more than a burst is saved up');
  t.end();
});
