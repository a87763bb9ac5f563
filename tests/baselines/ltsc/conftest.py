"""A tokenizer for texts, and readers of meta-tokens with random weights."""

from pathlib import Path

import pytest
import torch

from tests.conftest import save_llama
from tests.reader.conftest import train_chat_tokenizer
from zprompt.baselines.ltsc import LtscReader, LtscReaderConfig, MetaEmbedding, write_ltsc_reader
from zprompt.llm import Backbone, llama_of, load_backbone, new_lora


def write_random_ltsc_reader(folder: Path, backbone: Backbone, seed: int = 0) -> Path:
    """Write an LTSC reader with random weights, as `LtscReader.from_pretrained` takes it."""
    random = torch.Generator().manual_seed(seed)
    embedding = MetaEmbedding(16, backbone.hidden_size)
    lora = new_lora(llama_of(backbone), 2, 4.0, seed)
    with torch.no_grad():
        embedding.weight.normal_(std=0.1, generator=random)
        for matrix in lora.up.values():
            matrix.normal_(std=0.1, generator=random)
    config = LtscReaderConfig(backbone.name, backbone.weights_fingerprint, {"input": "ltsc", "steps": 0})
    write_ltsc_reader(folder, config, embedding, lora)
    return folder


class Letters:
    """A tokenizer of one token per character, without offsets."""

    def encode(self, text: str, /) -> list[int]:
        text.encode()  # real ones refuse lone surrogates, too
        return list(map(ord, text))

    def decode(self, ids: list[int], /) -> str:
        return "".join(map(chr, ids))


@pytest.fixture(scope="session")
def letters() -> Letters:
    """Return a tokenizer of one token per character."""
    return Letters()


@pytest.fixture(scope="session")
def chat_backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """Return a tiny Llama that knows ChatML."""
    folder = save_llama(tmp_path_factory.mktemp("backbones") / "chat", train_chat_tokenizer())
    return load_backbone(str(folder), device="cpu")


@pytest.fixture(scope="session")
def ltsc_reader_folder(tmp_path_factory: pytest.TempPathFactory, chat_backbone: Backbone) -> Path:
    """Return the folder of a reader of that Llama."""
    return write_random_ltsc_reader(tmp_path_factory.mktemp("readers") / "ltsc", chat_backbone)


@pytest.fixture(scope="session")
def ltsc_reader(ltsc_reader_folder: Path, chat_backbone: Backbone) -> LtscReader:
    """Return the reader in that folder."""
    return LtscReader.from_pretrained(str(ltsc_reader_folder), backbone=chat_backbone)
