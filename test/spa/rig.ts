// What the tests of agents share: one agent on a card's memory without a card, fed by hand.
import { type FramePool, Region, Watchdog, sandboxTrial } from '../../src/nic/index.js';
import { Agent, type AgentCounters, type AgentOptions, FaultDomain, type FaultDomainOptions, Payloads } from '../../src/spa/index.js';
import { type Came, type Sent } from './script.js';

/** Kinds of agents by where their payloads lie. */
export const WINDOWS = ['trusted', 'shared', 'copy', 'protected'] as const;
export type Window = (typeof WINDOWS)[number];
export const BUDGETS = ['none', 'fuel', 'guard', 'epoch'] as const;

/** The options that make an agent one of a kind; the module is left to the caller. */
export const kind = (window: Window): Pick<AgentOptions, 'window' | 'protect'> =>
  window === 'trusted' ? {} : window === 'protected' ? { window: 'shared', protect: true } : { window };

/** As the contract wants it: each that came in is in one counter. */
export const accounted = (c: AgentCounters): number => c.forwarded + c.passed + c.dropped + c.invalidVerdicts + c.lostInTrap + c.notAdopted + c.suspended;

/** A memory, domains in it, agents in those; virtual time. */
export class Rig {
  nowUs = 0;
  readonly memory: Region;
  readonly domains: FaultDomain[] = [];
  readonly agents: Agent[] = [];
  readonly traps: { cause: string; message: string }[] = [];
  readonly lines: string[] = [];
  private readonly pools = new Map<number, FramePool>();
  private thread: Watchdog | undefined;

  constructor(bytes = 2 ** 24) {
    this.memory = new Region(bytes);
  }

  domain(options: Partial<FaultDomainOptions> = {}): FaultDomain {
    const release = (handle: number): void => {
      this.pools.get(handle >>> 24)!.put(handle);
    };
    const domain = new FaultDomain({ memory: this.memory, poolId: this.domains.length + 1, bufferBytes: 256, buffers: 600, release, ...options });
    this.pools.set(domain.pool.id, domain.pool);
    this.domains.push(domain);
    return domain;
  }

  agent(domain: FaultDomain, options: Omit<AgentOptions, 'name'> & { name?: string }): Agent {
    const agent = new Agent(domain, { nowUs: () => this.nowUs, stepped: true, watchdog: () => (this.thread ??= new Watchdog()) }, {
      name: 'script',
      onTrap: (cause, message) => this.traps.push({ cause, message }),
      onLog: (line) => this.lines.push(line),
      ...options,
    });
    this.agents.push(agent);
    return agent;
  }

  /** A batch in the domain's buffers, which whoever runs it owns. */
  batch(domain: FaultDomain, sent: readonly Sent[], capacity = 512): Payloads {
    const batch = new Payloads(capacity);
    for (const { bytes, meta } of sent) {
      const handle = domain.pool.get();
      if (handle < 0) throw new Error('no buffer left');
      const offset = domain.pool.offsetOf(handle);
      this.memory.u8.set(bytes, offset);
      batch.add(handle, offset, bytes.length, meta, 0);
    }
    return batch;
  }

  /** What lies in a batch, whose buffers go back. */
  take(batch: Payloads): Came[] {
    const came = Array.from({ length: batch.count }, (_, i) => ({
      bytes: [...this.memory.u8.subarray(batch.offset[i], batch.offset[i] + batch.length[i])], meta: batch.meta[i], output: batch.output[i],
    }));
    for (let i = 0; i < batch.count; i++) this.pools.get(batch.handle[i] >>> 24)!.put(batch.handle[i]);
    batch.count = 0;
    return came;
  }

  run(agent: Agent, sent: readonly Sent[]): { out: Came[]; passed: Came[] } {
    const output = new Payloads(512);
    agent.run(this.batch(agent.domain, sent), output);
    return { out: this.take(output), passed: this.take(agent.passed) };
  }

  tick(agent: Agent): Came[] {
    const output = new Payloads(512);
    agent.tick(output);
    return this.take(output);
  }

  /** Closes all, and looks whether all buffers are home. */
  close(t: { equal(found: unknown, wanted: unknown, message: string): unknown }): void {
    for (const agent of this.agents) agent.close();
    for (const { pool } of this.domains) t.equal(pool.available, pool.count, 'all buffers are back');
    this.thread?.close();
  }
}

/** What this machine can do; a test that needs more is skipped by that reason. */
export const lacks = (window: Window, budget: string): string | false => {
  const trial = sandboxTrial();
  if (!trial.window && (window === 'shared' || window === 'protected')) return `no shared window here: ${trial.reason}`;
  if (!trial.guard && (budget === 'guard' || budget === 'epoch')) return `no guard page here: ${trial.reason}`;
  return false;
};

export const payload = (...bytes: number[]): Sent => ({ bytes: Uint8Array.from(bytes), meta: 0 });
