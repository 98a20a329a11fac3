// events: how fast the message-accurate world runs, beside a loop over the same heap that does nothing.
import { performance } from 'node:perf_hooks';
import { IdHeap, Random } from '../../src/base/index.js';
import { type Figure, type Target, humanize } from '../../src/report/index.js';
import { World, formOverlay } from '../../src/sim/index.js';
import { pick, ratio } from '../context.js';
import { type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { MOST_WORLD_HOSTS, askedShape, hostsOf, networkFor, smallestShape } from './flow-setup.js';
import { Series } from './series.js';

const NAME = 'events';
const WORLD = 'world, real nodes';
const EMPTY = 'empty loop';
const HOSTS = 10_000;
const ROUTERS = 1000;
const HEARTBEAT_US = 1e6;
const ROUNDS = 9;
/** Before the first round, so that V8 has compiled it all, and all hosts know all that are beside them. */
const WARM_US = 3 * HEARTBEAT_US;
const TARGET = 0.25;
const DELAYS = 2 ** 16;

class Idler {
  woken = 0;

  wake(): void {
    this.woken++;
  }
}

/**
 * The least that any simulation on this heap does: takes the earliest event, calls whom it is for, and has another one happen later; as many hosts, and as many
 * events waiting, as the world has. Returns what runs `count` of them.
 */
function emptyLoop(hosts: number, waiting: number, periodUs: number, random: Random): (count: number) => void {
  const idlers = Array.from({ length: hosts }, () => new Idler());
  const delays = Float64Array.from({ length: DELAYS }, () => random.float() * periodUs);
  const heap = new IdHeap(waiting);
  for (let id = 0; id < waiting; id++) heap.set(id, delays[id % DELAYS]);
  let next = 0;
  return (count) => {
    for (let i = 0; i < count; i++) {
      const nowUs = heap.firstKey;
      const id = heap.first;
      idlers[id % hosts].wake();
      // In its place: one way down the heap instead of two.
      heap.set(id, nowUs + delays[next++ & (DELAYS - 1)]);
    }
  };
}

const perSecond = (count: number, startMs: number): number => (1e3 * count) / (performance.now() - startMs);

async function run(context: SimContext): Promise<ExperimentOutput> {
  const { parameters, seed, signal, progress } = context;
  const shape = askedShape(parameters);
  const hosts = hostsOf(parameters, HOSTS, shape, MOST_WORLD_HOSTS);
  const { k, n } = shape ?? smallestShape(2, hosts);
  const random = new Random(seed >>> 0).fork(NAME);
  const { network } = await networkFor({ ...context, parameters: { routers: ROUTERS, ...parameters } }, hosts, seed, (share) => {
    progress(share, ROUNDS + 2, 'network');
  });
  progress(1, ROUNDS + 2, 'hosts');
  const world = new World({ hosts, random: random.fork('world'), network: { delayUs: (from, to) => network.delayUs(from, to) } });
  formOverlay(world, hosts, { k, n, heartbeatUs: HEARTBEAT_US, leaseUs: 5 * HEARTBEAT_US }, random.fork('nodes'));
  world.run(WARM_US);
  const empty = emptyLoop(hosts, world.waiting, HEARTBEAT_US, random.fork('empty'));
  const series = new Series(NAME);
  const params = { hosts };
  for (let round = 0; round < ROUNDS; round++) {
    signal.throwIfAborted();
    progress(2 + round, ROUNDS + 2, 'heartbeats');
    let startMs = performance.now();
    const count = world.run(world.clock.nowUs() + HEARTBEAT_US);
    series.add(WORLD, params, 'rate', 'events/s', perSecond(count, startMs));
    startMs = performance.now();
    empty(count);
    series.add(EMPTY, params, 'rate', 'events/s', perSecond(count, startMs));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const results = series.results();
  const [whole, nothing] = [pick(results, WORLD), pick(results, EMPTY)];
  const reached = ratio(whole, nothing);
  const figures: Figure[] = [
    {
      id: NAME,
      title: 'Events of the message-accurate world',
      paragraph:
        `${hosts} hosts of a ${k}x${n} cube, each with the real overlay code, its codec, failure detectors and leases, exchange heartbeats: ${humanize(whole.median, 'events/s')}. ` +
        `A loop over the same heap with as many events waiting (${world.waiting}), which calls an empty method of as many objects for each, makes ${humanize(nothing.median, 'events/s')}. In turns, ${ROUNDS} times.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'rate', label: 'rate', unit: 'events/s' },
      results,
    },
  ];
  const targets: Target[] = [
    {
      what: 'message-accurate events/s, beside an empty heap-and-dispatch loop, codec included',
      target: `≥ ${TARGET}`,
      reached: reached.median.toFixed(2),
      spread: `${reached.min.toFixed(2)}–${reached.max.toFixed(2)}`,
      met: reached.median >= TARGET,
    },
  ];
  return { results, figures, targets, claims: [] };
}

export const events: Experiment = {
  name: NAME,
  summary: 'events per second of the message-accurate world, beside an empty loop',
  takes: { k: '2', n: 'the least that has an identifier for each host', hosts: String(HOSTS), routers: String(ROUTERS), topology: 'transit-stub' },
  run,
};
