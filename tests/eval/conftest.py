"""A workshop with a tiny codec, tiny readers and methods that need no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.codec.conftest import SETTINGS, make_heads
from tests.conftest import save_llama
from tests.reader.conftest import train_chat_tokenizer, write_random_reader
from zprompt import baselines as methods
from zprompt.baselines.protocol import Baseline
from zprompt.codec.codec import Codec
from zprompt.errors import OptionError
from zprompt.eval.readers import READER, ChosenReaders
from zprompt.eval.workshop import Workshop
from zprompt.llm import load_backbone
from zprompt.reader.reader import load_reader
from zprompt.reader.reader import Reader


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = save_llama(tmp_path_factory.mktemp("backbones") / "bench", train_chat_tokenizer())
    backbone = load_backbone(str(folder), device="cpu")
    return Codec(backbone, make_heads(backbone, SETTINGS), "bench")


@pytest.fixture(scope="session")
def reader(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder: Path = write_random_reader(tmp_path_factory.mktemp("readers") / "bench", codec)
    return load_reader(str(folder), codec=codec)


@pytest.fixture
def make(codec: Codec) -> Callable[[str], Baseline]:
    """Make methods with the tiny codec and its tokenizer; "broken" fails when it is used."""

    def create(name: str) -> Baseline:
        if name == "broken":
            return Broken()
        if name == "absent":
            raise OptionError("The method 'absent' is not installed.")
        known = {"codec": codec} if name == "ztokens" else {"tokenizer": codec.backbone.tokenizer}
        return methods.create(name, **known)

    return create


@pytest.fixture(scope="session")
def ltsc_reader(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_reader(tmp_path_factory.mktemp("readers") / "ltsc", codec, seed=1, kind="ltsc")


@pytest.fixture
def workshop(codec: Codec, reader: Reader, make: Callable[[str], Baseline], ltsc_reader: Path) -> Workshop:
    return Workshop(0, codec, {READER: reader}, make, ChosenReaders(ltsc=str(ltsc_reader)))


class Broken:
    """Fails."""

    name = "broken"

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> None:
        raise RuntimeError("it does not work")
