"""A codec's folder gives back the codec that was written, and only over the backbone that it belongs to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from zprompt.codec import checkpoint
from zprompt.codec.checkpoint import CodecConfig, find_codec, load_heads, read_config, write_codec
from zprompt.codec.codec import Codec
from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, llama_of, new_lora, write_lora


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Backbone, tiny_heads: CodecHeads) -> Path:
    config = CodecConfig(tiny_heads.settings, tiny_backbone.name, tiny_backbone.weights_fingerprint, {"steps": 7})
    write_codec(tmp_path / "made" / "codec", config, tiny_heads)
    return tmp_path / "made" / "codec"


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_codec_that_was_written_and_loaded_has_the_same_fingerprint(
    folder: Path, tiny_backbone: Backbone, tiny_codec: Codec
) -> None:
    heads = load_heads(folder, read_config(folder), tiny_backbone)
    assert Codec(tiny_backbone, heads).fingerprint == tiny_codec.fingerprint


def test_loaded_heads_restore_what_the_written_ones_compressed(
    folder: Path, tiny_backbone: Backbone, tiny_codec: Codec
) -> None:
    loaded = Codec(tiny_backbone, load_heads(folder, read_config(folder), tiny_backbone))
    assert loaded.decompress(tiny_codec.compress("There is the text.").documents) == "There is the text."


def test_the_config_says_what_was_written(folder: Path, tiny_backbone: Backbone, tiny_settings: CodecSettings) -> None:
    assert read_config(folder) == CodecConfig(
        tiny_settings, tiny_backbone.name, tiny_backbone.weights_fingerprint, {"steps": 7}
    )


def test_loaded_heads_are_frozen(folder: Path, tiny_backbone: Backbone) -> None:
    heads = load_heads(folder, read_config(folder), tiny_backbone)
    assert not heads.training
    assert not any(weights.requires_grad for weights in heads.parameters())


def test_heads_of_another_backbone_are_refused(folder: Path, narrow_backbone: Backbone) -> None:
    with pytest.raises(CheckpointError, match=r"was trained on the backbone .* is loaded"):
        load_heads(folder, read_config(folder), narrow_backbone)


def test_heads_that_do_not_fit_their_settings_are_refused(folder: Path, tiny_backbone: Backbone) -> None:
    config = read_config(folder)
    wider = replace(config, settings=replace(config.settings, width=64))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_heads(folder, wider, tiny_backbone)


def test_missing_heads_are_named(folder: Path, tiny_backbone: Backbone) -> None:
    (folder / "heads.safetensors").unlink()
    with pytest.raises(CheckpointError, match="No codec heads at"):
        load_heads(folder, read_config(folder), tiny_backbone)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"config"', "{}", '{"format": 2}'])
def test_a_config_of_another_form_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="is no codec config"):
        read_config(folder)


def test_a_config_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="is no codec config"):
        read_config(folder)


@pytest.mark.parametrize(
    "settings",
    [[], None, {"subcodes": "four"}, {"subcodes": 0}, {"rank_table": 3}, {"rank_table": [1, 2, 3]}, {"window": 3}],
)
def test_settings_of_another_form_are_refused(folder: Path, settings: object) -> None:
    change(folder, settings=settings)
    with pytest.raises(CheckpointError, match="is no codec config"):
        read_config(folder)


def test_settings_of_a_later_release_are_refused_by_name(folder: Path) -> None:
    change(folder, settings={"beam": 4})
    with pytest.raises(CheckpointError, match=r"\['beam'\]. Update zprompt"):
        read_config(folder)


@pytest.mark.parametrize("number", [1, 3])
def test_a_format_of_another_release_is_refused_with_the_way_out(folder: Path, number: int) -> None:
    change(folder, format=number)
    with pytest.raises(CheckpointError, match=rf"format {number}, this release knows 2\. Train .* or use the release"):
        read_config(folder)


def test_a_codec_is_found_by_its_path(folder: Path) -> None:
    assert find_codec(str(folder)) == folder


def test_a_shipped_codec_is_found_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", folder.parent)
    assert find_codec("codec") == folder


def test_an_unknown_name_lists_the_shipped_codecs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", folder.parent)
    with pytest.raises(CheckpointError, match=r"No codec 'nowhere'.*\(codec\)"):
        find_codec("nowhere")


def test_an_unknown_name_says_so_where_no_codec_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path)
    with pytest.raises(CheckpointError, match="none"):
        find_codec("nowhere")


def test_a_codec_that_was_saved_is_loaded_from_its_folder(tmp_path: Path, tiny_codec: Codec) -> None:
    tiny_codec.save_pretrained(tmp_path / "saved")
    loaded = Codec.from_pretrained(tmp_path / "saved", device="cpu")
    assert loaded.fingerprint == tiny_codec.fingerprint
    assert loaded.decompress(tiny_codec.compress("There is the text.").documents) == "There is the text."


def test_a_codec_with_a_lora_is_saved_with_it(
    tmp_path: Path, tiny_backbone: Backbone, tiny_heads: CodecHeads, tiny_backbone_dir: Path
) -> None:
    lora = new_lora(llama_of(tiny_backbone), rank=2, alpha=4.0)
    for matrix in lora.up.values():
        matrix.fill_(0.01)
    config = CodecConfig(
        tiny_heads.settings, str(tiny_backbone_dir), tiny_backbone.weights_fingerprint, {"steps": 7}, True
    )
    write_codec(tmp_path / "made", config, tiny_heads)
    write_lora(tmp_path / "made" / "lora", lora, tiny_backbone.name)
    codec = Codec.from_pretrained(tmp_path / "made", device="cpu")
    codec.save_pretrained(tmp_path / "saved")
    loaded = Codec.from_pretrained(tmp_path / "saved", device="cpu")
    assert (loaded.fingerprint, loaded.training) == (codec.fingerprint, {"steps": 7})
    assert codec.fingerprint != Codec(tiny_backbone, tiny_heads).fingerprint
