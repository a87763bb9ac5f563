"""Load the codec or reader that a command works with; torch is imported here and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zprompt.cli.options import Device, Quantization
    from zprompt.codec import Codec
    from zprompt.reader import Reader


def open_codec(name: str, backbone: str | None, device: Device, quantization: Quantization) -> Codec:
    """Load a codec.

    :param name: "default", or the folder of another codec's heads.
    :param backbone: Its backbone, if it is not the one that the codec names.
    :param device: Where to compute.
    :param quantization: How the backbone's weights are kept in memory.
    :return: The codec.
    """
    from zprompt.codec import load_codec as load

    return load(name, backbone=backbone, device=device.value, quantization=quantization.value)


def open_reader(name: str, codec: str | None, device: Device) -> Reader:
    """Load a reader.

    :param name: "default", or the folder of another reader.
    :param codec: The codec whose Z-tokens it reads; None for the one that it is shipped with.
    :param device: Where to compute.
    :return: The reader.
    """
    from zprompt.reader import load_reader

    return load_reader(name, codec, device.value)
