import { type Clock, type Timer, type Timers } from '../base/index.js';
import { type Directory, type Lease } from './directory.js';

/** A keepAlive goes out this often in a lease's time. */
const KEEPALIVES = 4;
/** By which part of its time a lease is thought to end early: so much slower than the directory's may a host's clock be. */
export const MAX_DRIFT = 0.02;

export interface LeaseKeeperOptions {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly leaseUs: number;
  /** Until when it is valid now, by this host's clock: −Infinity without one. */
  readonly onExtended: (validUntilUs: number) => void;
  readonly onLease: (lease: Lease) => void;
  /** The lease may have ended: nothing that was under it is ours any more. */
  readonly onLost: () => void;
}

/**
 * Keeps a lease alive, and knows when by this host's own clock it may have ended: counted from when the last keepAlive that was answered
 * had been sent, it is never later than in the directory (Gray & Cheriton 1989). Then it asks for a new one.
 */
export class LeaseKeeper {
  private lease: Lease | undefined;
  private validUntilUs: number;
  private running: boolean;
  /** Counts questions for a lease: an answer to any but the last is none. */
  private asked: number;
  private timer: Timer | undefined;

  constructor(private readonly options: LeaseKeeperOptions) {
    this.lease = undefined;
    this.validUntilUs = -Infinity;
    this.running = false;
    this.asked = 0;
    this.timer = undefined;
  }

  get isValid(): boolean {
    return this.options.clock.nowUs() < this.validUntilUs;
  }

  /** Asks for a lease; or begins with one that the directory gave at `sinceUs`. */
  start(formed?: { lease: Lease; sinceUs: number }): void {
    this.running = true;
    if (formed === undefined) this.ask();
    else this.begin(formed.lease, formed.sinceUs);
  }

  /** Ends the lease now. */
  stop(): void {
    this.running = false;
    this.asked++;
    this.timer?.cancel();
    this.setValid(-Infinity);
    this.lease?.revoke(() => undefined);
    this.lease = undefined;
  }

  /** No answer for so long is taken for none. */
  private get patienceUs(): number {
    return this.options.leaseUs / KEEPALIVES;
  }

  private later(action: () => void): void {
    this.timer?.cancel();
    this.timer = this.options.timers.after(this.patienceUs, action);
  }

  private ask(): void {
    const sinceUs = this.options.clock.nowUs();
    const asked = ++this.asked;
    this.later(() => {
      this.ask();
    });
    this.options.directory.lease(this.options.leaseUs, (failure, lease) => {
      if (asked !== this.asked || !this.running) lease?.revoke(() => undefined);
      else if (failure === undefined) this.begin(lease!, sinceUs);
    });
  }

  private begin(lease: Lease, sinceUs: number): void {
    this.lease = lease;
    this.extend(sinceUs);
    this.later(() => {
      this.keep();
    });
    if (this.isValid) this.options.onLease(lease);
  }

  private extend(sinceUs: number): void {
    this.setValid(Math.max(this.validUntilUs, sinceUs + this.options.leaseUs * (1 - MAX_DRIFT)));
  }

  private setValid(untilUs: number): void {
    this.validUntilUs = untilUs;
    this.options.onExtended(untilUs);
  }

  private keep(): void {
    const { lease } = this;
    if (lease === undefined) return;
    if (!this.isValid) {
      this.lost();
      return;
    }
    const sinceUs = this.options.clock.nowUs();
    // Looks again when it has ended, if that is before the next turn. A rest too short for a clock to show would never pass.
    this.timer!.again(Math.min(this.patienceUs, this.validUntilUs - sinceUs + 1));
    lease.keepAlive((failure) => {
      if (this.lease !== lease) return;
      if (failure === undefined) this.extend(sinceUs);
      else if (failure === 'lease') this.lost();
    });
  }

  private lost(): void {
    this.lease = undefined;
    this.setValid(-Infinity);
    this.options.onLost();
    if (this.running) this.ask();
  }
}
