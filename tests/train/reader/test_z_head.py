"""From a reader, text and questions to a Z-token head that the reader loads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import SENTENCES
from tests.reader.conftest import write_random_reader
from zprompt.cli.main import app
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError, OptionError, TrainingDataError
from zprompt.reader.checkpoint import Z_HEAD_FILE
from zprompt.reader.reader import load_reader
from zprompt.reader.z_decoding import ZTokenHead
from zprompt.train import z_head as script
from zprompt.train.config import ZHeadTrainConfig
from zprompt.train.loop import Figures, run_steps
from zprompt.train.reader_data import ReaderData, Sources
from zprompt.train.z_head import (
    RECORD_FILE,
    ZHeadTrainer,
    ZTexts,
    load_frozen_reader,
    measure_fit,
    read_targets,
    read_z_texts,
    train_z_head,
)

CONFIG = ZHeadTrainConfig(
    steps=4,
    batch=4,
    passages=6,
    passage_tokens=80,
    ratios=(4.0,),
    width=16,
    checkpoint_every=2,
    evaluate_every=2,
    dev_passages=2,
    dev_questions=2,
)


@pytest.fixture
def folder(tmp_path: Path, reader_codec: Codec) -> Path:
    """Give the folder of a reader."""
    return write_random_reader(tmp_path / "reader", reader_codec)


def test_a_reader_gets_a_z_token_head(
    folder: Path,
    text_file: Path,
    question_file: Path,
    codec_folder: Path,
    reader_codec: Codec,
) -> None:
    sources = Sources([str(text_file)], [str(question_file)], (), [str(question_file)])
    trained = train_z_head(sources, str(folder), CONFIG, codec_name=str(codec_folder))

    record = json.loads((folder / RECORD_FILE).read_text())
    assert set(trained.fits) == {"passages", "answers"}
    assert record["fits"]["passages"]["gap_accuracy"] == trained.fits["passages"].gap_accuracy
    assert [entry["step"] for entry in record["history"]] == [1, 2, 3, 4]
    assert "dev_passages_gap_right" in record["history"][1]
    reader = load_reader(str(folder), codec=reader_codec)
    said = reader.complete(SENTENCES, max_new_tokens=20, space="z")
    assert any(one.usage.written_z_tokens for one in said)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    folder: Path,
    text_file: Path,
    codec_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(resume: bool, **changes: int) -> None:
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        train_z_head(Sources([str(text_file)]), str(folder), config, codec_name=str(codec_folder), resume=resume)

    run(resume=False)
    whole = (folder / Z_HEAD_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="--resume"):
        run(resume=False)
    with pytest.raises(CheckpointError, match="another batch"):
        run(resume=True, batch=2)
    (folder / "work" / "z-head" / "checkpoint.pt").unlink()

    step = ZHeadTrainer.step

    def stop_in_the_third(self: ZHeadTrainer, number: int) -> Figures:
        if number == 2:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ZHeadTrainer, "step", stop_in_the_third)
        run(resume=False)
    run(resume=True)
    assert (folder / Z_HEAD_FILE).read_bytes() == whole


def test_heads_learn_and_the_reader_stays(
    folder: Path,
    text_file: Path,
    reader_codec: Codec,
    tmp_path: Path,
) -> None:
    model, input_ = load_frozen_reader(folder, reader_codec)
    before = [weight.clone() for weight in (*model.decoder.parameters(), *model.embedding.parameters())]
    data = ReaderData(reader_codec, CONFIG.reader_config(input_), tmp_path / "cache", None)
    training, _ = read_z_texts(data, Sources([str(text_file)], dev_text=[str(text_file)]))
    torch.manual_seed(0)
    z_head = ZTokenHead(reader_codec.settings, reader_codec.backbone.hidden_size, 64)
    config = replace(CONFIG, steps=60, rate=0.01)
    trainer = ZHeadTrainer(config, model, z_head, ZTexts(training.passages, []), tmp_path, "r")
    first = measure_fit(z_head, model, training.passages)

    run_steps(trainer, config.steps, config.checkpoint_every, lambda progress, figures: None)

    last = measure_fit(z_head, model, training.passages)
    assert last.gap_accuracy > max(first.gap_accuracy, last.usual_gap) and last.code_accuracy > 0.5
    assert last.anchor_nats == pytest.approx(first.anchor_nats)
    after = (*model.decoder.parameters(), *model.embedding.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_each_z_token_is_expected_where_it_will_be_written(
    folder: Path,
    question_file: Path,
    reader_codec: Codec,
    tmp_path: Path,
) -> None:
    model, input_ = load_frozen_reader(folder, reader_codec)
    data = ReaderData(reader_codec, CONFIG.reader_config(input_), tmp_path / "cache", None)
    training, _ = read_z_texts(data, Sources((), [str(question_file)]))
    texts = training.answers

    targets = read_targets(model, texts)

    found = []
    for text in texts:
        run = text.positions
        ids, gaps, codes = (torch.from_numpy(part)[None] for part in (run.ids, run.gaps, run.codes))
        found.append(model.decoder.run(model.embed(ids, gaps, codes))[0, text.first - 1 : -1])
        assert text.positions.gaps[: text.first].any()  # the passage is read in Z-tokens
    assert torch.allclose(targets.hidden, torch.cat(found), atol=1e-5)


def test_what_cannot_be_is_refused(
    folder: Path,
    text_file: Path,
    codec_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(TrainingDataError, match="--data"):
        train_z_head(Sources(()), str(folder), CONFIG, codec_name=str(codec_folder))
    with pytest.raises(OptionError, match="ratios"):
        ZHeadTrainConfig(ratios=())
    with pytest.raises(OptionError, match="answers"):
        ZHeadTrainConfig(answers=2.0)
    with pytest.raises(OptionError, match="steps"):
        ZHeadTrainConfig(steps=0)
    monkeypatch.setattr(script, "MOST_BYTES", 1000)
    with pytest.raises(OptionError, match="lower --width"):
        train_z_head(Sources([str(text_file)]), str(folder), CONFIG, codec_name=str(codec_folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "training": {"input": "text"}}))
    with pytest.raises(CheckpointError, match="reads Z-tokens"):
        train_z_head(Sources([str(text_file)]), str(folder), CONFIG, codec_name=str(codec_folder))


def test_the_command_trains_a_z_token_head(folder: Path, text_file: Path, codec_folder: Path) -> None:
    arguments = ["train", "z-head", "--reader", str(folder), "--data", str(text_file), "--codec", str(codec_folder)]
    small = "--steps=2 --batch=2 --passages=3 --passage-tokens=80 --ratio=4 --width=8 --dev-passages=1".split()

    result = CliRunner().invoke(app, [*arguments, *small])

    assert result.exit_code == 0, result.stderr
    assert "train 2/2: gap" in result.stderr and "passages: gaps" in result.stderr
    assert (folder / Z_HEAD_FILE).is_file()
