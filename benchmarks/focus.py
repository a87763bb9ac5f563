"""Compare a reader's answers from focused passages with those from all, from gold ones, and from other baselines.

    all        the question's passages as text                      gold     only those that hold the answer, as text
    f-text     zprompt.compress(…, query=…, form="text")
    f-z        zprompt.compress(…, query=…) of Z-spans that were made without the question
    truncation                 the beginning of each passage
    pruning, llmlingua         ours, and LongLLMLingua if it is installed: with the question, of all passages together

The last two run the LLM over all passages for each question, so they get only the first questions (`--slow`). The
reader reads the 192 tokens of its prompt that the question needs most, as `Reader.answer` does; in the rows that say
"read whole" it reads everything (`max_passage_tokens=None`), again for the first questions. With `--llm URL`, an
ordinary LLM behind an OpenAI-compatible server, such as llama.cpp's, answers instead; it gets no Z-spans.

F1 is that of `Reader.answer`, greedy; differences are paired, in brackets 95 % of a bootstrap over questions. The ratio
is tokens of the passages per position of what replaces them. `confidence`: AUROC of `Answer.confidence` between
questions with all their passages and the same questions without those that hold an answer, both focused at ratio 4.

Times are from passages and question to the first token of the answer, everything included, for one question at a time,
with all passages read whole.

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
from functools import partial
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
RESAMPLES = 500  # of an AUROC; each compares all pairs
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
    """Draw questions that a passage answers, equally many of each set, the sets taking turns."""
    sets: dict[str, list[Asked]] = {}
    for path in paths:
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            question = Asked(row.get("set", path.stem), row["question"], row["answers"], row["passages"])
            if question.gold:
                sets.setdefault(question.set, []).append(question)
    drawn = [draw(questions, limit // len(sets), seed) for questions in sets.values()]
    return [question for turn in zip(*drawn, strict=False) for question in turn]


class Shortener:
    """Shortens passages."""

    def __init__(self, reader: Reader) -> None:
        """Make the Z-spans and the baselines with a reader's codec."""
        self.codec = reader.codec
        self._spans: dict[str, str] = {}
        shared = {"backbone": self.codec.backbone, "tokenizer": self.codec.backbone.tokenizer}
        installed = () if find_spec("llmlingua") is None else ("llmlingua",)
        self.baselines = {
            name: baselines.create(name, **{key: shared[key] for key in baselines.options_of(name) if key in shared})
            for name in ("truncation", "pruning", *installed)
        }

    def stored(self, passages: Documents) -> Documents:
        """Return the Z-spans that an app made of passages when it stored them."""
        new = [passage["text"] for passage in passages if passage["text"] not in self._spans]
        self._spans.update(zip(new, self.codec.compress(new).documents if new else [], strict=True))
        return [{**passage, "text": self._spans[passage["text"]]} for passage in passages]

    def shorten(self, way: str, ratio: int, asked: Asked, passages: Documents) -> Documents:
        """Shorten passages in one of the ways above."""
        query = asked.question
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatioWarning)  # the ratio that was reached is in the table
            if way == "f-text":
                return list(zprompt.compress(passages, query=query, form="text", ratio=ratio).documents)
            if way == "f-z":
                return list(self.codec.compress(self.stored(passages), query=query, ratio=ratio).documents)
        baseline, encode = self.baselines[way], self.codec.backbone.encode
        if way == "llmlingua":
            joined = "\n\n".join(passage["text"] for passage in passages)
            return [{"text": baseline.shorten(joined, len(encode(joined)) // ratio, query).text}]
        if way == "pruning":
            budget = sum(len(encode(passage["text"])) for passage in passages) // ratio
            return list(baseline.shorten_documents(passages, budget, query).documents)
        budgets = [max(1, len(encode(passage["text"])) // ratio) for passage in passages]
        return [
            {**passage, "text": baseline.shorten(passage["text"], budget, query).text}
            for passage, budget in zip(passages, budgets, strict=True)
        ]


def positions(reader: Reader, documents: Documents) -> int:
    """Count the positions that passages take, without titles, question and template."""
    template = reader.count("").positions
    return sum(reader.count(document["text"]).positions - template for document in documents)


# Answers.


Answerer = Callable[[Sequence[Asked], Sequence[Documents]], list[str]]


def by_reader(reader: Reader, **options: Any) -> Answerer:  # noqa: ANN401
    """Answer by a reader."""
    return lambda questions, prompts: [
        str(answer)
        for answer in reader.answer(
            [question.question for question in questions], prompts, max_new_tokens=ANSWER, **options
        )
    ]


def by_llm(url: str, model: str) -> Answerer:
    """Answer by an LLM behind an OpenAI-compatible server."""
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")

    def answer(question: Asked, documents: Documents) -> str:
        [message] = question_messages(f"{question.question}\n{BRIEFLY}", documents)[1:]
        reply = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": message["content"]}], temperature=0, max_tokens=ANSWER
        )
        return (reply.choices[0].message.content or "").strip()

    return lambda questions, prompts: [answer(*pair) for pair in zip(questions, prompts, strict=True)]


def measure_answers(
    reader: Reader,
    questions: Sequence[Asked],
    slow: int,
    answerers: Mapping[str, Answerer],
    chosen: Sequence[str] = WAYS,
    ratios: Sequence[int] = RATIOS,
) -> Iterator[Row]:
    """Score the answers to questions from passages.

    :param reader: Counts positions, and its codec makes Z-spans.
    :param questions: The questions.
    :param slow: Questions of the slow ways, and of those read whole.
    :param answerers: What answers, by the suffix of its rows' names.
    :param chosen: Ways of shortening; those that are not installed are left out.
    :param ratios: Ratios to shorten by.
    :yields: A row for each way, ratio and answerer.
    """
    shortener = Shortener(reader)
    ways: dict[str, Callable[[Asked], Documents]] = {
        "all": lambda question: question.passages,
        "gold": lambda question: question.gold,
    }
    for way in (name for name in chosen if name.startswith("f-") or name in shortener.baselines):
        for ratio in ratios[:2] if way in SLOW else ratios:
            ways[f"{way} {ratio}"] = lambda question, way=way, ratio=ratio: shortener.shorten(  # type: ignore[misc]
                way, ratio, question, question.passages
            )
    prompts: dict[str, list[Documents]] = {}
    scores: dict[str, list[Ratio]] = {}
    for suffix, name in product(answerers, ways):
        asked = questions[:slow] if suffix == WHOLE or name.split()[0] in SLOW else questions
        if name not in prompts:
            prompts[name] = [ways[name](question) for question in asked]
        shortened = prompts[name][: len(asked)]
        answers = answerers[suffix](asked, shortened)
        pairs = list(zip(answers, asked, strict=True))
        f1s = scores[name + suffix] = [Ratio(f1(answer, question.answers)) for answer, question in pairs]
        before = sum(positions(reader, question.passages) for question in asked)
        after = sum(positions(reader, documents) for documents in shortened)
        text_f1s = scores.get(f"f-text {name.split()[-1]}{suffix}")
        yield {
            "passages as": name + suffix,
            "ratio": before / max(1, after),
            "F1": estimate(f1s, seed=0),
            "exact match": statistics.mean(exact_match(answer, question.answers) for answer, question in pairs),
            "F1 - all": _difference(f1s, scores[f"all{suffix}"][: len(f1s)]),  # of a slow way, the first questions
            "F1 - gold": _difference(f1s, scores.get(f"gold{suffix}", f1s)[: len(f1s)]),
            "F1 of f-text - F1": _difference(text_f1s[: len(f1s)], f1s) if text_f1s else None,
            "questions": len(asked),
            "sets": {
                set_name: statistics.mean(
                    score.numerator for score, question in zip(f1s, asked, strict=True) if question.set == set_name
                )
                for set_name in dict.fromkeys(question.set for question in asked)
            },
            "shown": [(question.question, question.answers[0], answer) for answer, question in pairs[:8]],
        }


def _difference(scores: Sequence[Ratio], others: Sequence[Ratio]) -> Range:
    """Return the mean paired difference with its interval."""
    interval = paired_difference(scores, others)
    mean = statistics.mean(score.numerator - other.numerator for score, other in zip(scores, others, strict=True))
    return Range(mean, interval.low, interval.high)


# Confidence.


def measure_confidence(reader: Reader, questions: Sequence[Asked]) -> Row:
    """Compare the confidence with and without the passages that hold an answer."""
    shortener = Shortener(reader)

    def answers(passages: Sequence[Documents]) -> list[Answer]:
        prompts = [shortener.shorten("f-text", 4, *pair) for pair in zip(questions, passages, strict=True)]
        return reader.answer([question.question for question in questions], prompts, max_new_tokens=ANSWER)

    with_answer = answers([question.passages for question in questions])
    without = answers([question.others for question in questions])
    return {
        "questions": len(questions),
        "AUROC": auroc([answer.confidence for answer in with_answer], [answer.confidence for answer in without]),
        "found with an answer": statistics.mean(answer.found for answer in with_answer),
        "found without": statistics.mean(answer.found for answer in without),
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
    """Time the first token of the answer, the ways taking turns."""
    shortener = Shortener(reader)
    relevance = shared_relevance()
    ways: dict[str, Callable[[Asked], tuple[Documents, float]]] = {
        "all, text": lambda question: (question.passages, 0.0),
        "f-text 4, embeddings made anew": partial(_timed, _focus_anew),
        "f-text 4, embeddings at hand": partial(_timed, lambda question: _focus(question, relevance)),
        "f-z 4, stored Z-spans": partial(
            _timed, lambda question: shortener.shorten("f-z", 4, question, question.passages)
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    choosing: dict[str, list[float]] = {name: [] for name in ways}
    for question in questions:
        shortener.stored(question.passages)
        _focus(question, relevance)
        for name, way in ways.items():
            began = time.perf_counter()
            documents, shortening = way(question)
            reader.answer(question.question, documents, max_passage_tokens=None, max_new_tokens=1)
            seconds[name].append(time.perf_counter() - began)
            choosing[name].append(1000 * shortening)
    for name, times in seconds.items():
        ratios = [text / shortened for text, shortened in zip(seconds["all, text"], times, strict=True)]
        yield {
            "way": name,
            "first token, s": Range.of_rounds(times),
            "times as soon as text": Range.of_rounds(ratios),
            "choosing, ms": Range.of_rounds(choosing[name]),
        }


def _timed(shorten: Callable[[Asked], Documents], question: Asked) -> tuple[Documents, float]:
    began = time.perf_counter()
    return shorten(question), time.perf_counter() - began


def _focus(question: Asked, relevance: Relevance) -> Documents:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RatioWarning)
        result = zprompt.compress(question.passages, query=question.question, form="text", ratio=4, relevance=relevance)
    return list(result.documents)


def _focus_anew(question: Asked) -> Documents:
    """Focus with an empty embedding cache; the embedder stays loaded."""
    from zprompt.relevance import EmbeddingCache

    relevance, cache = shared_relevance(), shared_relevance().embedder
    relevance.embedder = EmbeddingCache(cache.embedder) if cache else None
    try:
        return _focus(question, relevance)
    finally:
        relevance.embedder = cache


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
    chosen = {suffix: answerer for task in options.only for suffix, answerer in answerers.get(task, {}).items()}
    ways = options.ways
    if chosen and options.llm:
        chosen = {f", by {options.model}": by_llm(options.llm, options.model)}
        ways = [way for way in ways if way != "f-z"]
    if chosen:
        results["answers"] = []
        for row in measure_answers(reader, questions, options.slow, chosen, ways, options.ratios):
            results["answers"].append(row)
            save()  # after each row: a run takes long, and may be stopped
    if "confidence" in options.only:
        results["confidence"] = measure_confidence(reader, questions)
        save()
    if "times" in options.only:
        results["times"] = list(measure_times(reader, questions[: options.timed]))
    print(save())


if __name__ == "__main__":
    main()
