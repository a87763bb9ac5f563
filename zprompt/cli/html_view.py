"""Draw a tiling as an HTML page that needs nothing else.

Each Z-token is a `<span>` over the text that it stands for, the deeper in colour the more Z-tokens there are per
character, with a card that says what it is made of. The text comes from strangers: all of it is escaped, control
characters become pictures, and the page's own policy allows neither scripts nor anything from elsewhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from html import escape

from zprompt.cli.html_style import STYLE
from zprompt.cli.messages import text_figures
from zprompt.cli.tiling import Tile, cut, density, visible
from zprompt.html_page import html_page
from zprompt.results import ExplainedToken, Explanation

_LONGEST = 60  # characters from which on a Z-token is drawn in the palest shade


def render_page(explanation: Explanation, title: str) -> str:
    """Write the page that shows a tiling.

    :param explanation: The text and its Z-tokens.
    :param title: What the text is called.
    :return: An HTML document.
    """
    body = f"""<h1>{_text(title)} <small>in Z-tokens</small></h1>
{_figures(explanation)}
{_sizes(explanation.tokens)}
{_legend()}
<main dir="auto">{_body(explanation)}</main>"""
    return html_page(f"{_text(title)} – Z-tokens", STYLE, body)


def _figures(explanation: Explanation) -> str:
    figures = text_figures(explanation.stats).items()
    items = "".join(f"<div><dt>{heading}</dt><dd>{value}</dd></div>" for heading, value in figures)
    return f'<dl class="figures">{items}</dl>'


def _sizes(tokens: Iterable[ExplainedToken]) -> str:
    """Draw how often a Z-token stands for 1, 2, 3 … source tokens."""
    counts = Counter(token.gap + 1 for token in tokens)
    if not counts:
        return ""
    most = max(counts.values())
    bars = "".join(_bar(size, counts[size], most) for size in range(1, max(counts) + 1))
    caption = "Source tokens that one Z-token stands for, by how often it does"
    return f'<figure><ol class="sizes">{bars}</ol><figcaption>{caption}</figcaption></figure>'


def _bar(size: int, count: int, most: int) -> str:
    height = f'<i style="--h:{100 * count / most:.0f}%"></i>'
    return f'<li title="{count:,} Z-tokens stand for {size}">{height}{size}</li>'


def _legend() -> str:
    scale = "".join(f'<span class="z" style="--d:{shade}">&nbsp;&nbsp;</span>' for shade in (0, 25, 50, 75, 100))
    return (
        '<div class="legend"><span class="z" style="--d:30"><b>anchor</b><i> span that is let go</i></span>'
        f"<span>Z-tokens per character: few {scale} many</span>"
        '<label><input type="checkbox" id="fixed"> fixed width</label></div>'
    )


def _body(explanation: Explanation) -> str:
    tiling = cut(explanation)
    return "".join(_text(tile.before) + _tile(tile) for tile in tiling.tiles) + _text(tiling.tail)


def _tile(tile: Tile) -> str:
    classes = "z" + " odd" * (tile.token.index % 2) + " empty" * (not tile.text)
    shade = round(100 * density(len(tile.text), _LONGEST))
    anchor = f"<b>{_text(tile.anchor)}</b>" if tile.anchor else ""
    card = escape(_card(tile.token, tile.text))
    return f'<span class="{classes}" style="--d:{shade}" tabindex="0" data-card="{card}">{anchor}{_span(tile)}</span>'


def _span(tile: Tile) -> str:
    return f"<i>{_text(tile.span)}</i>" if tile.span else ""


def _card(token: ExplainedToken, text: str) -> str:
    """List what a Z-token is made of."""
    rows = {
        "Z-token": f"{token.index}, for {token.gap + 1} source tokens" if token.gap else f"{token.index}",
        "anchor": _quote(token.anchor),
        "gap": f"{token.gap}",
    }
    if token.gap:
        rows |= {
            "text": _quote(text),
            "code": " ".join(map(str, token.code)),
            "residual": f"{token.residual_bits:.1f} bits",
        }
    rows["cost"] = f"{token.cost:.1f} bits"
    return "\n".join(f"{name:<9}{value}" for name, value in rows.items())


def _quote(text: str) -> str:
    return visible(json.dumps(text, ensure_ascii=False))


def _text(text: str) -> str:
    return escape(visible(text))
