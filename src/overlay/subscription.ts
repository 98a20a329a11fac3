import { invalid } from '../base/index.js';
import { type HostNumber } from './transport.js';

/** Why a subscriber's bound can't be promised. */
export type RefusalReason =
  /** The straight way from the publisher takes longer: no overlay can help. */
  | 'network'
  /** Every way through the overlay that was tried takes longer. */
  | 'path'
  /** The hosts on the way have no processor time left for another copy. */
  | 'capacity'
  /** At the rate it asks for it would lose more than it tolerates. */
  | 'loss';

/** What became of a subscription's wish for a bound, for one publisher. */
export interface Admission {
  readonly publisher: HostNumber;
  readonly accepted: boolean;
  /** Of a refusal. */
  readonly reason?: RefusalReason;
  /** What the path takes: network and response times of the hosts on it, in µs. */
  readonly delayUs: number;
  /** The best bound that could have been promised, in µs; NaN where none could. */
  readonly bestUs: number;
}

export interface SubscriptionOptions {
  /** Longest time from publishing to delivery, in µs. Default: any. */
  boundUs?: number;
  /** Messages a second that it can take, to a thousandth; more are thinned out on the way. Default 0: all. */
  ratePerS?: number;
  /** Share of messages whose loss it tolerates, 0 to 1; default 1. */
  loss?: number;
  /** Whether it stays, without promise, where its bound is refused. Default false. */
  bestEffort?: boolean;
  /** A payload, `length` bytes at `at` in the transport's memory, valid during the call. `ageUs`: since it was published. */
  onMessage?: (at: number, length: number, ageUs: number, publisher: HostNumber) => void;
  onAdmission?: (admission: Admission) => void;
  /** A publisher is gone: it closed, or its host did. */
  onEnd?: (publisher: HostNumber) => void;
}

/** What a subscription has received. */
export interface SubscriptionCounters {
  received: number;
  /** Came after the bound. */
  late: number;
  /** Sum of (age − bound) / bound over those. */
  lateness: number;
  maxAgeUs: number;
}

/** One subscriber of a channel on this host. */
export class Subscription {
  readonly counters: SubscriptionCounters;
  /** By publisher: the last word on its bound. */
  readonly admissions: Map<HostNumber, Admission>;
  /** Messages it wants in 1,000 s; 0: all. */
  milliRate: number;
  readonly boundUs: number;
  closed: boolean;

  /** @internal Made by OverlayNode.subscribe(). */
  constructor(
    readonly channel: number,
    readonly options: SubscriptionOptions,
  ) {
    const { boundUs = Infinity, ratePerS = 0, loss = 1 } = options;
    if (!(boundUs > 0)) throw invalid('boundUs', boundUs, 'a number of microseconds above 0');
    if (!(loss >= 0 && loss <= 1)) throw invalid('loss', loss, 'a share from 0 to 1');
    this.counters = { received: 0, late: 0, lateness: 0, maxAgeUs: 0 };
    this.admissions = new Map();
    this.milliRate = milliRateOf(ratePerS);
    this.boundUs = boundUs;
    this.closed = false;
  }

  /** Share of what came that came in time: 1 with nothing received. */
  get success(): number {
    const { received, late } = this.counters;
    return received === 0 ? 1 : 1 - late / received;
  }

  /** @internal */
  deliver(at: number, length: number, ageUs: number, publisher: HostNumber): void {
    const { counters, boundUs } = this;
    // Another subscription's callback may have closed this one just now.
    if (this.closed) return;
    counters.received++;
    if (ageUs > counters.maxAgeUs) counters.maxAgeUs = ageUs;
    if (ageUs > boundUs) {
      counters.late++;
      counters.lateness += (ageUs - boundUs) / boundUs;
    }
    this.options.onMessage?.(at, length, ageUs, publisher);
  }
}

/** Messages in 1,000 s. @throws ERR_INVALID_ARGUMENT for a rate that a message can't carry */
export function milliRateOf(ratePerS: number): number {
  if (!(ratePerS >= 0 && ratePerS < 4e6)) throw invalid('ratePerS', ratePerS, 'messages a second, 0 (all) to 4,000,000');
  return ratePerS > 0 ? Math.max(1, Math.round(ratePerS * 1e3)) : 0;
}
