"""Make tasks with samples: from what the user gives, else from what is shipped, else from a seed.

A file or dataset goes to the task that it is given for ("qa=FILE"), else to those that its first row fits:

    question, answers, passages         qa; so do the public datasets of bench/forms.py
    topic, facet, turns                 queries
    text, article or paragraphs         reconstruction; with a summary or highlights, summarisation too
    a .json or .py file                 structure and reconstruction
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from zprompt.errors import OptionError, TrainingDataError
from zprompt.eval.drawing import draw
from zprompt.eval.forms import Row
from zprompt.eval.questions import question_of
from zprompt.eval.samples import Rows, Sample, first_paragraphs, read_rows, shipped, text_of
from zprompt.eval.tasks.copying import Copying, make_samples
from zprompt.eval.tasks.protocol import Task
from zprompt.eval.tasks.qa import QuestionAnswering
from zprompt.eval.tasks.queries import Queries
from zprompt.eval.tasks.reconstruction import Reconstruction
from zprompt.eval.tasks.structure import Structure
from zprompt.eval.tasks.summarisation import Summarisation

TASKS = ("reconstruction", "qa", "summarisation", "queries", "copying", "structure")
_PROSE = ("encyclopedia", "news", "dialogue")  # kinds of shipped texts that can be summarised
_PARSED = {".json": "json", ".py": "code"}
_SUMMARIES = ("highlights", "summary")


def make_tasks(names: Sequence[str], data: Sequence[str], limit: int, characters: int, seed: int) -> list[Task]:
    """Make tasks.

    :param names: Some of `TASKS`.
    :param data: Files and datasets, each alone or as TASK=SOURCE.
    :param limit: Samples of each task, at most.
    :param characters: Of each text, at most; passages of questions are not cut.
    :param seed: Of the choice of samples.
    :return: The tasks, in the order of the names.
    :raises OptionError: If there is no such task.
    """
    if unknown := set(names) - set(TASKS):
        raise OptionError(f"There is no task {sorted(unknown)[0]!r}. Must be one of {', '.join(TASKS)}.")
    given: dict[str, list[Rows]] = {}
    for one in data:
        for name, rows in _assigned(one):
            given.setdefault(name, []).append(rows)
    return [_make(name, given.get(name, []), limit, characters, seed) for name in names]


def digest(task: Task) -> str:
    """Name the samples of a task.

    :param task: The task.
    :return: 12 hex digits.
    """
    parts = [(s.id, s.group, s.texts, s.query, s.titles, s.answers) for s in task.samples]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _assigned(given: str) -> Iterator[tuple[str, Rows]]:
    """Say which tasks a file or dataset is for."""
    name, mark, source = given.partition("=")
    if mark and name in TASKS:
        yield name, _kinded(source)
        return
    rows = _kinded(given)
    fitting = [task for task in TASKS if rows.rows and _fits(task, rows.rows[0])]
    if not fitting:
        raise TrainingDataError(
            f"{given} fits no task: its first row has {', '.join(rows.rows[0]) if rows.rows else 'nothing'}. Say which "
            f"it is for: TASK={given}, with one of {', '.join(TASKS)}."
        )
    yield from ((task, rows) for task in fitting)


def _kinded(source: str) -> Rows:
    """Read rows; those of JSON and Python files say that they can be parsed."""
    rows, kind = read_rows(source), _PARSED.get(Path(source).suffix)
    return Rows(rows.source, tuple({**row, "group": kind} for row in rows.rows)) if kind else rows


def _fits(task: str, row: Row) -> bool:
    """Say whether a task can use such rows."""
    if "question" in row and "passages" in row:
        return task == "qa"
    if "facet" in row and "turns" in row:
        return task == "queries"
    if task == "structure":
        return row.get("group") in _PARSED.values()
    return task == "reconstruction" or (task == "summarisation" and any(name in row for name in _SUMMARIES))


def _make(name: str, given: list[Rows], limit: int, characters: int, seed: int) -> Task:
    """Make one task."""
    if name == "copying":
        return Copying(f"made from seed {seed}", make_samples(limit, seed))
    known = given or [shipped({"qa": "questions", "queries": "queries"}.get(name, "texts"))]
    source = "; ".join(rows.source for rows in known)
    rows = [row for one in known for row in one.rows]
    if name == "qa":
        return QuestionAnswering(source, draw([_question(row, place) for place, row in enumerate(rows)], limit, seed))
    if name == "queries":
        samples = [_query(row, place) for place, row in enumerate(rows)]
        return Queries(source, draw(samples, limit, seed), [sample.answers[0] for sample in samples])
    if not given and name in ("summarisation", "structure"):
        wanted = _PROSE if name == "summarisation" else tuple(_PARSED.values())
        rows = [row for row in rows if row["group"] in wanted]
    whole = name == "structure"  # a part of it would not parse
    texts = [_text(row, place, None if whole else characters) for place, row in enumerate(rows)]
    kinds: dict[str, Callable[[str, Sequence[Sample]], Task]] = {
        "reconstruction": Reconstruction,
        "summarisation": Summarisation,
        "structure": Structure,
    }
    said = source if whole else f"{source}, up to {characters:,} characters of each"
    return kinds[name](said, _mixed(texts, limit, seed))


def _mixed(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """Draw samples, as many of each kind of text as there can be."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    drawn: Iterable[tuple[Sample | None, ...]] = zip_longest(*(draw(own, limit, seed) for own in groups.values()))
    return [sample for row in drawn for sample in row if sample is not None][:limit]


def _text(row: Row, place: int, characters: int | None) -> Sample:
    """Make a sample of a text."""
    text = text_of(row)
    summary = next((str(row[name]) for name in _SUMMARIES if row.get(name)), None)
    return Sample(
        id=str(row.get("id") or row.get("title") or place),
        group=str(row.get("group", "text")),
        texts=(text if characters is None else first_paragraphs(text, characters),),
        answers=(summary,) if summary else (),
    )


def _question(row: Row, place: int) -> Sample:
    """Make a sample of a question and its gold passages."""
    try:
        question = question_of(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingDataError(
            f"Row {place + 1} is no question: {error!r}. It needs question, answers and passages of text."
        ) from error
    return Sample(
        id=str(row.get("id", place)),
        group="questions",
        texts=tuple(passage.text for passage in question.passages),
        query=question.question,
        titles=tuple(passage.title for passage in question.passages),
        answers=question.answers,
    )


def _query(row: Row, place: int) -> Sample:
    """Make a sample of a topic and what was said about it."""
    try:
        turns = " ".join(str(said) for turn in row["turns"] for said in turn)
        return Sample(str(row.get("id", place)), "queries", (f"{row['topic']}. {turns}",), answers=(str(row["facet"]),))
    except (KeyError, TypeError) as error:
        raise TrainingDataError(
            f"Row {place + 1} is no long query: {error!r}. It needs topic, facet and turns, which are lists of text."
        ) from error
