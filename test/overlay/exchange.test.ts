// The rules of the exchange, step by step, against the published algorithm as FACTS.md quotes it, and against what the improved one promises.
import fc from 'fast-check';
import t from 'tap';
import { DESCEND, STOP, branchGainUs, breaksBound, improvedStep, moverGainUs, publishedStep, refusedStep } from '../../src/overlay/index.js';

const DEAD = Infinity;

t.test('published (Fry & West 2004): Subscribe(S, P, d)', (t) => {
  t.test('if d = D stop', (t) => {
    t.equal(publishedStep([5, 9], 0, 2, 1, 3, 3), STOP);
    t.equal(refusedStep([5, 9], 0, 2, 3, 3), STOP);
    t.equal(publishedStep([5, 9], 0, 2, 1, 0, 0), STOP, 'D = 0');
    t.end();
  });
  t.test('i is the neighbour of the largest cost; cost(S, P) < cost(i, P): swap', (t) => {
    t.equal(publishedStep([5, 9, 7], 0, 3, 8, 0, 1), 1);
    t.equal(publishedStep([9, 9, 7], 0, 3, 8, 0, 1), 0, 'the first of equals');
    t.equal(publishedStep([0, 0, 5, 9, 7], 2, 3, 8, 2, 3), 1, 'costs may lie anywhere in an array');
    t.end();
  });
  t.test('otherwise recurse into the cheapest', (t) => {
    t.equal(publishedStep([5, 9, 7], 0, 3, 9, 0, 1), 0 + DESCEND, 'equal is not less');
    t.equal(publishedStep([7, 9, 5], 0, 3, 10, 0, 1), 2 + DESCEND);
    t.equal(publishedStep([9, 9], 0, 2, 9, 0, 1), 1 + DESCEND, 'another than i');
    t.end();
  });
  t.test('who is out of question is neither', (t) => {
    t.equal(publishedStep([DEAD, 6, DEAD, 4], 0, 4, 5, 0, 1), 1);
    t.equal(publishedStep([DEAD, 6, DEAD, 4], 0, 4, 7, 0, 1), 3 + DESCEND);
    t.equal(publishedStep([DEAD, 6], 0, 2, 7, 0, 1), STOP, 'there is no other');
    t.equal(publishedStep([DEAD, DEAD], 0, 2, 7, 0, 1), STOP);
    t.end();
  });
  t.test('with several publishers: refuse a swap that breaks a bound that i now meets; the request goes on', (t) => {
    t.ok(breaksBound(4, 6, 5));
    t.notOk(breaksBound(4, 5, 5), 'a bound is met if just reached');
    t.notOk(breaksBound(6, 7, 5), 'it is not met now');
    t.notOk(breaksBound(4, 6, NaN), 'there is none');
    t.equal(refusedStep([5, 9, 7], 0, 3, 0, 1), 0 + DESCEND);
    t.end();
  });
  const costs = fc.array(fc.oneof(fc.double({ min: 0, max: 100, noNaN: true }), fc.constant(DEAD)), { minLength: 1, maxLength: 8 });
  t.test('any costs', (t) => {
    fc.assert(
      fc.property(costs, fc.double({ min: 0, max: 100, noNaN: true }), (costsUs, subscriberUs) => {
        const step = publishedStep(costsUs, 0, costsUs.length, subscriberUs, 0, 1);
        const live = costsUs.filter((cost) => cost < DEAD);
        if (live.length === 0) return step === STOP;
        const most = Math.max(...live);
        if (subscriberUs < most) return costsUs[step] === most;
        if (live.length === 1) return step === STOP;
        const others = costsUs.filter((cost, port) => cost < DEAD && port !== costsUs.indexOf(most));
        return costsUs[step - DESCEND] === Math.min(...others);
      }),
    );
    t.end();
  });
  t.end();
});

t.test('improved', (t) => {
  t.test('the partner with whom most is gained; none: on to the one nearest to the subscriber', (t) => {
    t.equal(improvedStep([0, 3, 7, -2], [1, 2, 3, 4], 0, 4, 0, 1), 2);
    t.equal(improvedStep([3, 3], [1, 2], 0, 2, 0, 1), 0, 'the first of equals');
    t.equal(improvedStep([0, 0, -2], [4, 2, 3], 0, 3, 0, 1), 1 + DESCEND);
    t.equal(improvedStep([0, 0], [DEAD, 2], 0, 2, 0, 1), 1 + DESCEND);
    t.equal(improvedStep([NaN, NaN], [4, DEAD], 0, 2, 0, 1), 0 + DESCEND, 'no gain known is none');
    t.equal(improvedStep([0, 0], [DEAD, DEAD], 0, 2, 0, 1), STOP, 'nobody is farther out');
    t.equal(improvedStep([3], [1], 0, 1, 1, 1), STOP, 'd = D');
    t.equal(improvedStep([9, 0, 3, 7], [9, 9, 1, 1], 2, 2, 0, 1), 1, 'arrays from anywhere');
    t.end();
  });
  t.test('a µs counts for who is late or would be; a tenth for others', (t) => {
    t.equal(moverGainUs(20, 10, 15), 11, 'late, and in time then');
    t.equal(moverGainUs(20, 18, 15), 2.2, 'late still');
    t.ok(Math.abs(moverGainUs(12, 10, 15) - 0.2) < 1e-12, 'in time anyway');
    t.equal(moverGainUs(10, 20, 15), -11, 'a loss, likewise');
    t.equal(branchGainUs(20, 3, 2), 10);
    t.equal(branchGainUs(20, 3, -2), -10);
    t.end();
  });
  t.end();
});
