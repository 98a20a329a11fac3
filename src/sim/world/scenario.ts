import { Random } from '../../base/index.js';
import { type HostNumber, KnCube, MAX_DRIFT, type OverlayNode, type Publication, type Subscription } from '../../overlay/index.js';
import { Adversary } from './adversary.js';
import { addNode, type CommonOptions, formOverlay } from './formation.js';
import { type ClockOptions } from './host-clock.js';
import { Invariants } from './invariants.js';
import { World } from './world.js';

/** What a scenario came to. */
export interface Outcome {
  violations: string[];
  /** Differs where anything did: who was called when, in which order. */
  digest: number;
  events: number;
  messages: number;
  /** Published, and delivered to some subscriber. */
  published: number;
  delivered: number;
  /** How often each thing happened. */
  deeds: Record<string, number>;
  longestLoopUs: number;
  longestRepairUs: number;
}

const HEARTBEAT_US = 250_000;
const LEASE_US = 5 * HEARTBEAT_US;
/** All faults over, everything is to be as it should after this: what is left of them (leases, silences) ends first, then comes what was waiting for that. */
const REPAIR_US = 3 * LEASE_US + 20 * HEARTBEAT_US;
const LOOP_US = 8 * HEARTBEAT_US;
const TURBULENCE_US = 15e6;
const PROOF_US = 4e6;
const PUBLISH_US = 200_000;
const MAX_HOSTS = 40;
const CHANNELS = 3;
const MAX_OFFSET_US = 2 ** 38;
/** Where there is an adversary: its number, what it sends, and a lease that nobody has. */
const ADVERSARY = MAX_HOSTS;
const FORGED_PER_S = 100;
const NO_LEASE = 2 ** 31;
const SHAPES = [[2, 3], [2, 4], [2, 5], [2, 6], [3, 2], [3, 3], [4, 2], [4, 3], [5, 2], [7, 1], [8, 2]] as const;

/** A subscription, and what came by it. */
interface Listener {
  readonly host: HostNumber;
  readonly channel: number;
  readonly subscription: Subscription;
  readonly seen: Set<number>;
  isPaced: boolean;
}

interface Speaker {
  readonly host: HostNumber;
  readonly channel: number;
  readonly publication: Publication;
  readonly number: number;
  sequence: number;
}

/** Messages have numbers of their own: of the publication, and in it. */
const SEQUENCES = 2 ** 20;

/** A seeded run: hosts come and go, the network falls apart and comes together again, people publish and subscribe; then all is calm, and must become whole. */
export class Scenario {
  private readonly random: Random;
  private readonly world: World;
  private readonly nodes: Map<HostNumber, OverlayNode>;
  private readonly invariants: Invariants;
  private readonly options: CommonOptions & { leaseUs: number };
  private readonly listeners: Listener[];
  private readonly speakers: Speaker[];
  private readonly deeds: Record<string, number>;
  private readonly places: Float64Array;
  private readonly clocks: Required<ClockOptions> | undefined;
  private readonly adversary: Adversary | undefined;
  private readonly most: number;
  private publications: number;
  private published: number;
  private delivered: number;
  private lives: number;
  private digest: number;
  private isProof: boolean;
  /** Of the proof: whom each message should reach yet. */
  private readonly expected: Map<number, Set<Listener>>;

  /** @param clocks of the hosts; by default in two of three scenarios they drift within what is allowed, else all are the world's */
  constructor(seed: number, clocks?: Required<ClockOptions>) {
    const random = (this.random = new Random(seed).fork('scenario'));
    const [k, n] = SHAPES[random.int(0, SHAPES.length - 1)];
    const size = k ** n;
    this.most = Math.min(MAX_HOSTS, size);
    const clockRandom = random.fork('clocks');
    const drift = clockRandom.bool(0.5) ? MAX_DRIFT : MAX_DRIFT * clockRandom.float();
    this.clocks = clocks ?? (clockRandom.bool(2 / 3) ? { drift, offsetUs: MAX_OFFSET_US } : undefined);
    this.places = Float64Array.from({ length: 2 * (MAX_HOSTS + 1) }, () => random.float());
    this.world = new World({
      hosts: MAX_HOSTS + 1,
      random: random.fork('world'),
      network: { delayUs: (from, to) => this.delayUs(from, to), jitterUs: random.bool(0.5) ? 2000 : 0, linkBps: random.bool(0.3) ? 1e6 : Infinity },
      directory: { latencyUs: 4000, timeoutUs: HEARTBEAT_US },
      ...(this.clocks === undefined ? {} : { clocks: this.clocks }),
    });
    this.options = {
      k, n, heartbeatUs: HEARTBEAT_US, leaseUs: LEASE_US, routing: (['odr', 'random', 'greedy'] as const)[random.int(0, 2)], exchangeDepth: random.int(0, 3),
    };
    this.adversary = random.fork('whether attacked').bool(1 / 3) ? this.attack(new KnCube(k, n)) : undefined;
    this.nodes = new Map();
    this.invariants = new Invariants(this.world, this.nodes, size, { loopUs: LOOP_US, repairUs: REPAIR_US });
    this.listeners = [];
    this.speakers = [];
    this.deeds = {};
    this.publications = this.published = this.delivered = this.lives = this.digest = 0;
    this.isProof = false;
    this.expected = new Map();
  }

  private attack(cube: KnCube): Adversary {
    const { world } = this;
    const adversary = world.addHost(ADVERSARY, (transport, clock) => new Adversary({
      host: ADVERSARY, cube, transport, clock, random: this.random.fork('adversary'), hosts: MAX_HOSTS + 1, ratePerS: FORGED_PER_S, incarnation: NO_LEASE,
    }));
    world.network.onSend = (from, _to, length) => {
      if (from !== ADVERSARY) adversary.overhear(0, length);
    };
    return adversary;
  }

  run(): Outcome {
    const { random, world, invariants } = this;
    const first = random.int(1, Math.max(1, this.most >> 1));
    if (random.bool(0.7)) for (const node of formOverlay(world, first, this.options, random.fork('nodes'))) this.nodes.set(node.host, node);
    else for (let host = 0; host < first; host++) this.join(host);
    this.speak();
    const turbulentUntilUs = world.clock.nowUs() + TURBULENCE_US;
    this.unrest(turbulentUntilUs);
    this.proceed(turbulentUntilUs);
    this.quieten();
    invariants.calm();
    this.proceed(turbulentUntilUs + REPAIR_US);
    this.isProof = true;
    this.proceed(turbulentUntilUs + REPAIR_US + PROOF_US);
    this.isProof = false;
    this.proceed(turbulentUntilUs + REPAIR_US + PROOF_US + 2e6);
    this.judge();
    const { violations, longestLoopUs, longestRepairUs } = invariants;
    return {
      violations, longestLoopUs, longestRepairUs, digest: this.digest >>> 0, events: world.events, messages: world.network.counters.sent,
      published: this.published, delivered: this.delivered, deeds: this.deeds,
    };
  }

  private proceed(untilUs: number): void {
    const { world, invariants } = this;
    while (world.nextUs <= untilUs && invariants.violations.length === 0) {
      world.step();
      this.digest = Math.imul(this.digest ^ world.touched, 0x01000193) ^ Math.floor(world.clock.nowUs());
      invariants.check();
    }
  }

  /** On a torus of 30 ms, and 1 ms to leave and to arrive each. */
  private delayUs(from: HostNumber, to: HostNumber): number {
    const along = (axis: number): number => {
      const distance = Math.abs(this.places[2 * from + axis] - this.places[2 * to + axis]);
      return Math.min(distance, 1 - distance);
    };
    return 2000 + Math.round(30_000 * Math.hypot(along(0), along(1)));
  }

  // Deeds.

  private join(host: HostNumber): void {
    const node = addNode(this.world, host, this.options, this.random.fork(`life ${this.lives++}`));
    this.nodes.set(host, node);
    node.start();
  }

  private gone(host: HostNumber): void {
    this.nodes.delete(host);
    const stay = (list: { host: HostNumber }[]): void => {
      for (let i = list.length - 1; i >= 0; i--) if (list[i].host === host) list.splice(i, 1);
    };
    stay(this.speakers);
    stay(this.listeners);
  }

  /** What happens next, and when. */
  private unrest(untilUs: number): void {
    const { world, random } = this;
    world.after(random.int(10_000, 1_200_000), () => {
      if (world.clock.nowUs() >= untilUs) return;
      const deed = DEEDS[random.int(0, DEEDS.length - 1)];
      if (this.attempt(deed)) this.deeds[deed] = (this.deeds[deed] ?? 0) + 1;
      this.unrest(untilUs);
    });
  }

  private anyone(): HostNumber {
    // One that stands still does nothing.
    const hosts = [...this.nodes.keys()].filter((host) => !this.world.isPaused(host));
    return hosts.length === 0 ? -1 : hosts[this.random.int(0, hosts.length - 1)];
  }

  private attempt(deed: (typeof DEEDS)[number]): boolean {
    const { random, world } = this;
    const host = this.anyone();
    const node = this.nodes.get(host);
    const free = Array.from({ length: this.most }, (_, other) => other).filter((other) => !world.has(other));
    switch (deed) {
      case 'join':
        if (free.length === 0) return false;
        this.join(free[random.int(0, free.length - 1)]);
        return true;
      case 'crash':
        if (node === undefined || this.nodes.size < 2) return false;
        world.crash(host);
        this.gone(host);
        return true;
      case 'crash and restart':
        if (node === undefined) return false;
        world.crash(host);
        this.gone(host);
        world.after(random.int(0, 3e6), () => {
          if (!world.has(host)) this.join(host);
        });
        return true;
      case 'leave':
        if (node === undefined || this.nodes.size < 2) return false;
        node.leave(() => {
          if (this.nodes.get(host) !== node) return;
          this.gone(host);
          world.after(0, () => {
            world.crash(host);
          });
        });
        return true;
      case 'partition': {
        const islands = [0, 1].slice(0, random.int(1, 2)).map(() => ({ hosts: [] as HostNumber[], directory: random.bool(0.4) }));
        for (let other = 0; other < MAX_HOSTS; other++) if (random.bool(0.4)) islands[random.int(0, islands.length - 1)].hosts.push(other);
        world.partition(islands);
        return true;
      }
      case 'heal':
        world.partition([]);
        return true;
      case 'faults':
        world.network.setFaults({ loss: 0.2 * random.float(), duplication: 0.2 * random.float(), reordering: 0.3 * random.float(), reorderUs: random.int(0, 400_000) });
        return true;
      case 'no faults':
        world.network.setFaults({});
        return true;
      case 'directory faults':
        world.directoryFaults.loss = 0.3 * random.float();
        world.directoryFaults.lateness = 0.1 * random.float();
        return true;
      case 'no directory faults':
        world.directoryFaults.loss = world.directoryFaults.lateness = 0;
        return true;
      case 'pause':
        if (node === undefined) return false;
        world.pause(host, random.int(1000, 2 * LEASE_US));
        return true;
      case 'clock': {
        if (node === undefined || this.clocks === undefined) return false;
        const { drift } = this.clocks;
        world.changeClock(host, random.bool(0.5) ? { aheadUs: random.int(1, 2 * LEASE_US) } : { rate: random.bool(0.5) ? 1 - drift : 1 + drift });
        return true;
      }
      case 'advertise': return this.advertise(host, random.int(0, CHANNELS - 1));
      case 'close': {
        const speaker = this.speakers.find((one) => one.host === host);
        if (speaker === undefined) return false;
        this.speakers.splice(this.speakers.indexOf(speaker), 1);
        speaker.publication.close();
        return true;
      }
      case 'subscribe': return this.subscribe(host, random.int(0, CHANNELS - 1));
      case 'unsubscribe': {
        const listener = this.listeners.find((one) => one.host === host);
        if (listener === undefined) return false;
        this.listeners.splice(this.listeners.indexOf(listener), 1);
        node!.unsubscribe(listener.subscription);
        return true;
      }
      case 'pace': {
        const listener = this.listeners.find((one) => one.host === host);
        if (listener === undefined) return false;
        listener.isPaced = random.bool(0.6);
        node!.pace(listener.subscription, listener.isPaced ? random.int(1, 8) : 0);
        return true;
      }
    }
  }

  private advertise(host: HostNumber, channel: number): boolean {
    const node = this.nodes.get(host);
    if (node === undefined || node.state === 'leaving' || this.speakers.some((one) => one.host === host && one.channel === channel)) return false;
    this.speakers.push({ host, channel, publication: node.advertise(channel), number: this.publications++, sequence: 0 });
    return true;
  }

  private subscribe(host: HostNumber, channel: number): boolean {
    const { random, world: { network } } = this;
    const node = this.nodes.get(host);
    if (node === undefined || node.state === 'leaving') return false;
    const seen = new Set<number>();
    const subscription = node.subscribe(channel, {
      ...(random.bool(0.4) ? { boundUs: random.int(5000, 150_000) } : {}),
      bestEffort: true,
      onMessage: (at, length) => {
        const message = network.view.getUint32(at) * SEQUENCES + network.view.getUint32(at + 4);
        if (length !== 8 + (message % 50)) this.invariants.violate(`host ${host}: message ${message} has ${length} bytes`);
        if (network.view.getUint32(at) >= this.publications) this.invariants.violate(`host ${host}: a message of a publication that there is not`);
        if (seen.has(message)) this.invariants.violate(`host ${host}, channel ${channel}: message ${message % SEQUENCES} of publication ${Math.floor(message / SEQUENCES)} came twice`);
        seen.add(message);
        this.delivered++;
        this.expected.get(message)?.delete(listener);
      },
    });
    const listener: Listener = { host, channel, subscription, seen, isPaced: false };
    this.listeners.push(listener);
    return true;
  }

  /** Each publisher, again and again. */
  private speak(): void {
    const { world } = this;
    const payload = new Uint8Array(8 + 50);
    const view = new DataView(payload.buffer);
    for (const speaker of this.speakers) {
      const message = speaker.number * SEQUENCES + speaker.sequence;
      view.setUint32(0, speaker.number);
      view.setUint32(4, speaker.sequence);
      // A publisher that stands still says nothing.
      if (world.isPaused(speaker.host)) continue;
      const listeners = this.listeners.filter(({ channel, isPaced }) => channel === speaker.channel && !isPaced);
      if (this.isProof) this.expected.set(message, new Set(listeners));
      if (speaker.publication.publish(payload.subarray(0, 8 + (message % 50)))) {
        speaker.sequence++;
        this.published++;
      } else if (this.isProof) this.invariants.violate(`host ${speaker.host} can't publish`);
    }
    world.after(PUBLISH_US, () => {
      this.speak();
    });
  }

  /** All faults end, nobody lies any more, and hosts that are leaving are let go; somebody publishes, somebody listens. */
  private quieten(): void {
    const { world, random } = this;
    world.partition([]);
    world.network.setFaults({});
    this.adversary?.stop();
    world.directoryFaults.loss = world.directoryFaults.lateness = 0;
    if (this.nodes.size === 0) this.join(0);
    for (let i = 0; i < 4; i++) {
      this.advertise(this.anyone(), random.int(0, CHANNELS - 1));
      this.subscribe(this.anyone(), random.int(0, CHANNELS - 1));
    }
  }

  /** After the proof. */
  private judge(): void {
    const { invariants } = this;
    if (invariants.violations.length > 0) return;
    for (const node of this.nodes.values()) if (node.state !== 'member') invariants.violate(`host ${node.host} is ${node.state}, must be a member`);
    for (const [message, listeners] of this.expected) {
      for (const { host, channel } of listeners) {
        if (this.nodes.has(host)) invariants.violate(`host ${host}, channel ${channel}: message ${message % SEQUENCES} of publication ${Math.floor(message / SEQUENCES)} never came`);
      }
    }
  }
}

const DEEDS = [
  'join', 'join', 'join', 'crash', 'crash and restart', 'leave', 'partition', 'heal', 'heal', 'faults', 'no faults', 'directory faults', 'no directory faults', 'pause', 'clock',
  'advertise', 'advertise', 'close', 'subscribe', 'subscribe', 'subscribe', 'unsubscribe', 'pace',
] as const;
