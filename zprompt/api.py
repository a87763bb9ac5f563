"""The module-level functions: the default codec, loaded once, behind two verbs."""

from typing import Any

from zprompt.codec import COMPRESS_BATCH, DECOMPRESS_BATCH, Codec, shared_codec
from zprompt.options import OnError, Protect
from zprompt.progress import Progress
from zprompt.results import CompressionResult


def load(
    name: str = "default", *, backbone: str | None = None, device: str = "auto", quantization: str = "auto"
) -> Codec:
    """Load a codec; the short form of `Codec.from_pretrained`.

    :param name: An LLM ("default", the folder of a causal LM, or its name on the Hugging Face hub), a shipped codec, or
        a folder that `save_pretrained` wrote.
    :param backbone: The LLM, if it lies elsewhere than a codec's folder says: a path or a Hugging Face name.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The codec.
    """
    return Codec.from_pretrained(name, backbone=backbone, device=device, quantization=quantization)


def compress(
    docs: Any,  # noqa: ANN401 - str, dict, LangChain and LlamaIndex documents, and sequences of them
    *,
    ratio: float | None = None,
    max_tokens: int | None = None,
    query: str | None = None,
    protect: Protect | None = None,
    min_tokens: int | None = None,
    on_error: OnError = "raise",
    batch_size: int = COMPRESS_BATCH,
    progress: Progress | None = None,
    verify: bool = False,
) -> CompressionResult:
    """Replace the text of documents by Z-spans, with the default codec.

    :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
    :param ratio: Source tokens per Z-token that all documents together are to reach; None: as many as the texts are
        hard to predict. One that is out of reach is a RatioWarning, and `stats.missed` says why.
    :param max_tokens: Z-tokens that all documents may take together.
    :param query: What will be asked; sentences that share words with it are preferably kept verbatim, as anchors.
    :param protect: A regex, or a sequence of literal strings, whose tokens are all kept as anchors.
    :param min_tokens: Texts with fewer tokens pass through unchanged.
    :param on_error: "raise", or "passthrough" to leave texts that cannot be compressed as they are.
    :param batch_size: Windows that the LLM reads at a time; the result does not depend on it.
    :param progress: Called with ("compress", windows done, windows in all).
    :param verify: Restore every Z-span and compare; `stats.exact` is then the share that came back byte for byte.
    :return: The documents, of the same types and in the same order, and the figures of the call.
    """
    return shared_codec().compress(
        docs,
        ratio=ratio,
        max_tokens=max_tokens,
        query=query,
        protect=protect,
        min_tokens=min_tokens,
        on_error=on_error,
        batch_size=batch_size,
        progress=progress,
        verify=verify,
    )


def decompress(docs: Any, *, batch_size: int = DECOMPRESS_BATCH, progress: Progress | None = None) -> Any:  # noqa: ANN401
    """Put the text back in place of every Z-span of documents, with the default codec.

    :param docs: A document or a sequence of them, as `compress` takes and returns them.
    :param batch_size: Windows that are decoded at a time; the result does not depend on it.
    :param progress: Called with ("decompress", windows done, windows in all).
    :return: The documents, of the same types and in the same order.
    """
    return shared_codec().decompress(docs, batch_size=batch_size, progress=progress)
