"""The module-level functions: load a codec once, use it for everything."""

import threading
from typing import Any

from zprompt.codec.codec import Codec
from zprompt.progress import Progress
from zprompt.results import CompressionResult

_lock = threading.Lock()
_codecs: dict[tuple[str, str | None, str, str], Codec] = {}


def load(
    name: str = "default", *, backbone: str | None = None, device: str = "auto", quantization: str = "auto"
) -> Codec:
    """Load a codec: backbone and heads.

    :param name: A shipped codec, or the folder of one that was trained with `zprompt train codec`.
    :param backbone: The backbone, if it lies elsewhere than the codec says: a path or a Hugging Face name.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The codec.
    """
    from zprompt.backbone import load_backbone
    from zprompt.codec.checkpoint import find_codec, load_heads, read_config

    folder = find_codec(name)
    config = read_config(folder)
    llm = load_backbone(backbone or config.backbone, device=device, quantization=quantization)
    return Codec(llm, load_heads(folder, config, llm), name)


def shared_codec(
    name: str = "default", *, backbone: str | None = None, device: str = "auto", quantization: str = "auto"
) -> Codec:
    """Load a codec, or give the one that was loaded with the same arguments before.

    :param name: As in `load`.
    :param backbone: As in `load`.
    :param device: As in `load`.
    :param quantization: As in `load`.
    :return: The codec.
    """
    from zprompt.backbone.loading import choose_device
    from zprompt.backbone.quantization import choose_quantization

    place = choose_device(device)
    key = (name, backbone, place.type, choose_quantization(quantization, place))  # "auto" is one of the others
    with _lock:  # two threads must not load it twice
        if key not in _codecs:
            _codecs[key] = load(name, backbone=backbone, device=device, quantization=quantization)
        return _codecs[key]


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
