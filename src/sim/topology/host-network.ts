import { type Random, invalid } from '../../base/index.js';
import { DelayMatrix, type SharedDelayMatrix } from './delay-matrix.js';
import { type Topology } from './topology.js';

/** As many as a message-accurate or flow-level world can have; more than that is a mistake. */
const MAX_HOSTS = 2 ** 24;

/** What another thread needs to have the same network, without a copy. */
export interface SharedHostNetwork {
  readonly matrix: SharedDelayMatrix;
  readonly routers: SharedArrayBuffer;
  readonly access: SharedArrayBuffer;
}

export interface PlacementOptions {
  /** Delays of access links are uniform between these, in whole µs; by default 1 ms for all, a LAN, as in the Scribe paper (JSAC 2002). */
  accessUs?: readonly [low: number, high: number] | undefined;
  /** True: no router gets a second host before each has one, and so on; else each host's router is drawn for itself. */
  even?: boolean | undefined;
}

const LAN_US = 1_000;

/** Hosts, each on a router by an access link of its own, and the unicast delay between any two. */
export class HostNetwork {
  readonly hosts: number;
  readonly matrix: DelayMatrix;
  /** The router of each host. */
  readonly router: Int32Array<SharedArrayBuffer>;
  /** The delay of each host's access link. */
  readonly accessUs: Float32Array<SharedArrayBuffer>;
  // Fields of its own: two look-ups less in delayUs(), which everything calls.
  private readonly delaysUs: Float32Array;
  private readonly routers: number;

  /** Takes arrays over shared memory as they are, and copies others into such. */
  constructor(matrix: DelayMatrix, router: Int32Array, accessUs: Float32Array) {
    if (router.length !== accessUs.length) throw invalid('accessUs', `${accessUs.length} delays`, `one for each of ${router.length} hosts`);
    this.matrix = matrix;
    this.hosts = router.length;
    this.router = new Int32Array(sharedMemoryOf(router));
    this.accessUs = new Float32Array(sharedMemoryOf(accessUs));
    this.delaysUs = matrix.delaysUs;
    this.routers = matrix.routers;
  }

  /**
   * Puts `hosts` hosts on random attachable routers, several on one if need be. Throws ERR_INVALID_ARGUMENT unless `hosts` is an integer from 1 to 2^24,
   * the matrix is the topology's, and access delays are in order.
   */
  static place(topology: Topology, matrix: DelayMatrix, hosts: number, random: Random, options: PlacementOptions = {}): HostNetwork {
    const { accessUs: [low, high] = [LAN_US, LAN_US], even = false } = options;
    if (!Number.isInteger(hosts) || hosts < 1 || hosts > MAX_HOSTS) throw invalid('hosts', hosts, `an integer from 1 to ${MAX_HOSTS}`);
    if (matrix.routers !== topology.routers) throw invalid('matrix', `${matrix.routers} routers`, `of the topology's ${topology.routers} routers`);
    if (!(Number.isInteger(low) && Number.isInteger(high) && low >= 0 && low <= high && high <= 1e6)) {
      throw invalid('accessUs', `${low} to ${high}`, 'whole numbers in order, from 0 to 1000000');
    }
    const { attachable } = topology;
    const router = new Int32Array(new SharedArrayBuffer(hosts * Int32Array.BYTES_PER_ELEMENT));
    const access = new Float32Array(new SharedArrayBuffer(hosts * Float32Array.BYTES_PER_ELEMENT));
    const draws = random.fork('routers');
    const round = attachable.slice();
    for (let host = 0; host < hosts; host++) {
      if (even && host % round.length === 0) draws.shuffle(round);
      router[host] = even ? round[host % round.length] : attachable[draws.int(0, attachable.length - 1)];
    }
    const links = random.fork('access');
    for (let host = 0; host < hosts; host++) access[host] = low === high ? low : links.int(low, high);
    return new HostNetwork(matrix, router, access);
  }

  static from({ matrix, routers, access }: SharedHostNetwork): HostNetwork {
    return new HostNetwork(DelayMatrix.from(matrix), new Int32Array(routers), new Float32Array(access));
  }

  share(): SharedHostNetwork {
    return { matrix: this.matrix.share(), routers: this.router.buffer, access: this.accessUs.buffer };
  }

  /** One way, in µs; 0 from a host to itself. */
  delayUs(a: number, b: number): number {
    if (a === b) return 0;
    return this.accessUs[a] + this.delaysUs[this.router[a] * this.routers + this.router[b]] + this.accessUs[b];
  }
}

function sharedMemoryOf(array: Int32Array | Float32Array): SharedArrayBuffer {
  const { buffer, byteOffset, byteLength } = array;
  if (buffer instanceof SharedArrayBuffer && byteLength === buffer.byteLength) return buffer;
  const copy = new SharedArrayBuffer(byteLength);
  new Uint8Array(copy).set(new Uint8Array(buffer, byteOffset, byteLength));
  return copy;
}
