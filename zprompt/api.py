"""The module-level functions: load a codec once, use it for everything."""

from typing import Any

from zprompt.codec import load_codec as load
from zprompt.codec import shared_codec
from zprompt.progress import Progress
from zprompt.results import CompressionResult

__all__ = ["compress", "decompress", "load", "shared_codec"]


def compress(docs: Any, **options: Any) -> CompressionResult:  # noqa: ANN401 - see Codec.compress
    """Replace the text of documents by Z-spans, with the default codec.

    :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
    :param options: As in `Codec.compress`: ratio, max_tokens, query, protect, min_tokens, on_error, batch_size and
        progress.
    :return: The documents, of the same types and in the same order, and the figures of the call.
    """
    return shared_codec().compress(docs, **options)


def decompress(docs: Any, *, batch_size: int | None = None, progress: Progress | None = None) -> Any:  # noqa: ANN401
    """Put the text back in place of every Z-span of documents, with the default codec.

    :param docs: A document or a sequence of them, as `compress` takes and gives them.
    :param batch_size: Windows that are decoded at a time.
    :param progress: Called with ("decompress", windows done, windows in all).
    :return: The documents, of the same types and in the same order.
    """
    codec = shared_codec()
    if batch_size is None:
        return codec.decompress(docs, progress=progress)
    return codec.decompress(docs, batch_size=batch_size, progress=progress)
