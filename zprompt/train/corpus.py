"""Training text, from files, folders or a Hugging Face dataset."""

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from zprompt.errors import TrainingDataError
from zprompt.eval import open_dataset, text_of

_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError, lzma.LZMAError, zlib.error)
_OPENERS: dict[str, Callable[..., IO[Any]]] = {".xz": lzma.open, ".gz": gzip.open}


def read_texts(sources: Sequence[str]) -> list[str]:
    """Read all texts of files, folders and datasets.

    :param sources: Paths of text files, JSONL files (also .xz and .gz; strings, or rows as `text_of` takes them) or
        folders of them; or datasets on the Hugging Face hub, as NAME@CONFIG:SPLIT.
    :return: The texts that are not blank, in order.
    :raises TrainingDataError: If a source is missing or holds no text.
    """
    texts = [text for source in sources for text in _read_source(source) if text.strip()]
    if not texts:
        raise TrainingDataError(f"No text in {list(sources)}. Pass text files, JSONL files or folders of them.")
    return texts


def _read_source(source: str) -> Iterator[str]:
    path = Path(source)
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")):
            yield from _read_file(file)
    elif path.is_file():
        yield from _read_file(path)
    elif source.startswith((".", "/", "~")) or path.suffix:
        raise TrainingDataError(f"No file or folder at {source}.")
    else:
        for number, row in enumerate(open_dataset(source, "train")):
            yield _text_of(row, f"{source}, row {number}")


def _read_file(path: Path) -> Iterator[str]:
    opener = _OPENERS.get(path.suffix, open)
    jsonl = ".jsonl" in path.suffixes
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            if not jsonl:
                yield lines.read()
                return
            for number, line in enumerate(lines, 1):
                yield _text_of(json.loads(line), f"{path}, line {number}")
    except _UNREADABLE as error:
        raise TrainingDataError(f"{path} cannot be read as UTF-8 {'JSONL' if jsonl else 'text'}: {error}") from error


def _text_of(row: Any, where: str) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise TrainingDataError(f"{where} is neither a string nor an object with a text.")
    try:
        return text_of(row)
    except TrainingDataError as error:
        raise TrainingDataError(f"{where}: {error}") from error
