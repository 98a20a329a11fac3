// Next-hop decisions of the overlay: one over pairs and costs drawn beforehand, and what it leaves to the garbage collector.
import { Random } from '../../src/base/index.js';
import { KnCube, Router, type Routing } from '../../src/overlay/index.js';

const SHAPES: readonly (readonly [k: number, n: number])[] = [[2, 16], [16, 4], [3, 12]];
const ROUTINGS: readonly Routing[] = ['odr', 'random', 'greedy'];
const PAIRS = 4096; // a power of two
/** So few that nothing is collected meanwhile: one object to a decision would be seen as megabytes. */
const COUNTED = 2 ** 17;
/** What V8 does beside it, compiling, adds to one turn or another. */
const TURNS = 3;

export interface Decisions {
  routing: Routing;
  shape: string;
  /** Of one call of body(). */
  count: number;
  body: () => number;
  /** What the heap grows by, a decision; call it when body() is warm. */
  allocatedBytes: () => number;
}

/** One for each shape and routing. A call of body() takes another stretch of the pairs, so that no branch can be learnt by heart. */
export function nextHops(seed: number, count: number): Decisions[] {
  return SHAPES.flatMap(([k, n]) => {
    const cube = new KnCube(k, n);
    const random = new Random(seed).fork(`next hops ${k}x${n}`);
    const from = Int32Array.from({ length: PAIRS }, () => random.int(0, cube.size - 1));
    const to = Int32Array.from({ length: PAIRS }, () => random.int(0, cube.size - 1));
    const costs = Float32Array.from({ length: PAIRS + cube.degree }, () => random.float());
    return ROUTINGS.map((routing): Decisions => {
      const router = new Router(cube, routing, random);
      let next = 0;
      const body = (): number => {
        let sum = 0;
        for (let i = 0; i < count; i++) {
          sum += router.nextPort(from[next], to[next], costs, next);
          next = (next + 1) & (PAIRS - 1);
        }
        return sum;
      };
      const allocatedBytes = (): number => {
        let least = Infinity;
        for (let turn = 0; turn < TURNS; turn++) {
          const before = process.memoryUsage().heapUsed;
          for (let done = 0; done < COUNTED; done += count) body();
          least = Math.min(least, Math.max(0, process.memoryUsage().heapUsed - before) / COUNTED);
        }
        return least;
      };
      return { routing, shape: `${k}x${n}`, count, body, allocatedBytes };
    });
  });
}
