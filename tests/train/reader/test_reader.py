"""Training from text and questions gives a reader that loads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.reader.conftest import CONFIG
from zprompt.baselines.ltsc import LtscReader
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError, OptionError
from zprompt.reader.checkpoint import read_reader_config
from zprompt.reader.reader import Reader
from zprompt.train import reader as script
from zprompt.train.codes import load_codes
from zprompt.train.codes_analysis import analyze_codes
from zprompt.train.config import CODES, INPUTS, ReaderTrainConfig
from zprompt.train.reader import train_reader
from zprompt.train.reader_data import Sources


@pytest.fixture(autouse=True)
def short_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.train.reader_data.CONTEXT", 24)


@pytest.mark.parametrize("kind", INPUTS)
def test_the_folder_holds_a_trained_reader(
    kind: str,
    text_file: Path,
    question_file: Path,
    codec_folder: Path,
    cache: Path,
    reader_codec: Codec,
    tmp_path: Path,
) -> None:
    sources = Sources([str(text_file)], [str(question_file)], (), [str(question_file)])
    trained = train_reader(
        sources,
        tmp_path / "reader",
        replace(CONFIG, input=kind, evaluate_every=2),
        codec_name=str(codec_folder),
        cache=cache,
    )
    folder = tmp_path / "reader"
    if kind == "ltsc":
        LtscReader.from_pretrained(str(folder), backbone=reader_codec.backbone)
    elif kind in CODES:
        load_codes(folder, reader_codec.backbone)
        analysis = analyze_codes(folder, [str(text_file)], passages=3, codec_name=str(codec_folder))
        assert analysis.uses > 0 and analysis.passages == 3 and 0 < analysis.commonest <= 1
    else:
        reader = Reader.from_pretrained(str(folder), codec=reader_codec)
        assert reader.training["input"] == kind and bool(reader.z_embedding.gap.any()) == (kind == "z")
    record = json.loads((folder / "training.json").read_text())
    assert record["context_benefit"]["4"]["kept"] == pytest.approx(trained.benefit["4"].kept)
    assert record["answers"]["4"]["f1"] == trained.answers["4"].f1 and record["config"]["input"] == kind
    assert [entry["step"] for entry in record["history"]] == [1, 2, 3, 4] and "kept" in record["history"][1]
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_in_the_folder_is_not_overwritten(text_file: Path, codec_folder: Path, tmp_path: Path) -> None:
    stages: list[str] = []

    def run(resume: bool) -> None:
        train_reader(
            Sources([str(text_file)]),
            tmp_path,
            CONFIG,
            codec_name=str(codec_folder),
            resume=resume,
            report=lambda stage, step, steps, figures: stages.append(stage),
        )

    run(resume=False)
    first = (tmp_path / "z_embedding.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="--resume"):
        run(resume=False)
    assert {"tile", "teach", "train"} <= set(stages)
    run(resume=True)
    assert (tmp_path / "z_embedding.safetensors").read_bytes() == first


def test_training_can_start_from_a_reader(text_file: Path, codec_folder: Path, cache: Path, tmp_path: Path) -> None:
    def run(folder: str, config: ReaderTrainConfig, start_from: str | None = None) -> None:
        sources = Sources([str(text_file)])
        out, codec = tmp_path / folder, str(codec_folder)
        train_reader(sources, out, config, codec_name=codec, cache=cache, start_from=start_from)

    first, no_learning = str(tmp_path / "first"), replace(CONFIG, rate=0.0, up_rate=0.0, embedding_rate=0.0)
    run("first", CONFIG)
    run("same", no_learning, first)
    for file in ("z_embedding.safetensors", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "same" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
    run("on", CONFIG, first)
    file = "z_embedding.safetensors"
    assert (tmp_path / "on" / file).read_bytes() != (tmp_path / "first" / file).read_bytes()
    assert read_reader_config(tmp_path / "on").training["started_from"] == first
    with pytest.raises(CheckpointError, match="its LoRA's rank is 2, but this run's is 3"):
        run("rank", replace(CONFIG, rank=3), first)
    run("text", replace(no_learning, input="text"), first)  # only its LoRA is used
    file = "adapter/adapter_model.safetensors"
    assert (tmp_path / "text" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
    meta_tokens = replace(no_learning, input="ltsc")
    run("ltsc", meta_tokens, first)  # here, too, only its LoRA is used
    run("same ltsc", meta_tokens, str(tmp_path / "ltsc"))
    for file in ("adapter/adapter_model.safetensors", "meta_embedding.safetensors"):
        assert (tmp_path / "same ltsc" / file).read_bytes() == (tmp_path / "ltsc" / file).read_bytes()


def test_a_reader_that_would_be_too_large_is_refused(
    text_file: Path, codec_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "MOST_BYTES", 1000)
    with pytest.raises(OptionError, match="lower --rank"):
        train_reader(Sources([str(text_file)]), tmp_path, CONFIG, codec_name=str(codec_folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": "smell"}, "input must be one of"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"passage_tokens": 20}, r"at least shortest_context \+ continued"),
        ({"ratios": (0.5,)}, "ratios must be at least one ratio"),
        ({"cloze": -1.0}, "must not be negative"),
        ({"precision": "fp8"}, "precision must be one of"),
    ],
)
def test_an_impossible_config_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ReaderTrainConfig(**change)  # type: ignore[arg-type]
