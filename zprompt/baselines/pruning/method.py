"""Keep what the model did not expect: passages first, then words, within the budget exactly.

    tokens ─► passages ─► words of those that stay, by segments ─► the best words that fit
              coarse      fine                                      budget

Words are whole. What is protected stays or is an error; numbers stay as far as the budget allows if that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TYPE_CHECKING

from zprompt.baselines.lengths import DEFAULT_RATIO, check_text, wanted_tokens
from zprompt.baselines.protocol import Output, Shortened
from zprompt.baselines.pruning.budget import Budget, Rank
from zprompt.baselines.pruning.options import PruningOptions
from zprompt.baselines.pruning.source import Source
from zprompt.documents import read_documents

if TYPE_CHECKING:
    from zprompt.baselines.pruning.fine import Judgement
    from zprompt.llm import Backbone
    from zprompt.options import Protect


@dataclass(frozen=True, slots=True)
class PrunedDocuments:
    """Documents that were pruned together."""

    documents: Any  # of the same types and in the same order, with ids and metadata; a dropped one has an empty text
    results: tuple[Shortened, ...]  # one for each

    @property
    def source_tokens(self) -> int:
        """Count the tokens of the sources.

        :return: Of all documents.
        """
        return sum(result.source_tokens for result in self.results)

    @property
    def tokens(self) -> int:
        """Count the tokens of the results.

        :return: Of all documents.
        """
        return sum(result.tokens for result in self.results)


class Pruning:
    """Prunes texts; the same text gives the same result, whatever was pruned before."""

    name = "pruning"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(
        self,
        ratio: float = DEFAULT_RATIO,
        slack: float = 2.0,
        spread: float = 0.3,
        segment: int = 128,
        context: int = 1024,
        protect: Protect | None = None,
        digits: bool = False,
        backbone: Backbone | None = None,
    ) -> None:
        """Choose how to prune.

        :param ratio: Source tokens per token of the result where no budget is given.
        :param slack: The coarse step keeps passages of up to slack × budget tokens.
        :param spread: How much more of the best passage is kept than the mean, if there is a query.
        :param segment: Tokens that are judged at a time.
        :param context: Tokens that the model sees at a time.
        :param protect: A regex, or a sequence of literal strings, whose words all stay.
        :param digits: Words with digits come before all others, in passages that stay.
        :param backbone: The model; None: the default codec's, which this process loads once.
        """
        self.options = PruningOptions(ratio, slack, spread, segment, context, protect, digits)
        self._backbone = backbone

    @cached_property
    def backbone(self) -> Backbone:
        """Give the model, which is loaded with the first text.

        :return: The model.
        """
        from zprompt.codec import shared_codec

        return self._backbone or shared_codec().backbone

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Prune a text.

        :param text: The text; its paragraphs, or sentences if it has one paragraph, are the passages.
        :param budget: Tokens that the result may have; None: as the ratio says.
        :param query: What will be asked about the text: what it explains stays.
        :return: Whole words in their order.
        """
        check_text(text)
        [result] = self._prune([text], budget, query)
        return result

    def shorten_documents(
        self,
        documents: Any,  # noqa: ANN401 - as `zprompt.compress` takes them
        budget: int | None = None,
        query: str | None = None,
    ) -> PrunedDocuments:
        """Prune documents together: the budget goes to those that say most.

        :param documents: A document or a sequence of them, as `zprompt.compress` takes them; each is a passage.
        :param budget: Tokens that all results may have together; None: as the ratio says.
        :param query: What will be asked about the documents.
        :return: The documents, of the same types and in the same order, with ids and metadata.
        """
        batch = read_documents(documents)
        for text in batch.texts:
            check_text(text)
        results = self._prune(batch.texts, budget, query)
        return PrunedDocuments(batch.with_texts([result.text for result in results]), tuple(results))

    def scores(self, text: str, budget: int | None = None, query: str | None = None) -> list[float]:
        """Say what each word of a text is worth when it is pruned: to look into, and to compare.

        :param text: The text.
        :param budget: As in `shorten`, since a word is judged after those that were kept before it.
        :param query: As in `shorten`.
        :return: For each word, as `zprompt.baselines.words` cuts them, its score; minus infinity in dropped passages.
        """
        check_text(text)
        source = Source.of(text, self.backbone.tokenizer)
        wanted = wanted_tokens(len(source.ids), budget, self.options.ratio)
        [judgement] = self._judge([source], [source.protected(self.options.protection)], wanted, query)
        return judgement.scores

    def _prune(self, texts: Sequence[str], budget: int | None, query: str | None) -> list[Shortened]:
        """Prune texts within one budget."""
        if query is not None:
            check_text(query)
        tokenizer = self.backbone.tokenizer
        sources = [Source.of(text, tokenizer) for text in texts]
        total = sum(len(source.ids) for source in sources)
        wanted = wanted_tokens(total, budget, self.options.ratio)
        if wanted < total:
            protected = [source.protected(self.options.protection) for source in sources]
            judgements = self._judge(sources, protected, wanted, query)
            texts = Budget(tokenizer, sources, wanted).spend(self._ranks(sources, protected, judgements))
        return [
            Shortened(text, len(source.ids), len(tokenizer.encode(text)), self.name)
            for text, source in zip(texts, sources, strict=True)
        ]

    def _judge(
        self, sources: Sequence[Source], protected: Sequence[Sequence[bool]], wanted: int, query: str | None
    ) -> list[Judgement]:
        """Let the model judge the words of the passages that stay."""
        from zprompt.baselines.pruning.coarse import choose_shares
        from zprompt.baselines.pruning.fine import Judge

        asked = (query or "").strip()
        shares = choose_shares(self.backbone, sources, wanted, asked, self.options)
        judge = Judge.of(self.backbone, asked, self.options)
        judgements = [judge.know_nothing(source) for source in sources]
        for share in shares:
            document = share.passage.document
            judge.judge(sources[document], share, protected[document], judgements[document])
        return judgements

    def _ranks(
        self, sources: Sequence[Source], protected: Sequence[Sequence[bool]], judgements: Sequence[Judgement]
    ) -> list[Rank]:
        """Say how much each word of each document is worth."""
        ranks = []
        for source, must, judgement in zip(sources, protected, judgements, strict=True):
            for word, forced, kept, score in zip(source.words, must, judgement.kept, judgement.scores, strict=True):
                number = self.options.digits and score > float("-inf") and any(map(str.isdigit, word.text))
                ranks.append(Rank(forced, number, kept, score))
        return ranks
