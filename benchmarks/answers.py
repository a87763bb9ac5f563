"""Measure what readers answer from the gold passages of questions, given in several ways (benchmarks/readers.py).

    plain text                          the ceiling
    Z at a ratio                        Z-tokens; at every ratio the text can be restored exactly
    Z at a ratio, with the question     the codec is told the question, as the adapters of frameworks do
    pruning, truncation                 at the very positions of Z at that ratio
    LTSC                                all of the text, in meta-tokens for what is repeated
    sentences by the question           at the very positions of Z with the question
    no passage                          the floor

Each kind of input has a reader of its own, trained alike. The reader of Z-tokens is asked in other ways, too, since it
has seen plain text in training, and an app has one reader. So is LTSC's, whose answers from plain text are what its
others are compared with. Exact match and F1 are SQuAD's. Intervals are 95 %, by bootstrap over questions; comparisons
are paired, since all conditions are asked the same questions:

    difference    mean of F1(Z) - F1(other)          at the same ratio
    ratio         mean F1(Z) / mean F1(plain text)
"""

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.common import Ints, mean_interval
from benchmarks.readers import (
    CompressedQuestion,
    FoundReader,
    Setting,
    answer,
    compress_passages,
    load_found,
    make_input,
)
from zprompt import Codec
from zprompt.baselines.ltsc import LtscReader
from zprompt.eval import RESAMPLES, Interval, Question, bootstrap, exact_match, f1, number, table
from zprompt.reader import Reader
from zprompt.zspan import read_header

EXACT_BAR = 0.95  # of plain text's F1, by Z-tokens at ratio 2 and at the usual ratio
LOSSY_BAR = 0.85  # at ratio 4
BARS: dict[float | None, float] = {2.0: EXACT_BAR, None: EXACT_BAR, 4.0: LOSSY_BAR}


@dataclass(frozen=True, slots=True)
class Condition:
    """A way in which passages are given."""

    name: str
    reader: str  # the input that its reader was trained on
    ratio: float | None = None  # wanted; None: what `compress` gives without one
    passages: bool = True
    query: bool = False  # whether the passages are shortened with the question known
    given: str | None = None  # how they are given, if not in the way that the reader was trained on

    @property
    def kind(self) -> str:
        """Return how passages are given."""
        return (self.given or self.reader) if self.passages else "nothing"

    @property
    def is_rival(self) -> bool:
        """Return whether Z-tokens are compared with it: plain text, and what takes the positions of Z-tokens."""
        return self.reader != "ltsc" and self.kind not in ("z", "nothing")

    @property
    def setting(self) -> Setting:
        """Return how passages are compressed, or to what length they are shortened."""
        return Setting(self.ratio, self.query)


def _at(name: str, reader: str, *ratios: float, query: bool = False, given: str | None = None) -> list[Condition]:
    ending = ("", ", with the question")[query and given is None] + ("", ", Z's reader")[given is not None]
    return [Condition(f"{name}, ratio {at:g}{ending}", reader, at, query=query, given=given) for at in ratios]


CONDITIONS = (  # those of one reader together: it is loaded once
    Condition("plain text", "text", 1.0),
    Condition("no passage", "text", 1.0, passages=False),
    *_at("Z", "z", 2.0),
    Condition("Z, usual ratio", "z"),
    *_at("Z", "z", 4.0, 8.0),
    *_at("Z", "z", 2.0, 4.0, query=True),
    Condition("Z, usual ratio, with the question", "z", query=True),
    Condition("plain text, Z's reader", "z", 1.0, given="text"),
    Condition("no passage, Z's reader", "z", 1.0, passages=False, given="text"),
    *_at("truncation", "z", 2.0, 4.0, given="truncated"),
    *_at("sentences by the question", "z", 2.0, 4.0, query=True, given="extracted"),
    *_at("pruning", "pruned", 4.0, 8.0),
    *_at("truncation", "truncated", 4.0, 8.0),
    Condition("LTSC", "ltsc", 1.0),
    Condition("plain text, LTSC's reader", "ltsc", 1.0, given="text"),
)
COMPRESSED = tuple(dict.fromkeys(one.setting for one in CONDITIONS))


@dataclass(frozen=True, slots=True)
class Score:
    """How good the answers to some questions are."""

    questions: int
    exact_match: float
    exact_match_interval: Interval
    f1: float
    f1_interval: Interval
    source_tokens: int  # of all passages
    positions: int  # that they take; titles, question and template are not counted
    positions_ratio: float | None  # the former per the latter; None without passages


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """What one condition gave."""

    condition: Condition
    overall: Score
    data_sets: dict[str, Score]
    worst_positions_ratio: float | None  # of the data set where it is lowest
    answers: tuple[str, ...]  # of each question
    exact_matches: tuple[float, ...]
    f1s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Paired:
    """A figure of two conditions on the same questions."""

    value: float  # not a number: there is nothing to divide by
    interval: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """Z-tokens beside another condition."""

    z: str
    other: str
    figure: str  # "difference" of F1, or "ratio" of F1
    overall: Paired
    data_sets: dict[str, Paired]
    bar: float | None  # that the ratio, or the lower end of the difference's interval, is to reach
    reached: bool | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A condition that could not be measured."""

    condition: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuestionInfo:
    """A question that all conditions were asked."""

    data_set: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReaderAnswers:
    """All that was found so far."""

    questions: tuple[QuestionInfo, ...]
    left_out: int  # questions with a passage that has no Z-tokens
    readers: tuple[FoundReader, ...]
    conditions: tuple[ConditionResult, ...] = ()
    missing: tuple[Missing, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are drawn."""

    resamples: int = RESAMPLES
    seed: int = 0


def measure(
    codec: Codec,
    readers: Mapping[str, FoundReader],
    questions: Mapping[str, Sequence[Question]],
    cache: Path,
    resampling: Resampling,
) -> Iterator[ReaderAnswers]:
    """Measure condition after condition, and yield all that was found so far after each.

    :param codec: The codec.
    :param readers: The readers by kind of input.
    :param questions: The questions by data set.
    :param cache: Folder where Z-spans are kept for the next run.
    :param resampling: How intervals are drawn.
    :yields: All that was found so far.
    """
    settings = dict.fromkeys(one.setting for one in CONDITIONS if not readers[one.reader].problem)
    asked = compress_passages(questions, list(settings) or COMPRESSED, codec, cache)
    sets = [one.data_set for one in asked]
    result = ReaderAnswers(
        questions=tuple(QuestionInfo(one.data_set, one.question.question, one.question.answers) for one in asked),
        left_out=sum(map(len, questions.values())) - len(asked),
        readers=tuple(readers.values()),
    )
    for kind, conditions in groupby(CONDITIONS, lambda condition: condition.reader):
        if problem := readers[kind].problem:
            found = tuple(Missing(condition.name, problem) for condition in conditions)
            result = replace(result, missing=(*result.missing, *found))
            yield result
            continue
        reader = load_found(readers[kind], codec)
        for condition in conditions:
            measured = (*result.conditions, _measure_condition(codec, reader, condition, asked, resampling))
            result = replace(result, conditions=measured, comparisons=tuple(compare(measured, sets, resampling)))
            yield result


def _measure_condition(
    codec: Codec,
    reader: Reader | LtscReader,
    condition: Condition,
    asked: Sequence[CompressedQuestion],
    resampling: Resampling,
) -> ConditionResult:
    """Ask all questions in one condition, and score the answers."""
    began = time.perf_counter()
    inputs = [make_input(one, condition.setting, condition.kind, codec) for one in asked]
    answers = answer(reader, inputs)
    print(f"{condition.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    exact, f1s = (
        np.array([score(text, one.question.answers) for text, one in zip(answers, asked, strict=True)])
        for score in (exact_match, f1)
    )
    source = np.array(
        [sum(read_header(span).source_tokens for span in next(iter(one.spans.values()))) for one in asked]
    )
    positions = np.array([one.positions for one in inputs])

    def score(rows: Ints) -> Score:
        taken = int(positions[rows].sum())
        return Score(
            len(rows),
            float(exact[rows].mean()),
            mean_interval(exact[rows], resampling.resamples, resampling.seed),
            float(f1s[rows].mean()),
            mean_interval(f1s[rows], resampling.resamples, resampling.seed),
            int(source[rows].sum()),
            taken,
            int(source[rows].sum()) / taken if taken else None,
        )

    data_sets = {name: score(rows) for name, rows in _rows_of([one.data_set for one in asked]).items()}
    reached = [own.positions_ratio for own in data_sets.values() if own.positions_ratio is not None]
    return ConditionResult(
        condition,
        score(np.arange(len(asked))),
        data_sets,
        min(reached, default=None),
        tuple(answers),
        tuple(exact.tolist()),
        tuple(f1s.tolist()),
    )


def compare(results: Sequence[ConditionResult], sets: Sequence[str], resampling: Resampling) -> Iterator[Comparison]:
    """Compare Z-tokens with plain text, and with what takes the same positions; `sets` has each question's data set."""
    for z in (result for result in results if result.condition.kind == "z"):
        for other in (result for result in results if result.condition.is_rival):
            if other.condition.kind == "text":
                yield _comparison(z, other, "ratio", sets, BARS.get(z.condition.ratio), resampling)
            elif other.condition.setting == z.condition.setting:
                yield _comparison(z, other, "difference", sets, 0.0, resampling)


def _comparison(
    z: ConditionResult,
    other: ConditionResult,
    figure: str,
    sets: Sequence[str],
    bar: float | None,
    resampling: Resampling,
) -> Comparison:
    """Compare two conditions question by question."""
    own, its = np.array(z.f1s), np.array(other.f1s)

    def value(rows: Ints) -> float:
        if figure == "difference":
            return float((own[rows] - its[rows]).mean())
        return float(own[rows].mean() / its[rows].mean()) if its[rows].any() else math.nan

    def paired(rows: Ints) -> Paired:
        interval = bootstrap(lambda drawn: value(rows[drawn]), len(rows), resampling.resamples, resampling.seed)
        return Paired(value(rows), interval)

    overall = paired(np.arange(len(sets)))
    reached = None
    if bar is not None:
        reached = overall.interval.low > bar if figure == "difference" else overall.value >= bar
    data_sets = {name: paired(rows) for name, rows in _rows_of(sets).items()}
    return Comparison(z.condition.name, other.condition.name, figure, overall, data_sets, bar, reached)


def _rows_of(sets: Sequence[str]) -> dict[str, Ints]:
    """Return the indices of each data set's questions."""
    names = np.array(sets)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(sets)}


# The report.


def section(result: ReaderAnswers) -> Iterator[str]:
    """Write the tables of conditions and comparisons, line by line."""
    left_out = f"; {result.left_out} more have a passage that has no Z-tokens" if result.left_out else ""
    yield from ("## Answers", "")
    yield (
        f"{len(result.questions)} questions, the same in every condition{left_out}. In brackets 95 % of a bootstrap "
        "over questions. Ratio: source tokens of the passages per position that they take; worst: of the data set "
        "where it is lowest. Pruning, truncation and sentences have as many positions as Z-tokens at that ratio."
    )
    yield ""
    sets = list(dict.fromkeys(question.data_set for question in result.questions))
    head = ("passages as", "ratio", "worst", "exact match", "F1", *(f"F1, {name}" for name in sets))
    yield from table(head, [_condition(one, sets) for one in result.conditions])
    if result.missing:
        yield from ("", "Not measured:", "")
        yield from (f"- {missing.condition}: {missing.reason}" for missing in result.missing)
    yield from _comparisons(result.comparisons, sets)
    yield from ("", "Readers:", "")
    rows = [(one.input, one.folder or "–", _text(one.steps), _text(one.seed)) for one in result.readers]
    yield from table(("trained on", "folder", "steps", "seed"), rows)
    yield from ("", *_same_training(result))


def _condition(result: ConditionResult, sets: list[str]) -> tuple[str, ...]:
    overall = result.overall
    return (
        result.condition.name,
        number(overall.positions_ratio, 2),
        number(result.worst_positions_ratio, 2),
        f"{100 * overall.exact_match:.1f} {_spread(overall.exact_match_interval)}",
        f"**{100 * overall.f1:.1f}** {_spread(overall.f1_interval)}",
        *(_f1(result.data_sets.get(name)) for name in sets),
    )


def _comparisons(comparisons: tuple[Comparison, ...], sets: list[str]) -> Iterator[str]:
    """Write the tables of ratios and differences, if there are any."""
    ratios = [one for one in comparisons if one.figure == "ratio"]
    differences = [one for one in comparisons if one.figure == "difference"]
    if ratios:
        yield from ("", "F1 of Z-tokens per F1 of plain text, paired by question:", "")
        rows = [
            (f"{one.z} / {one.other}", _ratio(one.overall), *_bar(one), *(_ratio(one.data_sets[name]) for name in sets))
            for one in ratios
        ]
        yield from table(("", "F1 / F1 of plain text", "wanted", "reached", *sets), rows)
    if differences:
        yield from ("", "F1 of Z-tokens less that of others at the same ratio, paired by question:", "")
        rows = [
            (
                f"{one.z} − {one.other}",
                _points(one.overall),
                *_bar(one),
                *(_points(one.data_sets[name]) for name in sets),
            )
            for one in differences
        ]
        yield from table(("", "difference of F1", "wanted", "reached", *sets), rows)


def _bar(comparison: Comparison) -> tuple[str, str]:
    if comparison.bar is None:
        return "–", "–"
    wanted = f"{comparison.bar:.2f}" if comparison.figure == "ratio" else "interval above 0"
    return wanted, "yes" if comparison.reached else "**no**"


def _same_training(result: ReaderAnswers) -> Iterator[str]:
    """Say so if readers were not trained alike."""
    there = [one for one in result.readers if one.problem is None]
    if len({(one.steps, one.seed) for one in there}) > 1:
        yield from ("**The readers were not trained in the same steps from the same seed.**", "")


def _f1(score: Score | None) -> str:
    return "–" if score is None else f"{100 * score.f1:.1f} {_spread(score.f1_interval)}"


def _spread(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(paired: Paired) -> str:
    return f"{100 * paired.value:+.1f} [{100 * paired.interval.low:+.1f}, {100 * paired.interval.high:+.1f}]"


def _ratio(paired: Paired) -> str:
    if not all(map(math.isfinite, (paired.value, paired.interval.low, paired.interval.high))):
        return "–"
    return f"{paired.value:.2f} [{paired.interval.low:.2f}, {paired.interval.high:.2f}]"


def _text(value: object) -> str:
    return "–" if value is None else str(value)
