"""Text to Z-tokens and back.

A passage goes from `codec` (documents in, documents out) and `source` (text to tokens) to `compressor`, which runs the
LLM, and `tiling`, which chooses the tokens that stay; `importance` is how much a reader needs each. `decompressor` goes
back. `heads` with `code_layout` and `codes` are learned codes, an option. The written form of it all is in
`zprompt.zspan`.
"""

from zprompt.codec.checkpoint import HEADS_FILE, SHIPPED, CodecConfig, find_codec, write_codec
from zprompt.codec.code_layout import Layout, layout, segments
from zprompt.codec.codec import COMPRESS_BATCH, DECOMPRESS_BATCH, Codec, shared_codec
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.importance import SALIENT, token_weights
from zprompt.codec.settings import CodecSettings, HeadSettings

__all__ = [
    "COMPRESS_BATCH",
    "DECOMPRESS_BATCH",
    "HEADS_FILE",
    "SALIENT",
    "SHIPPED",
    "Codec",
    "CodecConfig",
    "CodecHeads",
    "CodecSettings",
    "Compressor",
    "HeadSettings",
    "Layout",
    "find_codec",
    "layout",
    "segments",
    "shared_codec",
    "token_weights",
    "write_codec",
]
