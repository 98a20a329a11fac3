import * as Plot from '@observablehq/plot';
import { clamp, fraction, inside, textWidth, thin, wrap, yAxisOf, type Axis } from './axis.js';
import { compose, draw, type Piece, type Placed } from './canvas.js';
import { facetTitle, yTitle, type Figure, type Grid } from './figure.js';
import { printable } from './markup.js';
import { humanize, humanizeSpread } from './quantity.js';
import type { SeriesStyles } from './series.js';

const WIDTH = 880;
const NAME_CHARS = 34;
const HALO = { strokeWidth: 4, strokeOpacity: 0.6 };

interface Bar {
  variant: string;
  colour: string;
  median: number;
  min: number;
  max: number;
  value: string;
  title: string;
}

interface Group {
  title: string;
  bars: Bar[];
}

/** Horizontal bars, so that long names have room: one group per facet and x. All share one value axis. */
export function barsPiece(figure: Figure, grid: Grid, styles: SeriesStyles): Piece {
  const axis = yAxisOf(figure, grid);
  const groups = groupsOf(figure, grid, styles, axis);
  const names = new Map(grid.variants.map((variant) => [variant, wrap(printable(variant), NAME_CHARS, 2)]));
  const frame = {
    axis,
    names,
    marginLeft: 16 + Math.max(40, ...[...names.values()].flatMap((name) => name.split('\n').map((line) => textWidth(line)))),
    marginRight: 16 + Math.max(30, ...groups.flatMap(({ bars }) => bars.map((bar) => textWidth(bar.value)))),
  };
  const placed: Placed[] = [];
  let height = 0;
  groups.forEach((group, i) => {
    const piece = drawGroup(figure, group, frame, { first: i === 0, last: i === groups.length - 1 });
    placed.push({ piece, x: 0, y: height });
    height += piece.height;
  });
  return compose(WIDTH, Math.max(height, 40), placed);
}

function drawGroup(
  figure: Figure,
  group: Group,
  frame: { axis: Axis; names: ReadonlyMap<string, string>; marginLeft: number; marginRight: number },
  where: { first: boolean; last: boolean },
): Piece {
  const { axis, names, marginLeft, marginRight } = frame;
  const reference = figure.reference;
  const marginTop = (group.title === '' ? 6 : 24) + (where.first && reference ? 18 : 0);
  const marginBottom = where.last ? 42 : 6;
  const bandHeight = [...names.values()].some((name) => name.includes('\n')) ? 36 : 27;
  const log = axis.type === 'log';
  const varying = group.bars.filter((bar) => bar.min < bar.max);
  const start = log ? axis.domain[0] : 0;
  const ticks = ticksAcross(axis, WIDTH - marginLeft - marginRight);
  return draw({
    width: WIDTH,
    height: marginTop + Math.max(1, group.bars.length) * bandHeight + marginBottom,
    marginTop,
    marginLeft,
    marginRight,
    marginBottom,
    x: { type: axis.type, domain: [...axis.domain], axis: null },
    y: { type: 'band', domain: group.bars.map((bar) => bar.variant), axis: null, padding: 0.3 },
    marks: [
      Plot.gridX(ticks, { stroke: 'currentColor', strokeOpacity: 0.13 }),
      // A bar's length means nothing on a logarithm: there a point stands for the value.
      log
        ? Plot.ruleY(group.bars, { y: 'variant', x1: start, x2: 'median', stroke: 'colour', strokeOpacity: 0.35, strokeWidth: 2 })
        : Plot.barX(group.bars, { y: 'variant', x1: start, x2: 'median', fill: 'colour', title: 'title' }),
      // The ground shines through around a whisker, so that it reads on its own bar as well as beside it.
      ...['var(--ringcube-ground)', 'currentColor'].flatMap((stroke, i) => [
        Plot.ruleY(varying, { y: 'variant', x1: 'min', x2: 'max', stroke, ...(i === 0 ? HALO : { strokeWidth: 1.5 }) }),
        ...['min', 'max'].map((x) => Plot.tickX(varying, { y: 'variant', x, stroke, inset: 5, ...(i === 0 ? HALO : {}) })),
      ]),
      ...(log ? [Plot.dot(group.bars, { y: 'variant', x: 'median', fill: 'colour', r: 4, title: 'title' })] : []),
      Plot.axisY({ tickFormat: (variant: string) => names.get(variant) ?? variant, tickSize: 0, label: null, fontSize: 11 }),
      ...(log ? [] : [Plot.ruleX([0], { stroke: 'currentColor' })]),
      ...(reference ? [Plot.ruleX([reference.value], { stroke: 'currentColor', strokeDasharray: '5,4', strokeOpacity: 0.8 })] : []),
      Plot.text(group.bars, {
        y: 'variant',
        x: (bar: Bar) => Math.max(bar.median, bar.max, start),
        dx: 8,
        textAnchor: 'start',
        text: 'value',
        fontWeight: 600,
        fill: 'currentColor',
        stroke: 'var(--ringcube-ground)',
        strokeWidth: 4,
      }),
      ...(reference && where.first ? [referenceName(reference, axis)] : []),
      ...(group.title === ''
        ? []
        : [Plot.text([printable(group.title)], { frameAnchor: 'top-left', dx: 4 - marginLeft, dy: 6 - marginTop, lineAnchor: 'top', fontWeight: 600 })]),
      ...(where.last
        ? [
            Plot.axisX(ticks, { text: (tick: number) => axis.label(tick), tickSize: 0, label: null, fontSize: 11 }),
            Plot.text([printable(yTitle(figure))], { frameAnchor: 'bottom', dy: marginBottom - 4, lineAnchor: 'bottom' }),
          ]
        : []),
    ],
  });
}

function groupsOf(figure: Figure, grid: Grid, styles: SeriesStyles, axis: Axis): Group[] {
  return grid.facets.flatMap((facet) =>
    grid.xs.map((x) => ({
      title: [facetTitle(figure, facet), x === '' ? '' : `${figure.x.label}: ${x}`].filter((part) => part !== '').join(', '),
      bars: grid.variants.flatMap((variant): Bar[] => {
        const result = grid.at(facet, variant, x);
        if (!result || !inside(result.median, axis)) return [];
        const value = humanize(result.median, result.unit);
        return [{
          variant,
          colour: styles.get(variant)?.colour ?? 'currentColor',
          median: result.median,
          min: clamp(result.min, axis),
          max: clamp(result.max, axis),
          value,
          title: printable(`${variant}\n${value} (${humanizeSpread(result, result.unit)})`),
        }];
      }),
    })),
  );
}

/** Those whose labels have room beside each other; of a logarithmic axis' rather the powers of ten than every other one. */
function ticksAcross(axis: Axis, width: number): number[] {
  const thinned = (ticks: readonly number[]): number[] => thin(ticks, (tick) => fraction(tick, axis) * width, (tick) => textWidth(axis.label(tick)));
  const all = thinned(axis.ticks);
  const powers = axis.ticks.filter((tick) => Number.isInteger(Math.log10(tick)));
  return all.length < axis.ticks.length && axis.type === 'log' && powers.length > 1 ? thinned(powers) : all;
}

function referenceName(reference: NonNullable<Figure['reference']>, axis: Axis): Plot.Markish {
  const right = fraction(reference.value, axis) > 0.5;
  return Plot.text([reference], {
    x: 'value',
    frameAnchor: 'top',
    dy: -6,
    dx: right ? 4 : -4,
    lineAnchor: 'bottom',
    textAnchor: right ? 'end' : 'start',
    text: (one: typeof reference) => printable(one.label),
  });
}
