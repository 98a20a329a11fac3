// udp: the stack's cost, and its sockets against the kernel's.
import { type Figure, type Target, summarize } from '../../src/report/index.js';
import { calibration } from '../calibration.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, atMostTarget, percentile, pick, ratioTarget, ratioText } from '../context.js';
import { pinned } from '../cores.js';
import { type Stage, echo, fanOut, oneWay, receiveCost } from './hosts.js';
import { cEcho, cOneWay, dgramEcho, dgramOneWay } from './kernel.js';
import { tapEchoes } from './tap-echo.js';

const NAME = 'udp';
/** 22 bytes make a frame of 64; 8,972 one of a 9,000-byte MTU. */
const PAYLOADS = [16, 22, 64, 256, 1024, 1472, 8972];
const QUICK_PAYLOADS = [22, 1472, 8972];
const SMALL = 22;
const BATCH = 32;
const ZERO = 'zero-copy handler';
const COPY = 'copying handler';
const DGRAM = 'Node dgram, loopback';
const MMSG = 'C recvmmsg, loopback';
const SHARED = 'one payload, shared';
const COPIES = 'a copy each';
const STAGES: readonly Stage[] = ['driver alone', 'and classification', 'whole stack'];
const FAN_OUT = { payloadBytes: 1200, destinations: 1000 };
const ROUND_TRIP = 'round trip';
const PERCENTILES = ['p50', 'p99', 'p99.9'] as const;

const throughput = { metric: 'throughput', unit: 'datagrams/s' } as const;

function oneWayGroup(payloadBytes: number, ms: number): Measurement[] {
  const of = (variant: string, measure: () => number | Promise<number>): Measurement => ({ bench: NAME, variant, params: { payloadBytes }, ...throughput, measure });
  return [
    of(ZERO, () => oneWay(payloadBytes, false, ms)),
    of(COPY, () => oneWay(payloadBytes, true, ms)),
    of(DGRAM, () => dgramOneWay(payloadBytes, ms)),
    of(MMSG, () => cOneWay(payloadBytes, BATCH, ms)),
  ];
}

/** One run gives all percentiles: the first to be asked for measures, the others read. */
function echoGroup(payloadBytes: number, ms: number): Measurement[] {
  const ofTimes = (variant: string, run: () => Promise<number[]>): Measurement[] => {
    let sorted: number[] = [];
    return PERCENTILES.map((name, i) => ({
      bench: NAME,
      variant,
      params: { payloadBytes, percentile: name },
      metric: ROUND_TRIP,
      unit: 'ns',
      measure: async () => {
        if (i === 0) sorted = (await run()).sort((a, b) => a - b);
        return percentile(sorted, Number(name.slice(1)));
      },
    }));
  };
  return [
    ...ofTimes('two user-level hosts', () => Promise.resolve(echo(payloadBytes, ms))),
    ...ofTimes(DGRAM, () => dgramEcho(payloadBytes, ms)),
    { bench: NAME, variant: 'C sockets, loopback', params: { payloadBytes, percentile: 'mean' }, metric: ROUND_TRIP, unit: 'ns', measure: () => 1e9 / cEcho(payloadBytes, ms) },
  ];
}

function fanOutGroup(rounds: number): Measurement[] {
  return [true, false].flatMap((shared) => {
    const variant = shared ? SHARED : COPIES;
    let last = { ns: 0, wholeNs: 0, copiedBytes: 0 };
    const of = (metric: string, unit: string, measure: () => number): Measurement => ({ bench: NAME, variant, params: { stage: 'fan-out' }, metric, unit, measure });
    return [
      of("sender's CPU", 'ns', () => {
        last = fanOut(shared, FAN_OUT.payloadBytes, FAN_OUT.destinations, rounds);
        return last.ns;
      }),
      of('end to end', 'ns', () => last.wholeNs),
      of('copied by software', 'B', () => last.copiedBytes),
    ];
  });
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { quick } = context;
  const ms = quick ? 60 : 300;
  const rounds = quick ? 3 : 9;
  const results = await alternate(
    [
      ...(quick ? QUICK_PAYLOADS : PAYLOADS).map((payloadBytes) => oneWayGroup(payloadBytes, ms)),
      ...(quick ? [SMALL] : PAYLOADS).map((payloadBytes) => echoGroup(payloadBytes, quick ? ms / 2 : ms)),
      [
        ...STAGES.map((stage): Measurement => ({
          bench: NAME, variant: stage, params: { stage: 'receive, 64-byte frames' }, metric: 'cost', unit: 'ns', measure: () => receiveCost(stage, quick ? 1500 : 6000),
        })),
        calibration(NAME),
      ],
      fanOutGroup(quick ? 60 : 300),
    ],
    rounds,
    context,
  );
  const tap = await tapEchoes(NAME, context, quick ? 200 : 2000, rounds);
  results.push(...tap.results);

  for (const r of results.filter(({ metric }) => metric === 'throughput')) {
    const bytes = Number(r.params['payloadBytes']);
    results.push({ ...r, metric: 'payload', unit: 'B/s', ...summarize(r.runs.map((value) => value * bytes)) });
  }
  const rateOf = (variant: string, payloadBytes: number): number => pick(results, variant, { payloadBytes }, 'payload').median;
  const at = (variant: string, payloadBytes = SMALL) => pick(results, variant, { payloadBytes }, 'throughput');
  const [alone, classified, whole] = STAGES.map((stage) => pick(results, stage));
  const above = summarize(whole.runs.map((ns, i) => ns - alone.runs[i]));
  const fan = (variant: string, metric: string) => pick(results, variant, { stage: 'fan-out' }, metric);
  const trip = (variant: string, percentile: string) => pick(results, variant, { payloadBytes: SMALL, percentile }, ROUND_TRIP);
  const us = (ns: number): string => `${(ns / 1e3).toFixed(1)} µs`;

  const figures: Figure[] = [
    {
      id: 'udp-one-way',
      title: 'UDP, one way',
      paragraph:
        `Datagrams a second from one user-level host to another, both on one JavaScript thread, the engine on the other core. The zero-copy handler reads each payload where the card has put it, and the sender ` +
        `writes it where the card will read it; the copying one has one copy on each side. Beside them dgram to dgram over loopback, the sender in a worker, and recvmmsg in C from a sender in C that never waits: each side of theirs has a core of its own. ` +
        `At ${SMALL} bytes of payload (a 64-byte frame) zero-copy reaches ${ratioText(at(ZERO), at(DGRAM))} times dgram, ${ratioText(at(ZERO), at(MMSG))} times recvmmsg in C, and ${ratioText(at(ZERO), at(COPY))} times the copying handler.`,
      kind: 'line',
      x: { param: 'payloadBytes', label: 'payload (bytes)', scale: 'log' },
      y: { metric: 'throughput', label: 'throughput', unit: 'datagrams/s', scale: 'log' },
      results: results.filter((r) => r.metric === 'throughput' && [ZERO, COPY, DGRAM, MMSG].includes(r.variant)),
    },
    {
      id: 'udp-echo',
      title: 'UDP echo, one datagram at a time',
      paragraph:
        `Round trips of ${SMALL} bytes with one datagram on its way. Two user-level hosts on one thread that polls: p50 ${us(trip('two user-level hosts', 'p50').median)}; two dgram sockets on one thread: ` +
        `${us(trip(DGRAM, 'p50').median)}; C sockets on two threads, which poll: ${us(trip('C sockets, loopback', 'mean').median)} in the mean.`,
      kind: 'bar',
      x: { param: 'percentile', label: '' },
      y: { metric: ROUND_TRIP, label: 'round trip', unit: 'ns', scale: 'log' },
      results: results.filter((r) => r.metric === ROUND_TRIP && r.params['payloadBytes'] === SMALL),
    },
    {
      id: 'udp-echo-size',
      title: 'UDP echo, by payload',
      paragraph: 'The median of the same round trips (of C sockets the mean) against the payload. What the card does grows with the payload (DMA, checksums); what the stack does, does not.',
      kind: 'line',
      x: { param: 'payloadBytes', label: 'payload (bytes)', scale: 'log' },
      y: { metric: ROUND_TRIP, label: 'round trip', unit: 'ns', scale: 'log' },
      results: results.filter((r) => r.metric === ROUND_TRIP && ['p50', 'mean'].includes(String(r.params['percentile']))),
    },
    {
      id: 'udp-one-way-bytes',
      title: 'UDP, one way, in bytes',
      paragraph: `The same one-way runs as payload bytes a second: at 1,472 bytes ${(rateOf(ZERO, 1472) / 1e9).toFixed(2)} GB/s with the zero-copy handler and ${(rateOf(COPY, 1472) / 1e9).toFixed(2)} GB/s with the copying one.`,
      kind: 'line',
      x: { param: 'payloadBytes', label: 'payload (bytes)', scale: 'log' },
      y: { metric: 'payload', label: 'payload', unit: 'B/s', scale: 'log' },
      results: results.filter((r) => r.metric === 'payload'),
    },
    {
      id: 'udp-stack-cost',
      title: 'What the stack costs',
      paragraph:
        `A ring of 64-byte UDP frames, taken with nobody else at work. The driver alone takes ${alone.median.toFixed(1)} ns a frame; telling whose each is and checking its headers makes it ${classified.median.toFixed(1)} ns; ` +
        `with sockets, their handlers and the accounting it is ${whole.median.toFixed(1)} ns: the stack adds ${above.median.toFixed(1)} ns. A round of the calibration loop takes ${pick(results, 'calibration loop').median.toFixed(2)} ns.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'cost', label: 'cost a frame', unit: 'ns' },
      results: results.filter((r) => r.metric === 'cost'),
    },
    {
      id: 'udp-fan-out',
      title: 'One payload to a thousand destinations',
      paragraph:
        `${FAN_OUT.payloadBytes} bytes to each of ${FAN_OUT.destinations} addresses. Shared, the payload lies in one buffer that all frames point to, and each has headers of its own; else it is copied into each frame. ` +
        `The sender's CPU a destination: ${fan(SHARED, "sender's CPU").median.toFixed(0)} ns against ${fan(COPIES, "sender's CPU").median.toFixed(0)} ns, ` +
        `${ratioText(fan(COPIES, "sender's CPU"), fan(SHARED, "sender's CPU"))} times; end to end, the card's work included, ${ratioText(fan(COPIES, 'end to end'), fan(SHARED, 'end to end'))} times. ` +
        `Software copied ${fan(SHARED, 'copied by software').median} and ${fan(COPIES, 'copied by software').median} bytes of payload for each.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: "sender's CPU", label: "sender's CPU a destination", unit: 'ns' },
      results: results.filter((r) => r.metric === "sender's CPU"),
    },
    ...tap.figures,
  ];
  const targets: Target[] = [
    ratioTarget('UDP one way, 64-byte frames: zero-copy / Node dgram', at(ZERO), at(DGRAM), 30),
    ratioTarget('UDP one way, 64-byte frames: zero-copy / C sockets with mmsg', at(ZERO), at(MMSG), 15),
    atMostTarget("the stack's cost above the driver, 64-byte UDP receive", above, 60, 'ns', 1),
    ratioTarget("fan-out of 1,200 B to 1,000: a copy each / one payload shared, sender's CPU", fan(COPIES, "sender's CPU"), fan(SHARED, "sender's CPU"), 2),
    ...tap.targets,
  ];
  return { results, figures, targets };
}

export const udp: Bench = {
  name: NAME,
  summary: 'UDP one way, echo, fan-out and the cost of the stack; against dgram, C sockets, veth and lwIP',
  quickSeconds: 20,
  run: (context) => pinned(() => measure(context)),
};
