import { DETECTOR_CELLS } from './detector.js';
import { WINDOW_CELLS } from './replay-window.js';
import { RTT_CELLS, RttEstimator } from './rtt.js';
import { type HostNumber } from './transport.js';

//  cell   0     1             2          3               8                     9       10                  14            16
//         ┌─────┬─────────────┬──────────┬───────────────┬─────────────────────┬───────┬───────────────────┬─────────────┐
//         │host │ incarnation │ sequence │ replay window │ heartbeat:  said    │ came  │ detector          │ round trip  │
//         └─────┴─────────────┴──────────┴───────────────┴─────────────────────┴───────┴───────────────────┴─────────────┘
//
// What each message needs of its sender is one row of doubles, all rows of a host are one array: of thousands of hosts in a simulation nearly
// none is in the processor's cache when its turn comes, and each object on the way would be one more line to wait for.

const DETECTOR = 10;

/** Cells of a row. */
export const Row = {
  host: 0,
  /** 0: not heard of yet. */
  incarnation: 1,
  /** Of our next message to it. */
  sequence: 2,
  /** Over what it sent, of this incarnation. */
  window: 3,
  /** What its last heartbeat said: the time in it, by its clock, plus 2^32 times how many identifiers it holds. */
  said: 3 + WINDOW_CELLS,
  /** When that came, by our clock, in µs. */
  cameUs: 4 + WINDOW_CELLS,
  /** The detector's; its first is when the peer is to be suspected: Infinity if it is not needed. */
  suspectAtUs: DETECTOR,
  rtt: DETECTOR + DETECTOR_CELLS,
  cells: DETECTOR + DETECTOR_CELLS + RTT_CELLS,
} as const;

/** What Row.said counts identifiers in. */
export const SAID_IDENTIFIER = 2 ** 32;

/** Answers are waited for at least so long. Hosts of an overlay can afford what TCP may not (RFC 6298 §2.4). */
const LEAST_TIMEOUT_US = 5e4;

/** Of all hosts. */
export const ROUND_TRIPS = new RttEstimator({ leastUs: LEAST_TIMEOUT_US });

/** What is known of another host: a row, by name. */
export class Peer {
  /** How often it is needed: as holder of a neighbouring identifier, as parent, as child. One that is needed gets heartbeats. */
  uses: number;
  /** Held for dead. */
  suspected: boolean;

  constructor(
    readonly host: HostNumber,
    private readonly rows: { readonly state: Float64Array },
    /** @internal Where its row lies. */
    public at: number,
  ) {
    this.uses = 0;
    this.suspected = false;
  }

  /** 0: not heard of yet. */
  get incarnation(): number {
    return this.rows.state[this.at + Row.incarnation];
  }

  /** How many identifiers it holds, as it says. */
  get identifiers(): number {
    return Math.floor(this.rows.state[this.at + Row.said] / SAID_IDENTIFIER);
  }

  /** How long to wait for its answer, in µs. */
  get timeoutUs(): number {
    return ROUND_TRIPS.timeoutUs(this.rows.state, this.at + Row.rtt);
  }

  /** The way there, in µs: half a round trip; `unknownUs` as long as there was none. */
  oneWayUs(unknownUs: number): number {
    const smoothedUs = this.rows.state[this.at + Row.rtt];
    return smoothedUs > 0 ? smoothedUs / 2 : unknownUs;
  }
}
