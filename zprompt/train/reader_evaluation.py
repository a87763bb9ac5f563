"""Measure a reader: how much of the benefit of a context it keeps, and its answers.

    kept = (CE without context - CE with what it reads) / (CE without context - CE with the text)

CE without context and with the text are the untuned LLM's, the third is the reader's: `kept` is 0 if it gets nothing
from the passage, 1 if it gets as much as the LLM gets from the text. Answers come from the class that users call.
Intervals are 95 %, by bootstrap over passages or questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.baselines.ltsc import LtscReader
from zprompt.eval import Question, Statistic, bootstrap, exact_match, f1
from zprompt.options import CompressOptions
from zprompt.reader import Calibration, PreparedPrompt, Reader, log_odds
from zprompt.train.codes import CodesModel
from zprompt.train.packing import Branch, PackedSequence, make_batch
from zprompt.train.reader_data import Contexts, Prompts, TiledQuestion, as_meta_tokens
from zprompt.train.reader_model import ReaderModel
from zprompt.zspan import escape_literal

ANSWER = 16  # tokens of an answer, at most
BATCH = 8  # sequences at a time
SHOWN = 8  # answers that are recorded

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Benefit:
    """The benefit that a reader gets from contexts."""

    passages: int
    continuations: int
    tokens: int
    positions_ratio: float  # source tokens of the contexts per position that they take
    without: float  # nats a token, the untuned LLM without context ...
    with_text: float  # ... with the text ...
    with_input: float  # ... and the reader with what it reads
    kept: float
    kept_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answers:
    """How good a reader's answers are."""

    questions: int
    exact_match: float
    f1: float
    f1_interval: tuple[float, float]
    shown: tuple[tuple[str, str, str], ...]  # some questions, with the right answer and the reader's

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the answers that are shown, as a dict for JSON."""
        figures = asdict(self)
        del figures["shown"]
        return figures


class BenefitMeter:
    """Measures the context benefit on development passages; the references are computed once."""

    def __init__(self, untuned: ReaderModel, contexts: Contexts) -> None:
        """Compute the references.

        :param untuned: The LLM before any training.
        :param contexts: Continuations of development passages.
        """
        self._sequences, text = contexts.given, contexts.text
        without = [
            PackedSequence(
                sequence.task, sequence.trunk[:1], tuple(Branch(1, branch.ids, 0) for branch in sequence.branches)
            )
            for sequence in text
        ]
        self._source_tokens = sum(len(sequence.trunk) for sequence in text)
        self._without, self._text = cross_entropies(untuned, without), cross_entropies(untuned, text)

    def measure(self, model: ReaderModel, passages: int | None = None) -> Benefit:
        """Measure a reader on the first passages, or on all."""
        sequences = self._sequences[:passages]
        count = len(sequences)
        with_input, with_text, without = cross_entropies(model, sequences), self._text[:count], self._without[:count]

        def kept(chosen: NDArray[np.int64]) -> float:
            gain = without[chosen].sum() - with_text[chosen].sum()
            return float((without[chosen].sum() - with_input[chosen].sum()) / gain) if gain else 0.0

        tokens = sum(sequence.targets for sequence in sequences)
        positions = sum(model.length(sequence.trunk) for sequence in self._sequences)
        return Benefit(
            passages=count,
            continuations=sum(len(sequence.branches) for sequence in sequences),
            tokens=tokens,
            positions_ratio=self._source_tokens / max(1, positions),
            without=float(without.sum() / max(1, tokens)),
            with_text=float(with_text.sum() / max(1, tokens)),
            with_input=float(with_input.sum() / max(1, tokens)),
            kept=kept(np.arange(count)),
            kept_interval=_interval(count, kept),
        )


@torch.no_grad()
def cross_entropies(model: ReaderModel, sequences: Sequence[PackedSequence]) -> Floats:
    """Sum the cross-entropy of the targets of each sequence over the whole vocabulary, in nats, (S,)."""
    sums = np.zeros(len(sequences))
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    for start in range(0, len(sequences), BATCH):
        chosen = order[start : start + BATCH]
        batch = make_batch([sequences[index] for index in chosen])
        log = (model.hidden(batch) @ model.head.T).log_softmax(dim=1)
        losses = -log.gather(1, batch.targets.ids.to(log.device)[:, None])[:, 0].cpu().numpy()
        np.add.at(sums, np.array(chosen)[batch.targets.rows.numpy()], losses)
    return sums


def answer_questions(reader: Reader, prompts: Prompts, questions: Sequence[TiledQuestion]) -> list[str]:
    """Let a reader answer questions greedily, from passages in the prompts' kind of input."""
    prepared = [PreparedPrompt.of(prompts.pieces(question.question, question.passages)) for question in questions]
    return [generation.text.strip() for generation in reader.complete(prepared, max_new_tokens=ANSWER)]


def answer_from_meta_tokens(reader: LtscReader, questions: Sequence[TiledQuestion]) -> list[str]:
    """Let a reader of LTSC's meta-tokens answer questions greedily."""
    passages = [
        [{"title": title, "text": as_meta_tokens(passage)[0]} for title, passage in question.passages]
        for question in questions
    ]
    answers = reader.answer([question.question for question in questions], passages, max_new_tokens=ANSWER)
    return [answer.text for answer in answers]


def answer_from_codes(
    model: CodesModel, prompts: Prompts, questions: Sequence[TiledQuestion], decode: Callable[[list[int]], str]
) -> list[str]:
    """Let a reader of codes answer questions greedily."""
    answers = []
    for question in questions:
        prompt = prompts.question(question.question, question.passages)
        anchors = np.flatnonzero(prompt.gaps)
        fork = int(anchors[-1] + prompt.gaps[anchors[-1]]) + 1 if len(anchors) else 1
        rest = prompt.ids[fork:]
        sequence = PackedSequence("questions", prompt[:fork], (Branch(fork, rest, len(rest)),))
        answers.append(decode(model.write(sequence, prompts.end_id, ANSWER)).strip())
    return answers


def answer_focused(reader: Reader, questions: Sequence[Question], ratios: Sequence[float]) -> dict[str, Answers]:
    """Let a reader answer questions from their passages as text, and focused at some ratios, as an app does."""
    if not questions:
        return {}
    strings = [question.question for question in questions]
    passages = [
        [{"title": passage.title, "text": passage.text} for passage in question.passages] for question in questions
    ]
    forms = {"text": [escaped(documents) for documents in passages]}
    for ratio in ratios:
        forms[f"{ratio:g}"] = [
            list(reader.codec.compress_with(CompressOptions(ratio, query=string), documents).documents)
            for string, documents in zip(strings, passages, strict=True)
        ]
    return {
        name: score_answers(questions, [str(answer) for answer in reader.answer(strings, form, max_new_tokens=ANSWER)])
        for name, form in forms.items()
    }


def escaped(documents: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return documents with whatever looks like a Z-span in their text escaped."""
    return [{**document, "text": escape_literal(document["text"])} for document in documents]


def score_answers(questions: Sequence[TiledQuestion] | Sequence[Question], answers: Sequence[str]) -> Answers:
    """Score answers to questions, of which there is one at least."""
    pairs: list[tuple[TiledQuestion | Question, str]] = list(zip(questions, answers, strict=True))
    f1s = np.array([f1(answer, question.answers) for question, answer in pairs])
    return Answers(
        questions=len(pairs),
        exact_match=float(np.mean([exact_match(answer, question.answers) for question, answer in pairs])),
        f1=float(f1s.mean()),
        f1_interval=_interval(len(pairs), lambda chosen: float(f1s[chosen].mean())),
        shown=tuple((question.question, question.answers[0], answer) for question, answer in pairs[:SHOWN]),
    )


@torch.no_grad()
def calibrate(model: ReaderModel, questions: Sequence[PackedSequence], not_found: int) -> Calibration:
    """Fit the confidence to training questions, every second one of which lacks the passages that answer it.

    :param model: The reader.
    :param questions: The questions; the first one has its answer.
    :param not_found: The token that begins "not found".
    :return: The calibration.
    """
    odds = np.zeros(len(questions))
    for index, question in enumerate(questions):
        logits = model.hidden(make_batch([question]))[0] @ model.head.T  # the first target's
        odds[index] = log_odds(1.0 - float(logits.softmax(0)[not_found]))
    return fit_calibration(odds, np.arange(len(questions)) % 2 == 0)


def fit_calibration(odds: Floats, answered: NDArray[np.bool_]) -> Calibration:
    """Fit a logistic regression of one variable by Newton's method.

    :param odds: (n,) log-odds of a reply other than "not found".
    :param answered: (n,) True where the passages had the answer.
    :return: The calibration.
    """
    mean, deviation = odds.mean(), max(float(odds.std()), 1e-6)
    inputs = np.stack(((odds - mean) / deviation, np.ones(len(odds))), axis=1)
    penalty, weights = np.diag([0.01, 1e-9]), np.zeros(2)  # keeps weights finite where the two kinds are separable
    for _ in range(50):
        probability = 1 / (1 + np.exp(-(inputs @ weights)))
        gradient = inputs.T @ (probability - answered) / len(odds) + penalty @ weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs / len(odds) + penalty
        weights -= np.linalg.solve(curvature, gradient)
    slope = float(weights[0] / deviation)
    return Calibration(round(slope, 4), round(float(weights[1] - slope * mean), 4))


def _interval(count: int, figure: Statistic) -> tuple[float, float]:
    if not count:
        return 0.0, 0.0
    interval = bootstrap(figure, count)
    return interval.low, interval.high
