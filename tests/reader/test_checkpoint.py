"""Readers are saved, found and loaded, over the weights that they were trained on and over no others."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zprompt
from tests.reader.conftest import MAX_GAP
from zprompt.codec import shared_codec
from zprompt.codec.codec import Codec
from zprompt.errors import BackboneError, CheckpointError, OptionError, WrongCodecError
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.lora import llama_of, new_lora
from zprompt.reader import checkpoint as reader_checkpoint
from zprompt.reader.checkpoint import (
    ReaderConfig,
    find_reader,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.export import export_reader
from zprompt.reader.reader import Reader, load_reader
from zprompt.reader.results import Calibration


@pytest.fixture
def config(tiny_backbone: Backbone) -> ReaderConfig:
    return ReaderConfig(
        tiny_backbone.name, tiny_backbone.weights_fingerprint, MAX_GAP, {"steps": 3}, Calibration(0.5, -1.0)
    )


@pytest.fixture
def embedding(tiny_backbone: Backbone) -> ZEmbedding:
    embedding = ZEmbedding(tiny_backbone.hidden_size, MAX_GAP)
    random = torch.Generator().manual_seed(0)
    embedding.gap.data = torch.randn(embedding.gap.shape, generator=random).half().float()
    return embedding


@pytest.fixture
def folder(config: ReaderConfig, embedding: ZEmbedding, tiny_backbone: Backbone, tmp_path: Path) -> Path:
    write_reader(tmp_path / "mine", config, embedding, new_lora(llama_of(tiny_backbone), 4, 8.0))
    return tmp_path / "mine"


def test_a_saved_reader_is_loaded_as_it_was(
    folder: Path, config: ReaderConfig, embedding: ZEmbedding, tiny_backbone: Backbone
) -> None:
    assert read_reader_config(folder) == config
    loaded = load_z_embedding(folder, config, tiny_backbone.hidden_size)
    assert torch.equal(loaded.gap, embedding.gap) and loaded.max_gap == MAX_GAP and not loaded.gap.requires_grad
    ids = torch.arange(10)[None]
    assert torch.equal(merged_decoder(folder, tiny_backbone)(ids), tiny_backbone.hidden(ids))


def test_a_reader_is_found_by_path_or_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_reader(str(folder)) == folder
    monkeypatch.setattr(reader_checkpoint, "MODELS", folder.parent.parent)
    (folder.parent / "reader").symlink_to(folder)
    assert find_reader(folder.parent.name) == folder.parent / "reader"


def test_the_shipped_reader_has_the_form_of_this_release() -> None:
    folder = find_reader("default")
    config = read_reader_config(folder)
    embedding = load_z_embedding(folder, config, hidden_size=576)
    assert config.backbone == "default" and config.max_gap == 23
    assert embedding.gap[1:].abs().sum(dim=1).min() > 0


def test_a_missing_reader_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"No reader 'nobody'.*zprompt train reader"):
        find_reader("nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 9}, "has format 9"), ({"max_gap": None}, "is not a reader config")],
)
def test_a_config_of_another_form_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(CheckpointError, match=message):
        read_reader_config(folder)


def test_a_reader_of_codes_is_refused(folder: Path) -> None:
    old = {"format": 2, "codec_fingerprint": "0123456789ab", "settings": {"subcodes": 4}, "codes": True}
    values = json.loads((folder / "config.json").read_text())
    del values["max_gap"]
    (folder / "config.json").write_text(json.dumps({**values, **old}))
    with pytest.raises(CheckpointError, match=r"has format 2, but this release reads 3\. Train the reader again"):
        load_reader(str(folder))


@pytest.mark.parametrize("max_gap", [MAX_GAP + 1, -5])
def test_an_embedding_of_another_size_is_refused(
    folder: Path, config: ReaderConfig, tiny_backbone: Backbone, max_gap: int
) -> None:
    with pytest.raises(CheckpointError, match="not the Z-embedding"):
        load_z_embedding(folder, replace(config, max_gap=max_gap), tiny_backbone.hidden_size)


def test_other_weights_are_refused(folder: Path, narrow_backbone: Backbone) -> None:
    with pytest.raises(CheckpointError, match="was made on the backbone"):
        merged_decoder(folder, narrow_backbone)


@pytest.fixture
def shipped(tmp_path: Path, reader_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the shipped readers by one named "default"; return their folder."""
    shutil.copytree(reader_folder, tmp_path / "default" / "reader")
    monkeypatch.setattr(reader_checkpoint, "MODELS", tmp_path)
    monkeypatch.setattr(sys.modules[shared_codec.__module__], "_codecs", {})
    return tmp_path


def test_a_reader_comes_with_the_llm_that_it_was_trained_on(
    shipped: Path, chat_backbone: Backbone, tiny_reader: Reader
) -> None:
    reader = zprompt.load_reader(device="cpu", engine="fp32")

    assert reader.codec.fingerprint == Codec(chat_backbone).fingerprint
    assert reader.complete("The fox", max_new_tokens=20) == tiny_reader.complete("The fox", max_new_tokens=20)


def test_a_codec_that_is_already_loaded_is_reused(shipped: Path, chat_backbone: Backbone) -> None:
    codec = shared_codec(chat_backbone.name, device="cpu")

    assert zprompt.load_reader(device="cpu").codec is codec
    assert zprompt.load_reader(codec=chat_backbone.name, device="cpu").codec is codec


def test_the_reader_is_another_model_and_leaves_the_backbone_unchanged(tiny_reader: Reader) -> None:
    backbone = tiny_reader.backbone
    adapted = tiny_reader.decoder.layers[0].self_attn.q_proj.weight
    ids = torch.tensor([[3, 4, 5]])

    assert not torch.equal(adapted, backbone.decoder.layers[0].self_attn.q_proj.weight)  # type: ignore[attr-defined]
    assert not torch.equal(tiny_reader.decoder(ids), backbone.hidden(ids))
    assert torch.equal(backbone.hidden(ids), load_backbone(backbone.name, device="cpu").hidden(ids))


def test_a_reader_reads_every_codec_over_its_weights(
    reader_folder: Path, other_codec_of_chat: Codec, other_span: str, tiny_reader: Reader, chat_codec: Codec
) -> None:
    reader = load_reader(str(reader_folder), codec=other_codec_of_chat, engine="fp32")
    prompts = [f"Read {span}" for span in (other_span, str(chat_codec.compress("The fox").documents))]

    assert reader.complete(prompts[0], max_new_tokens=9) == tiny_reader.complete(prompts[1], max_new_tokens=9)
    with pytest.raises(WrongCodecError):
        reader.complete(prompts[1])


@pytest.mark.parametrize("engine", ["bf16", "onnx"])
def test_a_reader_in_another_engine_does_not_load_the_llm_of_the_codec(
    reader_folder: Path, chat_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    backbone = load_backbone(chat_backbone.name, device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(backbone, "load", lambda: pytest.fail("no text is compressed"))
        reader = load_reader(str(reader_folder), codec=Codec(backbone), engine=engine)
        assert reader.complete(["The fox", "The"], max_new_tokens=9)[0].usage.generated_tokens > 0
        reader.save_pretrained(tmp_path / "saved")
    span = str(reader.codec.compress("The fox").documents)

    assert reader.codec.decompress(span) == "The fox" and reader.complete(span, max_new_tokens=2).usage.z_tokens > 0
    assert torch.equal(backbone.hidden(torch.tensor([[3, 4]])), chat_backbone.hidden(torch.tensor([[3, 4]])))
    with pytest.raises(OptionError, match="engine='fp32'"):
        export_reader(reader, tmp_path / "export")


def test_a_reader_generates_the_same_in_onnx_as_in_torch(
    reader_folder: Path, chat_codec: Codec, tiny_reader: Reader
) -> None:
    reader = load_reader(str(reader_folder), codec=chat_codec, engine="onnx")
    prompts = ["The fox", f"{chat_codec.compress('The quick brown fox jumps over the lazy dog.').documents} and", "So"]

    for prompt, in_onnx, in_torch in zip(
        prompts,
        reader.complete(prompts, max_new_tokens=20),
        tiny_reader.complete(prompts, max_new_tokens=20),
        strict=True,
    ):
        assert in_onnx == in_torch == reader.complete(prompt, max_new_tokens=20)


def test_an_unknown_engine_is_refused(reader_folder: Path, chat_codec: Codec) -> None:
    with pytest.raises(OptionError, match=r"engine must be one of .* got 'int3'"):
        load_reader(str(reader_folder), codec=chat_codec, engine="int3")


def test_a_codec_over_other_weights_is_refused(reader_folder: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(CheckpointError, match=f"{tiny_backbone.weights_fingerprint}.* is loaded"):
        load_reader(str(reader_folder), codec=Codec(tiny_backbone))


def test_a_backbone_that_is_no_llama_is_refused(reader_folder: Path, gpt2_backbone_dir: Path) -> None:
    backbone = load_backbone(str(gpt2_backbone_dir), device="cpu")
    codec = Codec(backbone, name="gpt2")

    with pytest.raises(BackboneError, match="needs a Llama backbone"):
        load_reader(str(reader_folder), codec=codec)


def test_an_unknown_reader_is_named(shipped: Path) -> None:
    with pytest.raises(CheckpointError, match="No reader 'nothing'"):
        load_reader("nothing")


def test_a_loaded_reader_is_saved_to_the_same_files(reader_folder: Path, chat_codec: Codec, tmp_path: Path) -> None:
    Reader.from_pretrained(str(reader_folder), codec=chat_codec).save_pretrained(tmp_path)

    files = sorted(path.relative_to(reader_folder) for path in reader_folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert all((reader_folder / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def test_a_reader_without_its_lora_cannot_be_saved(tiny_reader: Reader, tmp_path: Path) -> None:
    reader = Reader(tiny_reader.codec, tiny_reader.decoder, tiny_reader.z_embedding)

    with pytest.raises(OptionError, match="lora="):
        reader.save_pretrained(tmp_path)
