"""Embedders that a worker can import: a quick one, and one that kills its process."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEADLY = "Whoever reads this dies."


@dataclass(frozen=True)
class LetterCounts:
    """Embeds a text as the counts of its letters."""

    name: str = "letters"

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0 + text.count(letter) for letter in "abcdefgh"] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@dataclass(frozen=True)
class Deadly(LetterCounts):
    """Kills its process when it reads the deadly text, once for each file in a folder."""

    folder: Path = Path()

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        remaining = sorted(self.folder.iterdir())
        if DEADLY in texts and remaining:
            remaining[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_documents(texts)


def deadly(folder: Path, times: int) -> Deadly:
    folder.mkdir()
    for number in range(times):
        (folder / str(number)).touch()
    return Deadly(folder=folder)
