"""Keep the originals of shortened texts, so that an LLM can ask for what was left out.

They are stored in an SQLite file by the hash of their text, up to a total size. When it is full, the least recently
used text is evicted first; its hash stays, so that asking for it says why it is gone. Nothing expires by time, and the
originals outlast a restart.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

from zprompt.errors import DroppedOriginalError, OptionError, UnknownOriginalError

# In a row, size and used come after the text, which SQLite would read to reach them: an index and the table `kept` hold
# what each use needs. Triggers keep the total right whichever process writes, even one of an earlier release.
_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS originals (hash TEXT PRIMARY KEY, text BLOB, size INTEGER NOT NULL, used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS originals_kept ON originals (used, size) WHERE text IS NOT NULL;
CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, size INTEGER NOT NULL);
INSERT OR IGNORE INTO kept SELECT 1, total(size) FROM originals WHERE text IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS originals_added AFTER INSERT ON originals BEGIN
    UPDATE kept SET size = size + new.size;
END;
CREATE TRIGGER IF NOT EXISTS originals_changed AFTER UPDATE OF text, size ON originals BEGIN
    UPDATE kept SET size = size + new.size * (new.text IS NOT NULL) - old.size * (old.text IS NOT NULL);
END;
COMMIT;
"""
_IN_MEMORY = ":memory:"


class Originals:
    """Texts by their hash; thread-safe."""

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        """Open a file of originals, or create it.

        :param path: The file; None: in memory, for the life of this object.
        :param max_bytes: Size limit of all texts together, in bytes of UTF-8.
        :raises OptionError: If the file cannot be used.
        """
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._max_bytes = path, max_bytes
        try:
            self._database = sqlite3.connect(_IN_MEMORY if path is None else path, timeout=30, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(_TABLES)
        except sqlite3.Error as error:
            raise OptionError(f"Originals cannot be stored in {path}: {error}. Choose another file.") from error
        self._lock = threading.Lock()

    def keep(self, originals: Mapping[str, str]) -> None:
        """Store texts by their hashes, and evict others until all fit into max_bytes."""
        if not originals:
            return
        with self._lock, self._database as database:
            now = self._next_use()
            database.executemany(
                "INSERT INTO originals VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE "
                "SET text = excluded.text, size = excluded.size, used = excluded.used",
                [(key, data, len(data), now) for key, text in originals.items() for data in (text.encode(),)],
            )
            self._make_room()

    def get(self, key: str) -> str:
        """Return the text of a hash.

        :param key: The hash.
        :return: The text.
        :raises UnknownOriginalError: If none was ever stored under it.
        :raises DroppedOriginalError: If it was evicted.
        """
        with self._lock, self._database as database:
            row = database.execute("SELECT text FROM originals WHERE hash = ?", (key,)).fetchone()
            if row and row[0] is not None:
                database.execute("UPDATE originals SET used = ? WHERE hash = ?", (self._next_use(), key))
        if row is None:
            raise UnknownOriginalError(f"No original with the hash {key!r} is stored here.")
        if row[0] is None:
            raise DroppedOriginalError(
                f"The original with the hash {key!r} was evicted to keep all of them within "
                f"{self._max_bytes:,} bytes. Get the text again from its source, or raise --originals-bytes."
            )
        return bytes(row[0]).decode()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _next_use(self) -> int:
        [last] = self._database.execute("SELECT max(used) FROM originals WHERE text IS NOT NULL").fetchone()
        return (last or 0) + 1

    def _make_room(self) -> None:
        """Evict the least recently used texts until the rest fits."""
        [size] = self._database.execute("SELECT size FROM kept").fetchone()
        while size > self._max_bytes:
            key, evicted_size = self._database.execute(
                "SELECT hash, size FROM originals WHERE text IS NOT NULL ORDER BY used LIMIT 1"
            ).fetchone()
            self._database.execute("UPDATE originals SET text = NULL WHERE hash = ?", (key,))
            size -= evicted_size
