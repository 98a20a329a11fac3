import { type Random, type Timers } from '../base/index.js';
import { Hello, HelloAck, Join, NotHeld, Redirect } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { splitIdentifiers } from './cube/assignment.js';
import { type KnCube } from './cube/kncube.js';
import { type Directory, type Entry } from './directory.js';
import { Holding, holderIn, identifierKey } from './holding.js';
import { type LeaseKeeper } from './lease-keeper.js';
import { type Peer } from './peer.js';
import { type Peers } from './peers.js';
import { NO_RANK } from './stream.js';
import { type HostNumber, MAX_HOST, NO_HOST, type Transport } from './transport.js';

export interface MembershipOptions {
  readonly self: HostNumber;
  readonly cube: KnCube;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly directory: Directory;
  readonly random: Random;
  readonly peers: Peers;
  readonly keeper: LeaseKeeper;
  readonly counters: OverlayCounters;
  readonly leaseUs: number;
  /** Whether this identifier must stay here: that of a publisher. */
  readonly isAnchor: (identifier: number) => boolean;
  /** What it holds has changed. */
  readonly onIdentifiers: () => void;
  /** An identifier has come from `from`. */
  readonly onReceived: (identifier: number, from: HostNumber) => void;
}

/** Questions to the directory under way at once. */
const MAX_QUERIES = 32;
/** Hosts that a newcomer asks before it waits for a heartbeat. */
const MAX_REDIRECTS = 8;

//    vacant ──cas by whoever meets it──▶ held ──cas to another's name──▶ held by the other
//      ▲                                   │                                │
//      └──── the directory: its holder's lease has ended ◀──────────────────┘
//
// An identifier is a key of the directory that goes with its holder's lease. A host acts as holder only of what the directory said is its
// own, and only while by its own clock that lease can't have ended. So there are never two holders, however the network is cut: who can't
// reach the directory can neither take an identifier nor keep one. Messages between hosts (Hello, Handover) only say where to look.

/** Which identifiers this host holds, who holds those next to them, and how they change hands. */
export class Membership {
  readonly holdings: Map<number, Holding>;
  /** No identifiers are asked for any more. */
  leaving: boolean;
  /** Identifiers that the directory is being asked about, and which revision an answer must have to be news: one may have waited until after a later word. */
  private readonly asked: Map<number, number>;
  private redirects: number;
  private beats: number;

  constructor(private readonly options: MembershipOptions) {
    this.holdings = new Map();
    this.leaving = false;
    this.asked = new Map();
    this.redirects = 0;
    this.beats = 0;
  }

  /** Whether this host may act as holder of the identifier now. */
  holds(identifier: number): boolean {
    const holding = this.holdings.get(identifier);
    return holding !== undefined && !holding.giving && this.options.keeper.isValid;
  }

  /** The least of the identifiers that are ours to act for; −1 without any. */
  get first(): number {
    let first = -1;
    for (const { identifier, giving } of this.holdings.values()) if (!giving && (first < 0 || identifier < first)) first = identifier;
    return first;
  }

  /** Hops from the nearest of ours; NO_RANK without any. */
  distanceTo(identifier: number): number {
    let least = NO_RANK;
    for (const holding of this.holdings.values()) if (!holding.giving) least = Math.min(least, this.options.cube.distance(holding.identifier, identifier));
    return least;
  }

  /** Those of ours that are at this distance from an identifier. */
  nearest(identifier: number, distance: number): Holding[] {
    return [...this.holdings.values()].filter((holding) => !holding.giving && this.options.cube.distance(holding.identifier, identifier) === distance);
  }

  /** Starts with what a deployment has laid out: the directory says the same already. */
  form(identifiers: readonly { identifier: number; revision: number }[], holderOf: (identifier: number) => HostNumber): void {
    for (const { identifier, revision } of identifiers) {
      const holding = this.add(identifier, revision);
      for (let port = 0; port < holding.neighbours.length; port++) this.setHolder(holding, port, holderOf(this.options.cube.neighbour(identifier, port)));
      holding.confirmed.fill(1);
    }
    this.options.onIdentifiers();
  }

  /** The lease is gone, and with it all identifiers. */
  fence(): void {
    for (const identifier of [...this.holdings.keys()]) this.lose(identifier);
    this.redirects = 0;
  }

  /** Each heartbeat: looks after what is missing, unconfirmed or dead beside each identifier; joins if it holds none. */
  tick(): void {
    if (!this.options.keeper.isValid) return;
    // Every other time: an answer may take a while.
    if (this.holdings.size === 0 && !this.leaving && this.beats++ % 2 === 0) this.join();
    for (const holding of this.holdings.values()) {
      if (holding.giving) continue;
      for (let port = 0; port < holding.neighbours.length; port++) this.check(holding, port);
    }
  }

  /** A host lives again: what it held before is perhaps nobody's now. It is asked anew. */
  onRestart({ host }: Peer): void {
    for (const { neighbours, confirmed } of this.holdings.values()) {
      for (let port = 0; port < neighbours.length; port++) if (neighbours[port] === host) confirmed[port] = 0;
    }
  }

  private check(holding: Holding, port: number): void {
    const { self, peers, cube } = this.options;
    const host = holding.neighbours[port];
    if (host === self) return;
    if (host === NO_HOST || (peers.suspects > 0 && peers.get(host)!.suspected)) this.resolve(cube.neighbour(holding.identifier, port));
    // One that has not heard of us yet sends no heartbeats, and so is suspected.
    if (host !== NO_HOST && holding.confirmed[port] === 0) this.hello(holding, port);
  }

  // Looking things up.

  /** @internal Asks the directory about an identifier, unless it is being asked already, or about too many; tells nobody if the lease went meanwhile. */
  query(identifier: number, answer: (entry: Entry | undefined) => void): void {
    if (this.asked.size >= MAX_QUERIES || this.asked.has(identifier)) return;
    this.asked.set(identifier, 0);
    const { incarnation } = this.options.peers;
    this.options.directory.get(identifierKey(identifier), (failure, entry) => {
      const isNews = this.isNews(identifier, entry);
      this.asked.delete(identifier);
      if (failure === undefined && isNews && this.isStill(incarnation)) answer(entry);
    });
  }

  /** Whether an answer says how things stand, not how they stood when the question came. */
  private isNews(identifier: number, entry: Entry | undefined): boolean {
    return entry === undefined || entry.revision >= Math.max(this.asked.get(identifier)!, this.holdings.get(identifier)?.revision ?? 0);
  }

  /** @internal Whether the lease is the one that it was then. */
  isStill(incarnation: number): boolean {
    return this.options.peers.incarnation === incarnation && this.options.keeper.isValid;
  }

  /** Finds out who holds an identifier, and takes it if nobody does. */
  private resolve(identifier: number): void {
    const { random, timers, leaseUs } = this.options;
    this.query(identifier, (entry) => {
      if (entry !== undefined) this.learn(entry, identifier);
      else if (!this.leaving) {
        this.asked.set(identifier, 0);
        // All its neighbours may have noticed at once: the first one has it, and not always the same.
        timers.after(random.float() * (leaseUs / 32), () => {
          this.asked.delete(identifier);
          this.take(identifier);
        });
      }
    });
  }

  private take(identifier: number): void {
    const { directory, self, keeper, counters, peers: { incarnation } } = this.options;
    if (!keeper.isValid || this.asked.has(identifier) || this.holdings.has(identifier) || this.leaving) return;
    this.asked.set(identifier, 0);
    directory.cas(identifierKey(identifier), 0, String(self), incarnation, (failure, outcome) => {
      const isNews = this.isNews(identifier, outcome?.entry);
      this.asked.delete(identifier);
      // Without an answer nobody knows whether it is ours now: the next look at it tells.
      if (failure !== undefined || !isNews || !this.isStill(incarnation)) return;
      if (outcome!.swapped) counters.identifiers.taken++;
      if (outcome!.entry !== undefined) this.learn(outcome!.entry, identifier);
    });
  }

  /** @internal What the directory says of an identifier; of one that is ours, perhaps also who gave it, and whom that host took for its neighbours. */
  learn(entry: Entry, identifier: number, from: HostNumber = NO_HOST, hints?: readonly HostNumber[]): void {
    const { self, cube, peers, counters, onReceived } = this.options;
    const host = holderIn(entry);
    if (host === NO_HOST) return;
    const holding = this.holdings.get(identifier);
    if (host === self) {
      // Else it is of an earlier life, whose lease has not ended yet.
      if (entry.lease !== peers.incarnation) return;
      if (holding !== undefined) holding.revision = entry.revision;
      else {
        if (from !== NO_HOST) counters.identifiers.received++;
        this.adopt(identifier, entry.revision, hints);
        if (from !== NO_HOST) onReceived(identifier, from);
      }
      return;
    }
    if (holding !== undefined) this.lose(identifier);
    for (let port = 0; port < cube.degree; port++) {
      const ours = this.holdings.get(cube.neighbour(identifier, port));
      if (ours === undefined) continue;
      const back = cube.oppositePort(port);
      if (ours.neighbours[back] === host) continue;
      this.setHolder(ours, back, host);
      this.hello(ours, back);
    }
  }

  // Coming and going of identifiers.

  private add(identifier: number, revision: number): Holding {
    const { cube, self } = this.options;
    const holding = new Holding(identifier, revision, cube.degree);
    this.holdings.set(identifier, holding);
    for (let port = 0; port < cube.degree; port++) {
      const other = this.holdings.get(cube.neighbour(identifier, port));
      if (other === undefined) continue;
      this.setHolder(holding, port, self);
      this.setHolder(other, cube.oppositePort(port), self);
    }
    return holding;
  }

  private adopt(identifier: number, revision: number, hints?: readonly HostNumber[]): void {
    const holding = this.add(identifier, revision);
    this.redirects = 0;
    for (let port = 0; port < holding.neighbours.length; port++) {
      // What is ours we know better.
      if (holding.neighbours[port] === NO_HOST && hints?.[port] !== undefined && hints[port] <= MAX_HOST && hints[port] !== this.options.self) this.setHolder(holding, port, hints[port]);
      if (holding.neighbours[port] === NO_HOST) this.resolve(this.options.cube.neighbour(identifier, port));
      else this.hello(holding, port);
    }
    this.options.onIdentifiers();
  }

  /** @internal Ours no more, as of `revision`: an answer from before that may still be on its way. */
  remove(holding: Holding, revision: number): void {
    const { cube, self } = this.options;
    this.holdings.delete(holding.identifier);
    if (this.asked.has(holding.identifier)) this.asked.set(holding.identifier, revision);
    for (let port = 0; port < holding.neighbours.length; port++) {
      if (holding.neighbours[port] === self) {
        const other = this.holdings.get(cube.neighbour(holding.identifier, port));
        if (other !== undefined) this.setHolder(other, cube.oppositePort(port), NO_HOST);
      }
      this.setHolder(holding, port, NO_HOST);
    }
    this.options.onIdentifiers();
  }

  /** @internal */
  lose(identifier: number): void {
    const holding = this.holdings.get(identifier)!;
    this.options.counters.identifiers.lost++;
    this.remove(holding, holding.revision + 1);
  }

  private setHolder(holding: Holding, port: number, host: HostNumber): void {
    const { peers, self } = this.options;
    const before = holding.neighbours[port];
    if (before === host) return;
    // The new one first: a host that is both stays known.
    if (host !== NO_HOST && host !== self) peers.need(host);
    if (before !== NO_HOST && before !== self) peers.release(before);
    holding.neighbours[port] = host;
    holding.confirmed[port] = 0;
  }

  // Neighbours make themselves known to each other.

  private hello(holding: Holding, port: number): void {
    const { peers, cube, self, transport: { view } } = this.options;
    if (holding.neighbours[port] === self) return;
    const at = peers.begin(Hello.type, Hello.bytes);
    view.setUint32(at + Hello.mine, holding.identifier);
    view.setUint32(at + Hello.yours, cube.neighbour(holding.identifier, port));
    peers.send(holding.neighbours[port]);
  }

  onHello(peer: Peer, at: number): void {
    const { peers, cube, transport: { view }, counters: { dropped } } = this.options;
    const theirs = view.getUint32(at + Hello.mine);
    const mine = view.getUint32(at + Hello.yours);
    if (theirs >= cube.size || mine >= cube.size) {
      dropped.range++;
      return;
    }
    const port = cube.portTo(mine, theirs);
    if (port < 0) {
      dropped.contradiction++;
      return;
    }
    const holding = this.holdings.get(mine);
    if (holding === undefined || holding.giving) {
      const reply = peers.begin(NotHeld.type, NotHeld.bytes);
      view.setUint32(reply + NotHeld.identifier, mine);
      peers.send(peer.host);
      // Who says that we hold it may know it from the directory: then whoever gave it could not tell us.
      if (holding === undefined) this.resolveOwn(mine);
    } else if (holding.neighbours[port] === peer.host) {
      this.acknowledge(peer.host, mine, theirs);
    } else {
      // Not on its own word: it asks again, and the directory has told us by then.
      this.resolve(theirs);
    }
  }

  private acknowledge(host: HostNumber, mine: number, theirs: number): void {
    const { peers, transport: { view } } = this.options;
    const at = peers.begin(HelloAck.type, HelloAck.bytes);
    view.setUint32(at + HelloAck.mine, mine);
    view.setUint32(at + HelloAck.yours, theirs);
    peers.send(host);
  }

  onHelloAck(peer: Peer, at: number): void {
    const { cube, transport: { view }, counters: { dropped } } = this.options;
    const theirs = view.getUint32(at + HelloAck.mine);
    const mine = view.getUint32(at + HelloAck.yours);
    const holding = this.holdings.get(mine);
    const port = theirs < cube.size && mine < cube.size ? cube.portTo(mine, theirs) : -1;
    if (holding === undefined || port < 0 || holding.neighbours[port] !== peer.host) dropped.unasked++;
    else holding.confirmed[port] = 1;
  }

  onNotHeld(at: number): void {
    const { cube, transport: { view }, counters: { dropped } } = this.options;
    const identifier = view.getUint32(at + NotHeld.identifier);
    if (identifier >= cube.size) dropped.range++;
    // Only of what lies beside ours do we ask.
    else if (this.isBeside(identifier)) this.resolve(identifier);
    else dropped.unasked++;
  }

  private isBeside(identifier: number): boolean {
    const { cube } = this.options;
    for (let port = 0; port < cube.degree; port++) if (this.holdings.has(cube.neighbour(identifier, port))) return true;
    return false;
  }

  /** Looks whether an identifier is ours that we don't know of. */
  private resolveOwn(identifier: number): void {
    this.query(identifier, (entry) => {
      if (entry !== undefined && holderIn(entry) === this.options.self) this.learn(entry, identifier);
    });
  }

  // Joining: a vacant identifier, or some of a host that has several.

  private join(): void {
    const { cube, random, self } = this.options;
    const identifier = random.int(0, cube.size - 1);
    this.redirects = 0;
    this.query(identifier, (entry) => {
      if (this.holdings.size > 0) return;
      if (entry === undefined) this.take(identifier);
      else if (holderIn(entry) === self) this.learn(entry, identifier);
      else this.ask(holderIn(entry));
    });
  }

  private ask(host: HostNumber): void {
    const { peers, self } = this.options;
    if (host > MAX_HOST || host === self) return;
    peers.begin(Join.type, Join.bytes);
    peers.send(host);
  }

  /** A newcomer. Half of what we hold may go to it, but for publishers' identifiers. */
  onJoin(peer: Peer, give: (identifier: number) => void): void {
    const { peers, isAnchor, transport: { view } } = this.options;
    // What is on its way to somebody else is neither spare nor kept.
    const ours = [...this.holdings.values()].filter(({ giving }) => !giving);
    const spare = ours.filter(({ identifier }) => !isAnchor(identifier)).map(({ identifier }) => identifier);
    // What has to stay counts as kept; else one of them must.
    const goes = ours.length > spare.length && spare.length === 1 ? spare : spare.length > 1 ? splitIdentifiers(Int32Array.from(spare)).given : [];
    if (goes.length > 0 && !this.leaving) {
      for (const identifier of goes) give(identifier);
      return;
    }
    // The one that has most, of those nearby.
    let best: Peer | undefined;
    for (const other of peers.active) {
      if (!other.suspected && other !== peer && other.identifiers > Math.max(1, best?.identifiers ?? 0)) best = other;
    }
    const at = peers.begin(Redirect.type, Redirect.bytes);
    view.setUint32(at + Redirect.host, best?.host ?? NO_HOST);
    peers.send(peer.host);
  }

  onRedirect(at: number): void {
    const { transport: { view }, counters: { dropped } } = this.options;
    if (this.holdings.size > 0 || this.leaving) dropped.unasked++;
    else if (this.redirects < MAX_REDIRECTS) {
      this.redirects++;
      this.ask(view.getUint32(at + Redirect.host));
    }
  }
}
