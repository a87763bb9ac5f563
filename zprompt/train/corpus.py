"""Training text, from files, folders or a Hugging Face dataset."""

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from zprompt.errors import TrainingDataError

TEXT_FIELDS = ("text", "content", "page_content")
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError, lzma.LZMAError, zlib.error)
_OPENERS: dict[str, Callable[..., IO[Any]]] = {".xz": lzma.open, ".gz": gzip.open}


def read_texts(sources: Sequence[str]) -> list[str]:
    """Read all texts of files, folders and datasets.

    :param sources: Paths of text files, JSONL files (also .xz and .gz; rows with "paragraphs" or one of TEXT_FIELDS) or
        folders of them; or names of datasets on the Hugging Face hub.
    :return: The texts that are not blank, in order.
    :raises TrainingDataError: If a source is missing or holds no text.
    """
    texts = [text for source in sources for text in _read_source(source) if text.strip()]
    if not texts:
        raise TrainingDataError(f"No text in {list(sources)}. Give text files, JSONL files or folders of them.")
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
        yield from _read_dataset(source)


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
    if isinstance(row, dict):
        if isinstance(row.get("paragraphs"), list):
            return "\n\n".join(row["paragraphs"])
        for name in TEXT_FIELDS:
            if isinstance(row.get(name), str):
                return str(row[name])
    fields = ", ".join(("paragraphs", *TEXT_FIELDS))
    raise TrainingDataError(f"{where} has no text. Allowed are a string, or an object with one of {fields}.")


def _read_dataset(name: str) -> Iterator[str]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise TrainingDataError(f"No file {name}; for a dataset, install zprompt[train].") from error
    try:
        rows = load_dataset(name, split="train")
    except Exception as error:  # whatever its builders raise
        raise TrainingDataError(f"{name} is no file and cannot be loaded as a dataset: {error}") from error
    for number, row in enumerate(rows):
        yield _text_of(row, f"{name}, row {number}")
