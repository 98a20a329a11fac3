import { invalid } from '../base/index.js';

const MAX_CAPACITY = 2 ** 24;

/** What is traced; `value` of each event is said here. */
export const TraceKind = {
  /** A job was queued: jobs queued now. */
  Release: 0,
  /** A job begins: 1 if it is charged, 0 if it runs in the background. */
  Start: 1,
  /** It has ended: microseconds charged. */
  End: 2,
  /** It ended after its deadline: by how many microseconds. */
  Miss: 3,
  /** Its server has to wait: until when, in microseconds. */
  Throttle: 4,
  /** A stream of a share has its turn, in the job that runs: which one, as for the two that follow. */
  Turn: 5,
  /** One was not served by its deadline, as it tolerates. */
  Loss: 6,
  /** One was not served by its deadline, once more than it tolerates. */
  Violation: 7,
} as const;

export type TraceKind = (typeof TraceKind)[keyof typeof TraceKind];

/** What is written of the kinds that are instants: their name, and that of their value. */
const INSTANTS: Record<number, { name: string; value: string }> = {
  [TraceKind.Release]: { name: 'release', value: 'queued' },
  [TraceKind.Miss]: { name: 'miss', value: 'lateUs' },
  [TraceKind.Throttle]: { name: 'throttle', value: 'untilUs' },
  [TraceKind.Turn]: { name: 'turn', value: 'stream' },
  [TraceKind.Loss]: { name: 'loss', value: 'stream' },
  [TraceKind.Violation]: { name: 'violation', value: 'stream' },
};

/** One event in the form of the Trace Event Format; times in microseconds. */
interface PerfettoEvent {
  ph: 'M' | 'X' | 'i';
  name: string;
  pid: number;
  tid: number;
  ts?: number;
  dur?: number;
  s?: 't';
  args?: Record<string, string | number>;
}

/** The latest events of a scheduler, in a ring: the newest overwrites the oldest. Adding one allocates nothing. */
export class Trace {
  private readonly times: Float64Array;
  private readonly values: Float64Array;
  private readonly kinds: Uint8Array;
  private readonly servers: Int32Array;
  private readonly names: Map<number, string>;
  private added: number;

  /** @param capacity events it holds: a power of two from 2 to 2^24; else throws ERR_INVALID_ARGUMENT */
  constructor(capacity = 2 ** 16) {
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > MAX_CAPACITY || (capacity & (capacity - 1)) !== 0) {
      throw invalid('capacity', capacity, `a power of two from 2 to ${MAX_CAPACITY}`);
    }
    this.times = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
    this.kinds = new Uint8Array(capacity);
    this.servers = new Int32Array(capacity);
    this.names = new Map();
    this.added = 0;
  }

  /** Events that were overwritten. */
  get lost(): number {
    return Math.max(0, this.added - this.times.length);
  }

  /** Says what a server is called. */
  name(server: number, name: string): void {
    this.names.set(server, name);
  }

  add(kind: TraceKind, server: number, atUs: number, value: number): void {
    const at = this.added++ & (this.times.length - 1);
    this.times[at] = atUs;
    this.values[at] = value;
    this.kinds[at] = kind;
    this.servers[at] = server;
  }

  /**
   * The trace as JSON in the Trace Event Format (Duffy, "Trace Event Format", 2016), which ui.perfetto.dev opens: a thread for
   * each server, a slice for each run, an instant for all else. A run whose beginning was overwritten is left out.
   */
  toPerfetto(): string {
    const lines: string[] = [];
    const write = (event: PerfettoEvent): number => lines.push(JSON.stringify(event));
    const onThread = (tid: number): { pid: number; tid: number } => ({ pid: 1, tid });
    write({ ph: 'M', name: 'process_name', pid: 1, tid: 0, args: { name: 'scheduler' } });
    for (const [server, name] of this.names) write({ ph: 'M', name: 'thread_name', ...onThread(server), args: { name } });
    let startUs = NaN;
    let charged = 0;
    for (let event = this.lost; event < this.added; event++) {
      const at = event & (this.times.length - 1);
      const kind = this.kinds[at];
      const server = this.servers[at];
      const ts = this.times[at];
      const value = this.values[at];
      if (kind === TraceKind.Start) {
        startUs = ts;
        charged = value;
      } else if (kind === TraceKind.End) {
        const name = charged === 1 ? 'job' : 'background job';
        if (!Number.isNaN(startUs)) write({ ph: 'X', name, ...onThread(server), ts: startUs, dur: ts - startUs, args: { chargedUs: value } });
        startUs = NaN;
      } else {
        const instant = INSTANTS[kind];
        write({ ph: 'i', name: instant.name, ...onThread(server), ts, s: 't', args: { [instant.value]: value } });
      }
    }
    return `{"displayTimeUnit":"ns","traceEvents":[\n${lines.join(',\n')}\n]}\n`;
  }
}
