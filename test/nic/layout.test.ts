// The twin test: what native/core/layout.h and checksum.h say, and what src/nic/layout.ts says, name by name.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { addon } from '../../src/nic/index.js';
import * as layout from '../../src/nic/layout.js';

const root = new URL('../../../', import.meta.url);

/** The names that layout.ts defines, as C++ writes them: Feature.Csum is kFeatureCsum, and a structure's size is its name. */
function mirrored(): Map<string, number> {
  const names = new Map<string, number>();
  for (const [name, value] of Object.entries(layout) as [string, number | Record<string, unknown>][]) {
    if (typeof value === 'number') {
      names.set(`k${name}`, value);
      continue;
    }
    const structure = 'size' in value;
    for (const [field, number] of Object.entries(value)) {
      if (typeof number !== 'number') continue; // queueBytes: below
      names.set(structure ? (field === 'size' ? name : `${name}.${field}`) : `k${name}${field}`, number);
    }
  }
  return names;
}

/** The names of a header's constants, structures and fields, from its text. Padding of ours is not part of the agreement. */
function declared(path: string): string[] {
  const text = readFileSync(new URL(path, root), 'utf8').replace(/\/\/.*$/gm, '');
  const constants = [...text.matchAll(/^inline constexpr \w+ (k\w+) =/gm)].map((match) => match[1]);
  const structures = [...text.matchAll(/^struct (\w+) \{\n([^]*?)\n\};/gm)].flatMap(([, name, body]) => [
    name,
    ...[...body.matchAll(/^ {2}\w+ (\w+)(?:\[.*\])?(?: = .*)?;/gm)].map((field) => `${name}.${field[1]}`),
  ]);
  return [...constants, ...structures].filter((name) => name !== 'Flow.unused');
}

t.test('device and driver give each name the same value, and neither has one that the other lacks', (t) => {
  const ours = mirrored();
  t.ok(ours.size > 100, `${ours.size} names`);
  t.same([...ours.keys()].sort(), Object.keys(addon.layout).sort());
  for (const [name, value] of ours) t.equal(value, addon.layout[name], name);
  t.end();
});

t.test('what the headers declare is compared: no constant, structure or field is left out', (t) => {
  const names = [...declared('native/core/layout.h'), ...declared('native/core/checksum.h')];
  t.same(names.sort(), Object.keys(addon.layout).sort());
  t.end();
});

t.test('no two feature bits, registers or fields of a structure are one (§4.2.2, §6)', (t) => {
  for (const [name, group] of Object.entries({ Feature: layout.Feature, Reg: layout.Reg, Status: layout.Status })) {
    const values = Object.values(group);
    t.equal(new Set<number>(values).size, values.length, name);
  }
  t.ok(Object.values(layout.Feature).every((bit) => bit >= 0 && bit < 64));
  t.end();
});

t.test('the areas of a queue take what the table of §2.7 says', (t) => {
  for (const size of [2, 4, 256, layout.QueueSizeMax]) {
    t.equal(layout.queueBytes.desc(size), 16 * size);
    t.equal(layout.queueBytes.avail(size), 6 + 2 * size);
    t.equal(layout.queueBytes.used(size), 6 + 8 * size);
  }
  t.end();
});
