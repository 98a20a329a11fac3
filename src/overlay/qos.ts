import { type Demand, admission } from '../sched/index.js';
import { invalid } from '../base/index.js';
import { ANY_RATE, type Stream } from './stream.js';

export interface HostShareOptions {
  /** Processor time for one copy to one child, in µs, sections that can't be preempted. 0: time of the host is not accounted for. */
  copyUs: number;
  /** Messages a second of a stream of which all are wanted. */
  ratePerS: number;
}

/** What a stream was promised here. */
interface Reservation {
  readonly demand: Demand;
}

/** Deadlines are looked for to so many µs. */
const RESOLUTION_US = 1;

/**
 * This host's part of the end-to-end budget: the time within which it promises to pass a message on to all children of a stream. Each stream
 * is a sporadic demand: a job for each message, of `copyUs` for each child, with a deadline. Its response time is the least deadline that the
 * processor-demand test admits beside all others (src/sched/admission.ts, with jobs that are not preempted); if none up to its period does, there is no room for the child.
 */
export class HostShare {
  private readonly reserved: Map<Stream, Reservation>;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor(private readonly options: HostShareOptions) {
    const { copyUs, ratePerS } = options;
    if (!(copyUs >= 0 && copyUs < Infinity)) throw invalid('copyUs', copyUs, 'a number of microseconds, 0 or more');
    if (!(ratePerS > 0 && ratePerS < Infinity)) throw invalid('ratePerS', ratePerS, 'a number of messages a second, above 0');
    this.reserved = new Map();
  }

  /** Time for so many children of a stream in the place of what it had; false, and all as it was, if there is none. */
  reserve(stream: Stream, children: number): boolean {
    const { copyUs, ratePerS } = this.options;
    if (copyUs === 0) return true;
    if (children === 0) {
      this.release(stream);
      return true;
    }
    const periodUs = stream.milliRate === ANY_RATE ? 1e6 / ratePerS : 1e9 / stream.milliRate;
    const costUs = copyUs * children;
    const others = [...this.reserved].filter(([other]) => other !== stream).map(([, { demand }]) => demand);
    const demandBy = (deadlineUs: number): Demand => ({ kind: 'sporadic', costUs, periodUs, deadlineUs, sectionUs: costUs });
    const fits = (deadlineUs: number): boolean => admission(others, demandBy(deadlineUs)).fits;
    if (costUs > periodUs || !fits(periodUs)) return false;
    let [tooShort, enough] = [costUs / 2, periodUs];
    while (enough - tooShort > RESOLUTION_US) {
      const middle = (tooShort + enough) / 2;
      if (middle >= costUs && fits(middle)) enough = middle;
      else tooShort = middle;
    }
    this.reserved.set(stream, { demand: demandBy(enough) });
    return true;
  }

  release(stream: Stream): void {
    this.reserved.delete(stream);
  }

  /** Within which a message of this stream is passed on, in µs. */
  responseUs(stream: Stream): number {
    return this.reserved.get(stream)?.demand.deadlineUs ?? 0;
  }
}
