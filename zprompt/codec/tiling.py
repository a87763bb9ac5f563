"""Choose which tokens of a text stay as anchors: as many as were asked for, and those that are worth most.

What is kept costs about the same, whichever token it is, and what is dropped costs what its symbol takes in the
residual, r[t], and a reader the sight of it. Neither depends on what happens to other tokens, so the best tiling of any
length keeps the tokens that are *worth* most (w: importance.py):

    worth[t] = w[t] · r[t]

(Counting what each token costs as an anchor makes Z-spans 4 % shorter at ratio 2 and 1 % at ratio 4, and fills them
with "," and "and", which no reader needs.) Always kept are the first token of a unit (so no Z-token reaches over the
end of a sentence, and a sentence can be put back word for word by itself), the first of a window, which has no left
context, and what the caller protects.

How many: a ratio is met to the token, over all documents of the call, so every document pays the same price for the
same bits, and one that is hard to predict gets more anchors; tilings of one text at several ratios are nested. Without
a wanted length, a text keeps the tokens that are worth more than `USUAL_WORTH`. A number of Z-tokens is a limit; one
that leaves room to spare changes nothing. With a query, always kept are the sentences that it needs (focused.py) in
place of the first tokens of all; what a ratio leaves room for beside them is filled as without one.
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
    """The tokens of one window, and what each costs."""

    ids: Ints  # (n,)
    symbols: Ints  # (n,): what restores each if it is dropped
    worth: Floats  # (n,): bits; inf where a token is always kept
    hidden: Tensor | None = None  # (n, H): what predicts each token, for codecs that write codes

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
        """Return the window's Z-tokens, given which tokens are kept."""
        places = np.flatnonzero(kept)
        gaps = np.diff(places, append=len(self.ids)) - 1
        return [ZToken(anchor, gap) for anchor, gap in zip(self.ids[places].tolist(), gaps.tolist(), strict=True)]


def choose_kept(windows: Sequence[ScoredWindow], options: CompressOptions) -> list[Bools]:
    """Choose which tokens of the windows of one call are kept.

    :param windows: The windows.
    :param options: What was asked for.
    :return: (n,) for each window.
    :raises OptionError: If `max_tokens` is less than what is always kept.
    """
    if options.query and options.ratio is None:  # as long as the sentences that the query needs
        usual = [int(np.isinf(window.worth).sum()) for window in windows]
    else:
        usual = [int((window.worth > USUAL_WORTH).sum()) for window in windows]
    if not options.has_length or (options.max_tokens is not None and sum(usual) <= options.max_tokens):
        return [_most_worth(window.worth, window.ids, count) for window, count in zip(windows, usual, strict=True)]
    if not windows:
        return []
    worth, ids = (np.concatenate([getattr(window, name) for window in windows]) for name in ("worth", "ids"))
    forced = int(np.isinf(worth).sum())
    if options.max_tokens is not None and forced > options.max_tokens:
        first = "document" if options.query else "sentence"
        raise OptionError(
            f"max_tokens is {options.max_tokens}, but these documents need {forced} Z-tokens at least: the first token "
            f"of each {first}{', and what is protected' if options.protect is not None else ''}. "
            "Allow more, or compress fewer documents."
        )
    wanted = options.max_tokens or nearest_count(len(worth), options.ratio or 1.0)
    kept = _most_worth(worth, ids, max(wanted, forced))
    return np.split(kept, np.cumsum([len(window.ids) for window in windows])[:-1])


def nearest_count(source_tokens: int, ratio: float) -> int:
    """Return the number of Z-tokens whose ratio is nearest to the one that was asked for."""
    fewer = max(1, math.floor(source_tokens / ratio))
    return min(fewer, fewer + 1, key=lambda count: abs(source_tokens / count - ratio))


def explain_miss(windows: Sequence[ScoredWindow], z_tokens: int, options: CompressOptions) -> str | None:
    """Say why the ratio that was asked for was missed; None if it was met, or none was asked for."""
    source_tokens = sum(len(window.ids) for window in windows)
    if not z_tokens or not options.misses(source_tokens / z_tokens):
        return None
    ratio = source_tokens / z_tokens
    forced = sum(int(np.isinf(window.worth).sum()) for window in windows)
    if options.query:
        return f"ratio {options.ratio:g} was asked for; the sentences that the query needs are nearest at {ratio:.2f}"
    if z_tokens > forced:
        return f"ratio {options.ratio:g} was asked for, and {ratio:.2f} is the nearest for {source_tokens} tokens"
    return (
        f"ratio {options.ratio:g} was asked for, but these texts have {ratio:.2f} at most: {forced} of their "
        f"{source_tokens} tokens begin a sentence or a line{' or are protected' if options.protect is not None else ''}"
    )


def _most_worth(worth: Floats, ids: Ints, count: int) -> Bools:
    """Mark the tokens that are worth most; of equal ones the rarer, then the first."""
    kept = np.zeros(len(worth), np.bool_)
    kept[np.lexsort((-ids, -worth))[:count]] = True
    return kept
