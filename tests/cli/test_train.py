"""`zprompt train` trains a reader."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES
from zprompt.cli.main import app
from zprompt.cli.train import READER_OPTIONS, field_comments
from zprompt.codec import Codec
from zprompt.llm import Backbone
from zprompt.train import ReaderTrainConfig

SMALL = (
    "--steps=2 --batch=3 --passages=3 --passage-tokens=160 --shortest-context=16 --continued=12 --rank=2 --ratio=4 "
    "--dev-ratio=4 --dev-passages=2 --evaluate-every=0"
).split()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("\n\n".join(SENTENCES * 12), "utf-8")
    return path


@pytest.fixture(scope="module")
def codec(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codecs") / "tiny"
    Codec(tiny_backbone, SETTINGS).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(corpus: Path, codec: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Train a reader; return its folder and the result of the command."""
    out = tmp_path_factory.mktemp("trained") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zprompt.train.reader_data.CONTEXT", 24)
        return out, train("--data", corpus, "--codec", codec, "--out", out, *SMALL)


def train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", "reader", *map(str, arguments)])


def test_a_reader_is_trained_saved_and_summarised(trained: tuple[Path, Result]) -> None:
    out, result = trained

    assert result.exit_code == 0, result.stderr
    assert "tile 3/3" in result.stderr and "train 2/2: continuation" in result.stderr
    assert "of the context benefit kept" in result.stderr
    assert (out / "adapter" / "adapter_model.safetensors").is_file()


def test_a_second_run_in_the_folder_has_to_resume_the_first(
    trained: tuple[Path, Result], corpus: Path, codec: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained[0], tmp_path / "mine")
    arguments = ("--data", corpus, "-o", tmp_path / "mine", "--codec", codec, *SMALL)

    again = train(*arguments)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    assert train(*arguments, "--resume").exit_code == 0


def test_a_prepared_run_needs_no_data(corpus: Path, codec: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zprompt.train.reader_data.CONTEXT", 24)
        command = [
            "train",
            "prepare",
            "--data",
            str(corpus),
            "--codec",
            str(codec),
            "-o",
            str(tmp_path / "set"),
            *SMALL,
        ]
        prepared = CliRunner().invoke(app, command)
    ran = CliRunner().invoke(app, ["train", "run", str(tmp_path / "set"), "--out", str(tmp_path / "mine")])

    assert prepared.exit_code == 0 and " MB." in prepared.stderr, prepared.stderr
    assert ran.exit_code == 0 and "of the context benefit kept" in ran.stderr, ran.stderr
    assert (tmp_path / "mine" / "adapter" / "adapter_model.safetensors").is_file()


def test_an_llm_can_be_given_as_the_codec(corpus: Path, tiny_backbone_dir: Path, tmp_path: Path) -> None:
    result = train("--data", corpus, "--codec", tiny_backbone_dir, "--out", tmp_path / "mine", *SMALL)

    assert result.exit_code == 0, result.stderr


def test_a_missing_reader_to_start_from_is_named(corpus: Path, codec: Path, tmp_path: Path) -> None:
    arguments = ("--data", corpus, "--codec", codec, "--out", tmp_path / "mine", *SMALL)

    result = train(*arguments, "--start-from", "nowhere")

    assert result.exit_code == 1
    assert "No reader 'nowhere'" in result.stderr


def test_data_has_to_be_given() -> None:
    result = train("--out", "somewhere")

    assert result.exit_code == 2
    assert "--data" in result.stderr


def test_missing_data_is_named(codec: Path, tmp_path: Path) -> None:
    result = train("--data", tmp_path / "missing.txt", "--codec", codec, "--out", tmp_path / "mine")

    assert result.exit_code == 1
    assert "missing.txt" in result.stderr


@pytest.mark.parametrize(("option", "value"), [("--precision", "fp8"), ("--input", "smell"), ("--input", "anchors")])
def test_a_wrong_setting_is_explained(option: str, value: str, corpus: Path, codec: Path, tmp_path: Path) -> None:
    result = train("--data", corpus, "--codec", codec, "--out", tmp_path / "mine", option, value)

    assert result.exit_code == 1
    assert "must be one of" in result.stderr


def test_a_field_that_is_an_option_has_a_comment() -> None:
    assert set(READER_OPTIONS) <= set(field_comments(ReaderTrainConfig))


def test_help_shows_the_comments_and_defaults_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    help_text = train("--help").stdout

    singular = {"ratios": "ratio", "dev_ratios": "dev_ratio"}
    assert all(f"--{singular.get(name, name).replace('_', '-')} " in help_text for name in READER_OPTIONS)
    assert re.search(r"--batch .*Packed sequences per step\. \[default: 8\]", help_text)


def test_the_options_are_generated_only_when_they_are_needed() -> None:
    code = (
        "import sys, typer; from zprompt.cli.main import app; typer.main.get_command(app); "
        "print({'torch', 'numpy'} & set(sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


@pytest.mark.parametrize(("option", "value"), [("--continued", 7), ("--passage-tokens", 15)])
def test_sizes_below_the_minimum_are_refused(option: str, value: int, corpus: Path, tmp_path: Path) -> None:
    result = train("--data", corpus, "--out", tmp_path, option, value)

    assert result.exit_code == 2
    assert option in result.stderr
