import { type Address, type Clock, Random, RealClock } from '../base/index.js';
import { type Engine, Nic, type NicOptions, type ServiceMode } from '../nic/index.js';
import { type Interface, type InterfaceOptions, Stack, type StackOptions, type UdpSocket, type UdpSocketOptions } from '../stack/index.js';

export interface HostOptions extends Pick<StackOptions, 'forwarding' | 'icmpLimit' | 'reassembly' | 'onConflict' | 'onAddress'> {
  /** One for each card; default: one card without addresses but IPv6's link-local one. */
  interfaces?: readonly HostInterfaceOptions[];
  /** Routes beyond the interfaces' own links, as { prefix: '0.0.0.0/0', gateway: '198.18.0.1' }. */
  routes?: readonly { prefix: string; gateway: string }[];
  /** Of all that is random here; default 1. Two hosts on a link need two seeds. */
  seed?: number;
  /** How the cards are served; default adaptive. */
  mode?: ServiceMode;
  /** Frames a turn; default 64. */
  budget?: number;
}

export interface HostInterfaceOptions extends InterfaceOptions {
  /** The card's own options: address, MTU, queues, memory. */
  nic?: NicOptions;
}

/** One end-system: cards and a stack, started and stopped as one. Plug its cards into links (`host.nics[0]`) before start(). */
export class Host {
  readonly nics: readonly Nic[];
  readonly stack: Stack;
  readonly clock: Clock;
  private timer: NodeJS.Timeout | undefined;
  private timerUs = Infinity;
  private running = false;

  constructor(
    readonly engine: Engine,
    private readonly options: HostOptions = {},
  ) {
    const { interfaces = [{}], seed = 1, routes = [] } = options;
    // A stepped engine's time is the host's; a real one is read without a native call.
    this.clock = engine.stepped ? engine : new RealClock();
    const { clock } = this;
    this.stack = new Stack({ ...options, nowUs: () => clock.nowUs(), random: new Random(seed) });
    this.nics = interfaces.map(({ nic }, i) => new Nic(engine, { mac: defaultMac(seed, i), regionBytes: 2 ** 23, ...nic }));
    try {
      for (const [i, own] of interfaces.entries()) this.stack.addInterface(this.nics[i], own);
      for (const { prefix, gateway } of routes) this.stack.addRoute(prefix, gateway);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  get interfaces(): readonly Interface[] {
    return this.stack.interfaces;
  }

  /** Serves cards and timers from this thread's event loop. A stepped host is moved by step() instead. */
  start(): this {
    if (this.running || this.engine.stepped) return this;
    this.running = true;
    const { mode = 'adaptive', budget = 64 } = this.options;
    for (const { driver } of this.interfaces) driver.start(mode, budget);
    this.stack.timers.onEarlier = () => {
      this.armTimer();
    };
    this.armTimer();
    return this;
  }

  private armTimer(): void {
    const { nextUs } = this.stack.timers;
    if (!this.running || (this.timer !== undefined && this.timerUs <= nextUs)) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.timerUs = nextUs;
    if (nextUs === Infinity) return;
    const waitMs = Math.min(Math.max(0, Math.ceil((nextUs - this.clock.nowUs()) / 1e3)), 2 ** 31 - 1);
    this.timer = setTimeout(this.onTimer, waitMs);
    // Waiting for a timer alone keeps no process alive: cards and their traffic do.
    this.timer.unref();
  }

  private readonly onTimer = (): void => {
    this.timer = undefined;
    this.timerUs = Infinity;
    this.stack.timers.run();
    this.armTimer();
  };

  openUdp(options: UdpSocketOptions = {}): UdpSocket {
    return this.stack.openUdp(options);
  }

  /** Resolves once all addresses are in use, or those that are taken are known to be. */
  async ready(): Promise<readonly Address[]> {
    const waiting = (): boolean => this.interfaces.some((i) => i.addresses.some((a) => a.state === 'tentative'));
    while (waiting() && this.running) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.interfaces.flatMap((i) => i.addresses.filter((a) => a.state === 'preferred').map((a) => a.address));
  }

  /** Stops serving, closes sockets and cards. */
  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.stack.close();
    for (const nic of this.nics) nic.close();
  }
}

/** Locally administered, different for each seed and card. */
function defaultMac(seed: number, index: number): string {
  const bytes = [0x02, (seed >>> 24) & 255, (seed >>> 16) & 255, (seed >>> 8) & 255, seed & 255, index + 1];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * Moves a stepped engine and its hosts to virtual time `untilUs`: frames, then handlers and timers, event by event, so that no
 * host sees a time that has passed.
 */
export function stepHosts(engine: Engine, hosts: readonly Host[], untilUs: number): void {
  for (;;) {
    const now = engine.nowUs();
    const frameUs = engine.step(now);
    let moved = 0;
    for (const { stack } of hosts) moved += stack.poll();
    if (moved > 0) continue;
    // What the hosts have just sent must be seen by the engine before time goes on.
    const nextUs = Math.min(engine.step(now), frameUs === now ? now : Infinity, ...hosts.map(({ stack }) => stack.timers.nextUs));
    if (hosts.some(({ stack }) => stack.poll() > 0)) continue;
    if (nextUs > untilUs) {
      engine.step(untilUs);
      return;
    }
    if (nextUs > now) engine.step(nextUs);
  }
}
