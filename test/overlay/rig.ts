// Worlds of overlay hosts for tests: after every event it is looked whether two hosts hold one identifier, of every message whether it was dropped for at most
// one cause, and of every payload whether it came before.
import { type Clock, Random } from '../../src/base/index.js';
import { type Directory, type Endpoint, type HostNumber, type Lease, OverlayNode, type OverlayOptions, type Publication, type Subscription, type SubscriptionOptions, type Transport } from '../../src/overlay/index.js';
import { Header, writeHeader } from '../../src/overlay/codec.js';
import { KnCube } from '../../src/overlay/cube/kncube.js';
import { type NetworkOptions, World, type WorldOptions } from '../../src/sim/index.js';

export const MS = 1e3;
export const SECOND = 1e6;

export interface RigOptions {
  hosts: number;
  k: number;
  n: number;
  seed: number;
  network?: Partial<NetworkOptions>;
  directory?: WorldOptions['directory'];
  /** Of all nodes; more by host where they are made. */
  node?: Partial<OverlayOptions>;
  /** Comes between a host and its way to the directory. */
  wrap?: (directory: Directory, host: HostNumber) => Directory;
}

/** A subscriber's side: what came, by publisher; a payload carries its publisher's number and its own. */
export interface Inbox {
  readonly subscription: Subscription;
  /** Numbers that came, in order of arrival. */
  readonly numbers: Map<HostNumber, number[]>;
  readonly arrivals: { publisher: HostNumber; number: number; atUs: number; ageUs: number; trueAgeUs: number }[];
  readonly ended: HostNumber[];
}

/** An end of the transport that sends what it is told, and keeps what comes. */
export class Stranger implements Endpoint {
  readonly dueUs = Infinity;
  onEarlier: () => void = () => undefined;
  readonly received: Uint8Array[] = [];

  constructor(
    readonly host: HostNumber,
    private readonly transport: Transport,
    private readonly limit: number,
  ) {}

  receive(_from: HostNumber, at: number, length: number): void {
    if (this.received.length < this.limit) this.received.push(this.transport.bytes.slice(at, at + length));
  }

  wake(): void {
    throw new Error('nothing is due');
  }

  say(to: HostNumber, bytes: Uint8Array): void {
    this.transport.bytes.set(bytes, this.transport.begin());
    this.transport.send(to, bytes.length);
  }
}

export const droppedSum = ({ counters: { dropped } }: OverlayNode): number => Object.values(dropped).reduce((sum, count) => sum + count, 0);

/** A message of any type, its body in fields of 1, 2 or 4 bytes, by offset. */
export function message(cube: KnCube, type: number, length: number, from: HostNumber, incarnation: number, sequence: number, fields: Readonly<Record<number, readonly [width: 1 | 2 | 4, value: number]>> = {}): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  writeHeader(view, 0, type, length, cube, from, incarnation);
  view.setUint32(Header.sequence, sequence);
  for (const [offset, [width, value]] of Object.entries(fields)) {
    if (width === 1) view.setUint8(Number(offset), value);
    else if (width === 2) view.setUint16(Number(offset), value);
    else view.setUint32(Number(offset), value);
  }
  return bytes;
}

export class Rig {
  readonly random: Random;
  readonly world: World;
  readonly cube: KnCube;
  readonly nodes: (OverlayNode | undefined)[];
  readonly seed: number;
  /** Every message that a node sent, if somebody wants it. */
  onSent: ((from: HostNumber, to: HostNumber, bytes: Uint8Array) => void) | undefined;
  private readonly lastHolder: Int32Array;
  private readonly restarts: number[];
  private readonly publishedUs: Map<string, number>;
  private readonly counts: Map<HostNumber, number>;

  constructor(private readonly options: RigOptions) {
    const { hosts, k, n, seed, network = {}, directory } = options;
    this.seed = seed;
    this.random = new Random(seed);
    this.world = new World({
      hosts, random: this.random.fork('world'), ...(directory === undefined ? {} : { directory }),
      network: { delayUs: (a, b) => 5 * MS + MS * ((a * 7 + b * 7) % 13), ...network },
    });
    this.cube = new KnCube(k, n);
    this.nodes = new Array<OverlayNode | undefined>(hosts).fill(undefined);
    this.lastHolder = new Int32Array(this.cube.size).fill(-1);
    this.restarts = new Array<number>(hosts).fill(0);
    this.publishedUs = new Map();
    this.counts = new Map();
    this.onSent = undefined;
  }

  get nowUs(): number {
    return this.world.clock.nowUs();
  }

  get live(): OverlayNode[] {
    return this.nodes.filter((node): node is OverlayNode => node !== undefined);
  }

  node(host: HostNumber): OverlayNode {
    return this.nodes[host]!;
  }

  /** Puts a host into the world, not started. */
  add(host: HostNumber, options: Partial<OverlayOptions> = {}): OverlayNode {
    const { k, n, node: common, wrap } = this.options;
    const life = this.restarts[host]++;
    const node = this.world.addHost(host, (transport: Transport, clock: Clock, directory: Directory) => {
      const made = new OverlayNode({
        host, k, n, transport: this.tapped(transport, host), clock, directory: wrap?.(directory, host) ?? directory,
        random: this.random.fork(`host ${host} life ${life}`), ...common, ...options,
      });
      const receive = made.receive.bind(made);
      made.receive = (from, at, length) => {
        const before = droppedSum(made);
        receive(from, at, length);
        const causes = droppedSum(made) - before;
        if (causes > 1) throw new Error(`seed ${this.seed}: host ${host} dropped one message for ${causes} causes`);
      };
      return made;
    });
    this.nodes[host] = node;
    return node;
  }

  private tapped(transport: Transport, host: HostNumber): Transport {
    return {
      bytes: transport.bytes,
      view: transport.view,
      begin: () => transport.begin(),
      send: (to, length) => {
        this.onSent?.(host, to, transport.bytes.slice(transport.begin(), transport.begin() + length));
        transport.send(to, length);
      },
    };
  }

  start(host: HostNumber, options: Partial<OverlayOptions> = {}): OverlayNode {
    const node = this.add(host, options);
    node.start();
    return node;
  }

  /** Hosts 0 to `count` − 1 join one by one, and are left alone for a while then. */
  joined(count: number, settleUs = 15 * SECOND): this {
    for (let host = 0; host < count; host++) {
      this.start(host);
      this.run(SECOND);
    }
    return this.run(settleUs);
  }

  /** Host i begins with the identifiers that `of` says. */
  formed(of: (host: HostNumber) => readonly number[], count: number, settleUs = 3 * SECOND): this {
    const { directory } = this.world;
    const leaseUs = this.options.node?.leaseUs ?? 5 * SECOND;
    const holder = new Map<number, HostNumber>();
    const grants: { lease: Lease; identifiers: { identifier: number; revision: number }[] }[] = [];
    for (let host = 0; host < count; host++) {
      directory.lease(leaseUs, (_failure, lease) => {
        grants[host] = { lease: lease!, identifiers: [] };
        for (const identifier of of(host)) {
          holder.set(identifier, host);
          directory.cas(`id/${identifier}`, 0, String(host), lease!.id, (_failure, outcome) => {
            grants[host].identifiers.push({ identifier, revision: outcome!.entry!.revision });
          });
        }
      });
    }
    const sinceUs = this.nowUs;
    this.world.run(sinceUs);
    for (let host = 0; host < count; host++) {
      const { lease, identifiers } = grants[host];
      // What a host does with its lease goes by its own way to the directory.
      const node = this.add(host);
      node.start({ lease, sinceUs, identifiers, holderOf: (identifier) => holder.get(identifier)! });
    }
    return this.run(settleUs);
  }

  crash(host: HostNumber): void {
    this.world.crash(host);
    this.nodes[host] = undefined;
  }

  /** Lets so much time pass, and looks after each event. */
  run(durationUs: number): this {
    const { world } = this;
    const untilUs = this.nowUs + durationUs;
    // A marker, so that the last step is at or before that time.
    let isOver = false;
    const action = (): void => {
      isOver = true;
    };
    world.after(durationUs, action);
    while (!isOver && world.step()) if (world.touched >= 0) this.look(world.touched);
    world.run(untilUs);
    return this;
  }

  /** Runs until `condition` holds, looked at after each event; how long that took, or Infinity after `mostUs`. */
  until(condition: () => boolean, mostUs: number): number {
    const sinceUs = this.nowUs;
    const { world } = this;
    world.after(mostUs, () => undefined);
    while (!condition()) {
      if (this.nowUs > sinceUs + mostUs || !world.step()) return Infinity;
      if (world.touched >= 0) this.look(world.touched);
    }
    return this.nowUs - sinceUs;
  }

  private look(host: HostNumber): void {
    const node = this.nodes[host];
    if (node === undefined) return;
    for (const identifier of node.identifiers) {
      const last = this.lastHolder[identifier];
      if (last !== host && last >= 0 && this.nodes[last]?.holds(identifier) === true) {
        throw new Error(`seed ${this.seed}: ${identifier} is held by hosts ${last} and ${host} at ${this.nowUs} µs`);
      }
      this.lastHolder[identifier] = host;
    }
  }

  /** Identifiers that nobody holds. */
  vacant(): number[] {
    const held = new Set(this.live.flatMap(({ identifiers }) => identifiers));
    return Array.from({ length: this.cube.size }, (_, identifier) => identifier).filter((identifier) => !held.has(identifier));
  }

  /** How many identifiers each host holds. */
  held(): number[] {
    return this.nodes.map((node) => node?.identifiers.length ?? -1);
  }

  // Streams.

  publish(publication: Publication, publisher: HostNumber, bytes = 16): boolean {
    const number = this.counts.get(publisher) ?? 0;
    this.counts.set(publisher, number + 1);
    const payload = new Uint8Array(bytes);
    const view = new DataView(payload.buffer);
    view.setUint32(0, publisher);
    view.setUint32(4, number);
    this.publishedUs.set(`${publisher} ${number}`, this.nowUs);
    const done = publication.publish(payload);
    this.world.rearm(publisher);
    return done;
  }

  /** How many messages a publisher has published. */
  published(publisher: HostNumber): number {
    return this.counts.get(publisher) ?? 0;
  }

  subscribe(host: HostNumber, channel: number, options: SubscriptionOptions = {}): Inbox {
    const numbers = new Map<HostNumber, number[]>();
    const arrivals: Inbox['arrivals'] = [];
    const ended: HostNumber[] = [];
    const node = this.node(host);
    const { view } = this.world.network;
    const subscription = node.subscribe(channel, {
      ...options,
      onMessage: (at, length, ageUs, publisher) => {
        const number = view.getUint32(at + 4);
        if (view.getUint32(at) !== publisher) throw new Error(`seed ${this.seed}: host ${host} got a message of ${view.getUint32(at)} as one of ${publisher}`);
        let list = numbers.get(publisher);
        if (list === undefined) numbers.set(publisher, (list = []));
        if (list.includes(number)) throw new Error(`seed ${this.seed}: host ${host} got message ${number} of ${publisher} twice, at ${this.nowUs} µs`);
        list.push(number);
        arrivals.push({ publisher, number, atUs: this.nowUs, ageUs, trueAgeUs: this.nowUs - this.publishedUs.get(`${publisher} ${number}`)! });
        options.onMessage?.(at, length, ageUs, publisher);
      },
      onEnd: (publisher) => {
        ended.push(publisher);
        options.onEnd?.(publisher);
      },
    });
    return { subscription, numbers, arrivals, ended };
  }

  /** Publishes every `everyUs` for so long. */
  stream(publications: readonly (readonly [HostNumber, Publication])[], everyUs: number, durationUs: number): this {
    for (let passedUs = 0; passedUs < durationUs; passedUs += everyUs) {
      for (const [host, publication] of publications) this.publish(publication, host);
      this.run(everyUs);
    }
    return this;
  }

  stranger(host: HostNumber, limit = 1000): Stranger {
    return this.world.addHost(host, (transport) => new Stranger(host, transport, limit));
  }
}
