"""From text to a codec that loads, writes and reads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zprompt
from tests.conftest import SENTENCES
from tests.train.conftest import CONFIG
from zprompt.codec.checkpoint import read_config
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.train import codec_lora
from zprompt.train.codec import TrainedCodec, train_codec
from zprompt.train.codec_evaluation import evaluate
from zprompt.train.config import CodecTrainConfig

TEXT = "There is the dog, there is the sea, and mud becomes stone. " * 3 + "é 🌍 \x04"


class StoppedError(Exception):
    """Stands for whatever ends a run early."""


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory, tiny_backbone_dir: Path) -> TrainedCodec:
    """A codec, trained for a moment."""
    folder = tmp_path_factory.mktemp("trained") / "codec"
    return train_codec([str(corpus)], folder, replace(CONFIG, evaluate_every=3), backbone_name=str(tiny_backbone_dir))


def load(folder: Path, backbone: Path) -> Codec:
    return zprompt.load(str(folder), backbone=str(backbone), device="cpu")


def stop_after(steps: int) -> Any:  # noqa: ANN401 - a report
    """Return a report that stops a run."""

    def report(stage: str, step: int, of: int, figures: dict[str, float]) -> None:
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise StoppedError

    return report


def test_the_folder_is_a_codec_that_restores_texts(trained: TrainedCodec, tiny_backbone_dir: Path) -> None:
    codec = load(trained.folder, tiny_backbone_dir)
    for text in (*SENTENCES, TEXT, ""):
        assert codec.decompress(codec.compress(text).documents) == text


def test_a_codec_finds_the_backbone_that_it_was_trained_on(trained: TrainedCodec, tiny_backbone_dir: Path) -> None:
    assert zprompt.load(str(trained.folder), device="cpu").backbone.name == str(tiny_backbone_dir)


def test_the_codec_has_the_fitted_rank_table(trained: TrainedCodec) -> None:
    assert read_config(trained.folder).settings.rank_table


def test_the_record_says_how_it_was_made(trained: TrainedCodec) -> None:
    record = json.loads((trained.folder / "training.json").read_text())
    assert record["data"] == ["corpus.txt"]
    assert record["config"]["joint_steps"] == 6
    assert record["evaluation"] == trained.evaluation.to_dict()
    assert record["evaluation"]["ratio"] >= 1
    assert record["lora"] is None
    history = record["history"]
    assert [(entry["stage"], entry["step"]) for entry in history] == [("warmup", 4), ("joint", 3), ("joint", 6)]
    assert history[1]["dev_ratio"] >= 1
    assert read_config(trained.folder).training["evaluation"] == record["evaluation"]


def test_the_history_is_drawn(trained: TrainedCodec) -> None:
    assert (trained.folder / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_in_the_folder_is_not_overwritten(corpus: Path, tiny_backbone_dir: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"backbone_name": str(tiny_backbone_dir)}
    with pytest.raises(StoppedError):
        train_codec([str(corpus)], tmp_path / "codec", CONFIG, report=stop_after(6), **arguments)
    with pytest.raises(CheckpointError, match="--resume"):
        train_codec([str(corpus)], tmp_path / "codec", CONFIG, **arguments)


def test_a_resumed_run_gives_the_codec_of_an_uninterrupted_one(
    trained: TrainedCodec, corpus: Path, tiny_backbone_dir: Path, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"backbone_name": str(tiny_backbone_dir)}
    with pytest.raises(StoppedError):
        train_codec([str(corpus)], tmp_path / "stopped", CONFIG, report=stop_after(7), **arguments)
    resumed = train_codec([str(corpus)], tmp_path / "stopped", CONFIG, resume=True, **arguments)
    assert resumed.evaluation == trained.evaluation
    heads = [(run.folder / "heads.safetensors").read_bytes() for run in (trained, resumed)]
    assert heads[0] == heads[1]


def test_there_may_be_nothing_to_resume(corpus: Path, tiny_backbone_dir: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, warmup_steps=1, joint_steps=1)
    arguments: dict[str, Any] = {"backbone_name": str(tiny_backbone_dir), "resume": True}
    assert train_codec([str(corpus)], tmp_path / "codec", config, **arguments).evaluation.windows > 0


def test_development_text_may_be_given(corpus: Path, tiny_backbone_dir: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.txt"
    dev.write_text(" ".join(reversed(SENTENCES)))
    config = replace(CONFIG, warmup_steps=1, joint_steps=1, dev_windows=2)
    folder = tmp_path / "codec"
    arguments: dict[str, Any] = {"dev_sources": [str(dev)], "backbone_name": str(tiny_backbone_dir)}
    trained = train_codec([str(corpus)], folder, config, **arguments)
    assert trained.evaluation.windows == 2


class TestStartingFromACodec:
    CONFIG = replace(CONFIG, joint_steps=2, joint_rate=0.0, usage_weight=0.0)

    def test_its_heads_are_what_training_starts_with(
        self, trained: TrainedCodec, corpus: Path, tiny_backbone_dir: Path, tmp_path: Path
    ) -> None:
        steps: list[str] = []
        on = train_codec(
            [str(corpus)],
            tmp_path / "codec",
            self.CONFIG,
            backbone_name=str(tiny_backbone_dir),
            start_from=str(trained.folder),
            report=lambda stage, *_: steps.append(stage),
        )
        assert steps == ["joint", "joint"]  # no warm-up, whatever the config says
        first, second = (load(folder, tiny_backbone_dir).heads.state_dict() for folder in (trained.folder, on.folder))
        for name, weights in first.items():  # at a learning rate of 0 they stay
            assert torch.equal(second[name], weights), name
        assert read_config(on.folder).training["started_from"] == str(trained.folder)
        assert read_config(trained.folder).training["started_from"] is None

    def test_heads_that_do_not_fit_are_refused(
        self, trained: TrainedCodec, corpus: Path, tiny_backbone_dir: Path, tmp_path: Path
    ) -> None:
        wider = replace(self.CONFIG, settings=replace(CONFIG.settings, width=48))
        with pytest.raises(CheckpointError, match="do not fit"):
            train_codec(
                [str(corpus)],
                tmp_path / "codec",
                wider,
                backbone_name=str(tiny_backbone_dir),
                start_from=str(trained.folder),
            )

    def test_such_a_run_may_be_resumed(
        self, trained: TrainedCodec, corpus: Path, tiny_backbone_dir: Path, tmp_path: Path
    ) -> None:
        config = replace(CONFIG, joint_steps=4)
        arguments: dict[str, Any] = {"backbone_name": str(tiny_backbone_dir), "start_from": str(trained.folder)}
        whole = train_codec([str(corpus)], tmp_path / "whole", config, **arguments)
        with pytest.raises(StoppedError):
            train_codec([str(corpus)], tmp_path / "stopped", config, report=stop_after(3), **arguments)
        resumed = train_codec([str(corpus)], tmp_path / "stopped", config, resume=True, **arguments)
        heads = [(run.folder / "heads.safetensors").read_bytes() for run in (whole, resumed)]
        assert heads[0] == heads[1]


@pytest.fixture
def with_lora() -> CodecTrainConfig:
    return replace(CONFIG, warmup_steps=1, joint_steps=2, lora_steps=2)


# PEFT asks transformers by a name that is on its way out.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "left out"])
def test_a_codec_with_a_lora_restores_texts(
    corpus: Path,
    tiny_backbone_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_lora: CodecTrainConfig,
    kept: bool,
) -> None:
    bits = 0.1 if kept else 100.0
    monkeypatch.setattr(codec_lora, "evaluate", lambda *of: replace(evaluate(*of), bits_per_source_token=bits))
    trained = train_codec([str(corpus)], tmp_path / "codec", with_lora, backbone_name=str(tiny_backbone_dir))
    assert trained.lora is not None and trained.lora["kept"] == kept
    assert read_config(trained.folder).lora == kept
    codec = load(trained.folder, tiny_backbone_dir)
    for text in (*SENTENCES, TEXT):
        assert codec.decompress(codec.compress(text).documents) == text
