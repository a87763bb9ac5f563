"""The default LLM as a codec: exact on any text, short on English, the same in any process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import zprompt
from zprompt.codec.codec import Codec
from zprompt.codec.source import unit_starts
from zprompt.errors import RatioWarning
from zprompt.zspan import NO_CODE, format_span

pytestmark = pytest.mark.default_model

# Written for this test, so that no LLM was trained on it.
ENGLISH = (
    "The town of Harrow Bay lies at the mouth of a small river on the northern coast of the island. It was founded in "
    "the early nineteenth century by families who came to the area to work in the fishing industry, and for most of "
    "its history the harbour was the centre of the local economy. After the railway was built in 1871, the population "
    "grew quickly, and a number of new houses, two churches and a school were built on the hill above the old town. "
    "During the Second World War the harbour was used by the navy, and several of the buildings near the water were "
    "destroyed. Today, most of the people who live in the town work in tourism, and the old fish market has become a "
    "museum that tells the story of the town and its people."
)
TEXTS = {
    "english": ENGLISH[:130],
    "code": "def mean(values: list[float]) -> float:\n    if not values:\n\t\treturn 0.0\n    return sum(values)\n",
    "cjk": "昔々、山の奥に小さな村がありました。村人は毎朝、川で水を汲みました。",
    "emoji": "See you at 7 👋🏽 — bring the kids 👨‍👩‍👧‍👦 and 🍕🍕! é e\u0301 ✨",
    "control": "a\x00b\x04c\x06\x13\x14\x16\x1d\x1b[31m red\x1b[0m\r\n\ttab \x7f\u200b\ufeff end",
    "blank": " \n\n   \t ",
    "letter": "x",
    "three tokens": "one two three",
    "empty": "",
    "span": "A span looks like [z2:0123456789ab:1:abc:00000000] in a text.",
}


@pytest.fixture(scope="module")
def codec() -> Codec:
    return zprompt.load("default", device="cpu")


@pytest.fixture(scope="module")
def spans(codec: Codec) -> list[str]:
    """Return the spans of all texts, written in one call."""
    documents: list[str] = codec.compress(list(TEXTS.values())).documents
    return documents


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_come_back_exactly(codec: Codec, spans: list[str], name: str) -> None:
    assert codec.decompress(spans[list(TEXTS).index(name)]) == TEXTS[name]


def test_english_is_short_and_comes_back(codec: Codec) -> None:
    result = codec.compress(ENGLISH[:330], verify=True)
    assert result.stats.exact == 1.0
    assert result.stats.ratio > 5
    assert result.stats.bits_per_source_token < 6


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_takes_more_z_tokens_than_it_has_tokens(codec: Codec, spans: list[str], name: str) -> None:
    span = codec.parse(spans[list(TEXTS).index(name)])
    assert len(span.tokens) <= span.source_tokens


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (2, 3)])
def test_spans_and_texts_depend_on_neither_threads_nor_batch(
    codec: Codec, spans: list[str], threads: None, count: int, batch_size: int
) -> None:
    torch.set_num_threads(count)
    assert codec.compress(list(TEXTS.values()), batch_size=batch_size).documents == spans
    assert codec.decompress(spans[-5:], batch_size=batch_size) == list(TEXTS.values())[-5:]


def test_another_process_restores_the_texts(codec: Codec, spans: list[str]) -> None:
    program = (
        "import json, sys, zprompt\n"
        "codec = zprompt.load('default', device='cpu')\n"
        "json.dump([codec.fingerprint, codec.decompress(json.load(sys.stdin))], sys.stdout)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(spans[-5:]), capture_output=True, text=True, check=True
    )
    assert json.loads(process.stdout) == [codec.fingerprint, list(TEXTS.values())[-5:]]


def test_explain_aligns_z_tokens_with_the_text(codec: Codec) -> None:
    explanation = codec.explain(ENGLISH)
    tokens = explanation.tokens
    assert "".join(ENGLISH[token.start : token.end] for token in tokens) == ENGLISH
    bits = 8 * len(codec.parse(explanation.span).stream)
    assert sum(token.cost for token in tokens) == pytest.approx(bits, abs=24)
    assert max(token.gap for token in tokens) > 3
    assert explanation.span == codec.compress(ENGLISH).documents


@pytest.mark.parametrize("ratio", [1.5, 5, 10])
def test_english_comes_back_at_every_ratio(codec: Codec, ratio: float) -> None:
    text = ENGLISH[:130]
    result = codec.compress(text, ratio=ratio)
    assert result.stats.ratio == pytest.approx(ratio, rel=0.1)
    assert codec.decompress(result.documents) == text


LOG = "2025-03-04 11:02:17 INFO worker-3 job ok\n" * 5
RECORDS = json.dumps([{"id": n, "name": f"user{n}", "active": n % 2 == 0, "score": 1.5 * n} for n in range(6)])


@pytest.mark.parametrize("text", [LOG, RECORDS], ids=["log", "JSON"])
def test_machine_written_texts_meet_each_ratio(codec: Codec, text: str) -> None:
    results = [codec.compress(text, ratio=ratio) for ratio in (1.5, 2, 3, 4)]

    assert [result.stats.ratio for result in results] == pytest.approx([1.5, 2, 3, 4], rel=0.05)
    assert [result.stats.missed for result in results] == [None] * 4


@pytest.mark.parametrize(
    ("options", "reason"), [({"ratio": 60}, "begin a sentence"), ({"ratio": 8, "protect": r"\d+"}, "or are protected")]
)
def test_a_ratio_that_is_out_of_reach_is_a_warning_with_the_reason(
    codec: Codec, options: dict[str, Any], reason: str
) -> None:
    with pytest.warns(RatioWarning, match=reason):
        codec.compress(LOG, **options)


def test_a_higher_ratio_takes_fewer_z_tokens_and_fewer_bits(codec: Codec) -> None:
    spans = [codec.parse(codec.compress(ENGLISH, ratio=ratio).documents) for ratio in (1, 2, 4, 8, 16)]
    lengths, sizes = [len(span.tokens) for span in spans], [len(span.stream) for span in spans]
    assert lengths == sorted(set(lengths), reverse=True)
    assert sizes == sorted(set(sizes), reverse=True)


def test_what_is_protected_is_kept_as_anchors(codec: Codec) -> None:
    span = codec.parse(codec.compress(ENGLISH, ratio=8, protect=["Harrow Bay", "1871"]).documents)
    anchors = codec.backbone.decode([token.anchor for token in span.tokens])
    assert "Harrow Bay" in anchors and "1871" in anchors


def test_a_focused_sentence_is_word_for_word_and_the_text_comes_back(codec: Codec) -> None:
    text = ENGLISH[:200]
    ids, offsets = codec.backbone.encode_with_offsets(text)
    _, second, *_ = unit_starts(text, offsets)
    focused = codec.parse(codec.compress(text, ratio=8).documents).focus([(0, ids[:second])])
    written = format_span(focused)
    anchors = codec.backbone.decode([token.anchor for token in focused.tokens])
    assert anchors.startswith(ENGLISH[: ENGLISH.index(". ") + 1])
    assert codec.decompress(written) == text


def test_shipped_heads_write_codes_and_restore_a_sentence(codec: Codec) -> None:
    coded, text = zprompt.load("learned-codes", device="cpu"), ENGLISH[:130]
    assert coded.heads is not None and coded.fingerprint != codec.fingerprint
    span = coded.compress(text, ratio=5).documents
    assert len(coded.parse(span).stream) <= len(codec.parse(codec.compress(text, ratio=5).documents).stream)
    assert coded.decompress(span) == text
    assert coded._code_writer
    coded._code_writer.price = -float("inf")
    everything = coded.parse(coded.compress(text, ratio=5).documents)
    assert any(subcode != NO_CODE for token in everything.tokens for subcode in token.code)
    assert coded.decompress(format_span(everything)) == text
