// "A trap ends the call" (docs/agent-abi.md, Rules of life): causes, what counts and what is lost, starting anew, being left alone; and
// agents in another's place.
import t from 'tap';
import { type Agent, type AgentOptions, type TrapCause, type TrustedAgent, Verdict } from '../../src/spa/index.js';
import { I } from './wasm/builder.js';
import { agent as module } from './hostile/corpus.js';
import { BUDGETS, Rig, WINDOWS, accounted, kind, lacks, payload } from './rig.js';
import { type Sent, Op, TrustedScript, scriptModules } from './script.js';

const modules = await scriptModules();
const FUEL = 50_000;
const number = (): Sent => ({ bytes: Uint8Array.from([Op.number, ...new Array<number>(11).fill(0)]), meta: 0 });
/** How many were served before, as the agent wrote it. */
const numberIn = (bytes: number[]): number => bytes[4] + 256 * bytes[5];

for (const window of WINDOWS) {
  for (const budget of window === 'trusted' ? (['none'] as const) : BUDGETS) {
    t.test(`${window}, ${budget}`, { skip: lacks(window, budget) }, async (t) => {
      const trusted = window === 'trusted';
      const options = (): Omit<AgentOptions, 'name'> => ({ module: trusted ? new TrustedScript(256) : modules.batch, ...kind(window), ...(trusted ? {} : { budget }), budgetUs: 20_000, fuel: FUEL });
      const causes: [number, TrapCause, RegExp][] = [
        ...(trusted ? [] : [[Op.trap, 'fault', /unreachable/], [Op.divide, 'fault', /divide by zero/]] as [number, TrapCause, RegExp][]),
        ...(trusted ? [[Op.trap, 'abort', /^agent script: trapped in two lines$/]] as [number, TrapCause, RegExp][] : []),
        [Op.abort, 'abort', trusted ? /said so/ : /said so in script.ts:\d+:\d+/],
        // Fuel ends before the stack does.
        ...(budget === 'fuel' ? [] : [[Op.overflow, 'stack', /call stack/]] as [number, TrapCause, RegExp][]),
        ...(budget === 'none' ? [] : [[Op.forever, 'budget', /ran over its budget/]] as [number, TrapCause, RegExp][]),
      ];
      for (const [op, cause, message] of causes) {
        await t.test(`${cause} by ${op}`, (t) => {
          const rig = new Rig();
          const agent = rig.agent(rig.domain(), options());
          rig.run(agent, [number(), number()]);
          t.ok(agent.checkpoint(), 'two were served');
          const { out, passed } = rig.run(agent, [number(), payload(Op.pass, 5), payload(op, 0, 0, 0, 0, 0, 0, 0), number(), payload(Op.pass)]);
          t.same(out.map(({ bytes }) => numberIn(bytes)), [2], 'what had a verdict counts');
          t.same(passed.map(({ bytes }) => bytes), [[Op.pass, 5]]);
          t.equal(agent.counters.lostInTrap, 3);
          t.equal(agent.counters.traps[cause], 1);
          t.equal(rig.traps.length, 1);
          t.equal(rig.traps[0].cause, cause);
          t.match(rig.traps[0].message, message);
          t.match(rig.traps[0].message, /^agent script: .*$/, 'who, in one line');
          if (budget === 'fuel' && op === Op.forever) t.ok(agent.usedFuel >= FUEL, 'and what it used is known');
          t.equal(agent.pausedUntilUs, -Infinity, 'the first time it goes on at once');
          const next = rig.run(agent, [number()]);
          if (!trusted) t.same(next.out.map(({ bytes }) => numberIn(bytes)), [2], 'from the last saved state');
          t.equal(accounted(agent.counters), 8);
          rig.close(t);
          t.end();
        });
      }
    });
  }
}

t.test('a runaway uses its fuel, all of it and no more', (t) => {
  const rig = new Rig();
  const agent = rig.agent(rig.domain(), { module: module({ process: I.loop(I.br(0)).concat(I.unreachable) }), fuel: 12_345 });
  for (let k = 1; k <= 3; k++) {
    rig.nowUs += 2e6;
    rig.run(agent, [payload(1), payload(1)]);
    t.equal(agent.usedFuel, 12_345);
    t.equal(agent.counters.fuel, k * 12_345);
    t.equal(agent.counters.traps.budget, k);
  }
  rig.run(agent, [payload(1)]);
  t.equal(agent.usedFuel, 0, 'left alone, it uses none');
  rig.tick(agent);
  t.equal(agent.usedFuel, 0);
  rig.close(t);
  t.end();
});

t.test('starting anew is on the agent’s account too', (t) => {
  const rig = new Rig();
  // init: 1000 rounds; process traps.
  const code = [...I.i32(1000), ...I.set(0), ...I.loop(I.get(0), I.i32(1), I.sub, I.tee(0), I.brIf(0)), ...I.i32(0)];
  const agent = rig.agent(rig.domain(), { module: module({ init: code, process: I.unreachable }) });
  const started = agent.counters.fuel;
  t.ok(started > 4000);
  rig.run(agent, [payload(1)]);
  t.ok(agent.usedFuel >= started, `${agent.usedFuel} of ${started}`);
  t.equal(agent.counters.fuel, started + agent.usedFuel);
  rig.close(t);
  t.end();
});

t.test('left alone for 2, 4, … ms, at most a second, until it serves', (t) => {
  const rig = new Rig();
  const agent = rig.agent(rig.domain(), { module: modules.batch });
  const crash = (): void => void rig.run(agent, [payload(Op.trap)]);
  crash();
  t.equal(agent.pausedUntilUs, -Infinity);
  for (const pauseMs of [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000]) {
    crash();
    t.equal(agent.pausedUntilUs - rig.nowUs, pauseMs * 1e3);
    const before = agent.counters;
    rig.nowUs = agent.pausedUntilUs - 1;
    t.same(rig.run(agent, [payload(Op.forward), payload(Op.pass)]), { out: [], passed: [] });
    t.equal(agent.counters.suspended, before.suspended + 2);
    t.equal(agent.counters.batches, before.batches);
    rig.nowUs++;
  }
  t.equal(rig.run(agent, [payload(Op.forward)]).out.length, 1);
  t.equal(agent.pausedUntilUs, -Infinity);
  crash();
  t.equal(agent.pausedUntilUs, -Infinity, 'forgiven');
  t.equal(accounted(agent.counters), agent.counters.payloads + agent.counters.suspended);
  rig.close(t);
  t.end();
});

t.test('one that can not start anew is tried again, later and later', (t) => {
  const rig = new Rig();
  // Refuses any state; so its first checkpoint dooms it.
  const agent = rig.agent(rig.domain(), { module: module({ save: I.i32(4), restore: I.i32(1), process: I.unreachable }) });
  t.ok(agent.checkpoint());
  rig.run(agent, [payload(1)]);
  t.match(rig.traps.map(({ message }) => message), [/^agent script: unreachable$/, /^agent script: can't start anew: it refuses the state of 4 bytes \(restore returned 1\)$/]);
  t.equal(agent.pausedUntilUs, 2e3);
  rig.nowUs = 2e3;
  rig.run(agent, [payload(1)]);
  t.equal(agent.pausedUntilUs, 2e3 + 4e3);
  t.equal(agent.counters.suspended, 1);
  t.notOk(agent.checkpoint(), 'nothing to save of what does not run');
  agent.replace({ module: modules.batch });
  t.equal(rig.run(agent, [payload(Op.forward)]).out.length, 1, 'another takes its place all the same');
  rig.close(t);
  t.end();
});

t.test('a handler of traps may close the agent, replace it, or throw', (t) => {
  const rig = new Rig();
  const domain = rig.domain();
  const closing = rig.agent(domain, { module: modules.batch, onTrap: () => { closing.close(); } });
  rig.run(closing, [payload(Op.trap), payload(Op.trap)]);
  t.equal(closing.counters.lostInTrap, 2);
  const replacing = rig.agent(domain, { module: modules.batch, onTrap: () => { replacing.replace({ module: new TrustedScript(256) }); } });
  rig.run(replacing, [payload(Op.trap)]);
  t.equal(replacing.window, 'trusted');
  t.equal(rig.run(replacing, [payload(Op.forward)]).out.length, 1);
  const throwing = rig.agent(domain, { module: modules.batch, onTrap: () => { throw new Error('of the handler'); } });
  t.throws(() => rig.run(throwing, [payload(Op.trap)]), { message: 'of the handler' });
  t.equal(rig.run(throwing, [payload(Op.forward)]).out.length, 1, 'and goes on');
  rig.close(t);
  t.end();
});

t.test('within a call, a handler of log lines may close the agent, which then ends with the call; not replace it, nor save it', (t) => {
  for (const window of WINDOWS) {
    if (lacks(window, 'fuel') !== false) continue;
    const rig = new Rig();
    const domain = rig.domain();
    const options = (): Omit<AgentOptions, 'name'> => ({ module: window === 'trusted' ? new TrustedScript(256) : modules.batch, ...kind(window) });
    const closing = rig.agent(domain, { ...options(), onLog: () => { closing.close(); } });
    t.same(rig.run(closing, [payload(Op.log, 1, 0, 0), payload(Op.forward)]).out.map(({ bytes }) => bytes), [[Op.forward]], `${window}: the call comes to its end`);
    t.ok(closing.closed);
    rig.run(closing, [payload(Op.forward)]);
    t.equal(closing.counters.suspended, 1);
    for (const [what, act] of [['be replaced', (one: Agent) => { one.replace(options()); }], ['be saved', (one: Agent) => { one.checkpoint(); }]] as const) {
      const agent = rig.agent(domain, { ...options(), onLog: () => { act(agent); } });
      rig.run(agent, [payload(Op.log, 1, 0, 0)]);
      t.equal(agent.counters.traps.abort, 1);
      t.match(rig.traps.splice(0), [{ message: new RegExp(`^agent script: .*can't ${what} from within a call of its own`) }]);
      t.equal(rig.run(agent, [payload(Op.forward)]).out.length, 1, 'and goes on');
    }
    rig.close(t);
  }
  t.end();
});

t.test('replaced: the new handler gets the lines; closed while it starts, nothing of either is left', (t) => {
  const rig = new Rig();
  const domain = rig.domain();
  const said: string[] = [];
  const module: TrustedAgent = { init: (configuration, host) => { host.log(configuration); }, process: () => Verdict.drop };
  const agent = rig.agent(domain, { module, configuration: 'one', onLog: (line) => said.push(`old ${line}`) });
  agent.replace({ configuration: 'two', onLog: (line) => said.push(`new ${line}`) });
  agent.replace({ configuration: 'three', onLog: () => { agent.close(); } });
  t.same(said, ['old one', 'old two', 'new three'], 'while it starts, the old one still listens: it may be refused');
  agent.replace({ configuration: 'four' });
  t.ok(agent.closed);
  rig.close(t);
  t.end();
});

t.test('replacement: state goes along, a refusal leaves the old one going', (t) => {
  const rig = new Rig();
  const domain = rig.domain();
  const agent = rig.agent(domain, { module: modules.batch, configuration: 'one' });
  rig.run(agent, [number(), number()]);
  const { available } = domain.pool;
  for (const [what, options, message] of [
    ['no module', { module: new Uint8Array(8) }, /^agent script: .*no WebAssembly module/],
    ['its configuration', { configuration: 'refuse' }, /^agent script: it refuses its configuration \(init returned 3\)$/],
    ['the state', { module: module({ save: I.i32(0), restore: I.i32(9) }) }, /^agent script: it refuses the state of 4 bytes \(restore returned 9\)$/],
    ['its start', { module: module({ start: I.unreachable }) }, /^agent script: unreachable$/],
    ['options', { emitRoom: 1000 }, /^emitRoom: got 1000/],
  ] as const) {
    t.throws(() => { agent.replace(options); }, { message }, what);
    t.equal(domain.pool.available, available, 'nothing is kept of it');
  }
  t.equal(numberIn(rig.run(agent, [number()]).out[0].bytes), 2, 'the old one goes on');
  agent.replace({ module: modules.single, window: 'copy' });
  t.equal(agent.window, 'copy');
  t.equal(numberIn(rig.run(agent, [number()]).out[0].bytes), 3);
  agent.replace({ module: new TrustedScript(256) });
  t.equal(numberIn(rig.run(agent, [number()]).out[0].bytes), 4);
  t.equal(agent.counters.forwarded, 5, 'counters go on');
  agent.replace({ module: module() });
  t.equal(rig.run(agent, [payload(1, 2, 3)]).out.length, 1, 'one without state takes over without');
  rig.close(t);
  t.end();
});

t.test('state that can not be saved', (t) => {
  const rig = new Rig();
  const domain = rig.domain();
  t.notOk(rig.agent(domain, { module: module({ save: I.i32(-1) }) }).checkpoint(), 'negative: can not');
  for (const [save, why] of [[I.i32(32769), 'save returned 32769: a state has 32768 bytes at most'], [I.unreachable, 'unreachable']] as const) {
    const agent = rig.agent(domain, { module: module({ save }) });
    t.notOk(agent.checkpoint());
    t.same(rig.traps.splice(0), [{ cause: 'fault', message: `agent script: can't save its state: ${why}` }]);
    agent.replace({ module: modules.batch });
    t.equal(rig.run(agent, [payload(Op.forward)]).out.length, 1, 'another takes its place all the same');
    t.equal(rig.traps.splice(0).length, 1, 'that it can not has been said again');
  }
  const trusted = new TrustedScript(256);
  trusted.save = () => new Uint8Array(100_000);
  const large = rig.agent(domain, { module: trusted });
  t.notOk(large.checkpoint());
  t.match(rig.traps, [{ message: "agent script: can't save its state: save returned 100000 bytes: a state has 32768 at most" }]);
  rig.close(t);
  t.end();
});
