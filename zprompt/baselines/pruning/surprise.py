"""Ask a language model how little it expects a text, after another one that it has read.

    surprisal of token t = −log p(x[t] | start, what was read, x[<t])        in nats

The model sees `context` tokens at a time. Where what was read no longer fits, its first half is forgotten, so that a
text of any length is read in windows that overlap. What is read waits until something is asked, and is computed in the
same pass: a pass over few tokens takes nearly as long as one over many. Each text is computed alone: no result depends
on what else is shortened with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from zprompt.llm import Backbone

PROMISE = "We can get the answer to this question in the given documents."


class Listener:
    """A language model that has read something."""

    def __init__(self, backbone: Backbone, context: int, start: Sequence[int] = ()) -> None:
        """Begin to read.

        :param backbone: The model.
        :param context: Tokens that it sees at a time.
        :param start: What it has always read, whatever it forgets.
        """
        self._backbone, self._context = backbone, context
        self._start = [backbone.start_id, *start]
        self._read: list[int] = []
        self._waiting: list[int] = []  # what of it is not computed yet
        self._last = torch.empty(0)  # (1, D), which expects the token after what was computed
        self._restart()

    def surprisal(self, ids: Sequence[int]) -> list[float]:
        """Say how little each token of a text is expected here; the text does not count as read.

        :param ids: The text, short enough for the context.
        :return: For each token its surprisal.
        """
        if not ids:
            return []
        self._make_room(len(ids))
        kept, waiting = self._cache.lengths + len(self._waiting), len(self._waiting)
        states = self._backbone.hidden(torch.tensor([[*self._waiting, *ids]]), self._cache)[0]  # (T, D)
        self._cache.rollback(kept)
        if waiting:
            self._waiting, self._last = [], states[waiting - 1 : waiting]
        return self._losses(torch.cat((self._last, states[waiting:-1])), ids)

    def read(self, ids: Sequence[int]) -> None:
        """Go on reading.

        :param ids: The text, short enough for the context.
        """
        if not ids:
            return
        self._make_room(len(ids))
        self._waiting += ids
        self._read += ids

    def _losses(self, states: torch.Tensor, ids: Sequence[int]) -> list[float]:
        """Give −log p of each token, from the states before it."""
        logits = states @ self._backbone.output_embeddings.T  # (T, V)
        targets = torch.tensor(list(ids), device=logits.device)[:, None]
        losses: list[float] = (logits.logsumexp(-1) - logits.gather(1, targets)[:, 0]).tolist()
        return losses

    def _make_room(self, count: int) -> None:
        """Forget the first half of what was read, if more tokens would not fit."""
        room = self._context - len(self._start) - count
        if len(self._read) > room:
            self._read = self._read[len(self._read) - max(room // 2, 0) :]
            self._restart()

    def _restart(self) -> None:
        """Begin with a new cache, for which the start and what was not forgotten are still to be read."""
        self._cache = self._backbone.new_cache(1)
        self._waiting = self._start + self._read


def mean_surprisal(backbone: Backbone, before: Sequence[int], ids: Sequence[int]) -> float:
    """Say how little a text is expected after another one.

    :param backbone: The model.
    :param before: What it reads first.
    :param ids: The text.
    :return: The mean over its tokens; 0 for no text.
    """
    losses = Listener(backbone, len(before) + len(ids) + 1, before).surprisal(ids)
    return sum(losses) / len(losses) if losses else 0.0


def query_ids(backbone: Backbone, query: str, limit: int) -> list[int]:
    """Write a query as LongLLMLingua does: with the promise that the text has the answer.

    :param backbone: Whose tokens.
    :param query: The query; empty: there is none.
    :param limit: Tokens that it may have; of a longer one the end counts.
    :return: Its tokens; none without a query.
    """
    return backbone.encode(f"\n{query} {PROMISE}\n")[-limit:] if query else []
