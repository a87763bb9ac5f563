"""A LoRA: low-rank changes of the projections of a Llama decoder.

    W <- W + alpha / r * B A          for every adapted projection

On disk it is what PEFT's `save_pretrained` writes, and PEFT loads it; reading and writing it needs neither PEFT nor
transformers. Module names are those of transformers' Llama, which `LlamaDecoder` has, too.

A codec's own LoRA, merged into the backbone that it was trained on.

Merging in place keeps compression at one plain LLM pass. It makes another backbone of it, with its own fingerprint.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zprompt.errors import BackboneError, CheckpointError
from zprompt.llm.backbone import Backbone
from zprompt.llm.fetching import digest_of, sha256_of
from zprompt.llm.llama import LlamaDecoder

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
_PREFIX = "base_model.model.model."  # PEFT's wrapper, the causal LM, its decoder


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA: two matrices for each adapted projection."""

    rank: int
    alpha: float
    down: dict[str, Tensor]  # A of each projection by its name in the decoder, (r, inputs)
    up: dict[str, Tensor]  # B of each, (outputs, r)


def llama_of(backbone: Backbone) -> LlamaDecoder:
    """Give a backbone's decoder, if a reader can be made of it.

    :param backbone: The backbone.
    :return: Its decoder.
    :raises BackboneError: If it is no Llama.
    """
    if not isinstance(backbone.decoder, LlamaDecoder):
        raise BackboneError(
            f"A reader needs a Llama backbone, which {backbone.name!r} is not. Use a codec whose backbone is one, such "
            "as the default."
        )
    return backbone.decoder


def projections(decoder: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """List the projections that an adapter changes.

    :param decoder: A Llama decoder.
    :return: Each with its name, in the order of the layers.
    :yields: A name and a projection.
    """
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in TARGETS:
            yield name, module


def new_lora(decoder: nn.Module, rank: int, alpha: float, seed: int = 0) -> Lora:
    """Make an adapter that changes nothing yet: A is random, B is zero.

    :param decoder: A Llama decoder.
    :param rank: The rank, r.
    :param alpha: The changes are scaled by alpha / r.
    :param seed: Decides A.
    :return: The adapter, in fp32.
    """
    random = torch.Generator().manual_seed(seed)
    down, up = {}, {}
    for name, module in projections(decoder):
        # Uniform with variance 1 / (3 * inputs), as PEFT and the LoRA paper's code have it.
        down[name] = (torch.rand(rank, module.in_features, generator=random) * 2 - 1) / module.in_features**0.5
        up[name] = torch.zeros(module.out_features, rank)
    return Lora(rank, alpha, down, up)


def write_lora(folder: Path, adapter: Lora, backbone: str) -> None:
    """Write an adapter in half precision, as PEFT does.

    :param folder: Where to; it is made if it is missing.
    :param adapter: The adapter.
    :param backbone: The name of the model that it is for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"lora_A": adapter.down, "lora_B": adapter.up}
    tensors = {
        f"{_PREFIX}{name}.{part}.weight": matrix.detach().half().cpu().contiguous()
        for part, matrices in parts.items()
        for name, matrix in matrices.items()
    }
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": backbone,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(TARGETS),
        "inference_mode": True,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def read_lora(folder: Path) -> Lora:
    """Read an adapter that `write_lora` or PEFT wrote.

    :param folder: Where it is.
    :return: The adapter, in fp32.
    :raises CheckpointError: If there is none.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"No readable LoRA in {folder}: {error!r}. Fetch or train the reader again.") from error
    parts: dict[str, dict[str, Tensor]] = {"lora_A": {}, "lora_B": {}}
    for name, tensor in tensors.items():
        module, _, part = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        if part not in parts:
            raise CheckpointError(f"{folder / WEIGHTS_FILE} has {name!r}, which is no part of a LoRA.")
        parts[part][module] = tensor.float()
    if parts["lora_A"].keys() != parts["lora_B"].keys():
        raise CheckpointError(f"{folder / WEIGHTS_FILE} lacks a half of some LoRA matrices. Fetch or train it again.")
    return Lora(rank, alpha, parts["lora_A"], parts["lora_B"])


def merge_copy(adapter: Lora, backbone: Backbone) -> LlamaDecoder:
    """Copy a backbone's decoder and merge an adapter into the copy.

    :param adapter: The adapter.
    :param backbone: The backbone, which stays as it is.
    :return: The copy; it shares with the backbone what the adapter leaves alone.
    :raises CheckpointError: If the adapter does not fit, or the backbone is quantized.
    """
    original = llama_of(backbone)
    if backbone.quantization != "none":
        raise CheckpointError("A reader's LoRA merges into fp32 weights only. Load the codec with quantization='none'.")
    adapted = {id(module.weight) for _, module in projections(original)}
    shared = {id(weight): weight for weight in original.parameters() if id(weight) not in adapted}
    decoder = copy.deepcopy(original, shared)
    modules = dict(projections(decoder))
    for name, down in adapter.down.items():
        module, up = modules.get(name), adapter.up[name]
        if module is None or module.weight.shape != (up.shape[0], down.shape[1]):
            raise CheckpointError(f"The LoRA adapts {name!r}, which {backbone.name!r} does not have in that shape.")
        with torch.no_grad():
            module.weight += (adapter.alpha / adapter.rank * (up @ down)).to(module.weight)
    return decoder


def merge_in_place(backbone: Backbone, folder: Path) -> Callable[[], None]:
    """Merge a LoRA into a backbone's decoder, and make it part of its fingerprint.

    :param backbone: The backbone; its weights are changed in place.
    :param folder: A folder that PEFT's `save_pretrained` wrote.
    :return: Call it to take the LoRA out again.
    :raises CheckpointError: If the adapter does not fit, or the backbone is quantized.
    """
    if backbone.quantization != "none":
        raise CheckpointError("This codec has a LoRA, which merges into fp32 weights only. Use quantization='none'.")
    adapter = read_lora(folder)
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
