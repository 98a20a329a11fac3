// The part of exchange that is message-accurate: hosts that run the overlay's own code, measure their links, ask one another for places and look for new parents.
import { Random } from '../../src/base/index.js';
import { KnCube, type Routing } from '../../src/overlay/index.js';
import { HostNetwork, World, drawBounds, formOverlay, lateness } from '../../src/sim/index.js';
import { type Figure, type Result, type Target } from '../../src/report/index.js';
import { pick } from '../context.js';
import { type SimContext } from './experiment.js';
import { networkFor } from './flow-setup.js';
import { DEFAULT_SEEDS, gainTarget, percentText } from './groups.js';
import { Series } from './series.js';

const NAME = 'exchange between hosts';
const RULES = ['none', 'published', 'improved'] as const;
type Rule = (typeof RULES)[number];
const VARIANTS: Record<Rule, string> = { none: 'no exchange', published: 'published', improved: 'improved' };
/** Of the cube 2xn, and how many times the unicast delay a bound is at most; kept small, as all of `ringcube reproduce` waits for it. */
const CASES: readonly (readonly [n: number, tightness: number])[] = [[6, 4], [6, 8], [7, 4]];
const CUBES = [6, 7];
/** At most. */
export const ROUTERS = 600;
const HEARTBEAT_US = 1e6;
const CHANNEL = 1;
const PUBLISHER = 0;
/** Until all hosts know the delays of their links; then as long as they may exchange. */
const MEASURING_US = 5 * HEARTBEAT_US;
const EXCHANGING_US = 60 * HEARTBEAT_US;

interface Outcome {
  success: number;
  /** Of those who have a parent just then; the others are not in time. */
  lateness: number;
  swaps: number;
  /** Of the host that has most. */
  children: number;
}

/** All hosts but the publisher subscribe, late or not; measured are the network's own delays along the tree. */
function simulate(cube: KnCube, routing: Routing, network: HostNetwork, rule: Rule, tightness: number, random: Random): Outcome {
  const { size: hosts, k, n } = cube;
  const world = new World({ hosts, random: random.fork('world'), network: { delayUs: (from, to) => network.delayUs(from, to) } });
  const exchange = rule === 'none' ? {} : { exchangeRule: rule, exchangeDepth: Math.ceil(cube.meanDistance) };
  const nodes = formOverlay(world, hosts, { k, n, routing, heartbeatUs: HEARTBEAT_US, leaseUs: 5 * HEARTBEAT_US, ...exchange }, random.fork('nodes'));
  world.run(MEASURING_US);
  const subscribers = nodes.slice(1).map(({ host }) => host);
  const boundsUs = drawBounds(network, PUBLISHER, subscribers, tightness, random.fork('bounds'));
  for (const host of subscribers) nodes[host].subscribe(CHANNEL, { boundUs: boundsUs[host], bestEffort: true });
  nodes[PUBLISHER].advertise(CHANNEL);
  world.run(MEASURING_US + EXCHANGING_US);
  const branches = nodes.map((node) => node.branches()[0]);
  // Infinity for who has no parent just now.
  const delayUs = (host: number, hops = 0): number => {
    if (host === PUBLISHER) return 0;
    const { parent } = branches[host];
    return parent in nodes && hops < hosts ? delayUs(parent, hops + 1) + network.delayUs(parent, host) : Infinity;
  };
  const delays = subscribers.map((host) => delayUs(host));
  const lates = delays.map((delay, i) => lateness(delay, boundsUs[subscribers[i]]));
  const finite = lates.filter(Number.isFinite);
  return {
    success: lates.filter((value) => value === 0).length / subscribers.length,
    lateness: finite.reduce((sum, value) => sum + value, 0) / Math.max(1, finite.length),
    swaps: nodes.reduce((sum, { counters }) => sum + counters.swaps, 0) / subscribers.length,
    children: Math.max(...branches.map(({ children }) => children.length)),
  };
}

/** The published and the improved exchange where hosts carry them out, message by message. */
export async function exchangeBetweenHosts(context: SimContext, asked: KnCube): Promise<{ results: Result[]; figures: Figure[]; targets: Target[] }> {
  const { parameters, seed, signal, progress } = context;
  const { seeds = DEFAULT_SEEDS, routing = 'greedy', bound } = parameters;
  const wanted = bound === undefined ? CASES : CUBES.map((n) => [n, bound] as const);
  const cases = wanted.filter(([n]) => 2 ** n <= asked.size);
  const random = new Random(seed >>> 0).fork(NAME);
  const series = new Series(NAME);
  let done = 0;
  for (const [n, tightness] of cases) {
    const cube = new KnCube(2, n);
    const hosts = cube.size;
    const drawn = parameters.latencies === undefined ? { routers: Math.min(ROUTERS, parameters.routers ?? ROUTERS) } : {};
    const { topology, network, placement } = await networkFor({ ...context, parameters: { ...parameters, ...drawn } }, hosts, seed >>> 0, () => undefined);
    for (let i = 0; i < seeds; i++) {
      const draws = random.fork(`${hosts} hosts, seed ${i}`);
      const placed = HostNetwork.place(topology, network.matrix, hosts, draws.fork('hosts'), placement);
      for (const rule of RULES) {
        signal.throwIfAborted();
        progress(done++, cases.length * seeds * RULES.length, `${hosts} real hosts`);
        await new Promise((resolve) => setImmediate(resolve));
        const { success, lateness: late, swaps, children } = simulate(cube, routing, placed, rule, tightness, draws);
        const add = (metric: string, unit: string, value: number): void => {
          series.add(VARIANTS[rule], { case: caseText(hosts, tightness) }, metric, unit, value);
        };
        add('success ratio', '%', 100 * success);
        add('lateness', '%', 100 * late);
        add('swaps', 'swaps', swaps);
        add('children', 'children', children);
      }
    }
  }
  const results = series.results();
  return cases.length === 0 ? { results, figures: [], targets: [] } : { results, figures: figuresOf(results, seeds, routing), targets: cases.map(([n, tightness]) => targetOf(results, caseText(2 ** n, tightness))) };
}

function caseText(hosts: number, tightness: number): string {
  return `${hosts} hosts, bounds up to ${tightness}x`;
}

function figuresOf(results: Result[], seeds: number, routing: Routing): Figure[] {
  const [first, last] = [results[0].params, results.at(-1)!.params];
  const texts = (params: Result['params'], metric: string): string => {
    const [none, published, improved] = RULES.map((rule) => percentText(pick(results, VARIANTS[rule], params, metric).runs));
    return `${none} without exchange, ${published} as published, ${improved} as improved`;
  };
  const bars = { kind: 'bar', x: { param: 'case', label: 'hosts and bounds' }, results } as const;
  return [
    {
      ...bars,
      id: 'exchange-hosts',
      title: 'The exchange between real hosts, message by message',
      paragraph:
        `2-ary cubes with a host for each identifier, ${routing} routing; one publisher, all other hosts subscribe. Each runs the overlay's own code: measures its links, asks for places, swaps identifiers through the directory and looks for a parent in its new place. Bounds are drawn between the unicast delay and so many times that; ${seeds} seeds, ` +
        `the same network and bounds for each rule; what counts are the network's delays along the tree ${EXCHANGING_US / 1e6} s later. Of ${String(first['case'])}, in time are ${texts(first, 'success ratio')}. ` +
        'Here only those who are late ask by either rule, and again after a while if they still are.',
      y: { metric: 'success ratio', label: 'subscribers in time', unit: '%' },
    },
    {
      ...bars,
      id: 'exchange-hosts-lateness',
      title: 'Lateness after an exchange between real hosts',
      paragraph:
        `Of the bound, mean over all subscribers that have a parent just then, those in time among them; the same runs. Of ${String(last['case'])}, in the mean of the seeds: ${texts(last, 'lateness')}.`,
      y: { metric: 'lateness', label: 'mean lateness', unit: '%' },
    },
  ];
}

function targetOf(results: Result[], name: string): Target {
  const [published, improved] = [VARIANTS.published, VARIANTS.improved].map((variant) => pick(results, variant, { case: name }, 'success ratio').runs);
  return gainTarget(`message by message, ${name}`, published, improved);
}
