"""An evaluation context with a tiny codec, tiny readers and methods that need no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.baselines.ltsc.conftest import write_random_ltsc_reader
from tests.codec.conftest import SETTINGS
from tests.conftest import save_llama
from tests.reader.conftest import train_chat_tokenizer, write_random_reader
from zprompt import baselines
from zprompt.baselines import Baseline
from zprompt.codec import Codec
from zprompt.errors import OptionError
from zprompt.eval.context import ChosenReaders, EvaluationContext
from zprompt.eval.metrics import READER
from zprompt.llm import load_backbone
from zprompt.reader import Reader


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = save_llama(tmp_path_factory.mktemp("backbones") / "bench", train_chat_tokenizer())
    backbone = load_backbone(str(folder), device="cpu")
    return Codec(backbone, SETTINGS, name="bench")


@pytest.fixture(scope="session")
def reader(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder: Path = write_random_reader(tmp_path_factory.mktemp("readers") / "bench", codec)
    return Reader.from_pretrained(str(folder), codec=codec)


@pytest.fixture(scope="session")
def make(codec: Codec) -> Callable[[str], Baseline]:
    """Return a factory of methods over the tiny codec; "broken" fails when used, "absent" is not installed."""

    def create(name: str) -> Baseline:
        if name == "broken":
            return Broken()
        if name == "absent":
            raise OptionError("The baseline 'absent' is not installed.")
        options = {"codec": codec} if name == "ztokens" else {"tokenizer": codec.backbone.tokenizer}
        return baselines.create(name, **options)

    return create


@pytest.fixture(scope="session")
def ltsc_reader(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_ltsc_reader(tmp_path_factory.mktemp("readers") / "ltsc", codec.backbone, seed=1)


@pytest.fixture
def context(codec: Codec, reader: Reader, make: Callable[[str], Baseline], ltsc_reader: Path) -> EvaluationContext:
    return EvaluationContext(0, codec, {READER: reader}, make, ChosenReaders(ltsc=str(ltsc_reader)))


class Broken:
    """Fails at each text."""

    name, own_length, output = "broken", False, "text"

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> None:
        raise RuntimeError("it does not work")
