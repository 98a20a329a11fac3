// agreement: what both simulators can do, done by both: the hosts' real code, message by message, and the flow-level trees.
import { Random, invalid } from '../../src/base/index.js';
import { KnCube, Router } from '../../src/overlay/index.js';
import { type Figure, type Target, humanize } from '../../src/report/index.js';
import { DeliveryTree, World, formOverlay } from '../../src/sim/index.js';
import { type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { askedShape } from './flow-setup.js';
import { Series } from './series.js';

const NAME = 'agreement';
const HEARTBEAT_US = 1e6;
/** Until all hosts know the delays of their links; then until all have a parent. */
const MEASURING_US = 5 * HEARTBEAT_US;
const GRAFTING_US = 10 * HEARTBEAT_US;
const SHAPES = [[2, 6], [2, 8], [3, 4], [4, 3], [5, 2], [16, 2]] as const;
/** Both are functions of costs alone; random routing draws, and draws differently. */
const ROUTINGS = ['greedy', 'odr'] as const;
/** With a delay of its own between any two of them. */
const MOST_HOSTS = 4096;
const [LEAST_US, MOST_US] = [1000, 40_000];

/** Hosts whose parents are the same both ways, and by how much delays differ at most, in µs a hop. */
function compare(cube: KnCube, routing: 'greedy' | 'odr', random: Random): { same: number; hosts: number; mostUs: number } {
  const hosts = cube.size;
  const delays = Int32Array.from({ length: hosts * hosts }, () => random.int(LEAST_US, MOST_US));
  const delayUs = (a: number, b: number): number => (a === b ? 0 : delays[Math.min(a, b) * hosts + Math.max(a, b)]);
  const world = new World({ hosts, random: random.fork('world'), network: { delayUs } });
  const nodes = formOverlay(world, hosts, { k: cube.k, n: cube.n, routing, heartbeatUs: HEARTBEAT_US, leaseUs: 5 * HEARTBEAT_US }, random.fork('nodes'));
  world.run(MEASURING_US);
  const publisher = random.int(0, hosts - 1);
  const arrivedUs = new Float64Array(hosts);
  for (const node of nodes) {
    const onMessage = (): void => {
      arrivedUs[node.host] = world.clock.nowUs();
    };
    if (node.host !== publisher) node.subscribe(1, { onMessage });
  }
  const publication = nodes[publisher].advertise(1);
  world.run(MEASURING_US + GRAFTING_US);
  const sentUs = world.clock.nowUs();
  publication.publish(new Uint8Array(1));
  world.run(sentUs + HEARTBEAT_US);
  const tree = new DeliveryTree(cube, Int32Array.from({ length: hosts }, (_, id) => id), { hosts, delayUs });
  tree.build(new Router(cube, routing), publisher);
  let same = 0;
  let mostUs = 0;
  for (const node of nodes) {
    if (node.host === publisher) continue;
    if (node.branches()[0].parent === tree.parent[node.host]) same++;
    mostUs = Math.max(mostUs, Math.abs(arrivedUs[node.host] - sentUs - tree.delayUs[node.host]) / tree.hops[node.host]);
  }
  return { same, hosts: hosts - 1, mostUs };
}

function run({ parameters, seed, progress, signal }: SimContext): Promise<ExperimentOutput> {
  const asked = askedShape(parameters);
  if (asked !== undefined && asked.size > MOST_HOSTS) throw invalid('k and n', `${asked.k} and ${asked.n}`, `of at most ${MOST_HOSTS} identifiers, each with a host`);
  const cubes = asked === undefined ? SHAPES.map(([k, n]) => new KnCube(k, n)) : [asked];
  const series = new Series(NAME);
  let [same, hosts, mostUs, done] = [0, 0, 0, 0];
  for (const cube of cubes) {
    for (const routing of ROUTINGS) {
      signal.throwIfAborted();
      const shape = `${cube.k}x${cube.n}`;
      progress(done++, cubes.length * ROUTINGS.length, `${shape} ${routing}`);
      const one = compare(cube, routing, new Random(seed >>> 0).fork(`${NAME} ${shape} ${routing}`));
      series.add(routing, { shape }, 'same parents', '%', (100 * one.same) / one.hosts);
      series.add(routing, { shape }, 'difference', 'us', one.mostUs);
      same += one.same;
      hosts += one.hosts;
      mostUs = Math.max(mostUs, one.mostUs);
    }
  }
  const results = series.results();
  const figures: Figure[] = [
    {
      id: NAME,
      title: 'Message by message, and at flow level',
      paragraph: `Every host subscribes to one publisher, links take ${LEAST_US / 1e3} to ${MOST_US / 1e3} ms at random. ${same} of ${hosts} hosts have the same parent in the world of real hosts, which measure their links, and in the flow-level tree, which knows them; a message's delays differ by at most ${humanize(mostUs, 'us')} a hop.`,
      kind: 'bar',
      x: { param: 'shape', label: 'cube' },
      y: { metric: 'same parents', label: 'hosts with the same parent', unit: '%' },
      results,
    },
  ];
  const target = (what: string, wanted: string, reached: string, met: boolean): Target => ({ what: `${NAME}: ${what}`, target: wanted, reached, spread: '', met });
  const targets = [
    target('hosts with the same parent in both simulators', `${hosts}`, `${same}`, same === hosts),
    target('difference of delays, a hop', '≤ 1 µs', humanize(mostUs, 'us'), mostUs <= 1),
  ];
  return Promise.resolve({ results, figures, targets, claims: [] });
}

export const agreement: Experiment = {
  name: NAME,
  summary: 'one case simulated message by message and at flow level: parents and delays',
  takes: { k: 'several shapes', n: 'several shapes' },
  run,
};
