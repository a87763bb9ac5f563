"""Ask the example apps twenty questions, with and without zprompt, with one reader and with the untuned LLM.

    python -m benchmarks.rag [--reader NAME] [--limit N] [--apps langchain llama_index]

Writes rag.json and rag.md to benchmarks/results, and the same tables into docs/rag.md, after each app. Needs
`pip install -r examples/requirements.txt`. Each question goes through all ways in turn, so that a busy machine slows
all of them; times still need an idle one.
"""

import argparse
import importlib
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import zprompt
from benchmarks.common import RESULTS, ROOT, mean_interval, one_cell
from examples.rag_common import LLM, Outcome, Question, Way, ask, in_process, questions
from zprompt.eval import Interval, RunRecord, exact_match, percent, table, write_json
from zprompt.llm import llama_of
from zprompt.reader import Reader, ZEmbedding

APPS = ("langchain", "llama_index")
PAGE = ROOT / "docs" / "rag.md"
BEGIN, END = "<!-- measured: python -m benchmarks.rag -->", "<!-- end -->"
TEXT = "without zprompt"  # the way of both apps that an untuned LLM can go, too
UNTUNED = "without zprompt, untuned LLM"


@dataclass(frozen=True, slots=True)
class WayResult:
    """The figures of one way of one app, over all questions."""

    app: str
    way: str
    questions: int
    f1: float  # mean
    f1_interval: Interval  # 95 %, over questions
    exact_match: float
    right_source: float  # share of the questions with a right answer in one of the files that passages are of
    positions: float  # of a prompt, mean
    most_positions: int
    passages_after: float  # seconds, median
    first_token_after: float  # seconds, median
    slowest_first_token: float
    outcomes: tuple[Outcome, ...]


def ask_all(app: str, asked: Sequence[Question], reader: LLM, untuned: LLM) -> list[WayResult]:
    """Ask one app all questions in all of its ways, and with the untuned LLM, which reads texts only."""
    module = importlib.import_module(f"examples.rag_{app}")
    with tempfile.TemporaryDirectory() as folder:
        built: dict[str, Way] = module.ways(Path(folder))
        routes = {UNTUNED: (built[TEXT], untuned)} | {name: (way, reader) for name, way in built.items()}
        for way, llm in routes.values():  # load whatever is loaded at the first use
            ask(way, llm, asked[0])
        outcomes: dict[str, list[Outcome]] = {name: [] for name in routes}
        for number, question in enumerate(asked, 1):
            for name, (way, llm) in routes.items():
                outcomes[name].append(ask(way, llm, question))
            print(f"{app}: {number}/{len(asked)}", file=sys.stderr, flush=True)
    return [summarise(app, name, of_way) for name, of_way in outcomes.items()]


def summarise(app: str, way: str, outcomes: Sequence[Outcome]) -> WayResult:
    """Average the outcomes of one way of an app."""
    scores = np.array([outcome.f1 or 0.0 for outcome in outcomes])
    firsts = [outcome.first_token_after for outcome in outcomes]
    return WayResult(
        app,
        way,
        len(outcomes),
        float(scores.mean()),
        mean_interval(scores),
        statistics.mean(exact_match(outcome.answer, outcome.question.answers) for outcome in outcomes),
        statistics.mean(outcome.question.file in outcome.sources for outcome in outcomes),
        statistics.mean(outcome.positions for outcome in outcomes),
        max(outcome.positions for outcome in outcomes),
        statistics.median(outcome.passages_after for outcome in outcomes),
        statistics.median(firsts),
        max(firsts),
        tuple(outcomes),
    )


def report(record: RunRecord, reader: str, results: Sequence[WayResult]) -> str:
    """Write the tables as Markdown, without a title."""
    lines = [
        f"`{record.command}` at commit {record.commit}, {record.started}; reader `{reader}`. Machine: "
        f"{record.machine}, {record.cores} cores, {record.threads} threads, **load average {record.load_average:.1f}**"
        + (
            ": other work ran on it, so compare times within a table only."
            if record.load_average > record.cores
            else "."
        ),
        "",
        "Positions: of the whole prompt, mean and most. Passages, first token: seconds after the question, median; in "
        "brackets the slowest first token. F1 and exact match as SQuAD counts them; in brackets 95 % (bootstrap over "
        "questions). Found: the right file is among the sources.",
    ]
    for app in dict.fromkeys(result.app for result in results):
        of_app = [result for result in results if result.app == app]
        lines += ["", f"**{app}**, {of_app[0].questions} questions", "", *_figures(of_app)]
    for app in dict.fromkeys(result.app for result in results):
        lines += ["", f"Answers, **{app}**:", "", *_answers([result for result in results if result.app == app])]
    return "\n".join(lines) + "\n"


def _figures(results: Sequence[WayResult]) -> Iterator[str]:
    head = ("way", "positions", "passages after", "first token after", "F1", "exact match", "found")
    rows = [
        (
            result.way,
            f"**{result.positions:.0f}** ({result.most_positions})",
            f"{result.passages_after:.2f} s",
            f"{result.first_token_after:.2f} s ({result.slowest_first_token:.2f} s)",
            f"**{result.f1:.0%}** ({result.f1_interval.low:.0%} to {result.f1_interval.high:.0%})",
            percent(result.exact_match),
            percent(result.right_source),
        )
        for result in results
    ]
    return table(head, rows)


def _answers(results: Sequence[WayResult]) -> Iterator[str]:
    """Write the table of an app's answers, one row per question."""
    by_question = zip(*(result.outcomes for result in results), strict=True)
    rows = [
        (
            outcomes[0].question.question,
            outcomes[0].question.answers[0],
            *(one_cell(outcome.answer) or "(nothing)" for outcome in outcomes),
        )
        for outcomes in by_question
    ]
    return table(("question", "right answer", *(result.way for result in results)), rows)


def put_into(page: Path, text: str) -> None:
    """Replace the tables between the two marks of a page."""
    before = page.read_text("utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n{END}", before), "utf-8")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--apps", nargs="+", choices=APPS, default=APPS)
    parser.add_argument("--limit", type=int, help="ask only the first questions")
    parser.add_argument("--out", type=Path, help="folder for rag.json and rag.md; docs/rag.md then stays as it is")
    return parser.parse_args()


def save(folder: Path, record: RunRecord, reader: Reader, results: Sequence[WayResult]) -> str:
    """Write JSON and Markdown, and return the tables."""
    text = report(record, reader.name, results)
    values = {"run": record, "reader": reader.name, "codec": reader.codec.fingerprint, "results": results}
    write_json(folder / "rag.json", values)
    (folder / "rag.md").write_text(f"# The same questions with and without zprompt\n\n{text}", "utf-8")
    return text


def main() -> None:
    """Ask, write and print."""
    options, began = parse(), time.time()
    reader = zprompt.load_reader(options.reader)
    codec = reader.codec
    unused = ZEmbedding(codec.backbone.hidden_size).eval()  # it reads no Z-tokens
    untuned = Reader(codec, llama_of(codec.backbone), unused, "untuned")
    results: list[WayResult] = []
    for app in options.apps:
        results += ask_all(app, questions()[: options.limit], in_process(reader), in_process(untuned))
        text = save(options.out or RESULTS, RunRecord.take(0, began), reader, results)
        if options.out is None:
            put_into(PAGE, text)
    print(text)


if __name__ == "__main__":
    main()
