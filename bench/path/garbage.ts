// garbage: whether forwarding leaves any. In a process of its own, so that nothing else's is counted.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Figure, type Result, type Target } from '../../src/report/index.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, pick } from '../context.js';

const NAME = 'garbage';
const FRAMES = 10_000_000;
const CHILD = fileURLToPath(new URL('./garbage.child.js', import.meta.url));

/** What the process does, as its argument, and the variant's name. */
const WORK = { forward: 'frames forwarded', echo: 'UDP datagrams answered' } as const;
type Work = keyof typeof WORK;

/** Collections and heap growth over FRAMES frames. */
async function run(work: Work, signal: AbortSignal): Promise<{ collections: number; grownBytes: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--trace-gc', CHILD, work, String(FRAMES)], { signal, timeout: 60_000 });
  const steady = stdout.slice(stdout.indexOf('steady'));
  const grown = /grown (-?\d+)/.exec(steady);
  if (grown === null) throw new Error(`garbage: the process with ${WORK[work]} did not finish`);
  return { collections: (steady.match(/Scavenge|Mark-Compact|Mark-sweep/g) ?? []).length, grownBytes: Number(grown[1]) };
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const group = (work: Work): Measurement[] => {
    let last = { collections: 0, grownBytes: 0 };
    const of = (metric: string, unit: string, value: () => number | Promise<number>): Measurement => ({
      bench: NAME,
      variant: WORK[work],
      params: { frames: FRAMES },
      metric,
      unit,
      measure: value,
    });
    return [
      of('collections', '', async () => {
        last = await run(work, context.signal);
        return last.collections;
      }),
      of('heap growth', 'B', () => last.grownBytes),
    ];
  };
  const results = await alternate([group('forward'), group('echo')], context.quick ? 1 : 5, context);
  const of = (work: Work, metric: string): Result => pick(results, WORK[work], {}, metric);
  const kib = (bytes: number): string => (bytes / 1024).toFixed(1);
  const said = (work: Work): string =>
    `${FRAMES / 1e6} million ${WORK[work]}: ${of(work, 'collections').median} collections, and the heap grows by ${kib(of(work, 'heap growth').median)} KiB`;
  const figures: Figure[] = [
    {
      id: 'garbage',
      title: 'Garbage in steady state',
      paragraph: `A process once its code is compiled. ${said('forward')}. ${said('echo')}.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'heap growth', label: 'heap growth over 10 million frames', unit: 'B' },
      results: [of('forward', 'heap growth'), of('echo', 'heap growth')],
      reference: { value: 65_536, label: '64 KiB' },
    },
  ];
  const target = (work: Work): Target => {
    const collections = of(work, 'collections');
    const growth = of(work, 'heap growth');
    return {
      what: `garbage in steady state, 10 million ${WORK[work]}`,
      target: 'no collection, < 64 KiB',
      reached: `${collections.max} collections, ${kib(growth.median)} KiB`,
      spread: `${kib(growth.min)}–${kib(growth.max)} KiB`,
      met: collections.max === 0 && growth.max < 65_536,
    };
  };
  return { results, figures, targets: [target('forward'), target('echo')] };
}

export const garbage: Bench = {
  name: NAME,
  summary: 'collections and heap growth over 10 million frames forwarded, and as many datagrams answered',
  quickSeconds: 14,
  run: measure,
};
