"""The style sheet of the page that shows a tiling.

Each tile has its density, 0 to 100, in `--d`. The card of the tile under the pointer, or with the keyboard's focus, is
pinned to the foot of the window: it needs no script there, and does not hide the tile's neighbours.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #1d1f24; --soft: #6a6f7a; --line: #dedbd2; --card: #ffffff;
  --even: #2f7fd1; --odd: #8d54c4; --bad: #c62828; --good: #a04b00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161b; --ink: #e9e7e1; --soft: #9aa0ac; --line: #2c3038; --card: #1e2129;
    --even: #4a9bf0; --odd: #b07be6; --bad: #ff7b72; --good: #ffb25c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 54rem; padding: 2.5rem 1.5rem 16rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
}
h1 { margin: 0 0 1.25rem; font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; }
h1 small { color: var(--soft); font-weight: 400; }
dl.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(6.6rem, 1fr)); margin: 0 0 1.5rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .5rem; overflow: hidden;
}
dl.figures div { padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .75rem; }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.sizes { display: flex; align-items: flex-end; gap: 2px; height: 4.5rem; margin: 0; padding: 0; list-style: none; }
.sizes li {
  display: flex; flex: 1; flex-direction: column; justify-content: flex-end; align-items: center; height: 100%;
  color: var(--soft); font-size: .7rem; font-variant-numeric: tabular-nums;
}
.sizes i { width: 100%; height: var(--h); min-height: 1px; border-radius: 2px 2px 0 0; background: var(--even); }
figure { margin: 0 0 1.5rem; }
figcaption, .legend { color: var(--soft); font-size: .8rem; }
.legend { display: flex; flex-wrap: wrap; align-items: center; gap: .3rem 1.2rem; margin: 0 0 1.5rem; }
.legend label { margin-left: auto; }
main {
  padding: 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  font: 1.1rem/2 Charter, Georgia, serif; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4;
}
body:has(#fixed:checked) main { font: .9rem/1.9 ui-monospace, monospace; }
.z {
  --hue: var(--even); padding: .15em 0; border-radius: .2em; cursor: default;
  background: color-mix(in srgb, var(--hue) calc(6% + var(--d) * .5%), transparent);
  box-decoration-break: clone; -webkit-box-decoration-break: clone;
}
.z.odd { --hue: var(--odd); }
.z b { font-weight: 650; }
.z i { font-style: normal; color: color-mix(in srgb, var(--ink) 72%, transparent); }
.z.empty::before { content: "·"; }
.z:hover, .z:focus { outline: 2px solid var(--hue); outline-offset: 1px; }
.z:hover::after, .z:focus::after {
  content: attr(data-card); position: fixed; z-index: 1; bottom: 1rem; left: 50%; transform: translateX(-50%);
  width: min(44rem, calc(100vw - 2rem)); max-height: 45vh; overflow: hidden; padding: .9rem 1.1rem;
  background: var(--card); color: var(--ink); border: 1px solid var(--line); border-left: .3rem solid var(--hue);
  border-radius: .5rem; box-shadow: 0 .5rem 2rem rgb(0 0 0 / .25);
  font: .85rem/1.55 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; pointer-events: none;
}
.z:hover::after { z-index: 2; }
@media print { .z { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
