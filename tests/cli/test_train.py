"""`zprompt train` makes a codec that `zprompt.load` takes, and a reader."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import zprompt
from tests.codec.conftest import SETTINGS, make_heads
from tests.conftest import SENTENCES
from zprompt.cli.main import app
from zprompt.cli.train import CODEC_OPTIONS, READER_OPTIONS, field_comments
from zprompt.codec import CodecConfig, write_codec
from zprompt.llm import Backbone
from zprompt.train import CodecTrainConfig, ReaderTrainConfig

SMALL_READER = (
    "--steps=2 --batch=3 --passages=3 --passage-tokens=160 --shortest-context=16 --continued=12 --rank=2 --ratio=4 "
    "--dev-ratio=4 --dev-passages=2 --evaluate-every=0"
).split()
SMALL = (
    "--windows=12 --window=64 --warmup-steps=2 --joint-steps=3 --batch=2 --subcodes=2 --max-gap=6 "
    "--precision=fp32 --evaluate-every=0"
).split()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("\n\n".join(SENTENCES * 12), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(corpus: Path, tiny_backbone_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A codec's folder, and what the command wrote."""
    out = tmp_path_factory.mktemp("trained") / "mine"
    return out, train("--data", corpus, "--out", out, "--backbone", tiny_backbone_dir, *SMALL)


def train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", "codec", *map(str, arguments)])


def test_a_codec_is_trained_saved_and_summed_up(trained: tuple[Path, Result], tiny_backbone_dir: Path) -> None:
    out, result = trained

    assert result.exit_code == 0, result.stderr
    assert "warmup 2/2" in result.stderr and "joint 3/3" in result.stderr
    assert re.search(r": ratio \d\.\d\d on .* \d+\.\d bits per Z-token, .*zprompt\.load\(", result.stderr)
    codec = zprompt.load(str(out), backbone=str(tiny_backbone_dir), device="cpu")
    assert codec.decompress(codec.compress(SENTENCES[0]).documents) == SENTENCES[0]
    assert (codec.settings.subcodes, codec.settings.max_gap, codec.settings.window) == (2, 6, 64)


def test_a_second_run_in_the_folder_has_to_be_a_resumed_one(
    trained: tuple[Path, Result], corpus: Path, tiny_backbone_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained[0], tmp_path / "mine")
    arguments = ("--data", corpus, "-o", tmp_path / "mine", "--backbone", tiny_backbone_dir, *SMALL)

    again = train(*arguments)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    assert train(*arguments, "--resume").exit_code == 0


def test_a_codec_may_be_trained_on_from_another(
    trained: tuple[Path, Result], corpus: Path, tiny_backbone_dir: Path, tmp_path: Path
) -> None:
    arguments = ("--data", corpus, "--backbone", tiny_backbone_dir, *SMALL)

    rates = ("--joint-rate", 0.0, "--usage-weight", 0.0)
    result = train(*arguments, "--out", tmp_path / "second", "--start-from", trained[0], *rates)

    assert result.exit_code == 0, result.stderr
    assert "warmup" not in result.stderr and "joint 3/3" in result.stderr
    record = json.loads((tmp_path / "second" / "training.json").read_text())
    assert record["started_from"] == str(trained[0])
    assert (record["config"]["joint_rate"], record["config"]["usage_weight"]) == (0.0, 0.0)


def test_a_codec_to_start_from_has_to_be_there(corpus: Path, tiny_backbone_dir: Path, tmp_path: Path) -> None:
    arguments = ("--data", corpus, "--backbone", tiny_backbone_dir, "--out", tmp_path / "mine", *SMALL)

    result = train(*arguments, "--start-from", "nowhere")

    assert result.exit_code == 1
    assert "No codec 'nowhere'" in result.stderr


def test_data_has_to_be_given() -> None:
    result = train("--out", "somewhere")

    assert result.exit_code == 2
    assert "--data" in result.stderr


def test_missing_data_is_named(tiny_backbone_dir: Path, tmp_path: Path) -> None:
    result = train("--data", tmp_path / "missing.txt", "--backbone", tiny_backbone_dir, "--out", tmp_path / "mine")

    assert result.exit_code == 1
    assert "missing.txt" in result.stderr


def test_a_wrong_setting_is_explained(corpus: Path, tmp_path: Path) -> None:
    result = train("--data", corpus, "--out", tmp_path / "mine", "--precision", "fp8")

    assert result.exit_code == 1
    assert "must be one of" in result.stderr


@pytest.mark.parametrize(("config", "names"), [(CodecTrainConfig, CODEC_OPTIONS), (ReaderTrainConfig, READER_OPTIONS)])
def test_a_field_that_is_an_option_has_a_comment(config: type, names: tuple[str, ...]) -> None:
    assert set(names) <= set(field_comments(config))


def test_help_shows_the_comments_and_defaults_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    shown = train("--help").stdout

    assert all(f"--{name.replace('_', '-')} " in shown for name in (*CODEC_OPTIONS, "window", "subcodes", "max_gap"))
    assert re.search(r"--joint-steps .*Steps with the frozen LLM\. \[default: 1200\]", shown)


def test_the_options_are_generated_only_when_they_are_needed() -> None:
    code = (
        "import sys, typer; from zprompt.cli.main import app; typer.main.get_command(app); "
        "print({'torch', 'numpy'} & set(sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


@pytest.fixture
def codec(tiny_backbone: Backbone, tmp_path: Path) -> Path:
    config = CodecConfig(SETTINGS, tiny_backbone.name, tiny_backbone.weights_fingerprint, {})
    write_codec(tmp_path / "codec", config, make_heads(tiny_backbone))
    return tmp_path / "codec"


def test_a_reader_is_trained_saved_and_summed_up(
    corpus: Path, codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zprompt.train.reader_evaluation.CONTEXT", 24)
    out = tmp_path / "mine"
    arguments = ["train", "reader", "--data", str(corpus), "--codec", str(codec), "--out", str(out), *SMALL_READER]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.stderr
    assert "tile 3/3" in result.stderr and "train 2/2: continuation" in result.stderr
    assert "of the context benefit kept" in result.stderr
    assert (out / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [("codec", "--window", 63), ("reader", "--continued", 7), ("reader", "--passage-tokens", 15)],
)
def test_sizes_that_no_real_text_is_trained_at_are_refused(
    command: str, option: str, value: int, corpus: Path, tmp_path: Path
) -> None:
    arguments = ["train", command, "--data", str(corpus), "--out", str(tmp_path), option, str(value)]

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert option in result.stderr


def test_an_unknown_input_is_explained(corpus: Path, codec: Path) -> None:
    arguments = ["train", "reader", "--data", str(corpus), "--codec", str(codec), "--input", "smell"]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    assert "must be one of" in result.stderr
