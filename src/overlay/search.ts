import { type HostNumber } from './transport.js';

/** An identifier, and what a host next to it said of its holder. */
export interface Place {
  readonly host: HostNumber;
  readonly identifier: number;
  /** Hops from where the search began. */
  readonly depth: number;
  /** From publishing until a message passes that host, in µs, as far as it is known. */
  readonly delayUs: number;
  /** Subscribers behind it; Infinity where nobody knows. */
  readonly behind: number;
}

/** Where a request may go on: places that others told of, each of which is asked once at most. */
export class Search {
  private readonly open: Place[];
  private readonly seen: Set<number>;
  private asked: number;
  /** What next() returned last. */
  last: Place | undefined;

  /** @param most how many are asked at most */
  constructor(private readonly most: number) {
    this.open = [];
    this.seen = new Set();
    this.asked = 0;
    this.last = undefined;
  }

  add(places: readonly Place[]): void {
    for (const place of places) {
      if (this.seen.has(place.identifier)) continue;
      this.seen.add(place.identifier);
      this.open.push(place);
    }
  }

  /** Takes the place through which a message would be here soonest, if that is before `limitUs`; undefined if there is none, or enough have been asked. `costUs`: to a host, Infinity where unknown. */
  next(costUs: (host: HostNumber) => number, limitUs: number): Place | undefined {
    let soonest = -1;
    let leastUs = limitUs;
    for (const [i, { host, delayUs }] of this.open.entries()) {
      const thenUs = delayUs + costUs(host);
      if (thenUs < leastUs) [soonest, leastUs] = [i, thenUs];
    }
    if (soonest < 0 || this.asked === this.most) return undefined;
    this.asked++;
    this.last = this.open.splice(soonest, 1)[0];
    return this.last;
  }
}
