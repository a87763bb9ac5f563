"""Ask questions that the shortened passages may still answer.

A row has its gold passages, each of which is shortened by itself to the same ratio; titles and the question are not
shortened. The method is told the question. Exact match and F1 are SQuAD's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zprompt.eval.figures import Share
from zprompt.eval.meta_tokens import answers_from_meta_tokens
from zprompt.eval.readers import LTSC_READER, READER, READERS
from zprompt.eval.reading import read_by_all
from zprompt.eval.samples import Sample
from zprompt.eval.squad import exact_match, f1
from zprompt.eval.tasks.protocol import Left, Scores

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop

_MOST = 16  # new tokens of an answer


class QuestionAnswering:
    """Questions about passages."""

    name, title, main = "qa", "Questions", f"F1, {READER}"
    figures = tuple(f"{figure}, {reader}" for reader in READERS for figure in ("F1", "exact match", "KV MB"))
    restores = False

    def __init__(self, source: str, samples: Sequence[Sample]) -> None:
        """Hold the samples.

        :param source: Where they are from.
        :param samples: One question each.
        """
        self.source, self.samples = source, samples

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Ask every question.

        :param left: What a method left of the passages of each.
        :param workshop: Has the readers.
        :return: F1 and exact match of each reader.
        """
        from zprompt.reader import question_messages  # imports torch, which a report needs not

        scores = Scores()
        prompts = [question_messages(one.sample.query or "", _documents(one)) for one in left]
        said = read_by_all(left, prompts, _MOST, workshop, scores)
        if answers := answers_from_meta_tokens(left, workshop, scores):
            said[LTSC_READER] = answers
        for name, answers in said.items():
            pairs = [(answer, one.sample.answers) for answer, one in zip(answers, left, strict=True)]
            scores.shares[f"F1, {name}"] = [Share(f1(answer, right)) for answer, right in pairs]
            scores.shares[f"exact match, {name}"] = [Share(exact_match(answer, right)) for answer, right in pairs]
        return scores


def _documents(left: Left) -> list[dict[str, str]]:
    """Put titles and shortened texts together."""
    pairs = zip(left.sample.all_titles, left.shortened, strict=True)
    return [{"title": title, "text": one.text} for title, one in pairs]
