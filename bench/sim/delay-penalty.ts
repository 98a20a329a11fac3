// delay-penalty: how much longer the way over the overlay is than unicast, for three routings on two cubes: the published figure.
import { Random, invalid } from '../../src/base/index.js';
import { KnCube, type Routing } from '../../src/overlay/index.js';
import { type Flow, type FlowJob, type FlowShape, type Network, pooled, quantile, runFlows, shareAtMost } from '../../src/sim/index.js';
import { type Claim, type Figure, type Result, type Target, humanize, summarize } from '../../src/report/index.js';
import { type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { cumulative, cumulativeFigure, penaltyBounds } from './cumulative.js';
import { askedShape, dealt, drawSubscribers, hostsOf, isFull, networkFor, smallestShape, watched, wholeParameter } from './flow-setup.js';
import { type Interval, confidence95 } from './interval.js';

const NAME = 'delay-penalty';
const HOSTS = 65_536;
const PUBLISHERS = 10;
const SEEDS = 10;
const MOST_SECONDS = 60;
const MOST_BYTES = 2 * 2 ** 30;
/** Greedy's mean delay below ODR's, as published and as a rough run found it. */
const PUBLISHED_PERCENT = 40;
const GAIN_PERCENT = [25, 40] as const;
/** What setting up a network takes, in trees. */
const SETUP_STEPS = 40;
const NAMES: Record<Routing, string> = { greedy: 'Greedy', random: 'Random', odr: 'ODR' };
const ROUTINGS = Object.keys(NAMES) as Routing[];

interface Setting {
  hosts: number;
  publishers: number;
  subscribers: number;
  seeds: number;
  shapes: { k: number; n: number }[];
  routings: readonly Routing[];
  /** Whether this is the run that the targets speak of. */
  full: boolean;
}

/** A curve: one routing on one shape, for all publishers. */
interface Curve {
  shape: string;
  routing: Routing;
  name: string;
  flows: Flow[];
  /** Of all publishers' subscribers, ascending. */
  penalties: Float32Array;
}

const percent = (value: number): string => `${value.toFixed(1)} %`;
const intervalText = ({ mean, low, high }: Interval): string => (Number.isFinite(low) ? `${percent(mean)} (${low.toFixed(1)}–${high.toFixed(1)})` : percent(mean));
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const shapeName = ({ k, n }: { k: number; n: number }): string => `${k}x${n}`;

function settingOf({ parameters }: SimContext): Setting {
  const asked = askedShape(parameters);
  const hosts = hostsOf(parameters, HOSTS, asked);
  const { routing } = parameters;
  // Repetitions are for the comparison of two routings.
  if (routing !== undefined && parameters.seeds !== undefined) throw invalid('seeds', parameters.seeds, `left out beside routing (${routing}): what is repeated is Greedy against ODR`);
  return {
    hosts,
    publishers: wholeParameter(parameters, 'publishers', Math.min(PUBLISHERS, hosts), 1, hosts, ': each is another host'),
    subscribers: wholeParameter(parameters, 'subscribers', hosts, 1, hosts, ': no more than hosts'),
    seeds: wholeParameter(parameters, 'seeds', SEEDS, 1, 1000),
    shapes: asked === undefined ? [smallestShape(2, hosts), smallestShape(16, hosts)].map(({ k, n }) => new KnCube(k, n)) : [asked],
    routings: routing === undefined ? ROUTINGS : [routing],
    full: isFull(parameters),
  };
}

/** The same publishers, and subscribers of each, for all shapes and routings. */
function jobsOf({ hosts, publishers, subscribers }: Setting, shapes: readonly FlowShape[], routings: readonly Routing[], random: Random): FlowJob[] {
  const hostsInRandomOrder = random.fork('publishers').shuffle(Int32Array.from({ length: hosts }, (_, host) => host));
  const drawn = Array.from({ length: publishers }, (_, i) => {
    const host = hostsInRandomOrder[i];
    return { host, seed: random.fork(`routing ${i}`).uint32(), chosen: drawSubscribers(subscribers, hosts, host, random.fork(`subscribers ${i}`)) };
  });
  return shapes.flatMap(({ hostOf }, shape) => routings.flatMap((routing) => drawn.map(({ host, seed, chosen }) => (
    { shape, routing, publisher: hostOf.indexOf(host), seed, ...(chosen && { subscribers: chosen }) }
  ))));
}

function curvesOf({ publishers, shapes }: Setting, routings: readonly Routing[], flows: readonly Flow[]): Curve[] {
  return shapes.flatMap((shape, i) => routings.map((routing, j) => {
    const first = (i * routings.length + j) * publishers;
    const own = flows.slice(first, first + publishers);
    return { shape: shapeName(shape), routing, name: `${shapeName(shape)} ${NAMES[routing]}`, flows: own, penalties: pooled(own) };
  }));
}

/** Greedy's mean delay below ODR's on a shape, in percent. */
function gainOf(curves: readonly Curve[], shape: string): number {
  const delayUs = (routing: Routing): number => mean(curves.find((curve) => curve.shape === shape && curve.routing === routing)!.flows.map(({ meanDelayUs }) => meanDelayUs));
  return 100 * (1 - delayUs('greedy') / delayUs('odr'));
}

interface Run {
  curves: Curve[];
  seconds: number;
  peakBytes: number;
}

/** All of it once: network, publishers and subscribers from `random`. `advance` is told of each step's share. */
async function runOnce(context: SimContext, setting: Setting, routings: readonly Routing[], random: Random, advance: (steps: number, what: string) => void): Promise<Run> {
  const { network }: Network = await networkFor(context, setting.hosts, random.fork('network').uint32(), (share) => advance(SETUP_STEPS * share, 'network'));
  const shapes = setting.shapes.map((shape) => dealt(shape, setting.hosts));
  const jobs = jobsOf(setting, shapes, routings, random);
  const { signal, workers } = context;
  const onProgress = (done: number): void => advance(SETUP_STEPS + done, 'delivery trees');
  const { value: flows, seconds, peakBytes } = await watched(() => runFlows({ network, shapes, jobs, workers, onProgress, signal }));
  return { curves: curvesOf(setting, routings, flows), seconds, peakBytes };
}

function resultsOf(curves: readonly Curve[], bounds: readonly number[]): Result[] {
  return curves.flatMap(({ name, flows, penalties }): Result[] => {
    const one = (metric: string, unit: string, params: Result['params'], of: (flow: Flow) => number): Result => ({ bench: NAME, variant: name, params, metric, unit, ...summarize(flows.map(of)) });
    return [
      ...cumulative(NAME, name, penalties, bounds),
      one('penalty', '×', { statistic: 'mean' }, ({ penalties }) => mean([...penalties])),
      one('penalty', '×', { statistic: 'median' }, ({ penalties }) => quantile(penalties, 0.5)),
      one('penalty', '×', { statistic: '90 % below' }, ({ penalties }) => quantile(penalties, 0.9)),
      one('penalty', '×', { statistic: '99 % below' }, ({ penalties }) => quantile(penalties, 0.99)),
      one('mean delay', 'us', {}, ({ meanDelayUs }) => meanDelayUs),
    ];
  });
}

/** How often, over the bounds, one curve lies at or above another. */
function leads(above: Curve, below: Curve, bounds: readonly number[]): number {
  return bounds.filter((bound) => shareAtMost(above.penalties, bound) >= shareAtMost(below.penalties, bound)).length;
}

function claimsOf(curves: readonly Curve[], bounds: readonly number[], gains: ReadonlyMap<string, number[]>, full: boolean): Claim[] {
  const claims: Claim[] = [];
  if (gains.size > 0) {
    const largest = Math.max(...[...gains.values()].map(mean));
    claims.push({
      what: 'Greedy lowers routing latency against routing blind to the cost of links',
      published: `by as much as ${PUBLISHED_PERCENT} %`,
      source: 'Fry & West 2004',
      measured: [...gains].map(([shape, values]) => `${shape}: ${intervalText(confidence95(values))}, at most ${percent(Math.max(...values))}`).join('; '),
      agrees: full && [...gains.values()].every((values) => values.length >= SEEDS) ? largest >= 0.75 * PUBLISHED_PERCENT && largest <= 1.25 * PUBLISHED_PERCENT : null,
      remark: 'Mean delay of all subscribers below that of ODR, 95 % confidence interval over networks drawn anew. Taken to agree where the larger of the means is within a quarter of what was published.',
    });
  }
  const pairs = curves.flatMap((other) => {
    const greedy = curves.find(({ shape, routing }) => shape === other.shape && routing === 'greedy');
    return other.routing === 'greedy' || greedy === undefined ? [] : [[greedy, other]];
  });
  const above = pairs.reduce((sum, [greedy, other]) => sum + leads(greedy, other, bounds), 0);
  const compared = pairs.length === 0 ? [] : [`Greedy's curve at or above ODR's and Random's on its cube at ${above} of ${pairs.length * bounds.length} points`];
  claims.push({
    what: 'Cumulative share of subscribers against delay penalty',
    published: 'plotted, on a logarithmic axis, for 65,536 hosts on 5,050 routers',
    source: 'Fry & West 2004 (recalled)',
    measured: [...compared, `half of the subscribers: ${curves.map(({ name, penalties }) => `${name} ${quantile(penalties, 0.5).toFixed(1)}×`).join(', ')}`].join('; '),
    agrees: null,
    remark: 'Known as a shape only. Penalties grow with the delays of access links, two on each hop: 1 ms each on drawn topologies.',
  });
  return claims;
}

function figuresOf({ publishers, seeds }: Setting, curves: readonly Curve[], results: readonly Result[], gains: ReadonlyMap<string, number[]>): Figure[] {
  const first = curves[0];
  const apart = first.flows.reduce((sum, { subscribers, penalised }) => sum + subscribers - penalised, 0);
  const leftOut = apart === 0 ? '' : ` ${apart} subscribers whom unicast would reach in no time have no penalty and are left out.`;
  const unicastUs = mean(first.flows.map(({ meanUnicastUs }) => meanUnicastUs));
  const medians = curves.map(({ name, penalties }) => `${name} ${quantile(penalties, 0.5).toFixed(1)}`).join(', ');
  const spread = `Median and range of ${publishers} publishers.`;
  const figures: Figure[] = [
    cumulativeFigure(
      NAME, 'Delay penalty',
      `Data reach this share of the subscribers (${first.flows[0].subscribers} of each of ${publishers} publishers) within so many times the delay of unicast; half of them within ${medians}.${leftOut}`,
      results,
    ),
    {
      id: 'delay-penalty-statistics',
      title: 'Delay penalty, in figures',
      paragraph: `The same: mean, and what 50, 90 and 99 % of the subscribers stay below. ${spread}`,
      kind: 'bar',
      x: { param: 'statistic', label: 'delay penalty' },
      y: { metric: 'penalty', label: 'delay penalty', unit: '×' },
      results,
    },
    {
      id: 'delay-penalty-delay',
      title: 'Mean delay',
      paragraph: `Of all subscribers, from the publisher; ${spread.toLowerCase()} Unicast would take ${humanize(unicastUs, 'us')} on average, the reference.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'mean delay', label: 'mean delay', unit: 'us' },
      results,
      reference: { value: unicastUs, label: 'unicast' },
    },
  ];
  if (gains.size > 0) {
    const texts = [...gains].map(([shape, values]) => `${intervalText(confidence95(values))} on ${shape}`).join(', ');
    figures.push({
      id: 'delay-penalty-gain',
      title: 'Greedy against ODR',
      paragraph: `How much lower Greedy's mean delay is than ODR's: ${texts} (mean; 95 % confidence interval, Student t). ${seeds} runs, each with all that is random drawn anew: topology, places of hosts, publishers.`,
      kind: 'bar',
      x: { param: 'variant', label: '' },
      y: { metric: 'below ODR', label: 'mean delay below that of ODR', unit: '%' },
      results,
      reference: { value: PUBLISHED_PERCENT, label: 'published: as much as' },
    });
  }
  return figures;
}

function targetsOf(setting: Setting, { seconds, peakBytes }: Run, gains: ReadonlyMap<string, number[]>): Target[] {
  const { hosts, publishers, shapes, routings, full } = setting;
  const trees = shapes.length * routings.length * publishers;
  const targets: Target[] = [
    { what: `delay-penalty: ${trees} trees over ${hosts} hosts, after set-up`, target: `≤ ${MOST_SECONDS} s`, reached: `${seconds.toFixed(1)} s`, spread: '', met: full ? seconds <= MOST_SECONDS : null },
    { what: 'delay-penalty: resident memory meanwhile', target: '≤ 2 GiB', reached: humanize(peakBytes, 'B'), spread: '', met: full ? peakBytes <= MOST_BYTES : null },
  ];
  for (const [shape, values] of gains) {
    const { mean, low, high } = confidence95(values);
    const held = full && shape === '2x16';
    targets.push({
      what: `delay-penalty: Greedy's mean delay below ODR's, ${shape}, ${values.length} seeds`,
      target: held ? `${GAIN_PERCENT.join('–')} %` : '–',
      reached: percent(mean),
      spread: Number.isFinite(low) ? `${low.toFixed(1)}–${high.toFixed(1)} (95 %)` : '',
      met: held && values.length >= SEEDS ? low >= GAIN_PERCENT[0] && high <= GAIN_PERCENT[1] : null,
    });
  }
  return targets;
}

async function run(context: SimContext): Promise<ExperimentOutput> {
  const setting = settingOf(context);
  const { publishers, seeds, shapes, routings } = setting;
  const compared = (['greedy', 'odr'] as const).filter((routing) => routings.includes(routing));
  const repetitions = compared.length === 2 ? seeds : 1;
  const stepsOf = (routings: readonly Routing[]): number => SETUP_STEPS + shapes.length * routings.length * publishers;
  const total = stepsOf(routings) + (repetitions - 1) * stepsOf(compared);
  let before = 0;
  const gains = new Map<string, number[]>();
  let first: Run | undefined;
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const random = new Random(context.seed >>> 0).fork(`${NAME} ${repetition}`);
    const of = repetition === 0 ? routings : compared;
    const made = await runOnce(context, setting, of, random, (steps, what) => context.progress(Math.floor(before + steps), total, `${what}, run ${repetition + 1} of ${repetitions}`));
    before += stepsOf(of);
    first ??= made;
    if (compared.length < 2) continue;
    for (const shape of shapes.map(shapeName)) gains.set(shape, [...(gains.get(shape) ?? []), gainOf(made.curves, shape)]);
  }
  context.progress(total, total, '');
  const { curves } = first!;
  const bounds = penaltyBounds(curves.map(({ penalties }) => penalties));
  const results = resultsOf(curves, bounds);
  for (const [shape, values] of gains) {
    results.push({ bench: NAME, variant: shape, params: { hosts: setting.hosts }, metric: 'below ODR', unit: '%', ...summarize(values) });
  }
  return { results, figures: figuresOf(setting, curves, results, gains), targets: targetsOf(setting, first!, gains), claims: claimsOf(curves, bounds, gains, setting.full) };
}

export const delayPenalty: Experiment = {
  name: NAME,
  summary: 'delay over the overlay / unicast delay, for three routings on two cubes; how much Greedy saves',
  takes: {
    k: '2 and 16 (give n, too)',
    n: 'the least with an identifier for each host',
    routers: '5050',
    hosts: `${HOSTS}, or as many as the cube has identifiers`,
    publishers: `${PUBLISHERS}`,
    subscribers: 'all hosts',
    routing: 'all three',
    topology: 'transit-stub',
    latencies: 'none',
    seeds: `${SEEDS}; of Greedy against ODR, so not with --routing`,
  },
  run,
};
