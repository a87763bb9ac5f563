"""The readers that are compared: one for each kind of input, trained in the same number of steps from the same seed.

    FOLDER/z  FOLDER/text  FOLDER/anchors  FOLDER/pruned  FOLDER/truncated  FOLDER/ltsc       by `zprompt train reader`

Shipped readers stand in for FOLDER/z and FOLDER/ltsc. A reader that is missing or does not fit is no error: what needs
it is listed with the reason.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from zprompt import Codec
from zprompt.errors import CheckpointError
from zprompt.eval import SHIPPED
from zprompt.reader import EMBEDDING_FILE, find_reader, read_reader_config
from zprompt.train import INPUTS
from benchmarks.old_reader import reading
from benchmarks.old_reader.reading import Reading


@dataclass(frozen=True, slots=True)
class FoundReader:
    """A reader, or why there is none."""

    input: str  # one of INPUTS
    folder: str | None
    steps: int | None = None  # of its training
    seed: int | None = None
    training: dict[str, object] | None = None  # what else its config.json says of it
    problem: str | None = None  # None: it can be measured


def find_readers(readers: Path | None, codec: Codec, inputs: Collection[str] = INPUTS) -> dict[str, FoundReader]:
    """Look for a reader of each kind of input.

    :param readers: A folder with a folder for each kind; None: only shipped readers are there.
    :param codec: The codec whose Z-tokens they are to read.
    :param inputs: The kinds of input that are wanted.
    :return: What was found, by kind of input; the others with a problem.
    """
    unwanted = "left out of this run (--inputs)"
    return {
        kind: _find(kind, readers, codec) if kind in inputs else FoundReader(kind, None, problem=unwanted)
        for kind in INPUTS
    }


def load_reading(reader: FoundReader, codec: Codec) -> Reading:
    """Load a reader that was found.

    :param reader: The reader.
    :param codec: Its codec.
    :return: Its model.
    :raises CheckpointError: If there is none, or it is damaged.
    """
    if reader.folder is None or reader.problem:
        raise CheckpointError(f"The reader {reader.input!r} cannot be loaded: {reader.problem}.")
    return reading.load_reading(Path(reader.folder), codec.backbone)


def _find(kind: str, readers: Path | None, codec: Codec) -> FoundReader:
    """Look for the reader of one kind of input."""
    folder = readers / kind if readers else None
    if folder is None or not (folder / EMBEDDING_FILE).is_file():
        if kind not in SHIPPED:
            reason = f"no reader in {folder}" if folder else "no folder of readers was given (--readers)"
            return FoundReader(kind, None, problem=reason)
        try:
            folder = find_reader(codec.name if kind == "z" else SHIPPED[kind])
        except CheckpointError as error:
            return FoundReader(kind, None, problem=str(error))
    try:
        return _describe(kind, folder, codec)
    except CheckpointError as error:
        return FoundReader(kind, str(folder), problem=str(error))


def _describe(kind: str, folder: Path, codec: Codec) -> FoundReader:
    """Say how a reader was made, and whether it fits."""
    config = read_reader_config(folder)
    training = dict(config.training)
    steps, seed = training.pop("steps", None), training.pop("seed", None)
    problem = None
    trained_on = config.training.get("input")
    if trained_on != kind:
        problem = f"the reader in {folder} was trained on {trained_on!r}"
    elif config.codec_fingerprint != codec.fingerprint:
        problem = (
            f"the reader in {folder} was trained for the codec {config.codec_fingerprint}, not {codec.fingerprint}"
        )
    elif config.backbone_fingerprint != codec.backbone.weights_fingerprint:
        problem = f"the reader in {folder} was trained on other weights, {config.backbone_fingerprint}"
    return FoundReader(kind, str(folder), steps, seed, training, problem)
