// m-regions: how many identifiers the published rule gives for so many hosts, beside the shape of least mean distance and the hypercube.
import { KnCube, type Shape, chooseShape, leastMeanShape } from '../../src/overlay/index.js';
import { type Result, summarize } from '../../src/report/index.js';
import { type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';

const NAME = 'm-regions';
const SOURCE = 'Fry & West 2004';
const MOST_HOSTS = 2 ** 19;
const PUBLISHED = [2, 4, 9, 27, 32, 81, 243, 729, 2187, 6561, 19683, 59049, 177147, 531441, 1594323, 4782969];
/** Numbers of hosts between two looks at the clock. */
const CHUNK = 2 ** 15;

interface Rule {
  name: string;
  shape: (hosts: number) => Shape;
  /** Whether a shape is known to be the rule's for as many hosts as it has identifiers, so that these need not be tried one by one. */
  fills: boolean;
}

const PUBLISHED_RULE: Rule = { name: 'published rule', shape: chooseShape, fills: false };
/** Fills: with more hosts fewer shapes have room, none of them better, until it has none itself. */
const LEAST_MEAN: Rule = { name: 'least mean distance', shape: leastMeanShape, fills: true };
const HYPERCUBE: Rule = { name: 'smallest hypercube', shape: (hosts) => ({ k: 2, n: Math.ceil(Math.log2(hosts)) }), fills: true };
const RULES = [PUBLISHED_RULE, LEAST_MEAN, HYPERCUBE];

/** As many hosts as have one shape. */
interface Region {
  cube: KnCube;
  from: number;
  to: number;
}

/** For every number of hosts from 2 to MOST_HOSTS. */
async function regionsOf(rule: Rule, signal: AbortSignal): Promise<Region[]> {
  const regions: Region[] = [];
  for (let hosts = 2; hosts <= MOST_HOSTS; ) {
    const { k, n } = rule.shape(hosts);
    let region = regions.at(-1);
    if (region?.cube.k !== k || region.cube.n !== n) {
      region = { cube: new KnCube(k, n), from: hosts, to: hosts };
      regions.push(region);
    }
    region.to = rule.fills ? Math.min(region.cube.size, MOST_HOSTS) : hosts;
    hosts = region.to + 1;
    if (hosts % CHUNK === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
  }
  return regions;
}

/** Both ends of each region, between which nothing changes. */
function resultsOf(variant: string, regions: readonly Region[]): Result[] {
  return regions.flatMap(({ cube, from, to }) =>
    [...new Set([from, to])].flatMap((hosts) => [
      { bench: NAME, variant, params: { hosts, k: cube.k, n: cube.n }, metric: 'identifiers', unit: '', ...summarize([cube.size]) },
      { bench: NAME, variant, params: { hosts, k: cube.k, n: cube.n }, metric: 'mean', unit: 'hops', ...summarize([cube.meanDistance]) },
    ]),
  );
}

/** Where the number of identifiers changes, and to what: shapes of equally many are one. */
function steps(regions: readonly Region[]): { hosts: number; size: number }[] {
  return regions.filter(({ cube }, i) => i === 0 || cube.size !== regions[i - 1].cube.size).map(({ from, cube }) => ({ hosts: from, size: cube.size }));
}

/** The mean distance over all numbers of hosts, each counted once. */
function overall(regions: readonly Region[]): number {
  return regions.reduce((sum, { cube, from, to }) => sum + cube.meanDistance * (to - from + 1), 0) / (MOST_HOSTS - 1);
}

async function run({ signal, progress }: SimContext): Promise<ExperimentOutput> {
  const regions = new Map<Rule, Region[]>();
  for (const [i, rule] of RULES.entries()) {
    progress(i, RULES.length, rule.name);
    regions.set(rule, await regionsOf(rule, signal));
  }
  progress(RULES.length, RULES.length, '');
  const results = RULES.flatMap((rule) => resultsOf(rule.name, regions.get(rule)!));
  const staircase = steps(regions.get(PUBLISHED_RULE)!);
  const sequence = staircase.map(({ size }) => size);
  const asPublished = sequence.length === PUBLISHED.length && sequence.every((size, i) => size === PUBLISHED[i]);
  const atPowers = staircase.slice(1).every(({ hosts }) => Number.isInteger(Math.log2(hosts - 1)));
  const mean = (rule: Rule): string => overall(regions.get(rule)!).toFixed(2);
  return {
    results,
    figures: [
      {
        id: 'm-regions', title: 'Identifiers for so many hosts',
        paragraph:
          `The published rule looks for the most identifiers at no greater mean distance than the smallest hypercube's: ${staircase.length} steps, each at 2^p + 1 hosts. ` +
          'Where there are more identifiers than hosts, a host holds several.',
        kind: 'line', x: { param: 'hosts', label: 'hosts m', scale: 'log' }, y: { metric: 'identifiers', label: 'identifiers M', unit: '', scale: 'log' }, results,
      },
      {
        id: 'm-regions-mean', title: 'Mean distance for so many hosts',
        paragraph:
          `Over all m from 2 to ${MOST_HOSTS} A(k, n) is ${mean(PUBLISHED_RULE)} hops on average by the published rule, ${mean(LEAST_MEAN)} at the least (nearly always with k = 3, but fewer dimensions), ` +
          `and ${mean(HYPERCUBE)} in the smallest hypercube.`,
        kind: 'line', x: { param: 'hosts', label: 'hosts m', scale: 'log' }, y: { metric: 'mean', label: 'mean distance A(k, n)', unit: 'hops' }, results,
      },
    ],
    targets: [
      { what: `M for m = 2 … ${MOST_HOSTS}: steps as published`, target: `${PUBLISHED.length} of ${PUBLISHED.length}`, reached: `${PUBLISHED.filter((size, i) => size === sequence[i]).length}`, spread: '', met: asPublished },
    ],
    claims: [
      {
        what: `M for m = 2 … ${MOST_HOSTS} hosts`,
        published: PUBLISHED.join(', '),
        source: SOURCE,
        measured: asPublished ? `the same ${sequence.length}, for every m, with steps ${atPowers ? 'only at m = 2^p + 1' : 'elsewhere than at m = 2^p + 1 too'}` : sequence.join(', '),
        agrees: asPublished && atPowers,
        remark: `It gives many identifiers rather than short ways: for m = 65,536 3x12 with A = 8, where 3x11 has room and A = 7.33.`,
      },
    ],
  };
}

export const mRegions: Experiment = {
  name: NAME,
  summary: 'how many identifiers the published rule gives for so many hosts',
  takes: {},
  run,
};
