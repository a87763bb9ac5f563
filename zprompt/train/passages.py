"""Passages of training text, and their Z-tokens, which are stored.

    text ─► whole paragraphs, as many as fit ─► passage ─► Z-span ─► TiledPassage: Z-tokens over source tokens

Compressing passages anew in each step would take a third of the time. The store is a file of JSON lines: the first
names the codec, each other one has a passage, its ratio and its Z-span. It grows by a few passages at a time, so that
an interrupted run continues where it stopped.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zprompt.codec import Codec
from zprompt.errors import CheckpointError, TrainingDataError
from zprompt.options import CompressOptions
from zprompt.train.packing import Ints
from zprompt.zspan import ZToken, find_spans

CHUNK = 16  # passages that are compressed at a time

Encode = Callable[[str], tuple[list[int], list[tuple[int, int]]]]  # token ids, and the characters of each
CountReport = Callable[[int, int], None]  # passages done, passages in all


def cut_passages(texts: Sequence[str], encode: Encode, least: int, most: int, count: int, seed: int) -> list[str]:
    """Cut passages out of texts.

    :param texts: The texts; blank lines end their paragraphs.
    :param encode: The backbone's tokenizer, with offsets.
    :param least: Tokens of a passage, at least.
    :param most: Tokens of a passage, at most.
    :param count: Passages wanted.
    :param seed: Seed of the choice.
    :return: The passages, each once; fewer than `count` if there are no more.
    :raises TrainingDataError: If there is none.
    """
    random = np.random.default_rng(seed)
    passages: dict[str, None] = {}
    for index in random.permutation(len(texts)):
        passages.update(dict.fromkeys(_passages_of(texts[index], encode, least, most)))
        if len(passages) >= 2 * count:  # more than wanted, so that one long text cannot be most of them
            break
    if not passages:
        raise TrainingDataError(f"No text has {least} tokens. Pass longer texts, or ask for shorter passages.")
    distinct = list(passages)
    return [distinct[index] for index in random.permutation(len(distinct))[:count]]


def _passages_of(text: str, encode: Encode, least: int, most: int) -> Iterator[str]:
    """Join as many paragraphs as fit; one that is too long by itself is cut."""
    joined: list[str] = []
    tokens = 0
    for paragraph in (block.strip() for block in text.split("\n\n") if block.strip()):
        ids, offsets = encode(paragraph)
        if tokens + len(ids) + 1 > most:
            if tokens >= least:
                yield "\n\n".join(joined)
            joined, tokens = [], 0
        if len(ids) > most:
            yield paragraph[: offsets[most - 2][1]]  # one token to spare: the cut text may tokenize differently
            continue
        joined.append(paragraph)
        tokens += len(ids) + 1
    if tokens >= least:
        yield "\n\n".join(joined)


@dataclass(frozen=True, slots=True, eq=False)
class TiledPassage:
    """A passage in Z-tokens."""

    text: str
    span: str  # the Z-span
    ids: Ints  # (n,) its source tokens
    tokens: tuple[ZToken, ...]
    starts: Ints  # (z,) index of each anchor in ids
    surprisal: NDArray[np.float32] | None = None  # (n,) -log p of each token under the LLM, if pruning needs it

    @property
    def edges(self) -> Ints:
        """Return where the passage can be cut, (z + 1,): the index of each anchor in ids, and the end."""
        return np.append(self.starts, len(self.ids))

    def part(self, first: int, last: int) -> "TiledPassage":
        """Cut out the Z-tokens from `first` up to `last`, as a passage without a text."""
        edges = self.edges
        run = slice(edges[first], edges[last])
        surprisal = None if self.surprisal is None else self.surprisal[run]
        starts = self.starts[first:last] - run.start
        return TiledPassage("", "", self.ids[run], self.tokens[first:last], starts, surprisal)


def tile_passage(text: str, span: str, codec: Codec) -> TiledPassage | None:
    """Lay a passage's Z-tokens over its source tokens.

    :param text: The passage.
    :param span: Its Z-span, or whatever the codec returned for it.
    :param codec: The codec.
    :return: The tiled passage; None if it passed through, or had to be escaped before it was compressed.
    """
    if next(find_spans(span), None) is None:
        return None
    tokens = codec.parse(span).tokens
    ids = np.array(codec.backbone.encode(text), np.int64)
    lengths = np.array([token.gap + 1 for token in tokens], np.int64)
    starts = np.cumsum(lengths) - lengths
    if lengths.sum() != len(ids) or any(ids[start] != t.anchor for start, t in zip(starts, tokens, strict=True)):
        return None
    return TiledPassage(text, span, ids, tokens, starts)


class PassageStore:
    """The Z-spans of all passages of a run, in a file."""

    def __init__(self, path: Path, codec: Codec) -> None:
        """Open the file, or start it.

        :param path: The file.
        :param codec: The codec that compresses the passages.
        :raises CheckpointError: If the file is another codec's.
        """
        self.path, self.codec = path, codec
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = list(_whole_rows(path)) or [{"codec": codec.fingerprint}]
        if rows[0]["codec"] != codec.fingerprint:
            raise CheckpointError(
                f"{path} was made with the codec {rows[0]['codec']}, but {codec.fingerprint} is loaded. Choose another "
                "folder with --cache or --out."
            )
        self._spans = {(row["text"], row["ratio"]): row["span"] for row in rows[1:]}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")  # without a line that was cut off

    def tile(
        self, texts: Sequence[str], ratios: Sequence[float], report: CountReport | None = None
    ) -> list[TiledPassage]:
        """Tile passages, each at one of some ratios.

        :param texts: The passages.
        :param ratios: Source tokens per Z-token.
        :param report: Called with passages done and passages in all, when some are compressed.
        :return: The passages, in order, each once; without those that `tile_passage` returns None for.
        """
        wanted = [(text, _choose(text, ratios)) for text in dict.fromkeys(texts)]
        missing = [(text, ratio) for text, ratio in wanted if (text, ratio) not in self._spans]
        done = 0
        for ratio in dict.fromkeys(ratios):
            group = [text for text, chosen in missing if chosen == ratio]
            for start in range(0, len(group), CHUNK):
                chunk = group[start : start + CHUNK]
                self._compress(chunk, ratio)
                done += len(chunk)
                if report:
                    report(done, len(missing))
        return self._tiled([text for text, _ in wanted], [ratio for _, ratio in wanted])

    def _compress(self, texts: list[str], ratio: float) -> None:
        """Compress passages, and append them to the file."""
        options = CompressOptions(ratio, on_error="passthrough")
        spans = self.codec.compress_with(options, texts).documents  # if a ratio is out of reach, the nearest will do
        with self.path.open("a", encoding="utf-8") as file:
            for text, span in zip(texts, spans, strict=True):
                self._spans[text, ratio] = span
                file.write(json.dumps({"text": text, "ratio": ratio, "span": span}) + "\n")

    def _tiled(self, texts: Sequence[str], ratios: Sequence[float]) -> list[TiledPassage]:
        tiled = (
            tile_passage(text, self._spans[text, ratio], self.codec) for text, ratio in zip(texts, ratios, strict=True)
        )
        return [passage for passage in tiled if passage is not None]


def _choose(text: str, ratios: Sequence[float]) -> float:
    """Choose a passage's ratio, the same in every run."""
    return ratios[int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % len(ratios)]


def _whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the complete rows of a file, the last of which may be cut off."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            yield json.loads(line)
