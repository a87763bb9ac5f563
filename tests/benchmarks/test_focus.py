"""The benchmarks of focusing, on a few made-up questions and a tiny reader."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("bm25s")

from benchmarks import answer_recall
from benchmarks.common import Asked, Documents
from benchmarks.focus import WHOLE, Shortener, auroc, by_reader, measure_answers, measure_confidence, read, report
from zprompt.eval import RunRecord
from zprompt.reader import Reader
from zprompt.relevance import Relevance

RECORD = RunRecord("python -m benchmarks.focus", "abc", 0, "2026-01-01T00:00:00Z", 1.0, "a CPU", 2, 2, 8.0, 5.0, {})
PASSAGES = [
    {"title": "Moon", "text": "The dog sleeps on. In 1969 two people walked on the Moon. It was July.", "gold": True},
    {"title": "", "text": "Rivers carry sand to the sea. The mud becomes stone again.", "gold": False},
]
ASKED = Asked("nq", "When did people walk on the Moon?", ["1969"], PASSAGES)


def test_gold_passages_are_told_from_the_others() -> None:
    assert (ASKED.gold, ASKED.others) == (PASSAGES[:1], PASSAGES[1:])


def test_each_set_of_a_file_gives_equally_many_questions(tmp_path: Path) -> None:
    rows = [
        {"set": name, "question": f"{n}?", "answers": ["1969"], "passages": PASSAGES} for name in "ab" for n in "12345"
    ]
    rows.append({"set": "a", "question": "unanswered?", "answers": ["1970"], "passages": PASSAGES})
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [question.set for question in read([path], 6, 0)] == ["a", "b"] * 3


@pytest.mark.parametrize("way", ["f-text", "f-z", "truncation", "pruning"])
def test_every_way_makes_the_passages_shorter(tiny_reader: Reader, way: str) -> None:
    short = Shortener(tiny_reader).shorten(way, 3, ASKED, PASSAGES)
    before, after = (
        sum(tiny_reader.count(passage["text"]).positions for passage in passages) for passages in (PASSAGES, short)
    )
    assert after < before
    assert [passage["title"] for passage in short] == ["Moon", ""]


def test_slow_ways_are_compared_on_their_own_questions(tiny_reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.focus.find_spec", lambda name: None)  # the peer has no model here
    answerers = {"": by_reader(tiny_reader), WHOLE: by_reader(tiny_reader, max_passage_tokens=None)}
    rows = {row["passages as"]: row for row in measure_answers(tiny_reader, [ASKED] * 3, 2, answerers, ratios=(3, 4))}
    assert [rows[name]["questions"] for name in ("all", "gold", "f-z 3", "truncation 4", "pruning 4")] == [
        3,
        3,
        3,
        3,
        2,
    ]
    assert rows["f-text 3"]["F1 of f-text - F1"].value == 0 and rows["all"]["F1 of f-text - F1"] is None
    assert {f"{name}{WHOLE}" for name in rows if WHOLE not in name} == {name for name in rows if WHOLE in name}
    assert "pruning 4" in report(RECORD, "tiny", {"answers": list(rows.values())})


def test_only_the_given_ways_are_measured(tiny_reader: Reader) -> None:
    def answer(asked: Sequence[Asked], passages: Sequence[Documents]) -> list[str]:
        return ["1969"] * len(asked)

    rows = list(measure_answers(tiny_reader, [ASKED] * 2, 0, {", by llm": answer}, ["f-text", "truncation"], [3]))
    assert [row["passages as"] for row in rows] == [
        f"{way}, by llm" for way in ("all", "gold", "f-text 3", "truncation 3")
    ]
    assert all(row["F1"].value == 1 for row in rows)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    assert auroc([0.9, 0.8], [0.1, 0.2]).value == 1
    assert auroc([0.5, 0.1], [0.5, 0.1]).value == 0.5


def test_confidence_is_reported(tiny_reader: Reader) -> None:
    row = measure_confidence(tiny_reader, [ASKED, ASKED])
    assert "AUROC" in report(RECORD, "tiny", {"confidence": row})
    assert row["found with an answer"] in (0, 1)


def test_recall_counts_answers_that_stay_word_for_word() -> None:
    row = answer_recall.measure("nq", [ASKED], Relevance.from_pretrained(embedder=None), 3.0)
    assert row["recall"].value == 1
    assert 0.2 < row["kept"] < 0.7
