// The ways in which one agent forwards UDP, each with what it takes to check and to measure it.
import { setRealtime } from '../../src/nic/index.js';
import { cardLatencies, cardThroughput, type Runner, verifyCard, wireLatencies } from './path-card.js';
import { withHogs } from './path-hogs.js';
import { cForwarder, dgramForwarder, kernelLatencies, kernelThroughput, type Open, verifyKernel } from './path-kernel.js';
import { type During, type Latencies, type Throughput } from './path-measures.js';
import { ChildRemote, WorkerRemote } from './path-remote.js';

export const C = 'kernel socket in C';
export const NODE = 'kernel socket in Node';
export const CHILD = 'child process';
export const WORKER = 'worker';
export const COPY = 'sandbox with copy';
export const ZERO = 'sandbox, zero-copy';
export const PROTECT = 'sandbox with protect';

/** No forwarder: what the tester itself adds. */
export const WIRE = 'the wire alone';

/** Its forwarder (and its process, if it has one) run at SCHED_FIFO while it is measured. */
export const fifo = (name: string): string => `${name}, SCHED_FIFO`;

const PRIORITY = 10;

/** A moment of a variant's life: payload, background load, and for how long. */
export interface Conditions {
  payloadBytes: number;
  hogs: number;
  ms: number;
}

export interface Variant {
  name: string;
  realtime: boolean;
  verify(payloadBytes: number): Promise<void>;
  throughput(conditions: Conditions): Promise<Throughput>;
  latencies(conditions: Conditions, perSecond: number): Promise<Latencies>;
}

export interface Variants {
  all: readonly Variant[];
  /** Whether the system allowed SCHED_FIFO; else those are left out. */
  realtime: boolean;
  close(): Promise<void>;
}

function during(hogs: number, realtime: boolean): During {
  return (body) =>
    withHogs(hogs, async () => {
      if (realtime) setRealtime(PRIORITY);
      try {
        return await body();
      } finally {
        if (realtime) setRealtime(0);
      }
    });
}

function onCard(name: string, runner: Runner, realtime = false): Variant {
  return {
    name,
    realtime,
    verify: (payloadBytes) => verifyCard(name, runner, payloadBytes),
    throughput: ({ payloadBytes, hogs, ms }) => cardThroughput(runner, payloadBytes, ms, during(hogs, realtime)),
    latencies: ({ payloadBytes, hogs, ms }, perSecond) => cardLatencies(runner, payloadBytes, perSecond, ms, during(hogs, realtime)),
  };
}

function onSockets(name: string, open: Open): Variant {
  return {
    name,
    realtime: false,
    verify: (payloadBytes) => verifyKernel(name, open, payloadBytes),
    throughput: ({ payloadBytes, hogs, ms }) => kernelThroughput(open, payloadBytes, ms, during(hogs, false)),
    latencies: ({ payloadBytes, hogs, ms }, perSecond) => kernelLatencies(open, payloadBytes, perSecond, ms, during(hogs, false)),
  };
}

export function latenciesOfWire({ payloadBytes, hogs, ms }: Conditions, perSecond: number): Promise<Latencies> {
  return wireLatencies(payloadBytes, perSecond, ms, during(hogs, false));
}

/** Starts the processes and threads that some of them need; they wait until they are measured, and cost nothing meanwhile. */
export function openVariants(): Variants {
  const realtime = setRealtime(PRIORITY);
  setRealtime(0);
  const child = new ChildRemote(0);
  const worker = new WorkerRemote();
  const first = realtime ? new ChildRemote(PRIORITY) : undefined;
  return {
    realtime,
    all: [
      onSockets(C, cForwarder),
      onSockets(NODE, dgramForwarder),
      onCard(CHILD, child),
      onCard(WORKER, worker),
      onCard(COPY, { window: 'copy' }),
      onCard(ZERO, { window: 'shared' }),
      onCard(PROTECT, { window: 'shared', protect: true }),
      ...(first === undefined
        ? []
        : [
            onCard(fifo(CHILD), first, true),
            onCard(fifo(COPY), { window: 'copy' }, true),
            onCard(fifo(ZERO), { window: 'shared' }, true),
            onCard(fifo(PROTECT), { window: 'shared', protect: true }, true),
          ]),
    ],
    close: async () => {
      await Promise.all([child.close(), worker.close(), first?.close()]);
    },
  };
}
