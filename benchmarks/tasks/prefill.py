"""Measure the time to first token, and the cache, with passages as Z-tokens and as text.

    speed-up           time to first token with text / with Z-tokens; with compression: / (compression + with Z-tokens)
    positions ratio    positions of the prompt with text / with Z-tokens: what the speed-up can be at most, or a little
                       more, since attention takes time with the square of the length

Time to first token is that of `Reader.generate` with one new token: read the prompt, embed, prefill, choose. What is
compared is run in turn, round after round; figures are medians, and a speed-up is the median of the rounds'. Bytes are
those of the cache's own tensors after the prompt.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmarks.plan import ReaderPlan
from benchmarks.readers import FoundReader
from zprompt import Codec
from zprompt.llm import llama_of
from zprompt.reader import Message, Reader, ZEmbedding, load_reader, question_messages

QUESTION = "What are the passages about?"
BAR = 0.7  # speed-up per positions ratio


@dataclass(frozen=True, slots=True)
class Way:
    """Passages given in one way."""

    name: str
    positions: int  # of the whole prompt
    z_tokens: int  # of these positions; 0 for text
    seconds: float  # to the first token, median
    fastest: float
    slowest: float
    compression_seconds: float  # median; 0 for text
    cache_bytes: int
    positions_ratio: float  # positions of the prompt with text, per this one's
    speed_up: float
    speed_up_per_ratio: float
    speed_up_with_compression: float
    speed_up_with_compression_per_ratio: float
    cache_ratio: float


@dataclass(frozen=True, slots=True)
class PrefillSize:
    """Passages of one length, in all ways."""

    wanted_tokens: int
    source_tokens: int  # of the passages
    passages: int
    rounds: int
    ways: tuple[Way, ...]  # text first


@dataclass(frozen=True, slots=True)
class Prefill:
    """All that was found so far."""

    threads: int
    reader: str  # its folder, or "untrained"
    cache_dtype: str
    sizes: tuple[PrefillSize, ...]


@dataclass(slots=True)
class _Timed:
    """A way while it is measured."""

    name: str
    ratio: float | None
    messages: Sequence[Message]
    seconds: list[float]
    compressing: list[float]
    cache_bytes: int = 0


def measure(codec: Codec, found: FoundReader, prose: str, plan: ReaderPlan) -> Iterator[Prefill]:
    """Measure length after length.

    :param codec: The codec.
    :param found: The reader of Z-tokens; if there is none, an untrained one takes the same time.
    :param prose: A text to take passages of.
    :param plan: Lengths, ratios and rounds.
    :yields: All that was found so far, after each length.
    """
    if found.problem or found.folder is None:
        embedding = ZEmbedding(codec.settings, codec.backbone.hidden_size).eval().to(codec.backbone.device)
        reader, name = Reader(codec, llama_of(codec.backbone), embedding, "untrained"), "untrained"
    else:
        reader, name = load_reader(found.folder, codec=codec), found.folder
    sizes: list[PrefillSize] = []
    for tokens in plan.prefill_tokens:
        sizes.append(measure_size(reader, prose, tokens, plan))
        dtype = str(reader.decoder.new_cache(1).layer(0).dtype).removeprefix("torch.")
        yield Prefill(torch.get_num_threads(), name, dtype, tuple(sizes))


def measure_size(reader: Reader, prose: str, tokens: int, plan: ReaderPlan) -> PrefillSize:
    """Measure passages of one length.

    :param reader: The reader.
    :param prose: A text to take passages of.
    :param tokens: Source tokens of all passages together; fewer if the prompt would be too long.
    :param plan: Ratios and rounds.
    :return: The figures.
    """
    passages = fitting_passages(reader, prose, tokens, plan)
    codec, ways = reader.codec, [_Timed("text", None, _messages(passages), [], [])]
    for ratio in plan.prefill_ratios:
        name = "Z, usual ratio" if ratio is None else f"Z, ratio {ratio:g}"
        ways.append(_Timed(name, ratio, _messages(codec.compress(passages, ratio=ratio).documents), [], []))
    for way in ways:  # which warms up, too
        way.cache_bytes = cache_bytes(reader, way.messages)
    for _ in range(plan.rounds):
        for way in ways:
            compress = _compressing(reader, passages, way) if way is not ways[0] else None
            way.compressing.append(_seconds(compress) if compress else 0.0)
            way.seconds.append(_seconds(_reading(reader, way)))
    source = sum(len(reader.backbone.encode(passage)) for passage in passages)
    return PrefillSize(tokens, source, len(passages), plan.rounds, tuple(_sum_up(reader, way, ways[0]) for way in ways))


def fitting_passages(reader: Reader, prose: str, tokens: int, plan: ReaderPlan) -> list[str]:
    """Cut passages out of a text.

    :param reader: The reader.
    :param prose: The text; it is repeated if it is too short.
    :param tokens: Source tokens of all passages together.
    :param plan: How long a passage is, and the most that a prompt takes.
    :return: As many passages as fit.
    """
    ids = reader.backbone.encode(prose)
    ids *= 1 + tokens // len(ids)
    most = min(plan.prefill_positions, reader.max_positions - 1)
    while True:
        starts = range(0, tokens, plan.prefill_passage)
        passages = [reader.backbone.decode(ids[s : min(s + plan.prefill_passage, tokens)]) for s in starts]
        excess = reader.count(_messages(passages)).positions - most
        if excess <= 0:
            return passages
        tokens -= excess


@torch.no_grad()
def cache_bytes(reader: Reader, messages: Sequence[Message]) -> int:
    """Count the bytes of the keys and values of a prompt.

    :param reader: The reader.
    :param messages: The prompt.
    :return: Bytes of the cache's tensors, room that was made ahead included.
    """
    cache = reader.decoder.new_cache(1)
    reader.decoder.run(reader.embed(messages)[None], cache)
    return sum(cache.layer(index).nbytes for index in range(reader.decoder.shape.layers))


def _messages(passages: Sequence[str]) -> Sequence[Message]:
    return question_messages(QUESTION, list(passages))


def _reading(reader: Reader, way: _Timed) -> Callable[[], object]:
    return lambda: reader.generate(way.messages, max_new_tokens=1)


def _compressing(reader: Reader, passages: Sequence[str], way: _Timed) -> Callable[[], object]:
    return lambda: reader.codec.compress(list(passages), ratio=way.ratio)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _sum_up(reader: Reader, way: _Timed, text: _Timed) -> Way:
    """Compare a way with text."""
    size, text_size = reader.count(way.messages), reader.count(text.messages)
    ratio = text_size.positions / size.positions
    alone = _speed_up(text.seconds, way.seconds)
    whole = _speed_up(text.seconds, [a + b for a, b in zip(way.seconds, way.compressing, strict=True)])
    return Way(
        name=way.name,
        positions=size.positions,
        z_tokens=size.z_tokens,
        seconds=statistics.median(way.seconds),
        fastest=min(way.seconds),
        slowest=max(way.seconds),
        compression_seconds=statistics.median(way.compressing),
        cache_bytes=way.cache_bytes,
        positions_ratio=ratio,
        speed_up=alone,
        speed_up_per_ratio=alone / ratio,
        speed_up_with_compression=whole,
        speed_up_with_compression_per_ratio=whole / ratio,
        cache_ratio=text.cache_bytes / way.cache_bytes,
    )


def _speed_up(text: Sequence[float], own: Sequence[float]) -> float:
    return statistics.median(its / mine for its, mine in zip(text, own, strict=True))
