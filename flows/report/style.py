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
h2 { font-size: 1.2rem; margin: 2.75rem 0 .6rem; break-after: avoid; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; break-after: avoid; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 46rem; }
p, li, dd, caption, summary, figcaption, figure span { overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .875rem; }
.trust { font-size: 1.05rem; margin-top: 1rem; }
nav ul {
  display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; list-style: none; margin: 1rem 0 0; padding: 0;
}
nav li { font-size: .875rem; }
a { color: var(--accent); }
nav a { display: inline-block; padding: .2rem 0; }
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
.finding {
  margin: .8rem 0; padding: .6rem 1rem; border: 1px solid var(--line); border-left-width: 5px;
  border-radius: 6px; background: var(--card); break-inside: avoid;
}
.finding p { max-width: none; margin: .15rem 0; overflow-wrap: anywhere; }
.finding details { margin: .4rem 0 .15rem; font-size: .9375rem; }
.finding summary { cursor: pointer; color: var(--soft); }
kbd { font-family: ui-monospace, monospace; font-size: .875em; overflow-wrap: anywhere; }
.finding code { color: var(--soft); font-size: .8125rem; }
.finding.warning { border-color: var(--warn-line); background: var(--warn-page); }
.finding.warning b { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9375rem; }
table.wide { width: 100%; }
table.wide + table.wide { margin-top: 1.2rem; }
th, td {
  padding: .42rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top;
}
caption { text-align: left; font-size: .875rem; font-weight: 600; padding: .9rem 0 .2rem; }
td:not(.text) > span:not(.undefined) { white-space: nowrap; }
td small, th small { display: block; color: var(--soft); font-size: .8125rem; font-weight: 400; }
thead th { color: var(--soft); font-weight: 600; font-size: .8125rem; vertical-align: bottom; }
th.name { text-align: left; font-weight: 600; overflow-wrap: break-word; max-width: 18rem; }
td.text, th.text { text-align: left; overflow-wrap: anywhere; }
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
.matrix td small { font-size: .75rem; }
.matrix td.right { font-weight: 700; box-shadow: inset 0 0 0 2px var(--accent); }
.matrix td.strong small { color: var(--ink); }
figure { margin: 1.2rem 0 2rem; break-inside: avoid; }
figcaption { margin-bottom: .4rem; }
.panels {
  display: grid; gap: .6rem; align-items: end;
  grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr));
}
.panels div { max-width: 30rem; }
.panels img { display: block; width: 100%; height: auto; border-radius: 4px; }
.panels span { font-size: .875rem; font-weight: 600; }
.charts {
  display: grid; gap: .4rem 1.5rem; margin: .6rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18.5rem), 1fr));
}
.chart { margin: .8rem 0; }
.charts .chart { margin: .3rem 0; }
.chart svg { display: block; max-width: 100%; height: auto; }
.for-narrow { display: none; }
svg text {
  font-family: inherit; font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--page); stroke-width: 3px;
}
svg .quiet { opacity: .8; }
svg .grid { stroke: var(--line); fill: none; }
svg .axis { stroke: var(--soft); fill: none; }
svg .leader { stroke: var(--soft); stroke-dasharray: 1 3; fill: none; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .band { fill: none; stroke-width: 3; opacity: .35; }
svg .median { stroke: currentColor; stroke-width: 2; }
svg .bracket { fill: none; stroke-width: 1.5; }
svg .void { fill: none; stroke: var(--soft); stroke-width: .8; }
svg .place { stroke: var(--page); stroke-width: .6; }
svg .on-dark, svg .on-light { stroke: none; }
svg .on-dark { fill: #fff; }
svg .on-light { fill: #000; }
svg rect, svg path { print-color-adjust: exact; }
details { margin: .5rem 0; }
summary { cursor: pointer; font-size: .875rem; }
details caption { display: none; }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .4rem 0;
}
.legend li { font-size: .875rem; }
.terms dt { font-weight: 600; }
.terms dd { margin: 0 0 .5rem; max-width: 46rem; color: var(--soft); }
@media screen and (max-width: 58rem) {
  table.stack thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  table.stack, table.stack caption { display: block; width: 100%; }
  table.stack tbody {
    display: grid; gap: .8rem;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
  }
  table.stack tr {
    display: block; padding: .5rem .8rem; border: 1px solid var(--line);
    border-radius: 8px; background: var(--card);
  }
  table.stack td, table.stack th {
    display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .14rem 0;
  }
  table.stack td[data-label]::before {
    content: attr(data-label); color: var(--soft); text-align: left;
    overflow-wrap: anywhere; min-width: 6rem;
  }
  table.stack .bar { display: none; }
  table.stack td.text { text-align: right; }
  table.stack .undefined { max-width: 70%; text-align: right; }
}
@media (max-width: 40rem) {
  main { padding: 1.25rem .9rem 3rem; }
  .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media screen and (max-width: 46rem) {
  .for-wide { display: none; }
  .for-narrow { display: block; }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --accent: #0b6aa8; --warn: #000; --warn-page: #fff; --warn-line: #000;
  }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  .panels { grid-template-columns: repeat(4, 1fr); }
  tr, .charts .chart { break-inside: avoid; }
  .terms dt { break-after: avoid; }
  details { display: none; }
}
"""
