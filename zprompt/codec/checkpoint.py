"""Codecs on disk: a folder with `config.json`, `heads.safetensors`, and a LoRA in `lora/` if the codec has one.

Heads belong to the exact weights that they were trained on: the folder names them, and loading over others is
refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, merge_in_place

FORMAT = 2  # 1 had residuals of a fixed size
HEADS_FILE = "heads.safetensors"
LORA_FOLDER = "lora"
SHIPPED = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What a codec's folder says about it."""

    settings: CodecSettings
    backbone: str  # its name, as `load_backbone` takes it
    backbone_fingerprint: str  # of the weights, before any quantization
    training: dict[str, Any]  # how the heads were made, for people
    lora: bool = False  # whether a LoRA is to be merged into the backbone


def find_codec(name: str) -> Path:
    """Return the folder of a shipped codec or of a path; raise CheckpointError if there is none."""
    for folder in (SHIPPED / name, Path(name)):
        if (folder / "config.json").is_file():
            return folder
    shipped = sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
    raise CheckpointError(
        f"No codec {name!r}: it is neither a shipped one ({', '.join(shipped) or 'there are none'}) nor a folder with "
        "a config.json. Train one with `zprompt train codec`."
    )


def read_config(folder: Path) -> CodecConfig:
    """Read a codec's config.json; raise CheckpointError if it is not of the known form."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']}, this release knows {FORMAT}. "
                "Train the codec anew, or use the release of zprompt that it was trained with."
            )
        return CodecConfig(
            CodecSettings.from_dict(values["settings"]),
            values["backbone"],
            values["backbone_fingerprint"],
            values.get("training", {}),
            values.get("adapter", False),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is no codec config: {error!r}. Train the codec anew, or fetch it again."
        ) from error


def write_codec(folder: Path, config: CodecConfig, heads: CodecHeads) -> None:
    """Write a codec's config and heads to a folder, which is made if it is missing; a LoRA is not written."""
    folder.mkdir(parents=True, exist_ok=True)
    heads.save(folder / HEADS_FILE)
    values = {
        "format": FORMAT,
        "backbone": config.backbone,
        "backbone_fingerprint": config.backbone_fingerprint,
        "settings": config.settings.to_dict(),
        "training": config.training,
        "adapter": config.lora,
    }
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def load_heads(folder: Path, config: CodecConfig, backbone: Backbone) -> CodecHeads:
    """Load a codec's heads onto a backbone, and merge its LoRA into that if it has one.

    :param folder: The codec's folder.
    :param config: Its config.
    :param backbone: The backbone, which the LoRA changes in place.
    :return: The heads, frozen.
    :raises CheckpointError: If they were trained on other weights.
    """
    if backbone.weights_fingerprint != config.backbone_fingerprint:
        raise CheckpointError(
            f"The codec in {folder} was trained on the backbone {config.backbone!r} "
            f"({config.backbone_fingerprint}), but {backbone.name!r} ({backbone.weights_fingerprint}) is loaded. "
            "Load that one, or train a codec on this one with `zprompt train codec`."
        )
    if config.lora:
        merge_in_place(backbone, folder / LORA_FOLDER)
    heads = CodecHeads(config.settings, backbone.embeddings, backbone.hidden_size)
    heads.load(folder / HEADS_FILE)
    return heads.to(backbone.device).eval().requires_grad_(False)
