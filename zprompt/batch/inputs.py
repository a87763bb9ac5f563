"""Read the inputs of a bulk run: JSON lines, Parquet and folders of text, cut into chunks that workers read themselves.

A chunk says where its rows are and holds none of them. So cutting takes as much memory for a billion rows as for a
thousand, and little is sent to the workers. How an input is cut depends on it and `chunk_rows` alone.

A row is always a line of JSON: of a JSON lines file the line itself, byte for byte; of Parquet all columns; of a text
file {"path": …, "text": …}. In a path, bytes that are not UTF-8 are escaped.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zprompt.errors import MissingDependencyError, OptionError
from zprompt.json_lines import BOM, LINES_SUFFIXES, SPANS_SUFFIX
from zprompt.paths import walk

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")

BYTES_A_ROW = 4096  # a chunk whose rows are longer than this on average has fewer of them
_PARQUET = (".parquet",)
_BLANK = " \t\r\n" + BOM


@dataclass(frozen=True, slots=True)
class Row:
    """A row as read from a source."""

    file: str
    number: int  # of its line, or of its row in Parquet, from 1
    line: str  # JSON; if there is a problem, what can be shown of it
    problem: str | None = None  # why it cannot be read


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are compressed together, and written to one file."""

    source: Source
    number: int  # from 0 in each source
    where: tuple[int, ...] | tuple[str, ...]  # as the source understands it
    size: int  # approximate bytes of the source

    @property
    def key(self) -> tuple[str, int]:
        """Return a key that is unique in a run."""
        return self.source.name, self.number

    def rows(self) -> Iterator[Row]:
        """Read the rows; blank lines are skipped."""
        return self.source.read(self)


class Source(Protocol):
    """A file or folder that rows come from."""

    @property
    def name(self) -> str:
        """Return the name that its chunks' names begin with."""

    @property
    def path(self) -> Path:
        """Return its path."""

    @property
    def size(self) -> int:
        """Return its approximate size in bytes."""

    def cut(self, chunk_rows: int) -> Iterator[Chunk]:
        """Cut it into chunks, in order."""

    def read(self, chunk: Chunk) -> Iterator[Row]:
        """Read the rows of a chunk."""


def find_sources(inputs: Sequence[Path], field: str, out: Path) -> list[Source]:
    """Find the sources among files and folders.

    :param inputs: Files and folders. Of a folder, JSON lines and Parquet are sources of their own, and all other files
        are texts; hidden files and files of Z-spans are left out.
    :param field: Where the rows of text files have their text.
    :param out: Where the results go; it is left out of the folder that it lies in.
    :return: The sources.
    :raises OptionError: If there is none, or two have the same name.
    """
    sources = [source for path in inputs for source in _sources(path, field, out)]
    if not sources:
        raise OptionError(f"Nothing to read in {', '.join(map(str, inputs))}.")
    [(name, count)] = Counter(source.name for source in sources).most_common(1)
    if count > 1:
        raise OptionError(
            f"{count} inputs are named {name!r}, and so would be their results. Process them in separate runs, each "
            "with its own output folder."
        )
    return sources


def _sources(path: Path, field: str, out: Path) -> Iterator[Source]:
    if not path.is_dir():
        yield _file(path, path.name) or _TextFiles(path.parent, path.name, field, out, path.name)
        return
    texts = False
    for file in walk(path, out):
        source = _file(file, file.relative_to(path).as_posix())
        texts = texts or (source is None and file.suffix.lower() != SPANS_SUFFIX)
        if source:
            yield source
    if texts:
        yield _TextFiles(path, path.resolve().name or "root", field, out)


def _file(path: Path, name: str) -> Source | None:
    """Return a file as a source; None for a text."""
    try:
        path.open("rb").close()
    except OSError as error:  # reported now, not by a worker
        raise OptionError(f"{path} cannot be read: {error.strerror}. Pass files, or folders of files.") from error
    suffix = path.suffix.lower()
    return _JsonLines(path, name) if suffix in LINES_SUFFIXES else _Parquet(path, name) if suffix in _PARQUET else None


@dataclass(frozen=True, slots=True)
class _JsonLines:
    """JSON objects, one a line; a chunk is the offset and size of its lines in bytes, and the first line's number."""

    path: Path
    name: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def cut(self, chunk_rows: int) -> Iterator[Chunk]:
        start = 0
        with self.path.open("rb") as file:
            lines = ((number, len(line)) for number, line in enumerate(file, 1))
            for number, (numbers, size) in enumerate(_grouped(lines, chunk_rows)):
                yield Chunk(self, number, (start, size, numbers[0]), size)
                start += size

    def read(self, chunk: Chunk) -> Iterator[Row]:
        start, size, first = map(int, chunk.where)
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
        for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), first):
            row = _decoded(self.path, number, line)
            if row.line.strip(_BLANK):
                yield row


@dataclass(frozen=True, slots=True)
class _Parquet:
    """A Parquet file; a chunk is a row group, its first row in the group and in the file, and its number of rows."""

    path: Path
    name: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def cut(self, chunk_rows: int) -> Iterator[Chunk]:
        metadata = _open_parquet(self.path).metadata
        number = before = 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            longest = max(1, chunk_rows * BYTES_A_ROW * rows // max(1, metadata.row_group(group).total_byte_size))
            step = min(chunk_rows, longest)
            for start in range(0, rows, step):
                count = min(step, rows - start)
                yield Chunk(self, number, (group, start, before + start, count), self.size * count // metadata.num_rows)
                number += 1
            before += rows

    def read(self, chunk: Chunk) -> Iterator[Row]:
        group, start, before, count = map(int, chunk.where)
        records = _row_group(self.path, group).slice(start, count).to_pylist()
        for number, record in enumerate(records, before + 1):
            yield Row(_shown(self.path), number, json.dumps(_jsonable(record), ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class _TextFiles:
    """A folder of texts; a chunk is the paths of its files in the folder."""

    folder: Path
    name: str
    field: str
    out: Path
    chosen: str | None = None  # one file in it; None: all that are not sources of their own

    @property
    def path(self) -> Path:
        return self.folder if self.chosen is None else self.folder / self.chosen

    @property
    def size(self) -> int:
        return sum((self.folder / name).stat().st_size for name in self._names())

    def cut(self, chunk_rows: int) -> Iterator[Chunk]:
        files = ((name, (self.folder / name).stat().st_size) for name in self._names())
        for number, (names, size) in enumerate(_grouped(files, chunk_rows)):
            yield Chunk(self, number, tuple(names), size)

    def read(self, chunk: Chunk) -> Iterator[Row]:
        for name in map(str, chunk.where):
            path = self.folder / name
            row = _decoded(path, 1, path.read_bytes())
            record = {"path": _shown(name), self.field: row.line}
            yield Row(row.file, 1, json.dumps(record, ensure_ascii=False), row.problem)

    def _names(self) -> Iterator[str]:
        if self.chosen is not None:
            yield self.chosen
            return
        for file in walk(self.folder, self.out):
            if file.suffix.lower() not in (*LINES_SUFFIXES, *_PARQUET, SPANS_SUFFIX):
                yield file.relative_to(self.folder).as_posix()


def _grouped(items: Iterable[tuple[T, int]], chunk_rows: int) -> Iterator[tuple[list[T], int]]:
    """Group items with their sizes into chunks; yield the items of each chunk and their total size, in bytes."""
    group: list[T] = []
    size = 0
    for item, item_size in items:
        if len(group) == chunk_rows or (group and size + item_size > chunk_rows * BYTES_A_ROW):
            yield group, size
            group, size = [], 0
        group.append(item)
        size += item_size
    if group:
        yield group, size


def _decoded(path: Path, number: int, data: bytes) -> Row:
    file = _shown(path)
    try:
        return Row(file, number, data.decode())
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte {error.start} is 0x{data[error.start]:02x}."
        return Row(file, number, data.decode(errors="replace"), problem)


def _shown(path: str | Path) -> str:
    """Return a path as UTF-8 text: bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} needs pyarrow, which is not installed: pip install 'zprompt[parquet]'."
        ) from error
    with _read_as_parquet(path):
        # As bytes, since pyarrow would encode the path as UTF-8, which not every name is.
        return pyarrow.parquet.ParquetFile(pyarrow.OSFile(os.fsencode(path)))


@lru_cache(maxsize=1)  # a worker's next chunk is mostly of the same one
def _row_group(path: Path, group: int) -> pyarrow.Table:
    file = _open_parquet(path)
    with _read_as_parquet(path):
        return file.read_row_group(group)


@contextmanager
def _read_as_parquet(path: Path) -> Iterator[None]:
    """Turn pyarrow's errors into OptionErrors that name the file."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).strip()
        raise OptionError(
            f"{_shown(path)} cannot be read as Parquet ({reason}). Repair it, or leave it out."
        ) from error


def _jsonable(value: Any) -> Any:  # noqa: ANN401 - whatever a column has
    """Return a value as JSON has it: bytes in base64, times and decimals as text, null for non-finite numbers."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(name): _jsonable(item) for name, item in value.items()}
        case list() | tuple():
            return [_jsonable(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
