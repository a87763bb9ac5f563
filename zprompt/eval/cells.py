"""Measure one cell: shorten all samples, go the way back where the task wants it, and score what is left.

    positions ratio          source tokens / tokens that a model gets
    bits per position        what a position says at most: a Z-token and its residual, or log2 of the vocabulary
    bits per source token    the same bits / source tokens
    exact                    share of the samples that are back byte for byte

A method that fails is a finding: the cell says why, and the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from zprompt.baselines.protocol import LosslessBaseline, Baseline, Shortened
from zprompt.errors import ZPromptError
from zprompt.eval.figures import Figure, Share, summarise
from zprompt.eval.memory import peak_megabytes, reset_peak
from zprompt.eval.readers import READERS
from zprompt.eval.reading import require_words
from zprompt.eval.samples import Sample
from zprompt.eval.settings import Cell
from zprompt.eval.tasks.protocol import Left, Scores, Task
from zprompt.eval.tokens import ApiTokens
from zprompt.eval.units import less_is_better

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop

API = "API tokens ratio"
COMMON = ("positions ratio", "bits per position", "bits per source token", "exact", API)
SHORTENING, SPEED, RESTORING = "shortening s", "shortening tokens/s", "restoring tokens/s"


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell gave, or why it gave nothing."""

    cell: Cell
    key: str  # of all that its figures depend on
    reason: str | None = None  # why it could not be measured
    figures: dict[str, Figure] = field(default_factory=dict)  # the same in every run
    times: dict[str, Figure] = field(default_factory=dict)  # other in every run
    megabytes: float | None = None  # most memory of the process meanwhile, models included
    missing: dict[str, str] = field(default_factory=dict)  # figures that could not be had: why
    samples: tuple[dict[str, Any], ...] = ()  # of each its id, group, and what it adds to each figure

    def to_dict(self) -> dict[str, Any]:
        """Turn the result into a dict for JSON.

        :return: The fields under their names.
        """
        return {**asdict(self), "samples": list(self.samples)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CellResult:
        """Read a result.

        :param values: What `to_dict` gave.
        :return: The result.
        """
        known = dict(values)
        for name in ("figures", "times"):
            known[name] = {title: Figure(**one) for title, one in known[name].items()}
        return cls(**{**known, "cell": Cell(**known["cell"]), "samples": tuple(known["samples"])})


def measure(cell: Cell, key: str, task: Task, workshop: Workshop) -> CellResult:
    """Measure a cell.

    :param cell: The cell.
    :param key: What its figures depend on.
    :param task: Its task.
    :param workshop: Has the method and the readers.
    :return: The result.
    """
    try:
        return _measure(cell, key, task, workshop)
    except ZPromptError as error:
        return CellResult(cell, key, reason=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a method raises is a finding
        return CellResult(cell, key, reason=f"{type(error).__name__}: {error}")


def _measure(cell: Cell, key: str, task: Task, workshop: Workshop) -> CellResult:
    """Measure a cell that works."""
    method = workshop.method(cell.method)
    if task.samples:
        workshop.warm_up(method, task.samples[0])  # loading is not shortening
    reset_peak()
    shortened, seconds = _shorten_all(method, task.samples, cell.ratio, workshop)
    restored, back_seconds = _restore_all(method, shortened) if task.restores else (None, 0.0)
    left = [
        Left(sample, own, restored[place] if restored else None)
        for place, (sample, own) in enumerate(zip(task.samples, shortened, strict=True))
    ]
    scores = task.score(left, workshop)
    _add_common(scores, left, seconds, task.restores, workshop)
    _add_api_tokens(scores, left, workshop.api_tokens)
    if restored and back_seconds:
        scores.times[RESTORING] = [Share(sum(_source(own) for own in shortened), back_seconds)]
    figures = {name: summarise(shares, workshop.seed, less_is_better(name)) for name, shares in scores.shares.items()}
    times = {name: summarise(shares, workshop.seed, less_is_better(name)) for name, shares in scores.times.items()}
    return CellResult(
        cell,
        key,
        figures={**scores.whole, **{name: figure for name, figure in figures.items() if figure}},
        times={name: figure for name, figure in times.items() if figure},
        megabytes=peak_megabytes(),
        missing=scores.missing,
        samples=tuple(_sample_row(one.sample, place, scores) for place, one in enumerate(left)),
    )


def _shorten_all(
    method: Baseline, samples: Sequence[Sample], ratio: float | None, workshop: Workshop
) -> tuple[list[tuple[Shortened, ...]], list[float]]:
    """Shorten all texts one by one; give the seconds of each sample, too."""
    shortened, seconds = [], []
    for sample in samples:
        budgets = [None if ratio is None else max(1, int(workshop.count(text) / ratio)) for text in sample.texts]
        began = time.perf_counter()
        own = tuple(method.shorten(text, to, sample.query) for text, to in zip(sample.texts, budgets, strict=True))
        seconds.append(time.perf_counter() - began)
        shortened.append(own)
    return shortened, seconds


def _restore_all(
    method: Baseline, shortened: Sequence[tuple[Shortened, ...]]
) -> tuple[list[tuple[str, ...]] | None, float]:
    """Go the way back, if there is one; at once where the method can."""
    if not isinstance(method, LosslessBaseline):
        return None, 0.0
    texts = [one.text for own in shortened for one in own]
    many = getattr(method, "restore_all", None)
    began = time.perf_counter()
    back = iter(many(texts) if many else [method.restore(text) for text in texts])
    return [tuple(next(back) for _ in own) for own in shortened], time.perf_counter() - began


def _add_common(
    scores: Scores, left: Sequence[Left], seconds: Sequence[float], restores: bool, workshop: Workshop
) -> None:
    """Add what is measured in every task."""
    source = [_source(one.shortened) for one in left]
    positions = [sum(short.tokens for short in one.shortened) for one in left]
    bits = [sum(workshop.bits(short) for short in one.shortened) for one in left]
    scores.shares["positions ratio"] = _pairs(source, positions)
    scores.shares["bits per position"] = _pairs(bits, positions)
    scores.shares["bits per source token"] = _pairs(bits, source)
    if restores:
        scores.shares["exact"] = [Share(float(one.back == one.sample.texts)) for one in left]
    scores.times[SHORTENING] = [Share(took) for took in seconds]
    scores.times[SPEED] = _pairs(source, seconds)
    for reader in READERS:
        if reading := scores.times.get(f"reading s, {reader}"):
            scores.times[f"end to end s, {reader}"] = [Share(sum(seconds) + reading[0].top, len(left))]  # type: ignore[union-attr]


def _add_api_tokens(scores: Scores, left: Sequence[Left], counter: ApiTokens) -> None:
    """Add what an API would count."""
    try:
        for short in (short for one in left for short in one.shortened):
            require_words(short)
        before = [sum(counter.count(text) for text in one.sample.texts) for one in left]
        after = [sum(counter.count(short.text) for short in one.shortened) for one in left]
        scores.shares[API] = _pairs(before, after)
    except ZPromptError as error:
        scores.missing[API] = str(error)


def _pairs(tops: Sequence[float], bottoms: Sequence[float]) -> list[Share | None]:
    return [Share(top, bottom) for top, bottom in zip(tops, bottoms, strict=True)]


def _source(shortened: Sequence[Shortened]) -> int:
    return sum(one.source_tokens for one in shortened)


def _sample_row(sample: Sample, place: int, scores: Scores) -> dict[str, Any]:
    """Write what one sample adds to each figure."""
    shares = {name: own[place] for name, own in scores.shares.items()}
    added = {name: [share.top, share.bottom] for name, share in shares.items() if share}
    return {"id": sample.id, "group": sample.group, "shares": added}
