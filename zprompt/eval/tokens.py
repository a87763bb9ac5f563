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

from zprompt.errors import MissingDependencyError

ENCODING = "cl100k_base"
_CACHE = "TIKTOKEN_CACHE_DIR"  # tiktoken's own variable


class ApiTokens:
    """An encoding, if it can be had without a network."""

    def count(self, text: str) -> int:
        """Count tokens.

        :param text: The text.
        :return: Tokens.
        """
        return len(self._encode(text))

    @cached_property
    def _encode(self) -> Callable[[str], list[int]]:
        """Load the encoding."""
        folder = _folder()
        if find_spec("tiktoken") is None or folder is None:
            raise MissingDependencyError(
                f"{ENCODING} is not there offline. llama-index-core ships it: pip install llama-index-core."
            )
        import tiktoken

        before = os.environ.get(_CACHE)
        os.environ[_CACHE] = str(folder)
        try:
            encoding = tiktoken.get_encoding(ENCODING)
        except Exception as error:  # a file that is not there is fetched, which can fail in any way
            raise MissingDependencyError(f"{ENCODING} cannot be loaded: {error}.") from error
        finally:
            if before is None:
                del os.environ[_CACHE]
            else:
                os.environ[_CACHE] = before
        return lambda text: encoding.encode(text, disallowed_special=())


def _folder() -> Path | None:
    """Find the encodings that llama-index-core ships."""
    if find_spec("llama_index") is None:
        return None
    spec = find_spec("llama_index.core")
    folder = Path(spec.origin).parent / "_static" / "tiktoken_cache" if spec and spec.origin else None
    return folder if folder and folder.is_dir() else None
