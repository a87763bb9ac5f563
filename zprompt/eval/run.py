"""Run all cells, one after the other or in several processes, and keep each as soon as it is done.

A cell whose figures are there already is not measured again: its key names the method, task, ratio, samples, seed and
commit that they depend on. Several processes disturb each other's times; a report says how many there were.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zprompt import __version__
from zprompt.errors import BenchResultsError
from zprompt.eval import results
from zprompt.eval.cells import CellResult, measure
from zprompt.eval.full_text import FULL
from zprompt.eval.readers import ChosenReaders, fingerprint
from zprompt.eval.record import RunRecord, commit
from zprompt.eval.results import BenchResults, TaskInfo
from zprompt.eval.settings import BenchSettings, Cell, cells
from zprompt.eval.tasks.catalog import digest, make_tasks
from zprompt.eval.tasks.protocol import Task
from zprompt.progress import Progress

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop

OWN_LENGTH = frozenset({FULL, "ltsc", "ltsc-text", "ltsc-tuned", "delta-ltsc"})  # methods that take no budget


def run(
    settings: BenchSettings, folder: Path, progress: Progress | None = None, workshop: Workshop | None = None
) -> BenchResults:
    """Measure what is not measured yet.

    :param settings: What is to be measured.
    :param folder: Where results are kept.
    :param progress: Called with a task, the cells of it that are done, and how many it has.
    :param workshop: Models and methods; None: the default ones.
    :return: All results.
    """
    began = time.time()
    tasks = {task.name: task for task in _tasks(settings)}
    digests = {name: digest(task) for name, task in tasks.items()}
    now, planned = commit(), list(cells(settings, OWN_LENGTH))
    shop = workshop or _workshop(settings)  # readers that cannot be used are refused before anything runs
    weights = fingerprint(settings.readers)
    keys = {cell: _key(cell, digests[cell.task], settings.seed, now, weights) for cell in planned}
    done = _known(folder, keys)
    reused = len(done)
    infos = tuple(TaskInfo.of(task, digests[name]) for name, task in tasks.items())

    def collect() -> BenchResults:
        record = {**asdict(RunRecord.take(settings.seed, began)), "version": __version__, "reused_cells": reused}
        return BenchResults(record, settings, infos, tuple(done[cell] for cell in planned if cell in done))

    _tell(progress, planned, done)
    here = shop if workshop or settings.jobs == 1 else None
    for result in _measure_all([cell for cell in planned if cell not in done], keys, tasks, settings, here):
        done[result.cell] = result
        results.save(collect(), folder)
        _tell(progress, planned, done)
    found = collect()
    results.save(found, folder)
    return found


def _tasks(settings: BenchSettings) -> list[Task]:
    return make_tasks(settings.tasks, settings.data, settings.limit, settings.characters, settings.seed)


def _workshop(settings: BenchSettings) -> Workshop:
    """Make a workshop with the readers of a run, which loads nothing yet."""
    from zprompt.eval.workshop import Workshop

    return Workshop(settings.seed, chosen=ChosenReaders.of(settings.readers))


def _key(cell: Cell, samples: str, seed: int, now: str, readers: str) -> str:
    """Name all that a cell's figures depend on."""
    parts = [cell.method, cell.task, cell.ratio, samples, seed, now, __version__, readers]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _known(folder: Path, keys: dict[Cell, str]) -> dict[Cell, CellResult]:
    """Take what an earlier run measured; what could not be measured then is tried again."""
    if not (folder / results.FILE).is_file():
        return {}
    try:
        earlier = results.load(folder)
    except BenchResultsError:
        return {}
    return {one.cell: one for one in earlier.cells if one.reason is None and keys.get(one.cell) == one.key}


def _measure_all(
    wanted: Sequence[Cell],
    keys: dict[Cell, str],
    tasks: dict[str, Task],
    settings: BenchSettings,
    workshop: Workshop | None,
) -> Iterator[CellResult]:
    """Measure cells here, in a workshop, or without one in other processes."""
    if workshop:
        yield from (measure(cell, keys[cell], tasks[cell.task], workshop) for cell in wanted)
        return
    context = get_context("spawn")  # a forked process would share torch's threads
    with ProcessPoolExecutor(settings.jobs, context, _start, (replace(settings, jobs=1), settings.jobs)) as pool:
        futures = [pool.submit(_measure_here, cell, keys[cell]) for cell in wanted]
        yield from (future.result() for future in as_completed(futures))


_here: dict[str, Any] = {}  # of a worker process: its tasks and its workshop


def _start(settings: BenchSettings, jobs: int) -> None:
    """Prepare a worker process."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    _here.update(tasks={task.name: task for task in _tasks(settings)}, workshop=_workshop(settings))


def _measure_here(cell: Cell, key: str) -> CellResult:
    """Measure a cell in a worker process."""
    return measure(cell, key, _here["tasks"][cell.task], _here["workshop"])


def _tell(progress: Progress | None, planned: Sequence[Cell], done: dict[Cell, CellResult]) -> None:
    """Say how far each task is."""
    if progress:
        for task in dict.fromkeys(cell.task for cell in planned):
            own = [cell for cell in planned if cell.task == task]
            progress(task, sum(cell in done for cell in own), len(own))
