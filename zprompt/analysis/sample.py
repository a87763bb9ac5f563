"""Texts with their Z-tokens laid over them: what everything else here counts.

Texts that pass through, or whose characters had to be escaped, are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zprompt.codec import Codec
from zprompt.errors import OptionError
from zprompt.progress import Progress
from zprompt.train.passages import TiledPassage as Tile
from zprompt.train.passages import tile_passage as make_tile

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A text in Z-tokens."""

    tile: Tile
    offsets: tuple[tuple[int, int], ...]  # of each source token, in characters of the text

    @property
    def text(self) -> str:
        """Give the text."""
        return self.tile.text

    @property
    def anchors(self) -> Bools:
        """Tell the anchors from the tokens that are let go.

        :return: (n,), True at anchors.
        """
        kept = np.zeros(len(self.tile.ids), np.bool_)
        kept[self.tile.starts] = True
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The texts that are looked at."""

    documents: tuple[Document, ...]
    left_out: int  # texts that passed through or were escaped, and empty ones

    @property
    def source_tokens(self) -> int:
        """Count source tokens."""
        return sum(len(document.tile.ids) for document in self.documents)

    @property
    def z_tokens(self) -> int:
        """Count Z-tokens."""
        return sum(len(document.tile.tokens) for document in self.documents)


def take_sample(
    codec: Codec,
    texts: Sequence[str],
    *,
    ratio: float | None = None,
    tokens: int | None = None,
    progress: Progress | None = None,
) -> Sample:
    """Compress texts, and lay their Z-tokens over them.

    :param codec: The codec.
    :param texts: The texts.
    :param ratio: Source tokens per Z-token that all texts together are to reach; None: the usual exchange rate.
    :param tokens: Source tokens of each text to look at, from its beginning; None: all.
    :param progress: As in `Codec.compress`.
    :return: The sample.
    :raises OptionError: If no text is left.
    """
    texts = [_beginning(codec, text, tokens) for text in texts]
    spans = codec.compress(texts, ratio=ratio, on_error="passthrough", progress=progress).documents
    tiles = (make_tile(text, span, codec) for text, span in zip(texts, spans, strict=True))
    documents = tuple(_document(codec, tile) for tile in tiles if tile is not None and len(tile.ids))
    if not documents:
        raise OptionError(
            f"None of {len(texts)} texts can be analysed: they are empty, or their characters have to be escaped. "
            "Give texts that the backbone's tokenizer can carry as they are."
        )
    return Sample(documents, len(texts) - len(documents))


def _beginning(codec: Codec, text: str, tokens: int | None) -> str:
    """Cut a text after so many tokens."""
    if tokens is None:
        return text
    whole = text.encode("utf-8", "replace").decode()  # lone surrogates, which no tokenizer takes, as one character
    _, offsets = codec.backbone.encode_with_offsets(whole)
    return text if len(offsets) <= tokens else text[: offsets[tokens - 1][1]]


def _document(codec: Codec, tile: Tile) -> Document:
    _, offsets = codec.backbone.encode_with_offsets(tile.text)
    return Document(tile, tuple(offsets))
