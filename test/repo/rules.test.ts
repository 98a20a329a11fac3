// The rules of the house that a machine can check. CONTRIBUTING.md says them in words.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import t from 'tap';
import { root, sourceFiles } from './tree.js';

const MAX_LINES = 450;

const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/** The folders of src/ that hold code. */
function layers(): string[] {
  return readdirSync(new URL('src/', root), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && sourceFiles([`src/${entry.name}`], ['.ts']).length > 0)
    .map((entry) => entry.name);
}

/** The text of a page without its code, where links and names are no promises. */
function prose(markdown: string): string {
  return markdown.replace(/^( *)(```|~~~)[^]*?^\1\2/gm, '').replace(/`[^`\n]*`/g, '');
}

/** The targets of a page's links and pictures that lead to files beside it. */
function relativeLinks(markdown: string): string[] {
  const text = prose(markdown);
  const targets = [
    ...text.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g),
    ...text.matchAll(/^\[[^\]]+\]:\s*<?(\S+?)>?$/gm),
    ...text.matchAll(/\b(?:href|src)="([^"]+)"/g),
  ].map((match) => match[1]);
  return targets.filter((target) => !/^([a-z][a-z0-9+.-]*:|#|\/\/)/i.test(target)).map((target) => target.replace(/[#?].*$/, ''));
}

t.test('every folder of src says in its first lines what lives there', (t) => {
  for (const layer of layers()) {
    // A program has no index: its first file is the one that is run.
    const first = ['index.ts', 'main.ts'].map((name) => `src/${layer}/${name}`).find((path) => existsSync(new URL(path, root)));
    if (first === undefined) t.fail(`src/${layer}/index.ts is missing`);
    else t.match(read(first), /^(#!.*\n)?(\/\/ \S|\/\*)/, `${first} begins with a comment`);
  }
  t.end();
});

t.test(`no file but a test is longer than ${MAX_LINES} lines: a test mirrors its source, however much there is to prove`, (t) => {
  const endings = ['.ts', '.js', '.mjs', '.cc', '.h', '.sh', '.txt'];
  const long = sourceFiles(['src', 'native/core', 'native/addon', 'native/bench', 'bench', 'tools', 'examples'], endings)
    .map((path) => ({ path, lines: read(path).split('\n').length - 1 }))
    .filter(({ lines }) => lines > MAX_LINES);
  t.same(long, []);
  t.end();
});

t.test('every link from one page to a file leads somewhere', (t) => {
  t.same(
    relativeLinks('[a](x.md#y) ![b](<z.png>) [c](https://d.e) [f](#g) `[h](i)`\n```\n[j](k)\n```\n[l]: m/n\n<img src="o.svg">'),
    ['x.md', 'z.png', 'm/n', 'o.svg'],
  );
  const pages = sourceFiles([''], ['.md']);
  t.ok(pages.length > 0, `${pages.length} pages`);
  const broken = pages.flatMap((page) =>
    relativeLinks(read(page))
      .filter((target) => !existsSync(new URL(decodeURI(target), new URL(page, root))))
      .map((target) => `${page}: ${target}`),
  );
  t.same(broken, []);
  t.end();
});

t.test('every `npm run` in a page is a script', (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const unknown = sourceFiles([''], ['.md']).flatMap((page) =>
    [...read(page).matchAll(/\bnpm run ([\w:-]+)/g)]
      .filter((match) => !(match[1] in scripts))
      .map((match) => `${page}: ${match[0]}`),
  );
  t.same(unknown, []);
  t.end();
});

t.test('ARCHITECTURE.md names the folders of src that exist, and only those', (t) => {
  const named = new Set([...read('ARCHITECTURE.md').matchAll(/\bsrc\/([a-z]+)\b/g)].map((match) => match[1]));
  t.same([...named].sort(), layers().sort());
  t.end();
});

t.test('docs/rfc-clauses.md names tests that exist, and says of all else why it is not met', (t) => {
  const cells = [...read('docs/rfc-clauses.md').matchAll(/^\| *\S.*$/gm)].map(([row]) => row.split('|').slice(1, -1).map((cell) => cell.trim()));
  const rows = cells.filter(([clause]) => clause !== 'clause' && !clause.startsWith('---'));
  t.ok(rows.length > 80, `${rows.length} clauses`);
  const names = new Map<string, string>();
  const wrong = rows.flatMap((row) => {
    const proof = row.at(-1) ?? '';
    if (row.length === 4 && /^not met: \S/.test(proof)) return [];
    const [, file, name] = /^([a-z]+\/[a-z-]+): (.+)$/.exec(proof) ?? [];
    const path = `test/${file}.test.ts`;
    if (row.length !== 4 || file === undefined || !existsSync(new URL(path, root))) return [row.join(' | ')];
    // Of a test: the text of its name, which stands in the line that begins it.
    if (!names.has(path)) names.set(path, read(path).split('\n').filter((line) => /^\s*(t\.test|lab)\(/.test(line)).join('\n'));
    return names.get(path)!.includes(name) ? [] : [row.join(' | ')];
  });
  t.same(wrong, []);
  t.end();
});
