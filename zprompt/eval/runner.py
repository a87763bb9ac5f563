"""Measure all cells, in turn or in several processes, and save each as soon as it is done.

    cell                     shorten all samples, restore them where the task needs it, score the texts
    positions ratio          source tokens / positions that a model reads
    bits per position        bits of a Z-token with its residual, or log2(vocabulary size) for a token
    bits per source token    the same bits / source tokens
    exact                    share of the samples that are restored byte for byte

A method that fails is a finding: its cell has the reason, and the run continues. A cell measured by an earlier run in
the same folder is not measured again: its key depends on method, task, ratio, samples, seed, commit and readers.
Several processes disturb each other's times; reports say how many there were.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from zprompt import __version__, baselines
from zprompt.baselines import Baseline, JointBaseline, LosslessBaseline, Shortened
from zprompt.cores import cores
from zprompt.errors import BenchResultsError, OptionError, ZPromptError
from zprompt.eval import metrics as m
from zprompt.eval.context import FULL, LTSC_TUNED, ChosenReaders, EvaluationContext, Prediction, readers_fingerprint
from zprompt.eval.datasets import Sample
from zprompt.eval.metrics import READERS, Metric, api_tokens
from zprompt.eval.record import RunRecord, commit, peak_megabytes, reset_peak_memory
from zprompt.eval.results import (
    RESULTS_FILE,
    BenchResults,
    BenchSettings,
    Cell,
    CellResult,
    TaskInfo,
    load_results,
    save_results,
)
from zprompt.eval.statistics import Estimate, Ratio, estimate
from zprompt.eval.tasks import Scores, Task, make_tasks
from zprompt.progress import Progress

# A run.


def run(
    settings: BenchSettings, folder: Path, progress: Progress | None = None, context: EvaluationContext | None = None
) -> BenchResults:
    """Measure all cells that are not measured yet.

    :param settings: What to measure.
    :param folder: Where to keep results.
    :param progress: Called with a task, the number of its cells that are done, and the number of its cells.
    :param context: Models and methods; None: the default ones.
    :return: All results.
    """
    began = time.time()
    tasks = {task.name: task for task in _make_tasks(settings)}
    planned, version = list(cells(settings)), commit()
    run_context = context or _make_context(settings)  # readers that cannot be used are refused before anything runs
    readers = readers_fingerprint(settings.readers)
    # If "ltsc-tuned" is measured, its reader reads the full text too.
    full_text_readers = readers + LTSC_TUNED if LTSC_TUNED in settings.methods else readers
    keys = {
        cell: _key(
            cell,
            tasks[cell.task].digest,
            settings.seed,
            version,
            full_text_readers if cell.method == FULL else readers,
        )
        for cell in planned
    }
    done = _load_done(folder, keys)
    reused = len(done)
    infos = tuple(TaskInfo.of(task) for task in tasks.values())

    def collect() -> BenchResults:
        record = {**asdict(RunRecord.take(settings.seed, began)), "version": __version__, "reused_cells": reused}
        return BenchResults(record, settings, infos, tuple(done[cell] for cell in planned if cell in done))

    _report_progress(progress, planned, done)
    local_context = run_context if context or settings.jobs == 1 else None
    for result in _measure_all([cell for cell in planned if cell not in done], keys, tasks, settings, local_context):
        done[result.cell] = result
        save_results(collect(), folder)
        _report_progress(progress, planned, done)
    results = collect()
    save_results(results, folder)
    return results


def cells(settings: BenchSettings) -> Iterator[Cell]:
    """Yield the cells of a run task by task, the full text first; a method with its own length has one per task."""
    own_lengths = {name: _has_own_length(name) for name in dict.fromkeys(settings.methods)}
    for task in dict.fromkeys(settings.tasks):
        yield Cell(FULL, task, None)
        for method, own_length in own_lengths.items():
            for ratio in (None,) if own_length else dict.fromkeys(settings.ratios):
                yield Cell(method, task, ratio)


def _has_own_length(method: str) -> bool:
    try:
        return baselines.class_of(method).own_length
    except OptionError:
        return False  # no such method: its cells will have the reason


def _make_tasks(settings: BenchSettings) -> list[Task]:
    return make_tasks(settings.tasks, settings.data, settings.limit, settings.characters, settings.seed)


def _make_context(settings: BenchSettings) -> EvaluationContext:
    return EvaluationContext(settings.seed, chosen=ChosenReaders.of(settings.readers), methods=settings.methods)


def _key(cell: Cell, samples: str, seed: int, version: str, readers: str) -> str:
    """Return a hash of all that a cell's figures depend on."""
    parts = [cell.method, cell.task, cell.ratio, samples, seed, version, __version__, readers]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _load_done(folder: Path, keys: dict[Cell, str]) -> dict[Cell, CellResult]:
    """Load the cells that an earlier run measured; those that it could not measure are tried again."""
    if not (folder / RESULTS_FILE).is_file():
        return {}
    try:
        earlier = load_results(folder)
    except BenchResultsError:
        return {}
    return {
        result.cell: result for result in earlier.cells if result.reason is None and keys.get(result.cell) == result.key
    }


def _report_progress(progress: Progress | None, planned: Sequence[Cell], done: dict[Cell, CellResult]) -> None:
    if progress:
        for task in dict.fromkeys(cell.task for cell in planned):
            task_cells = [cell for cell in planned if cell.task == task]
            progress(task, sum(cell in done for cell in task_cells), len(task_cells))


# Processes.

_worker: dict[str, Any] = {}  # tasks and context of a worker process


def _measure_all(
    pending: Sequence[Cell],
    keys: dict[Cell, str],
    tasks: dict[str, Task],
    settings: BenchSettings,
    context: EvaluationContext | None,
) -> Iterator[CellResult]:
    """Measure cells in this process if there is a context, else in worker processes."""
    if context:
        yield from (measure(cell, keys[cell], tasks[cell.task], context) for cell in pending)
        return
    processes = get_context("spawn")  # a forked process would share torch's threads
    arguments = (replace(settings, jobs=1), settings.jobs)
    with ProcessPoolExecutor(settings.jobs, processes, _start_worker, arguments) as pool:
        futures = [pool.submit(_measure_in_worker, cell, keys[cell]) for cell in pending]
        yield from (future.result() for future in as_completed(futures))


def _start_worker(settings: BenchSettings, jobs: int) -> None:
    import torch

    torch.set_num_threads(max(1, cores() // jobs))
    _worker.update(tasks={task.name: task for task in _make_tasks(settings)}, context=_make_context(settings))


def _measure_in_worker(cell: Cell, key: str) -> CellResult:
    return measure(cell, key, _worker["tasks"][cell.task], _worker["context"])


# A cell.


def measure(cell: Cell, key: str, task: Task, context: EvaluationContext) -> CellResult:
    """Measure a cell; anything that its method raises becomes the reason why there are no figures."""
    try:
        return _measure(cell, key, task, context)
    except ZPromptError as error:
        return CellResult(cell, key, reason=str(error))
    except Exception as error:  # noqa: BLE001 - anything that a method raises is a finding
        return CellResult(cell, key, reason=f"{type(error).__name__}: {error}")


def _measure(cell: Cell, key: str, task: Task, context: EvaluationContext) -> CellResult:
    method = context.method(cell.method)
    if task.samples:
        context.warm_up(method, task.samples[0])  # loading is not shortening
    reset_peak_memory()
    shortened, seconds = _shorten_all(method, task.samples, cell.ratio, context)
    restored, restoring_seconds = _restore_all(method, shortened) if task.restores else (None, 0.0)
    predictions = [
        Prediction(sample, texts, restored[index] if restored else None, method.output)
        for index, (sample, texts) in enumerate(zip(task.samples, shortened, strict=True))
    ]
    scores = task.score(predictions, context)
    _add_common(scores, predictions, seconds, task.restores, context)
    _add_api_tokens(scores, predictions)
    if restored and restoring_seconds:
        source_tokens = sum(prediction.source_tokens for prediction in predictions)
        scores.times[m.RESTORING] = [Ratio(source_tokens, restoring_seconds)]
    figures = {metric.name: figure for metric, figure in scores.estimates.items()}
    return CellResult(
        cell,
        key,
        figures={**figures, **_estimates(scores.ratios, context.seed)},
        times=_estimates(scores.times, context.seed),
        megabytes=peak_megabytes(),
        missing=scores.missing,
        samples=tuple(_sample_row(sample, index, scores) for index, sample in enumerate(task.samples)),
    )


def _shorten_all(
    method: Baseline, samples: Sequence[Sample], ratio: float | None, context: EvaluationContext
) -> tuple[list[tuple[Shortened, ...]], list[float]]:
    """Shorten the texts of each sample, together where the method can, and return the seconds that each took."""
    shortened, seconds = [], []
    for sample in samples:
        budgets = [None if ratio is None else max(1, int(context.count(text) / ratio)) for text in sample.texts]
        began = time.perf_counter()
        if isinstance(method, JointBaseline):
            total = None if ratio is None else sum(budget or 0 for budget in budgets)
            texts = tuple(method.shorten_together(sample.texts, total, sample.query, sample.all_titles))
        else:
            texts = tuple(
                method.shorten(text, budget, sample.query) for text, budget in zip(sample.texts, budgets, strict=True)
            )
        seconds.append(time.perf_counter() - began)
        shortened.append(texts)
    return shortened, seconds


def _restore_all(
    method: Baseline, shortened: Sequence[tuple[Shortened, ...]]
) -> tuple[list[tuple[str, ...]] | None, float]:
    """Restore all texts if the method is lossless, together where it can, and return the seconds that it took."""
    if not isinstance(method, LosslessBaseline):
        return None, 0.0
    texts = [text.text for sample_texts in shortened for text in sample_texts]
    restore_all = getattr(method, "restore_all", None)
    began = time.perf_counter()
    restored = iter(restore_all(texts) if restore_all else [method.restore(text) for text in texts])
    return [tuple(next(restored) for _ in sample_texts) for sample_texts in shortened], time.perf_counter() - began


def _add_common(
    scores: Scores,
    predictions: Sequence[Prediction],
    seconds: Sequence[float],
    restores: bool,
    context: EvaluationContext,
) -> None:
    """Add the metrics of every task."""
    source = [prediction.source_tokens for prediction in predictions]
    positions = [prediction.positions for prediction in predictions]
    bits = [sum(map(context.bits, prediction.shortened)) for prediction in predictions]
    scores.ratios[m.POSITIONS] = _ratios(source, positions)
    scores.ratios[m.BITS] = _ratios(bits, positions)
    scores.ratios[m.SOURCE_BITS] = _ratios(bits, source)
    if restores:
        scores.ratios[m.EXACT] = [
            Ratio(float(prediction.final_texts == prediction.sample.texts)) for prediction in predictions
        ]
    scores.times[m.SHORTENING] = [Ratio(second) for second in seconds]
    scores.times[m.SPEED] = _ratios(source, seconds)
    for reader in READERS:
        [reading] = scores.times.get(m.READING.by(reader), [None])
        if reading:
            total = sum(seconds) + reading.numerator
            scores.times[m.END_TO_END.by(reader)] = [Ratio(total, len(predictions))]


def _add_api_tokens(scores: Scores, predictions: Sequence[Prediction]) -> None:
    """Add the ratio of an API's tokens, if the method writes text and the encoding is available."""
    try:
        for prediction in predictions:
            prediction.require_text()
        before = [sum(map(api_tokens, prediction.sample.texts)) for prediction in predictions]
        after = [sum(api_tokens(text.text) for text in prediction.shortened) for prediction in predictions]
        scores.ratios[m.API_TOKENS] = _ratios(before, after)
    except ZPromptError as error:
        scores.missing[m.API_TOKENS.name] = str(error)


def _ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[Ratio | None]:
    return [Ratio(*pair) for pair in zip(numerators, denominators, strict=True)]


def _estimates(ratios: dict[Metric, list[Ratio | None]], seed: int) -> dict[str, Estimate]:
    figures = {metric.name: estimate(values, seed, metric.less_is_better) for metric, values in ratios.items()}
    return {name: figure for name, figure in figures.items() if figure}


def _sample_row(sample: Sample, index: int, scores: Scores) -> dict[str, Any]:
    """Return what a sample adds to each figure, for JSON."""
    ratios = {metric.name: values[index] for metric, values in scores.ratios.items()}
    added = {name: [ratio.numerator, ratio.denominator] for name, ratio in ratios.items() if ratio}
    return {"id": sample.id, "group": sample.group, "shares": added}
