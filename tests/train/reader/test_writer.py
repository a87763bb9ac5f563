"""From a reader, text and questions to a writer that the reader loads."""

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
from zprompt.train.reader.materials import Materials, Sources
from zprompt.train.reader.trainer import Figures
from zprompt.train.writer import command
from zprompt.train.writer.command import open_reading, read_texts_of, train_writer
from zprompt.train.writer.config import WriterTrainConfig
from zprompt.train.writer.examples import WrittenExamples, targets_of
from zprompt.train.writer.fit import measure_fit
from zprompt.train.writer.trainer import WriterTrainer

CONFIG = WriterTrainConfig(
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


def test_a_reader_gets_a_writer(
    folder: Path,
    text_file: Path,
    question_file: Path,
    codec_folder: Path,
    reader_codec: Codec,
) -> None:
    sources = Sources([str(text_file)], [str(question_file)], (), [str(question_file)])
    trained = train_writer(sources, str(folder), CONFIG, codec_name=str(codec_folder))

    record = json.loads((folder / "writer-training.json").read_text())
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
        train_writer(Sources([str(text_file)]), str(folder), config, codec_name=str(codec_folder), resume=resume)

    run(resume=False)
    whole = (folder / Z_HEAD_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="--resume"):
        run(resume=False)
    with pytest.raises(CheckpointError, match="another batch"):
        run(resume=True, batch=2)
    (folder / "work" / "writer" / "checkpoint.pt").unlink()

    step = WriterTrainer.step

    def stop_in_the_third(self: WriterTrainer, number: int) -> Figures:
        if number == 2:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WriterTrainer, "step", stop_in_the_third)
        run(resume=False)
    run(resume=True)
    assert (folder / Z_HEAD_FILE).read_bytes() == whole


def test_heads_learn_and_the_reader_stays(
    folder: Path,
    text_file: Path,
    reader_codec: Codec,
    tmp_path: Path,
) -> None:
    reading, kind = open_reading(folder, reader_codec)
    before = [weight.clone() for weight in (*reading.decoder.parameters(), *reading.embedding.parameters())]
    materials = Materials(reader_codec, CONFIG.materials(kind), tmp_path / "cache", None)
    training, _ = read_texts_of(materials, Sources([str(text_file)], dev_text=[str(text_file)]))
    torch.manual_seed(0)
    writer = ZTokenHead(reader_codec.settings, reader_codec.backbone.hidden_size, 64)
    config = replace(CONFIG, steps=60, rate=0.01)
    trainer = WriterTrainer(config, reading, writer, WrittenExamples(training["passages"], [], 0.5), tmp_path, "r")
    first = measure_fit(writer, reading, training["passages"])

    trainer.run(lambda progress, figures: None)

    last = measure_fit(writer, reading, training["passages"])
    assert last.gap_accuracy > max(first.gap_accuracy, last.usual_gap) and last.code_accuracy > 0.5
    assert last.anchor_nats == pytest.approx(first.anchor_nats)
    after = (*reading.decoder.parameters(), *reading.embedding.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_each_z_token_is_expected_where_it_will_be_written(
    folder: Path,
    question_file: Path,
    reader_codec: Codec,
    tmp_path: Path,
) -> None:
    reading, kind = open_reading(folder, reader_codec)
    materials = Materials(reader_codec, CONFIG.materials(kind), tmp_path / "cache", None)
    training, _ = read_texts_of(materials, Sources((), [str(question_file)]))
    texts = training["answers"]

    targets = targets_of(reading, texts)

    found = []
    for text in texts:
        run = text.positions
        ids, gaps, codes = (torch.from_numpy(part)[None] for part in (run.ids, run.gaps, run.codes))
        found.append(reading.decoder.run(reading.embed(ids, gaps, codes))[0, text.first - 1 : -1])
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
        train_writer(Sources(()), str(folder), CONFIG, codec_name=str(codec_folder))
    with pytest.raises(OptionError, match="ratios"):
        WriterTrainConfig(ratios=())
    with pytest.raises(OptionError, match="answers"):
        WriterTrainConfig(answers=2.0)
    with pytest.raises(OptionError, match="steps"):
        WriterTrainConfig(steps=0)
    monkeypatch.setattr(command, "MOST_BYTES", 1000)
    with pytest.raises(OptionError, match="lower --width"):
        train_writer(Sources([str(text_file)]), str(folder), CONFIG, codec_name=str(codec_folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "training": {"input": "text"}}))
    with pytest.raises(CheckpointError, match="reads Z-tokens"):
        train_writer(Sources([str(text_file)]), str(folder), CONFIG, codec_name=str(codec_folder))


def test_the_command_trains_a_writer(folder: Path, text_file: Path, codec_folder: Path) -> None:
    arguments = ["train", "writer", "--reader", str(folder), "--data", str(text_file), "--codec", str(codec_folder)]
    small = "--steps=2 --batch=2 --passages=3 --passage-tokens=80 --ratio=4 --width=8 --dev-passages=1".split()

    result = CliRunner().invoke(app, [*arguments, *small])

    assert result.exit_code == 0, result.stderr
    assert "train 2/2: gap" in result.stderr and "passages: gaps" in result.stderr
    assert (folder / Z_HEAD_FILE).is_file()
