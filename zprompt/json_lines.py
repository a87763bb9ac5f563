r"""Find the text on a line of JSON lines, and write another in its place; the rest of the line stays byte for byte.

A JSON string can be written in two common ways, with `é` or with `\u00e9`. A Z-span is ASCII and looks the same in
both, so a tab after it (white space, to JSON) marks that the text it came from was written with escapes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from zprompt.errors import DocumentTypeError

BOM = "\ufeff"

_ESCAPES_MARK = "\t"
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len)  # numbers are not looked at, however long they are
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\r]*")


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON string inside a longer text."""

    value: str
    start: int
    end: int  # after the mark, if there is one
    escapes: bool  # characters beyond printable ASCII are escaped

    def write(self, value: str) -> str:
        """Return another value in the same notation, with a mark if that is needed."""
        mark = _ESCAPES_MARK if self.escapes and _is_plain(value) and not _is_plain(self.value) else ""
        escapes = self.escapes or _SURROGATE.search(value) is not None  # which have no UTF-8 form
        return json.dumps(value, ensure_ascii=escapes) + mark


def find_text(line: str, field: str) -> JsonText | None:
    """Find the value of a field on a line.

    :param line: A line that is not blank.
    :param field: The field.
    :return: The value; None if it is null, so that the line has no text.
    :raises DocumentTypeError: If the line is no JSON object, or has no text under that field.
    """
    value = _read_value(line, field)
    if value is None:
        return None
    start, end = _locate(line, field)
    marked = line.startswith(_ESCAPES_MARK, end)
    escapes = _is_plain(line[start:end]) and (marked or not _is_plain(value))
    return JsonText(value, start, end + marked, escapes)


def _is_plain(text: str) -> bool:
    """Return whether JSON strings with and without escapes beyond ASCII are the same; Python escapes DEL, too."""
    return text.isascii() and "\x7f" not in text


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
    """Find where a field's value starts and ends in a well-formed object; the last field of that name counts."""
    found = 0, 0
    position = _skip(line, line.index("{") + 1)
    while line[position] != "}":
        name, position = _DECODER.raw_decode(line, position)
        start = _skip(line, _skip(line, position) + 1)  # after the colon
        _, end = _DECODER.raw_decode(line, start)
        found = (start, end) if name == field else found
        position = _skip(line, end)
        if line[position] == ",":
            position = _skip(line, position + 1)
    return found


def _skip(line: str, position: int) -> int:
    """Return the position of the next character that is not white space."""
    match = _SPACE.match(line, position)
    return match.end() if match else position
