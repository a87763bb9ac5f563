"""Text to Z-tokens and back.

A passage goes from `codec` (documents in, documents out) through `source` (text to tokens) to `compressor`, which runs
the LLM, and `tiling`, which chooses the tokens that stay; `importance` weighs how much a reader needs each.
`decompressor` goes back. `heads`, `code_layout` and `codes` are learned codes, an option. The written form is in
`zprompt.zspan`.
"""

from zprompt.codec.checkpoint import MODELS, find_codec
from zprompt.codec.codec import COMPRESS_BATCH, DECOMPRESS_BATCH, Codec, shared_codec
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.importance import SALIENT, token_weights
from zprompt.codec.settings import CodecSettings, HeadSettings

__all__ = [
    "COMPRESS_BATCH",
    "DECOMPRESS_BATCH",
    "MODELS",
    "SALIENT",
    "Codec",
    "CodecHeads",
    "CodecSettings",
    "Compressor",
    "HeadSettings",
    "find_codec",
    "shared_codec",
    "token_weights",
]
