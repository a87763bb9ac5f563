"""Write what a run found as one HTML page that needs nothing else: no script, no font, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from zprompt.eval.page_style import STYLE
from zprompt.eval.plots import MARKS, Chart, charts, mark, methods_of
from zprompt.eval.results import BenchResults
from zprompt.eval.sections import Section
from zprompt.html_page import html_page


def render_page(title: str, said: Iterable[str], parts: Sequence[Section], results: BenchResults) -> str:
    """Write the page.

    :param title: Its title.
    :param said: How the run ran.
    :param parts: The tables; the first stands before the drawings.
    :param results: What is drawn.
    :return: An HTML document.
    """
    first, *others = parts
    body = f"""<h1>{escape(title)}</h1>
{"".join(f"<p class='about'>{_inline(one)}</p>" for one in said)}
{_section(first)}
<h2>What a ratio costs</h2>
{_legend(methods_of(results))}
<div class="charts">{"".join(map(_chart, charts(results)))}</div>
{"".join(map(_section, others))}"""
    return html_page(escape(title), STYLE, body)


def _section(part: Section) -> str:
    note = f"<p>{_inline(part.note)}</p>" if part.note else ""
    return f"<section><h2>{escape(part.title)}</h2>{note}{_table(part)}</section>\n"


def _table(part: Section) -> str:
    """Write a table that scrolls by itself where the window is narrow."""
    if not part.head:
        return ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in part.head)
    rows = "".join(f"<tr>{_row(row)}</tr>\n" for row in part.rows)
    label = escape(part.title, quote=True)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{label}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>"
    )


def _row(row: Sequence[str]) -> str:
    first, *others = row
    return f'<th scope="row">{escape(first)}</th>' + "".join(f"<td>{_figure(cell)}</td>" for cell in others)


def _figure(cell: str) -> str:
    """Write a figure, with its interval and worst case smaller."""
    value, bracket, rest = cell.partition(" [")
    return f"{escape(value)}<small>{escape(bracket + rest)}</small>" if bracket else escape(cell)


def _legend(methods: Sequence[str]) -> str:
    items = "".join(
        f'<li><b style="color:var(--m{place % len(MARKS)})">{MARKS[mark(place)]}</b> {escape(method)}</li>'
        for place, method in enumerate(methods)
    )
    return f'<ul class="legend">{items}</ul>'


def _chart(chart: Chart) -> str:
    return f"<figure>{chart.svg}<figcaption>{escape(chart.title)}</figcaption></figure>"


def _inline(text: str) -> str:
    """Write text; what stands between backquotes is code, and between double asterisks strong."""
    for sign, tag in (("`", "code"), ("**", "strong")):
        pieces = (escape(text) if sign == "`" else text).split(sign)
        text = "".join(f"<{tag}>{piece}</{tag}>" if place % 2 else piece for place, piece in enumerate(pieces))
    return text
