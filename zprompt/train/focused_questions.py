"""Questions as a reader meets them: about whole passages, or about what focusing leaves of them.

    plain   the passages as text, and a few others that come near and do not answer (near.py)
    text    what focusing keeps of them and of up to nine others, with the mark of what is left out (form="text")
    z       the same as Z-tokens: gap 0 within what is kept, and a gap over what is left out (form="z")

Focusing is the shipped relevance's, to a length that is drawn, and keeps the sentences that hold an answer in any case:
the others that stay are those which look most like an answer and are none. So the reader learns to choose among what it
will be given. Now and then the passages that answer are missing, and the answer is "not found".

No Z-span is needed: the tokens of what stays are those of the text. Questions about the same passages share them, as
focused for the first, in one packed sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zprompt.eval import Question, holds_answer
from zprompt.reader import NOT_FOUND, ContentTokenizer, encode_messages, question_messages
from zprompt.relevance import Choice, Length, Passage, Relevance, elide, sentences
from zprompt.results import KeptText
from zprompt.train.near import NearPassages
from zprompt.train.packing import Positions
from zprompt.zspan import ZSpan, ZToken, escape_literal, format_span

FORMS = ("plain", "text", "z")
SHARES = (0.20, 0.55, 0.25)
TOGETHER = {"plain": 8, "text": 4, "z": 4}  # questions about the same passages, at most
UNANSWERABLE = 0.15  # share of draws in which a question's own passages are left out
DISTRACTORS = 9  # passages beside the gold ones of a focused question, at most; a focused one costs little
PASSED_OVER = 3  # of the nearest passages, by chance, so that not all questions about a passage have the same others
KEPT = (250, 1150)  # characters that focusing leaves, at least and at most: what a reader reads of passages (reader.py)
SPARSEST = 0.04  # share of single tokens that stay elsewhere, at most, in every second Z-span

Encode = Callable[[str], tuple[list[int], list[tuple[int, int]]]]


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
        :param others: Texts that may stand beside their passages, as those of other questions may.
        :param relevance: Chooses what stays of passages.
        :param tokenizer: The reader's.
        :param encode: The LLM's tokenizer, with offsets.
        """
        groups: dict[tuple[str, ...], list[Question]] = {}
        for one in questions:
            groups.setdefault(tuple(passage.text for passage in one.passages), []).append(one)
        self._groups = list(groups.values())
        self._relevance, self._tokenizer, self._encode = relevance, tokenizer, encode
        own = [passage for one in questions for passage in one.passages]
        self._near = NearPassages([*own, *(Passage(text) for text in others)])

    def draw(self, distractors: int, random: np.random.Generator, answered: bool | None = None) -> PromptedQuestions:
        """Draw a question, or several about the same passages.

        :param distractors: Passages beside the gold ones of a plain question, at most.
        :param random: Decides everything.
        :param answered: Whether the passages that answer are there; None: mostly.
        :return: The prompts and the answers.
        """
        group = self._groups[int(random.integers(len(self._groups)))]
        form = FORMS[int(random.choice(len(FORMS), p=SHARES))]
        answered = random.random() >= UNANSWERABLE if answered is None else answered
        asked = [group[index] for index in random.permutation(len(group))[: TOGETHER[form] if answered else 1]]
        most = max(1, distractors if form == "plain" else DISTRACTORS)
        others = self._others(asked, int(random.integers(0 if answered else 1, most + 1)), random)
        passages = [*asked[0].passages, *others] if answered else others
        passages = [passages[index] for index in random.permutation(len(passages))]
        documents, spans = self._documents(passages, asked, form, random)
        prompts = [
            Positions.of_pieces(
                encode_messages(
                    self._tokenizer, question_messages(escape_literal(one.question), documents), spans.__getitem__
                )
            )
            for one in asked
        ]
        answers = [one.answers[int(random.integers(len(one.answers)))] if answered else NOT_FOUND for one in asked]
        return PromptedQuestions(tuple(prompts), tuple(answers))

    def _others(self, asked: Sequence[Question], count: int, random: np.random.Generator) -> list[Passage]:
        """Draw passages that come near the first question and answer none, as a retriever's do."""
        near = self._near.of(asked[0].question, _answers(asked), [passage.text for passage in asked[0].passages])
        chosen = random.permutation(min(len(near), count + PASSED_OVER))[:count]
        return [near[index] for index in sorted(chosen.tolist())]

    def _documents(
        self, passages: Sequence[Passage], asked: Sequence[Question], form: str, random: np.random.Generator
    ) -> tuple[list[dict[str, str]], dict[str, list[ZToken]]]:
        """Write passages in a form; of Z-tokens, placeholders stand in the documents."""
        if form == "plain":
            return [{"title": one.title, "text": escape_literal(one.text)} for one in passages], {}
        documents, spans = [], {}
        for index, (passage, kept) in enumerate(zip(passages, self._kept(passages, asked, random), strict=True)):
            if form == "text":
                text = escape_literal(elide(passage.text, kept, len)[0])
            else:
                text = _placeholder(index)
                spans[text] = self._z_tokens(passage.text, kept, random)
            documents.append({"title": passage.title, "text": text})
        return documents, spans

    def _kept(
        self, passages: Sequence[Passage], asked: Sequence[Question], random: np.random.Generator
    ) -> list[KeptText]:
        """Focus passages to a length that is drawn; whatever holds an answer stays."""
        answers = _answers(asked)
        always = [
            [unit for unit in sentences(one.text) if holds_answer(one.text[slice(*unit)], answers)] for one in passages
        ]
        choice = Choice(self._relevance, asked[0].question, passages, lambda _, start, end: end - start, always)
        wanted = KEPT[0] * (KEPT[1] / KEPT[0]) ** random.random()
        return choice.choose(Length(wanted=min(wanted, sum(len(one.text) for one in passages))))

    def _z_tokens(self, text: str, kept: KeptText, random: np.random.Generator) -> list[ZToken]:
        """Return the Z-tokens of a text of which some ranges stay, with the first token, as `compress` would."""
        ids, offsets = self._encode(text)
        starts, ends = (np.array(own, np.int64) for own in zip(*offsets, strict=True))
        stays = np.zeros(len(ids), np.bool_)
        for start, end in kept.ranges:
            stays |= (ends > start) & (starts < start + len(text[start:end].rstrip()))
        stays[0] = True
        if random.random() < 0.5:
            stays |= random.random(len(ids)) < random.random() * SPARSEST
        places = np.flatnonzero(stays)
        gaps = np.diff(places, append=len(ids)) - 1
        return [ZToken(ids[place], gap) for place, gap in zip(places.tolist(), gaps.tolist(), strict=True)]


def _answers(asked: Sequence[Question]) -> list[str]:
    return [answer for one in asked for answer in one.answers]


def _placeholder(index: int) -> str:
    """Write a Z-span that stands for Z-tokens which have none."""
    return format_span(ZSpan("0" * 12, (ZToken(index, 0),), (), False, bytes(8)))
