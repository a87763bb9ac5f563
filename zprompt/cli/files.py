r"""Read the texts of files, and write other texts in their places, byte for byte.

Several inputs become files in one folder, with the names that they have below the folders that were given:

    zprompt compress notes/ letter.txt -o out      notes/a/b.txt → out/a/b.txt.z,  letter.txt → out/letter.txt.z

A plain file is one text. A file of JSON lines has one text per line, under some field; everything except that field's
value is kept byte for byte: other fields, the order of keys, white space, line ends, blank lines.

A text comes back in the notation that it was written in, with `é` or with `\u00e9` for example (notation.py).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

import typer

from zprompt.cli.messages import note, warn
from zprompt.cli.notation import NOTATIONS, mark, notation_of, read_mark
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError

STREAM = Path("-")  # stdin or stdout
SUFFIX = ".z"  # of files that hold Z-spans

_LINES_SUFFIXES = (".jsonl", ".ndjson")
_DEFAULT_FIELD = "text"
_BOM = "\ufeff"
_DIGITS = 20  # of a number that is read as one: Python refuses those of thousands
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len)  # numbers are not looked at, however long they are
_RECORDS = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else digits)
_SPACE = re.compile(r"[ \t\r]*")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a file."""

    name: PurePath  # below the folder that was given
    text: str
    path: Path | None = None  # None: stdin


@dataclass(frozen=True, slots=True)
class Sources:
    """The texts of all files."""

    members: tuple[Source, ...]
    several: bool  # the outputs need a folder; True for one folder with one file in it, too


def read_sources(paths: Sequence[Path] | None, out: Path | None = None, *, spans: bool = True) -> Sources:
    """Read the texts of files, folders and stdin.

    :param paths: Files and folders; a folder stands for all text files in it; none, or -, is stdin.
    :param out: Where the outputs go; if it lies in one of the folders, it is left out.
    :param spans: Whether a folder stands for its files of Z-spans, too.
    :return: The texts.
    :raises OptionError: If there is none.
    """
    paths = paths or [STREAM]
    members = tuple(source for path in paths for source in _read(path, out, spans))
    if not members:
        raise OptionError(f"There is no text file in {', '.join(map(str, paths))}. Text is what decodes as UTF-8.")
    return Sources(members, several=len(members) > 1 or any(path.is_dir() for path in paths))


def read_text(path: Path) -> str:
    """Read a file, or - for stdin, byte for byte; raise InvalidTextError if it is not UTF-8."""
    if path == STREAM and sys.stdin.isatty():
        note("Reading from the terminal; end with Ctrl-D.")
    data = sys.stdin.buffer.read() if path == STREAM else path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidTextError(
            f"{_title(path)} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}. "
            "Convert it first, with iconv for example."
        ) from error


def write_text(path: Path | None, text: str) -> None:
    """Write a text to a file, whose folder is made if it is missing, or to stdout if there is no path."""
    if path is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()  # a closed pipe is to be noticed here, not when Python exits
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def plan_outputs(
    sources: Sources, out: Path | None, rename: Callable[[str], str], *, force: bool = False
) -> list[Path | None]:
    """Return the file for the output of each source, or None for stdout.

    :param sources: The sources.
    :param out: The value of --output.
    :param rename: Makes the name of an output in a folder of its source's name.
    :param force: Whether an output may take the place of a source.
    :return: A file for each source, or None for stdout.
    :raises BadParameter: If there are several sources and no folder for their outputs.
    :raises OptionError: If two outputs have the same place, or one that of a source.
    """
    targets = _targets(sources, None if out == STREAM else out, rename)
    read = {source.path.resolve() for source in sources.members if source.path}
    lost = next((target for target in targets if target and target.resolve() in read), None)
    if lost and not force:
        raise OptionError(f"{lost} would be overwritten, and it is an input. Choose another --output, or say --force.")
    return targets


def _targets(sources: Sources, out: Path | None, rename: Callable[[str], str]) -> list[Path | None]:
    if not sources.several and (out is None or not out.is_dir()):
        return [out]
    if out is None or out.is_file():
        raise typer.BadParameter("Several inputs need a folder for their outputs.", param_hint="--output")
    targets: dict[Path, Source] = {}
    for source in sources.members:
        target = out / source.name.with_name(rename(source.name.name))
        if target in targets:
            raise OptionError(
                f"Two inputs would both be written to {target}. Give them in two calls, with two folders."
            )
        targets[target] = source
    return list(targets)


def _read(path: Path, out: Path | None, spans: bool) -> Iterator[Source]:
    if path == STREAM:
        yield Source(PurePath(_title(path)), read_text(path))
        return
    if not path.is_dir():
        yield Source(PurePath(path.name), read_text(path), path)
        return
    for file in _walk(path, out):
        if file.name.endswith(SUFFIX) and not spans:
            note(f"{file} is left out: it is compressed already.")
            continue
        try:
            yield Source(file.relative_to(path), read_text(file), file)
        except InvalidTextError:
            warn(f"{file} is skipped: it is not UTF-8 text.")


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """List the files of a folder in order, at any depth, except hidden files and our own outputs."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink() or (out is not None and path.absolute() == out.absolute()):
            continue
        if path.is_dir():
            yield from _walk(path, out)
        elif path.is_file():
            yield path


def _title(path: Path) -> str:
    return "stdin" if path == STREAM else str(path)


class Content(Protocol):
    """The texts of a file, and what is around them."""

    @property
    def texts(self) -> Sequence[str]:
        """Return the texts, in order."""

    @property
    def documents(self) -> Sequence[str | dict[str, Any]]:
        """Return the texts with what is known about each, such as its title."""

    @property
    def places(self) -> Sequence[str]:
        """Return where each text is, for messages."""

    def render(self, texts: Sequence[str]) -> str:
        """Return the file with other texts, as many as there are."""


def read_content(source: Source, field: str | None, *, restore: bool = False) -> Content:
    """Find the texts of a file.

    :param source: The file.
    :param field: The field that holds the text in each of its JSON lines; None: the file's name decides.
    :param restore: Whether `render` puts texts in the places of Z-spans, not the other way round.
    :return: The texts, and what is around them.
    :raises DocumentTypeError: If a line is no JSON object, or has no text under that field.
    """
    name = source.name.name.lower().removesuffix(SUFFIX)
    if field is None and not name.endswith(_LINES_SUFFIXES):
        return _PlainText(source.text, str(source.name))
    field = _DEFAULT_FIELD if field is None else field
    return _JsonLines(source.text, str(source.name), tuple(_literals(source, field, restore)), restore)


@dataclass(frozen=True, slots=True)
class _PlainText:
    """A file that is one text."""

    text: str
    name: str

    @property
    def texts(self) -> Sequence[str]:
        return [self.text]

    @property
    def documents(self) -> Sequence[str]:
        return [self.text]

    @property
    def places(self) -> Sequence[str]:
        return [self.name]

    def render(self, texts: Sequence[str]) -> str:
        return texts[0]


@dataclass(frozen=True, slots=True)
class _Literal:
    """A JSON string inside a longer text."""

    value: str
    line: int  # counted from 1
    start: int
    end: int  # after the mark of a notation, if there is one
    notation: int  # see notation.py


@dataclass(frozen=True, slots=True)
class _JsonLines:
    """A file of JSON objects, one on each line, each with a text."""

    text: str  # of the file
    name: str
    literals: tuple[_Literal, ...]
    restore: bool  # see read_content

    @property
    def texts(self) -> Sequence[str]:
        return [literal.value for literal in self.literals]

    @property
    def documents(self) -> Sequence[dict[str, Any]]:
        lines = self.text.split("\n")
        records = (_RECORDS.decode(lines[literal.line - 1].removeprefix(_BOM)) for literal in self.literals)
        return [{**record, "text": literal.value} for record, literal in zip(records, self.literals, strict=True)]

    @property
    def places(self) -> Sequence[str]:
        return [f"{self.name}, line {literal.line}" for literal in self.literals]

    def render(self, texts: Sequence[str]) -> str:
        pieces, position = [], 0
        for literal, text in zip(self.literals, texts, strict=True):
            pieces += [self.text[position : literal.start], self._written(literal, text)]
            position = literal.end
        return "".join([*pieces, self.text[position:]])

    def _written(self, literal: _Literal, value: str) -> str:
        """Write a value as the literal was, with a mark where that could not be told from it any more."""
        was = self.text[literal.start : literal.end]
        written = was if value == literal.value else NOTATIONS[literal.notation](value)
        marked = not self.restore and _has_span(value)
        return written + (mark(literal.notation, self.text[literal.end : literal.end + 1]) if marked else "")


def _literals(source: Source, field: str, restore: bool) -> Iterator[_Literal]:
    """Find the field's value on each line that is not blank; a line whose value is null has no text."""
    offset = 0
    for number, line in enumerate(source.text.split("\n"), 1):
        if line.strip(" \t\r" + _BOM):
            value = _read_value(line, field, f"{source.name}, line {number}")
            if value is not None:
                start, end = _locate(line, field)
                notation = notation_of(line[start:end], value)
                if restore and _has_span(value):
                    notation, end = read_mark(line, end)
                yield _Literal(value, number, offset + start, offset + end, notation)
        offset += len(line) + 1


def _has_span(value: str) -> bool:
    """Return whether a value has something of the form of a Z-span, escaped or not."""
    from zprompt.zspan import escape_literal  # numpy, which --help does not need

    return escape_literal(value) != value


def _read_value(line: str, field: str, place: str) -> str | None:
    try:
        record = _DECODER.decode(line.removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        raise DocumentTypeError(f"{place}: not JSON ({error}). Each line must be a JSON object.") from error
    if not isinstance(record, dict):
        raise DocumentTypeError(f"{place}: not a JSON object. Each line must be one, with its text under {field!r}.")
    if field in record and record[field] is None:
        return None
    if not isinstance(record.get(field), str):
        names = ", ".join(repr(name) for name, value in record.items() if isinstance(value, str)) or "none"
        raise DocumentTypeError(
            f"{place}: no text under {field!r} (fields with text: {names}). Choose one with --field."
        )
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
