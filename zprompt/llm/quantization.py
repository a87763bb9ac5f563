"""Replace a backbone's linear layers by bitsandbytes' 4-bit or 8-bit ones.

    nf4    4 bits in blocks of 64 with one scale each     int8   8 bits, one scale per row

The embeddings and the LM head stay as they are: the codec reads both as plain matrices. On a CPU without AVX-512 this
saves memory and costs time (docs/quantization.md has the figures), so it is not what "auto" chooses there.
"""

from typing import Literal, get_args

import torch
from torch import nn

from zprompt.errors import MissingDependencyError, OptionError

Quantization = Literal["none", "nf4", "int8"]


def choose_quantization(wanted: str, device: torch.device) -> Quantization:
    """Say how to keep the linear layers.

    :param wanted: "auto", "none", "nf4" or "int8".
    :param device: Where the backbone will run.
    :return: What was asked for; for "auto", "nf4" on a GPU and "none" on a CPU.
    :raises OptionError: If `wanted` is something else.
    """
    if wanted == "auto":
        return "nf4" if device.type == "cuda" else "none"
    for allowed in get_args(Quantization):
        if wanted == allowed:
            return allowed  # type: ignore[no-any-return]
    raise OptionError(f"quantization is {wanted!r}. Must be one of 'auto', 'none', 'nf4', 'int8'.")


def quantize(model: nn.Module, quantization: Quantization, device: torch.device) -> None:
    """Replace the linear layers in place; they are packed when they arrive on the device.

    :param model: The model without its LM head, in fp32.
    :param quantization: How to keep the layers.
    :param device: Where the model will run.
    :raises MissingDependencyError: If bitsandbytes is needed and not installed.
    """
    if quantization == "none":
        return
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"quantization={quantization!r} needs bitsandbytes. Install it with `pip install 'zprompt[quantization]'`, "
            f"or choose quantization='none'."
        ) from error
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _packed(child, quantization).to(device))


def _packed(linear: nn.Linear, quantization: Quantization) -> nn.Module:
    """Make the packed counterpart of a linear layer."""
    from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit

    shape, bias = (linear.in_features, linear.out_features), linear.bias is not None
    packed: nn.Module
    if quantization == "nf4":
        packed = Linear4bit(*shape, bias=bias, compute_dtype=torch.float32, quant_type="nf4")
        packed.weight = Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    else:
        packed = Linear8bitLt(*shape, bias=bias, has_fp16_weights=False)
        packed.weight = Int8Params(linear.weight.data, requires_grad=False, has_fp16_weights=False)
    if bias:
        packed.bias = nn.Parameter(linear.bias.data, requires_grad=False)
    return packed
