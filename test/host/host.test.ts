// What a host does with its agents besides streams: counts by layer, saves states, asks for a real-time priority.
import t from 'tap';
import { Host } from '../../src/host/index.js';
import { Engine, setRealtime } from '../../src/nic/index.js';
import { type TrustedAgent, Verdict } from '../../src/spa/index.js';
import { CLIENT, SINK, World, numbered } from './rig.js';

const OUT = [{ address: CLIENT, port: SINK }];
const MARK = 99;

/** Writes into each payload how many came before it; traps at a mark. */
function counting(): TrustedAgent {
  let n = 0;
  return {
    init: () => {
      n = 0;
    },
    process: (u8, ptr, length) => {
      if (u8[ptr + 3] === MARK) throw new Error('marked');
      u8[ptr + 7] = n++;
      return (length << 8) | Verdict.forward;
    },
    save: () => Uint8Array.of(n),
    restore: ([saved]) => {
      n = saved;
    },
  };
}

t.test('counters by layer', (t) => {
  const world = new World().settle();
  const { server } = world;
  const agents = [server.openAgent({ name: 'counting', module: counting() })];
  server.openStream({ name: 'numbers', port: 5000, agents, outputs: OUT, server: { budgetUs: 1000, periodUs: 10_000 }, mode: 'job' });
  for (let i = 0; i < 7; i++) world.send(5000, numbered(i)).step();
  const { agents: byAgent, streams, udp, nics } = server.counters;
  t.match(byAgent, { counting: { payloads: 7, forwarded: 7 } });
  t.match(streams, { numbers: { received: 7, sent: 7, server: { released: 7, completed: 7, missed: 0 } } });
  t.ok(udp.received >= 7);
  t.ok(nics[0].queues.reduce((sum, { frames }) => sum + frames, 0) >= 14);
  world.close();
  t.end();
});

t.test('states are saved as often as asked for, and begun from after a trap', (t) => {
  const world = new World().settle();
  const { server } = world;
  t.throws(() => server.openAgent({ name: 'counting', module: counting(), checkpointUs: 10 }), { code: 'ERR_INVALID_ARGUMENT', message: 'checkpointUs: got 10, must be at least 1000' });
  const agents = [server.openAgent({ name: 'counting', module: counting(), checkpointUs: 100_000 })];
  server.openStream({ name: 'numbers', port: 5000, agents, outputs: OUT });
  const start = world.nowUs;
  for (let i = 0; i < 5; i++) world.send(5000, numbered(i)).step(10_000);
  world.stepTo(start + 150_000);
  world.send(5000, numbered(5)).step(10_000); // after the state was saved, and so forgotten
  world.send(5000, numbered(MARK)).step(10_000);
  world.send(5000, numbered(6)).step(10_000);
  t.same(world.take().map((bytes) => bytes[7]), [0, 1, 2, 3, 4, 5, 5]);
  t.equal(agents[0].counters.traps.abort + agents[0].counters.traps.fault, 1);
  world.close();
  t.end();
});

t.test('SCHED_FIFO from start to stop, where the system allows it; else one clear line', (t) => {
  const allowed = setRealtime(1);
  if (allowed) setRealtime(0);
  const engine = new Engine();
  const host = new Host(engine, { realtime: 3 });
  if (allowed) t.doesNotThrow(() => host.start());
  else t.throws(() => host.start(), { code: 'ERR_UNSUPPORTED', message: 'realtime: SCHED_FIFO 3 is refused here: it takes root, or CAP_SYS_NICE' });
  host.stop();
  t.throws(() => new Host(engine, { realtime: 100 }).start(), { message: 'priority: got 100, must be a whole number from 0 to 99' });
  t.end();
});
