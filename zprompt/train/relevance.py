"""Train the weights of relevance: the script behind `zprompt train relevance`.

    data    questions with the sentences that answer them, or with answers that some sentences contain
    calls   each question's passages, mixed with the nearest others by BM25 that have no answer
    fit     logistic regression with a listwise term, since one sentence with the answer is enough:

                sum over units of n**-1/2 · cross entropy                            whether a unit has the answer
                + LISTWISE · -log(sum of exp(score) over answering units / over all) whether one of them comes first
                + L2 · |w|²

            in which a call's n units count for n**1/2 together
    check   on every fifth question: share of the answers kept at given shares of the text, and the share of exp(score)
            that keeps 95 % of the answers (relevance/selection.py)

A file of questions has JSON lines of either form:

    {"question", "answers": [str], "passages": [{"title", "text", "gold"}]}
    {"question", "title", "sentences": [str], "answer_sentences": [int]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence
from torch.optim import LBFGS

from zprompt.errors import TrainingDataError
from zprompt.eval import holds_answer
from zprompt.json_lines import numbered_lines
from zprompt.relevance import (
    FORM,
    NAMES,
    WORDS,
    Floats,
    LogisticWeights,
    Passage,
    Relevance,
    choose_covering,
    choose_nearest,
    sentences,
    write_weights,
)
from zprompt.train.near import NearPassages

DISTRACTORS = (0, 0, 4, 9, 9)  # passages that are mixed in, for one question after the other
HELD_OUT = 5  # every fifth question is not trained on
WANTED_RECALL = 0.95
LISTWISE = 0.2
L2 = 2e-3
ITERATIONS = 500  # at most

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LabelledPassage:
    """A passage, and which of its units answer a question."""

    passage: Passage
    units: Ranges
    answers: tuple[bool, ...]

    def without_answers(self) -> LabelledPassage:
        """Return the passage as a distractor of another question."""
        return LabelledPassage(self.passage, self.units, (False,) * len(self.units))


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question, and passages of which some answer it."""

    question: str
    strings: tuple[str, ...]  # answers as text; none where sentences are marked
    passages: tuple[LabelledPassage, ...]


@dataclass(frozen=True, slots=True)
class TrainedRelevance:
    """Weights on disk, and their figures on the held-out questions."""

    path: Path
    questions: int
    recall: dict[str, float]  # share of the questions that keep an answering unit, by share of the text
    kept: float  # share of the text that 95 % of the answers need, on average


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    features: Floats  # (n, NAMES)
    answers: NDArray[np.bool_]  # (n,)
    words: NDArray[np.int64]  # (n,) of each unit


def train_relevance(
    files: Sequence[str], path: Path, *, embedder: object = "default", seed: int = 0
) -> TrainedRelevance:
    """Train the weights of relevance, with an embedder and without one.

    :param files: JSONL files of questions.
    :param path: The JSON file to write.
    :param embedder: As in `Relevance.from_pretrained`.
    :param seed: Seed of the order in which passages are mixed.
    :return: The figures.
    :raises TrainingDataError: If a file has another form, or there are too few questions.
    """
    questions = [question for file in files for question in read_labelled(Path(file))]
    if len(questions) < HELD_OUT:
        raise TrainingDataError(f"Only {len(questions)} questions have an answer. Pass at least {HELD_OUT}.")
    scorer = Relevance.from_pretrained(embedder=embedder)
    calls = list(_calls(questions, scorer, np.random.default_rng(seed)))
    trained = [call for index, call in enumerate(calls) if index % HELD_OUT]
    held_out = calls[::HELD_OUT]
    with_embedder, words_only = (_calibrated(_fit(trained, names), held_out) for names in (NAMES, (*WORDS, *FORM)))
    recall = {f"1/{share}": _recall(with_embedder, held_out, share) for share in (4, 8, 16)}
    kept = float(np.mean([_covered(with_embedder, call) @ call.words / call.words.sum() for call in held_out]))
    training: dict[str, Any] = {
        "files": [Path(file).name for file in files],
        "questions": len(trained),
        "embedder": scorer.name,
        "seed": seed,
        "held_out": {"questions": len(held_out), "recall": recall, "kept_for_95_percent": kept},
    }
    write_weights(path, with_embedder, words_only, training)
    return TrainedRelevance(path, len(trained), recall, kept)


def read_labelled(path: Path) -> Iterator[LabelledQuestion]:
    """Read the questions of a file, without those that no unit answers.

    :param path: JSON lines of either form.
    :yields: The questions.
    :raises TrainingDataError: If a line has neither form; the message names it.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} cannot be read ({error}).") from error
    for number, line in numbered_lines(text):
        try:
            row = json.loads(line)
            question = _with_marks(row) if "sentences" in row else _with_answers(row)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise TrainingDataError(
                f"Line {number} of {path} is not a question ({type(error).__name__}: {error}). It needs 'question' and "
                "either 'answers' and 'passages', or 'sentences' and 'answer_sentences'."
            ) from error
        if any(any(passage.answers) for passage in question.passages):
            yield question


def _with_marks(row: dict[str, Any]) -> LabelledQuestion:
    marked, ranges, text = set(row["answer_sentences"]), [], ""
    for sentence in row["sentences"]:
        ranges.append((len(text), len(text) + len(sentence)))
        text += sentence + " "
    passage = Passage(text, row.get("title", ""))
    answers = tuple(index in marked for index in range(len(ranges)))
    return LabelledQuestion(row["question"], (), (LabelledPassage(passage, tuple(ranges), answers),))


def _with_answers(row: dict[str, Any]) -> LabelledQuestion:
    gold = [Passage(entry["text"], entry.get("title", "")) for entry in row["passages"] if entry.get("gold", True)]
    answers = tuple(row["answers"])
    return LabelledQuestion(row["question"], answers, tuple(_label(passage, answers) for passage in gold))


def _label(passage: Passage, answers: Sequence[str]) -> LabelledPassage:
    units = tuple(sentences(passage.text))
    return LabelledPassage(passage, units, tuple(holds_answer(passage.text[slice(*unit)], answers) for unit in units))


def _calls(questions: Sequence[LabelledQuestion], scorer: Relevance, random: np.random.Generator) -> Iterator[_Call]:
    """Mix distractors in, and compute the features of what an app would pass in one call."""
    pool = {labelled.passage.text: labelled for question in questions for labelled in question.passages}
    near = NearPassages([labelled.passage for labelled in pool.values()])
    for index, question in enumerate(questions):
        texts = [labelled.passage.text for labelled in question.passages]
        others = near.of(question.question, question.strings, texts)
        count = DISTRACTORS[index // HELD_OUT % len(DISTRACTORS)] if index % HELD_OUT else DISTRACTORS[-1]
        mixed = [*question.passages, *(pool[passage.text].without_answers() for passage in others[:count])]
        mixed = [mixed[position] for position in random.permutation(len(mixed))]
        passages, units = [labelled.passage for labelled in mixed], [labelled.units for labelled in mixed]
        features = scorer.features(question.question, passages, units)
        words = [len(labelled.passage.text[a:b].split()) for labelled in mixed for a, b in labelled.units]
        answers = [answer for labelled in mixed for answer in labelled.answers]
        yield _Call(features, np.array(answers), np.array(words))


def _fit(calls: Sequence[_Call], names: Sequence[str]) -> LogisticWeights:
    """Fit the regression on some of the features."""
    columns = [NAMES.index(name) for name in names]
    features = np.concatenate([call.features[:, columns] for call in calls])
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation < 1e-5] = 1.0  # a feature that never varies gets weight 0; its deviation would be rounded to 0
    scaled = torch.from_numpy((features - mean) / deviation).split([len(call.answers) for call in calls])
    inputs = pad_sequence(scaled, batch_first=True)  # (calls, units, features)
    answers = pad_sequence([torch.from_numpy(call.answers) for call in calls], batch_first=True)
    importance = pad_sequence([torch.full(rows.shape[:1], len(rows) ** -0.5) for rows in scaled], batch_first=True)
    importance = importance.double() / importance.sum()
    weights = torch.zeros(len(columns), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = LBFGS([weights, bias], max_iter=ITERATIONS, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = inputs @ weights + bias
        pointwise = binary_cross_entropy_with_logits(scores, answers.double(), importance, reduction="sum")
        answering, overall = (
            torch.logsumexp(scores.masked_fill(~mask, -torch.inf), 1) for mask in (answers, importance > 0)
        )
        total = pointwise + LISTWISE * (overall - answering).mean() + L2 * weights @ weights
        total.backward()
        return total

    optimizer.step(loss)
    return LogisticWeights(
        names=tuple(names),
        mean=_rounded(mean),
        deviation=_rounded(deviation),
        weights=_rounded(weights.detach().numpy()),
        bias=round(bias.item(), 6),
        coverage=1.0,
    )


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _calibrated(weights: LogisticWeights, calls: Sequence[_Call]) -> LogisticWeights:
    """Find the smallest coverage at which enough questions keep an answer."""
    needed = []
    for call in calls:
        scores = weights.scores(call.features)
        order = np.argsort(-scores, kind="stable")
        share = np.exp(scores[order] - scores.max())
        before = np.concatenate(([0.0], np.cumsum(share)[:-1])) / share.sum()
        needed.append(before[np.flatnonzero(call.answers[order])[0]])
    coverage = float(np.nextafter(np.quantile(needed, WANTED_RECALL, method="higher"), 1.0))
    return LogisticWeights(weights.names, weights.mean, weights.deviation, weights.weights, weights.bias, coverage)


def _covered(weights: LogisticWeights, call: _Call) -> NDArray[np.bool_]:
    return choose_covering(
        weights.scores(call.features), call.words.tolist(), [None] * len(call.words), weights.coverage
    )


def _recall(weights: LogisticWeights, calls: Sequence[_Call], share: int) -> float:
    """Return the share of questions that keep an answering unit at a share of the text."""
    kept = [
        choose_nearest(
            weights.scores(call.features), call.words.tolist(), [None] * len(call.words), call.words.sum() / share
        )
        for call in calls
    ]
    return float(np.mean([bool((mask & call.answers).any()) for mask, call in zip(kept, calls, strict=True)]))
