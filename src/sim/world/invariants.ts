import { type HostNumber, NO_HOST, type OverlayNode } from '../../overlay/index.js';
import { type World } from './world.js';

export interface InvariantsOptions {
  /** A loop of parents may last for so long, in µs: two moves of identifiers at once can make one, and the list of hosts above in the next refresh breaks it. */
  loopUs: number;
  /** With all hosts connected, to each other and to the directory, an identifier may be without a holder, or a subscriber without a parent, for so long, in µs. */
  repairUs: number;
}

/** How often what only time can break is looked at. */
const LOOK_US = 100_000;

/**
 * What must hold in an overlay at any time, checked event by event: no identifier has two holders, parents make no lasting loops; and, from `calm()` on,
 * nothing is without holder or parent for longer than it takes to repair. Costs little: looks only at the host that the last event called.
 */
export class Invariants {
  /** What was broken, in words, with the time; at most a hundred. */
  readonly violations: string[];
  /** The longest loop and, in calm, the longest repair seen, in µs. */
  longestLoopUs: number;
  longestRepairUs: number;
  /** By identifier: who was last seen to act for it; NO_HOST for nobody. */
  private readonly holder: Uint32Array;
  private readonly vacantUs: Float64Array;
  /** By stream and host, as the host was last seen. */
  private readonly parents: Map<string, Map<HostNumber, HostNumber>>;
  /** By stream: since when it has had a loop. */
  private readonly loops: Map<string, number>;
  private readonly orphans: Map<string, number>;
  private calmUs: number;
  private nextLookUs: number;

  /** @param nodes those that run, by host; may change between two events */
  constructor(
    private readonly world: World,
    private readonly nodes: ReadonlyMap<HostNumber, OverlayNode>,
    identifiers: number,
    private readonly options: InvariantsOptions,
  ) {
    this.violations = [];
    this.longestLoopUs = 0;
    this.longestRepairUs = 0;
    this.holder = new Uint32Array(identifiers).fill(NO_HOST);
    this.vacantUs = new Float64Array(identifiers).fill(Infinity);
    this.parents = new Map();
    this.loops = new Map();
    this.orphans = new Map();
    this.calmUs = Infinity;
    this.nextLookUs = 0;
  }

  /** From now on nothing fails any more, until `calm(false)`: what is broken is to be repaired in time. */
  calm(isCalm = true): void {
    this.calmUs = isCalm ? this.world.clock.nowUs() : Infinity;
  }

  violate(what: string): void {
    if (this.violations.length < 100) this.violations.push(`${(this.world.clock.nowUs() / 1e6).toFixed(6)} s: ${what}`);
  }

  /** After each step of the world. */
  check(): void {
    const node = this.nodes.get(this.world.touched);
    if (node !== undefined) {
      this.checkHolder(node);
      this.checkParents(node);
    }
    const nowUs = this.world.clock.nowUs();
    if (nowUs < this.nextLookUs) return;
    this.nextLookUs = nowUs + LOOK_US;
    this.look(nowUs);
  }

  private checkHolder(node: OverlayNode): void {
    const { holder, nodes } = this;
    for (const identifier of node.identifiers) {
      const before = holder[identifier];
      if (before === node.host) continue;
      if (nodes.get(before)?.holds(identifier) === true) this.violate(`identifier ${identifier} has two holders: ${before} and ${node.host}`);
      holder[identifier] = node.host;
    }
  }

  private checkParents(node: OverlayNode): void {
    const { host } = node;
    for (const { channel, publisher, version, parent } of node.branches()) {
      const stream = `${channel}/${publisher}/${version}`;
      let parents = this.parents.get(stream);
      if (parents === undefined) this.parents.set(stream, (parents = new Map<HostNumber, HostNumber>()));
      if (parents.get(host) === parent) continue;
      parents.set(host, parent);
      this.checkLoop(stream, parents, host);
    }
  }

  private checkLoop(stream: string, parents: Map<HostNumber, HostNumber>, host: HostNumber): void {
    if (!this.isLoop(parents, host)) return;
    if (!this.loops.has(stream)) this.loops.set(stream, this.world.clock.nowUs());
  }

  private isLoop(parents: Map<HostNumber, HostNumber>, host: HostNumber): boolean {
    let at = parents.get(host);
    for (let hops = 0; at !== undefined && at !== host && hops <= this.nodes.size; hops++) {
      const next = this.nodes.has(at) ? parents.get(at) : undefined;
      // The publisher is its own parent.
      if (next === at) return false;
      at = next;
    }
    return at === host && parents.get(host) !== host;
  }

  /** What may be so for a while. */
  private look(nowUs: number): void {
    const { options, loops } = this;
    for (const [stream, sinceUs] of loops) {
      this.refresh(stream);
      const parents = this.parents.get(stream)!;
      if (![...parents.keys()].some((host) => this.nodes.has(host) && this.isLoop(parents, host))) {
        loops.delete(stream);
        continue;
      }
      this.longestLoopUs = Math.max(this.longestLoopUs, nowUs - sinceUs);
      if (nowUs - sinceUs <= options.loopUs) continue;
      this.violate(`stream ${stream}: a loop of parents for ${((nowUs - sinceUs) / 1e6).toFixed(3)} s: ${[...parents].map(([host, parent]) => `${host}→${parent}`).join(' ')}`);
      loops.delete(stream);
    }
    if (nowUs < this.calmUs) return;
    for (let identifier = 0; identifier < this.holder.length; identifier++) {
      const isHeld = this.nodes.get(this.holder[identifier])?.holds(identifier) === true;
      this.vacantUs[identifier] = isHeld ? Infinity : Math.min(this.vacantUs[identifier], nowUs);
      this.overdue(Math.max(this.calmUs, this.vacantUs[identifier]), nowUs, () => `identifier ${identifier} has no holder`);
    }
    for (const node of this.nodes.values()) {
      for (const { channel, publisher, parent, isSubscribed } of node.branches()) {
        const key = `${channel}/${publisher}: ${node.host}`;
        if (!isSubscribed || parent !== NO_HOST || !this.nodes.has(publisher)) this.orphans.delete(key);
        else if (!this.orphans.has(key)) this.orphans.set(key, nowUs);
        else this.overdue(Math.max(this.calmUs, this.orphans.get(key)!), nowUs, () => `stream ${key}: a subscriber without a parent`);
      }
    }
  }

  /** What a stream's hosts say now: a host is seen only when it is called, and may have ended since. */
  private refresh(stream: string): void {
    const parents = this.parents.get(stream)!;
    for (const host of [...parents.keys()]) {
      const branch = this.nodes.get(host)?.branches().find(({ channel, publisher, version }) => `${channel}/${publisher}/${version}` === stream);
      if (branch === undefined) parents.delete(host);
      else parents.set(host, branch.parent);
    }
  }

  private overdue(sinceUs: number, nowUs: number, what: () => string): void {
    if (!(sinceUs < Infinity)) return;
    this.longestRepairUs = Math.max(this.longestRepairUs, nowUs - sinceUs);
    if (nowUs - sinceUs > this.options.repairUs) this.violate(`${what()} for ${((nowUs - sinceUs) / 1e6).toFixed(3)} s`);
  }
}
