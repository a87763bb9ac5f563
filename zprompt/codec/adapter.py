"""A codec's own LoRA, merged into the backbone that it was trained on.

Merging in place keeps compression at one plain LLM pass. It makes another backbone of it, with its own fingerprint.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from zprompt.backbone import Backbone
from zprompt.backbone.adapter import WEIGHTS_FILE, projections, read_adapter
from zprompt.backbone.download import sha256_of
from zprompt.backbone.source import digest_of
from zprompt.errors import CheckpointError


def merge_adapter(backbone: Backbone, folder: Path) -> Callable[[], None]:
    """Merge a LoRA into a backbone's decoder, and make it part of its fingerprint.

    :param backbone: The backbone; its weights are changed in place.
    :param folder: A folder that PEFT's `save_pretrained` wrote.
    :return: Call it to take the LoRA out again.
    :raises CheckpointError: If the adapter does not fit, or the backbone is quantized.
    """
    if backbone.quantization != "none":
        raise CheckpointError("This codec has a LoRA, which merges into fp32 weights only. Use quantization='none'.")
    adapter = read_adapter(folder)
    modules = dict(projections(backbone.decoder)) if isinstance(backbone.decoder, nn.Module) else {}
    undo: list[tuple[Tensor, Tensor]] = []
    for name, down in adapter.down.items():
        if name not in modules:
            raise CheckpointError(f"The LoRA in {folder} adapts {name!r}, which {backbone.name!r} does not have.")
        weight = modules[name].weight
        undo.append((weight.data, weight.data.clone()))
        with torch.no_grad():
            weight += (adapter.alpha / adapter.rank * (adapter.up[name] @ down)).to(weight.device)
    plain = backbone.fingerprint
    backbone.fingerprint = digest_of(plain, sha256_of(folder / WEIGHTS_FILE))[:16]

    def take_out() -> None:
        for weight, before in undo:
            weight.copy_(before)
        backbone.fingerprint = plain

    return take_out
