// The bandwidth server by itself: each rule, and what no pattern of waking and sleeping gets out of it.
import fc from 'fast-check';
import t from 'tap';
import { Cbs } from '../../src/sched/index.js';

const state = ({ leftUs, deadlineUs, throttled }: Cbs): string => `${leftUs} by ${deadlineUs}${throttled ? ', throttled' : ''}`;

t.test('the rules (FACTS.md, CBS; Abeni, Lipari, Parri & Sun 2015)', (t) => {
  const woken = (budget: number, deadline: number, period: number): Cbs => {
    const server = new Cbs(budget, period, deadline);
    server.wake(100);
    return server;
  };
  t.test('wake at t ≥ r: d = t + D, q = Q', (t) => {
    const server = woken(5, 20, 50);
    t.equal(state(server), '5 by 120');
    t.equal(server.replenishUs, 150);
    server.charge(3);
    server.wake(150);
    t.equal(state(server), '5 by 170');
    t.end();
  });
  t.test('D < P, wake at d ≤ t < r: throttled until r', (t) => {
    const server = woken(5, 20, 50);
    server.charge(1);
    server.wake(120);
    t.equal(state(server), '4 by 120, throttled');
    server.replenish(149.9);
    t.ok(server.throttled);
    server.replenish(150);
    t.equal(state(server), '5 by 170', 'what was left is not added');
    t.end();
  });
  t.test('D < P, wake with q/(d − t) > Q/D: q = (Q/D)(d − t)', (t) => {
    const server = woken(5, 20, 50);
    server.charge(1);
    server.wake(104);
    t.equal(state(server), '4 by 120', 'q/(d − t) = Q/D is not too much');
    server.wake(112);
    t.equal(state(server), '2 by 120');
    t.end();
  });
  t.test('D = P, wake with q/(d − t) > Q/D: d = t + D, q = Q', (t) => {
    const server = woken(5, 20, 20);
    server.charge(1);
    server.wake(104);
    t.equal(state(server), '4 by 120');
    server.wake(105);
    t.equal(state(server), '5 by 125');
    t.end();
  });
  t.test('at q ≤ 0: throttled until r, then d += P, q += Q', (t) => {
    const server = woken(5, 20, 50);
    server.charge(5);
    t.equal(state(server), '0 by 120, throttled');
    server.wake(130);
    t.equal(state(server), '0 by 120, throttled', 'waking does not help');
    server.replenish(150);
    t.equal(state(server), '5 by 170');
    t.end();
  });
  t.test('an overrun is a debt', (t) => {
    const server = woken(5, 20, 50);
    server.charge(7);
    t.equal(state(server), '-2 by 120, throttled');
    server.replenish(150);
    t.equal(state(server), '3 by 170');
    server.charge(18);
    t.equal(state(server), '0 by 320, throttled', '15 over: three budgets to come pay it');
    server.wake(250);
    t.ok(server.throttled, 'sleeping does not pay it');
    server.replenish(349);
    t.ok(server.throttled);
    server.replenish(350);
    t.equal(state(server), '5 by 370');
    t.end();
  });
  t.test('looked at much too late, it begins anew instead of catching up', (t) => {
    const server = woken(5, 20, 50);
    server.charge(5);
    server.replenish(10_000);
    t.equal(state(server), '5 by 10020');
    t.equal(server.replenishUs, 10_050);
    t.end();
  });
  t.test('a job starts only with its cost left, and what it would run under can be asked', (t) => {
    const server = woken(5, 20, 50);
    t.equal(server.affords(5), true);
    t.equal(server.affords(5.1), false);
    server.charge(4.5);
    t.equal(server.affords(0.5), true);
    t.equal(server.affords(0.6), false);
    const before = state(server);
    t.equal(server.deadlineIfWoken(110, 0.5), 120);
    t.equal(server.deadlineIfWoken(110, 0.6), Infinity);
    t.equal(server.deadlineIfWoken(130, 0.5), Infinity);
    t.equal(server.deadlineIfWoken(150, 5), 170);
    t.equal(state(server), before, 'asking changes nothing');
    t.end();
  });
  t.test('ten jobs of a tenth of the budget run, whatever a double makes of a tenth', (t) => {
    const server = new Cbs(1, 20, 10);
    server.wake(0);
    for (let i = 0; i < 10; i++) {
      if (!server.affords(0.1)) t.fail(`job ${i}: ${state(server)}`);
      server.charge(0.1);
    }
    t.equal(server.affords(0.1), false);
    t.end();
  });
  t.end();
});

interface Slice {
  fromUs: number;
  toUs: number;
  deadlineUs: number;
}

/** A server alone on a processor: given (work, sleep) by turns it runs whenever it may, in slices of at most `sliceUs`. */
function slices(server: Cbs, turns: readonly (readonly [work: number, sleep: number])[], sliceUs: number): Slice[] {
  const ran: Slice[] = [];
  let nowUs = 0;
  for (const [work, sleep] of turns) {
    server.wake(nowUs);
    for (let left = work; left > 1e-9; ) {
      if (server.throttled) {
        nowUs = Math.max(nowUs, server.replenishUs);
        server.replenish(nowUs);
      }
      const used = Math.min(left, sliceUs, server.leftUs);
      ran.push({ fromUs: nowUs, toUs: nowUs + used, deadlineUs: server.deadlineUs });
      nowUs += used;
      left -= used;
      server.charge(used);
    }
    nowUs += sleep;
  }
  return ran;
}

t.test('a 5/7/1000 ms server that runs 4.5 and sleeps 3 gets 0.5 %', (t) => {
  const ran = slices(new Cbs(5, 1000, 7), Array.from({ length: 2000 }, () => [4.5, 3] as const), 5);
  const share = ran.reduce((sum, { fromUs, toUs }) => sum + toUs - fromUs, 0) / ran.at(-1)!.toUs;
  t.ok(share <= 0.00501, `${(100 * share).toFixed(3)} %`);
  t.ok(share > 0.004, 'nor is it starved');
  t.end();
});

/** Most that a server may ask for with deadlines within a time of this length: admission.ts draws it. */
function demandBound(budget: number, period: number, deadline: number, length: number): number {
  const whole = Math.floor(length / period);
  return whole * budget + Math.min(budget, (budget * (length - whole * period)) / deadline);
}

const parameters = fc.record({ budget: fc.integer({ min: 1, max: 20 }), slack: fc.nat(30), rest: fc.nat(100) })
  .map(({ budget, slack, rest }) => ({ budget, deadline: budget + slack, period: budget + slack + rest }));
const quarter = (max: number): fc.Arbitrary<number> => fc.nat(4 * max).map((n) => n / 4);

t.test('over no interval a server gets more than its demand bound, however it wakes and sleeps', (t) => {
  fc.assert(fc.property(parameters, fc.array(fc.tuple(quarter(30), quarter(60)), { minLength: 1, maxLength: 30 }), quarter(10), ({ budget, deadline, period }, turns, slice) => {
    const ran = slices(new Cbs(budget, period, deadline), turns, slice + 0.25);
    // Of intervals only those matter that begin with a slice and end with a deadline.
    return ran.every(({ fromUs }, first) => {
      let got = 0;
      let latest = -Infinity;
      return ran.slice(first).every((slice) => {
        got += slice.toUs - slice.fromUs;
        latest = Math.max(latest, slice.deadlineUs, slice.toUs);
        return slice.toUs <= slice.deadlineUs + 1e-9 && got <= demandBound(budget, period, deadline, latest - fromUs) + 1e-6;
      });
    });
  }), { numRuns: 500 });
  t.end();
});

t.test('a server that always has work gets its whole budget each period', (t) => {
  fc.assert(fc.property(parameters, ({ budget, deadline, period }) => {
    const ran = slices(new Cbs(budget, period, deadline), [[20 * budget, 0]], budget);
    return ran.length === 20 && ran.every(({ fromUs }, i) => fromUs === i * period);
  }));
  t.end();
});

t.test('what was overdrawn is paid back: in the long run none gets more than Q/P', (t) => {
  fc.assert(fc.property(parameters, fc.array(quarter(50), { minLength: 50, maxLength: 80 }), ({ budget, deadline, period }, jobs) => {
    const server = new Cbs(budget, period, deadline);
    let nowUs = 0;
    let used = 0;
    server.wake(0);
    for (const job of jobs) {
      if (!server.affords(1)) {
        server.throttle();
        nowUs = Math.max(nowUs, server.replenishUs);
        server.replenish(nowUs);
        if (!server.affords(1)) continue;
      }
      nowUs += job;
      used += job;
      server.charge(job);
    }
    const horizon = Math.max(nowUs, server.replenishUs);
    return used <= (horizon / period + 1) * budget + 50;
  }));
  t.end();
});
