"""Rows of public datasets become questions; the real `datasets` library reads them from a folder."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from zprompt.errors import TrainingDataError
from zprompt.eval.datasets import first_paragraphs, normalise_row, read_questions, read_rows, text_of
from zprompt.eval.tasks import make_tasks

ROWS: dict[str, dict[str, Any]] = {
    "squad": {
        "id": "7",
        "title": "Tea",
        "context": "Ada lit it.",
        "question": "Who?",
        "answers": {"text": ["Ada"], "answer_start": [0]},
    },
    "longbench": {"input": "Who?", "context": "Ada lit it.", "answers": ["Ada"], "length": 3, "_id": "7"},
    "hotpotqa": {
        "id": "7",
        "question": "Who?",
        "answer": "Ada",
        "context": {"title": ["Sea", "Tea"], "sentences": [["It is wet."], ["Ada lit it.", " It shone."]]},
        "supporting_facts": {"title": ["Tea"], "sent_id": [0]},
    },
    "musique": {
        "id": "7",
        "question": "Who?",
        "answer": "Ada",
        "answer_aliases": ["Ada L."],
        "answerable": True,
        "paragraphs": [
            {"idx": 0, "title": "Sea", "paragraph_text": "It is wet.", "is_supporting": False},
            {"idx": 1, "title": "Tea", "paragraph_text": "Ada lit it.", "is_supporting": True},
        ],
    },
    "narrativeqa": {
        "document": {"id": "d", "summary": {"title": "Tea", "text": "Ada lit it."}, "text": "Once upon a time."},
        "question": {"text": "Who?", "tokens": ["Who", "?"]},
        "answers": [{"text": "Ada", "tokens": ["Ada"]}, {"text": "She did", "tokens": ["She", "did"]}],
    },
    "quality": {"article": "Ada lit it.", "question": "Who?", "options": ["Bo", "Ada"], "answer": 1, "hard": True},
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_hub_becomes_a_question(name: str, tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_list([ROWS[name]] * 2)
    dataset.to_parquet(tmp_path / "validation.parquet")
    rows = read_rows(f"{tmp_path}:validation")
    assert rows.source == f"Hugging Face dataset {tmp_path}:validation (2 rows)"

    (task,) = make_tasks(("qa",), (f"{tmp_path}:validation",), limit=1, characters=10, seed=0)
    (sample,) = task.samples
    assert sample.texts[0].startswith("Ada lit it.") and len(sample.texts) == 1  # the gold passage
    assert (sample.query or "").startswith("Who?") and sample.answers[0] == "Ada"
    assert sample.titles == (("" if name in ("longbench", "quality") else "Tea"),)
    if name == "quality":
        assert sample.query == "Who? Options: Bo; Ada."


def test_original_files_are_read_too() -> None:
    article = {"article": "Ada lit it.", "article_id": "a", "title": "Tea"}
    questions = [{"question": "Who?", "options": ["Ada", "Bo"], "gold_label": label} for label in (1, 2)]
    rows = list(normalise_row({**article, "questions": questions}))
    assert [(row["id"], row["answers"]) for row in rows] == [("a-0", ["Ada"]), ("a-1", ["Bo"])]

    passages = {"context": [["Tea", ["Ada lit it."]], ["Sea", ["Wet."]]], "supporting_facts": [["Tea", 0]], "_id": "7"}
    (row,) = normalise_row({"question": "Who?", "answer": "Ada", **passages})
    assert row["id"] == "7" and [passage["gold"] for passage in row["passages"]] == [True, False]


def test_questions_without_an_answer_are_left_out_and_other_rows_stay() -> None:
    assert not list(normalise_row({**ROWS["squad"], "answers": {"text": [], "answer_start": []}}))
    assert not list(normalise_row({**ROWS["musique"], "answerable": False}))
    other = {"text": "Ada lit it."}
    assert list(normalise_row(other)) == [other]


def test_a_row_of_another_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"question": "Who?", "document": {}, "answers": []}', "utf-8")
    with pytest.raises(TrainingDataError, match="not its form: KeyError"):
        read_rows(str(file))


def test_a_row_without_a_text_is_refused() -> None:
    with pytest.raises(TrainingDataError, match="has no text"):
        text_of({"a": 1})


def test_texts_are_cut_after_paragraphs() -> None:
    assert first_paragraphs("One two.\n\nThree four five.", 20) == "One two.\n\nThree four"
    assert first_paragraphs("One two, three.\n\nFour.", 20) == "One two, three."
    assert first_paragraphs("short", 20) == "short"


def test_questions_keep_their_gold_passages(tmp_path: Path) -> None:
    passages = [{"title": "A", "text": "a", "gold": False}, {"title": "B", "text": "b", "gold": True}]
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "q", "answers": ["x"], "passages": passages}))
    [question] = read_questions([str(path)])
    assert [passage.title for passage in question.passages] == ["B"]


def test_a_single_answer_may_be_a_string(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "q", "answers": "ab", "passages": [{"text": "a"}]}\n')
    assert [question.answers for question in read_questions([str(path)])] == [("ab",)]


ROWS_WITHOUT_A_QUESTION = [
    "{",
    "7",
    '{"question": "q"}',
    '{"question": "q", "answers": [], "passages": []}',
    '{"question": "q", "answers": ["a"], "passages": ["p"]}',
    '{"question": "q", "answers": ["a"], "passages": [{"text": null}]}',
    '{"question": null, "answers": ["a"], "passages": [{"text": "p"}]}',
    '{"question": "q", "answers": [null], "passages": [{"text": "p"}]}',
    '{"question": "q", "answers": ["a"], "passages": [{"text": "\\ud800"}]}',
]


@pytest.mark.parametrize("row", ROWS_WITHOUT_A_QUESTION)
def test_a_row_that_is_no_question_is_named(row: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(row)
    with pytest.raises(TrainingDataError, match=r"q\.jsonl, line 1 is not a question"):
        read_questions([str(tmp_path / "q.jsonl")])
    with pytest.raises(TrainingDataError, match="cannot be read"):
        read_questions([str(tmp_path / "missing.jsonl")])
