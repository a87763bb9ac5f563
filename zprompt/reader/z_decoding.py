"""Z decoding: generate a text in Z-tokens, each of which stands for several tokens.

    anchor      a = the LM head's choice, from h, the hidden state where the Z-token is expected
    gap         g = argmax  gap · y                                   y = gelu(hidden(norm h) + anchor(norm E[a]))
    sub-code    c_m = argmax  out[role_m] · z_m                       m = 1 .. M, one after the other
                z_m = gelu(mid(y) + slot[g, m] + before[role_(m-1), c_(m-1)])
    text        the codec's decompressor restores the span before the anchor, Z-token by Z-token
    read back   the Z-embedding of (a, g, c), in one position

Roles are those of codec/code_layout.py: a sub-code's value means the same words in every span, so there is one table
for each role, and `slot` says where in which span. h is the reader's own: only the Z-token head is trained for this.

The reader's passes become fewer, the decompressor does the rest. There is no residual: every dropped token is the
decompressor's first guess. A text is one window, however long, so it never starts cold again.

Options mean what they mean in text. A stop string and `max_new_tokens` count source tokens, and may end a text within a
span; a text of fewer tokens is the beginning of one of more. Sampling draws the anchors; gap and code are always the
most likely ones. A span needs an anchor after it: where the model ends the text instead, the last Z-token's gap counts
as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zprompt.codec import Codec, CodecHeads, CodecSettings, Decompressor, KnownWindow, WindowPlan, layout
from zprompt.llm import Backbone, LlamaDecoder
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.generate import Sampler, StepOutput, sample
from zprompt.zspan import ZToken

WIDTH = 384  # hidden units


class ZTokenHead(nn.Module):
    """Chooses gap and code of a Z-token whose anchor is known."""

    roles: Tensor

    def __init__(self, settings: CodecSettings, hidden_size: int, width: int = WIDTH) -> None:
        """Build a head with random weights.

        :param settings: The codec's settings.
        :param hidden_size: Width of the LLM's hidden states and embeddings, D.
        :param width: Hidden units, W.
        """
        super().__init__()
        places = layout(settings.subcodes, settings.max_gap)
        shape = (len(places.sizes), settings.subcode_size)
        self.hidden = nn.Linear(hidden_size, width)
        self.anchor = nn.Linear(hidden_size, width, bias=False)
        self.gap = nn.Linear(width, settings.max_gap + 1)
        self.mid = nn.Linear(width, width)
        self.slot = nn.Parameter(torch.zeros(settings.max_gap + 1, settings.subcodes, width))
        self.before = nn.Parameter(0.1 * torch.randn(*shape, width))
        self.out = nn.Parameter(torch.randn(*shape, width) * width**-0.5)
        self.register_buffer("roles", torch.from_numpy(places.role), persistent=False)  # (G + 1, M)

    def features(self, hidden: Tensor, anchors: Tensor) -> Tensor:
        """Return y, from which gap and code are chosen.

        :param hidden: (N, D), the hidden states where the Z-tokens are expected.
        :param anchors: (N, D), the embeddings of their anchors.
        :return: (N, W).
        """
        size = hidden.shape[-1:]
        y = self.hidden(functional.layer_norm(hidden, size)) + self.anchor(functional.layer_norm(anchors, size))
        return functional.gelu(y)

    def gap_logits(self, features: Tensor) -> Tensor:
        """Return the logits of the gaps, (N, G + 1), from features, (N, W)."""
        logits: Tensor = self.gap(features)
        return logits

    def subcode_logits(self, features: Tensor, gaps: Tensor, codes: Tensor, m: int) -> Tensor:
        """Return the logits of one sub-code's values.

        :param features: (N, W).
        :param gaps: (N,), the gaps that were chosen.
        :param codes: (N, at least m), the sub-codes before this one.
        :param m: Which sub-code, from 0.
        :return: (N, K).
        """
        z = self.mid(features) + self.slot[gaps, m]
        if m:
            z = z + self.before[self.roles[gaps, m - 1], codes[:, m - 1]]
        # All roles at once: a product with the rows' own tables would first have to copy one for each row.
        logits: Tensor = (functional.gelu(z) @ self.out.flatten(0, 1).T).unflatten(1, self.out.shape[:2])
        return logits[torch.arange(len(gaps), device=gaps.device), self.roles[gaps, m]]

    @torch.no_grad()
    def choose(self, hidden: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the most likely gaps and codes.

        :param hidden: (N, D), the hidden states where the Z-tokens are expected.
        :param anchors: (N, D), the embeddings of their anchors.
        :return: Gaps, (N,), and sub-codes, (N, M), zeros where the gap is 0.
        """
        features = self.features(hidden, anchors)
        gaps = self.gap_logits(features).argmax(dim=1)
        codes = gaps.new_zeros(len(gaps), self.roles.shape[1])
        for m in range(codes.shape[1]):
            codes[:, m] = self.subcode_logits(features, gaps, codes, m).argmax(dim=1)
        return gaps, codes * (gaps > 0)[:, None]


class IncrementalDecompressor(Decompressor):
    """Restores the texts of a batch Z-token by Z-token, with a residual of zeros.

    A span can be restored as soon as the next anchor is known. What comes out is what `Decompressor.restore` returns
    for all Z-tokens at once; its cache is kept from one Z-token to the next.
    """

    def __init__(self, backbone: Backbone, heads: CodecHeads, rows: int) -> None:
        """Start with `rows` empty texts."""
        super().__init__(backbone, heads)
        self._cache = backbone.new_cache(rows)
        self._plans = [self._empty() for _ in range(rows)]
        self._last: list[ZToken | None] = [None] * rows

    @torch.no_grad()
    def extend(self, tokens: Sequence[ZToken | None]) -> list[list[int]]:
        """Add a Z-token to each text.

        :param tokens: One for each row; None adds nothing.
        :return: The token ids that are known now: those of the span before the new anchor, and the anchor.
        """
        known = [len(plan.ids) for plan in self._plans]
        for row, token in enumerate(tokens):
            if token is not None:
                self._extend(row, token)
        while self.step(self._plans, self._cache):
            pass
        return [plan.ids[start:].tolist() for plan, start in zip(self._plans, known, strict=True)]

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drop all texts but some.

        :param rows: Those to keep, in their new order.
        """
        self._cache.keep_rows(torch.tensor(rows, dtype=torch.long))
        self._plans, self._last = [self._plans[row] for row in rows], [self._last[row] for row in rows]

    def _empty(self) -> WindowPlan:
        nothing = torch.zeros(0, self.settings.width, device=self.backbone.device)
        return WindowPlan(np.zeros(0, np.int64), nothing, np.zeros(0, np.int64))

    def _extend(self, row: int, token: ZToken) -> None:
        """Plan the span between a text's last anchor and the new one."""
        last, self._last[row] = self._last[row], token
        anchor = replace(token, gap=0, code=(0,) * len(token.code))  # its own span waits for the next anchor
        new = self.plan_window(KnownWindow([last, anchor] if last else [anchor], [0] * (last.gap if last else 0)))
        first, plan = 1 if last else 0, self._plans[row]
        plan.ids = np.append(plan.ids, new.ids[first:])
        plan.right_context = torch.cat((plan.right_context, new.right_context[first:]))
        plan.symbols = np.append(plan.symbols, new.symbols[first:])


class ZTokenStepper:
    """Produces Z-tokens, and their text; what `Engine.run` needs to write in Z-tokens."""

    def __init__(
        self,
        codec: Codec,
        decoder: LlamaDecoder,
        z_embedding: ZEmbedding,
        z_head: ZTokenHead,
        end_ids: frozenset[int],
        rows: int,
    ) -> None:
        """Start a batch.

        :param codec: The codec whose Z-tokens are written.
        :param decoder: The reader's model without its LM head.
        :param z_embedding: What gaps and codes add to their anchors.
        :param z_head: Chooses gaps and codes.
        :param end_ids: Tokens that end a text, and are no part of it.
        :param rows: Texts in the batch.
        """
        self._decoder, self._head = decoder, codec.backbone.output_embeddings
        self._z_embedding, self._z_head, self._end_ids = z_embedding, z_head, end_ids
        self._decompressor = IncrementalDecompressor(codec.backbone, codec.heads, rows)

    @torch.no_grad()
    def next(self, samplers: Sequence[Sampler], hidden: Tensor) -> tuple[list[StepOutput], Tensor]:
        """Choose the next Z-token of each row, and restore the span before it."""
        anchors = sample(samplers, hidden @ self._head.T)
        embedded = self._decoder.embed_tokens(torch.tensor(anchors, device=hidden.device))
        gaps, codes = self._z_head.choose(hidden, embedded)
        tokens = [
            None if anchor in self._end_ids else ZToken(anchor, gap, tuple(code))
            for anchor, gap, code in zip(anchors, gaps.tolist(), codes.tolist(), strict=True)
        ]
        outputs = [
            StepOutput(ids, z_tokens=1, expansion_passes=len(ids) - 1) if token else StepOutput([anchor])
            for token, anchor, ids in zip(tokens, anchors, self._decompressor.extend(tokens), strict=True)
        ]
        return outputs, self._z_embedding(embedded, gaps, codes)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self._decompressor.keep_rows(rows)
