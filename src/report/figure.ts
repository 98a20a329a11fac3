import { inUnits } from './quantity.js';
import type { Result } from './results.js';

/** How a set of results is to be shown. Benches declare these. */
export interface Figure {
  /** Unique in a page; becomes an anchor. */
  id: string;
  title: string;
  /** What was compared and what it shows, computed from the results. A blank line starts a new paragraph. */
  paragraph: string;
  kind: 'line' | 'bar';
  /** `param` names an entry of `Result.params`, or is 'variant'. Values that are not numbers are ordinal, in order of appearance. */
  x: { param: string; label: string; scale?: 'linear' | 'log' };
  /** `unit` must be that of the results. */
  y: { metric: string; label: string; unit: string; scale?: 'linear' | 'log' };
  /** An entry of `Result.params`: one small panel per value. */
  facet?: string;
  /** Those of another metric, or without the x or facet parameter, are left out. */
  results: readonly Result[];
  /** A value to compare with, in the unit of y. */
  reference?: { value: number; label: string };
}

/** A figure's results as cells. Any cell may be missing. */
export interface Grid {
  /** One entry, '', where the figure has no facets. */
  facets: readonly string[];
  variants: readonly string[];
  xs: readonly string[];
  /** Whether every x is a number; `xs` is then ascending. */
  numericX: boolean;
  /** All that have a cell. */
  results: readonly Result[];
  at(facet: string, variant: string, x: string): Result | undefined;
}

/**
 * Sorts a figure's results into cells.
 *
 * @throws RangeError when a result has another unit than the figure, or two results claim one cell:
 *   either would show a number under a wrong name
 */
export function gridOf(figure: Figure): Grid {
  const cells = new Map<string, Result>();
  const facets = new Set<string>();
  const variants = new Set<string>();
  const xs = new Set<string>();
  for (const result of figure.results) {
    const x = placeOf(result, figure.x.param);
    const facet = figure.facet === undefined ? '' : placeOf(result, figure.facet);
    if (result.metric !== figure.y.metric || x === undefined || facet === undefined) continue;
    if (result.unit !== figure.y.unit) {
      throw new RangeError(`figure '${figure.id}': '${result.variant}' is in ${result.unit}, the axis in ${figure.y.unit}`);
    }
    const key = JSON.stringify([facet, result.variant, x]);
    if (cells.has(key)) {
      throw new RangeError(`figure '${figure.id}': two results for '${result.variant}' at ${figure.x.param} = ${x}${facet && `, ${figure.facet} = ${facet}`}`);
    }
    cells.set(key, result);
    facets.add(facet);
    variants.add(result.variant);
    xs.add(x);
  }
  const numericX = figure.x.param !== 'variant' && xs.size > 0 && [...xs].every(isNumber);
  return {
    facets: ascending(facets),
    variants: [...variants],
    xs: numericX ? ascending(xs) : [...xs],
    numericX,
    results: [...cells.values()],
    at: (facet, variant, x) => cells.get(JSON.stringify([facet, variant, x])),
  };
}

/** 'Throughput (Mframes/s)'; without the bracket where the numbers carry their unit. */
export function yTitle(figure: Figure): string {
  const unit = inUnits(figure.y.unit).heading;
  return unit === '' ? figure.y.label : `${figure.y.label} (${unit})`;
}

/** 'ring = 256'. */
export function facetTitle(figure: Figure, facet: string): string {
  return figure.facet === undefined ? '' : `${figure.facet} = ${facet}`;
}

/** The place of a result along `param`. Where variants themselves are x, all share one column. */
function placeOf(result: Result, param: string): string | undefined {
  if (param === 'variant') return '';
  const value = result.params[param];
  return value === undefined ? undefined : String(value);
}

function isNumber(text: string): boolean {
  return text.trim() !== '' && Number.isFinite(Number(text));
}

function ascending(values: ReadonlySet<string>): string[] {
  return [...values].every(isNumber) ? [...values].sort((a, b) => Number(a) - Number(b)) : [...values];
}
