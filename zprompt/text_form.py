"""Shorten documents to the sentences that a question needs, as text that any LLM reads: no LLM, and no torch.

One budget over all documents of the call, in the tokens that the caller counts. Sentences are whole, so a ratio is met
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
ROUNDS = 4  # of writing, until a ratio is met


def shorten(
    options: CompressOptions,
    docs: object,
    relevance: Relevance,
    count: CountTokens,
    restore: Callable[[DocumentBatch, OnError], list[str]] | None = None,
) -> CompressionResult:
    """Leave out what a question does not need.

    :param options: With a query.
    :param docs: As in `zprompt.compress`.
    :param relevance: Scores the sentences.
    :param count: Counts tokens.
    :param restore: Returns the texts that documents with Z-spans stand for, as `Codec.original_texts`; None: these are
        texts like any other.
    :return: The documents, shorter, the figures, and what is kept of each.
    :raises OptionError: If max_tokens is less than the marks of what is left out, or than what is protected.
    """
    began = time.perf_counter()
    batch = read_documents(docs)
    texts = list(batch.texts)
    passing: set[int] = set()
    if restore and any(next(find_spans(text), None) for text in texts):  # it loads an LLM
        texts = restore(batch, options.on_error)
        passing |= {place for place, text in enumerate(texts) if is_span(text.strip())}  # that could not be restored
    for place, text in enumerate(texts):
        try:
            with batch.naming(place):
                require_no_surrogates(text)
        except InvalidTextError:
            if options.on_error == "raise":
                raise
            passing.add(place)
    before = [count(text.encode("utf-8", "replace").decode()) for text in texts]
    least = options.min_tokens or 1
    chosen = [place for place, tokens in enumerate(before) if place not in passing and tokens >= least]
    passages = [Passage(texts[index], title_of(batch.documents[index])) for index in chosen]
    source_tokens = sum(before)
    whole = source_tokens - sum(before[place] for place in chosen)
    written = _written(options, passages, relevance, count, source_tokens, whole)
    result = list(texts)
    kept = [KeptText.whole(text) for text in texts]
    after = list(before)
    for index, (text, own) in zip(chosen, written, strict=True):
        result[index], kept[index], after[index] = text, own, count(text)
    positions = sum(after)
    ratio = source_tokens / positions if positions else 1.0
    verbatim = sum(
        count(passage.text[start:end].strip())
        for passage, (_, own) in zip(passages, written, strict=True)
        for start, end in own.ranges
    )
    stats = CompressionStats(
        documents=len(texts),
        source_tokens=source_tokens,
        z_tokens=0,
        positions=positions,
        ratio=ratio,
        bits_per_z_token=0.0,
        bits_per_source_token=0.0,
        passed_through=len(texts) - len(chosen),
        seconds=time.perf_counter() - began,
        verbatim=verbatim / max(1, source_tokens),
        relevance=relevance.name,
        missed=_missed(options, ratio, [text for text, _ in written]),
    )
    tokens = tuple(zip(before, after, strict=True))
    return CompressionResult(batch.with_texts(result), stats, tuple(texts), tokens, options.query, tuple(kept))


def _written(
    options: CompressOptions,
    passages: Sequence[Passage],
    relevance: Relevance,
    count: CountTokens,
    source_tokens: int,
    whole: int,
) -> list[tuple[str, KeptText]]:
    """Write what stays of each passage; again with less, or for a ratio with more, until it fits with its marks."""
    always = [options.protection.ranges(one.text) for one in passages]
    choice = Choice(relevance, options.query or "", passages, cost_as_text(passages, count), always)

    def write(length: Length) -> tuple[list[tuple[str, KeptText]], int]:
        kept = choice.choose(length)
        written = [elide(one.text, own, count) for one, own in zip(passages, kept, strict=True)]
        return written, whole + sum(count(text) for text, _ in written)

    if options.ratio is not None:
        return _nearest(write, max(1.0, source_tokens / options.ratio), whole)
    if options.max_tokens is None:
        return write(Length())[0]
    left = max(0, options.max_tokens - whole)
    for tenths in range(10, -1, -1):
        written, total = write(Length(most=left * tenths // 10))
        if total <= options.max_tokens:
            return written
    raise OptionError(
        f"max_tokens is {options.max_tokens}, but these documents take {total} tokens even where only the marks of "
        "what is left out stay. Allow more, or give fewer documents."
    )


def _nearest(
    write: Callable[[Length], tuple[list[tuple[str, KeptText]], int]], wanted: float, whole: int
) -> list[tuple[str, KeptText]]:
    """Write as many tokens as are wanted, to the nearest: what the marks take is known once they are there."""
    tried: list[tuple[float, list[tuple[str, KeptText]]]] = []
    asked = max(1.0, wanted - whole)
    for _ in range(ROUNDS):
        written, total = write(Length(wanted=asked))
        tried.append((abs(math.log(max(total, 1) / wanted)), written))
        if tried[-1][0] < CLOSE:
            break
        asked = max(1.0, asked + wanted - total)
    return min(tried, key=lambda one: one[0])[1]


def _missed(options: CompressOptions, ratio: float, written: Sequence[str]) -> str | None:
    if options.max_tokens is not None and written and all(text == NOTHING for text in written):
        return f"max_tokens is {options.max_tokens}, and no sentence of these documents fits: nothing of them is left"
    if not any(written) or not options.misses(ratio):
        return None
    return f"ratio {options.ratio:g} was asked for; whole sentences are nearest to it at {ratio:.2f}"
