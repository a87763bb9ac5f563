"""A bulk run over a tiny LLM, in this process unless a test is about worker processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.conftest import SENTENCES
from zprompt.batch import BatchSettings, Chunk, ChunkResult, ChunkWorker

Settings: TypeAlias = Callable[..., BatchSettings]
TEXTS = [f"{number}: {SENTENCES[number % 6]} {SENTENCES[(number + 1) % 6]}" for number in range(10)]

NOT_UTF8 = b"caf\xe9"  # a name in Latin-1
allows_any_name = pytest.mark.skipif(sys.platform != "linux", reason="file names must be Unicode here")


@pytest.fixture
def settings(tmp_path: Path, tiny_backbone_dir: Path) -> Settings:
    """Return a factory of settings with small chunks."""

    def make(out: str = "out", **others: Any) -> BatchSettings:  # noqa: ANN401 - the other fields
        options = {"codec": str(tiny_backbone_dir), "device": "cpu", "chunk_rows": 3, "ratio": 3.0} | others
        return BatchSettings(tmp_path / out, **options)

    return make


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Return a file of ten JSON lines."""
    return write_lines(tmp_path / "a.jsonl", [json.dumps({"id": n, "text": text}) for n, text in enumerate(TEXTS)])


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every engine process the chunks in this process, the last one first."""

    def engine(settings: BatchSettings, chunks: Iterator[Chunk], workers: int | None) -> Iterator[ChunkResult]:
        worker = ChunkWorker(settings, threads=1)
        yield from map(worker, reversed(list(chunks)))

    monkeypatch.setattr("zprompt.batch.run._ENGINES", {"processes": engine, "ray": engine})


def write_lines(path: Path, lines: list[str] | list[bytes]) -> Path:
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def files_of(folder: Path) -> Mapping[str, bytes]:
    """Return the contents of the files in a folder by path, without the lock and the record of the inputs."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "inputs.json"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def rows_of(out: Path, kind: str = "rows") -> list[dict[str, Any]]:
    """Return the rows of all chunks of a kind, in order."""
    files = sorted((out / kind).rglob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
