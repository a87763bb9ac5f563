"""Cache the symbols of windows, so that a text is compressed again without the LLM, at any ratio and for any query.

All that compression needs of the LLM are the symbols of a window's tokens (compressor.py). They depend only on the
window's tokens and the codec, so they are kept under the hash of both: in memory and, for codecs loaded by name, in one
SQLite file in the cache folder, from which the oldest are evicted. Without a usable file texts are compressed all the
same, by running the LLM again.

Logits differ in their last bits from one kernel to another, and symbols are exact for the kernels that computed them:
so torch's version and the CPU's instruction set are part of the hash, too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from zprompt.codec.tiling import Ints
from zprompt.recent import Recent

IN_MEMORY = 4_000_000  # tokens, 4 bytes each
ON_DISK = 256_000_000  # bytes
SHRUNK = 0.75  # share of the windows that stay once the file is too large

_TABLE = "CREATE TABLE IF NOT EXISTS symbols (key BLOB UNIQUE, data BLOB NOT NULL)"

logger = logging.getLogger(__name__)


class SymbolCache:
    """The symbols of windows; safe for several threads and processes."""

    def __init__(
        self, fingerprint: str, path: Path | None = None, *, tokens: int = IN_MEMORY, size: int = ON_DISK
    ) -> None:
        """Open a cache.

        :param fingerprint: Names the codec and the kind of device.
        :param path: The file, which several codecs may share; None: memory only.
        :param tokens: Most tokens whose symbols are kept in memory.
        :param size: Most bytes that the file may take.
        """
        machine = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
        self._salt = f"{fingerprint} {machine}".encode()
        self._path, self._size = path, size
        self._in_memory: Recent[bytes, Ints] = Recent(tokens)
        self._lock = threading.Lock()  # of the file
        self._database: sqlite3.Connection | None = None
        self._process = os.getpid()

    def get(self, ids: Sequence[int]) -> Ints | None:
        """Return the symbols of a window, (n,), or None if they are not cached."""
        key = self._key(ids)
        if (cached := self._in_memory.get(key)) is not None:
            return cached
        with self._lock:
            data = self._read(key)
        if data is None or len(data) != 4 * len(ids):
            return None
        symbols = np.frombuffer(data, np.int32).astype(np.int64)
        self._in_memory.put(key, symbols, len(symbols))
        return symbols

    def put(self, windows: Sequence[tuple[Sequence[int], Ints]]) -> None:
        """Keep the symbols of windows, (n,) each."""
        rows = [(self._key(ids), symbols) for ids, symbols in windows]
        for key, symbols in rows:
            self._in_memory.put(key, symbols, len(symbols))
        with self._lock:
            self._write([(key, symbols.astype(np.int32).tobytes()) for key, symbols in rows])

    def _key(self, ids: Sequence[int]) -> bytes:
        return hashlib.blake2b(np.asarray(ids, np.int32).tobytes(), digest_size=20, key=self._salt[:64]).digest()

    def _read(self, key: bytes) -> bytes | None:
        try:
            database = self._open()
            row = database.execute("SELECT data FROM symbols WHERE key = ?", (key,)).fetchone() if database else None
        except (sqlite3.Error, OSError) as error:
            self._disable_file(error)
            return None
        return bytes(row[0]) if row else None

    def _write(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        try:
            if (database := self._open()) is None:
                return
            with database:
                database.executemany("INSERT OR IGNORE INTO symbols VALUES (?, ?)", rows)
                self._evict(database)
        except (sqlite3.Error, OSError) as error:
            self._disable_file(error)

    def _evict(self, database: sqlite3.Connection) -> None:
        """Evict the oldest windows once the file is too large."""
        [[pages], [free_pages], [page_size]] = [
            database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        ]
        if (pages - free_pages) * page_size > self._size:
            [count] = database.execute("SELECT count(*) FROM symbols").fetchone()
            database.execute(
                "DELETE FROM symbols WHERE rowid IN (SELECT rowid FROM symbols ORDER BY rowid LIMIT ?)",
                (max(1, round(count * (1 - SHRUNK))),),
            )

    def _open(self) -> sqlite3.Connection | None:
        if self._path is None:
            return None
        if self._database is None or self._process != os.getpid():  # a connection does not survive a fork
            self._process = os.getpid()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_TABLE)
        return self._database

    def _disable_file(self, error: Exception) -> None:
        """Fall back to memory only."""
        logger.info("The symbol cache is kept in memory only: %s: %s.", self._path, error)
        self._path = self._database = None
