"""Text to Z-tokens and back.

A passage goes from `codec` (documents in, documents out) and `source` (text to tokens) to `tiling`, which chooses the
spans that are dropped, and `compressor`, which runs the LLM and writes Z-tokens. `span_costs` is what each span would
cost, `importance` how much a reader needs each token, `heads` with `code_layout` the learned codes. `decompressor` goes
back. The written form of it all is in `zprompt.zspan`.
"""

from zprompt.codec.checkpoint import HEADS_FILE, SHIPPED, CodecConfig, find_codec, write_codec
from zprompt.codec.code_layout import Layout, layout, segments
from zprompt.codec.codec import COMPRESS_BATCH, DECOMPRESS_BATCH, Codec, shared_codec, split_windows
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.importance import SALIENT, token_weights
from zprompt.codec.settings import CodecSettings
from zprompt.codec.tiling import USUAL_RATE, USUAL_THRESHOLD, RateControl, prices, shortest_path

__all__ = [
    "COMPRESS_BATCH",
    "DECOMPRESS_BATCH",
    "HEADS_FILE",
    "SALIENT",
    "SHIPPED",
    "USUAL_RATE",
    "USUAL_THRESHOLD",
    "Codec",
    "CodecConfig",
    "CodecHeads",
    "CodecSettings",
    "Compressor",
    "Layout",
    "RateControl",
    "find_codec",
    "layout",
    "prices",
    "segments",
    "shared_codec",
    "shortest_path",
    "split_windows",
    "token_weights",
    "write_codec",
]
