"""Readers are written, found and read back, and refuse what they do not belong to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zprompt.codec.settings import CodecSettings
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone
from zprompt.llm.lora import llama_of, new_lora
from zprompt.reader import checkpoint
from zprompt.reader.checkpoint import (
    ReaderConfig,
    find_reader,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.reader.embedding import ZEmbedding

SETTINGS = CodecSettings(subcodes=3, subcode_size=16, max_gap=6, width=32, span_width=16, window=32)


@pytest.fixture
def config(tiny_backbone: Backbone) -> ReaderConfig:
    return ReaderConfig(
        tiny_backbone.name, tiny_backbone.weights_fingerprint, "0123456789ab", SETTINGS, "z", {"steps": 3}
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


def test_a_reader_of_anchors_ignores_codes(folder: Path, config: ReaderConfig, tiny_backbone: Backbone) -> None:
    assert not load_z_embedding(folder, replace(config, input="anchors"), tiny_backbone.hidden_size).codes


def test_a_reader_is_found_by_path_or_as_a_shipped_codecs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_reader(str(folder)) == folder
    monkeypatch.setattr(checkpoint, "SHIPPED", folder.parent.parent)
    (folder.parent / "reader").symlink_to(folder)
    assert find_reader(folder.parent.name) == folder.parent / "reader"


def test_a_missing_reader_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"No reader 'nobody'.*zprompt train reader"):
        find_reader("nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 9}, "has format 9"), ({"input": "smell"}, "Must be one of"), ({"settings": 3}, "is no reader config")],
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
