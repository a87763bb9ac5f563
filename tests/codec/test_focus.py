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
    """Cut the tokens of a text into its units, as a retriever does that knows the text."""
    ids, offsets = codec.backbone.encode_with_offsets(text)
    starts = sorted(set(unit_starts(text, offsets)))
    return [(start, ids[start:end]) for start, end in pairwise([*starts, len(ids)])]


def anchors_of(span: ZSpan) -> dict[int, int]:
    """Return the anchors of a Z-span by their places, and with each its gap."""
    found, place = {}, 0
    for token in span.tokens:
        found[place] = token.gap
        place += token.gap + 1
    return found


def check(codec: Codec, text: str, ratio: float | None, chosen: list[bool]) -> None:
    span = codec.parse(codec.compress(text, ratio=ratio).documents)
    units = [unit for unit, wanted in zip(units_of(codec, text), chosen, strict=False) if wanted]
    focused = span.focus(units)
    found, before = anchors_of(focused), anchors_of(span)
    places = [start + i for start, ids in units for i in range(len(ids))]
    assert all(found[place] == 0 for place in places)
    assert {place: gap for place, gap in found.items() if place not in places} == {
        place: gap for place, gap in before.items() if place not in places
    }
    assert codec.decompress(format_span(focused)) == text


@settings(max_examples=25)
@given(text=TEXTS, ratio=st.none() | st.floats(1, 40), chosen=st.lists(st.booleans(), max_size=20))
def test_any_sentences_of_any_text_at_any_ratio(
    tiny_codec: Codec, text: str, ratio: float | None, chosen: list[bool]
) -> None:
    check(tiny_codec, text, ratio, chosen)


@settings(max_examples=12)
@given(text=TEXTS, ratio=st.none() | st.floats(1, 40), chosen=st.lists(st.booleans(), max_size=20))
def test_sentences_of_a_codec_with_codes(
    coded_codec: Codec, text: str, ratio: float | None, chosen: list[bool]
) -> None:
    check(coded_codec, text, ratio, chosen)


@settings(max_examples=12)
@given(data=st.data(), text=TEXTS, ratio=st.floats(1, 20))
def test_any_part_of_any_text(tiny_codec: Codec, data: st.DataObject, text: str, ratio: float) -> None:
    span, ids = tiny_codec.parse(tiny_codec.compress(text, ratio=ratio).documents), tiny_codec.backbone.encode(text)
    first = data.draw(st.integers(0, len(ids)))
    last = data.draw(st.integers(first, len(ids)))
    focused = span.focus([(first, ids[first:last])])
    assert set(range(first, last)) <= set(anchors_of(focused))
    assert tiny_codec.decompress(format_span(focused)) == text


def test_focusing_takes_no_llm(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ids, place = coded_codec.backbone.encode(text), 0
    for token in span.tokens:
        if token.gap > 1 and max(token.code) >= 0:
            with pytest.raises(OptionError, match="Focus whole sentences"):
                span.focus([(place, ids[place : place + 2])])
            return
        place += token.gap + 1
    pytest.fail("no span has a code")
