"""Tiny codecs over a tiny random Llama: quick to run and, like any codec, exact."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.conftest import SENTENCES, save_llama
from zprompt.codec.codec import Codec
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings, HeadSettings
from zprompt.llm import Backbone, load_backbone

SETTINGS = CodecSettings(window=32, margin=1e-4)
HEAD_SETTINGS = HeadSettings(subcodes=3, subcode_size=16, max_gap=6, width=32, span_width=16)


def make_heads(backbone: Backbone, seed: int = 0) -> CodecHeads:
    """Make random heads, at the precision in which heads are saved."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = CodecHeads(HEAD_SETTINGS, backbone.embeddings, backbone.hidden_size)
    with torch.no_grad():
        heads.span_head.out.weight *= 8  # otherwise a code would hardly change the logits
    heads.round_to_half()
    return heads.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec whose tokenizer carries every byte."""
    return Codec(tiny_backbone, SETTINGS, name="tiny")


@pytest.fixture(scope="session")
def other_codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec with another window over the same backbone."""
    return Codec(tiny_backbone, CodecSettings(window=16, margin=1e-4), name="other")


@pytest.fixture(scope="session")
def coded_codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec with random heads that writes all of its sub-codes although they do not pay."""
    codec = Codec(tiny_backbone, SETTINGS, make_heads(tiny_backbone), "coded")
    assert codec._code_writer
    codec._code_writer.price = -float("inf")
    return codec


@pytest.fixture(scope="session")
def ascii_codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """Return a codec whose tokenizer knows only ASCII without byte 04: escapes survive, other characters do not."""
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
    return Codec(backbone, SETTINGS, name="ascii")


@pytest.fixture(scope="session")
def narrow_codec(narrow_backbone: Backbone) -> Codec:
    """Return a codec whose tokenizer drops many characters."""
    return Codec(narrow_backbone, SETTINGS, name="narrow")


@pytest.fixture(scope="session")
def tiny_compressor(tiny_backbone: Backbone) -> Compressor:
    """Return the compressor of the tiny codec."""
    return Compressor(tiny_backbone, SETTINGS)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Codec) -> Path:
    """Return the folder of the tiny codec, as `zprompt.load` takes it."""
    folder = tmp_path_factory.mktemp("codecs") / "tiny"
    tiny_codec.save_pretrained(folder)
    return folder
