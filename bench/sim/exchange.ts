// exchange: the published and the improved exchange of identifiers beside random swaps: what they bring, and what they cost; and both between real hosts.
import { type ExchangeRule } from '../../src/sim/index.js';
import { type Figure, type Result } from '../../src/report/index.js';
import { pick } from '../context.js';
import { type Claim, type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { type Case, DEFAULT_TIGHTNESS, type Setting, TAKES, percentText, runCases, settingOf } from './groups.js';
import { ROUTERS, exchangeBetweenHosts } from './exchange-hosts.js';
import { confidence95 } from './interval.js';
import { Series } from './series.js';

const NAME = 'exchange';
const DEFAULT_SUBSCRIBERS = 8192;
const ROUNDS = 4;

const NONE = 'no exchange';
const ANYWHERE = 'swap with a random host';
const NEAR = 'swap with a random one near';
const PUBLISHED = 'published';
const IMPROVED = 'improved';
const PUBLISHED_ROUNDS = `published, ${ROUNDS} rounds`;
const IMPROVED_ROUNDS = `improved, ${ROUNDS} rounds`;

const VARIANTS: [variant: string, rule: ExchangeRule, rounds: number][] = [
  [NONE, 'none', 1],
  [ANYWHERE, 'random anywhere', 1],
  [NEAR, 'random near', 1],
  [PUBLISHED, 'published', 1],
  [PUBLISHED_ROUNDS, 'published', ROUNDS],
  [IMPROVED, 'improved', 1],
  [IMPROVED_ROUNDS, 'improved', ROUNDS],
];

async function run(context: SimContext): Promise<ExperimentOutput> {
  const setting = settingOf(context);
  const { cube, tightness, maxDepth, publishers } = setting;
  const subscribers = context.parameters.subscribers ?? Math.min(DEFAULT_SUBSCRIBERS, cube.size);
  const depths = Array.from({ length: Math.ceil(Math.log2(cube.diameter)) + 1 }, (_, i) => Math.min(2 ** i, cube.diameter));
  const cases: (Case & { variant: string; params: Record<string, number> })[] = [
    ...VARIANTS.map(([variant, rule, rounds]) => ({ variant, params: {}, subscribers, tightness, rule, maxDepth, rounds })),
    ...depths.flatMap((depth) =>
      ([[PUBLISHED, 'published'], [IMPROVED, 'improved']] as const).map(([variant, rule]) => ({ variant, params: { depth }, subscribers, tightness, rule, maxDepth: depth, rounds: 1 })),
    ),
  ];
  const answers = await runCases(context, setting, cases);
  const series = new Series(NAME);
  for (const [i, { variant, params, rule }] of cases.entries()) {
    for (const { success, lateness, meanDelayUs, meanHops, counters } of answers[i]) {
      const each = (count: number): number => count / (subscribers * publishers);
      const add = (metric: string, unit: string, value: number): void => series.add(variant, params, metric, unit, value);
      add('success ratio', '%', 100 * success);
      add('lateness', '%', 100 * lateness);
      add('mean delay', 'us', meanDelayUs);
      add('mean hops', 'hops', meanHops);
      add('swaps', 'swaps', each(counters.swaps));
      if (rule !== 'none') add('messages', 'messages', each(counters.messages));
      add('undone', 'swaps', counters.undone);
      add('refused', 'swaps', counters.refused);
    }
  }
  const results = series.results();
  const hosts = await exchangeBetweenHosts(context, cube);
  return { results: [...results, ...hosts.results], figures: [...figuresOf(results, setting, subscribers), ...hosts.figures], targets: hosts.targets, claims: [claimOf(results, subscribers < cube.size - 1)] };
}

/** Of those at the default depth. */
function plain(results: readonly Result[]): Result[] {
  return results.filter(({ params }) => params['depth'] === undefined);
}

function figuresOf(all: Result[], { cube, seeds, tightness, maxDepth, publishers, routing }: Setting, subscribers: number): Figure[] {
  const results = plain(all);
  const text = (variant: string): string => percentText(pick(results, variant, {}, 'success ratio').runs);
  const number = (variant: string, metric: string): string => confidence95(pick(results, variant, {}, metric).runs).mean.toPrecision(2);
  const bars = { kind: 'bar', x: { param: 'variant', label: 'exchange' }, results } as const;
  return [
    {
      ...bars,
      id: 'exchange-success',
      title: 'What an exchange of identifiers brings',
      paragraph:
        `${publishers === 1 ? 'One publisher' : `${publishers} publishers`}, ${subscribers} subscribers each, on the cube ${cube.k}x${cube.n}, ${routing} routing, bounds up to ${tightness} times the unicast delay, ${seeds} seeds on one topology. Each subscriber asks once, or once in each of ${ROUNDS} rounds: ` +
        `all of them as published and at random, only the late ones as improved. In time are ${text(NONE)} without exchange, ${text(PUBLISHED)} as published, ${text(IMPROVED)} as improved; with a random identifier at most ${maxDepth} hops from the publisher, which everyone takes ` +
        `from whoever has it, ${text(NEAR)}; with any, ${text(ANYWHERE)}.`,
      y: { metric: 'success ratio', label: 'subscribers in time', unit: '%' },
    },
    { ...bars, id: 'exchange-lateness', title: 'Lateness after an exchange', paragraph: 'Mean over all subscribers, of the bound; the same runs.', y: { metric: 'lateness', label: 'mean lateness', unit: '%' } },
    { ...bars, id: 'exchange-delay', title: 'Mean delay after an exchange', paragraph: 'The same runs.', y: { metric: 'mean delay', label: 'delay from the publisher', unit: 'us' } },
    {
      ...bars,
      id: 'exchange-swaps',
      title: 'Swaps',
      paragraph:
        `Swaps that lasted. As improved, ${number(IMPROVED, 'refused')} partners a run would not give up a bound that they met, and ${number(IMPROVED, 'undone')} swaps were undone because they didn't bring what was foreseen.`,
      y: { metric: 'swaps', label: 'for each subscriber', unit: 'swaps' },
    },
    {
      ...bars,
      id: 'exchange-messages',
      title: 'Messages that an exchange takes',
      paragraph:
        `For each subscriber, whether it asks or not: measurements are two messages, a swap ${4 + 2 * cube.degree}. The improved rule takes ${number(IMPROVED, 'messages')}, the published one ${number(PUBLISHED, 'messages')}, and ${number(PUBLISHED_ROUNDS, 'messages')} in ${ROUNDS} rounds, ` +
        `which bring ${text(PUBLISHED_ROUNDS)} in time against ${text(IMPROVED)}. The improved one ` +
        'knows what a swap will bring because both measure their way to their new neighbours first, with each candidate. Network coordinates (Vivaldi) could stand for most of these measurements; that is not tried here.',
      y: { metric: 'messages', label: 'for each subscriber', unit: 'messages' },
    },
    {
      id: 'exchange-depth',
      title: 'How far from the publisher partners are looked for',
      paragraph:
        'The depth D of both rules. At D = 1 there is nothing but the publisher\'s own neighbours: as published they give way whether they lose a bound by it or not; as improved they don\'t, and few places are to be had.',
      kind: 'line',
      x: { param: 'depth', label: 'depth D', scale: 'log' },
      y: { metric: 'success ratio', label: 'subscribers in time', unit: '%' },
      results: all,
    },
  ];
}

/** `isOpen`: there are hosts that don't subscribe. Else as many subscribers are as near as before, whoever is where. */
function claimOf(all: Result[], isOpen: boolean): Claim {
  const results = plain(all);
  const means = (metric: string): number[] => [NONE, PUBLISHED, IMPROVED].map((variant) => confidence95(pick(results, variant, {}, metric).runs).mean);
  const [none, published, improved] = means('mean hops');
  const delays = means('mean delay');
  const percent = (left: number): string => `${(100 * (1 - left)).toFixed(0)} %`;
  return {
    what: 'Subscribers that exchange identifiers are fewer hops from their publisher',
    published: 'less hops on average',
    source: 'Parmer, West, Qi, Fry & Zhang 2005',
    measured: `${none.toFixed(2)} hops without exchange, ${published.toFixed(2)} as published, ${improved.toFixed(2)} as improved`,
    agrees: isOpen ? published < none && improved < none : null,
    remark: !isOpen ? 'Not judged: all hosts subscribe, and so many places are so many hops away, whoever is there.' : `Hops fall by ${percent(published / none)} as published, the mean delay by ${percent(delays[1] / delays[0])}: most of what is gained is in shorter links, as only so many places are near.`,
  };
}

export const exchange: Experiment = {
  name: NAME,
  summary: 'exchange of identifiers, published and improved, against random swaps: subscribers in time, delays, swaps, messages; and between real hosts',
  takes: {
    ...TAKES,
    routers: `${TAKES.routers}; ${ROUTERS} at most between real hosts`,
    publishers: `${TAKES.publishers}; always 1 between real hosts`,
    subscribers: `${DEFAULT_SUBSCRIBERS}; all of the real hosts`,
    bound: `${DEFAULT_TIGHTNESS}; 4 and 8 between real hosts`,
  },
  run,
};
