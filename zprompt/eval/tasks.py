"""Tasks that shortened texts are used for, and how each scores predictions.

    retrieved        can the question still be answered from retrieved passages: those that answer it, and others
    qa               the same, from only the passages that answer it
    reconstruction   how much of the text can be restored
    summarisation    does the summary change
    queries          does a search with the shortened query still find its document
    copying          is an exact value still there, and can a reader copy it
    structure        do JSON and Python still parse, to the same value

A file or dataset is used by the task named before it ("qa=FILE"), else by every task that its first row fits:

    question, answers, passages         qa, and retrieved if only some passages are marked as gold; likewise
                                        the public datasets of datasets.py
    topic, facet, turns                 queries
    text, article or paragraphs         reconstruction; with a summary or highlights, summarisation too
    a .json or .py file                 structure and reconstruction

`reconstruction` and `structure` score the restored texts of lossless methods, and the shortened texts of all others.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zprompt.errors import InvalidTextError, OptionError, TrainingDataError, UnreadableError
from zprompt.eval import metrics as m
from zprompt.eval.context import TEXT_READERS, EvaluationContext, Prediction, Replies
from zprompt.eval.datasets import (
    Row,
    Rows,
    Sample,
    draw,
    first_paragraphs,
    question_of,
    read_rows,
    shipped_rows,
    text_of,
)
from zprompt.eval.metrics import READER, READERS, Metric, holds_answer
from zprompt.eval.statistics import Estimate, Ratio, bootstrap
from zprompt.zspan import require_no_surrogates

if TYPE_CHECKING:
    from zprompt.reader import Message


@dataclass(slots=True)
class Scores:
    """What a task measured for one method at one ratio."""

    ratios: dict[Metric, list[Ratio | None]] = field(default_factory=dict)  # one per sample, in order
    estimates: dict[Metric, Estimate] = field(default_factory=dict)  # of metrics that are no quotient of sums
    times: dict[Metric, list[Ratio | None]] = field(default_factory=dict)  # as `ratios`, but different in every run
    missing: dict[str, str] = field(default_factory=dict)  # metric or reader: why it has no figures

    def add_costs(self, all_replies: Iterable[Replies]) -> list[Replies]:
        """Add the costs of reading the prompts; return the replies of the readers that could read them."""
        readable = []
        for replies in all_replies:
            if replies.error is not None:
                self.missing[replies.reader] = replies.error
                continue
            readable.append(replies)
            self.ratios[m.KV_CACHE.by(replies.reader)] = [Ratio(size) for size in replies.kv_megabytes]
            self.times[m.READING.by(replies.reader)] = [Ratio(replies.seconds, len(replies.texts))]
            if replies.first_token_seconds is not None:
                self.times[m.FIRST_TOKEN.by(replies.reader)] = [Ratio(replies.first_token_seconds)]
        return readable


@dataclass(frozen=True, slots=True)
class Draws:
    """Which samples a task draws from rows."""

    limit: int  # maximum number of samples
    characters: int  # maximum length of a text; passages of questions, JSON and code are not cut
    seed: int


@dataclass(frozen=True)
class Task(ABC):
    """Something that shortened texts are used for, with samples to measure it on."""

    source: str  # where the samples come from, as reports name it
    samples: Sequence[Sample]

    name: ClassVar[str]
    title: ClassVar[str]
    main: ClassVar[Metric]  # plotted and compared
    metrics: ClassVar[tuple[Metric, ...]]  # all, in the order of a report
    restores: ClassVar[bool] = False  # whether lossless methods restore the texts first
    file: ClassVar[str] = "texts"  # name of the shipped rows, used unless others are given

    @classmethod
    @abstractmethod
    def fits(cls, row: Row) -> bool:
        """Return whether the task is for rows like this one."""

    @classmethod
    def shipped(cls) -> Rows:
        """Return the rows that are used unless others are given."""
        return shipped_rows(cls.file)

    @classmethod
    def of(cls, rows: Rows, draws: Draws) -> Self:
        """Draw samples from rows, as evenly over the kinds of text as possible."""
        samples = [_text_sample(rows, index, draws.characters) for index in range(len(rows.rows))]
        source = f"{rows.source}, up to {draws.characters:,} characters of each"
        return cls(source, _draw_mixed(samples, draws.limit, draws.seed))

    @abstractmethod
    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Score one method's predictions of all samples."""

    @property
    def digest(self) -> str:
        """Return a hash of the samples, 12 hex digits."""
        parts = [(s.id, s.group, s.texts, s.query, s.titles, s.answers) for s in self.samples]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


class Reconstruction(Task):
    """Restoring texts of several kinds; a report has ratio, bits and exact restoration in the same row as BLEU."""

    name, title, main = "reconstruction", "Reconstruction", m.BLEU
    metrics = (m.BLEU, m.NUMBERS, m.NAMES)
    restores = True

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return whether a row has a text and no question."""
        return not _is_question(row) and not _is_query(row)

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Compare the restored texts with their sources."""
        pairs = [(prediction.sample.texts[0], prediction.final_texts[0]) for prediction in predictions]
        scores = Scores()
        for metric, find in ((m.NUMBERS, m.numbers), (m.NAMES, m.names)):
            recalls = [m.recall(find(source), find(restored)) for source, restored in pairs]
            scores.ratios[metric] = [Ratio(recall.found, recall.total) for recall in recalls]
        if bleu := _estimate_bleu(pairs, context.seed):
            scores.estimates[m.BLEU] = bleu
        else:
            scores.missing[m.BLEU.name] = "no text has four words in a row"
        return scores


def _estimate_bleu(pairs: Sequence[tuple[str, str]], seed: int) -> Estimate | None:
    """Compute the BLEU of a corpus of (source, restored) with its interval."""
    corpus = m.CorpusBleu([source for source, _ in pairs], [restored for _, restored in pairs])
    value = corpus.score()
    if value is None:
        # n-grams are counted in the restored texts: empty ones have none, and score worst.
        return Estimate(0.0, 0.0, 0.0, 0.0, len(pairs)) if any(source.split()[3:] for source, _ in pairs) else None

    def bleu(rows: NDArray[np.int64]) -> float:
        return corpus.score(rows) or 0.0

    interval = bootstrap(bleu, len(pairs), seed=seed)
    worst = min(bleu(np.array([row])) for row in range(len(pairs)))
    return Estimate(value, interval.low, interval.high, worst, len(pairs))


class QuestionAnswering(Task):
    """Questions about passages; titles and questions are not shortened."""

    name, title, main = "qa", "Questions", m.F1.by(READER)
    metrics = tuple(metric.by(reader) for reader in READERS for metric in (m.F1, m.EXACT_MATCH, m.KV_CACHE))
    max_new_tokens: ClassVar[int] = 16
    gold_only: ClassVar[bool] = True  # leave out passages that do not answer the question
    file = "questions"

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return whether a row is a question with passages."""
        return _is_question(row)

    @classmethod
    def of(cls, rows: Rows, draws: Draws) -> Self:
        """Draw questions, each with its passages."""
        samples = [_question_sample(rows, index, cls.gold_only) for index in range(len(rows.rows))]
        return cls(rows.source, draw(samples, draws.limit, draws.seed))

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Let every reader answer every question."""
        from zprompt.reader import question_messages  # imports torch, which a report does not need

        prompts = [
            question_messages(prediction.sample.query or "", _titled_passages(prediction)) for prediction in predictions
        ]
        ltsc = context.answer_with_ltsc(predictions, self.max_new_tokens)
        all_replies = [*context.replies(predictions, prompts, self.max_new_tokens), *([ltsc] if ltsc else [])]
        answers = [prediction.sample.answers for prediction in predictions]
        scores = Scores()
        for replies in scores.add_costs(all_replies):
            pairs = list(zip(replies.texts, answers, strict=True))
            scores.ratios[m.F1.by(replies.reader)] = [Ratio(m.f1(*pair)) for pair in pairs]
            scores.ratios[m.EXACT_MATCH.by(replies.reader)] = [Ratio(m.exact_match(*pair)) for pair in pairs]
        return scores


class RetrievedQuestions(QuestionAnswering):
    """Questions about retrieved passages, not all of which answer them.

    kept    an answer is among the words that are left; Z-tokens count as the words of their anchors
    """

    name, title = "retrieved", "Retrieved passages"
    metrics = (m.KEPT, *QuestionAnswering.metrics)
    gold_only = False

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return whether a row is a question with passages that answer it and others."""
        return _is_question(row) and len(set(map(_is_gold, row["passages"]))) == 2

    @classmethod
    def shipped(cls) -> Rows:
        """Return the shipped questions, each with passages of other questions beside its own."""
        questions = super().shipped()
        rows = (_add_distractors(row, questions.rows, index) for index, row in enumerate(questions.rows))
        return replace(questions, rows=tuple(rows))

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Let every reader answer every question, and look for the answers."""
        scores = super().score(predictions, context)
        try:
            kept = [
                holds_answer("\n".join(context.words(prediction)), prediction.sample.answers)
                for prediction in predictions
            ]
            scores.ratios[m.KEPT] = [Ratio(float(is_kept)) for is_kept in kept]
        except UnreadableError as error:
            scores.missing[m.KEPT.name] = str(error)
        return scores


def _titled_passages(prediction: Prediction) -> list[dict[str, str]]:
    pairs = zip(prediction.sample.all_titles, prediction.shortened, strict=True)
    return [{"title": title, "text": shortened.text} for title, shortened in pairs]


class Summarisation(Task):
    """Summaries: measures what shortening changes, not how well the model summarises; the full text scores 100.

    ROUGE-1, 2, L    against the same reader's summary of the full text
    "…, reference"   against the summary that came with the text, if one did
    """

    name, title, main = "summarisation", "Summaries", m.ROUGE_L.by(READER)
    metrics = tuple(
        metric.by(reader) for reader in TEXT_READERS for metric in (m.ROUGE_1, m.ROUGE_2, m.ROUGE_L, m.ROUGE_REFERENCE)
    )
    max_new_tokens: ClassVar[int] = 32
    kinds: ClassVar[dict[Metric, str]] = {m.ROUGE_1: "rouge1", m.ROUGE_2: "rouge2", m.ROUGE_L: "rougeL"}

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return whether a row has a text with a summary."""
        return Reconstruction.fits(row) and any(name in row for name in _SUMMARIES)

    @classmethod
    def shipped(cls) -> Rows:
        """Return the shipped texts that can be summarised."""
        texts = super().shipped()
        return replace(texts, rows=tuple(row for row in texts.rows if row["group"] in _PROSE))

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Summarise the shortened texts, and for each reader once the full texts."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(list(self.kinds.values()), use_stemmer=False)
        scores = Scores()
        prompts = [_summary_prompt(prediction.shortened[0].text) for prediction in predictions]
        references = [next(iter(prediction.sample.answers), None) for prediction in predictions]
        for replies in scores.add_costs(context.replies(predictions, prompts, self.max_new_tokens)):
            full = self._summaries_of_full_texts(replies.reader, context)
            rouge_scores = [scorer.score(*pair) for pair in zip(full, replies.texts, strict=True)]
            for metric, kind in self.kinds.items():
                scores.ratios[metric.by(replies.reader)] = [Ratio(rouge[kind].fmeasure) for rouge in rouge_scores]
            if any(references):
                scores.ratios[m.ROUGE_REFERENCE.by(replies.reader)] = [
                    None if reference is None else Ratio(scorer.score(reference, text)["rougeL"].fmeasure)
                    for reference, text in zip(references, replies.texts, strict=True)
                ]
        return scores

    def _summaries_of_full_texts(self, reader: str, context: EvaluationContext) -> list[str]:
        key = (self.name, reader)
        if key not in context.cache:
            prompts = [_summary_prompt(sample.texts[0]) for sample in self.samples]
            generations = context.reader(reader).generate(prompts, max_new_tokens=self.max_new_tokens)
            context.cache[key] = [generation.text.strip() for generation in generations]
        return list(context.cache[key])


def _summary_prompt(text: str) -> list[Message]:
    return [
        {"role": "system", "content": "You summarise texts in two or three sentences."},
        {"role": "user", "content": f"{text}\n\nSummarise this text."},
    ]


@dataclass(frozen=True)
class Queries(Task):
    """What a user said over several turns as a search query; one of the documents is the answer."""

    documents: Sequence[str]  # to search

    name, title, main = "queries", "Long queries", m.MRR
    metrics = (m.MRR, m.FIRST, m.TOP_TEN)
    file = "queries"

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return whether a row is a query of several turns."""
        return _is_query(row)

    @classmethod
    def of(cls, rows: Rows, draws: Draws) -> Self:
        """Draw queries; the documents of all rows are searched."""
        samples = [_query_sample(rows, index) for index in range(len(rows.rows))]
        drawn = draw(samples, draws.limit, draws.seed)
        return cls(rows.source, drawn, [sample.answers[0] for sample in samples])

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Rank the right documents by BM25, which reads Z-tokens as the words of their anchors."""
        documents = list(dict.fromkeys(self.documents))
        index = m.SearchIndex(documents)
        ranks = [
            index.rank(context.words(prediction)[0], documents.index(prediction.sample.answers[0]))
            for prediction in predictions
        ]
        return Scores(
            {
                m.MRR: [Ratio(1 / rank) for rank in ranks],
                m.FIRST: [Ratio(float(rank == 1)) for rank in ranks],
                m.TOP_TEN: [Ratio(float(rank <= 10)) for rank in ranks],
            }
        )


class Copying(Task):
    """Values hidden in a context generated from a seed; methods are told which value will be asked for.

    kept       the value is among the words that are left; Z-tokens count as the words of their anchors, although
               restoring would give the value
    copied     the reader's answer contains the value, character for character
    """

    name, title, main = "copying", "Exact copy", m.KEPT
    metrics = (m.KEPT, *(m.COPIED.by(reader) for reader in TEXT_READERS))
    max_new_tokens: ClassVar[int] = 20

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return False: samples are generated, not read."""
        return False

    @classmethod
    def shipped(cls) -> Rows:
        """Return no rows."""
        return Rows("made", ())

    @classmethod
    def of(cls, rows: Rows, draws: Draws) -> Self:
        """Generate contexts; the rows are ignored."""
        return cls(f"made from seed {draws.seed}", copying_samples(draws.limit, draws.seed))

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Look for the values in the words that are left, and ask the readers for them."""
        from zprompt.reader import question_messages  # imports torch, which a report does not need

        values = [prediction.sample.answers[0] for prediction in predictions]
        kept = [value in context.words(prediction)[0] for value, prediction in zip(values, predictions, strict=True)]
        scores = Scores({m.KEPT: [Ratio(float(is_kept)) for is_kept in kept]})
        prompts = [
            question_messages(prediction.sample.query or "", [prediction.shortened[0].text])
            for prediction in predictions
        ]
        for replies in scores.add_costs(context.replies(predictions, prompts, self.max_new_tokens)):
            copied = [value in text for value, text in zip(values, replies.texts, strict=True)]
            scores.ratios[m.COPIED.by(replies.reader)] = [Ratio(float(is_copied)) for is_copied in copied]
        return scores


_SENTENCES = 8  # in a context
_KEYS = 3  # of these sentences: those with a value
_NAMES = ("Larkspur", "Juniper", "Marigold", "Hawthorn", "Bluebell", "Foxglove", "Rosemary", "Clover")
_WHO = ("The night watch", "A driver", "The clerk", "An inspector", "The cook")
_DID = ("counted the crates in", "swept the floor of", "checked the lamps in", "left a note in", "locked the door of")
_WHERE = ("the north hall", "the loading bay", "the cold store", "the yard office", "the upper gallery")


def copying_samples(count: int, seed: int) -> list[Sample]:
    """Generate contexts: sentences of a warehouse's log, some of which give the code of a locker."""
    return [_copying_sample(number, random.Random(seed * 1000 + number)) for number in range(count)]


def _copying_sample(number: int, rng: random.Random) -> Sample:
    names = rng.sample(_NAMES, _KEYS)
    values = [f"{rng.randrange(1000, 10000)}-{rng.choice('ABCDEFGHJK')}{rng.randrange(10, 100)}" for _ in names]
    sentences = [
        f"{rng.choice(_WHO)} {rng.choice(_DID)} {rng.choice(_WHERE)} at {rng.randrange(24)}:{rng.randrange(60):02}."
        for _ in range(_SENTENCES - _KEYS)
    ]
    for name, value in zip(names, values, strict=True):
        sentences.insert(rng.randrange(len(sentences) + 1), f"The {name} locker has the code {value}.")
    asked = rng.randrange(_KEYS)
    question = f"What is the code of the {names[asked]} locker?"
    return Sample(f"copy-{number}", "keys", (" ".join(sentences),), question, answers=(values[asked],))


class Structure(Task):
    """JSON and Python files, in the groups "json" and "code"."""

    name, title, main = "structure", "Structure", m.SAME
    metrics = (m.PARSES, m.SAME)
    restores = True

    @classmethod
    def fits(cls, row: Row) -> bool:
        """Return whether a row is a JSON or Python file."""
        return row.get("group") in _PARSED.values()

    @classmethod
    def shipped(cls) -> Rows:
        """Return the shipped JSON and Python."""
        texts = super().shipped()
        return replace(texts, rows=tuple(row for row in texts.rows if cls.fits(row)))

    @classmethod
    def of(cls, rows: Rows, draws: Draws) -> Self:
        """Draw whole files, as evenly over the kinds as possible: part of a file would not parse."""
        samples = [_text_sample(rows, index) for index in range(len(rows.rows))]
        return cls(rows.source, _draw_mixed(samples, draws.limit, draws.seed))

    def score(self, predictions: Sequence[Prediction], context: EvaluationContext) -> Scores:
        """Parse the restored texts, and compare their values or syntax trees with the sources'."""
        parsed = [
            (
                canonical(prediction.sample.texts[0], prediction.sample.group),
                canonical(prediction.final_texts[0], prediction.sample.group),
            )
            for prediction in predictions
        ]
        return Scores(
            {
                m.PARSES: [Ratio(float(final is not None)) for _, final in parsed],
                m.SAME: [Ratio(float(final is not None and final == source)) for source, final in parsed],
            }
        )


def canonical(text: str, kind: str) -> str | None:
    """Return the canonical form of a text's value ("json") or syntax tree ("code"), None if empty or invalid."""
    try:
        if kind == "json":
            return json.dumps(json.loads(text), sort_keys=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape sequence is only a warning
            tree = ast.parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return ast.dump(tree) if tree.body else None


# Tasks with samples: from the user's data, else from shipped rows, else from a seed.

_ALL: tuple[type[Task], ...] = (
    RetrievedQuestions,
    QuestionAnswering,
    Reconstruction,
    Summarisation,
    Queries,
    Copying,
    Structure,
)
_BY_NAME = {task.name: task for task in _ALL}
TASKS = tuple(_BY_NAME)
_DISTRACTORS = 5  # passages beside the one that answers a shipped question
_PROSE = ("encyclopedia", "news", "dialogue")  # kinds of shipped texts that can be summarised
_PARSED = {".json": "json", ".py": "code"}
_SUMMARIES = ("highlights", "summary")


def make_tasks(names: Sequence[str], data: Sequence[str], limit: int, characters: int, seed: int) -> list[Task]:
    """Make tasks with samples.

    :param names: Some of `TASKS`.
    :param data: Files and datasets, each alone or as TASK=SOURCE.
    :param limit: Maximum number of samples of each task.
    :param characters: Maximum length of a text; passages of questions, JSON and code are not cut.
    :param seed: Decides which samples are drawn.
    :return: The tasks, in the order of the names.
    :raises OptionError: If there is no such task.
    :raises TrainingDataError: If a source cannot be read, or fits no task.
    """
    if unknown := set(names) - set(TASKS):
        raise OptionError(f"Unknown task {sorted(unknown)[0]!r}. Must be one of {', '.join(TASKS)}.")
    sources: dict[str, list[Rows]] = {}  # by task
    for spec in data:
        assigned = dict(_assign(spec))
        for name, rows in assigned.items():
            sources.setdefault(name, []).append(rows)
        if not set(assigned) & set(names):
            raise OptionError(
                f"{spec} is data for {', '.join(assigned)}, but the tasks are {', '.join(names)}. Choose tasks that "
                "measure it, such as --tasks " + f"{next(iter(assigned))}."
            )
    draws = Draws(limit, characters, seed)
    return [_BY_NAME[name].of(_joined(sources.get(name)) or _BY_NAME[name].shipped(), draws) for name in names]


def _joined(sources: Sequence[Rows] | None) -> Rows | None:
    """Join the rows of several sources; None if there are no sources."""
    if not sources:
        return None
    return Rows("; ".join(rows.source for rows in sources), tuple(row for rows in sources for row in rows.rows))


def _assign(spec: str) -> Iterator[tuple[str, Rows]]:
    """Yield each task that a file or dataset is for, with its rows."""
    name, separator, source = spec.partition("=")
    if separator and name in TASKS:
        yield name, _read_grouped(source)
        return
    rows = _read_grouped(spec)
    fitting = [name for name, task in _BY_NAME.items() if rows.rows and task.fits(rows.rows[0])]
    if not fitting:
        raise TrainingDataError(
            f"{spec} fits no task: its first row has {', '.join(rows.rows[0]) if rows.rows else 'nothing'}. Name "
            f"its task as TASK={spec}, with one of {', '.join(TASKS)}."
        )
    yield from ((name, rows) for name in fitting)


def _read_grouped(source: str) -> Rows:
    """Read rows; those of JSON and Python files get the group that `Structure` needs."""
    rows, group = read_rows(source), _PARSED.get(Path(source).suffix)
    return Rows(rows.source, tuple({**row, "group": group} for row in rows.rows)) if group else rows


def _is_question(row: Row) -> bool:
    return "question" in row and "passages" in row


def _is_gold(passage: object) -> bool:
    return isinstance(passage, Mapping) and bool(passage.get("gold"))


def _is_query(row: Row) -> bool:
    return "facet" in row and "turns" in row


def _draw_mixed(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """Draw samples, as evenly over the kinds of text as possible."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    drawn: Iterable[tuple[Sample | None, ...]] = zip_longest(*(draw(group, limit, seed) for group in groups.values()))
    return [sample for turn in drawn for sample in turn if sample is not None][:limit]


def _text_sample(rows: Rows, index: int, characters: int | None = None) -> Sample:
    row = rows.rows[index]
    try:
        require_no_surrogates(text := text_of(row))
    except (TrainingDataError, InvalidTextError) as error:
        raise TrainingDataError(f"Row {index + 1} of {rows.source}: {error}") from error
    summary = next((str(row[name]) for name in _SUMMARIES if row.get(name)), None)
    return Sample(
        id=str(row.get("id") or row.get("title") or index),
        group=str(row.get("group", "text")),
        texts=(text if characters is None else first_paragraphs(text, characters),),
        answers=(summary,) if summary else (),
    )


def _add_distractors(row: Row, rows: Sequence[Row], index: int) -> Row:
    """Mix passages of other questions into those of a question; the row's index is the seed."""
    rng = random.Random(index)
    gold = row["passages"]
    others = {passage["text"]: passage for other in rows for passage in other["passages"] if passage not in gold}
    passages = [*gold, *({**passage, "gold": False} for passage in rng.sample(list(others.values()), _DISTRACTORS))]
    return {**row, "passages": rng.sample(passages, len(passages))}


def _question_sample(rows: Rows, index: int, gold_only: bool) -> Sample:
    row = rows.rows[index]
    try:
        question = question_of(row, gold_only=gold_only)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidTextError) as error:
        raise TrainingDataError(
            f"Row {index + 1} of {rows.source} is not a question: {error!r}. It needs question, answers and passages "
            "of text."
        ) from error
    return Sample(
        id=str(row.get("id", index)),
        group="questions",
        texts=tuple(passage.text for passage in question.passages),
        query=question.question,
        titles=tuple(passage.title for passage in question.passages),
        answers=question.answers,
    )


def _query_sample(rows: Rows, index: int) -> Sample:
    row = rows.rows[index]
    try:
        turns = " ".join(str(utterance) for turn in row["turns"] for utterance in turn)
        return Sample(str(row.get("id", index)), "queries", (f"{row['topic']}. {turns}",), answers=(str(row["facet"]),))
    except (KeyError, TypeError) as error:
        raise TrainingDataError(
            f"Row {index + 1} of {rows.source} is not a long query: {error!r}. It needs topic, facet and turns, which "
            "are lists of text."
        ) from error
