"""Measure what a reader answers from focused passages, beside all of them, the gold ones and other ways of shortening.

    all        the question's passages as text                      gold     those that hold the answer alone, as text
    f-text     zprompt.compress(…, query=…, form="text")
    f-z        zprompt.compress(…, query=…) of Z-spans that were made without the question
    truncation                 the beginning of each passage
    pruning, llmlingua         ours, and LongLLMLingua if it is installed: with the question, of all passages together

The last two read all passages by the LLM for each question, so they get the first questions alone (`--slow`). Of what
it is given, the reader reads the 192 tokens that the question needs most, as `Reader.answer` does; in the rows that say
"read whole", all of it (`max_passage_tokens=None`), again for the first questions. With `--llm URL`, an ordinary LLM
behind an OpenAI-compatible server, such as llama.cpp's, answers instead; it gets no Z-spans.

F1 is that of `Reader.answer`, greedy; differences are paired, in brackets 95 % of a bootstrap over questions. The ratio
is tokens of the passages per position of what takes their place. `confidence`: AUROC of `Answer.confidence` between
questions with all their passages and the same with those that have an answer taken out, both focused at ratio 4.

Times are from passages and question to the first token of the answer, everything included, of one question at a time;
all that is given is read.

    python -m benchmarks.focus [--data FILE …] [--limit N] [--reader NAME|FOLDER] [--only answers whole …]
    python -m benchmarks.focus --only answers --ways f-text llmlingua --ratios 4
    python -m benchmarks.focus --only answers --llm http://127.0.0.1:8080/v1 --model gemma3-270m
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import zprompt
from benchmarks.common import DATA, RESULTS, Asked, Documents, Range, Row, describe_run, figures
from zprompt import baselines
from zprompt.errors import RatioWarning
from zprompt.eval import Ratio, RunRecord, draw, estimate, exact_match, f1, write_json
from zprompt.eval.statistics import bootstrap, paired_difference
from zprompt.reader import Answer, Reader, question_messages
from zprompt.relevance import Relevance, shared_relevance

RATIOS = (4, 8, 16)  # for the slow ways, the first two
WAYS = ("f-text", "f-z", "truncation", "pruning", "llmlingua")
WHOLE = ", read whole"
BRIEFLY = "Answer in a few words, without a sentence around them."  # to an ordinary LLM; F1 is that of short answers
ANSWER = 16  # tokens of an answer, at most
RESAMPLES = 500  # of an AUROC, whose every draw compares all pairs
TASKS = ("answers", "whole", "confidence", "times")
SLOW = ("pruning", "llmlingua")
COLUMNS = {
    "passages as": "",
    "ratio": ".1f",
    "F1": ".1%",
    "exact match": ".1%",
    "F1 - all": "+.1%",
    "F1 - gold": "+.1%",
    "F1 of f-text - F1": "+.1%",
    "questions": "",
}
TIMES = {"way": "", "first token, s": ".2f", "times as soon as text": ".2f", "choosing, ms": ".0f"}


def read(paths: Sequence[Path], limit: int, seed: int) -> list[Asked]:
    """Draw so many questions that a passage answers, one of each set of the files in turn."""
    sets: dict[str, list[Asked]] = {}
    for path in paths:
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            asked = Asked(row.get("set", path.stem), row["question"], row["answers"], row["passages"])
            if asked.gold:
                sets.setdefault(asked.set, []).append(asked)
    drawn = [draw(own, limit // len(sets), seed) for own in sets.values()]
    return [one for together in zip(*drawn, strict=False) for one in together]


class Shortener:
    """Puts something shorter in the place of passages."""

    def __init__(self, reader: Reader) -> None:
        """Make the Z-spans and the baselines with a reader's codec."""
        self.codec = reader.codec
        self._spans: dict[str, str] = {}
        own = {"backbone": self.codec.backbone, "tokenizer": self.codec.backbone.tokenizer}
        installed = () if find_spec("llmlingua") is None else ("llmlingua",)
        self.baselines = {
            name: baselines.create(name, **{key: own[key] for key in baselines.options_of(name) if key in own})
            for name in ("truncation", "pruning", *installed)
        }

    def stored(self, passages: Documents) -> Documents:
        """Return the Z-spans that an app made of passages when it stored them."""
        new = [one["text"] for one in passages if one["text"] not in self._spans]
        self._spans.update(zip(new, self.codec.compress(new).documents if new else [], strict=True))
        return [{**one, "text": self._spans[one["text"]]} for one in passages]

    def shorten(self, way: str, ratio: int, asked: Asked, passages: Documents) -> Documents:
        """Shorten passages in one of the ways above."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatioWarning)  # the ratio that was reached is in the table
            if way == "f-text":
                return list(zprompt.compress(passages, query=asked.question, form="text", ratio=ratio).documents)
            if way == "f-z":
                return list(self.codec.compress(self.stored(passages), query=asked.question, ratio=ratio).documents)
        method, count = self.baselines[way], self.codec.backbone.encode
        if way == "llmlingua":
            together = "\n\n".join(one["text"] for one in passages)
            return [{"text": method.shorten(together, len(count(together)) // ratio, asked.question).text}]
        if way == "pruning":
            budget = sum(len(count(one["text"])) for one in passages) // ratio
            return list(method.shorten_documents(passages, budget, asked.question).documents)
        budgets = [max(1, len(count(one["text"])) // ratio) for one in passages]
        return [
            {**one, "text": method.shorten(one["text"], budget, asked.question).text}
            for one, budget in zip(passages, budgets, strict=True)
        ]


def positions(reader: Reader, asked: Asked, documents: Documents) -> int:
    """Count the positions that passages take, without titles, question and template."""
    tokens = 0
    for one in documents:
        tokens += reader.count(one["text"]).positions - reader.count("").positions
    return tokens


# Answers.


Answerer = Callable[[Sequence[Asked], Sequence[Documents]], list[str]]


def by_reader(reader: Reader, **options: Any) -> Answerer:  # noqa: ANN401
    """Answer by a reader."""
    return lambda asked, given: [
        str(one) for one in reader.answer([one.question for one in asked], given, max_new_tokens=ANSWER, **options)
    ]


def by_llm(url: str, model: str) -> Answerer:
    """Answer by an LLM behind an OpenAI-compatible server."""
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")

    def answer(one: Asked, documents: Documents) -> str:
        [asked] = question_messages(f"{one.question}\n{BRIEFLY}", documents)[1:]
        reply = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": asked["content"]}], temperature=0, max_tokens=ANSWER
        )
        return (reply.choices[0].message.content or "").strip()

    return lambda asked, given: [answer(*pair) for pair in zip(asked, given, strict=True)]


def measure_answers(
    reader: Reader,
    questions: Sequence[Asked],
    slow: int,
    answerers: Mapping[str, Answerer],
    chosen: Sequence[str] = WAYS,
    ratios: Sequence[int] = RATIOS,
) -> Iterator[Row]:
    """Have questions answered from passages.

    :param reader: Counts positions, and its codec makes Z-spans.
    :param questions: The questions.
    :param slow: Questions of the slow ways, and of what is read whole.
    :param answerers: What answers, by what its rows say of it.
    :param chosen: Ways of shortening; those that are not installed are left out.
    :param ratios: To shorten by.
    :yields: A row for each way, ratio and answerer.
    """
    shortener = Shortener(reader)
    ways: dict[str, Callable[[Asked], Documents]] = {"all": lambda one: one.passages, "gold": lambda one: one.gold}
    for way in (own for own in chosen if own.startswith("f-") or own in shortener.baselines):
        for ratio in ratios[:2] if way in SLOW else ratios:
            ways[f"{way} {ratio}"] = lambda one, way=way, ratio=ratio: shortener.shorten(  # type: ignore[misc]
                way, ratio, one, one.passages
            )
    given: dict[str, list[Documents]] = {}
    scores: dict[str, list[Ratio]] = {}
    for suffix, name in product(answerers, ways):
        asked = questions[:slow] if suffix == WHOLE or name.split()[0] in SLOW else questions
        if name not in given:
            given[name] = [ways[name](one) for one in asked]
        own_given = given[name][: len(asked)]
        answers = answerers[suffix](asked, own_given)
        pairs = list(zip(answers, asked, strict=True))
        own = scores[name + suffix] = [Ratio(f1(answer, one.answers)) for answer, one in pairs]
        before = sum(positions(reader, one, one.passages) for one in asked)
        after = sum(positions(reader, *pair) for pair in zip(asked, own_given, strict=True))
        same = scores.get(f"f-text {name.split()[-1]}{suffix}")
        yield {
            "passages as": name + suffix,
            "ratio": before / max(1, after),
            "F1": estimate(own, seed=0),
            "exact match": statistics.mean(exact_match(answer, one.answers) for answer, one in pairs),
            "F1 - all": _difference(own, scores[f"all{suffix}"][: len(own)]),  # of a slow way, the first questions
            "F1 - gold": _difference(own, scores.get(f"gold{suffix}", own)[: len(own)]),
            "F1 of f-text - F1": _difference(same[: len(own)], own) if same else None,
            "questions": len(asked),
            "sets": {
                part: statistics.mean(r.numerator for r, q in zip(own, asked, strict=True) if q.set == part)
                for part in dict.fromkeys(one.set for one in asked)
            },
            "shown": [(one.question, one.answers[0], answer) for answer, one in pairs[:8]],
        }


def _difference(one: Sequence[Ratio], other: Sequence[Ratio]) -> Range:
    interval = paired_difference(one, other)
    mean = statistics.mean(a.numerator - b.numerator for a, b in zip(one, other, strict=True))
    return Range(mean, interval.low, interval.high)


# Confidence.


def measure_confidence(reader: Reader, questions: Sequence[Asked]) -> Row:
    """Compare the confidence with and without the passages that hold an answer."""
    shortener = Shortener(reader)
    both: list[list[Answer]] = []
    for choose in (lambda one: one.passages, lambda one: one.others):
        given = [shortener.shorten("f-text", 4, one, choose(one)) for one in questions]
        both.append(reader.answer([one.question for one in questions], given, max_new_tokens=ANSWER))
    with_answer, without = ([one.confidence for one in answers] for answers in both)
    return {
        "questions": len(questions),
        "AUROC": auroc(with_answer, without),
        "found with an answer": statistics.mean(one.found for one in both[0]),
        "found without": statistics.mean(one.found for one in both[1]),
    }


def auroc(positive: Sequence[float], negative: Sequence[float]) -> Range:
    """Return the probability that a positive has a higher value than a negative, with its interval."""

    def area(rows: np.ndarray[Any, Any]) -> float:
        higher = np.array(positive)[rows][:, None] - np.array(negative)[rows][None, :]
        return float((higher > 0).mean() + (higher == 0).mean() / 2)

    interval = bootstrap(area, len(positive), RESAMPLES)
    return Range(area(np.arange(len(positive))), interval.low, interval.high)


# Times.


def measure_times(reader: Reader, questions: Sequence[Asked]) -> Iterator[Row]:
    """Time the first token of the answer, in turn for all ways."""
    shortener = Shortener(reader)
    relevance = shared_relevance()
    ways: dict[str, Callable[[Asked], tuple[Documents, float]]] = {
        "all, text": lambda one: (one.passages, 0.0),
        "f-text 4, embeddings made anew": lambda one: _timed(_fresh, one),
        "f-text 4, embeddings at hand": lambda one: _timed(lambda own: _focus(own, relevance), one),
        "f-z 4, stored Z-spans": lambda one: _timed(lambda own: shortener.shorten("f-z", 4, own, own.passages), one),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    choosing: dict[str, list[float]] = {name: [] for name in ways}
    for one in questions:
        shortener.stored(one.passages)
        _focus(one, relevance)
        for name, way in ways.items():
            began = time.perf_counter()
            documents, took = way(one)
            reader.answer(one.question, documents, max_passage_tokens=None, max_new_tokens=1)
            seconds[name].append(time.perf_counter() - began)
            choosing[name].append(1000 * took)
    for name, own in seconds.items():
        ratios = [text / mine for text, mine in zip(seconds["all, text"], own, strict=True)]
        yield {
            "way": name,
            "first token, s": Range.of_rounds(own),
            "times as soon as text": Range.of_rounds(ratios),
            "choosing, ms": Range.of_rounds(choosing[name]),
        }


def _timed(shorten: Callable[[Asked], Documents], one: Asked) -> tuple[Documents, float]:
    began = time.perf_counter()
    return shorten(one), time.perf_counter() - began


def _focus(one: Asked, relevance: Relevance) -> Documents:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RatioWarning)
        result = zprompt.compress(one.passages, query=one.question, form="text", ratio=4, relevance=relevance)
    return list(result.documents)


def _fresh(one: Asked) -> Documents:
    """Focus with an embedder that has seen no text yet; loading it is not counted."""
    from zprompt.relevance import EmbeddingCache

    relevance, known = shared_relevance(), shared_relevance().embedder
    relevance.embedder = EmbeddingCache(known.embedder) if known else None
    try:
        return _focus(one, relevance)
    finally:
        relevance.embedder = known


def report(record: RunRecord, about: str, results: Mapping[str, Any]) -> str:
    """Write the Markdown of a run."""
    lines = ["# Answers from focused passages", "", f"{describe_run(record)} {about}", ""]
    if "answers" in results:
        lines += [*figures(results["answers"], COLUMNS), ""]
    if "confidence" in results:
        row = results["confidence"]
        lines += [f"Confidence, {row['questions']} questions: AUROC {row['AUROC'].value:.2f} "]
        lines[-1] += f"[{row['AUROC'].low:.2f}, {row['AUROC'].high:.2f}]; an answer is “found” in "
        lines[-1] += f"{row['found with an answer']:.0%} with it and {row['found without']:.0%} without it."
        lines += [""]
    if "times" in results:
        lines += [*figures(results["times"], TIMES), ""]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write `results/focus.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [DATA / "retrieved-dev.jsonl"]
    parser.add_argument("--data", type=Path, nargs="+", default=default, help="JSONL files of questions")
    parser.add_argument("--limit", type=int, default=300, help="questions")
    parser.add_argument("--slow", type=int, default=100, help="questions of the slow ways, and of what is read whole")
    parser.add_argument("--timed", type=int, default=10, help="questions that are timed")
    parser.add_argument("--reader", default="default", help="a reader")
    parser.add_argument(
        "--llm", help="an OpenAI-compatible server of an ordinary LLM, such as http://localhost:8080/v1"
    )
    parser.add_argument("--model", default="llm", help="the name of its model")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="of shortening; all that are installed")
    parser.add_argument("--ratios", nargs="+", type=int, default=RATIOS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options, began = parser.parse_args(), time.time()
    reader = zprompt.load_reader(options.reader, device="cpu")
    questions = read(options.data, options.limit, 0)
    about = f"Reader: {options.reader}, {reader.training.get('steps')} steps."
    results: dict[str, Any] = {}

    def save() -> str:
        record = RunRecord.take(0, began)
        write_json(options.out / "focus.json", {"run": record, "reader": options.reader, **results})
        text = report(record, about, results)
        (options.out / "focus.md").write_text(text, encoding="utf-8")
        return text

    answerers = {"answers": {"": by_reader(reader)}, "whole": {WHOLE: by_reader(reader, max_passage_tokens=None)}}
    asked = {suffix: own for task in options.only for suffix, own in answerers.get(task, {}).items()}
    ways = options.ways
    if asked and options.llm:
        asked = {f", by {options.model}": by_llm(options.llm, options.model)}
        ways = [way for way in ways if way != "f-z"]
    if asked:
        results["answers"] = []
        for row in measure_answers(reader, questions, options.slow, asked, ways, options.ratios):
            results["answers"].append(row)
            save()  # one by one: it takes long, and may be stopped
    if "confidence" in options.only:
        results["confidence"] = measure_confidence(reader, questions)
        save()
    if "times" in options.only:
        results["times"] = list(measure_times(reader, questions[: options.timed]))
    print(save())


if __name__ == "__main__":
    main()
