"""Readers on disk: a folder with `config.json`, `z_embedding.safetensors` and the LoRA in `adapter/`.

A reader belongs to the exact weights that it was trained on, and to the codec whose Z-tokens it learned: the folder
names both.

A reader's writer on disk: `writer.safetensors` in the reader's folder, in half precision; it may be missing.

A writer was trained on the hidden states of one reader, whose LoRA and Z-embedding it names.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from zprompt.codec import SHIPPED, Codec, CodecSettings
from zprompt.errors import CheckpointError
from zprompt.llm import WEIGHTS_FILE, Backbone, LlamaDecoder, Lora, merge_copy, read_lora, write_lora
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.z_decoding import ZWriter

FORMAT = 1
EMBEDDING_FILE = "z_embedding.safetensors"
ADAPTER_FOLDER = "adapter"
INPUTS = ("text", "z", "anchors", "pruned", "truncated", "ltsc")  # what a reader's passages may be given as


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """What a reader's folder says about it."""

    backbone: str  # its name, as `load_backbone` takes it
    backbone_fingerprint: str  # of the weights, before any quantization
    codec_fingerprint: str  # of the codec whose Z-tokens it reads
    settings: CodecSettings  # of that codec
    input: str  # what it was trained on: one of INPUTS
    training: dict[str, Any]  # how it was made, for people


def find_reader(name: str) -> Path:
    """Find a reader's folder.

    :param name: The name of a shipped codec, whose reader is meant, or a path.
    :return: The folder.
    :raises CheckpointError: If there is none.
    """
    for folder in (SHIPPED / name / "reader", Path(name)):
        if (folder / EMBEDDING_FILE).is_file():
            return folder
    shipped = sorted(path.parent.parent.name for path in SHIPPED.glob(f"*/reader/{EMBEDDING_FILE}"))
    raise CheckpointError(
        f"No reader {name!r}: it is neither a shipped one ({', '.join(shipped) or 'there are none'}) nor a folder with "
        f"a {EMBEDDING_FILE}. Train one with `zprompt train reader`."
    )


def read_reader_config(folder: Path) -> ReaderConfig:
    """Read a reader's config.json.

    :param folder: The reader's folder.
    :return: The config.
    :raises CheckpointError: If it is not of the known form.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {values['format']}, this release knows {FORMAT}. Update zprompt.")
        if values["input"] not in INPUTS:
            raise CheckpointError(f"{path} has input {values['input']!r}. Must be one of {INPUTS}.")
        return ReaderConfig(
            values["backbone"],
            values["backbone_fingerprint"],
            values["codec_fingerprint"],
            CodecSettings.from_dict(values["settings"]),
            values["input"],
            values.get("training", {}),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is no reader config: {error!r}. Train the reader anew, or fetch it again."
        ) from error


def require_codec_of(folder: Path, codec: Codec) -> None:
    """Refuse a reader of another codec.

    :param folder: The reader's folder.
    :param codec: The codec whose Z-tokens it is to read.
    :raises CheckpointError: If it was trained for another one.
    """
    its = read_reader_config(folder).codec_fingerprint
    if codec.fingerprint != its:
        raise CheckpointError(
            f"The reader in {folder} reads Z-tokens of the codec {its}, but the codec {codec.name!r} "
            f"({codec.fingerprint}) is loaded. Give the one that it was trained for: "
            f"zprompt.load_reader({str(folder)!r}, codec=…)."
        )


def write_reader(folder: Path, config: ReaderConfig, z_embedding: ZEmbedding, adapter: Lora) -> None:
    """Write a reader, in half precision.

    :param folder: Where to; it is made if it is missing.
    :param config: What to say about it.
    :param z_embedding: Its Z-embedding.
    :param adapter: Its LoRA.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "format": FORMAT,
        "backbone": config.backbone,
        "backbone_fingerprint": config.backbone_fingerprint,
        "codec_fingerprint": config.codec_fingerprint,
        "settings": config.settings.to_dict(),
        "input": config.input,
        "training": config.training,
    }
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    state = {name: tensor.half().cpu().contiguous() for name, tensor in z_embedding.state_dict().items()}
    save_file(state, folder / EMBEDDING_FILE)
    write_lora(folder / ADAPTER_FOLDER, adapter, config.backbone)


def load_z_embedding(folder: Path, config: ReaderConfig, hidden_size: int) -> ZEmbedding:
    """Load a reader's Z-embedding.

    :param folder: The reader's folder.
    :param config: Its config.
    :param hidden_size: Width of the backbone's embeddings.
    :return: The Z-embedding in fp32, frozen.
    :raises CheckpointError: If it does not fit.
    """
    embedding = ZEmbedding(config.settings, hidden_size, codes=config.input != "anchors")
    path = folder / EMBEDDING_FILE
    try:
        embedding.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not the Z-embedding that config.json describes: {error}. Fetch or train the reader again."
        ) from error
    return embedding.eval().requires_grad_(False)


def merged_decoder(folder: Path, backbone: Backbone) -> LlamaDecoder:
    """Give a reader's decoder: the backbone's with the LoRA merge_copy in.

    :param folder: The reader's folder.
    :param backbone: The backbone, which stays as it is.
    :return: A decoder that shares with the backbone what the LoRA leaves alone.
    :raises CheckpointError: If the reader was trained on other weights.
    """
    config = read_reader_config(folder)
    if backbone.weights_fingerprint != config.backbone_fingerprint:
        raise CheckpointError(
            f"The reader in {folder} was trained on the backbone {config.backbone!r} ({config.backbone_fingerprint}), "
            f"but {backbone.name!r} ({backbone.weights_fingerprint}) is loaded. Load a codec over that one."
        )
    return merge_copy(read_lora(folder / ADAPTER_FOLDER), backbone).eval().requires_grad_(False)


WRITER_FILE = "writer.safetensors"
_READER = "reader"  # under which the file's metadata names the reader


def reader_weights(folder: Path) -> list[Path]:
    """List the files that hold a reader's weights, without its writer.

    :param folder: The reader's folder.
    :return: The files.
    """
    return [folder / EMBEDDING_FILE, folder / ADAPTER_FOLDER / WEIGHTS_FILE]


def reader_fingerprint(folder: Path) -> str:
    """Hash a reader's weights.

    :param folder: The reader's folder.
    :return: 16 hexadecimal digits.
    """
    return hashlib.sha256(b"".join(path.read_bytes() for path in reader_weights(folder))).hexdigest()[:16]


def write_writer(folder: Path, writer: ZWriter) -> None:
    """Write a writer in half precision.

    :param folder: The reader's folder.
    :param writer: The writer.
    """
    state = {name: tensor.detach().half().cpu().contiguous() for name, tensor in writer.state_dict().items()}
    save_file(state, folder / WRITER_FILE, metadata={_READER: reader_fingerprint(folder)})


def load_writer(folder: Path, config: ReaderConfig, hidden_size: int) -> ZWriter | None:
    """Load a reader's writer.

    :param folder: The reader's folder.
    :param config: Its config.
    :param hidden_size: Width of the backbone's embeddings.
    :return: The writer in fp32, frozen; None if the reader has none.
    :raises CheckpointError: If it does not fit, or was trained on another reader.
    """
    path = folder / WRITER_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            reader = (file.metadata() or {}).get(_READER)
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
        writer = ZWriter(config.settings, hidden_size, len(state["mid.bias"]))
        writer.load_state_dict(state)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is not a writer for the reader that config.json describes: {error}. Fetch the reader again, "
            "train a writer with `zprompt train writer`, or delete the file to read only."
        ) from error
    if reader != reader_fingerprint(folder):
        raise CheckpointError(
            f"{path} was trained on another reader than the one beside it. Train one for it with `zprompt train "
            "writer`, or delete the file to read only."
        )
    return writer.eval().requires_grad_(False)
