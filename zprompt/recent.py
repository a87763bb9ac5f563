"""What was used last: a cache in memory whose values have sizes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """What was used last; may be used from several threads at a time."""

    def __init__(self, most: int) -> None:
        """Hold values whose sizes sum to `most`."""
        self._most, self.total = most, 0
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, if it is still there."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Key, value: Value, size: int = 1) -> None:
        """Keep a value, unless it is too large; those that were not used for longest make room for it."""
        if size > self._most:
            return
        with self._lock:
            _, before = self._held.pop(key, (None, 0))
            self._held[key] = value, size
            self.total += size - before
            while self.total > self._most:
                _, (_, dropped) = self._held.popitem(last=False)
                self.total -= dropped

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._held.clear()
            self.total = 0
