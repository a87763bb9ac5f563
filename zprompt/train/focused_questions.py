"""Questions as a reader meets them: about whole passages, or about what focusing leaves of them.

    plain   the passages as text, and a few near ones that do not answer (near.py)
    text    what focusing keeps of them and of up to nine others, with marks for what is left out (form="text")
    z       the same as Z-tokens: gap 0 within what is kept, and a gap over what is left out (form="z")

Passages are focused by the shipped relevance to a random length, but sentences that hold an answer always stay: the
other sentences that stay look most like an answer and are none, so the reader learns to choose among what focusing will
give it. Now and then the passages that answer are missing, and the answer is "not found".

No Z-span is needed: the tokens of what stays are those of the text. Questions about the same passages share one packed
sequence, with the passages as focused for the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zprompt.eval import Question, holds_answer
from zprompt.reader import NOT_FOUND, ContentTokenizer, encode_messages, question_messages
from zprompt.relevance import Choice, Length, Passage, Relevance, elide, sentences
from zprompt.results import KeptText
from zprompt.train.near import NearPassages
from zprompt.train.packing import Positions
from zprompt.train.passages import Encode
from zprompt.zspan import ZSpan, ZToken, escape_literal, format_span

FORMS = ("plain", "text", "z")
SHARES = (0.20, 0.55, 0.25)
TOGETHER = {"plain": 8, "text": 4, "z": 4}  # questions about the same passages, at most
UNANSWERABLE = 0.15  # share of draws in which a question's own passages are left out
DISTRACTORS = 9  # passages beside the gold ones of a focused question, at most; a focused one costs little
PASSED_OVER = 3  # of the nearest passages, by chance, so that questions about a passage differ in their distractors
KEPT = (250, 1150)  # characters that focusing leaves, at least and at most: what a reader reads of passages (reader.py)
SPARSEST = 0.04  # share of single tokens that stay elsewhere, at most, in every second Z-span


@dataclass(frozen=True, slots=True)
class PromptedQuestions:
    """Questions about the same passages, each with its prompt and one of its answers."""

    prompts: tuple[Positions, ...]
    answers: tuple[str, ...]


class FocusedQuestions:
    """Draws questions with their passages in one of the forms."""

    def __init__(
        self,
        questions: Sequence[Question],
        others: Sequence[str],
        relevance: Relevance,
        tokenizer: ContentTokenizer,
        encode: Encode,
    ) -> None:
        """Group the questions by their passages.

        :param questions: The questions.
        :param others: Texts that may be distractors, besides the passages of other questions.
        :param relevance: Chooses what stays of passages.
        :param tokenizer: The reader's tokenizer.
        :param encode: The LLM's tokenizer, with offsets.
        """
        groups: dict[tuple[str, ...], list[Question]] = {}
        for question in questions:
            groups.setdefault(tuple(passage.text for passage in question.passages), []).append(question)
        self._groups = list(groups.values())
        self._relevance, self._tokenizer, self._encode = relevance, tokenizer, encode
        passages = [passage for question in questions for passage in question.passages]
        self._near = NearPassages([*passages, *(Passage(text) for text in others)])

    def draw(self, distractors: int, random: np.random.Generator, answered: bool | None = None) -> PromptedQuestions:
        """Draw a question, or several about the same passages.

        :param distractors: Passages beside the gold ones of a plain question, at most.
        :param random: Source of all randomness.
        :param answered: Whether the passages that answer are there; None: mostly.
        :return: The prompts and the answers.
        """
        group = self._groups[int(random.integers(len(self._groups)))]
        form = FORMS[int(random.choice(len(FORMS), p=SHARES))]
        answered = random.random() >= UNANSWERABLE if answered is None else answered
        questions = [group[index] for index in random.permutation(len(group))[: TOGETHER[form] if answered else 1]]
        most = max(1, distractors if form == "plain" else DISTRACTORS)
        others = self._distractors(questions, int(random.integers(0 if answered else 1, most + 1)), random)
        passages = [*questions[0].passages, *others] if answered else others
        passages = [passages[index] for index in random.permutation(len(passages))]
        documents, spans = self._documents(passages, questions, form, random)
        prompts = [
            Positions.of_pieces(
                encode_messages(
                    self._tokenizer, question_messages(escape_literal(question.question), documents), spans.__getitem__
                )
            )
            for question in questions
        ]
        answers = [
            question.answers[int(random.integers(len(question.answers)))] if answered else NOT_FOUND
            for question in questions
        ]
        return PromptedQuestions(tuple(prompts), tuple(answers))

    def _distractors(self, questions: Sequence[Question], count: int, random: np.random.Generator) -> list[Passage]:
        """Draw passages near the first question that answer none of the questions, as a retriever would return."""
        first = questions[0]
        near = self._near.of(first.question, _answers(questions), [passage.text for passage in first.passages])
        chosen = random.permutation(min(len(near), count + PASSED_OVER))[:count]
        return [near[index] for index in sorted(chosen.tolist())]

    def _documents(
        self, passages: Sequence[Passage], questions: Sequence[Question], form: str, random: np.random.Generator
    ) -> tuple[list[dict[str, str]], dict[str, list[ZToken]]]:
        """Write passages in a form; return documents, and the Z-tokens of each placeholder in them."""
        if form == "plain":
            return [{"title": passage.title, "text": escape_literal(passage.text)} for passage in passages], {}
        documents, spans = [], {}
        for index, (passage, kept) in enumerate(zip(passages, self._focus(passages, questions, random), strict=True)):
            if form == "text":
                text = escape_literal(elide(passage.text, kept, len)[0])
            else:
                text = _placeholder(index)
                spans[text] = self._z_tokens(passage.text, kept, random)
            documents.append({"title": passage.title, "text": text})
        return documents, spans

    def _focus(
        self, passages: Sequence[Passage], questions: Sequence[Question], random: np.random.Generator
    ) -> list[KeptText]:
        """Focus passages to a random length; sentences that hold an answer always stay."""
        answers = _answers(questions)
        always = [
            [unit for unit in sentences(passage.text) if holds_answer(passage.text[slice(*unit)], answers)]
            for passage in passages
        ]
        choice = Choice(self._relevance, questions[0].question, passages, lambda _, start, end: end - start, always)
        wanted = KEPT[0] * (KEPT[1] / KEPT[0]) ** random.random()
        return choice.choose(Length(wanted=min(wanted, sum(len(passage.text) for passage in passages))))

    def _z_tokens(self, text: str, kept: KeptText, random: np.random.Generator) -> list[ZToken]:
        """Return the Z-tokens that `compress` would make of a text when some ranges stay: the first token does, too."""
        ids, offsets = self._encode(text)
        starts, ends = (np.array(edges, np.int64) for edges in zip(*offsets, strict=True))
        is_anchor = np.zeros(len(ids), np.bool_)
        for start, end in kept.ranges:
            is_anchor |= (ends > start) & (starts < start + len(text[start:end].rstrip()))
        is_anchor[0] = True
        if random.random() < 0.5:
            is_anchor |= random.random(len(ids)) < random.random() * SPARSEST
        anchors = np.flatnonzero(is_anchor)
        gaps = np.diff(anchors, append=len(ids)) - 1
        return [ZToken(ids[anchor], gap) for anchor, gap in zip(anchors.tolist(), gaps.tolist(), strict=True)]


def _answers(questions: Sequence[Question]) -> list[str]:
    return [answer for question in questions for answer in question.answers]


def _placeholder(index: int) -> str:
    """Write a Z-span that stands for Z-tokens in a prompt."""
    return format_span(ZSpan("0" * 12, (ZToken(index, 0),), (), False, bytes(8)))
