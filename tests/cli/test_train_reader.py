"""`zprompt train reader` makes a reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.codec.conftest import SETTINGS, make_heads
from tests.conftest import SENTENCES
from zprompt.cli.main import app
from zprompt.codec.checkpoint import CodecConfig, write_codec
from zprompt.llm import Backbone

SMALL = (
    "--steps=2 --batch=3 --passages=3 --passage-tokens=160 --shortest-context=16 --continued=12 --rank=2 --ratio=4 "
    "--dev-ratio=4 --dev-passages=2 --evaluate-every=0"
).split()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(SENTENCES * 12), "utf-8")
    return path


@pytest.fixture
def codec(tiny_backbone: Backbone, tmp_path: Path) -> Path:
    config = CodecConfig(SETTINGS, tiny_backbone.name, tiny_backbone.weights_fingerprint, {})
    write_codec(tmp_path / "codec", config, make_heads(tiny_backbone))
    return tmp_path / "codec"


def test_a_reader_is_trained_saved_and_summed_up(
    text: Path, codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zprompt.train.reader.evaluation.CONTEXT", 24)
    out = tmp_path / "mine"
    arguments = ["train", "reader", "--data", str(text), "--codec", str(codec), "--out", str(out), *SMALL]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.stderr
    assert "tile 3/3" in result.stderr and "train 2/2: continuation" in result.stderr
    assert "of the context benefit kept" in result.stderr
    assert (out / "adapter" / "adapter_model.safetensors").is_file()


def test_an_unknown_input_is_explained(text: Path, codec: Path, tmp_path: Path) -> None:
    arguments = ["train", "reader", "--data", str(text), "--codec", str(codec), "--input", "smell"]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    assert "must be one of" in result.stderr
