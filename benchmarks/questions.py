"""The questions that readers are measured on, with their gold passages in Z-tokens at several ratios.

The files are not part of the project: ../shared/data/*-dev.jsonl, or any in the form of train/reader/questions.py.
Every condition is asked the same questions: one that has a passage without Z-tokens at any of the ratios (it had to be
escaped, or passed through) is left out of all, and counted.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.documents import ROOT
from benchmarks.plan import ReaderPlan
from zprompt import Codec
from zprompt.bench.drawing import draw
from zprompt.errors import TrainingDataError
from zprompt.train.reader.examples import Asked
from zprompt.train.reader.prompts import Titled
from zprompt.train.reader.questions import Question, read_questions
from zprompt.train.reader.teacher import surprised
from zprompt.train.reader.tiles import Tile, TileStore

DATA = ROOT.parent / "shared" / "data"
SETS = ("xquad", "nq", "hotpotqa", "musique")


@dataclass(frozen=True, slots=True)
class AskedSets:
    """The same questions at several ratios."""

    sets: tuple[str, ...]  # of each question: its data set
    left_out: int  # questions that cannot be asked at all ratios
    asked: dict[float | None, list[Asked]]  # by ratio, in the same order

    @property
    def any_ratio(self) -> list[Asked]:
        """Give the questions where the ratio does not matter.

        :return: The questions.
        """
        return next(iter(self.asked.values()))


def default_files() -> list[Path]:
    """List the usual files.

    :return: Those that are there.
    """
    return [path for name in SETS if (path := DATA / f"{name}-dev.jsonl").is_file()]


def draw_questions(files: Sequence[Path], plan: ReaderPlan) -> dict[str, list[Question]]:
    """Draw questions from each file.

    :param files: JSONL files.
    :param plan: How many of each.
    :return: The questions by data set, in the files' order.
    """
    return {
        path.stem.removesuffix("-dev"): draw(read_questions([str(path)]), plan.questions, plan.seed) for path in files
    }


def ask(
    questions: dict[str, list[Question]], ratios: Sequence[float | None], codec: Codec, cache: Path, prune: bool
) -> AskedSets:
    """Compress the passages of questions at each ratio; what was done before is taken from the cache.

    :param questions: The questions by data set.
    :param ratios: The ratios; None is what `compress` gives without one.
    :param codec: The codec.
    :param cache: Where Z-tokens and surprisals are kept.
    :param prune: Whether passages are to have surprisals.
    :return: The questions.
    :raises TrainingDataError: If none is left.
    """
    flat = [(name, question) for name, own in questions.items() for question in own]
    texts = list(dict.fromkeys(passage.text for _, question in flat for passage in question.passages))
    store = TileStore(cache / "tiles.jsonl", codec)
    tiles = {ratio: _by_text(store.tiles(texts, (ratio,), say(_stage(ratio)))) for ratio in ratios}
    usable = [text for text in texts if all(text in own for own in tiles.values())]
    if prune:
        known = _by_text(surprised(_first(tiles, usable), cache / "surprisal", codec.backbone, say("surprise")))
        tiles = {
            ratio: {text: replace(own[text], surprisal=known[text].surprisal) for text in usable}
            for ratio, own in tiles.items()
        }
    whole = set(usable)
    kept = [(name, one) for name, one in flat if whole.issuperset(passage.text for passage in one.passages)]
    if not kept:
        raise TrainingDataError(f"None of the {len(flat)} questions has passages that Z-tokens are made of.")
    return AskedSets(
        tuple(name for name, _ in kept),
        len(flat) - len(kept),
        {ratio: [_asked(one, own) for _, one in kept] for ratio, own in tiles.items()},
    )


def say(stage: str) -> Callable[[int, int], None]:
    """Make what shows on stderr how far something is.

    :param stage: What is done.
    :return: To be called with what is done, and all there is.
    """
    return lambda done, total: print(f"{stage}: {done}/{total}", file=sys.stderr, flush=True)


def _stage(ratio: float | None) -> str:
    return f"compress at ratio {ratio:g}" if ratio else "compress at the usual ratio"


def _by_text(tiles: Sequence[Tile]) -> dict[str, Tile]:
    return {tile.text: tile for tile in tiles}


def _first(tiles: dict[float | None, dict[str, Tile]], texts: Sequence[str]) -> list[Tile]:
    """Take passages at any ratio: their source tokens are the same."""
    own = next(iter(tiles.values()))
    return [own[text] for text in texts]


def _asked(question: Question, tiles: dict[str, Tile]) -> Asked:
    passages = tuple(Titled(passage.title, tiles[passage.text]) for passage in question.passages)
    return Asked(question.question, question.answers, passages)
