"""The module-level functions share one codec, which is loaded once."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zprompt
from tests.codec.conftest import HEAD_SETTINGS, SETTINGS, make_heads
from zprompt.codec import checkpoint, shared_codec
from zprompt.codec import codec as codec_module
from zprompt.codec.checkpoint import CodecConfig, write_codec
from zprompt.codec.codec import Codec
from zprompt.errors import BackboneError, CheckpointError, OptionError, RatioWarning
from zprompt.llm import Backbone

TEXT = "Rivers carry sand and mud to the sea."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Backbone) -> Path:
    """Return a folder of shipped codecs with a tiny default codec."""
    folder = tmp_path_factory.mktemp("models")
    config = CodecConfig(tiny_backbone.name, tiny_backbone.weights_fingerprint, SETTINGS, HEAD_SETTINGS)
    write_codec(folder / "default", config, make_heads(tiny_backbone))
    return folder


@pytest.fixture
def shipped(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace the shipped codecs by the tiny one, with no codec loaded yet."""
    monkeypatch.setattr(checkpoint, "MODELS", models)
    monkeypatch.setattr(codec_module, "_codecs", {})
    yield


@pytest.fixture
def loads(shipped: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the codecs that are loaded from now on."""
    names: list[str] = []
    load = Codec.from_pretrained

    def slow_load(name: str, **options: str) -> Codec:
        names.append(name)
        time.sleep(0.05)  # so that threads overlap
        return load(name, **options)

    monkeypatch.setattr(Codec, "from_pretrained", slow_load)
    return names


def test_documents_come_back(shipped: None) -> None:
    result = zprompt.compress([TEXT, {"text": TEXT}])
    assert zprompt.decompress(result.documents) == [TEXT, {"text": TEXT}]


def test_options_reach_the_codec(shipped: None) -> None:
    assert zprompt.compress(TEXT, min_tokens=1000).stats.passed_through == 1
    with pytest.raises(OptionError, match="exclude each other"):
        zprompt.compress(TEXT, ratio=2, max_tokens=3)
    with pytest.raises(OptionError, match="batch_size"):
        zprompt.decompress(TEXT, batch_size=0)


def test_progress_reaches_the_codec(shipped: None) -> None:
    stages: list[str] = []
    span = zprompt.compress(TEXT, progress=lambda stage, done, total: stages.append(stage)).documents
    zprompt.decompress(span, progress=lambda stage, done, total: stages.append(stage))
    assert stages == ["compress", "decompress"]


def test_the_default_codec_is_loaded_once(loads: list[str]) -> None:
    span = zprompt.compress(TEXT).documents
    zprompt.decompress(span, batch_size=2)
    assert loads == ["default"]


def test_simultaneous_threads_load_the_codec_once(loads: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        codecs = list(pool.map(lambda _: shared_codec(), range(8)))
    assert loads == ["default"]
    assert all(codec is codecs[0] for codec in codecs)


def test_other_arguments_give_another_codec(loads: list[str], models: Path) -> None:
    by_default, by_folder = shared_codec(), shared_codec(str(models / "default"), device="cpu")
    assert by_default is not by_folder
    assert by_default.fingerprint == by_folder.fingerprint


def test_load_returns_a_new_codec_each_time(shipped: None) -> None:
    assert zprompt.load() is not zprompt.load()


def test_load_takes_a_folder_and_a_backbone(shipped: None, models: Path, tiny_backbone_dir: Path) -> None:
    codec = zprompt.load(str(models / "default"), backbone=str(tiny_backbone_dir), device="cpu", quantization="none")
    assert codec.decompress(codec.compress(TEXT).documents) == TEXT


def test_load_refuses_a_backbone_that_the_codec_was_not_made_with(shipped: None, narrow_backbone_dir: Path) -> None:
    with pytest.raises(CheckpointError, match="was made on the backbone"):
        zprompt.load(backbone=str(narrow_backbone_dir), device="cpu")


def test_load_takes_the_folder_of_any_causal_lm(gpt2_backbone_dir: Path) -> None:
    codec = zprompt.load(str(gpt2_backbone_dir), device="cpu")
    assert codec.decompress(codec.compress(TEXT).documents) == TEXT


def test_load_refuses_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="nowhere"):
        zprompt.load(str(tmp_path / "nowhere"))


def test_a_missed_ratio_is_a_warning(shipped: None) -> None:
    with pytest.warns(RatioWarning, match="ratio 100 was requested"):
        zprompt.compress(TEXT, ratio=100)
