import { type Clock, type Random, invalid } from '../../base/index.js';

/** How the clocks of hosts differ from the world's. */
export interface ClockOptions {
  /** Each runs at a rate of its own, uniformly drawn from 1 − drift to 1 + drift: 0 to below 1. Default 0. */
  drift?: number;
  /** By up to so much, in whole µs, two clocks differ from the one that a host begins with when the world does: 0 to 2^38, three days. Default 0. */
  offsetUs?: number;
}

/** What happens to a host's clock. */
export interface ClockChange {
  /** Its rate from now on; left out: the one that it has. */
  rate?: number;
  /** By how much it jumps ahead, in whole µs. A clock never goes back. */
  aheadUs?: number;
}

/** What clocks show when the world begins, as of machines that have been up for 19 days; and how far from it they may be. */
const UP_US = 1.65e12;
const MAX_OFFSET_US = 2 ** 38;
const NANOSECOND_US = 1e-3;

/**
 * A clock that is one host's: at a rate of its own over the world's, in whole microseconds from a zero of its own. Whole ones, and all between 2^40 and 2^41, and
 * their nanoseconds between 2^50 and 2^51: so whatever is added to one is rounded alike at each host, and by an offset nothing changes, not by a bit.
 */
export class HostClock implements Clock {
  private rate: number;
  /** What it showed, and when that was by the world's clock. */
  private shownUs: number;
  private sinceUs: number;

  constructor(
    private readonly world: Clock,
    rate: number,
    offsetUs: number,
  ) {
    this.rate = rate;
    this.sinceUs = world.nowUs();
    this.shownUs = UP_US + Math.floor(this.sinceUs) + offsetUs;
  }

  nowUs(): number {
    return this.shownUs + this.passed(this.world.nowUs());
  }

  /** When by the world's clock this one shows `ownUs`: never before that. */
  worldUs(ownUs: number): number {
    const passedUs = Math.ceil(ownUs) - this.shownUs;
    let atUs = this.sinceUs + passedUs / this.rate;
    // One rounding error short of it would be woken for nothing, at one time again and again.
    while (this.passed(atUs) < passedUs) atUs += NANOSECOND_US;
    return atUs;
  }

  /** @throws ERR_INVALID_ARGUMENT */
  change({ rate = this.rate, aheadUs = 0 }: ClockChange): void {
    if (!(rate > 0 && rate < Infinity)) throw invalid('rate', rate, 'a number above 0');
    if (!Number.isSafeInteger(aheadUs) || aheadUs < 0) throw invalid('aheadUs', aheadUs, 'a whole number of microseconds, 0 or more');
    this.shownUs = this.nowUs() + aheadUs;
    this.sinceUs = this.world.nowUs();
    this.rate = rate;
  }

  private passed(worldUs: number): number {
    return Math.floor((worldUs - this.sinceUs) * this.rate);
  }
}

/** Makes the clocks of a world's hosts, seeded: rates don't depend on offsets. */
export class HostClocks {
  private readonly rates: Random;
  private readonly offsets: Random;
  private readonly drift: number;
  private readonly offsetUs: number;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor(
    private readonly world: Clock,
    random: Random,
    { drift = 0, offsetUs = 0 }: ClockOptions,
  ) {
    if (!(drift >= 0 && drift < 1)) throw invalid('drift', drift, 'a share from 0 to below 1');
    if (!Number.isInteger(offsetUs) || offsetUs < 0 || offsetUs > MAX_OFFSET_US) throw invalid('offsetUs', offsetUs, `a whole number of microseconds from 0 to ${MAX_OFFSET_US}`);
    this.rates = random.fork('rates');
    this.offsets = random.fork('offsets');
    this.drift = drift;
    this.offsetUs = offsetUs;
  }

  next(): HostClock {
    return new HostClock(this.world, 1 + this.drift * (2 * this.rates.float() - 1), this.offsets.int(-this.offsetUs, this.offsetUs));
  }
}
