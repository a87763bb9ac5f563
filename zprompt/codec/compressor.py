"""Turn windows of token ids into Z-tokens: one LLM pass, a shortest path, and proof of what was chosen.

    analyse   one pass of the LLM over the window, then a rank for every token of every span (candidates.py)
    tile      the cheapest path (segmentation.py)
    verify    the tokens of the chosen spans, against the full vocabulary: the rank that the decompressor will see

A rank counts only if no rival's logit is within `margin` of the true token's, since logits differ by about 1e-5
between batch shapes, thread counts and machines. What fails is priced anew and the window is tiled again, a few
times; the last tiling is made of spans that were verified. So what an exact tiling says is what comes back.

The decompressor of an exact tiling sees the same left context as this pass, so no second pass is needed. In a lossy
tiling, wrong tokens change the context of those after them; lossy.py takes the ranks again on the text that will come
back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.backbone import Backbone
from zprompt.codec.candidates import (
    AMBIGUOUS,
    LOSSY_REACH,
    REACH,
    UNRANKED,
    SpanChecker,
    SpanParts,
    Window,
    rank_among,
)
from zprompt.codec.heads import CodecHeads
from zprompt.codec.residual import RankCode
from zprompt.codec.segmentation import Price, SpanCosts, Tiling, shortest_path
from zprompt.codec.steady import group_by_length, padded_batch, steady_rows
from zprompt.codec.vocabulary import ZToken

ROUNDS = 4  # tilings of a window before only spans that were verified are allowed
SURCHARGE = 0.2  # bits a token: estimated ranks are too low by this much on average, among those that look best
VERIFIED_ROWS = 256  # full-vocabulary rows at a time
HARDEST = 32.0  # bits; what costs this much or more to restore is twice as dear to lose
VERIFIED_TOP = 48  # candidates of them that are sorted; deeper ranks are counted


@dataclass(slots=True)
class Analysis:
    """What is known of one window; `ranks` gets better as spans are verified."""

    window: Window
    parts: SpanParts
    ranks: Tensor  # (n, G + 1, G)
    weights: Tensor  # (n,): price of losing a token; inf: must not be lost
    verified: NDArray[np.bool_]  # (n, G + 1)

    @property
    def ids(self) -> Tensor:
        """Give the window's token ids without padding.

        :return: (n,).
        """
        return self.window.ids[: self.window.length]


@dataclass(frozen=True, slots=True)
class ChosenTokens:
    """The dropped tokens of a tiling, one row each."""

    start: Tensor  # (R,): position of the span's anchor
    gap: Tensor  # (R,): length of the span
    token: Tensor  # (R,): which token of it

    @property
    def position(self) -> Tensor:
        """Give the tokens' positions.

        :return: (R,), positions in the window.
        """
        return self.start + 1 + self.token


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
        states: list[Tensor] = [torch.empty(0)] * len(windows)
        for length, group in group_by_length([len(ids) for ids in windows]).items():
            batch = padded_batch([list(windows[index]) for index in group], length, self.backbone.start_id)
            for index, state in zip(group, self.backbone.hidden(batch), strict=False):
                states[index] = state[: len(windows[index])]
        return states

    def window(self, ids: Tensor, hidden: Tensor) -> Window:
        """Bring a window to a steady shape.

        :param ids: (n,), its token ids.
        :param hidden: (n, H), its hidden states.
        :return: The window.
        """
        return Window(steady_rows(ids), steady_rows(hidden), len(ids))

    def analyse(
        self, ids: Sequence[int], hidden: Tensor, weights: Sequence[float] | None = None, lossy: bool = False
    ) -> Analysis:
        """Rank the tokens of all spans of a window.

        :param ids: The window's token ids.
        :param hidden: (n, H), from `hidden`.
        :param weights: Price of losing each token; None: 1 each.
        :param lossy: Whether spans that cannot be restored in full are of interest.
        :return: The analysis.
        """
        window = self.window(torch.tensor(ids, device=hidden.device), hidden)
        parts = self.checker.parts(window)
        ranks = self.checker.rank(window, parts, LOSSY_REACH if lossy else REACH)
        priced = torch.ones(len(ids)) if weights is None else torch.tensor(weights)
        verified = np.zeros((len(ids), self.settings.max_gap + 1), np.bool_)
        verified[:, 0] = True
        return Analysis(window, parts, ranks, priced.to(hidden.device), verified)

    def costs(self, analysis: Analysis, lossy: bool = False) -> SpanCosts:
        """Price the spans of a window.

        :param analysis: The window's analysis.
        :param lossy: Whether to price loss too.
        :return: The costs.
        """
        bits = self.checker.bits(analysis.ranks)
        inside = torch.arange(bits.shape[2]) < torch.arange(bits.shape[1])[:, None]  # (G + 1, G)
        bits = bits.masked_fill(~inside.to(bits.device), 0.0)
        total = bits.sum(-1).double().cpu().numpy() + SURCHARGE * np.arange(bits.shape[1]) * ~analysis.verified
        loss = self._loss(analysis, bits).double().cpu().numpy() if lossy else np.zeros_like(total)
        return SpanCosts(total, loss)

    def _loss(self, analysis: Analysis, bits: Tensor) -> Tensor:
        """Weigh what is lost of each span if its residual restores what it can: (n, G + 1)."""
        n, gaps, places = bits.shape
        weights = torch.cat((analysis.weights, analysis.weights.new_zeros(places)))
        weights = weights[torch.arange(n)[:, None] + 1 + torch.arange(places)]  # (n, G)
        gap = torch.arange(gaps, device=bits.device)
        free = self.checker.bucket_bits[0]
        extra = (bits - free).clamp(min=0.0)  # a token that is not restored is written as rank 0
        order = (extra / weights[:, None]).nan_to_num(nan=0.0).argsort(dim=-1, stable=True)
        restored = extra.gather(-1, order).cumsum(-1) <= self.budget - free * gap[:, None]
        # Of two tokens of one weight, the one that was harder to restore is dearer: without such differences all
        # trades of a kind would be worth it at the same exchange rate, and lengths would jump.
        dearer = weights[:, None] * (1 + extra.clamp(max=HARDEST) / HARDEST)
        lost = torch.where(restored, 0.0, dearer.gather(-1, order))
        unseen = (analysis.ranks[:, torch.arange(gaps), 0] == UNRANKED).cpu() & ~torch.from_numpy(analysis.verified)
        kept = torch.cat((weights.new_zeros(n, 1), weights.isinf().cumsum(-1)), 1) > 0  # protected tokens are anchors
        return lost.nan_to_num(nan=0.0).sum(-1).masked_fill((unseen.to(bits.device) | kept) & (gap > 0), float("inf"))

    def tile(self, analyses: Sequence[Analysis], price: Price) -> list[Tiling]:
        """Find the cheapest exact tilings that the full vocabulary confirms.

        :param analyses: Windows; their ranks are corrected on the way.
        :param price: An exact price.
        :return: The gaps of each window.
        """
        tilings: list[Tiling] = [[] for _ in analyses]
        going = list(range(len(analyses)))
        for _ in range(ROUNDS):
            for index in going:
                tilings[index] = shortest_path(price(self.costs(analyses[index])))
            self.verify([(analyses[index], tilings[index]) for index in going])
            going = [index for index in going if self._failing(analyses[index], tilings[index]).any()]
            if not going:
                break
        for index in going:  # of the spans that are known to stand, or anchors
            tilings[index] = shortest_path(price(self._verified_costs(analyses[index])))
        return tilings

    def _failing(self, analysis: Analysis, tiling: Tiling) -> NDArray[np.bool_]:
        """Say which Z-tokens of a verified tiling cannot be restored."""
        gaps = np.asarray(tiling)
        failing: NDArray[np.bool_] = self.costs(analysis).bits[_starts(gaps), gaps] > self.budget
        return failing

    def _verified_costs(self, analysis: Analysis) -> SpanCosts:
        """Price the spans that were verified only."""
        costs = self.costs(analysis)
        return SpanCosts(np.where(analysis.verified, costs.bits, np.inf), costs.loss)

    @torch.no_grad()
    def verify(self, tiled: Sequence[tuple[Analysis, Tiling]]) -> None:
        """Rank the tokens of chosen spans against the full vocabulary, those that were not yet.

        :param tiled: Windows, whose ranks are corrected, and their tilings.
        """
        chosen = []
        for analysis, tiling in tiled:
            gaps = np.asarray(tiling)
            chosen.append(chosen_tokens(tiling, ~analysis.verified[_starts(gaps), gaps], analysis.ranks.device))
        found = self.true_ranks(
            [(analysis.window, analysis.parts, tokens) for (analysis, _), tokens in zip(tiled, chosen, strict=True)]
        )
        for (analysis, _), tokens, (ranks, _) in zip(tiled, chosen, found, strict=True):
            analysis.ranks[tokens.start, tokens.gap, tokens.token] = ranks.int()
            analysis.verified[tokens.start.cpu(), tokens.gap.cpu()] = True

    @torch.no_grad()
    def true_ranks(self, wanted: Sequence[tuple[Window, SpanParts, ChosenTokens]]) -> list[tuple[Tensor, Tensor]]:
        """Rank dropped tokens in the full vocabulary.

        :param wanted: Windows, whose ids are the true tokens, their parts, and the dropped tokens.
        :return: For each window (R,) ranks, `AMBIGUOUS` where a rival is too near, and (R,) the best candidates.
        """
        if not wanted:
            return []
        corrected = torch.cat([self._corrected(*item) for item in wanted])
        true = torch.cat([window.ids[chosen.position] for window, _, chosen in wanted])
        ranked = [
            self._rank_in_full(corrected[rows], true[rows]) for rows in torch.arange(len(true)).split(VERIFIED_ROWS)
        ]
        ranks, best = (torch.cat(column) for column in zip(*ranked, strict=True))
        sizes = [len(chosen.start) for _, _, chosen in wanted]
        return list(zip(ranks.split(sizes), best.split(sizes), strict=True))

    def _corrected(self, window: Window, parts: SpanParts, chosen: ChosenTokens) -> Tensor:
        """Give the corrected hidden states of dropped tokens: (R, H)."""
        features = self.checker.features(parts, chosen.position, chosen.token, chosen.gap)
        correction: Tensor = self.heads.span_head.out(steady_rows(features))
        return window.hidden[chosen.position] + correction[: len(features)]

    def _rank_in_full(self, corrected: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Rank one chunk of tokens in the full vocabulary; give the best candidates too."""
        logits = (steady_rows(corrected) @ self.backbone.output_embeddings.T)[: len(true)]
        best = logits.topk(min(VERIFIED_TOP, logits.shape[1]), -1)
        threshold = logits.gather(1, true[:, None])
        above = rank_among(logits, best.values, threshold + self.settings.margin)
        near = rank_among(logits, best.values, threshold - self.settings.margin) - 1  # without the token itself
        return torch.where(near == above, above, AMBIGUOUS), best.indices[:, 0]

    def z_tokens(self, analysis: Analysis, tiling: Tiling, written: Sequence[Sequence[int]]) -> list[ZToken]:
        """Write a tiling as Z-tokens.

        :param analysis: The window's analysis.
        :param tiling: The gaps.
        :param written: For each gap, the ranks that its residual holds.
        :return: One Z-token for each gap.
        """
        ids, subcodes = analysis.ids.tolist(), analysis.parts.subcodes.cpu()
        cut, tokens, t = self.checker.layout, [], 0
        for gap, ranks in zip(tiling, written, strict=True):
            code, residual = (0,) * self.settings.subcodes, 0
            if gap:
                first = torch.from_numpy(t + 1 + cut.start[gap])
                code = tuple(subcodes[first, torch.from_numpy(cut.role[gap])].tolist())
                residual = self._encode(ranks)
            tokens.append(ZToken(ids[t], gap, code, residual))
            t += gap + 1
        return tokens

    def exact_ranks(self, analysis: Analysis, tiling: Tiling) -> list[list[int]]:
        """Give the ranks of a verified exact tiling.

        :param analysis: The window's analysis.
        :param tiling: The gaps.
        :return: The ranks of each span.
        """
        ranks, found, t = analysis.ranks.cpu(), [], 0
        for gap in tiling:
            found.append(ranks[t, gap, :gap].tolist())
            t += gap + 1
        return found

    def affordable(self, ranks: Sequence[int], weights: Sequence[float]) -> list[int]:
        """Choose the ranks of a span that its residual has room for, the cheapest for their weight first.

        :param ranks: Rank of each token; `UNRANKED` if it cannot be restored.
        :param weights: Price of losing each.
        :return: The ranks to write: 0 for what is lost.
        """
        free = float(self.checker.bucket_bits[0])
        extra = [max(cost - free, 0.0) for cost in self.checker.bits(torch.tensor(ranks)).tolist()]
        room, written = self.budget - free * len(ranks), [0] * len(ranks)
        for j in sorted(range(len(ranks)), key=lambda j: extra[j] / weights[j]):
            if extra[j] > room:
                break
            written[j], room = ranks[j], room - extra[j]
        return written

    def _encode(self, ranks: Sequence[int]) -> int:
        """Encode ranks that are known to fit."""
        residual = self.rank_code.encode(ranks)
        if residual is None:
            raise AssertionError(f"Ranks {ranks} do not fit {self.settings.residual_bits} bits.")
        return residual


def _starts(gaps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the positions of a tiling's anchors."""
    starts: NDArray[np.int64] = np.cumsum(gaps + 1) - gaps - 1
    return starts


def chosen_tokens(tiling: Tiling, wanted: NDArray[np.bool_], device: torch.device) -> ChosenTokens:
    """List the dropped tokens of a tiling.

    :param tiling: The gaps.
    :param wanted: For each gap, whether its span is wanted.
    :param device: Where the tensors are to be.
    :return: The tokens of the wanted spans.
    """
    gaps = np.asarray(tiling)
    starts, gaps = _starts(gaps)[wanted], gaps[wanted]
    token = np.concatenate([np.zeros(0, np.int64), *(np.arange(gap) for gap in gaps)])
    rows = (np.repeat(starts, gaps), np.repeat(gaps, gaps), token)
    return ChosenTokens(*(torch.from_numpy(row).long().to(device) for row in rows))
