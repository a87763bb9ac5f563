"""Passages in LTSC's meta-tokens (arXiv 2506.00307), for a reader that is tuned on them.

A meta-token needs an embedding of its own, and a Z-embedding has room for it: meta-token k is a position whose first
sub-code is k. So the reader, its file and its training are what they are for Z-tokens.

    x = E[ANCHOR] + gap[GAP] + scale * (slot[0] * value[0, k] + (slot[1] + … + slot[M - 1]) * value[0, 0])

Each passage has its dictionary, in the paper's mode: flat, explained before it is used. Text without repeats that pay
is given as it is. It is what the method "ltsc-tuned" writes.
"""

from dataclasses import replace

import numpy as np
import torch

from zprompt.baselines.ltsc import READER_ALPHABET as ALPHABET
from zprompt.baselines.ltsc import read_dictionary, to_model_ids
from zprompt.errors import OptionError
from zprompt.reader import ZEmbedding
from benchmarks.old_reader.positions import Ints
from benchmarks.old_reader.tiles import Tile
from zprompt.zspan import ZToken

ANCHOR = 32  # an ordinary token of every common tokenizer: a special one would be spelled out (reader/content.py)


def meta_tokens(tile: Tile) -> tuple[tuple[ZToken, ...], Ints]:
    """Give a passage in meta-tokens.

    :param tile: The passage.
    :return: Its positions; and (z + 1,), how many of them stand for the source tokens before each anchor, and for all:
        a meta-token that goes on beyond the anchor is not counted.
    """
    model = tile.tokens[0]
    subcodes = len(model.code)
    ids = to_model_ids(tile.ids.tolist(), ALPHABET)
    entries: list[list[int]] = []
    begin = 0
    if ids[0] == ALPHABET.dictionary:
        entries, begin = read_dictionary(ids, ALPHABET)
    lengths = [len(entries[token - ALPHABET.first_entry]) if token >= ALPHABET.first else 1 for token in ids[begin:]]
    places = begin + np.searchsorted(np.cumsum(lengths), tile.edges, side="right")
    none = (0,) * (subcodes - 1)
    positions = (
        replace(model, anchor=ANCHOR, gap=subcodes, code=(token - ALPHABET.first, *none))
        if token >= ALPHABET.first
        else replace(model, anchor=token, gap=0, code=(0, *none))
        for token in ids
    )
    return tuple(positions), places


@torch.no_grad()
def tell_apart(embedding: ZEmbedding, vectors: torch.Tensor, seed: int) -> None:
    """Start each meta-token at a random vector, as long as a token's.

    :param embedding: The Z-embedding, whose values are set.
    :param vectors: (V, D), the embeddings of tokens.
    :param seed: Decides the vectors.
    :raises OptionError: If the codec has fewer values than there are meta-tokens.
    """
    if embedding.value.shape[1] < (ALPHABET.vocabulary_size or 0) - ALPHABET.first:
        raise OptionError(f"Input ltsc needs a codec of 16 values for each sub-code, not {embedding.value.shape[1]}.")
    random = torch.Generator().manual_seed(seed)
    embedding.value[0].normal_(std=float(vectors.float().std()), generator=random)
