// path: UDP forwarding through one agent, by whatever runs it: behind kernel sockets, in a process or a thread of its own, in a sandbox; beside
// processes that want the same CPU.
import { type Figure, type Result, type Target } from '../../src/report/index.js';
import { calibration } from '../calibration.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, percentile, pick, ratio, ratioTarget, ratioText } from '../context.js';
import { pinned } from '../cores.js';
import { jitterOf } from './path-measures.js';
import { C, CHILD, COPY, fifo, latenciesOfWire, NODE, openVariants, PROTECT, type Variant, type Variants, WIRE, WORKER, ZERO } from './path-variants.js';

const NAME = 'path';
const PAYLOADS = [64, 256, 512, 1024, 1472, 8972];
const QUICK_PAYLOADS = [64, 1472];
/** Of the measurements beside background load. */
const PAYLOAD = 1472;
const BYTES = PAYLOAD.toLocaleString('en');
const HOGS = [0, 2, 10];
const QUICK_HOGS = [0, 10];
const QUICK_LOADED = [CHILD, ZERO, fifo(CHILD), fifo(ZERO)];
const MOST = 10;
const PACE_HZ = 2000;
const PERCENTILES = ['p50', 'p99', 'p99.9'] as const;
const THROUGHPUT = { metric: 'throughput', unit: 'datagrams/s' } as const;
const JITTER = 'jitter';
const COPIED = 'copied';
const OWN_COPIES = 'by its own software';
const KERNEL_COPIES = "the kernel's own";

/** What the kernel copies at least for each byte of payload: in and out of a socket; or into and out of one, both ways. */
const KERNEL: Readonly<Record<string, number>> = { [C]: 2, [NODE]: 2, [CHILD]: 4 };

interface Lengths {
  /** With a CPU of its own, or above all else on it: less than RT throttling would cut short. */
  aloneMs: number;
  /** Of several rounds of the system's scheduler among all who want the CPU. */
  sharedMs: number;
  pacedMs: number;
}

/** Throughput, and from the same runs what was copied. */
function throughputOf(variant: Variant, payloadBytes: number, hogs: number, { aloneMs, sharedMs }: Lengths): Measurement[] {
  let copied = 0;
  const ms = hogs === 0 || variant.realtime ? aloneMs : sharedMs;
  const of = { bench: NAME, variant: variant.name };
  const throughput: Measurement = {
    ...of, params: { payloadBytes, hogs }, ...THROUGHPUT,
    measure: async () => {
      const { perSecond, copiedBytes } = await variant.throughput({ payloadBytes, hogs, ms });
      copied = copiedBytes;
      // If none came back, it was less than one in that time: so that ratios stay numbers.
      return Math.max(perSecond, 1e3 / ms);
    },
  };
  if (hogs > 0 || payloadBytes !== PAYLOAD) return [throughput];
  return [
    throughput,
    { ...of, params: { by: OWN_COPIES }, metric: COPIED, unit: 'B', measure: () => copied },
    { ...of, params: { by: KERNEL_COPIES }, metric: COPIED, unit: 'B', measure: () => (KERNEL[variant.name] ?? 0) * payloadBytes },
  ];
}

/** One run gives all: the first to be asked for measures, the others read. */
function jitterMeasurements({ name: variant, latencies }: Pick<Variant, 'name' | 'latencies'>, hogs: number, { pacedMs }: Lengths): Measurement[] {
  let sorted: Float64Array = new Float64Array();
  let lost = 0;
  const of = { bench: NAME, variant };
  return [
    ...PERCENTILES.map((name, i): Measurement => ({
      ...of, params: { hogs, percentile: name }, metric: JITTER, unit: 'ns',
      measure: async () => {
        if (i === 0) {
          const flow = await latencies({ payloadBytes: PAYLOAD, hogs, ms: pacedMs }, PACE_HZ);
          sorted = jitterOf(flow, PACE_HZ);
          lost = (100 * (flow.sent - flow.ns.length)) / flow.sent;
        }
        return percentile(sorted, Number(name.slice(1)));
      },
    })),
    { ...of, params: { hogs, percentile: 'lost' }, metric: 'lost', unit: '%', measure: () => lost },
  ];
}

function groupsOf({ all }: Variants, quick: boolean): Measurement[][] {
  const lengths: Lengths = quick ? { aloneMs: 30, sharedMs: 100, pacedMs: 120 } : { aloneMs: 300, sharedMs: 600, pacedMs: 600 };
  const alone = all.filter(({ realtime }) => !realtime);
  const loaded = quick ? all.filter(({ name }) => QUICK_LOADED.includes(name)) : all;
  const hogs = quick ? QUICK_HOGS : HOGS;
  // At SCHED_FIFO nothing is to be seen without background load. One who measures at it waits for one who does not.
  const beside = (count: number): Variant[] => loaded.filter(({ realtime }) => count > 0 || !realtime);
  return [
    ...(quick ? QUICK_PAYLOADS : PAYLOADS).map((payloadBytes) => [
      ...alone.flatMap((variant) => throughputOf(variant, payloadBytes, 0, lengths)),
      ...(payloadBytes === PAYLOAD ? hogs.filter((n) => n > 0).flatMap((n) => beside(n).flatMap((variant) => throughputOf(variant, PAYLOAD, n, lengths))) : []),
    ]),
    [
      ...jitterMeasurements({ name: WIRE, latencies: latenciesOfWire }, 0, lengths),
      ...hogs.flatMap((n) => beside(n).flatMap((variant) => jitterMeasurements(variant, n, lengths))),
    ],
    [calibration(NAME)],
  ];
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { quick } = context;
  const variants = openVariants();
  try {
    for (const variant of variants.all) {
      for (const payloadBytes of quick ? [PAYLOAD] : PAYLOADS) {
        context.signal.throwIfAborted();
        await variant.verify(payloadBytes);
      }
    }
    const results = await alternate(groupsOf(variants, quick), quick ? 2 : 9, context);
    return { results, figures: figuresOf(results, variants.realtime), targets: targetsOf(results, variants.realtime) };
  } finally {
    await variants.close();
  }
}

const throughputAt = (results: readonly Result[], variant: string, payloadBytes = PAYLOAD, hogs = 0): Result => pick(results, variant, { payloadBytes, hogs }, THROUGHPUT.metric);

const us = (ns: number): string => `${(ns / 1e3).toFixed(1)} µs`;

function figuresOf(results: readonly Result[], realtime: boolean): Figure[] {
  const at = (variant: string, payloadBytes?: number, hogs?: number): Result => throughputAt(results, variant, payloadBytes, hogs);
  const kept = (variant: string, of = variant): string => ratioText(at(variant, PAYLOAD, MOST), at(of));
  const jitter = (variant: string, hogs: number): string => {
    const [p50, p99, worst] = PERCENTILES.map((name) => us(pick(results, variant, { hogs, percentile: name }, JITTER).median));
    return `${p50}, ${p99} and ${worst}`;
  };
  const copied = (variant: string, by: string): string => pick(results, variant, { by }, COPIED).median.toFixed(0);
  /** A quick run leaves some out. */
  const has = (variant: string): boolean => results.some((r) => r.variant === variant && r.params['hogs'] === MOST);
  const lost = Math.max(...results.filter(({ metric }) => metric === 'lost').map(({ median }) => median));
  const flat = (variant: string, of: string): boolean => ratio(at(variant, PAYLOAD, MOST), at(of)).median >= 0.8;
  const priority = realtime
    ? `With the forwarder's thread at SCHED_FIFO, above all processes as an interrupt handler is, the zero-copy sandbox keeps ${kept(fifo(ZERO), ZERO)} and ${flat(fifo(ZERO), ZERO) ? 'stays near flat' : 'does not stay flat either'}; ` +
      `so treated, the child process and its parent keep ${kept(fifo(CHILD), CHILD)}.` +
      (flat(fifo(ZERO), ZERO) && flat(fifo(CHILD), CHILD) ? ' So it is the priority that holds, not the sandbox by itself: what the sandbox adds is that one thread is enough.' : '')
    : 'SCHED_FIFO was refused here, so what a priority above all processes gives, as an interrupt handler has it, was not measured.';
  return [
    {
      id: 'path-payload',
      title: 'Forwarding through one agent, by who runs it',
      paragraph:
        `Datagrams a second that come back to their sender, through an agent that reads every byte. Its module is the same everywhere (in C the same loop). The load or the emulated card has a core of its own; the forwarder has the other, ` +
        `and shares it with its process or worker, if it has one. Those on the card differ in where the agent runs: in this thread in a sandbox, or behind a socket pair or a ring of shared memory, over which payloads go in batches. ` +
        `At ${BYTES} bytes the zero-copy sandbox forwards ${ratioText(at(ZERO), at(CHILD))} times as much as the child process, ${ratioText(at(ZERO), at(WORKER))} times the worker, ${ratioText(at(ZERO), at(COPY))} times the sandbox with copies, ` +
        `${ratioText(at(ZERO), at(PROTECT))} times the one whose window is shut between calls, ${ratioText(at(ZERO), at(NODE))} times Node's and ${ratioText(at(ZERO), at(C))} times C's kernel socket. At 64 bytes it is ${ratioText(at(ZERO, 64), at(CHILD, 64))} times the child process. ` +
        `Kernel sockets go over loopback, whose frames the kernel hands on by reference; the card's go over a wire that moves bytes.`,
      kind: 'line',
      x: { param: 'payloadBytes', label: 'payload (bytes)', scale: 'log' },
      y: { ...THROUGHPUT, label: 'throughput', scale: 'log' },
      results: results.filter((r) => r.metric === THROUGHPUT.metric && r.params['hogs'] === 0),
    },
    {
      id: 'path-hogs',
      title: 'Forwarding beside background load',
      paragraph:
        `The same at ${BYTES} bytes beside processes that spin on the forwarder's CPU. Beside ${MOST} of them the child process keeps ${kept(CHILD)} of its throughput. ` +
        `At normal priority, where its thread is one among all, the zero-copy sandbox keeps ${kept(ZERO)}${has(C) ? `, C's kernel socket ${kept(C)}` : ''}. ${priority}`,
      kind: 'line',
      x: { param: 'hogs', label: 'processes that spin on the same CPU' },
      y: { ...THROUGHPUT, label: 'throughput', scale: 'log' },
      results: results.filter((r) => r.metric === THROUGHPUT.metric && r.params['payloadBytes'] === PAYLOAD),
    },
    {
      id: 'path-jitter',
      title: 'Jitter beside background load',
      paragraph:
        `A flow of ${PACE_HZ.toLocaleString('en')} datagrams of ${BYTES} bytes a second at equal intervals, cards served as they interrupt: by how much the interval between two is another after the forwarder (the D of RFC 3550 §6.4.1), p50, p99 and p99.9. ` +
        `Latencies count from when a datagram was due. With nothing beside: child process ${jitter(CHILD, 0)}; zero-copy sandbox ${jitter(ZERO, 0)}. Beside ${MOST} processes: child process ${jitter(CHILD, MOST)}; zero-copy sandbox ${jitter(ZERO, MOST)}` +
        (realtime ? `; at SCHED_FIFO ${jitter(fifo(ZERO), MOST)}, the child process so ${jitter(fifo(CHILD), MOST)}. ` : '. ') +
        (has(C) ? `C's kernel socket: ${jitter(C, 0)}, and ${jitter(C, MOST)}. ` : '') +
        `The tester itself, with nothing but a wire between it and another: ${jitter(WIRE, 0)}. ${lost === 0 ? 'No datagram was lost.' : `Up to ${lost.toFixed(1)} % of the datagrams were lost (the median of a variant's runs).`}`,
      kind: 'line',
      x: { param: 'hogs', label: 'processes that spin on the same CPU' },
      y: { metric: JITTER, label: 'change of the interval', unit: 'ns', scale: 'log' },
      facet: 'percentile',
      results: results.filter((r) => r.metric === JITTER),
    },
    {
      id: 'path-copies',
      title: 'Bytes copied for each datagram',
      paragraph:
        `Of ${BYTES} bytes of payload, from the counters: what this side's own software copies for each datagram that goes on, both ways, and what the kernel copies at least, which nobody counts (in and out of a socket once for each). ` +
        `The zero-copy sandbox copies ${copied(ZERO, OWN_COPIES)}, the sandbox with copy ${copied(COPY, OWN_COPIES)}, the worker ${copied(WORKER, OWN_COPIES)}, the child process ${copied(CHILD, OWN_COPIES)} and the kernel ${copied(CHILD, KERNEL_COPIES)} for it. ` +
        `DMA is the card's work and not in it.`,
      kind: 'bar',
      x: { param: 'by', label: '' },
      y: { metric: COPIED, label: 'copied for each datagram', unit: 'B' },
      results: results.filter((r) => r.metric === COPIED),
    },
  ];
}

function targetsOf(results: readonly Result[], realtime: boolean): Target[] {
  const kept = (what: string, variant: string, of = variant): Target => ({
    ...ratioTarget(`throughput beside ${MOST} processes that spin / beside none: ${what}`, throughputAt(results, variant, PAYLOAD, MOST), throughputAt(results, of), 0),
    target: 'reported', met: null,
  });
  return [
    ratioTarget(`UDP forwarding of ${BYTES} B: zero-copy sandbox / child process`, throughputAt(results, ZERO), throughputAt(results, CHILD), 10),
    kept('zero-copy sandbox', ZERO),
    ...(realtime ? [kept('zero-copy sandbox at SCHED_FIFO', fifo(ZERO), ZERO)] : []),
    kept('child process', CHILD),
    ...(realtime ? [kept('child process at SCHED_FIFO', fifo(CHILD), CHILD)] : []),
  ];
}

export const path: Bench = {
  name: NAME,
  summary: 'UDP through one agent: kernel sockets, a process, a worker, sandboxes; throughput, jitter and copies, beside CPU hogs',
  quickSeconds: 20,
  run: (context) => pinned(() => measure(context)),
};
