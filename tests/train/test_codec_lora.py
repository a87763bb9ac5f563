"""The codec LoRA: merged without PEFT as PEFT would merge it, and kept only if it wins."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from torch import Tensor

from tests.train.conftest import MakeTrainer
from zprompt.errors import CheckpointError, OptionError
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.lora import TARGETS, merge_in_place
from zprompt.train import codec_lora
from zprompt.train.codec_evaluation import Evaluation, evaluate
from zprompt.train.codec_lora import train_lora

# PEFT asks transformers by a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def backbone(tiny_backbone_dir: Path) -> Backbone:
    """A tiny Llama of the test's own, since its weights are changed."""
    return load_backbone(str(tiny_backbone_dir), device="cpu")


@pytest.fixture
def ids(backbone: Backbone) -> Tensor:
    return torch.tensor([backbone.encode("Rivers carry sand and mud to the sea.")])


def weights_of(backbone: Backbone) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in backbone.decoder.state_dict().items()}  # type: ignore[attr-defined]


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture
def adapted(backbone: Backbone, ids: Tensor, tmp_path: Path) -> tuple[Path, Tensor]:
    """A random LoRA's folder, and the hidden states that PEFT computes with it."""
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=list(TARGETS), init_lora_weights=False)
    model: Any = get_peft_model(backbone.model, config)
    with torch.no_grad():
        hidden = model.base_model.model.model(input_ids=ids, use_cache=False).last_hidden_state
    model.save_pretrained(str(tmp_path))
    model.unload()
    return tmp_path, hidden


def test_a_merged_lora_gives_the_hidden_states_of_peft(
    backbone: Backbone, adapted: tuple[Path, Tensor], ids: Tensor
) -> None:
    folder, expected = adapted
    before = backbone.hidden(ids)
    merge_in_place(backbone, folder)
    torch.testing.assert_close(backbone.hidden(ids), expected, atol=1e-4, rtol=1e-4)
    assert float((backbone.hidden(ids) - before).abs().max()) > 0.01


def test_a_lora_that_is_taken_out_leaves_no_trace(backbone: Backbone, adapted: tuple[Path, Tensor]) -> None:
    before, fingerprint = weights_of(backbone), backbone.fingerprint
    take_out = merge_in_place(backbone, adapted[0])
    assert not equal(weights_of(backbone), before)
    assert backbone.fingerprint != fingerprint
    take_out()
    assert equal(weights_of(backbone), before)
    assert backbone.fingerprint == fingerprint


def test_a_lora_for_another_model_is_refused(adapted: tuple[Path, Tensor], gpt2_backbone_dir: Path) -> None:
    with pytest.raises(CheckpointError, match="adapts"):
        merge_in_place(load_backbone(str(gpt2_backbone_dir), device="cpu"), adapted[0])


def test_a_model_that_is_no_llama_gets_none(
    trainer_of: MakeTrainer, windows: NDArray[np.int32], gpt2_backbone_dir: Path, tmp_path: Path
) -> None:
    gpt2 = load_backbone(str(gpt2_backbone_dir), device="cpu")
    trainer = trainer_of(tmp_path / "work", backbone=gpt2, lora_steps=2)
    before = evaluate(gpt2, trainer.heads, windows[:1])
    with pytest.raises(OptionError, match="without --lora-steps"):
        train_lora(trainer, windows[:1], before, tmp_path / "lora", None)


def test_a_missing_lora_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No readable LoRA"):
        merge_in_place(backbone, tmp_path / "nowhere")


def figures(bits: float) -> Callable[..., Evaluation]:
    """Return an evaluation with this result."""
    return lambda backbone, heads, windows: replace(evaluate(backbone, heads, windows), bits_per_source_token=bits)


@pytest.mark.parametrize("won", [True, False], ids=["wins", "loses"])
def test_it_is_kept_only_if_it_wins(
    backbone: Backbone,
    trainer_of: MakeTrainer,
    windows: NDArray[np.int32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    won: bool,
) -> None:
    trainer = trainer_of(tmp_path / "work", backbone=backbone, lora_steps=3)
    weights, heads, settings = weights_of(backbone), trainer.heads.fingerprint(), trainer.heads.settings
    before = replace(evaluate(backbone, trainer.heads, windows[:2]), bits_per_source_token=13.0)
    monkeypatch.setattr(codec_lora, "evaluate", figures(12.5 if won else 13.5))
    reported: list[tuple[str, int, int]] = []

    measured = train_lora(
        trainer,
        windows[:2],
        before,
        tmp_path / "lora",
        lambda stage, step, steps, _: reported.append((stage, step, steps)),
    )

    assert (measured["steps"], measured["kept"], measured["before"]) == (3, won, before.to_dict())
    assert measured["after"]["bits_per_source_token"] == (12.5 if won else 13.5)
    assert reported == [("lora", step, 3) for step in (1, 2, 3)]
    assert equal(weights_of(backbone), weights) == (not won)
    assert (trainer.heads.fingerprint() == heads) == (not won)
    assert (trainer.heads.settings == settings) == (not won)
    assert (tmp_path / "lora" / "adapter_model.safetensors").is_file()


def test_it_trains_the_projections_and_the_heads(
    backbone: Backbone, trainer_of: MakeTrainer, windows: NDArray[np.int32], tmp_path: Path
) -> None:
    trainer = trainer_of(tmp_path / "work", backbone=backbone, lora_steps=2)
    before = replace(evaluate(backbone, trainer.heads, windows[:2]), bits_per_source_token=1e3)  # so that it wins
    weights = weights_of(backbone)
    train_lora(trainer, windows[:2], before, tmp_path / "lora", None)
    changed = {name for name, weight in weights_of(backbone).items() if not torch.equal(weight, weights[name])}
    assert changed == {name for name in weights if any(target in name for target in TARGETS)}
