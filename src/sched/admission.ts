import { invalid } from '../base/index.js';

/** What asks for processor time. Times in microseconds; taken as whole nanoseconds, rounded to the safe side. */
export interface Demand {
  /**
   * `sporadic`: jobs of cost C, released at least T apart, each due D after its release; D may be above T.
   * `server`: a bandwidth server (cbs.ts) of budget C, with C ≤ D ≤ T.
   */
  kind: 'sporadic' | 'server';
  costUs: number;
  periodUs: number;
  deadlineUs: number;
  /** Its longest stretch that can't be preempted: 0 if any of it can, the cost of a job if jobs run to their ends. */
  sectionUs: number;
  /** Whether such a stretch may also begin outside its turn, as background work: it then blocks all others, whatever their deadlines. */
  background?: boolean;
}

export type AdmissionResult =
  | {
      fits: true;
      /** Of servers: what is left of a budget must not be used by one that wakes nearer to its deadline than this. */
      guardUs: number;
    }
  | {
      fits: false;
      /** The shortest time from an idle instant after which a deadline may be overrun; Infinity if it lies too far to be found. */
      atUs: number;
      /** By how much; then NaN. */
      overrunUs: number;
      /** The largest `costUs` with which it would fit, the rest unchanged; 0 if none would. */
      largestCostUs: number;
    };

/** A demand is over its time only if by more than this: leftovers of servers are fractions, with rounding errors far below. */
const ROUNDING_NS = 1e-3;

/** How far from 1 a sum of utilisations may be from rounding alone. */
const ROUNDING_UTILISATION = 1e-12;

/** Points that the search for the first overrun looks at before it is content with any. */
const MAX_SCAN = 10_000;

/** Rounds that the search for the end of the busy period may take. */
const MAX_ROUNDS = 1000;

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

// Processor demand (Baruah, Rosier & Howell 1990) with blocking (George, Rivierre & Spuri 1996): a set of demands meets all its
// deadlines, whatever the releases, if at every t > 0
//
//     h(t) + max { sectionⱼ : Dⱼ > t } + blocking ≤ t,     h(t) = Σ most that i can ask for with deadlines in a time of length t
//
//       sporadic                          server                         ╭────
//                   ┌──── 2C                                      2C ────╯
//           ┌───────┘                                   ╭────────╯
//       ────┘  C                          ╭─────────────╯ C
//       0   D       T+D                 0 ╯  D          T       T+D
//
// For sporadic jobs this is exact: if it fails, some releases make a job late. A server that was left idle may still use what is left
// of its budget before its deadline, as fast as C/D of the time: its demand rises before the deadline, where that of a job jumps at
// it. (A server that blocks asks for nothing else before that deadline: its section counts less C/D of t.) The test is then
// sufficient: no server is late, but a set that is refused might have been well.
//
// h + blocking − t has its maxima where a demand stops rising: at the deadlines kT + D. So these are the points to look at; and t near
// 0, where the little that is left of a server's budget may find itself blocked for longer than it has time. That is the guard:
// so near its deadline a leftover must not be used.

/** A set of demands in whole nanoseconds, and what they come to at a time. */
class DemandSet {
  private readonly isServer: boolean[];
  private readonly costs: Float64Array;
  private readonly periods: Float64Array;
  private readonly deadlines: Float64Array;
  private readonly sections: Float64Array;
  /** Up to which time a section of it blocks others. */
  private readonly blocksUntil: Float64Array;
  private readonly blockingNs: number;

  /** Of the last look(): by how much the demand is above the time; negative where there is room. */
  excessNs: number;

  constructor(demands: readonly Demand[], blockingUs: number) {
    const up = (us: number): number => Math.ceil(us * 1e3 - ROUNDING_NS);
    const down = (us: number): number => Math.floor(us * 1e3 + ROUNDING_NS);
    this.isServer = demands.map(({ kind }) => kind === 'server');
    this.costs = Float64Array.from(demands, ({ costUs }) => up(costUs));
    this.periods = Float64Array.from(demands, ({ periodUs }) => down(periodUs));
    this.deadlines = Float64Array.from(demands, ({ deadlineUs }) => down(deadlineUs));
    this.sections = Float64Array.from(demands, ({ sectionUs }) => up(sectionUs));
    this.blocksUntil = Float64Array.from(demands, ({ background }, i) => (background === true ? Infinity : this.deadlines[i]));
    this.blockingNs = up(blockingUs);
    this.excessNs = 0;
  }

  /** Cost of the last demand, and of its section, which is never longer. */
  get last(): { costNs: number; sectionNs: number } {
    return { costNs: this.costs.at(-1)!, sectionNs: this.sections.at(-1)! };
  }

  set last({ costNs, sectionNs }: { costNs: number; sectionNs: number }) {
    this.costs[this.costs.length - 1] = costNs;
    this.sections[this.sections.length - 1] = Math.min(sectionNs, costNs);
  }

  /** h(t). */
  demandNs(t: number): number {
    const { isServer, costs, periods, deadlines } = this;
    let sum = 0;
    for (let i = 0; i < costs.length; i++) {
      const cost = costs[i];
      const period = periods[i];
      const deadline = deadlines[i];
      if (isServer[i]) {
        const whole = Math.floor(t / period);
        const rest = t - whole * period;
        sum += whole * cost + (rest >= deadline ? cost : (cost * rest) / deadline);
      } else if (t >= deadline) {
        sum += (Math.floor((t - deadline) / period) + 1) * cost;
      }
    }
    return sum;
  }

  /** Whether t is overrun; sets excessNs. */
  look(t: number): boolean {
    const { isServer, costs, deadlines, sections, blocksUntil } = this;
    let longest = 0;
    for (let i = 0; i < sections.length; i++) {
      if (blocksUntil[i] <= t) continue;
      const own = isServer[i] && blocksUntil[i] < Infinity ? (costs[i] * t) / deadlines[i] : 0;
      longest = Math.max(longest, sections[i] - own);
    }
    this.excessNs = this.demandNs(t) + longest + this.blockingNs - t;
    return this.excessNs > ROUNDING_NS;
  }

  /** Where the demand of servers, blocked, comes below the time for the first time: for a set that fits. */
  guardNs(): number {
    const { isServer, costs, deadlines, sections, blocksUntil, blockingNs } = this;
    const density = costs.reduce((sum, cost, i) => sum + (isServer[i] ? cost / deadlines[i] : 0), 0);
    const meets = (blocked: number, slope: number): number => (blocked > 0 ? blocked / (1 - slope) : 0);
    let guard = meets(blockingNs, density);
    for (let i = 0; i < sections.length; i++) {
      const own = isServer[i] && blocksUntil[i] < Infinity ? costs[i] / deadlines[i] : 0;
      guard = Math.max(guard, meets(sections[i] + blockingNs, density - own));
    }
    return guard;
  }

  /** The latest deadline before t; 0 if there is none. */
  private deadlineBefore(t: number): number {
    const { periods, deadlines } = this;
    let latest = 0;
    for (let i = 0; i < periods.length; i++) {
      const at = deadlines[i] + (Math.ceil((t - deadlines[i]) / periods[i]) - 1) * periods[i];
      if (at >= deadlines[i] && at > latest) latest = at;
    }
    return latest;
  }

  /** The earliest deadline after t. */
  private deadlineAfter(t: number): number {
    const { periods, deadlines } = this;
    let earliest = Infinity;
    for (let i = 0; i < periods.length; i++) {
      const at = deadlines[i] + Math.max(0, Math.floor((t - deadlines[i]) / periods[i]) + 1) * periods[i];
      if (at < earliest) earliest = at;
    }
    return earliest;
  }

  private get utilisation(): number {
    return this.costs.reduce((sum, cost, i) => sum + cost / this.periods[i], 0);
  }

  /** A time up to which it suffices to look; Infinity if there is none within exact arithmetic. */
  private horizonNs(): number {
    const latest = this.deadlines.reduce((most, deadline) => Math.max(most, deadline), 0);
    const la = Math.max(latest, this.demandMeetsTimeNs());
    const horizon = Math.min(la, this.busyPeriodNs(la), latest + this.hyperperiodNs());
    return horizon <= Number.MAX_SAFE_INTEGER ? horizon : Infinity;
  }

  /** La: behind the latest deadline h(t) ≤ Σ U (t + T − D), and only what is in the background still blocks; here these sum up to t. */
  private demandMeetsTimeNs(): number {
    const { costs, periods, deadlines, sections, blocksUntil } = this;
    let ahead = 0;
    let background = 0;
    for (let i = 0; i < costs.length; i++) {
      ahead += (costs[i] / periods[i]) * (periods[i] - deadlines[i]);
      if (blocksUntil[i] === Infinity && sections[i] > background) background = sections[i];
    }
    const spare = 1 - this.utilisation;
    return spare > ROUNDING_UTILISATION ? (ahead + background + this.blockingNs) / spare : Infinity;
  }

  /**
   * Lb: what is late is late within a busy period. The longest begins with the longest section and all demands at once: of a
   * server what is left of a budget, and the next one right behind. Infinity if it is not below `limit`.
   */
  private busyPeriodNs(limit: number): number {
    const { isServer, costs, periods, deadlines, sections } = this;
    const blocked = this.blockingNs + sections.reduce((longest, section) => Math.max(longest, section), 0);
    let length = 1;
    for (let round = 0; round < MAX_ROUNDS && length < limit; round++) {
      let work = blocked;
      for (let i = 0; i < costs.length; i++) work += Math.ceil((length + (isServer[i] ? deadlines[i] : 0)) / periods[i]) * costs[i];
      if (work <= length) return length;
      length = work;
    }
    return Infinity;
  }

  /** H: h(t + H) = h(t) + U H, so that what is well for one is well for all. Infinity if beyond exact arithmetic, or if U is above 1. */
  private hyperperiodNs(): number {
    const { costs, periods } = this;
    let hyperperiod = 1;
    for (let i = 0; i < periods.length && hyperperiod <= Number.MAX_SAFE_INTEGER; i++) {
      hyperperiod *= periods[i] / greatestCommonDivisor(hyperperiod, periods[i]);
    }
    if (hyperperiod > Number.MAX_SAFE_INTEGER) return Infinity;
    const work = costs.reduce((sum, cost, i) => sum + cost * (hyperperiod / periods[i]), 0);
    return work <= hyperperiod ? hyperperiod : Infinity;
  }

  /**
   * Some t that is overrun; 0 if there is none; Infinity if that can't be told. QPA (Zhang & Burns 2009), from the horizon down:
   * where h(t) + blocking = u ≤ t, all from u to t is well, for h does not fall. Nor is it more with a section that blocks only
   * before its deadline, and that lies before t: by t its own demand is counted, and that is not less.
   */
  someOverrun(): number {
    const horizon = this.utilisation > 1 + ROUNDING_UTILISATION ? Infinity : this.horizonNs();
    if (horizon === Infinity) return Infinity;
    let t = this.deadlineBefore(horizon + 1);
    while (t > 0) {
      if (this.look(t)) return t;
      t = this.deadlineBefore(Math.min(t, t + this.excessNs));
    }
    return 0;
  }

  /** The first t that is overrun, knowing one; Infinity where one that must be there was not found. */
  firstOverrun(some: number): number {
    let t = 0;
    for (let point = 0; point < MAX_SCAN; point++) {
      t = this.deadlineAfter(t);
      if (t >= some) break;
      if (this.look(t)) return t;
    }
    return some;
  }
}

function checked(demand: Demand, what: string): Demand {
  const { kind, costUs, periodUs, deadlineUs, sectionUs } = demand;
  if (!(periodUs >= 1e-3 && periodUs < Infinity)) throw invalid(`${what}.periodUs`, periodUs, 'a finite number of microseconds, 0.001 or more');
  if (!(costUs >= 0 && costUs < Infinity)) throw invalid(`${what}.costUs`, costUs, 'a finite number of microseconds, 0 or more');
  if (!(deadlineUs >= 1e-3 && deadlineUs < Infinity)) throw invalid(`${what}.deadlineUs`, deadlineUs, 'a finite number of microseconds, 0.001 or more');
  if (kind === 'server' && deadlineUs > periodUs) throw invalid(`${what}.deadlineUs`, deadlineUs, `at most a server's period (${periodUs})`);
  if (!(sectionUs >= 0 && sectionUs <= costUs)) throw invalid(`${what}.sectionUs`, sectionUs, `from 0 to the cost (${costUs})`);
  return demand;
}

/**
 * The most that the demands can ask for with releases and deadlines in a time of length `tUs`: h(t), in microseconds, without
 * blocking.
 */
export function processorDemandUs(demands: readonly Demand[], tUs: number): number {
  return new DemandSet(demands, 0).demandNs(tUs * 1e3) / 1e3;
}

/**
 * Whether `newcomer` can be admitted beside `demands` under EDF: exact where all are sporadic, sufficient where there are servers
 * (and these keep to the guard).
 *
 * Utilisations of exactly 1 are decided over the hyperperiod; where that is beyond 2^53 ns, the set is refused.
 *
 * @param blockingUs by which anything may be held up besides: the latency of stopping a job, and one interrupt budget
 * @throws ERR_INVALID_ARGUMENT for a demand outside its ranges
 */
export function admission(demands: readonly Demand[], newcomer: Demand, blockingUs = 0): AdmissionResult {
  if (!(blockingUs >= 0 && blockingUs < Infinity)) throw invalid('blockingUs', blockingUs, 'a finite number of microseconds, 0 or more');
  const all = [...demands.map((demand, i) => checked(demand, `demands[${i}]`)), checked(newcomer, 'newcomer')];
  const set = new DemandSet(all, blockingUs);
  const some = set.someOverrun();
  if (some === 0) return { fits: true, guardUs: set.guardNs() / 1e3 };
  const atNs = set.firstOverrun(some);
  set.look(atNs);
  const overrunUs = atNs < Infinity ? set.excessNs / 1e3 : NaN;

  // Demand and blocking rise with the newcomer's cost, so whether it fits is monotone in it. Whole nanoseconds.
  const { costNs, sectionNs } = set.last;
  let fits = 0;
  let fails = costNs;
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    set.last = { costNs: middle, sectionNs };
    if (set.someOverrun() === 0) fits = middle;
    else fails = middle;
  }
  return { fits: false, atUs: atNs / 1e3, overrunUs, largestCostUs: fits / 1e3 };
}
