import { type Address, type Timer, type Timers } from '../base/index.js';

export interface ReassemblyOptions {
  /** RFC 1122 §3.3.2 (60 to 120 s), RFC 8200 §4.5 (60 s). */
  timeoutUs: number;
  /** Of all datagrams in the making; the oldest goes first (RFC 1122 §3.3.2 leaves it to us, as does RFC 8200). */
  maxBytes: number;
  maxDatagrams: number;
}

export interface ReassemblyCounters {
  fragments: number;
  reassembled: number;
  duplicates: number;
  overlaps: number;
  timedOut: number;
  evicted: number;
  tooLong: number;
}

/** A whole datagram's payload. */
export interface Reassembled {
  payload: Uint8Array;
  /** What the first fragment said: of IPv6, the next header. */
  first: FirstFragment;
}

/** What must be remembered of the first fragment: for the datagram's sake, or to report a timeout with. */
export interface FirstFragment {
  protocol: number;
  /** The packet that it came in, as far as an ICMP error quotes it. */
  packet: Uint8Array;
}

const MAX_PAYLOAD = 65535;

interface Pending {
  key: string;
  /** The parts that are there, by offset, disjoint: what RFC 815 calls holes lies between them. */
  parts: { from: number; to: number }[];
  bytes: Uint8Array;
  /** Bytes that are there. */
  have: number;
  /** Of the whole, once the last fragment has come. */
  total: number;
  first: FirstFragment | undefined;
  timer: Timer;
}

/**
 * Puts fragments together (RFC 791 §3.2, RFC 8200 §4.5). A fragment that overlaps another makes the whole datagram go (RFC 5722 §4;
 * for IPv4 the same, as its rule lets attackers rewrite what was checked); an exact duplicate is ignored.
 */
export class Reassembly {
  readonly counters: ReassemblyCounters = { fragments: 0, reassembled: 0, duplicates: 0, overlaps: 0, timedOut: 0, evicted: 0, tooLong: 0 };
  private readonly pending = new Map<string, Pending>();
  private bytes = 0;

  constructor(
    private readonly options: ReassemblyOptions,
    private readonly timers: Timers,
    /** A datagram ran out of time, of which at least the first fragment came: that is to be reported to its sender. */
    private readonly onTimeout: (first: FirstFragment) => void,
  ) {}

  /** Datagrams in the making. */
  get size(): number {
    return this.pending.size;
  }

  /**
   * One fragment of `length` payload bytes at `offset`. The whole, when this was the last that lacked. `first` is given with the
   * fragment at offset 0.
   */
  add(
    source: Address,
    destination: Address,
    id: number,
    protocol: number,
    offset: number,
    more: boolean,
    payload: Uint8Array,
    first: FirstFragment | undefined,
  ): Reassembled | undefined {
    const { counters } = this;
    counters.fragments++;
    const to = offset + payload.length;
    // All but the last fill whole units of 8 bytes, and none reaches beyond what a packet can be.
    if (to > MAX_PAYLOAD || payload.length === 0 || (more && payload.length % 8 !== 0)) {
      counters.tooLong++;
      return undefined;
    }
    const key = `${source.toString()} ${destination.toString()} ${id} ${protocol}`;
    const p = this.pending.get(key) ?? this.begin(key);
    const after = p.parts.findIndex((part) => part.to > offset);
    const next = after < 0 ? undefined : p.parts[after];
    if (next !== undefined && next.from < to) {
      if (next.from === offset && next.to === to) {
        counters.duplicates++;
        return undefined;
      }
      counters.overlaps++;
      this.drop(p);
      return undefined;
    }
    const beyond = p.parts.at(-1);
    if ((p.total >= 0 && (to > p.total || (!more && to !== p.total))) || (!more && beyond !== undefined && beyond.to > to)) {
      counters.overlaps++;
      this.drop(p);
      return undefined;
    }
    if (!more) p.total = to;
    p.first ??= first;
    this.store(p, offset, payload);
    if (!this.pending.has(key)) return undefined; // evicted itself: it alone was over the limit
    p.parts.splice(after < 0 ? p.parts.length : after, 0, { from: offset, to });
    if (p.have !== p.total || p.first === undefined) return undefined;
    this.drop(p);
    counters.reassembled++;
    return { payload: p.bytes.subarray(0, p.total), first: p.first };
  }

  private begin(key: string): Pending {
    if (this.pending.size >= this.options.maxDatagrams) this.evict();
    const p: Pending = {
      key,
      parts: [],
      bytes: new Uint8Array(0),
      have: 0,
      total: -1,
      first: undefined,
      // From the first fragment to come, and not put off by later ones (RFC 1122 §3.3.2).
      timer: this.timers.after(this.options.timeoutUs, () => {
        this.counters.timedOut++;
        this.drop(p);
        if (p.first !== undefined) this.onTimeout(p.first);
      }),
    };
    this.pending.set(key, p);
    return p;
  }

  private store(p: Pending, offset: number, payload: Uint8Array): void {
    const to = offset + payload.length;
    if (to > p.bytes.length) {
      const grown = new Uint8Array(Math.min(MAX_PAYLOAD, Math.max(to, 2 * p.bytes.length, 2048)));
      grown.set(p.bytes);
      this.bytes += grown.length - p.bytes.length;
      p.bytes = grown;
    }
    p.bytes.set(payload, offset);
    p.have += payload.length;
    while (this.bytes > this.options.maxBytes && this.pending.size > 0) this.evict();
  }

  private evict(): void {
    const oldest = this.pending.values().next().value!;
    this.counters.evicted++;
    this.drop(oldest);
  }

  private drop(p: Pending): void {
    p.timer.cancel();
    if (this.pending.delete(p.key)) this.bytes -= p.bytes.length;
  }

  clear(): void {
    for (const p of [...this.pending.values()]) this.drop(p);
  }
}
