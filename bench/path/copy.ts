// copy: what each copy costs against size, and how many bytes are copied for each that is delivered.
import { type Memory, Region } from '../../src/nic/index.js';
import { type Figure } from '../../src/report/index.js';
import { calibration } from '../calibration.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, nowNs, pick } from '../context.js';
import { pinned } from '../cores.js';
import { udpFrame } from './frames.js';
import { type Variant, forwardFor } from './rig.js';

const NAME = 'copy';
const SIZES = [16, 64, 128, 256, 512, 1024, 1514, 4096, 9000];
const BUFFERS = 256;
const STRIDE = 9216 + 64;

type Copy = (memory: Memory, to: number, from: number, length: number) => void;

const COPIES: Record<string, Copy> = {
  'Memory.copy': (memory, to, from, length) => {
    memory.copy(to, from, length);
  },
  'loop over 32-bit words': ({ u8, u32 }, to, from, length) => {
    let i = 0;
    for (; i + 4 <= length; i += 4) u32[(to + i) >> 2] = u32[(from + i) >> 2]!;
    for (; i < length; i++) u8[to + i] = u8[from + i]!;
  },
  copyWithin: ({ u8 }, to, from, length) => {
    u8.copyWithin(to, from, from + length);
  },
  'subarray + set': ({ u8 }, to, from, length) => {
    u8.set(u8.subarray(from, from + length), to);
  },
};

function copyNs(region: Region, copy: Copy, length: number, rounds: number): number {
  const start = nowNs();
  for (let i = 0; i < rounds; i++) {
    const at = (i % BUFFERS) * STRIDE * 2;
    copy(region, at + STRIDE, at, length);
  }
  return (nowNs() - start) / rounds;
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const rounds = context.quick ? 5 : 9;
  const region = new Region(BUFFERS * STRIDE * 2);
  const groups: Measurement[][] = SIZES.map((size) => [
    { bench: NAME, variant: 'no copy', params: { bytes: size }, metric: 'cost', unit: 'ns', measure: () => copyNs(region, () => undefined, size, 50_000) },
    ...Object.entries(COPIES).map(([variant, copy]) => ({
      bench: NAME,
      variant,
      params: { bytes: size },
      metric: 'cost',
      unit: 'ns',
      measure: () => copyNs(region, copy, size, 50_000),
    })),
  ]);
  const paths: Variant[] = ['TypeScript zero-copy', 'TypeScript copy'];
  for (const metric of ['copiedPerByte', 'dmaPerByte'] as const) {
    groups.push(
      paths.map((variant) => ({
        bench: NAME,
        variant,
        params: { kind: metric === 'copiedPerByte' ? 'by software' : 'by DMA' },
        metric: 'bytes a delivered byte',
        unit: 'B/B',
        measure: () => forwardFor(variant, { frames: [udpFrame(1514)] }, 2048, 32, 20)[metric],
      })),
    );
  }
  groups.push([calibration(NAME)]);
  const results = await alternate(groups, rounds, context);

  const cost = (variant: string, bytes: number): number => pick(results, variant, { bytes }).median;
  const crossover = SIZES.find((size) => cost('copyWithin', size) < cost('loop over 32-bit words', size));
  const bytes = (variant: Variant, kind: string): string => pick(results, variant, { kind }, 'bytes a delivered byte').median.toFixed(2);
  const figures: Figure[] = [
    {
      id: 'copy-cost',
      title: 'What one copy costs, by size',
      paragraph:
        `One copy within the region, from one buffer to another, over ${BUFFERS} pairs of buffers in turn. ` +
        `At 64 bytes: a loop over words ${cost('loop over 32-bit words', 64).toFixed(0)} ns, copyWithin ${cost('copyWithin', 64).toFixed(0)} ns, subarray and set ` +
        `${cost('subarray + set', 64).toFixed(0)} ns; at 1,514 bytes ${cost('loop over 32-bit words', 1514).toFixed(0)}, ${cost('copyWithin', 1514).toFixed(0)} and ${cost('subarray + set', 1514).toFixed(0)} ns. ` +
        (crossover === undefined
          ? 'copyWithin overtakes the loop at no size measured.'
          : `copyWithin overtakes the loop between ${SIZES[SIZES.indexOf(crossover) - 1] ?? 0} and ${crossover} bytes; Memory.copy changes over at 32.`),
      kind: 'line',
      x: { param: 'bytes', label: 'bytes copied', scale: 'log' },
      y: { metric: 'cost', label: 'cost of a copy', unit: 'ns', scale: 'log' },
      results: results.filter((r) => 'bytes' in r.params),
    },
    {
      id: 'copy-bytes',
      title: 'Bytes moved for each byte delivered',
      paragraph:
        `As the counters saw it, for 1,514-byte frames. Software copies ${bytes('TypeScript zero-copy', 'by software')} bytes for each one forwarded on the zero-copy path, ` +
        `${bytes('TypeScript copy', 'by software')} on the copying one. DMA, the card's own work, moves ${bytes('TypeScript zero-copy', 'by DMA')} on both: in and out, with headers and what the ring still holds.`,
      kind: 'bar',
      x: { param: 'kind', label: '' },
      y: { metric: 'bytes a delivered byte', label: 'bytes moved a byte delivered', unit: 'B/B' },
      results: results.filter((r) => r.metric === 'bytes a delivered byte'),
    },
  ];
  return { results, figures, targets: [] };
}

export const copy: Bench = {
  name: NAME,
  summary: 'what a copy costs by size, and bytes copied for each byte delivered',
  quickSeconds: 5,
  run: (context) => pinned(() => measure(context)),
};
