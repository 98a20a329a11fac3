// micro: the single operations of the path and of the overlay, by benchmark.js.
import Benchmark from 'benchmark';
import { Engine, FramePool, Nic, NicDriver, Region, Virtqueue, Features, addon } from '../../src/nic/index.js';
import { type Figure, type Target, humanize, summarize } from '../../src/report/index.js';
import { calibration, calibrationSink } from '../calibration.js';
import { type Bench, type BenchContext, type BenchOutput, alternate } from '../context.js';
import { pinned } from '../cores.js';
import { udpFrame } from '../path/frames.js';
import { nextHops } from './decisions.js';

const NAME = 'micro';
const N = 32; // operations of a batch
const NEXT_HOP_NS = 100;

interface Operation {
  name: string;
  /** How many it does a call. */
  count: number;
  body: () => unknown;
}

/** RFC 1071 over 16-bit words, as a stack in TypeScript does it. */
function checksum(u16: Uint16Array, at: number, words: number): number {
  let sum = 0;
  for (let i = at; i < at + words; i++) sum += u16[i];
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~(sum + (sum >>> 16)) & 0xffff;
}

function operations(): { list: Operation[]; close: () => void } {
  const region = new Region(2 ** 22);
  const pool = new FramePool(region, { count: 256, frameBytes: 2048 });
  const ring = new Virtqueue(region, 256, Features.of('Version1', 'EventIdx', 'InOrder'));
  const handles = new Int32Array(N);
  const offsets = new Int32Array(N);
  const lengths = new Int32Array(N).fill(64);
  const finished = new Int32Array(256);
  const get = pool.gets(handles, offsets);
  const put = pool.puts(handles);
  const offer = ring.offersFilled(handles, offsets, lengths, 12);
  const take = ring.takesRead(finished, new Int32Array(256));
  get(N);
  const { u8, u16 } = region;
  // The device's index, moved by hand: all that was offered is used.
  const usedIdx = (ring.usedOffset + 2) >> 1;
  const availIdx = (ring.availOffset + 2) >> 1;
  const frame = offsets[0];
  u8.set(udpFrame(64), frame);

  const engine = new Engine();
  const nic = new Nic(engine, { regionBytes: 2 ** 20 });
  const driver = new NicDriver(nic, { buffers: 32, queueSize: 16 });
  let sink = 0;
  const list: Operation[] = [
    {
      name: 'ring: publish and reap a frame',
      count: N,
      body: () => {
        offer(0, N);
        ring.publish();
        u16[usedIdx] = u16[availIdx]!;
        sink += take();
      },
    },
    {
      name: 'pool: get and put',
      count: N,
      body: () => {
        for (let i = 0; i < N; i++) handles[i] = pool.get();
        for (let i = 0; i < N; i++) pool.put(handles[i]);
      },
    },
    {
      name: 'pool: get and put many, a buffer',
      count: N,
      body: () => {
        get(N);
        put(0, N);
      },
    },
    {
      name: 'header check (Ethernet, IPv4, UDP)',
      count: 1,
      body: () => {
        const at = frame >> 1;
        if (u16[at + 6] === 0x0008 && u8[frame + 14] === 0x45 && u8[frame + 23] === 17 && u8[frame + 22] > 0) sink += u16[at + 18];
      },
    },
    ...[20, 64, 512, 1480].map((bytes) => ({
      name: `checksum, ${bytes} bytes`,
      count: 1,
      body: () => {
        sink += checksum(u16, frame >> 1, bytes >> 1);
      },
    })),
    {
      name: 'doorbell (a native call)',
      count: 1,
      body: () => {
        nic.native.kick(1);
      },
    },
    {
      name: 'empty N-API call',
      count: 1,
      body: () => {
        addon.bench.nothing();
      },
    },
  ];
  return {
    list,
    close: () => {
      driver.close();
      if (sink === Infinity) console.error(sink, calibrationSink());
    },
  };
}

/** ns an operation, once for each of benchmark.js's samples. */
function costsNs(name: string, body: () => unknown, count: number, seconds: number): number[] {
  const { stats } = new Benchmark(name, body, { minSamples: 9, maxTime: seconds, minTime: seconds / 20 }).run();
  return stats.sample.map((s) => (s * 1e9) / count);
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { list, close } = operations();
  const hops = nextHops(context.seed >>> 0, N);
  const seconds = context.quick ? 0.1 : 1;
  const total = list.length + hops.length;
  const results = await alternate([[calibration(NAME)]], 3, context);
  for (const [i, { name, count, body }] of list.entries()) {
    context.signal.throwIfAborted();
    context.progress(i, total, name);
    results.push({ bench: NAME, variant: name, params: {}, metric: 'cost', unit: 'ns', ...summarize(costsNs(name, body, count, seconds)) });
    await new Promise((resolve) => setImmediate(resolve));
  }
  close();
  let allocatedBytes = 0;
  for (const [i, { routing, shape, count, body, allocatedBytes: allocated }] of hops.entries()) {
    context.signal.throwIfAborted();
    context.progress(list.length + i, total, `next hop, ${routing}, ${shape}`);
    results.push({ bench: NAME, variant: routing, params: { shape }, metric: 'next hop', unit: 'ns', ...summarize(costsNs(routing, body, count, seconds)) });
    allocatedBytes = Math.max(allocatedBytes, allocated());
    await new Promise((resolve) => setImmediate(resolve));
  }
  context.progress(total, total, '');
  const cost = (name: string): string => (results.find((r) => r.variant === name)?.median ?? NaN).toFixed(1);
  const decisions = results.filter((r) => r.metric === 'next hop');
  const slowest = decisions.reduce((a, b) => (b.median > a.median ? b : a));
  const figures: Figure[] = [
    {
      id: 'micro',
      title: 'Single operations',
      paragraph:
        `By benchmark.js, each in a loop of its own, so warm in every cache. Publishing a frame and reaping it costs ${cost('ring: publish and reap a frame')} ns, in batches of ${N}; ` +
        `a doorbell, which a spinning card does not ask for, ${cost('doorbell (a native call)')} ns, of which ${cost('empty N-API call')} ns are the call.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'cost', label: 'cost', unit: 'ns', scale: 'log' },
      results: results.filter((r) => r.metric === 'cost'),
    },
    {
      id: 'micro-next-hop',
      title: 'Next-hop decisions in k-ary n-cubes',
      paragraph: `Between identifiers drawn at random, over costs drawn at random. The slowest, ${slowest.variant} in ${slowest.params['shape']}, takes ${humanize(slowest.median, 'ns')}.`,
      kind: 'bar',
      x: { param: 'shape', label: 'k x n' },
      y: { metric: 'next hop', label: 'cost of a decision', unit: 'ns' },
      results: decisions,
      reference: { value: NEXT_HOP_NS, label: 'target' },
    },
  ];
  const targets: Target[] = [
    {
      what: `Next-hop decision, the slowest: ${slowest.variant}, ${slowest.params['shape']}`, target: `≤ ${NEXT_HOP_NS} ns`,
      reached: humanize(slowest.median, 'ns'), spread: `${slowest.min.toFixed(1)}–${slowest.max.toFixed(1)}`, met: slowest.median <= NEXT_HOP_NS,
    },
    // What counting costs itself is a few hundred bytes.
    { what: 'Next-hop decision: allocated', target: '0 B', reached: `${allocatedBytes.toFixed(2)} B`, spread: '', met: allocatedBytes < 0.1 },
  ];
  return { results, figures, targets };
}

export const micro: Bench = {
  name: NAME,
  summary: 'ring, pool, header check, checksum, doorbell, N-API call, next hops',
  quickSeconds: 8,
  run: (context) => pinned(() => measure(context)),
};
