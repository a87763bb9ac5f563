"""A reader's writer on disk: `writer.safetensors` in the reader's folder, in half precision; it may be missing.

A writer was trained on the hidden states of one reader, whose LoRA and Z-embedding it names.
"""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from zprompt.backbone.adapter import WEIGHTS_FILE
from zprompt.errors import CheckpointError
from zprompt.reader.checkpoint import ADAPTER_FOLDER, EMBEDDING_FILE, ReaderConfig
from zprompt.reader.writing import ZWriter

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
