"""Measure how often an answer survives focusing, and how long focusing takes.

    recall      share of the questions whose answer still stands word for word in what stays of their passages
    kept        tokens of the text form, marks included, per token of the passages; by the reader's tokenizer
    covering    what `zprompt.compress(docs, query=…)` keeps without a wanted length, meant for 95 % of the answers
    seconds     from passages and question to the text form, with sentence embeddings cached and computed anew

The two halves of `retrieved-dev` are reported separately. `xquad` and `nq` have gold passages only, of which about one
sentence fits; the others have all passages of their questions.

    python -m benchmarks.answer_recall [--data FOLDER] [--limit N]
    python -m benchmarks.answer_recall --cmrc FILE     Chinese: `data/cmrc2018_trial.json` of github.com/ymcui/cmrc2018

Of CMRC 2018, 100 passages are drawn, with one question each that has a short answer: once the passage alone, and once
among the nine of the file that share most character pairs with the question and do not hold the answer.
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
CHINESE = 100  # questions
LONGEST = 30  # characters of their answers
GOLD_ONLY = ("xquad-dev", "nq-dev")
COLUMNS = {"questions of": "", "chosen by": "", "wanted": "", "recall": ".3f", "kept": ".3f", "questions": ""}
TIMES = {"questions of": "", "passages": ".1f", "tokens": ".0f", "at hand, ms": ".1f", "anew, ms": ".0f"}
TIMED = 20  # questions


def read(folder: Path, limit: int | None) -> dict[str, list[Asked]]:
    """Read the questions whose passages hold an answer, by the name of their set."""
    questions: dict[str, list[Asked]] = {}
    for name in ("retrieved-dev", "xquad-dev", "nq-dev", "hotpotqa-dev", "musique-dev"):
        for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            passages = [passage for passage in row["passages"] if passage["gold"] or name not in GOLD_ONLY]
            if holds_answer(" | ".join(passage["text"] for passage in passages), row["answers"]):
                set_name = f"{name}, {row['set']}" if "set" in row else name
                question = Asked(set_name, row["question"], row["answers"], passages)
                questions.setdefault(set_name, []).append(question)
    return {name: rows[:limit] for name, rows in questions.items()}


def read_cmrc(path: Path, limit: int | None, seed: int = 0) -> dict[str, list[Asked]]:
    """Draw questions about Chinese passages, once with the passage alone and once among nine near ones."""
    articles = json.loads(path.read_text("utf-8"))
    random = np.random.default_rng(seed)
    texts = [article["context_text"] for article in articles]
    bigrams = list(map(_bigrams, texts))
    alone, among = [], []
    for gold in random.permutation(len(articles)).tolist():
        row = articles[gold]["qas"][random.integers(len(articles[gold]["qas"]))]
        question, answers = row["query_text"], row["answers"]
        if max(map(len, answers)) > LONGEST or not all(answer in texts[gold] for answer in answers):
            continue
        shared = [len(_bigrams(question) & pairs) / len(pairs) ** 0.5 for pairs in bigrams]
        near = sorted(range(len(texts)), key=lambda index: -shared[index])
        others = [i for i in near if i != gold and not any(answer in texts[i] for answer in answers)][:9]
        passages = [
            {"title": articles[index]["title"], "text": texts[index], "gold": index == gold}
            for index in random.permutation([gold, *others]).tolist()
        ]
        among.append(Asked("cmrc, ten", question, answers, passages))
        alone.append(Asked("cmrc, gold", question, answers, [passage for passage in passages if passage["gold"]]))
    return {"cmrc, ten": among[: limit or CHINESE], "cmrc, gold": alone[: limit or CHINESE]}


def _bigrams(text: str) -> set[str]:
    return {text[start : start + 2] for start in range(len(text) - 1)}


def measure(name: str, rows: Sequence[Asked], relevance: Relevance, ratio: float | None) -> Row:
    """Focus the passages of each question, and look for an answer in what stays."""
    hits, before, after = [], 0, 0
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatioWarning)  # what is kept is in the table
            result = zprompt.compress(row.passages, query=row.question, form="text", ratio=ratio, relevance=relevance)
        kept_text = " | ".join(
            passage["text"][start:end]
            for passage, kept in zip(row.passages, result.kept or (), strict=True)
            for start, end in kept.ranges
        )
        hits.append(holds_answer(kept_text, row.answers))
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
    """Time focusing for some questions, with embeddings computed anew and with cached ones."""
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
    """Measure, and write `results/answer-recall.json` and `.md`, or `answer-recall-chinese`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the question files")
    parser.add_argument("--cmrc", type=Path, help="Chinese questions instead, from a file of CMRC 2018")
    parser.add_argument("--limit", type=int, help="questions of each set")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options, began = parser.parse_args(), time.time()
    questions = read_cmrc(options.cmrc, options.limit) if options.cmrc else read(options.data, options.limit)
    name = "answer-recall-chinese" if options.cmrc else "answer-recall"
    times = [time_choice(name, rows) for name, rows in questions.items()]
    rows = list(run(questions))
    record = RunRecord.take(0, began)
    write_json(options.out / f"{name}.json", {"run": record, "recall": rows, "seconds": times})
    tables = [*figures(rows, COLUMNS), "", *figures(times, TIMES)]
    text = "\n".join(["# Answers that stay", "", describe_run(record), "", *tables, ""])
    (options.out / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
