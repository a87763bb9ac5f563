"""The texts that tasks work on: rows of a local file, of a Hugging Face dataset by its name, or the shipped ones.

Shipped rows are small and were written for this purpose; they show how a method behaves, and are no public benchmark.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from zprompt.errors import MissingDependencyError, TrainingDataError
from zprompt.eval.forms import Row, in_our_form

TEXT_FIELDS = ("text", "article", "document", "context")
_SPLIT = ":"  # of a dataset's name and its split


@dataclass(frozen=True, slots=True)
class Sample:
    """Something to shorten, and what a task needs to judge what is left of it."""

    id: str
    group: str  # what kind of text: its figures are also given alone
    texts: tuple[str, ...]  # shortened one by one
    query: str | None = None  # what the methods are told will be asked
    titles: tuple[str, ...] = ()  # of the texts; they are not shortened
    answers: tuple[str, ...] = ()  # all that count as right

    @property
    def all_titles(self) -> tuple[str, ...]:
        """Give each text a title.

        :return: One for each text; empty ones where there are none.
        """
        return self.titles or ("",) * len(self.texts)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows, and where they are from."""

    source: str  # what a report says
    rows: tuple[Row, ...]


def shipped(name: str) -> Rows:
    """Read rows that the package has.

    :param name: A file of zprompt/bench/texts, without its ending.
    :return: The rows.
    """
    text = resources.files("zprompt.eval").joinpath("texts", f"{name}.jsonl").read_text("utf-8")
    rows = tuple(json.loads(line) for line in text.splitlines())
    return Rows(f"shipped with zprompt ({name}, {len(rows)} rows)", rows)


def read_rows(source: str) -> Rows:
    """Read rows from where a user says.

    :param source: A file of JSON lines or of text, or a dataset's name, with a split after a colon.
    :return: The rows; a text file is one row.
    :raises TrainingDataError: If there is no such file, or it cannot be read.
    """
    path = Path(source)
    if not path.is_file():
        return _read_dataset(source)
    try:
        text = path.read_text("utf-8")
        rows = list(_json_rows(text)) if path.suffix in (".jsonl", ".ndjson") else [{"text": text, "title": path.name}]
    except (UnicodeDecodeError, ValueError) as error:
        raise TrainingDataError(f"{path} cannot be read: {error}. Give JSON lines, or text in UTF-8.") from error
    return _rows(f"file {path.name}", rows, source)


def text_of(row: Row) -> str:
    """Find the text of a row.

    :param row: The row.
    :return: Its text, or its paragraphs with blank lines between them.
    :raises TrainingDataError: If it has none.
    """
    if isinstance(paragraphs := row.get("paragraphs"), list):
        return "\n\n".join(map(str, paragraphs))
    for name in TEXT_FIELDS:
        if isinstance(text := row.get(name), str):
            return text
    raise TrainingDataError(
        f"A row has no text: its fields are {', '.join(row)}. It needs one of paragraphs, {', '.join(TEXT_FIELDS)}."
    )


def first_paragraphs(text: str, characters: int) -> str:
    """Take whole paragraphs from the beginning of a text, and at least a part of the first.

    :param text: The text.
    :param characters: How many it may have.
    :return: The beginning; cut after a line, else a word, where the first paragraph is too long.
    """
    if len(text) <= characters:
        return text
    for mark in ("\n\n", "\n", " "):
        end = text.rfind(mark, 0, characters + len(mark))
        if end > characters // 2:
            return text[:end]
    return text[:characters]


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        yield row


def _read_dataset(source: str) -> Rows:
    """Read a dataset from the Hugging Face hub, or from its cache."""
    name, _, split = source.partition(_SPLIT)
    parts: Sequence[str] = name.split("@")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingDependencyError(
            f"There is no file {source}, and datasets need zprompt[train]: pip install 'zprompt[train]'."
        ) from error
    try:
        dataset = load_dataset(*parts, split=split or "test")
    except Exception as error:
        raise TrainingDataError(
            f"{source} is no file, and the dataset cannot be loaded: {type(error).__name__}: {error}. Give a file, or "
            "a dataset as NAME@CONFIG:SPLIT."
        ) from error
    return _rows(f"Hugging Face dataset {source}", map(dict, dataset), source)


def _rows(name: str, rows: Iterable[Row], source: str) -> Rows:
    """Put the rows of a source in our form."""
    try:
        ours = tuple(own for row in rows for own in in_our_form(row))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise TrainingDataError(
            f"{source} has the fields of a known dataset, but not its form: {error!r}. Write its rows as question, "
            "answers and passages."
        ) from error
    return Rows(f"{name} ({len(ours):,} rows)", ours)
