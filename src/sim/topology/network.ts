import { Random, invalid } from '../../base/index.js';
import { MAX_MATRIX_ROUTERS } from './delay-matrix.js';
import { HostNetwork, type PlacementOptions } from './host-network.js';
import { readLatencies } from './latency-file.js';
import { type ParallelOptions, shortestPaths } from './shortest-paths.js';
import { type Topology } from './topology.js';
import { scaledTransitStub, transitStub } from './transit-stub.js';
import { WAXMAN_DEFAULTS, WAXMAN_LEAST_ROUTERS, waxman } from './waxman.js';

export interface NetworkParameters {
  /** By default transit-stub. */
  topology?: 'transit-stub' | 'waxman' | undefined;
  /** As near as possible, for transit-stub; by default 5,050. */
  routers?: number | undefined;
  hosts: number;
  /** Path of a file of measured latencies, instead of a topology and its routers: both must be undefined beside it. */
  latencies?: string | undefined;
  seed: number;
  /** Whether the matrix is to have predecessors. */
  predecessors?: boolean | undefined;
}

export interface Network {
  topology: Topology;
  network: HostNetwork;
  /** For HostNetwork.place(), to put hosts anew on the same topology. */
  placement: PlacementOptions;
}

const ROUTERS = 5_050;

function draw({ topology = 'transit-stub', routers = ROUTERS }: NetworkParameters, random: Random): Topology {
  if (routers > MAX_MATRIX_ROUTERS) throw invalid('routers', routers, `at most ${MAX_MATRIX_ROUTERS}, for a table of the delays between all of them`);
  switch (topology) {
    case 'transit-stub':
      return transitStub(scaledTransitStub(routers), random);
    case 'waxman':
      if (!(routers >= WAXMAN_LEAST_ROUTERS)) throw invalid('routers', routers, `${WAXMAN_LEAST_ROUTERS} or more, for ${WAXMAN_DEFAULTS.meanDegree} edges to meet at each in the mean`);
      return waxman({ ...WAXMAN_DEFAULTS, routers }, random);
    default:
      throw invalid('topology', topology, 'transit-stub or waxman');
  }
}

/**
 * A physical network and hosts on it, as the experiments take it. On a topology each host's router is drawn for itself and its access link takes 1 ms.
 * On a file of latencies the nodes are the hosts, without access links; of more hosts than nodes several share one, by access links of 1 ms.
 * Throws ERR_INVALID_ARGUMENT or ERR_FORMAT, in one line, for what can't be, and the signal's reason once it is aborted.
 */
export async function makeNetwork(parameters: NetworkParameters, options: ParallelOptions): Promise<Network> {
  const { latencies, hosts, predecessors = false } = parameters;
  const random = new Random(parameters.seed);
  for (const other of ['topology', 'routers'] as const) {
    if (latencies !== undefined && parameters[other] !== undefined) throw invalid(other, parameters[other], `left out beside a file of latencies`);
  }
  const { topology, matrix = await shortestPaths(topology, { ...options, predecessors }) } =
    latencies === undefined ? { topology: draw(parameters, random.fork('topology')) } : readLatencies(latencies, predecessors);
  const placement: PlacementOptions = latencies !== undefined && hosts <= topology.routers ? { even: true, accessUs: [0, 0] } : { even: latencies !== undefined };
  return { topology, network: HostNetwork.place(topology, matrix, hosts, random.fork('hosts'), placement), placement };
}
