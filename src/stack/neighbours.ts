import { type Address, AddressMap, FixedQueue, type Timer, type Timers } from '../base/index.js';
import { type Mac } from './wire/ethernet.js';

/** Neighbour unreachability detection (RFC 4861 §7.3.2); ARP entries go through the same states. */
export type NeighbourState = 'incomplete' | 'reachable' | 'stale' | 'delay' | 'probe' | 'failed';

/** RFC 4861 §10, and what a router may set (§6.3.4). */
export interface NudOptions {
  maxMulticastSolicit: number;
  maxUnicastSolicit: number;
  retransTimerUs: number;
  delayFirstProbeUs: number;
  reachableTimeUs: number;
  /** Entries; of those the one that was used longest ago goes first. */
  maxEntries: number;
}

const NUD_DEFAULTS: NudOptions = {
  maxMulticastSolicit: 3,
  maxUnicastSolicit: 3,
  retransTimerUs: 1e6,
  delayFirstProbeUs: 5e6,
  reachableTimeUs: 30e6,
  maxEntries: 1024,
};

/** Frames that wait for an address: RFC 1122 §2.3.2.2 asks for at least one, Linux keeps about three. */
const PENDING_FRAMES = 4;

/** A frame without its destination address, in a buffer of the interface; `fail` is told if it never gets one. */
export interface PendingFrame {
  handle: number;
  length: number;
  fail: (() => void) | undefined;
}

export class Neighbour {
  mac: Mac = 0;
  state: NeighbourState = 'incomplete';
  isRouter = false;
  /** Changes with `mac`: headers made before are out of date. */
  version = 0;
  usedUs = 0;
  readonly pending = new FixedQueue<PendingFrame>(PENDING_FRAMES);
  /** @internal */
  timer: Timer | undefined;
  /** @internal */
  probes = 0;

  constructor(readonly address: Address) {}

  /** Its address is known: it can be sent to at once. */
  get usable(): boolean {
    return this.state !== 'incomplete' && this.state !== 'failed';
  }
}

/** What the cache asks of its interface. */
export interface NeighbourActions {
  /** Asks for the address: all, or the neighbour alone whose address is to be confirmed. */
  solicit(neighbour: Neighbour, unicast: boolean): void;
  /** A frame that waited can go now. */
  send(neighbour: Neighbour, frame: PendingFrame): void;
  /** A frame that waited has no way. */
  discard(frame: PendingFrame): void;
}

export interface NeighbourCounters {
  solicits: number;
  failed: number;
  pendingDropped: number;
  evicted: number;
}

/** The neighbours of one interface, of both families. */
export class NeighbourCache {
  readonly counters: NeighbourCounters = { solicits: 0, failed: 0, pendingDropped: 0, evicted: 0 };
  readonly options: NudOptions;
  private readonly entries = new AddressMap<Neighbour>();

  constructor(
    private readonly timers: Timers,
    private readonly nowUs: () => number,
    private readonly random: () => number,
    /** Moved on whenever what was known of a neighbour may not hold any more. */
    private readonly epoch: { value: number },
    private readonly actions: NeighbourActions,
    options: Partial<NudOptions> = {},
  ) {
    this.options = { ...NUD_DEFAULTS, ...options };
  }

  find(address: Address): Neighbour | undefined {
    return this.entries.get(address);
  }

  /** The entry for an address, made (and not yet asked for) if there is none. */
  entry(address: Address): Neighbour {
    const found = this.entries.get(address);
    if (found !== undefined) return found;
    if (this.entries.size >= this.options.maxEntries) this.evict();
    const made = new Neighbour(address);
    made.state = 'failed'; // until somebody wants it
    this.entries.set(address, made);
    return made;
  }

  list(): Neighbour[] {
    return [...this.entries.values()];
  }

  /** About to send to it: a stale entry is looked after (§7.3.3). Cheap while reachable. */
  use(n: Neighbour): void {
    if (n.state === 'reachable') return;
    n.usedUs = this.nowUs();
    if (n.state === 'stale') {
      n.state = 'delay';
      this.arm(n, this.options.delayFirstProbeUs, () => {
        this.beginProbe(n);
      });
    } else if (n.state === 'failed') {
      this.resolve(n);
    }
  }

  /** Keeps a frame until the address is known; asks for it. */
  wait(n: Neighbour, frame: PendingFrame): void {
    if (n.pending.size === n.pending.capacity) {
      // The oldest goes: it is the least worth by now (RFC 4861 §7.2.2).
      this.counters.pendingDropped++;
      this.actions.discard(n.pending.shift()!);
    }
    n.pending.push(frame);
    if (n.state === 'failed') this.resolve(n);
  }

  private resolve(n: Neighbour): void {
    n.state = 'incomplete';
    n.probes = 0;
    n.usedUs = this.nowUs();
    this.solicitAgain(n, false);
  }

  private beginProbe(n: Neighbour): void {
    n.state = 'probe';
    n.probes = 0;
    this.solicitAgain(n, true);
  }

  private solicitAgain(n: Neighbour, unicast: boolean): void {
    const { maxMulticastSolicit, maxUnicastSolicit, retransTimerUs } = this.options;
    if (n.probes >= (unicast ? maxUnicastSolicit : maxMulticastSolicit)) {
      this.fail(n);
      return;
    }
    n.probes++;
    this.counters.solicits++;
    this.actions.solicit(n, unicast);
    this.arm(n, retransTimerUs, () => {
      this.solicitAgain(n, unicast);
    });
  }

  private fail(n: Neighbour): void {
    n.timer?.cancel();
    n.state = 'failed';
    this.renew(n);
    this.counters.failed++;
    for (let frame = n.pending.shift(); frame !== undefined; frame = n.pending.shift()) {
      frame.fail?.();
      this.actions.discard(frame);
    }
  }

  /** It answered what was asked (§7.2.5, or an ARP reply). */
  confirm(n: Neighbour, mac: Mac): void {
    this.setMac(n, mac);
    n.state = 'reachable';
    // A uniform factor from 0.5 to 1.5 (§6.3.2), so that hosts do not ask in step.
    this.arm(n, this.options.reachableTimeUs * (0.5 + this.random()), () => {
      this.suspect(n);
    });
    this.release(n);
  }

  /** It may not be there any more, or not under that address. */
  suspect(n: Neighbour): void {
    n.state = 'stale';
    this.epoch.value++;
  }

  /** Its address was heard, but not that it hears us: it is stale until used (§7.2.3, RFC 826's merge). */
  hear(n: Neighbour, mac: Mac): void {
    if (n.usable && n.mac === mac) return;
    n.timer?.cancel();
    this.setMac(n, mac);
    this.suspect(n);
    if (n.pending.size > 0) {
      this.use(n);
      this.release(n);
    }
  }

  private setMac(n: Neighbour, mac: Mac): void {
    if (n.mac === mac && n.usable) return;
    n.mac = mac;
    this.renew(n);
  }

  private renew(n: Neighbour): void {
    n.version++;
    this.epoch.value++;
  }

  private release(n: Neighbour): void {
    for (let frame = n.pending.shift(); frame !== undefined; frame = n.pending.shift()) this.actions.send(n, frame);
  }

  private arm(n: Neighbour, delayUs: number, action: () => void): void {
    n.timer?.cancel();
    n.timer = this.timers.after(delayUs, action);
  }

  private evict(): void {
    let oldest: Neighbour | undefined;
    for (const n of this.entries.values()) if (oldest === undefined || n.usedUs < oldest.usedUs) oldest = n;
    if (oldest === undefined) return;
    this.counters.evicted++;
    this.remove(oldest);
  }

  private remove(n: Neighbour): void {
    n.timer?.cancel();
    n.state = 'failed';
    this.renew(n);
    for (let frame = n.pending.shift(); frame !== undefined; frame = n.pending.shift()) this.actions.discard(frame);
    this.entries.delete(n.address);
  }

  clear(): void {
    for (const n of this.list()) this.remove(n);
  }
}
