"""Write an analysis as an HTML page that needs nothing else: charts, tables, and codes with what they stand for.

The style, and the care with texts of strangers, are those of the page that shows a tiling (html_view.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from zprompt.analysis import charts
from zprompt.analysis.consistency import Consistency
from zprompt.analysis.examples import CodeValue, Place
from zprompt.analysis.intervals import Estimate
from zprompt.analysis.placement import ClassShare
from zprompt.analysis.report import Analysis
from zprompt.analysis.usage import Usage
from zprompt.cli.html_style import STYLE
from zprompt.cli.tiling import visible
from zprompt.html_page import html_page

_STYLE = """
body { padding-bottom: 3rem; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.1rem; font-weight: 600; }
p { max-width: 44rem; margin: .5rem 0 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1rem; }
.charts figure {
  margin: 0; padding: .6rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
}
.charts svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 400; vertical-align: bottom; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
.codes td { text-align: left; vertical-align: top; }
.codes td.words, .codes td.place { min-width: 16rem; white-space: normal; overflow-wrap: anywhere; }
.words span { color: var(--soft); font-size: .8em; }
mark { background: color-mix(in srgb, var(--even) 28%, transparent); color: inherit; border-radius: .2em; }
@media (max-width: 40rem) { body { padding-left: .8rem; padding-right: .8rem; } }
"""


def render_analysis(analysis: Analysis) -> str:
    """Write the page that shows an analysis.

    :param analysis: The figures.
    :return: An HTML document.
    """
    body = f"""<h1>What the codes mean <small>codec {analysis.sample.codec}</small></h1>
{_figures(analysis)}
{_usage(analysis)}
{_consistency(analysis)}
{_examples(analysis.examples)}
{_placement(analysis)}"""
    return html_page(f"What the codes mean – codec {analysis.sample.codec}", STYLE + _STYLE, body)


def _figures(analysis: Analysis) -> str:
    sample = analysis.sample
    figures = {
        "texts": f"{sample.texts:,}",
        "left out": f"{sample.left_out:,}",
        "source tokens": f"{sample.source_tokens:,}",
        "Z-tokens": f"{sample.z_tokens:,}",
        "ratio": f"{sample.ratio:.2f}",
        "without a code": f"{sample.without_code:.1%}",
        "uses of codes": f"{sample.uses:,}",
        "segments": f"{sample.segments:,}",
    }
    items = "".join(f"<div><dt>{heading}</dt><dd>{value}</dd></div>" for heading, value in figures.items())
    return f'<dl class="figures">{items}</dl>'


def _usage(analysis: Analysis) -> str:
    rows = [*analysis.usage_by_role, *analysis.usage_by_subcode]
    if not rows:
        return "<h2>How fully codes are used</h2>\n<p>No Z-token of this sample has a code.</p>"
    return f"""<h2>How fully codes are used</h2>
<p>The role of a sub-code is the size of the segment that it speaks about; roles do not share values. Entropies are
of relative frequencies, and too low where uses are few. Unused: values that do not occur in this sample, and how
many would not if all were equally likely. Reachable: values that any token of the vocabulary has, the others are
dead. The words of a segment decide its value, so the segments' entropy less the values' is what a value leaves open
about the words.</p>
{_charts(charts.draw_usage(analysis.usage_by_role, "roles"), charts.draw_usage(analysis.usage_by_subcode, "fields"))}
{_table(("", "uses", "bits", "unused", "if equal", "reachable", "segments", "their bits"), map(_usage_row, rows))}"""


def _usage_row(usage: Usage) -> tuple[str, ...]:
    return (
        usage.name,
        f"{usage.uses:,}",
        f"{usage.entropy_bits:.2f}",
        f"{usage.unused} of {usage.values}",
        f"{usage.unused_if_equal:.0f}",
        "–" if usage.reachable is None else f"{usage.reachable}",
        f"{usage.segments:,}",
        f"{usage.segment_bits:.2f}",
    )


def _consistency(analysis: Analysis) -> str:
    drawn = [
        charts.draw_consistency(rows, ceiling, name)
        for rows, ceiling, name in (
            (analysis.in_context, analysis.same_words, "context"),
            (analysis.alone, (), "alone"),
        )
        if rows
    ]
    kinds = (
        ("in context, other words", analysis.in_context),
        ("alone, distinct segments", analysis.alone),
        ("in context, same words", analysis.same_words),
    )
    rows = [_consistency_row(kind, row) for kind, found in kinds for row in found]
    heads = ("", "role", "items", "groups", "pairs", "cosine", "shuffled", "difference")
    return f"""<h2>Does a value mean the same wherever it stands?</h2>
<p>Mean cosine between segments that share a value, against values shuffled within a role. <em>In context</em> (first
chart): last hidden states of the backbone at the segment's tokens, for each use, without pairs of the same words.
<em>Alone</em> (second): the backbone's input embeddings of distinct segments. Both centred on the mean of the role,
so segments that have nothing in common are at 0. <em>Same words</em>: uses of one segment in different places. In
brackets 95 % of a bootstrap over values (over segments for the same words). Drawn are roles in which five values have
a pair.</p>
{_charts(*drawn)}
{_table(heads, rows)}"""


def _consistency_row(kind: str, row: Consistency) -> tuple[str, ...]:
    return (
        kind,
        row.role,
        f"{row.items:,}",
        f"{row.values:,}",
        f"{row.pairs:,}",
        *(_estimate(one) for one in (row.cosine, row.control, row.difference)),
    )


def _estimate(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _examples(values: Iterable[CodeValue]) -> str:
    rows = "".join(map(_example_row, values))
    return f"""<h2>Codes, and what they stand for</h2>
<p>The most used values of each role with their most frequent segments; the use whose embedding in context is nearest to
the mean of the value's uses, and the farthest; the cosine of its uses with other words, and of as many uses of any
value.</p>
<div class="wide"><table class="codes"><tr><th>role</th><th>value</th><th>uses</th><th>segments</th><th>cosine</th>
<th>most frequent segments</th><th>nearest use</th><th>farthest use</th></tr>{rows}</table></div>"""


def _example_row(value: CodeValue) -> str:
    words = " · ".join(f"{_text(text)} <span>{count}</span>" for text, count in value.segments)
    cosine = " / ".join("–" if one is None else f"{one:.2f}" for one in (value.in_context, value.control))
    cells = "".join(f"<td>{cell}</td>" for cell in (value.role, value.value, value.uses, value.distinct, cosine))
    places = "".join(f'<td class="place">{_place(place)}</td>' for place in (value.nearest, value.farthest))
    return f'<tr>{cells}<td class="words">{words}</td>{places}</tr>'


def _place(place: Place) -> str:
    return f"…{_text(place.before)}<mark>{_text(place.segment)}</mark>{_text(place.after)}…"


def _placement(analysis: Analysis) -> str:
    kept = 1 / analysis.sample.ratio
    window = f"source token of the window of {analysis.sample.window}"
    tagged = analysis.parts_of_speech
    drawn = [charts.draw_shares(analysis.word_classes, kept, "words")]
    drawn += [charts.draw_shares(tagged, kept, "parts")] if tagged else []
    drawn += [
        charts.draw_density(analysis.over_text, kept, "share of the text, from its beginning", "text"),
        charts.draw_density(analysis.over_window, kept, window, "window"),
    ]
    heads = ("", "tokens", "of all tokens", "of anchors", "of dropped", "kept as anchors")
    tables = [_table(heads, map(_share_row, shares)) for shares in (analysis.word_classes, tagged) if shares]
    classes = "Word classes are by rule: names are capitalised words, function words those of a list."
    parts = " Parts of speech are those of TextBlob's English pattern tagger." if tagged else ""
    return f"""<h2>Where Z-tokens go</h2>
<p>Which tokens are kept as anchors, and where in texts and windows anchors are dense. {classes}{parts} In brackets 95 %
of a bootstrap over texts.</p>
{_charts(*drawn)}
{"".join(tables)}"""


def _share_row(share: ClassShare) -> tuple[str, ...]:
    kept = share.kept
    return (
        share.name,
        f"{share.tokens:,}",
        *(f"{part:.1%}" for part in (share.share_of_tokens, share.share_of_anchors, share.share_of_dropped)),
        f"{kept.value:.1%} [{kept.low:.1%}, {kept.high:.1%}]",
    )


def _charts(*drawn: str) -> str:
    return f'<div class="charts">{"".join(f"<figure>{svg}</figure>" for svg in drawn)}</div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _text(text: str) -> str:
    return escape(visible(text).replace("\n", "⏎"))
