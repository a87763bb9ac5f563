"""The installed program, the default model, real text: byte for byte."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.default_model, pytest.mark.slow]
EXAMPLES = Path(__file__).parents[2] / "examples" / "texts"
TEXTS = Path(__file__).parents[1] / "texts"
SHORT = ("emoji-chat.txt", "prose-weather.txt")
PROGRAM = [sys.executable, "-c", "from zprompt.cli.main import app; app()"]


def zprompt(*arguments: object) -> bytes:
    return subprocess.run([*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, check=True).stdout


def test_a_folder_comes_back_byte_for_byte(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in SHORT:
        shutil.copy(TEXTS / name, source)
    zprompt("compress", source, "-o", tmp_path / "compressed")
    zprompt("decompress", tmp_path / "compressed", "-o", tmp_path / "restored")

    total = json.loads(zprompt("stats", "--json", tmp_path / "compressed"))["total"]
    assert total["documents"] == len(SHORT)
    assert total["ratio"] > 1
    assert all((tmp_path / "restored" / name).read_bytes() == (source / name).read_bytes() for name in SHORT)


def test_a_tiling_becomes_a_page(tmp_path: Path) -> None:
    zprompt("inspect", EXAMPLES / "tides.txt", "--ratio", 6, "--html", tmp_path / "tides.html")

    assert (tmp_path / "tides.html").read_text().count("data-card=") > 20
