"""The loss of codec heads: the bits that dropped tokens still cost, given anchors, code and (when joint) the LLM.

    loss = mean cross-entropy of the dropped tokens - usage_weight * entropy of the sub-codes over the batch

Sub-codes are drawn by Gumbel-softmax, straight-through (Jang et al. 2017): one-hot forward, soft backward. The
softmax over tokens runs over candidates shared by the batch (its own tokens, the most frequent ones and random ones)
instead of the whole vocabulary, which makes a step several times faster.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zprompt.codec import CodecHeads, layout
from zprompt.train.span_sampling import Spans

NATS_PER_BIT = 0.6931


@dataclass(frozen=True, slots=True)
class Dropped:
    """The dropped tokens of a batch of spans, one row each."""

    span: Tensor  # (R,): index of the span
    token: Tensor  # (R,): which token of it
    gap: Tensor  # (R,): its length
    window: Tensor  # (R,): row of the batch
    position: Tensor  # (R,): position in the window


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a batch, and its parts."""

    total: Tensor  # scalar, to be minimised
    bits: Tensor  # (R,): cross-entropy of each dropped token
    right: float  # share of them that is the best candidate
    usage: float  # bits of entropy of a sub-code's values over the batch
    dropped: Dropped

    def figures(self) -> dict[str, float]:
        """Return what is reported of a step."""
        return {"bits": float(self.bits.mean()), "right": self.right, "code_usage_bits": self.usage}


def dropped_tokens(spans: Spans, max_gap: int) -> Dropped:
    """List the tokens of spans, none of which is longer than `max_gap`."""
    start, gap, window = (torch.from_numpy(a) for a in (spans.start, spans.gap, spans.window))
    span, token = torch.where(torch.arange(max_gap) < gap[:, None])
    return Dropped(span, token, gap[span], window[span], start[span] + 1 + token)


class Objective:
    """Computes the loss of heads on a batch."""

    def __init__(self, heads: CodecHeads, output_embeddings: Tensor, usage_weight: float) -> None:
        """Set up the loss.

        :param heads: The heads in training.
        :param output_embeddings: (V, H), the backbone's.
        :param usage_weight: Weight of the entropy term.
        """
        self.heads, self.output, self.usage_weight = heads, output_embeddings, usage_weight
        settings = heads.settings
        self.layout = layout(settings.subcodes, settings.max_gap)
        # The log of the scale of the warm-up's logits, which is trained, too.
        self.warmup_scale = torch.nn.Parameter(torch.tensor(-3.0, device=output_embeddings.device))

    def __call__(
        self, ids: Tensor, spans: Spans, hidden: Tensor | None, candidates: Tensor, temperature: float
    ) -> Loss:
        """Compute the loss.

        :param ids: (B, T), token ids of the batch.
        :param spans: Spans to drop.
        :param hidden: (B, T, H), hidden states; None in the warm-up.
        :param candidates: (C,), sorted token ids for the softmax, beside the batch's own.
        :param temperature: Of the Gumbel-softmax.
        :return: The loss.
        """
        dropped = dropped_tokens(spans, self.heads.settings.max_gap)
        onehot, usage = self._sample(ids, spans, temperature)
        z = self._code_part(onehot, dropped) + self._context_part(ids, dropped, hidden)
        correction = self.heads.span_head.out(self.heads.span_head.features(z))
        target = ids[dropped.window, dropped.position]
        own, label = torch.unique(target, return_inverse=True)
        candidates = candidates.to(own.device)
        candidates = torch.cat((own, candidates[~torch.isin(candidates, own)]))
        if hidden is None:
            logits = correction @ self.heads.embeddings[candidates].T * self.warmup_scale.exp()
        else:
            logits = (hidden[dropped.window, dropped.position] + correction) @ self.output[candidates].T
        nats = functional.cross_entropy(logits.float(), label, reduction="none")
        return Loss(
            total=nats.mean() - self.usage_weight * usage,
            bits=nats.detach() / NATS_PER_BIT,
            right=float((logits.detach().argmax(1) == label).float().mean()),
            usage=float(usage.detach()) / NATS_PER_BIT,
            dropped=dropped,
        )

    def _sample(self, ids: Tensor, spans: Spans, temperature: float) -> tuple[Tensor, Tensor]:
        """Draw the sub-codes of spans: (S * M, K) one-hot, and the entropy of their values in nats."""
        gap = torch.from_numpy(spans.gap)
        role = torch.from_numpy(self.layout.role)[gap].flatten()  # (S * M,)
        start = (torch.from_numpy(spans.start)[:, None] + 1 + torch.from_numpy(self.layout.start)[gap]).flatten()
        window = torch.from_numpy(spans.window).repeat_interleave(self.heads.settings.subcodes)
        drawn, order, entropy = [], [], torch.zeros((), device=ids.device)
        for index, size in enumerate(self.layout.sizes):
            rows = torch.where(role == index)[0]
            if not len(rows):
                continue
            segments = ids[window[rows][:, None], start[rows][:, None] + torch.arange(size)]
            logits = self.heads.code_head(index, self.heads.embeddings[segments]).float()
            mean = logits.softmax(-1).mean(0)
            entropy = entropy - (mean * mean.clamp(min=1e-9).log()).sum() * len(rows) / len(role)
            drawn.append(functional.gumbel_softmax(logits, tau=temperature, hard=True))
            order.append(rows)
        return torch.cat(drawn)[torch.argsort(torch.cat(order)).to(ids.device)], entropy

    def _code_part(self, onehot: Tensor, dropped: Dropped) -> Tensor:
        """Sum the sub-codes' contributions to the span head's input: (R, W)."""
        head, subcodes = self.heads.span_head, self.heads.settings.subcodes
        rows: list[Tensor] = []
        parts: list[Tensor] = []

        def add(where: Tensor, subcode: Tensor, table: Tensor) -> None:
            rows.append(where)
            parts.append((onehot[dropped.span[where] * subcodes + subcode] @ table).float())

        role, start = (torch.from_numpy(a)[dropped.gap] for a in (self.layout.role, self.layout.start))  # (R, M)
        follower, follower_start = (
            torch.from_numpy(a)[dropped.gap, dropped.token] for a in (self.layout.follower, self.layout.follower_start)
        )
        for index, (size, first) in enumerate(zip(self.layout.sizes, self.layout.first_place, strict=True)):
            inside = dropped.token[:, None] - start  # (R, M): which token of the segment
            for i in range(size):
                where, subcode = torch.where((role == index) & (inside == i))
                add(where, subcode, head.own[first + i])
            follows = (role == index) & (follower == index)[:, None] & (start == follower_start[:, None])
            where, subcode = torch.where(follows)
            add(where, subcode, head.following[index])
        total = torch.zeros(len(dropped.span), head.own.shape[-1], device=onehot.device)
        return total.index_add(0, torch.cat(rows).to(total.device), torch.cat(parts))

    def _context_part(self, ids: Tensor, dropped: Dropped, hidden: Tensor | None) -> Tensor:
        """Sum the contributions of anchors, places and the LLM to the span head's input: (R, W)."""
        head, embeddings = self.heads.span_head, self.heads.embeddings
        distance = dropped.gap - dropped.token
        previous = embeddings[ids[dropped.window, dropped.position - 1]]
        following = embeddings[ids[dropped.window, dropped.position + distance]]
        state = None if hidden is None else hidden[dropped.window, dropped.position]
        part: Tensor = (
            head.left_context(previous, state)
            + head.anchor_context(following, distance)
            + head.forward_place[dropped.token]
        )
        return part

    @torch.no_grad()
    def finish_warmup(self) -> None:
        """Bring the corrections to the scale of the LLM's logits."""
        # Warm-up logits are products with unit-scale embeddings; joint ones with the LM head's own.
        factor = float(self.warmup_scale.exp()) / self.heads.scale
        out = self.heads.span_head.out
        out.weight.mul_(factor)
        out.bias.mul_(factor)
