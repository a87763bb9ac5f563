"""Choose which tokens of a text stay as anchors: as many as requested, and those that are worth most.

Every token costs about the same as an anchor. A dropped one costs the r[t] bits of its symbol in the residual, and a
reader does not see it. Neither depends on what happens to other tokens, so the best tiling of any length keeps the
tokens that are *worth* most (w: importance.py):

    worth[t] = w[t] · r[t]

(Counting what each token costs as an anchor makes Z-spans 4 % shorter at ratio 2 and 1 % at ratio 4, and fills them
with "," and "and", which no reader needs.) Always kept are the first token of a unit (so no Z-token reaches over the
end of a sentence, and a sentence can be restored word for word by itself), the first of a window, which has no left
context, and what the caller protects.

How many: a ratio is met to the token, over all documents of the call, so every document pays the same price for the
same bits, and one that is hard to predict gets more anchors; tilings of one text at several ratios are nested. Without
a requested length, a text keeps the tokens that are worth more than `USUAL_WORTH`. `max_tokens` is an upper limit; one
that is not reached changes nothing. With a query, the sentences that it needs are always kept (focused.py) instead of
the first token of every unit; the rest of a ratio is filled as without a query.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zprompt.errors import OptionError
from zprompt.options import CompressOptions
from zprompt.zspan import ZToken, symbol_bits

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

USUAL_WORTH = 8.0  # bits: English prose then has about four source tokens per Z-token


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """The tokens of one window, and what each is worth."""

    ids: Ints  # (n,)
    symbols: Ints  # (n,): each restores its token if that is dropped
    worth: Floats  # (n,): bits; inf where a token is always kept
    hidden: Tensor | None = None  # (n, H): the states that predict the tokens, for codecs that write codes

    @classmethod
    def of(cls, ids: Sequence[int], symbols: Ints, forced: Bools, weight: Floats) -> "ScoredWindow":
        """Score a window.

        :param ids: (n,), the token ids.
        :param symbols: (n,), from `Compressor.symbols`.
        :param forced: (n,), True where a token is always kept.
        :param weight: (n,), w of each token.
        :return: The window.
        """
        worth = np.where(forced, np.inf, weight * symbol_bits(symbols))
        return cls(np.asarray(ids, np.int64), symbols, worth)

    def z_tokens(self, kept: Bools) -> list[ZToken]:
        """Return the window's Z-tokens, given the mask of kept tokens, (n,)."""
        anchors = np.flatnonzero(kept)
        gaps = np.diff(anchors, append=len(self.ids)) - 1
        return [ZToken(anchor, gap) for anchor, gap in zip(self.ids[anchors].tolist(), gaps.tolist(), strict=True)]


def choose_kept(windows: Sequence[ScoredWindow], options: CompressOptions) -> list[Bools]:
    """Choose which tokens of the windows of one call are kept.

    :param windows: The windows.
    :param options: The options of the call.
    :return: The mask of kept tokens, (n,), of each window.
    :raises OptionError: If `max_tokens` is less than the number of tokens that are always kept.
    """
    if options.query and options.ratio is None:  # only the sentences that the query needs
        counts = [int(np.isinf(window.worth).sum()) for window in windows]
    else:
        counts = [int((window.worth > USUAL_WORTH).sum()) for window in windows]
    if not options.has_length or (options.max_tokens is not None and sum(counts) <= options.max_tokens):
        return [_most_worth(window.worth, window.ids, count) for window, count in zip(windows, counts, strict=True)]
    if not windows:
        return []
    worth = np.concatenate([window.worth for window in windows])
    ids = np.concatenate([window.ids for window in windows])
    forced = int(np.isinf(worth).sum())
    if options.max_tokens is not None and forced > options.max_tokens:
        unit = "document" if options.query else "sentence"
        raise OptionError(
            f"max_tokens={options.max_tokens} is too small: these documents need at least {forced} Z-tokens, for the "
            f"first token of each {unit}{' and for what is protected' if options.protect is not None else ''}. "
            "Raise it, or compress fewer documents."
        )
    count = options.max_tokens or nearest_count(len(worth), options.ratio or 1.0)
    kept = _most_worth(worth, ids, max(count, forced))
    return np.split(kept, np.cumsum([len(window.ids) for window in windows])[:-1])


def nearest_count(source_tokens: int, ratio: float) -> int:
    """Return the number of Z-tokens whose ratio is nearest to the requested one."""
    fewer = max(1, math.floor(source_tokens / ratio))
    return min(fewer, fewer + 1, key=lambda count: abs(source_tokens / count - ratio))


def explain_miss(windows: Sequence[ScoredWindow], z_tokens: int, options: CompressOptions) -> str | None:
    """Explain why the requested ratio was missed; None if it was met, or none was requested."""
    source_tokens = sum(len(window.ids) for window in windows)
    if not z_tokens or not options.misses(source_tokens / z_tokens):
        return None
    ratio = source_tokens / z_tokens
    forced = sum(int(np.isinf(window.worth).sum()) for window in windows)
    if options.query:
        return (
            f"ratio {options.ratio:g} was requested; the nearest with the sentences that the query needs is {ratio:.2f}"
        )
    if z_tokens > forced:
        return f"ratio {options.ratio:g} was requested; the nearest for {source_tokens} tokens is {ratio:.2f}"
    return (
        f"ratio {options.ratio:g} was requested, but these texts allow at most {ratio:.2f}: {forced} of their "
        f"{source_tokens} tokens begin a sentence or a line{' or are protected' if options.protect is not None else ''}"
    )


def _most_worth(worth: Floats, ids: Ints, count: int) -> Bools:
    """Mark the `count` tokens that are worth most, (n,); ties go to the rarer token, then to the first."""
    kept = np.zeros(len(worth), np.bool_)
    kept[np.lexsort((-ids, -worth))[:count]] = True
    return kept
