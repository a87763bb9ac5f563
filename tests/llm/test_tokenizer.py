"""Text becomes token ids and comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.errors import InvalidTextError
from zprompt.llm import Backbone


@pytest.mark.parametrize(
    "text", ["", " ", "the dog", "  two  spaces ", "naïve 漢字 🦊", "a\x00b\x1b", "line\r\nline", " ,."]
)
def test_a_text_comes_back(tiny_backbone: Backbone, text: str) -> None:
    assert tiny_backbone.decode(tiny_backbone.encode(text)) == text


@given(text=st.text(max_size=60))
def test_any_text_comes_back(tiny_backbone: Backbone, text: str) -> None:
    assert tiny_backbone.decode(tiny_backbone.encode(text)) == text


def test_no_special_tokens_are_added(tiny_backbone: Backbone) -> None:
    assert tiny_backbone.encode("") == []


def test_special_tokens_in_a_text_are_kept(tiny_backbone: Backbone) -> None:
    assert tiny_backbone.decode(tiny_backbone.encode("a<|endoftext|>b")) == "a<|endoftext|>b"


def test_offsets_are_adjacent(tiny_backbone: Backbone) -> None:
    text = "the text, the code"
    ids, offsets = tiny_backbone.encode_with_offsets(text)
    assert ids == tiny_backbone.encode(text)
    assert "".join(text[start:end] for start, end in offsets) == text


def test_a_narrow_alphabet_loses_characters(narrow_backbone: Backbone) -> None:
    assert narrow_backbone.decode(narrow_backbone.encode("the café")) != "the café"
    assert narrow_backbone.decode(narrow_backbone.encode("the dog")) == "the dog"


def test_a_text_that_comes_back_needs_no_escapes(tiny_backbone: Backbone, narrow_backbone: Backbone) -> None:
    assert tiny_backbone.escape("the café") == ("the café", False)
    assert narrow_backbone.escape("the dog") == ("the dog", False)


def test_a_text_that_never_comes_back_is_refused(narrow_backbone: Backbone) -> None:
    with pytest.raises(InvalidTextError, match="does not round-trip this text"):
        narrow_backbone.escape("the café")  # not even escapes survive: the tokenizer has no digits
