"""4-bit and 8-bit linear layers."""

import sys
from pathlib import Path

import pytest
import torch

from zprompt.errors import MissingDependencyError, OptionError
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.quantization import choose_quantization


def load_quantized(folder: Path, quantization: str) -> Backbone:
    pytest.importorskip("bitsandbytes")
    return load_backbone(str(folder), device="cpu", quantization=quantization)


@pytest.mark.parametrize(("device", "expected"), [("cpu", "none"), ("cuda", "nf4")])
def test_auto_is_nf4_where_a_gpu_is_present(device: str, expected: str) -> None:
    assert choose_quantization("auto", torch.device(device)) == expected


def test_an_unknown_quantization_is_refused(tiny_backbone_dir: Path) -> None:
    with pytest.raises(OptionError, match=r"'int4'.*'auto', 'none', 'nf4', 'int8'"):
        load_backbone(str(tiny_backbone_dir), device="cpu", quantization="int4")


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_without_bitsandbytes_the_error_names_the_extra(
    tiny_backbone_dir: Path, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'zprompt\[quantization\]'"):
        load_backbone(str(tiny_backbone_dir), device="cpu", quantization=quantization)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("kind", ["tiny_backbone_dir", "gpt2_backbone_dir"])
def test_hidden_states_stay_near(request: pytest.FixtureRequest, kind: str, quantization: str) -> None:
    folder = request.getfixturevalue(kind)
    quantized, plain = load_quantized(folder, quantization), load_backbone(str(folder), device="cpu")
    ids = torch.arange(1, 33).reshape(2, 16)
    similarity = torch.cosine_similarity(quantized.hidden(ids), plain.hidden(ids), dim=-1)
    assert similarity.min() > 0.9


def test_the_fingerprint_tells_quantizations_apart(tiny_backbone: Backbone, tiny_backbone_dir: Path) -> None:
    prints = {load_quantized(tiny_backbone_dir, quantization).fingerprint for quantization in ("nf4", "int8")}
    assert len(prints | {tiny_backbone.fingerprint}) == 3


@pytest.mark.parametrize(("quantization", "itemsize"), [("nf4", 0.5), ("int8", 1)])
def test_linear_layers_are_packed_and_embeddings_are_not(
    tiny_backbone_dir: Path, quantization: str, itemsize: float
) -> None:
    backbone = load_quantized(tiny_backbone_dir, quantization)
    attention = backbone.model.model.layers[0].self_attn
    assert attention.q_proj.weight.nbytes == 64 * 64 * itemsize
    assert backbone.embeddings.dtype == backbone.output_embeddings.dtype == torch.float32


def test_a_quantized_model_runs_through_transformers_too(tiny_backbone_dir: Path) -> None:
    backbone = load_quantized(tiny_backbone_dir, "nf4")
    ids = torch.arange(1, 17)[None]
    torch.testing.assert_close(backbone.model.base_model(ids).last_hidden_state, backbone.hidden(ids))
