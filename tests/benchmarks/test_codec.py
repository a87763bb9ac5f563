"""The benchmark of the codec, on a tiny codec with random heads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.ablation import Ablation, without_code, without_span_head
from benchmarks.codec import QUICK, Corpus, Plan, gather, hard_documents, run, save
from benchmarks.common import Document, first_paragraphs
from benchmarks.exactness import Exactness, restore_texts
from benchmarks.rate_distortion import RateDistortion
from zprompt.codec import USUAL_RATE, Codec, CodecHeads, CodecSettings
from zprompt.codec.heads import DroppedTokens, right_context
from zprompt.eval import Interval, RunRecord, draw, write_json
from zprompt.llm import Backbone
from zprompt.zspan import ZToken

TINY = CodecSettings(subcodes=2, subcode_size=8, max_gap=3, width=16, span_width=8, window=32)
TEXTS = [
    "In 1969 two people walked on the Moon; 600 million people watched them walk.",
    "The dog sleeps on in the sun, and the quick brown fox jumps over Lake Constance.",
]


@pytest.fixture(scope="module")
def codec(tiny_backbone: Backbone) -> Codec:
    torch.manual_seed(0)
    heads = CodecHeads(TINY, tiny_backbone.embeddings, tiny_backbone.hidden_size)
    return Codec(tiny_backbone, heads.eval().requires_grad_(False))


@pytest.fixture
def plan() -> Plan:
    return replace(QUICK, in_another_process=False, ratios=(1, 3), rates=(1, 1 / 30), elsewhere_tokens=100)


@pytest.fixture
def corpus() -> Corpus:
    passages = [Document(f"text {index}", "prose", text) for index, text in enumerate(TEXTS)]
    return Corpus(passages, [Document("empty", "tiny", "")], "three texts.")


def test_exactness_is_found_where_it_is(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    [result] = run(codec, corpus, plan, ["exactness"])

    assert isinstance(result, Exactness)
    assert [domain.identical for domain in result.domains] == [1.0, 1.0]
    assert [way.identical for way in result.elsewhere] == [1.0, 1.0]
    assert result.surrogates_refused
    assert all(document.ratio >= 1 for document in result.documents)
    bits = sum(document.bits for document in result.documents)
    z_tokens = sum(document.z_tokens for document in result.documents)
    assert result.bits_per_z_token == pytest.approx(bits / z_tokens, abs=8)  # the last byte of Z-tokens is filled up
    assert result.bits_per_z_token >= codec.alphabet.bits_per_z_token
    assert result.domains[1].bits_per_z_token is None


def test_everything_comes_back_at_every_ratio_and_costs_what_the_stats_say(
    codec: Codec, corpus: Corpus, plan: Plan
) -> None:
    [result] = run(codec, corpus, plan, ["rate_distortion"])

    assert isinstance(result, RateDistortion)
    for point in result.points:
        stats = codec.compress(TEXTS, ratio=point.wanted).stats
        assert (point.identical, point.accuracy, point.numbers, point.names) == (1.0, 1.0, 1.0, 1.0)
        assert point.bleu == pytest.approx(100)
        assert (point.ratio, point.bits_per_z_token) == (stats.ratio, stats.bits_per_z_token)
        assert point.bits_per_source_token == stats.bits_per_source_token
    low, high = result.points
    assert (low.ratio, low.first_guesses) == (1.0, 1.0)  # nothing is dropped
    assert high.ratio >= 3
    assert high.first_guesses_interval.low <= high.first_guesses <= high.first_guesses_interval.high < 1
    assert high.bits_per_z_token > low.bits_per_z_token


def test_first_guesses_are_counted_in_what_was_dropped(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    [result] = run(codec, corpus, plan, ["rate_distortion"])

    assert isinstance(result, RateDistortion)
    for row in result.documents:
        assert 0 <= row.first_guesses <= row.dropped_tokens < row.source_tokens


def test_variants_are_written_as_every_text_is(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    plan = replace(plan, rates=(USUAL_RATE, USUAL_RATE / 8))
    [result] = run(codec, corpus, plan, ["ablation"])

    assert isinstance(result, Ablation)
    assert [(variant.name, variant.rate) for variant in result.variants] == [
        (name, rate) for rate in plan.rates for name in ("full codec", "no code", "LLM and residual")
    ]
    full, stats = result.variants[0], codec.compress(TEXTS).stats  # at the usual rate
    assert full.ratio == pytest.approx(stats.ratio)
    assert full.bits_per_z_token == pytest.approx(stats.bits_per_z_token)
    assert full.bits_per_source_token == pytest.approx(stats.bits_per_source_token)
    assert all(dear.ratio <= cheap.ratio for dear, cheap in zip(result.variants[:3], result.variants[3:], strict=True))


def test_heads_without_code_read_none(codec: Codec) -> None:
    heads = without_code(codec.heads)
    tokens = [[ZToken(7, 3, code), ZToken(9, 0, (0, 0))] for code in ((1, 2), (3, 4))]
    one, other = (right_context(heads, DroppedTokens.of(span)) for span in tokens)

    assert torch.equal(one, other)
    assert not without_span_head(codec.heads).span_head.out(one).any()


def test_a_run_leaves_json_a_table_and_a_plot(codec: Codec, corpus: Corpus, plan: Plan, tmp_path: Path) -> None:
    results = list(run(codec, corpus, plan, ["rate_distortion", "ablation"]))

    text = save(tmp_path, RunRecord.take(plan.seed, 0.0), codec, corpus, plan, results)

    written = json.loads((tmp_path / "codec.json").read_text("utf-8"))
    assert list(written["results"]) == ["RateDistortion", "Ablation"]
    assert written["run"]["seed"] == plan.seed
    assert (tmp_path / "codec.md").read_text("utf-8") == text
    assert (tmp_path / "codec-rate-distortion.png").stat().st_size > 1000


def test_a_span_that_is_refused_is_a_finding_and_not_the_end(codec: Codec) -> None:
    spans = codec.compress(TEXTS).documents

    assert restore_texts(codec, [spans[0][:-8] + "0000000]", spans[1]]) == [None, TEXTS[1]]


def test_every_kind_of_hard_text_is_there() -> None:
    domains = {document.domain for document in hard_documents("[z1:0:0::0]", QUICK.hard_characters)}

    assert domains >= {"code", "logs", "dialogue", "tables", "urls", "emoji", "cjk", "arabic", "combining", "control"}
    assert domains >= {"tiny", "zspans", "bytes"}


def test_without_wikipedia_the_run_says_so(codec: Codec) -> None:
    corpus = gather(codec, None, QUICK)

    assert corpus.note.startswith("no Wikipedia file")
    assert {document.domain for document in corpus.passages} == {"prose"}


def test_a_passage_is_whole_paragraphs() -> None:
    paragraphs = ["one two", "three four", "five six seven"]

    assert first_paragraphs(paragraphs, 5, lambda text: len(text.split())) == "one two\n\nthree four"
    assert first_paragraphs(paragraphs, 1, lambda text: len(text.split())) == "one two"


def test_a_choice_is_the_same_for_the_same_seed() -> None:
    assert draw(range(100), 5, seed=3) == draw(range(100), 5, seed=3) == sorted(draw(range(100), 5, seed=3))


def test_json_has_no_infinities(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("inf"), "b": (1 / 3, Interval(0.0, 1.0))})

    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [0.333333, {"low": 0.0, "high": 1.0}]}
