"""Which readers a run has: the shipped ones, or in their place those that a user names, each by what it was tuned on.

z       Z-tokens, and text          the column "reader"
ltsc    LTSC's meta-tokens          the column "LTSC's reader"
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from zprompt.errors import OptionError

READER, LTSC_READER, UNTUNED = "reader", "LTSC's reader", "untuned backbone"
READERS = (READER, LTSC_READER, UNTUNED)
SHIPPED = {"z": "default", "ltsc": "ltsc"}  # by what they were tuned on


@dataclass(frozen=True, slots=True)
class ChosenReaders:
    """The names or folders of a run's readers."""

    z: str = SHIPPED["z"]
    ltsc: str = SHIPPED["ltsc"]

    @classmethod
    def of(cls, names: Sequence[str]) -> ChosenReaders:
        """Put readers in the places of the shipped ones.

        :param names: Names or folders, as `load_reader` takes them.
        :return: All readers of a run.
        :raises CheckpointError: If one of them is no reader.
        :raises OptionError: If two were tuned on the same, or one on what no method here writes.
        """
        from zprompt.reader import find_reader, read_reader_config

        chosen: dict[str, str] = {}
        for name in names:
            kind = read_reader_config(find_reader(name)).training.get("input", "z")
            if kind not in SHIPPED:
                raise OptionError(
                    f"The reader {name!r} was tuned on {kind!r}. A run takes one of each of {', '.join(SHIPPED)}."
                )
            if kind in chosen:
                raise OptionError(f"The readers {chosen[kind]!r} and {name!r} were both tuned on {kind!r}. Give one.")
            chosen[kind] = name
        return cls(**chosen)


def fingerprint(names: Sequence[str]) -> str:
    """Name the weights of readers.

    :param names: Names or folders; none: the shipped ones, which belong to the release.
    :return: Hex digits; nothing for no names.
    """
    from zprompt.reader import find_reader

    if not names:
        return ""
    found = hashlib.sha256()
    for folder in map(find_reader, names):
        for file in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")):
            found.update(file.read_bytes())
    return found.hexdigest()[:12]
