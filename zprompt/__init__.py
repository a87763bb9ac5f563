"""Compress text to Z-tokens and back, exactly, with one small language model.

    result = zprompt.compress(docs)           # the same documents; the text of each is now a Z-span
    zprompt.decompress(result.documents)      # the original texts, byte for byte
    zprompt.load_reader().answer("Who …?", result.documents)     # or read as they are

Importing this is light: torch is loaded with the first codec.
"""

from typing import TYPE_CHECKING, Any

from zprompt import errors
from zprompt.errors import RatioWarning, ZPromptError
from zprompt.results import CompressionResult, CompressionStats, ExplainedToken, Explanation

if TYPE_CHECKING:
    from zprompt.api import compress, decompress, load
    from zprompt.codec import Codec
    from zprompt.page import show
    from zprompt.reader import Reader, load_reader

__version__ = "0.1.0"
__all__ = [
    "Codec",
    "CompressionResult",
    "CompressionStats",
    "ExplainedToken",
    "Explanation",
    "RatioWarning",
    "Reader",
    "ZPromptError",
    "compress",
    "decompress",
    "errors",
    "load",
    "load_reader",
    "show",
]

_LAZY = {
    "compress": "zprompt.api",
    "decompress": "zprompt.api",
    "load": "zprompt.api",
    "Codec": "zprompt.codec",
    "show": "zprompt.page",
    "load_reader": "zprompt.reader",
    "Reader": "zprompt.reader",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    """Import what is heavy when it is asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'zprompt' has no attribute {name!r}")
