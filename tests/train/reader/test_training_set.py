"""A prepared training set trains the same reader as the data that it was made from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.reader.conftest import CONFIG
from zprompt.errors import CheckpointError
from zprompt.train.reader import prepare_reader, run_reader, train_reader
from zprompt.train.reader_data import Sources
from zprompt.train.training_set import read_training_set

READER = ("z_embedding.safetensors", "adapter/adapter_model.safetensors")


@pytest.fixture(autouse=True)
def short_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.train.reader_data.CONTEXT", 24)
    monkeypatch.setattr("zprompt.train.training_set.CALIBRATED", 4)


@pytest.fixture
def sources(text_file: Path, question_file: Path) -> Sources:
    return Sources([str(text_file)], [str(question_file)])


@pytest.fixture
def prepared(sources: Sources, codec_folder: Path, cache: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    prepare_reader(sources, folder, CONFIG, codec_name=str(codec_folder), cache=cache)
    return folder


def test_a_prepared_run_gives_the_same_reader_as_a_run_on_the_data(
    sources: Sources, prepared: Path, codec_folder: Path, cache: Path, tmp_path: Path
) -> None:
    whole = train_reader(sources, tmp_path / "whole", CONFIG, codec_name=str(codec_folder), cache=cache)
    ran = run_reader(prepared, tmp_path / "ran")
    for file in READER:
        assert (tmp_path / "ran" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert ran.benefit == whole.benefit and not ran.answers
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("ran", "whole")]
    assert configs[0]["calibration"] == configs[1]["calibration"]


def test_a_stopped_run_is_resumed_by_the_same_call(prepared: Path, tmp_path: Path) -> None:
    run_reader(prepared, tmp_path / "whole")

    def stop(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        if stage == "train" and step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_reader(prepared, tmp_path / "stopped", report=stop)
    run_reader(prepared, tmp_path / "stopped")
    for file in READER:
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_the_reader_to_start_from_is_part_of_the_training_set(
    sources: Sources, prepared: Path, codec_folder: Path, cache: Path, tmp_path: Path
) -> None:
    run_reader(prepared, tmp_path / "first")
    no_learning = replace(CONFIG, rate=0.0, up_rate=0.0, embedding_rate=0.0)
    first = str(tmp_path / "first")
    prepare_reader(
        sources, tmp_path / "again", no_learning, codec_name=str(codec_folder), cache=cache, start_from=first
    )
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    run_reader(tmp_path / "again", tmp_path / "same")
    for file in READER:
        assert (tmp_path / "same" / file).read_bytes() == (tmp_path / "elsewhere" / file).read_bytes()


def test_a_run_longer_than_the_training_set_repeats_it(prepared: Path) -> None:
    content = read_training_set(prepared)
    trunks = [[sequence.trunk.ids.tolist() for sequence in content.draw(step)] for step in (1, CONFIG.steps + 1)]
    assert trunks[0] == trunks[1]


def test_another_llm_and_other_folders_are_refused(prepared: Path, narrow_backbone_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--backbone"):
        run_reader(prepared, tmp_path / "ran", backbone_name=str(narrow_backbone_dir))
    with pytest.raises(CheckpointError, match="zprompt train prepare"):
        run_reader(tmp_path, tmp_path / "ran")
