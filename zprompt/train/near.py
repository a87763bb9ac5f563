"""Passages that come near a question and do not answer it: the distractors that a retriever returns."""

from collections.abc import Sequence

from zprompt.errors import MissingDependencyError
from zprompt.eval import holds_answer
from zprompt.relevance import Passage

NEAREST = 30  # passages that BM25 is asked for


class NearPassages:
    """Finds passages near a question by BM25."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Index passages, one at least.

        :param passages: The passages; those of the same text count once.
        :raises MissingDependencyError: If bm25s is not installed.
        """
        try:
            import bm25s
        except ImportError as error:
            raise MissingDependencyError("Training needs bm25s: pip install 'zprompt[train]'.") from error
        self._passages = list({passage.text: passage for passage in passages}.values())
        self._tokenize, self._index = bm25s.tokenize, bm25s.BM25()
        texts = [f"{passage.title} {passage.text}" for passage in self._passages]
        self._index.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)

    def of(self, question: str, answers: Sequence[str], excluded: Sequence[str]) -> list[Passage]:
        """Return the nearest passages to a question, the nearest first.

        :param question: The question.
        :param answers: Its answers; passages that hold one are left out.
        :param excluded: Texts of the question's own passages, which are left out.
        :return: The passages, at most NEAREST.
        """
        tokens = self._tokenize([question], show_progress=False)
        [indices], _ = self._index.retrieve(tokens, k=min(NEAREST, len(self._passages)), show_progress=False)
        nearest = [self._passages[index] for index in indices]
        return [
            passage for passage in nearest if passage.text not in excluded and not holds_answer(passage.text, answers)
        ]
