"""What the reader sees of a passage, by kind of input.

    text         its source tokens: the ceiling
    z            its Z-tokens
    anchors      its Z-tokens; the Z-embedding leaves out the codes (reader/embedding.py)
    pruned       of its source tokens those that the LLM expected least, as many as there are Z-tokens
    truncated    its first source tokens, as many as there are Z-tokens
    ltsc         its source tokens with LTSC's meta-tokens for what is repeated (meta_tokens.py)

Source tokens are given as Z-tokens without a span, so that a prompt is read the same way whatever it is made of.
"""

from dataclasses import dataclass, replace

import numpy as np

from zprompt.errors import OptionError
from benchmarks.old_reader.meta_tokens import meta_tokens
from benchmarks.old_reader.positions import Ints
from benchmarks.old_reader.tiles import Tile
from zprompt.zspan import ZToken


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """A passage as the reader sees it."""

    tokens: tuple[ZToken, ...]
    places: Ints  # (z + 1,) how many of them stand for the source tokens before each anchor, and for all


def as_input(tile: Tile, kind: str) -> Input:
    """Give a passage as the reader sees it.

    :param tile: The passage; for "pruned" it has surprisals.
    :param kind: One of the kinds above.
    :return: The input.
    :raises OptionError: If the kind is unknown, or what it needs is missing.
    """
    count, edges = len(tile.tokens), tile.edges
    if kind in ("z", "anchors"):
        return Input(tile.tokens, np.arange(count + 1))
    if kind == "text":
        return Input(_plain(tile, np.arange(len(tile.ids))), edges)
    if kind == "ltsc":
        return Input(*meta_tokens(tile))
    if kind == "truncated":
        return Input(_plain(tile, np.arange(count)), np.arange(count + 1))
    if kind == "pruned" and tile.surprisal is not None:
        kept = np.sort(np.argsort(-tile.surprisal, kind="stable")[:count])
        return Input(_plain(tile, kept), np.searchsorted(kept, edges))
    raise OptionError(f"This passage cannot be given as {kind!r}.")


def _plain(tile: Tile, places: Ints) -> tuple[ZToken, ...]:
    """Make Z-tokens without a span of some source tokens."""
    model = replace(tile.tokens[0], gap=0, code=(0,) * len(tile.tokens[0].code))
    return tuple(replace(model, anchor=int(tile.ids[place])) for place in places)
