"""Text to Z-tokens and back.

The way of one passage: `codec` (documents in, documents out) → `compressor` → `candidates` (which spans could be
dropped) → `segmentation` (which are) → `layout` and `heads` (what a code says) → `residual` (what it leaves) →
`vocabulary` (the Z-token) → `zspan` (its text form) → `decompressor`.
"""

from zprompt.codec.checkpoint import HEADS_FILE, SHIPPED, CodecConfig, find_codec, write_codec
from zprompt.codec.codec import COMPRESS_BATCH, DECOMPRESS_BATCH, Codec, split_windows
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import Decompressor, KnownWindow, Plan
from zprompt.codec.heads import CodecHeads
from zprompt.codec.importance import SALIENT, Protection, token_weights
from zprompt.codec.layout import Layout, layout, segments
from zprompt.codec.loading import load_codec, shared_codec
from zprompt.codec.rate_control import USUAL_REACH, Job
from zprompt.codec.settings import CodecSettings
from zprompt.codec.tiling import USUAL_RATE, prices, shortest_path

__all__ = [
    "COMPRESS_BATCH",
    "Codec",
    "CodecConfig",
    "CodecHeads",
    "CodecSettings",
    "Compressor",
    "DECOMPRESS_BATCH",
    "Decompressor",
    "HEADS_FILE",
    "Job",
    "KnownWindow",
    "Layout",
    "Plan",
    "Protection",
    "SALIENT",
    "SHIPPED",
    "USUAL_RATE",
    "USUAL_REACH",
    "find_codec",
    "layout",
    "load_codec",
    "prices",
    "segments",
    "shared_codec",
    "shortest_path",
    "split_windows",
    "token_weights",
    "write_codec",
]
