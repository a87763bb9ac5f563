"""Anchors are counted by class and position, and a token has the class of its word."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import zprompt
from benchmarks import anchors
from benchmarks.anchors import CLASSES, class_shares, density, word_classes
from benchmarks.common import TiledText
from zprompt.codec import Codec
from zprompt.zspan import ZToken

TEXT = "The keeper, Margaret Hale, didn't light 3 lamps in 1834.\n"
OFFSETS = [match.span() for match in re.finditer(r" ?\w+| ?[^\w\s]|\s", TEXT)]


def tiled(text: str, gaps: Sequence[int]) -> TiledText:
    """Tile a text whose words are its tokens, given the gap of each Z-token."""
    offsets = [match.span() for match in re.finditer(r"\S+", text)]
    assert len(offsets) == sum(gaps) + len(gaps)
    return TiledText(text, np.arange(len(offsets)), tuple(offsets), tuple(ZToken(0, gap) for gap in gaps))


TEXTS = [tiled("then Anna saw 7 dogs there", (0, 1, 0, 1)), tiled("dogs run in Rome now", (2, 1))]


def test_the_anchors_of_each_class_are_counted() -> None:
    shares = dict(zip(CLASSES, class_shares(TEXTS, seed=0), strict=True))

    assert shares["name"] and shares["name"].value == 1  # Anna and Rome
    assert shares["function word"] and shares["function word"].value == 0  # there, in
    assert shares["other word"] and shares["other word"].value == pytest.approx(3 / 6)  # then dogs dogs
    assert shares["all tokens"] and shares["all tokens"].value == pytest.approx(6 / 11)
    assert shares["white space"] is None


def test_density_is_measured_along_windows() -> None:
    rows = density(TEXTS, window=32, seed=0)

    assert [row["from token"] for row in rows] == [0, 2, 4]
    assert rows[0]["density"].value == pytest.approx(3 / 4)


def test_numbers_names_and_function_words_are_told_apart() -> None:
    class_by_token = {
        TEXT[start:end].strip() or "\n": name
        for (start, end), name in zip(OFFSETS, word_classes(TEXT, OFFSETS), strict=True)
    }

    assert class_by_token == {
        "The": "function word", "keeper": "other word", ",": "punctuation, symbols", "Margaret": "name",
        "Hale": "name", "didn": "function word", "'": "punctuation, symbols", "t": "function word",
        "light": "other word", "3": "number", "lamps": "other word", "in": "function word", "1834": "number",
        ".": "punctuation, symbols", "\n": "white space",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "a/b c//d", "😀 x", "__init__ _ -- \n\n"])
def test_any_text_has_classes(text: str) -> None:
    assert set(word_classes(text, [(i, i + 1) for i in range(len(text))])) <= set(CLASSES)


def test_a_small_run_writes_json(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "two.jsonl"
    source.write_text("".join(json.dumps({"title": "T", "paragraphs": [TEXT * n]}) + "\n" for n in (2, 3)), "utf-8")
    monkeypatch.setattr(anchors, "RESULTS", tmp_path)
    monkeypatch.setattr(zprompt, "load", lambda _: codec)
    monkeypatch.setattr("sys.argv", ["anchors.py", "--wikipedia", str(source), "--ratios", "1", "2"])
    anchors.main()

    results = json.loads((tmp_path / "anchors.json").read_text("utf-8"))
    by_class = {row["class"]: row for row in results["classes"]}
    assert by_class["all tokens"]["ratio 1"]["value"] == 1
    assert by_class["all tokens"]["ratio 2"]["value"] == pytest.approx(1 / 2, abs=0.02)
    assert "| number |" in capsys.readouterr().out
