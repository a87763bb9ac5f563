"""Embedders that a worker can import: a quick one, and two that kill the process they run in."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEADLY = "Whoever reads this dies."


@dataclass(frozen=True)
class LetterCounts:
    """Embeds a text as how often it has each letter."""

    name: str = "letters"

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0 + text.count(letter) for letter in "abcdefgh"] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@dataclass(frozen=True)
class Deadly(LetterCounts):
    """Kills its process at a text, as often as there are files to remove."""

    folder: Path = Path()

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        left = sorted(self.folder.iterdir())
        if DEADLY in texts and left:
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_documents(texts)


def deadly(folder: Path, times: int) -> Deadly:
    folder.mkdir()
    for number in range(times):
        (folder / str(number)).touch()
    return Deadly(folder=folder)
