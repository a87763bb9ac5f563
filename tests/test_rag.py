"""What the framework adapters share: which texts become Z-spans, and which stay."""

import html
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES
from zprompt.codec import Codec, shared_codec
from zprompt.errors import InvalidTextError, OptionError, RatioWarning, TruncatedSpanError, WrongCodecError
from zprompt.llm import Backbone
from zprompt.options import CompressOptions
from zprompt.rag import CodecSpec, RagText, compress_texts, reuse_spans, shorten_texts

LONG = f"{SENTENCES[0]} {SENTENCES[4]}"
OTHER = SENTENCES[5]
SPAN = "[z2:0123456789ab:1:AAAA:00000000]"  # of the right form only


@pytest.fixture(scope="module")
def codec(tiny_backbone: Backbone) -> Codec:
    return Codec(tiny_backbone, SETTINGS, name="tiny")


@pytest.fixture(scope="module")
def other_codec(tiny_backbone: Backbone) -> Codec:
    return Codec(tiny_backbone, replace(SETTINGS, margin=2e-4), name="other")


@pytest.fixture
def calls(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = []
    compress_with = codec.compress_with

    def record(options: CompressOptions, docs: list[str], *, batch_size: int, **keywords: Any) -> object:  # noqa: ANN401
        recorded.append({"options": options, "docs": list(docs), "batch_size": batch_size})
        return compress_with(options, docs, batch_size=batch_size, **keywords)

    monkeypatch.setattr(codec, "compress_with", record)
    return recorded


def test_texts_become_z_spans_in_one_call_of_the_codec(codec: Codec, calls: list[dict[str, Any]]) -> None:
    options = CompressOptions(ratio=2, protect=["sun"], min_tokens=3)
    items = compress_texts(codec, [LONG, OTHER], options, batch_size=4)
    assert [item.new for item in items] == [True, True]
    assert all(0 < item.z_tokens < item.source_tokens for item in items)
    assert codec.decompress([item.text for item in items]) == [LONG, OTHER]
    [call] = calls
    assert call == {"options": options, "docs": [LONG, OTHER], "batch_size": 4}


def test_texts_that_are_marked_as_compressed_are_left_alone(codec: Codec, calls: list[dict[str, Any]]) -> None:
    [span, mixed] = [
        compress_texts(codec, [LONG])[0].text,
        f"Source 1: {compress_texts(codec, [LONG])[0].text} and no more",
    ]
    calls.clear()
    items = compress_texts(codec, [span, mixed], marked=[True, True])
    assert [item.text for item in items] == [span, mixed]
    assert all(item.compressed and not item.new and item.z_tokens < item.source_tokens for item in items)
    assert calls == []


def test_a_z_span_without_a_mark_is_text(codec: Codec) -> None:
    forged = compress_texts(codec, [LONG])[0].text
    [item] = compress_texts(codec, [forged], CompressOptions(min_tokens=10_000))
    assert item.text != forged
    assert not item.compressed
    assert codec.decompress(item.text) == forged


def test_a_text_that_is_no_valid_z_span_is_text_even_with_a_mark(codec: Codec) -> None:
    span = compress_texts(codec, [LONG])[0].text
    other_checksum = span[:-2] + ("1]" if span[-2] == "0" else "0]")
    damaged = other_checksum, f"{span} {other_checksum}", "[z1:0123456789ab:3:abc:00000000]"
    for text in ("[z2:", "a[z1:z2]", *damaged):
        [item] = compress_texts(codec, [text], marked=[True])
        assert codec.decompress(item.text) == text
        [kept] = compress_texts(codec, [text], CompressOptions(min_tokens=10_000), marked=[True])
        assert (kept.compressed, kept.text == text) == (False, text not in damaged)
        assert codec.decompress(kept.text) == text


def test_a_piece_of_a_z_span_with_a_mark_raises_or_passes_through_as_text(codec: Codec) -> None:
    span = compress_texts(codec, [LONG])[0].text
    for text in (span[:-1], f"{span} {span[:-1]}", span[:25], span[30:], span[30:60], f" {span[-20:]}\n"):
        with pytest.raises(TruncatedSpanError, match="Split before compressing"):
            compress_texts(codec, [OTHER, text], marked=[False, True])
        with pytest.raises(TruncatedSpanError, match="Split before compressing"):
            shorten_texts([OTHER, text], CompressOptions(query="Who?"), marked=[False, True], restore=codec.decompress)
        [item] = compress_texts(codec, [text], CompressOptions(on_error="passthrough"), marked=[True])
        assert (item.compressed, codec.decompress(item.text)) == (False, text)
        assert codec.decompress(compress_texts(codec, [text], marked=[False])[0].text) == text


def test_a_marked_z_span_may_be_escaped_or_folded(codec: Codec, calls: list[dict[str, Any]]) -> None:
    span = codec.compress(LONG).documents
    calls.clear()
    for text in (html.escape(f"<p>{span}</p>"), "\r\n".join(span[i : i + 76] for i in range(0, len(span), 76))):
        [item] = compress_texts(codec, [text], marked=[True])
        assert (item.text, item.compressed, calls) == (text, True, [])


def test_a_text_that_does_not_get_shorter_passes_through(codec: Codec) -> None:
    assert compress_texts(codec, [LONG, ""], CompressOptions(protect=r".")) == [RagText(LONG), RagText("")]


def test_short_texts_pass_through(codec: Codec) -> None:
    kept, written = compress_texts(codec, [" sun", LONG], CompressOptions(min_tokens=5))
    assert kept == RagText(" sun")
    assert written.new


def test_texts_that_cannot_be_compressed_raise_or_pass_through(codec: Codec) -> None:
    with pytest.raises(InvalidTextError):
        compress_texts(codec, ["\ud800", LONG])
    kept, written = compress_texts(codec, ["\ud800", LONG], CompressOptions(on_error="passthrough"))
    assert (kept.text, written.new) == ("\ud800", True)


def test_too_few_tokens_raise_or_pass_through(codec: Codec) -> None:
    with pytest.raises(OptionError, match="max_tokens"):
        compress_texts(codec, [LONG, SPAN], CompressOptions(max_tokens=1))
    kept = compress_texts(codec, [LONG, SPAN], CompressOptions(max_tokens=1, on_error="passthrough"))
    assert kept == [RagText(LONG), RagText(SPAN.replace("[z", "[\\z"))]


def test_a_ratio_that_is_missed_is_a_warning(codec: Codec) -> None:
    with pytest.warns(RatioWarning, match="ratio 100"):
        compress_texts(codec, [LONG], CompressOptions(ratio=100))


def test_a_z_span_of_another_codec_raises_or_passes_through_as_text(codec: Codec, other_codec: Codec) -> None:
    span = other_codec.compress(LONG).documents
    with pytest.raises(WrongCodecError):
        compress_texts(codec, [span], marked=[True])
    [kept] = compress_texts(codec, [span], CompressOptions(on_error="passthrough"), marked=[True])
    assert (kept.compressed, codec.decompress(kept.text)) == (False, span)


def test_a_stored_z_span_is_used_for_its_own_text_only(
    codec: Codec, other_codec: Codec, calls: list[dict[str, Any]]
) -> None:
    span, foreign = codec.compress(LONG).documents, other_codec.compress(OTHER).documents
    calls.clear()
    used, edited, changed_codec = compress_texts(codec, [LONG, OTHER, OTHER], stored=[span, span, foreign])
    assert (used.text, used.new) == (span, False)
    assert codec.decompress([edited.text, changed_codec.text]) == [OTHER, OTHER]
    assert [call["docs"] for call in calls] == [[OTHER, OTHER]]


def test_z_spans_are_reused_without_their_codec_only_where_all_texts_have_one(codec: Codec, other_codec: Codec) -> None:
    span = codec.compress(LONG).documents

    def reuse(texts: list[str], marked: list[bool], stored: list[object]) -> list[RagText] | None:
        return reuse_spans(codec.fingerprint, texts, marked=marked, stored=stored)

    items = reuse([LONG, span], [False, True], [span, None])
    assert items == compress_texts(codec, [LONG, span], marked=[False, True], stored=[span, None])
    assert items is not None and [item.text for item in items] == [span, span]
    for text, is_marked, stored in (
        (OTHER, False, span),
        (LONG, False, other_codec.compress(LONG).documents),
        (LONG, False, None),
        (span, False, None),
        (LONG, True, None),
        (other_codec.compress(LONG).documents, True, None),
        ("\ud800", False, span),
    ):
        assert reuse([LONG, text], [False, is_marked], [span, stored]) is None


@pytest.mark.parametrize("span", [None, "", 7, "[z2:", "text", ["x"]])
def test_anything_else_is_no_stored_z_span(codec: Codec, span: object) -> None:
    [item] = compress_texts(codec, [LONG], stored=[span])
    assert item.new
    stored = [codec.compress(LONG).documents]
    [kept] = compress_texts(codec, ["\ud800"], CompressOptions(on_error="passthrough"), stored=stored)
    assert not kept.compressed


def test_a_spec_pickles_and_loads_one_codec(tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[shared_codec.__module__], "_codecs", {})
    codec.save_pretrained(tmp_path)
    spec = CodecSpec(str(tmp_path), device="cpu", quantization="none")
    loaded = spec.load()
    assert loaded.fingerprint == codec.fingerprint
    assert pickle.loads(pickle.dumps(spec)).load() is loaded
