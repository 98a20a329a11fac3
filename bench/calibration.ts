import { type Measurement, nowNs } from './context.js';

const ROUNDS = 20_000_000;

// xorshift32 (Marsaglia 2003): a chain of dependent operations that no compiler shortens and no cache helps.
function loop(rounds: number): number {
  let x = 2463534242;
  for (let i = 0; i < rounds; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
  }
  return x;
}

let sink = 0;

/** The same small loop on every machine: beside an absolute figure, it says how fast this one was just then. */
export function calibration(bench: string): Measurement {
  return {
    bench,
    variant: 'calibration loop',
    params: {},
    metric: 'time per round',
    unit: 'ns',
    measure: () => {
      const before = nowNs();
      sink ^= loop(ROUNDS);
      return (nowNs() - before) / ROUNDS;
    },
  };
}

/** What the calibration computed, so that it is computed. */
export function calibrationSink(): number {
  return sink;
}
