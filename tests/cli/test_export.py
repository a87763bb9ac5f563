"""`zprompt export reader` writes a folder that others load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.codec.conftest import make_heads
from tests.reader.conftest import write_random_reader
from zprompt.cli import codec_loading
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone
from zprompt.reader.reader import load_reader


@pytest.fixture
def tiny(tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Codec:
    codec = Codec(tiny_backbone, make_heads(tiny_backbone), "tiny")
    folder = write_random_reader(tmp_path / "reader", codec)
    monkeypatch.setattr(codec_loading, "open_reader", lambda *_: load_reader(str(folder), codec=codec))
    return codec


def test_a_reader_becomes_a_checkpoint(run: Run, tiny: Codec, tmp_path: Path) -> None:
    result = run("export", "reader", tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    assert tiny.fingerprint in result.stderr
    assert {"config.json", "model.safetensors", "tokenizer.json", "zprompt", "zprompt.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_what_is_in_the_folder_stays(run: Run, tiny: Codec, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("keep me")

    result = run("export", "reader", tmp_path / "out")

    assert result.exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]
