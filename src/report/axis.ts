import type { Figure, Grid } from './figure.js';
import { digits, humanize, inUnits, scaleOf, type Units } from './quantity.js';

/** A numeric axis: its ends, where it is marked, and how a mark is written. */
export interface Axis {
  type: 'linear' | 'log';
  domain: readonly [number, number];
  ticks: readonly number[];
  label(tick: number): string;
}

/** The axis of a figure's y: all its panels share it. */
export function yAxisOf(figure: Figure, grid: Grid): Axis {
  const values = grid.results.flatMap((result) => [result.median, result.min, result.max]);
  return valueAxis(figure.reference ? [...values, figure.reference.value] : values, figure.y.unit, figure.y.scale ?? 'linear');
}

export function inside(value: number, axis: Axis): boolean {
  return value >= axis.domain[0] && value <= axis.domain[1];
}

export function clamp(value: number, axis: Axis): number {
  return Math.min(Math.max(value, axis.domain[0]), axis.domain[1]);
}

/** How far along an axis a value lies: 0 at its low end, 1 at its high end. */
export function fraction(value: number, { type, domain: [low, high] }: Pick<Axis, 'type' | 'domain'>): number {
  return type === 'log' ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

/**
 * An axis for measured values: linear from 0 (or the lowest value below it), logarithmic between round numbers.
 * Values that a logarithm cannot show are ignored; where none is left the axis is linear.
 */
function valueAxis(values: readonly number[], unit: string, type: 'linear' | 'log'): Axis {
  const units = inUnits(unit);
  const finite = values.filter(Number.isFinite);
  if (type === 'log') {
    const positive = finite.filter((value) => value > 0);
    if (positive.length > 0) return logAxis(Math.min(...positive), Math.max(...positive), units);
  }
  return linearAxis(Math.min(0, ...finite), Math.max(0, ...finite) || 1, units);
}

function linearAxis(low: number, high: number, units: Units): Axis {
  // One scale for the whole axis, and round numbers in it: 0.5, 1, 1.5 ms and not 500 µs, 1 ms, 1.5 ms.
  const scale = scaleOf(Math.max(-low, high), units);
  const step = roundStep((high - low) / scale.factor / 5);
  const first = Math.floor(low / scale.factor / step);
  const last = Math.ceil(high / scale.factor / step);
  const ticks = range(first, last).map((i) => i * step * scale.factor);
  const label = (tick: number): string => (tick === 0 ? '0' : `${digits(tick / scale.factor)} ${scale.short}`.trimEnd());
  return { type: 'linear', domain: [ticks[0], ticks.at(-1)!], ticks, label };
}

function logAxis(low: number, high: number, units: Units): Axis {
  const label = (tick: number): string => {
    const scale = scaleOf(tick, units);
    return `${digits(tick / scale.factor)} ${scale.short}`.trimEnd();
  };
  const grid = units.binary ? powersOfTwo(low, high) : roundNumbers(low, high);
  const from = grid.findLastIndex((tick) => tick <= low);
  const to = grid.findIndex((tick, i) => tick >= high && i > from);
  const ticks = grid.slice(from, to + 1);
  return { type: 'log', domain: [ticks[0], ticks.at(-1)!], ticks, label };
}

/** Round numbers inside a scale, for an axis of numbers too many to name. */
export function roundTicks({ type, domain: [low, high] }: Pick<Axis, 'type' | 'domain'>): number[] {
  if (type === 'log') return roundNumbers(low, high).filter((tick) => tick >= low && tick <= high);
  const step = roundStep((high - low) / 8);
  return range(Math.ceil(low / step), Math.floor(high / step)).map((i) => Number((i * step).toPrecision(12)));
}

/** Round numbers around and between the ends: 1, 2, 5 over few decades, powers of ten over many. */
function roundNumbers(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const mantissas = decades < 3 ? [1, 2, 5] : decades < 4.5 ? [1, 3] : [1];
  return range(Math.floor(Math.log10(low)) - 1, Math.ceil(Math.log10(high)) + 1).flatMap((power) =>
    // Not mantissa * 10 ** power, which is inexact below 1.
    mantissas.map((mantissa) => Number(`${mantissa}e${power}`)),
  );
}

function powersOfTwo(low: number, high: number): number[] {
  const step = Math.max(1, Math.ceil(Math.log2(high / low) / 8));
  const first = Math.floor(Math.log2(low) / step);
  return range(first, first + Math.ceil(Math.log2(high / low) / step) + 2).map((i) => 2 ** (i * step));
}

function roundStep(least: number): number {
  const power = Math.floor(Math.log10(least));
  const mantissa = [1, 2, 5, 10].find((candidate) => candidate * 10 ** power >= least * 0.999)!;
  return Number(`${mantissa}e${power}`);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** A number on the x axis: as it is while short, so that a frame size of 1514 is not '1.51 k'. */
export function parameterLabel(value: string): string {
  return value.length > 6 && Number.isFinite(Number(value)) ? humanize(Number(value), '') : value;
}

const NARROW = /[ijlftrI.,:;'|!()[\] -]/;
// Beyond Latin, Greek and dashes, letters may be as wide as high.
const WIDE = /[mwMW@%…]|[^\u0000-\u02ff\u0370-\u03ff\u2010-\u2027]/;

/** About how wide text is drawn, in pixels: on the safe side for the fonts that system-ui stands for. */
export function textWidth(text: string, fontSize = 11): number {
  let em = 0;
  for (const letter of text) em += NARROW.test(letter) ? 0.42 : WIDE.test(letter) ? 1 : 0.66;
  return em * fontSize;
}

/** Breaks text at spaces and hyphens into lines of at most `chars`, the last cut short after `lines` of them. */
export function wrap(text: string, chars: number, lines: number): string {
  const result: string[] = [];
  let line = '';
  for (const word of text.match(/[^\s-]*(?:-+|\s+|$)/g) ?? []) {
    if (line !== '' && (line + word).trimEnd().length > chars) {
      result.push(line.trimEnd());
      line = '';
    }
    line += word;
  }
  if (line.trimEnd() !== '') result.push(line.trimEnd());
  const kept = result.slice(0, lines).map((kept) => (kept.length > chars + 1 ? `${kept.slice(0, chars)}…` : kept));
  if (result.length > lines && !kept.at(-1)!.endsWith('…')) kept[lines - 1] += '…';
  return kept.join('\n');
}

/** Keeps, from the last, the labels that leave `gap` pixels to those kept before. */
export function thin<T>(labels: readonly T[], centre: (label: T) => number, width: (label: T) => number, gap = 5): T[] {
  const kept: T[] = [];
  let edge = Infinity;
  for (const label of [...labels].sort((a, b) => centre(b) - centre(a))) {
    if (centre(label) + width(label) / 2 + gap > edge) continue;
    kept.unshift(label);
    edge = centre(label) - width(label) / 2;
  }
  return kept;
}

/**
 * Moves labels apart: positions in the order given, each at least `heights` apart from the last and inside
 * [low, high] where they fit, near what they wished for.
 */
export function spread(wishes: readonly number[], heights: readonly number[], low: number, high: number): number[] {
  const order = wishes.map((_, i) => i).sort((a, b) => wishes[a] - wishes[b]);
  const placed = [...wishes];
  let edge = low;
  for (const i of order) {
    placed[i] = Math.max(wishes[i], edge + heights[i] / 2);
    edge = placed[i] + heights[i] / 2;
  }
  edge = high;
  for (const i of order.reverse()) {
    placed[i] = Math.min(placed[i], edge - heights[i] / 2);
    edge = placed[i] - heights[i] / 2;
  }
  return placed;
}
