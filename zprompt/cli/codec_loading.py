"""Load the codec that a command works with; torch is imported here and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zprompt.cli.options import Device, Quantization
    from zprompt.codec.codec import Codec


def open_codec(name: str, backbone: str | None, device: Device, quantization: Quantization) -> Codec:
    """Load a codec.

    :param name: "default", or the folder of another codec's heads.
    :param backbone: Its backbone, if it is not the one that the codec names.
    :param device: Where to compute.
    :param quantization: How the backbone's weights are kept in memory.
    :return: The codec.
    """
    from zprompt.api import load

    return load(name, backbone=backbone, device=device.value, quantization=quantization.value)
