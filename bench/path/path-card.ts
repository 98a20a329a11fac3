// One forwarder behind a card, made anew for each measurement: a tester on the wire sends to it, and takes back what it forwards. The
// engine has a core of its own; the forwarder shares the other with its process or worker, if it has one, and with the background load.
import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from '../../src/host/index.js';
import { Engine, Link, type Nic, Replay, type ReplayOptions } from '../../src/nic/index.js';
import { type AgentOptions } from '../../src/spa/index.js';
import { nowNs } from '../context.js';
import { ENGINE_CPU } from '../cores.js';
import { agentModule } from './agents.js';
import { HEADER_BYTES, udpFrame } from './frames.js';
import { introduce, mtuFor } from './hosts.js';
import { AGENT, batchCount, copyBytes } from './path-agent.js';
import { awaitRest, type During, type Latencies, PayloadCheck, type Throughput } from './path-measures.js';
import { Remote } from './path-remote.js';

const OWN = '198.18.0.1';
const OTHER = '198.18.0.2';
const PORT = 5001;
const OTHER_PORT = 5000;
/** As many frames a look as a host takes. */
const BUDGET = 64;
/** At once: fewer than a card, or the way to a process, holds. */
const VERIFIED = 32;
const PATIENCE_NS = 5e9;
/** For V8 to compile the loops of new queues. */
const WARM_UP_MS = 60;

/** What runs the agent: a sandbox in this thread, or somebody else. */
export type Runner = Pick<AgentOptions, 'window' | 'protect'> | Remote;

class Card {
  readonly engine = new Engine({ cpu: ENGINE_CPU });
  readonly host: Host;
  private readonly closers: (() => void)[] = [];
  private unplug = (): void => undefined;
  private readonly budget: number;
  private readonly agentCopies: () => number;

  constructor(
    private readonly runner: Runner,
    payloadBytes: number,
  ) {
    const mtu = mtuFor(payloadBytes);
    this.host = new Host(this.engine, { agentQueues: 1, interfaces: [{ addresses: [`${OWN}/24`], ipv6: false, nic: { mac: '02:00:00:00:00:01', mtu } }] });
    const remote = runner instanceof Remote;
    this.budget = remote ? batchCount(payloadBytes) : BUDGET;
    this.agentCopies = remote ? this.forwardBy(runner) : this.forwardInSandbox(runner);
  }

  private forwardInSandbox(options: Pick<AgentOptions, 'window' | 'protect'>): () => number {
    const { host } = this;
    const agent = host.openAgent({
      name: AGENT, module: agentModule(AGENT), budget: 'guard', ...options,
      onTrap: (_, message) => {
        throw new Error(message);
      },
    });
    const { queue } = host.openStream({ name: 'path', port: PORT, agents: [agent], outputs: [{ address: OTHER, port: OTHER_PORT }] });
    if (queue === undefined) throw new Error('path: the stream has no queue of its own');
    return () => agent.counters.copiedBytes;
  }

  private forwardBy(remote: Remote): () => number {
    const { host } = this;
    const [iface] = host.interfaces;
    const socket = host.openUdp({
      port: PORT,
      onDatagrams: ({ from, to, u8, offset, length }) => {
        for (let i = from; i < to; i++) remote.add(u8, offset[i], length[i]);
        remote.flush();
      },
    });
    const flow = socket.flow(OTHER, OTHER_PORT);
    remote.onPayload = (u8, offset, length) => {
      const handle = socket.allocate();
      if (handle === -1) return;
      const at = socket.payloadAt(handle);
      this.makeRoom(1);
      copyBytes(socket.u8, at, u8, offset, length);
      remote.copiedBytes += length;
      flow.sendBuffer(handle, at, length);
    };
    remote.onBatch = () => {
      iface.publish();
    };
    this.closers.push(() => {
      remote.onPayload = remote.onBatch = () => undefined;
    });
    return () => remote.copiedBytes;
  }

  /** By this process's software, so far. */
  get copiedBytes(): number {
    return this.host.stack.copiedBytes + this.agentCopies();
  }

  /** Puts it at the other end of the wire, in place of what was there. */
  plug(end: Nic | Replay, pause: boolean): void {
    this.unplug();
    const link = new Link(this.engine, end, this.host.nics[0], { pause });
    this.unplug = () => {
      link.close();
      end.close();
      this.unplug = () => undefined;
    };
    introduce(this.host, OTHER);
  }

  plugTester(payloadBytes: number, options: ReplayOptions): Replay {
    const tester = new Replay(this.engine, { frames: [udpFrame(HEADER_BYTES + payloadBytes)] }, { limit: Number.MAX_SAFE_INTEGER, ...options });
    this.plug(tester, options.timing === 'fastest');
    return tester;
  }

  /** Polls the card for `ms`, at full speed. */
  async pollFor(ms: number): Promise<void> {
    const { runner, host } = this;
    const end = nowNs() + ms * 1e6;
    if (!(runner instanceof Remote)) {
      while (nowNs() < end) {
        for (let i = 0; i < 16; i++) {
          this.makeRoom(2 * BUDGET);
          host.stack.pollCards();
        }
      }
      return;
    }
    while (nowNs() < end) await this.pollOnce(runner);
  }

  /** Waits for the card where it is behind: what it can't take would be lost, and sent in vain. */
  private makeRoom(descriptors: number): void {
    const [iface] = this.host.interfaces;
    const { tx } = iface.pair;
    if (tx.ring.room >= descriptors) return;
    iface.publish();
    const end = nowNs() + PATIENCE_NS;
    while (tx.ring.room < descriptors) {
      if (tx.reclaim() === 0 && nowNs() > end) throw new Error('path: the card takes nothing');
    }
  }

  private async pollOnce(remote: Remote): Promise<void> {
    const [{ driver }] = this.host.interfaces;
    let frames = 1;
    while (remote.hasRoom && frames > 0) frames = driver.poll(this.budget);
    if (!remote.isIdle) await remote.progress();
  }

  /** Serves the card from the event loop, as it interrupts. */
  start(): void {
    this.host.start();
    if (this.runner instanceof Remote) this.runner.listen();
  }

  /** Unplugs the card, and waits until nothing is under way on either side of it. */
  async drain(): Promise<void> {
    this.unplug();
    const [{ driver }] = this.host.interfaces;
    for (let frames = 1; frames > 0; ) {
      this.makeRoom(2 * BUDGET);
      frames = driver.poll(this.budget);
      await this.settle();
    }
    this.makeRoom(this.host.interfaces[0].pair.tx.ring.size);
  }

  /** Waits for what is under way elsewhere. */
  private async settle(): Promise<void> {
    const { runner } = this;
    while (runner instanceof Remote && !runner.isIdle) await runner.progress();
  }

  async close(): Promise<void> {
    try {
      // The next card shall not get what this one has sent.
      await this.settle();
    } finally {
      this.unplug();
      for (const close of this.closers) close();
      this.host.stop();
    }
  }
}

/** @throws in one line unless all payloads come back as they were */
export async function verifyCard(name: string, runner: Runner, payloadBytes: number): Promise<void> {
  const card = new Card(runner, payloadBytes);
  const peer = new Host(card.engine, { seed: 2, interfaces: [{ addresses: [`${OTHER}/24`], ipv6: false, nic: { mac: '02:00:00:00:00:02', mtu: mtuFor(payloadBytes) } }] });
  try {
    card.plug(peer.nics[0], true);
    introduce(peer, OWN, 0x020000000001);
    const check = new PayloadCheck(name, payloadBytes, VERIFIED);
    const socket = peer.openUdp({
      port: OTHER_PORT,
      onDatagrams: (batch) => {
        for (let i = batch.from; i < batch.to; i++) check.take(batch.payload(i));
      },
    });
    card.start();
    peer.start();
    for (let i = 0; i < check.count; i++) socket.send(check.payload(i), PORT, OWN);
    await check.all();
  } finally {
    await card.close();
    peer.stop();
  }
}

/** What `tester` sends for so long and `sink` gets. */
async function arrivals(tester: Replay, sink: Replay, sent: number, ms: number): Promise<Latencies> {
  tester.start();
  await sleep(ms);
  await awaitRest(() => sink.counters().returned === sent, sleep);
  return { sent, ns: sink.latenciesNs() };
}

/** The instrument alone: from a tester over a wire to another one. */
export async function wireLatencies(payloadBytes: number, framesPerSecond: number, ms: number, during: During): Promise<Latencies> {
  const engine = new Engine({ cpu: ENGINE_CPU });
  const sent = Math.round((framesPerSecond * ms) / 1e3);
  const tester = new Replay(engine, { frames: [udpFrame(HEADER_BYTES + payloadBytes)] }, { timing: 'rate', framesPerSecond, limit: sent, stamp: 'due' });
  const sink = new Replay(engine, { frames: [] }, { stamp: 'due', latencies: sent });
  const link = new Link(engine, tester, sink);
  try {
    return await during(() => arrivals(tester, sink, sent, ms));
  } finally {
    link.close();
    tester.close();
    sink.close();
  }
}

export async function cardThroughput(runner: Runner, payloadBytes: number, ms: number, during: During): Promise<Throughput> {
  const card = new Card(runner, payloadBytes);
  try {
    const tester = card.plugTester(payloadBytes, { timing: 'fastest' });
    tester.start();
    await card.pollFor(WARM_UP_MS);
    return await during(async () => {
      await card.pollFor(ms / 8);
      const before = tester.counters().returned;
      const copied = card.copiedBytes;
      const start = nowNs();
      await card.pollFor(ms);
      const returned = tester.counters().returned - before;
      return { perSecond: (returned / (nowNs() - start)) * 1e9, copiedBytes: returned === 0 ? 0 : (card.copiedBytes - copied) / returned };
    });
  } finally {
    await card.close();
  }
}

export async function cardLatencies(runner: Runner, payloadBytes: number, framesPerSecond: number, ms: number, during: During): Promise<Latencies> {
  const card = new Card(runner, payloadBytes);
  try {
    const warmer = card.plugTester(payloadBytes, { timing: 'fastest' });
    warmer.start();
    await card.pollFor(WARM_UP_MS);
    warmer.stop();
    await card.drain();
    const sent = Math.round((framesPerSecond * ms) / 1e3);
    const tester = card.plugTester(payloadBytes, { timing: 'rate', framesPerSecond, limit: sent, stamp: 'due', latencies: sent });
    card.start();
    return await during(() => arrivals(tester, tester, sent, ms));
  } finally {
    await card.close();
  }
}
