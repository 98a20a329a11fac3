import { RingcubeError, invalid } from '../base/index.js';
import { type NativeEnd, type NativeLink, type WireCounters, addon, native } from './addon.js';
import { type Engine } from './engine.js';
import { Nic } from './nic.js';
import { type Replay } from './replay.js';
import { Tap } from './tap.js';

/** What a wire may end in. */
export type LinkEnd = Nic | Replay | Tap;

/** What a wire does to the frames of one direction. Probabilities from 0 to 1, drawn from the link's seed. */
export interface WireOptions {
  /** Of the wire: a frame takes its bytes + 24 (preamble, FCS, gap); default 0: infinite. */
  rateBps?: number;
  /** What may go at once above the rate (token bucket). */
  burstBytes?: number;
  delayUs?: number;
  /** Uniform in ± this, keeping order. */
  jitterUs?: number;
  loss?: number;
  duplicate?: number;
  /** One bit flipped. */
  corrupt?: number;
  /** Held back by reorderUs more, so that later frames overtake. */
  reorder?: number;
  reorderUs?: number;
  /** Frames on the wire at once; default 1000. */
  queueFrames?: number;
  /** A receiver or queue without room makes the sender wait (as 802.3 PAUSE) instead of a drop. */
  pause?: boolean;
}

export interface LinkOptions extends WireOptions {
  /** Overrides for the way back. */
  back?: WireOptions;
  /** Of all that is random here: 0 to 2^53 - 1; default 1. */
  seed?: number;
}

const PROBABILITIES = ['loss', 'duplicate', 'corrupt', 'reorder'] as const;
const AMOUNTS = ['rateBps', 'delayUs', 'jitterUs', 'reorderUs'] as const;
const COUNTS = ['burstBytes', 'queueFrames'] as const;
const KNOWN: ReadonlySet<string> = new Set([...PROBABILITIES, ...AMOUNTS, ...COUNTS, 'pause']);

function checked(options: WireOptions): WireOptions {
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name)) throw invalid('link option', name, `one of ${[...KNOWN].join(', ')}, back, seed`);
  }
  for (const name of PROBABILITIES) {
    const value = options[name] ?? 0;
    if (!(value >= 0 && value <= 1)) throw invalid(name, value, 'a probability from 0 to 1');
  }
  for (const name of AMOUNTS) {
    const value = options[name] ?? 0;
    if (!(value >= 0 && value <= 1e12)) throw invalid(name, value, 'a number from 0 to 1e12');
  }
  for (const name of COUNTS) {
    const value = options[name] ?? 0;
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw invalid(name, value, 'a whole number from 0 to 2^32 - 1');
  }
  const { rateBps = 0 } = options;
  if (rateBps > 0 && rateBps < 1) throw invalid('rateBps', rateBps, '0 for an infinite rate, or at least 1');
  if ((options.reorder ?? 0) > 0 && !((options.reorderUs ?? 0) > 0)) {
    throw invalid('reorderUs', options.reorderUs, 'above 0 where reorder is: by how much a frame is held back');
  }
  return options;
}

function end(side: LinkEnd): NativeEnd {
  return { kind: side instanceof Nic ? 'nic' : side instanceof Tap ? 'tap' : 'replay', native: side.native };
}

/** A wire between two NICs, or a NIC and a backend. */
export class Link {
  /** So that neither is collected while the wire is in use. */
  readonly ends: readonly [LinkEnd, LinkEnd];
  readonly #native: NativeLink;

  constructor(engine: Engine, a: LinkEnd, b: LinkEnd, options: LinkOptions = {}) {
    const { back = {}, seed = 1, ...forth } = options;
    if (!Number.isSafeInteger(seed) || seed < 0) throw invalid('seed', seed, 'a whole number from 0 to 2^53 - 1');
    if (a.engine !== engine || b.engine !== engine) {
      throw new RingcubeError('ERR_INVALID_ARGUMENT', 'both ends of a link must be on its engine');
    }
    const aToB = checked(forth);
    const bToA = checked({ ...forth, ...back });
    this.ends = [a, b];
    this.#native = native(() => new addon.Link(engine.native, end(a), end(b), aToB, bToA, seed));
  }

  /** Of the way from the first end to the second, and back. */
  counters(): [WireCounters, WireCounters] {
    return this.#native.counters();
  }

  /** Unplugs it: both ends lose their carrier, and frames on the wire are gone. */
  close(): void {
    this.#native.close();
  }
}
