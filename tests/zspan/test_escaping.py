"""Characters that a tokenizer would lose are escaped, and come back."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.errors import InvalidTextError
from zprompt.zspan.escaping import EscapedText, OffsetMap, escape, require_no_surrogates, unescape

LOST = "\x04\x06\x13\U00012345é"  # characters that the tokenizer of these tests has no tokens for
unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
texts = st.lists(st.one_of(unicode_text, st.sampled_from([*LOST, "\x1b", "\x1b4;", "\x1b", "4;", "a"]))).map("".join)

some = settings(max_examples=25)


def round_trips(text: str) -> bool:
    """Return whether a tokenizer that drops some characters gives the text back."""
    return not set(text) & set(LOST)


def is_composed(text: str) -> bool:
    """Return whether a tokenizer that composes accents gives the text back."""
    return unicodedata.normalize("NFC", text) == text


class Counting:
    """Counts the calls of such a function and the characters that it reads."""

    def __init__(self, inner: Callable[[str], bool]) -> None:
        self.inner, self.calls, self.characters = inner, 0, 0

    def __call__(self, text: str) -> bool:
        self.calls += 1
        self.characters += len(text)
        return self.inner(text)


class TestEscaping:
    @some
    @given(texts)
    def test_every_text_round_trips_and_comes_back(self, text: str) -> None:
        escaped = escape(text, round_trips)
        assert round_trips(escaped.text)
        assert (unescape(escaped.text) if escaped.escaped else escaped.text) == text

    @some
    @given(texts)
    def test_a_text_that_round_trips_is_left_alone(self, text: str) -> None:
        escaped = escape(text, lambda _: True)
        assert escaped == (text, False)

    @some
    @given(texts)
    def test_decomposed_accents_come_back_decomposed(self, text: str) -> None:
        text += "e\u0301 \u212b"
        escaped = escape(text, is_composed)
        assert escaped.escaped
        assert is_composed(escaped.text)
        assert unescape(escaped.text) == text

    def test_escapes_are_short_and_literal_escapes_are_escaped(self) -> None:
        assert escape("a\x04b\x1bc\U00012345", round_trips) == ("a\x1b4;b\x1b1b;c\x1b12345;", True)

    def test_a_tokenizer_that_loses_everything_is_named_as_the_reason(self) -> None:
        with pytest.raises(
            InvalidTextError, match=r"tokenizer does not round-trip this text of 5 characters.*passthrough"
        ):
            escape("hello", lambda _: False)

    def test_a_long_text_of_few_different_characters_needs_few_calls(self) -> None:
        tokenizer = Counting(round_trips)
        escape("the quick brown fox\x04" * 10_000, tokenizer)
        assert tokenizer.calls < 30
        assert tokenizer.characters < 1_000_000

    def test_a_text_of_many_different_characters_needs_few_calls_if_few_are_lost(self) -> None:
        tokenizer = Counting(round_trips)
        escape("".join(map(chr, range(0x4E00, 0x9FFF))) + "\x04\x06", tokenizer)
        assert tokenizer.calls < 100


class TestSurrogates:
    @pytest.mark.parametrize(("text", "position"), [("\ud800", 0), ("ab\udfffc", 2), ("😀\udc80", 1)])
    def test_lone_surrogates_are_refused_with_their_position(self, text: str, position: int) -> None:
        with pytest.raises(InvalidTextError, match=rf"lone surrogate, U\+D[0-9A-F]{{3}}, at character {position}"):
            escape(text, round_trips)

    @some
    @given(unicode_text)
    def test_valid_text_is_accepted(self, text: str) -> None:
        require_no_surrogates(text)


class TestUnescaping:
    @some
    @given(st.text())
    def test_any_text_can_be_unescaped(self, text: str) -> None:
        unescape(text)

    @pytest.mark.parametrize(
        "broken", ["\x1b", "\x1b;", "\x1bxy;", "\x1b4", "\x1bd800;", "\x1b110000;", "\x1b0000041;"]
    )
    def test_malformed_escapes_stay_as_they_are(self, broken: str) -> None:
        assert unescape(f"a{broken} b\x1b4;") == f"a{broken} b\x04"


class TestOffsets:
    @some
    @given(texts)
    def test_each_characters_position_maps_to_that_character(self, text: str) -> None:
        escaped = escape(text, round_trips)
        offsets = OffsetMap.of(escaped)
        position = 0
        for index, character in enumerate(text):
            form = f"\x1b{ord(character):x};" if escaped.escaped and character in LOST + "\x1b" else character
            assert {offsets.to_source(position + offset) for offset in range(len(form))} == {index}
            position += len(form)
        assert position == len(escaped.text)
        assert offsets.to_source(position) == len(text)

    @some
    @given(texts, st.data())
    def test_pieces_of_the_escaped_text_are_pieces_of_the_source(self, text: str, data: st.DataObject) -> None:
        escaped = escape(text, round_trips)
        offsets = OffsetMap.of(escaped)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(escaped.text)))))
        positions = [offsets.to_source(cut) for cut in (0, *cuts, len(escaped.text))]
        assert positions == sorted(positions)
        assert (positions[0], positions[-1]) == (0, len(text))

    def test_a_text_without_escapes_maps_to_itself(self) -> None:
        offsets = OffsetMap.of(EscapedText("a\x1b4;b", escaped=False))
        assert [offsets.to_source(position) for position in range(6)] == [0, 1, 2, 3, 4, 5]
