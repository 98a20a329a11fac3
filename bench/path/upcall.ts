// upcall: what it costs to have somebody else's code look at a payload, by all the ways there are.
import { fork } from 'node:child_process';
import { connect } from 'node:net';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { WebAssembly } from '../../src/base/index.js';
import { addon, Watchdog } from '../../src/nic/index.js';
import { type Figure, type Target, summarize } from '../../src/report/index.js';
import { calibration } from '../calibration.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, atMostTarget, nowNs, pick, ratioTarget, ratioText } from '../context.js';
import { ENGINE_CPU, pinned } from '../cores.js';
import { LoneAgent, type Variant, type Way, forwardCost } from './agents.js';

const NAME = 'upcall';
const BATCH = 32;
const SMALL = 64;

const JS_CALL = 'JS call';
const WASM_CALL = 'wasm call';
const RAW = 'upcall, shared window';
const SIGNAL = 'signal to itself';
const PEER_SIGNAL = 'signal to a process and back';

const BUDGETS = ['none', 'guard', 'epoch', 'fuel'] as const;

const WINDOWS: readonly (readonly [string, Variant])[] = [
  ['shared window', { window: 'shared' }],
  ['copied window', { window: 'copy' }],
  ['shared, protected', { window: 'shared', protect: true }],
];

/** ns of one call, of `body`, which makes `calls`. */
function perCall(calls: number, ms: number, body: () => void): number {
  let done = 0;
  const start = nowNs();
  let now = start;
  for (; now < start + ms * 1e6; now = nowNs()) {
    body();
    done += calls;
  }
  return (now - start) / done;
}

let sink = 0;

/** Not to be inlined: a function whose body V8 doesn't know. */
const callees = [(x: number): number => x + 1, (x: number): number => x + 2, (x: number): number => x ^ 1, (x: number): number => x - 1, (x: number): number => x | 1];

function jsCall(ms: number): number {
  return perCall(5000, ms, () => {
    for (let i = 0; i < 1000; i++) for (const callee of callees) sink = callee(sink);
  });
}

/** (module (func (export "f") (param i32) (result i32) local.get 0)) */
const IDENTITY = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 32, 0, 11);

function wasmCall(ms: number): number {
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(IDENTITY), {}).exports as { f: (x: number) => number };
  return perCall(1000, ms, () => {
    for (let i = 0; i < 1000; i++) sink = f(sink);
  });
}

/** Median of rounds. */
function medianNs(rounds: number, run: (out: Float64Array) => void): number {
  const out = new Float64Array(rounds);
  run(out);
  out.sort();
  return out[rounds >> 1];
}

/** There and back between this thread and a peer, once at a time; `trip` resolves when it is back. */
async function roundTrips(rounds: number, trip: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = nowNs();
    await trip();
    times.push(nowNs() - start);
  }
  times.sort((a, b) => a - b);
  return times[times.length >> 1];
}

const PEER_WORKER = new URL('./upcall.worker.js', import.meta.url);
const PEER_CHILD = new URL('./upcall.child.js', import.meta.url);

async function postMessageTrip(rounds: number): Promise<number> {
  const worker = new Worker(PEER_WORKER, { workerData: { kind: 'messages', cpu: ENGINE_CPU } });
  try {
    await once(worker, 'message');
    return await roundTrips(rounds, () => {
      worker.postMessage(1);
      return new Promise((resolve) => worker.once('message', () => { resolve(); }));
    });
  } finally {
    await worker.terminate();
  }
}

/** Both wait in Atomics.wait, as their best users would where they have nothing else to do. */
async function atomicsTrip(rounds: number): Promise<number> {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(PEER_WORKER, { workerData: { kind: 'atomics', words, cpu: ENGINE_CPU } });
  try {
    await once(worker, 'message');
    return await roundTrips(rounds, () => {
      const next = Atomics.add(words, 0, 1) + 1;
      Atomics.notify(words, 0);
      while (Atomics.load(words, 1) !== next) Atomics.wait(words, 1, next - 1, 1000);
      return Promise.resolve();
    });
  } finally {
    Atomics.store(words, 0, -1);
    Atomics.notify(words, 0);
    await worker.terminate();
  }
}

async function childTrip(rounds: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcube-'));
  const path = join(folder, 'socket');
  const child = fork(PEER_CHILD, [path, String(ENGINE_CPU)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  try {
    await once(child, 'message');
    const socket = connect(path);
    await once(socket, 'connect');
    const byte = Uint8Array.of(1);
    const ns = await roundTrips(rounds, () => {
      socket.write(byte);
      return new Promise((resolve) => socket.once('data', () => { resolve(); }));
    });
    socket.destroy();
    return ns;
  } finally {
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** 20 ms of speech in 16-bit samples at 8 kHz, by RTP. */
function l16(): Uint8Array {
  const packet = new Uint8Array(12 + 320);
  packet.set([0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
  for (let i = 0; i < 160; i++) new DataView(packet.buffer).setInt16(12 + 2 * i, Math.round(12000 * Math.sin(i / 3)));
  return packet;
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const { quick } = context;
  const ms = quick ? 20 : 100;
  const rounds = quick ? 3 : 9;
  const trips = quick ? 300 : 2000;
  const watchdog = new Watchdog();
  const agents: LoneAgent[] = [];
  const made = (module: string, variant: Variant, payloads: number, bytes: number, packet?: Uint8Array): LoneAgent => {
    const agent = new LoneAgent(module, variant, watchdog, payloads, bytes);
    if (packet !== undefined) agent.fill(packet);
    agents.push(agent);
    return agent;
  };
  const of = (variant: string, group: string, run: () => number | Promise<number>, params: Record<string, string | number> = {}): Measurement => ({
    bench: NAME, variant, params: { group, ...params }, metric: 'cost', unit: 'ns', measure: run,
  });
  const each = (variant: Variant, payloadBytes: number): (() => number) => {
    const agent = made('pass', variant, BATCH, payloadBytes);
    return () => agent.cost(ms) / BATCH;
  };
  const single = made('pass', { window: 'shared' }, 1, SMALL);
  const protectedOne = made('pass', { window: 'shared', protect: true }, 1, SMALL);
  // Refilled before each: what the transcoder leaves is no L16 any more.
  const transcoders = BUDGETS.map((budget) => made('transcode', { window: 'shared', budget }, BATCH, 332, l16()));
  const packet = l16();
  const transcode = (agent: LoneAgent): number => {
    let ns = 0;
    let turns = 0;
    for (const end = nowNs() + ms * 1e6; nowNs() < end; turns++) {
      agent.fill(packet);
      const start = nowNs();
      agent.turn();
      ns += nowNs() - start;
    }
    return ns / turns / BATCH;
  };
  const forwardRounds = quick ? 1200 : 6000;
  const ways: readonly (readonly [string, Way])[] = [['handler', 'handler'], ['agent, shared window', { window: 'shared' }], ['agent, copied window', { window: 'copy' }]];
  try {
    const results = await alternate(
      [
        // First: what V8 has seen of further kinds of agents makes the loops of these slower.
        ...(quick ? [64] : [64, 1514]).map((frameBytes) => ways.map(([name, way]) => of(name, 'forward', () => forwardCost(way, frameBytes, forwardRounds), { frameBytes }))),
        [
          of(JS_CALL, 'crossing', () => jsCall(ms)),
          of(WASM_CALL, 'crossing', () => wasmCall(ms)),
          of('N-API call', 'crossing', () => perCall(1000, ms, () => {
            for (let i = 0; i < 1000; i++) addon.bench.nothing();
          })),
          of(RAW, 'crossing', () => single.cost(ms)),
          of('upcall, protected window', 'crossing', () => protectedOne.cost(ms)),
          of(SIGNAL, 'crossing', () => medianNs(trips, (out) => { addon.bench.signalSelf(out); })),
          of(PEER_SIGNAL, 'crossing', () => medianNs(trips, (out) => { addon.bench.signalPeer(out, ENGINE_CPU); })),
          of('pipe to a process and back', 'crossing', () => medianNs(trips, (out) => { addon.bench.pipePeer(out, ENGINE_CPU); })),
          of('worker, Atomics', 'crossing', () => atomicsTrip(trips)),
          of('worker, postMessage', 'crossing', () => postMessageTrip(trips)),
          of('child process, Unix socket', 'crossing', () => childTrip(trips)),
          of('protection flip, a page', 'crossing', () => medianNs(trips, (out) => { addon.bench.protectionFlip(out, 1); })),
          of('protection flip, 256 pages', 'crossing', () => medianNs(trips, (out) => { addon.bench.protectionFlip(out, 256); })),
          calibration(NAME),
        ],
        ...[SMALL, 1472].map((payloadBytes) => WINDOWS.map(([name, variant]) => of(name, 'batch', each(variant, payloadBytes), { payloadBytes }))),
        BUDGETS.map((budget, i) => of(budget, 'transcoder', () => transcode(transcoders[i]))),
      ],
      rounds,
      context,
    );
    return report(results);
  } finally {
    for (const agent of agents) agent.close();
    watchdog.close();
  }
}

function report(results: BenchOutput['results']): BenchOutput {
  const at = (variant: string, params: Record<string, string | number> = {}) => pick(results, variant, params, 'cost');
  const cost = (variant: string, params: Record<string, string | number> = {}): string => {
    const ns = at(variant, params).median;
    return ns < 1e3 ? `${ns.toFixed(ns < 10 ? 1 : 0)} ns` : `${(ns / 1e3).toFixed(1)} µs`;
  };
  const handler = at('handler', { frameBytes: 64 });
  const shared = at('agent, shared window', { frameBytes: 64 });
  const above = summarize(shared.runs.map((ns, i) => ns - handler.runs[i]));
  const [none, guard] = [at('none', { group: 'transcoder' }), at('guard', { group: 'transcoder' })];
  const guardCost = summarize(guard.runs.map((ns, i) => 100 * (ns / none.runs[i] - 1)));
  const figures: Figure[] = [
    {
      id: 'upcall-crossing',
      title: "Somebody else's code, by all the ways there are",
      paragraph:
        `One call, or one round trip. An upcall (${cost(RAW)}) is a payload's record written, the agent's code run under its budget, the verdict read and held against the buffer's bounds; of this ${cost(WASM_CALL)} are the bare call into WebAssembly. ` +
        `A signal to the process itself takes ${cost(SIGNAL)}, one to another process and back ${cost(PEER_SIGNAL)}: ${ratioText(at(PEER_SIGNAL), at(RAW))} upcalls. ` +
        `The original had its raw upcall at 0.4 of a signal to itself and at 1/18 of one to another process (recalled; in cycles, one way); here it is ${ratioText(at(RAW), at(SIGNAL))} of the one and ${ratioText(at(RAW), at(PEER_SIGNAL))} of the other's round trip. ` +
        `What protects the window costs two system calls an upcall.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'cost', label: 'cost', unit: 'ns', scale: 'log' },
      results: results.filter((r) => r.params['group'] === 'crossing'),
    },
    {
      id: 'upcall-batch',
      title: 'A payload of a batch',
      paragraph: `${BATCH} payloads to an upcall. In a shared window a payload costs ${cost('shared window', { payloadBytes: SMALL })}, whatever its length; copied in and out ${cost('copied window', { payloadBytes: SMALL })} with ${SMALL} bytes and ${cost('copied window', { payloadBytes: 1472 })} with 1,472.`,
      kind: 'bar',
      x: { param: 'payloadBytes', label: 'payload, bytes' },
      y: { metric: 'cost', label: 'cost of a payload', unit: 'ns' },
      results: results.filter((r) => r.params['group'] === 'batch'),
    },
    {
      id: 'upcall-budget',
      title: 'What a budget costs the transcoder',
      paragraph: `20 ms of speech from 16-bit samples to PCMU, ${BATCH} packets to an upcall, by what would stop the agent: nothing, a guard page, a word that is looked at, a count of instructions. The guard adds ${guardCost.median.toFixed(1)} % (${guardCost.min.toFixed(1)}–${guardCost.max.toFixed(1)}).`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'cost', label: 'cost of a packet', unit: 'ns' },
      results: results.filter((r) => r.params['group'] === 'transcoder'),
    },
    {
      id: 'upcall-forward',
      title: 'Forwarding: a handler, and an agent',
      paragraph: `This thread's time for a frame that comes in by the card, goes through the stack and out again: by a handler in TypeScript that is trusted with everything, or by an agent that has a queue of its own. With 64-byte frames the agent adds ${above.median.toFixed(0)} ns (${above.min.toFixed(0)}–${above.max.toFixed(0)}).`,
      kind: 'bar',
      x: { param: 'frameBytes', label: 'frame, bytes' },
      y: { metric: 'cost', label: 'cost of a frame', unit: 'ns' },
      results: results.filter((r) => r.params['group'] === 'forward'),
    },
  ];
  const targets: Target[] = [
    atMostTarget('upcall with shared window, batched, above the stack', above, 100, 'ns', 0),
    ratioTarget('signal to a process and back / upcall', at(PEER_SIGNAL), at(RAW), 50),
    atMostTarget('guard budget on the transcoder', guardCost, 15, '%', 1),
  ];
  return { results, figures, targets };
}

export const upcall: Bench = {
  name: NAME,
  summary: 'calls into agents, by window and budget, beside signals, pipes, workers and processes',
  quickSeconds: 8,
  run: (context) => pinned(() => measure(context)),
};
