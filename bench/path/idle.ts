// idle: what NICs cost that do nothing.
import { Nic, NicDriver } from '../../src/nic/index.js';
import { type Figure } from '../../src/report/index.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, nowNs, pick, ratio, ratioText } from '../context.js';
import { pinned } from '../cores.js';
import { ZeroCopyForwarder } from './forwarders.js';
import { udpFrame } from './frames.js';
import { makeRig } from './rig.js';

const NAME = 'idle';
const COUNTS = [1, 16, 256];

/** Frames/s of one busy NIC among `count`, of which the others have been driven up and are idle. */
async function busyAmong(count: number, ms: number): Promise<number> {
  const rig = makeRig({ frames: { frames: [udpFrame(64)] }, frameBytes: 2048, variant: 'TypeScript zero-copy' });
  const idle = Array.from(
    { length: count - 1 },
    () => new NicDriver(new Nic(rig.engine, { regionBytes: 2 ** 18 }), { queueSize: 16, buffers: 32 }),
  );
  try {
    await new Promise((resolve) => setTimeout(resolve, 5)); // for the idle ones to be armed
    const forwarder = new ZeroCopyForwarder(rig.driver);
    rig.tester.start();
    const run = (forMs: number): [number, number] => {
      const start = nowNs();
      let frames = 0;
      while (nowNs() - start < forMs * 1e6) for (let i = 0; i < 256; i++) frames += forwarder.turn(32);
      return [frames, nowNs() - start];
    };
    run(ms / 5);
    const [frames, ns] = run(ms);
    return (frames / ns) * 1e9;
  } finally {
    for (const driver of idle) driver.close();
    rig.close();
  }
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const ms = context.quick ? 80 : 300;
  const group = COUNTS.map(
    (count): Measurement => ({
      bench: NAME,
      variant: 'one busy NIC',
      params: { nics: count },
      metric: 'throughput',
      unit: 'frames/s',
      measure: () => busyAmong(count, ms),
    }),
  );
  const results = await alternate([group], context.quick ? 5 : 11, context);
  const [alone, , crowd] = COUNTS.map((nics) => pick(results, 'one busy NIC', { nics })) as [never, never, never];
  const kept = ratio(crowd, alone);
  const percent = (value: number): string => `${(100 * (1 - value)).toFixed(1)} %`;
  const figures: Figure[] = [
    {
      id: 'idle',
      title: 'One busy NIC among idle ones',
      paragraph:
        `64-byte frames forwarded on one NIC while the engine holds others that are up and have nothing to do. With 256 the busy one keeps ${ratioText(crowd, alone)} of its throughput: ` +
        `idle NICs have left the polling set, and a doorbell brings one back.`,
      kind: 'line',
      x: { param: 'nics', label: 'NICs on the engine', scale: 'log' },
      y: { metric: 'throughput', label: 'throughput of the busy one', unit: 'frames/s' },
      results,
    },
  ];
  return {
    results,
    figures,
    targets: [
      {
        what: '256 idle NICs: loss of throughput of one busy NIC',
        target: '≤ 10 %',
        reached: percent(kept.median),
        spread: `${percent(kept.max)}–${percent(kept.min)}`,
        met: kept.median >= 0.9,
      },
    ],
  };
}

export const idle: Bench = {
  name: NAME,
  summary: 'one busy NIC beside 0, 15 and 255 idle ones',
  quickSeconds: 5,
  run: (context) => pinned(() => measure(context)),
};
