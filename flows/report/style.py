"""The look of the report page: light, dark, narrow and printed, from the system's own fonts."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --ink: #1b1f24; --soft: #59626d; --line: #dde1e6;
  --accent: #0b6aa8; --warn: #8a4b00; --warn-page: #fff5e2; --warn-line: #e0a030;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --card: #1b1f25; --ink: #e7eaee; --soft: #a3adb8; --line: #343b44;
    --accent: #62b4e8; --warn: #ffd08a; --warn-page: #2c2414; --warn-line: #a8741a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .6rem; break-after: avoid; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption { color: var(--soft); font-size: .875rem; }
.verdict {
  display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: center;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 1.1rem 1.4rem;
}
.verdict dl { margin: 0; }
.verdict .lead { max-width: 23rem; }
.label { display: flex; align-items: baseline; }
.verdict dt { color: var(--soft); font-size: .875rem; }
.verdict dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.verdict .lead dd { font-size: 3rem; line-height: 1.1; font-weight: 650; }
.verdict dd.note { font-size: .875rem; color: var(--soft); font-weight: 400; line-height: 1.45; }
.warning {
  max-width: none; margin: 1rem 0; padding: .7rem 1rem; border: 1px solid var(--warn-line);
  border-left-width: 5px; border-radius: 6px; background: var(--warn-page); color: var(--warn);
}
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9375rem; }
table.wide { width: 100%; }
th, td {
  padding: .42rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top;
}
thead th { color: var(--soft); font-weight: 600; font-size: .8125rem; vertical-align: bottom; }
th.name { text-align: left; font-weight: 600; overflow-wrap: break-word; max-width: 18rem; }
td.text { text-align: left; overflow-wrap: anywhere; }
.undefined {
  display: inline-block; max-width: 11rem; color: var(--soft); font-size: .8125rem;
  font-style: italic; line-height: 1.3;
}
.swatch {
  display: inline-block; flex: none; width: .8em; height: .8em; margin-right: .5em;
  border-radius: 2px; border: 1px solid var(--soft); vertical-align: -.04em;
  print-color-adjust: exact;
}
.bar {
  display: block; height: 4px; margin-top: 3px; border-radius: 2px; background: var(--line);
  min-width: 3.5rem; print-color-adjust: exact;
}
.bar i { display: block; height: 100%; border-radius: 2px; background: var(--accent); }
.matrix td, .matrix thead th { min-width: 5.2rem; max-width: 12rem; overflow-wrap: break-word; }
.matrix td {
  background: color-mix(in srgb, var(--accent) calc(var(--share) * 45%), var(--card));
  print-color-adjust: exact;
}
.matrix td small { display: block; color: var(--soft); font-size: .75rem; }
.matrix td.right { font-weight: 700; box-shadow: inset 0 0 0 2px var(--accent); }
.matrix td.strong small { color: var(--ink); }
figure { margin: 1.2rem 0 2rem; break-inside: avoid; }
figcaption { margin-bottom: .4rem; }
.panels {
  display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
}
.panels div { max-width: 30rem; }
.panels img { display: block; width: 100%; height: auto; border-radius: 4px; }
.panels span { font-size: .875rem; font-weight: 600; }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .4rem 0;
}
.legend li { font-size: .875rem; }
.terms dt { font-weight: 600; }
.terms dd { margin: 0 0 .5rem; max-width: 46rem; color: var(--soft); }
@media (max-width: 40rem) {
  main { padding: 1.25rem .9rem 3rem; }
  .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  table.stack thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  table.stack, table.stack tbody { display: block; }
  table.stack tr {
    display: block; margin: 0 0 .8rem; padding: .5rem .8rem; border: 1px solid var(--line);
    border-radius: 8px; background: var(--card);
  }
  table.stack td, table.stack th {
    display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .14rem 0;
  }
  table.stack td[data-label]::before { content: attr(data-label); color: var(--soft); }
  table.stack .bar { display: none; }
  .undefined { max-width: 70%; text-align: right; }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --accent: #0b6aa8; --warn: #000; --warn-page: #fff; --warn-line: #000;
  }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  .panels { grid-template-columns: repeat(4, 1fr); }
  tr { break-inside: avoid; }
}
"""
