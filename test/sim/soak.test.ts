// Scenarios of the whole overlay, each of its own seed: SOAK_SEEDS=1000 runs more of them, SOAK_SEED=17 runs one and says what happened in it.
import t from 'tap';
import { Scenario } from '../../src/sim/index.js';

const seeds = Number(process.env['SOAK_SEEDS'] ?? 100);
const only = process.env['SOAK_SEED'];
const chosen = only === undefined ? Array.from({ length: seeds }, (_, i) => i + 1) : [Number(only)];

t.test('no identifier has two holders or is lost, no message comes twice or is lost in calm, no loop or orphan lasts', (t) => {
  let whole = 0;
  for (const seed of chosen) {
    const outcome = new Scenario(seed).run();
    const { violations } = outcome;
    if (violations.length > 0) t.fail(`seed ${seed}: ${violations[0]}\n  repeat: SOAK_SEED=${seed} node dist/test/sim/soak.test.js`);
    else whole++;
    if (only !== undefined) t.comment(JSON.stringify(outcome, undefined, 1));
  }
  t.equal(whole, chosen.length);
  t.end();
});

t.test('a seed repeats, event by event', (t) => {
  for (const seed of chosen.slice(0, 3)) t.same(new Scenario(seed).run(), new Scenario(seed).run());
  t.end();
});
