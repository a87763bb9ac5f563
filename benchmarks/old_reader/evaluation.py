"""Measure a reader: the context benefit that it keeps, and its answers.

    kept = (CE without context - CE with what it reads) / (CE without context - CE with the text)

The two references are the untuned LLM's, the reader's own is in between: 0 if it learned nothing from the passage, 1 if
as much as the LLM does from the text. Intervals are 95 %, by bootstrap over passages or questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.eval import Statistic, bootstrap, exact_match, f1
from benchmarks.old_reader.continuation import Continuation
from benchmarks.old_reader.examples import Asked
from benchmarks.old_reader.prompts import Prompts
from benchmarks.old_reader.reading import Reading
from benchmarks.old_reader.rows import Branch, Row, lay_out
from benchmarks.old_reader.tiles import Tile

CONTEXT = 128  # source tokens of the shortest context that is measured
ANSWER = 16  # tokens that an answer has at most
BATCH = 8  # rows at a time

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Benefit:
    """What a reader makes of contexts."""

    passages: int
    continuations: int
    tokens: int
    positions_ratio: float  # source tokens of the contexts for each position that they take
    without: float  # nats a token, the untuned LLM without context ...
    with_text: float  # ... with the text ...
    with_input: float  # ... and the reader with what it reads
    kept: float
    kept_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as JSON-able values.

        :return: One entry for each figure.
        """
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answers:
    """How good a reader's answers are."""

    questions: int
    exact_match: float
    f1: float
    f1_interval: tuple[float, float]
    shown: tuple[tuple[str, str, str], ...]  # some questions, with the right answer and the reader's

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as JSON-able values.

        :return: One entry for each figure.
        """
        return asdict(self)


class BenefitMeter:
    """Measures the context benefit on development passages; the references are computed once."""

    def __init__(self, untuned: Reading, tiles: Sequence[Tile], continuation: Continuation) -> None:
        """Compute the references.

        :param untuned: The LLM before any training.
        :param tiles: Development passages; those that are too short are left out.
        :param continuation: How the reader is to go on with them.
        """
        plain = replace(continuation, kind="text")
        self._rows: list[Row] = []
        without, text = [], []
        for tile in tiles:
            cuts = range(CONTEXT, len(tile.ids), continuation.size)
            row, same = continuation.row(tile, cuts), plain.row(tile, cuts)
            if row and same:
                self._rows.append(row)
                text.append(same)
                alone = tuple(Branch(1, branch.ids, 0) for branch in row.branches)
                without.append(Row(row.task, row.trunk[:1], alone))
        self._sizes = np.array([row.targets for row in self._rows])
        self._ratio = sum(len(row.trunk) for row in text) / max(1, sum(len(row.trunk) for row in self._rows))
        self._without, self._text = cross_entropies(untuned, without), cross_entropies(untuned, text)

    def measure(self, reading: Reading, passages: int | None = None) -> Benefit:
        """Measure a reader.

        :param reading: The reader.
        :param passages: How many passages to use; None: all.
        :return: The figures.
        """
        rows = self._rows[:passages]
        count, sizes = len(rows), self._sizes[:passages]
        own, text, without = cross_entropies(reading, rows), self._text[:count], self._without[:count]

        def kept(chosen: NDArray[np.int64]) -> float:
            gain = without[chosen].sum() - text[chosen].sum()
            return float((without[chosen].sum() - own[chosen].sum()) / gain) if gain else 0.0

        tokens = int(sizes.sum())
        return Benefit(
            passages=count,
            continuations=sum(len(row.branches) for row in rows),
            tokens=tokens,
            positions_ratio=self._ratio,
            without=float(without.sum() / max(1, tokens)),
            with_text=float(text.sum() / max(1, tokens)),
            with_input=float(own.sum() / max(1, tokens)),
            kept=kept(np.arange(count)),
            kept_interval=_interval(count, kept),
        )


@torch.no_grad()
def cross_entropies(reading: Reading, rows: Sequence[Row]) -> Floats:
    """Sum the cross-entropy of the targets of each row, over the whole vocabulary.

    :param reading: The model.
    :param rows: The rows.
    :return: (R,), in nats.
    """
    sums = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(rows), BATCH):
        chosen = order[start : start + BATCH]
        batch = lay_out([_untaught(rows[index]) for index in chosen], 1)
        log = (reading.hidden(batch) @ reading.head.T).log_softmax(dim=1)
        losses = -log.gather(1, batch.targets.to(log.device)[:, None])[:, 0].cpu().numpy()
        np.add.at(sums, np.array(chosen)[batch.rows.numpy()], losses)
    return sums


def measure_answers(
    reading: Reading, prompts: Prompts, asked: Sequence[Asked], decode: Callable[[list[int]], str]
) -> Answers:
    """Let a reader answer questions greedily, and score what it says.

    :param reading: The reader.
    :param prompts: Makes the prompts.
    :param asked: The questions, one at least.
    :param decode: The backbone's tokenizer.
    :return: The figures.
    """
    given = answer_questions(reading, prompts, asked, decode)
    scores = np.array([f1(answer, one.answers) for answer, one in zip(given, asked, strict=True)])
    return Answers(
        questions=len(given),
        exact_match=float(np.mean([exact_match(a, one.answers) for a, one in zip(given, asked, strict=True)])),
        f1=float(scores.mean()),
        f1_interval=_interval(len(scores), lambda chosen: float(scores[chosen].mean())),
        shown=tuple((one.question, one.answers[0], answer) for one, answer in list(zip(asked, given, strict=True))[:8]),
    )


def answer_questions(
    reading: Reading, prompts: Prompts, asked: Sequence[Asked], decode: Callable[[list[int]], str]
) -> list[str]:
    """Let a reader answer questions greedily.

    :param reading: The reader.
    :param prompts: Makes the prompts.
    :param asked: The questions.
    :param decode: The backbone's tokenizer.
    :return: Its answers, in order.
    """
    rows = [Row("questions", prompts.question(one.question, one.passages), ()) for one in asked]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    given = [""] * len(rows)
    for start in range(0, len(rows), BATCH):
        chosen = order[start : start + BATCH]
        batch = lay_out([rows[index] for index in chosen], 1)
        for index, ids in zip(chosen, reading.answer(batch, prompts.end_id, ANSWER), strict=True):
            given[index] = decode(ids).strip()
    return given


def _untaught(row: Row) -> Row:
    """Take the teacher out of a row."""
    return Row(row.task, row.trunk, tuple(Branch(b.fork, b.ids, b.first) for b in row.branches))


def _interval(count: int, figure: Statistic) -> tuple[float, float]:
    """Resample what a figure was computed from."""
    if not count:
        return 0.0, 0.0
    interval = bootstrap(figure, count)
    return interval.low, interval.high
