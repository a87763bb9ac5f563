"""Tiny backbones, made in memory: a random Llama over a tokenizer trained on a few sentences."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from zprompt.llm import Backbone, load_backbone
from zprompt.relevance import Relevance

settings.register_profile("no deadline", deadline=None)  # the machine may be busy
settings.load_profile("no deadline")

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun.",
    "A codec writes a text as Z-tokens and reads the text back, byte for byte.",
    "In 1969 two people walked on the Moon; 600 million people watched them walk.",
    "def add(first: int, second: int) -> int:\n    return first + second\n",
    "Rivers carry sand and mud to the sea, where the sand and the mud become stone again.",
    "There is the text, there is the code, and there is what the code leaves for the text.",
]

TokenizerFactory = Callable[[bool], Tokenizer]


def train_tokenizer(all_bytes: bool) -> Tokenizer:
    """Train a byte-level BPE; without all bytes it drops the characters that the sentences do not have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if all_bytes else []
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def save_llama(folder: Path, tokenizer: Tokenizer) -> Path:
    """Save a random Llama of 2 layers and a tokenizer in the Hugging Face layout."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(autouse=True, scope="session")
def separate_symbol_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests' cache of symbols in a file of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zprompt.codec.codec.SYMBOLS", tmp_path_factory.mktemp("symbols") / "symbols.sqlite")
        yield


@pytest.fixture(autouse=True)
def words_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Score relevance by words alone, except in tests marked default_model: its model would have to be fetched."""
    if request.node.get_closest_marker("default_model") is None:
        monkeypatch.setattr(
            "zprompt.relevance.relevance._shared", {"default": Relevance.from_pretrained(embedder=None)}
        )


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """Return a tokenizer that can encode every byte."""
    return train_tokenizer(all_bytes=True)


@pytest.fixture(scope="session")
def tiny_backbone_dir(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    """Return the folder of a tiny Llama whose tokenizer can encode every byte."""
    return save_llama(tmp_path_factory.mktemp("backbones") / "tiny", tiny_tokenizer)


@pytest.fixture(scope="session")
def tiny_backbone(tiny_backbone_dir: Path) -> Backbone:
    """Return the Llama in that folder."""
    return load_backbone(str(tiny_backbone_dir), device="cpu")


@pytest.fixture(scope="session")
def narrow_backbone_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Llama whose tokenizer drops characters that are not in the sentences, as `é`."""
    return save_llama(tmp_path_factory.mktemp("backbones") / "narrow", train_tokenizer(all_bytes=False))


@pytest.fixture(scope="session")
def narrow_backbone(narrow_backbone_dir: Path) -> Backbone:
    """Return the Llama in that folder."""
    return load_backbone(str(narrow_backbone_dir), device="cpu")


@pytest.fixture(scope="session")
def gpt2_backbone_dir(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    """Return the folder of a tiny GPT-2: another architecture, which runs through transformers."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("backbones") / "gpt2"
    config = GPT2Config(
        vocab_size=tiny_tokenizer.get_vocab_size(),
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=256,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tiny_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def default_backbone() -> Backbone:
    """Return the real default backbone; on a new machine it is fetched once, with pip."""
    return load_backbone("default", device="cpu", quantization="none")
