"""Measure what readers answer from the gold passages of questions, given in several ways.

    plain text                          the ceiling
    Z at a ratio                        Z-tokens; at every ratio the text can be restored exactly
    Z at a ratio, with the question     the codec is told the question, as the adapters of frameworks do
    anchors, pruning, truncation        at the very positions of Z at that ratio
    LTSC                                all of the text, in meta-tokens for what is repeated
    sentences by the question           at the very positions of Z with the question (benchmarks/extraction.py)
    no passage                          the floor

Each kind of input has a reader of its own, trained alike. The reader of Z-tokens is asked in other ways, too, since it
has seen plain text in training, and an app has one reader; what it makes of anchors whose codes are hidden from it says
whether it reads the codes. So is LTSC's, whose answers from plain text are what its others are compared with. Exact
match and F1 are SQuAD's. Intervals are 95 %, by bootstrap over questions; comparisons are paired, since all conditions
are asked the same questions:

    difference    mean of F1(Z) - F1(other)          at the same ratio
    ratio         mean F1(Z) / mean F1(plain text)
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.extraction import extract
from benchmarks.plan import ReaderPlan
from benchmarks.questions import AskedSets, Setting, ask
from benchmarks.readers import FoundReader, load_reading
from zprompt import Codec
from zprompt.eval import Interval, Question, bootstrap, draw, exact_match, f1
from zprompt.reader import ContentTokenizer, load_reader
from benchmarks.old_reader.evaluation import ANSWER, answer_questions
from benchmarks.old_reader.examples import Asked
from benchmarks.old_reader.inputs import as_input
from benchmarks.old_reader.prompts import Prompts

Floats = NDArray[np.float64]

EXACT_BAR = 0.95  # of plain text's F1, by Z-tokens at ratio 2 and at the usual ratio
LOSSY_BAR = 0.85  # at ratio 4
BARS: dict[float | None, float] = {2.0: EXACT_BAR, None: EXACT_BAR, 4.0: LOSSY_BAR}
CHECKED = Setting(4.0)


@dataclass(frozen=True, slots=True)
class Condition:
    """A way in which passages are given."""

    name: str
    reader: str  # the input that its reader was trained on
    ratio: float | None = None  # wanted; None: what `compress` gives without one
    passages: bool = True
    query: bool = False  # whether what shortens the passages is told the question
    given: str | None = None  # how they are given, if not in the way that the reader was trained on

    @property
    def kind(self) -> str:
        """Say how passages are given.

        :return: One of the kinds of train/reader/inputs.py, or "extracted".
        """
        return self.given or self.reader

    @property
    def is_rival(self) -> bool:
        """Say whether Z-tokens are compared with it.

        :return: True for plain text, and for what takes the positions of Z-tokens.
        """
        return self.passages and self.reader != "ltsc" and self.kind != "z"

    @property
    def setting(self) -> Setting:
        """Say how passages are compressed, or to what length they are shortened.

        :return: The setting.
        """
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
    *_at("anchors", "z", 2.0, 4.0, given="anchors"),
    Condition("plain text, Z's reader", "z", 1.0, given="text"),
    Condition("no passage, Z's reader", "z", 1.0, passages=False, given="text"),
    *_at("truncation", "z", 2.0, 4.0, given="truncated"),
    *_at("sentences by the question", "z", 2.0, 4.0, query=True, given="extracted"),
    *_at("anchors", "anchors", 2.0, 4.0, 8.0),
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
class ProductCheck:
    """Whether `Reader.answer` says what was measured."""

    condition: str
    questions: int
    same: int
    differing: tuple[tuple[str, str, str], ...]  # question, answer that was measured, `Reader.answer`'s


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question that all conditions were asked."""

    data_set: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReaderAnswers:
    """All that was found so far."""

    questions: tuple[AskedQuestion, ...]
    left_out: int  # questions with a passage that has no Z-tokens
    readers: tuple[FoundReader, ...]
    conditions: tuple[ConditionResult, ...] = ()
    missing: tuple[Missing, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    product: ProductCheck | None = None


def measure(
    codec: Codec, readers: dict[str, FoundReader], questions: dict[str, list[Question]], cache: Path, plan: ReaderPlan
) -> Iterator[ReaderAnswers]:
    """Measure condition after condition.

    :param codec: The codec.
    :param readers: The readers by kind of input.
    :param questions: The questions by data set.
    :param cache: Where Z-tokens and surprisals are kept.
    :param plan: Sizes of samples.
    :yields: All that was found so far, after each condition.
    """
    settings = dict.fromkeys(one.setting for one in CONDITIONS if not readers[one.reader].problem)
    asked = ask(questions, list(settings) or COMPRESSED, codec, cache, prune=readers["pruned"].problem is None)
    rows = zip(asked.sets, asked.in_any, strict=True)
    result = ReaderAnswers(
        questions=tuple(AskedQuestion(name, one.question, one.answers) for name, one in rows),
        left_out=asked.left_out,
        readers=tuple(readers.values()),
    )
    for kind, conditions in groupby(CONDITIONS, lambda condition: condition.reader):
        reader = readers[kind]
        if reader.problem:
            found = tuple(Missing(condition.name, reader.problem) for condition in conditions)
            result = replace(result, missing=(*result.missing, *found))
            yield result
            continue
        for one in _measure_reader(codec, reader, list(conditions), asked, plan):
            measured = (*result.conditions, one)
            result = replace(result, conditions=measured, comparisons=tuple(compare(measured, asked.sets, plan)))
            yield result
    yield replace(result, product=check_product(codec, readers["z"], result, asked, plan))


def compare(results: Sequence[ConditionResult], sets: Sequence[str], plan: ReaderPlan) -> Iterator[Comparison]:
    """Compare Z-tokens with plain text, and with what takes the same positions.

    :param results: What was measured.
    :param sets: The data set of each question.
    :param plan: Seed and draws of the bootstrap.
    :yields: Each comparison of two conditions that are both there.
    """
    for z in (result for result in results if result.condition.kind == "z"):
        for other in (result for result in results if result.condition.is_rival):
            if other.condition.kind == "text":
                yield _comparison(z, other, "ratio", sets, BARS.get(z.condition.ratio), plan)
            elif other.condition.setting == z.condition.setting:
                yield _comparison(z, other, "difference", sets, 0.0, plan)


def check_product(
    codec: Codec, reader: FoundReader, result: ReaderAnswers, asked: AskedSets, plan: ReaderPlan
) -> ProductCheck | None:
    """Ask `zprompt.load_reader(…).answer` some of the questions, too.

    :param codec: The codec.
    :param reader: The reader of Z-tokens.
    :param result: What was measured.
    :param asked: The questions.
    :param plan: How many.
    :return: How often it says the same; None if Z-tokens were not measured.
    """
    measured = next((one for one in result.conditions if _is_checked(one.condition)), None)
    if measured is None or reader.folder is None:
        return None
    product = load_reader(reader.folder, codec=codec)
    chosen = draw(range(len(asked.sets)), plan.checked, plan.seed)
    ones = [asked.asked[CHECKED][index] for index in chosen]
    documents = [[{"title": title, "text": tile.span} for title, tile in one.passages] for one in ones]
    said = product.answer([one.question for one in ones], documents, max_new_tokens=ANSWER)
    pairs = [(one.question, measured.answers[i], own.text) for one, i, own in zip(ones, chosen, said, strict=True)]
    differing = tuple(pair for pair in pairs if pair[1] != pair[2])
    return ProductCheck(measured.condition.name, len(pairs), len(pairs) - len(differing), differing)


def _is_checked(condition: Condition) -> bool:
    return condition.kind == "z" and condition.setting == CHECKED


def _measure_reader(
    codec: Codec, reader: FoundReader, conditions: Sequence[Condition], asked: AskedSets, plan: ReaderPlan
) -> Iterator[ConditionResult]:
    """Measure the conditions of one reader."""
    reading = load_reading(reader, codec)
    tokenizer = ContentTokenizer(codec.backbone)
    reads_codes = reading.embedding.codes
    for condition in conditions:
        reading.embedding.codes = reads_codes and condition.kind != "anchors"
        began = time.perf_counter()
        kind, given = condition.kind, asked.asked[condition.setting]
        if kind == "extracted":
            kind, given = "text", extract(given, codec)
        if not condition.passages:
            given = [replace(one, passages=()) for one in given]
        prompts = Prompts(tokenizer, kind, codec.settings.subcodes)
        answers = answer_questions(reading, prompts, given, codec.backbone.decode)
        print(f"{condition.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        sizes = [_sizes(whole, one, kind) for whole, one in zip(asked.in_any, given, strict=True)]
        yield _result(condition, given, answers, np.array(sizes, np.int64), asked.sets, plan)


def _result(
    condition: Condition,
    asked: Sequence[Asked],
    answers: Sequence[str],
    sizes: NDArray[np.int64],
    sets: Sequence[str],
    plan: ReaderPlan,
) -> ConditionResult:
    """Score the answers of a condition; sizes: (Q, 2), source tokens and positions of each question's passages."""
    exact = np.array([exact_match(answer, one.answers) for answer, one in zip(answers, asked, strict=True)])
    f1s = np.array([f1(answer, one.answers) for answer, one in zip(answers, asked, strict=True)])

    def score(rows: NDArray[np.int64]) -> Score:
        source, positions = sizes[rows].sum(0).tolist()
        return Score(
            len(rows),
            float(exact[rows].mean()),
            _interval(exact[rows], plan),
            float(f1s[rows].mean()),
            _interval(f1s[rows], plan),
            source,
            positions,
            source / positions if positions else None,
        )

    overall = score(np.arange(len(sets)))
    data_sets = {name: score(rows) for name, rows in _rows_of(sets).items()}
    reached = [own.positions_ratio for own in data_sets.values() if own.positions_ratio is not None]
    return ConditionResult(
        condition,
        overall,
        data_sets,
        min(reached, default=None),
        tuple(answers),
        tuple(exact.tolist()),
        tuple(f1s.tolist()),
    )


def _sizes(whole: Asked, given: Asked, kind: str) -> tuple[int, int]:
    """Count the source tokens of a question's passages, and the positions that they take as they are given."""
    tiles = [tile for _, tile in given.passages]
    positions = sum(len(tile.ids) if kind == "text" else len(as_input(tile, kind).tokens) for tile in tiles)
    return sum(len(tile.ids) for _, tile in whole.passages), positions


def _comparison(
    z: ConditionResult, other: ConditionResult, figure: str, sets: Sequence[str], bar: float | None, plan: ReaderPlan
) -> Comparison:
    """Compare two conditions question by question."""
    own, its = np.array(z.f1s), np.array(other.f1s)

    def value(rows: NDArray[np.int64]) -> float:
        if figure == "difference":
            return float((own[rows] - its[rows]).mean())
        return float(own[rows].mean() / its[rows].mean()) if its[rows].any() else math.nan

    def paired(rows: NDArray[np.int64]) -> Paired:
        interval = bootstrap(lambda drawn: value(rows[drawn]), len(rows), plan.resamples, plan.seed)
        return Paired(value(rows), interval)

    overall = paired(np.arange(len(sets)))
    reached = None
    if bar is not None:
        reached = overall.interval.low > bar if figure == "difference" else overall.value >= bar
    data_sets = {name: paired(rows) for name, rows in _rows_of(sets).items()}
    return Comparison(z.condition.name, other.condition.name, figure, overall, data_sets, bar, reached)


def _rows_of(sets: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Give the numbers of each data set's questions."""
    names = np.array(sets)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(sets)}


def _interval(values: Floats, plan: ReaderPlan) -> Interval:
    return bootstrap(lambda rows: float(values[rows].mean()), len(values), plan.resamples, plan.seed)
