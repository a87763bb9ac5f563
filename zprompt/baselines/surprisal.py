"""How little a language model expects a text after other text: −log p(x[t] | start, what was read, x[<t]), in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from zprompt.llm import Backbone


class IncrementalLM:
    """A language model that has read something, and says how little it expects what follows.

    It sees `context` tokens at a time. Where what it read no longer fits, the first half is forgotten, so a text of any
    length is read in windows that overlap. What is read waits for the next question, and is computed in the same pass:
    a pass over few tokens takes nearly as long as one over many.
    """

    def __init__(self, backbone: Backbone, context: int, start: Sequence[int] = ()) -> None:
        """Begin to read.

        :param backbone: The model.
        :param context: Tokens that it sees at a time.
        :param start: Token ids before everything else, which are never forgotten.
        """
        self._backbone, self._context = backbone, context
        self._start = [backbone.start_id, *start]
        self._read: list[int] = []
        self._waiting: list[int] = []  # read, but not computed yet
        self._last = torch.empty(0)  # (1, D), the state that expects the token after what was computed
        self._restart()

    def surprisal(self, ids: Sequence[int]) -> list[float]:
        """Return −log p of each token after what was read, in nats; the tokens do not count as read.

        :param ids: Token ids, few enough for the context.
        :return: A number for each.
        """
        if not ids:
            return []
        self._make_room(len(ids))
        kept, waiting = self._cache.lengths + len(self._waiting), len(self._waiting)
        states = self._backbone.hidden(torch.tensor([[*self._waiting, *ids]]), self._cache)[0]  # (T, D)
        self._cache.rollback(kept)
        if waiting:
            self._waiting, self._last = [], states[waiting - 1 : waiting]
        before = torch.cat((self._last, states[waiting:-1]))
        logits = self._backbone.logits(before)  # (T, V)
        targets = torch.tensor(list(ids), device=logits.device)[:, None]
        losses: list[float] = (logits.logsumexp(-1) - logits.gather(1, targets)[:, 0]).tolist()
        return losses

    def read(self, ids: Sequence[int]) -> None:
        """Read token ids, few enough for the context."""
        if not ids:
            return
        self._make_room(len(ids))
        self._waiting += ids
        self._read += ids

    def _make_room(self, count: int) -> None:
        """Forget the first half of what was read, if `count` more tokens would not fit."""
        room = self._context - len(self._start) - count
        if len(self._read) > room:
            self._read = self._read[len(self._read) - max(room // 2, 0) :]
            self._restart()

    def _restart(self) -> None:
        self._cache = self._backbone.new_cache(1)
        self._waiting = self._start + self._read


def mean_surprisal(backbone: Backbone, before: Sequence[int], ids: Sequence[int]) -> float:
    """Return the mean surprisal of tokens after others; 0 for no tokens."""
    losses = IncrementalLM(backbone, len(before) + len(ids) + 1, before).surprisal(ids)
    return sum(losses) / len(losses) if losses else 0.0
