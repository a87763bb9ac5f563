"""Generate text for many prompts at a time, with a key-value cache.

    prefill   prompts in passes of at most PASS positions, padded on the right; the padding is rolled back, so that each
              row of the cache has its own length and no position is spent on padding. A single pass over eight prompts
              of 1,200 to 2,300 positions took 69 s on two cores; one by one, they took 27 s
    step      logits ─► the next token of every row ─► the logits after it; finished rows leave the batch
    text      tokens ─► Detokenizer (whole characters) ─► StopFinder (nothing of a stop string) ─► text to show

Rows do not affect each other. Their logits differ from those of a row alone by rounding (about 1e-5), so greedy texts
are the same unless two tokens are that close. Every row draws its own random numbers, one per token: a text depends on
its seed, not on what is generated beside it.

This is the only generation loop. `Reader` runs it on prompts of text and Z-tokens; any other caller embeds its own
prompts:

    generator = BatchGenerator(decoder, head, decode, end_ids)
    for advance in generator.run([Request(embedded, GenerateOptions.of(max_new_tokens=16))]): ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zprompt.errors import OptionError
from zprompt.llm import KeyValueCache, LlamaDecoder, OnnxDecoder
from zprompt.options import real_number, whole_number
from zprompt.reader.results import FinishReason

MAX_NEW_TOKENS = 256
PASS = 2048  # positions per pass over several prompts; larger passes are slower, since their memory is allocated anew
_SEEDS = range(-(1 << 63), 1 << 63)
_INCOMPLETE = "\ufffd"  # what bytes decode to that are no character, or not yet


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen from the logits.

    Temperature 0 takes the most likely token. Otherwise one is drawn from softmax(logits / temperature), among the
    top_k most likely tokens, and among the fewest of these whose probabilities sum to top_p.
    """

    temperature: float = 0.0  # 0: always the most likely token
    top_p: float = 1.0  # total probability of the tokens to choose from; 1: all
    top_k: int = 0  # tokens to choose from; 0: all
    seed: int | None = None  # the same seed gives the same text; None: a new one each time

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            object.__setattr__(self, name, real_number(name, getattr(self, name)))
        object.__setattr__(self, "top_k", whole_number("top_k", self.top_k))
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise OptionError(f"temperature must be 0 (the most likely token) or more, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1 (all tokens), got {self.top_p}.")
        if self.top_k < 0:
            raise OptionError(f"top_k must be 0 (all tokens) or more, got {self.top_k}.")
        if self.seed is not None:
            object.__setattr__(self, "seed", whole_number("seed", self.seed))
            if self.seed not in _SEEDS:
                raise OptionError(f"seed must be a 64-bit integer or None, got {self.seed}.")


class GenerateKeywords(TypedDict, total=False):
    """The options of `Reader.generate`, `complete` and `answer`, as keywords."""

    max_new_tokens: int  # 256, or 64 for an answer
    temperature: float  # 0: always the most likely token
    top_p: float  # 1: all tokens
    top_k: int  # 0: all tokens
    stop: str | Sequence[str] | None  # the text ends before the first of these
    seed: int | None  # the same seed gives the same text


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """The options of `GenerateKeywords`, checked."""

    max_new_tokens: int = MAX_NEW_TOKENS
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    watched: int | None = None  # token whose probability of coming first is reported

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_new_tokens", whole_number("max_new_tokens", self.max_new_tokens))
        if self.max_new_tokens < 1:
            raise OptionError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")
        if "" in self.stops:
            raise OptionError("A stop string is empty, so every text would end before it begins. Leave it out.")

    @classmethod
    def of(cls, **options: Unpack[GenerateKeywords]) -> GenerateOptions:
        """Check keyword options; raise TypeError if any is unknown."""
        unknown = options.keys() - GenerateKeywords.__annotations__.keys()
        if unknown:
            raise TypeError(f"Unknown options {sorted(unknown)}. Allowed: {list(GenerateKeywords.__annotations__)}.")
        sampling = Sampling(
            options.get("temperature", 0.0),
            options.get("top_p", 1.0),
            options.get("top_k", 0),
            options.get("seed"),
        )
        stop = options.get("stop")
        stops = (stop,) if isinstance(stop, str) else () if stop is None else stop
        if not isinstance(stops, Sequence) or not all(isinstance(string, str) for string in stops):
            raise OptionError(f"stop must be a string or a sequence of strings, got {stop!r}.")
        return cls(options.get("max_new_tokens", MAX_NEW_TOKENS), sampling, tuple(stops))


class Sampler:
    """Chooses the tokens of one row, with its own random numbers."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def draw(self, logits: Tensor) -> int:
        """Draw a token from the logits, (V,), at a temperature above 0."""
        scaled = logits.to("cpu", torch.double) / self.sampling.temperature
        best = scaled.topk(min(self.sampling.top_k or len(scaled), len(scaled)))
        odds = best.values.softmax(0)
        preceding = odds.cumsum(0) - odds  # probability of the more likely tokens
        odds = odds.where(preceding < self.sampling.top_p, 0.0)
        drawn = torch.rand((), generator=self._random, dtype=torch.double) * odds.sum()
        index = int(torch.searchsorted(odds.cumsum(0), drawn, right=True))
        return int(best.indices[min(index, int((odds > 0).sum()) - 1)])


def sample(samplers: Sequence[Sampler], logits: Tensor) -> list[int]:
    """Choose the next token of each row from the logits, (B, V)."""
    tokens: list[int] = logits.argmax(-1).tolist()
    for row, sampler in enumerate(samplers):
        if sampler.sampling.temperature > 0:
            tokens[row] = sampler.draw(logits[row])
    return tokens


class Detokenizer:
    """Turns the tokens of one row into text, in whole characters."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        # Tokens decoded before the next ones: some decoders treat the first token of a text differently.
        self._context: list[int] = []
        self._shown = ""  # their text
        self._pending: list[int] = []

    def feed(self, token_id: int) -> str:
        """Add a token, and return the text that is certain now; it may be empty."""
        self._pending.append(token_id)
        text = self._decode(self._context + self._pending)
        return "" if text.endswith(_INCOMPLETE) else self._show(text)

    def finish(self) -> str:
        """Return the text held back; bytes that never became a character are replacement characters."""
        return self._show(self._decode(self._context + self._pending)) if self._pending else ""

    def _show(self, text: str) -> str:
        new = text[len(self._shown) :]
        if new:  # else the tokens have no text, as special tokens do, and the context stays
            self._context, self._shown = self._pending, self._decode(self._pending)
            self._pending = []
        return new


class StopFinder:
    """Cuts a text off before the first stop string that it completes."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Add text, and return what certainly comes before any stop string."""
        self._held += text
        # The first to be complete, so that the cut does not depend on how the text was split into pieces.
        ends = [(start + len(stop), start) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if ends:
            self.found = True
            self._held, shown = "", self._held[: min(ends)[1]]
            return shown
        return self._release(len(self._held) - self._overlap())

    def finish(self) -> str:
        """Return the text held back."""
        return self._release(len(self._held))

    def _overlap(self) -> int:
        """Return how many of the last characters may begin a stop string."""
        longest = max(map(len, self._stops), default=0) - 1
        sizes = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)

    def _release(self, size: int) -> str:
        shown, self._held = self._held[:size], self._held[size:]
        return shown


@dataclass(frozen=True, slots=True)
class Request:
    """A text to generate."""

    embedded: Tensor  # (T, D): input embeddings of the prompt, at least one position
    options: GenerateOptions = field(default_factory=GenerateOptions)


@dataclass(frozen=True, slots=True)
class Advance:
    """What one token adds to a text."""

    row: int  # index of the request
    text: str
    finish_reason: FinishReason | None  # None: the text goes on
    generated_tokens: int  # so far
    watched: float | None = None  # probability that the watched token comes first


class _Row:
    """One text that is being generated."""

    def __init__(
        self,
        index: int,
        options: GenerateOptions,
        decode: Callable[[list[int]], str],
        end_ids: frozenset[int],
        first: Tensor,
    ) -> None:
        self.sampler = Sampler(options.sampling)
        self._watched = None if options.watched is None else float(first.softmax(0)[options.watched])
        self._index, self._limit, self._end_ids = index, options.max_new_tokens, end_ids
        self._detokenizer, self._stop = Detokenizer(decode), StopFinder(options.stops)
        self._generated = 0

    def take(self, token: int) -> Advance:
        """Add a token."""
        self._generated += 1
        ended = token in self._end_ids
        text = "" if ended else self._stop.feed(self._detokenizer.feed(token))
        if (ended or self._generated == self._limit) and not self._stop.found:
            text += self._stop.feed(self._detokenizer.finish())
            text += "" if self._stop.found else self._stop.finish()
        return Advance(self._index, text, self._finish_reason(ended), self._generated, self._watched)

    def _finish_reason(self, ended: bool) -> FinishReason | None:
        if ended or self._stop.found:
            return "stop"
        return "length" if self._generated == self._limit else None


def _passes(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut a batch into runs of prompts: at most `PASS` positions with padding, or a single prompt."""
    first = longest = 0
    for row, length in enumerate(lengths):
        longest = max(longest, length)
        if row > first and longest * (row + 1 - first) > PASS:
            yield first, row
            first, longest = row, length
    yield first, len(lengths)


class BatchGenerator:
    """Generates texts in batches; keeps no state between calls, so it is thread-safe."""

    def __init__(
        self,
        decoder: LlamaDecoder | OnnxDecoder,
        head: Callable[[Tensor], Tensor],
        decode: Callable[[list[int]], str],
        end_ids: frozenset[int],
    ) -> None:
        """Build a generator from its parts.

        :param decoder: The model without its LM head.
        :param head: Returns the logits of hidden states, (B, V) for (B, D).
        :param decode: Returns the text of token ids.
        :param end_ids: Tokens that end a text, and are not part of it.
        """
        self._decoder, self._head = decoder, head
        self._decode, self._end_ids = decode, end_ids

    def run(self, requests: Sequence[Request], wanted: Callable[[int], bool] = lambda _: True) -> Iterator[Advance]:
        """Generate texts in one batch.

        :param requests: The texts to generate.
        :param wanted: Called after each step with the index of a text: whether it is to go on.
        :return: What each token adds to its text, as soon as it is known.
        :yields: What one token adds to one text.
        """
        cache = self._decoder.new_cache(len(requests))
        logits = self._prefill([request.embedded for request in requests], cache)
        rows = [
            _Row(index, request.options, self._decode, self._end_ids, first)
            for index, (request, first) in enumerate(zip(requests, logits, strict=True))
        ]
        while True:
            tokens = sample([row.sampler for row in rows], logits)
            advances = [row.take(token) for row, token in zip(rows, tokens, strict=True)]
            yield from advances
            active = [n for n, advance in enumerate(advances) if not advance.finish_reason and wanted(advance.row)]
            if not active:
                break
            if len(active) < len(rows):
                cache.keep_rows(torch.tensor(active))
                rows, tokens = [rows[n] for n in active], [tokens[n] for n in active]
            logits = self._step(tokens, cache)

    @torch.no_grad()
    def _prefill(self, prompts: Sequence[Tensor], cache: KeyValueCache) -> Tensor:
        """Run prompts of any lengths.

        :param prompts: (T, D) each.
        :param cache: An empty cache with a row for each.
        :return: (B, V), the logits after each.
        """
        lengths = [len(prompt) for prompt in prompts]
        cache.reserve(max(lengths))
        last: list[Tensor] = []
        for first, end in _passes(lengths):
            hidden = self._decoder.run(pad_sequence(list(prompts[first:end]), batch_first=True), cache.part(first, end))
            last += [row[length - 1] for row, length in zip(hidden, lengths[first:end], strict=True)]
        cache.lengths = torch.tensor(lengths)
        return self._head(torch.stack(last)).float()

    @torch.no_grad()
    def _step(self, tokens: Sequence[int], cache: KeyValueCache) -> Tensor:
        """Run one token of each row, and return the logits after it, (B, V)."""
        embed = self._decoder.embed_tokens
        embedded = embed(torch.tensor(tokens, device=embed.weight.device)[:, None]).float()
        hidden = self._decoder.run(embedded, cache)
        return self._head(hidden[:, -1]).float()
