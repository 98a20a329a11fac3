import { type Address, invalid } from '../base/index.js';
import { type FramePool, type Memory } from '../nic/index.js';
import { Abi, type Agent, type FaultDomain, Payloads } from '../spa/index.js';
import { type DatagramBatch, type Stack, type UdpFlow, type UdpSocket } from '../stack/index.js';
import { Senders } from './senders.js';

export interface StreamOptions {
  /** For messages and traces. */
  name: string;
  /** 1 to 65535: what comes there is the stream's. */
  port: number;
  /** Of this host's; default: all of them, and the first one for a queue of its own. */
  address?: string;
  /** One after the other: what the one forwards or emits comes to the next. They are not closed with the stream. */
  agents: readonly Agent[];
  /** Where to, what the last one forwards or emits. */
  outputs?: readonly StreamOutput[];
  /** Gets what an agent passes: bytes [offset, offset + length) of `u8`, until it returns, from the sender of that number. */
  onPayload?: (u8: Uint8Array, offset: number, length: number, meta: number) => void;
  /** Between two calls of the agents' timers; default: not called. */
  tickUs?: number;
}

export interface StreamOutput {
  address: string;
  port: number;
}

export interface StreamCounters {
  /** Payloads for the first agent. */
  received: number;
  /** To an output; counted once for each. */
  sent: number;
  /** Not sent: no room, no route, no such output. */
  sendDropped: number;
  /** Were to wait for the agents, and too many did so already. */
  queueFull: number;
  /** Had to be copied to come into reach of the first agent: on the long way, of another card. */
  adopted: number;
  /** Could not be: no buffer was free, or it is longer than one. */
  notAdopted: number;
  adoptedBytes: number;
}

/** Room for a batch, and for what its agents emit besides. */
const BATCH_PAYLOADS = 2 * Abi.maxRecords;

/**
 * A flow of payloads through its agents:
 *
 *     datagrams ─▶ input ─▶ agent ─▶ … ─▶ agent ─▶ outputs
 *                             └─ PASS ─▶ onPayload
 *
 * Whoever has the payloads owns their buffers, up to the outputs, which give them to the card.
 */
export class Stream {
  readonly name: string;
  readonly socket: UdpSocket;
  readonly counters: StreamCounters = { received: 0, sent: 0, sendDropped: 0, queueFull: 0, notAdopted: 0, adopted: 0, adoptedBytes: 0 };
  readonly senders = new Senders();
  /** Instructions that agents used since this was set to 0, where they are counted. */
  usedFuel = 0;
  /** Whether payloads wait for run() rather than being run as they come. */
  deferred = false;
  /** Told when the first one does. */
  onWaiting: () => void = () => undefined;
  closed = false;
  /** Payloads are on their way through the agents. */
  running = false;
  private readonly domain: FaultDomain;
  private readonly flows: readonly UdpFlow[];
  private input = new Payloads(BATCH_PAYLOADS);
  private output = new Payloads(BATCH_PAYLOADS);

  constructor(
    private readonly stack: Stack,
    readonly options: StreamOptions,
  ) {
    const { name, port, address, agents, outputs = [], tickUs } = options;
    if (agents.length === 0) throw invalid('agents', agents, 'at least one');
    for (const { name, domain } of agents) {
      if (domain.memory !== agents[0].domain.memory) throw invalid('agents', name, `all of one card: ${agents[0].name} is another's`);
    }
    if (tickUs !== undefined && !(tickUs >= 100)) throw invalid('tickUs', tickUs, 'at least 100');
    this.name = name;
    this.domain = agents[0].domain;
    this.socket = stack.openUdp({ port, address, onDatagrams: this.onDatagrams });
    try {
      this.flows = outputs.map((output) => this.socket.flow(output.address, output.port));
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /** The address whose datagrams could have a queue of their own; undefined if none of this host's is in use. */
  get localAddress(): Address | undefined {
    if (this.socket.localAddress !== undefined) return this.socket.localAddress;
    const inUse = this.stack.interfaces.flatMap((i) => i.addresses).filter(({ state, address }) => state === 'preferred' && !address.isLinkLocal);
    return (inUse.find(({ address }) => address.family === 4) ?? inUse[0])?.address;
  }

  /** Of the first agent: where it wants its payloads. */
  get window(): 'trusted' | 'shared' | 'copy' {
    return this.options.agents[0].window;
  }

  get memory(): Memory {
    return this.domain.memory;
  }

  get pool(): FramePool {
    return this.domain.pool;
  }

  /** Until when the first agent is left alone (Agent.pausedUntilUs). */
  get pausedUntilUs(): number {
    return this.options.agents[0].pausedUntilUs;
  }

  private readonly onDatagrams = (batch: DatagramBatch): void => {
    const { memory } = this.domain;
    const waited = this.input.count;
    for (let i = batch.from; i < batch.to; i++) {
      const { input, counters } = this;
      counters.received++;
      if (input.count >= Abi.maxRecords) {
        if (this.deferred) {
          counters.queueFull++;
          continue;
        }
        this.run();
        if (this.closed) return;
      }
      const meta = this.senders.numberOf(batch, i);
      if (batch.memory !== memory || batch.handle[i] === -1) this.adopt(batch, i, meta);
      else {
        const { offset, length } = batch;
        input.add(batch.take(i), offset[i], length[i], meta, 0);
      }
    }
    if (!this.deferred) this.run();
    else if (waited === 0 && this.input.count > 0) this.onWaiting();
  };

  /** A payload that lies where the agents' card can't reach it. */
  private adopt(batch: DatagramBatch, i: number, meta: number): void {
    const { memory, pool } = this.domain;
    const length = batch.length[i];
    const handle = length > pool.frameBytes ? -1 : pool.get();
    if (handle === -1) {
      this.counters.notAdopted++;
      return;
    }
    const offset = pool.offsetOf(handle);
    memory.copyIn(offset, batch.payload(i));
    this.stack.copied(length);
    this.counters.adopted++;
    this.counters.adoptedBytes += length;
    this.input.add(handle, offset, length, meta, 0);
  }

  /** Payloads that wait. */
  get waiting(): number {
    return this.input.count;
  }

  /** Takes what is there through the agents, and what comes of it to the outputs. */
  run(): void {
    const { agents } = this.options;
    this.running = true;
    try {
      for (let i = 0; i < agents.length; i++) this.step(agents[i], false);
      this.sendAll();
    } finally {
      // Of a handler that threw.
      if (this.input.count > 0) this.discard();
      this.running = false;
    }
  }

  /** As run(), for the first `most` of what waits. */
  runSome(most: number): void {
    const waiting = this.input;
    if (waiting.count <= most) {
      this.run();
      return;
    }
    const some = this.ahead;
    for (let i = 0; i < most; i++) some.add(waiting.handle[i], waiting.offset[i], waiting.length[i], waiting.meta[i], waiting.output[i]);
    waiting.count -= most;
    waiting.moveUp(most, waiting.count);
    this.input = some;
    try {
      this.run();
    } finally {
      this.giveBackTo(waiting);
    }
  }

  /** Gives back the first `most` of what waits. Returns how many they were. */
  drop(most: number): number {
    const { input } = this;
    const dropped = Math.min(most, input.count);
    for (let i = 0; i < dropped; i++) this.domain.release(input.handle[i]);
    input.count -= dropped;
    input.moveUp(dropped, input.count);
    return dropped;
  }

  /** The agents' timers; what one emits goes through those behind it. */
  tick(): void {
    const { agents } = this.options;
    // What waits for run() must go on waiting.
    const waiting = this.input;
    this.running = true;
    try {
      for (let i = 0; i < agents.length; i++) {
        if (!agents[i].hasTick) continue;
        this.input = this.ahead;
        this.step(agents[i], true);
        for (let k = i + 1; k < agents.length; k++) this.step(agents[k], false);
        this.sendAll();
        this.ahead = this.input;
      }
    } finally {
      if (this.input !== waiting) this.giveBackTo(waiting);
      this.running = false;
    }
  }

  /** After what went ahead of those that wait, however it ended. */
  private giveBackTo(waiting: Payloads): void {
    this.discard();
    this.ahead = this.input;
    this.input = waiting;
    if (this.closed) this.discard();
  }

  /** In place of `input` while that waits. */
  private ahead = new Payloads(BATCH_PAYLOADS);

  private step(agent: Agent, tick: boolean): void {
    const { input, output } = this;
    output.count = 0;
    if (tick) agent.tick(output);
    else if (input.count > 0) agent.run(input, output);
    else return;
    this.usedFuel += agent.usedFuel;
    this.input = output;
    this.output = input;
    if (agent.passed.count > 0) this.deliver(agent.passed);
  }

  private deliver(passed: Payloads): void {
    const { u8 } = this.domain.memory;
    const { onPayload } = this.options;
    let i = 0;
    try {
      for (; i < passed.count; i++) {
        if (!this.closed) onPayload?.(u8, passed.offset[i], passed.length[i], passed.meta[i]);
        this.domain.release(passed.handle[i]);
      }
    } finally {
      for (; i < passed.count; i++) this.domain.release(passed.handle[i]);
      passed.count = 0;
    }
  }

  private sendAll(): void {
    if (this.closed) return this.discard();
    const { input, flows } = this;
    const { handle, offset, length, output, count } = input;
    input.count = 0;
    if (flows.length === 1) {
      // Most streams: one output, whatever the number.
      const [flow] = flows;
      for (let i = 0; i < count; i++) {
        if (output[i] > 1) this.unsent(handle[i]);
        else this.count(flow.sendBuffer(handle[i], offset[i], length[i]) === 'sent');
      }
      return;
    }
    for (let i = 0; i < count; i++) {
      const only = output[i];
      if (only > flows.length || flows.length === 0) this.unsent(handle[i]);
      else if (only > 0) this.count(flows[only - 1].sendBuffer(handle[i], offset[i], length[i]) === 'sent');
      else this.sendToAll(handle[i], offset[i], length[i]);
    }
  }

  private sendToAll(handle: number, offset: number, length: number): void {
    const { flows } = this;
    for (let i = 1; i < flows.length; i++) this.count(flows[i].sendShared(handle, offset, length) === 'sent');
    this.count(flows[0].sendBuffer(handle, offset, length) === 'sent');
  }

  private count(sent: boolean): void {
    if (sent) this.counters.sent++;
    else this.counters.sendDropped++;
  }

  private unsent(handle: number): void {
    this.counters.sendDropped++;
    this.domain.release(handle);
  }

  /** Gives back what waits, and the port. */
  close(): void {
    this.discard();
    this.closed = true;
    this.socket.close();
  }

  private discard(): void {
    const { handle, count } = this.input;
    for (let i = 0; i < count; i++) this.domain.release(handle[i]);
    this.input.count = 0;
  }
}
