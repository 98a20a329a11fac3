import { type Random } from '../../base/index.js';
import { type Directory, type DirectoryFailure, type Entry, type HostNumber, type Lease, type Swap, checkCas, checkKey, checkPrefix, checkTtl } from '../../overlay/index.js';

/** How hosts of a World reach the directory. */
export interface DirectoryOptions {
  /** To it, and back again: each half of the time an operation takes. Default 5,000. */
  latencyUs?: number;
  /** After which an operation without an answer is `unavailable`. Default 1,000,000. */
  timeoutUs?: number;
}

/** What the way to the directory needs of the world that it is in. */
interface Surroundings {
  nowUs(): number;
  /** Runs `action` so much later, and once `host`, if it is given, isn't paused; returns what calls it off. */
  after(delayUs: number, action: () => void, host?: HostNumber): () => void;
  reachesDirectory(host: HostNumber): boolean;
  /** Looks again when the host is to be woken: it has been called. */
  rearm(host: HostNumber): void;
}

/** How often an operation fails, and changeable during a run, by whoever holds it. */
export interface DirectoryFaults {
  /** The question is lost, or the answer, each in half of the cases: nobody knows which. */
  loss: number;
  /** The question arrives when its host has given up on it. */
  lateness: number;
}

interface Ports {
  readonly inner: Directory;
  readonly surroundings: Surroundings;
  readonly random: Random;
  readonly faults: Readonly<DirectoryFaults>;
  readonly latencyUs: number;
  readonly timeoutUs: number;
}

type Done<T> = (failure: DirectoryFailure | undefined, result: T) => void;

/**
 * One host's way to a directory that all share: half of the latency there, half back. What is lost on the way, or cut off by a partition, is
 * `unavailable` after the timeout: then the operation has happened, or not, or is yet to happen. Changes that a watch could not be told of while cut off are told
 * when it can be again, of each key the last.
 */
export class DirectoryPort implements Directory {
  private readonly watches: Set<WatchPort>;
  private isClosed: boolean;

  constructor(
    private readonly ports: Ports,
    private readonly host: HostNumber,
  ) {
    this.watches = new Set();
    this.isClosed = false;
  }

  /** The host is gone: nothing reaches it any more, though what it has asked for may still be done. */
  close(): void {
    this.isClosed = true;
    for (const watch of this.watches) watch.stop();
  }

  /** The directory may be reachable again. */
  retry(): void {
    for (const watch of this.watches) watch.retry();
  }

  get(key: string, done: Done<Entry | undefined>): void {
    checkKey(key);
    this.ask<Entry | undefined>((answer) => {
      this.ports.inner.get(key, answer);
    }, done);
  }

  cas(key: string, revision: number, value: string | undefined, lease: number, done: Done<Swap | undefined>): void {
    checkCas(key, revision, value, lease);
    this.ask<Swap | undefined>((answer) => {
      this.ports.inner.cas(key, revision, value, lease, answer);
    }, done);
  }

  watch(prefix: string, onChange: (key: string, entry: Entry | undefined) => void): () => void {
    checkPrefix(prefix);
    const watch = new WatchPort(this.ports, this.host, prefix, onChange);
    this.watches.add(watch);
    return () => {
      this.watches.delete(watch);
      watch.stop();
    };
  }

  lease(ttlUs: number, done: Done<Lease | undefined>): void {
    checkTtl(ttlUs);
    this.ask<Lease | undefined>((answer) => {
      this.ports.inner.lease(ttlUs, (failure, inner) => {
        answer(failure, inner && this.lend(inner));
      });
    }, done);
  }

  /** A lease that the directory has given by another way, as this host has it. */
  lend(inner: Lease): Lease {
    return {
      id: inner.id,
      ttlUs: inner.ttlUs,
      keepAlive: (done) => {
        this.askLease(inner, 'keepAlive', done);
      },
      revoke: (done) => {
        this.askLease(inner, 'revoke', done);
      },
    };
  }

  private askLease(inner: Lease, operation: 'keepAlive' | 'revoke', done: (failure: DirectoryFailure | undefined) => void): void {
    this.ask<undefined>((answer) => {
      inner[operation]((failure) => {
        answer(failure, undefined);
      });
    }, (failure) => {
      done(failure);
    });
  }

  /** One operation: the way there, what it does, the way back, all within the timeout, or not. */
  private ask<T>(perform: (answer: Done<T | undefined>) => void, done: Done<T | undefined>): void {
    const { surroundings, random, faults, latencyUs, timeoutUs } = this.ports;
    const fate = random.float();
    const isLate = random.float() < faults.lateness;
    const lateUs = random.float() * timeoutUs;
    let isSettled = false;
    const settle: Done<T | undefined> = (failure, result) => {
      if (isSettled || this.isClosed) return;
      isSettled = true;
      giveUp();
      done(failure, result);
      surroundings.rearm(this.host);
    };
    const giveUp = surroundings.after(timeoutUs, () => {
      settle('unavailable', undefined);
    }, this.host);
    if (fate < faults.loss / 2) return;
    surroundings.after(isLate ? timeoutUs + lateUs : latencyUs / 2, () => {
      if (!surroundings.reachesDirectory(this.host)) return;
      perform((failure, result) => {
        if (fate < faults.loss) return;
        surroundings.after(latencyUs / 2, () => {
          if (surroundings.reachesDirectory(this.host)) settle(failure, result);
        }, this.host);
      });
    });
  }
}

interface Change {
  readonly entry: Entry | undefined;
  /** When it reaches the host, if nothing is in the way. */
  readonly atUs: number;
}

/** A watch of one host: what is on its way to it, and what waits until there is a way again. */
class WatchPort {
  /** In order of their revisions. */
  private readonly changes: Map<string, Change>;
  private end: (() => void) | undefined;
  private cancel: (() => void) | undefined;
  private isStopped: boolean;
  private readonly halfUs: number;

  constructor(
    private readonly ports: Ports,
    private readonly host: HostNumber,
    private readonly prefix: string,
    private readonly onChange: (key: string, entry: Entry | undefined) => void,
  ) {
    this.changes = new Map();
    this.halfUs = ports.latencyUs / 2;
    this.isStopped = false;
    this.schedule(this.halfUs);
  }

  retry(): void {
    if (this.cancel === undefined && !this.isStopped) this.schedule(this.halfUs);
  }

  stop(): void {
    this.isStopped = true;
    this.cancel?.();
    this.end?.();
  }

  private schedule(delayUs: number): void {
    this.cancel = this.ports.surroundings.after(delayUs, () => {
      this.cancel = undefined;
      if (this.isReachable()) this.proceed();
    }, this.host);
  }

  private isReachable(): boolean {
    return this.ports.surroundings.reachesDirectory(this.host);
  }

  private proceed(): void {
    if (this.end === undefined) {
      this.end = this.ports.inner.watch(this.prefix, (key, entry) => {
        this.changed(key, entry);
      });
      return;
    }
    const { surroundings } = this.ports;
    const nowUs = surroundings.nowUs();
    for (const [key, { entry, atUs }] of this.changes) {
      if (atUs > nowUs) {
        this.schedule(atUs - nowUs);
        return;
      }
      this.changes.delete(key);
      this.onChange(key, entry);
      if (this.isStopped) return;
      surroundings.rearm(this.host);
    }
  }

  private changed(key: string, entry: Entry | undefined): void {
    // To the end: keys are told in the order of their revisions.
    this.changes.delete(key);
    this.changes.set(key, { entry, atUs: this.ports.surroundings.nowUs() + this.halfUs });
    if (this.cancel === undefined && this.isReachable()) this.schedule(this.halfUs);
  }
}
