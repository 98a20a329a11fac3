// series.ts, axis.ts, lines.ts, bars.ts, plot.ts, page.ts: what is drawn, read back from the markup.
import { parseHTML } from 'linkedom';
import t from 'tap';
import { figureSvg, renderPage, type Figure, type Machine, type Target } from '../../src/report/index.js';
import { seriesStyles } from '../../src/report/series.js';
import { bars, CLAIMS, cumulative, result, runReport, SIZES, throughput, VARIANTS } from './samples.js';

interface Element {
  textContent: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): Element | null;
  querySelectorAll(selector: string): Iterable<Element>;
}

function parse(markup: string): Element {
  return (parseHTML(markup) as unknown as { document: Element }).document;
}

const all = (root: Element, selector: string): Element[] => [...root.querySelectorAll(selector)];
const texts = (root: Element): string[] => all(root, 'text').map((text) => text.textContent);

/** Where a text stands, from the top. */
const heightOf = (text: Element): number => Number(/,([\d.]+)\)/.exec(text.getAttribute('transform') ?? '')?.[1]);

const TOKEN = /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<&]*(?:&[a-z#\d]+;[^"<&]*)*")*)\s*(\/?)>|[^<>&]+|&(?:amp|lt|gt|quot|#\d+);/y;

/** What is wrong with some text as XML, or null: stricter than linkedom, which repairs what it reads. */
function malformed(xml: string): string | null {
  const open: string[] = [];
  let at = 0;
  while (at < xml.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(xml);
    if (!token) return `at ${at}: ${xml.slice(at, at + 60)}`;
    at = TOKEN.lastIndex;
    const [, close, name, , empty] = token;
    if (name === undefined) continue;
    if (close === '/') {
      if (open.pop() !== name) return `at ${at}: </${name}> closes nothing`;
    } else if (empty === '') open.push(name);
  }
  return open.length === 0 ? null : `open: ${open.join(' ')}`;
}

/** Coordinates that no picture has. */
function broken(svg: string): string[] {
  return svg.match(/="[^"]*(?:NaN|undefined|Infinity)[^"]*"/g) ?? [];
}

const latency = throughput({
  id: 'latency',
  x: { param: 'percentile', label: 'Percentile', scale: 'log' },
  y: { metric: 'measured', label: 'Latency', unit: 'ns', scale: 'log' },
  results: ['interrupt', 'poll'].flatMap((variant, i) =>
    ['p50', 'p90', 'p99', 'p99.9', 'max'].map((percentile, j) => result(variant, { percentile }, 800 * (i + 1) * 8 ** j, 'ns')),
  ),
});

const faceted = throughput({
  facet: 'ring',
  results: [64, 256, 1024].flatMap((ring) => throughput().results.map((one) => ({ ...one, params: { ...one.params, ring } }))),
  reference: { value: 14.88e6, label: 'line rate' },
});

t.test('every kind of figure is one standalone, well-formed SVG', (t) => {
  const hostile = '<script>alert("&")</script>\u0000\ud800 ]]>';
  const figures: Record<string, Figure> = {
    lines: throughput({ reference: { value: 14.88e6, label: 'line rate' } }),
    latency,
    faceted,
    cumulative: cumulative(),
    'linear lines': throughput({ y: { metric: 'measured', label: 'Throughput', unit: 'frames/s' } }),
    bars: bars({ reference: { value: 672, label: 'budget' } }),
    'bars on a logarithm': bars({ y: { ...bars().y, scale: 'log' } }),
    'grouped bars': throughput({ kind: 'bar' }),
    'negative bars': bars({ results: [result('less', {}, -50, 'ns'), result('more', {}, 20, 'ns')] }),
    'one point': throughput({ results: [result('a', { frameBytes: 64 }, 5)] }),
    'all zero': throughput({ results: SIZES.map((frameBytes) => result('a', { frameBytes }, 0)) }),
    'zero on logarithms': throughput({ results: [0, 1, 10].map((frameBytes) => result('a', { frameBytes }, frameBytes)) }),
    bytes: throughput({ y: { metric: 'measured', label: 'Memory', unit: 'B', scale: 'log' }, results: [1, 2, 3].map((frameBytes) => result('a', { frameBytes }, 100 ** frameBytes, 'B')) }),
    nothing: throughput({ results: [] }),
    'nothing in bars': bars({ results: [] }),
    hostile: throughput({
      title: hostile,
      x: { param: 'x', label: hostile },
      y: { metric: 'measured', label: hostile, unit: hostile },
      facet: 'f',
      reference: { value: 1, label: hostile },
      results: [1, 2].map((i) => result(hostile, { x: hostile, f: `${hostile}${i}` }, i, hostile)),
    }),
    'hostile bars': bars({ title: hostile, results: [result(hostile, {}, 1, 'ns')], reference: { value: 1, label: hostile } }),
  };
  for (const [name, figure] of Object.entries(figures)) {
    const svg = figureSvg(figure);
    t.equal(malformed(svg), null, `${name}: well-formed`);
    t.strictSame(broken(svg), [], `${name}: all coordinates are numbers`);
    t.ok(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg" '), `${name}: an SVG by itself`);
    t.equal(parse(svg).querySelector('script'), null, `${name}: no script`);
  }
  t.end();
});

t.test('lines', (t) => {
  const svg = parse(figureSvg(throughput()));
  const words = texts(svg);
  for (const variant of VARIANTS) t.ok(words.includes(variant), `names ${variant}`);
  t.strictSame(words.filter((word) => /^\d+$/.test(word)), SIZES.map(String), 'the sizes measured are the ticks');
  for (const label of ['200 k', '1 M', '10 M', '↑ Throughput (frames/s)', 'Frame size (bytes)']) t.ok(words.includes(label), label);
  const points = all(svg, '[aria-label="dot"] path title, [aria-label="dot"] circle title');
  t.equal(points.length, VARIANTS.length * SIZES.length - 1, 'each point measured, and no other');
  t.match(points[0]?.textContent, /zero-copy, split ring\nFrame size \(bytes\): 64\n28 Mframes\/s \(25\.2–30\.8\)/, 'points tell their numbers');

  const ordinal = texts(parse(figureSvg(latency)));
  t.strictSame(ordinal.filter((word) => /^p\d|^max$/.test(word)), ['p50', 'p90', 'p99', 'p99.9', 'max'], 'words stay in order');
  t.ok(ordinal.includes('1 ms') && ordinal.includes('1 µs'), 'ticks carry their unit where prefixes change it');

  const panels = texts(parse(figureSvg(faceted)));
  t.strictSame(panels.filter((word) => word.startsWith('ring = ')), ['ring = 64', 'ring = 256', 'ring = 1024']);
  t.equal(panels.filter((word) => word === 'one copy').length, 1, 'one legend for all panels');
  t.ok(panels.includes('line rate'));
  t.end();
});

t.test('bars', (t) => {
  const words = texts(parse(figureSvg(bars({ reference: { value: 672, label: 'budget' } }))));
  for (const word of [...VARIANTS, '3.3 µs', '550 ns', 'budget', 'Time per frame']) t.ok(words.includes(word), word);
  const grouped = texts(parse(figureSvg(throughput({ kind: 'bar' }))));
  t.ok(grouped.includes('Frame size (bytes): 9000'));
  t.end();
});

t.test('names at line ends keep apart', (t) => {
  const results = Array.from({ length: 12 }, (_, i) => [1, 2].map((frameBytes) => result(`v${i}`, { frameBytes }, 1000 + i))).flat();
  const svg = parse(figureSvg(throughput({ results })));
  const heights = all(svg, 'text')
    .filter((text) => /^v\d+$/.test(text.textContent))
    .map(heightOf)
    .sort((a, b) => a - b);
  t.equal(heights.length, 12);
  t.ok(heights.every((height, i) => i === 0 || height - heights[i - 1] >= 11), heights.join(' '));
  t.end();
});

t.test('cumulative curves: round numbers along x, few marks, names in the order of the curves', (t) => {
  const svg = parse(figureSvg(cumulative()));
  const ticks = texts(svg).filter((word) => /^\d+$/.test(word));
  t.strictSame(ticks.filter((tick) => tick !== '0'), ['1', '2', '5', '10', '20', '50', '100']);
  const groups = all(svg, '[aria-label="dot"]').map((group) => all(group, 'title').length).filter((count) => count > 0);
  t.equal(groups.length, VARIANTS.length);
  t.ok(groups.every((count) => count >= 5 && count <= 20), `marks: ${groups.join(' ')}`);
  const names = all(svg, 'text').filter((text) => VARIANTS.includes(text.textContent));
  t.strictSame([...names].sort((a, b) => heightOf(a) - heightOf(b)).map((text) => text.textContent), VARIANTS, 'the leftmost curve is the topmost');
  t.end();
});

t.test('a variant has one colour in all figures of a page, and each its own look', (t) => {
  const page = parse(renderPage(runReport(), [throughput(), bars()]));
  const [lines, barsSvg] = all(page, 'figure svg');
  const lineColours = new Map(
    all(lines, '[aria-label="dot"]').flatMap((group) => all(group, 'title').map((title): [string, string | null] => [title.textContent.split('\n')[0], group.getAttribute('fill')])),
  );
  const barColours = new Map(all(barsSvg, '[aria-label="bar"] rect').map((bar) => [bar.textContent.split('\n')[0], bar.getAttribute('fill')]));
  t.equal(barColours.size, VARIANTS.length);
  for (const variant of VARIANTS) {
    t.match(barColours.get(variant), /^var\(--ringcube-\d\)$/);
    t.equal(barColours.get(variant), lineColours.get(variant), variant);
  }
  t.equal(new Set(barColours.values()).size, VARIANTS.length);

  // Twelve variants, eight colours: those that are shown together still differ.
  const named = (id: string, names: readonly string[]): Figure => throughput({ id, results: names.map((name) => result(name, { frameBytes: 64 }, 1)) });
  const figures = [named('first', ['a', 'b', 'c', 'd', 'e', 'f', 'g']), named('second', ['b', 'h', 'i', 'j', 'k', 'l', 'a'])];
  const styles = seriesStyles(figures);
  for (const figure of figures) t.equal(new Set(figure.results.map((one) => styles.get(one.variant)?.colour)).size, 7, figure.id);
  t.equal(new Set([...styles.values()].map(({ colour, symbol }) => colour + symbol)).size, 12);
  t.end();
});

t.test('the page', (t) => {
  const targets: Target[] = [
    { what: 'as fast as C++', target: '≥ 0.9 ×', reached: '0.97 ×', spread: '0.94–1.02 ×', met: true },
    { what: 'latency', target: '≤ 2 µs', reached: '3.3 µs', spread: '2.9–3.6 µs', met: false },
    { what: 'rate', target: '–', reached: '28 Mframes/s', spread: '27–29', met: null },
  ];
  const html = renderPage(runReport({ targets }), [throughput(), bars({ id: 'throughput', paragraph: 'One.\n\nTwo.' })]);
  const page = parse(html);
  const ids = all(page, 'section').map((section) => section.getAttribute('id'));
  t.strictSame(ids, ['targets', 'throughput', 'throughput-2'], 'anchors are distinct');
  t.strictSame(all(page, 'nav a').map((link) => link.getAttribute('href')), ids.map((id) => `#${id}`), 'and the contents lead to them');
  t.match(page.querySelector('.about')?.textContent, /A CPU, 2 cores, 8 GiB memory, Linux 6\.1, x64[^]*0123abc[^]*4711[^]*v20\.0\.0[^]*ringcube bench --seed 4711/);
  t.match(page.querySelector('.summary')?.textContent, '1 of 2 targets met · 1 reported · 2 figures');
  t.strictSame(all(page, '.verdict').map((verdict) => verdict.textContent), ['✓ met', '✗ not met', '· reported']);
  t.equal(all(page, '#throughput details tbody tr').length, VARIANTS.length);
  t.equal(all(page, '#throughput-2 > p').length, 2, 'a blank line parts paragraphs');

  t.notMatch(html.replaceAll('xmlns="http://www.w3.org/2000/svg"', ''), /https?:|url\(|@import|\bsrc=/, 'loads nothing');
  t.equal(all(page, 'script, link, img, iframe').length, 0);
  t.match(html, /default-src 'none'/, 'and says so to the browser');
  t.match(html, /prefers-color-scheme: dark/);
  t.end();
});

t.test('a page with published claims has them on top, beside what was measured, and says first of all what is missing', (t) => {
  const targets: Target[] = [{ what: 'rate', target: '–', reached: '28', spread: '27–29', met: null }];
  const failures = [{ what: 'churn', why: 'k: got 1, must be 2 or more' }];
  const page = parse(renderPage(runReport({ targets, claims: [...CLAIMS], failures }), [throughput()]));
  t.strictSame(all(page, 'section').map((section) => section.getAttribute('id')), ['failures', 'claims', 'targets', 'throughput']);
  t.match(page.querySelector('#failures')?.textContent, /churn: k: got 1, must be 2 or more/);
  t.equal(page.querySelector('.summary')?.textContent, '1 missing · 1 of 2 published claims agree · 1 not judged · 1 reported · 1 figure');
  const rows = all(page, '#claims tbody tr').map((row) => [...row.querySelectorAll('th, td')].map((cell) => cell.textContent));
  t.strictSame(rows[1], ['m-regionsslides', '2, 4, 9, 27', '2, 4, 9, 32', CLAIMS[1].remark, '✗ differs'], 'published and measured side by side');
  t.strictSame(rows.map((row) => row[4]), ['✓ agrees', '✗ differs', '· not judged']);
  t.strictSame(all(page, '#claims tr.differs th').map((cell) => cell.textContent), ['m-regionsslides'], 'what differs stands out');
  t.end();
});

t.test('the page escapes everything', (t) => {
  const evil = (name: string): string => `"'><script>${name}()</script><img src=x onerror=${name}()>&`;
  const machine: Machine = { cpu: evil('cpu'), cores: 1, memoryBytes: 1, kernel: evil('kernel'), arch: evil('arch') };
  const report = runReport({
    machine,
    commit: evil('commit'),
    node: evil('node'),
    startedAt: evil('start'),
    command: evil('command'),
    targets: [{ what: evil('what'), target: evil('target'), reached: evil('reached'), spread: evil('spread'), met: true }],
    claims: [{ what: evil('claim'), published: evil('published'), source: evil('source'), measured: evil('measured'), agrees: false, remark: evil('remark') }],
    failures: [{ what: evil('failure'), why: evil('why') }],
  });
  const figure = throughput({
    id: evil('id'),
    title: evil('title'),
    paragraph: evil('paragraph'),
    x: { param: 'x', label: evil('x') },
    y: { metric: 'measured', label: evil('y'), unit: evil('unit') },
    facet: evil('facet'),
    reference: { value: 1, label: evil('reference') },
    results: [result(evil('variant'), { x: evil('value'), [evil('facet')]: evil('panel') }, 1, evil('unit'))],
  });
  for (const kind of ['line', 'bar'] as const) {
    const html = renderPage(report, [{ ...figure, kind }]);
    t.notMatch(html, /<script|<img/);
    const page = parse(html);
    t.equal(all(page, 'script, img, [onerror]').length, 0);
    t.match(page.querySelector('.about')?.textContent, evil('cpu'), 'and shows it as it was');
    t.match(page.querySelector('h2 + p, section p')?.textContent, evil('paragraph'));
  }
  t.end();
});
