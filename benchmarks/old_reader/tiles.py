"""Z-tokens of passages, made once and kept: making them anew in each step would take a third of the time.

A file of JSON lines: the first names the codec, each other one has a passage, its ratio, the question that it was
compressed with, if any, and its Z-span. It grows by a few passages at a time, so that a stopped run goes on where it
was.
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
from zprompt.errors import CheckpointError
from benchmarks.old_reader.positions import Ints
from zprompt.zspan import ZToken, find_spans, parse_span

CHUNK = 16  # passages that are compressed at a time

Report = Callable[[int, int], None]  # passages done, passages in all


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A passage in Z-tokens."""

    text: str
    span: str  # the Z-span
    ids: Ints  # (n,) its source tokens
    tokens: tuple[ZToken, ...]
    starts: Ints  # (z,) place of each anchor in ids
    surprisal: NDArray[np.float32] | None = None  # (n,) how little the LLM expected each token, if that is needed

    @property
    def edges(self) -> Ints:
        """Say where the passage can be cut.

        :return: (z + 1,), the place of each anchor, and the end.
        """
        return np.append(self.starts, len(self.ids))

    def part(self, first: int, last: int) -> "Tile":
        """Cut a run of Z-tokens out.

        :param first: The first Z-token of the run.
        :param last: One past its last.
        :return: A tile of its own, without a text.
        """
        edges = self.edges
        run = slice(edges[first], edges[last])
        surprisal = None if self.surprisal is None else self.surprisal[run]
        return Tile("", "", self.ids[run], self.tokens[first:last], self.starts[first:last] - run.start, surprisal)


def parse_tokens(span: str, codec: Codec) -> tuple[ZToken, ...]:
    """Read the Z-tokens of a Z-span.

    :param span: The Z-span.
    :param codec: The codec that wrote it.
    :return: The Z-tokens.
    """
    return parse_span(span, codec.alphabet, codec.fingerprint).tokens


def make_tile(text: str, span: str, codec: Codec) -> Tile | None:
    """Lay a passage's Z-tokens over its source tokens.

    :param text: The passage.
    :param span: Its Z-span, or whatever the codec gave for it.
    :param codec: The codec.
    :return: The tile; None if it passed through, or had to be escaped before it was compressed.
    """
    if next(find_spans(span), None) is None:
        return None
    tokens, ids = parse_tokens(span, codec), np.array(codec.backbone.encode(text), np.int64)
    lengths = np.array([token.gap + 1 for token in tokens], np.int64)
    starts = np.cumsum(lengths) - lengths
    if lengths.sum() != len(ids) or any(ids[start] != t.anchor for start, t in zip(starts, tokens, strict=True)):
        return None
    return Tile(text, span, ids, tokens, starts)


class TileStore:
    """The tiles of all passages of a run, in a file."""

    def __init__(self, path: Path, codec: Codec) -> None:
        """Open the file, or start it.

        :param path: Where it is.
        :param codec: What makes the Z-tokens.
        :raises CheckpointError: If the file is another codec's.
        """
        self.path, self.codec = path, codec
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = list(_whole_rows(path)) or [{"codec": codec.fingerprint}]
        if rows[0]["codec"] != codec.fingerprint:
            raise CheckpointError(
                f"{path} was made with the codec {rows[0]['codec']}, but {codec.fingerprint} is loaded. Choose another "
                "folder by --cache or --out."
            )
        self._spans = {(row["text"], row["ratio"], row.get("query")): row["span"] for row in rows[1:]}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")  # without what was cut off

    def tiles(self, texts: Sequence[str], ratios: Sequence[float | None], report: Report | None = None) -> list[Tile]:
        """Give the tiles of passages, each at one of some ratios.

        :param texts: The passages.
        :param ratios: Source tokens per Z-token; None is what `compress` gives without a ratio.
        :param report: Called with passages done and passages in all, when some were made.
        :return: Their tiles, in order; without those of passages that do not survive tokenization as they are.
        """
        wanted = [(text, _choose(text, ratios)) for text in dict.fromkeys(texts)]
        missing = [(text, ratio) for text, ratio in wanted if (text, ratio, None) not in self._spans]
        done = 0
        for ratio in dict.fromkeys(ratios):
            group = [text for text, its_ratio in missing if its_ratio == ratio]
            for start in range(0, len(group), CHUNK):
                chunk = group[start : start + CHUNK]
                self._add(chunk, ratio)
                done += len(chunk)
                if report:
                    report(done, len(missing))
        tiles = (make_tile(text, self._spans[text, ratio, None], self.codec) for text, ratio in wanted)
        return [tile for tile in tiles if tile is not None]

    def tiles_for(
        self, asked: Sequence[tuple[str, Sequence[str]]], ratios: Sequence[float | None], report: Report | None = None
    ) -> list[list[Tile]]:
        """Give the tiles of the passages of questions, compressed together and with the question, as an app does.

        :param asked: Each question with its passages.
        :param ratios: As for `tiles`; each question gets one of them.
        :param report: Called with questions done and questions in all, when some were made.
        :return: The tiles of each question, as `tiles` gives them.
        """
        wanted = [(list(dict.fromkeys(texts)), _choose(query, ratios), query) for query, texts in asked]
        missing = [one for one in wanted if any((text, *one[1:]) not in self._spans for text in one[0])]
        for done, one in enumerate(missing, 1):
            self._add(*one)
            if report:
                report(done, len(missing))
        tiles = (
            [make_tile(text, self._spans[text, ratio, query], self.codec) for text in texts]
            for texts, ratio, query in wanted
        )
        return [[tile for tile in own if tile is not None] for own in tiles]

    def _add(self, texts: list[str], ratio: float | None, query: str | None = None) -> None:
        """Compress passages, and append them to the file."""
        spans: list[str] = self.codec.compress(texts, ratio=ratio, query=query, on_error="passthrough").documents
        with self.path.open("a", encoding="utf-8") as file:
            for text, span in zip(texts, spans, strict=True):
                self._spans[text, ratio, query] = span
                file.write(json.dumps({"text": text, "ratio": ratio, "query": query, "span": span}) + "\n")


def chance(text: str) -> float:
    """Give a text a number that is as good as random, but the same in every run.

    :param text: The text.
    :return: From 0 to 1, without 1.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[4:8]) / 2**32


def _choose(text: str, ratios: Sequence[float | None]) -> float | None:
    """Give a passage its ratio, the same in every run."""
    return ratios[int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % len(ratios)]


def _whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of a file up to where it was cut off, if it was."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            yield json.loads(line)
