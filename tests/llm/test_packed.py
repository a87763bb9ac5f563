"""Packed linear layers compute the same, and are unpacked bit by bit."""

import copy

import pytest
import torch
from torch import nn

from zprompt.llm.packed import PackedLinear, can_pack, pack, unpack

pytestmark = pytest.mark.skipif(not can_pack(torch.zeros(1, 1)), reason="this torch has no oneDNN")


@pytest.fixture
def model() -> nn.Module:
    """Return two linear layers without a bias and one with."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 32, bias=False), nn.ReLU(), nn.Linear(32, 8, bias=False), nn.Linear(8, 3))


@pytest.mark.parametrize("shape", [(48,), (1, 48), (7, 48), (2, 5, 48), (0, 48)])
def test_a_packed_model_computes_the_same(model: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape)
    expected = model(x)
    pack(model)
    torch.testing.assert_close(model(x), expected, atol=1e-6, rtol=1e-5)


def test_only_layers_without_a_bias_are_packed(model: nn.Module) -> None:
    pack(model)
    assert [type(layer) for layer in model.children()] == [PackedLinear, nn.ReLU, PackedLinear, nn.Linear]


def test_unpacking_gives_the_weights_back_bit_by_bit(model: nn.Module) -> None:
    before = copy.deepcopy(model)
    pack(model)
    plain = unpack(model)
    assert all(
        torch.equal(after, original) for after, original in zip(plain.parameters(), before.parameters(), strict=True)
    )
    assert isinstance(model.get_submodule("0"), PackedLinear)


def test_a_copy_shares_packed_weights(model: nn.Module) -> None:
    pack(model)
    assert copy.deepcopy(model).get_submodule("0") is model.get_submodule("0")


@pytest.mark.parametrize("has_bf16", [False, True])
def test_half_precision_is_packed_where_the_cpu_multiplies_it(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    weight = torch.zeros(2, 3, dtype=torch.bfloat16)
    monkeypatch.setattr("zprompt.llm.packed.has_bf16", lambda: has_bf16)
    assert can_pack(weight) == has_bf16
    assert not can_pack(weight.half())
