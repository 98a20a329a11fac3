// forward: a generator on the wire, a forwarder on the card, back to the wire.
import { type Figure, type Target } from '../../src/report/index.js';
import { calibration } from '../calibration.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, pick, ratioTarget, ratioText } from '../context.js';
import { pinned } from '../cores.js';
import { udpFrame } from './frames.js';
import { cForward, dgramForward } from './kernel.js';
import { VARIANTS, type Variant, driverAlone, forwardFor } from './rig.js';

const NAME = 'forward';
const ALL_SIZES = [64, 256, 512, 1024, 1514, 9000];
const QUICK_SIZES = [64, 1514, 9000];
const BATCHES = [1, 8, 32, 256];
const BATCH = 32;
const DGRAM = 'Node dgram';
const MMSG = 'C recvmmsg/sendmmsg';
const TRAINS = 'C with UDP GSO/GRO';
const THROUGHPUT = { metric: 'throughput', unit: 'frames/s' } as const;
const ALONE = 'driver alone';

const frameBytesFor = (size: number): number => (size > 2048 ? 9216 : 2048);

function card(variant: Variant, size: number, batch: number, ms: number): Measurement {
  const frame = udpFrame(size);
  return {
    bench: NAME,
    variant,
    params: { frameBytes: size, batch },
    ...THROUGHPUT,
    measure: () => forwardFor(variant, { frames: [frame] }, frameBytesFor(size), batch, ms).framesPerSecond,
  };
}

function kernel(size: number, ms: number): Measurement[] {
  const params = { frameBytes: size, batch: BATCH };
  const of = (variant: string, measure: () => number | Promise<number>): Measurement => ({
    bench: NAME,
    variant,
    params,
    ...THROUGHPUT,
    measure,
  });
  return [
    of(DGRAM, () => dgramForward(size, ms)),
    of(MMSG, () => cForward(size, BATCH, false, ms)),
    of(TRAINS, () => cForward(size, 256, true, ms)),
  ];
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { quick, trafficPath } = context;
  const ms = quick ? 60 : 300;
  const rounds = quick ? 3 : 9;
  const sizes = quick ? QUICK_SIZES : ALL_SIZES;
  const frame = udpFrame(64);
  const groups: Measurement[][] = sizes.map((size) => [
    ...VARIANTS.map((variant) => card(variant, size, BATCH, ms)),
    ...kernel(size, ms),
  ]);
  for (const batch of BATCHES.filter((b) => b !== BATCH)) {
    groups.push(VARIANTS.map((variant) => card(variant, 64, batch, ms)));
  }
  groups.push(
    VARIANTS.map((variant) => ({
      bench: NAME,
      variant,
      params: { traffic: 'recorded', batch: BATCH },
      ...THROUGHPUT,
      measure: () => forwardFor(variant, trafficPath, 2048, BATCH, ms).framesPerSecond,
    })),
    [
      ...VARIANTS.map((variant) => ({
        bench: NAME,
        variant,
        params: { stage: ALONE },
        metric: 'cost',
        unit: 'ns',
        measure: () => driverAlone(variant, frame, BATCH, variant === 'object per descriptor' ? 300 : 3000),
      })),
      calibration(NAME),
    ],
  );
  const results = await alternate(groups, rounds, context);

  const [ZERO, CPP, COPY, OBJECT] = VARIANTS as readonly [Variant, Variant, Variant, Variant];
  const small = { frameBytes: 64, batch: BATCH };
  const at = (variant: string, params: Record<string, string | number> = small) => pick(results, variant, params);
  const zero = at(ZERO);
  const cpp = at(CPP);
  const aloneZero = at(ZERO, { stage: ALONE });
  const aloneCpp = at(CPP, { stage: ALONE });
  const cardNs = 1e9 / cpp.median;
  const limiting =
    cardNs > 1.15 * aloneZero.median
      ? `the card: end to end a frame takes ${cardNs.toFixed(0)} ns, of which the TypeScript driver alone needs ${aloneZero.median.toFixed(0)} ns on its core`
      : `the driver: alone it needs ${aloneZero.median.toFixed(0)} ns of the ${(1e9 / zero.median).toFixed(0)} ns that a frame takes end to end`;
  const large = { frameBytes: 1514, batch: BATCH };
  const crossover = sizes.filter((size) => at(ZERO, { frameBytes: size, batch: BATCH }).median > 1.1 * at(COPY, { frameBytes: size, batch: BATCH }).median);

  const figures: Figure[] = [
    {
      id: 'forward-size',
      title: 'Forwarding, by frame size',
      paragraph:
        `Frames a second through a forwarder that swaps addresses, decrements TTL and updates the checksum, in batches of ${BATCH}. ` +
        `At 64 bytes TypeScript on the card's rings reaches ${ratioText(zero, cpp)} of C++ on the same rings, ${ratioText(zero, at(OBJECT))} times ` +
        `a driver with an object per descriptor, ${ratioText(zero, at(DGRAM))} times Node's dgram and ${ratioText(zero, at(MMSG))} times recvmmsg/sendmmsg in C over loopback. ` +
        `The limiting side of the zero-copy path is ${limiting}.\n\n` +
        `A copy per frame costs more the larger the frame: ${crossover.length > 0 ? `from ${Math.min(...crossover)} bytes on zero-copy is ahead by more than 10 %` : 'on this machine at no size more than 10 %'}; ` +
        `at 1,514 bytes zero-copy is ${ratioText(at(ZERO, large), at(COPY, large))} times the best copy. ` +
        `"C with UDP GSO/GRO" moves up to 64 datagrams as one kernel packet that is never taken apart on loopback: it shows what batching in the kernel can save, not the cost of a frame.`,
      kind: 'line',
      x: { param: 'frameBytes', label: 'frame size (bytes)', scale: 'log' },
      y: { metric: 'throughput', label: 'throughput', unit: 'frames/s', scale: 'log' },
      results: results.filter((r) => 'frameBytes' in r.params && r.params['batch'] === BATCH),
    },
    {
      id: 'forward-batch',
      title: 'Forwarding 64-byte frames, by batch',
      paragraph:
        `What a turn may take at once. At batch 1 each frame pays for its own index load, index store and doorbell check; ` +
        `TypeScript then reaches ${ratioText(at(ZERO, { frameBytes: 64, batch: 1 }), at(CPP, { frameBytes: 64, batch: 1 }))} of C++, ` +
        `at 256 ${ratioText(at(ZERO, { frameBytes: 64, batch: 256 }), at(CPP, { frameBytes: 64, batch: 256 }))}.`,
      kind: 'line',
      x: { param: 'batch', label: 'frames a batch', scale: 'log' },
      y: { metric: 'throughput', label: 'throughput', unit: 'frames/s', scale: 'log' },
      results: results.filter((r) => r.params['frameBytes'] === 64 && (VARIANTS as readonly string[]).includes(r.variant)),
    },
    {
      id: 'forward-recorded',
      title: 'Forwarding recorded traffic',
      paragraph:
        `The recorded traffic (RTP, DNS, TCP, ping, ARP, IPv6, fragments: test/data) as fast as the forwarder takes it. ` +
        `Zero-copy is ${ratioText(at(ZERO, { traffic: 'recorded' }), at(COPY, { traffic: 'recorded' }))} times the best copy, and reaches ` +
        `${ratioText(at(ZERO, { traffic: 'recorded' }), at(CPP, { traffic: 'recorded' }))} of C++.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'throughput', label: 'throughput', unit: 'frames/s' },
      results: results.filter((r) => r.params['traffic'] === 'recorded'),
    },
    {
      id: 'forward-alone',
      title: 'The driver alone, 64-byte frames',
      paragraph:
        `A stepped engine fills the ring, unmeasured; then the driver takes, changes and sends all frames with nobody else at work. ` +
        `TypeScript takes ${aloneZero.median.toFixed(1)} ns a frame, C++ ${aloneCpp.median.toFixed(1)} ns, the object driver ${at(OBJECT, { stage: ALONE }).median.toFixed(0)} ns; ` +
        `a round of the calibration loop ${at('calibration loop', {}).median.toFixed(2)} ns.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'cost', label: 'cost a frame', unit: 'ns', scale: 'log' },
      results: results.filter((r) => r.params['stage'] === ALONE),
    },
  ];
  const targets: Target[] = [
    ratioTarget('forward 64 B, batch 32: TypeScript zero-copy / C++ same rings', zero, cpp, 0.7),
    ratioTarget('driver alone, ns a frame: C++ / TypeScript', aloneCpp, aloneZero, 0.7),
    ratioTarget('forward 64 B: zero-copy / object per descriptor', zero, at(OBJECT), 5),
    ratioTarget('forward 64 B: zero-copy / Node dgram', zero, at(DGRAM), 100),
    ratioTarget('forward 64 B: zero-copy / C recvmmsg', zero, at(MMSG), 50),
    { ...ratioTarget('forward 1,514 B: zero-copy / best copy', at(ZERO, large), at(COPY, large), 1), target: 'reported', met: null },
  ];
  return { results, figures, targets };
}

export const forward: Bench = {
  name: NAME,
  summary: 'frames/s through a forwarder: TypeScript zero-copy and copy, C++, objects, dgram, recvmmsg',
  quickSeconds: 26,
  run: (context) => pinned(() => measure(context)),
};
