"""Tokens are counted by the tokenizer of the reader, by that of an API's model, or by a function of the caller."""

import sys

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from zprompt.counting import counter
from zprompt.errors import MissingDependencyError, OptionError


class LetterEncoding:
    """Stands in for an encoding of tiktoken, which would be fetched."""

    def encode(self, text: str, disallowed_special: object = "all") -> list[int]:
        if disallowed_special == "all" and "<|endoftext|>" in text:
            raise ValueError("disallowed special token")
        return list(text.encode())


def test_tokens_of_the_reader_are_counted_without_special_tokens() -> None:
    count = counter("reader")
    assert [count(text) for text in ("", "The", "The river", "The river carries sand.")] == [0, 1, 2, 5]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_has_no_more_tokens_than_bytes(text: str) -> None:
    assert 1 <= counter("reader")(f"a{text}") <= 1 + len(text.encode())


def test_a_function_of_the_caller_is_used_as_it_is() -> None:
    assert counter(len)("four") == 4


def test_encodings_of_tiktoken_take_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: names.append(name) or LetterEncoding())
    count = counter("tiktoken:o200k_base")
    assert count("a<|endoftext|>é") == 16 and names == ["o200k_base"]


def test_an_unknown_encoding_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"(?s)cannot load .*'nonsense'.*cl100k_base.*a function of your own"):
        counter("tiktoken:nonsense")


def test_an_encoding_that_cannot_be_fetched_is_an_option_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(tiktoken, "get_encoding", fail)
    with pytest.raises(OptionError, match="no network"):
        counter("tiktoken:o200k_base")


def test_without_tiktoken_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(MissingDependencyError, match="pip install tiktoken"):
        counter("tiktoken:o200k_base")


@pytest.mark.parametrize("wrong", ["nonsense", "", "Reader", None, 3])
def test_any_other_way_to_count_is_refused(wrong: object) -> None:
    with pytest.raises(OptionError, match=r"count must be 'reader', 'tiktoken:<encoding>' or a function"):
        counter(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("result", [None, "5", [1], 0.5, -1])
def test_a_function_that_returns_no_count_is_an_error(result: object) -> None:
    with pytest.raises(OptionError, match="count="):
        counter(lambda text: result)("text")  # type: ignore[arg-type,return-value]
