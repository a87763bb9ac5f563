"""Compress a chunk as a whole, or leave no trace of it.

    OUT/run.json                                    what all chunks were made with
    OUT/inputs.json                                 paths of the inputs, by name
    OUT/rows/wiki.jsonl-0000012-1f0c….jsonl         the rows, each with a Z-span in place of its text
    OUT/bad/wiki.jsonl-0000012-1f0c….jsonl          rows that cannot be compressed, and why; if there are any
    OUT/embeddings/wiki.jsonl-0000012-1f0c….safetensors     sentences of the rows, if asked for

A chunk's name has a hash of its rows and of what they were compressed with, so it identifies the content. Each file is
written under another name, synced to disk and renamed, the rows last: a chunk whose rows are there is done. A chunk
that is done is never done again; one that was interrupted is done anew and gives the same bytes, since no row depends
on the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zprompt.batch.inputs import Chunk, Row
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError
from zprompt.json_lines import JsonText, find_text
from zprompt.options import CompressOptions, Protect
from zprompt.relevance import EmbeddingCache, MiniLM, fetch_minilm, open_embedder, sentences

if TYPE_CHECKING:
    from zprompt.codec import Codec

RUN, ROWS, BAD, EMBEDDINGS = "run.json", "rows", "bad", "embeddings"  # in the folder of results
PARTIAL = ".partial"  # suffix of files that are not complete yet
_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How a bulk run compresses rows, and where it writes the results."""

    out: Path  # or a str
    field: str = "text"  # of a row, that has its text
    ratio: float | None = None  # source tokens per Z-token of each row; None: by how hard it is to predict
    protect: Protect | None = None  # a regex, or literal strings, whose tokens are all kept as anchors
    min_tokens: int | None = None  # shorter texts pass through unchanged
    embedder: object = None  # of sentences: as `zprompt.relevance.open_embedder` takes it; None: no embeddings
    codec: str = "default"
    backbone: str | None = None
    device: str = "auto"
    quantization: str = "auto"
    chunk_rows: int = 256  # at most; the Z-spans do not depend on it

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))

    @property
    def options(self) -> CompressOptions:
        """Return the compression options, checked."""
        return CompressOptions(ratio=self.ratio, protect=self.protect, min_tokens=self.min_tokens)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The result of a chunk."""

    chunk: Chunk
    name: str  # of its files, without folder and suffix
    rows: int  # written
    bad: int
    source_tokens: int = 0  # of the rows, and …
    positions: int = 0  # … that they take now; 0 if the chunk was done before
    new: bool = True  # False: it was done before


@dataclass(frozen=True, slots=True)
class _TextRow:
    """A row that has a text, or null in its place."""

    row: Row
    text: JsonText | None

    def render(self, text: str) -> str:
        """Return the row's line with its text replaced."""
        line, old = self.row.line, self.text
        return line if old is None else line[: old.start] + old.write(text) + line[old.end :]


class ChunkWorker:
    """Compresses chunks one by one; loads the codec for the first."""

    def __init__(self, settings: BatchSettings, threads: int) -> None:
        """Prepare a worker.

        :param settings: How to compress.
        :param threads: Cores to compute on.
        """
        self.settings, self.threads = settings, threads
        self._codec: Codec | None = None
        self._embeddings: EmbeddingCache | None = None
        self._made_with = b""

    def __call__(self, chunk: Chunk) -> ChunkResult:
        """Compress a chunk, unless it is done.

        :param chunk: The chunk.
        :return: Its result.
        :raises OptionError: If the folder has chunks made with other settings.
        """
        codec = self._codec or self._load()
        rows = list(chunk.rows())
        name = f"{chunk.source.name}-{chunk.number:07d}-{_digest(self._made_with, rows)}"
        done = self.settings.out / ROWS / f"{name}.jsonl"
        if done.exists():
            bad = _count_lines(self.settings.out / BAD / f"{name}.jsonl")
            return ChunkResult(chunk, name, len(rows) - bad, bad, new=False)
        text_rows, bad_rows = self._find_texts(rows)
        texts = [text_row.text.value for text_row in text_rows if text_row.text]
        compressed, lengths = self._compress(codec, texts)
        good, lines = [], []
        results = iter(compressed)
        for text_row in text_rows:
            result = next(results) if text_row.text else ""
            if isinstance(result, InvalidTextError):
                bad_rows.append(replace(text_row.row, problem=str(result)))
            else:
                good.append(text_row)
                lines.append(text_row.render(result))
        self._write(name, good, lines, sorted(bad_rows, key=lambda row: (row.file, row.number)))
        source_tokens, positions = (sum(counts) for counts in zip(*lengths, strict=True)) if lengths else (0, 0)
        return ChunkResult(chunk, name, len(good), len(bad_rows), source_tokens, positions)

    def _load(self) -> Codec:
        """Load the codec, and check that the folder's chunks are made with the same."""
        import torch

        from zprompt.codec import Codec

        torch.set_num_threads(self.threads)
        settings = self.settings
        codec = Codec.from_pretrained(
            settings.codec, backbone=settings.backbone, device=settings.device, quantization=settings.quantization
        )
        codec.remember_nothing()
        if settings.embedder is not None:
            default = settings.embedder == "default"
            embedder = MiniLM(fetch_minilm(), self.threads) if default else open_embedder(settings.embedder)
            self._embeddings = EmbeddingCache(embedder)
        made_with = _made_with(settings, codec.fingerprint, self._embeddings.name if self._embeddings else None)
        _claim(settings.out / RUN, made_with)
        self._made_with = json.dumps(made_with).encode()
        self._codec = codec
        return codec

    def _find_texts(self, rows: Sequence[Row]) -> tuple[list[_TextRow], list[Row]]:
        """Find the texts of rows; return rows with a text, and bad rows."""
        text_rows, bad = [], []
        for row in rows:
            try:
                if row.problem:
                    raise DocumentTypeError(row.problem)
                text_rows.append(_TextRow(row, find_text(row.line, self.settings.field)))
            except DocumentTypeError as error:
                bad.append(replace(row, problem=str(error)))
        return text_rows, bad

    def _compress(
        self, codec: Codec, texts: Sequence[str]
    ) -> tuple[list[str | InvalidTextError], list[tuple[int, int]]]:
        """Compress texts one by one; return each Z-span or error, and each text's source tokens and positions."""
        try:
            result = codec.compress_with(self.settings.options, texts, each=True)
        except InvalidTextError as error:  # before anything was computed
            if len(texts) == 1:
                return [error.__cause__ if isinstance(error.__cause__, InvalidTextError) else error], []
            half = len(texts) // 2
            first, second = self._compress(codec, texts[:half]), self._compress(codec, texts[half:])
            return first[0] + second[0], first[1] + second[1]
        return list(result.documents), list(result.tokens)

    def _write(self, name: str, good: Sequence[_TextRow], lines: Sequence[str], bad: Sequence[Row]) -> None:
        """Write the files of a chunk, the rows last."""
        out = self.settings.out
        if bad:
            records = ({"file": row.file, "line": row.number, "reason": row.problem, "row": row.line} for row in bad)
            write_whole(out / BAD / f"{name}.jsonl", _lines(json.dumps(record) for record in records))
        if self._embeddings:
            texts = [text_row.text.value if text_row.text else "" for text_row in good]
            write_whole(out / EMBEDDINGS / f"{name}.safetensors", embed_sentences(texts, self._embeddings))
        write_whole(out / ROWS / f"{name}.jsonl", _lines(lines))


def embed_sentences(texts: Sequence[str], embeddings: EmbeddingCache) -> bytes:
    """Embed the sentences of texts.

    :param texts: The texts.
    :param embeddings: Embeds them.
    :return: A safetensors file: `vectors`, (n, d) in float16, each of length 1; `rows`, (n,) in int32, the index of the
        text of each; `ranges`, (n, 2) in int32, the characters where the sentence starts and ends.
    """
    from safetensors.numpy import save

    ranges = [(row, *span) for row, text in enumerate(texts) if text.strip() for span in sentences(text)]
    units = [texts[row][start:end].strip() for row, start, end in ranges]
    vectors = embeddings.texts(units) if units else np.zeros((0, 0), np.float32)
    columns = np.array(ranges, np.int32).reshape(-1, 3)
    tensors: dict[str, Any] = {
        "vectors": vectors.astype(np.float16),
        "rows": np.ascontiguousarray(columns[:, 0]),
        "ranges": np.ascontiguousarray(columns[:, 1:]),
    }
    return save(tensors, {"embedder": embeddings.name})


def _made_with(settings: BatchSettings, fingerprint: str, embedder: str | None) -> dict[str, Any]:
    """Return all that the files of a chunk depend on, except its rows."""
    protection = settings.options.protection
    return {
        "codec": fingerprint,
        "field": settings.field,
        "ratio": None if settings.ratio is None else float(settings.ratio),  # 4 and 4.0 have the same hash
        "protect": [*protection.literals, *([pattern.pattern, pattern.flags] for pattern in protection.patterns)],
        "min_tokens": settings.min_tokens,
        "embedder": embedder,
        "chunk_rows": settings.chunk_rows,
    }


def _claim(path: Path, made_with: dict[str, Any]) -> None:
    """Record what a run's chunks are made with; raise OptionError if the folder has a run with other settings."""
    if not path.exists():
        write_whole(path, json.dumps(made_with, indent=1).encode() + b"\n")
    before = read_record(path)
    differing = [name for name in made_with if before.get(name) != made_with[name]]
    if differing:
        changes = ", ".join(f"{name} {before.get(name)!r} (now {made_with[name]!r})" for name in differing)
        raise OptionError(f"{path.parent} has the results of a run with {changes}. Choose another folder.")


def read_record(path: Path) -> dict[str, Any]:
    """Read a record that a run wrote; raise OptionError if it is damaged."""
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
    except ValueError as error:
        raise OptionError(f"{path} is damaged ({error}). Choose another folder.") from error
    return values


def _digest(made_with: bytes, rows: Sequence[Row]) -> str:
    digest = hashlib.blake2b(made_with, digest_size=_HASH_BYTES)
    for row in rows:
        data = row.line.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _lines(lines: Iterator[str] | Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically, even if the machine fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
