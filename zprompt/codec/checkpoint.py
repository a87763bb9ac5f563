"""Codecs on disk: a folder with `config.json`, and `heads.safetensors` if the codec has learned codes.

Most codecs need no folder: any causal LM is one, with the default settings. A folder names an LLM and holds other
settings, or heads; heads belong to the exact weights that they were trained on, and others are refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings, HeadSettings
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone

FORMAT = 3  # 1 had residuals of a fixed size, 2 a code in every Z-token
HEADS_FILE = "heads.safetensors"
MODELS = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """The content of a codec's `config.json`."""

    backbone: str  # the name that `load_backbone` takes
    backbone_fingerprint: str  # of the weights, before any quantization
    settings: CodecSettings
    heads: HeadSettings | None  # None: the codec has no learned codes


def find_codec(name: str) -> Path | None:
    """Return the folder of a codec, shipped or at a path; None if the name is that of an LLM."""
    for folder in (MODELS / name, Path(name)):
        try:
            values = json.loads((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(values, dict) and "backbone_fingerprint" in values:
            return folder
    return None


def read_config(folder: Path) -> CodecConfig:
    """Read a codec's `config.json`; raise CheckpointError if it is not a valid one."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']}, but this release reads {FORMAT}. "
                "Recreate the codec from its LLM, or use the release of zprompt that wrote it."
            )
        return CodecConfig(
            values["backbone"],
            values["backbone_fingerprint"],
            CodecSettings.from_dict(values["settings"]),
            HeadSettings.from_dict(values["heads"]) if values["heads"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a codec config: {error!r}. Recreate the codec from its LLM, or fetch it again."
        ) from error


def write_codec(folder: Path, config: CodecConfig, heads: CodecHeads | None) -> None:
    """Write a codec to a folder, which is created if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if heads:
        heads.save(folder / HEADS_FILE)
    values = {
        "format": FORMAT,
        "backbone": config.backbone,
        "backbone_fingerprint": config.backbone_fingerprint,
        "settings": config.settings.to_dict(),
        "heads": config.heads and config.heads.to_dict(),
    }
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def load_heads(folder: Path, config: CodecConfig, backbone: Backbone) -> CodecHeads | None:
    """Load a codec's heads onto a backbone.

    :param folder: The codec's folder.
    :param config: Its config.
    :param backbone: The backbone.
    :return: The heads, frozen; None if the codec has none.
    :raises CheckpointError: If the codec was made on other weights.
    """
    advice = "Load that one, or compress with this one: zprompt.load(…) takes the name of any causal LM."
    backbone.require_weights(config.backbone_fingerprint, config.backbone, f"The codec in {folder}", advice)
    if config.heads is None:
        return None
    heads = CodecHeads(config.heads, backbone.embeddings, backbone.hidden_size)
    heads.load(folder / HEADS_FILE)
    return heads.to(backbone.device).eval().requires_grad_(False)
