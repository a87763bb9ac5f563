"""What the framework packages share: which texts become Z-spans, and which stay."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.codec.conftest import EXPECTED, SETTINGS, make_heads
from zprompt import api
from zprompt.codec.checkpoint import CodecConfig, write_codec
from zprompt.codec.codec import Codec
from zprompt.errors import InvalidTextError, OptionError, WrongCodecError
from zprompt.llm import Backbone
from zprompt.options import CompressOptions
from zprompt.rag import Adapted, CodecSource, adapt, is_stored_span

LONG = "The dog sleeps" + 12 * EXPECTED + " sun."
OTHER = "A fox jumps" + 9 * EXPECTED + " sea."
HARD = "fox9"  # every token of it is an anchor


@pytest.fixture(scope="module")
def codec(tiny_backbone: Backbone) -> Codec:
    return Codec(tiny_backbone, make_heads(tiny_backbone), "tiny")


@pytest.fixture(scope="module")
def other(tiny_backbone: Backbone) -> Codec:
    return Codec(tiny_backbone, make_heads(tiny_backbone, seed=1), "other")


@pytest.fixture
def calls(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    compress = codec.compress

    def record(docs: list[str], **options: object) -> object:
        seen.append({"docs": list(docs), **options})
        return compress(docs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(codec, "compress", record)
    return seen


@pytest.fixture
def forget() -> Iterator[None]:
    before = dict(api._codecs)
    yield
    api._codecs.clear()
    api._codecs.update(before)


def test_texts_become_zspans_in_one_call_of_the_codec(codec: Codec, calls: list[dict[str, Any]]) -> None:
    options = CompressOptions(ratio=2, query="dog", protect=["sun"], min_tokens=3)
    adapted = adapt(codec, [LONG, OTHER], options, batch_size=4)
    assert [item.new for item in adapted] == [True, True]
    assert all(0 < item.z_tokens < item.source_tokens for item in adapted)
    assert codec.decompress([item.text for item in adapted]) == [LONG, OTHER]
    [call] = calls
    assert call == {
        "docs": [LONG, OTHER],
        "ratio": 2,
        "max_tokens": None,
        "query": "dog",
        "protect": ["sun"],
        "min_tokens": 3,
        "on_error": "raise",
        "batch_size": 4,
    }


def test_what_is_marked_as_compressed_is_left_alone(codec: Codec, calls: list[dict[str, Any]]) -> None:
    [span, mixed] = [adapt(codec, [LONG])[0].text, f"Source 1: {adapt(codec, [LONG])[0].text} and no more"]
    calls.clear()
    adapted = adapt(codec, [span, mixed], marked=[True, True])
    assert [item.text for item in adapted] == [span, mixed]
    assert all(item.compressed and not item.new and item.z_tokens < item.source_tokens for item in adapted)
    assert calls == []


def test_a_zspan_without_a_mark_is_text(codec: Codec) -> None:
    forged = adapt(codec, [LONG])[0].text
    [item] = adapt(codec, [forged], CompressOptions(min_tokens=10_000))
    assert item.text != forged
    assert not item.compressed
    assert codec.decompress(item.text) == forged


def test_what_only_looks_like_a_zspan_is_text_even_with_a_mark(codec: Codec) -> None:
    span = adapt(codec, [LONG])[0].text
    for text in ("[z1:", f"{span} [z1:0123456789ab:", span[:-3] + "!!]", "[z1:0123456789ab:3:abc:00000000]"):
        [item] = adapt(codec, [text], marked=[True])
        assert item.text != text
        assert codec.decompress(item.text) == text


def test_a_text_that_does_not_get_shorter_passes_through(codec: Codec) -> None:
    assert adapt(codec, [HARD, ""], CompressOptions(protect=r".")) == [Adapted(HARD), Adapted("")]


def test_short_texts_pass_through(codec: Codec) -> None:
    kept, written = adapt(codec, [" sun", LONG], CompressOptions(min_tokens=5))
    assert kept == Adapted(" sun")
    assert written.new


def test_texts_that_cannot_be_compressed_raise_or_pass_through(codec: Codec) -> None:
    with pytest.raises(InvalidTextError):
        adapt(codec, ["\ud800", LONG])
    kept, written = adapt(codec, ["\ud800", LONG], CompressOptions(on_error="passthrough"))
    assert (kept.text, written.new) == ("\ud800", True)


def test_too_few_tokens_raise_or_pass_through(codec: Codec) -> None:
    with pytest.raises(OptionError, match="max_tokens"):
        adapt(codec, [LONG, "[z1:"], CompressOptions(max_tokens=1))
    kept = adapt(codec, [LONG, "[z1:"], CompressOptions(max_tokens=1, on_error="passthrough"))
    assert kept == [Adapted(LONG), Adapted("[z\\1:")]


def test_a_zspan_of_another_codec_raises_or_passes_through_as_text(codec: Codec, other: Codec) -> None:
    span = other.compress(LONG).documents
    with pytest.raises(WrongCodecError):
        adapt(codec, [span], marked=[True])
    [kept] = adapt(codec, [span], CompressOptions(on_error="passthrough"), marked=[True])
    assert (kept.compressed, codec.decompress(kept.text)) == (False, span)


def test_a_stored_zspan_is_used_for_its_own_text_only(codec: Codec, other: Codec, calls: list[dict[str, Any]]) -> None:
    span, foreign = codec.compress(LONG).documents, other.compress(OTHER).documents
    calls.clear()
    used, edited, changed_codec = adapt(codec, [LONG, OTHER, OTHER], stored=[span, span, foreign])
    assert (used.text, used.new) == (span, False)
    assert codec.decompress([edited.text, changed_codec.text]) == [OTHER, OTHER]
    assert [call["docs"] for call in calls] == [[OTHER, OTHER]]


@pytest.mark.parametrize("span", [None, "", 7, "[z1:", "text", ["x"]])
def test_anything_else_is_no_stored_zspan(codec: Codec, span: object) -> None:
    assert not is_stored_span(codec, span, LONG)
    assert not is_stored_span(codec, codec.compress(LONG).documents, "\ud800")


def test_a_source_pickles_and_loads_one_codec(
    tmp_path: Path, tiny_backbone: Backbone, codec: Codec, forget: None
) -> None:
    write_codec(tmp_path, CodecConfig(SETTINGS, tiny_backbone.name, tiny_backbone.weights_fingerprint, {}), codec.heads)
    source = CodecSource(str(tmp_path), device="cpu", quantization="none")
    loaded = source.load()
    assert loaded.fingerprint == codec.fingerprint
    assert pickle.loads(pickle.dumps(source)).load() is loaded
