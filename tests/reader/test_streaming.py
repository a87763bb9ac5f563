"""Text comes in whole characters, shows nothing of a stop string, and is never taken back."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from zprompt.llm import Backbone
from zprompt.reader.generate import Detokenizer, StopFinder


def pieces(backbone: Backbone, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(backbone.decode)
    return [*(detokenizer.feed(token_id) for token_id in ids), detokenizer.finish()]


def cut(stops: list[str], parts: list[str]) -> tuple[str, bool]:
    finder = StopFinder(stops)
    shown = ""
    for part in parts:
        shown += finder.feed(part)
        if finder.found:
            return shown, True
    return shown + finder.finish(), False


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=20))
def test_any_text_comes_in_whole_characters(chat_backbone: Backbone, text: str) -> None:
    parts = pieces(chat_backbone, chat_backbone.encode(text))

    assert "".join(parts) == text
    assert "\ufffd" in text or not any("\ufffd" in part for part in parts)


def test_a_character_waits_for_its_last_byte(chat_backbone: Backbone) -> None:
    ids = chat_backbone.encode("🚀")
    assert len(ids) == 4  # one token a byte

    assert pieces(chat_backbone, ids) == ["", "", "", "🚀", ""]


def test_bytes_that_are_no_character_are_shown_when_that_is_certain(chat_backbone: Backbone) -> None:
    broken = chat_backbone.encode("🚀")[:2]
    [letter] = chat_backbone.encode("a")

    assert pieces(chat_backbone, [*broken, letter]) == ["", "", "\ufffda", ""]
    assert pieces(chat_backbone, broken) == ["", "", "\ufffd"]


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 400), max_size=30))
def test_any_tokens_come_as_the_text_that_they_are_together(chat_backbone: Backbone, ids: list[int]) -> None:
    assert "".join(pieces(chat_backbone, ids)) == chat_backbone.decode(ids)


def test_a_decoder_that_strips_the_first_space_strips_no_other() -> None:
    tokenizer = Tokenizer(models.WordLevel({"▁a": 0, "▁b": 1, "c": 2}, unk_token="c"))
    tokenizer.decoder = decoders.Metaspace()
    detokenizer = Detokenizer(tokenizer.decode)

    assert [detokenizer.feed(token_id) for token_id in [0, 1, 2, 1]] == ["a", " b", "c", " b"]


def test_tokens_without_text_show_nothing() -> None:
    detokenizer = Detokenizer(lambda ids: "".join("ab "[i] for i in ids if i < 3))

    assert [detokenizer.feed(token_id) for token_id in [7, 0, 7, 7, 1]] == ["", "a", "", "", "b"]
    assert detokenizer.finish() == ""


@pytest.mark.parametrize(
    ("stops", "parts", "expected"),
    [
        (["END"], ["some E", "N", "D more"], ("some ", True)),
        (["END"], ["some E", "N", "d"], ("some ENd", False)),
        (["END"], ["EN"], ("EN", False)),
        (["\n\n"], ["a\n", "b\n", "\n"], ("a\nb", True)),
        (["abab"], ["ab", "abab"], ("", True)),
        (["aab"], ["aa", "ab"], ("a", True)),
        ([], ["a", "b"], ("ab", False)),
        (["x", "yy"], ["ayyx"], ("a", True)),
        (["b", "abc"], ["abc"], ("a", True)),  # "b" is complete first
        (["cd", "bcd"], ["abcd"], ("a", True)),  # complete together: the longer one
        (["é"], ["caf", "é!"], ("caf", True)),
    ],
)
def test_a_text_ends_before_its_first_stop_string(
    stops: list[str], parts: list[str], expected: tuple[str, bool]
) -> None:
    assert cut(stops, parts) == expected


def test_nothing_of_a_possible_stop_string_is_shown_before_it_is_certain() -> None:
    finder = StopFinder(["\nuser:"])

    assert [finder.feed(part) for part in ["yes", "\n", "us", "ual", "\nuser", ":"]] == [
        "yes",
        "",
        "",
        "\nusual",
        "",
        "",
    ]
    assert finder.found


@settings(max_examples=200, deadline=None)
@given(
    text=st.text("abc", max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    data=st.data(),
)
def test_the_cut_does_not_depend_on_how_the_text_comes(text: str, stops: list[str], data: st.DataObject) -> None:
    edges = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=5))})
    parts = [text[start:end] for start, end in pairwise(edges)]

    assert cut(stops, parts) == cut(stops, list(text))
