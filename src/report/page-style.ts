/** The page's stylesheet. Colours follow the reader's system; nothing is fetched. */
export const PAGE_CSS = `
:root { color-scheme: light dark; --ground: #ffffff; --text: #1d232b; --soft: #59636f; --line: #d8dde3; --panel: #f5f7f9;
  --link: #1f56c4; --good: #0b7a4b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --text: #dfe4ea; --soft: #9aa5b1; --line: #323943; --panel: #1c2128; --link: #84aaff; --good: #4cc38a; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 58rem; background: var(--ground); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
a { color: var(--link); }
p { max-width: 46rem; }
.summary { color: var(--soft); margin: 0 0 1.5rem; }
.about { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1.1rem; margin: 0 0 1.5rem; }
.about dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: 0; }
.about dt { color: var(--soft); }
.about dd { margin: 0; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, 'SF Mono', Menlo, Consolas, monospace; }
nav ol { margin: 0; padding-left: 1.4rem; }
nav li { margin: .1rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 6rem; }
.numbers td, .numbers thead th.value { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.numbers small { display: block; color: var(--soft); font-size: .92em; }
.verdicts tbody th { min-width: 10rem; }
.verdicts th small { display: block; color: var(--soft); font-weight: 400; }
.differs { background: var(--panel); }
.verdict { white-space: nowrap; font-weight: 600; }
.met { color: var(--good); }
.missed { color: var(--bad); }
.reported { color: var(--soft); }
figure { margin: 0 0 .75rem; }
figure svg { display: block; max-width: 100%; height: auto; }
details { margin: .75rem 0 0; }
summary { cursor: pointer; color: var(--link); width: max-content; max-width: 100%; }
summary + * { margin-top: .6rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 40rem) { figure { overflow-x: auto; } figure svg { max-width: none; } .about dl { grid-template-columns: 1fr; } .about dd { margin-bottom: .4rem; } }
@media print { h2, figure, tr { break-inside: avoid; } nav { display: none; } }
`;
