import { type Clock, IdHeap, type Random, RingcubeError, VirtualClock, invalid } from '../../base/index.js';
import { type Directory, EmbeddedDirectory, type Endpoint, type HostNumber, type Lease, MAX_HOST, type Transport } from '../../overlay/index.js';
import { type DirectoryFaults, type DirectoryOptions, DirectoryPort } from './directory.js';
import { type ClockChange, type ClockOptions, type HostClock, HostClocks } from './host-clock.js';
import { type Island, type NetworkOptions, SimNetwork } from './network.js';

export interface WorldOptions {
  /** Numbers of hosts are below this: 1 to 2^26. */
  hosts: number;
  random: Random;
  network: NetworkOptions;
  directory?: DirectoryOptions;
  /** Given, each host has a clock of its own, in whole µs. Default: all have the world's. */
  clocks?: ClockOptions;
}

/** Wake-ups at one time, after which a host is taken for stuck. */
const MAX_WAKES_AT_ONCE = 100_000;

//   event numbers     0 … slots − 1      a message arrives
//                     + host             a host is to be woken: one event each, which moves
//                     + hosts            the directory is to be woken
//                     above              calls: closures, for what happens seldom
//
//   A step takes the earliest, sets the clock, and calls whom it concerns; what that host sends are new events.

/**
 * Hosts that run the real overlay code, message by message, in virtual time: one thread, one clock (which those of hosts may differ from), one heap of events. The same seed, hosts and calls
 * give the same run, byte for byte.
 */
export class World {
  readonly clock: VirtualClock;
  readonly network: SimNetwork;
  /** The one behind all hosts' ways to it. Ask it yourself to look from outside; it answers as its own events come. */
  readonly directory: EmbeddedDirectory;
  /** What goes wrong on the ways to it; changeable at any time. */
  readonly directoryFaults: DirectoryFaults;
  /** Messages delivered, wake-ups and calls since the start. */
  events: number;
  /** The host that the last step called; −1 if none. */
  touched: HostNumber;
  private readonly hosts: number;
  private readonly heap: IdHeap;
  private readonly endpoints: (Endpoint | undefined)[];
  private readonly ports: (DirectoryPort | undefined)[];
  private readonly clocks: HostClocks | undefined;
  /** By host, if they have clocks of their own. */
  private readonly hostClocks: HostClock[];
  private readonly pauses: Map<HostNumber, { endpoint: Endpoint; untilUs: number }>;
  /** For when a host's event is set. It is not moved when what is due moves later, only when its time has come. */
  private readonly armedUs: Float64Array;
  private readonly firstWake: number;
  private readonly directoryEvent: number;
  private readonly calls: ((() => void) | undefined)[];
  private readonly freeCalls: number[];
  private readonly makePort: (host: HostNumber) => DirectoryPort;
  private wakesAtOnce: number;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor({ hosts, random, network, clocks, directory: { latencyUs = 5000, timeoutUs = 1_000_000 } = {} }: WorldOptions) {
    if (!Number.isInteger(hosts) || hosts < 1 || hosts > MAX_HOST + 1) throw invalid('hosts', hosts, `a whole number from 1 to ${MAX_HOST + 1}`);
    if (!(latencyUs >= 0 && latencyUs < Infinity)) throw invalid('latencyUs', latencyUs, 'a finite number of microseconds, 0 or more');
    if (!(timeoutUs > latencyUs && timeoutUs < Infinity)) throw invalid('timeoutUs', timeoutUs, `a finite number of microseconds above the latency (${latencyUs})`);
    this.clock = new VirtualClock();
    this.hosts = hosts;
    this.heap = new IdHeap(2 * hosts);
    this.network = new SimNetwork(hosts, this.heap, this.clock, random.fork('network'), network);
    this.directory = new EmbeddedDirectory(this.clock);
    this.directoryFaults = { loss: 0, lateness: 0 };
    this.events = 0;
    this.touched = -1;
    this.endpoints = new Array<Endpoint | undefined>(hosts).fill(undefined);
    this.ports = new Array<DirectoryPort | undefined>(hosts).fill(undefined);
    this.clocks = clocks && new HostClocks(this.clock, random.fork('clocks'), clocks);
    this.hostClocks = [];
    this.pauses = new Map();
    this.armedUs = new Float64Array(hosts).fill(Infinity);
    this.firstWake = this.network.slots;
    this.directoryEvent = this.firstWake + hosts;
    this.calls = [];
    this.freeCalls = [];
    this.wakesAtOnce = 0;
    const ports = {
      inner: this.directory,
      surroundings: {
        nowUs: () => this.clock.nowUs(),
        after: (delayUs: number, action: () => void, host?: HostNumber) => this.after(delayUs, action, host),
        reachesDirectory: (host: HostNumber) => this.network.reachesDirectory(host),
        rearm: (host: HostNumber) => {
          this.rearm(host);
        },
      },
      random: random.fork('directory'),
      faults: this.directoryFaults,
      latencyUs,
      timeoutUs,
    };
    this.makePort = (host) => new DirectoryPort(ports, host);
    this.directory.onEarlier = () => {
      this.armDirectory();
    };
  }

  /**
   * Starts a host: `make` builds what runs on it, over what it is given. A number is free again after crash().
   *
   * @throws ERR_INVALID_ARGUMENT if there is such a host, or can't be
   */
  addHost<E extends Endpoint>(host: HostNumber, make: (transport: Transport, clock: Clock, directory: Directory) => E): E {
    if (!Number.isInteger(host) || host < 0 || host >= this.hosts || this.has(host)) {
      throw invalid('host', host, `a whole number from 0 to ${this.hosts - 1} of no host that runs`);
    }
    const port = this.makePort(host);
    if (this.clocks !== undefined) this.hostClocks[host] = this.clocks.next();
    const endpoint = make(this.network.transport(host), this.clockOf(host), port);
    this.ports[host] = port;
    this.endpoints[host] = endpoint;
    endpoint.onEarlier = () => {
      this.rearm(host);
    };
    this.rearm(host);
    return endpoint;
  }

  /** A lease of the world's directory as host `host` has it, over its own way there: for what is laid out beforehand. */
  lend(host: HostNumber, lease: Lease): Lease {
    return this.ports[host]!.lend(lease);
  }

  /** What a host tells the time by. The way to the directory keeps the world's time. */
  clockOf(host: HostNumber): Clock {
    return this.clocks === undefined ? this.clock : this.hostClocks[host];
  }

  /** Lets a host's clock jump ahead, or run at another rate. @throws ERR_INVALID_ARGUMENT where it has none of its own */
  changeClock(host: HostNumber, change: ClockChange): void {
    const clock = this.has(host) ? this.hostClocks[host] : undefined;
    if (clock === undefined) throw invalid('host', host, 'a host that runs, and has a clock of its own (clocks)');
    clock.change(change);
    this.rearm(host);
  }

  /** Whether there is such a host, paused or not. */
  has(host: HostNumber): boolean {
    return this.endpoints[host] !== undefined || this.pauses.has(host);
  }

  isPaused(host: HostNumber): boolean {
    return this.pauses.has(host);
  }

  /** Stops a host at once: it does, sends and gets nothing any more. What it has sent is on its way. */
  crash(host: HostNumber): void {
    this.endpoints[host] = undefined;
    this.pauses.delete(host);
    this.ports[host]?.close();
    this.ports[host] = undefined;
    this.armedUs[host] = Infinity;
    this.heap.remove(this.firstWake + host);
  }

  /** Lets a host stand still for so long, as one whose process is stopped: what is for it waits, and comes when it goes on. */
  pause(host: HostNumber, durationUs: number): void {
    const paused = this.pauses.get(host);
    const endpoint = paused?.endpoint ?? this.endpoints[host];
    if (endpoint === undefined) return;
    const pause = { endpoint, untilUs: Math.max(paused?.untilUs ?? 0, this.clock.nowUs() + durationUs) };
    this.endpoints[host] = undefined;
    this.pauses.set(host, pause);
    this.at(pause.untilUs, () => {
      if (this.pauses.get(host) !== pause) return;
      this.pauses.delete(host);
      this.endpoints[host] = endpoint;
      this.rearm(host);
    });
  }

  /** Splits the network (SimNetwork.partition), and what can be reached of the directory; without islands it is whole again. */
  partition(islands: readonly Island[]): void {
    this.network.partition(islands);
    for (const port of this.ports) port?.retry();
  }

  /** Runs `action` so much later; once `host` is not paused, if it is given. Returns what calls it off. */
  after(delayUs: number, action: () => void, host?: HostNumber): () => void {
    return this.at(this.clock.nowUs() + Math.max(0, delayUs), action, host);
  }

  /** Looks again when `host` is due: as its endpoint asks for by onEarlier, and whoever has called it. */
  rearm(host: HostNumber): void {
    const endpoint = this.endpoints[host];
    if (endpoint === undefined) return;
    this.touched = host;
    const dueUs = this.clocks === undefined ? endpoint.dueUs : this.hostClocks[host].worldUs(endpoint.dueUs);
    if (dueUs < this.armedUs[host]) this.arm(host, dueUs);
  }

  /** How many events wait: messages on their way, hosts to be woken, calls. */
  get waiting(): number {
    return this.heap.size;
  }

  /** When the next step is; Infinity if there will be none. */
  get nextUs(): number {
    return this.heap.firstKey;
  }

  /** Does what is next; false if nothing ever will be. */
  step(): boolean {
    const { heap } = this;
    const id = heap.first;
    if (id < 0) return false;
    this.clock.set(heap.firstKey);
    this.events++;
    this.touched = -1;
    if (id < this.firstWake) this.deliver(id);
    else if (id < this.directoryEvent) this.wake(id - this.firstWake);
    else if (id === this.directoryEvent) this.wakeDirectory();
    else this.call(id);
    return true;
  }

  /** Does all that is to happen up to `untilUs`, finite, and sets the clock to it. Returns how many events that were. */
  run(untilUs: number): number {
    const before = this.events;
    while (this.heap.firstKey <= untilUs) this.step();
    this.clock.set(untilUs);
    return this.events - before;
  }

  private deliver(slot: number): void {
    const { network, heap } = this;
    const offset = network.offsetOf(slot);
    const host = network.toOf(offset);
    const endpoint = this.endpoints[host];
    if (endpoint === undefined) {
      const paused = this.pauses.get(host);
      if (paused !== undefined) {
        heap.set(slot, paused.untilUs);
        return;
      }
      network.counters.dead++;
    }
    heap.pop();
    if (endpoint !== undefined && network.mayArrive(offset)) {
      network.counters.delivered++;
      this.touched = host;
      endpoint.receive(network.fromOf(offset), offset, network.lengthOf(offset));
    }
    network.release(slot);
  }

  private wake(host: HostNumber): void {
    const endpoint = this.endpoints[host];
    if (endpoint === undefined) {
      this.heap.set(this.firstWake + host, this.pauses.get(host)!.untilUs);
      return;
    }
    const nowUs = this.clock.nowUs();
    const clock = this.clocks === undefined ? undefined : this.hostClocks[host];
    let dueUs = clock === undefined ? endpoint.dueUs : clock.worldUs(endpoint.dueUs);
    if (dueUs <= nowUs) {
      this.touched = host;
      // Its event stays where it is meanwhile, and is moved once.
      endpoint.wake();
      if (this.endpoints[host] !== endpoint) return;
      dueUs = clock === undefined ? endpoint.dueUs : clock.worldUs(endpoint.dueUs);
      if (dueUs > nowUs) this.wakesAtOnce = 0;
      else if (++this.wakesAtOnce > MAX_WAKES_AT_ONCE) {
        throw new RingcubeError('ERR_OUT_OF_RANGE', `host ${host}: is due again at ${nowUs} µs after ${MAX_WAKES_AT_ONCE} wake-ups, must be due later`);
      }
    }
    this.arm(host, dueUs);
  }

  private arm(host: HostNumber, dueUs: number): void {
    this.armedUs[host] = dueUs;
    if (dueUs < Infinity) this.heap.set(this.firstWake + host, Math.max(dueUs, this.clock.nowUs()));
    else this.heap.remove(this.firstWake + host);
  }

  private wakeDirectory(): void {
    this.heap.pop();
    this.directory.wake();
    this.armDirectory();
  }

  private armDirectory(): void {
    const { dueUs } = this.directory;
    if (dueUs < Infinity) this.heap.set(this.directoryEvent, Math.max(dueUs, this.clock.nowUs()));
  }

  private at(atUs: number, action: () => void, host?: HostNumber): () => void {
    const id = this.freeCalls.pop() ?? this.directoryEvent + 1 + this.calls.length;
    const index = id - this.directoryEvent - 1;
    const call = (): void => {
      const paused = host === undefined ? undefined : this.pauses.get(host);
      if (paused === undefined) {
        this.drop(id);
        action();
      } else this.heap.set(id, paused.untilUs);
    };
    this.calls[index] = call;
    this.heap.set(id, atUs);
    return () => {
      if (this.calls[index] === call) this.drop(id);
    };
  }

  private call(id: number): void {
    this.calls[id - this.directoryEvent - 1]!();
  }

  private drop(id: number): void {
    this.heap.remove(id);
    this.calls[id - this.directoryEvent - 1] = undefined;
    this.freeCalls.push(id);
  }
}
