"""Surprisal of a text under a language model that has read other text: −log p(x[t] | start, read, x[<t]), in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from zprompt.llm import Backbone


class IncrementalLM:
    """A language model that reads a text piece by piece, and scores what could come next.

    It sees `context` tokens at a time. When the tokens read no longer fit, the older ones are dropped, so a text of any
    length is read in overlapping windows. Tokens read are computed only with the next tokens to score, in one pass: a
    pass over few tokens takes nearly as long as one over many.
    """

    def __init__(self, backbone: Backbone, context: int, start: Sequence[int] = ()) -> None:
        """Start with nothing read.

        :param backbone: The model.
        :param context: Tokens that it sees at a time.
        :param start: Token ids before everything else, which are never dropped.
        """
        self._backbone, self._context = backbone, context
        self._start = [backbone.start_id, *start]
        self._read: list[int] = []
        self._pending: list[int] = []  # read, but not computed yet
        self._last = torch.empty(0)  # (1, D), the state that predicts the token after the last computed one
        self._restart()

    def surprisal(self, ids: Sequence[int]) -> list[float]:
        """Return −log p of each token after those read, in nats; the tokens do not count as read.

        :param ids: Token ids, few enough for the context.
        :return: The surprisal of each token.
        """
        if not ids:
            return []
        self._make_room(len(ids))
        pending = len(self._pending)
        lengths = self._cache.lengths + pending  # without `ids`
        states = self._backbone.hidden(torch.tensor([[*self._pending, *ids]]), self._cache)[0]  # (T, D)
        self._cache.rollback(lengths)
        if pending:
            self._pending, self._last = [], states[pending - 1 : pending]
        logits = self._backbone.logits(torch.cat((self._last, states[pending:-1])))  # (T, V)
        targets = torch.tensor(list(ids), device=logits.device)[:, None]
        losses: list[float] = (logits.logsumexp(-1) - logits.gather(1, targets)[:, 0]).tolist()
        return losses

    def read(self, ids: Sequence[int]) -> None:
        """Read token ids, few enough for the context."""
        if not ids:
            return
        self._make_room(len(ids))
        self._pending += ids
        self._read += ids

    def _make_room(self, count: int) -> None:
        """Drop the older tokens if `count` more would not fit; those that stay fill half of the room."""
        room = self._context - len(self._start) - count
        if len(self._read) > room:
            self._read = self._read[len(self._read) - max(room // 2, 0) :]
            self._restart()

    def _restart(self) -> None:
        self._cache = self._backbone.new_cache(1)
        self._pending = self._start + self._read


def mean_surprisal(backbone: Backbone, before: Sequence[int], ids: Sequence[int]) -> float:
    """Return the mean surprisal of tokens after others; 0 for no tokens."""
    losses = IncrementalLM(backbone, len(before) + len(ids) + 1, before).surprisal(ids)
    return sum(losses) / len(losses) if losses else 0.0
