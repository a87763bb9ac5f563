r"""Escape the characters of a text that a tokenizer would lose.

Some tokenizers drop or change characters: the default one has no token for some control bytes and some rare planes,
others normalise accents. Restoring must be exact, so such a character is replaced with an escape that every tokenizer
keeps:

    character  →  ESC, its code point in hexadecimal, ";"        U+0004  →  "\x1b4;"

If anything in a text is escaped, so is each literal ESC: so only escapes that were written are read as escapes.
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
_SEPARATOR = "."  # between the characters of a trial: no character composes with it
_LAST_CODE_POINT = 0x10FFFF

RoundTrips = Callable[[str], bool]
"""Returns whether a string comes back from the tokenizer unchanged."""


class EscapedText(NamedTuple):
    """A text that comes back from the tokenizer unchanged."""

    text: str
    escaped: bool  # False: it is the source text itself


def require_no_surrogates(text: str) -> None:
    """Raise InvalidTextError if a string holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"The text holds a lone surrogate, U+{ord(text[error.start]):04X}, at character {error.start}: "
            "it is not valid Unicode and has no UTF-8 form. Decode it with the right encoding, or replace surrogates: "
            "text.encode('utf-8', 'replace').decode()."
        ) from None


def escape(text: str, round_trips: RoundTrips) -> EscapedText:
    """Escape the characters that a tokenizer would lose.

    The whole text is tried first, and only if that fails its distinct characters, many at a time.

    :param text: A text.
    :param round_trips: Returns whether a string comes back from the tokenizer unchanged.
    :return: The text itself, or the text with as few distinct characters escaped as needed.
    :raises InvalidTextError: If the text holds a lone surrogate, or does not round-trip in any form.
    """
    require_no_surrogates(text)
    if round_trips(text):
        return EscapedText(text, escaped=False)
    distinct = sorted(set(text) - {ESCAPE})
    lossy = _lossy(distinct, round_trips)
    # If all characters round-trip alone but not together (the tokenizer composes accents), escape all but ASCII.
    for characters in (lossy, lossy.union(character for character in distinct if not character.isascii())):
        escaped = _escape(text, characters)
        if round_trips(escaped):
            return EscapedText(escaped, escaped=True)
    raise InvalidTextError(
        f"The backbone's tokenizer does not round-trip this text of {len(text)} characters, even with all non-ASCII "
        "characters escaped. Use another backbone, or pass the text through: on_error='passthrough'."
    )


def unescape(text: str) -> str:
    """Return the source of an escaped text; broken escapes, which a forged Z-span may hold, stay as they are."""
    return _ESCAPED.sub(lambda match: _character(match) or match.group(), text)


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """Maps positions in an escaped text to positions in its source."""

    starts: tuple[int, ...]  # of the escapes, in the escaped text
    ends: tuple[int, ...]
    excess: tuple[int, ...]  # characters that the first i escapes add, for i from 0

    @classmethod
    def of(cls, escaped: EscapedText) -> OffsetMap:
        """Return the map of an escaped text: the identity if nothing is escaped in it."""
        matches = [m for m in _ESCAPED.finditer(escaped.text) if _character(m)] if escaped.escaped else []
        return cls(
            starts=tuple(m.start() for m in matches),
            ends=tuple(m.end() for m in matches),
            excess=(0, *accumulate(m.end() - m.start() - 1 for m in matches)),
        )

    def to_source(self, position: int) -> int:
        """Map a position; one inside an escape maps to the start of the escaped character.

        So positions that cut the escaped text into pieces cut the source into pieces, too, some of them empty.

        :param position: From 0 to the length of the escaped text.
        :return: The position in the source text.
        """
        count = bisect_right(self.ends, position)  # escapes before the position
        if count < len(self.starts):
            position = min(position, self.starts[count])
        return position - self.excess[count]


def _lossy(characters: list[str], round_trips: RoundTrips) -> set[str]:
    """Find the characters that do not round-trip, by bisection: k of n characters take O(k log n) trials."""
    lossy = set()
    pending = [characters] if characters else []
    while pending:
        group = pending.pop()
        if round_trips(_SEPARATOR.join(["", *group, ""])):
            continue
        if len(group) == 1:
            lossy.update(group)
        else:
            pending += [group[: len(group) // 2], group[len(group) // 2 :]]
    return lossy


def _escape(text: str, characters: Iterable[str]) -> str:
    return text.translate({ord(character): f"{ESCAPE}{ord(character):x};" for character in (ESCAPE, *characters)})


def _character(match: re.Match[str]) -> str | None:
    """Return the character that an escape stands for; None if it is no valid code point."""
    code_point = int(match[1], 16)
    return chr(code_point) if code_point <= _LAST_CODE_POINT and not 0xD800 <= code_point <= 0xDFFF else None
