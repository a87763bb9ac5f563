"""Passages that come near a question and do not answer it: the distractors that a retriever returns."""

from collections.abc import Sequence

from zprompt.errors import MissingDependencyError
from zprompt.eval import holds_answer
from zprompt.relevance import Passage

NEAREST = 30  # passages that BM25 is asked for


class NearPassages:
    """Finds passages by BM25."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Index passages, one at least.

        :param passages: The passages; those of the same text count once.
        :raises MissingDependencyError: If bm25s is not installed.
        """
        try:
            import bm25s
        except ImportError as error:
            raise MissingDependencyError("Training needs bm25s: pip install 'zprompt[train]'.") from error
        self._passages = list({one.text: one for one in passages}.values())
        self._tokenize, self._index = bm25s.tokenize, bm25s.BM25()
        texts = [f"{one.title} {one.text}" for one in self._passages]
        self._index.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)

    def of(self, question: str, answers: Sequence[str], own: Sequence[str]) -> list[Passage]:
        """Return the passages that share most words with a question, the nearest first.

        :param question: The question.
        :param answers: Its answers; passages that hold one are left out.
        :param own: Texts of the question's own passages, which are left out.
        :return: The passages, at most NEAREST.
        """
        tokens = self._tokenize([question], show_progress=False)
        [places], _ = self._index.retrieve(tokens, k=min(NEAREST, len(self._passages)), show_progress=False)
        found = [self._passages[place] for place in places]
        return [one for one in found if one.text not in own and not holds_answer(one.text, answers)]
