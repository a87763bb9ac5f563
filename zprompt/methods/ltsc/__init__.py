"""LTSC, lossless token sequence compression with meta-tokens (arXiv 2506.00307), with two more modes.

    short = ltsc.compress(ids)
    ltsc.decompress(short) == ids

The way of a sequence: `sequences` → `repeats` and `longest`, or `pairs` → `grammar` (which entries pay) → `form` (ids);
or `lzw`. Back: `form` → `expansion`.
"""

from zprompt.methods.ltsc.alphabet import MetaAlphabet
from zprompt.methods.ltsc.discovery import ALL_MODES, Mode
from zprompt.methods.ltsc.sequences import (
    MAX_TOKENS,
    SharedSequences,
    compress,
    compress_documents,
    decompress,
    decompress_documents,
)

__all__ = [
    "ALL_MODES",
    "MAX_TOKENS",
    "MetaAlphabet",
    "Mode",
    "SharedSequences",
    "compress",
    "compress_documents",
    "decompress",
    "decompress_documents",
]
