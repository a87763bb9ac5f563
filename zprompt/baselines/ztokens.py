"""Z-tokens as a baseline: the result is a Z-span, its length is in Z-tokens, and the text is restored exactly.

Without a budget or ratio, the text's own predictability decides how many Z-tokens there are. With one, there are as
many as asked for, as far as the text allows; the residual of the Z-span has what they do not determine.

Focusing (`zprompt.compress(…, query=…)`) knows the question, and spends one budget over all texts of a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from zprompt.baselines.protocol import (
    DEFAULT_RATIO,
    Output,
    Shortened,
    Tokenizer,
    check_budget,
    check_ratio,
    check_text,
)
from zprompt.counting import counter
from zprompt.errors import BaselineUnavailableError, OptionError
from zprompt.options import CompressOptions
from zprompt.relevance import LogisticWeights, Relevance, shared_relevance
from zprompt.text_form import shorten
from zprompt.zspan import find_spans, read_header

if TYPE_CHECKING:
    from zprompt.codec import Codec


class ZTokens:
    """Writes texts as Z-spans."""

    name = "ztokens"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "z"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Source tokens per Z-token, without a budget; None: the codec's usual one.
        :param codec: The codec; None: the default one, loaded once per process.
        """
        if ratio is not None:
            check_ratio(ratio)
        self._ratio, self._codec = ratio, codec

    @cached_property
    def codec(self) -> Codec:
        """Return the codec, loaded with the first text."""
        from zprompt.codec import shared_codec

        return self._codec or shared_codec()

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Compress a text.

        :param text: The source.
        :param budget: Z-tokens of the Z-span, as far as the text allows; None: the ratio decides.
        :param query: Ignored; `FocusZ` uses it.
        :return: The Z-span.
        """
        check_text(text)
        check_budget(budget)
        ratio = self._ratio if budget is None else self._ratio_for(text, budget)
        if budget is None:
            result = self.codec.compress(text, ratio=ratio)
        else:  # without the warning of `compress` if the text does not allow the ratio
            result = self.codec.compress_with(CompressOptions(ratio), text)
        return Shortened(str(result.documents), result.stats.source_tokens, result.stats.positions, self.name)

    def restore(self, text: str) -> str:
        """Decompress a Z-span."""
        return str(self.codec.decompress(text))

    def restore_all(self, texts: Sequence[str]) -> list[str]:
        """Decompress several Z-spans together, which is faster than one by one."""
        return list(self.codec.decompress(list(texts)))

    def _ratio_for(self, text: str, budget: int) -> float:
        """Return the ratio at which a text has `budget` Z-tokens."""
        backbone = self.codec.backbone
        return max(1.0, len(backbone.encode(backbone.escape(text).text)) / max(budget, 1))


class FocusZ(ZTokens):
    """Writes texts as Z-spans that keep the sentences that a question needs word for word."""

    name = "focus-z"

    def __init__(self, ratio: float = DEFAULT_RATIO, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Source tokens per Z-token, without a budget.
        :param codec: The codec; None: the default one, loaded once per process.
        """
        super().__init__(ratio, codec)

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Focus a text; without a query, compress it."""
        return self.shorten_together([text], budget, query)[0]

    def shorten_together(
        self, texts: Sequence[str], budget: int | None = None, query: str | None = None, titles: Sequence[str] = ()
    ) -> list[Shortened]:
        """Focus texts under one budget."""
        backbone = self.codec.backbone
        before = [len(backbone.encode(backbone.escape(text).text)) for text in texts]
        ratio = self._ratio if budget is None else max(1.0, sum(before) / max(budget, 1))
        result = self.codec.compress_with(CompressOptions(ratio, query=query), _titled_documents(texts, titles))
        spans = [document["text"] for document in result.documents]
        after = [sum(read_header(match.text).count for match in find_spans(span)) for span in spans]
        return [Shortened(*row, self.name) for row in zip(spans, before, after, strict=True)]


class FocusText:
    """Drops the sentences that a question does not need."""

    name = "focus-text"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, ratio: float = DEFAULT_RATIO, tokenizer: Tokenizer | None = None) -> None:
        """Choose the length.

        :param ratio: Source tokens per token of the result, without a budget.
        :param tokenizer: Counts tokens; None: the default reader's.
        """
        check_ratio(ratio)
        self._ratio = ratio
        self._count = counter("reader") if tokenizer is None else lambda text: len(tokenizer.encode(text))

    @cached_property
    def relevance(self) -> Relevance:
        """Return the scorer of sentences."""
        return shared_relevance()

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text for a question; raise OptionError if there is none."""
        return self.shorten_together([text], budget, query)[0]

    def shorten_together(
        self, texts: Sequence[str], budget: int | None = None, query: str | None = None, titles: Sequence[str] = ()
    ) -> list[Shortened]:
        """Shorten texts under one budget, for a question; raise OptionError if there is none."""
        for text in texts:
            check_text(text)
        check_budget(budget)
        if not query:
            raise OptionError(f"{self.name} keeps what a question needs, and there is no question. Pass a query.")
        before = [self._count(text) for text in texts]
        shortened = list(texts)
        if sum(before):
            ratio = self._ratio if budget is None else max(1.0, sum(before) / max(budget, 1))
            options = CompressOptions(ratio, query=query)
            result = shorten(options, _titled_documents(texts, titles), self.relevance, self._count)
            shortened = [document["text"] for document in result.documents]
        after = [self._count(text) for text in shortened]
        return [Shortened(*row, self.name) for row in zip(shortened, before, after, strict=True)]


class SentencesByWords(FocusText):
    """`FocusText` without a model or anything learned: keeps the sentences that BM25 ranks highest."""

    name = "sentences-words"

    @cached_property
    def relevance(self) -> Relevance:
        """Return the scorer of sentences."""
        weights = _one_feature("z_bm25")
        return Relevance(weights, weights, None)


class SentencesByEmbeddings(FocusText):
    """`FocusText` with nothing learned but embeddings: keeps the sentences with the highest cosine to the question."""

    name = "sentences-embeddings"

    @cached_property
    def relevance(self) -> Relevance:
        """Return the scorer of sentences.

        :return: The scorer.
        :raises BaselineUnavailableError: If there is no embedding model.
        """
        embedder = shared_relevance().embedder
        if embedder is None:
            raise BaselineUnavailableError(
                "The sentence embedding model is not on this machine. Fetch it with `zprompt pull`."
            )
        weights = _one_feature("cosine")
        return Relevance(weights, weights, embedder)


def _one_feature(name: str) -> LogisticWeights:
    return LogisticWeights((name,), (0.0,), (1.0,), (1.0,), 0.0, 0.95)


def _titled_documents(texts: Sequence[str], titles: Sequence[str]) -> list[dict[str, str]]:
    return [{"text": text, "title": title} for text, title in zip(texts, titles or [""] * len(texts), strict=True)]
