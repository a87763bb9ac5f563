"""Linear layers whose weights are stored in the order in which oneDNN reads them.

    y = x Wᵀ

A BLAS rearranges plain weights at each call, which for a few rows takes longer than the product: on two AVX2 cores, all
layers of the default model took 44, 77, 89 and 109 ms for 1, 4, 8 and 16 rows with MKL, and 44, 50, 58 and 74 ms with
weights packed once for 8 rows. Packed for one row they took 46, 70, 77 and 95 ms: no faster even for one row. Packed
weights replace the plain ones, so they take no more memory; `unpack` returns a model that can be trained, or passed to
another library.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

ROWS = 8  # of the products that weights are packed for; this order is as good as any for one row, or hundreds


class PackedLinear(nn.Module):
    """A frozen linear layer without a bias, in fp32 or bf16 on a CPU."""

    def __init__(self, weight: Tensor) -> None:
        """Pack weights, (outputs, inputs)."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ, (..., outputs), for x of (..., inputs)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self._packed, None, "none", [], "")
        return product

    @property
    def weight(self) -> Tensor:
        """Return a plain copy of the weights, (outputs, inputs)."""
        plain: Tensor = self._packed.to_dense()
        return plain

    def __deepcopy__(self, memo: dict[int, Any]) -> "PackedLinear":
        return self  # frozen: a copy of a model shares it


def linear_layer(weight: Tensor) -> nn.Module:
    """Make a frozen linear layer without a bias, packed if possible."""
    return PackedLinear(weight) if can_pack(weight) else _plain_linear(weight)


def can_pack(weight: Tensor) -> bool:
    """Return whether weights can be packed on this machine."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and has_bf16())


def has_bf16() -> bool:
    """Return whether this CPU multiplies bf16 natively; one that does not is slower than with fp32."""
    native: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return native


def pack(model: nn.Module) -> None:
    """Pack the linear layers of a model in place, where possible."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module.bias is None and can_pack(module.weight):
            model.set_submodule(name, PackedLinear(module.weight))


def unpack(model: Model) -> Model:
    """Return a copy of a model with plain torch linear layers; it shares all other weights."""
    plain = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    for name, module in list(plain.named_modules()):
        if isinstance(module, PackedLinear):
            plain.set_submodule(name, _plain_linear(module.weight))
    return plain


def _plain_linear(weight: Tensor) -> nn.Linear:
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return linear
