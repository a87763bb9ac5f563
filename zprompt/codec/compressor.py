"""Turn windows of token ids into Z-tokens: one LLM pass, a shortest path, and the ranks that the decompressor will see.

    analyse   one pass of the LLM over the window, then the bits of every span, estimated (span_costs.py)
    write     once a tiling is chosen (tiling.py): the symbols of the dropped tokens, ranked in the full vocabulary

The decompressor sees, at every step, the text that the compressor saw, since all that it has restored so far is right.
So the hidden states of this one pass are the ones that it will compute, and no second pass is needed.

A rank is written only if no rival's logit is within `margin` of the true token's, since logits differ by about 1e-5
between batch shapes, thread counts and machines; else the token itself is. So what is written is what comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec.heads import CodecHeads, DroppedTokens, right_context
from zprompt.codec.importance import TokenImportance
from zprompt.codec.span_costs import SpanCosts, Window, rank_among
from zprompt.llm import Backbone, group_by_length, pad_rows, padded_batch
from zprompt.zspan import LITERALS, RankCode, ZToken

SURCHARGE = 0.2  # bits a token: estimates are too low by this much on average, among those that look best
RANKED_ROWS = 256  # full-vocabulary rows at a time
RANKED_TOP = 32  # candidates of them that are sorted; deeper ranks are counted

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of one window."""

    window: Window
    subcodes: Tensor  # (n', roles): sub-code of the segment that begins at each position
    bits: Floats  # (n, G + 1): estimated, weighted by importance; inf where a token cannot be dropped
    plain: Floats  # (n, G + 1): as if all tokens were equally important, but for those that are never dropped

    @property
    def ids(self) -> list[int]:
        """Return the window's n token ids, without padding."""
        ids: list[int] = self.window.ids[: self.window.length].tolist()
        return ids

    @property
    def hidden(self) -> Tensor:
        """Return the window's hidden states, (n, H), without padding."""
        return self.window.hidden[: self.window.length]


@dataclass(frozen=True, slots=True)
class TiledWindow:
    """The Z-tokens of one window, and the symbols of its residual."""

    tokens: list[ZToken]
    symbols: list[int]  # of its dropped tokens, from left to right


class Compressor:
    """Finds Z-tokens for windows of token ids."""

    def __init__(self, backbone: Backbone, heads: CodecHeads) -> None:
        self.backbone, self.heads, self.settings = backbone, heads, heads.settings
        self.rank_code = RankCode(backbone.vocab_size, self.settings.rank_table)
        self.span_costs = SpanCosts(heads, backbone.output_embeddings, self.rank_code)

    def hidden(self, windows: Sequence[Sequence[int]]) -> list[Tensor]:
        """Run the LLM over windows of token ids.

        :param windows: Token ids of each window.
        :return: (n, H) for each: hidden[t] predicts token t from the start token and those before t.
        """
        states: list[Tensor] = [torch.empty(0)] * len(windows)
        for length, group in group_by_length([len(ids) for ids in windows]).items():
            batch = padded_batch([list(windows[index]) for index in group], length, self.backbone.start_id)
            for index, state in zip(group, self.backbone.hidden(batch), strict=False):
                states[index] = state[: len(windows[index])]
        return states

    def analyse(
        self,
        ids: Sequence[int],
        hidden: Tensor,
        threshold: float,
        importance: Sequence[TokenImportance] | None = None,
    ) -> Analysis:
        """Estimate what dropping each span of a window costs.

        :param ids: The window's token ids.
        :param hidden: (n, H), from `hidden`.
        :param threshold: Bits; spans that the LLM alone needs more for are pruned.
        :param importance: Of each token; None: all are equally important.
        :return: The analysis.
        """
        window = Window(pad_rows(torch.tensor(ids, device=hidden.device)), pad_rows(hidden), len(ids))
        parts = self.span_costs.parts(window)
        bits = self.span_costs.estimate(window, parts, threshold)  # (n, G + 1, G)
        own = plain = self._span_bits(bits, importance)
        if importance is not None:
            plain = self._span_bits(bits, [TokenImportance(inf if one.weight == inf else 1.0) for one in importance])
        return Analysis(window, parts.subcodes, own, plain)

    def _span_bits(self, bits: Tensor, importance: Sequence[TokenImportance] | None) -> Floats:
        """Sum the bits of the tokens of each span: (n, G + 1)."""
        n, gaps, places = bits.shape
        inside = (torch.arange(places) < torch.arange(gaps)[:, None]).to(bits.device)
        bits = bits + SURCHARGE
        if importance is not None:
            padded = torch.tensor([*importance, *[TokenImportance()] * places], dtype=bits.dtype, device=bits.device)
            weight, penalty = padded[torch.arange(n)[:, None] + 1 + torch.arange(places)].unbind(-1)
            bits = (bits + penalty[:, None]) * weight[:, None]
        total: Floats = bits.masked_fill_(~inside, 0.0).sum(-1, dtype=torch.double).cpu().numpy()
        return total

    def write(self, analyses: Sequence[Analysis], tilings: Sequence[Sequence[int]]) -> list[TiledWindow]:
        """Write windows, each tiled by the gaps of its Z-tokens, with the symbols of their residuals."""
        drafts = [self._draft(*item) for item in zip(analyses, tilings, strict=True)]
        symbols = self._symbols(analyses, [DroppedTokens.of(draft) for draft in drafts])
        return [TiledWindow(tokens, found) for tokens, found in zip(drafts, symbols, strict=True)]

    def _draft(self, analysis: Analysis, tiling: Sequence[int]) -> list[ZToken]:
        """Return the Z-tokens of a window."""
        ids, subcodes, cut = analysis.ids, analysis.subcodes.cpu().numpy(), self.span_costs.layout
        tokens, t = [], 0
        for gap in tiling:
            code = subcodes[t + 1 + cut.start[gap], cut.role[gap]].tolist() if gap else [0] * self.settings.subcodes
            tokens.append(ZToken(ids[t], gap, tuple(code)))
            t += gap + 1
        return tokens

    @torch.no_grad()
    def _symbols(self, analyses: Sequence[Analysis], dropped: Sequence[DroppedTokens]) -> list[list[int]]:
        """Return the symbols of dropped tokens, in the order of the text."""
        if not analyses:
            return []
        corrected = torch.cat([self._corrected(*item) for item in zip(analyses, dropped, strict=True)])
        true = torch.cat([item.window.ids[rows.position] for item, rows in zip(analyses, dropped, strict=True)])
        found = [self._rank_in_full(corrected[rows], true[rows]) for rows in torch.arange(len(true)).split(RANKED_ROWS)]
        return [symbols.tolist() for symbols in torch.cat(found).split([len(rows.position) for rows in dropped])]

    def _corrected(self, analysis: Analysis, dropped: DroppedTokens) -> Tensor:
        """Return the corrected hidden states of dropped tokens, (R, H)."""
        head, window = self.heads.span_head, analysis.window
        position = torch.from_numpy(dropped.position)
        hidden = window.hidden[position]
        previous = self.heads.embeddings[window.ids[position - 1]]
        right = right_context(self.heads, dropped)
        z = head.left_context(pad_rows(previous), pad_rows(hidden)) + pad_rows(right)
        correction: Tensor = head.out(head.features(z))
        return hidden + correction[: len(hidden)]

    def _rank_in_full(self, corrected: Tensor, true: Tensor) -> Tensor:
        """Return the symbols of a chunk of tokens: ranks in the full vocabulary where they are certain."""
        logits = (pad_rows(corrected) @ self.backbone.output_embeddings.T)[: len(true)]
        best = logits.topk(min(RANKED_TOP, logits.shape[1]), -1).values
        threshold = logits.gather(1, true[:, None])
        above = rank_among(logits, best, threshold + self.settings.margin)
        near = rank_among(logits, best, threshold - self.settings.margin) - 1  # without the token itself
        return torch.where((near == above) & (above < LITERALS), above, LITERALS + true)
