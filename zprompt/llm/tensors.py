"""Load the tensors of a checkpoint; a truncated or changed file is an error that says so."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zprompt.errors import CheckpointError


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Load the tensors of a safetensors file, in their own precision; raise CheckpointError if it cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Fetch or train it again.") from error
