"""Questions as a reader meets them: about whole passages, or about what focusing leaves of them.

    plain   the passages as text, and a few others that do not answer, half of them near (near.py)
    text    the sentences that hold the answer and some more, with the mark of what is left out (form="text")
    z       the same sentences as Z-tokens: gap 0 within them, and a gap over what is left out (form="z")

What focusing will keep is not known in training, so it is drawn: the sentences that hold an answer always stay, others
by chance, so that the reader learns to look among more than the answer. Where the answer is "not found", all are drawn.
No relevance model, no codec and no Z-span is needed: the tokens of what stays are those of the text.

Questions about the same passages share them in one packed sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zprompt.eval import Passage, Question, holds_answer
from zprompt.options import merge_ranges
from zprompt.reader import ContentTokenizer, encode_messages, question_messages
from zprompt.relevance import elide, sentences
from zprompt.results import KeptText
from zprompt.train.near import NearPassages
from zprompt.train.packing import Positions
from zprompt.zspan import ZSpan, ZToken, escape_literal, format_span

FORMS = ("plain", "text", "z")
SHARES = (0.5, 0.2, 0.3)
TOGETHER = {"plain": 10, "text": 4, "z": 4}  # questions about the same passages in one sequence, at most
DISTRACTORS = 9  # passages beside the gold ones of a focused question, at most; a focused one costs little
DENSEST = 0.5  # share of the sentences that stay by chance, at most
SPARSEST = 0.04  # share of single tokens that stay elsewhere, at most, in every second Z-span

Encode = Callable[[str], tuple[list[int], list[tuple[int, int]]]]


@dataclass(frozen=True, slots=True)
class PromptedQuestions:
    """Questions about the same passages, each with its prompt and one of its answers."""

    prompts: tuple[Positions, ...]
    answers: tuple[str, ...]


class FocusedQuestions:
    """Draws questions with their passages in one of the forms."""

    def __init__(self, questions: Sequence[Question], tokenizer: ContentTokenizer, encode: Encode) -> None:
        """Group the questions by their passages.

        :param questions: The questions.
        :param tokenizer: The reader's.
        :param encode: The LLM's tokenizer, with offsets.
        """
        groups: dict[tuple[str, ...], list[Question]] = {}
        for one in questions:
            groups.setdefault(tuple(passage.text for passage in one.passages), []).append(one)
        self._groups, self._questions = list(groups.values()), questions
        self._tokenizer, self._encode = tokenizer, encode
        self._near = NearPassages([passage for one in questions for passage in one.passages])

    def draw(self, distractors: int, random: np.random.Generator) -> PromptedQuestions:
        """Draw a question, or several about the same passages.

        :param distractors: Passages beside the gold ones of a plain question, at most.
        :param random: Decides everything.
        :return: The prompts and the answers.
        """
        group = self._groups[int(random.integers(len(self._groups)))]
        form = FORMS[int(random.choice(len(FORMS), p=SHARES))]
        asked = [group[index] for index in random.permutation(len(group))[: TOGETHER[form]]]
        count = int(random.integers((distractors if form == "plain" else DISTRACTORS) + 1))
        others = self._others(asked, count, random)
        passages = list({one.text: one for one in (*asked[0].passages, *others)}.values())  # each passage once
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
        answers = [one.answers[int(random.integers(len(one.answers)))] for one in asked]
        return PromptedQuestions(tuple(prompts), tuple(answers))

    def _others(self, asked: Sequence[Question], count: int, random: np.random.Generator) -> list[Passage]:
        """Draw passages that do not answer: half of them near the first question, as a retriever's are."""
        answers = [answer for question in asked for answer in question.answers]
        own = [passage.text for question in asked for passage in question.passages]
        near = self._near.of(asked[0].question, answers, own)[: (count + 1) // 2]
        drawn = random.integers(len(self._questions), size=count - len(near))
        return [*near, *(self._questions[index].passages[0] for index in drawn)]

    def _documents(
        self, passages: Sequence[Passage], asked: Sequence[Question], form: str, random: np.random.Generator
    ) -> tuple[list[dict[str, str]], dict[str, list[ZToken]]]:
        """Write passages in a form; of Z-tokens, placeholders stand in the documents."""
        if form == "plain":
            return [{"title": one.title, "text": escape_literal(one.text)} for one in passages], {}
        gold = {passage.text for question in asked for passage in question.passages}
        answers = [answer for question in asked for answer in question.answers]
        density = random.random() * DENSEST
        documents, spans = [], {}
        for index, passage in enumerate(passages):
            kept = _kept(passage.text, answers if passage.text in gold else [], density, random)
            if form == "text":
                written, _ = elide(passage.text, kept, len)
                documents.append({"title": passage.title, "text": escape_literal(written)})
            else:
                placeholder = _placeholder(index)
                documents.append({"title": passage.title, "text": placeholder})
                spans[placeholder] = self._z_tokens(passage.text, kept, random)
        return documents, spans

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


def _kept(text: str, answers: Sequence[str], density: float, random: np.random.Generator) -> KeptText:
    """Draw which sentences of a passage stay, given the answers that it holds if it is gold, else none."""
    units = list(sentences(text))
    drawn = random.random(len(units)) < density
    stay = [
        unit
        for unit, by_chance in zip(units, drawn.tolist(), strict=True)
        if by_chance or holds_answer(text[slice(*unit)], answers)
    ]
    return KeptText(tuple(merge_ranges(stay)), 0.0)


def _placeholder(index: int) -> str:
    """Write a Z-span that stands for Z-tokens which have none."""
    return format_span(ZSpan("0" * 12, (ZToken(index, 0),), (), False, bytes(8)))
