"""Expand Z-tokens to text while they are written.

A span can be restored as soon as the next anchor is known: so each Z-token gives the text of the span before it, and
its own anchor. This is the decompressor's decoding (codec/decompressor.py), whose cache is kept from one Z-token to the
next, with a residual of zeros: every dropped token is the first guess. What comes out is what `Decompressor.restore`
gives for all Z-tokens at once. A text is one window, however long: it never starts cold again.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from zprompt.backbone import Backbone
from zprompt.codec.decompressor import Decompressor, KnownWindow, Plan
from zprompt.codec.heads import CodecHeads
from zprompt.codec.vocabulary import ZToken


class Expander(Decompressor):
    """Restores texts of a batch, Z-token by Z-token."""

    def __init__(self, backbone: Backbone, heads: CodecHeads, rows: int) -> None:
        """Start with no text.

        :param backbone: The LLM.
        :param heads: The heads of the codec.
        :param rows: Texts in the batch.
        """
        super().__init__(backbone, heads)
        self.passes = [0] * rows  # of the LLM that each text takes so far, if it is alone: one for each dropped token
        self._cache = backbone.new_cache(rows)
        self._plans = [self._empty() for _ in range(rows)]
        self._last: list[ZToken | None] = [None] * rows

    @torch.no_grad()
    def take(self, tokens: Sequence[ZToken | None]) -> list[list[int]]:
        """Take the next Z-token of each text.

        :param tokens: One for each row; None where there is nothing to add.
        :return: What is known now of each text: the span of the Z-token before, and the new one's anchor.
        """
        known = [len(plan.ids) for plan in self._plans]
        for row, token in enumerate(tokens):
            if token is not None:
                self._extend(row, token)
        while filled := self._step(self._plans, self._cache):
            for row in filled:
                self.passes[row] += 1
        return [plan.ids[start:].tolist() for plan, start in zip(self._plans, known, strict=True)]

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drop all texts but some.

        :param rows: Those to keep, in their new order.
        """
        self._cache.keep_rows(torch.tensor(rows, dtype=torch.long))
        self.passes, self._plans, self._last = (
            [self.passes[row] for row in rows],
            [self._plans[row] for row in rows],
            [self._last[row] for row in rows],
        )

    def _empty(self) -> Plan:
        nothing = torch.zeros(0, self.settings.width, device=self.backbone.device)
        return Plan(np.zeros(0, np.int64), nothing, np.zeros(0, np.int64))

    def _extend(self, row: int, token: ZToken) -> None:
        """Lay out the span between a text's last anchor and the new one."""
        last, self._last[row] = self._last[row], token
        anchor = replace(token, gap=0, code=(0,) * len(token.code))  # its own span waits for the next anchor
        new = self.plan(KnownWindow([last, anchor] if last else [anchor], [0] * (last.gap if last else 0)))
        first, plan = 1 if last else 0, self._plans[row]
        plan.ids = np.append(plan.ids, new.ids[first:])
        plan.ahead = torch.cat((plan.ahead, new.ahead[first:]))
        plan.symbols = np.append(plan.symbols, new.symbols[first:])
