"""Cut a text by its tiling, for whoever draws it.

Character offsets of tokens may overlap or be empty (an emoji is several tokens, all of them at the same character); the
pieces here never do: in order, they are the text.

    text = before anchor span · before anchor span · … · tail
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from zprompt.results import ExplainedToken, Explanation

_BIDI_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C], "�")
_C1_CONTROLS = dict.fromkeys(range(0x80, 0xA0), "�")
_C0_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: "␡"}
_VISIBLE = _C0_CONTROLS | _C1_CONTROLS | _BIDI_CONTROLS


@dataclass(frozen=True, slots=True)
class Tile:
    """The piece of text that a Z-token stands for."""

    token: ExplainedToken
    before: str  # text that belongs to no Z-token
    anchor: str
    span: str

    @property
    def text(self) -> str:
        """Give anchor and span."""
        return self.anchor + self.span


@dataclass(frozen=True, slots=True)
class Tiling:
    """A whole text in tiles."""

    tiles: tuple[Tile, ...]
    tail: str  # text after the last tile


def cut(explanation: Explanation) -> Tiling:
    """Cut a text into tiles.

    :param explanation: The text and its Z-tokens.
    :return: The tiles, which are the text when they are put together.
    """
    tiles = tuple(_tiles(explanation))
    length = sum(len(tile.before) + len(tile.text) for tile in tiles)
    return Tiling(tiles, explanation.text[length:])


def density(size: int, longest: int) -> float:
    """Say how densely Z-tokens lie where one stands for so much.

    :param size: Characters or tokens that a Z-token stands for.
    :param longest: From how many on the density counts as 0.
    :return: 1 for a size of 1, falling with its logarithm to 0.
    """
    return 1 - min(math.log(max(size, 1)) / math.log(longest), 1)


def visible(text: str) -> str:
    r"""Show control characters instead of obeying them; documents are untrusted.

    :param text: Any text.
    :return: The text with a picture in the place of each control character but \t and \n.
    """
    return text.translate(_VISIBLE)


def _tiles(explanation: Explanation) -> Iterator[Tile]:
    text, position = explanation.text, 0
    for token in explanation.tokens:
        start = max(token.start, position)
        middle = max(token.anchor_end, start)
        end = max(token.end, middle)
        yield Tile(token, text[position:start], text[start:middle], text[middle:end])
        position = min(end, len(text))
