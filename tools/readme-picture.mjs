// Takes one figure out of a report, as the picture that README shows:
//   npx ringcube bench --report report.html && node tools/readme-picture.mjs report.html forward-size docs/forward.svg
import { readFileSync, writeFileSync } from 'node:fs';
import { parseHTML } from 'linkedom';

const [report, id, out] = process.argv.slice(2);
if (out === undefined) {
  console.error('usage: node tools/readme-picture.mjs REPORT.html FIGURE OUT.svg');
  process.exit(2);
}
const svg = parseHTML(readFileSync(report, 'utf8')).document.querySelector(`#${id} svg`);
if (svg === null) {
  console.error(`${report}: has no figure ${id}`);
  process.exit(2);
}
writeFileSync(out, svg.outerHTML);
