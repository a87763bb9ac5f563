"""Measure time to first token and cache size, with passages as Z-tokens and as text.

    speed-up           time to first token with text / with Z-tokens; with compression: / (compression + with Z-tokens)
    positions ratio    positions of the prompt with text / with Z-tokens: about the largest possible speed-up; it can be
                       a little larger, since attention takes time with the square of the length

Time to first token is that of `Reader.generate` with one new token: read the prompt, embed, prefill, choose. The ways
are run in turn, round after round; figures are medians, and a speed-up is the median of the rounds' speed-ups. Bytes
are those of the cache's own tensors after the prompt.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.common import Range, Row, Tables, compress, figures
from benchmarks.readers import FoundReader
from zprompt import Codec
from zprompt.llm import llama_of
from zprompt.reader import Message, Reader, ZEmbedding, load_reader, question_messages

QUESTION = "What are the passages about?"
BAR = 0.7  # speed-up per positions ratio


@dataclass(frozen=True, slots=True)
class PrefillPlan:
    """How much is timed."""

    tokens: tuple[int, ...] = (1000, 2000, 4000, 8000)  # source tokens of the passages ...
    positions: int = 8000  # ... which are fewer where the prompt would take more than this
    passage: int = 400  # source tokens of one passage
    ratios: tuple[float | None, ...] = (None, 8.0)  # None: what `compress` gives without a ratio
    rounds: int = 3


@dataclass(slots=True)
class _Timed:
    """A way of giving passages, with its measurements so far."""

    name: str
    ratio: float | None
    messages: Sequence[Message]
    seconds: list[float]
    compressing: list[float]
    cache_bytes: int = 0


def measure(codec: Codec, found: FoundReader, prose: str, plan: PrefillPlan) -> Iterator[Tables]:
    """Measure length after length, and yield all results so far after each.

    :param codec: The codec.
    :param found: The reader of Z-tokens; if there is none, an untrained one takes the same time.
    :param prose: A text to cut passages from.
    :param plan: Lengths, ratios and rounds.
    :yields: All results so far.
    """
    if found.problem or found.folder is None:
        embedding = ZEmbedding(codec.backbone.hidden_size).eval().to(codec.backbone.device)
        reader, name = Reader(codec, llama_of(codec.backbone), embedding, "untrained"), "untrained"
    else:
        reader, name = load_reader(found.folder, codec=codec), found.folder
    dtype = str(reader.decoder.new_cache(1).layer(0).dtype).removeprefix("torch.")
    run = {"threads": torch.get_num_threads(), "reader": name, "cache dtype": dtype, "rounds": plan.rounds}
    ways: list[Row] = []
    for tokens in plan.tokens:
        ways += measure_size(reader, prose, tokens, plan)
        yield {"run": [run], "ways": ways}


def measure_size(reader: Reader, prose: str, tokens: int, plan: PrefillPlan) -> list[Row]:
    """Measure passages of `tokens` source tokens together, or fewer if the prompt would be too long."""
    passages = fitting_passages(reader, prose, tokens, plan)
    codec, ways = reader.codec, [_Timed("text", None, _messages(passages), [], [])]
    for ratio in plan.ratios:
        name = "Z, usual ratio" if ratio is None else f"Z, ratio {ratio:g}"
        ways.append(_Timed(name, ratio, _messages(compress(codec, passages, ratio=ratio).documents), [], []))
    for way in ways:  # this is the warm-up, too
        way.cache_bytes = cache_bytes(reader, way.messages)
    for _ in range(plan.rounds):
        for way in ways:
            plain = way is ways[0]
            way.compressing.append(0.0 if plain else _seconds(partial(compress, codec, passages, ratio=way.ratio)))
            way.seconds.append(_seconds(partial(reader.generate, way.messages, max_new_tokens=1)))
    source = sum(len(reader.backbone.encode(passage)) for passage in passages)
    size = {"wanted tokens": tokens, "source tokens": source, "of passages": len(passages)}
    return [size | _sum_up(reader, way, ways[0]) for way in ways]


def fitting_passages(reader: Reader, prose: str, tokens: int, plan: PrefillPlan) -> list[str]:
    """Cut passages of `tokens` source tokens together out of a text, or as many as fit into a prompt."""
    ids = reader.backbone.encode(prose)
    ids *= 1 + tokens // len(ids)
    most = min(plan.positions, reader.max_positions - 1)
    while True:
        starts = range(0, tokens, plan.passage)
        passages = [reader.backbone.decode(ids[s : min(s + plan.passage, tokens)]) for s in starts]
        excess = reader.count(_messages(passages)).positions - most
        if excess <= 0:
            return passages
        tokens -= excess


@torch.no_grad()
def cache_bytes(reader: Reader, messages: Sequence[Message]) -> int:
    """Return the bytes of a prompt's keys and values, with the space that is allocated beyond it."""
    cache = reader.decoder.new_cache(1)
    reader.decoder.run(reader.embed(messages)[None], cache)
    return sum(cache.layer(index).nbytes for index in range(reader.decoder.shape.layers))


def _messages(passages: Sequence[str]) -> Sequence[Message]:
    return question_messages(QUESTION, list(passages))


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _sum_up(reader: Reader, way: _Timed, text: _Timed) -> Row:
    size, text_size = reader.count(way.messages), reader.count(text.messages)
    ratio = text_size.positions / size.positions
    alone = _speed_up(text.seconds, way.seconds)
    whole = _speed_up(text.seconds, [a + b for a, b in zip(way.seconds, way.compressing, strict=True)])
    return {
        "passages as": way.name,
        "positions": size.positions,  # of the whole prompt
        "Z-tokens": size.z_tokens,
        "ratio": ratio,
        "seconds": Range.of_rounds(way.seconds),
        "speed-up": alone,
        "/ ratio": alone.value / ratio,
        "compression": Range.of_rounds(way.compressing),
        "speed-up with it": whole,
        "cache, bytes": way.cache_bytes,
        "text's / this": text.cache_bytes / way.cache_bytes,
    }


def _speed_up(text: Sequence[float], seconds: Sequence[float]) -> Range:
    return Range.of_rounds(before / after for before, after in zip(text, seconds, strict=True))


COLUMNS = {
    **dict.fromkeys(("source tokens", "passages as", "positions"), ""),
    **dict.fromkeys(("ratio", "seconds", "speed-up", "/ ratio", "compression", "speed-up with it"), ".2f"),
    "cache, bytes": ",",
    "text's / this": ".2f",
}


def section(tables: Tables) -> Iterator[str]:
    """Write the table of lengths, line by line."""
    [run] = tables["run"]
    yield from ("## Time to first token, and cache", "")
    yield (
        f"Reader: {run['reader']} (an untrained one takes the same time); {run['threads']} threads; medians of "
        f"{run['rounds']} rounds in turn, in brackets the fastest and the slowest. Positions and their ratio are those "
        f"of the whole prompt. Wanted: speed-up / ratio of at least {BAR}. Cache: tensors of keys and values, "
        f"{run['cache dtype']}."
    )
    yield ""
    yield from figures(tables["ways"], COLUMNS)
