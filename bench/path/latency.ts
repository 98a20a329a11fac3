// latency: half a round trip through a pair of cards at fixed rates, and how long an interrupt takes to wake us.
import { setTimeout as sleep } from 'node:timers/promises';
import { LatencyHistogram } from '../../src/base/index.js';
import { Engine, Link, Nic, NicDriver, Replay, type ServiceMode, addon } from '../../src/nic/index.js';
import { type Figure, type Result } from '../../src/report/index.js';
import { calibration } from '../calibration.js';
import {
  type Bench,
  type BenchContext,
  type BenchOutput,
  type Measurement,
  alternate,
  nowNs,
  pick,
  ratioTarget,
  ratioText,
} from '../context.js';
import { ENGINE_CPU, OWN_CPU, pinned } from '../cores.js';
import { udpFrame } from './frames.js';

const NAME = 'latency';
const MODES: readonly ServiceMode[] = ['poll', 'adaptive', 'interrupt'];
const LOADS = [1, 20, 50, 80]; // % of saturation
const PERCENTILES = ['p50', 'p90', 'p99', 'p99.9', 'max'] as const;
const MAX_KEPT = 4_000_000;
const QUEUE_SIZE = 256;
const FRAME_BYTES = 128;
const WAKEUP_PAUSE_US = 200;

/**
 * source ─▶ card A ─▶ driver A ─▶ driver B ─▶ card B ─▶ sink. The source stamps each frame with the time it was due, the
 * sink takes the difference: a late frame counts from when it should have left (no coordinated omission).
 */
class Pair {
  readonly source: Replay;
  readonly sink: Replay;
  private readonly closers: (() => void)[];

  constructor(mode: ServiceMode, timing: { framesPerSecond: number } | 'fastest') {
    const engine = new Engine({ cpu: ENGINE_CPU });
    const a = new Nic(engine, { regionBytes: 2 ** 23 });
    const b = new Nic(engine, { region: a.region, mac: '02:00:00:00:00:02' });
    const replay = timing === 'fastest' ? { timing } : { timing: 'rate' as const, framesPerSecond: timing.framesPerSecond };
    this.source = new Replay(engine, { frames: [udpFrame(FRAME_BYTES)] }, { ...replay, limit: Number.MAX_SAFE_INTEGER, stamp: 'due' });
    this.sink = new Replay(engine, { frames: [] }, { stamp: 'due', latencies: MAX_KEPT });
    const out = new NicDriver(b, { queueSize: QUEUE_SIZE, poolId: 1, refill: false });
    const { tx } = out.pairs[0];
    const into = new NicDriver(a, {
      queueSize: QUEUE_SIZE,
      buffers: 3 * QUEUE_SIZE,
      handler: {
        frames: (batch) => {
          tx.reclaim();
          const sent = tx.send(batch);
          for (let i = sent; i < batch.count; i++) into.pool.put(batch.handle[i]); // no room: a drop, as a router's
          out.publish(out.pairs[0]);
        },
      },
    });
    out.addPool(into.pool);
    const wire = timing === 'fastest' ? { pause: true } : {};
    const links = [new Link(engine, this.source, a, wire), new Link(engine, b, this.sink)];
    into.start(mode);
    this.closers = [
      () => {
        this.source.stop();
      },
      ...links.map((link) => () => {
        link.close();
      }),
      () => {
        into.close();
        out.close();
        this.source.close();
        this.sink.close();
      },
    ];
  }

  close(): void {
    for (const closer of this.closers) closer();
  }
}

/** Frames/s that the pair carries when the source sends whenever there is room. */
async function saturation(ms: number): Promise<number> {
  const pair = new Pair('adaptive', 'fastest');
  try {
    pair.source.start();
    await sleep(ms / 4);
    const before = pair.sink.counters().returned;
    const start = nowNs();
    await sleep(ms);
    return ((pair.sink.counters().returned - before) / (nowNs() - start)) * 1e9;
  } finally {
    pair.close();
  }
}

interface Measured {
  histogram: LatencyHistogram;
  offered: number;
  arrived: number;
}

async function halfRoundTrip(mode: ServiceMode, framesPerSecond: number, ms: number): Promise<Measured> {
  const pair = new Pair(mode, { framesPerSecond });
  try {
    pair.source.start();
    await sleep(ms);
    pair.source.stop();
    await sleep(5);
    const latencies = pair.sink.latenciesNs();
    const warm = Math.min(latencies.length >> 2, 10_000);
    const histogram = new LatencyHistogram();
    const halves = latencies.subarray(warm).map((ns) => ns / 2);
    histogram.recordAll(halves);
    const sent = pair.source.counters();
    return { histogram, offered: sent.sent + sent.refused, arrived: latencies.length };
  } finally {
    pair.close();
  }
}

/** Medians of interrupt wake-ups: the card's eventfd to the JavaScript callback, this thread asleep before. ns. */
async function cardWakeup(rounds: number): Promise<number> {
  const engine = new Engine({ cpu: ENGINE_CPU });
  const nic = new Nic(engine, { regionBytes: 2 ** 22 });
  const source = new Replay(engine, { frames: [udpFrame(64)] }, { timing: 'rate', framesPerSecond: 1e6 / WAKEUP_PAUSE_US, limit: rounds, stamp: 'sent' });
  const histogram = new LatencyHistogram();
  const view = new DataView(nic.region.buffer);
  const done = new Promise<void>((resolve) => {
    const driver: NicDriver = new NicDriver(nic, {
      handler: {
        frames: (batch) => {
          const now = engine.nowUs() * 1e3;
          for (let i = 0; i < batch.count; i++) {
            const stamp = batch.offset[i] + batch.length[i] - 8;
            const due = view.getUint32(stamp, true) + view.getUint32(stamp + 4, true) * 2 ** 32;
            histogram.record(now - due);
            driver.pool.put(batch.handle[i]);
          }
          if (histogram.count >= rounds) {
            driver.close();
            resolve();
          }
        },
      },
    });
    driver.start('interrupt');
  });
  const link = new Link(engine, source, nic);
  source.start();
  const patienceMs = 1000 + (10 * rounds * WAKEUP_PAUSE_US) / 1e3;
  const late = new AbortController();
  await Promise.race([
    done,
    // A frame that found no buffer never comes: what did come is measured.
    sleep(patienceMs, undefined, { signal: late.signal }).catch(() => undefined),
  ]);
  late.abort();
  source.stop();
  nic.close();
  link.close();
  source.close();
  return histogram.percentile(50);
}

function eventfdWakeup(rounds: number): number {
  const out = new Float64Array(rounds);
  addon.bench.eventfdWakeup(out, WAKEUP_PAUSE_US * 1e3, ENGINE_CPU, OWN_CPU);
  return out.sort()[rounds >> 1];
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { quick } = context;
  const rounds = quick ? 3 : 9;
  const ms = quick ? 80 : 400;
  const full: number[] = [];
  for (let i = 0; i < 3; i++) full.push(await saturation(ms));
  const saturated = full.sort((a, b) => a - b)[1];

  // One run gives all percentiles: the first to be asked for measures, the others read.
  const groups: Measurement[][] = [];
  for (const load of LOADS) {
    groups.push(
      MODES.flatMap((mode) => {
        let last: Measured | undefined;
        return PERCENTILES.map((percentile, i): Measurement => ({
          bench: NAME,
          variant: mode,
          params: { load: `${load} % of saturation`, percentile },
          metric: 'half round trip',
          unit: 'ns',
          measure: async () => {
            if (i === 0) last = await halfRoundTrip(mode, (saturated * load) / 100, ms);
            const { histogram } = last!;
            return percentile === 'max' ? histogram.max : histogram.percentile(Number(percentile.slice(1)));
          },
        }));
      }),
    );
  }
  const wakeups = quick ? 300 : 2000;
  const wake = (variant: string, body: () => number | Promise<number>): Measurement => ({
    bench: NAME,
    variant,
    params: { stage: 'wake-up' },
    metric: 'wake-up p50',
    unit: 'ns',
    measure: body,
  });
  groups.push([wake('card interrupt to JavaScript', () => cardWakeup(wakeups)), wake('C eventfd', () => eventfdWakeup(wakeups)), calibration(NAME)]);
  const results: Result[] = await alternate(groups, rounds, context);

  const at = (mode: string, load: number, percentile: string): string =>
    `${(pick(results, mode, { load: `${load} % of saturation`, percentile }).median / 1e3).toFixed(1)} µs`;
  const card = pick(results, 'card interrupt to JavaScript');
  const c = pick(results, 'C eventfd');
  const figures: Figure[] = [
    {
      id: 'latency',
      title: 'Half a round trip through a pair of cards',
      paragraph:
        `Frames of ${FRAME_BYTES} bytes come in on one card, are sent on in TypeScript by the other, and return to the wire; half of that time is shown. ` +
        `Saturation was ${(saturated / 1e6).toFixed(2)} Mframes/s. Latency counts from when a frame was due to be sent, so that a stall is not omitted. ` +
        `At 1 % load the median is ${at('poll', 1, 'p50')} polling, ${at('adaptive', 1, 'p50')} adaptive and ${at('interrupt', 1, 'p50')} with an interrupt for each; ` +
        `at 80 % ${at('poll', 80, 'p50')}, ${at('adaptive', 80, 'p50')} and ${at('interrupt', 80, 'p50')}, with p99.9 at ${at('poll', 80, 'p99.9')}, ${at('adaptive', 80, 'p99.9')} and ${at('interrupt', 80, 'p99.9')}.`,
      kind: 'line',
      x: { param: 'percentile', label: 'percentile' },
      y: { metric: 'half round trip', label: 'half round trip', unit: 'ns', scale: 'log' },
      facet: 'load',
      results: results.filter((r) => 'percentile' in r.params),
    },
    {
      id: 'wakeup',
      title: 'Interrupt wake-up',
      paragraph:
        `From the card's taking the frame, just before its write to the eventfd, to the first line of the JavaScript handler, the thread asleep before; ` +
        `beside it a bare C thread that sleeps in epoll on an eventfd which another one writes, on the same two CPUs. Medians of ${wakeups} each: ${ratioText(card, c)} times C's.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'wake-up p50', label: 'wake-up, median', unit: 'ns' },
      results: results.filter((r) => r.params['stage'] === 'wake-up'),
    },
  ];
  return { results, figures, targets: [ratioTarget('interrupt wake-up p50 / C eventfd p50', card, c, 1.3, true)] };
}

export const latency: Bench = {
  name: NAME,
  summary: 'half round trip at fixed rates by service mode, percentiles; interrupt wake-up',
  quickSeconds: 13,
  run: (context) => pinned(() => measure(context)),
};
