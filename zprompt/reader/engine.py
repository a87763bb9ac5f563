"""Write texts: many prompts at a time, token by token, with a cache of keys and values.

    prefill   all prompts in one pass, the shorter ones padded on their right; the padding is rolled back, so each row
              of the cache has its own length, and no position is spent on it
    step      one token of every row; rows that are finished leave the batch

Rows see nothing of each other. Their logits differ from those of a row alone by rounding (about 1e-5), so greedy texts
are the same unless two tokens are as near to each other as that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zprompt.backbone.cache import KeyValueCache
from zprompt.backbone.llama import LlamaDecoder
from zprompt.reader.results import FinishReason
from zprompt.reader.sampling import Sampler, Sampling
from zprompt.reader.streaming import Detokenizer, StopFinder


@dataclass(frozen=True, slots=True)
class Request:
    """A text to write."""

    embedded: Tensor  # (T, D): the prompt, at least one position
    max_new_tokens: int
    sampling: Sampling
    stops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advance:
    """What one token, or one Z-token, added to a text."""

    row: int  # which request
    text: str
    finish_reason: FinishReason | None  # None: it goes on
    generated_tokens: int  # so far
    passes: int  # of the model, so far
    z_tokens: int = 0  # that it was written in, so far (zengine.py)
    expansion_passes: int = 0  # of the decompressor, so far


class Engine:
    """Runs a decoder; holds nothing between calls, so several threads may use it at a time."""

    def __init__(
        self, decoder: LlamaDecoder, head: Tensor, decode: Callable[[list[int]], str], end_ids: frozenset[int]
    ) -> None:
        """Put the parts together.

        :param decoder: The model without its head.
        :param head: (V, D) the LM head.
        :param decode: Gives the text of token ids.
        :param end_ids: Tokens that end a text, and are no part of it.
        """
        self._decoder, self._head = decoder, head
        self._decode, self._end_ids = decode, end_ids

    def run(
        self, requests: Sequence[Request], goes_on: Sequence[Callable[[], bool]] | None = None
    ) -> Iterator[Advance]:
        """Write texts together.

        :param requests: The texts to write, in one batch.
        :param goes_on: For each, what says after a token whether it is still wanted; None: all are.
        :return: What each token adds, as soon as it is known.
        :yields: What one token of one text adds.
        """
        rows = [Row(index, request, self._decode, self._end_ids) for index, request in enumerate(requests)]
        cache = self._decoder.new_cache(len(rows))
        logits = prefill(self._decoder, [request.embedded for request in requests], cache) @ self._head.T
        while True:
            tokens = choose([row.sampler for row in rows], logits)
            advances = [row.take(token) for row, token in zip(rows, tokens, strict=True)]
            yield from advances
            going = places_going(advances, goes_on)
            if not going:
                break
            if len(going) < len(rows):
                cache.keep_rows(torch.tensor(going))
                rows, tokens = [rows[place] for place in going], [tokens[place] for place in going]
            logits = self._step(tokens, cache)

    @torch.no_grad()
    def _step(self, tokens: Sequence[int], cache: KeyValueCache) -> Tensor:
        """Run one token of each row; give the logits after it, (B, V)."""
        ids = torch.tensor(tokens, device=self._head.device)[:, None]
        return self._decoder(ids, cache)[:, -1] @ self._head.T  # type: ignore[no-any-return]


class Row:
    """One text that is being written."""

    def __init__(
        self, index: int, request: Request, decode: Callable[[list[int]], str], end_ids: frozenset[int]
    ) -> None:
        """Start with no text.

        :param index: Which request it is.
        :param request: What is asked for.
        :param decode: Gives the text of token ids.
        :param end_ids: Tokens that end a text.
        """
        self.sampler = Sampler(request.sampling)
        self._index, self._limit, self._end_ids = index, request.max_new_tokens, end_ids
        self._detokenizer, self._stop = Detokenizer(decode), StopFinder(request.stops)
        self._generated = 0

    def take(self, token: int) -> Advance:
        """Add a token to the text.

        :param token: The token.
        :return: What it added.
        """
        self._generated += 1
        ended = token in self._end_ids
        text = "" if ended else self._stop.feed(self._detokenizer.feed(token))
        if (ended or self._generated == self._limit) and not self._stop.found:
            text += self._stop.feed(self._detokenizer.finish())
            text += "" if self._stop.found else self._stop.finish()
        return Advance(self._index, text, self._reason(ended), self._generated, self._generated)

    def _reason(self, ended: bool) -> FinishReason | None:
        if ended or self._stop.found:
            return "stop"
        return "length" if self._generated == self._limit else None


def places_going(advances: Sequence[Advance], goes_on: Sequence[Callable[[], bool]] | None) -> list[int]:
    """Say which rows of a batch go on after an advance of each.

    :param advances: What each row came to.
    :param goes_on: For each text, what says whether it is still wanted; None: all are.
    :return: Their places in the batch.
    """
    return [
        place
        for place, advance in enumerate(advances)
        if advance.finish_reason is None and (goes_on is None or goes_on[advance.row]())
    ]


@torch.no_grad()
def prefill(decoder: LlamaDecoder, prompts: Sequence[Tensor], cache: KeyValueCache) -> Tensor:
    """Run prompts of any lengths in one pass.

    :param decoder: The model without its head.
    :param prompts: (T, D) each.
    :param cache: An empty cache with a row for each.
    :return: (B, D), the hidden state after each.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    hidden = decoder.run(pad_sequence(list(prompts), batch_first=True), cache)
    cache.rollback(lengths)
    return hidden[torch.arange(len(prompts)), lengths - 1]


def choose(samplers: Sequence[Sampler], logits: Tensor) -> list[int]:
    """Choose the next token of each text.

    :param samplers: How, for each.
    :param logits: (B, V).
    :return: The tokens.
    """
    tokens: list[int] = logits.argmax(-1).tolist()
    for place, sampler in enumerate(samplers):
        if not sampler.greedy:
            tokens[place] = sampler.draw(logits[place])
    return tokens
