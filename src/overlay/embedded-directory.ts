import { type Clock, RingcubeError, type Timer, Timers, invalid } from '../base/index.js';
import { type Directory, type DirectoryFailure, type Entry, type Lease, MAX_KEY_CHARACTERS, type Swap, checkCas, checkKey, checkPrefix, checkTtl } from './directory.js';
import { SortedKeys } from './sorted-keys.js';

/** What it holds at most: each a whole number from 1 to 2^24. */
export interface EmbeddedDirectoryOptions {
  /** Beyond: `full`. Default 2^20. */
  maxKeys?: number;
  /** Beyond: `full`. Default 2^20. */
  maxLeases?: number;
  /** Beyond, watch() throws ERR_OUT_OF_RANGE. Default 2^20. */
  maxWatches?: number;
  /** Answers that wait to be delivered; beyond, calls throw ERR_OUT_OF_RANGE. Default 2^20. */
  maxAnswers?: number;
}

const DEFAULT_LIMIT = 2 ** 20;
const MAX_LIMIT = 2 ** 24;
const MAX_LEASE = 0xffffffff;

function limit(name: string, value = DEFAULT_LIMIT): number {
  if (Number.isInteger(value) && value >= 1 && value <= MAX_LIMIT) return value;
  throw invalid(name, value, `a whole number from 1 to ${MAX_LIMIT}`);
}

/** A lease as the directory keeps it. */
interface Grant {
  readonly id: number;
  readonly keys: Set<string>;
  readonly expiry: Timer;
}

/** Of a watch only which keys it has yet to be told of: what stands there is looked up then, so that many changes of one key make one call. */
class Watch {
  /** In order of their last change. */
  readonly changed: Set<string>;
  queued: boolean;
  stopped: boolean;

  constructor(
    readonly prefix: string,
    readonly onChange: (key: string, entry: Entry | undefined) => void,
  ) {
    this.changed = new Set();
    this.queued = false;
    this.stopped = false;
  }

  /** Tells of what has changed, but not of what changes meanwhile. */
  tell(entries: ReadonlyMap<string, Entry>): number {
    const before = this.changed.size;
    let told = 0;
    for (const key of this.changed) {
      if (told === before) break;
      told++;
      this.changed.delete(key);
      this.onChange(key, entries.get(key));
    }
    return told;
  }
}

type Answer = () => void;

//    get, cas, lease ──▶ expire what is due ──▶ entries, sorted, grants ──▶ waiting: answers,    ──▶ wake() ──▶ done(…), onChange(…)
//                         (timers)                                          and watches with news
//
// Operations take effect in the order of their calls, each at once: that makes every key linearizable.

/**
 * A directory in memory, for the hosts of one process or one simulation. Operations take effect during the call; what they answer, and
 * what watches have to be told, waits until wake(). So a simulation drives it, by `dueUs`, wake() and `onEarlier`, as it
 * does an Endpoint; or an event loop (runInEventLoop). Leases expire at their time to the nanosecond, however late wake() comes. Never `unavailable`.
 */
export class EmbeddedDirectory implements Directory {
  /** Called when `dueUs` has moved ahead: whoever sleeps until it must look again. */
  onEarlier: () => void;
  /** Since the start. refusals: swaps that found something else; notices: calls of watches; full: what found no room. */
  readonly counters: { gets: number; swaps: number; refusals: number; leases: number; keepAlives: number; expiries: number; revocations: number; notices: number; full: number };
  private readonly limits: Required<EmbeddedDirectoryOptions>;
  private readonly entries: Map<string, Entry>;
  private readonly sorted: SortedKeys;
  private readonly grants: Map<number, Grant>;
  private readonly timers: Timers;
  /** By prefix; and how many prefixes there are of each length, so that a change looks up only beginnings that somebody watches. */
  private readonly watches: Map<string, Set<Watch>>;
  private readonly prefixesByLength: Uint32Array;
  private watchCount: number;
  private revision: number;
  private lastLease: number;
  private waiting: (Answer | Watch)[];
  private waitingSinceUs: number;
  private answers: number;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor(
    private readonly clock: Clock,
    options: EmbeddedDirectoryOptions = {},
  ) {
    this.limits = {
      maxKeys: limit('maxKeys', options.maxKeys),
      maxLeases: limit('maxLeases', options.maxLeases),
      maxWatches: limit('maxWatches', options.maxWatches),
      maxAnswers: limit('maxAnswers', options.maxAnswers),
    };
    this.onEarlier = () => undefined;
    this.counters = { gets: 0, swaps: 0, refusals: 0, leases: 0, keepAlives: 0, expiries: 0, revocations: 0, notices: 0, full: 0 };
    this.entries = new Map();
    this.sorted = new SortedKeys();
    this.grants = new Map();
    this.timers = new Timers(() => clock.nowUs());
    this.timers.onEarlier = () => {
      this.onEarlier();
    };
    this.watches = new Map();
    this.prefixesByLength = new Uint32Array(MAX_KEY_CHARACTERS + 1);
    this.watchCount = 0;
    this.revision = 0;
    this.lastLease = 0;
    this.waiting = [];
    this.waitingSinceUs = Infinity;
    this.answers = 0;
  }

  /** Keys, leases and watches held now. */
  get size(): { keys: number; leases: number; watches: number } {
    return { keys: this.entries.size, leases: this.grants.size, watches: this.watchCount };
  }

  /** When wake() is to be called next: at once where somebody waits for an answer or a change, else when the next lease expires; Infinity: not at all. */
  get dueUs(): number {
    return Math.min(this.waitingSinceUs, this.timers.nextUs);
  }

  /** Ends the leases that are due, and calls whoever waits. What these calls ask is answered by the next wake(). If one throws, so does this, and the next goes on behind it. */
  wake(): void {
    this.timers.run();
    const turn = this.waiting;
    this.waiting = [];
    this.waitingSinceUs = Infinity;
    let done = 0;
    try {
      while (done < turn.length) {
        const next = turn[done++];
        if (next instanceof Watch) this.tell(next);
        else {
          this.answers--;
          next();
        }
      }
    } finally {
      if (done < turn.length) {
        this.waiting = turn.slice(done).concat(this.waiting);
        this.waitingSinceUs = this.clock.nowUs();
      }
    }
  }

  get(key: string, done: (failure: DirectoryFailure | undefined, entry: Entry | undefined) => void): void {
    checkKey(key);
    this.begin();
    this.counters.gets++;
    const entry = this.entries.get(key);
    this.answer(() => {
      done(undefined, entry);
    });
  }

  cas(key: string, revision: number, value: string | undefined, lease: number, done: (failure: DirectoryFailure | undefined, outcome: Swap | undefined) => void): void {
    checkCas(key, revision, value, lease);
    this.begin();
    const failure = this.swap(key, revision, value, lease);
    const entry = this.entries.get(key);
    this.answer(() => {
      if (typeof failure === 'string') done(failure, undefined);
      else done(undefined, { swapped: failure, entry });
    });
  }

  watch(prefix: string, onChange: (key: string, entry: Entry | undefined) => void): () => void {
    checkPrefix(prefix);
    if (this.watchCount >= this.limits.maxWatches) throw new RingcubeError('ERR_OUT_OF_RANGE', `watch: ${this.watchCount} watches are there, the most that maxWatches allows: stop one first`);
    this.timers.run();
    const watch = new Watch(prefix, onChange);
    let same = this.watches.get(prefix);
    if (same === undefined) {
      this.watches.set(prefix, (same = new Set()));
      this.prefixesByLength[prefix.length]++;
    }
    same.add(watch);
    this.watchCount++;
    this.sorted.forEachWith(prefix, (key) => watch.changed.add(key));
    this.queue(watch);
    return () => {
      this.stopWatch(watch);
    };
  }

  lease(ttlUs: number, done: (failure: DirectoryFailure | undefined, lease: Lease | undefined) => void): void {
    checkTtl(ttlUs);
    this.begin();
    if (this.grants.size >= this.limits.maxLeases || this.lastLease >= MAX_LEASE) {
      this.counters.full++;
      this.answer(() => {
        done('full', undefined);
      });
      return;
    }
    const id = ++this.lastLease;
    const expiry = this.timers.after(ttlUs, () => {
      this.counters.expiries++;
      this.end(id);
    });
    this.grants.set(id, { id, keys: new Set(), expiry });
    this.counters.leases++;
    const lease: Lease = {
      id,
      ttlUs,
      keepAlive: (done) => {
        this.keepAlive(id, ttlUs, done);
      },
      revoke: (done) => {
        this.revoke(id, done);
      },
    };
    this.answer(() => {
      done(undefined, lease);
    });
  }

  /** @returns whether it was done, or why it can't be */
  private swap(key: string, revision: number, value: string | undefined, lease: number): DirectoryFailure | boolean {
    const grant = value === undefined || lease === 0 ? undefined : this.grants.get(lease);
    if (value !== undefined && lease !== 0 && grant === undefined) return 'lease';
    const entry = this.entries.get(key);
    if ((entry?.revision ?? 0) !== revision) {
      this.counters.refusals++;
      return false;
    }
    if (value === undefined) {
      if (entry !== undefined) this.remove(entry);
    } else {
      if (entry === undefined) {
        if (this.entries.size >= this.limits.maxKeys) {
          this.counters.full++;
          return 'full';
        }
        this.sorted.add(key);
      } else this.grants.get(entry.lease)?.keys.delete(key);
      grant?.keys.add(key);
      this.entries.set(key, { key, value, revision: ++this.revision, lease });
      this.changed(key);
    }
    this.counters.swaps++;
    return true;
  }

  private remove(entry: Entry): void {
    const { key, lease } = entry;
    this.grants.get(lease)?.keys.delete(key);
    this.entries.delete(key);
    this.sorted.delete(key);
    this.changed(key);
  }

  private keepAlive(id: number, ttlUs: number, done: (failure: DirectoryFailure | undefined) => void): void {
    this.begin();
    this.counters.keepAlives++;
    const grant = this.grants.get(id);
    grant?.expiry.again(ttlUs);
    this.answer(() => {
      done(grant === undefined ? 'lease' : undefined);
    });
  }

  private revoke(id: number, done: (failure: DirectoryFailure | undefined) => void): void {
    this.begin();
    const grant = this.grants.get(id);
    if (grant !== undefined) {
      grant.expiry.cancel();
      this.counters.revocations++;
      this.end(id);
    }
    this.answer(() => {
      done(grant === undefined ? 'lease' : undefined);
    });
  }

  private end(id: number): void {
    const { keys } = this.grants.get(id)!;
    this.grants.delete(id);
    for (const key of keys) this.remove(this.entries.get(key)!);
  }

  /** Before each operation: what it finds is what stands there now, even if nobody has woken it in time. */
  private begin(): void {
    if (this.answers >= this.limits.maxAnswers) throw new RingcubeError('ERR_OUT_OF_RANGE', `directory: ${this.answers} answers wait, the most that maxAnswers allows: wake() it before you ask more`);
    this.timers.run();
  }

  private answer(answer: Answer): void {
    this.answers++;
    this.wait(answer);
  }

  private wait(what: Answer | Watch): void {
    this.waiting.push(what);
    if (this.waitingSinceUs !== Infinity) return;
    this.waitingSinceUs = this.clock.nowUs();
    this.onEarlier();
  }

  private changed(key: string): void {
    for (let length = 0; length <= key.length; length++) {
      if (this.prefixesByLength[length] === 0) continue;
      const watches = this.watches.get(key.slice(0, length));
      if (watches === undefined) continue;
      for (const watch of watches) {
        // To the end: keys are told in the order of their revisions.
        watch.changed.delete(key);
        watch.changed.add(key);
        this.queue(watch);
      }
    }
  }

  private queue(watch: Watch): void {
    if (watch.queued || watch.changed.size === 0) return;
    watch.queued = true;
    this.wait(watch);
  }

  private tell(watch: Watch): void {
    watch.queued = false;
    try {
      this.counters.notices += watch.tell(this.entries);
    } finally {
      this.queue(watch);
    }
  }

  private stopWatch(watch: Watch): void {
    if (watch.stopped) return;
    watch.stopped = true;
    watch.changed.clear();
    this.watchCount--;
    const same = this.watches.get(watch.prefix)!;
    same.delete(watch);
    if (same.size > 0) return;
    this.watches.delete(watch.prefix);
    this.prefixesByLength[watch.prefix.length]--;
  }
}
