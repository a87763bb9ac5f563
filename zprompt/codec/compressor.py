"""Turn windows of token ids into Z-tokens: one LLM pass, a shortest path, and proof of what was chosen.

    analyse   one pass of the LLM over the window, then a rank for every token of every span (candidates.py)
    tile      the cheapest path (segmentation.py)
    verify    the tokens of the chosen spans, against the full vocabulary: the rank that the decompressor will see

A rank counts only if no rival's logit is within `margin` of the true token's, since logits differ by about 1e-5 between batch
shapes, thread counts and machines. What fails is priced anew and the window is tiled again, until a tiling stands;
the few spans that still fail then are written out as anchors. So what an exact tiling says is what comes back.

The decompressor of an exact tiling sees the same left context as this pass: no second pass is needed. In a lossy one, wrong
tokens change the context of those after them; `ranks` are then taken again on the text that comes back (lossy.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.backbone import Backbone
from zprompt.codec.candidates import UNRANKED, SpanChecker, SpanParts, Window
from zprompt.codec.heads import CodecHeads
from zprompt.codec.residual import RankCode
from zprompt.codec.segmentation import SpanCosts, Tiling, exact_price, shortest_path
from zprompt.codec.vocabulary import ZToken

MULTIPLE = 64  # windows are padded to multiples of this: results then do not depend on batch size or threads
ROUNDS = 8  # tilings of a window before what fails is written out
VERIFIED_ROWS = 512  # full-vocabulary rows at a time


@dataclass(slots=True)
class Analysis:
    """What is known of one window; `ranks` gets better as spans are verified."""

    window: Window
    parts: SpanParts
    ranks: Tensor  # (n, G + 1, G)
    weights: Tensor  # (n,): price of losing a token; inf: must not be lost
    verified: NDArray[np.bool_]  # (n, G + 1)

    def __len__(self) -> int:
        """Count the window's tokens.

        :return: Their number.
        """
        return len(self.window.ids)


class Compressor:
    """Finds Z-tokens for windows of token ids."""

    def __init__(self, backbone: Backbone, heads: CodecHeads) -> None:
        """Put backbone and heads together.

        :param backbone: The LLM.
        :param heads: Heads that were trained for it.
        """
        self.backbone, self.heads, self.settings = backbone, heads, heads.settings
        self.checker = SpanChecker(heads, backbone.output_embeddings)
        self.rank_code = RankCode(self.settings.residual_bits, self.settings.rank_table)
        # A hair less than all bits: costs are floating point, and the code itself is exact.
        self.budget = self.settings.residual_bits - 1e-6

    def hidden(self, windows: Sequence[Sequence[int]]) -> list[Tensor]:
        """Run the LLM over windows.

        :param windows: Token ids of each window.
        :return: (n, H) for each: hidden[t] predicts token t from the start token and those before t.
        """
        longest = -(-max(len(ids) for ids in windows) // MULTIPLE) * MULTIPLE
        rows = torch.full((len(windows), longest), self.backbone.start_id)
        for row, ids in zip(rows, windows, strict=True):
            row[1 : len(ids)] = torch.tensor(ids[:-1])
        hidden = self.backbone.hidden(rows)
        return [state[: len(ids)] for state, ids in zip(hidden, windows, strict=True)]

    def analyse(self, ids: Sequence[int], hidden: Tensor, weights: Sequence[float] | None = None) -> Analysis:
        """Rank the tokens of all spans of a window.

        :param ids: The window's token ids.
        :param hidden: (n, H), from `hidden`.
        :param weights: Price of losing each token; None: 1 each.
        :return: The analysis.
        """
        window = Window(torch.tensor(ids, device=hidden.device), hidden)
        parts = self.checker.parts(window)
        ranks = self.checker.rank(window, parts)
        priced = torch.ones(len(ids)) if weights is None else torch.tensor(weights)
        verified = np.zeros((len(ids), self.settings.max_gap + 1), np.bool_)
        verified[:, 0] = True
        return Analysis(window, parts, ranks, priced, verified)

    def costs(self, analysis: Analysis, lossy: bool = False) -> SpanCosts:
        """Price the spans of a window.

        :param analysis: The window's analysis.
        :param lossy: Whether loss is of interest too.
        :return: The costs.
        """
        bits = self.checker.bits(analysis.ranks)
        inside = torch.arange(bits.shape[2]) < torch.arange(bits.shape[1])[:, None]  # (G + 1, G)
        bits = bits.masked_fill(~inside.to(bits.device), 0.0)
        total = bits.sum(-1).double().cpu().numpy()
        loss = self._loss(analysis, bits).double().cpu().numpy() if lossy else np.zeros_like(total)
        return SpanCosts(total, loss)

    def _loss(self, analysis: Analysis, bits: Tensor) -> Tensor:
        """Weigh what is lost of each span if its residual restores what it can: (n, G + 1)."""
        n, gaps, places = bits.shape
        weights = torch.cat((analysis.weights.to(bits.device), bits.new_zeros(places)))
        weights = weights[torch.arange(n)[:, None] + 1 + torch.arange(places)]  # (n, G)
        weights = weights[:, None].expand(-1, gaps, -1)
        looked_at = (analysis.ranks < UNRANKED).any(-1)
        free = self.checker.bucket_bits[0]
        extra = (bits - free).clamp(min=0.0)  # a token that is not restored is written as rank 0
        order = (extra / weights).nan_to_num(nan=0.0).argsort(-1, stable=True)
        room = self.budget - free * torch.arange(gaps, device=bits.device)[:, None]
        restored = extra.gather(-1, order).cumsum(-1) <= room
        lost = torch.where(restored | (extra.gather(-1, order) <= 0), 0.0, weights.gather(-1, order).double())
        loss = lost.sum(-1)
        last = torch.arange(n, device=bits.device)[:, None] + torch.arange(gaps, device=bits.device) + 1 >= n
        blocked = (~looked_at | last) & (torch.arange(gaps, device=bits.device) > 0)
        return loss.masked_fill(blocked, float("inf"))

    def tile(self, analysis: Analysis) -> Tiling:
        """Find the shortest exact tiling that the full vocabulary confirms.

        :param analysis: The window's analysis; its ranks are corrected on the way.
        :return: The gaps.
        """
        tiling: Tiling = []
        for _ in range(ROUNDS):
            tiling = shortest_path(exact_price(self.costs(analysis), self.budget))
            if not self.verify(analysis, tiling):
                return tiling
        return self.write_out(analysis, tiling)

    def write_out(self, analysis: Analysis, tiling: Tiling) -> Tiling:
        """Replace the spans that do not stand by anchors.

        :param analysis: The window's analysis, with verified ranks.
        :param tiling: The gaps.
        :return: Gaps whose spans all stand.
        """
        bits, kept, t = self.costs(analysis).bits, [], 0
        for gap in tiling:
            kept += [gap] if gap == 0 or bits[t, gap] <= self.budget else [0] * (gap + 1)
            t += gap + 1
        return kept

    @torch.no_grad()
    def verify(self, analysis: Analysis, tiling: Tiling) -> bool:
        """Rank the tokens of chosen spans against the full vocabulary, those that were not yet.

        :param analysis: The analysis, whose ranks are corrected.
        :param tiling: The gaps.
        :return: Whether some span has another price now than the tiling was chosen with.
        """
        position, token, gap = self._chosen(analysis, tiling)
        if not len(position):
            return False
        start = position - 1 - token
        before = analysis.ranks[start, gap, token]
        after = torch.cat(
            [
                self._true_ranks(analysis, position[part], token[part], gap[part])
                for part in torch.arange(len(position)).split(VERIFIED_ROWS)
            ]
        ).int()
        analysis.ranks[start, gap, token] = after
        analysis.verified[start.cpu(), gap.cpu()] = True
        return bool((self.checker.bits(after) > self.checker.bits(before)).any())

    def _chosen(self, analysis: Analysis, tiling: Tiling) -> tuple[Tensor, Tensor, Tensor]:
        """List the tokens of spans to verify, as (position, token, gap)."""
        starts = np.cumsum([0, *(gap + 1 for gap in tiling[:-1])])
        gaps = np.asarray(tiling)
        new = ~analysis.verified[starts, gaps]
        starts, gaps = starts[new], gaps[new]
        token = np.concatenate([np.arange(gap) for gap in gaps]) if len(gaps) else np.zeros(0, np.int64)
        position = np.repeat(starts + 1, gaps) + token
        device = analysis.ranks.device
        return tuple(torch.from_numpy(a).long().to(device) for a in (position, token, np.repeat(gaps, gaps)))  # type: ignore[return-value]

    def _true_ranks(self, analysis: Analysis, position: Tensor, token: Tensor, gap: Tensor) -> Tensor:
        """Rank tokens of spans in the full vocabulary; `UNRANKED` where a rival is too near to be sure."""
        features = self.checker.features(analysis.parts, position, token, gap)
        corrected = analysis.window.hidden[position] + self.heads.span_head.out(features)
        logits = corrected @ self.backbone.output_embeddings.T
        true = logits.gather(1, analysis.window.ids[position][:, None])
        above = (logits > true + self.settings.margin).sum(1)
        near = (logits > true - self.settings.margin).sum(1) - 1  # without the token itself
        return torch.where(near == above, above, UNRANKED)

    def z_tokens(self, analysis: Analysis, tiling: Tiling) -> list[ZToken]:
        """Write a tiling as Z-tokens.

        :param analysis: The window's analysis; the tiling's spans are verified.
        :param tiling: The gaps.
        :return: One Z-token for each gap.
        """
        ids, ranks = analysis.window.ids.tolist(), analysis.ranks.cpu()
        subcodes = analysis.parts.subcodes.cpu()
        nothing = (0,) * self.settings.subcodes
        tokens, t = [], 0
        for gap in tiling:
            token = ZToken(ids[t], gap, nothing, 0)
            if gap:
                cut = self.checker.layout
                code = subcodes[t + 1 + torch.from_numpy(cut.start[gap]), torch.from_numpy(cut.role[gap])].tolist()
                residual = self.residual(ranks[t, gap, :gap].tolist(), analysis.weights[t + 1 : t + 1 + gap].tolist())
                token = replace(token, code=tuple(code), residual=residual)
            tokens.append(token)
            t += gap + 1
        return tokens

    def residual(self, ranks: Sequence[int], weights: Sequence[float]) -> int:
        """Write as many ranks of a span as its residual holds.

        :param ranks: Rank of each token.
        :param weights: Price of losing each.
        :return: The residual; tokens that it has no room for are written as rank 0.
        """
        return self._encode(self.restored(ranks, weights))

    def restored(self, ranks: Sequence[int], weights: Sequence[float]) -> list[int]:
        """Say which ranks a residual writes.

        :param ranks: Rank of each token.
        :param weights: Price of losing each.
        :return: The ranks, 0 for what is lost.
        """
        costs = self.checker.bits(torch.tensor(ranks)).tolist()
        free = float(self.checker.bucket_bits[0])
        room = self.budget - free * len(ranks)
        written = [0] * len(ranks)
        for j in sorted(range(len(ranks)), key=lambda j: max(costs[j] - free, 0.0) / weights[j]):
            extra = max(costs[j] - free, 0.0)
            if extra > room:
                break
            written[j], room = ranks[j], room - extra
        return written

    def _encode(self, ranks: Sequence[int]) -> int:
        """Encode ranks that are known to fit."""
        residual = self.rank_code.encode(ranks)
        if residual is None:
            raise AssertionError(f"Ranks {ranks} do not fit {self.settings.residual_bits} bits.")
        return residual
