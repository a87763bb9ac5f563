"""Choose the next token from the model's logits.

    temperature 0    the most likely one
    else             one drawn from softmax(logits / temperature), of the top_k most likely tokens, of the fewest
                     whose probabilities sum to top_p

A row draws its own random numbers, one a token, so what it says depends on its seed and on no other row.

What to ask of a text that is to be written.

Turn tokens into text as they come, without taking anything back.

Two things hold a piece of text back: a character whose bytes have not all come, and the beginning of a stop string.

    tokens ─► Detokenizer (whole characters) ─► StopFinder (nothing of a stop string) ─► text to show

Write texts: many prompts at a time, token by token, with a cache of keys and values.

    prefill   all prompts in one pass, the shorter ones padded on their right; the padding is rolled back, so each row
              of the cache has its own length, and no position is spent on it
    step      one token of every row; rows that are finished leave the batch

Rows see nothing of each other. Their logits differ from those of a row alone by rounding (about 1e-5), so greedy texts
are the same unless two tokens are as near to each other as that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypedDict, Unpack, get_args

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zprompt.errors import OptionError
from zprompt.llm import KeyValueCache, LlamaDecoder
from zprompt.reader.results import FinishReason

_SEEDS = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float = 0.0  # 0: always the most likely token
    top_p: float = 1.0  # probability that the tokens to choose from have together; 1: all
    top_k: int = 0  # tokens to choose from; 0: all
    seed: int | None = None  # the same seed gives the same text; None: another one each time

    def __post_init__(self) -> None:
        """Refuse what nothing can be drawn with."""
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise OptionError(f"temperature must be 0 (the most likely token) or more, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1 (all tokens), got {self.top_p}.")
        if self.top_k < 0:
            raise OptionError(f"top_k must be 0 (all tokens) or more, got {self.top_k}.")
        if self.seed is not None and self.seed not in _SEEDS:
            raise OptionError(f"seed must be a whole number of 64 bits or None, got {self.seed}.")


class Sampler:
    """Draws the tokens of one row."""

    def __init__(self, sampling: Sampling) -> None:
        """Start a row's random numbers.

        :param sampling: How tokens are chosen.
        """
        self.sampling = sampling
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    @property
    def greedy(self) -> bool:
        """Say whether it is always the most likely token: then `draw` is not needed."""
        return self.sampling.temperature == 0

    def draw(self, logits: Tensor) -> int:
        """Choose a token.

        :param logits: (V,).
        :return: Its id.
        """
        scaled = logits.to("cpu", torch.double) / self.sampling.temperature
        best = scaled.topk(min(self.sampling.top_k or len(scaled), len(scaled)))
        odds = best.values.softmax(0)
        before = odds.cumsum(0) - odds  # of the tokens that are more likely
        odds = odds.where(before < self.sampling.top_p, 0.0)
        drawn = torch.rand((), generator=self._random, dtype=torch.double) * odds.sum()
        place = int(torch.searchsorted(odds.cumsum(0), drawn, right=True))
        return int(best.indices[min(place, int((odds > 0).sum()) - 1)])


MAX_NEW_TOKENS = 256

Space: TypeAlias = Literal["text", "z"]
"""What a text is written in: tokens, or Z-tokens that the codec's decompressor expands."""


class Options(TypedDict, total=False):
    """The options of `Reader.generate`, `complete` and `answer`, as keywords."""

    max_new_tokens: int  # 256, or 64 for an answer
    temperature: float  # 0: always the most likely token
    top_p: float  # 1: all tokens
    top_k: int  # 0: all tokens
    stop: str | Sequence[str]  # the text ends before the first of these
    seed: int | None  # the same seed gives the same text
    space: Space  # "text"; "z" writes Z-tokens, for which the reader needs a writer


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """The same, checked."""

    max_new_tokens: int = MAX_NEW_TOKENS
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    space: Space = "text"

    def __post_init__(self) -> None:
        """Refuse what no text can meet."""
        if self.max_new_tokens < 1:
            raise OptionError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")
        if "" in self.stops:
            raise OptionError("A stop string is empty: every text would end before it began. Leave it out.")
        if self.space not in get_args(Space):
            raise OptionError(f"space must be one of {get_args(Space)}, got {self.space!r}.")

    @classmethod
    def of(cls, **options: Unpack[Options]) -> GenerateOptions:
        """Read keywords.

        :param options: The options.
        :return: The same, checked.
        :raises TypeError: If there is no such option.
        """
        unknown = options.keys() - Options.__annotations__.keys()
        if unknown:
            raise TypeError(f"Unknown options {sorted(unknown)}. Known are {list(Options.__annotations__)}.")
        stop = options.get("stop", ())
        return cls(
            options.get("max_new_tokens", MAX_NEW_TOKENS),
            Sampling(
                options.get("temperature", 0.0),
                options.get("top_p", 1.0),
                options.get("top_k", 0),
                options.get("seed"),
            ),
            (stop,) if isinstance(stop, str) else tuple(stop),
            options.get("space", "text"),
        )


_INCOMPLETE = "\ufffd"  # what decoding gives for bytes that are no character, or not yet


class Detokenizer:
    """Gives the text of a row's tokens, character by character."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        """Start with nothing said.

        :param decode: Gives the text of token ids.
        """
        self._decode = decode
        # Tokens that the next ones are decoded with: some decoders treat the first token of a text in another way.
        self._context: list[int] = []
        self._shown = ""  # text of these
        self._pending: list[int] = []

    def feed(self, token_id: int) -> str:
        """Take the next token.

        :param token_id: The token.
        :return: The text that is certain now, perhaps none.
        """
        self._pending.append(token_id)
        text = self._decode(self._context + self._pending)
        return "" if text.endswith(_INCOMPLETE) else self._show(text)

    def finish(self) -> str:
        """Take no more tokens.

        :return: The text that was held back; bytes that never became a character are replacement characters.
        """
        return self._show(self._decode(self._context + self._pending)) if self._pending else ""

    def _show(self, text: str) -> str:
        new = text[len(self._shown) :]
        if new:  # else the tokens have no text of their own, as special tokens, and the context stays
            self._context, self._shown = self._pending, self._decode(self._pending)
            self._pending = []
        return new


class StopFinder:
    """Cuts a text off before the first stop string that it completes."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Start with no text.

        :param stops: The stop strings, none of them empty.
        """
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Take the next piece of text.

        :param text: The piece.
        :return: What is certain to come before any stop string.
        """
        self._held += text
        # The one that is complete first, so that the cut does not depend on how the text came in pieces.
        ends = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.found = True
            self._held, shown = "", self._held[: min(ends)[1]]
            return shown
        return self._release(len(self._held) - self._open())

    def finish(self) -> str:
        """Take no more text.

        :return: What was held back.
        """
        return self._release(len(self._held))

    def _open(self) -> int:
        """Count the last characters that may be the beginning of a stop string."""
        longest = max(map(len, self._stops), default=0) - 1
        sizes = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)

    def _release(self, size: int) -> str:
        shown, self._held = self._held[:size], self._held[size:]
        return shown


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
