"""All that the training of a reader needs besides the LLM: packed sequences, in memory or in a folder.

    prepare   texts, questions ─► codec, relevance ─► sequences ─► folder     on a CPU, with the data at hand
    run       folder, LLM ─► reader                                           anywhere, on a rented GPU for instance

The folder has no text and needs no codec, no relevance model and no network: it has token ids, gaps, and their source
in the teacher's passages. The teacher reads these on the machine that trains, since its predictions would take a
hundred times the space. A position takes about 1.5 bytes.

    training_set.json       config, LLM, each task's share of the loss, and for people where it all came from
    train.npz               the sequences of each step, one step after the other
    passages.npz            the teacher's passages
    calibration.npz, dev-R-given.npz, dev-R-text.npz
    start/                  the reader to train on, if it is not a shipped one
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zprompt.codec import MODELS
from zprompt.errors import CheckpointError
from zprompt.reader import ADAPTER_FOLDER
from zprompt.train.config import TASKS, ReaderTrainConfig
from zprompt.train.packing import Branch, Ints, PackedSequence, Positions, Source
from zprompt.train.reader_data import Contexts, ReaderData, Sources

FORMAT = 1
CALIBRATED = 200  # questions that the confidence is fitted to
_FILE = "training_set.json"

DrawStep = Callable[[int], list[PackedSequence]]  # the sequences of a step


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """What a reader is trained on and measured with."""

    config: ReaderTrainConfig
    backbone: str  # the name of the LLM whose tokens these are ...
    fingerprint: str  # ... and the fingerprint of its weights
    draw: DrawStep
    shares: Mapping[str, float]  # of each task in the loss
    passages: Sequence[Ints]  # source tokens of the teacher's passages
    development: Mapping[str, Contexts]  # by ratio
    calibration: Sequence[PackedSequence]  # questions, every second one without the passages that answer it
    start: str | None  # the reader to train on, as `load_reader` takes it
    summary: Mapping[str, Any]  # where it all came from, for people


def draw_training_set(data: ReaderData, sources: Sources, start: str | None) -> TrainingSet:
    """Compress the data of a training set; the sequences of each step are drawn on demand.

    :param data: Cuts and compresses.
    :param sources: Training and development data.
    :param start: The reader to train on, if any.
    :return: The set.
    """
    config, backbone = data.config, data.codec.backbone
    texts, dev_texts = data.split(sources)
    examples = data.examples(texts, sources)
    calibration: list[PackedSequence] = []
    if examples.focused:
        random = np.random.default_rng(config.seed)
        calibration = [examples.focused_question(random, index % 2 == 0) for index in range(CALIBRATED)]
    taught = config.continuation and config.input != "paper-a"  # paper A learns from the text alone
    summary = {
        "data": [Path(source).name for source in (*sources.text, *sources.questions)],
        "started_from": start,
        "passages": len(examples.passages),
        "questions": len(examples.questions),
    }
    return TrainingSet(
        config=config,
        backbone=backbone.name,
        fingerprint=backbone.weights_fingerprint,
        draw=lambda step: examples.draw(np.random.default_rng([config.seed, step])),
        shares=dict(zip(TASKS, examples.shares.tolist(), strict=True)),
        passages=[passage.ids for passage in examples.passages] if taught else [],
        development=data.development(dev_texts),
        calibration=calibration,
        start=start,
        summary=summary,
    )


def write_training_set(folder: Path, content: TrainingSet, report: Callable[[int, int], None] | None = None) -> None:
    """Draw the sequences of all steps of a set's config, and write them to a folder.

    :param folder: The folder; it is made if it is missing.
    :param content: The set.
    :param report: Called with steps done and steps in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, drawn = content.config, []
    for step in range(config.steps):
        drawn += content.draw(step)
        if report:
            report(step + 1, config.steps)
    _write_sequences(folder / "train.npz", drawn)
    _write_sequences(folder / "calibration.npz", content.calibration)
    for ratio, contexts in content.development.items():
        _write_sequences(folder / f"dev-{ratio}-given.npz", contexts.given)
        _write_sequences(folder / f"dev-{ratio}-text.npz", contexts.text)
    lengths = [len(passage) for passage in content.passages]
    _save(folder / "passages.npz", ids=_joined(content.passages), lengths=np.array(lengths, np.int64))
    values = {
        "format": FORMAT,
        "config": config.to_dict(),
        "backbone": content.backbone,
        "fingerprint": content.fingerprint,
        "shares": dict(content.shares),
        "ratios": list(content.development),
        "start": _copy_start(folder, content.start),
        "summary": dict(content.summary),
    }
    (folder / _FILE).write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def read_training_set(folder: Path) -> TrainingSet:
    """Read a set; raise CheckpointError if the folder has none."""
    try:
        values = json.loads((folder / _FILE).read_text("utf-8"))
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{folder / _FILE} has format {values['format']}, but this release reads {FORMAT}. Prepare it again."
            )
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values["config"].items()}
        config = ReaderTrainConfig(**fields)
        drawn = _read_sequences(folder / "train.npz")
        with np.load(folder / "passages.npz") as arrays:
            passages = np.split(arrays["ids"].astype(np.int64), np.cumsum(arrays["lengths"])[:-1])
        development = {
            ratio: Contexts(*(_read_sequences(folder / f"dev-{ratio}-{kind}.npz") for kind in ("given", "text")))
            for ratio in values["ratios"]
        }
        calibration = _read_sequences(folder / "calibration.npz")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} has no training set: {error!r}. Make one with `zprompt train prepare`."
        ) from error

    def draw(step: int) -> list[PackedSequence]:
        first = step % config.steps * config.batch  # a longer run starts over
        return drawn[first : first + config.batch]

    start = values["start"]
    return TrainingSet(
        config=config,
        backbone=values["backbone"],
        fingerprint=values["fingerprint"],
        draw=draw,
        shares=values["shares"],
        passages=passages if len(passages[0]) else [],
        development=development,
        calibration=calibration,
        start=str(folder / "start") if start == "start" else start,
        summary=values["summary"],
    )


def _copy_start(folder: Path, start: str | None) -> str | None:
    """Copy the reader to train on, unless it is shipped with zprompt."""
    if start is None or (MODELS / start / "reader").is_dir():
        return start
    copy = folder / "start"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in Path(start).iterdir():
        if path.is_file() and path.suffix in (".json", ".safetensors"):
            shutil.copy(path, copy)
    shutil.copytree(Path(start) / ADAPTER_FOLDER, copy / ADAPTER_FOLDER)
    return "start"


# Sequences as flat arrays.


def _write_sequences(path: Path, sequences: Sequence[PackedSequence]) -> None:
    branches = [branch for sequence in sequences for branch in sequence.branches]
    sources = [branch.source or Source(-1, 0) for branch in branches]
    runs = [run for seq in sequences for run in (seq.trunk.ids, *(branch.ids for branch in seq.branches))]
    _save(
        path,
        ids=_joined(runs),
        gaps=_joined([sequence.trunk.gaps for sequence in sequences]),
        sequences=np.array(
            [[TASKS.index(seq.task), len(seq.trunk), len(seq.branches)] for seq in sequences], np.int64
        ).reshape(-1, 3),
        branches=np.array(
            [
                [branch.fork, len(branch.ids), branch.first, source.passage + 1, source.first]
                for branch, source in zip(branches, sources, strict=True)
            ],
            np.int64,
        ).reshape(-1, 5),
    )


def _read_sequences(path: Path) -> list[PackedSequence]:
    with np.load(path) as arrays:
        ids, gaps, sequence_rows, branch_rows = (arrays[name] for name in ("ids", "gaps", "sequences", "branches"))
    ids_left, gaps_left, rows = _ArrayCursor(ids), _ArrayCursor(gaps), iter(branch_rows.tolist())
    sequences = []
    for task, length, count in sequence_rows.tolist():
        trunk = Positions(ids_left.take(length), gaps_left.take(length))
        branches = []
        for fork, size, first, passage, begin in (next(rows) for _ in range(count)):
            source = Source(passage - 1, begin) if passage else None
            branches.append(Branch(fork, ids_left.take(size), first, source))
        sequences.append(PackedSequence(TASKS[task], trunk, tuple(branches)))
    return sequences


class _ArrayCursor:
    """Cuts an array from left to right."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self._offset = array, 0

    def take(self, count: int) -> Ints:
        self._offset += count
        return self._array[self._offset - count : self._offset]


def _joined(runs: Iterable[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *runs])


def _save(path: Path, **arrays: Ints) -> None:
    """Write arrays of non-negative numbers, each in the smallest type that holds them."""
    small = {name: array.astype(np.min_scalar_type(int(array.max(initial=0)))) for name, array in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, **small)
