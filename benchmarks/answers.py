"""Measure what readers answer from the gold passages of questions, given in several ways (benchmarks/readers.py).

    plain text                          the ceiling
    Z at a ratio                        Z-tokens; at every ratio the text can be restored exactly
    Z at a ratio, with the question     the codec is told the question, as the adapters of frameworks do
    pruning, truncation                 in as many positions as Z at that ratio
    LTSC                                all of the text, in meta-tokens for what is repeated
    sentences by the question           in as many positions as Z with the question
    no passage                          the floor

Each kind of input has its own reader, all trained alike. The reader of Z-tokens is asked in other ways, too, since it
has seen plain text in training, and an app has one reader. So is LTSC's, whose other answers are compared with those
from plain text. Exact match and F1 are SQuAD's. Intervals are 95 %, by bootstrap over questions; comparisons are
paired, since all conditions are asked the same questions:

    difference    mean of F1(Z) - F1(other)          at the same ratio
    ratio         mean F1(Z) / mean F1(plain text)
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.common import Ints, Range, Row, Tables, figures
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
from zprompt.eval import Question, exact_match, f1
from zprompt.reader import Reader
from zprompt.zspan import read_header

EXACT_BAR = 0.95  # of plain text's F1, by Z-tokens at ratio 2 and at the usual ratio
LOSSY_BAR = 0.85  # at ratio 4
BARS: dict[float | None, float] = {2.0: EXACT_BAR, None: EXACT_BAR, 4.0: LOSSY_BAR}


@dataclass(frozen=True, slots=True)
class Condition:
    """A form in which passages are given."""

    name: str
    reader: str  # the input that its reader was trained on
    ratio: float | None = None  # wanted; None: what `compress` gives without one
    passages: bool = True
    query: bool = False  # whether the passages are shortened with the question known
    given: str | None = None  # the form of the passages, if not the one that the reader was trained on

    @property
    def kind(self) -> str:
        """Return the form of the passages."""
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
    return [Condition(f"{name}, ratio {ratio:g}{ending}", reader, ratio, query=query, given=given) for ratio in ratios]


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
COMPRESSED = tuple(dict.fromkeys(condition.setting for condition in CONDITIONS))


BY_NAME = {condition.name: condition for condition in CONDITIONS}
ALL = "all"  # questions of all data sets


def measure(
    codec: Codec,
    readers: Mapping[str, FoundReader],
    questions: Mapping[str, Sequence[Question]],
    cache: Path,
    seed: int = 0,
) -> Iterator[Tables]:
    """Measure condition after condition, and yield all results so far after each.

    :param codec: The codec.
    :param readers: The readers by kind of input.
    :param questions: The questions by data set.
    :param cache: Folder where Z-spans are kept for the next run.
    :param seed: Seed of the bootstrap.
    :yields: All results so far.
    """
    settings = dict.fromkeys(condition.setting for condition in CONDITIONS if not readers[condition.reader].problem)
    asked = compress_passages(questions, list(settings) or COMPRESSED, codec, cache)
    sets = [compressed.data_set for compressed in asked]
    tables: Tables = {
        "questions": [
            {
                "data set": compressed.data_set,
                "question": compressed.question.question,
                "answers": compressed.question.answers,
            }
            for compressed in asked
        ],
        "left out": [{"questions": sum(map(len, questions.values())) - len(asked)}],  # a passage has no Z-tokens
        "readers": [asdict(reader) for reader in readers.values()],
        "conditions": [],
        "missing": [],
        "comparisons": [],
    }
    for kind, conditions in groupby(CONDITIONS, lambda condition: condition.reader):
        if problem := readers[kind].problem:
            tables["missing"] += [{"condition": condition.name, "reason": problem} for condition in conditions]
            yield tables
            continue
        reader = load_found(readers[kind], codec)
        for condition in conditions:
            tables["conditions"].append(_measure_condition(codec, reader, condition, asked, seed))
            tables["comparisons"] = list(compare(tables["conditions"], sets, seed))
            yield tables


def _measure_condition(
    codec: Codec, reader: Reader | LtscReader, condition: Condition, asked: Sequence[CompressedQuestion], seed: int
) -> Row:
    """Ask all questions in one condition, and score the answers."""
    began = time.perf_counter()
    inputs = [make_input(compressed, condition.setting, condition.kind, codec) for compressed in asked]
    answers = answer(reader, inputs)
    print(f"{condition.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    exact, f1s = (
        np.array(
            [metric(text, compressed.question.answers) for text, compressed in zip(answers, asked, strict=True)],
            np.float64,
        )
        for metric in (exact_match, f1)
    )
    source = np.array(
        [sum(read_header(span).source_tokens for span in next(iter(compressed.spans.values()))) for compressed in asked]
    )
    positions = np.array([passages.positions for passages in inputs])

    def score(rows: Ints) -> Row:
        ones, taken = np.ones(len(rows)), int(positions[rows].sum())
        return {
            "questions": len(rows),
            "exact match": Range.of_quotient(exact[rows], ones, seed),
            "F1": Range.of_quotient(f1s[rows], ones, seed),
            "positions": taken,  # of the passages; titles, question and template are not counted
            "ratio": int(source[rows].sum()) / taken if taken else None,  # None: without passages
        }

    scores = {name: score(rows) for name, rows in _rows_of([compressed.data_set for compressed in asked]).items()}
    ratios = [row["ratio"] for name, row in scores.items() if name != ALL and row["ratio"] is not None]
    return {
        "condition": condition.name,
        "scores": scores,
        "worst ratio": min(ratios, default=None),  # of a data set
        "answers": answers,
        "exact matches": exact.tolist(),
        "f1s": f1s.tolist(),
    }


def compare(results: Sequence[Row], sets: Sequence[str], seed: int) -> Iterator[Row]:
    """Compare Z-tokens with plain text, and with what takes the same positions; `sets` has each question's data set."""
    for z, other in ((z, other) for z in results for other in results):
        z_condition, rival = BY_NAME[z["condition"]], BY_NAME[other["condition"]]
        if z_condition.kind != "z" or not rival.is_rival:
            continue
        if rival.kind != "text" and rival.setting != z_condition.setting:
            continue
        z_f1s, rival_f1s = np.array(z["f1s"]), np.array(other["f1s"])
        if rival.kind == "text":
            numerators, denominators, wanted = z_f1s, rival_f1s, BARS.get(z_condition.ratio)
        else:
            numerators, denominators, wanted = z_f1s - rival_f1s, np.ones(len(sets)), 0.0
        scores = {
            name: Range.of_quotient(numerators[rows], denominators[rows], seed) for name, rows in _rows_of(sets).items()
        }
        reached = scores[ALL].value >= wanted if rival.kind == "text" and wanted else scores[ALL].low > 0
        yield {
            "z": z_condition.name,
            "other": rival.name,
            "figure": "ratio" if rival.kind == "text" else "difference",
            "scores": scores,
            "wanted": wanted,
            "reached": None if wanted is None else bool(reached),
        }


def _rows_of(sets: Sequence[str]) -> dict[str, Ints]:
    """Return the indices of all questions, and of each data set's."""
    names = np.array(sets)
    return {ALL: np.arange(len(sets)), **{name: np.flatnonzero(names == name) for name in dict.fromkeys(sets)}}


# The report.


def section(tables: Tables) -> Iterator[str]:
    """Write the tables of conditions and comparisons, line by line."""
    [left_out] = tables["left out"]
    yield from ("## Answers", "")
    yield (
        f"{len(tables['questions'])} questions, the same in every condition; {left_out['questions']} more have a "
        "passage that has no Z-tokens. In brackets 95 % of a bootstrap over questions. Ratio: source tokens of the "
        "passages per position that they take; worst: of the data set where it is lowest. Pruning, truncation and "
        "sentences have as many positions as Z-tokens at that ratio."
    )
    sets = list(dict.fromkeys(question["data set"] for question in tables["questions"]))
    rows = [
        {"passages as": row["condition"], **row["scores"][ALL], "worst": row["worst ratio"]}
        | {f"F1, {name}": row["scores"][name]["F1"] for name in sets}
        for row in tables["conditions"]
    ]
    columns = {"passages as": "", "ratio": ".2f", "worst": ".2f", "exact match": ".1%", "F1": ".1%"}
    yield ""
    yield from figures(rows, columns | {f"F1, {name}": ".1%" for name in sets})
    if tables["missing"]:
        yield from ("", "Not measured:", "")
        yield from (f"- {missing['condition']}: {missing['reason']}" for missing in tables["missing"])
    for figure, title, spec in (
        ("ratio", "F1 of Z-tokens per F1 of plain text, paired by question; wanted is at least so much:", ".2f"),
        (
            "difference",
            "F1 of Z-tokens less that of others, paired by question; wanted is an interval above 0:",
            "+.1%",
        ),
    ):
        rows = [
            {"": f"{row['z']} and {row['other']}", **row["scores"], "wanted": row["wanted"], "reached": row["reached"]}
            for row in tables["comparisons"]
            if row["figure"] == figure
        ]
        if rows:
            yield from ("", title, "")
            yield from figures(rows, {"": "", ALL: spec, "wanted": ".2f", "reached": "", **dict.fromkeys(sets, spec)})
    yield from ("", "Readers:", "")
    yield from figures(tables["readers"], dict.fromkeys(("input", "folder", "steps", "seed"), ""))
    trainings = {(reader["steps"], reader["seed"]) for reader in tables["readers"] if reader["problem"] is None}
    if len(trainings) > 1:
        yield from ("", "**The readers were not trained in the same steps from the same seed.**")
