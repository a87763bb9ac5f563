"""Write texts in Z-tokens: the reader's passes become fewer, the decompressor does the rest.

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

import torch
from torch import Tensor

from zprompt.backbone.cache import KeyValueCache
from zprompt.backbone.llama import LlamaDecoder
from zprompt.codec.codec import Codec
from zprompt.codec.vocabulary import ZToken
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.engine import Advance, Request, Row, choose, places_going, prefill
from zprompt.reader.expansion import Expander
from zprompt.reader.writing import ZWriter


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
