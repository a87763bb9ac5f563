"""A focused Z-span has its sentences word for word, and still restores the whole text."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.codec.source import unit_starts
from zprompt.errors import OptionError
from zprompt.llm import Backbone
from zprompt.zspan import ZSpan, format_span

pytestmark = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
TEXTS = st.lists(
    st.sampled_from([*SENTENCES, "é🌍。", "日本。語", "\n- item\n", "1. ", "Dr. No. "])
    | st.text("ab .\né!", max_size=9),
    min_size=1,
    max_size=7,
).map(" ".join)
Units = list[tuple[int, list[int]]]


def units_of(codec: Codec, text: str) -> Units:
    """Cut the tokens of a text into its units."""
    ids, offsets = codec.backbone.encode_with_offsets(text)
    starts = sorted(set(unit_starts(text, offsets)))
    return [(start, ids[start:end]) for start, end in pairwise([*starts, len(ids)])]


def anchors_of(span: ZSpan) -> dict[int, int]:
    """Return the gap after each anchor of a Z-span, by the anchor's position."""
    gaps, position = {}, 0
    for token in span.tokens:
        gaps[position] = token.gap
        position += token.gap + 1
    return gaps


def check_focus(codec: Codec, text: str, ratio: float | None, chosen: list[bool]) -> None:
    span = codec.parse(codec.compress(text, ratio=ratio).documents)
    units = [unit for unit, is_chosen in zip(units_of(codec, text), chosen, strict=False) if is_chosen]
    focused = span.focus(units)
    gaps, gaps_before = anchors_of(focused), anchors_of(span)
    kept = [start + i for start, ids in units for i in range(len(ids))]
    assert all(gaps[position] == 0 for position in kept)
    assert {position: gap for position, gap in gaps.items() if position not in kept} == {
        position: gap for position, gap in gaps_before.items() if position not in kept
    }
    assert codec.decompress(format_span(focused)) == text


@settings(max_examples=25)
@given(text=TEXTS, ratio=st.none() | st.floats(1, 40), chosen=st.lists(st.booleans(), max_size=20))
def test_any_sentences_of_any_text_can_be_focused_at_any_ratio(
    tiny_codec: Codec, text: str, ratio: float | None, chosen: list[bool]
) -> None:
    check_focus(tiny_codec, text, ratio, chosen)


@settings(max_examples=12)
@given(text=TEXTS, ratio=st.none() | st.floats(1, 40), chosen=st.lists(st.booleans(), max_size=20))
def test_sentences_can_be_focused_with_a_codec_with_codes(
    coded_codec: Codec, text: str, ratio: float | None, chosen: list[bool]
) -> None:
    check_focus(coded_codec, text, ratio, chosen)


@settings(max_examples=12)
@given(data=st.data(), text=TEXTS, ratio=st.floats(1, 20))
def test_any_part_of_any_text_can_be_focused(tiny_codec: Codec, data: st.DataObject, text: str, ratio: float) -> None:
    span, ids = tiny_codec.parse(tiny_codec.compress(text, ratio=ratio).documents), tiny_codec.backbone.encode(text)
    first = data.draw(st.integers(0, len(ids)))
    last = data.draw(st.integers(first, len(ids)))
    focused = span.focus([(first, ids[first:last])])
    assert set(range(first, last)) <= set(anchors_of(focused))
    assert tiny_codec.decompress(format_span(focused)) == text


def test_focusing_needs_no_llm(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(SENTENCES)
    span = tiny_codec.compress(text, ratio=6).documents
    monkeypatch.delattr(Backbone, "hidden")
    focused = tiny_codec.parse(span).focus(units_of(tiny_codec, text)[1:3])
    assert len(focused.tokens) > len(tiny_codec.parse(span).tokens)
    assert SENTENCES[1] in tiny_codec.backbone.decode([token.anchor for token in focused.tokens])
    assert tiny_codec.decompress(format_span(tiny_codec.parse(span).focus(units_of(tiny_codec, text)))) == text


def test_a_sentence_of_another_text_is_refused(tiny_codec: Codec) -> None:
    span = tiny_codec.parse(tiny_codec.compress(" ".join(SENTENCES)).documents)
    with pytest.raises(OptionError, match="sentences of its own text"):
        span.focus([(0, tiny_codec.backbone.encode(SENTENCES[2]))])


def test_a_part_of_a_span_with_a_code_is_refused(coded_codec: Codec) -> None:
    text = " ".join(SENTENCES)
    span = coded_codec.parse(coded_codec.compress(text, ratio=4).documents)
    ids, position = coded_codec.backbone.encode(text), 0
    for token in span.tokens:
        if token.gap > 1 and max(token.code) >= 0:
            with pytest.raises(OptionError, match="Focus whole sentences"):
                span.focus([(position, ids[position : position + 2])])
            return
        position += token.gap + 1
    pytest.fail("no span has a code")
