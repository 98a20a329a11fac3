// Policies side by side: what every queue of jobs keeps to, what each is known for, and DWCS by its window constraints.
import fc from 'fast-check';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { DwcsQueue, type Job, type JobQueue, type Task, type WindowConstraint, edfQueue, fifoQueue, fixedPriorityQueue, simulate, uunifast } from '../../src/sched/index.js';

const STREAMS = 4;

const QUEUES: Record<string, () => JobQueue> = {
  EDF: edfQueue,
  FIFO: fifoQueue,
  'fixed priority': () => fixedPriorityQueue([3, 1, 2, 1]),
  DWCS: () => new DwcsQueue([{ losses: 1, window: 2 }, { losses: 0, window: 1 }, { losses: 3, window: 4 }, { losses: 5, window: 5 }]),
};

const job = (stream: number, deadlineUs: number): Job => ({ stream, releaseUs: 0, deadlineUs, costUs: 1, run: () => undefined });

for (const [name, make] of Object.entries(QUEUES)) {
  t.test(`${name}: a queue of jobs`, (t) => {
    t.equal(make().size, 0);
    t.equal(make().peek(), undefined);
    t.equal(make().pop(), undefined);
    const step = fc.oneof(
      fc.record({ act: fc.constant('push' as const), stream: fc.nat(STREAMS - 1), deadlineUs: fc.nat(5), inTime: fc.boolean() }),
      fc.record({ act: fc.constant('pop' as const), stream: fc.constant(0), deadlineUs: fc.constant(0), inTime: fc.boolean() }),
    );
    fc.assert(fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = make();
      const waiting: Job[] = [];
      let latest = 0;
      for (const { act, stream, deadlineUs, inTime } of steps) {
        if (act === 'push') {
          // Of one stream deadlines don't fall, as releases don't.
          latest += deadlineUs;
          const pushed = job(stream, latest);
          queue.push(pushed);
          waiting.push(pushed);
        } else {
          const peeked = queue.peek();
          const popped = queue.pop();
          if (peeked !== popped || (popped === undefined) !== (waiting.length === 0)) return false;
          if (popped === undefined) continue;
          // Each job once, a stream's jobs in their order.
          if (waiting.find((other) => other.stream === popped.stream) !== popped) return false;
          waiting.splice(waiting.indexOf(popped), 1);
          queue.settle?.(popped, inTime);
        }
        if (queue.size !== waiting.length) return false;
      }
      return true;
    }), { numRuns: 200 });
    t.end();
  });
}

function order(queue: JobQueue, jobs: readonly Job[]): number[] {
  for (const pushed of jobs) queue.push(pushed);
  return jobs.map(() => jobs.indexOf(queue.pop()!));
}

t.test('each policy has its order, and first come, first served among equals', (t) => {
  const jobs = [job(0, 30), job(1, 20), job(2, 20), job(3, 10), job(1, 30)];
  t.same(order(edfQueue(), jobs), [3, 1, 2, 0, 4]);
  t.same(order(fifoQueue(), jobs), [0, 1, 2, 3, 4]);
  t.same(order(fixedPriorityQueue([3, 1, 2, 1]), jobs), [1, 3, 4, 2, 0]);
  t.end();
});

// FACTS.md, DWCS: the pairwise order, on streams whose windows are as given and whose deadlines are equal.
t.test('DWCS among equal deadlines: lowest x/y; of zeros the highest y; of equal ones the lowest x; then first come', (t) => {
  const first = (...constraints: [losses: number, window: number][]): number => {
    const queue = new DwcsQueue(constraints.map(([losses, window]) => ({ losses, window })));
    for (const stream of constraints.keys()) queue.push(job(stream, 5));
    return queue.pop()!.stream;
  };
  t.equal(first([1, 2], [1, 3]), 1, 'lowest x/y');
  t.equal(first([0, 2], [0, 3]), 1, 'zeros: highest y');
  t.equal(first([2, 4], [1, 2]), 1, 'equal: lowest x');
  t.equal(first([1, 2], [1, 2]), 0, 'first come');
  const queue = new DwcsQueue([{ losses: 0, window: 1 }, { losses: 5, window: 5 }]);
  queue.push(job(0, 6));
  queue.push(job(1, 5));
  t.equal(queue.pop()!.stream, 1, 'the deadline comes before all that');
  t.end();
});

t.test('DWCS: windows after jobs met and missed (West & Schwan 1999, figures 2 and 3)', (t) => {
  // Which of two streams comes first tells x′/y′ of the one whose history is known.
  const window = (history: string, [losses, y]: [number, number]): string => {
    for (let total = 1; total <= 8; total++) {
      for (let x = 0; x <= total; x++) {
        const queue = new DwcsQueue([{ losses, window: y }, { losses: x, window: total }]);
        for (const met of history) {
          queue.push(job(0, 1));
          queue.settle(queue.pop()!, met === '+');
        }
        // Equal to stream 1 in all: then the one that came first goes first, whichever that is.
        queue.push(job(0, 9));
        queue.push(job(1, 9));
        if (queue.pop()!.stream !== 0) continue;
        queue.pop();
        queue.push(job(1, 9));
        queue.push(job(0, 9));
        if (queue.pop()!.stream === 1) return `${x}/${total}`;
      }
    }
    return 'none';
  };
  t.equal(window('', [1, 3]), '1/3');
  t.equal(window('+', [1, 3]), '1/2');
  t.equal(window('++', [1, 3]), '1/1', 'two of three met: the third may be missed');
  t.equal(window('+++', [1, 3]), '1/3', 'a window is over');
  t.equal(window('-', [1, 3]), '0/2');
  t.equal(window('-+', [1, 3]), '0/1');
  t.equal(window('-++', [1, 3]), '1/3');
  t.equal(window('++-', [1, 3]), '1/3', 'over, with its loss used');
  t.equal(window('--', [1, 3]), '0/3', 'violated: 2 + ε');
  t.equal(window('---', [1, 3]), '0/4');
  t.equal(window('---+', [1, 3]), '1/3', 'served once, a violated stream begins anew');
  t.end();
});

/** Of each stream, its jobs in order: in time or not. */
function outcomes(tasks: readonly Task[], queue: JobQueue, untilUs: number, shed = true): boolean[][] {
  const found: boolean[][] = tasks.map(() => []);
  simulate({ tasks, queue, untilUs, shed, onOutcome: ({ stream }, inTime) => found[stream].push(inTime) });
  return found;
}

const unit = (periodUs: number): Task => ({ offsetUs: 0, periodUs, deadlineUs: periodUs, costUs: 1 });

function violations(met: readonly boolean[], { losses, window }: WindowConstraint, step: number): number {
  let count = 0;
  for (let from = 0; from + window <= met.length; from += step) {
    if (met.slice(from, from + window).filter((inTime) => !inTime).length > losses) count++;
  }
  return count;
}

const tumbling = (met: readonly boolean[], constraint: WindowConstraint): number => violations(met, constraint, constraint.window);
const sliding = (met: readonly boolean[], constraint: WindowConstraint): number => violations(met, constraint, 1);
const missShare = (met: readonly boolean[]): number => met.filter((inTime) => !inTime).length / met.length;

t.test('DWCS, C = T = 1, Σ (1 − x/y) C/T = 1: tumbling windows hold, sliding ones need not', (t) => {
  const constraints = [{ losses: 1, window: 2 }, { losses: 3, window: 4 }, { losses: 6, window: 8 }];
  const even = outcomes([unit(1), unit(1), unit(1)], new DwcsQueue(constraints), 5000);
  t.same(even.map((met) => met.length), [5000, 5000, 5000]);
  t.same(even.map(missShare), [0.5, 0.75, 0.75]);
  t.same(even.map((met, i) => tumbling(met, constraints[i])), [0, 0, 0]);
  const tighter = [{ losses: 1, window: 2 }, { losses: 3, window: 4 }, { losses: 6, window: 7 }];
  const uneven = outcomes([unit(1), unit(1), unit(1)], new DwcsQueue(tighter), 5000);
  t.same(uneven.map((met, i) => tumbling(met, tighter[i])), [0, 0, 0]);
  const slid = uneven.reduce((sum, met, i) => sum + sliding(met, tighter[i]), 0);
  t.ok(slid > 100, `${slid} sliding windows are violated`);
  t.end();
});

t.test('DWCS, any unit-cost streams of one period with Σ (1 − x/y) C/T ≤ 1: no tumbling window is violated', (t) => {
  const constraint = fc.integer({ min: 1, max: 8 }).chain((window) => fc.record({ window: fc.constant(window), losses: fc.nat(window) }));
  fc.assert(fc.property(fc.array(constraint, { minLength: 1, maxLength: 6 }), (constraints) => {
    fc.pre(constraints.reduce((sum, { losses, window }) => sum + 1 - losses / window, 0) <= 1 + 1e-9);
    const met = outcomes(constraints.map(() => unit(1)), new DwcsQueue(constraints), 600);
    return met.every((stream, i) => tumbling(stream, constraints[i]) === 0);
  }), { numRuns: 150 });
  t.end();
});

t.test('DWCS fails at a utilisation of 3 % where periods differ (Mok & Wang 2001)', (t) => {
  // The first has the earliest deadline in every slot and is served though it could be missed 99 times in 100; only in the last
  // slot before their deadline are the others equal to it, and there is one slot for two.
  const constraints = [{ losses: 99, window: 100 }, { losses: 0, window: 1 }, { losses: 0, window: 1 }];
  const tasks = [unit(1), unit(100), unit(100)];
  t.ok(constraints.reduce((sum, { losses, window }, i) => sum + (1 - losses / window) / tasks[i].periodUs, 0) < 0.0301);
  const met = outcomes(tasks, new DwcsQueue(constraints), 10_000);
  t.equal(tumbling(met[1], constraints[1]) + tumbling(met[2], constraints[2]), 100, 'one of the two, each time');
  t.end();
});

t.test('DWCS takes whole numbers in order, and streams that it knows', (t) => {
  t.throws(() => new DwcsQueue([{ losses: 0, window: 0 }]), { message: 'constraints[0].window: got 0, must be a whole number, 1 or more' });
  t.throws(() => new DwcsQueue([{ losses: 3, window: 2 }]), { message: 'constraints[0].losses: got 3, must be a whole number from 0 to 2' });
  t.throws(() => new DwcsQueue([{ losses: 1, window: 2 }]).push(job(1, 0)), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

t.test('a simulated processor: one job at a time, none before its release, late ones run or shed', (t) => {
  const tasks: Task[] = [{ offsetUs: 0, periodUs: 10, deadlineUs: 4, costUs: 3 }, { offsetUs: 1, periodUs: 10, deadlineUs: 3, costUs: 2 }];
  t.same(outcomes(tasks, edfQueue(), 20, false), [[true, true], [false, false]], 'the second waits for the first, and ends at 5 instead of 4');
  t.same(outcomes(tasks, edfQueue(), 20, true), [[true, true], [false, false]]);
  const overload: Task[] = [{ offsetUs: 0, periodUs: 1, deadlineUs: 1, costUs: 2 }];
  t.same(outcomes(overload, fifoQueue(), 4, true), [[false, false, false, false]]);
  t.end();
});

t.test('UUniFast: utilisations above 0 that add up, spread alike over the tasks (Bini & Buttazzo 2005)', (t) => {
  const random = new Random(5);
  const sums = new Float64Array(4);
  for (let i = 0; i < 20_000; i++) {
    const utilisations = uunifast(random, 4, 0.8);
    if (Math.abs(utilisations.reduce((a, b) => a + b) - 0.8) > 1e-12 || utilisations.some((u) => u < 0)) t.fail(String(utilisations));
    for (const [task, u] of utilisations.entries()) sums[task] += u / 20_000;
  }
  for (const mean of sums) t.ok(Math.abs(mean - 0.2) < 0.005, `mean ${mean}`);
  t.throws(() => uunifast(random, 0, 1), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => uunifast(random, 1, NaN), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});
