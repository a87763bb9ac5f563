"""LoRA: low-rank updates of the projections of a Llama decoder.

    ┌─────────────────┐
    │        y        │         y = (W + alpha / r · B A) x
    └─────────────────┘
         ▲        ▲             W   frozen weight of a projection     (outputs, inputs)
         │     ┌──┴──┐          B   `up`, zero before training        (outputs, r)
       ┌─┴─┐   │  B  │          A   `down`, random before training    (r, inputs)
       │ W │   └──┬──┘
       └─┬─┘   ┌──┴──┐          alpha / r scales the update, so that alpha need not be tuned again for another r
         │     │  A  │
         ▲     └──┬──┘
    ┌────┴────────┴───┐
    │        x        │
    └─────────────────┘

For inference the update is merged, W <- W + alpha / r · B A, so a pass costs no more than without: into a copy of the
decoder, since the codec still needs the backbone as it is; in fp32, or in bf16, which takes a quarter of the memory of
both. Only fp32 weights can be merged into.

On disk a LoRA is what PEFT's `save_pretrained` writes, and PEFT loads it; reading and writing it needs neither PEFT nor
transformers. Module names are those of transformers' Llama, which `LlamaDecoder` uses too.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zprompt.errors import BackboneError, CheckpointError
from zprompt.llm.backbone import Backbone
from zprompt.llm.llama import LlamaDecoder, LlamaShape
from zprompt.llm.packed import PackedLinear, linear_layer
from zprompt.llm.tensors import load_tensors

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
_PREFIX = "base_model.model.model."  # PEFT's wrapper, the causal LM, its decoder


@dataclass(frozen=True, slots=True)
class Lora:
    """Two matrices for each projection of a decoder, by the projection's name."""

    rank: int
    alpha: float
    down: dict[str, Tensor]  # A, (r, inputs)
    up: dict[str, Tensor]  # B, (outputs, r)

    def delta(self, name: str) -> Tensor:
        """Return alpha / r · B A, the update of a projection's weight, (outputs, inputs)."""
        return self.alpha / self.rank * (self.up[name].float() @ self.down[name].float())


def llama_shape(backbone: Backbone) -> LlamaShape:
    """Return the shape of a backbone; raise BackboneError if it is not a Llama, which a reader needs."""
    if backbone.llama is None:
        raise BackboneError(
            f"A reader needs a Llama backbone, which {backbone.name!r} is not. Use a codec whose backbone is one, such "
            "as the default."
        )
    return backbone.llama


def llama_of(backbone: Backbone) -> LlamaDecoder:
    """Return a backbone's decoder; raise BackboneError if it is not a Llama, which a reader needs."""
    llama_shape(backbone)
    return cast(LlamaDecoder, backbone.decoder)


def projections(decoder: nn.Module) -> Iterator[tuple[str, nn.Linear | PackedLinear]]:
    """Yield the projections that a LoRA updates with their names, layer by layer."""
    return (
        (name, module)
        for name, module in decoder.named_modules()
        if isinstance(module, nn.Linear | PackedLinear) and name.rpartition(".")[2] in TARGETS
    )


def new_lora(decoder: nn.Module, rank: int, alpha: float, seed: int = 0) -> Lora:
    """Make a LoRA in fp32 that changes nothing yet: A is random, B is zero."""
    generator = torch.Generator().manual_seed(seed)
    down, up = {}, {}
    for name, module in projections(decoder):
        # Uniform with variance 1 / (3 * inputs), as in PEFT and the LoRA paper's code.
        down[name] = (torch.rand(rank, module.in_features, generator=generator) * 2 - 1) / module.in_features**0.5
        up[name] = torch.zeros(module.out_features, rank)
    return Lora(rank, alpha, down, up)


@torch.no_grad()
def merge_copy(lora: Lora, backbone: Backbone) -> LlamaDecoder:
    """Merge a LoRA into a copy of a backbone's decoder, which shares all weights that the LoRA does not change.

    :param lora: The LoRA.
    :param backbone: The backbone, which stays as it is.
    :return: The copy.
    :raises CheckpointError: If the LoRA does not fit, or the backbone is quantized.
    """
    original = llama_of(backbone)
    _require_mergeable(lora, backbone)
    decoder = copy.deepcopy(original, {id(weight): weight for weight in original.parameters()})
    for name, module in list(projections(decoder)):
        if name in lora.down:
            decoder.set_submodule(name, linear_layer(module.weight + lora.delta(name).to(module.weight)))
    return decoder


@torch.no_grad()
def merge_in_bf16(lora: Lora, backbone: Backbone) -> tuple[LlamaDecoder, Tensor]:
    """Merge a LoRA into a backbone's weights, read anew from disk, and round them to bf16.

    They are read one at a time, so fp32 weights, the backbone's included, are never all in memory.

    :param lora: The LoRA.
    :param backbone: The backbone, which stays as it is.
    :return: The decoder, and its LM head, (V, D).
    :raises CheckpointError: If the LoRA does not fit, or the backbone is quantized.
    :raises BackboneError: If the files hold other weights than their config.json describes.
    """
    with torch.device("meta"):
        decoder = LlamaDecoder(llama_shape(backbone))
    head: Tensor | None = None
    for module, weight in read_mergeable(lora, backbone):
        if module in lora.down:
            weight.addmm_(lora.up[module].float(), lora.down[module].float(), alpha=lora.alpha / lora.rank)
        rounded = weight.to(backbone.device, torch.bfloat16)
        if module == "lm_head":
            head = rounded
        elif module.rpartition(".")[2] in TARGETS:
            decoder.set_submodule(module, linear_layer(rounded))
        else:
            decoder.get_submodule(module).weight = nn.Parameter(rounded, requires_grad=False)
    return decoder, decoder.embed_tokens.weight if head is None else head


def read_mergeable(lora: Lora, backbone: Backbone) -> Iterator[tuple[str, Tensor]]:
    """Read a backbone's weights from disk, one at a time, so that a LoRA can be merged into each.

    :param lora: The LoRA.
    :param backbone: The backbone.
    :yields: The name of a module of `LlamaDecoder`, or "lm_head" if not tied to the embeddings; its weight in fp32.
    :raises CheckpointError: If the LoRA does not fit, or the backbone is quantized.
    :raises BackboneError: If the files hold other weights than their config.json describes.
    """
    unread = _require_mergeable(lora, backbone)
    for name, weight in backbone.read_weights():
        module = name.removesuffix(".weight")
        if module != "lm_head" and unread.pop(module, None) != weight.shape:
            raise BackboneError(f"{backbone.name!r} has {name!r}, which its config.json does not describe.")
        yield module, weight
    if unread:
        raise BackboneError(f"{backbone.name!r} lacks {next(iter(unread))!r}, which its config.json describes.")


def _require_mergeable(lora: Lora, backbone: Backbone) -> dict[str, torch.Size]:
    """Raise CheckpointError if a LoRA cannot be merged into a backbone; return the shape of each module's weight."""
    if backbone.quantization != "none":
        raise CheckpointError(
            f"A LoRA merges into fp32 weights only, but {backbone.name!r} has quantization={backbone.quantization!r}. "
            "Load it with quantization='none'."
        )
    with torch.device("meta"):
        decoder = LlamaDecoder(llama_shape(backbone))
    shapes = {name.removesuffix(".weight"): weight.shape for name, weight in decoder.named_parameters()}
    for name, down in lora.down.items():
        if name.rpartition(".")[2] not in TARGETS or shapes.get(name) != (lora.up[name].shape[0], down.shape[1]):
            raise CheckpointError(f"The LoRA adapts {name!r}, which {backbone.name!r} does not have in that shape.")
    return shapes


def write_lora(folder: Path, lora: Lora, backbone: str) -> None:
    """Write a LoRA in half precision, as PEFT does.

    :param folder: The folder, which is created if it is missing.
    :param lora: The LoRA.
    :param backbone: The name of the model that it is for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{_PREFIX}{name}.{kind}.weight": matrix.detach().half().cpu().contiguous()
        for kind, matrices in (("lora_A", lora.down), ("lora_B", lora.up))
        for name, matrix in matrices.items()
    }
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": backbone,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(TARGETS),
        "inference_mode": True,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def read_lora(folder: Path) -> Lora:
    """Read a LoRA that `write_lora` or PEFT wrote, in its own precision; raise CheckpointError if there is none."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"No readable LoRA in {folder}: {error!r}. Fetch or train the reader again.") from error
    tensors = load_tensors(folder / WEIGHTS_FILE)
    matrices: dict[str, dict[str, Tensor]] = {"lora_A": {}, "lora_B": {}}
    for name, tensor in tensors.items():
        module, _, kind = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        if kind not in matrices:
            raise CheckpointError(f"{folder / WEIGHTS_FILE} has {name!r}, which is not part of a LoRA.")
        matrices[kind][module] = tensor
    if matrices["lora_A"].keys() != matrices["lora_B"].keys():
        raise CheckpointError(f"{folder / WEIGHTS_FILE} lacks one half of some LoRA pairs. Fetch or train it again.")
    return Lora(rank, alpha, matrices["lora_A"], matrices["lora_B"])
