// What the tests of src/report measure: nothing; made-up results with the shapes that benches have.
import { summarize, type Claim, type Figure, type Result, type RunReport } from '../../src/report/index.js';

export const SIZES = [64, 256, 512, 1024, 1514, 9000];
export const VARIANTS = ['zero-copy, split ring', 'zero-copy, packed ring', 'one copy', 'copy in and out', 'kernel socket (recvmmsg)', 'kernel socket'];

export function result(variant: string, params: Result['params'], median: number, unit = 'frames/s'): Result {
  return { bench: 'path', variant, params, metric: 'measured', unit, ...summarize([median * 0.9, median, median * 1.1]) };
}

/** Six variants over six frame sizes, 0.3 to 28 million frames a second; 'one copy' lacks 1514. */
export function throughput(changes: Partial<Figure> = {}): Figure {
  return {
    id: 'throughput',
    title: 'Forwarding rate by frame size',
    paragraph: 'Zero-copy wins.',
    kind: 'line',
    x: { param: 'frameBytes', label: 'Frame size (bytes)', scale: 'log' },
    y: { metric: 'measured', label: 'Throughput', unit: 'frames/s', scale: 'log' },
    results: VARIANTS.flatMap((variant, i) =>
      SIZES.filter((frameBytes) => variant !== 'one copy' || frameBytes !== 1514).map((frameBytes) => result(variant, { frameBytes }, 2.8e7 / 2.5 ** i)),
    ),
    ...changes,
  };
}

/** One bar per variant. */
export function bars(changes: Partial<Figure> = {}): Figure {
  return {
    id: 'cost',
    title: 'Time per frame',
    paragraph: 'Lower is better.',
    kind: 'bar',
    x: { param: 'variant', label: 'Variant' },
    y: { metric: 'measured', label: 'Time per frame', unit: 'ns' },
    results: [...VARIANTS].reverse().map((variant, i) => result(variant, {}, 3300 / (i + 1), 'ns')),
    ...changes,
  };
}

export function runReport(changes: Partial<RunReport> = {}): RunReport {
  return {
    machine: { cpu: 'A CPU', cores: 2, memoryBytes: 8 * 1024 ** 3, kernel: 'Linux 6.1', arch: 'x64' },
    commit: '0123abc',
    seed: 4711,
    node: 'v20.0.0',
    startedAt: '2026-01-02T03:04:05.000Z',
    command: 'npx ringcube bench --seed 4711',
    results: [],
    targets: [],
    claims: [],
    failures: [],
    ...changes,
  };
}

/** A cumulative curve of each of six variants, of 61 samples from 1 to 100: all end at 100 %, some before the others. */
export function cumulative(): Figure {
  const xs = Array.from({ length: 61 }, (_, i) => Number((10 ** (i / 30)).toPrecision(3)));
  const share = (x: number, scale: number): number => Math.min(100, 105 / (1 + (scale / x) ** 2.4));
  return {
    id: 'cumulative',
    title: 'Delay penalty',
    paragraph: 'The left is the better.',
    kind: 'line',
    x: { param: 'penalty', label: 'Delay penalty', scale: 'log' },
    y: { metric: 'measured', label: 'Subscribers', unit: '%' },
    results: VARIANTS.flatMap((variant, i) => xs.filter((x) => x <= 100 / (6 - i) ** 0.5).map((penalty) => result(variant, { penalty }, share(penalty, 2 + i), '%'))),
  };
}

/** One that agrees, one that differs, one that can't be judged. */
export const CLAIMS: readonly Claim[] = [
  { what: 'Greedy below ODR, mean delay', published: 'by as much as 40 %', source: 'Fry & West 2004', measured: '33 % (29–35)', agrees: true, remark: '' },
  { what: 'm-regions', published: '2, 4, 9, 27', source: 'slides', measured: '2, 4, 9, 32', agrees: false, remark: 'The fourth region is another, since the rule to accept was read in another way there.' },
  { what: 'Success with exchange', published: 'rises with the group', source: 'recalled', measured: '0.65 … 0.73', agrees: null, remark: 'a shape only' },
];
