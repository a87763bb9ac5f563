"""Samples that are made by hand, and tiny codecs in memory."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.codec.conftest import SETTINGS, make_heads
from tests.conftest import SENTENCES
from zprompt.analysis.report import Analysis, analyse
from zprompt.analysis.sample import Document, Sample
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone
from zprompt.train.passages import TiledPassage as Tile
from zprompt.zspan.alphabet import ZToken

TEXTS = [" ".join(SENTENCES), " the" * 60 + " dog sleeps on in the sun.", SENTENCES[2] * 3]


def sample_of(*documents: tuple[str, Sequence[int], Sequence[tuple[int, tuple[int, ...]]]]) -> Sample:
    """Make a sample of texts whose words are their tokens: text, token ids, and gap and code of each Z-token."""
    return Sample(tuple(_document(*document) for document in documents), left_out=0)


def _document(text: str, ids: Sequence[int], tokens: Sequence[tuple[int, tuple[int, ...]]]) -> Document:
    lengths = np.array([gap + 1 for gap, _ in tokens])
    starts = np.cumsum(lengths) - lengths
    z_tokens = tuple(ZToken(ids[start], gap, code) for start, (gap, code) in zip(starts, tokens, strict=True))
    offsets, end = [], 0
    for word in text.split():
        start = text.index(word, end)
        end = start + len(word)
        offsets.append((start, end))
    assert len(offsets) == len(ids) == lengths.sum()
    return Document(Tile(text, "", np.array(ids), z_tokens, starts), tuple(offsets))


@pytest.fixture(scope="session")
def codec(tiny_backbone: Backbone) -> Codec:
    """Give a codec with random heads, whose spans are long where a text repeats the expected word."""
    return Codec(tiny_backbone, make_heads(tiny_backbone), "tiny")


@pytest.fixture(scope="session")
def equal_codec(tiny_backbone: Backbone) -> Codec:
    """Give a codec whose codes are all the same."""
    heads = make_heads(tiny_backbone, SETTINGS)
    heads.code_head.out.zero_()
    return Codec(tiny_backbone, heads, "equal")


@pytest.fixture(scope="session")
def analysis(codec: Codec) -> Analysis:
    """Give the analysis of three small texts."""
    return analyse(codec, TEXTS)
