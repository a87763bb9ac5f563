"""The benchmark of the codec, on a tiny codec with random heads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.codec import Corpus, gather, run, save
from benchmarks.documents import Document, draw, hard_documents, passage
from benchmarks.metrics import Interval
from benchmarks.plan import QUICK, Plan
from benchmarks.record import RunRecord, write_json
from benchmarks.restoring import restore_ids, source_ids
from benchmarks.tasks.ablation import Ablation
from benchmarks.tasks.exactness import Exactness
from benchmarks.tasks.rate_distortion import RateDistortion
from zprompt.backbone import Backbone
from zprompt.codec.codec import Codec
from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings

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
    return replace(QUICK, in_another_process=False, ratios=(1, 3), residual_sizes=(8, 16), elsewhere_tokens=100)


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


def test_loss_grows_with_the_ratio(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    [result] = run(codec, corpus, plan, ["rate_distortion"])

    assert isinstance(result, RateDistortion)
    exact, lossy = result.points
    assert (exact.identical, exact.bleu, exact.accuracy, exact.numbers, exact.names) == (
        1.0,
        pytest.approx(100),
        1,
        1,
        1,
    )
    assert exact.bleu_interval == Interval(pytest.approx(100), pytest.approx(100))
    assert lossy.ratio > exact.ratio
    assert lossy.accuracy < 1


def test_a_smaller_residual_makes_longer_texts(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    [result] = run(codec, corpus, plan, ["ablation"])

    assert isinstance(result, Ablation)
    small, large = result.residual_sizes
    full = result.parts[0]
    assert 1 <= small.ratio <= large.ratio
    assert large == replace(full, name="16 bits")
    assert full.ratio == pytest.approx(codec.compress(TEXTS).stats.ratio)


def test_a_run_leaves_json_a_table_and_a_plot(codec: Codec, corpus: Corpus, plan: Plan, tmp_path: Path) -> None:
    results = run(codec, corpus, plan, ["rate_distortion", "ablation"])

    text = save(tmp_path, RunRecord.take(plan.seed, 0.0), codec, corpus, plan, results)

    written = json.loads((tmp_path / "codec.json").read_text("utf-8"))
    assert list(written["results"]) == ["RateDistortion", "Ablation"]
    assert written["run"]["seed"] == plan.seed
    assert (tmp_path / "codec.md").read_text("utf-8") == text
    assert (tmp_path / "codec-rate-distortion.png").stat().st_size > 1000


def test_token_ids_and_texts_come_back_together(codec: Codec) -> None:
    result = codec.compress(TEXTS, ratio=3)

    restored = restore_ids(codec, result.documents)

    assert [back.text for back in restored] == codec.decompress(result.documents)
    assert [len(back.ids) for back in restored] == [len(source_ids(codec, text)) for text in TEXTS]


def test_every_kind_of_hard_text_is_there() -> None:
    domains = {document.domain for document in hard_documents("[z1:0:0::0]", QUICK)}

    assert domains >= {"code", "logs", "dialogue", "tables", "urls", "emoji", "cjk", "arabic", "combining", "control"}
    assert domains >= {"tiny", "zspans", "bytes"}


def test_without_wikipedia_the_run_says_so(codec: Codec) -> None:
    corpus = gather(codec, None, QUICK)

    assert corpus.note.startswith("no Wikipedia file")
    assert {document.domain for document in corpus.passages} == {"prose"}


def test_a_passage_is_whole_paragraphs() -> None:
    paragraphs = ["one two", "three four", "five six seven"]

    assert passage(paragraphs, 5, lambda text: len(text.split())) == "one two\n\nthree four"
    assert passage(paragraphs, 1, lambda text: len(text.split())) == "one two"


def test_a_choice_is_the_same_for_the_same_seed() -> None:
    assert draw(range(100), 5, seed=3) == draw(range(100), 5, seed=3) == sorted(draw(range(100), 5, seed=3))


def test_json_has_no_infinities(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("inf"), "b": (1 / 3, Interval(0.0, 1.0))})

    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [0.333333, {"low": 0.0, "high": 1.0}]}
