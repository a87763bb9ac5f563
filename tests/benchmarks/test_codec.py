"""The benchmark of the codec, on a tiny codec."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import ablation, exactness, rate_distortion, speed
from benchmarks import codec as script
from benchmarks.codec import QUICK, Corpus, Plan, gather, hard_documents, run, save
from benchmarks.common import Document, Range, figures, first_paragraphs
from benchmarks.exactness import MUTATIONS, OUTCOMES, ExactnessPlan, outcome, restore_texts, token_sentences
from tests.codec.conftest import make_heads
from zprompt.codec import Codec
from zprompt.eval import Estimate, Interval, RunRecord, draw, write_json
from zprompt.zspan import ZSpan
from zprompt.zspan import measure as measure_bits

TEXTS = [
    "In 1969 two people walked on the Moon; 600 million people watched them walk.",
    "The dog sleeps on in the sun. The quick brown fox jumps over Lake Constance.",
]
PASSAGES = [Document(f"text {index}", "prose", text) for index, text in enumerate(TEXTS)]


@pytest.fixture
def plan() -> Plan:
    small = ExactnessPlan(100, in_another_process=False, focused=5, mutated=70, resealed=5, mutated_tokens=60)
    return replace(QUICK, ratios=(1, 3), exactness=small)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(PASSAGES, [Document("empty", "tiny", "")], "three texts.")


# Exactness.


def test_everything_comes_back_in_every_way(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    [(_, results)] = run(codec, corpus, plan, ["exactness"])

    assert [row["identical"] for row in results["settings"]] == [1] * 4
    assert [(row["kind"], row["identical"]) for row in results["kinds"]] == [("prose", 1), ("tiny", 1)]
    assert results["kinds"][1]["bits per Z-token"] is None
    assert all(row["same texts"] == 1 and row["same Z-spans"] in (None, 1) for row in results["ways"])
    assert {"batch size 1", "folded", "HTML-escaped"} <= {row["way"] for row in results["ways"]}
    [focus] = results["focus"]
    assert (focus["Z-spans"], focus["identical"], focus["word for word"]) == (5, 1, 1)
    assert results["surrogates"] == [{"a text with a lone surrogate": "refused, with its place"}]


def test_no_mutated_span_is_restored_wrong(codec: Codec, corpus: Corpus, plan: Plan) -> None:
    [(_, results)] = run(codec, corpus, plan, ["exactness"])

    assert [row["mutation"] for row in results["damage"][:-1]] == list(MUTATIONS)
    assert all(row["wrong"] == row["other exceptions"] == 0 for row in results["damage"])
    assert all(row["Z-spans"] == sum(row[name] for name in OUTCOMES) for row in results["damage"])
    by_name = {row["mutation"]: row for row in results["damage"]}
    assert by_name["white space inserted"]["right"] == 10


def test_outcomes_are_told_apart(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    span = codec.compress(TEXTS[0]).documents
    known: dict[ZSpan, str | None] = {}

    assert outcome(codec, span, TEXTS[0], known) == outcome(codec, f"{span[:9]} {span[9:]}", TEXTS[0], known) == "right"
    assert list(known.values()) == [TEXTS[0]]  # restored only once
    assert outcome(codec, span, TEXTS[1], known) == "wrong"
    assert outcome(codec, span[:-4] + "000]", TEXTS[0], {}) == "refused"
    assert outcome(codec, span[1:], TEXTS[0], {}) == "read as text"
    resealed = {outcome(codec, exactness.reseal(span, random.Random(seed)), TEXTS[0], {}) for seed in range(20)}
    assert resealed == {"refused", "refused when restored"}
    monkeypatch.setattr(codec, "parse", None)
    assert outcome(codec, span, TEXTS[0], {}) == "other exceptions"


def test_sentences_are_cut_at_tokens(codec: Codec) -> None:
    sentences = token_sentences(codec, TEXTS[1])

    assert [codec.backbone.decode(ids).strip() for _, ids in sentences] == [
        "The dog sleeps on in the sun.",
        "The quick brown fox jumps over Lake Constance.",
    ]
    assert sentences[1][0] == len(sentences[0][1])


def test_a_refused_span_does_not_end_the_run(codec: Codec) -> None:
    spans = codec.compress(TEXTS).documents

    assert restore_texts(codec, [spans[0][:-8] + "0000000]", spans[1]]) == [None, TEXTS[1]]


# What a ratio costs, and what the codec does without.


def test_a_ratio_costs_what_the_stats_say(codec: Codec) -> None:
    usual, low, high = rate_distortion.measure(codec, PASSAGES, (1, 3), seed=0)["ratios"]

    for row, ratio in ((usual, None), (low, 1), (high, 3)):
        stats = codec.compress(TEXTS, ratio=ratio).stats
        assert row["identical"] == 1
        assert row["ratio"].value == pytest.approx(stats.ratio)
        assert row["bits per Z-token"].value == pytest.approx(stats.bits_per_z_token)
        assert row["bits per token"].value == pytest.approx(stats.bits_per_source_token)
        streams = row["anchors and gaps"] + row["residual"]
        assert (
            0 <= stats.bits_per_source_token - streams < 2 * 8 * 3 / stats.source_tokens
        )  # rounding up to whole bytes
    assert low["residual"] == 0


def test_codes_that_do_not_pay_are_not_written(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = make_heads(codec.backbone)
    monkeypatch.setattr(ablation, "find_codec", lambda name: Path(name))
    monkeypatch.setattr(ablation, "read_config", lambda folder: None)
    monkeypatch.setattr(ablation, "load_heads", lambda *_: heads)
    results = ablation.measure(codec, PASSAGES, (3,))

    without, always, by_choice = results["codes"]
    assert (without["codec"], without["sub-codes"], without["saved per spent"]) == ("no codes", 0, None)
    assert always["sub-codes"] > by_choice["sub-codes"] and always["saved per spent"] < 1
    assert without["bits per token"] >= by_choice["bits per token"]
    assert not results["skipped"]


def test_without_heads_codes_are_skipped_with_a_reason(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    results = ablation.measure(codec, PASSAGES, (3,))  # the shipped heads were made on other weights
    assert [row["codec"] for row in results["codes"]] == ["no codes"] and results["skipped"]
    monkeypatch.setattr(ablation, "find_codec", lambda name: None)
    text = "\n".join(ablation.section(ablation.measure(codec, PASSAGES, (3,))))
    assert "skipped: the codec 'learned-codes' is not installed." in text


def test_anchors_as_ranks_are_compared_with_anchors_as_ids(codec: Codec) -> None:
    [row] = ablation.measure(codec, PASSAGES, (3,))["anchors"]
    spans = [codec.parse(span) for span in codec.compress(TEXTS, ratio=3).documents]
    all_bits = [bits for span in spans for costs in measure_bits(span.tokens, span.symbols) for bits in costs]

    assert row["anchors"] == sum(len(span.tokens) for span in spans)
    tokens = sum(span.source_tokens for span in spans)
    assert row["all, per token"] == pytest.approx(sum(all_bits) / tokens)
    assert row["saved, per token"] == pytest.approx(row["all, per token"] - row["with ranks, per token"])
    gaps = sum(sum(ablation._gap_bits(span.tokens, len(span.symbols))) for span in spans)
    assert 0 < gaps < row["all, per token"] * tokens - row["anchors"] * row["an anchor's id"] + 1e-6


# Speed.


def test_speed_is_that_of_the_same_texts(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "cache", None)  # each round runs the LLM, as in a benchmark
    rows = list(speed._compression(codec, "two", TEXTS, rounds=2))

    assert [row["way"] for row in rows] == [*speed.OPTIONS, speed.FORWARD, speed.HEAD]
    assert len({row["tokens"] for row in rows}) == 1
    assert rows[len(speed.OPTIONS)]["of a forward pass"] == Range(1, 1, 1)
    assert all((row["outside the LLM"] is None) == (row["way"] not in speed.OPTIONS) for row in rows)
    assert all(0 < row["outside the LLM"].value < 1 for row in rows[: len(speed.OPTIONS)])
    short = speed._short_text(codec, TEXTS[0], rounds=2)
    assert short["forward passes"].low <= short["forward passes"].value <= short["forward passes"].high


# The run.


def test_a_run_leaves_json_tables_and_a_plot(codec: Codec, corpus: Corpus, plan: Plan, tmp_path: Path) -> None:
    results = dict(run(codec, corpus, plan, ["exactness", "rate_distortion", "ablation"]))

    text = save(tmp_path, RunRecord.take(plan.seed, 0.0), codec, corpus, plan, results)

    written = json.loads((tmp_path / "codec.json").read_text("utf-8"))
    assert list(written["results"]) == ["exactness", "rate_distortion", "ablation"]
    assert written["run"]["seed"] == plan.seed
    assert (tmp_path / "codec.md").read_text("utf-8") == text
    assert (tmp_path / "codec-rate-distortion.png").stat().st_size > 1000
    assert set(script.SECTIONS) == {*results, "speed"}


def test_hard_texts_are_of_every_kind() -> None:
    domains = {document.domain for document in hard_documents("[z2:0:0::0]", QUICK.hard_characters)}

    assert domains >= {"code", "logs", "JSON", "dialogue", "tables", "urls", "emoji", "cjk", "arabic", "combining"}
    assert domains >= {"control", "white space", "tiny", "zspans", "bytes"}


def test_without_wikipedia_the_run_says_so(codec: Codec) -> None:
    corpus = gather(codec, None, QUICK)

    assert corpus.note.startswith("no Wikipedia file")
    assert {document.domain for document in corpus.passages} == {"prose"}


def test_a_passage_is_whole_paragraphs() -> None:
    paragraphs = ["one two", "three four", "five six seven"]

    assert first_paragraphs(paragraphs, 5, lambda text: len(text.split())) == "one two\n\nthree four"
    assert first_paragraphs(paragraphs, 1, lambda text: len(text.split())) == "one two"


def test_figures_have_their_intervals() -> None:
    row = {"a": Estimate(2, 1, 3, 0.5, 4), "b": Range(2, 1, 3), "c": None, "d": 0.5}

    lines = list(figures([row], {"a": ".1f", "b": ".0f", "c": ".1f", "d": ".0%"}))

    assert lines[-1] == "| **2.0** [1.0, 3.0], 0.5 | **2** [1, 3] | – | 50% |"


def test_the_same_seed_draws_the_same_items() -> None:
    assert draw(range(100), 5, seed=3) == draw(range(100), 5, seed=3) == sorted(draw(range(100), 5, seed=3))


def test_json_has_no_infinities(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("inf"), "b": (1 / 3, Interval(0.0, 1.0))})

    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [0.333333, {"low": 0.0, "high": 1.0}]}
