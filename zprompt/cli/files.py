"""Read the texts of files, and replace them; everything else stays byte for byte.

Several inputs become files in one folder, with their names below the input folders:

    zprompt compress notes/ letter.txt -o out      notes/a/b.txt → out/a/b.txt.z,  letter.txt → out/letter.txt.z

A plain file is one text. A file of JSON lines has one text per line, in some field; everything except that field's
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
_DIGITS = 20  # most digits of a number that is converted: Python refuses thousands of them
_RECORDS = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else digits)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a file."""

    name: PurePath  # relative to the input folder
    text: str
    path: Path | None = None  # None: stdin


@dataclass(frozen=True, slots=True)
class Sources:
    """The texts of all files."""

    members: tuple[Source, ...]
    several: bool  # the outputs need a folder; also True for a folder with one file in it


def read_sources(
    paths: Sequence[Path] | None,
    out: str | None = None,
    *,
    why_left_out: Callable[[Path], str | None] = lambda _: None,
) -> Sources:
    """Read the texts of files, folders and stdin.

    :param paths: Files and folders; a folder stands for all text files in it; none, or -, is stdin.
    :param out: Where the outputs go; it is left out of the folder that it lies in.
    :param why_left_out: Returns why a file of a folder is left out; None: it is not.
    :return: The texts.
    :raises OptionError: If there is none.
    """
    paths = paths or [STREAM]
    out_path = None if out is None else Path(out)
    members = tuple(source for path in paths for source in _read(path, out_path, why_left_out))
    if not members:
        raise OptionError(f"No text files in {', '.join(map(str, paths))}. Text files must be UTF-8.")
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
            "Convert it first, e.g. with iconv."
        ) from error


def write_text(path: Path | None, text: str) -> None:
    """Write a text to a file, whose folder is created if it is missing, or to stdout if there is no path."""
    if path is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()  # so that a closed pipe is noticed here, not when Python exits
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def require_other(output: Path | None, *inputs: Path) -> None:
    """Raise OptionError if an output would overwrite an input."""
    if output and output.resolve() in [path.resolve() for path in inputs]:
        raise OptionError(f"{output} would be overwritten, and it is an input. Choose another file.")


def plan_outputs(
    sources: Sources, out: str | None, rename: Callable[[str], str], *, force: bool = False
) -> list[Path | None]:
    """Return the file for the output of each source, or None for stdout.

    :param sources: The sources.
    :param out: The value of --output; what ends in a slash is a folder, which need not exist yet.
    :param rename: Turns the name of a source into that of its output, in a folder.
    :param force: Whether an output may overwrite a source.
    :return: A file for each source, or None for stdout.
    :raises BadParameter: If several sources have no folder for their outputs.
    :raises OptionError: If two outputs have the same path, or an output that of a source.
    """
    targets = _targets(sources, None if out == str(STREAM) else out, rename)
    read = {source.path.resolve() for source in sources.members if source.path}
    lost = next((target for target in targets if target and target.resolve() in read), None)
    if lost and not force:
        raise OptionError(f"{lost} is an input and would be overwritten. Choose another --output, or pass --force.")
    return targets


def _targets(sources: Sources, out: str | None, rename: Callable[[str], str]) -> list[Path | None]:
    out_path = None if out is None else Path(out)
    is_folder = out is not None and (out.endswith(_SLASHES) or Path(out).is_dir())
    if not sources.several and not is_folder:
        return [out_path]
    if out_path is None or out_path.is_file():
        problem = f"{out_path} is a file, not a folder." if out_path else "Several inputs need an output folder."
        raise typer.BadParameter(problem, param_hint="--output")
    targets: dict[Path, Source] = {}
    for source in sources.members:
        target = out_path / source.name.with_name(rename(source.name.name))
        if target in targets:
            raise OptionError(f"Two inputs would both be written to {target}. Convert them separately, to two folders.")
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
            note(f"Skipping {file}: {reason}.")
            continue
        try:
            yield Source(file.relative_to(path), read_text(file), file)
        except InvalidTextError:
            warn(f"Skipping {file}: it is not UTF-8 text.")


def _title(path: Path) -> str:
    return "stdin" if path == STREAM else str(path)


class Content(Protocol):
    """The texts of a file, and what surrounds them."""

    @property
    def texts(self) -> Sequence[str]:
        """Return the texts, in order."""

    @property
    def documents(self) -> Sequence[str | dict[str, Any]]:
        """Return the texts with their other fields, such as titles."""

    @property
    def places(self) -> Sequence[str]:
        """Return where each text is, for messages."""

    def render(self, texts: Sequence[str]) -> str:
        """Return the file's content with each text replaced."""


def read_content(source: Source, field: str | None, *, restore: bool = False, focus: bool = False) -> Content:
    """Find the texts of a file.

    :param source: The file.
    :param field: The field that holds the text in each of its JSON lines; None: the file's name decides.
    :param restore: Whether `render` will replace Z-spans by texts, not texts by Z-spans.
    :param focus: Whether `render` will replace Z-spans by other Z-spans of the same texts.
    :return: The texts, and what surrounds them.
    :raises DocumentTypeError: If a line is no JSON object, or has no text under that field.
    """
    name = source.name.name.lower()
    while name.endswith(SPANS_SUFFIX):  # Z-spans may have been compressed as texts
        name = name.removesuffix(SPANS_SUFFIX)
    if field is None and not name.endswith(LINES_SUFFIXES):
        return _PlainText(source.text, str(source.name))
    pairs = list(_find_texts(source, _DEFAULT_FIELD if field is None else field, restore, focus))
    fields, numbers = tuple(text for _, text in pairs), tuple(number for number, _ in pairs)
    return _JsonLines(source.text, str(source.name), fields, numbers)


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
    fields: tuple[JsonText, ...]
    numbers: tuple[int, ...]  # of their lines, from 1

    @property
    def texts(self) -> Sequence[str]:
        return [field.value for field in self.fields]

    @property
    def documents(self) -> Sequence[dict[str, Any]]:
        lines = self.text.split("\n")
        records = (_RECORDS.decode(lines[number - 1].removeprefix(BOM)) for number in self.numbers)
        return [{**record, "text": field.value} for record, field in zip(records, self.fields, strict=True)]

    @property
    def places(self) -> Sequence[str]:
        return [f"{self.name}, line {number}" for number in self.numbers]

    def render(self, texts: Sequence[str]) -> str:
        pieces, position = [], 0
        for field, text in zip(self.fields, texts, strict=True):
            pieces += [self.text[position : field.start], field.write(text)]
            position = field.end
        return "".join([*pieces, self.text[position:]])


def _find_texts(source: Source, field: str, restore: bool, focus: bool) -> Iterator[tuple[int, JsonText]]:
    """Yield the field's value on each line that has one, with the number of the line."""
    from zprompt.zspan import is_span  # imports numpy, which --help does not need

    offset = 0
    for number, line in enumerate(source.text.split("\n"), 1):
        if line.strip(" \t\r" + BOM):
            try:
                json_text = find_text(line, field, restore=restore)
            except DocumentTypeError as error:
                raise located(error, f"{source.name}, line {number}") from error
            if json_text and focus and is_span(json_text.value):  # the mark of its text's notation stays
                notation, end = read_mark(line, json_text.end)
                json_text = replace(json_text, notation=notation, end=end, follows=line[end : end + 1])
            if json_text:
                yield number, replace(json_text, start=offset + json_text.start, end=offset + json_text.end)
        offset += len(line) + 1
