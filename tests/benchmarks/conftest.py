"""The tiny reader of the reader's own tests, tiny codecs in memory, and texts that are tiled by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.common import TiledText
from tests.codec.conftest import SETTINGS, make_heads
from tests.reader.conftest import chat_backbone, chat_codec, reader_folder, tiny_reader
from zprompt.codec import Codec
from zprompt.llm import Backbone
from zprompt.zspan import ZToken

__all__ = ["chat_backbone", "chat_codec", "reader_folder", "tiny_reader"]


@pytest.fixture(scope="session")
def codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec with random heads, whose spans are long where a text repeats the expected word."""
    return Codec(tiny_backbone, make_heads(tiny_backbone, SETTINGS), "tiny")


def tiled(*texts: tuple[str, Sequence[int], Sequence[tuple[int, tuple[int, ...]]]]) -> list[TiledText]:
    """Tile texts whose words are their tokens: text, token ids, and gap and code of each Z-token."""
    return [_tiled(*text) for text in texts]


def _tiled(text: str, ids: Sequence[int], gaps_and_codes: Sequence[tuple[int, tuple[int, ...]]]) -> TiledText:
    lengths = np.array([gap + 1 for gap, _ in gaps_and_codes])
    starts = np.cumsum(lengths) - lengths
    tokens = tuple(ZToken(ids[start], gap, code) for start, (gap, code) in zip(starts, gaps_and_codes, strict=True))
    offsets, end = [], 0
    for word in text.split():
        start = text.index(word, end)
        end = start + len(word)
        offsets.append((start, end))
    assert len(offsets) == len(ids) == lengths.sum()
    return TiledText(text, np.array(ids), tuple(offsets), tokens)
