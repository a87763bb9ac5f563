"""Turn Z-tokens back into token ids: greedy decoding with the anchors forced and the span head added.

Where every anchor stands is known before the first step, so a step feeds each row all tokens up to the next unknown
one and gets that one back: a row takes as many steps as its spans have tokens, fewer than plain generation by one for
each anchor. Windows do not depend on each other; they are decoded in batches, longest first, and leave the batch as
they finish.

At a dropped token, the residual says which of the candidates is meant, or the token itself:

    x[t] = the candidate of rank r in E (h[t] + d)

Every prefix is right, so `h` is what the compressor computed and the decoding cannot drift.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec.heads import CodecHeads, DroppedTokens, right_context
from zprompt.errors import DamagedSpanError
from zprompt.llm import Backbone, Cache
from zprompt.zspan import LITERALS, ZToken

WIDE_ROWS = 4  # up to this many rows a step is bound by memory, and more tokens in it cost nothing
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class KnownWindow:
    """What a Z-span says about one window."""

    tokens: Sequence[ZToken]
    symbols: Sequence[int]  # of its dropped tokens, from left to right


@dataclass(slots=True)
class WindowPlan:
    """What is known of one window before decoding, and how far decoding has come."""

    ids: NDArray[np.int64]  # (n,): anchors, and `UNKNOWN` where a token was dropped
    right_context: Tensor  # (n, W): the part of the span head's input that needs no LLM
    symbols: NDArray[np.int64]  # (n,): of the dropped tokens
    fed: int = 0  # tokens given to the LLM, the start token included

    def pending(self) -> int:
        """Count the tokens that can be fed before the next unknown one; 0 when the window is finished."""
        unknown = np.flatnonzero(self.ids[self.fed :] == UNKNOWN)
        return int(unknown[0]) + 1 if len(unknown) else 0


class Decompressor:
    """Restores windows of token ids from their Z-tokens."""

    def __init__(self, backbone: Backbone, heads: CodecHeads) -> None:
        self.backbone, self.heads, self.settings = backbone, heads, heads.settings

    def restore(
        self, windows: Sequence[KnownWindow], batch_size: int, advance: Callable[[int], None] | None = None
    ) -> list[list[int]]:
        """Return the token ids of windows.

        :param windows: The windows.
        :param batch_size: Windows decoded at a time.
        :param advance: Called with the number of windows that were finished since the last call.
        :return: Token ids of each window.
        """
        plans = [self.plan_window(window) for window in windows]
        steps = [int((plan.ids == UNKNOWN).sum()) for plan in plans]
        order = sorted(range(len(plans)), key=lambda i: -steps[i])
        for first in range(0, len(order), batch_size):
            self._decode([plans[i] for i in order[first : first + batch_size] if steps[i]])
            if advance:
                advance(len(order[first : first + batch_size]))
        return [plan.ids.tolist() for plan in plans]

    @torch.no_grad()
    def plan_window(self, window: KnownWindow) -> WindowPlan:
        """Lay out what is known of a window; raise DamagedSpanError if its last Z-token drops tokens."""
        tokens = window.tokens
        if tokens and tokens[-1].gap:
            raise DamagedSpanError(
                "The last Z-token of a window drops tokens, but no anchor follows. Ask for it again where it came from."
            )
        dropped = DroppedTokens.of(tokens)
        length = len(tokens) + len(dropped.position)
        ids, symbols = np.full(length, UNKNOWN), np.zeros(length, np.int64)
        kept = np.ones(length, np.bool_)
        kept[dropped.position] = False
        ids[kept] = [token.anchor for token in tokens]
        symbols[dropped.position] = window.symbols
        right = torch.zeros(length, self.settings.width, device=self.backbone.device)
        if len(dropped.position):
            right[torch.from_numpy(dropped.position)] = right_context(self.heads, dropped)
        return WindowPlan(ids, right, symbols)

    @torch.no_grad()
    def _decode(self, plans: list[WindowPlan]) -> None:
        """Fill in the unknown tokens of a batch of windows."""
        cache = self.backbone.new_cache(len(plans))
        while plans:
            self.step(plans, cache)
            going = [row for row, plan in enumerate(plans) if UNKNOWN in plan.ids[plan.fed :]]
            if len(going) < len(plans):
                plans = [plans[row] for row in going]
                cache.keep_rows(torch.tensor(going, dtype=torch.long))

    def step(self, plans: list[WindowPlan], cache: Cache) -> list[int]:
        """Run the LLM once and fill in one unknown token of some windows, unless none is left.

        :param plans: The windows, one for each row of the cache.
        :param cache: The keys and values so far.
        :return: The rows in which a token was filled in.
        """
        pending = [plan.pending() for plan in plans]
        due = [count for count in pending if count]
        if not due:
            return []
        width = max(due) if len(plans) <= WIDE_ROWS else min(due)
        fed = [min(count, width) for count in pending]
        hidden = self.backbone.hidden(torch.from_numpy(self._inputs(plans, width)), cache)
        for plan, count in zip(plans, fed, strict=True):
            plan.fed += count
        cache.rollback(torch.tensor([plan.fed for plan in plans]))
        ready = [row for row, count in enumerate(fed) if count and count == pending[row]]
        self._predict([plans[row] for row in ready], hidden[ready, [fed[row] - 1 for row in ready]])
        return ready

    def _inputs(self, plans: list[WindowPlan], width: int) -> NDArray[np.int64]:
        """Return each row's next tokens; what is not known yet is padding, which is rolled back."""
        inputs = np.full((len(plans), width), self.backbone.start_id)
        for row, plan in zip(inputs, plans, strict=True):
            shift = 1 if plan.fed == 0 else 0  # the start token comes first
            known = plan.ids[max(plan.fed - 1, 0) : plan.fed - 1 + width]
            row[shift : shift + len(known)] = np.maximum(known, 0)
        return inputs

    def _predict(self, plans: list[WindowPlan], hidden: Tensor) -> None:
        """Fill in the next unknown token of each window from its hidden state."""
        if not plans:
            return
        position = [plan.fed - 1 for plan in plans]
        previous = [plan.ids[at - 1] if at else 0 for plan, at in zip(plans, position, strict=True)]
        embedded = self.heads.embeddings[torch.tensor(previous)]
        right = torch.stack([plan.right_context[at] for plan, at in zip(plans, position, strict=True)])
        head = self.heads.span_head
        features = head.features(head.left_context(embedded, hidden) + right)
        logits = (hidden + head.out(features)) @ self.backbone.output_embeddings.T
        symbols = torch.tensor([plan.symbols[at] for plan, at in zip(plans, position, strict=True)])
        literal = symbols >= LITERALS
        ranks = symbols.masked_fill(literal, 0)
        best = logits.topk(min(int(ranks.max()) + 1, logits.shape[1]), -1).indices.cpu()
        ranked = best.gather(1, ranks.clamp(max=best.shape[1] - 1)[:, None])[:, 0]
        chosen = torch.where(literal, symbols - LITERALS, ranked)
        for plan, at, token in zip(plans, position, chosen.tolist(), strict=True):
            plan.ids[at] = token
