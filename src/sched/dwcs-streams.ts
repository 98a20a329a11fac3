import { invalid } from '../base/index.js';
import { GRAIN_US } from './cbs.js';
import { DwcsWindows, type WindowConstraint } from './dwcs.js';

/** What a stream tolerates, and how often it is to be served. */
export interface LossTolerance extends WindowConstraint {
  /** Its request period: within each it is to be served once, while anything of it waits. At most what lies between two of its payloads. */
  periodUs: number;
}

//            request period T
//      ├───────────────────────────┤─────── the next ───────┤
//    begin                         │  deadline d
//      ├───────────────────────────┴──┤   d: begin + T, counted in whole ticks: streams that are nearly in phase have one deadline
//      may be served                   missed, if it was not

/**
 * The streams of a share and their request periods, in DWCS order: the pure part of serving queues that somebody else holds. Each stream
 * with a backlog is to be served once in each of its periods, and is not served ahead of them, so that none takes time that another's
 * period will want. Deadlines are successive while a backlog lasts; a stream that had none begins anew when something comes.
 *
 * The pairwise order needs deadlines that are equal, which those of independent sources never are: they are rounded up to whole ticks
 * (as the paper counts in time slots) from when the first stream of all had something.
 *
 * Streams are numbers from 0 on, given again once they are closed. Nothing allocates but the constructor; next() compares streams one
 * by one.
 */
export class DwcsStreams {
  private readonly windows: DwcsWindows;
  private readonly periodUs: Float64Array;
  /** When the period begins in which the first payload is to be served; of a stream without a backlog, the earliest that one may. */
  private readonly beginUs: Float64Array;
  /** What waited when it was last looked at, less what was taken since. */
  private readonly known: Float64Array;
  private readonly open: Uint8Array;
  private readonly backlogged: Uint8Array;
  private backlogs: number;
  /** Behind the last open one. */
  private end: number;
  private epochUs: number;

  /**
   * @param capacity streams, at most
   * @param tickUs what deadlines are rounded up to
   */
  constructor(
    private readonly capacity: number,
    private readonly tickUs: number,
  ) {
    this.windows = new DwcsWindows(capacity);
    this.periodUs = new Float64Array(capacity);
    this.beginUs = new Float64Array(capacity);
    this.known = new Float64Array(capacity);
    this.open = new Uint8Array(capacity);
    this.backlogged = new Uint8Array(capacity);
    this.backlogs = 0;
    this.end = 0;
    this.epochUs = 0;
  }

  /**
   * A new stream, without a backlog.
   *
   * @throws ERR_INVALID_ARGUMENT for a tolerance that is none, or if there is no room for it
   */
  add(tolerance: LossTolerance): number {
    const stream = this.open.indexOf(0);
    if (stream < 0) throw invalid('share', `${this.capacity} streams`, 'another one: it is full');
    const { periodUs } = tolerance;
    if (!(periodUs > 0 && periodUs < Infinity)) throw invalid('tolerates.periodUs', periodUs, 'a finite number of microseconds above 0');
    this.windows.set(stream, tolerance, 'tolerates');
    this.periodUs[stream] = periodUs;
    this.beginUs[stream] = -Infinity;
    this.open[stream] = 1;
    this.end = Math.max(this.end, stream + 1);
    return stream;
  }

  remove(stream: number): void {
    this.rest(stream);
    this.open[stream] = 0;
    this.end = this.open.lastIndexOf(1) + 1;
  }

  isBacklogged(stream: number): boolean {
    return this.backlogged[stream] === 1;
  }

  /**
   * So much of a stream waits. What is seen first now counts as come now; where more of the stream was there before, as come in the
   * period that it would be served in if the stream had gone on as it said, since nobody looked meanwhile.
   */
  look(stream: number, waiting: number, nowUs: number): void {
    const { beginUs, periodUs } = this;
    if (waiting === 0) {
      this.rest(stream);
      return;
    }
    if (this.backlogged[stream] === 0) {
      if (this.backlogs++ === 0) this.epochUs = Math.max(beginUs[stream], nowUs);
      this.backlogged[stream] = 1;
      if (beginUs[stream] < nowUs) beginUs[stream] = nowUs;
    } else if (this.known[stream] === 0) {
      const passed = Math.floor((nowUs + GRAIN_US - beginUs[stream]) / periodUs[stream]);
      if (passed > 0) beginUs[stream] += passed * periodUs[stream];
    }
    this.known[stream] = waiting;
  }

  /** A stream has no backlog any more. */
  rest(stream: number): void {
    if (this.backlogged[stream] === 1) this.backlogs--;
    this.backlogged[stream] = 0;
    this.known[stream] = 0;
  }

  /** Of a stream with a backlog: by when its first payload is to be served. */
  deadlineUs(stream: number): number {
    const { epochUs, tickUs } = this;
    const ticks = Math.ceil((this.beginUs[stream] + this.periodUs[stream] - epochUs - GRAIN_US) / tickUs);
    return epochUs + ticks * tickUs;
  }

  /** Whether a payload that is known of has not been served by its deadline. */
  isOverdue(stream: number, nowUs: number): boolean {
    return this.known[stream] > 0 && this.deadlineUs(stream) <= nowUs + GRAIN_US;
  }

  /** Whether a service that ends at this time is in time. */
  inTime(stream: number, endUs: number): boolean {
    return endUs <= this.deadlineUs(stream) + GRAIN_US;
  }

  /** The stream to serve: of those whose periods have begun the first in the order of DWCS; −1 if there is none. */
  next(nowUs: number): number {
    const { beginUs, backlogged, end } = this;
    let best = -1;
    let bestDeadlineUs = 0;
    for (let stream = 0; stream < end; stream++) {
      if (backlogged[stream] === 0 || beginUs[stream] > nowUs + GRAIN_US) continue;
      const deadlineUs = this.deadlineUs(stream);
      if (best >= 0) {
        const laterUs = deadlineUs - bestDeadlineUs;
        if (laterUs > GRAIN_US) continue;
        if (laterUs >= -GRAIN_US) {
          const order = this.windows.compare(stream, best);
          if (order > 0 || (order === 0 && beginUs[stream] >= beginUs[best] - GRAIN_US)) continue;
        }
      }
      best = stream;
      bestDeadlineUs = deadlineUs;
    }
    return best;
  }

  /** When the next period of a stream with a backlog begins, or has; Infinity if none has one. */
  get nextUs(): number {
    const { beginUs, backlogged, end } = this;
    let nextUs = Infinity;
    for (let stream = 0; stream < end; stream++) {
      if (backlogged[stream] === 1 && beginUs[stream] < nextUs) nextUs = beginUs[stream];
    }
    return nextUs;
  }

  /**
   * What was to be served in this period has left, served or dropped: the stream goes on with its next one.
   *
   * @param taken payloads, or about as many
   * @returns whether they were served in time or could be missed
   */
  settle(stream: number, taken: number, inTime: boolean): boolean {
    this.beginUs[stream] += this.periodUs[stream];
    this.known[stream] = Math.max(0, this.known[stream] - taken);
    if (!inTime) return this.windows.missed(stream);
    this.windows.met(stream);
    return true;
  }
}
