// The hostile modules in a host, one after the other, with a good stream beside them: in virtual time with fuel, in real time with a guard.
import { type Binding } from '../../src/upcall/index.js';
import { type Agent } from '../../src/spa/index.js';
import { type Hostile } from '../spa/hostile/corpus.js';
import { CLIENT, SINK, World, example, numbered, numberOf } from './rig.js';

const PAYLOADS = 3;
/** From its words to the host's. */
const CAUSES: Record<string, readonly string[]> = { budget: ['budget'], stack: ['stack', 'budget'], abort: ['abort'] };

/** What went otherwise than the corpus expects; empty if nothing did. */
export type Complaint = string;

export class HostileWorld {
  readonly world: World;
  private readonly stepped: boolean;
  private sent = 0;
  private readonly domain;

  constructor(stepped: boolean) {
    this.stepped = stepped;
    this.world = new World({ stepped });
    const { server } = this.world;
    if (stepped) this.world.settle();
    this.domain = server.openDomain();
  }

  async start(): Promise<this> {
    const { server } = this.world;
    if (!this.stepped) await this.world.start();
    const good = server.openAgent({ name: 'good', module: example('pass'), budgetUs: 1e6 });
    server.openStream({ name: 'good', port: 5000, agents: [good], outputs: [{ address: CLIENT, port: SINK }] });
    // Neighbours get to know each other.
    await this.exchange();
    return this;
  }

  /** Lets what was sent arrive. */
  private async pass(done: () => boolean): Promise<void> {
    if (this.stepped) {
      this.world.step(5e3);
      return;
    }
    const until = Date.now() + 30_000;
    while (!done() && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Known payloads to the good stream; says what did not come back as it was. */
  private async exchange(): Promise<Complaint[]> {
    const { world } = this;
    const from = this.sent;
    this.sent += PAYLOADS;
    world.take();
    for (let i = from; i < this.sent; i++) world.send(5000, numbered(i, 200));
    await this.pass(() => world.arrivals.length >= PAYLOADS);
    const got = world.arrivals.filter(({ bytes }) => bytes.length === 200 && Buffer.from(bytes).equals(numbered(numberOf(bytes), 200)));
    const numbers = got.map(({ bytes }) => numberOf(bytes)).join();
    const expected = Array.from({ length: PAYLOADS }, (_, i) => from + i).join();
    return numbers === expected ? [] : [`the good stream got ${numbers}, expected ${expected}`];
  }

  /** One module's life, from loading to closing. */
  async run({ name, bytes, expected }: Hostile): Promise<Complaint[]> {
    const { server } = this.world;
    const complaints: Complaint[] = [];
    const traps: { cause: string; message: string }[] = [];
    const free = this.domain.pool.available;
    let agent: Agent | undefined;
    let stream: Binding | undefined;
    const startTrap = expected.kind === 'trap' && (expected.in === 'start' || expected.in === 'init');
    const refused = expected.kind === 'refused' || startTrap;
    try {
      agent = server.openAgent({
        name, module: bytes, domain: this.domain, fuel: 3_000_000, budgetUs: 20_000, maxMemoryPages: 1024, onTrap: (cause, message) => traps.push({ cause, message }),
      });
    } catch (error) {
      const { message } = error as Error;
      if (!message.startsWith(`agent ${name}: `) || message.includes('\n')) complaints.push(`no line with its name: ${message}`);
      if (!refused && !/refuses its configuration/.test(message)) complaints.push(`refused: ${message}`);
      if (expected.kind === 'refused' && !expected.message.test(message)) complaints.push(`refused otherwise: ${message}`);
      if (startTrap && expected.trap === 'budget' && !this.stepped && !/budget/.test(message)) complaints.push(`not its budget: ${message}`);
    }
    if (agent !== undefined) {
      if (refused) complaints.push('was taken');
      // Some have no output that would make sense: they go to a port where nobody listens.
      stream = server.openStream({ name, port: 5001, agents: [agent], outputs: [{ address: CLIENT, port: 9 }], onPayload: () => undefined, tickUs: 1000 });
      const running = agent;
      const done = (): boolean => traps.length > 0 || running.counters.payloads >= PAYLOADS;
      for (let i = 0; i < PAYLOADS; i++) this.world.send(5001, numbered(i, 100));
      await this.pass(done);
      // One whose timer traps may be on its pause after that, or still be starting, when they come.
      const paused = expected.kind === 'trap' && expected.in === 'tick' && traps.length > 0;
      if (agent.counters.payloads === 0 && !paused) complaints.push('got no payload');
      agent.checkpoint();
      if (expected.kind === 'trap' && expected.in === 'tick') await this.pass(() => traps.length > 0);
    }
    complaints.push(...(await this.exchange()));
    for (const { message } of traps) if (!message.startsWith(`agent ${name}: `) || message.includes('\n')) complaints.push(`no line with its name: ${message}`);
    if (expected.kind === 'trap' && !startTrap && expected.in !== 'restore') {
      const causes = expected.in === 'save' ? ['fault'] : CAUSES[expected.trap] ?? ['fault'];
      // Without a loop it may be over within the time that it has.
      const mayEnd = !this.stepped && name.endsWith('-straight');
      if (!mayEnd && !traps.some(({ cause }) => causes.includes(cause))) complaints.push(`did not trap by ${causes.join(' or ')}: ${JSON.stringify(traps)}`);
    }
    // A lot of harmless work may take too long, in real time.
    if (expected.kind === 'harmless' && traps.some(({ cause, message }) => !/can't (save its state|start anew)/.test(message) && !(cause === 'budget' && !this.stepped))) complaints.push(`trapped: ${JSON.stringify(traps)}`);
    if (stream !== undefined) server.closeStream(stream);
    agent?.close();
    for (const { tx } of server.interfaces[0].driver.pairs) tx.reclaim();
    await this.pass(() => {
      for (const { tx } of server.interfaces[0].driver.pairs) tx.reclaim();
      return this.domain.pool.available === free;
    });
    for (const { tx } of server.interfaces[0].driver.pairs) tx.reclaim();
    if (this.domain.pool.available !== free) complaints.push(`${free - this.domain.pool.available} buffers are missing`);
    return complaints;
  }
}
