r"""Take the texts out of a file, and put other texts in their places.

A plain file is one text. A file of JSON lines has one text per line, under some field; all that is not that field's
value is kept byte for byte: other fields, the order of keys, white space, line ends, lines without content.

A JSON string can be written in two common ways, with `é` or with `\u00e9`. A Z-span is ASCII and looks the same in
both, so a tab after it (white space, to JSON) tells that the text it came from was written with escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from zprompt.cli.files import SUFFIX, Source
from zprompt.errors import DocumentTypeError

_LINES_SUFFIXES = (".jsonl", ".ndjson")
_DEFAULT_FIELD = "text"
_BOM = "\ufeff"
_ESCAPES_MARK = "\t"
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len)  # numbers are not looked at, however long they are
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\r]*")


class Content(Protocol):
    """What a file holds."""

    @property
    def texts(self) -> Sequence[str]:
        """Give its texts, in order."""

    def render(self, texts: Sequence[str]) -> str:
        """Write the file with other texts.

        :param texts: As many texts as there are.
        :return: What to write to a file.
        """


def read_content(source: Source, field: str | None) -> Content:
    """Find the texts of a file.

    :param source: The file.
    :param field: The field that holds the text in each of its JSON lines; None goes by the file's name.
    :return: The texts and what is around them.
    :raises DocumentTypeError: If a line is no JSON object, or has no text under that field.
    """
    name = source.name.name.lower().removesuffix(SUFFIX)
    if field is None and not name.endswith(_LINES_SUFFIXES):
        return PlainText(source.text)
    return JsonLines.of(source, _DEFAULT_FIELD if field is None else field)


@dataclass(frozen=True, slots=True)
class PlainText:
    """A file that is one text."""

    text: str

    @property
    def texts(self) -> Sequence[str]:
        """Give the text."""
        return [self.text]

    def render(self, texts: Sequence[str]) -> str:
        """Write the file with another text.

        :param texts: The text.
        :return: The same.
        """
        return texts[0]


@dataclass(frozen=True, slots=True)
class _Literal:
    """A JSON string inside a longer text."""

    value: str
    start: int
    end: int  # after the mark, if there is one
    escapes: bool  # characters beyond ASCII are escaped

    def write(self, value: str) -> str:
        """Write another value in the same way.

        :param value: The other value.
        :return: A JSON string, and the mark if it is needed.
        """
        mark = _ESCAPES_MARK if self.escapes and value.isascii() and not self.value.isascii() else ""
        escapes = self.escapes or _SURROGATE.search(value) is not None  # which UTF-8 has no other way to carry
        return json.dumps(value, ensure_ascii=escapes) + mark


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file of JSON objects, one on each line, each with a text."""

    text: str  # of the file
    literals: tuple[_Literal, ...]

    @classmethod
    def of(cls, source: Source, field: str) -> JsonLines:
        """Find the texts of JSON lines.

        :param source: The file.
        :param field: The field that holds the text.
        :return: The texts and what is around them.
        """
        return cls(source.text, tuple(_literals(source, field)))

    @property
    def texts(self) -> Sequence[str]:
        """Give the text of each line."""
        return [literal.value for literal in self.literals]

    def render(self, texts: Sequence[str]) -> str:
        """Write the lines with other texts.

        :param texts: A text for each line.
        :return: The lines.
        """
        pieces, position = [], 0
        for literal, text in zip(self.literals, texts, strict=True):
            pieces += [self.text[position : literal.start], literal.write(text)]
            position = literal.end
        return "".join([*pieces, self.text[position:]])


def _literals(source: Source, field: str) -> Iterator[_Literal]:
    """Find the field's value on each line that is not blank."""
    offset = 0
    for number, line in enumerate(source.text.split("\n"), 1):
        if line.strip(" \t\r" + _BOM):
            value = _read_value(line, field, f"{source.name}, line {number}")
            start, end = _locate(line, field)
            marked = line.startswith(_ESCAPES_MARK, end)
            escapes = line[start:end].isascii() and (marked or not value.isascii())
            yield _Literal(value, offset + start, offset + end + marked, escapes)
        offset += len(line) + 1


def _read_value(line: str, field: str, place: str) -> str:
    """Read a field's text, or say what is wrong at this place."""
    try:
        record = _DECODER.decode(line.removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        raise DocumentTypeError(f"{place}: not JSON ({error}). Each line must be a JSON object.") from error
    if not isinstance(record, dict):
        raise DocumentTypeError(f"{place}: not a JSON object. Each line must be one, with its text under {field!r}.")
    if not isinstance(record.get(field), str):
        names = ", ".join(repr(name) for name, value in record.items() if isinstance(value, str)) or "none"
        raise DocumentTypeError(
            f"{place}: no text under {field!r} (fields with text: {names}). Choose one with --field."
        )
    value: str = record[field]
    return value


def _locate(line: str, field: str) -> tuple[int, int]:
    """Find where a field's value starts and ends in an object that is known to be well-formed; the last one counts."""
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
    """Pass over white space."""
    match = _SPACE.match(line, position)
    return match.end() if match else position
