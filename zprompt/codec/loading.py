"""Load codecs by name, each once a process."""

import threading

from zprompt.codec.checkpoint import find_codec, load_heads, read_config
from zprompt.codec.codec import Codec
from zprompt.llm import choose_device, choose_quantization, load_backbone

_lock = threading.Lock()
_codecs: dict[tuple[str, str | None, str, str], Codec] = {}


def load_codec(
    name: str = "default", *, backbone: str | None = None, device: str = "auto", quantization: str = "auto"
) -> Codec:
    """Load a codec: backbone and heads.

    :param name: A shipped codec, or the folder of one that was trained with `zprompt train codec`.
    :param backbone: The backbone, if it lies elsewhere than the codec says: a path or a Hugging Face name.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The codec.
    """

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

    place = choose_device(device)
    key = (name, backbone, place.type, choose_quantization(quantization, place))  # "auto" is one of the others
    with _lock:  # two threads must not load it twice
        if key not in _codecs:
            _codecs[key] = load_codec(name, backbone=backbone, device=device, quantization=quantization)
        return _codecs[key]
