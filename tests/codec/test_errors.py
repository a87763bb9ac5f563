"""Errors name the document that they are about, and need not stop the others."""

import logging

import pytest

import zprompt
from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.errors import DamagedSpanError, IntegrityError, InvalidTextError, OptionError
from zprompt.llm import Backbone
from zprompt.options import CompressOptions
from zprompt.relevance import Relevance
from zprompt.text_form import shorten
from zprompt.zspan import format_span


@pytest.fixture(scope="module")
def codec(tiny_backbone: Backbone) -> Codec:
    return Codec(tiny_backbone, SETTINGS, name="tiny")


def forged(codec: Codec, span: str) -> str:
    """Return a well-formed Z-span whose hash is not that of its text."""
    parsed = codec.parse(span)
    return format_span(type(parsed)(parsed.fingerprint, parsed.tokens, parsed.symbols, parsed.escaped, bytes(8)))


def test_a_damaged_span_is_named_by_its_position(codec: Codec) -> None:
    good, other = codec.compress(SENTENCES[:2]).documents
    with pytest.raises(DamagedSpanError, match=r"^The document at position 1: A Z-span is cut off"):
        codec.decompress([good, other[:-1]])
    with pytest.raises(DamagedSpanError, match=r"^A Z-span is cut off"):
        codec.decompress(other[:-1])
    with pytest.raises(IntegrityError, match=r"^The document at position 0: "):
        codec.decompress([{"text": forged(codec, other)}, good])


def test_the_other_documents_are_restored_on_request(codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
    good, other = codec.compress(SENTENCES[:2]).documents
    documents = [other[:-1], good, forged(codec, other), f"see {other}"]
    with caplog.at_level(logging.WARNING):
        restored = codec.decompress(documents, on_error="passthrough")
    assert restored == [documents[0], SENTENCES[0], documents[2], f"see {SENTENCES[1]}"]
    assert "position 0" in caplog.text and "position 2" in caplog.text
    with pytest.raises(OptionError, match="on_error"):
        codec.decompress(documents, on_error="skip")  # type: ignore[arg-type]


def test_a_text_that_cannot_be_compressed_is_named_by_its_position(codec: Codec) -> None:
    with pytest.raises(InvalidTextError, match=r"^The document at position 1: "):
        codec.compress([SENTENCES[0], "\ud800"])
    with pytest.raises(InvalidTextError, match=r"^The text|^A text|^Text|surrogate"):
        codec.compress("\ud800")
    relevance, options = Relevance.from_pretrained(embedder=None), CompressOptions(query="Who?")
    with pytest.raises(InvalidTextError, match=r"^The document at position 1: "):
        shorten(options, [SENTENCES[0], "\ud800"], relevance, len, list)


def test_the_functions_take_the_option_too() -> None:
    with pytest.raises(OptionError, match="on_error"):
        zprompt.decompress(["text"], on_error="no")  # type: ignore[arg-type]
