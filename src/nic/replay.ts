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
  /** Writes the time at which it was due into the last 8 bytes of each frame, and measures frames that come back. */
  stamp?: boolean;
  /** How many latencies to keep; default 0. */
  latencies?: number;
}

/** Frames to send: each its bytes, from the Ethernet destination on; times since the first, default all 0. */
export interface FrameList {
  frames: readonly Uint8Array[];
  timesUs?: readonly number[];
}

function flatten(list: FrameList): object {
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
  /** @internal */
  readonly native: NativeReplay;

  /** @throws ERR_SYSTEM with one line if the file can't be read or is not a pcapng file of Ethernet frames. */
  constructor(engine: Engine, source: string | FrameList, options: ReplayOptions = {}) {
    const { timing = 'original' } = options;
    if (!['original', 'fastest', 'rate'].includes(timing)) throw invalid('timing', timing, 'original, fastest or rate');
    const frames = typeof source === 'string' ? source : flatten(source);
    this.native = native(() => new addon.Replay(engine.native, frames, { ...options, timing }));
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

  /** Of stamped frames that came back, in order, in ns from when they were due (so none is omitted). A copy. */
  latenciesNs(): Float64Array {
    return this.native.latencies();
  }

  close(): void {
    this.native.close();
  }
}
