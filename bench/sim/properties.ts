// properties: the formulas of k-ary n-cubes against breadth-first search, and where the mean distance is least.
import { KnCube, leastMeanShape } from '../../src/overlay/index.js';
import { invalid } from '../../src/base/index.js';
import { type Claim, type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { askedShape } from './flow-setup.js';
import { type Result, type Target, summarize } from '../../src/report/index.js';

const NAME = 'properties';
const SOURCE = 'Parmer et al. 2005';
/** Of each k every n, up to MOST_SHOWN identifiers. */
const KS = [2, 3, 4, 5, 8, 16];
const MOST_SHOWN = 2 ** 17;
/** Up to here from every identifier, above from one: the graph looks the same from each, which is thereby seen for the small ones. */
const ALL_PAIRS = 1100;
const MOST_SEARCHED = 2 ** 21;
const MOST_HOSTS = 2 ** 19;

function shownCubes(): KnCube[] {
  return KS.flatMap((k) => Array.from({ length: Math.floor(Math.log(MOST_SHOWN + 0.5) / Math.log(k)) }, (_, i) => new KnCube(k, i + 1)));
}

/** What a search finds, without any formula. */
interface Measures {
  identifiers: number;
  degree: number;
  diameter: number;
  mean: number;
}

/**
 * Breadth-first search over the graph as it is defined, identifiers being neighbours if they differ by ±1 (mod k) in one digit. Shares no code with
 * KnCube, which it is to judge.
 */
class SearchedCube {
  readonly size: number;
  private readonly hops: Int32Array;
  private readonly queue: Int32Array;
  private readonly beside: number[];

  constructor(
    private readonly k: number,
    private readonly n: number,
  ) {
    this.size = k ** n;
    this.hops = new Int32Array(this.size);
    this.queue = new Int32Array(this.size);
    this.beside = [];
  }

  /** Seen from one identifier; the mean counts itself. */
  from(source: number): Measures {
    const { hops, queue } = this;
    hops.fill(-1);
    hops[source] = 0;
    queue[0] = source;
    let found = 1;
    let sum = 0;
    for (let i = 0; i < found; i++) {
      const id = queue[i];
      sum += hops[id];
      for (const other of this.neighbours(id)) {
        if (hops[other] >= 0) continue;
        hops[other] = hops[id] + 1;
        queue[found++] = other;
      }
    }
    return { identifiers: found, degree: this.neighbours(source).length, diameter: hops[queue[found - 1]], mean: sum / found };
  }

  private neighbours(id: number): readonly number[] {
    const { k, n, beside } = this;
    beside.length = 0;
    for (let dimension = 0, power = 1; dimension < n; dimension++, power *= k) {
      const digit = Math.floor(id / power) % k;
      const up = id + (((digit + 1) % k) - digit) * power;
      const down = id + (((digit + k - 1) % k) - digit) * power;
      beside.push(up);
      if (down !== up) beside.push(down);
    }
    return beside;
  }
}

const same = (a: Measures, b: Measures): boolean =>
  a.identifiers === b.identifiers && a.degree === b.degree && a.diameter === b.diameter && Math.abs(a.mean - b.mean) < 1e-9;

/** From all identifiers of a small cube, from the first of a large one; undefined if two see different things. */
function search(k: number, n: number): Measures | undefined {
  const cube = new SearchedCube(k, n);
  const seen = cube.from(0);
  for (let source = 1; cube.size <= ALL_PAIRS && source < cube.size; source++) {
    if (!same(cube.from(source), seen)) return undefined;
  }
  return seen;
}

/** The continuous A(k, log M / log k) = k ln M / (4 ln k) at its least, by golden-section search. */
function continuousOptimum(identifiers: number): { k: number; n: number } {
  const mean = (k: number): number => (k * Math.log(identifiers)) / (4 * Math.log(k));
  const golden = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [1.1, 16];
  while (high - low > 1e-9) {
    const [a, b] = [high - golden * (high - low), low + golden * (high - low)];
    if (mean(a) < mean(b)) high = b;
    else low = a;
  }
  return { k: low, n: Math.log(identifiers) / Math.log(low) };
}

/** Of 2 … MOST_HOSTS hosts, the share for which k = 3 has the least mean distance, and the most for which it has not. A shape stays the best as long as it has room. */
function winsOfThree(): { share: number; lastOther: number } {
  let wins = 0;
  let lastOther = 0;
  for (let hosts = 2; hosts <= MOST_HOSTS; ) {
    const { k, n } = leastMeanShape(hosts);
    const last = Math.min(k ** n, MOST_HOSTS);
    if (k === 3) wins += last - hosts + 1;
    else lastOther = last;
    hosts = last + 1;
  }
  return { share: wins / (MOST_HOSTS - 1), lastOther };
}

/** A 2-ary 2j-cube and a 4-ary j-cube have as many identifiers at each distance: for how many of all j up to the largest. */
function tiesOfTwoAndFour(): { tied: number; of: number } {
  let tied = 0;
  for (let j = 1; j <= 12; j++) {
    const [two, four] = [new KnCube(2, 2 * j), new KnCube(4, j)];
    if (two.meanDistance === four.meanDistance && String(two.distanceCounts()) === String(four.distanceCounts())) tied++;
  }
  return { tied, of: 12 };
}

function optimumClaim(): Claim {
  const identifiers = 65_536;
  const optimum = continuousOptimum(identifiers);
  const { share, lastOther } = winsOfThree();
  const { tied, of } = tiesOfTwoAndFour();
  return {
    what: `Dimensions with the least mean distance, M = ${identifiers}`,
    published: `n = ln M = ${Math.log(identifiers).toFixed(2)}`,
    source: SOURCE,
    measured: `continuous: n = ${optimum.n.toFixed(2)}, k = ${optimum.k.toFixed(3)}`,
    agrees: Math.abs(optimum.n - Math.log(identifiers)) < 1e-3,
    remark:
      `That is the optimum of k ln M / (4 ln k), at k = e, without the rounding of ⌊k²/4⌋, which favours odd k. Over integers k = 3 wins: for ${(100 * share).toFixed(3)} % of all numbers of hosts from 2 to ${MOST_HOSTS} the least A has k = 3 ` +
      `(the last without is ${lastOther}), and k = 2 and k = 4 tie (${tied} of ${of} pairs 2x2j and 4xj have as many identifiers at each distance: they are one graph).`,
  };
}

async function run({ parameters, progress, signal }: SimContext): Promise<ExperimentOutput> {
  const asked = askedShape(parameters);
  const cubes = asked === undefined ? shownCubes() : [asked];
  const large = cubes.find(({ size }) => size > MOST_SEARCHED);
  if (large !== undefined) throw invalid('n', large.n, `less for k = ${large.k}: ${large.size} identifiers are more than the ${MOST_SEARCHED} that are searched`);

  const results: Result[] = [];
  const wrong: string[] = [];
  for (const [i, cube] of cubes.entries()) {
    signal.throwIfAborted();
    const shape = `${cube.k}x${cube.n}`;
    progress(i, cubes.length, shape);
    await new Promise((resolve) => setImmediate(resolve));
    const formulas: Measures = { identifiers: cube.size, degree: cube.degree, diameter: cube.diameter, mean: cube.meanDistance };
    const seen = search(cube.k, cube.n);
    if (seen === undefined || !same(seen, formulas)) wrong.push(shape);
    if (seen === undefined) continue;
    for (const [metric, unit] of [['degree', ''], ['diameter', 'hops'], ['mean', 'hops']] as const) {
      results.push({ bench: NAME, variant: `k = ${cube.k}`, params: { identifiers: cube.size, k: cube.k, n: cube.n }, metric, unit, ...summarize([seen[metric]]) });
    }
  }
  progress(cubes.length, cubes.length, '');

  const agree = cubes.length - wrong.length;
  const disagree = wrong.length === 0 ? '' : `Not: ${wrong.join(', ')}.`;
  const target: Target = { what: 'Formulas that breadth-first search confirms, shapes', target: String(cubes.length), reached: String(agree), spread: '', met: wrong.length === 0 };
  const x = { param: 'identifiers', label: 'identifiers M', scale: 'log' as const };
  return {
    results,
    figures: [
      {
        id: 'properties-mean', title: 'Mean distance in k-ary n-cubes', kind: 'line', x, y: { metric: 'mean', label: 'mean distance', unit: 'hops' }, results,
        paragraph:
          `Found by breadth-first search over the bare definition of the graph, from every identifier where there are at most ${ALL_PAIRS}, else from one. ` +
          `${agree} of ${cubes.length} shapes have exactly as many identifiers, neighbours and hops as the formulas say. ${disagree}`.trim(),
      },
      {
        id: 'properties-diameter', title: 'Diameter of k-ary n-cubes', kind: 'line', x, y: { metric: 'diameter', label: 'diameter', unit: 'hops' }, results,
        paragraph: 'The greatest distance, n⌊k/2⌋, by the same search.',
      },
    ],
    targets: [target],
    claims: [
      {
        what: 'Properties of k-ary n-cubes',
        published: 'M = kⁿ; degree n for k = 2, else 2n; diameter n⌊k/2⌋; mean n⌊k²/4⌋/k',
        source: SOURCE,
        measured: `all four right in ${agree} of ${cubes.length} shapes`,
        agrees: wrong.length === 0,
        remark: `The mean counts the node itself; to the others it is M/(M − 1) times as long. ${disagree}`.trim(),
      },
      optimumClaim(),
    ],
  };
}

export const properties: Experiment = {
  name: NAME,
  summary: 'the formulas of k-ary n-cubes against breadth-first search',
  takes: { k: `with n one shape, instead of all of ${KS.join(', ')} up to ${MOST_SHOWN} identifiers`, n: 'with k one shape' },
  run,
};
