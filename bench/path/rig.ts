// A card on a wire with a tester at the other end, made anew for each measurement so that none sees another's leftovers.
import {
  Engine,
  FEATURE_NAMES,
  Link,
  Nic,
  NicDriver,
  type NicOptions,
  HEADROOM,
  Replay,
  type FrameList,
  type ReplayOptions,
  addon,
} from '../../src/nic/index.js';
import { nowNs } from '../context.js';
import { ENGINE_CPU } from '../cores.js';
import { type Forwarder, CopyForwarder, ZeroCopyForwarder } from './forwarders.js';
import { ObjectForwarder } from './object-driver.js';

export type Variant = 'TypeScript zero-copy' | 'TypeScript copy' | 'C++ same rings' | 'object per descriptor';
export const VARIANTS: readonly Variant[] = ['TypeScript zero-copy', 'C++ same rings', 'TypeScript copy', 'object per descriptor'];

const QUEUE_SIZE = 256;
const ENDLESS = Number.MAX_SAFE_INTEGER;
const HDR_BYTES = 12;
/** For V8 to compile the loops of new queues, which it does for each anew (specialise()). */
const WARM_UP_MS = 60;
const PATIENCE_NS = 10e9;

export interface RigOptions {
  frames: FrameList | string;
  replay?: ReplayOptions;
  nic?: NicOptions;
  /** What a buffer holds. */
  frameBytes: number;
  stepped?: boolean;
  variant: Variant;
}

export interface Rig {
  engine: Engine;
  nic: Nic;
  driver: NicDriver;
  tester: Replay;
  close(): void;
}

export function makeRig(options: RigOptions): Rig {
  const engine = new Engine(options.stepped === true ? { stepped: true } : { cpu: ENGINE_CPU });
  const buffers = 3 * QUEUE_SIZE;
  const nic = new Nic(engine, {
    mtu: Math.max(1500, options.frameBytes),
    regionBytes: 2 ** 20 + buffers * (options.frameBytes + 256),
    ...options.nic,
  });
  const driver = new NicDriver(nic, {
    queueSize: QUEUE_SIZE,
    frameBytes: options.frameBytes,
    buffers,
    promiscuous: typeof options.frames === 'string',
    // Those that drive the rings by themselves want them empty; and IN_ORDER is nothing a common driver knows.
    refill: !ownsRings(options.variant),
    ...(options.variant === 'object per descriptor' && { features: FEATURE_NAMES.filter((name) => name !== 'InOrder' && name !== 'GuestCsum' && name !== 'MrgRxbuf') }),
  });
  const tester = new Replay(engine, options.frames, { timing: 'fastest', limit: ENDLESS, ...options.replay });
  const link = new Link(engine, tester, nic, { pause: true });
  return {
    engine,
    nic,
    driver,
    tester,
    close() {
      tester.stop();
      link.close();
      tester.close();
      driver.close();
    },
  };
}

/** A forwarder's loop over rings that belong to C++: {run, prefilled}. */
function nativeForwarder(rig: Rig): InstanceType<typeof addon.bench.RingForward> {
  const { rx, tx } = rig.driver.pairs[0];
  const { pool } = rig.driver;
  return new addon.bench.RingForward(rig.nic.native, rig.nic.region.native, {
    rxDesc: rx.ring.descOffset,
    rxAvail: rx.ring.availOffset,
    rxUsed: rx.ring.usedOffset,
    txDesc: tx.ring.descOffset,
    txAvail: tx.ring.availOffset,
    txUsed: tx.ring.usedOffset,
    size: rx.ring.size,
    buffers: pool.base + HEADROOM - HDR_BYTES,
    bufferStride: pool.strideBytes,
    bufferBytes: pool.frameBytes + HDR_BYTES,
    bufferCount: pool.count,
  });
}

function makeForwarder(variant: Variant, driver: NicDriver): Forwarder {
  switch (variant) {
    case 'TypeScript zero-copy':
      return new ZeroCopyForwarder(driver);
    case 'TypeScript copy':
      return new CopyForwarder(driver);
    default:
      return new ObjectForwarder(driver);
  }
}

const ownsRings = (variant: Variant): boolean => variant === 'C++ same rings' || variant === 'object per descriptor';

/** Forwards for `ms`; returns frames and ns. */
function runFor(forwarder: Forwarder, batch: number, ms: number): [frames: number, ns: number] {
  const start = nowNs();
  const end = start + ms * 1e6;
  let frames = 0;
  let now = start;
  while (now < end) {
    for (let i = 0; i < 256; i++) frames += forwarder.turn(batch);
    now = nowNs();
  }
  return [frames, now - start];
}

export interface Forwarded {
  framesPerSecond: number;
  /** By software, for each byte that went on; from the counters. */
  copiedPerByte: number;
  dmaPerByte: number;
}

/** What runs for so many milliseconds, and says how many frames went on in how many nanoseconds. */
function runOf(variant: Variant, rig: Rig, batch: number): (ms: number) => [number, number] {
  if (variant !== 'C++ same rings') {
    const forwarder = makeForwarder(variant, rig.driver);
    return (ms) => runFor(forwarder, batch, ms);
  }
  const forwarder = nativeForwarder(rig);
  return (ms) => {
    const start = nowNs();
    return [forwarder.run(ENDLESS, batch, ms * 1e6), nowNs() - start];
  };
}

/** End to end: tester, card, forwarder, card, tester. @throws in one line if there was nothing to forward for long */
export function forwardFor(variant: Variant, frames: FrameList | string, frameBytes: number, batch: number, ms: number): Forwarded {
  const rig = makeRig({ frames, frameBytes, variant });
  try {
    const run = runOf(variant, rig, batch);
    rig.tester.start();
    run(WARM_UP_MS);
    // Beside much else the engine may get no time for so long.
    const end = nowNs() + PATIENCE_NS;
    let done = run(ms);
    let [rx, tx] = rig.nic.counters().queues;
    while ((done[0] === 0 || tx.bytes === 0) && nowNs() < end) {
      done = run(ms);
      [rx, tx] = rig.nic.counters().queues;
    }
    if (done[0] === 0 || tx.bytes === 0) throw new Error(`forward: ${variant} got no frame through within ${PATIENCE_NS / 1e9} s`);
    return {
      framesPerSecond: (done[0] / done[1]) * 1e9,
      copiedPerByte: rig.nic.region.copiedBytes / tx.bytes,
      dmaPerByte: (rx.dmaBytes + tx.dmaBytes) / tx.bytes,
    };
  } finally {
    rig.close();
  }
}

/**
 * The driver alone: a stepped engine fills the ring, unmeasured; the time to empty it, work included, is added up over
 * `rounds`, after a warm-up of as many. Returns ns a frame.
 */
export function driverAlone(variant: Variant, frame: Uint8Array, batch: number, rounds: number): number {
  const rig = makeRig({ frames: { frames: [frame] }, frameBytes: 2048, stepped: true, variant });
  try {
    rig.tester.start();
    if (variant === 'C++ same rings') {
      const forwarder = nativeForwarder(rig);
      forwarder.prefilled(rounds, batch);
      const [frames, ns] = forwarder.prefilled(rounds, batch);
      return ns / frames;
    }
    const forwarder = makeForwarder(variant, rig.driver);
    forwarder.turn(0);
    let frames = 0;
    let ns = 0;
    for (let i = -rounds; i < rounds; i++) {
      if (i === 0) frames = ns = 0;
      rig.engine.step(0);
      const before = nowNs();
      for (let n = forwarder.turn(batch); n > 0; n = forwarder.turn(batch)) frames += n;
      ns += nowNs() - before;
    }
    return ns / frames;
  } finally {
    rig.close();
  }
}
