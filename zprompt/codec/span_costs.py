"""Rank the tokens of every span that could be dropped, without asking the full vocabulary about each.

A token at position p may be dropped by any span (t, g) around it, t < p <= t + g: up to G (G + 1) / 2 of them. The
LLM's logits are the same in all, only the correction differs, so each position has one *shortlist*, the LLM's S
best tokens among the most common ones, and a token's rank in a span is how many of them score higher than it there:

    score(v) = base[p, v] + (E_v out) . u(t, g, j)          u: the span head's features (heads.py)

E out is one (V, W) table, so a check costs one W x W product and S + 1 dot products. Spans that the LLM alone would
need far too many bits for are not looked at (`reach` is the limit, in bits), nor are spans of every length (probes.py).

All this estimates what spans cost, so that a tiling can be chosen; the ranks that are written are those in the full
vocabulary (compressor.py).

Look at some gaps only, and take the others to cost what the nearest longer one does.

Spans of neighbouring lengths cost nearly the same token by token, so only the gaps of `probed_gaps` are checked: about
40 % of the rows, for 1 % more bits in the tilings that are chosen (docs/codec.md). A token of a span between two of
them is estimated by the next longer probed span that begins (left half) or ends (right half) at the same place:

    bits(t, g, j) = bits(t, s, j)                     j < g / 2
                  = bits(t - (s - g), s, j + s - g)   else             s = the least probed gap >= g

These are estimates for choosing a tiling. What is written is ranked in full (compressor.py).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zprompt.codec.heads import CodecHeads
from zprompt.codec.layout import Layout, layout
from zprompt.llm import pad_rows
from zprompt.zspan import LITERALS, RankCode

SHORTLIST = 32  # S
COMMON = 1 << 14  # token ids that a shortlist is drawn from: in a BPE vocabulary, the lowest are the most common
DEEPEST = 192  # ranks: so far down, logits are so dense that a rival is too near to be sure
ROWS = 6144  # checks at a time, so that they stay in the processor's cache
UNSEEN = -1  # in place of a symbol: the span was not looked at


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a text, as the LLM sees it, padded to a steady shape (steady.py)."""

    ids: Tensor  # (n',)
    hidden: Tensor  # (n', H): hidden[t] predicts ids[t]
    length: int  # n, the tokens that are not padding


@dataclass(frozen=True, slots=True)
class SpanParts:
    """The parts of the span head's input that spans share, and the sub-codes of every segment of a window."""

    own: Tensor  # (n', places, W): what is left of p, and p's own sub-codes in each place
    following: Tensor  # (n', roles + 1, W): the sub-code of the segment that begins at p, by role; zeros in the last
    ahead: Tensor  # (n', G + 1, W): the next anchor, by distance
    subcodes: Tensor  # (n', roles): sub-code of the segment that begins at p


class SpanChecker:
    """Ranks tokens of spans, given the heads of a codec and the output embeddings of its backbone."""

    def __init__(self, heads: CodecHeads, output_embeddings: Tensor, rank_code: RankCode) -> None:
        """Prepare the tables that all windows share.

        :param heads: The codec's heads.
        :param output_embeddings: (V, H), the backbone's.
        :param rank_code: What prices ranks.
        """
        self.heads, self.settings, self.output = heads, heads.settings, output_embeddings
        self.layout: Layout = layout(self.settings.subcodes, self.settings.max_gap)
        device = output_embeddings.device
        with torch.no_grad():
            self.table = output_embeddings @ heads.span_head.out.weight  # (V, W)
        self.place = torch.from_numpy(self.layout.place).to(device)
        self.follower = torch.from_numpy(self.layout.follower % (len(self.layout.sizes) + 1)).to(device)  # -1: last row
        self.probed = probed_gaps(self.settings.max_gap)
        self.follower_start = torch.from_numpy(self.layout.follower_start).to(device)
        costs = torch.tensor(rank_code.bucket_costs(), device=device)
        buckets = [symbol.bit_length() for symbol in range(LITERALS + 1)]  # LITERALS stands for all of them
        self.symbol_bits = torch.cat((costs[buckets], costs.new_full((1,), float("inf"))))  # UNSEEN: the last one

    def bits(self, symbols: Tensor) -> Tensor:
        """Price symbols.

        :param symbols: Ranks of tokens, any shape; what is `LITERALS` or more is a literal.
        :return: Bits that each takes in a residual; inf for `UNSEEN`.
        """
        return self.symbol_bits[symbols.clamp(max=LITERALS).long()]

    @torch.no_grad()
    def parts(self, window: Window) -> SpanParts:
        """Compute what the spans of a window share.

        :param window: The window.
        :return: The parts.
        """
        head, n = self.heads.span_head, len(window.ids)
        embedded = self.heads.embeddings[window.ids]  # (n, D)
        previous = torch.cat((embedded[:1] * 0, embedded[:-1]))
        subcodes = self._subcodes(embedded)
        distance = torch.arange(self.settings.max_gap + 1, device=embedded.device)
        following = torch.stack([table[codes] for table, codes in zip(head.following, subcodes.T, strict=True)], 1)
        return SpanParts(
            own=head.context(previous, window.hidden)[:, None] + self._own(subcodes),
            following=torch.cat((following, torch.zeros_like(following[:, :1])), 1),
            ahead=head.ahead(embedded[:, None], distance.expand(n, -1)),
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
        """Give the vector of a token's own sub-codes in each place: (n, places, W)."""
        own, n = self.heads.span_head.own, len(subcodes)
        vectors = own.new_zeros(n, self.layout.places, self.settings.width)
        for role, (size, first) in enumerate(zip(self.layout.sizes, self.layout.first_place, strict=True)):
            for i in range(min(size, n)):
                vectors[i:, first + i] = own[first + i][subcodes[: n - i, role]]
        stages = self.settings.subcodes
        vectors[:, :stages] = vectors[:, :stages].cumsum(1)
        return vectors

    def features(self, parts: SpanParts, position: Tensor, token: Tensor, gap: Tensor) -> Tensor:
        """Run the span head on tokens of spans.

        :param parts: The window's parts.
        :param position: (R,), positions p in the window.
        :param token: (R,), which token j of its span each is.
        :param gap: (R,), length g of that span.
        :return: (R, W), features u.
        """
        count = len(position)
        position, token, gap = (pad_rows(rows) for rows in (position, token, gap))
        head, distance = self.heads.span_head, gap - token
        z = parts.own[position, self.place[gap, token]]
        z += parts.ahead[position + distance, distance]
        z += head.forward_place[token]
        follower_start = (position - token + self.follower_start[gap, token]).clamp(max=len(parts.own) - 1)
        z += parts.following[follower_start, self.follower[gap, token]]
        features: Tensor = head.features(z)
        return features[:count]

    def estimate(self, window: Window, parts: SpanParts, reach: float) -> Tensor:
        """Estimate what the tokens of all spans cost.

        :param window: The window.
        :param parts: Its parts.
        :param reach: Bits that the LLM alone may need for a span.
        :return: (n, G + 1, G), bits of token j of span (t, g); inf for what was not looked at.
        """
        return fill_between(self.bits(self.rank(window, parts, reach)), self.probed)

    @torch.no_grad()
    def rank(self, window: Window, parts: SpanParts, reach: float) -> Tensor:
        """Rank the tokens of all spans within reach whose gap is probed.

        :param window: The window.
        :param parts: Its parts.
        :param reach: Bits that the LLM alone may need for a span.
        :return: (n, G + 1, G), symbol of token j of span (t, g), ranks being estimates; `UNSEEN` for what was not
            looked at.
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
        position, token, span_gap = self._rows(self._within_reach(base_rank, window.length, reach))
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

    def _within_reach(self, base_rank: Tensor, length: int, reach: float) -> Tensor:
        """Say which spans are worth a look: (n', G + 1)."""
        n, gap = len(base_rank), self.settings.max_gap
        total = torch.cat((base_rank.new_zeros(1, dtype=torch.float), self.bits(base_rank).float().cumsum(0)))
        start = torch.arange(n, device=base_rank.device)[:, None]
        gaps = torch.arange(gap + 1, device=base_rank.device)
        end = start + gaps + 1  # the next anchor
        spent = total[end.clamp(max=n)] - total[start + 1]
        probed = torch.isin(gaps, torch.tensor(self.probed, device=gaps.device))
        return probed & (end < length) & (spent <= reach)

    def _rows(self, spans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """List the tokens of spans as (position, token, gap), sorted by position."""
        n, gap = len(spans), self.settings.max_gap
        position = torch.arange(n, device=spans.device)[:, None]
        token = torch.arange(gap, device=spans.device)
        start = position - 1 - token  # (n, G): where a span begins whose token j is at p
        inside = (start >= 0)[..., None] & (torch.arange(gap + 1, device=spans.device) > token[:, None])
        rows = torch.nonzero(inside & spans[start.clamp(min=0)])
        return rows[:, 0], rows[:, 1], rows[:, 2]


def rank_among(logits: Tensor, best: Tensor, true: Tensor) -> Tensor:
    """Count the logits above a threshold, looking at more than the best ones only where that is needed.

    :param logits: (R, V).
    :param best: (R, S), the best of them, from `topk`.
    :param true: (R, 1), the threshold.
    :return: (R,).
    """
    rank = (best > true).sum(1)
    deep = torch.where(rank == best.shape[1])[0]
    rank[deep] = (logits[deep] > true[deep]).sum(1)
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


def probed_gaps(max_gap: int) -> list[int]:
    """List the gaps that are looked at.

    :param max_gap: Longest span, in tokens.
    :return: Gaps from 1 to `max_gap`, ever farther apart.
    """
    gaps = [1]
    while gaps[-1] < max_gap:
        gaps.append(min(gaps[-1] + 1 + gaps[-1] // 4, max_gap))
    return gaps


def fill_between(bits: Tensor, probed: list[int]) -> Tensor:
    """Estimate the spans of gaps that were not looked at.

    :param bits: (n, G + 1, G), bits of token j of span (t, g); inf where it was not looked at. Changed in place.
    :param probed: The gaps that were.
    :return: `bits`.
    """
    for longer, shorter in zip(probed[1:], probed, strict=False):
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
