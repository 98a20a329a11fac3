// Agents for the benches: compiled ones by name, hosts that send what a tester sends through one, and agents on their own.
import { readFileSync } from 'node:fs';
import { Host } from '../../src/host/index.js';
import { Engine, Link, Region, Replay, type Watchdog } from '../../src/nic/index.js';
import { Agent, type BudgetKind, FaultDomain, Payloads } from '../../src/spa/index.js';
import { nowNs } from '../context.js';
import { udpFrame } from './frames.js';
import { introduce } from './hosts.js';

/** One of examples/agents. */
export function agentModule(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../../agents/${name}.wasm`, import.meta.url)));
}

export interface Variant {
  window: 'shared' | 'copy';
  budget?: BudgetKind;
  protect?: boolean;
}

/** An agent without a card: its own region, whose payloads go round and round. */
export class LoneAgent {
  readonly agent: Agent;
  private input: Payloads;
  private output = new Payloads(256);
  private readonly lengths: Int32Array;

  constructor(module: string, { window, budget = 'guard', protect = false }: Variant, watchdog: Watchdog, payloads: number, payloadBytes: number) {
    const region = new Region(2 ** 21);
    const domain = new FaultDomain({ memory: region, poolId: 0, bufferBytes: Math.max(payloadBytes, 1472), buffers: payloads + 64 });
    this.agent = new Agent(domain, { nowUs: () => nowNs() / 1e3, stepped: false, watchdog: () => watchdog }, {
      name: 'bench', module: agentModule(module), window, budget, protect,
      onTrap: (_, message) => {
        throw new Error(message);
      },
    });
    this.input = new Payloads(256);
    this.lengths = new Int32Array(payloads).fill(payloadBytes);
    for (let i = 0; i < payloads; i++) {
      const handle = domain.pool.get();
      this.input.add(handle, domain.pool.offsetOf(handle), payloadBytes, 0, 0);
    }
  }

  /** For agents that look into their payloads. */
  fill(bytes: Uint8Array): void {
    for (let i = 0; i < this.input.count; i++) this.agent.domain.memory.u8.set(bytes, this.input.offset[i]);
  }

  /** One upcall with all payloads, which are as they were at first (in number and length) afterwards. */
  turn(): void {
    this.output.count = 0;
    this.agent.run(this.input, this.output);
    const { input } = this;
    this.input = this.output;
    this.output = input;
    this.input.length.set(this.lengths);
  }

  /** ns an upcall, over about `ms`. */
  cost(ms: number): number {
    let turns = 0;
    const start = nowNs();
    let now = start;
    for (; now < start + ms * 1e6; now = nowNs()) for (let i = 0; i < 64; i++, turns++) this.turn();
    return (now - start) / turns;
  }

  close(): void {
    this.agent.close();
  }
}

export type Way = 'handler' | Variant;

/**
 * What forwarding costs this thread, ns a frame of `frameBytes`: a stepped engine brings frames and takes them away, unmeasured; the
 * host forwards them in between, by a handler that answers from the buffer they came in, or through the pass-through agent.
 */
export function forwardCost(way: Way, frameBytes: number, rounds: number): number {
  const engine = new Engine({ stepped: true });
  const host = new Host(engine, {
    agentQueues: 1,
    interfaces: [{ addresses: ['198.18.0.1/24'], ipv6: false, nic: { mac: '02:00:00:00:00:01' } }],
  });
  engine.step(1);
  let sent = (): boolean => true;
  const output = { address: '198.18.0.2', port: 5000 };
  if (way === 'handler') {
    host.openUdp({
      port: 5001,
      onDatagrams: (batch, socket) => {
        for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
      },
    });
  } else {
    // The agent's budget as in real time: the engine is stepped for this measurement only.
    const agent = host.openAgent({ name: 'pass', module: agentModule('pass'), budget: 'guard', ...way });
    const { stream } = host.openStream({ name: 'bench', port: 5001, agents: [agent], outputs: [output] });
    sent = () => stream.counters.sent > 0;
  }
  const tester = new Replay(engine, { frames: [udpFrame(frameBytes)] }, { timing: 'fastest', limit: Number.MAX_SAFE_INTEGER });
  const link = new Link(engine, tester, host.nics[0], { pause: true });
  introduce(host, output.address);
  tester.start();
  let ns = 0;
  let frames = 0;
  for (let round = -rounds; round < rounds; round++) {
    if (round === 0) frames = ns = 0;
    engine.step(engine.nowUs());
    const start = nowNs();
    let n: number;
    do frames += n = host.stack.pollCards();
    while (n > 0);
    ns += nowNs() - start;
  }
  tester.stop();
  link.close();
  host.stop();
  if (!sent()) throw new Error('nothing went through the agent');
  return ns / frames;
}
