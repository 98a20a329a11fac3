import { barsPiece } from './bars.js';
import type { Piece } from './canvas.js';
import { type Figure, gridOf } from './figure.js';
import { linesPiece } from './lines.js';
import { escapeMarkup } from './markup.js';
import { FIGURE_CSS, seriesStyles, type SeriesStyles } from './series.js';

const nothing: Piece = { content: '<text x="440" y="24" font-style="italic">Nothing was measured.</text>', width: 880, height: 40 };

/**
 * A figure as one standalone SVG document, 880 pixels wide: lines with a min–max band per variant and their names at the
 * ends, or bars with a min–max whisker and the value. Points not measured, and what a logarithmic axis cannot show, are left out.
 *
 * @param styles pass those of all figures that are shown together, so that a variant looks the same in each
 * @throws RangeError as `gridOf`
 */
export function figureSvg(figure: Figure, styles: SeriesStyles = seriesStyles([figure])): string {
  const grid = gridOf(figure);
  const piece =
    grid.results.length === 0 ? nothing : figure.kind === 'bar' ? barsPiece(figure, grid, styles) : linesPiece(figure, grid, styles);
  const title = escapeMarkup(figure.title);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="ringcube-figure" role="img" aria-label="${title}" ` +
    `width="${piece.width}" height="${piece.height}" viewBox="0 0 ${piece.width} ${piece.height}" ` +
    `font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="11" text-anchor="middle" fill="currentColor">` +
    `<style>${FIGURE_CSS}</style>${piece.content}</svg>`
  );
}
