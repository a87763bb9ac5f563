"""Sentences of a Z-span are turned into anchors without an LLM; the rest stays as it is."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.errors import OptionError
from zprompt.zspan import LITERALS, NO_CODE, ZSpan, ZToken, format_span, parse_span

Text = tuple[ZSpan, list[int]]


def span_of(tokens: list[ZToken], symbols: list[int]) -> ZSpan:
    return ZSpan("0123456789ab", tuple(tokens), tuple(symbols), False, bytes(8))


def token_kinds(span: ZSpan) -> list[tuple[str, int]]:
    """Return for each token of the text its kind and its value: an anchor's id, or a dropped token's symbol."""
    symbols, tokens = iter(span.symbols), []
    for token in span.tokens:
        tokens += [("anchor", token.anchor), *(("dropped", next(symbols)) for _ in range(token.gap))]
    return tokens


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """Draw a Z-span without codes, and the ids of its text."""
    tokens = draw(st.lists(st.builds(ZToken, st.integers(0, 400), st.integers(0, 5)), min_size=1, max_size=12))
    ids, symbols = [], []
    for token in tokens:
        dropped = draw(st.lists(st.integers(0, 400), min_size=token.gap, max_size=token.gap))
        ids += [token.anchor, *dropped]
        symbols += [draw(st.integers(0, LITERALS - 1) | st.just(LITERALS + token_id)) for token_id in dropped]
    return span_of(tokens, symbols), ids


@st.composite
def choices(draw: st.DrawFn) -> tuple[ZSpan, list[int], list[tuple[int, list[int]]]]:
    span, ids = draw(texts())
    ranges = draw(st.lists(st.tuples(st.integers(0, len(ids)), st.integers(0, 8)), max_size=4))
    return span, ids, [(start, ids[start : start + size]) for start, size in ranges]


@settings(max_examples=25)
@given(choices())
def test_chosen_sentences_become_anchors_and_other_tokens_stay(
    choice: tuple[ZSpan, list[int], list[tuple[int, list[int]]]],
) -> None:
    span, ids, sentences = choice
    focused = span.focus(sentences)
    chosen = {start + i for start, sentence in sentences for i in range(len(sentence))}
    assert token_kinds(focused) == [
        ("anchor", ids[position]) if position in chosen else token for position, token in enumerate(token_kinds(span))
    ]
    assert parse_span(format_span(focused)) == focused


@settings(max_examples=30)
@given(choices())
def test_nothing_else_changes(choice: tuple[ZSpan, list[int], list[tuple[int, list[int]]]]) -> None:
    span, _, sentences = choice
    focused = span.focus(sentences)
    assert replace(focused, tokens=span.tokens, symbols=span.symbols) == span
    assert focused.source_tokens == span.source_tokens
    assert focused.focus(sentences) == focused


def test_no_sentence_changes_nothing() -> None:
    span = span_of([ZToken(1, 2), ZToken(4, 0)], [0, 5])
    assert span.focus([]) == span
    assert span.focus([(0, [])]) == span


def test_a_sentence_that_ends_within_a_gap_leaves_the_rest_of_the_gap_to_its_last_token() -> None:
    span = span_of([ZToken(1, 4)], [5, 6, 7, 8])
    assert span.focus([(0, [1, 2, 3])]).tokens == (ZToken(1, 0), ZToken(2, 0), ZToken(3, 2))
    assert span.focus([(2, [3])]).tokens == (ZToken(1, 1), ZToken(3, 2))
    assert span.focus([(2, [3])]).symbols == (5, 7, 8)


def test_ids_of_another_text_are_refused_where_an_anchor_tells_them_apart() -> None:
    span = span_of([ZToken(1, 1), ZToken(3, 0)], [0])
    with pytest.raises(OptionError, match=r"Token 2 of a Z-span is 3, but the sentence has 4 there.*its own text"):
        span.focus([(0, [1, 2, 4])])


def test_ids_of_another_text_are_refused_where_the_residual_has_the_token_itself() -> None:
    span = span_of([ZToken(1, 1), ZToken(3, 0)], [LITERALS + 2])
    assert span.focus([(0, [1, 2])]).tokens[1] == ZToken(2, 0)
    with pytest.raises(OptionError, match=r"Token 1 of a Z-span is 2, but the sentence has 9 there"):
        span.focus([(0, [1, 9])])


@pytest.mark.parametrize("sentence", [(2, [3, 4]), (3, [4]), (-1, [1]), (1000, [1])])
def test_positions_outside_the_text_are_refused(sentence: tuple[int, list[int]]) -> None:
    with pytest.raises(OptionError, match=r"A sentence has token -?\d+, but the Z-span has only 3 source tokens"):
        span_of([ZToken(1, 2)], [0, 0]).focus([sentence])


class TestCodes:
    CODED = span_of([ZToken(1, 2, (5, NO_CODE)), ZToken(4, 2, (7, 8)), ZToken(9, 0, (NO_CODE, NO_CODE))], [0, 1, 2, 3])

    def test_are_dropped_with_the_spans_that_they_describe(self) -> None:
        focused = self.CODED.focus([(0, [1, 2, 3])])
        assert [token.code for token in focused.tokens] == [(NO_CODE,) * 2] * 3 + [(7, 8), (NO_CODE,) * 2]
        assert focused.symbols == (2, 3)
        assert parse_span(format_span(focused)) == focused

    def test_are_all_dropped_when_everything_is_kept(self) -> None:
        focused = self.CODED.focus([(0, [1, 2, 3, 4, 5, 6, 9])])
        assert [token.anchor for token in focused.tokens] == [1, 2, 3, 4, 5, 6, 9]
        assert [token.anchor for token in parse_span(format_span(focused)).tokens] == [1, 2, 3, 4, 5, 6, 9]

    def test_do_not_allow_a_part_of_their_span_to_be_focused(self) -> None:
        with pytest.raises(OptionError, match="Focus whole sentences"):
            self.CODED.focus([(0, [1, 2])])
