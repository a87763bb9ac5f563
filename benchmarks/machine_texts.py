"""Texts of this machine, in which much is repeated: Python's standard library, JSON of packages, and logs."""

import site
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from benchmarks.documents import ROOT
from zprompt.baselines import Tokenizer
from zprompt.eval import draw

LONG = 20_000  # tokens of a long input
MOST = 200_000  # tokens of a kind, about


def files() -> dict[str, list[Path]]:
    """List the texts of each kind.

    :return: Files by kind, none of them empty.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    packages = Path(site.getsitepackages()[0])
    logs = [*Path("/var/log").rglob("*.log"), *(ROOT / "tests" / "texts").glob("*.log")]
    found = {"code": library.glob("*.py"), "JSON": packages.rglob("*.json"), "logs": logs}
    return {kind: sorted(path for path in paths if path.stat().st_size) for kind, paths in found.items()}


def read(paths: Sequence[Path], tokenizer: Tokenizer) -> list[int]:
    """Read the files of a kind one after the other; of a large one, its beginning.

    :param paths: The files.
    :param tokenizer: The tokenizer.
    :return: Token ids.
    """
    ids: list[int] = []
    for path in paths:
        try:
            text = path.read_text("utf-8")[: 60 * LONG // len(paths) + LONG]
        except (OSError, UnicodeDecodeError):
            continue  # a log that others may not read
        ids += tokenizer.encode(text)
        if len(ids) > MOST:
            break
    return ids


def draw(ids: Sequence[int], tokens: int, limit: int, seed: int) -> list[list[int]]:
    """Cut ids into inputs and draw some.

    :param ids: Token ids.
    :param tokens: Of each input.
    :param limit: Inputs, at most.
    :param seed: Of the choice.
    :return: The inputs, in their order.
    """
    starts = range(0, len(ids) - tokens + 1, tokens)
    return [list(ids[start : start + tokens]) for start in draw(starts, limit, seed)]
