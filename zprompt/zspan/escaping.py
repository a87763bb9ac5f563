r"""Carry characters through a tokenizer that would lose them.

Some tokenizers drop or change characters: the default one has no token for some control bytes and some rare planes,
others normalise accents. Exactness forbids that, so such a character is replaced by an escape that every tokenizer has
characters for:

    character  →  ESC, its code point in hexadecimal, ";"        U+0004  →  "\x1b4;"

Where anything is replaced, so is each literal ESC: then the escapes that are read back are the ones that were written.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from zprompt.errors import InvalidTextError

ESCAPE = "\x1b"
_ESCAPED = re.compile(rf"{ESCAPE}([0-9a-f]{{1,6}});")
_SEPARATOR = "."  # keeps the characters of a trial apart: no character composes with it
_LAST_CODE_POINT = 0x10FFFF

Survives = Callable[[str], bool]
"""Whether a string comes back from the tokenizer as it was."""


class EscapedText(NamedTuple):
    """A text that the tokenizer gives back as it is."""

    text: str
    escaped: bool  # whether it is to be uncarried


def require_no_surrogates(text: str) -> None:
    """Refuse a text that is not valid Unicode.

    :param text: Any string.
    :raises InvalidTextError: If it holds a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"The text holds a lone surrogate, U+{ord(text[error.start]):04X}, at character {error.start}: "
            "it is not valid Unicode and has no UTF-8 form. Read it with the right encoding, or replace surrogates: "
            "text.encode('utf-8', 'replace').decode()."
        ) from None


def escape(text: str, survives: Survives) -> EscapedText:
    """Give a text a form that survives the tokenizer.

    The tokenizer is asked about the whole text, and only if that fails about its distinct characters, many at a time.

    :param text: A text.
    :param survives: Whether a string comes back from the tokenizer as it was.
    :return: The text itself, or the text with the fewest kinds of characters escaped that will do.
    :raises InvalidTextError: If the text holds a lone surrogate, or does not survive in any form.
    """
    require_no_surrogates(text)
    if survives(text):
        return EscapedText(text, escaped=False)
    distinct = sorted(set(text) - {ESCAPE})
    lost = _lost(distinct, survives)
    # Where all characters survive alone but not together (accents that the tokenizer composes), escape all but ASCII.
    for escaped in (lost, lost.union(character for character in distinct if not character.isascii())):
        carried = _escape(text, escaped)
        if survives(carried):
            return EscapedText(carried, escaped=True)
    raise InvalidTextError(
        f"The backbone's tokenizer does not give this text of {len(text)} characters back as it was, even with all "
        "characters escaped but ASCII. Use another backbone, or pass the text through: on_error='passthrough'."
    )


def unescape(carried: str) -> str:
    """Give back the text that was carried; the inverse of `escape` where that escaped anything.

    What is no escape stays as it is: a forged Z-span may hold a broken one.

    :param carried: The text of a `EscapedText` that is escaped.
    :return: The source text.
    """
    return _ESCAPED.sub(lambda match: _character(match) or match.group(), carried)


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """Where positions in a carried text lie in its source."""

    starts: tuple[int, ...]  # of the escapes, in the carried text
    ends: tuple[int, ...]
    excess: tuple[int, ...]  # characters that the carried text has more, after so many escapes

    @classmethod
    def of(cls, carried: EscapedText) -> OffsetMap:
        """Make the map of a carried text.

        :param carried: The carried text.
        :return: Its map; the identity if nothing was escaped.
        """
        matches = [m for m in _ESCAPED.finditer(carried.text) if _character(m)] if carried.escaped else []
        return cls(
            starts=tuple(m.start() for m in matches),
            ends=tuple(m.end() for m in matches),
            excess=(0, *accumulate(m.end() - m.start() - 1 for m in matches)),
        )

    def to_source(self, position: int) -> int:
        """Map a position; one inside an escape maps to the start of the escaped character.

        Positions that cut the carried text into pieces thus cut the source into pieces, some of them empty.

        :param position: A position in the carried text, from 0 to its length.
        :return: The position in the source text.
        """
        passed = bisect_right(self.ends, position)
        if passed < len(self.starts):
            position = min(position, self.starts[passed])
        return position - self.excess[passed]


def _lost(characters: list[str], survives: Survives) -> set[str]:
    """Find the characters that do not survive, by halving: n characters of which k are lost take O(k log n) trials."""
    lost = set()
    pending = [characters] if characters else []
    while pending:
        group = pending.pop()
        if survives(_SEPARATOR.join(["", *group, ""])):
            continue
        if len(group) == 1:
            lost.update(group)
        else:
            pending += [group[: len(group) // 2], group[len(group) // 2 :]]
    return lost


def _escape(text: str, characters: Iterable[str]) -> str:
    return text.translate({ord(character): f"{ESCAPE}{ord(character):x};" for character in (ESCAPE, *characters)})


def _character(match: re.Match[str]) -> str | None:
    """Give the character that an escape stands for, if there is one."""
    code_point = int(match[1], 16)
    return chr(code_point) if code_point <= _LAST_CODE_POINT and not 0xD800 <= code_point <= 0xDFFF else None
