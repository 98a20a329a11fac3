// Admission by processor demand: against the plain definition, against simulated processors over many offsets, and its limits.
import fc from 'fast-check';
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { type AdmissionResult, Cbs, type Demand, type Task, admission, edfQueue, processorDemandUs, simulate, uunifast } from '../../src/sched/index.js';

type Row = readonly [cost: number, deadline: number, period: number];

const sporadic = ([costUs, deadlineUs, periodUs]: Row, sectionUs = 0): Demand => ({ kind: 'sporadic', costUs, deadlineUs, periodUs, sectionUs });
const whole = (row: Row): Demand => sporadic(row, row[0]);
const server = ([costUs, deadlineUs, periodUs]: Row, sectionUs = 0): Demand => ({ kind: 'server', costUs, deadlineUs, periodUs, sectionUs });
const judge = (demands: readonly Demand[], blockingUs = 0): AdmissionResult => admission(demands.slice(0, -1), demands.at(-1)!, blockingUs);
const fits = (demands: readonly Demand[], blockingUs = 0): boolean => judge(demands, blockingUs).fits;

t.test('FACTS.md: (50, 50, 100), (10, 100, 100) is schedulable preemptively at density 1.1; h(50, 100, 150, 200) = 50, 60, 110, 120', (t) => {
  const rows: Row[] = [[50, 50, 100], [10, 100, 100]];
  const jobs = rows.map((row) => sporadic(row));
  t.same([50, 100, 150, 200].map((at) => processorDemandUs(jobs, at)), [50, 60, 110, 120]);
  t.ok(fits(jobs));
  t.same(judge(rows.map(whole)), { fits: false, atUs: 50, overrunUs: 10, largestCostUs: 0 }, 'not preempted, the second job makes the first late');
  t.same(judge([sporadic([40, 50, 100]), sporadic([20, 100, 100], 20)]), { fits: false, atUs: 50, overrunUs: 10, largestCostUs: 10 });
  t.end();
});

t.test('a constant that blocks is taken off every deadline', (t) => {
  t.ok(fits([sporadic([8, 10, 20])], 2));
  t.same(judge([sporadic([8, 10, 20])], 2.5), { fits: false, atUs: 10, overrunUs: 0.5, largestCostUs: 7.5 });
  t.end();
});

t.test('utilisations of 1, and above', (t) => {
  t.ok(fits(Array.from({ length: 3 }, () => sporadic([1, 3, 3]))), 'three thirds');
  t.ok(fits(Array.from({ length: 49 }, () => sporadic([1, 49, 49]))), '49 × 1/49 is less than 1 in doubles');
  t.ok(fits(Array.from({ length: 10 }, () => sporadic([0.1, 1, 1]))), '10 × 0.1');
  t.notOk(fits([sporadic([1, 2, 2]), sporadic([1, 2, 2])], 0.001), 'nothing is left for blocking');
  t.ok(fits([sporadic([1, 20, 2]), sporadic([1, 20, 2])], 5), 'late deadlines leave room even so');
  t.match(judge([sporadic([2, 3, 3]), sporadic([1, 2, 2]), sporadic([1, 9, 9])]), { fits: false, atUs: 6, overrunUs: 1 });
  t.same(judge([sporadic([2, 2, 2]), sporadic([1, 100, 100])]), { fits: false, atUs: 100, overrunUs: 1, largestCostUs: 0 });
  // 2^53 ns are 104 days: beyond, what can't be told is refused.
  const primes = [999_983, 999_979, 999_961, 999_959];
  t.match(judge(primes.map((prime) => sporadic([prime / 4, prime, prime])), 1), { fits: false, atUs: Infinity, overrunUs: NaN });
  t.end();
});

t.test('demands outside their ranges', (t) => {
  const good = sporadic([1, 5, 5]);
  const wrong: [Partial<Demand>, string][] = [
    [{ periodUs: 0 }, 'newcomer.periodUs: got 0, must be a finite number of microseconds, 0.001 or more'],
    [{ costUs: NaN }, 'newcomer.costUs: got NaN, must be a finite number of microseconds, 0 or more'],
    [{ deadlineUs: -1 }, 'newcomer.deadlineUs: got -1, must be a finite number of microseconds, 0.001 or more'],
    [{ sectionUs: 2 }, 'newcomer.sectionUs: got 2, must be from 0 to the cost (1)'],
    [{ kind: 'server', deadlineUs: 6 }, "newcomer.deadlineUs: got 6, must be at most a server's period (5)"],
  ];
  for (const [change, message] of wrong) {
    t.throws(() => admission([good], { ...good, ...change }), { code: 'ERR_INVALID_ARGUMENT', message });
    t.throws(() => admission([{ ...good, ...change }], good), { code: 'ERR_INVALID_ARGUMENT', message: message.replace('newcomer', 'demands[0]') });
  }
  t.throws(() => admission([], good, -1), { code: 'ERR_INVALID_ARGUMENT' });
  t.end();
});

/** The definition itself: every deadline up to the hyperperiod behind the latest first one. Whole numbers. */
function plainly(demands: readonly Demand[], blocking: number): { at: number; by: number } | undefined {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  const hyperperiod = demands.reduce((product, { periodUs }) => (product * periodUs) / gcd(product, periodUs), 1);
  const overloaded = demands.reduce((sum, { costUs, periodUs }) => sum + costUs * (hyperperiod / periodUs), 0) > hyperperiod;
  const end = Math.max(...demands.map(({ deadlineUs }) => deadlineUs)) + hyperperiod;
  for (let at = 1; at <= end || overloaded; at++) {
    if (!demands.some(({ deadlineUs, periodUs }) => at >= deadlineUs && (at - deadlineUs) % periodUs === 0)) continue;
    let demand = 0;
    let blocked = 0;
    for (const { kind, costUs, deadlineUs, periodUs, sectionUs, background } of demands) {
      if (kind === 'sporadic') demand += at >= deadlineUs ? (Math.floor((at - deadlineUs) / periodUs) + 1) * costUs : 0;
      else demand += Math.floor(at / periodUs) * costUs + Math.min(1, (at % periodUs) / deadlineUs) * costUs;
      if (background === true) blocked = Math.max(blocked, sectionUs);
      else if (deadlineUs > at) blocked = Math.max(blocked, kind === 'server' ? sectionUs - (costUs * at) / deadlineUs : sectionUs);
    }
    const by = demand + blocked + blocking - at;
    if (by > 1e-6) return { at, by };
  }
  return undefined;
}

const anyDemand: fc.Arbitrary<Demand> = fc.record({
  kind: fc.constantFrom('sporadic' as const, 'server' as const),
  periodUs: fc.constantFrom(2, 3, 4, 5, 6, 8, 10, 12, 15, 20),
  cost: fc.nat(1000),
  deadline: fc.nat(1000),
  section: fc.nat(1000),
  background: fc.boolean(),
}).map(({ kind, periodUs, cost, deadline, section, background }) => {
  const costUs = 1 + (cost % Math.ceil(periodUs / 2));
  const deadlineUs = kind === 'server' ? costUs + (deadline % (periodUs - costUs + 1)) : 1 + (deadline % (2 * periodUs));
  return { kind, periodUs, costUs, deadlineUs, sectionUs: section % (costUs + 1), background: background && section % 3 === 0 };
});

t.test('any set: fits, first overrun, by how much and the largest cost are those of the definition', (t) => {
  let refused = 0;
  fc.assert(fc.property(fc.array(anyDemand, { minLength: 1, maxLength: 5 }), fc.nat(2), (demands, blocking) => {
    const expected = plainly(demands, blocking);
    const answer = judge(demands, blocking);
    if (answer.fits) return expected === undefined;
    refused++;
    if (expected === undefined || expected.at !== answer.atUs || Math.abs(expected.by - answer.overrunUs) > 1e-6) return false;
    // Monotone: the largest cost fits, a nanosecond more does not.
    const withCost = (costUs: number): boolean => {
      const newcomer = demands.at(-1)!;
      return fits([...demands.slice(0, -1), { ...newcomer, costUs, sectionUs: Math.min(costUs, newcomer.sectionUs) }], blocking);
    };
    const { largestCostUs } = answer;
    return (largestCostUs === 0 || withCost(largestCostUs)) && !withCost(largestCostUs + 0.001);
  }), { numRuns: 2000 });
  t.ok(refused > 200 && refused < 1900, `${refused} of 2000 are refused`);
  t.end();
});

t.test('what fits also fits with less: cost, blocking, or one fewer', (t) => {
  fc.assert(fc.property(fc.array(anyDemand, { minLength: 2, maxLength: 5 }), fc.nat(2), fc.nat(4), (demands, blocking, which) => {
    if (!fits(demands, blocking)) return true;
    const one = which % demands.length;
    const smaller = demands.map((demand, i) => (i === one ? { ...demand, costUs: demand.costUs / 2, sectionUs: demand.sectionUs / 2 } : demand));
    return fits(smaller, blocking) && fits(demands, blocking / 2) && fits(demands.filter((_, i) => i !== one), blocking);
  }), { numRuns: 500 });
  t.end();
});

/** A set of jobs that run to their ends, in whole numbers with room between them for an instant. */
function randomRows(random: Random): Row[] {
  const n = random.int(2, 5);
  return uunifast(random, n, 0.3 + 0.65 * random.float()).map((utilisation) => {
    const period = 10 * random.int(2, 20);
    const cost = Math.max(1, Math.round((utilisation * period) / 10)) * 10;
    return [cost, Math.max(cost, Math.round((period * (0.4 + 0.9 * random.float())) / 10) * 10), period];
  });
}

function misses(rows: readonly Row[], offsets: readonly number[]): boolean {
  const tasks = rows.map(([costUs, deadlineUs, periodUs], i): Task => ({ offsetUs: offsets[i], periodUs, deadlineUs, costUs }));
  let missed = false;
  simulate({ tasks, queue: edfQueue(), untilUs: 4000, shed: false, onOutcome: (_job, inTime) => (missed ||= !inTime) });
  return missed;
}

t.test('jobs that run to their ends: admitted sets never miss, refused ones do at some offsets (George, Rivierre & Spuri 1996)', (t) => {
  const seed = 20260;
  const random = new Random(seed);
  let admitted = 0;
  let refused = 0;
  let misleading = 0;
  for (let set = 0; set < 600; set++) {
    const rows = randomRows(random);
    const synchronous = rows.map(() => 0);
    const words = `seed ${seed}, set ${set}: ${JSON.stringify(rows)}`;
    if (fits(rows.map(whole))) {
      admitted++;
      if (misses(rows, synchronous)) t.fail(`${words} is admitted and misses synchronously`);
      for (let i = 0; i < 30; i++) {
        const offsets = rows.map(([, , period]) => random.int(0, period));
        if (misses(rows, offsets)) t.fail(`${words} is admitted and misses at ${String(offsets)}`);
      }
    } else {
      refused++;
      if (misses(rows, synchronous)) continue;
      misleading++;
      // The worst is known: one long job an instant ahead of all others.
      if (!rows.some((_, ahead) => misses(rows, rows.map((_, i) => (i === ahead ? 0 : 1))))) t.fail(`${words} is refused and never misses`);
    }
  }
  t.ok(admitted > 100 && refused > 100, `${admitted} admitted, ${refused} refused`);
  t.ok(misleading > 20, `of the refused ${misleading} pass a synchronous simulation`);
  t.end();
});

t.test('jobs that can be preempted: exactly the sets whose synchronous run meets all deadlines (Baruah, Rosier & Howell 1990)', (t) => {
  const seed = 4;
  const random = new Random(seed);
  const counts = { fits: 0, not: 0 };
  for (let set = 0; set < 400; set++) {
    const rows = Array.from({ length: random.int(1, 4) }, (): Row => {
      const period = [2, 3, 4, 6, 8, 12][random.int(0, 5)];
      const cost = random.int(1, Math.ceil(period / 2));
      return [cost, random.int(cost, period), period];
    });
    // A slot at a time to the earliest deadline, over two hyperperiods.
    const left = rows.map(() => 0);
    const due = rows.map(() => 0);
    let missed = false;
    for (let now = 0; now < 60 && !missed; now++) {
      for (const [i, [cost, deadline, period]] of rows.entries()) {
        if (now >= due[i] && left[i] > 0) missed = true;
        if (now % period === 0) [left[i], due[i]] = [left[i] + cost, now + deadline];
      }
      let first = -1;
      for (let i = 0; i < rows.length; i++) if (left[i] > 0 && (first < 0 || due[i] < due[first])) first = i;
      if (first >= 0) left[first]--;
    }
    const admitted = fits(rows.map((row) => sporadic(row)));
    counts[admitted ? 'fits' : 'not']++;
    if (admitted === missed) t.fail(`seed ${seed}, set ${set}: ${JSON.stringify(rows)}: admitted ${admitted}, missed ${missed}`);
  }
  t.ok(counts.fits > 50 && counts.not > 50, JSON.stringify(counts));
  t.end();
});

// Why the demand of servers is drawn otherwise than that of jobs.
t.test('servers are not sporadic jobs: leftovers, used late, overrun what the test for jobs admits', (t) => {
  const rows: Row[] = [[5, 10, 20], [5, 5, 100]];
  t.ok(fits(rows.map((row) => sporadic(row))), 'as jobs they fit');
  t.notOk(fits(rows.map((row) => server(row))), 'as servers they do not');
  const [a, b] = rows.map(([budget, deadline, period]) => new Cbs(budget, period, deadline));
  a.wake(0);
  a.charge(0.001);
  a.wake(5);
  b.wake(5);
  t.equal(a.leftUs, 2.5);
  t.equal(a.deadlineUs, 10);
  t.equal(b.deadlineUs, 10);
  t.ok(a.leftUs + b.leftUs > 10 - 5, '7.5 are due within 5');
  t.end();
});

t.test('servers with D = P: Σ Q/P ≤ 1 (Abeni & Buttazzo 1998); background work blocks whatever the deadlines', (t) => {
  const random = new Random(8);
  for (let set = 0; set < 200; set++) {
    const total = 0.8 + 0.4 * random.float();
    const rows = uunifast(random, 4, total).map((utilisation): Row => {
      const period = random.int(100, 10_000);
      return [Math.min(period, utilisation * period), period, period];
    });
    const sum = rows.reduce((sum, [cost, , period]) => sum + cost / period, 0);
    if (Math.abs(sum - 1) > 1e-4 && fits(rows.map((row) => server(row))) !== sum <= 1) t.fail(`seed 8, set ${set}: ${sum}`);
  }
  const pair = (background: boolean): Demand[] => [server([5, 10, 10]), { ...server([6, 5000, 10_000], 6), background }];
  t.notOk(fits(pair(true)));
  t.notOk(fits(pair(false)), 'a longer deadline blocks as well');
  const reversed = (background: boolean): Demand[] => [server([5, 10_000, 10_000]), { ...server([6, 10, 10_000], 6), background }];
  t.ok(fits(reversed(false)));
  t.notOk(fits([server([5, 10, 10_000]), { ...server([6, 9, 10_000], 6), background: true }]));
  t.end();
});
