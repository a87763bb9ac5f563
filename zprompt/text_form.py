"""Shorten documents to the sentences that a question needs, as text for any LLM; this loads neither an LLM nor torch.

All documents of a call share one budget, in tokens as the caller counts them. Sentences stay whole, so a ratio is met
to the nearest sentence; `max_tokens` is a limit, marks included.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from zprompt.counting import CountTokens
from zprompt.documents import DocumentBatch, read_documents, title_of
from zprompt.errors import InvalidTextError, OptionError
from zprompt.options import CompressOptions, OnError
from zprompt.relevance import NOTHING, Choice, Length, Passage, Relevance, cost_as_text, elide
from zprompt.results import CompressionResult, CompressionStats, KeptText
from zprompt.zspan import find_spans, is_span, require_no_surrogates

CLOSE = 0.02  # relative error at which a ratio counts as met
ROUNDS = 4  # attempts to meet a ratio


def shorten(
    options: CompressOptions,
    docs: object,
    relevance: Relevance,
    count: CountTokens,
    restore: Callable[[DocumentBatch, OnError], list[str]] | None = None,
) -> CompressionResult:
    """Leave out what a question does not need.

    :param options: The options, with a query.
    :param docs: As in `zprompt.compress`.
    :param relevance: Scores the sentences.
    :param count: Counts tokens.
    :param restore: Restores the texts of documents with Z-spans, as `Codec.original_texts` does; None: a Z-span is text
        like any other.
    :return: The shortened documents, the figures, and what is kept of each document.
    :raises OptionError: If max_tokens is too few for the marks of what is left out, or for what is protected.
    """
    began = time.perf_counter()
    batch = read_documents(docs)
    texts = list(batch.texts)
    passing: set[int] = set()
    if restore and any(next(find_spans(text), None) for text in texts):  # restoring loads an LLM
        texts = restore(batch, options.on_error)
        passing |= {index for index, text in enumerate(texts) if is_span(text.strip())}  # that could not be restored
    for index, text in enumerate(texts):
        try:
            with batch.naming(index):
                require_no_surrogates(text)
        except InvalidTextError:
            if options.on_error == "raise":
                raise
            passing.add(index)
    before = [count(text.encode("utf-8", "replace").decode()) for text in texts]
    min_tokens = options.min_tokens or 1
    indices = [index for index, tokens in enumerate(before) if index not in passing and tokens >= min_tokens]
    passages = [Passage(texts[index], title_of(batch.documents[index])) for index in indices]
    source_tokens = sum(before)
    passing_tokens = source_tokens - sum(before[index] for index in indices)
    options = options.beside(passing_tokens, alone=not indices)
    shortened = _shorten_passages(options, passages, relevance, count, source_tokens, passing_tokens)
    result = list(texts)
    kept = [KeptText.whole(text) for text in texts]
    after = list(before)
    for index, (text, kept_text) in zip(indices, shortened, strict=True):
        result[index], kept[index], after[index] = text, kept_text, count(text)
    positions = sum(after)
    ratio = source_tokens / positions if positions else 1.0
    verbatim = sum(
        count(passage.text[start:end].strip())
        for passage, (_, kept_text) in zip(passages, shortened, strict=True)
        for start, end in kept_text.ranges
    )
    stats = CompressionStats(
        documents=len(texts),
        source_tokens=source_tokens,
        z_tokens=0,
        positions=positions,
        ratio=ratio,
        bits_per_z_token=0.0,
        bits_per_source_token=0.0,
        passed_through=len(texts) - len(indices),
        seconds=time.perf_counter() - began,
        verbatim=verbatim / max(1, source_tokens),
        relevance=relevance.name,
        missed=_missed(options, ratio, [text for text, _ in shortened]),
    )
    tokens = tuple(zip(before, after, strict=True))
    return CompressionResult(batch.with_texts(result), stats, tuple(texts), tokens, options.query, tuple(kept))


def _shorten_passages(
    options: CompressOptions,
    passages: Sequence[Passage],
    relevance: Relevance,
    count: CountTokens,
    source_tokens: int,
    passing_tokens: int,
) -> list[tuple[str, KeptText]]:
    """Write what stays of each passage, with less or, for a ratio, more of it until the length with all marks fits."""
    protected = [options.protection.ranges(passage.text) for passage in passages]
    choice = Choice(relevance, options.query or "", passages, cost_as_text(passages, count), protected)

    def write(length: Length) -> tuple[list[tuple[str, KeptText]], int]:
        kept = choice.choose(length)
        shortened = [elide(passage.text, kept_text, count) for passage, kept_text in zip(passages, kept, strict=True)]
        return shortened, sum(count(text) for text, _ in shortened)

    if options.ratio is not None:
        return _nearest(write, max(1.0, source_tokens / options.ratio - passing_tokens))
    if options.max_tokens is None:
        return write(Length())[0]
    for tenths in range(10, -1, -1):
        shortened, total = write(Length(most=options.max_tokens * tenths // 10))
        if total <= options.max_tokens:
            return shortened
    raise OptionError(
        f"max_tokens={options.max_tokens} is too small: even with everything left out, the marks of these documents "
        f"take {total} tokens. Raise it, or pass fewer documents."
    )


def _nearest(
    write: Callable[[Length], tuple[list[tuple[str, KeptText]], int]], wanted: float
) -> list[tuple[str, KeptText]]:
    """Write as nearly the wanted number of tokens as possible; only writing tells how many the marks take."""
    attempts: list[tuple[float, list[tuple[str, KeptText]]]] = []  # error, and what was written
    budget = wanted
    for _ in range(ROUNDS):
        shortened, total = write(Length(wanted=budget))
        attempts.append((abs(math.log(max(total, 1) / wanted)), shortened))
        if attempts[-1][0] < CLOSE:
            break
        budget = max(1.0, budget + wanted - total)
    return min(attempts, key=lambda attempt: attempt[0])[1]


def _missed(options: CompressOptions, ratio: float, written: Sequence[str]) -> str | None:
    if options.max_tokens is not None and written and all(text == NOTHING for text in written):
        return (
            f"max_tokens={options.max_tokens} has no room for any sentence of these documents: nothing is left of them"
        )
    if not any(written) or not options.misses(ratio):
        return None
    protected = ", of which some are protected," if options.protect is not None else ""
    return f"ratio {options.ratio:g} was requested; the nearest with whole sentences{protected} is {ratio:.2f}"
