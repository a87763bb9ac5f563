"""An in-memory LRU cache whose values have sizes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A thread-safe LRU cache with a limit on the total size of its values."""

    def __init__(self, capacity: int) -> None:
        """Hold values whose sizes sum to at most `capacity`."""
        self._capacity, self.total = capacity, 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, if it is still there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Key, value: Value, size: int = 1) -> None:
        """Keep a value, unless it exceeds the capacity, and evict the least recently used ones until it fits."""
        if size > self._capacity:
            return
        with self._lock:
            _, old_size = self._entries.pop(key, (None, 0))
            self._entries[key] = value, size
            self.total += size - old_size
            while self.total > self._capacity:
                _, (_, evicted_size) = self._entries.popitem(last=False)
                self.total -= evicted_size

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._entries.clear()
            self.total = 0
