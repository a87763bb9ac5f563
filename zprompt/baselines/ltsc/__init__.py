"""LTSC, lossless token sequence compression with meta-tokens (arXiv 2506.00307), with two more modes, and as text.

    short = ltsc.compress(ids)               ltsc.decompress(short) == ids
    short = ltsc.shorten_text(text)          ltsc.restore_text(short) == text

`repeats` finds what repeats, and `grammar` decides what pays; `sequences` writes the result as ids, `texts` as text.
`variants` are both as baselines, and `reader` is a model that was tuned on meta-tokens.
"""

from zprompt.baselines.ltsc.repeats import ALL_MODES, Mode
from zprompt.baselines.ltsc.sequences import (
    READER_ALPHABET,
    MetaAlphabet,
    SharedSequences,
    compress,
    compress_documents,
    decode_text,
    decompress,
    decompress_documents,
    encode_text,
    read_dictionary,
    to_model_ids,
)
from zprompt.baselines.ltsc.texts import (
    SharedTexts,
    count_tokens,
    restore_documents,
    restore_text,
    shorten_documents,
    shorten_text,
)
from zprompt.baselines.ltsc.variants import Ltsc, LtscZTokens, ReadableLtsc, TunedLtsc, parse_ids

__all__ = [
    "ALL_MODES",
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
    "count_tokens",
    "decode_text",
    "decompress",
    "decompress_documents",
    "encode_text",
    "parse_ids",
    "read_dictionary",
    "restore_documents",
    "restore_text",
    "shorten_documents",
    "shorten_text",
    "to_model_ids",
]
