// bench: what is measured. path/ goes end to end through the card; micro/ times single operations; each bench returns
// results, the figures that show them with a paragraph that says what they show, and the targets they are held to.
import { type Bench } from './context.js';
import { micro } from './micro/micro.js';
import { copy } from './path/copy.js';
import { edf } from './path/edf.js';
import { forward } from './path/forward.js';
import { garbage } from './path/garbage.js';
import { idle } from './path/idle.js';
import { isolation } from './path/isolation.js';
import { latency } from './path/latency.js';
import { path } from './path/path.js';
import { udp } from './path/udp.js';
import { upcall } from './path/upcall.js';

export { type Bench } from './context.js';

/** In the order in which they run and are reported. */
export const BENCHES: readonly Bench[] = [forward, copy, latency, udp, upcall, path, isolation, edf, idle, garbage, micro];
