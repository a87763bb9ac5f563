"""Read the texts of files, and write other texts in their places, byte for byte.

Several inputs become files in one folder, with the names that they have below the folders that were given:

    zprompt compress notes/ letter.txt -o out      notes/a/b.txt → out/a/b.txt.z,  letter.txt → out/letter.txt.z

A plain file is one text. A file of JSON lines has one text per line, under some field; everything except that field's
value is kept byte for byte: other fields, the order of keys, white space, line ends, blank lines (json_lines.py).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Protocol

import typer

from zprompt.cli.messages import note, warn
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError, located
from zprompt.json_lines import BOM, LINES_SUFFIXES, SPANS_SUFFIX, JsonText, find_text
from zprompt.json_notation import read_mark
from zprompt.paths import walk

STREAM = Path("-")  # stdin or stdout

_SLASHES = tuple(filter(None, (os.sep, os.altsep)))
_DEFAULT_FIELD = "text"
_DIGITS = 20  # of a number that is read as one: Python refuses those of thousands
_RECORDS = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else digits)


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


def read_sources(
    paths: Sequence[Path] | None,
    out: str | None = None,
    *,
    why_left_out: Callable[[Path], str | None] = lambda _: None,
) -> Sources:
    """Read the texts of files, folders and stdin.

    :param paths: Files and folders; a folder stands for all text files in it; none, or -, is stdin.
    :param out: Where the outputs go; if it lies in one of the folders, it is left out.
    :param why_left_out: Says why a file of a folder is left out, too; None: it is not.
    :return: The texts.
    :raises OptionError: If there is none.
    """
    paths = paths or [STREAM]
    place = None if out is None else Path(out)
    members = tuple(source for path in paths for source in _read(path, place, why_left_out))
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
    sources: Sources, out: str | None, rename: Callable[[str], str], *, force: bool = False
) -> list[Path | None]:
    """Return the file for the output of each source, or None for stdout.

    :param sources: The sources.
    :param out: The value of --output; what ends in a slash is a folder, which need not exist yet.
    :param rename: Makes the name of an output in a folder of its source's name.
    :param force: Whether an output may take the place of a source.
    :return: A file for each source, or None for stdout.
    :raises BadParameter: If there is no folder for the outputs, which several sources need.
    :raises OptionError: If two outputs have the same place, or one that of a source.
    """
    targets = _targets(sources, None if out == str(STREAM) else out, rename)
    read = {source.path.resolve() for source in sources.members if source.path}
    lost = next((target for target in targets if target and target.resolve() in read), None)
    if lost and not force:
        raise OptionError(f"{lost} would be overwritten, and it is an input. Choose another --output, or say --force.")
    return targets


def _targets(sources: Sources, out: str | None, rename: Callable[[str], str]) -> list[Path | None]:
    place = None if out is None else Path(out)
    is_folder = out is not None and (out.endswith(_SLASHES) or Path(out).is_dir())
    if not sources.several and not is_folder:
        return [place]
    if place is None or place.is_file():
        problem = f"{place} is a file, not a folder." if place else "Several inputs need a folder for their outputs."
        raise typer.BadParameter(problem, param_hint="--output")
    targets: dict[Path, Source] = {}
    for source in sources.members:
        target = place / source.name.with_name(rename(source.name.name))
        if target in targets:
            raise OptionError(
                f"Two inputs would both be written to {target}. Give them in two calls, with two folders."
            )
        targets[target] = source
    return list(targets)


def _read(path: Path, out: Path | None, why_left_out: Callable[[Path], str | None]) -> Iterator[Source]:
    if path == STREAM:
        yield Source(PurePath(_title(path)), read_text(path))
        return
    if not path.is_dir():
        yield Source(PurePath(path.name), read_text(path), path)
        return
    for file in walk(path, out):
        if reason := why_left_out(file):
            note(f"{file} is left out: {reason}.")
            continue
        try:
            yield Source(file.relative_to(path), read_text(file), file)
        except InvalidTextError:
            warn(f"{file} is skipped: it is not UTF-8 text.")


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


def read_content(source: Source, field: str | None, *, restore: bool = False, focus: bool = False) -> Content:
    """Find the texts of a file.

    :param source: The file.
    :param field: The field that holds the text in each of its JSON lines; None: the file's name decides.
    :param restore: Whether `render` puts texts in the places of Z-spans, not the other way round.
    :param focus: Whether `render` puts others of the same texts in the places of Z-spans, where there are any.
    :return: The texts, and what is around them.
    :raises DocumentTypeError: If a line is no JSON object, or has no text under that field.
    """
    name = source.name.name.lower()
    while name.endswith(SPANS_SUFFIX):  # Z-spans may have been compressed as texts
        name = name.removesuffix(SPANS_SUFFIX)
    if field is None and not name.endswith(LINES_SUFFIXES):
        return _PlainText(source.text, str(source.name))
    found = tuple(_find_texts(source, _DEFAULT_FIELD if field is None else field, restore, focus))
    return _JsonLines(source.text, str(source.name), tuple(own for _, own in found), tuple(line for line, _ in found))


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
class _JsonLines:
    """A file of JSON objects, one on each line, each with a text."""

    text: str  # of the file
    name: str
    found: tuple[JsonText, ...]
    numbers: tuple[int, ...]  # of their lines, counted from 1

    @property
    def texts(self) -> Sequence[str]:
        return [own.value for own in self.found]

    @property
    def documents(self) -> Sequence[dict[str, Any]]:
        lines = self.text.split("\n")
        records = (_RECORDS.decode(lines[number - 1].removeprefix(BOM)) for number in self.numbers)
        return [{**record, "text": own.value} for record, own in zip(records, self.found, strict=True)]

    @property
    def places(self) -> Sequence[str]:
        return [f"{self.name}, line {number}" for number in self.numbers]

    def render(self, texts: Sequence[str]) -> str:
        pieces, position = [], 0
        for own, text in zip(self.found, texts, strict=True):
            pieces += [self.text[position : own.start], own.write(text)]
            position = own.end
        return "".join([*pieces, self.text[position:]])


def _find_texts(source: Source, field: str, restore: bool, focus: bool) -> Iterator[tuple[int, JsonText]]:
    """Find the field's value on each line that is not blank and where it is not null, with the number of the line."""
    from zprompt.zspan import is_span  # numpy, which --help does not need

    offset = 0
    for number, line in enumerate(source.text.split("\n"), 1):
        if line.strip(" \t\r" + BOM):
            try:
                found = find_text(line, field, restore=restore)
            except DocumentTypeError as error:
                raise located(error, f"{source.name}, line {number}") from error
            if found and focus and is_span(found.value):  # what its text was written in stays marked
                notation, end = read_mark(line, found.end)
                found = replace(found, notation=notation, end=end, follows=line[end : end + 1])
            if found:
                yield number, replace(found, start=offset + found.start, end=offset + found.end)
        offset += len(line) + 1
