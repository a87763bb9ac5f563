"""A LoRA is saved in the format of PEFT, and merges into a copy of the backbone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from zprompt.errors import BackboneError, CheckpointError
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.lora import WEIGHTS_FILE, Lora, llama_of, merge_copy, merge_in_bf16, new_lora, read_lora, write_lora

IDS = torch.arange(24).view(2, 12)


@pytest.fixture
def lora(tiny_backbone: Backbone) -> Lora:
    lora = new_lora(llama_of(tiny_backbone), rank=4, alpha=8.0)
    random = torch.Generator().manual_seed(1)
    up = {name: torch.randn(matrix.shape, generator=random).half().float() for name, matrix in lora.up.items()}
    return replace(lora, up=up, down={name: matrix.half().float() for name, matrix in lora.down.items()})


def test_a_new_lora_changes_nothing(tiny_backbone: Backbone) -> None:
    decoder = merge_copy(new_lora(llama_of(tiny_backbone), rank=4, alpha=8.0), tiny_backbone)
    assert torch.equal(decoder(IDS), tiny_backbone.hidden(IDS))


def test_a_saved_lora_is_read_back(lora: Lora, tmp_path: Path) -> None:
    write_lora(tmp_path, lora, "tiny")
    loaded = read_lora(tmp_path)
    assert (loaded.rank, loaded.alpha) == (4, 8.0)
    for before, after in ((lora.down, loaded.down), (lora.up, loaded.up)):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name].float()) for name in before)


def test_the_backbone_stays_as_it_is(lora: Lora, tiny_backbone: Backbone) -> None:
    before = tiny_backbone.hidden(IDS)
    decoder = merge_copy(lora, tiny_backbone)
    assert not torch.allclose(decoder(IDS), before)
    assert torch.equal(tiny_backbone.hidden(IDS), before)
    assert decoder.embed_tokens.weight is llama_of(tiny_backbone).embed_tokens.weight


# PEFT uses a name of transformers that is deprecated.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_peft_reads_a_lora_and_computes_the_same(
    lora: Lora, tiny_backbone: Backbone, tiny_backbone_dir: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    write_lora(tmp_path, lora, str(tiny_backbone_dir))
    model: Any = PeftModel.from_pretrained(load_backbone(str(tiny_backbone_dir), device="cpu").model, str(tmp_path))
    with torch.no_grad():
        expected = model.base_model.model.model(input_ids=IDS).last_hidden_state
        actual = merge_copy(lora, tiny_backbone)(IDS)
    assert torch.allclose(expected, actual, atol=1e-4)


def test_a_missing_or_broken_lora_is_named(lora: Lora, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No readable LoRA"):
        read_lora(tmp_path)
    write_lora(tmp_path, lora, "tiny")
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    dropped = next(name for name in tensors if "lora_B" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != dropped}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match="lacks one half"):
        read_lora(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / WEIGHTS_FILE).read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_lora(tmp_path)
    save_file({"something": torch.zeros(1)}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match="not part of a LoRA"):
        read_lora(tmp_path)


def test_a_lora_of_another_shape_is_refused(lora: Lora, tiny_backbone: Backbone) -> None:
    name = next(iter(lora.down))
    with pytest.raises(CheckpointError, match="does not have in that shape"):
        merge_copy(replace(lora, down={**lora.down, name: torch.zeros(4, 3)}), tiny_backbone)


def test_other_architectures_are_refused(gpt2_backbone_dir: Path) -> None:
    with pytest.raises(BackboneError, match="needs a Llama backbone"):
        llama_of(load_backbone(str(gpt2_backbone_dir), device="cpu"))


def test_a_lora_merged_in_bf16_computes_nearly_the_same_without_loading_the_backbone(
    lora: Lora, tiny_backbone: Backbone, tiny_backbone_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(lora, up={name: matrix / 10 for name, matrix in lora.up.items()})
    backbone = load_backbone(str(tiny_backbone_dir), device="cpu")
    monkeypatch.setattr(backbone, "load", lambda: pytest.fail("the weights of the backbone are not needed"))

    decoder, head = merge_in_bf16(small, backbone)

    expected = merge_copy(small, tiny_backbone)(IDS)
    assert decoder.embed_tokens.weight.dtype == head.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(decoder(IDS).float(), expected, dim=-1).min() > 0.999


def test_weights_that_do_not_fit_the_config_are_refused(lora: Lora, tiny_backbone_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_backbone_dir, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (({"num_hidden_layers": 3}, "lacks 'layers.2"), ({"vocab_size": 99}, "does not describe")):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(BackboneError, match=message):
            merge_in_bf16(lora, load_backbone(str(tmp_path), device="cpu"))
