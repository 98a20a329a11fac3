// The records between host and agent against a model: whatever an agent writes, nothing out of a buffer's bounds is handed on, and each
// buffer is in one place.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { Abi, Control, Emit, Input, Payloads, Verdict } from '../../src/spa/index.js';
import { Exchange } from '../../src/spa/exchange.js';
import { type Instance } from '../../src/spa/instance.js';
import { Rig } from './rig.js';

const SEED = Number(process.env['RINGCUBE_SEED'] ?? 20050302);
t.comment(`RINGCUBE_SEED=${SEED}`);
const BUFFER_BYTES = 128;
const EMIT_ROOM = 6;
const WORDS = Abi.recordBytes / 4;

/** Memory and records without an agent behind them: the test writes what one would have written. */
function puppet(u8: Uint8Array): Instance {
  return {
    words: u8.length === Abi.windowEnd ? new Int32Array(u8.buffer) : new Int32Array(Abi.windowStart >> 2), u8, hasTick: false, hasState: false,
    init: () => undefined, batch: () => undefined, tick: () => undefined, save: () => undefined, restore: () => undefined,
  };
}

/** Near the edges of what is right, and anything. */
const word = fc.oneof(fc.integer(), fc.integer({ min: -2, max: BUFFER_BYTES + 2 }), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, -1));
const verdict = fc.oneof(fc.constantFrom(-1, 0, 1, 2, 3, 255, 256, 257), fc.integer({ min: 0, max: BUFFER_BYTES + 2 }).map((n) => (n << 8) | 2), fc.integer());
const record = fc.record({ length: fc.nat(BUFFER_BYTES), foreign: fc.boolean(), verdict, shift: fc.oneof(fc.constant(0), word) });
const emit = fc.record({ length: word, output: word, after: fc.oneof(fc.nat(10), fc.integer()) });
const call = fc.record({ records: fc.array(record, { maxLength: 12 }), emits: fc.array(emit, { maxLength: EMIT_ROOM + 2 }), count: fc.option(fc.integer()), trapped: fc.boolean(), capacity: fc.integer({ min: 0, max: 24 }) });

for (const window of ['trusted', 'shared', 'copy'] as const) {
  t.test(window, (t) => {
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 5 }), (calls) => {
        const rig = new Rig(2 ** 17);
        const domain = rig.domain({ bufferBytes: BUFFER_BYTES, buffers: 20 });
        const elsewhere = rig.domain({ bufferBytes: BUFFER_BYTES, buffers: 20 });
        const instance = puppet(window === 'copy' ? new Uint8Array(Abi.windowEnd) : rig.memory.u8);
        const { words } = instance;
        const exchange = new Exchange(domain, window, EMIT_ROOM);
        exchange.prepare(instance);
        let came = 0;
        for (const { records, emits, count, trapped, capacity } of calls) {
          // In: of this domain and of another, each with a number in its bytes.
          const input = new Payloads(16);
          records.forEach(({ length, foreign }, i) => {
            const { pool } = foreign ? elsewhere : domain;
            const handle = pool.get();
            if (handle < 0) return;
            rig.memory.u8.fill(i + 1, pool.offsetOf(handle), pool.offsetOf(handle) + length);
            input.add(handle, pool.offsetOf(handle), length, i, 0);
            came++;
          });
          const brought = input.count;
          input.count = 0;
          const room = words[Control.emitRoom >> 2];
          const before = { ...exchange.counters };
          const n = exchange.bring(instance, input, brought);
          assert.equal(words[Control.count >> 2], n);
          assert.equal(words[Control.emits >> 2], 0);
          const seen = Array.from({ length: n }, (_, i) => Array.from({ length: WORDS }, (_, k) => words[(Control.inputs >> 2) + i * WORDS + k]));
          for (let i = 0; i < n; i++) {
            const [ptr, length, meta, none] = seen[i];
            assert.equal(none, Verdict.none);
            assert.equal(length, records[meta].length);
            const at = window === 'shared' ? ptr - Abi.windowStart + domain.offset : ptr;
            assert.ok(instance.u8.subarray(at, at + length).every((byte) => byte === meta + 1), 'the bytes that came');
          }
          // The agent's turn.
          const mine = seen.map(([, , meta]) => records[meta]);
          mine.forEach((r, i) => {
            const at = (Control.inputs >> 2) + i * WORDS;
            words[at + Input.verdict] = r.verdict;
            words[at + Input.ptr] = seen[i][Input.ptr] + r.shift;
          });
          emits.forEach((e, i) => {
            const at = (Control.emitRecords >> 2) + i * WORDS;
            words[at + Emit.ptr] = e.length; // nonsense: the host knows its buffers
            words[at + Emit.length] = e.length;
            words[at + Emit.output] = e.output;
            words[at + Emit.after] = e.after;
          });
          words[Control.emits >> 2] = count ?? emits.length;
          const claimed = words[Control.emits >> 2] >>> 0;
          const emitted = Math.min(claimed, room);
          const lengths = Array.from({ length: emitted }, (_, i) => words[(Control.emitRecords >> 2) + i * WORDS + Emit.length]);
          const output = new Payloads(capacity);
          const passed = new Payloads(16);
          exchange.judge(instance, input, n, output, passed, trapped);

          // The model: one verdict after the other, by the contract.
          const good = mine.filter((r) => {
            const bytes = r.verdict >>> 8;
            return (r.verdict & 255) === Verdict.forward && (r.shift | 0) === r.shift && r.shift >= 0 && r.shift + bytes <= BUFFER_BYTES;
          });
          const counted = (name: keyof typeof before): number => exchange.counters[name] - before[name];
          assert.equal(counted('passed'), mine.filter((r) => r.verdict === 0).length);
          assert.equal(counted('dropped'), mine.filter((r) => r.verdict === 1).length);
          assert.equal(counted('lostInTrap'), trapped ? mine.filter((r) => r.verdict === -1).length : 0, 'one without a verdict, of a call that did not trap, is an invalid one');
          assert.equal(counted('forwarded'), good.length);
          assert.equal(counted('notAdopted'), brought - n);
          assert.equal(counted('forwarded') + counted('passed') + counted('dropped') + counted('invalidVerdicts') + counted('lostInTrap'), n);
          const right = lengths.filter((length) => length >= 0 && length <= BUFFER_BYTES);
          assert.equal(counted('emitted'), right.length);
          assert.equal(counted('invalidEmits'), lengths.length - right.length + Math.min(claimed - emitted, Abi.maxRecords));
          assert.equal(output.count + counted('overflowed'), good.length + right.length);
          if (counted('overflowed') === 0) {
            const forwarded = Array.from({ length: output.count }, (_, i) => output.length[i]);
            const merged = [...good.map((r) => r.verdict >>> 8), ...right];
            assert.deepEqual(forwarded.sort((a, b) => a - b), merged.sort((a, b) => a - b));
          }
          const handles = new Set<number>();
          for (const batch of [output, passed]) {
            for (let i = 0; i < batch.count; i++) {
              const owner = batch.handle[i] >>> 24 === domain.pool.id ? domain : elsewhere;
              const start = owner.pool.offsetOf(batch.handle[i]);
              assert.ok(batch.offset[i] >= start && batch.offset[i] + batch.length[i] <= start + BUFFER_BYTES, 'within its buffer');
              assert.ok(batch.output[i] >= 0);
              assert.ok(!handles.has(batch.handle[i]), 'in one place');
              handles.add(batch.handle[i]);
            }
          }
          rig.take(output);
          rig.take(passed);
        }
        const { forwarded, passed, dropped, invalidVerdicts, lostInTrap, notAdopted } = exchange.counters;
        assert.equal(forwarded + passed + dropped + invalidVerdicts + lostInTrap + notAdopted, came);
        exchange.close();
        rig.close({ equal: (a, b, message) => assert.equal(a, b, message) });
      }),
      { seed: SEED, numRuns: 300 },
    );
    t.end();
  });
}

t.test('from domain to domain: one copy of each payload, wherever in its buffer it begins', (t) => {
  const rig = new Rig(2 ** 20);
  const from = rig.domain();
  const to = rig.domain();
  const exchange = new Exchange(to, 'trusted', 0);
  const instance = puppet(rig.memory.u8);
  exchange.prepare(instance);
  let bytes = 0;
  for (let length = 0; length < 70; length++) {
    for (let shift = 0; shift < 8; shift++) {
      const handle = from.pool.get();
      const at = from.pool.offsetOf(handle) + shift;
      for (let i = 0; i < length; i++) rig.memory.u8[at + i] = 3 * i + shift;
      const input = new Payloads(1);
      input.add(handle, at, length, 0, 0);
      exchange.bring(instance, input, 1);
      bytes += length;
      const ptr = instance.words[Control.inputs >> 2];
      const came = rig.memory.u8.subarray(ptr, ptr + length);
      if (!came.every((byte, i) => byte === ((3 * i + shift) & 255))) t.fail(`${length} bytes from ${shift} on`);
      exchange.judge(instance, input, 1, new Payloads(1), new Payloads(1), true);
    }
  }
  t.equal(exchange.copiedBytes, bytes);
  t.equal(rig.memory.copiedBytes, bytes);
  t.equal(exchange.counters.lostInTrap, 70 * 8);
  exchange.close();
  rig.close(t);
  t.end();
});
