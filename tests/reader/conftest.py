"""A tiny reader: a random LoRA and a random Z-embedding over a tiny codec whose backbone knows ChatML."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES, save_llama
from zprompt.codec.codec import Codec
from zprompt.codec.settings import CodecSettings
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.lora import Lora, new_lora
from zprompt.reader.checkpoint import ReaderConfig, write_reader
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.reader import Reader, load_reader

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MAX_GAP = 4


def train_chat_tokenizer() -> Tokenizer:
    """Train a byte-level BPE with the special tokens of ChatML, and every byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def random_adapter(codec: Codec, seed: int = 0) -> Lora:
    """Make a LoRA large enough that the reader predicts other tokens than the backbone."""
    adapter = new_lora(codec.backbone.decoder, 4, 8.0, seed)  # type: ignore[arg-type]  # a Llama
    random = torch.Generator().manual_seed(seed)
    for name, up in adapter.up.items():
        adapter.up[name] = torch.randn(up.shape, generator=random)
    return adapter


def random_embedding(codec: Codec, seed: int = 0) -> ZEmbedding:
    """Make a Z-embedding with a random vector for each gap."""
    embedding = ZEmbedding(codec.backbone.hidden_size, MAX_GAP)
    random = torch.Generator().manual_seed(seed)
    embedding.gap.data = 0.02 * torch.randn(embedding.gap.shape, generator=random)
    return embedding


def write_random_reader(folder: Path, codec: Codec, seed: int = 0, kind: str = "z") -> Path:
    """Write a reader with random weights, as `zprompt.load_reader` takes it."""
    backbone = codec.backbone
    config = ReaderConfig(backbone.name, backbone.weights_fingerprint, MAX_GAP, {"input": kind, "steps": 0})
    write_reader(folder, config, random_embedding(codec, seed), random_adapter(codec, seed))
    return folder


@pytest.fixture(scope="session")
def chat_backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """Return a tiny Llama that knows ChatML."""
    folder = save_llama(tmp_path_factory.mktemp("backbones") / "chat", train_chat_tokenizer())
    return load_backbone(str(folder), device="cpu")


@pytest.fixture(scope="session")
def chat_codec(chat_backbone: Backbone) -> Codec:
    """Return a codec over that Llama."""
    return Codec(chat_backbone, SETTINGS, name="chat")


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory: pytest.TempPathFactory, chat_codec: Codec) -> Path:
    """Return the folder of a reader of that codec."""
    return write_random_reader(tmp_path_factory.mktemp("readers") / "tiny", chat_codec)


@pytest.fixture(scope="session")
def tiny_reader(reader_folder: Path, chat_codec: Codec) -> Reader:
    """Return the reader in that folder."""
    return load_reader(str(reader_folder), codec=chat_codec)


@pytest.fixture(scope="session")
def other_codec_of_chat(chat_backbone: Backbone) -> Codec:
    """Return another codec over the same backbone."""
    return Codec(chat_backbone, CodecSettings(window=16, margin=1e-4), name="other")


@pytest.fixture(scope="session")
def other_span(other_codec_of_chat: Codec) -> str:
    """Return a Z-span of the other codec."""
    return str(other_codec_of_chat.compress("The fox").documents)
