// sim: the experiments of `ringcube sim`: each runs a simulation of src/sim and returns results, figures, targets, and published claims beside what was measured.
import { agreement } from './agreement.js';
import { churn } from './churn.js';
import { deBruijn } from './de-bruijn.js';
import { delayPenalty } from './delay-penalty.js';
import { events } from './events.js';
import { exchange } from './exchange.js';
import { type Experiment } from './experiment.js';
import { mRegions } from './m-regions.js';
import { million } from './million.js';
import { properties } from './properties.js';
import { scribe } from './scribe.js';
import { success } from './success.js';

export { type Claim, type Experiment, type ExperimentOutput, type SimContext, type SimParameters } from './experiment.js';

/** In the order in which `ringcube reproduce` runs them. */
export const EXPERIMENTS: readonly Experiment[] = [properties, mRegions, delayPenalty, million, success, exchange, deBruijn, scribe, churn, agreement, events];
