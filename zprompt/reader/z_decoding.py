"""Write Z-tokens: what the reader adds to an anchor that its LM head chose.

    anchor      a = the LM head's choice, from h, the hidden state where the Z-token is expected
    gap         g = argmax  gap · y                                   y = gelu(hidden(norm h) + anchor(norm E[a]))
    sub-code    c_m = argmax  out[role_m] · z_m                       m = 1 .. M, one after the other
                z_m = gelu(mid(y) + slot[g, m] + before[role_(m-1), c_(m-1)])

Roles are those of codec/layout.py: a sub-code's value means the same words in every span, so there is one table for
each role, and `slot` says where in which span. h is the reader's own, which stays as it is: only these heads are
trained (train/writer). A text in Z-tokens has no residual, so what a span says is the decompressor's first guess.

Expand Z-tokens to text while they are written.

A span can be restored as soon as the next anchor is known: so each Z-token gives the text of the span before it, and
its own anchor. This is the decompressor's decoding (codec/decompressor.py), whose cache is kept from one Z-token to the
next, with a residual of zeros: every dropped token is the first guess. What comes out is what `Decompressor.restore`
gives for all Z-tokens at once. A text is one window, however long: it never starts cold again.

Write texts in Z-tokens: the reader's passes become fewer, the decompressor does the rest.

    pass        the LM head chooses an anchor, the writer its gap and code (writing.py): one Z-token
    expansion   the span before the anchor, and the anchor, become text (expansion.py)
    step        the Z-token is read back through the Z-embedding, in one position

Options mean what they mean in text. A stop string and `max_new_tokens` count source tokens, and may end a text within a
span; a text of fewer tokens is the beginning of one of more. Sampling draws the anchors; gap and code are always the
most likely ones. A span needs an anchor after it: where the model ends the text instead, the last Z-token's gap counts
as 0, and nothing of its span is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zprompt.codec import Codec, CodecHeads, CodecSettings, Decompressor, KnownWindow, Plan, layout
from zprompt.llm import Backbone, KeyValueCache, LlamaDecoder
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.generate import Advance, Request, Row, choose, places_going, prefill
from zprompt.zspan import ZToken

WIDTH = 384  # hidden units


class ZWriter(nn.Module):
    """Chooses gap and code of a Z-token whose anchor is known."""

    roles: Tensor

    def __init__(self, settings: CodecSettings, hidden_size: int, width: int = WIDTH) -> None:
        """Make a writer with random weights.

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
        """Give y, from which gap and code are chosen.

        :param hidden: (N, D), the hidden states where the Z-tokens are expected.
        :param anchors: (N, D), the embeddings of their anchors.
        :return: (N, W).
        """
        size = hidden.shape[-1:]
        y = self.hidden(functional.layer_norm(hidden, size)) + self.anchor(functional.layer_norm(anchors, size))
        return functional.gelu(y)

    def gap_logits(self, features: Tensor) -> Tensor:
        """Weigh the gaps.

        :param features: (N, W).
        :return: (N, G + 1).
        """
        logits: Tensor = self.gap(features)
        return logits

    def subcode_logits(self, features: Tensor, gaps: Tensor, codes: Tensor, m: int) -> Tensor:
        """Weigh the values of one sub-code.

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
        """Choose gap and code of Z-tokens, the most likely ones.

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


class ZEngine:
    """Runs a decoder and a codec's decompressor; holds nothing between calls."""

    def __init__(
        self,
        codec: Codec,
        decoder: LlamaDecoder,
        z_embedding: ZEmbedding,
        writer: ZWriter,
        decode: Callable[[list[int]], str],
        end_ids: frozenset[int],
    ) -> None:
        """Put the parts together.

        :param codec: The codec whose Z-tokens are written.
        :param decoder: The reader's model without its head.
        :param z_embedding: What gaps and codes say to it.
        :param writer: What chooses them.
        :param decode: Gives the text of token ids.
        :param end_ids: Tokens that end a text, and are no part of it.
        """
        self._backbone, self._heads, self._head = codec.backbone, codec.heads, codec.backbone.output_embeddings
        self._decoder, self._z_embedding, self._writer = decoder, z_embedding, writer
        self._decode, self._end_ids = decode, end_ids

    def run(
        self, requests: Sequence[Request], goes_on: Sequence[Callable[[], bool]] | None = None
    ) -> Iterator[Advance]:
        """Write texts together.

        :param requests: The texts to write, in one batch.
        :param goes_on: For each, what says after a Z-token whether it is still wanted; None: all are.
        :return: What each Z-token adds, as soon as it is known.
        :yields: What one Z-token of one text adds.
        """
        rows = [_ZRow(Row(n, request, self._decode, self._end_ids)) for n, request in enumerate(requests)]
        expander = Expander(self._backbone, self._heads, len(rows))
        cache = self._decoder.new_cache(len(rows))
        hidden = prefill(self._decoder, [request.embedded for request in requests], cache)
        while True:
            tokens = self._choose(rows, hidden)
            ended = [token.anchor in self._end_ids for token in tokens]
            known = expander.take([None if end else token for token, end in zip(tokens, ended, strict=True)])
            advances = [
                row.take(token, end, ids, passes)
                for row, token, end, ids, passes in zip(rows, tokens, ended, known, expander.passes, strict=True)
            ]
            yield from advances
            going = places_going(advances, goes_on)
            if not going:
                break
            if len(going) < len(rows):
                cache.keep_rows(torch.tensor(going))
                expander.keep_rows(going)
                rows, tokens = [rows[place] for place in going], [tokens[place] for place in going]
            hidden = self._step(tokens, cache)

    @torch.no_grad()
    def _choose(self, rows: Sequence[_ZRow], hidden: Tensor) -> list[ZToken]:
        """Choose the next Z-token of each row from its hidden state, (B, D)."""
        anchors = choose([row.text.sampler for row in rows], hidden @ self._head.T)
        embedded = self._decoder.embed_tokens(torch.tensor(anchors, device=hidden.device))
        gaps, codes = self._writer.choose(hidden, embedded)
        chosen = zip(anchors, gaps.tolist(), codes.tolist(), strict=True)
        return [ZToken(anchor, gap, tuple(code)) for anchor, gap, code in chosen]

    @torch.no_grad()
    def _step(self, tokens: Sequence[ZToken], cache: KeyValueCache) -> Tensor:
        """Read one Z-token of each row; give the hidden state after it, (B, D)."""
        device = self._head.device
        anchors = self._decoder.embed_tokens(torch.tensor([token.anchor for token in tokens], device=device))
        gaps = torch.tensor([token.gap for token in tokens], device=device)
        codes = torch.tensor([token.code for token in tokens], device=device)
        return self._decoder.run(self._z_embedding(anchors, gaps, codes)[:, None], cache)[:, -1]


class _ZRow:
    """One text that is being written in Z-tokens."""

    def __init__(self, text: Row) -> None:
        """Start with no text.

        :param text: The text, token by token.
        """
        self.text = text
        self._passes = self._z_tokens = 0

    def take(self, token: ZToken, ended: bool, ids: Sequence[int], expansion_passes: int) -> Advance:
        """Add what a Z-token made known.

        :param token: The Z-token.
        :param ended: Whether its anchor ends the text.
        :param ids: The tokens of the span before it, and its anchor; none if it ends the text.
        :param expansion_passes: Of the decompressor, for this text so far.
        :return: What it added.
        """
        self._passes += 1
        self._z_tokens += not ended
        said = ""
        for token_id in [token.anchor] if ended else ids:
            advance = self.text.take(token_id)
            said += advance.text
            if advance.finish_reason:  # the rest of the span was not asked for
                break
        return replace(
            advance, text=said, passes=self._passes, z_tokens=self._z_tokens, expansion_passes=expansion_passes
        )
