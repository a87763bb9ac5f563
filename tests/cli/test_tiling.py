"""Both views show the whole text, whatever it holds and however its tokens overlap."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.byte_codec import ByteCodec, stats_of
from zprompt.cli.tiling import cut, density, render_page, tiling_text
from zprompt.page import visible
from zprompt.results import ExplainedToken, Explanation
from zprompt.zspan import NO_CODE

TOKEN = ExplainedToken(0, "The", 0, 3, 13, 2, (), 5.25, 53.25)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANY_OFFSETS = st.lists(st.tuples(*[st.integers(0, 45)] * 3).map(sorted), max_size=10)
HOSTILE = "</main><script>alert('&')</script> \x1b[31m\x00\u202e \"quoted\""


def explanation_of(text: str, offsets: list[list[int]], code: tuple[int, ...] = ()) -> Explanation:
    tokens = (
        ExplainedToken(i, text[start:middle], start, middle, end, 1, code, 2.5, 14.5)
        for i, (start, middle, end) in enumerate(offsets)
    )
    return Explanation(text, tuple(tokens), stats_of([text]), "[z2:…]")


class Body(HTMLParser):
    """Collects the text of <main>, and all tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.attributes, self.inside = "", set[str](), list[tuple[str, str | None]](), False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside |= tag == "main"
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "main"

    def handle_data(self, data: str) -> None:
        self.text += data * self.inside


@given(ANY_TEXT, ANY_OFFSETS)
def test_tiles_add_up_to_the_text(text: str, offsets: list[list[int]]) -> None:
    tiling = cut(explanation_of(text, offsets))

    assert "".join(tile.before + tile.text for tile in tiling.tiles) + tiling.tail == text


@given(ANY_TEXT, ANY_OFFSETS)
def test_the_terminal_shows_the_whole_text(text: str, offsets: list[list[int]]) -> None:
    assert tiling_text(explanation_of(text, offsets)).plain == visible(text)


@given(ANY_TEXT, ANY_OFFSETS)
def test_the_page_shows_the_whole_text(text: str, offsets: list[list[int]]) -> None:
    assert Body(render_page(explanation_of(text, offsets), "title")).text == visible(text)


def test_the_page_loads_nothing_and_runs_no_script() -> None:
    page = render_page(ByteCodec().explain(HOSTILE), HOSTILE)
    body = Body(page)

    assert "script" not in body.tags
    assert not {name for name, _ in body.attributes} & {"src", "href", "onload", "onerror"}
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_control_characters_are_shown_as_symbols() -> None:
    explanation = ByteCodec().explain(HOSTILE)

    for shown in (tiling_text(explanation).plain, html.unescape(render_page(explanation, HOSTILE))):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
        assert "␛" in shown and "␀" in shown


def test_each_tile_has_a_card_with_the_parts_of_its_z_token() -> None:
    def card(code: tuple[int, ...]) -> list[str]:
        page = Body(render_page(explanation_of("ab", [[0, 1, 2]], code), ""))
        [card_text] = (value for name, value in page.attributes if name == "data-card")
        assert card_text
        return card_text.split("\n")[1:]

    without = ['anchor   "a"', "gap      1", 'text     "ab"', "residual 2.5 bits", "cost     14.5 bits"]
    assert card(()) == card((NO_CODE, NO_CODE)) == without
    assert card((7, NO_CODE)) == [*without[:3], "code     7 –", *without[3:]]


def test_denser_text_has_a_deeper_colour() -> None:
    page = render_page(explanation_of("a" + "b" * 40, [[0, 1, 1], [1, 2, 41]]), "")
    dense, sparse = map(int, re.findall(r"--d:(\d+)", page.partition("<main")[2]))

    assert dense > sparse


@pytest.mark.parametrize(("size", "expected"), [(0, 1), (1, 1), (16, 0), (1000, 0)])
def test_density_goes_from_one_to_zero(size: int, expected: float) -> None:
    assert density(size, 16) == expected


def test_anchor_and_span_are_told_apart_in_both_views() -> None:
    explanation = Explanation("The quick fox", (TOKEN,), stats_of(["The quick fox"]), "[z2:…]")

    assert "<b>The</b><i> quick fox</i>" in render_page(explanation, "")
    assert tiling_text(explanation, coloured=False).plain == "The‹ quick fox›"


def test_an_empty_text_has_an_empty_tiling() -> None:
    explanation = explanation_of("", [])

    assert tiling_text(explanation).plain == ""
    assert Body(render_page(explanation, "empty")).text == ""


def test_a_diagram_of_long_gaps_labels_only_some_of_its_bars() -> None:
    tokens = [ExplainedToken(0, "a", 0, 1, 1, gap, (), 1.0, 1.0) for gap in (0, 199)]
    page = render_page(Explanation("a", tuple(tokens), stats_of(["a"]), "[z2:…]"), "")

    assert page.count("<i style=") == 200
    assert len(re.findall(r"</i>\d+</li>", page)) == 200 // 13 + 1
