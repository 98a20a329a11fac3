// Cumulative shares of subscribers against delay penalty: the published figure.
import { quantile, shareAtMost } from '../../src/sim/index.js';
import { type Figure, type Result, summarize } from '../../src/report/index.js';

/** Ten a decade, evenly on a logarithm (preferred numbers R10: ISO 3). */
const R10 = [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8];
const DECADES = 4;
/** Whoever is beside the publisher may have any penalty: an axis for all would be mostly empty. */
const NEARLY_ALL = 0.995;
const METRIC = 'subscribers';

/** Bounds up to the first that nearly all penalties of each curve, given ascending, stay within. */
export function penaltyBounds(curves: readonly Float32Array[]): number[] {
  const greatest = Math.max(...curves.map((ascending) => quantile(ascending, NEARLY_ALL)));
  const bounds = Array.from({ length: DECADES }, (_, decade) => R10.map((one) => Number(`${one}e${decade}`))).flat();
  const enough = bounds.findIndex((bound) => bound >= greatest);
  return enough < 0 ? bounds : bounds.slice(0, enough + 1);
}

/** A curve over penalties, given ascending: at each bound the share that is at most that. */
export function cumulative(bench: string, variant: string, ascending: Float32Array, bounds: readonly number[]): Result[] {
  return bounds.map((penalty) => ({ bench, variant, params: { penalty }, metric: METRIC, unit: '%', ...summarize([100 * shareAtMost(ascending, penalty)]) }));
}

export function cumulativeFigure(id: string, title: string, paragraph: string, results: readonly Result[]): Figure {
  return {
    id, title, paragraph, results,
    kind: 'line',
    x: { param: 'penalty', label: 'delay penalty: delay over the overlay / unicast delay', scale: 'log' },
    y: { metric: METRIC, label: 'subscribers with at most this penalty', unit: '%' },
  };
}
