// Streams of a host in virtual time: pipelines, trapping agents, agents replaced under load, closing, refusals.
import t from 'tap';
import { I } from '../spa/wasm/builder.js';
import { agent as module } from '../spa/hostile/corpus.js';
import { lacks } from '../spa/rig.js';
import { refuses } from '../nic/rig.js';
import { type FaultDomain, type TrustedAgent, Verdict } from '../../src/spa/index.js';
import { CLIENT, SINK, World, example, numbered, numberOf } from './rig.js';

const OUT = [{ address: CLIENT, port: SINK }];
const pass = example('pass');
const upTo = (n: number, from = 0): Uint8Array[] => Array.from({ length: n }, (_, i) => numbered(from + i));
const forward = (length: number): number => (length << 8) | Verdict.forward;
/** In each payload's second word, how many agents it has come through. */
const hop = (): TrustedAgent => ({
  process: (u8, ptr, length) => {
    u8[ptr + 7]++;
    return forward(length);
  },
});

t.test('pipelines: no copy within a domain, one from domain to domain, order kept', async (t) => {
  for (const [what, mode] of [['in the interrupt', 'inline'], ['as jobs', 'job']] as const) {
    for (const domains of [1, 2, 3]) {
      for (const trusted of [true, false]) {
        await t.test(`${domains} domains, ${trusted ? 'trusted' : 'wasm'}, ${what}`, { skip: lacks('shared', 'fuel') }, (t) => {
          const world = new World().settle();
          const { server } = world;
          const shared = Array.from({ length: domains }, () => server.openDomain());
          const agents = Array.from({ length: 3 }, (_, i) => server.openAgent({ name: `agent ${i}`, module: trusted ? hop() : pass, domain: shared[i % domains], ...(trusted ? {} : { window: 'shared' as const }) }));
          const before = shared.map(({ pool }) => pool.available);
          const stream = server.openStream({ name: 's', port: 5000, agents, outputs: OUT, mode, ...(mode === 'job' ? { server: { budgetUs: 1000, periodUs: 10_000 } } : {}) });
          const copied = server.stack.copiedBytes;
          for (let k = 0; k < 10; k++) world.send(5000, ...upTo(20, 20 * k)).step();
          const got = world.take();
          t.same(got.map(numberOf), Array.from({ length: 200 }, (_, i) => i), 'all, in order');
          t.ok(got.every((bytes) => bytes[7] === ((numbered(numberOf(bytes))[7] + (trusted ? 3 : 0)) & 255)));
          t.same(agents.map(({ counters }) => counters.copiedBytes), agents.map((_, i) => (domains > 1 && i > 0 ? 200 * 64 : 0)));
          t.equal(server.stack.copiedBytes, copied, 'nor by the stack');
          t.equal(stream.stream.counters.adopted, 0);
          t.equal(stream.stream.counters.received, 200);
          t.equal(stream.stream.counters.sent, 200);
          server.closeStream(stream);
          for (const { tx } of server.interfaces[0].driver.pairs) tx.reclaim();
          t.same(shared.map(({ pool }) => pool.available), before, 'all buffers are back');
          world.close();
          t.end();
        });
      }
    }
  }
});

t.test('PASS goes to the host, whichever agent says it', (t) => {
  const world = new World().settle();
  const { server } = world;
  const got: [number, number][] = [];
  const odd = (n: number): TrustedAgent => ({ process: (u8, ptr, length) => (u8[ptr + 3] % 4 === n ? Verdict.pass : forward(length)) });
  const agents = [0, 1, 2].map((n) => server.openAgent({ name: `agent ${n}`, module: odd(n) }));
  server.openStream({ name: 's', port: 5000, agents, outputs: OUT, onPayload: (u8, offset, length, meta) => got.push([numberOf(u8.subarray(offset, offset + length)), meta]) });
  world.send(5000, ...upTo(40)).step();
  t.same(world.take().map(numberOf), Array.from({ length: 10 }, (_, i) => 4 * i + 3));
  t.same(got.sort((a, b) => a[0] - b[0]), Array.from({ length: 40 }, (_, i) => i).filter((i) => i % 4 !== 3).map((i) => [i, 0]));
  world.close();
  t.end();
});

t.test('an agent that keeps trapping: its queue masked, drops at the card, no processor time; others do not notice', (t) => {
  const world = new World().settle();
  const { server } = world;
  const traps: number[] = [];
  const bad = server.openAgent({ name: 'bad', module: module({ process: I.unreachable }), onTrap: () => traps.push(world.nowUs) });
  const good = server.openAgent({ name: 'good', module: pass });
  const share = { budgetUs: 1000, periodUs: 10_000, jobUs: 500 };
  const ill = server.openStream({ name: 'ill', port: 5001, agents: [bad], outputs: OUT, server: share, mode: 'job' });
  const well = server.openStream({ name: 'well', port: 5000, agents: [good], outputs: OUT, server: share, mode: 'job' });
  let sent = 0;
  let paused = 0;
  let asleep = false;
  let beforeUs = 0;
  for (let k = 0; k < 1000; k++) {
    world.send(5001, ...upTo(5)).send(5000, numbered(k)).step(300);
    const { usedUs } = ill.server!.counters;
    if (asleep) {
      paused++;
      t.equal(usedUs, beforeUs, 'nothing is spent on it');
    }
    asleep = bad.pausedUntilUs > world.nowUs + 1000;
    beforeUs = usedUs;
    world.step(700);
    sent += 5;
  }
  t.same(world.take().map(numberOf), Array.from({ length: 1000 }, (_, i) => i));
  t.ok(paused > 900, `${paused} ms left alone`);
  t.ok(traps.length < 14, `${traps.length} traps`);
  const gaps = traps.slice(1).map((at, i) => at - traps[i]);
  gaps.slice(1).forEach((gap, i) => t.ok(gap >= 2e3 * 2 ** i, `left alone for ${gap} µs`));
  const own = ill.queue!.pair.index;
  const { dropNoBuffer } = server.nics[0].counters().queues[2 * own];
  t.ok(dropNoBuffer > 0);
  t.equal(bad.counters.suspended, 0);
  t.equal(bad.counters.lostInTrap, ill.stream.counters.received);
  t.equal(ill.stream.counters.received + dropNoBuffer + ill.queue!.pair.rx.ring.used(), sent, 'each is accounted for');
  t.equal(well.server!.counters.missed, 0);
  world.close();
  t.end();
});

t.test('replaced under load: no payload lost, state goes along, a refusal changes nothing', (t) => {
  const world = new World().settle();
  const { server } = world;
  const counting = (): TrustedAgent & { n: number } => ({
    n: 0,
    process(u8, ptr, length) {
      new DataView(u8.buffer, u8.byteOffset).setUint32(ptr + 4, this.n++);
      return forward(length);
    },
    save() {
      return Uint8Array.from(new Uint8Array(Int32Array.of(this.n).buffer));
    },
    restore(state) {
      [this.n] = new Int32Array(state.slice().buffer);
    },
  });
  const agent = server.openAgent({ name: 'counting', module: counting() });
  server.openStream({ name: 's', port: 5000, agents: [agent], outputs: OUT, server: { budgetUs: 2000, periodUs: 10_000 }, mode: 'job' });
  for (let k = 0; k < 100; k++) {
    world.send(5000, ...upTo(10, 10 * k)).step(250);
    if (k % 7 === 3) agent.replace({ module: counting() });
    if (k % 7 === 5) t.throws(() => { agent.replace({ module: pass.slice(0, 50) }); }, { message: /^agent counting: / });
  }
  const got = world.step(1e5).take();
  t.same(got.map(numberOf), Array.from({ length: 1000 }, (_, i) => i));
  t.same(got.map((bytes) => new DataView(bytes.buffer).getUint32(4)), Array.from({ length: 1000 }, (_, i) => i), 'it never began again');
  world.close();
  t.end();
});

t.test('closed by its own handler, in the midst of a batch', async (t) => {
  for (const mode of ['inline', 'job'] as const) {
    for (const queues of [0, 4]) {
      await t.test(`${mode}, ${queues} queues`, (t) => {
        const world = new World({ agentQueues: queues }).settle();
        const { server } = world;
        const agent = server.openAgent({ name: 'pass', module: { process: () => Verdict.pass } });
        const before = agent.domain.pool.available;
        const open = () => server.openStream({ name: 's', port: 5000, agents: [agent], onPayload, mode, ...(mode === 'job' ? { server: { budgetUs: 1000, periodUs: 10_000 } } : {}) });
        let got = 0;
        const onPayload = (): void => {
          if (++got % 3 === 0) server.closeStream(stream);
        };
        let stream = open();
        for (let k = 1; k <= 10; k++) {
          world.send(5000, ...upTo(10)).step();
          t.equal(got, 3 * k, 'none after the close');
          t.equal(agent.domain.pool.available, before, 'all buffers are back');
          world.step(2e4);
          stream = open();
        }
        world.close();
        t.end();
      });
    }
  }
});

t.test('a handler that throws', (t) => {
  const world = new World().settle();
  const { server } = world;
  const agent = server.openAgent({ name: 'pass', module: { process: () => Verdict.pass } });
  const { pool } = agent.domain;
  const before = pool.available;
  let got = 0;
  const stream = server.openStream({ name: 's', port: 5000, agents: [agent], onPayload: () => {
    if (++got === 2) throw new Error('of the handler');
  } });
  t.throws(() => world.send(5000, ...upTo(5)).step(), { message: 'of the handler' });
  world.step();
  world.send(5000, ...upTo(5)).step();
  t.equal(got, 7, 'the next batch comes');
  server.closeStream(stream);
  t.equal(pool.available, before, 'no buffer is lost');
  world.close();
  t.end();
});

t.test('timers of agents: one job of their own, however late', (t) => {
  const world = new World().settle();
  const { server } = world;
  let ticks = 0;
  const agent = server.openAgent({ name: 'ticking', module: { process: (_, __, length) => forward(length), tick: () => { ticks++; } } });
  const stream = server.openStream({ name: 's', port: 5000, agents: [agent], outputs: OUT, tickUs: 1000, mode: 'job', server: { budgetUs: 100, periodUs: 10_000, queueJobs: 1 } });
  for (let k = 0; k < 100; k++) world.send(5000, numbered(k)).step(1000);
  t.same(world.step(1e5).take().map(numberOf), Array.from({ length: 100 }, (_, i) => i), 'frames find a place in the queue');
  t.ok(ticks > 100, `${ticks} ticks`);
  t.equal(stream.server!.counters.refused, 0);
  server.closeStream(stream);
  const until = ticks;
  world.step(1e5);
  t.equal(ticks, until);
  world.close();
  t.end();
});

t.test('senders are numbered in the order of their appearance', (t) => {
  const world = new World().settle();
  const { server, client } = world;
  const metas: number[] = [];
  const agent = server.openAgent({ name: 'pass', module: { process: () => Verdict.pass } });
  server.openStream({ name: 's', port: 5000, agents: [agent], onPayload: (_u8, _offset, _length, meta) => metas.push(meta) });
  const sockets = [4100, 4101, 4102].map((port) => client.openUdp({ port }));
  for (const k of [1, 0, 1, 2, 2, 0]) {
    sockets[k].send(numbered(k), 5000, '198.18.0.2');
    world.step();
  }
  t.same(metas, [0, 1, 0, 2, 2, 1]);
  world.close();
  t.end();
});

t.test('refusals: one line each, and nothing left behind', (t) => {
  const world = new World({ agentQueues: 1 }).settle();
  const { server, client } = world;
  const agent = server.openAgent({ name: 'pass', module: pass });
  const stream = { name: 's', port: 5000, agents: [agent], outputs: OUT };
  const share = { budgetUs: 1000, periodUs: 10_000 };
  const closed = server.openAgent({ name: 'closed', module: pass });
  closed.close();
  refuses(t, () => server.openAgent({ name: 'pass', module: pass }), 'ERR_INVALID_ARGUMENT', /^name: got "pass", must be unlike those of this host's other open agents$/);
  for (const [wrong, code, message] of [
    [{ agents: [] }, 'ERR_INVALID_ARGUMENT', /^agents: got an array, must be at least one$/],
    [{ tickUs: 5 }, 'ERR_INVALID_ARGUMENT', /^tickUs: got 5, must be at least 100$/],
    [{ mode: 'soon' as 'job' }, 'ERR_INVALID_ARGUMENT', /^mode: got "soon", must be inline, job or adaptive$/],
    [{ mode: 'job' as const }, 'ERR_INVALID_ARGUMENT', /^mode: job needs a server$/],
    [{ budget: 0 }, 'ERR_INVALID_ARGUMENT', /^budget: got 0, must be frames a job, from 1 on$/],
    [{ port: 70_000 }, 'ERR_INVALID_ARGUMENT', /^port: got 70000/],
    [{ outputs: [{ address: 'nowhere', port: 1 }] }, 'ERR_INVALID_ARGUMENT', /nowhere/],
    [{ server: { budgetUs: 20_000, periodUs: 10_000 } }, 'ERR_INVALID_ARGUMENT', /^budgetUs: got 20000/],
    [{ server: { budgetUs: 9900, periodUs: 10_000 } }, 'ERR_OUT_OF_RANGE', /^budgetUs: got 9900 for server "s": /],
    [{ agents: [client.openAgent({ name: 'foreign', module: pass })] }, 'ERR_INVALID_ARGUMENT', /^agents: got "foreign", must be open agents of this host$/],
    [{ server: client.scheduler.admit({ name: 'foreign', ...share }) }, 'ERR_INVALID_ARGUMENT', /^server: got "foreign", must be one that this host's scheduler has admitted, and that is open$/],
    [{ agents: [closed] }, 'ERR_INVALID_ARGUMENT', /^agents: got "closed", must be open agents of this host$/],
  ] as const) {
    refuses(t, () => server.openStream({ ...stream, ...(wrong as object) }), code, message);
  }
  refuses(t, () => server.openDomain({ interface: 3 }), 'ERR_INVALID_ARGUMENT', /^interface: got 3, must be from 0 to 0, as the host has cards$/);
  for (let k = 0; k < 200; k++) t.throws(() => server.openAgent({ name: 'bad', module: pass.slice(0, 30) }), { message: /^agent bad: / });
  const bound = server.openStream({ ...stream, server: share });
  refuses(t, () => server.openStream({ ...stream, port: 5001 }), 'ERR_INVALID_ARGUMENT', /^name: got "s", must be unlike those of this host's other open streams$/);
  t.ok(bound.queue, 'the queue is still to be had, and the port, and the share');
  server.closeStream(bound);
  server.closeStream(bound);
  for (const costs of [{ frameUs: NaN, instructionNs: 1 }, { frameUs: 1, instructionNs: -1 }]) {
    refuses(t, () => new World({ costs }), 'ERR_INVALID_ARGUMENT', /^costs\.(frameUs: got NaN|instructionNs: got -1), must be a finite number, 0 or more$/);
  }
  world.close();
  t.end();
});

t.test('a server whose queue is full of others’ work is asked again; of one that is closed nothing is expected', (t) => {
  for (const agentQueues of [0, 2]) {
    const world = new World({ agentQueues }).settle();
    const { server } = world;
    const agent = server.openAgent({ name: 'pass', module: pass });
    const own = server.scheduler.admit({ name: 'own', budgetUs: 1000, periodUs: 10_000, jobUs: 500, queueJobs: 1 });
    const streams = [0, 1, 2].map((i) => server.openStream({ name: `s${i}`, port: 5000 + i, agents: [agent], outputs: OUT, server: own, mode: 'job', tickUs: 1000 }));
    for (let k = 0; k < 20; k++) {
      for (const i of [0, 1, 2]) world.send(5000 + i, numbered(k));
      world.step(1000);
    }
    world.step(1e5);
    t.ok(own.counters.refused > 0);
    t.same(streams.map(({ stream }) => stream.counters.sent), [20, 20, 20]);
    own.close();
    t.doesNotThrow(() => world.send(5000, numbered(0)).step(1e5));
    t.equal(streams[0].stream.counters.sent, 20);
    world.close();
  }
  t.end();
});

t.test('a stream that was closed while its job waited on a shared server calls no agent any more', (t) => {
  const world = new World().settle();
  const { server } = world;
  let ticks = 0;
  const agent = server.openAgent({ name: 'ticking', module: { process: () => Verdict.drop, tick: () => { ticks++; } } });
  const own = server.scheduler.admit({ name: 'own', budgetUs: 1000, periodUs: 10_000, jobUs: 500 });
  const stream = server.openStream({ name: 's', port: 5000, agents: [agent], server: own, mode: 'job' });
  stream.tick();
  server.closeStream(stream);
  world.step(1e5);
  t.equal(own.counters.completed, 1);
  t.equal(ticks, 0);
  world.close();
  t.end();
});

t.test('checkpoints are taken on the time of the agent’s stream', (t) => {
  const world = new World().settle();
  const { server } = world;
  // Some microseconds of work.
  const saving = module({ save: [...I.i32(5000), 0x21, 0, ...I.loop([0x20, 0, ...I.i32(1), 0x6b, 0x22, 0, 0x0d, 0]), ...I.i32(0)], restore: I.i32(0) });
  const agent = server.openAgent({ name: 'saving', module: saving, checkpointUs: 10_000 });
  world.step(1e5);
  const { fuel } = agent.counters;
  t.ok(fuel > 9 * 20_000, 'of no stream: at once');
  const open = (): ReturnType<typeof server.openStream> => server.openStream({ name: 's', port: 5000, agents: [agent], outputs: OUT, mode: 'job', server: { budgetUs: 1000, periodUs: 10_000, jobUs: 500 } });
  for (let k = 0; k < 2; k++) {
    const stream = open();
    // Not as the last one begins.
    const before = agent.counters.fuel;
    world.step(95_000);
    const { completed, usedUs, missed } = stream.server!.counters;
    t.ok(completed >= 9, `${completed} jobs`);
    t.ok(Math.abs(usedUs - (agent.counters.fuel - before) / 1e3) < 1e-6, 'what they took is charged');
    t.equal(missed, 0);
    stream.server!.release({ run: () => 500 });
    server.closeStream(stream);
    world.step(15_000);
  }
  world.close();
  t.end();
});

t.test('what an agent had of the card is had again once it is closed: any number of agents, one after the other', (t) => {
  const world = new World({ agentQueues: 1 }).settle();
  const { server } = world;
  const secret = (value: number): TrustedAgent => ({ process: (u8, ptr, length) => {
    if (value > 0) u8.fill(value, ptr, ptr + length);
    return forward(length);
  } });
  const offsets = new Set<number>();
  for (let k = 0; k < 80; k++) {
    const agent = server.openAgent({ name: `agent ${k}`, module: secret(k + 1) });
    const { domain } = agent;
    offsets.add(domain.offset);
    t.ok(domain.memory.u8.subarray(domain.offset, domain.offset + domain.bytes).every((byte) => byte === 0), 'nothing of the last one’s is in it');
    const stream = server.openStream({ name: 's', port: 5000, agents: [agent], outputs: OUT });
    world.send(5000, ...upTo(5)).step();
    t.equal(world.take().length, 5);
    agent.close();
    refuses(t, () => { server.closeDomain(domain); }, 'ERR_INVALID_ARGUMENT', /^domain: agent agent \d+ is in it, open or of an open stream: close these first$/);
    server.closeStream(stream);
  }
  t.ok(offsets.size <= 2, `${offsets.size} places`);
  for (let k = 0; k < 80; k++) {
    const domain = server.openDomain({ buffers: 300 });
    const agents = [1, 2].map((i) => server.openAgent({ name: `agent ${i}`, module: pass, domain }));
    agents[0].close();
    refuses(t, () => { server.closeDomain(domain); }, 'ERR_INVALID_ARGUMENT', /agent agent 2 is in it/);
    agents[1].close();
    server.closeDomain(domain);
    refuses(t, () => server.openAgent({ name: 'late', module: pass, domain }), 'ERR_CLOSED', /^domain: it is closed$/);
  }
  world.close();
  t.end();
});

t.test('jumbo frames: as many buffers as the window holds', (t) => {
  const world = new World({ interfaces: [{ addresses: ['198.18.0.2/24'], nic: { mtu: 9000 } }] }).settle();
  const agent = world.server.openAgent({ name: 'pass', module: pass });
  t.ok(agent.domain.pool.count > 400);
  t.equal(agent.domain.pool.frameBytes, 8972);
  world.close();
  t.end();
});

t.test('a queue that split its frames for one stream gives them whole to the next', { skip: lacks('shared', 'fuel') }, (t) => {
  const world = new World({ agentQueues: 1 }).settle();
  const { server } = world;
  const before: FaultDomain[] = [];
  for (const window of ['shared', 'copy', 'shared', 'copy'] as const) {
    const domain = server.openDomain();
    const agent = server.openAgent({ name: window, module: pass, window, domain, emitRoom: 0 });
    const stream = server.openStream({ name: window, port: 5000, agents: [agent], outputs: OUT });
    t.ok(stream.queue, 'it has the one queue');
    t.equal(domain.pool.available < domain.pool.count, window === 'shared', 'whose buffers are the window only where that is shared');
    t.ok(before.every(({ pool }) => pool.available === pool.count), 'nothing of those before is in use');
    for (let k = 0; k < 4; k++) world.send(5000, ...upTo(20, 20 * k)).step();
    t.same(world.take().map(numberOf), Array.from({ length: 80 }, (_, i) => i));
    t.equal(agent.counters.copiedBytes, window === 'copy' ? 2 * 80 * 64 : 0);
    server.closeStream(stream);
    agent.close();
    for (const { tx } of server.interfaces[0].driver.pairs) tx.reclaim();
    before.push(domain);
  }
  world.close();
  t.end();
});
