"""Measure how often an answer is still there after focusing, and how long choosing takes.

    recall      share of the questions whose passages hold an answer word for word, and what stays of them still does
    kept        tokens of the text form, marks included, per token of the passages; by the reader's tokenizer
    covering    what `zprompt.compress(docs, query=…)` keeps without a wanted length, meant for 95 % of the answers
    seconds     from passages and question to the text form, with embeddings of sentences at hand and made anew

The two halves of `retrieved-dev` are apart. `xquad` and `nq` are gold passages alone, in which about one sentence fits;
the others are all passages of their questions.

    python -m benchmarks.answer_recall [--data FOLDER] [--limit N]
    python -m benchmarks.answer_recall --questions FILE --out FOLDER     files of your own, in the form of retrieved-dev
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import zprompt
from benchmarks.common import DATA, RESULTS, Asked, Row, describe_run, figures
from zprompt.errors import RatioWarning
from zprompt.eval import Ratio, RunRecord, estimate, holds_answer, write_json
from zprompt.relevance import Relevance

SHARES = (4, 8, 16)
SETS = ("retrieved-dev", "xquad-dev", "nq-dev", "hotpotqa-dev", "musique-dev")
GOLD_ONLY = ("xquad-dev", "nq-dev")
COLUMNS = {"questions of": "", "chosen by": "", "wanted": "", "recall": ".3f", "kept": ".3f", "questions": ""}
TIMES = {"questions of": "", "passages": ".1f", "tokens": ".0f", "at hand, ms": ".1f", "anew, ms": ".0f"}
TIMED = 20  # questions


def read(files: Sequence[Path], limit: int | None) -> dict[str, list[Asked]]:
    """Read the questions whose passages hold an answer, by the name of their set."""
    found: dict[str, list[Asked]] = {}
    for file in files:
        name = file.stem
        for line in file.read_text("utf-8").splitlines():
            row = json.loads(line)
            passages = [one for one in row["passages"] if one["gold"] or name not in GOLD_ONLY]
            if holds_answer(" | ".join(one["text"] for one in passages), row["answers"]):
                own = f"{name}, {row['set']}" if "set" in row else name
                found.setdefault(own, []).append(Asked(own, row["question"], row["answers"], passages))
    return {name: rows[:limit] for name, rows in found.items()}


def measure(name: str, rows: Sequence[Asked], relevance: Relevance, ratio: float | None) -> Row:
    """Focus the passages of each question, and look for an answer in what stays."""
    hits, before, after = [], 0, 0
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatioWarning)  # what is kept is in the table
            result = zprompt.compress(row.passages, query=row.question, form="text", ratio=ratio, relevance=relevance)
        stays = " | ".join(
            one["text"][start:end]
            for one, kept in zip(row.passages, result.kept or (), strict=True)
            for start, end in kept.ranges
        )
        hits.append(holds_answer(stays, row.answers))
        before, after = before + result.stats.source_tokens, after + result.stats.positions
    return {
        "questions of": name,
        "chosen by": relevance.name,
        "wanted": f"1/{ratio:g}" if ratio else "covering",
        "recall": estimate([Ratio(hit) for hit in hits], seed=0),
        "kept": after / before,
        "questions": len(rows),
    }


def time_choice(name: str, rows: Sequence[Asked]) -> Row:
    """Time the choice for some questions, with new embeddings and with those at hand."""
    relevance = Relevance.from_pretrained()
    relevance.score("Is it warm?", [zprompt.relevance.Passage("It is.")])
    anew, at_hand, tokens = [], [], []
    for row in rows[:TIMED]:
        for seconds in (anew, at_hand):
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RatioWarning)
                result = zprompt.compress(row.passages, query=row.question, form="text", ratio=4, relevance=relevance)
            seconds.append(time.perf_counter() - began)
        tokens.append(result.stats.source_tokens)
    return {
        "questions of": name,
        "passages": statistics.mean(len(row.passages) for row in rows[:TIMED]),
        "tokens": float(np.mean(tokens)),
        "at hand, ms": 1000 * statistics.median(at_hand),
        "anew, ms": 1000 * statistics.median(anew),
    }


def run(questions: dict[str, list[Asked]]) -> Iterator[Row]:
    """Measure every set at every length, by the default relevance and by words alone."""
    for relevance in (Relevance.from_pretrained(), Relevance.from_pretrained(embedder=None)):
        for name, rows in questions.items():
            for ratio in (*map(float, SHARES), None):
                yield measure(name, rows, relevance, ratio)


def main() -> None:
    """Measure, and write `results/answer-recall.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the question files")
    parser.add_argument("--questions", type=Path, nargs="+", help="these files instead of those of the folder")
    parser.add_argument("--limit", type=int, help="questions of each set")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options, began = parser.parse_args(), time.time()
    questions = read(options.questions or [options.data / f"{name}.jsonl" for name in SETS], options.limit)
    times = [time_choice(name, rows) for name, rows in questions.items()]
    rows = list(run(questions))
    record = RunRecord.take(0, began)
    write_json(options.out / "answer-recall.json", {"run": record, "recall": rows, "seconds": times})
    tables = [*figures(rows, COLUMNS), "", *figures(times, TIMES)]
    text = "\n".join(["# Answers that stay", "", describe_run(record), "", *tables, ""])
    (options.out / "answer-recall.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
