"""The style sheet of the report's page; its colours follow the reader's theme, the drawings' too."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #1d1f24; --soft: #6a6f7a; --line: #dedbd2; --card: #ffffff;
  --m0: #4a4f5a; --m1: #1f5fa8; --m2: #c4561c; --m3: #3c8a4e; --m4: #8d44b4; --m5: #a88400; --m6: #b8285a;
  --m7: #13808a; --m8: #7a5230; --m9: #5560d8; --m10: #6b7a12; --m11: #99405a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161b; --ink: #e9e7e1; --soft: #9aa0ac; --line: #2c3038; --card: #1e2129;
    --m0: #b4bac6; --m1: #5aa5f5; --m2: #ff935c; --m3: #6cc784; --m4: #c68cf0; --m5: #e0bd3c; --m6: #ff7ba6;
    --m7: #4fc8d2; --m8: #cfa27a; --m9: #98a2ff; --m10: #bccb4e; --m11: #e08ba4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 2rem clamp(.8rem, 3vw, 2rem) 4rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
}
h1 { margin: 0 0 1rem; font-size: 1.4rem; } h2 { margin: 2.2rem 0 .5rem; font-size: 1.1rem; }
p { max-width: 46rem; margin: .4rem 0; overflow-wrap: anywhere; }
p.about, figcaption { color: var(--soft); font-size: .85rem; }
code { font: .9em ui-monospace, monospace; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .8rem 0; padding: 0; list-style: none; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
.wide { width: fit-content; max-width: 100%; overflow-x: auto; }
.wide { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; } td:last-child { white-space: normal; min-width: 5rem; }
td small { display: block; color: var(--soft); font-size: .75rem; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; min-width: 4.5rem; }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--card); text-align: left; }
tbody th { white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
"""
