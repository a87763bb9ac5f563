"""Weights of relevance are trained on questions with sentences that answer them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zprompt.errors import TrainingDataError
from zprompt.relevance import Passage, Relevance
from zprompt.train.relevance import LabelledQuestion, read_labelled, train_relevance

TOWNS = ("Bern", "Oslo", "Rome", "Lima", "Kyiv", "Bonn", "Cork", "Riga", "Graz", "Nice")
FILLER = "Rain falls there. Many ships come. "


def with_answers(town: str, year: int) -> dict[str, Any]:
    text = f"{FILLER}The tower of {town} was built in {year}. Bread is cheap."
    other = {"title": "Bread", "text": f"In {year} bread was dear.", "gold": False}
    return {
        "question": f"When was the tower of {town} built?",
        "answers": [str(year)],
        "passages": [{"title": town, "text": text, "gold": True}, other],
    }


def with_marks(town: str, year: int) -> dict[str, Any]:
    sentences = ["Bears live there.", f"The bridge of {town} fell in {year}.", "It was cold."]
    return {"question": f"When did the bridge of {town} fall?", "sentences": sentences, "answer_sentences": [1]}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Write a file of each form; return the paths."""
    return [
        str(
            write(
                tmp_path / f"{make_row.__name__}.jsonl",
                [make_row(town, 1200 + 31 * index) for index, town in enumerate(TOWNS)],
            )
        )
        for make_row in (with_answers, with_marks)
    ]


class LetterEmbedder:
    """Counts letters."""

    name = "letters"

    def embed_query(self, text: str) -> list[float]:
        return [1.0 + text.count(letter) for letter in "aeiounrst"]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(map(self.embed_query, texts))


def answers(question: LabelledQuestion) -> list[str]:
    """Return the units that answer a question."""
    return [
        labelled.passage.text[start:end].strip()
        for labelled in question.passages
        for (start, end), is_answer in zip(labelled.units, labelled.answers, strict=True)
        if is_answer
    ]


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (with_answers("Bern", 1256), "The tower of Bern was built in 1256."),
        (with_marks("Bern", 1405), "The bridge of Bern fell in 1405."),
        ({**with_marks("Bern", 1405), "title": "Line\u2028break"}, "The bridge of Bern fell in 1405."),
    ],
)
def test_the_units_that_answer_are_marked(tmp_path: Path, row: dict[str, Any], answer: str) -> None:
    (question,) = read_labelled(write(tmp_path / "rows.jsonl", [row]))
    assert answers(question) == [answer] and question.question == row["question"]
    assert len(question.passages) == 1  # the gold one only
    assert question.passages[0].passage.title == row.get("title", row.get("passages", [{}])[0].get("title", ""))


def test_questions_without_an_answer_and_empty_lines_are_left_out(tmp_path: Path) -> None:
    rows = [{**with_answers("Bern", 1256), "answers": ["never"]}, {**with_marks("Oslo", 1300), "answer_sentences": []}]
    path = write(tmp_path / "rows.jsonl", [*rows, with_marks("Rome", 1400)])
    path.write_text(path.read_text("utf-8") + "\n \n", "utf-8")
    assert [question.question for question in read_labelled(path)] == ["When did the bridge of Rome fall?"]


@pytest.mark.parametrize(
    "line", ["{", "[]", "7", '"sentences"', "{}", '{"question": "Who?", "sentences": 3}', '{"question": "Who?"}']
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "rows.jsonl", [with_marks("Bern", 1405)])
    path.write_text(f"{path.read_text('utf-8')}{line}\n", "utf-8")
    with pytest.raises(TrainingDataError, match=r"Line 2 of .*rows\.jsonl is not a question .*'answer_sentences'"):
        list(read_labelled(path))


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(TrainingDataError, match=r"rows\.jsonl cannot be read"):
        list(read_labelled(tmp_path / "rows.jsonl"))


def test_too_few_questions_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [with_marks("Bern", 1405)] * 4)
    with pytest.raises(TrainingDataError, match=r"Only 4 questions have an answer\. Pass at least 5"):
        train_relevance([str(path)], tmp_path / "weights.json", embedder=LetterEmbedder())


@pytest.mark.parametrize("embedder", [LetterEmbedder(), None])
def test_trained_weights_find_answers_to_other_questions(files: list[str], tmp_path: Path, embedder: object) -> None:
    trained = train_relevance(files, tmp_path / "new" / "weights.json", embedder=embedder)
    scorer = Relevance.from_pretrained(trained.path, embedder=embedder)
    texts = [with_answers("Nuuk", 1650)["passages"][0]["text"], "Bears live there. It was cold."]
    first, second = scorer.score("When was the tower of Nuuk built?", [Passage(text) for text in texts])
    assert first.scores.argmax() == 2 and first.relevance > second.relevance
    assert (trained.questions, trained.recall["1/4"]) == (16, 1.0) and 0 < trained.kept <= 1
    training = json.loads(trained.path.read_text())["training"]
    assert training["files"] == ["with_answers.jsonl", "with_marks.jsonl"]
    assert training["embedder"] == (embedder.name if embedder else "words")
    assert training["held_out"]["questions"] == 4


def test_training_twice_gives_the_same_weights(files: list[str], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.json", "two.json")]
    for path in paths:
        train_relevance(files, path, embedder=LetterEmbedder(), seed=3)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_feature_that_never_varied_in_training_is_ignored(files: list[str], tmp_path: Path) -> None:
    trained = train_relevance(files[1:], tmp_path / "weights.json", embedder=LetterEmbedder())
    weights = Relevance.from_pretrained(trained.path, embedder=LetterEmbedder()).weights
    assert weights.weights[weights.names.index("name")] == 0  # no question asks for a name
    assert all(deviation > 0 for deviation in weights.deviation)
    scorer = Relevance.from_pretrained(trained.path, embedder=LetterEmbedder())
    (scored,) = scorer.score("Who fell?", [Passage("It is by Anna. It is cold.", "A title")])
    assert np.isfinite(scored.scores).all()
