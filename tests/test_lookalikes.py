"""Text that only looks like a Z-span is text; an escaped or folded Z-span is read; a damaged one is refused."""

import html

import pytest

import zprompt
from tests.codec.conftest import SETTINGS
from zprompt.codec import Codec
from zprompt.errors import ForgedSpanError, SpanVersionError, TruncatedSpanError
from zprompt.llm import Backbone

TEXT = "Rivers carry sand and mud to the sea, and 'the' sand & the mud become stone again."


@pytest.fixture(autouse=True)
def codec(tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Codec:
    """Make a tiny codec the default one."""
    codec = Codec(tiny_backbone, SETTINGS, name="tiny")
    monkeypatch.setattr("zprompt.codec.shared_codec", lambda: codec)
    return codec


@pytest.mark.parametrize("text", ["a[z1:z2]", "y = x[z2:n]", "[z1:", "[z2:0123456789ab:", "A Z-span is [z2:…]."])
def test_a_text_that_only_looks_like_a_span_is_text(text: str) -> None:
    assert zprompt.decompress(text) == text
    assert zprompt.compress(text, min_tokens=1000).documents == text
    assert zprompt.decompress(zprompt.compress(text).documents) == text


def test_a_span_that_was_escaped_or_folded_is_restored() -> None:
    span = zprompt.compress(TEXT).documents
    folded = "\n  ".join(span[start : start + 76] for start in range(0, len(span), 76))
    assert zprompt.decompress([html.escape(span), folded, f"<p>{html.escape(span)}</p>"]) == [
        TEXT,
        TEXT,
        f"<p>{TEXT}</p>",
    ]


def test_a_damaged_span_is_refused() -> None:
    span = zprompt.compress(TEXT).documents
    with pytest.raises(TruncatedSpanError):
        zprompt.decompress(span[:-1])
    with pytest.raises(ForgedSpanError):
        zprompt.decompress(span[:-2] + ("0" if span[-2] != "0" else "1") + "]")
    with pytest.raises(SpanVersionError):
        zprompt.decompress(f"before {span.replace('[z2:', '[z1:')} after")
