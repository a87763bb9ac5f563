"""The questions that readers are measured on, with their gold passages in Z-tokens in several ways.

The files are not part of the project: ../shared/data/*-dev.jsonl, or any in the form of train/reader/questions.py.
Every condition is asked the same questions: one that has a passage without Z-tokens in any of the ways (it had to be
escaped, or passed through) is left out of all, and counted.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.documents import ROOT
from benchmarks.plan import ReaderPlan
from zprompt import Codec
from zprompt.errors import TrainingDataError
from zprompt.eval import Question, draw, read_questions
from benchmarks.old_reader.examples import Asked
from benchmarks.old_reader.prompts import Titled
from benchmarks.old_reader.teacher import surprised
from benchmarks.old_reader.tiles import Tile, TileStore

Surprisals = NDArray[np.float32]

DATA = ROOT.parent / "shared" / "data"
SETS = ("xquad", "nq", "hotpotqa", "musique")


class Setting(NamedTuple):
    """How passages are compressed."""

    ratio: float | None  # None: what `compress` gives without one
    query: bool = False  # whether the codec is told the question


@dataclass(frozen=True, slots=True)
class AskedSets:
    """The same questions in several settings."""

    sets: tuple[str, ...]  # of each question: its data set
    left_out: int  # questions that cannot be asked in all settings
    asked: dict[Setting, list[Asked]]  # in the same order

    @property
    def in_any(self) -> list[Asked]:
        """Give the questions where the setting does not matter.

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
    questions: dict[str, list[Question]], settings: Sequence[Setting], codec: Codec, cache: Path, prune: bool
) -> AskedSets:
    """Compress the passages of questions in each setting; what was done before is taken from the cache.

    :param questions: The questions by data set.
    :param settings: The settings.
    :param codec: The codec.
    :param cache: Where Z-tokens and surprisals are kept.
    :param prune: Whether passages are to have surprisals.
    :return: The questions.
    :raises TrainingDataError: If none is left.
    """
    flat = [(name, question) for name, own in questions.items() for question in own]
    store = TileStore(cache / "tiles.jsonl", codec)
    tiled = {setting: _tiled([one for _, one in flat], setting, store) for setting in settings}
    kept = [index for index in range(len(flat)) if all(own[index] is not None for own in tiled.values())]
    if not kept:
        raise TrainingDataError(f"None of the {len(flat)} questions has passages that Z-tokens are made of.")
    asked = {setting: [one for index in kept if (one := own[index])] for setting, own in tiled.items()}
    if prune:
        tiles = {p.tile.text: p.tile for one in next(iter(asked.values())) for p in one.passages}
        known = surprised(list(tiles.values()), cache / "surprisal", codec.backbone, say("surprise"))
        surprisals = {tile.text: tile.surprisal for tile in known}
        asked = {setting: [_with_surprisals(one, surprisals) for one in own] for setting, own in asked.items()}
    return AskedSets(tuple(flat[index][0] for index in kept), len(flat) - len(kept), asked)


def say(stage: str) -> Callable[[int, int], None]:
    """Make what shows on stderr how far something is.

    :param stage: What is done.
    :return: To be called with what is done, and all there is.
    """
    return lambda done, total: print(f"{stage}: {done}/{total}", file=sys.stderr, flush=True)


def _tiled(questions: Sequence[Question], setting: Setting, store: TileStore) -> list[Asked | None]:
    """Compress the passages of all questions in one setting; None for a question that has one without Z-tokens."""
    at = f"compress at {f'ratio {setting.ratio:g}' if setting.ratio else 'the usual ratio'}"
    if setting.query:
        texts = [(one.question, [passage.text for passage in one.passages]) for one in questions]
        own = store.tiles_for(texts, (setting.ratio,), say(f"{at}, with the question"))
        return [_asked(one, {tile.text: tile for tile in tiles}) for one, tiles in zip(questions, own, strict=True)]
    every = list(dict.fromkeys(passage.text for one in questions for passage in one.passages))
    shared = {tile.text: tile for tile in store.tiles(every, (setting.ratio,), say(at))}
    return [_asked(one, shared) for one in questions]


def _asked(question: Question, tiles: Mapping[str, Tile]) -> Asked | None:
    if any(passage.text not in tiles for passage in question.passages):
        return None
    passages = tuple(Titled(passage.title, tiles[passage.text]) for passage in question.passages)
    return Asked(question.question, question.answers, passages)


def _with_surprisals(asked: Asked, surprisals: Mapping[str, Surprisals | None]) -> Asked:
    passages = tuple(Titled(title, replace(tile, surprisal=surprisals[tile.text])) for title, tile in asked.passages)
    return replace(asked, passages=passages)
