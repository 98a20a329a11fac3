import { gridOf, yTitle, type Figure } from './figure.js';
import { escapeMarkup } from './markup.js';
import { PAGE_CSS } from './page-style.js';
import { figureSvg } from './plot.js';
import { humanize, humanizeShort, humanizeSpread } from './quantity.js';
import type { RunReport, Target } from './results.js';
import { seriesStyles, type SeriesStyles } from './series.js';
import { verdict } from './table.js';

/**
 * One HTML document, complete in itself: no script, nothing fetched (its own policy forbids both). A variant looks the
 * same in all figures. All text is escaped.
 *
 * @throws RangeError as `gridOf`
 */
export function renderPage(report: RunReport, figures: readonly Figure[], targets: readonly Target[]): string {
  const styles = seriesStyles(figures);
  const parts = [
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
<p class="summary">${escapeMarkup(summaryOf(targets, figures))}</p>
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

function summaryOf(targets: readonly Target[], figures: readonly Figure[]): string {
  const judged = targets.filter((target) => target.met !== null);
  const met = judged.filter((target) => target.met).length;
  const verdicts = judged.length === 0 ? [] : [`${met} of ${judged.length} targets met`];
  const reported = targets.length - judged.length;
  return [...verdicts, ...(reported === 0 ? [] : [`${reported} reported`]), `${figures.length} ${figures.length === 1 ? 'figure' : 'figures'}`].join(' · ');
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
    ['Repeat with', `<code>${escapeMarkup(report.command ?? `npx ringcube bench --seed ${report.seed}`)}</code>`],
  ];
  return `<div class="about"><dl>\n${rows.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('\n')}\n</dl></div>`;
}

function targetsHtml(targets: readonly Target[]): string {
  const rows = targets.map((target) => {
    const words = [target.target, target.reached, target.spread].map((text) => `<td>${escapeMarkup(text)}</td>`).join('');
    const look = target.met === null ? 'reported' : target.met ? 'met' : 'missed';
    return `<tr><th scope="row">${escapeMarkup(target.what)}</th>${words}<td class="verdict ${look}">${verdict(target)}</td></tr>`;
  });
  const head = ['What', 'Target', 'Reached', 'Spread', ''].map((title) => `<th scope="col">${title}</th>`).join('');
  return `<div class="scroll"><table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${rows.join('\n')}\n</tbody>\n</table></div>`;
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
