"""A decoder computes the same in ONNX Runtime as in torch, with 4-bit and other weights, at any batch of lengths."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zprompt.errors import BackboneError, CheckpointError, MissingDependencyError
from zprompt.llm import (
    Backbone,
    LlamaDecoder,
    Lora,
    OnnxDecoder,
    load_backbone,
    merge_copy,
    merge_in_onnx,
    new_lora,
    onnx_llama,
)
from zprompt.llm.lora import llama_of

LENGTHS = (9, 4, 6)


def random_lora(backbone: Backbone) -> Lora:
    lora = new_lora(llama_of(backbone), rank=4, alpha=8.0)
    random = torch.Generator().manual_seed(1)
    return replace(lora, up={name: torch.randn(up.shape, generator=random) / 4 for name, up in lora.up.items()})


def in_levels(weight: Tensor) -> Tensor:
    """Round a weight to 16 levels in each block of 32 inputs, as Q4_1 does: step and minimum in half precision."""
    blocks = weight.view(len(weight), -1, 32)
    low = blocks.amin(2, keepdim=True).half().float()
    step = ((blocks.amax(2, keepdim=True) - low) / 15).half().float()
    return (((blocks - low) / step).round().clamp(0, 15) * step + low).view_as(weight)


@pytest.fixture
def packed_dir(tiny_backbone_dir: Path, tmp_path: Path) -> Path:
    """Return the folder of the tiny Llama with all projections but two rounded to levels."""
    folder = shutil.copytree(tiny_backbone_dir, tmp_path / "packed")
    tensors = load_file(folder / "model.safetensors")
    for name, weight in tensors.items():
        if "_proj" in name and "layers.1.self_attn.q" not in name and "layers.0.mlp.up" not in name:
            tensors[name] = in_levels(weight)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def run(decoder: LlamaDecoder | OnnxDecoder, steps: int = 3) -> list[Tensor]:
    """Run prompts of several lengths, then steps of all rows, then of some; return all hidden states."""
    random = torch.Generator().manual_seed(2)
    prompts = torch.randn(len(LENGTHS), max(LENGTHS), decoder.shape.hidden_size, generator=random)
    cache = decoder.new_cache(len(LENGTHS))
    with torch.no_grad():
        hidden = decoder.run(prompts, cache)
        cache.rollback(torch.tensor(LENGTHS))
        seen = [row[:length] for row, length in zip(hidden, LENGTHS, strict=True)]
        seen += [decoder.run(prompts[:, step : step + 1], cache) for step in range(steps)]
        cache.keep_rows(torch.tensor([2, 0]))
        return [*seen, decoder.run(prompts[[1, 0], 5:6], cache)]


@pytest.mark.parametrize("with_lora", [True, False])
def test_onnx_computes_what_torch_does(packed_dir: Path, with_lora: bool) -> None:
    backbone = load_backbone(str(packed_dir), device="cpu")
    lora = random_lora(backbone) if with_lora else Lora(1, 1.0, {}, {})

    decoder, head = merge_in_onnx(lora, load_backbone(str(packed_dir), device="cpu"))

    assert torch.equal(head, backbone.output_embeddings)
    for actual, expected in zip(run(decoder), run(merge_copy(lora, backbone)), strict=True):
        assert torch.allclose(actual, expected, atol=2e-5)


def test_rows_do_not_see_each_other(tiny_backbone: Backbone) -> None:
    decoder, _ = merge_in_onnx(random_lora(tiny_backbone), tiny_backbone)
    embedded = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(3))
    other = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(4))

    alone, beside = decoder.new_cache(1), decoder.new_cache(2)
    first = decoder.run(embedded, alone), decoder.run(torch.cat((embedded, other)), beside)
    beside.rollback(torch.tensor([7, 3]))
    then = decoder.run(embedded[:, :1], alone), decoder.run(torch.cat((embedded, other))[:, :1], beside)

    for hidden_alone, hidden_beside in (first, then):
        assert torch.allclose(hidden_alone[0], hidden_beside[0], atol=1e-5)


def test_weights_in_levels_stay_in_four_bits(packed_dir: Path) -> None:
    packed, plain = 0, []
    for name, weight in load_backbone(str(packed_dir), device="cpu").read_weights():
        if "_proj" not in name:
            continue
        levels = onnx_llama._Levels.of(weight.numpy())
        if levels is None:
            plain.append(name)
            continue
        packed += 1
        nibbles = np.stack((levels.packed & 15, levels.packed >> 4), -1).reshape(*levels.steps.shape, 32).astype(int)
        restored = (nibbles - 8) * levels.steps[..., None] + levels.middles[..., None]
        assert np.abs(restored.reshape(weight.shape) - weight.numpy()).max() < 1e-6
    assert plain == ["layers.0.mlp.up_proj.weight", "layers.1.self_attn.q_proj.weight"] and packed == 12


@pytest.mark.parametrize("weight", [np.zeros((2, 32)), np.full((2, 64), 0.25), np.ones(32), np.ones((2, 33))])
def test_constant_blocks_have_levels_with_a_step_of_zero(weight: np.ndarray) -> None:
    levels = onnx_llama._Levels.of(weight.astype(np.float32))
    assert (levels is None) == (weight.ndim == 1 or weight.shape[1] % 32 != 0)
    assert levels is None or (levels.steps == 0).all()


@pytest.mark.default_model
def test_the_default_model_stays_in_four_bits() -> None:
    projections = [(n, w) for n, w in load_backbone("default", device="cpu").read_weights() if "layers.7" in n]
    levels_by_name = {name: onnx_llama._Levels.of(weight.numpy()) for name, weight in projections}
    assert sorted(name for name, levels in levels_by_name.items() if levels) == sorted(
        n for n, _ in projections if "_proj" in n
    )


def test_without_onnx_the_error_says_what_to_install(tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"zprompt\[onnx\]"):
        merge_in_onnx(random_lora(tiny_backbone), tiny_backbone)


def test_a_lora_or_a_model_that_does_not_fit_is_refused(
    tiny_backbone: Backbone, tiny_backbone_dir: Path, tmp_path: Path
) -> None:
    lora = random_lora(tiny_backbone)
    with pytest.raises(CheckpointError, match="does not have in that shape"):
        merge_in_onnx(replace(lora, down={name: down[:, :3] for name, down in lora.down.items()}), tiny_backbone)

    shutil.copytree(tiny_backbone_dir, tmp_path / "odd")
    config = json.loads((tiny_backbone_dir / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**config, "head_dim": 8}))
    with pytest.raises(BackboneError, match=r"have 8 channels.*engine='fp32'"):
        merge_in_onnx(lora, load_backbone(str(tmp_path / "odd"), device="cpu"))
