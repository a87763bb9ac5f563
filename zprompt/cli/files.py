"""Find the files to read and the places to write, and move text between them byte for byte.

Several inputs become files in one folder, with the names that they have below the folders that were given:

    zprompt compress notes/ letter.txt -o out      notes/a/b.txt → out/a/b.txt.z,  letter.txt → out/letter.txt.z
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import typer

from zprompt.cli.messages import note, warn
from zprompt.errors import InvalidTextError, OptionError

STREAM = Path("-")  # stdin or stdout
SUFFIX = ".z"  # of files that hold Z-spans


@dataclass(frozen=True, slots=True)
class Source:
    """A text that was read."""

    name: PurePath  # below the folder that was given
    text: str


@dataclass(frozen=True, slots=True)
class Sources:
    """All texts that were read."""

    members: tuple[Source, ...]
    several: bool  # the outputs need a folder; True for one folder with one file in it, too


def read_sources(paths: Sequence[Path] | None, out: Path | None = None) -> Sources:
    """Read the texts of files, folders and stdin.

    :param paths: What was given; a folder stands for all text files in it; nothing, or -, is stdin.
    :param out: Where the outputs go; if it lies in one of the folders, it is left out.
    :return: The texts.
    :raises OptionError: If there is none.
    """
    paths = paths or [STREAM]
    members = tuple(source for path in paths for source in _read(path, out))
    if not members:
        raise OptionError(f"There is no text file in {', '.join(map(str, paths))}. Text is what decodes as UTF-8.")
    return Sources(members, several=len(members) > 1 or any(path.is_dir() for path in paths))


def read_text(path: Path) -> str:
    """Read a text as it is: line ends and a byte-order mark are part of it.

    :param path: A file, or - for stdin.
    :return: The text.
    :raises InvalidTextError: If it is not UTF-8.
    """
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
    """Write a text as it is.

    :param path: A file, whose folder is made if need be, or None for stdout.
    :param text: The text.
    """
    if path is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()  # a closed pipe is to be noticed here, not when Python exits
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def plan_outputs(sources: Sources, out: Path | None, rename: Callable[[str], str]) -> list[Path | None]:
    """Say where the output of each source goes.

    :param sources: The sources.
    :param out: What was given as --output.
    :param rename: Gives the name of an output in a folder from its source's name.
    :return: A file for each source, or None for stdout.
    :raises BadParameter: If there are several sources and no folder for their outputs.
    :raises OptionError: If two outputs have the same place.
    """
    out = None if out == STREAM else out
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


def _read(path: Path, out: Path | None) -> Iterator[Source]:
    if not path.is_dir():
        yield Source(PurePath(_title(path) if path == STREAM else path.name), read_text(path))
        return
    for file in _walk(path, out):
        try:
            yield Source(file.relative_to(path), read_text(file))
        except InvalidTextError:
            warn(f"{file} is skipped: it is not UTF-8 text.")


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """List the files of a folder, at any depth, in order, but none that is hidden or an output of ours."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink() or (out is not None and path.absolute() == out.absolute()):
            continue
        if path.is_dir():
            yield from _walk(path, out)
        elif path.is_file():
            yield path


def _title(path: Path) -> str:
    return "stdin" if path == STREAM else str(path)
