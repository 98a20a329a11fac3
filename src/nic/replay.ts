import { invalid } from '../base/index.js';
import { type NativeReplay, type ReplayCounters, addon, native } from './addon.js';
import { type Engine } from './engine.js';

export interface ReplayOptions {
  /** At the capture's own times (the default), as fast as the receiver takes them, or at a rate. */
  timing?: 'original' | 'fastest' | 'rate';
  /** With 'original': 2 plays twice as fast. */
  speed?: number;
  /** With 'rate'. */
  framesPerSecond?: number;
  /** Frames to send, from the first again as often as needed; default: each once. */
  limit?: number;
  /**
   * Writes a time into the last 8 bytes of each frame, and measures frames that come back: from when they were due (so a
   * late sender is not left out), or from when they were sent.
   */
  stamp?: 'due' | 'sent';
  /** How many latencies to keep; default 0. */
  latencies?: number;
}

/** Frames to send: each its bytes, from the Ethernet destination on; times since the first, default all 0. */
export interface FrameList {
  frames: readonly Uint8Array[];
  timesUs?: readonly number[];
}

const MIN_RATE = 1e-6;
const MAX_RATE = 1e9;
const MAX_LATENCIES = 2 ** 27;

function flatten(list: FrameList): object {
  const { timesUs } = list;
  if (timesUs !== undefined && (timesUs.length !== list.frames.length || timesUs.some((us, i) => !(us >= (timesUs[i - 1] ?? 0) && us < 2 ** 50 / 1e3)))) {
    throw invalid('timesUs', timesUs, 'one for each frame, from 0 on, none before the one ahead');
  }
  const lengths = Uint32Array.from(list.frames, (frame) => frame.length);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const frame of list.frames) {
    bytes.set(frame, at);
    at += frame.length;
  }
  return { bytes, lengths, timesNs: Float64Array.from(list.frames, (_, i) => Math.round((list.timesUs?.[i] ?? 0) * 1e3)) };
}

/**
 * A backend that sends the frames of a pcapng file, or of a list, over its link, and counts what comes back. With an
 * empty list it is a sink.
 */
export class Replay {
  readonly engine: Engine;
  /** @internal */
  readonly native: NativeReplay;

  /** @throws ERR_SYSTEM with one line if the file can't be read or is not a pcapng file of Ethernet frames. */
  constructor(engine: Engine, source: string | FrameList, options: ReplayOptions = {}) {
    const { timing = 'original', speed = 1, framesPerSecond, limit = 0, latencies = 0 } = options;
    if (!['original', 'fastest', 'rate'].includes(timing)) throw invalid('timing', timing, 'original, fastest or rate');
    const rate = (name: string, value: number | undefined): void => {
      if (!(value !== undefined && value >= MIN_RATE && value <= MAX_RATE)) {
        throw invalid(name, value, `from ${MIN_RATE} to ${MAX_RATE}`);
      }
    };
    rate('speed', speed);
    if (timing === 'rate') rate('framesPerSecond', framesPerSecond);
    const count = (name: string, value: number, most: number): void => {
      if (!Number.isInteger(value) || value < 0 || value > most) throw invalid(name, value, `a whole number from 0 to ${most}`);
    };
    count('limit', limit, Number.MAX_SAFE_INTEGER);
    count('latencies', latencies, MAX_LATENCIES);
    const { stamp = 'none' } = options;
    if (!['none', 'due', 'sent'].includes(stamp)) throw invalid('stamp', stamp, 'due or sent');
    const frames = typeof source === 'string' ? source : flatten(source);
    this.engine = engine;
    this.native = native(() => new addon.Replay(engine.native, frames, { ...options, timing, stamp }));
  }

  /** From now on; nothing is sent before. */
  start(): void {
    this.native.start();
  }

  stop(): void {
    this.native.stop();
  }

  counters(): ReplayCounters {
    return this.native.counters();
  }

  /** Of stamped frames that came back, in order, in ns from their stamps. A copy. */
  latenciesNs(): Float64Array {
    return this.native.latencies();
  }

  close(): void {
    this.native.close();
  }
}
