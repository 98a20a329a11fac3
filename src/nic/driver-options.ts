import { type FrameBatch } from './batch.js';
import { type FeatureName } from './device.js';
import { type QueuePair } from './queue-pair.js';

/** What the driver calls. Given once, at construction; none may keep the batch. */
export interface DriverHandler {
  /** Frames came in on a pair. Each of the batch's buffers is the handler's to send on or put back. */
  frames?: (batch: FrameBatch, pair: QueuePair) => void;
  /** A pair whose send() came short has room again. */
  writable?: (pair: QueuePair) => void;
  /** The link came or went, the device stopped queues, or it wants a reset (status NEEDS_RESET). */
  changed?: (event: DeviceEvent) => void;
}

export interface DeviceEvent {
  linkUp: boolean;
  needsReset: boolean;
  /** Queues that the device has stopped, or on which it broke the protocol; resetPair() brings them back. */
  stopped: number[];
}

export interface DriverOptions {
  /** Pairs to use, 1 to what the device has; default 1. */
  queuePairs?: number;
  /** Ring size, a power of two; default 256, or the device's maximum if less. */
  queueSize?: number;
  /** Bytes a receive buffer holds behind its header; default: a whole frame, of the MTU. */
  frameBytes?: number;
  /** Buffers of the common pool; default: enough for all rings, and one ring's worth to hold besides. */
  buffers?: number;
  /** Id of the common pool, where frames of several drivers meet on one transmit queue; default 0. */
  poolId?: number;
  /** Features to accept, of those offered; default: all but checksum offload on receive and mergeable buffers. */
  features?: readonly FeatureName[];
  /** Takes all frames, whatever their address; default false. */
  promiscuous?: boolean;
  /** Posts receive buffers at once (the default), or leaves the first refill() to the caller. */
  refill?: boolean;
  /** Pairs from this one on have no buffers until splitPair() or openPair() gives them some; default: none such. */
  idleFrom?: number;
  handler?: DriverHandler;
}

/**
 * interrupt: every interrupt is served at once, and the next one asked for. adaptive (as Linux's NAPI): an interrupt
 * masks the pair, which is then polled, `budget` frames a turn of the loop, until it is empty. poll: no interrupts.
 */
export type ServiceMode = 'interrupt' | 'adaptive' | 'poll';
