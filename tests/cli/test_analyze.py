"""`zprompt analyze` writes a page, figures, or a summary."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.codec.conftest import make_heads
from tests.conftest import SENTENCES
from zprompt.cli import codec_loading
from zprompt.cli.main import app
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_backbone: Backbone) -> Path:
    """Give a file of texts, and put a tiny codec in the place of any other."""
    codec = Codec(tiny_backbone, make_heads(tiny_backbone), "tiny")
    monkeypatch.setattr(codec_loading, "open_codec", lambda *_: codec)
    path = tmp_path / "texts.jsonl"
    rows = [{"text": " ".join(SENTENCES)}, {"paragraphs": [SENTENCES[0], " the" * 40]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)])


def test_page_and_figures_are_written(texts: Path, tmp_path: Path) -> None:
    result = run(texts, "--out", tmp_path / "page.html", "--json", tmp_path / "figures.json")

    assert result.exit_code == 0
    assert result.stdout == ""
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert f"{figures['sample']['ratio']:.2f}" in (tmp_path / "page.html").read_text()


def test_figures_go_to_stdout_for_other_programs(texts: Path) -> None:
    result = run(texts, "--json", "-", "--limit", 1)

    assert json.loads(result.stdout)["sample"]["texts"] == 1


def test_a_summary_is_printed_without_either(texts: Path) -> None:
    result = run(texts)

    assert result.exit_code == 0
    assert "2 texts" in result.stdout
    assert "function word" in result.stdout


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing.txt")

    assert result.exit_code == 1
    assert "No file or folder" in result.stderr
