"""A tiny codec: random heads over a tiny random Llama, quick to run and, as any codec, exact."""

from pathlib import Path
from typing import Protocol

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.conftest import SENTENCES, save_llama
from zprompt.codec.checkpoint import CodecConfig, write_codec
from zprompt.codec.codec import Codec
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import Decompressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings
from zprompt.llm import Backbone, load_backbone

SETTINGS = CodecSettings(subcodes=3, subcode_size=16, max_gap=6, width=32, span_width=16, window=32, margin=1e-4)
EXPECTED = " the"  # what every tiny head expects everywhere: texts of nothing else are predictable


class HeadsFactory(Protocol):
    """What `heads_of` gives."""

    def __call__(self, backbone: Backbone, settings: CodecSettings = ..., seed: int = ...) -> CodecHeads: ...


def make_heads(backbone: Backbone, settings: CodecSettings = SETTINGS, seed: int = 0) -> CodecHeads:
    """Make random heads that lean to one token, at the precision in which heads are saved."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = CodecHeads(settings, backbone.embeddings, backbone.hidden_size)
    expected = backbone.embeddings[backbone.encode(EXPECTED)[0]]
    with torch.no_grad():
        heads.span_head.out.bias.copy_(60 * expected)
        heads.span_head.out.weight *= 8  # else what a code says would change next to nothing
        for weights in heads.parameters():
            weights.copy_(weights.half().float())
    return heads.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_settings() -> CodecSettings:
    """Give the settings of the tiny codec."""
    return SETTINGS


@pytest.fixture(scope="session")
def heads_of() -> HeadsFactory:
    """Give a maker of random heads."""
    return make_heads


@pytest.fixture(scope="session")
def tiny_heads(tiny_backbone: Backbone) -> CodecHeads:
    """Give random heads for the tiny backbone."""
    return make_heads(tiny_backbone)


@pytest.fixture(scope="session")
def tiny_codec(tiny_backbone: Backbone, tiny_heads: CodecHeads) -> Codec:
    """Give a codec whose tokenizer carries every byte."""
    return Codec(tiny_backbone, tiny_heads, "tiny")


@pytest.fixture(scope="session")
def other_codec(tiny_backbone: Backbone) -> Codec:
    """Give a codec with other heads over the same backbone."""
    return Codec(tiny_backbone, make_heads(tiny_backbone, seed=1), "other")


@pytest.fixture(scope="session")
def ascii_codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """Give a codec whose tokenizer has only the bytes of ASCII, and of these not 04: escapes survive, others do not."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = [splitter.pre_tokenize_str(chr(byte))[0][0] for byte in range(128) if byte != 4]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    folder = save_llama(tmp_path_factory.mktemp("backbones") / "ascii", tokenizer)
    backbone = load_backbone(str(folder), device="cpu")
    return Codec(backbone, make_heads(backbone), "ascii")


@pytest.fixture(scope="session")
def narrow_codec(narrow_backbone: Backbone) -> Codec:
    """Give a codec whose tokenizer drops many characters."""
    return Codec(narrow_backbone, make_heads(narrow_backbone), "narrow")


@pytest.fixture(scope="session")
def tiny_compressor(tiny_backbone: Backbone, tiny_heads: CodecHeads) -> Compressor:
    """Give the compressor of the tiny codec."""
    return Compressor(tiny_backbone, tiny_heads)


@pytest.fixture(scope="session")
def tiny_decompressor(tiny_backbone: Backbone, tiny_heads: CodecHeads) -> Decompressor:
    """Give the decompressor of the tiny codec."""
    return Decompressor(tiny_backbone, tiny_heads)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Backbone, tiny_heads: CodecHeads) -> Path:
    """Give the folder of the tiny codec, as `zprompt.load` takes it."""
    folder = tmp_path_factory.mktemp("codecs") / "tiny"
    config = CodecConfig(SETTINGS, tiny_backbone.name, tiny_backbone.weights_fingerprint, {"steps": 0})
    write_codec(folder, config, tiny_heads)
    return folder
