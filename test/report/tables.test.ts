// results.ts, quantity.ts, figure.ts, table.ts: numbers and words.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { claimTable, describeCommit, describeMachine, figureTable, humanize, summarize, targetTable } from '../../src/report/index.js';
import { bars, CLAIMS, cumulative, result, SIZES, throughput, VARIANTS } from './samples.js';

t.test('summarize', (t) => {
  t.strictSame(summarize([3, 1, 2]), { median: 2, min: 1, max: 3, runs: [3, 1, 2] }, 'keeps the runs in their order');
  t.equal(summarize([4, 1, 2, 3]).median, 2.5, 'of an even number, the middle of the two in the middle');
  t.equal(summarize([1e308, 1.5e308]).median, 1.25e308, 'does not overflow');
  t.throws(() => summarize([]), RangeError);
  t.throws(() => summarize([1, NaN, 2]), RangeError);
  t.throws(() => summarize([1, Infinity]), RangeError);
  t.end();
});

t.test('humanize', (t) => {
  const cases: [number, string, string][] = [
    [21_300_000, 'frames/s', '21.3 Mframes/s'],
    [999_950, 'frames/s', '1 Mframes/s'],
    [850, 'ns', '850 ns'],
    [1200, 'ns', '1.2 µs'],
    [0.32, 'ns', '0.32 ns'],
    [0.0012, 'ms', '1.2 µs'],
    [2.5e9, 'ns', '2.5 s'],
    [1200, 'us', '1.2 ms'],
    [42_300, 'ns/frame', '42.3 µs/frame'],
    [34, '%', '34 %'],
    [1234, '%', '1234 %'],
    [2.345, 'x', '2.35 ×'],
    [3277, 'B', '3.2 KiB'],
    [1000, 'B', '1000 B'],
    [9000, 'B/frame', '8.79 KiB/frame'],
    [1.25e9, 'B/s', '1.25 GB/s'],
    [10e9, 'bit/s', '10 Gbit/s'],
    [0, 'frames/s', '0 frames/s'],
    [-1500, 'ns', '−1.5 µs'],
    [12_345, '', '12.3 k'],
    [NaN, 'ns', '–'],
  ];
  for (const [value, unit, expected] of cases) t.equal(humanize(value, unit), expected, `${value} ${unit}`);
  t.end();
});

t.test('describeMachine says where it runs', (t) => {
  const machine = describeMachine();
  t.match(machine, { cpu: /./, kernel: /^Linux \d/, arch: process.arch });
  t.ok(machine.cores >= 1 && machine.memoryBytes > 1e6);
  t.end();
});

t.test('describeCommit: hash, dirty, unknown', (t) => {
  const cwd = t.testdir({ file: 'one' });
  const git = (...args: string[]): string => execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd, encoding: 'utf8' });
  git('init', '-q');
  t.equal(describeCommit(cwd), 'unknown', 'before the first commit');
  git('add', '.');
  git('commit', '-qm', 'one');
  t.equal(describeCommit(cwd), git('rev-parse', '--short', 'HEAD').trim());
  writeFileSync(join(cwd, 'untracked'), '');
  t.notMatch(describeCommit(cwd), /dirty/, 'untracked files do not count');
  writeFileSync(join(cwd, 'file'), 'two');
  t.match(describeCommit(cwd), /^[0-9a-f]+-dirty$/);
  t.equal(describeCommit('/'), 'unknown', 'outside a repository');
  t.equal(describeCommit('/nonexistent'), 'unknown');
  t.end();
});

t.test('a figure as a table', (t) => {
  const wide = figureTable(throughput(), { color: false, width: 200 });
  for (const name of [...VARIANTS, ...SIZES.map(String)]) t.ok(wide.includes(name), name);
  t.match(wide, /Throughput \(frames\/s\)/);
  t.match(wide, /28 M \(25\.2–30\.8\)/);
  t.match(wide.split('\n').find((line) => line.includes('one copy')), /│\s+– │/, 'a cell not measured');
  t.equal(wide, stripVTControlCharacters(wide), 'no colour');
  const coloured = figureTable(throughput(), { color: true, width: 200 });
  t.not(coloured, wide);
  t.equal(stripVTControlCharacters(coloured), wide);

  for (const width of [80, 120]) {
    const lines = figureTable(throughput(), { color: true, width }).split('\n');
    t.ok(lines.slice(2).every((line) => stripVTControlCharacters(line).length <= width), `fits ${width} columns`);
    for (const size of SIZES) t.ok(lines.some((line) => line.includes(` ${size}`) || line.includes(`m${size}`)), `${size} is there at ${width}`);
  }

  const one = figureTable(bars(), { color: false, width: 100 });
  t.match(one, /kernel socket +│ +3\.3 µs \(2\.97–3\.63\) │/, 'variants as x make one column');

  const results = ['64', '256'].flatMap((ring) => throughput().results.map((one) => ({ ...one, params: { ...one.params, ring } })));
  t.match(figureTable(throughput({ facet: 'ring', results }), { color: false, width: 200 }), /│ 256 +│ one copy/, 'facets are rows');
  t.match(figureTable(throughput({ results: [] }), { color: false, width: 80 }), /Nothing was measured/);
  t.end();
});

t.test('of a curve with many points a table shows some, and says so', (t) => {
  const table = figureTable(cumulative(), { color: false, width: 200 });
  t.match(table, /by Delay penalty, 7 of 61 points/);
  for (const x of ['1', '2.15', '4.64', '10', '21.5', '100']) t.ok(table.includes(` ${x} │`), x);
  t.end();
});

t.test('far-off ends get prefixes of their own', (t) => {
  const results = [{ ...result('a', { frameBytes: 64 }, 900, 'ns'), min: 800, max: 12e6 }];
  const figure = throughput({ results, y: { metric: 'measured', label: 'Latency', unit: 'ns' } });
  t.match(figureTable(figure, { color: false, width: 100 }), /900 ns \(800 ns–12 ms\)/);
  t.end();
});

t.test('a figure that would show a number under a wrong name is refused', (t) => {
  const twice = throughput({ results: [result('a', { frameBytes: 64, ring: 1 }, 1), result('a', { frameBytes: 64, ring: 2 }, 2)] });
  t.throws(() => figureTable(twice, { color: false, width: 80 }), { name: 'RangeError', message: /two results for 'a' at frameBytes = 64/ });
  const wrongUnit = throughput({ results: [result('a', { frameBytes: 64 }, 1, 'ns')] });
  t.throws(() => figureTable(wrongUnit, { color: false, width: 80 }), { name: 'RangeError', message: /'a' is in ns, the axis in frames\/s/ });
  const others = throughput({ results: [{ ...result('other metric', { frameBytes: 64 }, 1), metric: 'other' }, result('no x', {}, 1), result('kept', { frameBytes: 64 }, 1)] });
  t.match(figureTable(others, { color: false, width: 80 }), /kept/);
  t.notMatch(figureTable(others, { color: false, width: 80 }), /other|no x/, 'what has no place in it is left out');
  t.end();
});

t.test('targets as a table', (t) => {
  const targets = [
    { what: 'Zero-copy forwards as fast as C++, 64-byte frames, one core, split ring', target: '≥ 0.9 ×', reached: '0.97 ×', spread: '0.94–1.02 ×', met: true },
    { what: 'Latency', target: '≤ 2 µs', reached: '3.3 µs', spread: '2.9–3.6 µs', met: false },
    { what: 'Rate', target: '–', reached: '28 Mframes/s', spread: '27–29', met: null },
  ];
  const table = targetTable(targets, { color: false, width: 80 });
  t.match(table, /0\.97 ×.*✓ met/);
  t.match(table, /3\.3 µs.*✗ not met/);
  t.match(table, /28 Mframes\/s.*· reported/);
  t.ok(table.split('\n').every((line) => line.length <= 80), 'fits');
  t.end();
});

t.test('published claims as a table', (t) => {
  for (const width of [80, 110]) {
    const table = claimTable(CLAIMS, { color: false, width });
    t.match(table, /published +│ measured +│ remark/);
    t.match(table, /✓ agrees/);
    t.match(table, /✗ differs/);
    t.match(table, /· not judged/);
    t.ok(table.split('\n').every((line) => line.length <= width), `fits ${width} columns`);
    const words = table.replaceAll(/[^\p{L}\p{N}]+/gu, ' ');
    for (const { remark } of CLAIMS) for (const word of remark.split(/[ ,.]+/)) t.ok(words.includes(word), `'${word}' is not cut at ${width}`);
  }
  const coloured = claimTable(CLAIMS, { color: true, width: 110 });
  t.equal(stripVTControlCharacters(coloured), claimTable(CLAIMS, { color: false, width: 110 }));
  t.end();
});
