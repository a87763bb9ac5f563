"""A tiling is seen in the terminal and on a page."""

from pathlib import Path

import pytest

from tests.cli.byte_codec import ByteCodec, write_span
from tests.cli.conftest import Run
from zprompt.cli import codec_loading

TEXT = "The tide rises, the tide falls."


def test_the_terminal_shows_anchors_spans_and_figures(run: Run) -> None:
    result = run("inspect", "-", stdin=TEXT.encode())

    assert result.exit_code == 0
    assert result.stdout.startswith("T‹he ›t‹ide› ‹ris›e‹s, ›")
    assert "ratio" in result.stdout


def test_the_page_is_written_to_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)

    result = run("inspect", tmp_path / "a.txt", "--html", tmp_path / "a.html")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "<title>a.txt" in (tmp_path / "a.html").read_text()


def test_the_options_reach_the_codec(run: Run, codec: ByteCodec) -> None:
    run("inspect", "-", "--ratio", 4, "--query", "when?", stdin=TEXT.encode())

    assert codec.calls == [{"ratio": 4.0, "query": "when?"}]


def test_a_span_is_restored_first_and_the_user_is_told(run: Run) -> None:
    result = run("inspect", "-", stdin=write_span(TEXT).encode())

    assert result.stdout.startswith("T‹he ›")
    assert "decompressed first" in result.stderr


def test_what_only_looks_like_a_span_is_text(run: Run) -> None:
    result = run("inspect", "-", stdin=b"[z1:see the manual]")

    assert result.exit_code == 0
    assert result.stdout.startswith("[‹z1:›")


def test_a_file_that_is_no_text_is_refused_before_a_codec_is_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_loading, "open_codec", lambda *_: pytest.fail("a codec was loaded"))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")

    assert run("inspect", tmp_path / "photo.jpg").exit_code == 1
