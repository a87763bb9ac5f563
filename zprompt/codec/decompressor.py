"""Turn Z-tokens back into token ids: greedy decoding with the anchors forced.

The position of every anchor is known before the first step, and so are the dropped tokens that the residual spells out.
A step feeds each row all tokens up to the next unknown one and predicts that one, so a row takes as many steps as it
has unknown tokens. Windows do not depend on each other; they are decoded in batches, those with the most steps first,
and leave the batch as they finish.

    x[t] = the candidate of rank r in E h[t]

Every prefix is right, so `h` is what the compressor computed, and decoding cannot drift. Where a token has a learned
code, `h` is shifted by it (codes.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec.codes import DroppedTokens, corrected
from zprompt.codec.heads import CodecHeads
from zprompt.errors import DamagedSpanError
from zprompt.llm import Backbone, Cache
from zprompt.zspan import LITERALS, ZSpan, ZToken

WIDE_ROWS = 4  # with up to this many rows a step is memory-bound, and more tokens per row cost nothing
LOW_RANKS = 32  # most candidates that are sorted for all rows of a step; a row that needs more is sorted alone
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class KnownWindow:
    """What a Z-span says about one window."""

    tokens: Sequence[ZToken]
    symbols: Sequence[int]  # of its dropped tokens, from left to right


def split_windows(span: ZSpan, size: int) -> Iterator[KnownWindow]:
    """Cut a Z-span into its windows.

    :param span: The Z-span.
    :param size: Source tokens per window.
    :yields: The windows.
    :raises DamagedSpanError: If a Z-token reaches into the next window.
    """
    tokens: list[ZToken] = []
    length = first_symbol = 0
    for token in span.tokens:
        tokens.append(token)
        length += token.gap + 1
        if length > size:
            raise DamagedSpanError("A Z-token reaches into the next window. Get the Z-span again from its source.")
        if length == size:
            dropped = length - len(tokens)
            yield KnownWindow(tokens, span.symbols[first_symbol : first_symbol + dropped])
            first_symbol += dropped
            tokens, length = [], 0
    if tokens:
        yield KnownWindow(tokens, span.symbols[first_symbol:])


@dataclass(slots=True)
class _Plan:
    """What is known about one window, and how far decoding has come."""

    ids: NDArray[np.int64]  # (n,): `UNKNOWN` where only a rank is known
    ranks: NDArray[np.int64]  # (n,): of the unknown tokens
    fed: int = 0  # tokens given to the LLM, the start token included
    right_context: dict[int, Tensor] = field(default_factory=dict)  # (W,) by position, for tokens that have a code

    @classmethod
    def of(cls, window: KnownWindow, heads: CodecHeads | None) -> "_Plan":
        gaps = np.array([token.gap for token in window.tokens], np.int64)
        ids = np.full(len(gaps) + int(gaps.sum()), UNKNOWN)
        ranks = np.zeros(len(ids), np.int64)
        kept = np.zeros(len(ids), np.bool_)
        kept[np.cumsum(gaps + 1) - gaps - 1] = True
        symbols = np.array(window.symbols, np.int64)
        ids[kept] = [token.anchor for token in window.tokens]
        ids[~kept] = np.where(symbols >= LITERALS, symbols - LITERALS, UNKNOWN)
        ranks[~kept] = np.minimum(symbols, LITERALS - 1)
        plan = cls(ids, ranks)
        if heads and any(token.code for token in window.tokens):
            rows = DroppedTokens.of(window.tokens, heads.settings.max_gap)
            right = rows.right_context(heads)
            for row in np.flatnonzero(rows.written(heads)):
                plan.right_context[int(rows.position[row])] = right[row]
        return plan

    def pending(self) -> int:
        """Count the tokens to feed until the next unknown one is predicted; 0 when the window is finished."""
        unknown = np.flatnonzero(self.ids[self.fed :] == UNKNOWN)
        return int(unknown[0]) + 1 if len(unknown) else 0


class Decompressor:
    """Restores windows of token ids from their Z-tokens."""

    def __init__(self, backbone: Backbone, heads: CodecHeads | None = None) -> None:
        self.backbone, self.heads = backbone, heads

    @torch.no_grad()
    def restore(
        self, windows: Sequence[KnownWindow], batch_size: int, advance: Callable[[int], None] | None = None
    ) -> list[list[int]]:
        """Return the token ids of windows.

        :param windows: The windows.
        :param batch_size: Windows decoded at a time.
        :param advance: Called with the number of windows finished since the last call.
        :return: Token ids of each window.
        """
        plans = [_Plan.of(window, self.heads) for window in windows]
        steps = [int((plan.ids == UNKNOWN).sum()) for plan in plans]
        order = sorted(range(len(plans)), key=lambda i: -steps[i])
        for first in range(0, len(order), batch_size):
            self._decode([plans[i] for i in order[first : first + batch_size] if steps[i]])
            if advance:
                advance(len(order[first : first + batch_size]))
        return [plan.ids.tolist() for plan in plans]

    def _decode(self, plans: list[_Plan]) -> None:
        """Fill in the unknown tokens of a batch of windows."""
        cache = self.backbone.new_cache(len(plans))
        while plans:
            self._step(plans, cache)
            unfinished = [row for row, plan in enumerate(plans) if plan.pending()]
            if len(unfinished) < len(plans):
                plans = [plans[row] for row in unfinished]
                cache.keep_rows(torch.tensor(unfinished, dtype=torch.long))

    def _step(self, plans: list[_Plan], cache: Cache) -> None:
        """Run the LLM once, and fill in the next unknown token of every row that was fed all tokens before it."""
        pending = [plan.pending() for plan in plans]
        width = max(pending) if len(plans) <= WIDE_ROWS else min(pending)
        counts = [min(count, width) for count in pending]
        hidden = self.backbone.hidden(torch.from_numpy(self._inputs(plans, width)), cache)
        for plan, count in zip(plans, counts, strict=True):
            plan.fed += count
        cache.rollback(torch.tensor([plan.fed for plan in plans]))
        ready = [row for row, count in enumerate(counts) if count == pending[row]]
        self._fill_in([plans[row] for row in ready], hidden[ready, [counts[row] - 1 for row in ready]])

    def _inputs(self, plans: list[_Plan], width: int) -> NDArray[np.int64]:
        """Return the next tokens of each row, (B, width); unknown ones are padding, which is rolled back."""
        inputs = np.full((len(plans), width), self.backbone.start_id)
        for row, plan in zip(inputs, plans, strict=True):
            shift = 1 if plan.fed == 0 else 0  # the start token comes first
            known = plan.ids[max(plan.fed - 1, 0) : plan.fed - 1 + width]
            row[shift : shift + len(known)] = np.maximum(known, 0)
        return inputs

    def _fill_in(self, plans: list[_Plan], hidden: Tensor) -> None:
        """Fill in the next unknown token of each window from its hidden state."""
        positions = [plan.fed - 1 for plan in plans]
        coded = [row for row, plan in enumerate(plans) if positions[row] in plan.right_context]
        if self.heads and coded:
            right = torch.stack([plans[row].right_context[positions[row]] for row in coded])
            previous = torch.tensor([int(plans[row].ids[positions[row] - 1]) for row in coded])
            hidden[coded] = corrected(self.heads, hidden[coded], previous, right)
        ranks = torch.tensor([int(plan.ranks[position]) for plan, position in zip(plans, positions, strict=True)])
        logits = self.backbone.logits(hidden)
        best = logits.topk(min(int(ranks.max()) + 1, LOW_RANKS, logits.shape[1]), -1).indices.cpu()
        tokens = best.gather(1, ranks.clamp(max=best.shape[1] - 1)[:, None])[:, 0].tolist()
        for row in torch.nonzero(ranks >= best.shape[1])[:, 0].tolist():
            rank = min(int(ranks[row]), logits.shape[1] - 1)
            tokens[row] = int(logits[row].topk(rank + 1).indices[rank])
        for plan, position, token in zip(plans, positions, tokens, strict=True):
            plan.ids[position] = token
