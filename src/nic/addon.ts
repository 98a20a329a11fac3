// The native classes, each declared once, and how their errors become ours. Nothing else loads the addon.
import { createRequire } from 'node:module';
import { RingcubeError } from '../base/index.js';

export interface NativeRegion {
  readonly buffer: ArrayBuffer;
}

export interface NativeEngine {
  step(untilNs: number): number;
  now(): number;
  readonly sleeps: number;
}

/** What a driver needs of a device, whether it lies in this process or behind a socket. */
export interface NativeDevice {
  read(offset: number): number;
  write(offset: number, value: number): void;
  kick(queue: number): void;
  watch(handler: () => void): void;
  ref(on: boolean): void;
  close(): void;
  readonly interruptPage: ArrayBuffer;
}

export interface NativeNic extends NativeDevice {
  map(queue: number, region: NativeRegion, iova: number, offset: number, length: number, access: number): boolean;
  unmap(queue: number, iova: number): boolean;
  steer(rule: Uint8Array, pair: number): boolean;
  share(path: string, region: NativeRegion): void;
  counters(): NicCounters;
  readonly connections: number;
}

export interface NativeAttachment extends NativeDevice {
  readonly buffer: ArrayBuffer;
}

/** Counters of one queue, as the device keeps them. Drops say why. */
export interface QueueCounters {
  frames: number;
  bytes: number;
  /** Moved by DMA between the card and this queue's buffers, virtio_net_hdr included. */
  dmaBytes: number;
  /** Doorbells rung by the driver. */
  kicks: number;
  interrupts: number;
  /** Batches published for which the driver had asked not to be interrupted. */
  interruptsSuppressed: number;
  dropNoBuffer: number;
  dropTooLong: number;
  dropBadHeader: number;
  dropNoCarrier: number;
  /** How often a bad descriptor stopped this queue, and what the last one was. */
  faults: number;
  fault: string;
}

/** Counters of a NIC; `queues` in the order receive 0, transmit 0, receive 1, …, control. */
export interface NicCounters {
  queues: QueueCounters[];
  dropFiltered: number;
  dropNotReady: number;
  steered: number;
}

/** Counters of one direction of a link. Held frames are held by copy. */
export interface WireCounters {
  offered: number;
  delivered: number;
  lost: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
  queueFull: number;
  refused: number;
  heldFrames: number;
  heldBytes: number;
}

export interface ReplayCounters {
  /** In the capture, and of these cut short by a snap length and so left out. */
  frames: number;
  cut: number;
  sent: number;
  /** Dropped by the receiver, which counts why. */
  refused: number;
  returned: number;
  returnedBytes: number;
  latenciesLost: number;
  done: boolean;
}

export interface NativeLink {
  counters(): [WireCounters, WireCounters];
  close(): void;
}

export interface NativeReplay {
  start(): void;
  stop(): void;
  counters(): ReplayCounters;
  latencies(): Float64Array;
  close(): void;
}

/** Counters of a TAP. Drops say why. */
export interface TapCounters {
  /** Frames that went over the wire, and such as the kernel received. */
  fromKernel: number;
  toKernel: number;
  /** Of frames from the kernel, which leaves them to its card. */
  checksumsCompleted: number;
  /** From the kernel, and dropped by the receiver, which counts why. */
  refused: number;
  /** From the kernel, and not as we asked for frames; or its interface was deleted. */
  unreadable: number;
  /** The kernel had no memory for it. */
  dropNoBuffer: number;
  /** The interface is down or gone, or no wire is plugged in. */
  dropNoCarrier: number;
  dropTooLong: number;
  /** The kernel did not take it for a frame. */
  dropOther: number;
}

export interface NativeTap {
  counters(): TapCounters;
  close(): void;
}

export interface NativeRecorder {
  add(nic: NativeNic, name: string): void;
  counters(): { written: number; lost: number };
  close(): void;
}

/** Pages of regions inside a WebAssembly.Memory (native/core/sandbox.h). All numbers are whole pages. */
export interface NativeSandbox {
  map(region: NativeRegion, at: number, offset: number, length: number): void;
  unmap(at: number, length: number): void;
  protect(at: number, length: number, accessible: boolean): void;
  /** '', or why there is no guard page. */
  guard(): string;
  close(): void;
}

export interface NativeWatchdog {
  /** A new ArrayBuffer each time. */
  readonly control: ArrayBuffer;
  add(sandbox: NativeSandbox, epoch: boolean, budgetUs: number): number;
  rearm(slot: number): void;
  remove(slot: number): void;
  wake(): void;
  close(): void;
}

export interface NativeEnd {
  kind: 'nic' | 'tap' | 'replay';
  native: NativeNic | NativeTap | NativeReplay;
}

interface NativeRingForward {
  run(frames: number, batch: number, timeoutNs: number): number;
  prefilled(rounds: number, batch: number): [frames: number, ns: number];
}

interface NativeUdpLoad {
  readonly returned: number;
  readonly sent: number;
  stop(): void;
  /** Ends the load. With a rate: of what came back, in order, ns from when it was due. */
  latencies(): Float64Array;
}

interface NativeUdpForwarder {
  readonly port: number;
  run(timeoutNs: number): [datagrams: number, ns: number];
}

/** What the benches measure against (native/bench). */
export interface NativeBench {
  RingForward: new (nic: NativeNic, region: NativeRegion, setup: Record<string, number>) => NativeRingForward;
  UdpLoad: new (options: Record<string, number | boolean>) => NativeUdpLoad;
  UdpForwarder: new (maxPayloadBytes: number, batch: number, segmentation: boolean, answers: boolean, host?: number, touches?: boolean) => NativeUdpForwarder;
  eventfdWakeup(outNs: Float64Array, pauseNs: number, writerCpu: number, sleeperCpu: number): void;
  /** Each round: raise() of a signal until its handler has returned. */
  signalSelf(outNs: Float64Array): void;
  /** Each round: a signal to a forked process on that CPU (-1: any) and one back, both waiting in sigwaitinfo. */
  signalPeer(outNs: Float64Array, cpu: number): void;
  /** The same by a byte through a pipe each way. */
  pipePeer(outNs: Float64Array, cpu: number): void;
  /** Each round: so many touched pages made inaccessible, and accessible again. */
  protectionFlip(outNs: Float64Array, pages: number): void;
  /** Pins this thread to a CPU, -1: to all. */
  pin(cpu: number): boolean;
  /** CPU time of this thread. */
  threadNs(): number;
  nothing(): void;
}

interface Addon {
  Region: new (bytes: number) => NativeRegion;
  Engine: new (options: object) => NativeEngine;
  Nic: new (engine: NativeEngine, options: object) => NativeNic;
  Link: new (
    engine: NativeEngine,
    a: NativeEnd,
    b: NativeEnd,
    aToB: object,
    bToA: object,
    seed: number,
  ) => NativeLink;
  Replay: new (engine: NativeEngine, frames: string | object, options: object) => NativeReplay;
  Tap: new (engine: NativeEngine, options: object) => NativeTap;
  Recorder: new (engine: NativeEngine, path: string) => NativeRecorder;
  Attachment: new (path: string) => NativeAttachment;
  Sandbox: (new (memory: object) => NativeSandbox) & { pageBytes: number };
  Watchdog: new () => NativeWatchdog;
  /** Puts this thread at SCHED_FIFO of that priority, 0: back to SCHED_OTHER. False if it may not. */
  realtime(priority: number): boolean;
  layout: Record<string, number>;
  bench: NativeBench;
}

function load(): Addon {
  const path = '../../../build/Release/ringcube.node';
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    throw new RingcubeError(
      'ERR_UNSUPPORTED',
      `the addon can't be loaded (${(error as Error).message.split('\n')[0]}); build it with: npm run build`,
    );
  }
}

export const addon = load();

/** What the addon threw, as ours. */
export function systemError(error: unknown): RingcubeError {
  return new RingcubeError('ERR_SYSTEM', (error as Error).message);
}

/** Calls into the addon; what it throws becomes a RingcubeError. */
export function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw systemError(error);
  }
}
