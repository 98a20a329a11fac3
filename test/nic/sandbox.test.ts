// Memory that agent and card share, what protects it, and what stops an agent. V8 promises none of it, so all is tried.
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { WebAssembly } from '../../src/base/index.js';
import { Region, Sandbox, Watchdog, addon, sandboxTrial } from '../../src/nic/index.js';
import { plainEnvironment } from '../lifecycle/machine.js';
import { refuses } from './rig.js';
import { MAX_PAGES, WASM_PAGE_BYTES, rig } from './wasm-agent.js';

t.setTimeout(120_000);

const PAGE = Sandbox.pageBytes;
const AT = WASM_PAGE_BYTES;
const STOPS = 500;

function traps(t: Test, call: () => unknown, message: RegExp, what: string): void {
  try {
    call();
  } catch (error) {
    t.ok(error instanceof WebAssembly.RuntimeError && message.test(error.message), `${what}: ${(error as Error).message}`);
    return;
  }
  t.fail(`${what}: no trap`);
}

const hrtimeNs = (): number => Number(process.hrtime.bigint());

t.test('this V8 has windows and guard pages', (t) => {
  t.same(sandboxTrial(), { window: true, guard: true, reason: '' });
  t.equal(sandboxTrial(), sandboxTrial(), 'tried once');
  t.end();
});

t.test('agent and region see the same bytes, also after memory.grow', (t) => {
  const { memory, sandbox, agent } = rig();
  const region = new Region(8 * PAGE);
  memory.grow(1); // the buffer that the constructor saw is detached
  sandbox.map(region, AT, 2 * PAGE, 4 * PAGE);
  region.u8[2 * PAGE] = 11;
  region.u8[6 * PAGE - 1] = 12;
  t.same([agent.peek(AT), agent.peek(AT + 4 * PAGE - 1)], [11, 12]);
  agent.poke(AT + 5, 13);
  t.equal(region.u8[2 * PAGE + 5], 13);
  agent.poke(AT + 4 * PAGE, 99);
  agent.poke(AT - 1, 98);
  t.same([region.u8[6 * PAGE], region.u8[2 * PAGE - 1]], [0, 0], 'what lies beside the window is the agent’s own');

  t.equal(agent.grow(1), 5);
  memory.grow(MAX_PAGES - 6);
  t.equal(memory.buffer.byteLength, MAX_PAGES * WASM_PAGE_BYTES);
  t.equal(agent.peek(AT + 5), 13);
  agent.fill(AT, 7, 4 * PAGE);
  t.ok(region.u8.subarray(2 * PAGE, 6 * PAGE).every((byte) => byte === 7));
  region.u8[2 * PAGE] = 8;
  t.equal(new Uint8Array(memory.buffer)[AT], 8, 'and so does JavaScript');

  const other = rig();
  other.sandbox.map(region, 0, 2 * PAGE, PAGE);
  t.equal(other.agent.peek(0), 8, 'a window of two agents');
  other.agent.poke(1, 9);
  t.equal(agent.peek(AT + 1), 9);
  sandbox.map(region, 2 * AT, 0, 2 * PAGE);
  sandbox.unmap(AT, 4 * PAGE);
  t.equal(agent.peek(AT), 0, 'unmapped: zeros of its own');
  agent.poke(AT, 3);
  t.equal(region.u8[2 * PAGE], 8);
  sandbox.map(region, AT, 2 * PAGE, 4 * PAGE);
  t.equal(agent.peek(AT), 8, 'mapped once more');
  sandbox.close();
  t.equal(agent.peek(AT), 0, 'closed: the memory lives on');
  agent.poke(AT, 1);
  sandbox.close();
  other.sandbox.close();
  t.end();
});

t.test('a window that is protected traps, and opens again', (t) => {
  const { memory, sandbox, agent } = rig();
  const region = new Region(4 * PAGE);
  sandbox.map(region, AT, 0, 4 * PAGE);
  agent.poke(AT, 1);
  for (let i = 0; i < 50; i++) {
    sandbox.protect(AT, 4 * PAGE, 'none');
    if (i === 0) {
      traps(t, () => agent.peek(AT), /memory access out of bounds/, 'a load');
      traps(t, () => agent.poke(AT + 4 * PAGE - 1, 1), /memory access out of bounds/, 'a store');
      agent.poke(AT + 4 * PAGE, 1);
      region.u8[1] = 5;
    }
    sandbox.protect(AT, 4 * PAGE, 'read-write');
    agent.poke(AT, i);
    t.equal(region.u8[0], i);
  }
  t.equal(agent.peek(AT + 1), 5, 'written by the host meanwhile');
  sandbox.protect(AT + PAGE, PAGE, 'none');
  agent.peek(AT);
  traps(t, () => agent.peek(AT + PAGE), /out of bounds/, 'one page of it');
  memory.grow(1); // as V8 does it: all is accessible again
  agent.peek(AT + PAGE);
  refuses(t, () => sandbox.protect(AT, 5 * PAGE, 'none'), 'ERR_SYSTEM', `pages at [${AT}, ${AT} + ${5 * PAGE}) are not those of a window`);
  sandbox.close();
  refuses(t, () => sandbox.protect(AT, PAGE, 'none'), 'ERR_SYSTEM', /not those of a window/);
  t.end();
});

t.test('what is not whole pages within memory and region, or lies elsewhere, is refused', (t) => {
  const { memory, sandbox } = rig(2);
  const region = new Region(4 * PAGE);
  const invalid = (at: number, offset: number, length: number, message: string): void =>
    refuses(t, () => sandbox.map(region, at, offset, length), 'ERR_INVALID_ARGUMENT', message);
  invalid(1, 0, PAGE, `at: got 1, must be whole pages of ${PAGE} bytes`);
  invalid(0, 512, PAGE, `offset: got 512, must be whole pages of ${PAGE} bytes`);
  invalid(0, 0, PAGE + 1, `length: got ${PAGE + 1}, must be whole pages of ${PAGE} bytes`);
  invalid(0.5, 0, PAGE, `at: got 0.5, must be whole pages of ${PAGE} bytes`);
  invalid(NaN, 0, PAGE, `at: got NaN, must be whole pages of ${PAGE} bytes`);
  invalid(-PAGE, 0, PAGE, `at: got ${-PAGE}, must be from 0 to ${2 * WASM_PAGE_BYTES}, within the memory`);
  invalid(0, 8 * PAGE, PAGE, `offset: got ${8 * PAGE}, must be from 0 to ${4 * PAGE}, within the region`);
  invalid(0, PAGE, 4 * PAGE, `length: got ${4 * PAGE}, must be from ${PAGE} to ${3 * PAGE}, within the memory and region`);
  invalid(0, 0, 0, `length: got 0, must be from ${PAGE} to ${4 * PAGE}, within the memory and region`);
  sandbox.map(region, AT, 0, 2 * PAGE);
  refuses(t, () => sandbox.map(region, AT + PAGE, 0, PAGE), 'ERR_SYSTEM', /^V8 laid its memory out otherwise: at 0x[0-9a-f]+, where .* lies .*memfd:ringcube-region/);
  refuses(t, () => sandbox.unmap(AT, PAGE), 'ERR_SYSTEM', `no window was mapped at [${AT}, ${AT} + ${PAGE})`);
  const second = new Sandbox(memory);
  refuses(t, () => second.map(region, AT, 0, PAGE), 'ERR_SYSTEM', /otherwise/, 'a second sandbox of one memory');
  t.ok(sandbox.guard());
  t.notOk(second.guard(), 'there is one guard page');
  second.close();
  sandbox.close();
  refuses(t, () => sandbox.map(region, AT, 0, PAGE), 'ERR_SYSTEM', 'the sandbox was closed');
  refuses(t, () => sandbox.guard(), 'ERR_SYSTEM', 'the sandbox was closed');

  refuses(t, () => new Sandbox({ buffer: new ArrayBuffer(65536), grow: () => 0 }), 'ERR_INVALID_ARGUMENT', 'memory: got an object, must be a WebAssembly.Memory');
  refuses(t, () => new Sandbox(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })), 'ERR_INVALID_ARGUMENT', /shared/);
  refuses(t, () => new Sandbox(new WebAssembly.Memory({ initial: 0, maximum: 1 })), 'ERR_SYSTEM', /one page at least/);
  t.end();
});

t.test('stores and bulk operations on the guard page trap, whatever its state, and never kill', (t) => {
  const { sandbox, agent } = rig();
  const at = Sandbox.guardAt | 0;
  const all = (what: string): void => {
    traps(t, () => agent.pokeGuard(), /out of bounds/, `${what}: store to a constant address`);
    traps(t, () => agent.poke(at, 1), /out of bounds/, `${what}: store`);
    traps(t, () => agent.poke(at + PAGE, 1), /out of bounds/, `${what}: store behind`);
    traps(t, () => agent.peek(at - 1), /out of bounds/, `${what}: load before`);
    traps(t, () => agent.fill(at, 1, 4), /out of bounds/, `${what}: fill`);
    traps(t, () => agent.fill(0, 1, -1), /out of bounds/, `${what}: fill across`);
    traps(t, () => agent.copy(at, 0, 4), /out of bounds/, `${what}: copy to`);
    traps(t, () => agent.copy(0, at, 4), /out of bounds/, `${what}: copy from`);
    traps(t, () => agent.copy(0, at, 0), /out of bounds/, `${what}: copy of nothing`);
  };
  all('without');
  traps(t, () => agent.work(1), /out of bounds/, 'there is none yet');
  t.ok(sandbox.guard());
  t.ok(sandbox.guard(), 'twice');
  all('readable');
  agent.work(1000);
  t.equal(agent.peek(at), 0, 'it can be read');
  const watchdog = new Watchdog();
  const slot = watchdog.add(sandbox, 'guard', 100);
  watchdog.enter(slot);
  traps(t, () => agent.spin(), /out of bounds/, 'stopped');
  all('protected');
  t.ok(watchdog.leave(slot));
  agent.work(1000);
  watchdog.close();
  sandbox.close();
  traps(t, () => agent.work(1), /out of bounds/, 'closed');
  t.end();
});

for (const kind of ['guard', 'epoch'] as const) {
  t.test(`an endless loop is stopped by its ${kind}, again and again`, (t) => {
    const { sandbox, agent } = rig();
    t.ok(sandbox.guard());
    const watchdog = new Watchdog();
    const slot = watchdog.add(sandbox, kind, 200);
    const lateUs: number[] = [];
    let wrong = 0;
    for (let i = 1; i <= STOPS; i++) {
      const beganNs = hrtimeNs();
      watchdog.enter(slot);
      let stopped = false;
      try {
        if (kind === 'guard') agent.spin();
        else agent.spinEpoch();
      } catch {
        stopped = true;
      }
      const endedNs = hrtimeNs();
      const { count, dueNs, stoppedNs } = watchdog.leave(slot) ? watchdog.lastStop(slot) : { count: 0, dueNs: 0, stoppedNs: 0 };
      // Never before its budget. Node reads the same clock as we, but not in the same call.
      if (!stopped || count !== i || dueNs < beganNs + 200_000 || stoppedNs < dueNs) wrong++;
      lateUs.push((endedNs - dueNs) / 1e3);
      agent.work(10);
    }
    t.equal(wrong, 0);
    t.equal(watchdog.counters().fired, STOPS);
    lateUs.sort((a, b) => a - b);
    t.comment(`late by ${lateUs[STOPS >> 1].toFixed(0)} µs (median), ${lateUs.at(-1)!.toFixed(0)} µs (most)`);
    watchdog.close();
    sandbox.close();
    t.end();
  });
}

t.test('an agent that is quick enough is never stopped', (t) => {
  const { sandbox, agent } = rig();
  t.ok(sandbox.guard());
  const watchdog = new Watchdog();
  const slot = watchdog.add(sandbox, 'guard', 10_000_000);
  let stopped = 0;
  for (let i = 0; i < 100_000; i++) {
    watchdog.enter(slot);
    agent.work(10);
    if (watchdog.leave(slot)) stopped++;
  }
  t.equal(stopped, 0);
  t.equal(watchdog.counters().fired, 0);
  t.equal(watchdog.lastStop(slot).count, 0);
  watchdog.setBudget(slot, 300);
  watchdog.enter(slot);
  traps(t, () => agent.spin(), /out of bounds/, 'its budget has changed');
  t.ok(watchdog.leave(slot));
  t.notOk(watchdog.leave(slot), 'it runs no more');
  watchdog.close();
  sandbox.close();
  t.end();
});

t.test('agents that end as their budget does are stopped or not, and run on', (t) => {
  const { sandbox, agent } = rig();
  t.ok(sandbox.guard());
  const watchdog = new Watchdog();
  const slot = watchdog.add(sandbox, 'guard', 60);
  let told = 0;
  let trapped = 0;
  for (let i = 0; i < 2000; i++) {
    const endNs = hrtimeNs() + 40_000 + (i % 64) * 4000;
    watchdog.enter(slot);
    try {
      while (hrtimeNs() < endNs) agent.work(10);
    } catch {
      trapped++;
    }
    if (watchdog.leave(slot)) told++;
    agent.work(1);
  }
  t.ok(trapped <= told, `${trapped} trapped, ${told} told so`);
  t.equal(watchdog.counters().fired, told);
  watchdog.close();
  sandbox.close();
  t.end();
});

t.test('slots', (t) => {
  const { sandbox, agent } = rig();
  const watchdog = new Watchdog();
  refuses(t, () => watchdog.add(sandbox, 'guard', 100), 'ERR_SYSTEM', 'the sandbox has no guard page that a watchdog could stop its agent by');
  t.ok(sandbox.guard());
  for (const wrong of [0, -1, 1.5, 2 ** 31, NaN]) refuses(t, () => watchdog.add(sandbox, 'guard', wrong), 'ERR_INVALID_ARGUMENT', /^budgetUs: got/);
  const other = rig();
  t.ok(other.sandbox.guard());
  const a = watchdog.add(sandbox, 'guard', 200);
  const b = watchdog.add(other.sandbox, 'epoch', 400);
  watchdog.enter(a);
  watchdog.enter(b);
  traps(t, () => agent.spin(), /out of bounds/, 'one');
  traps(t, () => other.agent.spinEpoch(), /unreachable/, 'the other, called by it');
  t.ok(watchdog.leave(b));
  t.ok(watchdog.leave(a));
  watchdog.enter(a);
  traps(t, () => agent.spin(), /out of bounds/, 'once more');
  watchdog.remove(a);
  agent.work(10);
  watchdog.remove(a);
  refuses(t, () => watchdog.setBudget(a, 100), 'ERR_INVALID_ARGUMENT', /^slot: got 1/);
  t.equal(watchdog.add(sandbox, 'epoch', 100), a, 'used again');
  watchdog.close();
  watchdog.enter(b);
  other.agent.work(100_000);
  t.notOk(watchdog.leave(b), 'a closed one stops nobody');
  refuses(t, () => watchdog.add(sandbox, 'guard', 100), 'ERR_SYSTEM', 'the watchdog was closed');
  sandbox.close();
  other.sandbox.close();
  t.end();
});

const CHILD = fileURLToPath(new URL('./sandbox.child.js', import.meta.url));

/** Runs one of its programs, which has to end by itself, with 0 and no word but its result. */
async function child(t: Test, what: string, ...flags: string[]): Promise<unknown> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--expose-gc', ...flags, CHILD, what], { env: plainEnvironment(), timeout: 60_000 });
  t.equal(stderr, '');
  return JSON.parse(stdout) as unknown;
}

t.test('closed or forgotten, memories are collected, and nothing of theirs is left', async (t) => {
  t.same(await child(t, 'collect'), { closed: 0, forgotten: 0, watchdogs: 0, wrong: 0 });
});

t.test('workers are terminated while their agents run away', async (t) => {
  t.same(await child(t, 'terminate'), { workers: 24, mappings: 0, watchdogs: 0 });
});

t.test('a process ends with agents running, its own and its workers’', async (t) => {
  for (let i = 0; i < 3; i++) t.equal(await child(t, 'exit'), 'exit');
  t.equal(await child(t, 'leave'), 'left');
});

t.test('where V8 checks bounds by itself, there is no guard page, and no harm done', async (t) => {
  const trial = (await child(t, 'trial', '--wasm-enforce-bounds-checks')) as { window: boolean; guard: boolean; reason: string };
  t.equal(trial.window, true);
  t.equal(trial.guard, false);
  t.match(trial.reason, /checks bounds by itself|laid its memory out otherwise/);
  // Since Node 22.
  if (!process.allowedNodeEnvironmentFlags.has('--disable-wasm-trap-handler')) return;
  t.match(await child(t, 'trial', '--disable-wasm-trap-handler'), { guard: false });
});

t.test('the baselines of an upcall measure, and leave no child', (t) => {
  const children = (): string => readdirSync('/proc/self/task').map((id) => readFileSync(`/proc/self/task/${id}/children`, 'utf8')).join('');
  const before = children();
  const out = new Float64Array(500);
  const { bench } = addon;
  const baselines: [string, () => void][] = [
    ['a signal to itself', () => bench.signalSelf(out)],
    ['a signal to a process', () => bench.signalPeer(out, -1)],
    ['a pipe to a process', () => bench.pipePeer(out, -1)],
    ['a flip of 4 pages', () => bench.protectionFlip(out, 4)],
  ];
  for (const [what, measure] of baselines) {
    out.fill(-1);
    measure();
    // Ten seconds are its patience; nothing of the kind takes less than some tens of nanoseconds.
    t.ok(out.every((ns) => ns > 10 && ns < 10e9), what);
    t.equal(children(), before);
  }
  t.throws(() => bench.signalPeer(out, 1e6), /CPU 1000000 is none/);
  t.throws(() => bench.protectionFlip(out, 0), /0 pages/);
  t.end();
});
