"""Drop the words that a model expects most: after LLMLingua (arXiv 2310.05736) and LongLLMLingua (arXiv 2310.06839).

    text ─► passages ─► words, segment by segment ─► the best words that fit the budget exactly
            coarse      fine

A passage is a document if there are several, else a paragraph, else a sentence. Surprisal is in nats:

    coarse, no query     a passage scores  mean −log p(passage)            the less it is expected, the better
    coarse, query        a passage scores  mean  log p(query | passage)    the better it explains the query
    fine, no query       s[t] = −log p(x[t] | kept, x[<t])
    fine, query          s[t] = −log p(x[t] | kept, x[<t]) + log p(x[t] | query, kept, x[<t])

The best passages stay until they have `slack · budget` tokens, and share the budget in proportion to their lengths;
with a query, the k-th best of N is kept at a rate ∝ rate + spread · (1 − 2 k / (N − 1)). A word scores the mean of its
tokens. Words are kept whole. Protected words stay, or it is an error; words with digits come first if asked for.

Each call is computed alone, one segment at a time, so no result depends on earlier calls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

from zprompt.baselines.protocol import DEFAULT_RATIO, Output, Shortened, check_ratio, check_text, target_tokens
from zprompt.baselines.surprisal import IncrementalLM, mean_surprisal
from zprompt.baselines.words import Word, count_by_word, join_words, keep_best, split_words, words_of_tokens
from zprompt.documents import read_documents
from zprompt.errors import OptionError
from zprompt.options import Protection

if TYPE_CHECKING:
    from zprompt.llm import Backbone, TextTokenizer
    from zprompt.options import Protect

_SENTENCE_ENDS = ".!?…。！？"
_CLOSING = "\"'”’»)]"
_SMALLEST_CONTEXT = 64
_RESTRICTION = "We can get the answer to this question in the given documents."  # LongLLMLingua's, after the query
_UNSCORED = float("-inf")  # the score of words whose passage was dropped


@dataclass(frozen=True, slots=True)
class PrunedDocuments:
    """Documents that were pruned together."""

    documents: Any  # same types, order, ids and metadata; a dropped document has an empty text
    results: tuple[Shortened, ...]  # one for each

    @property
    def source_tokens(self) -> int:
        """Return the tokens of all sources."""
        return sum(result.source_tokens for result in self.results)

    @property
    def tokens(self) -> int:
        """Return the tokens of all results."""
        return sum(result.tokens for result in self.results)


@dataclass(frozen=True, slots=True)
class Source:
    """A document, its tokens and its words."""

    text: str
    ids: list[int]
    blank: list[bool]  # whether a token is only white space, which does not count in its word's score
    words: list[Word]
    owners: list[int]  # index of each token's word, ascending

    @classmethod
    def of(cls, text: str, tokenizer: TextTokenizer) -> Source:
        """Cut a document into tokens and words."""
        ids, offsets = tokenizer.encode_with_offsets(text)
        words = split_words(text)
        blank = [not text[start:end].strip() for start, end in offsets]
        return cls(text, ids, blank, words, words_of_tokens(words, offsets))

    def tokens(self, first: int, last: int) -> range:
        """Return the positions of the tokens of words `first` to `last`, `last` not included."""
        return range(bisect_left(self.owners, first), bisect_left(self.owners, last))

    def costs(self) -> list[int]:
        """Count the tokens of each word."""
        return count_by_word(self.owners, len(self.words))

    def runs(self, first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
        """Cut the words from `first` to `last` into runs of at most `size` tokens; a longer word is a run of its own.

        :param first: The first word.
        :param last: One past the last word.
        :param size: Maximum tokens of a run.
        :yields: The first word of a run and one past its last.
        """
        start = first
        for index in range(first + 1, last):
            if len(self.tokens(start, index + 1)) > size:
                yield start, index
                start = index
        if last > start:
            yield start, last

    def protected(self, protection: Protection) -> list[bool]:
        """Mark the words that are protected, in whole or in part."""
        marked = [False] * len(self.words)
        ends = [word.end for word in self.words]
        for start, end in protection.ranges(self.text):
            for index in range(bisect_left(ends, start + 1), len(ends)):
                word = self.words[index]
                if word.end - len(word.text) >= end:
                    break
                marked[index] = True
        return marked


class Pruning:
    """Prunes texts; a result does not depend on what was pruned before."""

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

        :param ratio: Source tokens per token of the result, without a budget.
        :param slack: The best passages stay until they have slack · budget tokens; at least 1.
        :param spread: With a query, how much more of the best passage is kept than on average, from 0 to 1.
        :param segment: Tokens to score at a time; at most a quarter of the context.
        :param context: Tokens that the model sees at a time; at least 64.
        :param protect: A regular expression or literal strings; words that they match all stay.
        :param digits: Whether words with digits come before others, in passages that stay.
        :param backbone: The model; None: the default codec's, loaded once per process.
        :raises OptionError: If an option has a value that is not allowed.
        """
        check_ratio(ratio)
        if not slack >= 1:
            raise OptionError(f"slack must be at least 1, got {slack}. 1 leaves the fine step nothing to drop.")
        if not 0 <= spread <= 1:
            raise OptionError(f"spread must be from 0 to 1, got {spread}.")
        if context < _SMALLEST_CONTEXT:
            raise OptionError(f"context must be at least {_SMALLEST_CONTEXT} tokens, got {context}.")
        if not 1 <= segment <= context // 4:
            raise OptionError(f"segment must be from 1 to {context // 4}, a quarter of the context, got {segment}.")
        self._ratio, self._slack, self._spread, self._segment, self._context = ratio, slack, spread, segment, context
        self._protection, self._digits, self._backbone = Protection.of(protect), digits, backbone

    @cached_property
    def backbone(self) -> Backbone:
        """Return the model, loaded with the first text."""
        from zprompt.codec import shared_codec

        return self._backbone or shared_codec().backbone

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Prune a text to whole words in their order.

        :param text: The source; its paragraphs, or sentences if it has one paragraph, are the passages.
        :param budget: Maximum tokens of the result; None: the ratio decides.
        :param query: The question that the text should answer; words that it makes more expected stay.
        :return: The pruned text.
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
        """Prune documents together: the best passages and words of all share one budget.

        :param documents: A document or a sequence of them, as `zprompt.compress` takes them; each is a passage.
        :param budget: Maximum tokens of all results together; None: the ratio decides.
        :param query: The question that the documents should answer.
        :return: The documents, of the same types and in the same order, with ids and metadata.
        """
        batch = read_documents(documents)
        results = self.shorten_together(batch.texts, budget, query)
        return PrunedDocuments(batch.with_texts([result.text for result in results]), tuple(results))

    def shorten_together(
        self, texts: Sequence[str], budget: int | None = None, query: str | None = None, titles: Sequence[str] = ()
    ) -> list[Shortened]:
        """Prune texts together, like `shorten_documents`."""
        for text in texts:
            check_text(text)
        return self._prune(texts, budget, query)

    def scores(self, text: str, budget: int | None = None, query: str | None = None) -> list[float]:
        """Return the word scores that pruning is based on, to inspect and compare them.

        :param text: The source.
        :param budget: As in `shorten`, since a word is scored after the words kept before it.
        :param query: As in `shorten`.
        :return: A score for each word of `split_words`; minus infinity in dropped passages.
        """
        check_text(text)
        source = Source.of(text, self.backbone.tokenizer)
        target = target_tokens(len(source.ids), budget, self._ratio)
        [words] = self._score([source], [source.protected(self._protection)], target, query)
        return words.scores

    def _prune(self, texts: Sequence[str], budget: int | None, query: str | None) -> list[Shortened]:
        if query is not None:
            check_text(query)
        tokenizer = self.backbone.tokenizer
        sources = [Source.of(text, tokenizer) for text in texts]
        total = sum(len(source.ids) for source in sources)
        target = target_tokens(total, budget, self._ratio)
        if target < total:
            protected = [source.protected(self._protection) for source in sources]
            words = self._score(sources, protected, target, query)
            texts = _choose_words(tokenizer, sources, protected, self._ranks(sources, protected, words), target)
        return [
            Shortened(text, len(source.ids), len(tokenizer.encode(text)), self.name)
            for text, source in zip(texts, sources, strict=True)
        ]

    def _score(
        self, sources: Sequence[Source], protected: Sequence[Sequence[bool]], target: int, query: str | None
    ) -> list[_WordScores]:
        """Score the words of the passages that stay."""
        ids: list[int] = []
        if query and query.strip():
            # Worded as in LongLLMLingua; of a query that is too long, only the end is used.
            ids = self.backbone.encode(f"\n{query.strip()} {_RESTRICTION}\n")[-(self._context // 4) :]
        scorer = _WordScorer(self.backbone, ids, self._context, self._segment)
        scored = [_WordScores.unscored(source) for source in sources]
        for passage, tokens in self._shares(sources, target, ids):
            document = passage.document
            scorer.score(sources[document], passage, tokens, protected[document], scored[document])
        return scored

    def _shares(self, sources: Sequence[Source], budget: int, query: Sequence[int]) -> list[tuple[_Passage, float]]:
        """Choose the passages that stay, and share the budget among them: the coarse step."""
        longest = self._context // 2
        passages = _cut_passages(sources, longest)
        target = self._slack * budget
        if not query and sum(len(passage.tokens) for passage in passages) <= target:
            return _share_budget(passages, range(len(passages)), budget, 0.0)  # all stay, at the same rate
        scores = []
        for passage in passages:
            ids = [sources[passage.document].ids[position] for position in passage.tokens[:longest]]
            mean = mean_surprisal(self.backbone, ids, query) if query else mean_surprisal(self.backbone, [], ids)
            scores.append(-mean if query else mean)
        ranked = _best_passages(passages, scores, target)
        return _share_budget(passages, ranked, budget, self._spread if query else 0.0)

    def _ranks(
        self, sources: Sequence[Source], protected: Sequence[Sequence[bool]], scored: Sequence[_WordScores]
    ) -> list[tuple[bool, bool, bool, float]]:
        """Return a sort key for each word of all documents; the best words sort first."""
        keys = []
        for source, marks, words in zip(sources, protected, scored, strict=True):
            for word, is_protected, kept, score in zip(source.words, marks, words.kept, words.scores, strict=True):
                number = self._digits and score > _UNSCORED and any(map(str.isdigit, word.text))
                keys.append((not is_protected, not number, not kept, -score))
        return keys


def _choose_words(
    tokenizer: TextTokenizer,
    sources: Sequence[Source],
    protected: Sequence[Sequence[bool]],
    ranks: Sequence[tuple[bool, bool, bool, float]],
    budget: int,
) -> list[str]:
    """Write each document with the best words that fit one budget for all."""
    starts = [0, *accumulate(len(source.words) for source in sources)]

    def texts(kept: Sequence[bool]) -> list[str]:
        return [
            join_words(source.words, kept[start : start + len(source.words)])
            for source, start in zip(sources, starts, strict=False)
        ]

    def count(kept: Sequence[bool]) -> int:
        return sum(len(tokenizer.encode(text)) for text in texts(kept))

    needed = count([is_protected for marks in protected for is_protected in marks])
    if needed > budget:
        raise OptionError(
            f"The budget is {budget} tokens, but what is protected takes {needed}. Raise the budget, or protect less."
        )
    order = sorted(range(len(ranks)), key=lambda index: (ranks[index], index))
    costs = [cost for source in sources for cost in source.costs()]
    return texts(keep_best(order, costs, budget, count))


@dataclass(frozen=True, slots=True)
class _Passage:
    """Words of a document that belong together."""

    document: int  # index
    first: int  # index of the first word
    last: int  # one past the last word
    tokens: range  # positions of its tokens in the document


def _cut_passages(sources: Sequence[Source], limit: int) -> list[_Passage]:
    """Cut documents into passages of at most `limit` tokens, in order; together they have all words."""
    passages = []
    for document, source in enumerate(sources):
        starts = [0] if len(sources) > 1 or not source.words else _passage_starts(source.words)
        for begin, end in zip(starts, [*starts[1:], len(source.words)], strict=True):
            for first, last in source.runs(begin, end, limit):
                passages.append(_Passage(document, first, last, source.tokens(first, last)))
    return passages


def _passage_starts(words: Sequence[Word]) -> list[int]:
    """Find the first words of paragraphs, or of sentences if there is only one paragraph."""
    paragraphs = [index for index, word in enumerate(words) if index == 0 or word.before.count("\n") > 1]
    if len(paragraphs) > 1:
        return paragraphs
    return [index for index in range(len(words)) if index == 0 or _ends_sentence(words[index - 1], words[index])]


def _ends_sentence(word: Word, following: Word) -> bool:
    end = word.text.rstrip(_CLOSING)[-1:]
    return "\n" in following.before or (
        bool(end) and end in _SENTENCE_ENDS and (bool(following.before) or end in "。！？")
    )


def _best_passages(passages: Sequence[_Passage], scores: Sequence[float], target: float) -> list[int]:
    """Return the indices of the best passages, best first, until they have `target` tokens."""
    chosen, tokens = [], 0
    for index in sorted(range(len(passages)), key=lambda index: (-scores[index], index)):
        if tokens >= target:
            break
        chosen.append(index)
        tokens += len(passages[index].tokens)
    return chosen


def _share_budget(
    passages: Sequence[_Passage], ranked: Sequence[int], budget: int, spread: float
) -> list[tuple[_Passage, float]]:
    """Return the passages that stay, in their order, each with the number of tokens to keep."""
    sizes = {index: len(passages[index].tokens) for index in ranked}
    total = sum(sizes.values())
    rate = min(1.0, budget / total) if total else 1.0
    lean = {index: 1 - 2 * rank / (len(ranked) - 1) if len(ranked) > 1 else 0.0 for rank, index in enumerate(ranked)}
    rates = {index: min(max(rate + spread * lean[index], 0.0), 1.0) for index in ranked}
    spent = sum(rates[index] * sizes[index] for index in ranked)
    scale = rate * total / spent if spent else 0.0
    return [(passages[index], min(rates[index] * scale, 1.0) * sizes[index]) for index in sorted(ranked)]


@dataclass(frozen=True, slots=True)
class _WordScores:
    """The result of the fine step for a document's words."""

    scores: list[float]
    kept: list[bool]
    costs: list[int]  # tokens

    @classmethod
    def unscored(cls, source: Source) -> _WordScores:
        return cls([_UNSCORED] * len(source.words), [False] * len(source.words), source.costs())


class _WordScorer:
    """Scores the words of all documents of a call, in order: the fine step."""

    def __init__(self, backbone: Backbone, query: Sequence[int], context: int, segment: int) -> None:
        self._plain = IncrementalLM(backbone, context)
        self._conditioned = IncrementalLM(backbone, context, query) if query else None
        self._segment = segment
        self._unspent = 0.0  # tokens of the budget carried over, since no word fitted them

    def score(
        self, source: Source, passage: _Passage, tokens: float, protected: Sequence[bool], words: _WordScores
    ) -> None:
        """Score the words of a passage into `words`, keeping about `tokens` tokens and all protected words."""
        scores, kept, costs = words.scores, words.kept, words.costs
        rate = tokens / max(len(passage.tokens), 1)
        for first, last in source.runs(passage.first, passage.last, self._segment):
            scores[first:last] = self._segment_scores(source, first, last)
            self._unspent += rate * sum(costs[first:last])
            for word in sorted(range(first, last), key=lambda word: (not protected[word], -scores[word], word)):
                if protected[word] or costs[word] <= self._unspent:
                    kept[word] = True
                    self._unspent -= costs[word]
            self._read([source.ids[index] for index in source.tokens(first, last) if kept[source.owners[index]]])

    def _segment_scores(self, source: Source, first: int, last: int) -> list[float]:
        positions = source.tokens(first, last)
        surprisal: list[float] = []
        # A word longer than a segment is scored in pieces, each as if the previous one were absent.
        for start in range(positions.start, positions.stop, self._segment):
            surprisal += self._surprisal(source.ids[start : min(start + self._segment, positions.stop)])
        sums, counts = [0.0] * (last - first), [0] * (last - first)
        for position, value in zip(positions, surprisal, strict=True):
            if not source.blank[position]:
                sums[source.owners[position] - first] += value
                counts[source.owners[position] - first] += 1
        return [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]

    def _surprisal(self, ids: Sequence[int]) -> list[float]:
        plain = self._plain.surprisal(ids)
        if self._conditioned is None:
            return plain
        return [before - after for before, after in zip(plain, self._conditioned.surprisal(ids), strict=True)]

    def _read(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), self._segment):
            for model in (self._plain, self._conditioned):
                if model:
                    model.read(ids[start : start + self._segment])
