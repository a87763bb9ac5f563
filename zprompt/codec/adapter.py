"""A codec's own LoRA, merged into the backbone that it was trained on.

    W <- W + scale * B A          for every adapted projection

Merging keeps compression at one plain LLM pass. It needs neither PEFT nor transformers: the adapter's file, as PEFT
writes it, is read directly; module names are those of transformers' Llama.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zprompt.backbone import Backbone
from zprompt.backbone.download import sha256_of
from zprompt.backbone.source import digest_of
from zprompt.errors import CheckpointError

_PREFIX = "base_model.model.model."


def merge_adapter(backbone: Backbone, folder: Path) -> Callable[[], None]:
    """Merge a LoRA into a backbone's decoder, and make it part of its fingerprint.

    :param backbone: The backbone; its weights are changed in place.
    :param folder: A folder that PEFT's `save_pretrained` wrote.
    :return: Call it to take the LoRA out again.
    :raises CheckpointError: If the adapter does not fit, or the backbone is quantized.
    """
    path = folder / "adapter_model.safetensors"
    if backbone.quantization != "none":
        raise CheckpointError("This codec has a LoRA, which merges into fp32 weights only. Use quantization='none'.")
    try:
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        weights = load_file(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"No readable LoRA in {folder}: {error}") from error
    scale = config["lora_alpha"] / config["r"]
    undo: list[tuple[Tensor, Tensor]] = []
    for name in sorted(name.removesuffix(".lora_A.weight") for name in weights if name.endswith(".lora_A.weight")):
        module = _projection(backbone, name.removeprefix(_PREFIX), folder)
        undo.append((module.weight.data, module.weight.data.clone()))
        with torch.no_grad():
            change = weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"]
            module.weight += scale * change.to(module.weight.device)
    plain = backbone.fingerprint
    backbone.fingerprint = digest_of(plain, sha256_of(path))[:16]

    def take_out() -> None:
        for weight, before in undo:
            weight.copy_(before)
        backbone.fingerprint = plain

    return take_out


def _projection(backbone: Backbone, name: str, folder: Path) -> nn.Linear:
    """Find an adapted projection in the decoder."""
    decoder = backbone.decoder
    module = dict(decoder.named_modules()).get(name) if isinstance(decoder, nn.Module) else None
    if not isinstance(module, nn.Linear):
        raise CheckpointError(f"The LoRA in {folder} adapts {name!r}, which {backbone.name!r} does not have.")
    return module
