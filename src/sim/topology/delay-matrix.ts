import { invalid } from '../../base/index.js';

/** The most routers whose delays fit in a gigabyte. */
export const MAX_MATRIX_ROUTERS = 16_384;

/** What another thread needs to have the same matrix, without a copy. */
export interface SharedDelayMatrix {
  readonly routers: number;
  readonly delays: SharedArrayBuffer;
  readonly predecessors: SharedArrayBuffer | undefined;
}

/** The delay between any two routers, in memory that worker threads share. */
export class DelayMatrix {
  readonly routers: number;
  /** routers × routers, row by row; 0 on the diagonal. */
  readonly delaysUs: Float32Array<SharedArrayBuffer>;
  /** [a × routers + b]: the router before b on the shortest path from a; a where b = a. Undefined unless it was asked for. */
  readonly predecessors: Uint16Array<SharedArrayBuffer> | undefined;

  private constructor({ routers, delays, predecessors }: SharedDelayMatrix) {
    this.routers = routers;
    this.delaysUs = new Float32Array(delays);
    this.predecessors = predecessors === undefined ? undefined : new Uint16Array(predecessors);
  }

  /** All zeros. Throws ERR_INVALID_ARGUMENT unless `routers` is an integer from 1 to 16,384. */
  static make(routers: number, withPredecessors: boolean): DelayMatrix {
    if (!Number.isInteger(routers) || routers < 1 || routers > MAX_MATRIX_ROUTERS) {
      throw invalid('routers', routers, `an integer from 1 to ${MAX_MATRIX_ROUTERS}, for a table of the delays between all of them`);
    }
    const entries = routers * routers;
    return new DelayMatrix({
      routers,
      delays: new SharedArrayBuffer(entries * Float32Array.BYTES_PER_ELEMENT),
      predecessors: withPredecessors ? new SharedArrayBuffer(entries * Uint16Array.BYTES_PER_ELEMENT) : undefined,
    });
  }

  static from(shared: SharedDelayMatrix): DelayMatrix {
    return new DelayMatrix(shared);
  }

  share(): SharedDelayMatrix {
    return { routers: this.routers, delays: this.delaysUs.buffer, predecessors: this.predecessors?.buffer };
  }

  /** In µs. */
  between(a: number, b: number): number {
    return this.delaysUs[a * this.routers + b];
  }
}
