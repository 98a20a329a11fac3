import { type Topology } from './topology.js';

const LOG_ARITY = 2;
const ARITY = 1 << LOG_ARITY;

/**
 * Shortest paths from one router after another (Dijkstra 1959) by a heap that knows where each router stands in it. Allocates once.
 * Of several shortest paths it takes the same one at every call.
 */
export class Dijkstra {
  private readonly heap: Int32Array;
  /** Where a router stands in the heap; −1: not in it. */
  private readonly places: Int32Array;
  private readonly distances: Float64Array;
  private size: number;

  constructor(private readonly topology: Topology) {
    this.heap = new Int32Array(topology.routers);
    this.places = new Int32Array(topology.routers);
    this.distances = new Float64Array(topology.routers);
    this.size = 0;
  }

  /**
   * Writes the delay to each router, in µs, to `delaysUs` from `at`, and what comes before it on its path to the same place in
   * `predecessors`: the source itself comes before the source.
   */
  run(source: number, delaysUs: Float32Array, predecessors: Uint16Array | undefined, at: number): void {
    const { routers, offsets, targets, delaysUs: edgesUs } = this.topology;
    const { heap, places, distances } = this;
    places.fill(-1);
    distances.fill(Infinity);
    distances[source] = 0;
    heap[0] = source;
    this.size = 1;
    if (predecessors !== undefined) predecessors[at + source] = source;
    while (this.size > 0) {
      const nearest = heap[0];
      const distance = distances[nearest];
      this.size--;
      if (this.size > 0) this.sink(heap[this.size]);
      const end = offsets[nearest + 1];
      for (let edge = offsets[nearest]; edge < end; edge++) {
        const target = targets[edge];
        const through = distance + edgesUs[edge];
        if (through >= distances[target]) continue;
        if (predecessors !== undefined) predecessors[at + target] = nearest;
        // A router that was reached before is still in the heap: edges take time, so none that has left it comes nearer.
        const place = distances[target] === Infinity ? this.size++ : places[target];
        distances[target] = through;
        this.rise(place, target, through);
      }
    }
    for (let router = 0; router < routers; router++) delaysUs[at + router] = distances[router];
  }

  private rise(place: number, router: number, distance: number): void {
    const { heap, places, distances } = this;
    while (place > 0) {
      const parent = (place - 1) >> LOG_ARITY;
      if (distance >= distances[heap[parent]]) break;
      places[(heap[place] = heap[parent])] = place;
      place = parent;
    }
    heap[place] = router;
    places[router] = place;
  }

  /** Puts `router` in the place of the nearest, which has left. */
  private sink(router: number): void {
    const { heap, places, distances, size } = this;
    const distance = distances[router];
    let place = 0;
    for (;;) {
      const first = ARITY * place + 1;
      if (first >= size) break;
      const end = Math.min(first + ARITY, size);
      let least = first;
      for (let child = first + 1; child < end; child++) if (distances[heap[child]] < distances[heap[least]]) least = child;
      if (distance <= distances[heap[least]]) break;
      places[(heap[place] = heap[least])] = place;
      place = least;
    }
    heap[place] = router;
    places[router] = place;
  }
}
