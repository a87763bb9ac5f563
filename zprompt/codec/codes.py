"""Learned codes, for codecs that have heads: a sub-code is written only where it saves more than it costs.

A sub-code describes a segment of a span (code_layout.py). The decompressor reads it with the span head, which shifts
what the LLM expects of the segment's tokens (heads.py); tokens without a sub-code of their own are ranked as without
heads. So a codec with heads writes no more bits than one without:

    saving = Σ over the segment's tokens of (bits of the symbol without − bits with) − PRICE       kept if positive

The sub-codes of one token, its stages, are kept or left out together. The choice is then checked by the exact length of
the stream: a window is written without codes if that is shorter, and so is a whole text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec.code_layout import Indices, layout
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.llm import pad_rows
from zprompt.zspan import NO_CODE, ZToken, encode, symbol_bits

Written = tuple[list[ZToken], list[int]]  # Z-tokens, and the symbols of their dropped tokens

PRICE = 9.0  # bits of a sub-code in a stream: its value, and the flag that it is written


@dataclass(frozen=True, slots=True)
class DroppedTokens:
    """The dropped tokens of one window whose spans may have a code, one row each."""

    place: Indices  # (R,): index among the dropped tokens of the window
    position: Indices  # (R,): in the window
    token: Indices  # (R,): which token j of its span
    gap: Indices  # (R,): length g of the span
    anchor: Indices  # (R,): id of the next anchor b
    span: Indices  # (R,): index of the Z-token
    code: Indices  # (R, M): sub-codes of the span, NO_CODE where one is not written

    @classmethod
    def of(cls, tokens: Sequence[ZToken], max_gap: int) -> "DroppedTokens":
        """List the dropped tokens of a window: those of spans of at most `max_gap` tokens before another anchor."""
        gaps = np.array([token.gap for token in tokens], np.int64)
        anchors = np.array([token.anchor for token in tokens], np.int64)
        codes = np.array([token.code for token in tokens], np.int64)
        span = np.repeat(np.arange(len(tokens)), gaps)
        token = np.arange(len(span)) - (np.cumsum(gaps) - gaps)[span]
        start = np.cumsum(gaps + 1) - gaps  # of each span
        rows = np.flatnonzero((gaps[span] <= max_gap) & (span < len(tokens) - 1))
        span, token = span[rows], token[rows]
        following = np.append(anchors[1:], 0)
        return cls(rows, start[span] + token, token, gaps[span], following[span], span, codes[span])

    def written(self, heads: CodecHeads) -> NDArray[np.bool_]:
        """Return which rows have a sub-code of their own, (R,)."""
        return np.asarray((self._subcode_mask(heads) & (self.code != NO_CODE)).any(1))

    def _subcode_mask(self, heads: CodecHeads) -> NDArray[np.bool_]:
        """Mark the sub-codes of its span that describe each token, (R, M)."""
        cut = layout(heads.settings.subcodes, heads.settings.max_gap)
        sizes, start = np.asarray(cut.sizes)[cut.role[self.gap]], cut.start[self.gap]
        return np.asarray((start <= self.token[:, None]) & (self.token[:, None] < start + sizes))

    def right_context(self, heads: CodecHeads) -> Tensor:
        """Return the right context of the tokens, (R, W)."""
        head, device = heads.span_head, heads.embeddings.device
        token, gap, mask = self.token, self.gap, self._subcode_mask(heads)
        following = pad_rows(heads.embeddings[torch.from_numpy(self.anchor).to(device)])
        z = head.anchor_context(following, pad_rows(torch.from_numpy(gap - token).to(device)))[: len(token)]
        z = z + head.forward_place[torch.from_numpy(token)]
        cut = layout(heads.settings.subcodes, heads.settings.max_gap)
        place, follower, first_place = cut.place[gap, token], cut.follower[gap, token], np.asarray(cut.first_place)
        for m in range(heads.settings.subcodes):
            role, start, code = cut.role[gap, m], cut.start[gap, m], self.code[:, m]
            described = np.flatnonzero(mask[:, m] & (code != NO_CODE))
            own_place = first_place[role[described]] + token[described] - start[described]
            z[torch.from_numpy(described)] += head.own[torch.from_numpy(own_place), torch.from_numpy(code[described])]
            follows = (follower == role) & (cut.follower_start[gap, token] == start) & (place >= 0)
            followed = np.flatnonzero(follows & ~mask[:, m] & (code != NO_CODE))
            z[torch.from_numpy(followed)] += head.following[
                torch.from_numpy(role[followed]), torch.from_numpy(code[followed])
            ]
        return z


def corrected(heads: CodecHeads, hidden: Tensor, previous: Tensor, right: Tensor) -> Tensor:
    """Shift the hidden states of dropped tokens by what their codes say.

    :param heads: The codec's heads.
    :param hidden: (R, H), the LLM's hidden states.
    :param previous: (R,), ids of the tokens before.
    :param right: (R, W), from `DroppedTokens.right_context`.
    :return: (R, H).
    """
    head, count = heads.span_head, len(hidden)
    previous, hidden, right = pad_rows(heads.embeddings[previous]), pad_rows(hidden), pad_rows(right)
    shift: Tensor = head.out(head.features(head.left_context(previous, hidden) + right))
    return (hidden + shift)[:count]


class CodeWriter:
    """Writes the codes of tiled windows."""

    def __init__(self, compressor: Compressor, heads: CodecHeads, price: float = PRICE) -> None:
        """Set up the writer.

        :param compressor: Ranks tokens.
        :param heads: The codec's heads.
        :param price: Bits that a sub-code must save; -inf writes all of them.
        """
        self.compressor, self.heads, self.price = compressor, heads, price

    @torch.no_grad()
    def write(self, ids: Sequence[int], hidden: Tensor, tokens: list[ZToken], symbols: list[int]) -> Written:
        """Choose the sub-codes of a window that pay.

        :param ids: The window's n token ids.
        :param hidden: (n, H), the hidden states that predict them.
        :param tokens: Its Z-tokens, without codes.
        :param symbols: The symbols of its dropped tokens.
        :return: The Z-tokens with their codes, and the symbols that restore the dropped tokens given the codes.
        """
        candidates = self._all_codes(ids, tokens)
        rows = DroppedTokens.of(candidates, self.heads.settings.max_gap)
        if not len(rows.place):
            return tokens, symbols
        symbols_without = np.array(symbols)
        saved = symbol_bits(symbols_without[rows.place]) - symbol_bits(self._symbols(ids, hidden, rows))
        chosen = [self._keep(token, saved[rows.span == index]) for index, token in enumerate(candidates)]
        rows = DroppedTokens.of(chosen, self.heads.settings.max_gap)
        symbols_with = symbols_without.copy()
        written = rows.written(self.heads)
        symbols_with[rows.place[written]] = self._symbols(ids, hidden, rows)[written]
        coded: Written = chosen, symbols_with.tolist()
        return self.shorter((tokens, symbols), coded)

    def shorter(self, plain: Written, coded: Written) -> Written:
        """Return the Z-tokens and symbols with codes if their stream is shorter, else those without."""
        return coded if self.price == -np.inf or len(encode(*coded)) < len(encode(*plain)) else plain

    def _all_codes(self, ids: Sequence[int], tokens: Sequence[ZToken]) -> list[ZToken]:
        """Classify every segment of the spans that may have a code."""
        head, settings = self.heads.code_head, self.heads.settings
        cut = layout(settings.subcodes, settings.max_gap)
        embedded = head.token(self.heads.embeddings[torch.tensor(ids, device=self.heads.embeddings.device)])
        coded, start = [], 0
        for index, token in enumerate(tokens):
            code = [NO_CODE] * settings.subcodes
            if 0 < token.gap <= settings.max_gap and index < len(tokens) - 1:
                for m, (role, first) in enumerate(zip(cut.role[token.gap], cut.start[token.gap], strict=True)):
                    segment = embedded[start + 1 + first : start + 1 + first + cut.sizes[role]]
                    code[m] = int(head.classify(int(role), segment[None]).argmax())
            coded.append(replace(token, code=tuple(code)))
            start += token.gap + 1
        return coded

    def _symbols(self, ids: Sequence[int], hidden: Tensor, rows: DroppedTokens) -> Indices:
        """Return the symbols of tokens, given the codes of their spans."""
        all_ids = torch.tensor(ids)
        position = torch.from_numpy(rows.position)
        shifted = corrected(self.heads, hidden[position], all_ids[position - 1], rows.right_context(self.heads))
        [symbols] = self.compressor.symbols([shifted], [all_ids[position].tolist()])
        return symbols

    def _keep(self, token: ZToken, saved: NDArray[np.float64]) -> ZToken:
        """Keep the sub-codes of a Z-token that pay, given the bits that they save for each of its tokens."""
        if not len(saved):
            return token
        cut, code = layout(self.heads.settings.subcodes, self.heads.settings.max_gap), list(token.code)
        for first in sorted(set(cut.start[token.gap].tolist())):
            stages = np.flatnonzero(cut.start[token.gap] == first)
            size = cut.sizes[cut.role[token.gap, stages[0]]]
            if saved[first : first + size].sum() <= self.price * len(stages):
                for m in stages:
                    code[m] = NO_CODE
        return replace(token, code=tuple(code))
