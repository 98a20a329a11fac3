import * as Plot from '@observablehq/plot';
import { clamp, fraction, inside, parameterLabel, roundTicks, spread, textWidth, thin, wrap, yAxisOf, type Axis } from './axis.js';
import { compose, draw, drawPixels, type Drawing, type Piece, type Placed } from './canvas.js';
import { facetTitle, yTitle, type Figure, type Grid } from './figure.js';
import { printable } from './markup.js';
import { humanize, humanizeSpread } from './quantity.js';
import type { SeriesStyle, SeriesStyles } from './series.js';

const WIDTH = 880;
const LINE_HEIGHT = 14;
const NAME_CHARS = 30;
const REFERENCE_LINE = { stroke: 'currentColor', strokeDasharray: '5,4', strokeOpacity: 0.7 };
const PANEL_RIGHT = 14;
/** With more points along x than these, they are samples of a curve, and not named one by one: powers of two apart, which are chosen. */
const MOST_NAMED = 12;
/** Points nearer than this to each other, in pixels, aren't marked one by one either. */
const LEAST_APART = 24;
/** Between two marks of such a curve, in pixels. */
const MARK_EVERY = 44;
/** Line ends that lie within so many pixels are at one height. */
const SAME_HEIGHT = 6;

/** What a legend names: a variant, or (without a symbol) the reference. */
interface Entry {
  name: string;
  colour: string;
  symbol: SeriesStyle['symbol'] | null;
}

interface Point {
  x: number | string;
  median: number;
  min: number;
  max: number;
  title: string;
}

interface Line {
  entry: Entry;
  points: Point[];
}

/** Names stand at the ends of the lines; above all panels where there are several. */
export function linesPiece(figure: Figure, grid: Grid, styles: SeriesStyles): Piece {
  const y = yAxisOf(figure, grid);
  const facets = grid.facets.map((facet) => ({ facet, lines: linesOf(figure, grid, facet, styles, y) }));
  return facets.length > 1 ? panelsPiece(figure, grid, facets, y) : singlePiece(figure, grid, facets[0]?.lines ?? [], y);
}

function singlePiece(figure: Figure, grid: Grid, lines: readonly Line[], y: Axis): Piece {
  const labels = [
    ...[...lines].sort((a, b) => heightOf(b, grid) - heightOf(a, grid)).map((line) => ({ entry: line.entry, x: line.points.at(-1)!.x, y: line.points.at(-1)!.median })),
    ...(figure.reference ? [{ entry: referenceEntry(figure.reference), x: null, y: figure.reference.value }] : []),
  ].map((label) => ({ ...label, text: wrap(printable(label.entry.name), NAME_CHARS, 2) }));
  const legendWidth = 44 + Math.max(60, ...labels.flatMap((label) => label.text.split('\n').map((line) => textWidth(line))));
  const heights = labels.map((label) => label.text.split('\n').length * LINE_HEIGHT + 2);
  const height = Math.max(400, heights.reduce((sum, one) => sum + one, 100));
  const width = WIDTH - legendWidth;
  const panel = drawPanel(figure, grid, lines, y, { width, height, title: facetTitle(figure, grid.facets[0]), yLabel: true });

  // Where lines end together, as cumulative curves do, their names are in the order of the lines before.
  const wishes = labels.map((label) => Math.round(panel.y(label.y) / SAME_HEIGHT) * SAME_HEIGHT);
  const placed = spread(wishes, heights, 30, height - 36);
  const marks = labels.flatMap((label, i) => {
    const y = panel.y(label.y);
    const x = label.x === null ? width - PANEL_RIGHT : panel.x(label.x) + 6;
    return [
      Plot.line([[x, y], [width - 2, y], [width + 10, placed[i]], [width + 14, placed[i]]], {
        stroke: label.entry.colour,
        strokeOpacity: 0.55,
        ...(label.x === null ? { strokeDasharray: '5,4' } : {}),
      }),
      ...glyph(label.entry, width + 20, placed[i]),
      Plot.text([label.text], { x: width + 30, y: placed[i], textAnchor: 'start' }),
    ];
  });
  return compose(WIDTH, height, [{ piece: panel, x: 0, y: 0 }, { piece: drawPixels(WIDTH, height, marks), x: 0, y: 0 }]);
}

function panelsPiece(figure: Figure, grid: Grid, facets: readonly { facet: string; lines: readonly Line[] }[], y: Axis): Piece {
  const columns = facets.length === 2 || facets.length === 4 ? 2 : 3;
  const [width, height] = [WIDTH / columns, 270];
  const entries = new Map(facets.flatMap(({ lines }) => lines.map((line) => [line.entry.name, line.entry])));
  const legend = legendPiece([...entries.values(), ...(figure.reference ? [referenceEntry(figure.reference)] : [])]);
  const placed: Placed[] = facets.map(({ facet, lines }, i) => ({
    piece: drawPanel(figure, grid, lines, y, { width, height, title: facetTitle(figure, facet), yLabel: i % columns === 0 }),
    x: (i % columns) * width,
    y: legend.height + Math.floor(i / columns) * height,
  }));
  return compose(WIDTH, legend.height + Math.ceil(facets.length / columns) * height, [{ piece: legend, x: 0, y: 0 }, ...placed]);
}

function drawPanel(
  figure: Figure,
  grid: Grid,
  lines: readonly Line[],
  y: Axis,
  panel: { width: number; height: number; title: string; yLabel: boolean },
): Drawing {
  const marginLeft = 16 + Math.max(...y.ticks.map((tick) => textWidth(y.label(tick))));
  const marginTop = panel.title === '' ? 30 : 48;
  const plotWidth = panel.width - marginLeft - PANEL_RIGHT;
  const x = xScale(figure, grid);
  const ticks = xTicks(grid, x, plotWidth);
  const marked = lines.map((line, i) => ({ ...line, points: markedPoints(line.points, x, plotWidth, (i * MARK_EVERY) / lines.length) }));
  const tickLines = Math.max(1, ...ticks.map((tick) => tick.label.split('\n').length));
  const bottom = 26 + tickLines * 12;
  const { reference } = figure;
  const corner = (text: string, top: number, options: Plot.TextOptions = {}): Plot.Markish =>
    Plot.text([text], { ...options, frameAnchor: 'top-left', dx: 4 - marginLeft, dy: top - marginTop, lineAnchor: 'top' });
  return draw({
    width: panel.width,
    height: panel.height,
    marginTop,
    marginLeft,
    marginRight: PANEL_RIGHT,
    marginBottom: bottom,
    x: { ...x, axis: null },
    y: { type: y.type, domain: [...y.domain], axis: null },
    marks: [
      Plot.gridY([...y.ticks], { stroke: 'currentColor', strokeOpacity: 0.13 }),
      // `text` and not `tickFormat`, of which a logarithmic scale leaves out every label that it finds too many.
      Plot.axisY([...y.ticks], { text: (tick: number) => y.label(tick), tickSize: 0, label: null, fontSize: 11 }),
      xAxisMark(ticks),
      Plot.text([printable(figure.x.label)], { frameAnchor: 'bottom', dy: bottom - 4, lineAnchor: 'bottom' }),
      ...(panel.title === '' ? [] : [corner(printable(panel.title), 6, { fontWeight: 600 })]),
      ...(panel.yLabel ? [corner(`↑ ${printable(yTitle(figure))}`, panel.title === '' ? 4 : 24)] : []),
      ...(reference && inside(reference.value, y) ? [Plot.ruleY([reference.value], REFERENCE_LINE)] : []),
      ...lines.map((line) => Plot.areaY(line.points, { x: 'x', y1: 'min', y2: 'max', fill: line.entry.colour, fillOpacity: 0.16 })),
      // A band shows nothing where a line has one point, or where neighbours are far apart.
      ...marked.map((line) => Plot.ruleX(line.points, { x: 'x', y1: 'min', y2: 'max', stroke: line.entry.colour, strokeOpacity: 0.6 })),
      ...lines.map((line) => Plot.lineY(line.points, { x: 'x', y: 'median', stroke: line.entry.colour, strokeWidth: 2 })),
      ...marked.map((line) =>
        Plot.dot(line.points, { x: 'x', y: 'median', fill: line.entry.colour, symbol: line.entry.symbol ?? 'circle', r: 3.6, title: 'title' }),
      ),
    ],
  });
}

function linesOf(figure: Figure, grid: Grid, facet: string, styles: SeriesStyles, y: Axis): Line[] {
  return grid.variants.flatMap((variant) => {
    const style = styles.get(variant) ?? { colour: 'currentColor', symbol: 'circle' as const };
    const points = grid.xs.flatMap((x): Point[] => {
      const result = grid.at(facet, variant, x);
      if (!result || !inside(result.median, y)) return [];
      return [{
        x: grid.numericX ? Number(x) : x,
        median: result.median,
        min: clamp(result.min, y),
        max: clamp(result.max, y),
        title: printable(`${variant}\n${figure.x.label}: ${x}\n${humanize(result.median, result.unit)} (${humanizeSpread(result, result.unit)})`),
      }];
    });
    return points.length === 0 ? [] : [{ entry: { name: variant, ...style }, points }];
  });
}

/** How high a line runs in the mean over all x; beyond its ends it stays level. */
function heightOf({ points }: Line, grid: Grid): number {
  const at = new Map(points.map((point) => [String(point.x), point.median]));
  let [sum, value] = [0, points[0].median];
  for (const x of grid.xs) {
    value = at.get(x) ?? value;
    sum += value;
  }
  return sum;
}

/** All points of a line where they have room; else some, evenly apart, and shifted from line to line, so that lines that run together can be told apart. */
function markedPoints(points: readonly Point[], scale: XScale, plotWidth: number, shift: number): Point[] {
  if (scale.type === 'point' || points.length * LEAST_APART <= plotWidth) return [...points];
  let last = -1;
  return points.filter((point) => {
    const section = Math.floor((fraction(Number(point.x), scale) * plotWidth + shift) / MARK_EVERY);
    if (section === last) return false;
    last = section;
    return true;
  });
}

type XScale = { type: 'point'; domain: (number | string)[]; padding: number } | { type: 'linear' | 'log'; domain: [number, number]; inset: number };

/** Numbers stand evenly, as words do, where a scale has no place for them: a single one, or 0 on a logarithm. */
function xScale(figure: Figure, grid: Grid): XScale {
  const values = grid.xs.map(Number);
  const type = figure.x.scale ?? 'linear';
  if (!grid.numericX || values.length < 2 || (type === 'log' && values[0] <= 0)) {
    return { type: 'point', domain: grid.numericX ? values : [...grid.xs], padding: 0.4 };
  }
  return { type, domain: [values[0], values.at(-1)!], inset: 14 };
}

interface Tick {
  x: number | string;
  label: string;
}

/** Marks just the values measured, and names those that have room; of many samples of a curve, round numbers instead. */
function xTicks(grid: Grid, scale: XScale, plotWidth: number): Tick[] {
  const room = plotWidth / Math.max(1, grid.xs.length);
  const position = (x: string, i: number): number =>
    scale.type === 'point' ? (i + 0.5) * room : fraction(Number(x), scale) * (plotWidth - 2 * scale.inset);
  const sampled = scale.type !== 'point' && grid.xs.length > MOST_NAMED && !grid.xs.every((x) => Number.isInteger(Math.log2(Number(x))));
  const all = (sampled ? roundTicks(scale).map(String) : grid.xs).map((x, i) => ({
    x: grid.numericX ? Number(x) : x,
    label: scale.type === 'point' && !grid.numericX ? wrap(printable(x), Math.max(6, Math.floor(room / 7)), 3) : parameterLabel(x),
    at: position(x, i),
  }));
  return thin(all, (tick) => tick.at, (tick) => Math.max(...tick.label.split('\n').map((line) => textWidth(line))));
}

function xAxisMark(ticks: readonly Tick[]): Plot.Markish {
  const labels = new Map(ticks.map((tick) => [tick.x, tick.label]));
  return Plot.axisX(ticks.map((tick) => tick.x), { text: (x: number | string) => labels.get(x) ?? '', tickSize: 4, label: null, fontSize: 11 });
}

function referenceEntry(reference: NonNullable<Figure['reference']>): Entry {
  return { name: reference.label, colour: REFERENCE_LINE.stroke, symbol: null };
}

function glyph(entry: Entry, x: number, y: number): Plot.Markish[] {
  return entry.symbol === null
    ? [Plot.line([[x - 8, y], [x + 5, y]], REFERENCE_LINE)]
    : [Plot.dot([[x, y]], { fill: entry.colour, symbol: entry.symbol, r: 4 })];
}

/** Entries in rows, as many in a row as have room. */
function legendPiece(entries: readonly Entry[]): Piece {
  const marks: Plot.Markish[] = [];
  let [x, row] = [4, 0];
  for (const entry of entries) {
    const name = wrap(printable(entry.name), 60, 1);
    const width = 34 + textWidth(name);
    if (x > 4 && x + width > WIDTH) [x, row] = [4, row + 1];
    const y = 12 + row * 18;
    marks.push(...glyph(entry, x + 8, y), Plot.text([name], { x: x + 20, y, textAnchor: 'start' }));
    x += width;
  }
  const height = 30 + row * 18;
  return drawPixels(WIDTH, height, marks);
}
