// million: one publisher to a million hosts.
import { Random } from '../../src/base/index.js';
import { KnCube, chooseShape } from '../../src/overlay/index.js';
import { quantile, runFlows } from '../../src/sim/index.js';
import { type Result, type Target, humanize, summarize } from '../../src/report/index.js';
import { type Experiment, type ExperimentOutput, type SimContext, type SimParameters } from './experiment.js';
import { cumulative, cumulativeFigure, penaltyBounds } from './cumulative.js';
import { askedShape, dealt, drawSubscribers, hostsOf, networkFor, watched, wholeParameter } from './flow-setup.js';

const NAME = 'million';
const CUBE = { k: 2, n: 20 };
const MOST_SECONDS = 60;
const MOST_BYTES = 4 * 2 ** 30;
/** Steps of progress: how long the parts take of a hundred. */
const SETUP_STEPS = 50;
const STEPS = 100;

/** The cube that was asked for; for so many hosts the one of the published rule; else 2x20. */
function cubeOf(parameters: SimParameters): KnCube {
  const asked = askedShape(parameters);
  if (asked !== undefined) return asked;
  const { k, n } = parameters.hosts === undefined ? CUBE : chooseShape(hostsOf(parameters, 0, undefined));
  return new KnCube(k, n);
}

async function run(context: SimContext): Promise<ExperimentOutput> {
  const { parameters, signal, workers, seed } = context;
  const cube = cubeOf(parameters);
  const hosts = hostsOf(parameters, cube.size, cube);
  const count = wholeParameter(parameters, 'subscribers', hosts, 1, hosts, ': no more than hosts');
  const { routing = 'greedy' } = parameters;
  const random = new Random(seed >>> 0).fork(NAME);
  const { value: flow, seconds, peakBytes } = await watched(async () => {
    const { network } = await networkFor(context, hosts, random.fork('network').uint32(), (share) => context.progress(Math.floor(SETUP_STEPS * share), STEPS, 'network'));
    const shape = dealt(cube, hosts);
    const publisher = random.int(0, cube.size - 1);
    const subscribers = drawSubscribers(count, hosts, shape.hostOf[publisher], random.fork('subscribers'));
    const job = { shape: 0, routing, publisher, seed: random.fork('routing').uint32(), ...(subscribers && { subscribers }) };
    const onProgress = (done: number): void => context.progress(Math.floor(SETUP_STEPS + (STEPS - SETUP_STEPS) * done), STEPS, 'delivery tree');
    const [flow] = await runFlows({ network, shapes: [shape], jobs: [job], workers, onProgress, signal });
    return flow;
  });
  const { penalties, subscribers, penalised, meanDelayUs, meanUnicastUs, meanHops } = flow;
  const variant = `${cube.k}x${cube.n} ${routing}`;
  const bounds = penaltyBounds([penalties]);
  const one = (metric: string, unit: string, value: number): Result => ({ bench: NAME, variant, params: { hosts }, metric, unit, ...summarize([value]) });
  const results = [...cumulative(NAME, variant, penalties, bounds), one('mean hops', 'hops', meanHops), one('mean delay', 'us', meanDelayUs), one('time', 's', seconds), one('memory', 'B', peakBytes)];
  const [median, p90, p99] = [0.5, 0.9, 0.99].map((share) => `${quantile(penalties, share).toFixed(2)}×`);
  const enough = hosts >= CUBE.k ** CUBE.n && count === hosts;
  const reported = (what: string, reached: string): Target => ({ what: `${NAME}: ${what}`, target: '–', reached, spread: '', met: null });
  return {
    results,
    figures: [
      cumulativeFigure(
        NAME, `One publisher to ${hosts} hosts`,
        `Delay penalties of ${subscribers} subscribers on a ${cube.k}x${cube.n} cube: half have at most ${median}, 90 % at most ${p90}, 99 % at most ${p99}. They are ${meanHops.toFixed(2)} hops away on average, ` +
        `${humanize(meanDelayUs, 'us')} against ${humanize(meanUnicastUs, 'us')} by unicast.${penalised < subscribers ? ` ${subscribers - penalised} whom unicast would reach in no time are left out.` : ''}`,
        results,
      ),
    ],
    targets: [
      { what: `${NAME}: one publisher to ${hosts} hosts, in all`, target: `≤ ${MOST_SECONDS} s`, reached: `${seconds.toFixed(1)} s`, spread: '', met: enough ? seconds <= MOST_SECONDS : null },
      { what: `${NAME}: resident memory`, target: '≤ 4 GiB', reached: humanize(peakBytes, 'B'), spread: '', met: enough ? peakBytes <= MOST_BYTES : null },
      reported('mean hops', meanHops.toFixed(3)),
      reported('mean delay', humanize(meanDelayUs, 'us')),
      reported('delay penalty: median, 90 %, 99 %', `${median}, ${p90}, ${p99}`),
    ],
    claims: [],
  };
}

export const million: Experiment = {
  name: NAME,
  summary: 'one publisher to a million hosts: hops, delays, time and memory',
  takes: {
    k: '2; with hosts given, by the published rule',
    n: '20; likewise',
    routers: '5050',
    hosts: 'as many as the cube has identifiers',
    subscribers: 'all hosts',
    routing: 'greedy',
    topology: 'transit-stub',
    latencies: 'none',
  },
  run,
};
