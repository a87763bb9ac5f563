"""Where the Z-embedding starts: a value is the mean embedding of the tokens that it stood for.

    value[role, k] = n / (n + SHRINK) * mean over segments of sum over their tokens of (E[token] - mu)

A segment is the run of tokens that a sub-code speaks about (codec/layout.py), so this is the least-squares fit of the
segments' embeddings by their values; a later stage fits what the earlier ones of the same token left. mu is the mean
over all dropped tokens: what any token would say says nothing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.codec import CodecSettings, segments
from zprompt.reader import ZEmbedding
from zprompt.train.reader.positions import Ints
from zprompt.train.reader.tiles import Tile

SHRINK = 4  # segments' worth of doubt about a value that was seldom seen

Floats = NDArray[np.float32]


@torch.no_grad()
def start_meaning(embedding: ZEmbedding, tiles: Sequence[Tile], vectors: Floats, settings: CodecSettings) -> None:
    """Set the values of a Z-embedding.

    :param embedding: The Z-embedding.
    :param tiles: Passages in Z-tokens.
    :param vectors: (V, D), the embeddings of all tokens.
    :param settings: The codec's settings.
    """
    value = np.zeros(embedding.value.shape, np.float32)
    dropped = np.concatenate([np.delete(tile.ids, tile.starts) for tile in tiles])
    centred = vectors - vectors[dropped].mean(axis=0) if len(dropped) else vectors
    for stage in range(settings.subcodes):  # each needs the values of those before it
        totals, counts = np.zeros_like(value), np.zeros(value.shape[:2], np.float32)
        for tile in tiles:
            roles, codes, sums = _segments_of(tile, stage, settings, embedding.roles.numpy(), centred, value)
            np.add.at(totals, (roles, codes), sums)
            np.add.at(counts, (roles, codes), 1)
        value += totals / (counts + SHRINK)[..., None]
    embedding.value.copy_(torch.from_numpy(value))


def _segments_of(
    tile: Tile, stage: int, settings: CodecSettings, roles: Ints, centred: Floats, value: Floats
) -> tuple[Ints, Ints, Floats]:
    """List the segments of a stage: role and value of each, and the sum of what earlier stages left of its tokens."""
    found_roles, found_codes, sums = [], [], []
    for start, token in zip(tile.starts, tile.tokens, strict=True):
        cut = segments(token.gap, settings.subcodes) if token.gap else []
        for m, segment in enumerate(cut):
            if segment.stage != stage:
                continue
            first = start + 1 + segment.start
            left = centred[tile.ids[first : first + segment.size]].sum(axis=0)
            for earlier in range(m - stage, m):
                left = left - value[roles[token.gap, earlier], token.code[earlier]]
            found_roles.append(roles[token.gap, m])
            found_codes.append(token.code[m])
            sums.append(left)
    if not sums:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, centred.shape[1]), np.float32)
    return np.array(found_roles), np.array(found_codes), np.array(sums)
