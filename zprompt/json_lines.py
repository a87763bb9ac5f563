r"""Find the text on a JSON line, and replace it; the rest of the line stays byte for byte.

A text comes back in the notation that it was written in, for example with `é` or with `\u00e9` (json_notation.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from zprompt.errors import DocumentTypeError
from zprompt.json_notation import NOTATIONS, mark, notation_of, read_mark

BOM = "\ufeff"
SPANS_SUFFIX = ".z"  # of files of Z-spans
LINES_SUFFIXES = (".jsonl", ".ndjson")  # of files of JSON lines

_DECODER = json.JSONDecoder(parse_int=len, parse_float=len)  # numbers are not converted, however long they are
_SPACE = re.compile(r"[ \t\r]*")


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines of a JSON lines text with their numbers, from 1."""
    # Not splitlines(), which also splits at U+2028 and others, which a JSON string may contain unescaped.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON string inside a longer text."""

    value: str
    start: int
    end: int  # after the mark of the notation, if there is one
    literal: str  # as written, with the mark
    notation: int  # see json_notation.py
    marks: bool  # whether Z-spans are written with a mark
    follows: str  # the character after it

    def write(self, value: str) -> str:
        """Return another value in the same notation, with a mark after a Z-span, which does not show its notation."""
        written = self.literal if value == self.value else NOTATIONS[self.notation](value)
        return written + (mark(self.notation, self.follows) if self.marks and _has_span(value) else "")


def find_text(line: str, field: str, *, restore: bool = False) -> JsonText | None:
    """Find the value of a field on a line.

    :param line: A line that is not blank.
    :param field: The field.
    :param restore: Whether a Z-span will be replaced by text, not text by a Z-span.
    :return: The value; None if it is null, so that the line has no text.
    :raises DocumentTypeError: If the line is no JSON object, or has no text under that field.
    """
    value = _read_value(line, field)
    if value is None:
        return None
    start, end = _locate(line, field)
    notation = notation_of(line[start:end], value)
    if restore and _has_span(value):
        notation, end = read_mark(line, end)
    return JsonText(value, start, end, line[start:end], notation, not restore, line[end : end + 1])


def _has_span(value: str) -> bool:
    """Return whether a value has something that looks like a Z-span, escaped or not."""
    from zprompt.zspan import escape_literal  # imports numpy, which --help does not need

    return escape_literal(value) != value


def _read_value(line: str, field: str) -> str | None:
    try:
        record = _DECODER.decode(line.removeprefix(BOM))
    except (ValueError, RecursionError) as error:
        raise DocumentTypeError(f"not JSON ({error}). Each line must be a JSON object.") from error
    if not isinstance(record, dict):
        raise DocumentTypeError(f"not a JSON object. Each line must be one, with its text under {field!r}.")
    if field in record and record[field] is None:
        return None
    if not isinstance(record.get(field), str):
        names = ", ".join(repr(name) for name, value in record.items() if isinstance(value, str)) or "none"
        raise DocumentTypeError(f"no text under {field!r} (fields with text: {names}). Choose one with --field.")
    value: str = record[field]
    return value


def _locate(line: str, field: str) -> tuple[int, int]:
    """Return where a field's value starts and ends in a well-formed object; the last field of that name counts."""
    span = 0, 0
    position = _skip(line, line.index("{") + 1)
    while line[position] != "}":
        name, position = _DECODER.raw_decode(line, position)
        start = _skip(line, _skip(line, position) + 1)  # after the colon
        _, end = _DECODER.raw_decode(line, start)
        span = (start, end) if name == field else span
        position = _skip(line, end)
        if line[position] == ",":
            position = _skip(line, position + 1)
    return span


def _skip(line: str, position: int) -> int:
    """Return the position of the next character that is not white space."""
    match = _SPACE.match(line, position)
    return match.end() if match else position
