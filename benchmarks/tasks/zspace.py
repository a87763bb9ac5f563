"""Measure writing in Z-tokens against writing text, by one reader from the same prompts.

    passes           of the reader for 100 tokens of text, those that read the prompt and end the text included
    with expansion   and those of the decompressor, which makes text of the Z-tokens: one for each dropped token
    in the passage   share of the words that were written which the passages have, too

Answers are short, and are scored as SQuAD does; continuations of a passage are as long as is asked for. Greedy.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zprompt.eval import RESAMPLES, Question, bootstrap, exact_match, f1, table
from zprompt.reader import Answer, Generation, Reader, Space

SPACES: tuple[Space, ...] = ("text", "z")
BATCH = 8
SHOWN = 4  # samples of each kind
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Cost:
    """What texts took, and whether they speak of what was read."""

    texts: int
    text_tokens: int
    passes: float  # of the reader, for 100 tokens of text
    with_expansion: float  # and of the decompressor
    seconds: float  # for 100 tokens of text
    in_passage: float  # share of words


@dataclass(frozen=True, slots=True)
class SpaceFigures:
    """What one space is worth."""

    space: Space
    exact_match: float
    f1: float
    f1_interval: tuple[float, float]
    answers: Cost
    continuations: Cost


@dataclass(frozen=True, slots=True)
class ZSpace:
    """Both spaces, with samples: what was asked for, and what was written in each space."""

    ratio: float  # source tokens per Z-token of what was read
    max_new_tokens: int  # of a continuation
    spaces: tuple[SpaceFigures, ...]
    questions: tuple[tuple[str, ...], ...]  # question, right answer, and the answer in each space
    continuations: tuple[tuple[str, ...], ...]  # the end of what was read, and how each space went on


def measure(
    reader: Reader, questions: Sequence[Question], ratio: float = 4.0, max_new_tokens: int = 48, seed: int = 0
) -> ZSpace:
    """Let a reader write in both spaces.

    :param reader: A reader with a writer.
    :param questions: Questions, whose passages are read in Z-tokens; the first of each is also gone on with.
    :param ratio: Source tokens per Z-token of what is read.
    :param max_new_tokens: Tokens of a continuation.
    :param seed: Of the bootstrap.
    :return: The figures.
    """
    passages = [[passage.text for passage in one.passages] for one in questions]
    spans = [reader.codec.compress(own, ratio=ratio, on_error="passthrough").documents for own in passages]
    halves = [own[0][: len(own[0]) // 2].rsplit(" ", 1)[0] for own in passages]
    begun = reader.codec.compress(halves, ratio=ratio, on_error="passthrough").documents
    runs = [_write(reader, space, questions, spans, begun, max_new_tokens) for space in SPACES]
    shown = range(min(SHOWN, len(questions)))
    return ZSpace(
        ratio=ratio,
        max_new_tokens=max_new_tokens,
        spaces=tuple(_figures(run, questions, passages, seed) for run in runs),
        questions=tuple(
            (questions[i].question, questions[i].answers[0], *(run.answers[i].text for run in runs)) for i in shown
        ),
        continuations=tuple((halves[i][-80:], *(run.continuations[i].text for run in runs)) for i in shown),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What was written in one space."""

    space: Space
    answers: list[Answer]
    continuations: list[Generation]
    answering: float  # seconds
    continuing: float  # seconds


def _write(
    reader: Reader,
    space: Space,
    questions: Sequence[Question],
    spans: Sequence[Sequence[str]],
    begun: Sequence[str],
    max_new_tokens: int,
) -> _Run:
    """Answer all questions, and go on with all passages."""
    asked = [one.question for one in questions]
    answers, answering = _timed(lambda part: reader.answer(asked[part], spans[part], space=space), len(asked))
    said, continuing = _timed(
        lambda part: reader.complete(begun[part], max_new_tokens=max_new_tokens, space=space), len(begun)
    )
    return _Run(space, answers, said, answering, continuing)


def _figures(run: _Run, questions: Sequence[Question], passages: Sequence[Sequence[str]], seed: int) -> SpaceFigures:
    """Score what was written in one space."""
    pairs = list(zip(run.answers, questions, strict=True))
    scores = np.array([f1(answer.text, one.answers) for answer, one in pairs])
    interval = bootstrap(lambda rows: float(scores[rows].mean()), len(scores), RESAMPLES, seed)
    return SpaceFigures(
        space=run.space,
        exact_match=float(np.mean([exact_match(answer.text, one.answers) for answer, one in pairs])),
        f1=float(scores.mean()),
        f1_interval=(interval.low, interval.high),
        answers=_cost(run.answers, passages, run.answering),
        continuations=_cost(run.continuations, passages, run.continuing),
    )


def section(result: ZSpace) -> Iterator[str]:
    """Write the section of a report.

    :param result: The figures.
    :return: Markdown, line by line.
    :yields: A line.
    """
    yield from ("## Writing in Z-tokens", "")
    yield (
        f"Passages are read in Z-tokens at a ratio of {result.ratio:g}; greedy; continuations of "
        f"{result.max_new_tokens} tokens. Passes, and seconds, are for 100 tokens of text that was written. Expansion: "
        "the decompressor's passes, one for each token that a Z-token drops."
    )
    spaces = [f"space {one.space}" for one in result.spaces]
    yield ""
    yield from table(["", *spaces], [(name, *map(write, result.spaces)) for name, write in _rows()])
    yield ""
    yield from table(["question", "right", *spaces], [_cells(row) for row in result.questions])
    yield ""
    yield from table(["… what was read", *spaces], [_cells(row) for row in result.continuations])


def _rows() -> list[tuple[str, Callable[[SpaceFigures], str]]]:
    """List the rows of the table of figures."""
    rows: list[tuple[str, Callable[[SpaceFigures], str]]] = [
        ("questions", lambda one: str(one.answers.texts)),
        ("F1", lambda one: f"{one.f1:.1%} ({one.f1_interval[0]:.1%} to {one.f1_interval[1]:.1%})"),
        ("exact match", lambda one: f"{one.exact_match:.1%}"),
    ]
    for kind in ("answers", "continuations"):

        def cost(one: SpaceFigures, kind: str = kind) -> Cost:
            found: Cost = getattr(one, kind)
            return found

        rows += [
            (f"{kind}: tokens", lambda one, cost=cost: f"{cost(one).text_tokens:,}"),
            (f"{kind}: passes of the reader", lambda one, cost=cost: f"{cost(one).passes:.1f}"),
            (f"{kind}: with expansion", lambda one, cost=cost: f"{cost(one).with_expansion:.1f}"),
            (f"{kind}: seconds", lambda one, cost=cost: f"{cost(one).seconds:.1f}"),
            (f"{kind}: words in the passage", lambda one, cost=cost: f"{cost(one).in_passage:.1%}"),
        ]
    return rows


def _cells(texts: Sequence[str]) -> tuple[str, ...]:
    """Write texts so that they stand in a row of a table."""
    return tuple(" ".join(text.split()).replace("|", "\\|") for text in texts)


def _timed(write: Callable[[slice], list[Any]], count: int) -> tuple[list[Any], float]:
    """Write texts, batch by batch; say how many seconds it took."""
    began = time.perf_counter()
    found = [one for start in range(0, count, BATCH) for one in write(slice(start, start + BATCH))]
    return found, time.perf_counter() - began


def _cost(texts: Sequence[Answer | Generation], passages: Sequence[Sequence[str]], seconds: float) -> Cost:
    """Sum up what texts took."""
    usages = [one.usage for one in texts]
    tokens = sum(
        usage.generated_tokens - (one.finish_reason == "stop") for usage, one in zip(usages, texts, strict=True)
    )
    passes, expansion = sum(u.reader_passes for u in usages), sum(u.expansion_passes for u in usages)
    known = [set(_words(" ".join(own))) for own in passages]
    found = [word in own for one, own in zip(texts, known, strict=True) for word in _words(one.text)]
    per = 100 / max(1, tokens)
    share = sum(found) / len(found) if found else 0.0
    return Cost(len(texts), tokens, per * passes, per * (passes + expansion), per * seconds, share)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
