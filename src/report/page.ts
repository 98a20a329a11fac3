import { gridOf, yTitle, type Figure } from './figure.js';
import { escapeMarkup } from './markup.js';
import { PAGE_CSS } from './page-style.js';
import { figureSvg } from './plot.js';
import { humanize, humanizeShort, humanizeSpread } from './quantity.js';
import type { Claim, Failure, RunReport, Target } from './results.js';
import { seriesStyles, type SeriesStyles } from './series.js';
import { agreement, verdict } from './table.js';

/**
 * One HTML document, complete in itself: no script, nothing fetched (its own policy forbids both). A variant looks the
 * same in all figures. All text is escaped.
 *
 * @throws RangeError as `gridOf`
 */
export function renderPage(report: RunReport, figures: readonly Figure[]): string {
  const { claims, failures, targets } = report;
  const styles = seriesStyles(figures);
  const parts = [
    ...(failures.length === 0 ? [] : [{ id: 'failures', title: 'What is missing', body: failuresHtml(failures) }]),
    ...(claims.length === 0 ? [] : [{ id: 'claims', title: 'Published and measured', body: claimsHtml(claims) }]),
    ...(targets.length === 0 ? [] : [{ id: 'targets', title: 'Targets', body: targetsHtml(targets) }]),
    ...figures.map((figure) => ({ id: figure.id, title: figure.title, body: figureHtml(figure, styles) })),
  ];
  const anchors = anchorsOf(parts.map((part) => part.id));
  const sections = parts.map((part, i) => ({ ...part, anchor: anchors[i] }));

  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Ringcube report</title>
<style>${PAGE_CSS}</style>
</head>
<body>
<header>
<h1>Ringcube report</h1>
<p class="summary">${escapeMarkup(summaryOf(report, figures))}</p>
${aboutHtml(report)}
</header>
<nav aria-label="Contents">
<ol>
${sections.map(({ anchor, title }) => `<li><a href="#${anchor}">${escapeMarkup(title)}</a></li>`).join('\n')}
</ol>
</nav>
<main>
${sections.map(({ anchor, title, body }) => `<section id="${anchor}">\n<h2>${escapeMarkup(title)}</h2>\n${body}\n</section>`).join('\n')}
</main>
<footer>${report.results.length} results. Values are medians over alternating runs; bands, whiskers and brackets give the least and the greatest run.</footer>
</body>
</html>
`;
}

/** '5 of 7 claims agree · 2 not judged · 1 of 2 targets met · 3 figures'. */
function summaryOf({ claims, failures, targets }: RunReport, figures: readonly Figure[]): string {
  return [
    ...(failures.length === 0 ? [] : [`${failures.length} missing`]),
    ...tally(claims.map((claim) => claim.agrees), 'published claims agree', 'not judged'),
    ...tally(targets.map((target) => target.met), 'targets met', 'reported'),
    `${figures.length} ${figures.length === 1 ? 'figure' : 'figures'}`,
  ].join(' · ');
}

function tally(verdicts: readonly (boolean | null)[], good: string, unjudged: string): string[] {
  const judged = verdicts.filter((verdict) => verdict !== null);
  const rest = verdicts.length - judged.length;
  return [
    ...(judged.length === 0 ? [] : [`${judged.filter(Boolean).length} of ${judged.length} ${good}`]),
    ...(rest === 0 ? [] : [`${rest} ${unjudged}`]),
  ];
}

function aboutHtml(report: RunReport): string {
  const { machine } = report;
  const cores = `${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}`;
  const rows = [
    ['Machine', escapeMarkup(`${machine.cpu}, ${cores}, ${humanize(machine.memoryBytes, 'B')} memory, ${machine.kernel}, ${machine.arch}`)],
    ['Commit', `<code>${escapeMarkup(report.commit)}</code>`],
    ['Seed', `<code>${escapeMarkup(String(report.seed))}</code>`],
    ['Node', escapeMarkup(report.node)],
    ['Started', escapeMarkup(report.startedAt)],
    ['Repeat with', `<code>${escapeMarkup(report.command)}</code>`],
  ];
  return `<div class="about"><dl>\n${rows.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('\n')}\n</dl></div>`;
}

function failuresHtml(failures: readonly Failure[]): string {
  const items = failures.map(({ what, why }) => `<li><strong>${escapeMarkup(what)}</strong>: ${escapeMarkup(why)}</li>`);
  return `<ul class="missed">\n${items.join('\n')}\n</ul>`;
}

function claimsHtml(claims: readonly Claim[]): string {
  const rows = claims.map((claim) => {
    const what = `${escapeMarkup(claim.what)}<small>${escapeMarkup(claim.source)}</small>`;
    return { what, words: [claim.published, claim.measured, claim.remark], good: claim.agrees, verdict: agreement(claim) };
  });
  return verdictsHtml(['What', 'Published', 'Measured', 'Remark', ''], rows);
}

function targetsHtml(targets: readonly Target[]): string {
  const rows = targets.map((target) => ({
    what: escapeMarkup(target.what),
    words: [target.target, target.reached, target.spread],
    good: target.met,
    verdict: verdict(target),
  }));
  return verdictsHtml(['What', 'Target', 'Reached', 'Spread', ''], rows);
}

interface VerdictRow {
  /** Markup. */
  what: string;
  words: readonly string[];
  good: boolean | null;
  verdict: string;
}

function verdictsHtml(head: readonly string[], rows: readonly VerdictRow[]): string {
  const body = rows.map(({ what, words, good, verdict }) => {
    const cells = words.map((text) => `<td>${escapeMarkup(text)}</td>`).join('');
    const look = good === null ? 'reported' : good ? 'met' : 'missed';
    const row = good === false ? '<tr class="differs">' : '<tr>';
    return `${row}<th scope="row">${what}</th>${cells}<td class="verdict ${look}">${verdict}</td></tr>`;
  });
  return `<div class="scroll"><table class="verdicts">
<thead><tr>${head.map((title) => `<th scope="col">${title}</th>`).join('')}</tr></thead>
<tbody>
${body.join('\n')}
</tbody>
</table></div>`;
}

function figureHtml(figure: Figure, styles: SeriesStyles): string {
  const paragraphs = figure.paragraph.split(/\n\s*\n/).filter((text) => text.trim() !== '');
  return [
    `<figure>${figureSvg(figure, styles)}</figure>`,
    ...paragraphs.map((text) => `<p>${escapeMarkup(text)}</p>`),
    `<details><summary>Numbers</summary>\n${numbersHtml(figure)}\n</details>`,
  ].join('\n');
}

function numbersHtml(figure: Figure): string {
  const grid = gridOf(figure);
  const caption = grid.xs.some((x) => x !== '') ? `${yTitle(figure)} by ${figure.x.label}` : yTitle(figure);
  const head = [
    ...(figure.facet === undefined ? ['Variant'] : [figure.facet, 'Variant']).map((title) => `<th scope="col">${escapeMarkup(title)}</th>`),
    ...grid.xs.map((x) => `<th scope="col" class="value">${escapeMarkup(x || figure.y.label)}</th>`),
  ];
  const rows = grid.facets.flatMap((facet) =>
    grid.variants.map((variant) => {
      const cells = grid.xs.map((x) => {
        const result = grid.at(facet, variant, x);
        if (!result) return '<td>–</td>';
        return `<td>${escapeMarkup(humanizeShort(result.median, result.unit))}<small>${escapeMarkup(humanizeSpread(result, result.unit))}</small></td>`;
      });
      const place = figure.facet === undefined ? '' : `<th scope="row">${escapeMarkup(facet)}</th>`;
      return `<tr>${place}<th scope="row">${escapeMarkup(variant)}</th>${cells.join('')}</tr>`;
    }),
  );
  return `<p>${escapeMarkup(caption)}; below each median the least and the greatest run.</p>
<div class="scroll"><table class="numbers">
<thead><tr>${head.join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table></div>`;
}

/** An anchor for each id, in order: the id itself as far as it can be one, so that links stay valid between runs. */
function anchorsOf(ids: readonly string[]): string[] {
  const taken = new Set<string>();
  return ids.map((id) => {
    const slug = id.toLowerCase().replace(/[^a-z0-9.-]+/g, '-').replace(/^-+|-+$/g, '') || 'figure';
    let anchor = slug;
    for (let i = 2; taken.has(anchor); i++) anchor = `${slug}-${i}`;
    taken.add(anchor);
    return anchor;
  });
}
