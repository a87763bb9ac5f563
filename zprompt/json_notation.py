r"""Write a JSON string as the program that wrote the original would, so that the same bytes come back.

Programs escape more than JSON requires: `é` as `\u00e9`, `/` as `\/`, `<` as `\u003c`. A Z-span has none of these
characters, so the *notation* of its text is marked by white space after it, which JSON ignores:

    as many tabs as the notation's index in NOTATIONS, and a carriage return where other white space follows

A string in an unknown notation comes back in the nearest known one: the same text in other bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_SHORT = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f", "\b": r"\b"}
_SEPARATORS = "\u2028\u2029"


def _notation(more: str = "", *, ascii_only: bool = False, upper: bool = False) -> Callable[[str], str]:
    """Return a function that writes a string in a notation.

    :param more: Characters that are escaped although they need not be.
    :param ascii_only: Whether all characters beyond ASCII are escaped.
    :param upper: Whether escapes have upper-case digits.
    :return: Writes a string, quotation marks included.
    """
    beyond = "\x80-\U0010ffff" if ascii_only else "\ud800-\udfff"  # lone surrogates have no UTF-8 form
    escaped = re.compile(rf'[\x00-\x1f"\\{re.escape(more)}{beyond}]')
    short = {character: escape for character, escape in _SHORT.items() if character not in more} | {"/": r"\/"}

    def escape(match: re.Match[str]) -> str:
        character = match.group()
        digits = character.encode("utf-16-be", "surrogatepass").hex()
        digits = digits.upper() if upper else digits
        return short.get(character) or "".join(rf"\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))

    return lambda value: f'"{escaped.sub(escape, value)}"'


NOTATIONS = (
    _notation(),  # JavaScript, Rust, Python's json with ensure_ascii=False
    _notation("\x7f", ascii_only=True),  # Python's json
    _notation("/", ascii_only=True),  # PHP
    _notation("/" + _SEPARATORS),  # PHP, JSON_UNESCAPED_UNICODE
    _notation("<>&" + _SEPARATORS),  # Go
    _notation("<>&='" + _SEPARATORS),  # Gson
    _notation("\x7f\"<>&'+`", ascii_only=True, upper=True),  # .NET
    _notation(ascii_only=True, upper=True),  # Jackson, ESCAPE_NON_ASCII
    _notation(upper=True),  # Jackson
)
_MARK = re.compile(rf"(\t{{0,{len(NOTATIONS) - 1}}})\r?")


def notation_of(literal: str, value: str) -> int:
    """Return the index of the first notation that writes a value as it was, or of the nearest if none does."""
    indices = (index for index, write in enumerate(NOTATIONS) if write(value) == literal)
    return next(indices, int(literal.isascii() and not value.isascii()))


def read_mark(line: str, position: int) -> tuple[int, int]:
    """Return the notation marked at a position, and where the mark ends."""
    match = _MARK.match(line, position)
    return (len(match[1]), match.end()) if match else (0, position)


def mark(notation: int, following: str) -> str:
    """Return the mark of a notation, given the text that follows it."""
    return "\t" * notation + ("\r" if following.startswith(("\t", "\r")) else "")
