/**
 * Tables, plots, pages: turns the results of a bench into what people read. Pure over its arguments, except
 * `describeMachine` and `describeCommit`, which say where a result was measured.
 *
 *     results.ts   what a bench hands in, summaries, machine and commit
 *     figure.ts    how a set of results is to be shown; its cells by (facet, variant, x)
 *     quantity.ts  numbers with units for people
 *     table.ts     a figure, the targets, or published claims beside what was measured, as a terminal table
 *     series.ts    one colour and symbol per variant
 *     axis.ts      domains, ticks, tick labels
 *     plot.ts      a figure as one standalone SVG (lines.ts, bars.ts, canvas.ts)
 *     page.ts      all of it as one self-contained HTML file (page-style.ts, markup.ts)
 */
export type { Claim, Machine, Result, RunReport, Target } from './results.js';
export { describeCommit, describeMachine, summarize } from './results.js';
export type { Figure } from './figure.js';
export { humanize } from './quantity.js';
export { claimTable, figureTable, targetTable } from './table.js';
export { figureSvg } from './plot.js';
export { renderPage } from './page.js';
