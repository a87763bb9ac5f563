"""Questions with passages that answer them, from JSONL files.

{"question": str, "answers": [str], "passages": [{"title": str, "text": str, "gold": bool}]}
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zprompt.errors import TrainingDataError


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage to read."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, all answers that count as right, and the passages that hold them."""

    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]


def read_questions(paths: Sequence[str]) -> list[Question]:
    """Read questions with their gold passages.

    :param paths: JSONL files.
    :return: The questions, in the order of the files.
    :raises TrainingDataError: If a file cannot be read, or a row has another form.
    """
    return [question for path in paths for question in _read_file(Path(path))]


def _read_file(path: Path) -> Iterator[Question]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} cannot be read: {error}. Give a JSONL file of questions.") from error
    for number, line in enumerate(lines, 1):
        try:
            yield question_of(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingDataError(
                f"{path}, line {number} is no question: {error!r}. It needs question, answers and passages of text."
            ) from error


def question_of(row: dict[str, Any]) -> Question:
    """Take the gold passages of a row, or all if none is marked.

    :param row: A row of a file.
    :return: The question.
    :raises ValueError: If it has no answers or no passages; also KeyError and TypeError if it has another form.
    """
    gold = [passage for passage in row["passages"] if passage.get("gold")] or row["passages"]
    passages = tuple(Passage(str(passage.get("title", "")), str(passage["text"])) for passage in gold)
    answers = tuple(str(answer) for answer in row["answers"])
    if not answers or not passages:
        raise ValueError("no answers or no passages")
    return Question(str(row["question"]), answers, passages)
