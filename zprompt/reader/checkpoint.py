"""Readers on disk: a folder with `config.json`, `z_embedding.safetensors`, and the LoRA in `adapter/`.

    config.json                  which backbone the reader belongs to
    z_embedding.safetensors      what gaps add to their anchors' embeddings
    adapter/                     the LoRA, as PEFT's `save_pretrained` writes it

A reader belongs to the exact weights that it was trained on, and reads the Z-tokens of any codec over these weights.
Tensors are in half precision.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from zprompt.codec import MODELS
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, LlamaDecoder, Lora, load_tensors, merge_copy, read_lora, write_lora
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.results import Calibration

FORMAT = 3  # format 2 had learned codes, too
EMBEDDING_FILE = "z_embedding.safetensors"
ADAPTER_FOLDER = "adapter"


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """The contents of a reader's config.json."""

    backbone: str  # name, as `load_backbone` takes it
    backbone_fingerprint: str  # of the weights, before any quantization
    max_gap: int  # longer gaps are read like this one
    training: dict[str, Any]  # how it was trained, for people
    calibration: Calibration = field(default_factory=Calibration)  # of the confidence of its answers


def find_reader(name: str, file: str = EMBEDDING_FILE) -> Path:
    """Return a reader's folder.

    :param name: The name of a shipped reader, or a path.
    :param file: The file that readers of this kind have.
    :return: The folder.
    :raises CheckpointError: If there is none.
    """
    for folder in (MODELS / name / "reader", Path(name)):
        if (folder / file).is_file():
            return folder
    shipped = sorted(path.parent.parent.name for path in MODELS.glob(f"*/reader/{file}"))
    raise CheckpointError(
        f"No reader {name!r}: it is neither a shipped one ({', '.join(shipped) or 'there are none'}) nor a folder with "
        f"a {file}. Train one with `zprompt train reader`."
    )


def read_reader_config(folder: Path) -> ReaderConfig:
    """Read a reader's config.json; raise CheckpointError if it is not in the known format."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']}, but this release reads {FORMAT}. "
                "Train the reader again, or use the release of zprompt that it was trained with."
            )
        return ReaderConfig(
            values["backbone"],
            values["backbone_fingerprint"],
            int(values["max_gap"]),
            values.get("training", {}),
            Calibration(**values.get("calibration", {})),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a reader config: {error!r}. Fetch or train the reader again.") from error


def write_reader(folder: Path, config: ReaderConfig, z_embedding: ZEmbedding, lora: Lora) -> None:
    """Write a reader to a folder, which is created if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "format": FORMAT,
        "backbone": config.backbone,
        "backbone_fingerprint": config.backbone_fingerprint,
        "max_gap": config.max_gap,
        "calibration": asdict(config.calibration),
        "training": config.training,
    }
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    state = {name: tensor.detach().half().cpu().contiguous() for name, tensor in z_embedding.state_dict().items()}
    save_file(state, folder / EMBEDDING_FILE)
    write_lora(folder / ADAPTER_FOLDER, lora, config.backbone)


def load_z_embedding(folder: Path, config: ReaderConfig, hidden_size: int) -> ZEmbedding:
    """Load a reader's Z-embedding in fp32, frozen; raise CheckpointError if it does not fit its config."""
    path = folder / EMBEDDING_FILE
    try:
        embedding = ZEmbedding(hidden_size, config.max_gap)
        embedding.load_state_dict({name: tensor.float() for name, tensor in load_tensors(path).items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} is not the Z-embedding that config.json describes: {error}. Fetch or train the reader again."
        ) from error
    return embedding.eval().requires_grad_(False)


def load_lora(folder: Path, config: ReaderConfig, backbone: Backbone) -> Lora:
    """Load a reader's LoRA; raise CheckpointError if it was trained on other weights than the backbone's."""
    advice = "Pass a codec over that one: codec=…."
    backbone.require_weights(config.backbone_fingerprint, config.backbone, f"The reader in {folder}", advice)
    return read_lora(folder / ADAPTER_FOLDER)


def merged_decoder(folder: Path, backbone: Backbone) -> LlamaDecoder:
    """Return a copy of a backbone's decoder with a reader's LoRA merged in; unchanged weights are shared."""
    lora = load_lora(folder, read_reader_config(folder), backbone)
    return merge_copy(lora, backbone).eval().requires_grad_(False)
