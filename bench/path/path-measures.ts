// What all variants are held to, and measured by.
import { setTimeout as sleep } from 'node:timers/promises';

/** Around what is measured, once all is warm: background load, priority. */
export type During = <T>(body: () => Promise<T>) => Promise<T>;

export interface Throughput {
  /** Datagrams that came back to the load. */
  perSecond: number;
  /** By this process's own software, for each of them. */
  copiedBytes: number;
}

/** Of a flow whose datagrams are sent at equal intervals. */
export interface Latencies {
  sent: number;
  /** From when each was due, in the order in which they came back. */
  ns: Float64Array;
}

const PATIENCE_MS = 5000;
/** What has not come back so long after the last was sent is lost. */
const LATE_MS = 300;
const SLICE_MS = 20;
/** Datagrams without which there is no jitter to speak of. */
const LEAST = 10;

/** Lets what is still on its way come back, as long as there is hope. */
export async function awaitRest(isBack: () => boolean, passMs: (ms: number) => Promise<void>): Promise<void> {
  for (let waited = 0; !isBack() && waited < LATE_MS; waited += SLICE_MS) await passMs(SLICE_MS);
}

/** Payloads, each unlike the others, and whether they come back in order and as they were. */
export class PayloadCheck {
  private right = 0;
  private wrong = 0;

  constructor(
    private readonly variant: string,
    private readonly payloadBytes: number,
    readonly count: number,
  ) {}

  payload(number: number): Uint8Array {
    return Uint8Array.from({ length: this.payloadBytes }, (_, i) => number * 31 + i * 7);
  }

  take(payload: Uint8Array): void {
    if (Buffer.compare(payload, this.payload(this.right + this.wrong)) === 0) this.right++;
    else this.wrong++;
  }

  /** Waits for all. @throws in one line if some do not come, or are not as they were */
  async all(): Promise<void> {
    for (let waited = 0; this.right + this.wrong < this.count && waited < PATIENCE_MS; waited++) await sleep(1);
    const { variant, payloadBytes, count, right, wrong } = this;
    if (right < count) throw new Error(`path: ${variant}: of ${count} payloads of ${payloadBytes} bytes ${right} came back as they were, ${wrong} otherwise`);
  }
}

/**
 * What a forwarder adds to the intervals between datagrams, ns, sorted: |D(i-1, i)| of RFC 3550 §6.4.1, the difference of the latencies of
 * two that came one after the other. The first tenth is left out. Where next to nothing came back, the one interval is as long as the flow.
 */
export function jitterOf({ ns, sent }: Latencies, perSecond: number): Float64Array {
  if (ns.length < LEAST) return Float64Array.of((sent / perSecond) * 1e9);
  const first = Math.ceil(ns.length / 10);
  const out = new Float64Array(ns.length - first - 1);
  for (let i = 0; i < out.length; i++) out[i] = Math.abs(ns[first + i + 1] - ns[first + i]);
  return out.sort();
}
