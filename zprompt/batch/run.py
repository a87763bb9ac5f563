"""Compress more than fits into memory: files to files, on all cores or many machines, resumable at any time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from zprompt.batch.engines import Engine, LeftOut, on_processes, on_ray
from zprompt.batch.inputs import Chunk, Source, find_sources
from zprompt.batch.worker import BAD, EMBEDDINGS, PARTIAL, ROWS, BatchSettings, ChunkResult, read_record, write_whole
from zprompt.errors import OptionError
from zprompt.options import whole_number

INPUTS = "inputs.json"  # in the folder of results: paths of the inputs, by name
_CHUNK = re.compile(r"(.*)-\d{7,}-[0-9a-f]{16}\.(?:jsonl|safetensors)")
_ENGINES = {"processes": on_processes, "ray": on_ray}


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a bulk run has done so far."""

    rows: int = 0  # written, by this run or an earlier one
    bad: int = 0  # rows that could not be compressed; the folder `bad` says why
    chunks: int = 0
    done_before: int = 0  # of the chunks, by an earlier run
    left_out: tuple[str, ...] = ()  # chunks that killed their workers; the next run tries them again
    new_rows: int = 0  # of the rows, by this run
    source_tokens: int = 0  # of the new rows, and …
    positions: int = 0  # … that they take now
    seconds: float = 0.0
    read_bytes: int = 0  # of the inputs
    new_bytes: int = 0  # of these, compressed by this run
    total_bytes: int = 0

    @property
    def ratio(self) -> float:
        """Return source tokens per position, of the rows that this run compressed."""
        return self.source_tokens / self.positions if self.positions else 1.0

    @property
    def complete(self) -> bool:
        """Return whether all rows were compressed."""
        return not self.bad and not self.left_out


def batch(
    inputs: str | Path | Iterable[str | Path],
    settings: BatchSettings,
    *,
    workers: int | None = None,
    engine: Engine = "processes",
    progress: Callable[[BatchResult], None] | None = None,
) -> BatchResult:
    """Replace the text of each row of files by a Z-span; resume if the folder has results already.

    Each row is compressed on its own: its Z-span depends neither on the others nor on the workers. The content of the
    folder `settings.out` is described in `zprompt.batch.worker`. A script that calls this needs
    `if __name__ == "__main__":`, since workers import it.

    :param inputs: Files of JSON lines (*.jsonl, *.ndjson), Parquet (*.parquet) or text, and folders of these; or one.
    :param settings: How to compress, and the folder for the results.
    :param workers: Number of processes or actors; None: one for each GPU, or, without GPUs, one for each core.
    :param engine: "processes" of this machine, or "ray".
    :param progress: Called after each chunk with the result so far.
    :return: The result.
    :raises OptionError: If an option is not allowed, an input cannot be read, or the folder is in use or has the
        results of other options or of another input of the same name.
    """
    if engine not in _ENGINES:
        raise OptionError(f"engine must be one of {', '.join(map(repr, _ENGINES))}, got {engine!r}.")
    for name, value in {"workers": workers, "chunk_rows": settings.chunk_rows}.items():
        if value is not None and whole_number(name, value) < 1:
            raise OptionError(f"{name} must be at least 1, got {value}.")
    _ = settings.options  # checked now, not in a worker
    settings = replace(settings, out=settings.out.absolute())  # workers of Ray have another working directory
    paths = [inputs] if isinstance(inputs, str | Path) else inputs
    sources = find_sources([Path(path).absolute() for path in paths], settings.field, settings.out)
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.out / ".lock", timeout=0):
            return _run(sources, settings, workers, engine, progress)
    except Timeout as error:
        raise OptionError(
            f"Another run is writing to {settings.out}. Wait for it, or choose another folder."
        ) from error


def _run(
    sources: Sequence[Source],
    settings: BatchSettings,
    workers: int | None,
    engine: Engine,
    progress: Callable[[BatchResult], None] | None,
) -> BatchResult:
    began = time.monotonic()
    _claim_names(settings.out, sources)
    names: set[str] = set()
    state = BatchResult(total_bytes=sum(source.size for source in sources))
    chunks: Iterator[Chunk] = (chunk for source in sources for chunk in source.cut(settings.chunk_rows))
    for result in _ENGINES[engine](settings, chunks, workers):
        if isinstance(result, ChunkResult):
            names.add(result.name)
        state = replace(_add(state, result), seconds=time.monotonic() - began)
        if progress:
            progress(state)
    if not state.left_out:
        _remove_stale(settings.out, {source.name for source in sources}, names)
    return state


def _claim_names(out: Path, sources: Sequence[Source]) -> None:
    """Record where the inputs are; raise OptionError if one would replace the results of another of the same name."""
    path = out / INPUTS
    known: dict[str, str] = read_record(path) if path.exists() else {}
    for source in sources:
        before = Path(known.get(source.name, source.path))
        if before.exists() and not before.samefile(source.path):  # an input that no longer exists was moved
            raise OptionError(
                f"{out} has the results of {before}, which those of {source.path} would replace, since both inputs are "
                f"named {source.name!r}. Choose another folder, or remove {path} if one is a copy of the other."
            )
    known |= {source.name: str(source.path) for source in sources}
    write_whole(path, json.dumps(known, indent=1).encode() + b"\n")


def _add(state: BatchResult, result: ChunkResult | LeftOut) -> BatchResult:
    read = state.read_bytes + result.chunk.size
    if isinstance(result, LeftOut):
        message = f"{result.chunk.source.name}, chunk {result.chunk.number}: {result.reason}"
        return replace(state, chunks=state.chunks + 1, left_out=(*state.left_out, message), read_bytes=read)
    return replace(
        state,
        rows=state.rows + result.rows,
        bad=state.bad + result.bad,
        chunks=state.chunks + 1,
        done_before=state.done_before + (not result.new),
        source_tokens=state.source_tokens + result.source_tokens,
        positions=state.positions + result.positions,
        read_bytes=read,
        new_rows=state.new_rows + result.new * result.rows,
        new_bytes=state.new_bytes + result.new * result.chunk.size,
    )


def _remove_stale(out: Path, sources: set[str], names: set[str]) -> None:
    """Remove partial files of interrupted runs, and chunks of what the sources were before they changed."""
    for folder in (out / ROWS, out / BAD, out / EMBEDDINGS):
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            match = _CHUNK.fullmatch(name)
            stale = match and match[1] in sources and name.rpartition(".")[0] not in names
            if stale or path.name.endswith(PARTIAL):
                path.unlink()
