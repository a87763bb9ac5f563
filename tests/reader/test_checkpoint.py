"""Readers are written, found and read back, with the codec that they were trained for and with no other."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zprompt
from tests.codec.conftest import SETTINGS, make_heads
from zprompt.codec import CodecConfig, find_codec, shared_codec, write_codec
from zprompt.codec.codec import Codec
from zprompt.errors import BackboneError, CheckpointError, OptionError
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.lora import llama_of, new_lora
from zprompt.reader import checkpoint as reader_checkpoint
from zprompt.reader import reader as reader_module
from zprompt.reader.checkpoint import (
    ReaderConfig,
    find_reader,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.reader import Reader, load_reader


@pytest.fixture
def config(tiny_backbone: Backbone) -> ReaderConfig:
    return ReaderConfig(
        tiny_backbone.name, tiny_backbone.weights_fingerprint, "0123456789ab", SETTINGS, True, {"steps": 3}
    )


@pytest.fixture
def embedding(tiny_backbone: Backbone) -> ZEmbedding:
    embedding = ZEmbedding(SETTINGS, tiny_backbone.hidden_size)
    random = torch.Generator().manual_seed(0)
    embedding.value.data = torch.randn(embedding.value.shape, generator=random).half().float()
    return embedding


@pytest.fixture
def folder(config: ReaderConfig, embedding: ZEmbedding, tiny_backbone: Backbone, tmp_path: Path) -> Path:
    write_reader(tmp_path / "mine", config, embedding, new_lora(llama_of(tiny_backbone), 4, 8.0))
    return tmp_path / "mine"


def test_a_reader_comes_back(
    folder: Path, config: ReaderConfig, embedding: ZEmbedding, tiny_backbone: Backbone
) -> None:
    assert read_reader_config(folder) == config
    again = load_z_embedding(folder, config, tiny_backbone.hidden_size)
    assert torch.equal(again.value, embedding.value) and again.codes and not again.value.requires_grad
    ids = torch.arange(10)[None]
    assert torch.equal(merged_decoder(folder, tiny_backbone)(ids), tiny_backbone.hidden(ids))


def test_a_reader_without_codes_ignores_them(folder: Path, config: ReaderConfig, tiny_backbone: Backbone) -> None:
    assert not load_z_embedding(folder, replace(config, codes=False), tiny_backbone.hidden_size).codes


def test_a_reader_is_found_by_path_or_as_a_shipped_codecs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_reader(str(folder)) == folder
    monkeypatch.setattr(reader_checkpoint, "SHIPPED", folder.parent.parent)
    (folder.parent / "reader").symlink_to(folder)
    assert find_reader(folder.parent.name) == folder.parent / "reader"


def test_a_missing_reader_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"No reader 'nobody'.*zprompt train reader"):
        find_reader("nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 9}, "has format 9"), ({"settings": 3}, "is no reader config")],
)
def test_a_config_of_another_form_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(CheckpointError, match=message):
        read_reader_config(folder)


def test_an_embedding_of_other_settings_is_refused(folder: Path, config: ReaderConfig, tiny_backbone: Backbone) -> None:
    other = replace(config, settings=replace(SETTINGS, subcode_size=8))
    with pytest.raises(CheckpointError, match="not the Z-embedding"):
        load_z_embedding(folder, other, tiny_backbone.hidden_size)


def test_other_weights_are_refused(folder: Path, narrow_backbone: Backbone) -> None:
    with pytest.raises(CheckpointError, match="was trained on the backbone"):
        merged_decoder(folder, narrow_backbone)


@pytest.fixture
def shipped(tmp_path: Path, chat_codec: Codec, reader_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ship a codec named "default" and its reader."""
    backbone = chat_codec.backbone
    config = CodecConfig(SETTINGS, backbone.name, backbone.weights_fingerprint, {})
    write_codec(tmp_path / "default", config, chat_codec.heads)
    shutil.copytree(reader_folder, tmp_path / "default" / "reader")
    for module in (sys.modules[find_codec.__module__], reader_checkpoint, reader_module):
        monkeypatch.setattr(module, "SHIPPED", tmp_path)
    monkeypatch.setattr(sys.modules[shared_codec.__module__], "_codecs", {})
    return tmp_path


def test_the_default_reader_comes_with_its_codec(shipped: Path, tiny_reader: Reader) -> None:
    reader = zprompt.load_reader(device="cpu")

    assert reader.codec.fingerprint == tiny_reader.codec.fingerprint
    assert reader.complete("The fox", max_new_tokens=20) == tiny_reader.complete("The fox", max_new_tokens=20)


def test_a_codec_that_was_loaded_before_is_used_again(shipped: Path) -> None:
    codec = shared_codec(device="cpu")

    assert zprompt.load_reader(device="cpu").codec is codec
    assert zprompt.load_reader(codec="default", device="cpu").codec is codec


def test_a_reader_of_your_own_reads_the_default_codec(shipped: Path, reader_folder: Path) -> None:
    assert zprompt.load_reader(str(reader_folder), device="cpu").codec is shared_codec(device="cpu")


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


def test_a_saved_reader_is_the_reader(reader_folder: Path, chat_codec: Codec, tmp_path: Path) -> None:
    Reader.from_pretrained(str(reader_folder), codec=chat_codec).save_pretrained(tmp_path)

    files = sorted(path.relative_to(reader_folder) for path in reader_folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert all((reader_folder / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def test_a_reader_that_was_put_together_without_its_lora_is_not_saved(tiny_reader: Reader, tmp_path: Path) -> None:
    reader = Reader(tiny_reader.codec, tiny_reader.decoder, tiny_reader.z_embedding)

    with pytest.raises(OptionError, match="lora="):
        reader.save_pretrained(tmp_path)
