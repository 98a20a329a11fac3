import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

/** A piece of a picture: the inside of an SVG, and its size in pixels. */
export interface Piece {
  content: string;
  width: number;
  height: number;
}

/** A piece drawn by Plot, and where its scales put a value. */
export interface Drawing extends Piece {
  x(value: number | string): number;
  y(value: number | string): number;
}

export interface Placed {
  piece: Piece;
  x: number;
  y: number;
}

// One inert document for all drawings: Plot only creates elements with it and attaches none.
const { document } = parseHTML('<!doctype html><html></html>') as unknown as { document: object };

/** Draws with Plot. Its own legends are not used: with them it returns a <figure>. */
export function draw(options: Plot.PlotOptions & { width: number; height: number }): Drawing {
  const svg = Plot.plot({ ...options, document, className: 'ringcube-plot' }) as unknown as {
    innerHTML: string;
    querySelector(selector: string): { remove(): void } | null;
    scale(name: 'x' | 'y'): { apply(value: unknown): number; bandwidth?: number } | undefined;
  };
  // Sizes a whole document's SVG; this is a piece of one.
  svg.querySelector('style')?.remove();
  const place = (name: 'x' | 'y') => (value: number | string): number => {
    const scale = svg.scale(name);
    return scale ? scale.apply(value) + (scale.bandwidth ?? 0) / 2 : 0;
  };
  return { content: svg.innerHTML, width: options.width, height: options.height, x: place('x'), y: place('y') };
}

/** Draws marks whose coordinates are pixels from the top left. */
export function drawPixels(width: number, height: number, marks: Plot.Markish[]): Piece {
  return draw({ width, height, margin: 0, axis: null, x: { domain: [0, width], range: [0, width] }, y: { domain: [0, height], range: [0, height] }, marks });
}

/** Puts pieces side by side. */
export function compose(width: number, height: number, placed: readonly Placed[]): Piece {
  const content = placed.map(({ piece, x, y }) => `<g transform="translate(${x},${y})">${piece.content}</g>`).join('');
  return { content, width, height };
}
