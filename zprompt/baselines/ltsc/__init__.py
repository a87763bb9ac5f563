"""LTSC, lossless token sequence compression with meta-tokens (arXiv 2506.00307), with two more modes, and as text.

    short = ltsc.compress(ids)               ltsc.decompress(short) == ids
    short = ltsc.shorten_text(text)          ltsc.restore_text(short) == text

The way of a sequence: `sequences` → `discovery` (`repeats` and `longest`, or `pairs`; then `grammar`: which entries
pay) → `form` (ids); or `lzw`. Back: `form` → `expansion`. The way of a text: `texts` → `naming` (`pieces`, `discovery`,
`signs`) → `readable`; or `encoding`, as ids. `method` has both behind the protocol, and `training` what a model with
meta-tokens is tuned on.
"""

from zprompt.baselines.ltsc.alphabet import MetaAlphabet
from zprompt.baselines.ltsc.discovery import ALL_MODES, Mode
from zprompt.baselines.ltsc.encoding import decode_text, encode_text
from zprompt.baselines.ltsc.method import Ltsc, LtscZTokens, ReadableLtsc, TunedLtsc
from zprompt.baselines.ltsc.sequences import (
    MAX_TOKENS,
    SharedSequences,
    compress,
    compress_documents,
    decompress,
    decompress_documents,
)
from zprompt.baselines.ltsc.texts import SharedTexts, restore_documents, restore_text, shorten_documents, shorten_text
from zprompt.baselines.ltsc.training import READER_ALPHABET, to_model_ids

__all__ = [
    "ALL_MODES",
    "MAX_TOKENS",
    "READER_ALPHABET",
    "Ltsc",
    "LtscZTokens",
    "MetaAlphabet",
    "Mode",
    "ReadableLtsc",
    "SharedSequences",
    "SharedTexts",
    "TunedLtsc",
    "compress",
    "compress_documents",
    "decode_text",
    "decompress",
    "decompress_documents",
    "encode_text",
    "restore_documents",
    "restore_text",
    "shorten_documents",
    "shorten_text",
    "to_model_ids",
]
