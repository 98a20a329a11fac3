import Table from 'cli-table3';
import picocolors from 'picocolors';
import { stripVTControlCharacters } from 'node:util';
import { gridOf, yTitle, type Figure, type Grid } from './figure.js';
import { humanizeShort, humanizeSpread } from './quantity.js';
import type { Claim, Target } from './results.js';

/** Of a cell, both sides; and the least width of a column of words. */
const PADDING = 2;
const LEAST_WIDTH = 14;

/** More points than these are a curve's, of which a terminal shows so many. */
const MOST_COLUMNS = 12;
const SHOWN_COLUMNS = 7;

/** `width` in terminal columns; a table keeps within it as far as its words allow. */
export interface TableOptions {
  color: boolean;
  width: number;
}

/**
 * A figure's numbers for the terminal: a row per variant (and facet), a column per x, 'median (min–max)' in the
 * cells, '–' where nothing was measured. Of a curve with many points it shows some, evenly apart, and says so. Narrow terminals get the spread on a line of its own, then several blocks.
 *
 * @throws RangeError as `gridOf`
 */
export function figureTable(figure: Figure, options: TableOptions): string {
  const paint = picocolors.createColors(options.color);
  const grid = gridOf(figure);
  const xs = shownOf(grid);
  const part = xs.length < grid.xs.length ? `, ${xs.length} of ${grid.xs.length} points` : '';
  const heading = `${paint.bold(figure.title)}\n${paint.dim(`${yTitle(figure)}: median (min–max)${byX(figure)}${part}`)}`;
  if (grid.results.length === 0) return `${heading}\nNothing was measured.`;
  const block = (xs: readonly string[], gap: string): string => figureBlock(figure, grid, xs, gap, options);

  const candidates = [() => [block(xs, ' ')], () => [block(xs, '\n')]];
  for (let count = 2; count <= xs.length; count++) {
    candidates.push(() => chunks(xs, Math.ceil(xs.length / count)).map((xs) => block(xs, '\n')));
  }
  let blocks: string[] = [];
  for (const candidate of candidates) {
    blocks = candidate();
    if (blocks.every((text) => widthOf(text) <= options.width)) break;
  }
  return [heading, ...blocks].join('\n');
}

/** The targets for the terminal. */
export function targetTable(targets: readonly Target[], options: TableOptions): string {
  const words = targets.map((target) => [target.what, target.target, target.reached, target.spread, verdict(target)]);
  return verdictTable(['target', 'wanted', 'reached', 'spread', ''], words, targets.map((target) => target.met), options);
}

/** What was published beside what was measured, for the terminal. */
export function claimTable(claims: readonly Claim[], options: TableOptions): string {
  const words = claims.map((claim) => [`${claim.what} [${claim.source}]`, claim.published, claim.measured, claim.remark, agreement(claim)]);
  return verdictTable(['claim', 'published', 'measured', 'remark', ''], words, claims.map((claim) => claim.agrees), options);
}

/** A table of words whose last column is a verdict, never broken; the others share what room there is. */
function verdictTable(head: readonly string[], words: readonly (readonly string[])[], good: readonly (boolean | null)[], options: TableOptions): string {
  const paint = picocolors.createColors(options.color);
  const last = head.length - 1;
  const natural = head.map((title, column) => Math.max(...[title, ...words.map((row) => row[column])].map((text) => text.length)) + PADDING);
  const table = new Table({
    head: head.map((title) => paint.bold(title)),
    style: { head: [], border: paint.isColorSupported ? ['grey'] : [] },
    colWidths: [...fitted(natural.slice(0, last), options.width - natural[last] - head.length - 1), natural[last]],
    wordWrap: true,
  });
  words.forEach((row, i) => {
    const colour = good[i] === null ? paint.dim : good[i] ? paint.green : paint.red;
    table.push([...row.slice(0, last), colour(row[last])]);
  });
  return table.toString();
}

/** Widths that add up to `room` or less: the widest gives way first, down to what a word or two needs. */
function fitted(natural: readonly number[], room: number): number[] {
  const widths = [...natural];
  for (let excess = widths.reduce((sum, width) => sum + width, 0) - room; excess > 0; excess--) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest] <= LEAST_WIDTH) break;
    widths[widest]--;
  }
  return widths;
}

/** 'met', 'not met' or 'reported', with a sign that reads without colour. */
export function verdict(target: Target): string {
  return target.met === null ? '· reported' : target.met ? '✓ met' : '✗ not met';
}

/** 'agrees', 'differs' or 'not judged', with a sign that reads without colour. */
export function agreement(claim: Claim): string {
  return claim.agrees === null ? '· not judged' : claim.agrees ? '✓ agrees' : '✗ differs';
}

function figureBlock(figure: Figure, grid: Grid, xs: readonly string[], gap: string, options: TableOptions): string {
  const paint = picocolors.createColors(options.color);
  const names = figure.facet === undefined ? ['variant'] : [figure.facet, 'variant'];
  const nameWidth = Math.max(18, Math.floor(options.width / 3));
  const longest = Math.max(7, ...grid.variants.map((variant) => variant.length));
  const table = new Table({
    head: [...names, ...xs.map((x) => x || figure.y.label)].map((title) => paint.bold(title)),
    // Compact draws no lines between rows; rows of several lines need them.
    style: { head: [], border: paint.isColorSupported ? ['grey'] : [], compact: gap === ' ' },
    colAligns: [...names.map(() => 'left' as const), ...xs.map(() => 'right' as const)],
    colWidths: [...names.map((_, i) => (i === names.length - 1 && longest > nameWidth ? nameWidth : null)), ...xs.map(() => null)],
    wordWrap: true,
  });
  for (const facet of grid.facets) {
    for (const variant of grid.variants) {
      const cells = xs.map((x) => {
        const result = grid.at(facet, variant, x);
        if (!result) return '–';
        return `${humanizeShort(result.median, result.unit)}${gap}${paint.dim(`(${humanizeSpread(result, result.unit)})`)}`;
      });
      table.push([...(figure.facet === undefined ? [] : [facet]), variant, ...cells]);
    }
  }
  return table.toString();
}

function shownOf(grid: Grid): readonly string[] {
  const last = grid.xs.length - 1;
  if (!grid.numericX || last < MOST_COLUMNS) return grid.xs;
  return Array.from({ length: SHOWN_COLUMNS }, (_, i) => grid.xs[Math.round((i * last) / (SHOWN_COLUMNS - 1))]);
}

function byX(figure: Figure): string {
  return figure.x.param === 'variant' ? '' : ` by ${figure.x.label}`;
}

function chunks(values: readonly string[], size: number): string[][] {
  const result: string[][] = [];
  for (let start = 0; start < values.length; start += size) result.push(values.slice(start, start + size));
  return result;
}

function widthOf(text: string): number {
  return Math.max(...stripVTControlCharacters(text).split('\n').map((line) => line.length));
}
