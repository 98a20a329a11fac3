import { gridOf, type Figure } from './figure.js';

/** How a variant looks in every figure. */
export interface SeriesStyle {
  /** A CSS colour that follows light and dark. */
  colour: string;
  symbol: 'circle' | 'square' | 'triangle' | 'diamond' | 'star' | 'cross' | 'wye' | 'hexagon';
}

export type SeriesStyles = ReadonlyMap<string, SeriesStyle>;

// Found by a search for the largest smallest distance (OKLab, at least 0.11) between any two under normal, protan and
// deutan sight (Machado et al. 2009), with at least 2.6:1 against the ground; dark keeps the hues of light.
const LIGHT = ['#3363c7', '#c75314', '#038a6d', '#752484', '#b6a00b', '#3ca6fd', '#723a18', '#dc6eba'];
const DARK = ['#4878de', '#f88c2e', '#19c296', '#b44894', '#dee152', '#a9e3ff', '#9b6404', '#dd90f6'];
const SYMBOLS = ['circle', 'square', 'triangle', 'diamond', 'star', 'cross', 'wye', 'hexagon'] as const;

/**
 * Assigns styles to the variants of some figures, in order of first appearance: the same in all of them. No two of one figure have the
 * same colour while there are colours left, and none the same symbol in the same colour before the 65th variant.
 */
export function seriesStyles(figures: readonly Figure[]): SeriesStyles {
  const shown = figures.map((figure) => gridOf(figure).variants);
  const colours = new Map<string, number>();
  const styles = new Map<string, SeriesStyle>();
  const uses = LIGHT.map(() => 0);
  for (const variant of new Set(shown.flat())) {
    const beside = new Set(shown.filter((variants) => variants.includes(variant)).flat());
    const taken = LIGHT.map(() => 0);
    for (const other of beside) if (colours.has(other)) taken[colours.get(other)!]++;
    const colour = LIGHT.map((_, i) => i).sort((a, b) => taken[a] - taken[b] || uses[a] - uses[b] || a - b)[0];
    colours.set(variant, colour);
    styles.set(variant, { colour: `var(--ringcube-${colour})`, symbol: SYMBOLS[(colour + uses[colour]++) % SYMBOLS.length] });
  }
  return styles;
}

/** The stylesheet of one SVG: it stands alone as a file, and does no harm inside a page. */
export const FIGURE_CSS = `
.ringcube-figure { color: #1d232b; --ringcube-ground: #ffffff; ${variables(LIGHT)} background: var(--ringcube-ground); }
@media (prefers-color-scheme: dark) {
  .ringcube-figure { color: #dfe4ea; --ringcube-ground: #14171c; ${variables(DARK)} }
}
.ringcube-figure text, .ringcube-figure tspan { white-space: pre; }
`;

function variables(colours: readonly string[]): string {
  return colours.map((colour, i) => `--ringcube-${i}: ${colour};`).join(' ');
}
