"""A reader is loaded with the codec that it was trained for, and with no other."""

import shutil
from pathlib import Path

import pytest
import torch

import zprompt
from tests.codec.conftest import SETTINGS, make_heads
from zprompt import api
from zprompt.codec import checkpoint
from zprompt.codec.checkpoint import CodecConfig, write_codec
from zprompt.codec.codec import Codec
from zprompt.errors import BackboneError, CheckpointError
from zprompt.llm import Backbone, load_backbone
from zprompt.reader import checkpoint as reader_checkpoint
from zprompt.reader import loading
from zprompt.reader.loading import load_reader
from zprompt.reader.reader import Reader


@pytest.fixture
def shipped(tmp_path: Path, chat_codec: Codec, reader_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ship a codec named "default" and its reader."""
    backbone = chat_codec.backbone
    config = CodecConfig(SETTINGS, backbone.name, backbone.weights_fingerprint, {})
    write_codec(tmp_path / "default", config, chat_codec.heads)
    shutil.copytree(reader_folder, tmp_path / "default" / "reader")
    for module in (checkpoint, reader_checkpoint, loading):
        monkeypatch.setattr(module, "SHIPPED", tmp_path)
    monkeypatch.setattr(api, "_codecs", {})
    return tmp_path


def test_the_default_reader_comes_with_its_codec(shipped: Path, tiny_reader: Reader) -> None:
    reader = zprompt.load_reader(device="cpu")

    assert reader.codec.fingerprint == tiny_reader.codec.fingerprint
    assert reader.complete("The fox", max_new_tokens=20) == tiny_reader.complete("The fox", max_new_tokens=20)


def test_a_codec_that_was_loaded_before_is_used_again(shipped: Path) -> None:
    codec = api.shared_codec(device="cpu")

    assert zprompt.load_reader(device="cpu").codec is codec
    assert zprompt.load_reader(codec="default", device="cpu").codec is codec


def test_a_reader_of_your_own_reads_the_default_codec(shipped: Path, reader_folder: Path) -> None:
    assert zprompt.load_reader(str(reader_folder), device="cpu").codec is api.shared_codec(device="cpu")


def test_the_reader_is_another_model_and_the_backbone_stays(tiny_reader: Reader) -> None:
    backbone = tiny_reader.backbone
    adapted = tiny_reader.decoder.layers[0].self_attn.q_proj.weight
    ids = torch.tensor([[3, 4, 5]])

    assert not torch.equal(adapted, backbone.decoder.layers[0].self_attn.q_proj.weight)  # type: ignore[attr-defined]
    assert not torch.equal(tiny_reader.decoder(ids), backbone.hidden(ids))
    assert torch.equal(backbone.hidden(ids), load_backbone(backbone.name, device="cpu").hidden(ids))


def test_a_reader_of_another_codec_is_refused(reader_folder: Path, chat_backbone: Backbone) -> None:
    other = Codec(chat_backbone, make_heads(chat_backbone, seed=1), "other")

    with pytest.raises(CheckpointError, match=f"'other' \\({other.fingerprint}\\) is loaded"):
        load_reader(str(reader_folder), codec=other)


def test_a_backbone_that_is_no_llama_is_refused(reader_folder: Path, gpt2_backbone_dir: Path) -> None:
    backbone = load_backbone(str(gpt2_backbone_dir), device="cpu")
    codec = Codec(backbone, make_heads(backbone), "gpt2")

    with pytest.raises(BackboneError, match="needs a Llama backbone"):
        load_reader(str(reader_folder), codec=codec)


def test_an_unknown_reader_is_named(shipped: Path) -> None:
    with pytest.raises(CheckpointError, match="No reader 'nothing'"):
        load_reader("nothing")
