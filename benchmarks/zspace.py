"""Measure writing in Z-tokens against writing text, by one reader from the same prompts.

    python -m benchmarks.zspace [--reader NAME] [--data PATH ...] [--limit N] [--ratio R] [--max-tokens N]

    passes           of the reader for 100 tokens of text, those that read the prompt and end the text included
    with expansion   and those of the decompressor, which makes text of the Z-tokens: one for each dropped token
    in the passage   share of the words that were written which the passages have, too

The reader answers the same questions, and continues the first passage of each, in both spaces. Answers are short, and
are scored as SQuAD does; continuations are as long as is asked for. Greedy. Writes zspace.json and zspace.md to
benchmarks/results, and prints the tables. The reader needs a Z-token head, which `zprompt train z-head` trains.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import zprompt
from benchmarks.common import DATA, RESULTS, draw_questions, mean_interval, one_cell, question_files
from zprompt.eval import Interval, Question, RunRecord, exact_match, f1, table, write_json
from zprompt.reader import Answer, Generation, Reader, Space

SPACES: tuple[Space, ...] = ("text", "z")
BATCH = 8
SHOWN = 4  # samples of each kind
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Cost:
    """What texts took, and how many of their words are in the passages."""

    texts: int
    text_tokens: int
    passes: float  # of the reader, for 100 tokens of text
    with_expansion: float  # and of the decompressor
    seconds: float  # for 100 tokens of text
    in_passage: float  # share of words


@dataclass(frozen=True, slots=True)
class SpaceFigures:
    """The figures of one space."""

    space: Space
    exact_match: float
    f1: float
    f1_interval: Interval
    answers: Cost
    continuations: Cost


@dataclass(frozen=True, slots=True)
class ZSpace:
    """Both spaces, with samples."""

    ratio: float  # source tokens per Z-token of what was read
    max_new_tokens: int  # of a continuation
    spaces: tuple[SpaceFigures, ...]
    questions: tuple[tuple[str, ...], ...]  # question, right answer, and the answer in each space
    continuations: tuple[tuple[str, ...], ...]  # the end of what was read, and its continuation in each space


def measure(
    reader: Reader, questions: Sequence[Question], ratio: float = 4.0, max_new_tokens: int = 48, seed: int = 0
) -> ZSpace:
    """Let a reader write in both spaces.

    :param reader: A reader with a Z-token head.
    :param questions: Questions, whose passages are read in Z-tokens; the first of each is also continued.
    :param ratio: Source tokens per Z-token of what is read.
    :param max_new_tokens: Tokens of a continuation.
    :param seed: Seed of the bootstrap.
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
    """Answer all questions, and continue all passages."""
    asked = [one.question for one in questions]
    answers, answering = _timed(lambda part: reader.answer(asked[part], spans[part], space=space), len(asked))
    continuations, continuing = _timed(
        lambda part: reader.complete(begun[part], max_new_tokens=max_new_tokens, space=space), len(begun)
    )
    return _Run(space, answers, continuations, answering, continuing)


def _figures(run: _Run, questions: Sequence[Question], passages: Sequence[Sequence[str]], seed: int) -> SpaceFigures:
    pairs = list(zip(run.answers, questions, strict=True))
    scores = np.array([f1(answer.text, one.answers) for answer, one in pairs])
    return SpaceFigures(
        space=run.space,
        exact_match=float(np.mean([exact_match(answer.text, one.answers) for answer, one in pairs])),
        f1=float(scores.mean()),
        f1_interval=mean_interval(scores, seed=seed),
        answers=_cost(run.answers, passages, run.answering),
        continuations=_cost(run.continuations, passages, run.continuing),
    )


def section(result: ZSpace) -> Iterator[str]:
    """Write the tables, line by line."""
    yield from ("## Writing in Z-tokens", "")
    yield (
        f"Passages are read in Z-tokens at a ratio of {result.ratio:g}; greedy; continuations of "
        f"{result.max_new_tokens} tokens. Passes, and seconds, are for 100 tokens of text that was written. Expansion: "
        "the decompressor's passes, one for each token that a Z-token drops."
    )
    spaces = [f"space {one.space}" for one in result.spaces]
    yield ""
    columns = [_column(one) for one in result.spaces]
    yield from table(["", *spaces], [(name, *(column[name] for column in columns)) for name in columns[0]])
    yield ""
    yield from table(["question", "right", *spaces], [tuple(map(one_cell, row)) for row in result.questions])
    yield ""
    yield from table(["… what was read", *spaces], [tuple(map(one_cell, row)) for row in result.continuations])


def _column(one: SpaceFigures) -> dict[str, str]:
    """Return the cells of a space by the names of their rows."""
    column = {
        "questions": str(one.answers.texts),
        "F1": f"{one.f1:.1%} ({one.f1_interval.low:.1%} to {one.f1_interval.high:.1%})",
        "exact match": f"{one.exact_match:.1%}",
    }
    for kind, cost in (("answers", one.answers), ("continuations", one.continuations)):
        column |= {
            f"{kind}: tokens": f"{cost.text_tokens:,}",
            f"{kind}: passes of the reader": f"{cost.passes:.1f}",
            f"{kind}: with expansion": f"{cost.with_expansion:.1f}",
            f"{kind}: seconds": f"{cost.seconds:.1f}",
            f"{kind}: words in the passage": f"{cost.in_passage:.1%}",
        }
    return column


def _timed(write: Callable[[slice], list[Any]], count: int) -> tuple[list[Any], float]:
    """Write texts, batch by batch, and return them with the seconds that it took."""
    began = time.perf_counter()
    found = [one for start in range(0, count, BATCH) for one in write(slice(start, start + BATCH))]
    return found, time.perf_counter() - began


def _cost(texts: Sequence[Answer | Generation], passages: Sequence[Sequence[str]], seconds: float) -> Cost:
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


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--data", type=Path, nargs="+", default=question_files(), help="JSONL of questions")
    parser.add_argument("--limit", type=int, default=10, help="questions of each file")
    parser.add_argument("--ratio", type=float, default=2.0, help="source tokens per Z-token of what is read")
    parser.add_argument("--max-tokens", type=int, default=32, help="of a continuation")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    given, began = parser.parse_args(), time.time()
    if not given.data:
        parser.error(f"There are no questions in {DATA}. Give files by --data.")
    drawn = draw_questions(given.data, given.limit)
    questions = [question for own in drawn.values() for question in own]
    reader = zprompt.load_reader(given.reader)
    if reader.z_head is None:
        parser.error(f"The reader {given.reader!r} has no Z-token head. Train one with `zprompt train z-head`.")
    result = measure(reader, questions, given.ratio, given.max_tokens)
    record = RunRecord.take(0, began)
    text = "\n".join(section(result)) + "\n"
    about = f"`{record.command}` at commit {record.commit}, {record.started}. Machine: {record.machine}."
    files = [path.name for path in given.data]
    write_json(given.out / "zspace.json", {"run": record, "reader": reader.name, "data": files, "result": result})
    (given.out / "zspace.md").write_text(f"# Text and Z-tokens as what is written\n\n{about}\n\n{text}", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
