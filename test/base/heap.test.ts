// The heaps against a sorted list, and what they promise among equals.
import fc from 'fast-check';
import t from 'tap';
import { IdHeap, IndexedHeap } from '../../src/base/index.js';

t.test('IdHeap is a list sorted by key, then by when it was set', (t) => {
  const steps = fc.array(fc.tuple(fc.constantFrom('set', 'set', 'set', 'pop', 'remove'), fc.nat(40), fc.nat(12)), { maxLength: 200 });
  fc.assert(fc.property(steps, (steps) => {
    const heap = new IdHeap(8);
    let model: { id: number; at: number }[] = [];
    for (const [what, id, at] of steps) {
      if (what === 'set') {
        model = model.filter((entry) => entry.id !== id);
        const place = model.findIndex((entry) => entry.at > at);
        model.splice(place < 0 ? model.length : place, 0, { id, at });
        heap.set(id, at);
      } else if (what === 'remove') {
        model = model.filter((entry) => entry.id !== id);
        heap.remove(id);
      } else if (heap.pop() !== (model.shift()?.id ?? -1)) return false;
      if (heap.size !== model.length || heap.first !== (model[0]?.id ?? -1) || heap.firstKey !== (model[0]?.at ?? Infinity)) return false;
      if (heap.has(id) !== model.some((entry) => entry.id === id)) return false;
      if (heap.keyOf(id) !== (model.find((entry) => entry.id === id)?.at ?? Infinity)) return false;
    }
    return model.every(({ id }) => heap.pop() === id) && heap.size === 0;
  }), { numRuns: 500 });
  t.end();
});

t.test('any sequence of push, pop and remove is that of a list sorted by key, then by arrival', (t) => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ act: fc.constant('push' as const), n: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant('pop' as const), n: fc.constant(0) }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant('remove' as const), n: fc.nat(1000) }) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
    const heap = new IndexedHeap<number>();
    // In the order of arrival; sort() is stable.
    const list: { key: number; item: number; id: number }[] = [];
    for (const [item, { act, n }] of steps.entries()) {
      const first = [...list].sort((a, b) => a.key - b.key)[0];
      if (heap.size !== list.length || heap.peekKey !== (first?.key ?? Infinity) || heap.peek() !== first?.item) return false;
      if (act === 'push') {
        list.push({ key: n, item, id: heap.push(n, item) });
      } else if (act === 'pop') {
        if (heap.pop() !== first?.item) return false;
        if (first !== undefined) list.splice(list.indexOf(first), 1);
      } else if (list.length > 0) {
        const [entry] = list.splice(n % list.length, 1);
        if (heap.remove(entry.id) !== entry.item) return false;
      }
    }
    const ids = new Set(list.map(({ id }) => id));
    return ids.size === list.length && list.sort((a, b) => a.key - b.key).every(({ item }) => heap.pop() === item) && heap.size === 0;
  }), { numRuns: 300 });
  t.end();
});

t.test('a hundred thousand equal keys come out first come, first served', (t) => {
  const heap = new IndexedHeap<number>();
  for (let item = 0; item < 100_000; item++) heap.push(7, item);
  let inOrder = 0;
  while (heap.size > 0) if (heap.pop() === inOrder) inOrder++;
  t.equal(inOrder, 100_000);
  t.end();
});

t.test('Infinity is a key, NaN is none; an id that is not in the heap is refused', (t) => {
  const heap = new IndexedHeap<string>();
  const never = heap.push(Infinity, 'never');
  heap.push(1, 'soon');
  t.throws(() => heap.push(NaN, 'when?'), { code: 'ERR_INVALID_ARGUMENT', message: 'key: got NaN, must be a number' });
  t.equal(heap.pop(), 'soon');
  t.equal(heap.remove(never), 'never');
  for (const id of [never, -1, 99]) t.throws(() => heap.remove(id), { code: 'ERR_INVALID_ARGUMENT' });
  t.equal(heap.pop(), undefined);
  t.equal(heap.peekKey, Infinity);
  t.end();
});
