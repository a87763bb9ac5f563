"""A codec is loaded from its folder as it was saved, and only over the backbone that it was made on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.codec.conftest import HEAD_SETTINGS, SETTINGS, make_heads
from zprompt.codec import checkpoint
from zprompt.codec.checkpoint import FORMAT, CodecConfig, find_codec, load_heads, read_config, write_codec
from zprompt.codec.codec import Codec
from zprompt.codec.settings import CodecSettings
from zprompt.errors import BackboneError, CheckpointError
from zprompt.llm import Backbone

TEXT = "There is the text, there is the code."


@pytest.fixture
def config(tiny_backbone: Backbone) -> CodecConfig:
    return CodecConfig(tiny_backbone.name, tiny_backbone.weights_fingerprint, SETTINGS, HEAD_SETTINGS)


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Backbone, config: CodecConfig) -> Path:
    """Return the folder of a codec with heads."""
    write_codec(tmp_path / "made" / "codec", config, make_heads(tiny_backbone))
    return tmp_path / "made" / "codec"


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


class TestCodecs:
    def test_a_codec_that_was_saved_is_loaded_from_its_folder(self, tmp_path: Path, tiny_codec: Codec) -> None:
        tiny_codec.save_pretrained(tmp_path / "saved")
        loaded = Codec.from_pretrained(tmp_path / "saved", device="cpu")
        assert (loaded.fingerprint, loaded.settings) == (tiny_codec.fingerprint, SETTINGS)
        assert loaded.decompress(tiny_codec.compress(TEXT).documents) == TEXT
        assert [path.name for path in (tmp_path / "saved").iterdir()] == ["config.json"]

    def test_a_codec_with_heads_is_saved_with_them(self, tmp_path: Path, coded_codec: Codec) -> None:
        coded_codec.save_pretrained(tmp_path / "saved")
        loaded = Codec.from_pretrained(tmp_path / "saved", device="cpu")
        assert loaded.fingerprint == coded_codec.fingerprint
        assert loaded.decompress(coded_codec.compress(TEXT).documents) == TEXT

    def test_the_folder_of_an_llm_is_a_codec_with_the_usual_settings(
        self, tiny_backbone_dir: Path, tiny_backbone: Backbone
    ) -> None:
        codec = Codec.from_pretrained(tiny_backbone_dir, device="cpu")
        assert (codec.settings, codec.heads) == (CodecSettings(), None)
        assert codec.fingerprint == Codec(tiny_backbone).fingerprint
        assert codec.decompress(codec.compress(TEXT).documents) == TEXT

    def test_an_llm_may_lie_elsewhere_than_the_folder_says(self, folder: Path, tiny_backbone_dir: Path) -> None:
        change(folder, backbone="no-such-llm")
        codec = Codec.from_pretrained(folder, backbone=str(tiny_backbone_dir), device="cpu")
        assert codec.backbone.name == str(tiny_backbone_dir)

    def test_another_llm_than_the_codecs_is_refused(self, folder: Path, narrow_backbone_dir: Path) -> None:
        with pytest.raises(CheckpointError, match=r"was made on the backbone .* is loaded.*any causal LM"):
            Codec.from_pretrained(folder, backbone=str(narrow_backbone_dir), device="cpu")

    def test_a_codec_without_heads_is_refused_over_another_llm_too(
        self, tiny_folder: Path, narrow_backbone_dir: Path
    ) -> None:
        with pytest.raises(CheckpointError, match="was made on the backbone"):
            Codec.from_pretrained(tiny_folder, backbone=str(narrow_backbone_dir), device="cpu")

    def test_an_unknown_name_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BackboneError):
            Codec.from_pretrained(tmp_path / "nowhere", device="cpu")


class TestFolders:
    def test_the_config_says_what_was_written(self, folder: Path, config: CodecConfig) -> None:
        assert read_config(folder) == config

    def test_loaded_heads_are_those_that_were_written_and_frozen(self, folder: Path, tiny_backbone: Backbone) -> None:
        heads = load_heads(folder, read_config(folder), tiny_backbone)
        assert heads and heads.fingerprint() == make_heads(tiny_backbone).fingerprint()
        assert not heads.training
        assert not any(weights.requires_grad for weights in heads.parameters())

    def test_a_codec_without_heads_has_none(self, tiny_folder: Path, tiny_backbone: Backbone) -> None:
        assert load_heads(tiny_folder, read_config(tiny_folder), tiny_backbone) is None

    def test_heads_that_do_not_fit_their_settings_are_refused(
        self, folder: Path, tiny_backbone: Backbone, config: CodecConfig
    ) -> None:
        with pytest.raises(CheckpointError, match="do not fit"):
            load_heads(folder, replace(config, heads=replace(HEAD_SETTINGS, width=64)), tiny_backbone)

    def test_missing_heads_are_named(self, folder: Path, tiny_backbone: Backbone, config: CodecConfig) -> None:
        (folder / "heads.safetensors").unlink()
        with pytest.raises(CheckpointError, match="No codec heads at"):
            load_heads(folder, config, tiny_backbone)

    @pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"config"', "{}", '{"format": 3}'])
    def test_a_config_of_another_form_is_refused(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match="is not a codec config"):
            read_config(folder)

    def test_a_config_in_another_encoding_is_refused(self, folder: Path) -> None:
        (folder / "config.json").write_bytes(b"\xff\xfe")
        with pytest.raises(CheckpointError, match="is not a codec config"):
            read_config(folder)

    @pytest.mark.parametrize(
        "values",
        [
            {"settings": []},
            {"settings": None},
            {"settings": {"window": "many"}},
            {"settings": {"window": 0}},
            {"heads": {"subcodes": 0}},
            {"heads": {"subcodes": 9}},
            {"heads": 7},
        ],
    )
    def test_settings_of_another_form_are_refused(self, folder: Path, values: dict[str, object]) -> None:
        change(folder, **values)
        with pytest.raises(CheckpointError, match="is not a codec config"):
            read_config(folder)

    @pytest.mark.parametrize("entry", ["settings", "heads"])
    def test_settings_of_a_later_release_are_refused_by_name(self, folder: Path, entry: str) -> None:
        change(folder, **{entry: {"beam": 4}})
        with pytest.raises(CheckpointError, match=r"\['beam'\]. Update zprompt"):
            read_config(folder)

    @pytest.mark.parametrize("number", [1, 2, 4])
    def test_a_format_of_another_release_is_refused_with_the_way_out(self, folder: Path, number: int) -> None:
        change(folder, format=number)
        with pytest.raises(
            CheckpointError, match=rf"format {number}, but this release reads {FORMAT}\. Recreate the codec .* or use"
        ):
            read_config(folder)


class TestFinding:
    def test_a_codec_is_found_by_its_path(self, folder: Path) -> None:
        assert find_codec(str(folder)) == folder

    def test_a_shipped_codec_is_found_by_its_name(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checkpoint, "MODELS", folder.parent)
        assert find_codec("codec") == folder

    def test_the_folder_of_an_llm_is_not_found_as_a_codec(self, tiny_backbone_dir: Path) -> None:
        assert find_codec(str(tiny_backbone_dir)) is None

    @pytest.mark.parametrize("text", ["", "[]", "{}", "7", '"backbone_fingerprint"'])
    def test_folders_with_other_configs_are_not_found_as_codecs(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text)
        assert find_codec(str(folder)) is None

    @pytest.mark.parametrize("name", ["nowhere", "default", ""])
    def test_a_name_of_no_codec_is_left_to_the_llms(self, name: str) -> None:
        assert find_codec(name) is None
