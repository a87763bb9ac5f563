"""Rows of text and questions: from local files, from Hugging Face datasets, or shipped with the package.

    {"question": str, "answers": [str], "passages": [{"title": str, "text": str, "gold": bool}]}

is a question in our form. Rows of public datasets are converted to it:

    SQuAD           question, context, answers.text
    LongBench       input, context, answers
    HotpotQA        question, answer, context of titles and sentences, supporting_facts
    MuSiQue         question, answer, answer_aliases, paragraphs of title, paragraph_text, is_supporting
    NarrativeQA     question.text, answers of text, document.summary: the whole story is too long for small readers
    QuALITY         article, and a question with options, or several as in the original files

The fields are those of the datasets on the Hugging Face hub. A question of QuALITY is asked with its options, and the
text of the right one is the answer. Questions without an answer (SQuAD 2, MuSiQue-Full) are left out.
Passages that are not gold are distractors, as a retriever might return them.

Shipped rows are few and were written for this purpose: they show how a method behaves, and are no public benchmark.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from zprompt.errors import InvalidTextError, MissingDependencyError, TrainingDataError
from zprompt.json_lines import LINES_SUFFIXES, numbered_lines
from zprompt.relevance import Passage
from zprompt.zspan import require_no_surrogates

Row: TypeAlias = dict[str, Any]
Item = TypeVar("Item")

TEXT_FIELDS = ("text", "content", "page_content", "article", "document", "context")


# Questions.


@dataclass(frozen=True, slots=True)
class Question:
    """A question, all answers that count as right, and the passages that hold them."""

    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]


def read_questions(paths: Sequence[str]) -> list[Question]:
    """Read questions in our form with their gold passages from JSONL files, in the order of the files.

    :param paths: The files.
    :return: The questions.
    :raises TrainingDataError: If a file cannot be read, or a row has another form.
    """
    return [question for path in paths for question in _read_question_file(Path(path))]


def _read_question_file(path: Path) -> Iterator[Question]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} cannot be read: {error}. Pass a JSONL file of questions.") from error
    for number, line in numbered_lines(text):
        try:
            yield question_of(json.loads(line))
        except (ValueError, KeyError, TypeError, InvalidTextError) as error:
            raise TrainingDataError(
                f"{path}, line {number} is not a question: {error!r}. It needs question, answers and passages of text."
            ) from error


def question_of(row: Row, *, gold_only: bool = True) -> Question:
    """Read a question in our form.

    :param row: A row of a file.
    :param gold_only: Leave out passages that are not marked as gold, unless none is.
    :return: The question.
    :raises ValueError: If it has no answers or no passages; KeyError or TypeError if it has another form.
    """
    if not all(isinstance(passage, dict) for passage in row["passages"]):
        raise TypeError("its passages are no objects with a text")
    gold = [passage for passage in row["passages"] if passage.get("gold") or not gold_only] or row["passages"]
    passages = tuple(
        Passage(_require_text(passage["text"], "a text"), _require_text(passage.get("title") or "", "a title"))
        for passage in gold
    )
    answers = [row["answers"]] if isinstance(row["answers"], str) else row["answers"]
    if not answers or not passages:
        raise ValueError("no answers or no passages")
    checked = tuple(_require_text(answer, "an answer") for answer in answers)
    return Question(_require_text(row["question"], "the question"), checked, passages)


def _require_text(value: object, name: str) -> str:
    """Return a text, or a number as one; raise TypeError or an error about its characters for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{name} is {value!r}, not a text")
    text = str(value)
    require_no_surrogates(text)
    return text


# Reading rows.


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows and where they come from."""

    source: str  # as reports name it
    rows: tuple[Row, ...]


def shipped_rows(name: str) -> Rows:
    """Read the rows of zprompt/eval/texts/<name>.jsonl."""
    text = resources.files("zprompt.eval").joinpath("texts", f"{name}.jsonl").read_text("utf-8")
    rows = tuple(json.loads(line) for _, line in numbered_lines(text))
    return Rows(f"shipped with zprompt ({name}, {len(rows)} rows)", rows)


def read_rows(source: str) -> Rows:
    """Read rows from a file or a dataset.

    :param source: A file of JSON lines, a text file, which is one row, or a Hugging Face dataset as NAME@CONFIG:SPLIT.
    :return: The rows, questions in our form.
    :raises TrainingDataError: If there is no such source, or it cannot be read.
    """
    path = Path(source)
    if not path.is_file():
        return _normalised(f"Hugging Face dataset {source}", open_dataset(source, "test"), source)
    try:
        text = path.read_text("utf-8")
        rows = list(_json_rows(text)) if path.suffix in LINES_SUFFIXES else [{"text": text, "title": path.name}]
    except (UnicodeDecodeError, ValueError) as error:
        raise TrainingDataError(f"{path} cannot be read: {error}. Pass JSON lines, or UTF-8 text.") from error
    return _normalised(f"file {path.name}", rows, source)


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in numbered_lines(text):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        yield row


def open_dataset(source: str, split: str) -> Iterable[Row]:
    """Load a dataset from the Hugging Face hub, or from its cache.

    :param source: NAME@CONFIG:SPLIT; @CONFIG and :SPLIT are optional.
    :param split: The split to take if the source names none.
    :return: Its rows.
    :raises MissingDependencyError: If `datasets` is not installed.
    :raises TrainingDataError: If there is no such dataset, or it cannot be loaded.
    """
    name, _, named_split = source.partition(":")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingDependencyError(
            f"No file {source}, and datasets need zprompt[train]: pip install 'zprompt[train]'."
        ) from error
    try:
        dataset = load_dataset(*name.split("@"), split=named_split or split)
    except Exception as error:  # its builders may raise anything
        raise TrainingDataError(
            f"{source} is not a file, and no dataset can be loaded: {type(error).__name__}: {error}. Pass a file, or "
            "a dataset as NAME@CONFIG:SPLIT."
        ) from error
    return map(dict, dataset)


def _normalised(name: str, rows: Iterable[Row], source: str) -> Rows:
    try:
        normalised = tuple(question for row in rows for question in normalise_row(row))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise TrainingDataError(
            f"{source} has the fields of a known dataset, but not its form: {error!r}. Write its rows as question, "
            "answers and passages."
        ) from error
    return Rows(f"{name} ({len(normalised):,} rows)", normalised)


# Rows of public datasets.


def normalise_row(row: Row) -> Iterator[Row]:
    """Yield the questions of a public dataset's row in our form, or the row itself if its dataset is not known."""
    return (question for question in _questions(row) if question.get("answers") != [])


def _questions(row: Row) -> Iterator[Row]:
    """Yield questions in our form, with or without answers."""
    fields = row.keys()
    if {"article", "questions"} <= fields and isinstance(row["questions"], Sequence):
        for number, question in enumerate(row["questions"]):
            name = f"{row.get('article_id', '')}-{number}"
            yield _quality_row(row, question["question"], question["options"], question["gold_label"] - 1, name)
    elif {"article", "question", "options", "answer"} <= fields:
        yield _quality_row(row, row["question"], row["options"], row["answer"], row.get("id"))
    elif {"question", "document", "answers"} <= fields and isinstance(row["document"], Mapping):
        summary = row["document"]["summary"]
        passage = _passage(summary.get("title", ""), summary["text"])
        yield _question_row(row, row["question"]["text"], [answer["text"] for answer in row["answers"]], [passage])
    elif {"question", "answer", "paragraphs"} <= fields:
        passages = [_passage(p["title"], p["paragraph_text"], p["is_supporting"]) for p in row["paragraphs"]]
        answers = [row["answer"], *row.get("answer_aliases", ())] if row.get("answerable", True) else []
        yield _question_row(row, row["question"], answers, passages)
    elif {"question", "answer", "context", "supporting_facts"} <= fields:
        passages = _hotpot_passages(row["context"], row["supporting_facts"])
        yield _question_row(row, row["question"], [row["answer"]], passages)
    elif {"question", "context", "answers"} <= fields and isinstance(row["answers"], Mapping):
        passage = _passage(row.get("title", ""), row["context"])
        yield _question_row(row, row["question"], row["answers"]["text"], [passage])
    elif {"input", "context", "answers"} <= fields:
        yield _question_row(row, row["input"], row["answers"], [_passage("", row["context"])])
    else:
        yield row


def _question_row(row: Row, question: str, answers: Sequence[str], passages: list[Row], name: object = None) -> Row:
    id_field = {} if (name := name or row.get("id") or row.get("_id")) is None else {"id": name}
    return {**id_field, "question": question, "answers": list(answers), "passages": passages}


def _passage(title: str, text: str, gold: bool = True) -> Row:
    return {"title": title, "text": text, "gold": gold}


def _quality_row(row: Row, question: str, options: Sequence[str], gold: int, name: object) -> Row:
    prompt = f"{question.strip()} Options: {'; '.join(option.strip() for option in options)}."
    return _question_row(row, prompt, [options[gold].strip()], [_passage(row.get("title", ""), row["article"])], name)


def _hotpot_passages(context: Any, facts: Any) -> list[Row]:  # noqa: ANN401 - columns on the hub, pairs in the original file
    pairs = zip(context["title"], context["sentences"], strict=True) if isinstance(context, Mapping) else context
    gold = set(facts["title"] if isinstance(facts, Mapping) else (title for title, _ in facts))
    return [_passage(title, "".join(sentences).strip(), title in gold) for title, sentences in pairs]


# Texts and samples.


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts to shorten, and what a task needs to score the result."""

    id: str
    group: str  # kind of text; reports show the ratio of each kind
    texts: tuple[str, ...]  # to shorten
    query: str | None = None  # the question, as methods are told it
    titles: tuple[str, ...] = ()  # of the texts; never shortened
    answers: tuple[str, ...] = ()  # all that count as right

    @property
    def all_titles(self) -> tuple[str, ...]:
        """Return a title for each text, empty ones where there are none."""
        return self.titles or ("",) * len(self.texts)


def draw(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Sample `count` items without replacement, in their order; return all if there are no more than that."""
    if count >= len(items):
        return list(items)
    return [items[index] for index in sorted(random.Random(seed).sample(range(len(items)), count))]


def text_of(row: Row) -> str:
    """Return the text of a row, with blank lines between its paragraphs.

    :param row: A row with paragraphs or one of `TEXT_FIELDS`.
    :return: The text.
    :raises TrainingDataError: If it has none.
    """
    if isinstance(paragraphs := row.get("paragraphs"), list):
        return "\n\n".join(map(str, paragraphs))
    for name in TEXT_FIELDS:
        if isinstance(text := row.get(name), str):
            return text
    raise TrainingDataError(
        f"A row has no text: its fields are {', '.join(row)}. It needs text in one of paragraphs, "
        f"{', '.join(TEXT_FIELDS)}."
    )


def first_paragraphs(text: str, characters: int) -> str:
    """Cut a text after a paragraph, or after a line or a word where the first paragraph is too long.

    :param text: The text.
    :param characters: Maximum length of the result.
    :return: The beginning of the text.
    """
    if len(text) <= characters:
        return text
    for mark in ("\n\n", "\n", " "):
        end = text.rfind(mark, 0, characters + len(mark))
        if end > characters // 2:
            return text[:end]
    return text[:characters]
