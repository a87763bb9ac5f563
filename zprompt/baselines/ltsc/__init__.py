"""LTSC, lossless token sequence compression with meta-tokens (arXiv 2506.00307), with two more modes, and as text.

    short = ltsc.compress(ids)               ltsc.decompress(short) == ids
    short = ltsc.shorten_text(text)          ltsc.restore_text(short) == text

`repeats` finds what repeats, and `grammar` decides what pays; `sequences` writes the result as ids, `texts` as text.
`variants` has both as baselines, and `reader` is a model that was tuned on meta-tokens. Importing the package is light:
only the reader loads torch.
"""

from typing import TYPE_CHECKING, Any

from zprompt.baselines.ltsc.repeats import ALL_MODES, Mode
from zprompt.baselines.ltsc.sequences import (
    READER_ALPHABET,
    READER_META_TOKENS,
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

if TYPE_CHECKING:
    from zprompt.baselines.ltsc.reader import (
        LtscReader,
        LtscReaderConfig,
        MetaEmbedding,
        find_any_reader,
        load_meta_embedding,
        read_ltsc_config,
        write_ltsc_reader,
    )

__all__ = [
    "ALL_MODES",
    "READER_ALPHABET",
    "READER_META_TOKENS",
    "Ltsc",
    "LtscReader",
    "LtscReaderConfig",
    "LtscZTokens",
    "MetaAlphabet",
    "MetaEmbedding",
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
    "find_any_reader",
    "load_meta_embedding",
    "parse_ids",
    "read_dictionary",
    "read_ltsc_config",
    "restore_documents",
    "restore_text",
    "shorten_documents",
    "shorten_text",
    "to_model_ids",
    "write_ltsc_reader",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute
    """Import names that need torch when they are first used."""
    if name in __all__:
        from zprompt.baselines.ltsc import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
