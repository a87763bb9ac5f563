"""Estimate the bits that every span of a window would cost, without asking the full vocabulary about each.

A token at position p may be dropped by any span (t, g) around it, t < p <= t + g: up to G (G + 1) / 2 of them. The
LLM's logits are the same in all, only the correction differs, so each position has one *shortlist*, the LLM's S
best tokens among the most common ones, and a token's rank in a span is how many of them score higher than it there:

    score(v) = base[p, v] + (E_v out) . u(t, g, j)          u: the span head's features (heads.py)

E out is one (V, W) table, so a check costs one W x W product and S + 1 dot products. Two things keep checks few:

    pruning          spans that the LLM alone would need more than `threshold` bits for are not checked
    gap subsampling  spans of neighbouring lengths cost nearly the same token by token, so only the gaps of
                     `sampled_gaps` are checked: 40 % of the rows, for 1 % more bits in the tilings that are chosen
                     (docs/codec.md); a token of another span is estimated by the next longer sampled one that begins
                     (left half) or ends (right half) at the same place:

        bits(t, g, j) = bits(t, s, j)                     j < g / 2
                      = bits(t - (s - g), s, j + s - g)   else             s = the least sampled gap >= g

All this only decides which tiling is chosen; the ranks that are written are those in the full vocabulary
(compressor.py).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zprompt.codec.code_layout import Layout, layout
from zprompt.codec.heads import CodecHeads
from zprompt.llm import pad_rows
from zprompt.zspan import LITERALS, RankCode

SHORTLIST = 32  # S
COMMON = 1 << 14  # token ids that a shortlist is drawn from: in a BPE vocabulary, the lowest are the most common
DEEPEST = 192  # ranks: so far down, logits are so dense that a rival is too near to be sure
ROWS = 6144  # checks at a time, so that they stay in the processor's cache
UNSEEN = -1  # in place of a symbol: the span was not checked


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a text as the LLM sees it, padded to a batch-invariant shape."""

    ids: Tensor  # (n',)
    hidden: Tensor  # (n', H): hidden[t] predicts ids[t]
    length: int  # n, the tokens that are not padding


@dataclass(frozen=True, slots=True)
class SpanParts:
    """The parts of the span head's input that spans share, and the sub-codes of every segment of a window."""

    own: Tensor  # (n', places, W): what is left of p, and p's own sub-codes in each place
    following: Tensor  # (n', roles + 1, W): the sub-code of the segment that begins at p, by role; zeros in the last
    anchor: Tensor  # (n', G + 1, W): the next anchor, by distance
    subcodes: Tensor  # (n', roles): sub-code of the segment that begins at p


class SpanCosts:
    """Estimates what the spans of windows cost, given a codec's heads and its backbone's output embeddings."""

    def __init__(self, heads: CodecHeads, output_embeddings: Tensor, rank_code: RankCode) -> None:
        """Prepare the tables that all windows share.

        :param heads: The codec's heads.
        :param output_embeddings: (V, H), the backbone's.
        :param rank_code: The code that ranks are written in, which prices them.
        """
        self.heads, self.settings, self.output = heads, heads.settings, output_embeddings
        self.layout: Layout = layout(self.settings.subcodes, self.settings.max_gap)
        device = output_embeddings.device
        with torch.no_grad():
            self.table = output_embeddings @ heads.span_head.out.weight  # (V, W)
        self.place = torch.from_numpy(self.layout.place).to(device)
        self.follower = torch.from_numpy(self.layout.follower % (len(self.layout.sizes) + 1)).to(device)  # -1: last row
        self.sampled = sampled_gaps(self.settings.max_gap)
        self.follower_start = torch.from_numpy(self.layout.follower_start).to(device)
        costs = torch.tensor(rank_code.bucket_costs(), device=device)
        buckets = [symbol.bit_length() for symbol in range(LITERALS + 1)]  # LITERALS stands for all of them
        self.symbol_bits = torch.cat((costs[buckets], costs.new_full((1,), float("inf"))))  # UNSEEN: the last one

    def bits(self, symbols: Tensor) -> Tensor:
        """Return the bits that symbols of any shape take in a residual; inf for `UNSEEN`."""
        return self.symbol_bits[symbols.clamp(max=LITERALS).long()]

    @torch.no_grad()
    def parts(self, window: Window) -> SpanParts:
        """Compute what the spans of a window share."""
        head, n = self.heads.span_head, len(window.ids)
        embedded = self.heads.embeddings[window.ids]  # (n, D)
        previous = torch.cat((embedded[:1] * 0, embedded[:-1]))
        subcodes = self._subcodes(embedded)
        distance = torch.arange(self.settings.max_gap + 1, device=embedded.device)
        following = torch.stack([table[codes] for table, codes in zip(head.following, subcodes.T, strict=True)], 1)
        return SpanParts(
            own=head.left_context(previous, window.hidden)[:, None] + self._own(subcodes),
            following=torch.cat((following, torch.zeros_like(following[:, :1])), 1),
            anchor=head.anchor_context(embedded[:, None], distance.expand(n, -1)),
            subcodes=subcodes,
        )

    def _subcodes(self, embedded: Tensor) -> Tensor:
        """Classify the segment of each role that begins at each position: (n, roles)."""
        head, n = self.heads.code_head, len(embedded)
        tokens = head.token(embedded)
        subcodes = torch.zeros(n, len(self.layout.sizes), dtype=torch.long, device=embedded.device)
        for role, size in enumerate(self.layout.sizes):
            longer = functional.pad(tokens, (0, 0, 0, size - 1))  # segments over the end, which no span has
            segments = longer.unfold(0, size, 1).transpose(1, 2)  # (n', size, span_width)
            subcodes[:, role] = head.classify(role, segments).argmax(-1)
        return subcodes

    def _own(self, subcodes: Tensor) -> Tensor:
        """Return the vector of a token's own sub-codes in each place, (n, places, W)."""
        own, n = self.heads.span_head.own, len(subcodes)
        vectors = own.new_zeros(n, self.layout.places, self.settings.width)
        for role, (size, first) in enumerate(zip(self.layout.sizes, self.layout.first_place, strict=True)):
            for i in range(min(size, n)):
                vectors[i:, first + i] = own[first + i][subcodes[: n - i, role]]
        stages = self.settings.subcodes
        vectors[:, :stages] = vectors[:, :stages].cumsum(1)
        return vectors

    def features(self, parts: SpanParts, position: Tensor, token: Tensor, gap: Tensor) -> Tensor:
        """Return the span head's features u of tokens of spans.

        :param parts: The window's parts.
        :param position: (R,), positions p in the window.
        :param token: (R,), which token j of its span each is.
        :param gap: (R,), length g of that span.
        :return: (R, W).
        """
        count = len(position)
        position, token, gap = (pad_rows(rows) for rows in (position, token, gap))
        head, distance = self.heads.span_head, gap - token
        z = parts.own[position, self.place[gap, token]]
        z += parts.anchor[position + distance, distance]
        z += head.forward_place[token]
        follower_start = (position - token + self.follower_start[gap, token]).clamp(max=len(parts.own) - 1)
        z += parts.following[follower_start, self.follower[gap, token]]
        features: Tensor = head.features(z)
        return features[:count]

    def estimate(self, window: Window, parts: SpanParts, threshold: float) -> Tensor:
        """Estimate what the tokens of all spans cost.

        :param window: The window.
        :param parts: Its parts.
        :param threshold: Bits; spans that the LLM alone needs more for are pruned.
        :return: (n, G + 1, G), bits of token j of span (t, g); inf where the span was pruned.
        """
        return fill_between(self.bits(self.rank(window, parts, threshold)), self.sampled)

    @torch.no_grad()
    def rank(self, window: Window, parts: SpanParts, threshold: float) -> Tensor:
        """Estimate the ranks of the tokens of all spans that are neither pruned nor of a gap left out.

        :param window: The window.
        :param parts: Its parts.
        :param threshold: As in `estimate`.
        :return: (n, G + 1, G), symbol of token j of span (t, g); `UNSEEN` where the span was not checked.
        """
        n, gap = len(window.ids), self.settings.max_gap
        expected = window.hidden + self.heads.span_head.out.bias
        base = expected @ self.output[:COMMON].T  # (n', COMMON)
        true = (expected * self.output[window.ids]).sum(1, keepdim=True)
        scores, shortlist = base.topk(min(SHORTLIST, base.shape[1]), -1)
        # The token itself may be among them, and its score there differs from this one in the last bits.
        base_rank = rank_among(base, scores, true + self.settings.margin)
        # What lifts the true token from beyond the shortlist lifts others there too: about the square root of them.
        depth = ((base_rank + 1) / (SHORTLIST / 2)).clamp(min=1.0).sqrt()
        scores = scores.masked_fill(shortlist == window.ids[:, None], float("-inf"))
        candidates = torch.cat((shortlist, window.ids[:, None]), 1)  # (n, S + 1)
        scores = torch.cat((scores, true), 1)
        ranks = torch.full((n, gap + 1, gap), UNSEEN, dtype=torch.int32, device=base.device)
        position, token, span_gap = self._rows(self._unpruned(base_rank, window.length, threshold))
        bounds = torch.searchsorted(position, torch.arange(n + 1, device=base.device)).tolist()
        for first, last in _chunks(bounds):
            rows = slice(bounds[first], bounds[last])
            p, j, g = position[rows], token[rows], span_gap[rows]
            rank = self._rank_rows(scores, candidates, first, p, self.features(parts, p, j, g))
            deeper = ((rank + 1) * depth[p] - 1).round()
            ranks[p - 1 - j, g, j] = torch.where(deeper < DEEPEST, deeper, LITERALS).int()
        return ranks[: window.length]

    def _rank_rows(self, scores: Tensor, candidates: Tensor, first: int, position: Tensor, features: Tensor) -> Tensor:
        """Rank the true token of each row among its position's candidates; rows are sorted by position."""
        place = position - first
        start = torch.searchsorted(place, place)  # rows before those of the same position
        slot = torch.arange(len(place), device=place.device) - start
        count = int(place[-1]) + 1
        padded = features.new_zeros(count, int(slot.max()) + 1, features.shape[1])
        padded[place, slot] = features
        corrected = torch.bmm(padded, self.table[candidates[first : first + count]].transpose(1, 2))
        corrected += scores[first : first + count, None]
        lead = (corrected[..., :-1] - corrected[..., -1:])[place, slot]  # (R, S)
        rank = (lead > 0).sum(-1)
        return torch.where(lead.abs_().amin(-1) > self.settings.margin, rank, LITERALS)

    def _unpruned(self, base_rank: Tensor, length: int, threshold: float) -> Tensor:
        """Mark the spans that are checked, (n', G + 1)."""
        n, gap = len(base_rank), self.settings.max_gap
        total = torch.cat((base_rank.new_zeros(1, dtype=torch.float), self.bits(base_rank).float().cumsum(0)))
        start = torch.arange(n, device=base_rank.device)[:, None]
        gaps = torch.arange(gap + 1, device=base_rank.device)
        end = start + gaps + 1  # the next anchor
        spent = total[end.clamp(max=n)] - total[start + 1]
        sampled = torch.isin(gaps, torch.tensor(self.sampled, device=gaps.device))
        return sampled & (end < length) & (spent <= threshold)

    def _rows(self, spans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """List the tokens of spans as (position, token, gap), sorted by position."""
        n, gap = len(spans), self.settings.max_gap
        position = torch.arange(n, device=spans.device)[:, None]
        token = torch.arange(gap, device=spans.device)
        start = position - 1 - token  # (n, G): where a span begins whose token j is at p
        inside = (start >= 0)[..., None] & (torch.arange(gap + 1, device=spans.device) > token[:, None])
        rows = torch.nonzero(inside & spans[start.clamp(min=0)])
        return rows[:, 0], rows[:, 1], rows[:, 2]


def rank_among(logits: Tensor, best: Tensor, threshold: Tensor) -> Tensor:
    """Count the logits above a threshold, (R,), looking beyond the best ones only where that is needed.

    :param logits: (R, V).
    :param best: (R, S), the best of them, from `topk`.
    :param threshold: (R, 1).
    :return: (R,).
    """
    rank = (best > threshold).sum(1)
    deep = torch.where(rank == best.shape[1])[0]
    rank[deep] = (logits[deep] > threshold[deep]).sum(1)
    return rank


def _chunks(bounds: list[int]) -> list[tuple[int, int]]:
    """Cut positions into runs of about `ROWS` rows; runs without rows are left out."""
    runs, first = [], 0
    for last in range(1, len(bounds)):
        if bounds[last] - bounds[first] >= ROWS or last == len(bounds) - 1:
            if bounds[last] > bounds[first]:
                runs.append((first, last))
            first = last
    return runs


def sampled_gaps(max_gap: int) -> list[int]:
    """List the gaps that are checked: from 1 to `max_gap`, ever farther apart."""
    gaps = [1]
    while gaps[-1] < max_gap:
        gaps.append(min(gaps[-1] + 1 + gaps[-1] // 4, max_gap))
    return gaps


def fill_between(bits: Tensor, sampled: list[int]) -> Tensor:
    """Estimate the spans of the gaps that were not checked, in place.

    :param bits: (n, G + 1, G), bits of token j of span (t, g); inf where it was not checked.
    :param sampled: The gaps that were checked.
    :return: `bits`.
    """
    for longer, shorter in zip(sampled[1:], sampled, strict=False):
        for gap in range(shorter + 1, longer):
            _fill(bits, gap, longer)
    return bits


def _fill(bits: Tensor, gap: int, longer: int) -> None:
    """Estimate one gap by a longer one."""
    cut, offset = (gap + 1) // 2, longer - gap
    from_left = bits[:, longer, :gap]
    from_right = torch.full_like(from_left, float("inf"))
    from_right[offset:] = bits[: max(len(bits) - offset, 0), longer, offset : offset + gap]
    left = torch.arange(gap, device=bits.device) < cut
    first, second = torch.where(left, from_left, from_right), torch.where(left, from_right, from_left)
    bits[:, gap, :gap] = torch.where(first.isinf(), second, first)  # near the window's ends there is one of them only
