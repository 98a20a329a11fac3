// garbage: whether forwarding leaves any. In a process of its own, so that nothing else's is counted.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Figure } from '../../src/report/index.js';
import { type Bench, type BenchContext, type BenchOutput, alternate, pick } from '../context.js';

const NAME = 'garbage';
const FRAMES = 10_000_000;
const CHILD = fileURLToPath(new URL('./garbage.child.js', import.meta.url));

/** Collections and heap growth over FRAMES frames. */
async function run(signal: AbortSignal): Promise<{ collections: number; grownBytes: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--trace-gc', CHILD, String(FRAMES)], { signal, timeout: 60_000 });
  const steady = stdout.slice(stdout.indexOf('steady'));
  const grown = /grown (-?\d+)/.exec(steady);
  if (grown === null) throw new Error('garbage: the forwarding process did not finish');
  return { collections: (steady.match(/Scavenge|Mark-Compact|Mark-sweep/g) ?? []).length, grownBytes: Number(grown[1]) };
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  let last = { collections: 0, grownBytes: 0 };
  const of = (metric: string, unit: string, value: () => number | Promise<number>) => ({
    bench: NAME,
    variant: 'TypeScript zero-copy',
    params: { frames: FRAMES },
    metric,
    unit,
    measure: value,
  });
  const results = await alternate(
    [
      [
        of('collections', '', async () => {
          last = await run(context.signal);
          return last.collections;
        }),
        of('heap growth', 'B', () => last.grownBytes),
      ],
    ],
    context.quick ? 1 : 5,
    context,
  );
  const collections = pick(results, 'TypeScript zero-copy', {}, 'collections');
  const growth = pick(results, 'TypeScript zero-copy', {}, 'heap growth');
  const figures: Figure[] = [
    {
      id: 'garbage',
      title: 'Garbage in steady state',
      paragraph: `A process forwards ${FRAMES / 1e6} million frames once its code is compiled: ${collections.median} collections, and the heap grows by ${(growth.median / 1024).toFixed(1)} KiB.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'heap growth', label: 'heap growth over 10 million frames', unit: 'B' },
      results: [growth],
      reference: { value: 65_536, label: '64 KiB' },
    },
  ];
  return {
    results,
    figures,
    targets: [
      {
        what: 'garbage in steady state, 10 million frames',
        target: 'no collection, < 64 KiB',
        reached: `${collections.max} collections, ${(growth.median / 1024).toFixed(1)} KiB`,
        spread: `${(growth.min / 1024).toFixed(1)}–${(growth.max / 1024).toFixed(1)} KiB`,
        met: collections.max === 0 && growth.max < 65_536,
      },
    ],
  };
}

export const garbage: Bench = {
  name: NAME,
  summary: 'collections and heap growth over 10 million forwarded frames',
  quickSeconds: 6,
  run: measure,
};
