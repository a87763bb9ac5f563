"""Tokens know their places in the text, and no Z-token reaches over the end of a unit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.codec.source import read_source, unit_starts
from zprompt.options import CompressOptions
from zprompt.relevance import sentences

pytestmark = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
TEXTS = (
    st.lists(
        st.sampled_from(
            [*SENTENCES, "é🌍。", "日本。語", "\n\n- item\n", "1. ", "Dr. No. ", "\x04", "…", "|a|b|\n", " "]
        )
        | st.text(max_size=9),
        max_size=8,
    )
    .map("".join)
    .map(lambda text: text.encode("utf-8", "ignore").decode())
)
few = settings(max_examples=20)


@few
@given(TEXTS)
def test_each_unit_begins_with_a_token_that_is_always_kept(tiny_codec: Codec, text: str) -> None:
    source = read_source(text, tiny_codec.backbone, CompressOptions())
    for start, _ in sentences(text):
        first = next(i for i, (_, end) in enumerate(source.offsets) if end > start)
        assert source.forced[first]
    assert source.forced.sum() <= len(list(sentences(text)))
    assert np.isfinite(source.weight).all()


def check_units(codec: Codec, text: str, ratio: float | None) -> None:
    """Check that no unit begins within the text of a Z-token, unless its anchor straddles the boundary."""
    boundaries = {start for start, _ in sentences(text)}
    for token in codec.explain(text, ratio=ratio).tokens:
        assert not boundaries & set(range(token.anchor_end, token.end)) or token.gap == 0
        assert not any(token.anchor_end <= boundary < token.end for boundary in boundaries)


@few
@given(text=TEXTS, ratio=st.none() | st.floats(1, 40))
def test_no_z_token_reaches_over_a_boundary(tiny_codec: Codec, text: str, ratio: float | None) -> None:
    check_units(tiny_codec, text, ratio)


@few
@given(text=TEXTS, ratio=st.none() | st.floats(1, 40))
def test_no_z_token_reaches_over_a_boundary_of_escaped_text(ascii_codec: Codec, text: str, ratio: float | None) -> None:
    check_units(ascii_codec, text, ratio)


def test_a_token_that_straddles_a_boundary_begins_the_unit() -> None:
    assert unit_starts("One. Two.", [(0, 3), (3, 6), (6, 9)]) == [0, 1]


def test_tokens_without_characters_of_their_own_belong_to_the_character_before() -> None:
    assert unit_starts("é. é", [(0, 1), (0, 1), (1, 3), (3, 4), (3, 4)]) == [0, 3]


def test_an_empty_text_has_no_units() -> None:
    assert unit_starts("", []) == []


@pytest.mark.parametrize("text", ["naïve 日本 \x04 end", "é", ""])
def test_offsets_refer_to_the_source_even_where_characters_are_escaped(ascii_codec: Codec, text: str) -> None:
    source = read_source(text, ascii_codec.backbone, CompressOptions(protect=["日本"]))
    assert source.escaped == (not text.isascii())
    assert all(0 <= start <= end <= len(text) for start, end in source.offsets)
    covered = {index for start, end in source.offsets for index in range(start, end)}
    assert covered == set(range(len(text)))
    protected = [
        i for i, (start, end) in enumerate(source.offsets) if start < text.find("本") + 1 and end > text.find("日")
    ]
    assert "日" not in text or (protected and source.forced[protected].all())
