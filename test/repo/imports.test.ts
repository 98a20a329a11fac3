// Who may import whom, proven on the import declarations themselves. ARCHITECTURE.md says why.
import { readFileSync } from 'node:fs';
import t from 'tap';
import ts from 'typescript';
import { root, sourceFiles } from './tree.js';

/** The layers under src/, and which layers each may import besides itself. */
const ARROWS: Record<string, readonly string[]> = {
  base: [],
  nic: ['base'],
  stack: ['base', 'nic'],
  sched: ['base'],
  spa: ['base', 'nic', 'sched'],
  upcall: ['base', 'nic', 'stack', 'sched', 'spa'],
  host: ['base', 'nic', 'stack', 'sched', 'spa', 'upcall'],
  overlay: ['base', 'sched'],
  sim: ['base', 'sched', 'overlay'],
  live: ['host', 'overlay'],
  report: ['base'],
  testing: ['base', 'nic', 'host', 'report'],
};
const LAYERS = Object.keys(ARROWS);

/** The folders that are no layer: what they may import besides themselves. */
const OUTSIDE: Record<string, readonly string[]> = {
  // The library's entry, src/index.ts: all but what is for the terminal.
  src: LAYERS,
  cli: [...LAYERS, 'src', 'bench'],
  bench: ['base', 'nic', 'stack', 'sched', 'spa', 'upcall', 'host', 'overlay', 'sim', 'report', 'testing'],
};

const ALLOWED = { ...ARROWS, ...OUTSIDE };

/** A folder of native/, and what no file in it may include. */
const NATIVE_BANS: readonly { folder: string; include: RegExp; why: string }[] = [
  { folder: 'native/core', include: /^(napi|node_api|js_native_api|node|v8|uv)\.h$/, why: 'the core knows no Node' },
  { folder: 'native/bench', include: /^(napi|node_api|js_native_api|node|v8|uv)\.h$/, why: 'the core knows no Node' },
  { folder: 'native/test', include: /^(napi|node_api|js_native_api|node|v8|uv)\.h$/, why: 'core tests run without Node' },
  { folder: 'native/core', include: /(^|\/)(addon|bench|test)\//, why: 'the core is the lowest' },
  { folder: 'native/bench', include: /(^|\/)(addon|test)\//, why: 'baselines know no addon' },
  { folder: 'native/test', include: /(^|\/)addon\//, why: 'core tests run without Node' },
];

interface Import {
  specifier: string;
  line: number;
}

/** Every way in which a module can name another: import, export from, import(), import type, require(). */
function importsOf(path: string, text: string): Import[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    let named: ts.Node | undefined;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) named = node.moduleSpecifier;
    else if (ts.isExternalModuleReference(node)) named = node.expression;
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) named = node.argument.literal;
    else if (ts.isCallExpression(node)) {
      const callee = node.expression;
      const calls = callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === 'require');
      if (calls) named = node.arguments[0];
    }
    if (named !== undefined && ts.isStringLiteralLike(named)) {
      found.push({ specifier: named.text, line: source.getLineAndCharacterOfPosition(named.getStart()).line + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The part of the house that a path from the root lies in: a layer, 'cli', 'bench', 'src' for src/*.ts, else its first folder. */
function partOf(path: string): string {
  const [first, second, ...deeper] = path.split('/') as [string, ...string[]];
  return first === 'src' && deeper.length > 0 ? second : first;
}

/** One line for each arrow that the tables do not allow. */
function forbiddenArrows(path: string, text: string): string[] {
  const from = partOf(path);
  const allowed = ALLOWED[from];
  if (allowed === undefined) return [`${path}: ${from} is no layer: add it to the table with what it may import`];
  const wrong: string[] = [];
  for (const { specifier, line } of importsOf(path, text)) {
    if (specifier === 'ringcube' || specifier.startsWith('ringcube/')) {
      wrong.push(`${path}:${line}: ${from} imports the package by its own name`);
      continue;
    }
    if (!specifier.startsWith('.')) continue;
    const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
    const to = partOf(target);
    if (to !== from && !allowed.includes(to)) wrong.push(`${path}:${line}: ${from} may not import ${to} (${specifier})`);
  }
  return wrong;
}

/** One line for each banned #include. */
function forbiddenIncludes(path: string, text: string): string[] {
  const bans = NATIVE_BANS.filter(({ folder }) => path.startsWith(`${folder}/`));
  return text.split('\n').flatMap((content, index) => {
    const included = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(content)?.[1];
    if (included === undefined) return [];
    return bans
      .filter(({ include }) => include.test(included))
      .map(({ why }) => `${path}:${index + 1}: may not include ${included}: ${why}`);
  });
}

const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

t.test('the checker sees every kind of import', (t) => {
  const wrong = (path: string, text: string): number => forbiddenArrows(path, text).length;
  for (const bad of [
    `import { x } from '../nic/index.js';`,
    `import type { X } from '../nic/index.js';`,
    `import '../nic/index.js';`,
    `export * from '../nic/index.js';`,
    `export { type X } from '../nic/index.js';`,
    `const nic = await import('../nic/index.js');`,
    `type X = import('../nic/index.js').X;`,
    `import nic = require('../nic/index.js');`,
    `const nic = require('../nic/index.js');`,
    `import { x } from '../../bench/x.js';`,
    `import { x } from '../../test/x.js';`,
    `import { x } from '../index.js';`,
    `import { x } from 'ringcube';`,
  ]) {
    t.equal(wrong('src/base/x.ts', bad), 1, bad);
  }
  for (const good of [
    `import { x } from './y.js';`,
    `import { x } from 'node:fs';`,
    `// import { x } from '../nic/index.js';`,
    `const s = "import '../nic/index.js'";`,
  ]) {
    t.equal(wrong('src/base/x.ts', good), 0, good);
  }
  t.equal(wrong('src/base/deep/x.ts', `import { x } from '../y.js';`), 0);
  t.equal(wrong('src/index.ts', `export * from './nic/index.js';`), 0);
  t.equal(wrong('src/index.ts', `export * from './cli/main.js';`), 1);
  t.equal(wrong('src/cli/x.ts', `import { x } from '../../bench/x.js';`), 0);
  t.equal(wrong('src/surprise/x.ts', ''), 1);
  t.equal(wrong('bench/path/x.ts', `import { x } from '../../src/nic/index.js';`), 0);
  t.equal(wrong('bench/path/x.ts', `import { x } from '../../src/cli/main.js';`), 1);
  t.equal(forbiddenIncludes('native/core/x.cc', '#include <napi.h>\n  # include "addon/x.h"\n#include "core/y.h"').length, 2);
  t.equal(forbiddenIncludes('native/test/x.cc', '#include "napi.h"\n#include "test/check.h"').length, 1);
  t.equal(forbiddenIncludes('native/addon/x.cc', '#include <napi.h>').length, 0);
  t.end();
});

t.test('no arrow points up', (t) => {
  // A layer reaches only layers that stand before it in the table, so there can be no cycle.
  for (const [index, layer] of LAYERS.entries()) {
    t.ok(ARROWS[layer].every((to) => LAYERS.indexOf(to) >= 0 && LAYERS.indexOf(to) < index), layer);
  }
  t.end();
});

t.test('src and bench keep to the arrows', (t) => {
  const paths = sourceFiles(['src', 'bench'], ['.ts']);
  t.ok(paths.length > 0, `${paths.length} files`);
  t.same(paths.flatMap((path) => forbiddenArrows(path, read(path))), []);
  t.end();
});

t.test('native keeps to its own', (t) => {
  const paths = sourceFiles(['native'], ['.cc', '.h']);
  t.ok(paths.length > 0, `${paths.length} files`);
  t.same(paths.flatMap((path) => forbiddenIncludes(path, read(path))), []);
  t.end();
});
