"""Count tokens as the price lists of APIs do, with encodings that are on this machine.

`llama-index-core` ships two of tiktoken's encodings as files; nothing is fetched. Where they are not there, what needs
them says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

ENCODING = "cl100k_base"
_CACHE = "TIKTOKEN_CACHE_DIR"  # tiktoken's own variable


class ApiTokens:
    """An encoding, if it can be had without a network."""

    @cached_property
    def missing(self) -> str | None:
        """Say why tokens cannot be counted.

        :return: The reason; None if they can.
        """
        if find_spec("tiktoken") is None or find_spec("llama_index") is None or _folder() is None:
            return f"no {ENCODING} offline: pip install llama-index-core, which ships it"
        try:
            self._encode("")
        except Exception as error:  # noqa: BLE001 - it may want a network, and fail in any way
            return f"{ENCODING} cannot be loaded: {error}"
        return None

    def count(self, text: str) -> int:
        """Count tokens; only where nothing is `missing`.

        :param text: The text.
        :return: Tokens.
        """
        return len(self._encode(text))

    @cached_property
    def _encode(self) -> Callable[[str], list[int]]:
        import tiktoken

        before = os.environ.get(_CACHE)
        os.environ[_CACHE] = before or str(_folder())
        try:
            encoding = tiktoken.get_encoding(ENCODING)
        finally:
            if before is None:
                del os.environ[_CACHE]
        return lambda text: encoding.encode(text, disallowed_special=())


def _folder() -> Path | None:
    """Find the encodings that llama-index-core ships."""
    spec = find_spec("llama_index.core")
    folder = Path(spec.origin).parent / "_static" / "tiktoken_cache" if spec and spec.origin else None
    return folder if folder and folder.is_dir() else None
