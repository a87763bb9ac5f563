"""The benchmark of the reader, on tiny readers with random weights."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import prefill
from benchmarks.answers import ALL, COMPRESSED, CONDITIONS, compare, measure
from benchmarks.common import Tables, draw_questions, joined_prose
from benchmarks.prefill import PrefillPlan
from benchmarks.reader import QUICK, Plan, run, save
from benchmarks.readers import INPUTS, compress_passages, find_readers, load_found
from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES
from tests.reader.conftest import write_random_reader
from zprompt.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.eval import RunRecord
from zprompt.llm import Backbone

PASSAGES = [" ".join((*SENTENCES[start:], *SENTENCES[:start])[:3]) for start in range(6)]


def write_tiny_reader(folder: Path, codec: Codec, kind: str, **changes: object) -> None:
    path = write_random_reader(folder, codec) / "config.json"
    values = json.loads(path.read_text("utf-8"))
    values["training"] = {"input": kind, "steps": 7, "seed": 3, "data": ["tiny"]}
    path.write_text(json.dumps(values | changes), "utf-8")


@pytest.fixture(scope="module")
def codec(chat_backbone: Backbone) -> Codec:
    return Codec(chat_backbone, SETTINGS, name="no such reader")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory, codec: Codec) -> Path:
    """Write readers of all kinds but truncated and ltsc; return their folder."""
    folder = tmp_path_factory.mktemp("readers")
    for kind in INPUTS[:-2]:
        write_tiny_reader(folder / kind, codec, kind)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("data")
    for name, passages in (("one-dev", PASSAGES[:4]), ("two-dev", PASSAGES[4:])):
        rows = [
            {
                "question": f"Who sleeps, {number}?",
                "answers": ["the dog"],
                "passages": [
                    {"title": "T", "text": text, "gold": True},
                    {"title": "U", "text": "Nothing of it.", "gold": False},
                ],
            }
            for number, text in enumerate(passages)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def plan() -> Plan:
    return replace(QUICK, questions=3, prefill=PrefillPlan((100, 2000), passage=60, rounds=2))


@pytest.fixture(scope="module")
def answers(
    codec: Codec, readers: Path, files: list[Path], plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> Tables:
    cache = tmp_path_factory.mktemp("cache")
    *_, last = measure(codec, find_readers(readers, codec), draw_questions(files, plan.questions), cache)
    return last


def test_every_condition_is_measured_or_listed_with_a_reason(answers: Tables) -> None:
    measured = {row["condition"] for row in answers["conditions"]}
    missing = {row["condition"]: row["reason"] for row in answers["missing"]}

    assert measured | missing.keys() == {condition.name for condition in CONDITIONS}
    assert missing.keys() == {"truncation, ratio 4", "truncation, ratio 8", "LTSC", "plain text, LTSC's reader"}
    assert all("truncated" in reason or "ltsc" in reason for reason in missing.values())


def test_all_conditions_are_asked_the_same_questions(answers: Tables) -> None:
    assert [question["data set"] for question in answers["questions"]] == ["one"] * 3 + ["two"] * 2
    for row in answers["conditions"]:
        assert len(row["answers"]) == len(row["f1s"]) == len(row["exact matches"]) == 5
        assert {name: score["questions"] for name, score in row["scores"].items()} == {ALL: 5, "one": 3, "two": 2}
        overall = row["scores"][ALL]["F1"]
        assert overall.value == pytest.approx(sum(row["f1s"]) / 5)
        assert overall.low <= overall.value <= overall.high


def test_other_conditions_have_the_positions_of_z_tokens(answers: Tables) -> None:
    positions = {row["condition"]: row["scores"][ALL]["positions"] for row in answers["conditions"]}

    assert positions["pruning, ratio 4"] == positions["Z, ratio 4"]
    assert positions["Z, ratio 4"] < positions["Z, ratio 2"] < positions["plain text"]
    assert positions["no passage"] == positions["no passage, Z's reader"] == 0
    assert positions["plain text, Z's reader"] == positions["plain text"]
    assert positions["truncation, ratio 4, Z's reader"] == positions["Z, ratio 4"]
    by_sentences = positions["sentences by the question, ratio 2, Z's reader"]
    assert by_sentences == pytest.approx(positions["Z, ratio 2, with the question"], rel=0.5)
    for row in answers["conditions"]:
        ratios = [row["scores"][name]["ratio"] for name in ("one", "two") if row["scores"][name]["ratio"]]
        assert row["worst ratio"] == min(ratios, default=None)


def test_readers_are_described(answers: Tables) -> None:
    by_input = {reader["input"]: reader for reader in answers["readers"]}

    assert [by_input["z"][name] for name in ("steps", "seed", "training")] == [7, 3, {"data": ["tiny"]}]
    assert by_input["truncated"]["problem"]


def test_z_tokens_are_compared_with_text_and_with_the_same_ratio(answers: Tables) -> None:
    pairs = {(row["z"], row["other"], row["figure"]) for row in answers["comparisons"]}

    assert ("Z, ratio 4", "plain text", "ratio") in pairs and ("Z, usual ratio", "plain text", "ratio") in pairs
    assert ("Z, ratio 4", "pruning, ratio 4", "difference") in pairs
    assert ("Z, ratio 2", "truncation, ratio 2, Z's reader", "difference") in pairs
    assert ("Z, ratio 4, with the question", "plain text, Z's reader", "ratio") in pairs
    with_question = {
        other for z, other, figure in pairs if z == "Z, ratio 4, with the question" and figure == "difference"
    }
    assert with_question == {"sentences by the question, ratio 4, Z's reader"}
    assert not any(other in ("no passage", "pruning, ratio 8") for z, other, _ in pairs if z == "Z, ratio 4")


def test_comparisons_are_paired_and_judged() -> None:
    scores = {
        "plain text": (1.0, 1.0, 0.5, 1.0, 0.5),
        "Z, ratio 4": (1.0, 1.0, 0.5, 0.5, 0.5),
        "pruning, ratio 4": (0.5, 0.5, 0.0, 0.0, 0.0),
        "truncation, ratio 4, Z's reader": (0.0, 1.0, 0.5, 0.5, 1.0),
    }
    results = [{"condition": name, "f1s": f1s} for name, f1s in scores.items()]
    by_other = {row["other"]: row for row in compare(results, ["one"] * 3 + ["two"] * 2, seed=0)}

    text, pruning, truncation = (by_other[name] for name in scores if name in by_other)
    assert text["scores"][ALL].value == pytest.approx(3.5 / 4) and text["reached"]
    assert text["scores"]["two"].value == pytest.approx(1 / 1.5)
    constant = pruning["scores"][ALL]  # the difference is the same in every question
    assert (constant.value, constant.low, constant.high) == pytest.approx((0.5, 0.5, 0.5))
    assert pruning["reached"] and not truncation["reached"]
    assert truncation["scores"][ALL].value == pytest.approx(0.1)


def test_the_ratio_to_zero_is_not_a_number() -> None:
    results = [{"condition": name, "f1s": [0.0] * 5} for name in ("plain text", "Z, ratio 4")]
    [ratio] = compare(results, ["one"] * 5, seed=0)

    assert math.isnan(ratio["scores"][ALL].value) and not ratio["reached"]


def test_passages_are_compressed_once(
    codec: Codec, files: list[Path], plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = draw_questions(files, plan.questions)
    first = compress_passages(questions, COMPRESSED, codec, tmp_path)
    monkeypatch.setattr(codec, "compress", None)
    again = compress_passages(questions, COMPRESSED, codec, tmp_path)

    assert [question.spans for question in first] == [question.spans for question in again]
    assert all(set(question.spans) == set(COMPRESSED) for question in first)


def test_readers_that_do_not_fit_are_not_measured(codec: Codec, tmp_path: Path) -> None:
    write_tiny_reader(tmp_path / "text", codec, "z")
    write_tiny_reader(tmp_path / "z", codec, "z", backbone_fingerprint="0" * 16)
    write_tiny_reader(tmp_path / "pruned", codec, "pruned")
    (tmp_path / "pruned" / "config.json").write_text("{", "utf-8")
    found_readers = find_readers(tmp_path, codec)

    assert "trained on 'z'" in str(found_readers["text"].problem)
    assert "other weights" in str(found_readers["z"].problem)
    assert "not a reader config" in str(found_readers["pruned"].problem)
    with pytest.raises(CheckpointError, match="'text' cannot be loaded"):
        load_found(found_readers["text"], codec)


def test_readers_can_be_left_out(readers: Path, codec: Codec) -> None:
    found_readers = find_readers(readers, codec, ["text"])
    assert found_readers["text"].problem is None
    assert "--inputs" in str(found_readers["z"].problem)


def test_without_a_folder_only_shipped_readers_are_found(codec: Codec) -> None:
    found_readers = find_readers(None, codec)

    assert "No reader 'no such reader'" in str(found_readers["z"].problem)  # the codec has no reader of its name
    assert all("--readers" in str(found_readers[kind].problem) for kind in INPUTS if kind not in ("z", "ltsc"))


@pytest.fixture(scope="module")
def timings(codec: Codec, readers: Path, plan: Plan) -> Tables:
    *_, last = prefill.measure(codec, find_readers(readers, codec)["z"], joined_prose(None), plan.prefill)
    return last


def test_prefill_is_timed_for_text_and_z_tokens(timings: Tables, codec: Codec) -> None:
    assert timings["run"][0]["cache dtype"] == "float32"
    assert timings["run"][0]["reader"].endswith("z")
    for tokens in {row["wanted tokens"] for row in timings["ways"]}:
        text, *others = [row for row in timings["ways"] if row["wanted tokens"] == tokens]
        assert (text["passages as"], text["Z-tokens"], text["speed-up"].value, text["ratio"]) == ("text", 0, 1.0, 1.0)
        assert [way["passages as"] for way in others] == ["Z, usual ratio", "Z, ratio 8"]
        for way in others:
            assert 0 < way["Z-tokens"] < way["positions"] < text["positions"]
            assert way["ratio"] == text["positions"] / way["positions"]
            assert way["speed-up with it"].value < way["speed-up"].value
            assert way["/ ratio"] == pytest.approx(way["speed-up"].value / way["ratio"])
            assert way["seconds"].low <= way["seconds"].value <= way["seconds"].high and way["compression"].low > 0
            assert way["cache, bytes"] <= text["cache, bytes"]


def test_the_cache_size_is_that_of_its_tensors(timings: Tables) -> None:
    text = timings["ways"][0]
    room = -(-text["positions"] // 64) * 64

    assert text["cache, bytes"] == 2 * 2 * 2 * 16 * room * 4  # layers, keys and values, heads, width of a head, fp32


def test_passages_are_shortened_to_what_fits(timings: Tables) -> None:
    short, *_, long = timings["ways"]

    assert abs(short["source tokens"] - short["wanted tokens"]) <= short["of passages"]
    assert long["source tokens"] < long["wanted tokens"]
    assert max(row["positions"] for row in timings["ways"]) <= 1023


def test_timing_may_use_an_untrained_reader_and_says_so(codec: Codec, plan: Plan) -> None:
    short = replace(plan.prefill, tokens=(60,))
    [result] = prefill.measure(codec, find_readers(None, codec)["z"], joined_prose(None), short)

    assert result["run"][0]["reader"] == "untrained"


def test_a_run_leaves_json_and_tables_after_each_condition(
    codec: Codec, readers: Path, files: list[Path], plan: Plan, tmp_path: Path
) -> None:
    plan = replace(plan, questions=1, prefill=replace(plan.prefill, tokens=(60,)))
    found_readers = find_readers(readers, codec)
    steps = run(codec, found_readers, files, tmp_path / "cache", plan, ("answers", "prefill"))
    record = RunRecord.take(plan.seed, 0.0)
    counts = []
    for results in steps:
        text = save(tmp_path, record, codec, "tiny data", plan, dict(results))
        written = json.loads((tmp_path / "reader.json").read_text("utf-8"))
        counts.append(len(written["results"]["answers"]["conditions"]))

    assert counts[0] == 1 and counts[-1] == len(CONDITIONS) - 4
    assert list(written["results"]) == ["answers", "prefill"]
    assert written["results"]["answers"]["readers"][1]["seed"] == 3
    assert (tmp_path / "reader.md").read_text("utf-8") == text
    for words in (
        "Not measured:",
        "- truncation, ratio 4: no reader in",
        "first",
    ):
        assert words in text
